//! Hooks: commands of the administrator that run beside the daemon when something happens.
//!
//! Those of one session run one after another in the order of what happened. A few threads, which
//! are there only while there is something to run, wait for them; the reactor never does.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use log::Level;
use mio::Waker;
use punktfunk_core::net::clock;

use crate::conf::Conf;
use crate::display::script::Script;
use crate::display::{Setting, Told};
use crate::quota::Quota;

/// Hooks that run at once.
const THREAD_COUNT_MAX: usize = 4;
/// Hooks that wait when something begins. One more is left out, and what belongs to its end: a
/// client that comes and goes all the time must not fill the machine with processes.
const WAITING_COUNT_MAX: usize = 64;
/// Of these for pairings. Strangers can ask to pair, and must not keep those of sessions from running.
const PAIRING_COUNT_MAX: usize = 8;

/// The lane of pairings; sessions count from 1.
const PAIRINGS: u32 = 0;

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A client has a session from now on.
    Connect,
    /// It has none any more: why.
    Disconnect(String),
    /// A device asks to pair, under this number.
    PairRequest(u64),
    /// There are no more pictures: why.
    StreamEnd(String),
    /// The first picture is sent.
    StreamStart,
}

impl Event {
    /// As [`PUNKTFUNK_EVENT`](Event::variables) says it.
    fn name(&self) -> &'static str {
        match self {
            Event::Connect => "connect",
            Event::Disconnect(_) => "disconnect",
            Event::PairRequest(_) => "pair-request",
            Event::StreamEnd(_) => "stream-end",
            Event::StreamStart => "stream-start",
        }
    }

    /// The directive, and what it says.
    fn command<'a>(&self, conf: &'a Conf) -> (&'static str, &'a [String]) {
        match self {
            Event::Connect => ("OnConnect", &conf.on_connect),
            Event::Disconnect(_) => ("OnDisconnect", &conf.on_disconnect),
            Event::PairRequest(_) => ("OnPairRequest", &conf.on_pair_request),
            Event::StreamEnd(_) => ("OnStreamEnd", &conf.on_stream_end),
            Event::StreamStart => ("OnStreamStart", &conf.on_stream_start),
        }
    }

    /// What ends with it, if it is an end.
    fn begin(&self) -> Option<Event> {
        match self {
            Event::Disconnect(_) => Some(Event::Connect),
            Event::StreamEnd(_) => Some(Event::StreamStart),
            Event::Connect | Event::PairRequest(_) | Event::StreamStart => None,
        }
    }

    /// Whether an end belongs to it.
    fn has_end(&self) -> bool {
        matches!(self, Event::Connect | Event::StreamStart)
    }

    /// What is told of it, beside what is told of its session.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("PUNKTFUNK_EVENT", self.name().to_owned())];
        match self {
            Event::Disconnect(why) | Event::StreamEnd(why) => {
                variables.push(("PUNKTFUNK_REASON", why.replace('\0', "")));
            }
            Event::PairRequest(id) => variables.push(("PUNKTFUNK_PAIRING", id.to_string())),
            Event::Connect | Event::StreamStart => {}
        }
        variables
    }
}

/// Hooks that run and that wait.
pub struct Hooks {
    shared: Arc<Mutex<Shared>>,
    waker: Arc<Waker>,
    /// What has begun for which session, and whose end has its place.
    begun: Vec<(u32, Event)>,
    left_out_lines: Quota,
}

/// One hook. Those of a lane, which is a session or all pairings, run one after another.
struct Job {
    lane: u32,
    name: &'static str,
    script: Script,
}

#[derive(Default)]
struct Shared {
    waiting: VecDeque<Job>,
    /// Lanes of hooks that run.
    busy: Vec<u32>,
    failed_lines: Quota,
}

impl Shared {
    /// The next hook whose lane is free.
    fn take(&mut self) -> Option<Job> {
        let index = self.waiting.iter().position(|job| !self.busy.contains(&job.lane))?;
        let job = self.waiting.remove(index)?;
        self.busy.push(job.lane);
        Some(job)
    }
}

impl Hooks {
    /// None yet. `waker` tells the reactor that one has ended.
    pub fn new(waker: Arc<Waker>) -> Hooks {
        let (shared, begun) = (Arc::default(), Vec::new());
        Hooks { shared, waker, begun, left_out_lines: Quota::default() }
    }

    /// Has the hook for that run, if there is one. `false` says that it is left out, as too many
    /// wait.
    pub fn handle(
        &mut self,
        event: &Event,
        told: &Told,
        conf: &Conf,
        setting: &Setting,
        now: Instant,
    ) -> bool {
        let lane = told.session;
        if let Some(begin) = event.begin() {
            let place = self.begun.iter().position(|it| *it == (lane, begin.clone()));
            match place {
                Some(place) => self.begun.swap_remove(place),
                // Its beginning was left out.
                None => return true,
            };
        } else if !self.has_room(lane) {
            let level = self.left_out_lines.level(Level::Warn, now);
            log::log!(level, "hooks: too many wait, {} is left out", event.command(conf).0);
            return false;
        } else if event.has_end() {
            self.begun.push((lane, event.clone()));
        }
        let (name, words) = event.command(conf);
        if words.is_empty() {
            return true;
        }
        let mut variables = setting.variables.clone();
        let told = told.variables().into_iter().chain(event.variables());
        variables.extend(told.map(|(name, value)| (name.into(), value.into())));
        let script = Script {
            argv: words.iter().map(Into::into).collect(),
            directory: setting.directory.clone(),
            variables,
            time_max: conf.hook_timeout,
        };
        if let Err(error) = self.give(Job { lane, name, script }) {
            log::warn!("hooks: {name} waits for another to end: {error}");
        }
        true
    }

    /// Whether none runs or waits.
    pub fn is_idle(&self) -> bool {
        let shared = lock(&self.shared);
        shared.waiting.is_empty() && shared.busy.is_empty()
    }

    fn has_room(&self, lane: u32) -> bool {
        let shared = lock(&self.shared);
        let pairing_count = shared.waiting.iter().filter(|job| job.lane == PAIRINGS).count();
        let is_pairing = lane == PAIRINGS;
        shared.waiting.len() < WAITING_COUNT_MAX
            && !(is_pairing && pairing_count >= PAIRING_COUNT_MAX)
    }

    fn give(&self, job: Job) -> io::Result<()> {
        let mut shared = lock(&self.shared);
        shared.waiting.push_back(job);
        if shared.busy.len() >= THREAD_COUNT_MAX {
            // The thread that is done first takes it.
            return Ok(());
        }
        let Some(job) = shared.take() else { return Ok(()) };
        let lane = job.lane;
        let (theirs, waker) = (Arc::clone(&self.shared), Arc::clone(&self.waker));
        let started = thread::Builder::new()
            .name("hook".into())
            .stack_size(256 * 1024)
            .spawn(move || run(job, &theirs, &waker));
        if let Err(error) = started {
            shared.busy.retain(|other| *other != lane);
            return Err(error);
        }
        Ok(())
    }
}

/// Runs hooks until there is none to run.
fn run(mut job: Job, shared: &Mutex<Shared>, waker: &Waker) {
    loop {
        let began = clock::now();
        let result = job.script.run();
        let now = clock::now();
        let (lane, name) = (job.lane, job.name);
        let whose = if lane == PAIRINGS { "pairing".to_owned() } else { format!("session {lane}") };
        let mut state = lock(shared);
        match result {
            Ok(()) => {
                let time = now.duration_since(began).as_millis();
                log::debug!("{whose}: {name} ended after {time} ms");
            }
            Err(failure) => {
                let level = state.failed_lines.level(Level::Warn, now);
                log::log!(level, "{whose}: {name} \"{}\": {failure}", job.script.name());
            }
        }
        state.busy.retain(|other| *other != lane);
        let next = state.take();
        drop(state);
        // A waker can only fail where the reactor is gone.
        let _ = waker.wake();
        match next {
            Some(next) => job = next,
            None => return,
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("a panic of the other thread ends the process")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::daemon::tests::conf;
    use crate::state::tests::Folder;

    fn hooks() -> (mio::Poll, Hooks) {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).unwrap());
        (poll, Hooks::new(waker))
    }

    fn told(session: u32) -> Told {
        Told { session, client_name: "tv".into(), ..Told::default() }
    }

    fn setting(folder: &Path) -> Setting {
        let variables = [("PATH".into(), "/usr/bin:/bin".into())].into();
        Setting { directory: folder.to_owned(), variables }
    }

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[expect(clippy::disallowed_methods, reason = "threads end when they end")]
    fn wait(hooks: &Hooks) {
        while !hooks.is_idle() {
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn the_hooks_of_a_session_run_in_order_and_know_what_happened() {
        let folder = Folder::new();
        let (_poll, mut hooks) = hooks();
        let mut conf = conf();
        let said = "echo $PUNKTFUNK_EVENT $PUNKTFUNK_SESSION $PUNKTFUNK_REASON";
        conf.on_connect = shell(&format!("sleep 0.2; {said} >>s$PUNKTFUNK_SESSION"));
        conf.on_stream_start = conf.on_connect.clone();
        conf.on_stream_end = shell(&format!("{said} >>s$PUNKTFUNK_SESSION"));
        conf.on_disconnect = conf.on_stream_end.clone();
        let (ends, left) =
            (Event::StreamEnd("no\0 cable".into()), Event::Disconnect("left".into()));

        for event in [Event::Connect, Event::StreamStart, ends, left] {
            for session in [1, 2] {
                let setting = setting(folder.path());
                assert!(hooks.handle(&event, &told(session), &conf, &setting, clock::now()));
            }
        }
        wait(&hooks);

        for session in [1, 2] {
            let said = fs::read_to_string(folder.path().join(format!("s{session}"))).unwrap();
            let expected = format!(
                "connect {session}\nstream-start {session}\nstream-end {session} no cable\n\
                 disconnect {session} left\n"
            );
            assert_eq!(said, expected);
        }
        assert_eq!(hooks.begun, []);
    }

    #[test]
    fn too_many_are_left_out_with_their_ends_and_few_run_at_once() {
        let folder = Folder::new();
        let (_poll, mut hooks) = hooks();
        let mut conf = conf();
        // Each notes how many there are beside it, and waits until all have been given.
        conf.on_connect = shell(
            "echo >run$PUNKTFUNK_SESSION; ls run* | wc -l >>counts; \
             while [ ! -e go ]; do sleep 0.01; done; rm run$PUNKTFUNK_SESSION",
        );
        conf.on_disconnect = shell("echo >>ends");
        let mut handle = |event: &Event, session| {
            let setting = setting(folder.path());
            hooks.handle(event, &told(session), &conf, &setting, clock::now())
        };

        let taken = (1..=1000).filter(|session| handle(&Event::Connect, *session)).count();
        for session in 1..=1000 {
            handle(&Event::Disconnect("left".into()), session);
        }
        let pairings = (1..=100).filter(|id| handle(&Event::PairRequest(*id), 0)).count();
        fs::write(folder.path().join("go"), "").unwrap();
        wait(&hooks);

        assert_eq!(pairings, 0);
        assert_eq!(taken, THREAD_COUNT_MAX + WAITING_COUNT_MAX);
        let ends = fs::read_to_string(folder.path().join("ends")).unwrap();
        assert_eq!(ends.lines().count(), taken);
        let counts = fs::read_to_string(folder.path().join("counts")).unwrap();
        let most = counts.lines().map(|line| line.trim().parse::<usize>().unwrap()).max();
        assert!(most <= Some(THREAD_COUNT_MAX), "{counts}");
    }

    #[test]
    fn strangers_who_ask_to_pair_leave_room_for_sessions() {
        let folder = Folder::new();
        let (_poll, mut hooks) = hooks();
        let mut conf = conf();
        conf.on_pair_request = shell("while [ ! -e go ]; do sleep 0.01; done; echo >>pairings");
        conf.on_connect = shell("echo >connected; echo >go");
        let mut handle = |event: &Event, session| {
            let setting = setting(folder.path());
            hooks.handle(event, &told(session), &conf, &setting, clock::now())
        };

        let taken = (1..=1000).filter(|id| handle(&Event::PairRequest(*id), 0)).count();
        let is_connect_taken = handle(&Event::Connect, 1);
        wait(&hooks);

        assert_eq!(taken, 1 + PAIRING_COUNT_MAX);
        assert!(is_connect_taken && folder.path().join("connected").exists());
        let pairings = fs::read_to_string(folder.path().join("pairings")).unwrap();
        assert_eq!(pairings.lines().count(), taken);
    }

    #[test]
    fn what_has_no_hook_is_no_trouble() {
        let (_poll, mut hooks) = hooks();
        for event in [Event::PairRequest(1), Event::Connect, Event::Disconnect(String::new())] {
            let setting = setting(Path::new("/"));
            assert!(hooks.handle(&event, &told(1), &conf(), &setting, clock::now()));
        }

        assert!(hooks.is_idle() && hooks.begun.is_empty());
    }
}
