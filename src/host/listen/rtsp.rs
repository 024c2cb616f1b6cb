//! RTSP: whose a message is, and what it leads to.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Instant;

use punktfunk_core::proto::gamestream::rtsp::announce::Announce;
use punktfunk_core::proto::gamestream::rtsp::connection::Message;
use punktfunk_core::proto::gamestream::rtsp::handshake::Event;

use crate::daemon::Daemon;

impl Daemon {
    /// Takes a message from `peer`, and gives what is owed for it. A message of nobody's is owed
    /// nothing.
    pub fn handle_rtsp(
        &mut self,
        peer: IpAddr,
        message: &Message<'_>,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let Some((id, result)) = self.sessions.handle_rtsp(peer, message, now) else {
            self.counters.bad_requests += 1;
            log::debug!("rtsp: from {peer}: of no session");
            return None;
        };
        match result {
            Ok(Some(Event::Announced(announce))) => self.on_announced(id, announce, now),
            Ok(Some(Event::Play)) => log::debug!("session {id}: rtsp: play"),
            Ok(None) => {}
            Err(error) => log::info!("session {id}: rtsp: from {peer}: {error}"),
        }
        let mut answer = Vec::new();
        self.sessions.poll_rtsp(id, &mut answer);
        Some(answer)
    }

    fn on_announced(&mut self, id: u32, announce: Announce, now: Instant) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        match self.plan(session, &announce) {
            Ok(plan) => {
                log::info!("session {id}: {}, gamestream, {}", session.client_name, plan.summary());
                self.sessions.begin(id, announce, plan, now);
            }
            Err(why) => {
                log::warn!("session {id}: {}: refused: {why}", session.client_name);
                self.sessions.refuse(id);
            }
        }
    }
}
