//! What the daemon knows of its encoders, from start to end: first what the state directory
//! remembers, then what a probe finds.

#![forbid(unsafe_code)]

use punktfunk_core::proto::gamestream::rtsp::announce::Codec;
use serde_json::{Value, json};

use super::abilities::{Abilities, Backend, CODECS, Can, FILE, FILE_LEN_MAX};
use super::choice::{Choice, Directives};
use crate::state::{self, Directory};

/// Abilities, and whether they are to be looked at again.
#[derive(Debug)]
pub struct Prober {
    abilities: Option<Abilities>,
    state: State,
    /// Whether what is known holds for a plug-in of the same version.
    trusts_known: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// Nobody has looked yet, or somebody wants it done again.
    Wanted,
    /// Under way.
    Running,
    /// Done.
    Done,
    /// Nothing can be encoded, for this reason.
    Failed(String),
}

/// What the state directory remembers. A file that cannot be read or is not ours is a line in the
/// log: the next probe replaces it.
pub fn load(directory: &Directory) -> Option<Abilities> {
    let bytes = match directory.read(FILE, FILE_LEN_MAX) {
        Ok(bytes) => bytes?,
        Err(error) => {
            log::warn!("encoders: {error}");
            return None;
        }
    };
    let abilities = Abilities::parse(&bytes);
    abilities.inspect_err(|error| log::warn!("encoders: {FILE} is ignored: {error}")).ok()
}

/// Has the state directory remember them.
pub fn store(directory: &Directory, abilities: &Abilities) -> Result<(), state::Error> {
    directory.write(FILE, &abilities.emit())
}

impl Prober {
    /// `cached` is what the state directory remembers.
    pub fn new(cached: Option<Abilities>) -> Prober {
        Prober { abilities: cached, state: State::Wanted, trusts_known: true }
    }

    /// Whether a probe is to be begun now, which then is under way. To be asked once everything is
    /// ready, and after [`Prober::request`].
    pub fn poll_probe(&mut self) -> bool {
        let is_wanted = self.state == State::Wanted;
        if is_wanted {
            self.state = State::Running;
        }
        is_wanted
    }

    /// Has it done again from the beginning, unless it is under way.
    pub fn request(&mut self) {
        if self.state != State::Running {
            self.state = State::Wanted;
            self.trusts_known = false;
        }
    }

    /// What a probe need not find out again if the plug-in is of the same version.
    pub fn cached(&self) -> Option<&Abilities> {
        self.abilities.as_ref().filter(|_| self.trusts_known)
    }

    /// What came of the probe. Returns what is to be stored, if it is not what was known.
    pub fn handle_probed(&mut self, probed: Result<Abilities, String>) -> Option<&Abilities> {
        match probed {
            Ok(abilities) => {
                let is_known = self.abilities.as_ref() == Some(&abilities);
                self.state = State::Done;
                let abilities = self.abilities.insert(abilities);
                (!is_known).then_some(abilities)
            }
            Err(why) => {
                self.abilities = None;
                self.state = State::Failed(why);
                None
            }
        }
    }

    /// What is known. Its version says of which plug-in.
    pub fn abilities(&self) -> Option<&Abilities> {
        self.abilities.as_ref()
    }

    /// What serves which codec as the configuration has it.
    pub fn choice(&self, directives: &Directives) -> Choice {
        match (&self.abilities, &self.state) {
            (Some(abilities), _) => Choice::new(abilities, directives),
            (None, State::Failed(why)) => Choice::none(directives, why),
            (None, _) => Choice::before_probe(directives),
        }
    }

    /// One word, or why nothing can be encoded.
    fn state(&self) -> &str {
        match &self.state {
            State::Wanted => "waiting",
            State::Running => "running",
            State::Done => "done",
            State::Failed(why) => why,
        }
    }

    /// For the management API: backends with their codecs, and what serves which.
    pub fn value(&self, directives: &Directives) -> Value {
        let backends = self.abilities.iter().flat_map(|abilities| {
            Backend::ALL.map(|backend| {
                let codecs = CODECS.map(|codec| codec_value(codec, abilities.of(backend, codec)));
                json!({ "name": backend.to_string(), "codecs": codecs })
            })
        });
        let choice = self.choice(directives);
        let chosen = choice.codecs().iter().map(|served| {
            let by = served.by.map(|service| service.backend.to_string());
            let is_fallback = served.by.is_some_and(|service| service.is_fallback);
            json!({
                "codec": served.codec.to_string(),
                "backend": by,
                "fallback": is_fallback,
                "why": served.why,
            })
        });
        json!({
            "plugin": self.abilities.as_ref().map(Abilities::plugin),
            "probe": self.state(),
            "backends": backends.collect::<Vec<_>>(),
            "chosen": chosen.collect::<Vec<_>>(),
        })
    }

    /// For people: names, each with a line.
    pub fn report(&self, directives: &Directives) -> Vec<(&'static str, String)> {
        let plugin = match &self.abilities {
            Some(abilities) => abilities.plugin(),
            None => self.state(),
        };
        let mut lines = vec![("encoder plug-in", plugin.to_owned())];
        if let Some(abilities) = &self.abilities {
            for backend in Backend::ALL {
                lines.push(("encoder", format!("{backend}: {}", backend_line(abilities, backend))));
            }
        }
        let choice = self.choice(directives);
        lines.extend(choice.codecs().iter().map(|served| ("codec", served.to_string())));
        lines
    }
}

fn codec_value(codec: Codec, ability: Result<Can, &str>) -> Value {
    match ability {
        Ok(can) => json!({
            "name": codec.to_string(),
            "can": can.words().collect::<Vec<_>>(),
        }),
        Err(why) => json!({ "name": codec.to_string(), "can": [], "why_not": why }),
    }
}

/// What a backend can do with each codec; one reason that all have is said once.
fn backend_line(abilities: &Abilities, backend: Backend) -> String {
    let all = CODECS.map(|codec| abilities.of(backend, codec));
    if let Err(why) = all[0]
        && all.iter().all(|ability| *ability == all[0])
    {
        return why.to_owned();
    }
    let words = CODECS.iter().zip(all).map(|(codec, ability)| match ability {
        Ok(can) => format!("{codec} ({can})"),
        Err(why) => format!("no {codec} ({why})"),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::abilities::tests::machine;
    use super::super::choice::tests::DEFAULT;
    use super::*;
    use crate::state::tests::Folder;

    fn directory(folder: &Folder) -> Directory {
        Directory::open(folder.path(), true).unwrap()
    }

    #[test]
    fn what_a_probe_finds_is_remembered() {
        let folder = Folder::new();
        let directory = directory(&folder);
        let found = machine(&[(Backend::Vaapi, Codec::H264)]);

        let mut first = Prober::new(load(&directory));
        let asks = [first.poll_probe(), first.poll_probe()];
        let new = first.handle_probed(Ok(found.clone())).cloned();
        store(&directory, new.as_ref().unwrap()).unwrap();
        let mut second = Prober::new(load(&directory));
        let mode_support = second.choice(&DEFAULT).codec_mode_support();
        let asks_again = second.poll_probe();
        let unchanged = second.handle_probed(Ok(found.clone())).cloned();

        assert_eq!((asks, new), ([true, false], Some(found)));
        assert_eq!((mode_support, asks_again, unchanged), (1, true, None));
        assert!(second.choice(&DEFAULT).invalidates());
        assert!(second.cached().is_some());
        second.request();
        assert!(second.cached().is_none(), "who asks wants to know it anew");
    }

    #[test]
    fn a_file_that_is_not_ours_is_as_good_as_none() {
        let good = machine(&[]).emit();
        let table: [(&[u8], bool); 6] = [
            (&good, true),
            (b"", false),
            (b"{", false),
            (&good[1..], false),
            (b"{\"version\":9}", false),
            (&[b' '; FILE_LEN_MAX + 1], false),
        ];
        for (bytes, is_read) in table {
            let folder = Folder::new();
            let directory = directory(&folder);
            directory.write(FILE, bytes).unwrap();

            assert_eq!(load(&directory).is_some(), is_read, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn without_a_plug_in_nothing_is_offered_and_a_later_probe_may_find_one() {
        let mut prober = Prober::new(Some(machine(&[(Backend::Nvenc, Codec::H264)])));
        prober.poll_probe();

        prober.handle_probed(Err("no plug-in".to_owned()));
        let choice = prober.choice(&DEFAULT);
        let asks = prober.poll_probe();
        prober.request();
        let asks_again = prober.poll_probe();
        prober.request();

        assert!(choice.offers().is_empty());
        assert_eq!(choice.refusal().unwrap(), "no encoder: hevc: none, because no plug-in");
        assert_eq!((asks, asks_again, prober.poll_probe()), (false, true, false));
    }

    #[test]
    fn programs_and_people_are_told_the_same() {
        let prober = Prober::new(Some(machine(&[(Backend::Software, Codec::H264)])));

        let value = prober.value(&DEFAULT);
        let report = prober.report(&DEFAULT);

        assert_eq!(value["plugin"], "stub 1");
        assert_eq!(value["probe"], "waiting");
        assert_eq!(value["backends"][0]["name"], "nvenc");
        assert_eq!(value["backends"][0]["codecs"][2]["why_not"], "no nvenc here");
        let can = json!(["8-bit", "10-bit", "invalidate", "set-bitrate"]);
        assert_eq!(value["backends"][4]["codecs"][0], json!({ "name": "h264", "can": can }));
        assert_eq!(value["chosen"][0]["backend"], Value::Null);
        assert_eq!(value["chosen"][2]["backend"], "software");
        assert_eq!(value["chosen"][2]["fallback"], true);
        let line = |index: usize| format!("{}: {}", report[index].0, report[index].1);
        assert_eq!(line(0), "encoder plug-in: stub 1");
        assert_eq!(line(1), "encoder: nvenc: no nvenc here");
        let software = "h264 (8-bit 10-bit invalidate set-bitrate), no hevc (no software here)";
        assert!(line(5).starts_with(&format!("encoder: software: {software}")), "{}", line(5));
        assert!(line(8).starts_with("codec: h264: software, because nvenc: "), "{}", line(8));
    }
}
