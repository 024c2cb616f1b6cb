//! Requests for the management API on their way to its engine, and answers on their way back.

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use punktfunk_core::net::stream::{Socket, Stream};
use punktfunk_core::net::tcp;
use punktfunk_core::proto::http;

use super::Reactor;
use crate::listen::mgmt::{self, Engine, front};
use crate::listen::table::{Connection, Key, Plane};

/// Longest answer of the engine.
const BACKEND_LEN_MAX: usize = 2 * 1024 * 1024;
/// How long the engine may think.
const BACKEND_TIME: Duration = Duration::from_secs(10);

impl Reactor {
    /// Passes a request for the management API on to its engine.
    pub(super) fn relay(&mut self, key: Key, request: &http::Request<'_>, now: Instant) {
        let Some(connection) = self.table.get(key) else {
            return;
        };
        if let Err(refusal) = front::authorise(connection.plane, request, self.parts.token.as_ref())
        {
            let level = self.unauthorised_lines.level(::log::Level::Warn, now);
            let peer = connection.peer.map_or("somebody".into(), |peer| peer.to_string());
            ::log::log!(level, "management: {peer} refused: {}", refusal.message);
            return self.answer(key, &front::refuse(&refusal), now);
        }
        if request.method != "GET" {
            let caller = match connection.stream.socket() {
                Socket::Unix(socket) => tcp::unix_peer(socket).map_or("somebody".into(), |peer| {
                    format!("uid {} (pid {})", peer.uid, peer.pid)
                }),
                Socket::Tcp(_) => "who has the token".into(),
            };
            ::log::info!("management: {} {} by {caller}", request.method, request.path());
        }
        match self.open_backend(key, now) {
            Ok(backend) => {
                if let Some(connection) = self.table.get_mut(backend) {
                    connection.stream.send(&front::rebuild(request));
                }
                if let Some(connection) = self.table.get_mut(key) {
                    connection.partner = Some(backend);
                    connection.deadline = now + BACKEND_TIME;
                }
            }
            Err(error) => {
                ::log::error!("management: engine not reached: {error}");
                self.answer(key, &front::refuse(&mgmt::Refusal::busy()), now);
            }
        }
    }

    pub(super) fn open_backend(&mut self, client: Key, now: Instant) -> io::Result<Key> {
        if self.engine.as_ref().is_none_or(|(engine, _)| engine.is_finished()) {
            // One that ended by itself takes the path away, so it goes before the next comes.
            self.engine = None;
            let (posts, waker) = (self.post_sender.clone(), Arc::clone(&self.waker));
            let engine = Engine::start(&self.parts.engine_path, posts, waker)?;
            self.engine = Some((engine, now));
        }
        if let Some((_, used)) = &mut self.engine {
            *used = now;
        }
        let socket = UnixStream::connect(&self.parts.engine_path)?;
        let stream = Stream::new(Socket::Unix(socket), None, BACKEND_LEN_MAX);
        let mut backend = Connection::new(stream, Plane::Backend, now, now + BACKEND_TIME);
        backend.partner = Some(client);
        let key = self.table.insert(backend, self.poll.registry());
        key.ok_or_else(|| io::Error::other("its connection is not watched"))
    }

    /// Looks whether the engine's answer is whole: it closes its end then.
    pub(super) fn receive_backend(&mut self, key: Key, now: Instant) {
        let Some(connection) = self.table.get_mut(key) else {
            return;
        };
        if !connection.stream.peer_closed() && connection.stream.inbox().len() < BACKEND_LEN_MAX {
            return;
        }
        let is_whole = connection.stream.peer_closed();
        let (answer, client) = (connection.stream.take_inbox(), connection.partner);
        self.remove(key, now);
        if let Some(client) = client {
            let failed = || front::refuse(&mgmt::Refusal::no_answer());
            let is_answer = is_whole && !answer.is_empty();
            self.answer(client, &if is_answer { answer } else { failed() }, now);
        }
    }
}
