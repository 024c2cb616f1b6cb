//! A display on a sway that runs already: an output made for the session, or one that is there.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use punktfunk_core::proto::gamestream::http::Mode;

use super::app::{self, App, Setting};
use super::journal::{Entry, Journal, Mark};
use super::programs::Programs;
use super::seats::Seat;
use super::sway::{self, Desktop, Removal};
use super::told::Told;
use super::{Backend, Error, Surroundings, Wanted};
use crate::code::Code;
use crate::ipc::{self, Events, Window};

/// An output of somebody's desktop, and the session's programs there.
pub struct Attached {
    desktop: Desktop,
    events: Events,
    output: String,
    mode: Mode,
    scale_percent: u32,
    /// Only of an output that was made for the session.
    mark: Option<Mark>,
    seat: Seat,
    sessions_max: u32,
    journal: Arc<Journal>,
    session: u32,
    programs: Programs,
}

impl Attached {
    /// Makes an output at the mode wanted, or takes one that an earlier session could not remove.
    pub fn make(
        desktop: Desktop,
        wanted: &Wanted,
        journal: &Arc<Journal>,
    ) -> Result<Attached, Error> {
        let mut client = desktop.connect()?;
        let events = desktop.connect()?.subscribe()?;
        let turn = journal.turn();
        let seat = journal.seats().take(desktop.process, &mut client, wanted.sessions_max)?;
        let before = sway::names(&mut client)?;
        let parked = loop {
            match journal.take_parked(&desktop)? {
                // Whoever has another way to remove it may have done so.
                Some((mark, name)) if !before.contains(&name) => journal.remove(mark)?,
                other => break other,
            }
        };
        let (mark, name) = match parked {
            Some((mark, name)) => (mark, Some(name)),
            None => {
                let entry = Entry::Output {
                    compositor: (&desktop).into(),
                    before: before.clone(),
                    name: None,
                    programs: Vec::new(),
                };
                (journal.add(entry)?, None)
            }
        };
        let made = match name {
            Some(name) => Ok(name),
            None => sway::create(&mut client, &before),
        };
        let output = match made {
            Ok(name) => name,
            Err(error) => {
                match error {
                    // Nothing was made.
                    Error::Ipc(ipc::Error::Refused(_)) => journal.remove(mark)?,
                    // It may be there, or come once the desktop goes on.
                    _ => journal.leave(mark),
                }
                return Err(error);
            }
        };
        // From here on it is removed whatever happens.
        let attached = Attached {
            desktop,
            events,
            output: output.clone(),
            mode: wanted.mode,
            scale_percent: wanted.scale_percent,
            mark: Some(mark),
            seat,
            sessions_max: wanted.sessions_max,
            journal: Arc::clone(journal),
            session: wanted.session,
            programs: Programs::new(wanted.session),
        };
        if let Some(mark) = &attached.mark {
            attached.journal.update(mark, |entry| {
                if let Entry::Output { name, .. } = entry {
                    *name = Some(output.clone());
                }
            })?;
        }
        drop(turn);
        sway::set_mode(&mut client, &output, wanted.mode, wanted.scale_percent)?;
        Ok(attached)
    }

    /// Takes an output as it is.
    pub fn mirror(
        desktop: Desktop,
        name: &str,
        wanted: &Wanted,
        journal: &Arc<Journal>,
    ) -> Result<Attached, Error> {
        let output = sway::output(&mut desktop.connect()?, name)?;
        let mode = output.mode().ok_or_else(|| Error::Dark(name.to_owned()))?;
        let seat = journal.seats().share(desktop.process);
        Ok(Attached {
            events: desktop.connect()?.subscribe()?,
            desktop,
            output: output.name,
            mode,
            scale_percent: wanted.scale_percent,
            mark: None,
            seat,
            sessions_max: wanted.sessions_max,
            journal: Arc::clone(journal),
            session: wanted.session,
            programs: Programs::new(wanted.session),
        })
    }

    /// Removes the output; returns whether it is parked instead.
    fn remove(&self) -> Result<Removal, Error> {
        let removed = self.desktop.connect().and_then(|mut it| sway::remove(&mut it, &self.output));
        match removed {
            // It is gone with its desktop.
            Err(_) if !self.is_alive() => Ok(Removal::Gone),
            removed => removed,
        }
    }
}

impl Backend for Attached {
    fn name(&self) -> String {
        format!("{} of {}", self.output, self.desktop.title())
    }

    fn socket(&self) -> &Path {
        &self.desktop.wayland
    }

    fn output(&self) -> &str {
        &self.output
    }

    fn seat(&self) -> Option<String> {
        self.seat.name()
    }

    fn ipc(&self) -> Option<&Path> {
        Some(&self.desktop.ipc)
    }

    fn mode(&self) -> Mode {
        self.mode
    }

    fn set_scale(&mut self, percent: u32) {
        self.scale_percent = percent;
    }

    fn set_mode(&mut self, mode: Mode) -> Result<(), Error> {
        let mut client = self.desktop.connect()?;
        if self.mark.is_some() {
            sway::set_mode(&mut client, &self.output, mode, self.scale_percent)?;
            self.mode = mode;
        } else {
            let shown = sway::output(&mut client, &self.output)?.mode();
            self.mode = shown.ok_or_else(|| Error::Dark(self.output.clone()))?;
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<bool, Error> {
        let news = self.events.take()?;
        if self.mark.is_some() {
            let is_ours = |window: &Window| {
                let pid = window.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
                self.programs.have_started(pid)
            };
            for window in news.windows.iter().filter(|window| is_ours(window)) {
                // It may have closed since.
                let _ = sway::bring(&mut self.desktop.connect()?, window.id, &self.output);
            }
        }
        if !news.has_reloaded {
            return Ok(false);
        }
        // That put outputs as the configuration says and took seats away.
        let mut client = self.desktop.connect()?;
        let turn = self.journal.turn();
        self.seat.restore(&mut client, self.sessions_max)?;
        drop(turn);
        self.set_mode(self.mode)?;
        Ok(true)
    }

    fn is_alive(&self) -> bool {
        self.desktop.process.is_alive()
    }

    fn setting(&self, app: &App, surroundings: &Surroundings, told: &Told) -> Setting {
        let own: [(&str, OsString); 2] = [
            ("WAYLAND_DISPLAY", self.desktop.wayland.clone().into()),
            ("SWAYSOCK", self.desktop.ipc.clone().into()),
        ];
        app::setting(app, surroundings, told, own)
    }

    fn run(&mut self, app: &App, setting: &Setting) -> Result<(), Error> {
        // Windows open where the user's seat has its focus, unless there is a rule for them.
        let (is_own, is_shared) = (self.mark.is_some(), self.seat().is_none());
        let mut client = self.desktop.connect()?;
        if is_own && is_shared {
            sway::focus(&mut client, &self.output)?;
        }
        let process = self.programs.start(app, setting)?;
        if is_own && !is_shared {
            sway::assign(&mut client, process, &self.output)?;
        }
        if let Some(mark) = &self.mark {
            self.journal
                .update(mark, |it| it.programs().into_iter().for_each(|it| it.push(process)))?;
        }
        Ok(())
    }

    fn end_programs(&mut self) {
        self.programs.end();
    }

    fn has_programs(&self) -> bool {
        self.programs.run()
    }

    fn log(&self) -> String {
        self.programs.log()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.programs.end();
        let Some(mark) = self.mark.take() else { return };
        let written = match self.remove() {
            Ok(Removal::Gone) => self.journal.remove(mark),
            Ok(Removal::Parked) => {
                let (compositor, name) = ((&self.desktop).into(), self.output.clone());
                self.journal.update(&mark, |entry| *entry = Entry::Parked { compositor, name })
            }
            Err(error) => {
                self.journal.leave(mark);
                Err(error)
            }
        };
        if let Err(error) = written {
            let (session, output) = (self.session, &self.output);
            log::warn!("session {session}: output {output} left: {error} [{}]", Code::LeftOvers);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::super::journal::Entry;
    use super::*;
    use crate::conf;
    use crate::display::process;
    use crate::state::Directory;
    use crate::state::tests::Folder;

    /// A sway without outputs. To what is to make one it answers this; with nothing, it makes it and
    /// closes.
    fn sway(folder: &Folder, answer: &'static str) -> Desktop {
        let ipc = folder.path().join("sway-ipc.0.1.sock");
        let listener = UnixListener::bind(&ipc).unwrap();
        let is_made = Arc::new(AtomicBool::new(false));
        let listen = move || {
            for stream in listener.incoming() {
                let (stream, is_made) = (stream.unwrap(), Arc::clone(&is_made));
                let serve = move || serve(stream, answer, &is_made);
                thread::Builder::new().spawn(serve).unwrap();
            }
        };
        thread::Builder::new().spawn(listen).unwrap();
        let (process, version) = (process::this().unwrap(), "1.8".to_owned());
        Desktop { process, version, ipc, wayland: "/nowhere/wayland".into() }
    }

    fn serve(mut stream: UnixStream, answer: &str, is_made: &AtomicBool) {
        let mut head = [0; 14];
        while stream.read_exact(&mut head).is_ok() {
            let len = u32::from_ne_bytes(head[6..10].try_into().unwrap());
            let mut asked = vec![0; len as usize];
            stream.read_exact(&mut asked).unwrap();
            let said = match &asked[..] {
                b"create_output" if answer.is_empty() => {
                    is_made.store(true, Ordering::Relaxed);
                    break;
                }
                b"create_output" => answer,
                b"output HEADLESS-1 unplug" => {
                    is_made.store(false, Ordering::Relaxed);
                    r#"[{"success":true}]"#
                }
                _ => match head[10] {
                    0 => r#"[{"success":true}]"#,
                    2 => r#"{"success":true}"#,
                    3 if is_made.load(Ordering::Relaxed) => r#"[{"name":"HEADLESS-1"}]"#,
                    _ => "[]",
                },
            };
            let len = (said.len() as u32).to_ne_bytes();
            let head = [&b"i3-ipc"[..], &len, &head[10..]].concat();
            stream.write_all(&[&head, said.as_bytes()].concat()).unwrap();
        }
    }

    #[test]
    fn an_output_whose_making_is_not_answered_is_removed_once_it_is_there() {
        let refusal = r#"[{"success":false,"error":"no"}]"#;
        let table = [(refusal, 0, &[][..]), ("", 1, &["output HEADLESS-1 removed"])];
        for (answer, entry_count, expected) in table {
            let folder = Folder::new();
            let directory = Directory::open(&folder.path().join("state"), true).unwrap();
            let journal = Arc::new(Journal::open(Arc::new(directory)).unwrap());
            let wanted = Wanted {
                kind: conf::Display::Virtual,
                compositor: conf::Compositor::Auto,
                mode: Mode { width: 1280, height: 720, refresh_mhz: 60_000 },
                scale_percent: 100,
                session: 1,
                run: 1,
                told: Told::default(),
                app: None,
                sessions_max: 1,
            };

            let made = Attached::make(sway(&folder, answer), &wanted, &journal);

            let error = made.map(|_| ()).unwrap_err().to_string();
            let entries = journal.entries();
            assert_eq!(entries.len(), entry_count, "{error}");
            assert!(entries.iter().all(|it| matches!(it, Entry::Output { name: None, .. })));
            assert_eq!(journal.restore(), expected, "{error}");
            assert_eq!(journal.entries(), []);
        }
    }
}
