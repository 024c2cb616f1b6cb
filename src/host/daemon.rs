//! What the daemon knows and decides, without a socket or file of its own.
//!
//! Listeners hand in requests, the disk hands in results, timers the time; what is to be done
//! about them comes out as [`Effect`]s, which the reactor carries out.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use punktfunk_core::proto::cert::{Certificate, Fingerprint};
use punktfunk_core::proto::gamestream::http as document;
use ring::rand::SystemRandom;

use crate::apps::Apps;
use crate::code::Code;
use crate::conf::{self, Conf};
use crate::display::{Displays, Told};
use crate::encode::abilities::Abilities;
use crate::encode::prober::Prober;
use crate::hooks;
use crate::identity::Identity;
use crate::ledger::{Change, Ledger, Outcome};
use crate::listen::gamestream;
use crate::listen::mgmt;
use crate::listen::table::Key;
use crate::pairing::{AttemptLimit, Ended, Pairings};
use crate::quota::Quota;
use crate::session::Sessions;
use crate::trust::{Client, Trust};

/// How long anything but a PIN may be waited for.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The one state of the daemon.
pub struct Daemon {
    pub(crate) conf: Conf,
    pub(crate) identity: Identity,
    pub(crate) ledger: Ledger<Waiter>,
    pub(crate) pairings: Pairings<Key>,
    pub(crate) apps: Apps,
    pub(crate) sessions: Sessions,
    pub(crate) prober: Prober,
    /// Asked what there is for displays, no more.
    pub(crate) displays: Arc<Displays>,
    pub(crate) counters: Counters,
    pub(crate) random: SystemRandom,
    /// Lines about devices that nobody knows yet.
    pub(crate) pairing_lines: Quota,
    pub(crate) started: Instant,
    effects: VecDeque<Effect>,
    /// Who asked for the reload that is under way; a signal waits for nothing.
    reload_waiters: Vec<SyncSender<mgmt::Answer>>,
    /// Who asked for another since that one began, which may have read the files already.
    next_reload: Option<Vec<SyncSender<mgmt::Answer>>>,
    is_reloading: bool,
}

/// Something for the reactor to do.
#[derive(Debug)]
pub enum Effect {
    /// Send a whole HTTP answer on a connection, and close it.
    Answer(Key, Vec<u8>),
    /// The configuration changed in what can change at run time.
    Configured,
    /// Close every connection of a client, now.
    Cut(Fingerprint),
    /// Look at the machine, and tell whoever asks.
    Examine(SyncSender<mgmt::Answer>),
    /// Have it known that this has happened.
    Hook(hooks::Event, Box<Told>),
    /// Read the configuration again.
    LoadConf,
    /// Read a picture for a connection.
    ReadImage(Key, PathBuf),
    /// Replace the file of clients.
    WriteClients(Vec<u8>),
}

/// Who hears what became of a change of the list of clients.
#[derive(Debug)]
pub enum Waiter {
    /// The management API.
    Command(SyncSender<mgmt::Answer>, CommandKind),
    /// The last stage of a pairing, and its answer if all goes well.
    Pairing(u64, Key, String),
}

/// Which change the management API asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CommandKind {
    /// Other grants for this client.
    Grant(Fingerprint),
    /// Another name for this client.
    Rename(Fingerprint),
    /// This client is unknown from now on.
    Unpair(Fingerprint),
}

/// What happened since the start.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections taken in.
    pub accepted: u64,
    /// Connections turned away by AllowFrom, DenyFrom or GameStream.
    pub refused: u64,
    /// Connections closed for newer ones, because there were too many.
    pub evicted: u64,
    /// Connections whose request did not come in time.
    pub timed_out: u64,
    /// Times that no connection could be taken for want of descriptors or memory.
    pub accept_errors: u64,
    /// TLS handshakes that failed.
    pub handshake_failures: u64,
    /// Hooks that were not run, because too many waited.
    pub hooks_left_out: u64,
    /// Requests that were none.
    pub bad_requests: u64,
    /// Pairings that ended in trust.
    pub pairings_done: u64,
    /// Pairings that did not.
    pub pairings_failed: u64,
}

impl Counters {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("accepted", self.accepted),
            ("accept_errors", self.accept_errors),
            ("bad_requests", self.bad_requests),
            ("evicted", self.evicted),
            ("handshake_failures", self.handshake_failures),
            ("hooks_left_out", self.hooks_left_out),
            ("pairings_done", self.pairings_done),
            ("pairings_failed", self.pairings_failed),
            ("refused", self.refused),
            ("timed_out", self.timed_out),
        ]
    }
}

impl Daemon {
    /// A daemon that begins with what its files hold.
    pub fn new(
        conf: Conf,
        identity: Identity,
        trust: Trust,
        abilities: Option<Abilities>,
        displays: Arc<Displays>,
        now: Instant,
    ) -> Daemon {
        Daemon {
            apps: Apps::new(&conf.apps),
            sessions: Sessions::default(),
            prober: Prober::new(abilities),
            displays,
            conf,
            identity,
            ledger: Ledger::new(trust),
            pairings: Pairings::default(),
            counters: Counters::default(),
            random: SystemRandom::new(),
            pairing_lines: Quota::default(),
            started: now,
            effects: VecDeque::new(),
            reload_waiters: Vec::new(),
            next_reload: None,
            is_reloading: false,
        }
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Daemon::handle_timeout`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pairings.poll_timeout()
    }

    /// Ends what has waited too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(ended) = self.pairings.poll_expired(now) {
            self.on_pairing_ended(ended, now);
        }
    }

    /// A connection is gone.
    pub fn connection_closed(&mut self, connection: Key, now: Instant) {
        if let Some(mut ended) = self.pairings.connection_closed(connection, now) {
            ended.waiting = None;
            self.on_pairing_ended(ended, now);
        }
    }

    /// Whether an address may ask for anything at all. `is_on_link` says that it is of a network
    /// that this machine is in.
    pub fn admits(&self, ip: IpAddr, is_on_link: bool) -> bool {
        self.conf.admits(ip.to_canonical(), is_on_link)
    }

    /// The end has come: clients that stream and devices that wait for their PIN are told so.
    pub fn stop(&mut self, now: Instant) {
        self.sessions.stop(now);
        while let Some(ended) = self.pairings.poll_waiting(now) {
            self.on_pairing_ended(ended, now);
        }
    }

    /// How long the answer to a request may take: a first stage of pairing waits for its PIN, and
    /// is answered when the time for that is over.
    pub fn answer_time(&self) -> Duration {
        self.conf.pairing_window + ANSWER_TIME
    }

    /// Whether nothing is on its way to the disk.
    pub fn is_idle(&self) -> bool {
        self.ledger.is_idle()
    }

    /// The file of clients is written, or why not.
    pub fn handle_written(&mut self, written: Result<(), String>, now: Instant) {
        if let Err(why) = &written {
            log::error!("clients: {why}");
        }
        if let Some((waiter, outcome)) = self.ledger.handle_written(written) {
            self.hold_sessions(now);
            self.on_change(waiter, outcome, now);
        }
        self.drive_ledger(now);
    }

    /// The configuration asked for by [`Effect::LoadConf`].
    pub fn handle_conf(&mut self, loaded: Result<Conf, Vec<conf::Error>>) {
        self.is_reloading = false;
        let answer = match loaded {
            Err(errors) => {
                let details: Vec<String> = errors.iter().map(ToString::to_string).collect();
                for error in &details {
                    log::error!("{error}");
                }
                log::error!(
                    "configuration: kept as it was; errors in the new one: {} [{}]",
                    details.len(),
                    Code::Configuration,
                );
                Err(mgmt::conf_refusal(details))
            }
            Ok(conf) => {
                let reload = self.conf.reload(conf);
                for change in &reload.changed {
                    log::info!("configuration: {change}");
                }
                for change in &reload.needs_restart {
                    log::warn!(
                        "configuration: {change}: needs a restart [{}]",
                        Code::Configuration
                    );
                }
                if reload.changed.is_empty() && reload.needs_restart.is_empty() {
                    log::info!("configuration: read again, nothing changed");
                }
                let report = mgmt::reload_report(&reload);
                self.conf = reload.conf;
                self.apps = Apps::new(&self.conf.apps);
                self.effects.push_back(Effect::Configured);
                Ok(report)
            }
        };
        for waiter in self.reload_waiters.drain(..) {
            // Whoever asked may have gone.
            let _ = waiter.try_send(answer.clone());
        }
        if let Some(waiters) = self.next_reload.take() {
            self.is_reloading = true;
            self.reload_waiters = waiters;
            self.effects.push_back(Effect::LoadConf);
        }
    }

    /// Has the configuration read again; `waiter` hears what came of it.
    pub fn reload(&mut self, waiter: Option<SyncSender<mgmt::Answer>>) {
        if self.is_reloading {
            self.next_reload.get_or_insert_default().extend(waiter);
            return;
        }
        self.is_reloading = true;
        self.reload_waiters.extend(waiter);
        self.effects.push_back(Effect::LoadConf);
    }

    /// What SIGUSR1 asks for: the state, for the log.
    pub fn dump(&self, now: Instant) -> Vec<String> {
        let mut lines = vec![format!(
            "state: up {} s, {} clients paired, {} pairings under way",
            now.duration_since(self.started).as_secs(),
            self.ledger.trust().clients().len(),
            self.pairings.pending_count(),
        )];
        let counts = self.counters.named().map(|(name, count)| format!("{name} {count}"));
        lines.push(format!("state: counted {}", counts.join(", ")));
        for client in self.ledger.trust().clients() {
            let fingerprint = client.certificate.fingerprint();
            lines.push(format!("state: client {:?}, {fingerprint}", client.name));
        }
        for (entry, _) in self.pairings.entries() {
            let (id, address, state) = (entry.id, entry.address, &entry.state);
            lines.push(format!("state: pairing {id} from {address}, {state}"));
        }
        for session in self.sessions.all() {
            lines.push(format!(
                "state: session {} of {:?} from {}, {}, since {} s",
                session.id,
                session.client_name,
                session.address,
                session.state(),
                now.duration_since(session.began).as_secs(),
            ));
        }
        for run in self.sessions.runs() {
            let title = &run.title;
            let waits = match run.lingers {
                None => String::new(),
                Some(lingers) => {
                    let since_s = now.duration_since(lingers.since).as_secs();
                    format!(", and waits for it since {since_s} s")
                }
            };
            lines.push(format!("state: app {title:?} of {:?} runs{waits}", run.client_name));
        }
        lines
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn attempt_limit(&self) -> AttemptLimit {
        let limit = self.conf.pairing_attempts;
        AttemptLimit { count: limit.count as usize, window: limit.window }
    }

    /// Has a change written; its waiter hears of it later.
    pub(crate) fn change(&mut self, change: Change, waiter: Waiter, now: Instant) {
        let handled = self.ledger.handle_change(change, waiter);
        self.hold_sessions(now);
        if let Err(waiter) = handled {
            let why = "too many changes wait for the disk".to_owned();
            self.on_change(waiter, Outcome::NotWritten(why), now);
        }
        self.drive_ledger(now);
    }

    /// The last stage of a pairing held: the client is to be stored before it is told.
    pub(crate) fn store_client(
        &mut self,
        certificate: Certificate,
        name: String,
        waiter: Waiter,
        paired_unix_s: u64,
        now: Instant,
    ) {
        let grants = self.conf.default_grants;
        let client = Client { certificate, name, grants, paired_unix_s };
        self.change(Change::Pair(client), waiter, now);
    }

    pub(crate) fn on_pairing_ended(&mut self, ended: Ended<Key>, now: Instant) {
        self.counters.pairings_failed += 1;
        let entry = &ended.entry;
        if let crate::pairing::State::Failed(failure) = &entry.state {
            let level = self.pairing_lines.level(log::Level::Warn, now);
            log::log!(level, "pairing {}: from {}: ended, {failure}", entry.id, entry.address);
            if let Some(connection) = ended.waiting {
                let body = document::refusal(400, &failure.to_string(), Some(("paired", "0")));
                self.push(Effect::Answer(connection, gamestream::xml(200, &body)));
            }
        }
    }

    /// Holds those who are here to what the list of clients says now.
    fn hold_sessions(&mut self, now: Instant) {
        for fingerprint in self.sessions.clients() {
            let mut clients = self.ledger.trust().clients().iter();
            match clients.find(|client| client.certificate.fingerprint() == fingerprint) {
                None => self.sessions.forget(fingerprint, now),
                Some(client) => self.sessions.set_grants(fingerprint, client.grants, now),
            }
        }
    }

    fn drive_ledger(&mut self, now: Instant) {
        while let Some(next) = self.ledger.poll_write() {
            match next {
                Ok(bytes) => self.push(Effect::WriteClients(bytes)),
                Err((waiter, error)) => self.on_change(waiter, Outcome::Refused(error), now),
            }
        }
    }

    fn on_change(&mut self, waiter: Waiter, outcome: Outcome, now: Instant) {
        match waiter {
            Waiter::Command(reply, kind) => {
                let answer = self.change_answer(kind, outcome);
                let _ = reply.try_send(answer);
            }
            Waiter::Pairing(id, connection, body) => {
                let stored = match outcome {
                    Outcome::Done => Ok(()),
                    Outcome::Refused(error) => Err(error.to_string()),
                    Outcome::NotWritten(why) => Err(why),
                };
                let body = match &stored {
                    Ok(()) => {
                        self.counters.pairings_done += 1;
                        log::info!("pairing {id}: done, the client is trusted from now on");
                        body
                    }
                    Err(why) => {
                        self.counters.pairings_failed += 1;
                        log::error!("pairing {id}: not stored, the client is not trusted: {why}");
                        document::paired(false, None)
                    }
                };
                self.pairings.conclude(id, stored, now);
                self.push(Effect::Answer(connection, gamestream::xml(200, &body)));
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::conf::{Environment, Sources};
    use crate::display;
    use crate::state::Directory;
    use crate::state::tests::Folder;

    pub fn conf() -> Conf {
        let overrides = ["StateDirectory=/s".to_owned(), "RuntimeDirectory=/r".to_owned()];
        let environment = Environment::default();
        conf::load(&Sources { file: None, overrides: &overrides, environment: &environment })
            .unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn daemon() -> Daemon {
        let folder = Folder::new();
        let directory = Directory::open(folder.path(), true).unwrap();
        for (name, text) in [
            ("gamestream_key.pem", include_str!("../../tests/vectors/certificates/host.key.pem")),
            ("gamestream_cert.pem", include_str!("../../tests/vectors/certificates/host.pem")),
        ] {
            directory.write(name, text.as_bytes()).unwrap();
        }
        let (identity, _) = Identity::open(&directory).unwrap();
        let directory = Arc::new(directory);
        let journal = display::journal::Journal::open(directory).unwrap();
        let surroundings = display::Surroundings {
            runtime: "/r".into(),
            xdg_runtime: "/x".into(),
            home: "/".into(),
            variables: Vec::new(),
        };
        let displays = Arc::new(Displays::new(surroundings, journal));
        Daemon::new(conf(), identity, Trust::default(), None, displays, Instant::now())
    }

    #[test]
    fn who_asks_for_a_reload_while_another_reads_gets_what_is_read_after() {
        let mut daemon = daemon();
        let (first, hears_first) = sync_channel(1);
        let (second, hears_second) = sync_channel(1);

        daemon.reload(Some(first));
        let reads = daemon.poll_effect();
        daemon.reload(Some(second));
        let waits = daemon.poll_effect();
        daemon.handle_conf(Ok(conf()));
        let heard = (hears_first.try_recv().is_ok(), hears_second.try_recv().is_ok());
        let effects: Vec<Effect> = std::iter::from_fn(|| daemon.poll_effect()).collect();
        daemon.handle_conf(Ok(conf()));

        assert!(matches!(reads, Some(Effect::LoadConf)) && waits.is_none());
        assert_eq!(heard, (true, false));
        assert!(matches!(effects[..], [Effect::Configured, Effect::LoadConf]), "{effects:?}");
        assert!(hears_second.try_recv().is_ok());
        assert!(matches!(daemon.poll_effect(), Some(Effect::Configured)));
        assert!(daemon.poll_effect().is_none());
    }
}
