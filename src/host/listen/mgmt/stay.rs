//! The daemon's answers about sessions, and what becomes of them.

#![forbid(unsafe_code)]

use std::time::Instant;

use punktfunk_core::proto::input::{Feedback, GamepadIndex};
use serde_json::{Map, Value, json};

use super::route::{Answer, Code, Refusal, Report};
use super::{Facts, Figures};
use crate::daemon::Daemon;
use crate::encode::Settings;
use crate::pipeline::{COUNTERS, Order, STAGES};
use crate::session::{End, Run, Session};

impl Daemon {
    pub(super) fn encoders_report(&self) -> Report {
        Report(self.prober.value(&self.encoder_directives()))
    }

    pub(super) fn sessions_report(&self, facts: &Facts, now: Instant) -> Report {
        let sessions = self.sessions.all().iter();
        let values: Vec<Value> =
            sessions.map(|session| self.session_value(session, facts, now)).collect();
        Report(json!({ "sessions": values }))
    }

    pub(super) fn session_report(&self, id: u32, facts: &Facts, now: Instant) -> Answer {
        let session = self.sessions.get(id).ok_or_else(unknown)?;
        Ok(Report(self.session_value(session, facts, now)))
    }

    pub(super) fn runs_report(&self, now: Instant) -> Report {
        let value = |run: &Run| {
            let away = run.lingers.map(|it| now.duration_since(it.since).as_secs());
            let left = run.lingers.and_then(|it| it.until());
            let session = self.sessions.all().iter().find(|session| session.run == run.id);
            json!({
                "id": run.id,
                "client": { "name": run.client_name, "fingerprint": run.client.to_string() },
                "app": { "id": run.app, "title": run.title },
                "session": session.map(|session| session.id),
                "away_s": away,
                "left_s": left.map(|it| it.saturating_duration_since(now).as_secs()),
            })
        };
        let values: Vec<Value> = self.sessions.runs().iter().map(value).collect();
        Report(json!({ "runs": values }))
    }

    pub(super) fn end_run(&mut self, id: u32, now: Instant) -> Answer {
        let run = self.sessions.runs().iter().find(|run| run.id == id);
        let run = run.ok_or_else(|| Refusal::new(Code::NotFound, "no such run"))?;
        log::info!("app {:?} of {}: the administrator ends it", run.title, run.client_name);
        self.sessions.cancel(id, now);
        Ok(done(id))
    }

    pub(super) fn end_session(&mut self, id: u32, now: Instant) -> Answer {
        self.sessions.get(id).ok_or_else(unknown)?;
        self.sessions.end(id, &End::Dismissed, now);
        Ok(done(id))
    }

    pub(super) fn request_idr(&mut self, id: u32) -> Answer {
        self.sessions.get(id).ok_or_else(unknown)?;
        match self.sessions.order(id, Order::RequestIdr) {
            true => Ok(done(id)),
            false => Err(no_picture()),
        }
    }

    pub(super) fn set_bitrate(
        &mut self,
        id: u32,
        kbps: u32,
        facts: &Facts,
        now: Instant,
    ) -> Answer {
        let session = self.sessions.get(id).ok_or_else(unknown)?;
        let encoding = session.encoding().ok_or_else(no_picture)?;
        if !self.can_set_bitrate(encoding) {
            let message = format!("{} cannot change its rate while it encodes", encoding.backend);
            return Err(Refusal::new(Code::Conflict, &message));
        }
        self.sessions.order(id, Order::Bitrate(kbps));
        log::info!("session {id}: {kbps} kbps from now on");
        self.session_report(id, facts, now)
    }

    pub(super) fn feed_back(
        &mut self,
        id: u32,
        gamepad: GamepadIndex,
        feedback: Feedback,
    ) -> Answer {
        self.sessions.get(id).ok_or_else(unknown)?;
        if self.sessions.give_feedback(id, gamepad, feedback) {
            return Ok(done(id));
        }
        let number = gamepad.value();
        let message = format!("the client has no gamepad {number}, or it cannot do that");
        Err(Refusal::new(Code::Conflict, &message))
    }

    fn can_set_bitrate(&self, encoding: &Settings) -> bool {
        let abilities = self.prober.abilities();
        let can = abilities.and_then(|it| it.of(encoding.backend, encoding.codec).ok());
        can.is_some_and(|can| can.set_bitrate)
    }

    fn session_value(&self, session: &Session, facts: &Facts, now: Instant) -> Value {
        let encoding = session.encoding();
        let sealed = session.announce().map(|announce| {
            let sealed = announce.encryption;
            json!({ "control": sealed.control, "video": sealed.video, "audio": sealed.audio })
        });
        let mut streams = facts.streams.iter();
        let figures = streams.find(|(id, _)| *id == session.id).map(|(_, figures)| figures);
        let (counters, stages) = figures_values(figures.unwrap_or(&Figures::default()));
        let counts: Map<String, Value> =
            session.input.counts().map(|(name, count)| (name.to_owned(), json!(count))).collect();
        json!({
            "id": session.id,
            "client": {
                "name": session.client_name,
                "fingerprint": session.client.to_string(),
            },
            "app": { "id": session.app, "title": self.apps.title(session.app) },
            "address": session.address.to_string(),
            "state": session.state().to_string(),
            "age_s": now.duration_since(session.began).as_secs(),
            "mode": encoding.map(|it| json!({
                "width": it.width, "height": it.height, "refresh_mhz": it.refresh_mhz,
            })),
            "codec": encoding.map(|it| it.codec.to_string()),
            "bit_depth": encoding.map(|it| if it.is_10_bit { 10 } else { 8 }),
            "encoder": session.encoder,
            "bitrate_kbps": encoding.map(|it| it.bitrate_kbps),
            "sealed": sealed,
            "counters": counters,
            "stages": stages,
            "input": { "counts": counts, "refused": session.input.refused_count() },
        })
    }
}

fn figures_values(figures: &Figures) -> (Map<String, Value>, Map<String, Value>) {
    let counters = COUNTERS.iter().zip(figures.counts);
    let counters = counters.map(|((_, name), count)| ((*name).to_owned(), json!(count)));
    let stages = STAGES.iter().zip(figures.stages).map(|((_, name), stage)| {
        let value = json!({
            "count": stage.count,
            "p50_us": stage.p50_us,
            "p95_us": stage.p95_us,
            "p99_us": stage.p99_us,
            "p999_us": stage.p999_us,
        });
        ((*name).to_owned(), value)
    });
    (counters.collect(), stages.collect())
}

fn done(id: u32) -> Report {
    Report(json!({ "id": id }))
}

fn unknown() -> Refusal {
    Refusal::new(Code::NotFound, "no such session")
}

fn no_picture() -> Refusal {
    Refusal::new(Code::Conflict, "the client has not said yet which pictures it wants")
}
