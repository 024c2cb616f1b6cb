//! The daemon's answers to the management API.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::time::Instant;

use punktfunk_core::proto::cert::Fingerprint;
use serde_json::{Value, json};

use super::route::{Answer, Code, Command, Refusal, Report};
use super::{Facts, Post};
use crate::conf::{LogLevels, Reload};
use crate::daemon::{CommandKind, Daemon, Effect, Waiter};
use crate::ledger::{Change, Outcome};
use crate::listen::gamestream;
use crate::pairing::{self, Entry, State};
use crate::trust::{self, Client};
use crate::{capability, log, session};

impl Daemon {
    /// Takes what the API is asked. The answer is sent at once, or when the disk has spoken.
    pub fn handle_post(&mut self, post: Post, facts: &Facts, now: Instant) {
        let Post { command, reply } = post;
        let answer = match command {
            Command::Apps => Ok(self.apps_report()),
            Command::Clients => Ok(self.clients_report(facts)),
            Command::Document => Err(Refusal::no_answer()), // the engine has it
            Command::Doctor => return self.push(Effect::Examine(reply)),
            Command::Encoders => Ok(self.encoders_report()),
            Command::EndRun { id } => self.end_run(id, now),
            Command::EndSession { id } => self.end_session(id, now),
            Command::Feedback { id, gamepad, feedback } => self.feed_back(id, gamepad, feedback),
            Command::Grant { fingerprint, given, taken } => {
                let waiter = Waiter::Command(reply, CommandKind::Grant(fingerprint));
                return self.change(Change::Grant { fingerprint, given, taken }, waiter, now);
            }
            Command::LogLevel => Ok(log_level_report()),
            Command::Pairings => Ok(self.pairings_report(now)),
            Command::ProbeEncoders => {
                self.prober.request();
                Ok(self.encoders_report())
            }
            Command::Reject { id } => self.reject(id, now),
            Command::Reload => return self.reload(Some(reply)),
            Command::Rename { fingerprint, name } => {
                let waiter = Waiter::Command(reply, CommandKind::Rename(fingerprint));
                return self.change(Change::Rename(fingerprint, name), waiter, now);
            }
            Command::RequestIdr { id } => self.request_idr(id),
            Command::Runs => Ok(self.runs_report(now)),
            Command::Session { id } => self.session_report(id, facts, now),
            Command::Sessions => Ok(self.sessions_report(facts, now)),
            Command::SetBitrate { id, kbps } => self.set_bitrate(id, kbps, facts, now),
            Command::SetLogLevel { level } => set_log_level(&level),
            Command::Status => Ok(self.status_report(facts, now)),
            Command::SubmitPin { id, fingerprint, pin } => {
                self.submit_pin(id, fingerprint, &pin.0, now)
            }
            Command::Unpair { fingerprint } if self.client(fingerprint).is_none() => {
                Err(change_refusal(&trust::Error::Unknown))
            }
            Command::Unpair { fingerprint } => {
                let waiter = Waiter::Command(reply, CommandKind::Unpair(fingerprint));
                self.change(Change::Unpair(fingerprint), waiter, now);
                return self.push(Effect::Cut(fingerprint));
            }
            Command::Version => Ok(version_report()),
        };
        // The engine may have given up on it.
        let _ = reply.try_send(answer);
    }

    /// What the API is told of a change of the list of clients.
    pub(crate) fn change_answer(&self, kind: CommandKind, outcome: Outcome) -> Answer {
        match (kind, outcome) {
            (_, Outcome::Refused(error)) => Err(change_refusal(&error)),
            (CommandKind::Grant(_), Outcome::NotWritten(why)) => {
                let message = format!(
                    "nothing is granted, and what is revoked is granted again after a restart, \
                     because not stored: {why}"
                );
                Err(Refusal::new(Code::NotStored, &message))
            }
            (CommandKind::Rename(_), Outcome::NotWritten(why)) => {
                Err(Refusal::new(Code::NotStored, &format!("not renamed: {why}")))
            }
            (CommandKind::Unpair(_), Outcome::NotWritten(why)) => {
                let message =
                    format!("unpaired, but known again after a restart, because not stored: {why}");
                Err(Refusal::new(Code::NotStored, &message))
            }
            (CommandKind::Grant(fingerprint) | CommandKind::Rename(fingerprint), Outcome::Done) => {
                let client = self.client(fingerprint);
                let client = client.ok_or_else(|| change_refusal(&trust::Error::Unknown))?;
                match kind {
                    CommandKind::Grant(_) => {
                        ::log::info!("client {fingerprint}: its grants are {} now", client.grants);
                    }
                    _ => ::log::info!("client {fingerprint}: is called {:?} now", client.name),
                }
                Ok(Report(client_value(client)))
            }
            (CommandKind::Unpair(fingerprint), Outcome::Done) => {
                ::log::info!("client {fingerprint}: unpaired");
                Ok(Report(json!({ "fingerprint": fingerprint.to_string() })))
            }
        }
    }

    fn client(&self, fingerprint: Fingerprint) -> Option<&Client> {
        let mut clients = self.ledger.trust().clients().iter();
        clients.find(|client| client.certificate.fingerprint() == fingerprint)
    }

    fn submit_pin(&mut self, id: u64, fingerprint: Fingerprint, pin: &str, now: Instant) -> Answer {
        let host = &self.identity.certificate;
        match self.pairings.handle_pin(id, fingerprint, pin, host, now) {
            Ok((connection, body)) => {
                ::log::info!("pairing {id}: PIN given, the device proves it now");
                self.push(Effect::Answer(connection, gamestream::xml(200, &body)));
                self.pairing_report(id, now)
            }
            Err((refusal, ended)) => {
                if let Some(ended) = ended {
                    self.on_pairing_ended(ended, now);
                }
                Err(pairing_refusal(&refusal))
            }
        }
    }

    fn reject(&mut self, id: u64, now: Instant) -> Answer {
        let ended = self.pairings.reject(id, now).map_err(|refusal| pairing_refusal(&refusal))?;
        self.on_pairing_ended(ended, now);
        self.pairing_report(id, now)
    }

    fn pairing_report(&self, id: u64, now: Instant) -> Answer {
        let found = self.pairings.entries().find(|(entry, _)| entry.id == id);
        let (entry, deadline) = found.ok_or_else(|| pairing_refusal(&pairing::Refusal::Unknown))?;
        Ok(Report(pairing_value(entry, deadline, now)))
    }

    fn pairings_report(&self, now: Instant) -> Report {
        let entries = self.pairings.entries();
        let values: Vec<Value> =
            entries.map(|(entry, deadline)| pairing_value(entry, deadline, now)).collect();
        Report(json!({ "pairings": values }))
    }

    fn clients_report(&self, facts: &Facts) -> Report {
        let count = |client: &Client| {
            let fingerprint = client.certificate.fingerprint();
            let mut counts = facts.connections_by.iter();
            counts.find(|(other, _)| *other == fingerprint).map_or(0, |(_, count)| *count)
        };
        let clients = self.ledger.trust().clients();
        let values: Vec<Value> =
            clients.iter().map(|client| with_connections(client, count(client))).collect();
        Report(json!({ "clients": values }))
    }

    fn apps_report(&self) -> Report {
        let apps = self.apps.all().iter();
        let values: Vec<Value> = apps
            .map(|app| {
                json!({
                    "id": app.id,
                    "title": app.title,
                    "hidden": app.is_hidden,
                    "image": app.image.as_ref().map(|path| path.to_string_lossy()),
                })
            })
            .collect();
        Report(json!({ "apps": values }))
    }

    fn status_report(&self, facts: &Facts, now: Instant) -> Report {
        let listen: Vec<Value> = facts
            .listen
            .iter()
            .map(|(plane, address)| json!({ "plane": plane.to_string(), "address": address }))
            .collect();
        let mdns = facts
            .mdns_instance
            .as_ref()
            .map(|instance| json!({ "instance": instance, "interfaces": facts.mdns_interfaces }));
        let counters: HashMap<&str, u64> = self.counters.named().into_iter().collect();
        let sessions = self.sessions.all();
        let streaming = sessions.iter().filter(|it| it.state() == session::State::Streaming);
        let choice = self.choice();
        let codecs: Vec<String> = choice.codecs().iter().map(ToString::to_string).collect();
        Report(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "host_name": self.conf.host_name,
            "host_id": self.identity.host_id,
            "fingerprint": self.identity.certificate.fingerprint().to_string(),
            "uptime_s": now.duration_since(self.started).as_secs(),
            "listen": listen,
            "mdns": mdns,
            "client_count": self.ledger.trust().clients().len(),
            "pairing_count": self.pairings.pending_count(),
            "connection_count": facts.connection_count,
            "session_count": sessions.len(),
            "streaming_count": streaming.count(),
            "stray_count": self.sessions.stray_count(),
            "codecs": codecs,
            "counters": counters,
        }))
    }
}

/// What the API is told of a reload.
pub fn reload_report(reload: &Reload) -> Report {
    Report(json!({ "changed": reload.changed, "needs_restart": reload.needs_restart }))
}

/// What the API is told of a configuration that has errors.
pub fn conf_refusal(errors: Vec<String>) -> Refusal {
    let message = "the new configuration has errors, the old one stays";
    Refusal::with_details(Code::ConfInvalid, message, errors)
}

fn version_report() -> Report {
    Report(json!({
        "name": "punktfunkd",
        "version": env!("CARGO_PKG_VERSION"),
        "features": capability::FEATURES,
    }))
}

fn log_level_report() -> Report {
    Report(json!({ "level": log::levels().to_string() }))
}

fn set_log_level(level: &str) -> Answer {
    let levels = LogLevels::parse(level)
        .map_err(|error| Refusal::bad_request(&format!("level: {error}")))?;
    log::set_levels(levels);
    ::log::info!("log level: {level} until the configuration is read again");
    Ok(log_level_report())
}

fn with_connections(client: &Client, count: usize) -> Value {
    let mut value = client_value(client);
    value["connection_count"] = json!(count);
    value
}

fn client_value(client: &Client) -> Value {
    json!({
        "name": client.name,
        "fingerprint": client.certificate.fingerprint().to_string(),
        "protocol": "gamestream",
        "paired_unix_s": client.paired_unix_s,
        "grants": client.grants,
    })
}

fn pairing_value(entry: &Entry, deadline: Option<Instant>, now: Instant) -> Value {
    let (state, reason) = match &entry.state {
        State::Failed(failure) => ("failed", Some(failure.to_string())),
        State::Paired => ("paired", None),
        State::Proving => ("proving", None),
        State::Waiting => ("waiting", None),
    };
    let left_s = deadline.map(|deadline| deadline.saturating_duration_since(now).as_secs());
    json!({
        "id": entry.id,
        "address": entry.address.to_string(),
        "fingerprint": entry.fingerprint.to_string(),
        "device_name": entry.device_name,
        "age_s": now.duration_since(entry.began).as_secs(),
        "left_s": left_s,
        "state": state,
        "reason": reason,
    })
}

fn change_refusal(error: &trust::Error) -> Refusal {
    let code = match error {
        trust::Error::Name => Code::BadRequest,
        trust::Error::Unknown => Code::NotFound,
        trust::Error::File(_) | trust::Error::Full | trust::Error::NameTaken => Code::Conflict,
    };
    Refusal::new(code, &error.to_string())
}

fn pairing_refusal(refusal: &pairing::Refusal) -> Refusal {
    let code = match refusal {
        pairing::Refusal::PinFormat => Code::BadRequest,
        pairing::Refusal::Unknown => Code::NotFound,
        _ => Code::Conflict,
    };
    Refusal::new(code, &refusal.to_string())
}
