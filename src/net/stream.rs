//! A byte stream with bounded buffers: TCP or Unix, in the clear or under TLS, never blocking.
//!
//! Readiness comes from mio's edges and is remembered until a call would block, so a stream can be
//! served a little at a time and in turn with others, and one that never says anything is never
//! served at all. A stream that is done sends what it owes, says so, and then reads to the peer's
//! end: a socket closed with unread bytes would reset the connection, and the peer could lose the
//! answer.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustls::ServerConnection;

use super::tls;
use crate::proto::cert::Certificate;

/// Bytes that one call to [`Stream::pump`] reads at most.
const READ_LEN: usize = 16 * 1024;
/// Bytes read and thrown away before a peer that keeps sending is cut off.
const DISCARD_LEN_MAX: usize = 64 * 1024;
/// Plaintext and ciphertext that rustls holds for one connection, each.
const TLS_BUFFER_LEN: usize = 64 * 1024;

/// The socket under a stream.
#[derive(Debug)]
pub enum Socket {
    /// From the network.
    Tcp(TcpStream),
    /// From this machine.
    Unix(UnixStream),
}

/// See the module.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    tls: Option<Box<ServerConnection>>,
    phase: Phase,
    /// Received and not yet taken, in the clear.
    inbox: Vec<u8>,
    inbox_len_max: usize,
    /// Owed to the peer, in the clear; the first `sent_len` bytes are sent.
    outbox: Vec<u8>,
    sent_len: usize,
    discarded_len: usize,
    has_received: bool,
    readable: bool,
    writable: bool,
    peer_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Bytes go to the inbox.
    Collecting,
    /// Bytes are thrown away; the answer may come later.
    Discarding,
    /// The outbox is the last that will be sent.
    Finishing,
    /// All is sent and our end shut; waits for the peer's end.
    Draining,
    /// Nothing more to do.
    Closed,
}

impl Stream {
    /// A stream that collects at most `inbox_len_max` bytes, under TLS when `tls` is given.
    pub fn new(socket: Socket, tls: Option<ServerConnection>, inbox_len_max: usize) -> Stream {
        let tls = tls.map(|mut connection| {
            connection.set_buffer_limit(Some(TLS_BUFFER_LEN));
            Box::new(connection)
        });
        Stream {
            socket,
            tls,
            phase: Phase::Collecting,
            inbox: Vec::new(),
            inbox_len_max,
            outbox: Vec::new(),
            sent_len: 0,
            discarded_len: 0,
            has_received: false,
            readable: false,
            writable: false,
            peer_closed: false,
        }
    }

    /// Makes `registry` report the socket under `token`.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.source().register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Takes the socket out of `registry`.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.source().deregister(registry)
    }

    /// Notes what mio says of the socket.
    pub fn handle_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Reads and writes once, a bounded amount.
    pub fn pump(&mut self) {
        if self.wants_read() {
            let result = match self.tls {
                Some(_) => self.read_tls(),
                None => self.read_plain(),
            };
            match result {
                Ok(()) => self.has_received = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.phase = Phase::Closed,
            }
        }
        match self.write() {
            Ok(()) => self.after_write(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.phase = Phase::Closed,
        }
        if self.peer_closed && self.phase == Phase::Draining {
            self.phase = Phase::Closed;
        }
    }

    /// Stops collecting: the request is whole, and only the peer's leaving matters from now on.
    pub fn stop_collecting(&mut self) {
        if self.phase == Phase::Collecting {
            self.phase = Phase::Discarding;
        }
    }

    /// Appends to what the peer is owed.
    pub fn send(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Sends what is owed and then closes.
    pub fn finish(&mut self) {
        if matches!(self.phase, Phase::Collecting | Phase::Discarding) {
            self.phase = Phase::Finishing;
        }
    }

    /// Whether there is something to do before mio reports anything new.
    pub fn wants_pump(&self) -> bool {
        self.wants_read() || (self.writable && self.wants_write())
    }

    /// Whether nothing is left but to drop it.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether the peer has shut its end.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether anything ever came, if only the peer's end, read or not.
    pub fn has_received(&self) -> bool {
        self.has_received || self.readable
    }

    /// Whether all is sent and our end shut.
    pub fn is_flushed(&self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::Draining)
    }

    /// Whether TLS is still being agreed on.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// The certificate that the peer has proved to own, once the handshake is over.
    pub fn peer_certificate(&self) -> Option<Certificate> {
        let tls = self.tls.as_ref()?;
        if tls.is_handshaking() { None } else { tls::peer(tls) }
    }

    /// What was received and not taken.
    pub fn inbox(&self) -> &[u8] {
        &self.inbox
    }

    /// Hands over what was received.
    pub fn take_inbox(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.inbox)
    }

    /// Takes back what [`Stream::take_inbox`] gave, when it is not enough yet.
    pub fn put_back(&mut self, inbox: Vec<u8>) {
        self.inbox = inbox;
    }

    /// The socket, to ask for its addresses.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    fn wants_read(&self) -> bool {
        let takes = match self.phase {
            Phase::Collecting => self.inbox.len() < self.inbox_len_max,
            Phase::Discarding | Phase::Finishing | Phase::Draining => true,
            Phase::Closed => false,
        };
        takes && self.readable && !self.peer_closed
    }

    fn wants_write(&self) -> bool {
        let tls_wants = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        self.phase != Phase::Closed
            && (tls_wants || self.sent_len < self.outbox.len() || self.phase == Phase::Finishing)
    }

    fn read_plain(&mut self) -> io::Result<()> {
        let mut buffer = [0; READ_LEN];
        let room = match self.phase {
            Phase::Collecting => READ_LEN.min(self.inbox_len_max - self.inbox.len()),
            _ => READ_LEN,
        };
        match self.socket.read(&mut buffer[..room])? {
            0 => self.peer_closed = true,
            len => self.take(&buffer[..len]),
        }
        Ok(())
    }

    fn read_tls(&mut self) -> io::Result<()> {
        let Some(tls) = self.tls.as_mut() else {
            return Ok(());
        };
        if tls.read_tls(&mut self.socket)? == 0 {
            self.peer_closed = true;
        }
        let Ok(state) = tls.process_new_packets() else {
            // The alert that says why is queued already.
            self.outbox.clear();
            self.sent_len = 0;
            if self.phase != Phase::Draining {
                self.phase = Phase::Finishing;
            }
            self.peer_closed = true;
            return Ok(());
        };
        self.peer_closed |= state.peer_has_closed();
        let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
        tls.reader().read_exact(&mut plaintext)?;
        self.take(&plaintext);
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Collecting {
            let room = self.inbox_len_max - self.inbox.len();
            self.inbox.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return;
        }
        self.discarded_len += bytes.len();
        if self.discarded_len > DISCARD_LEN_MAX {
            self.phase = Phase::Closed;
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.phase == Phase::Closed || !self.writable {
            return Ok(());
        }
        let Some(tls) = self.tls.as_mut() else {
            while self.sent_len < self.outbox.len() {
                self.sent_len += self.socket.write(&self.outbox[self.sent_len..])?;
            }
            return Ok(());
        };
        loop {
            if !tls.is_handshaking() && self.sent_len < self.outbox.len() {
                // Takes what its buffer has room for; the rest waits for the socket.
                self.sent_len += tls.writer().write(&self.outbox[self.sent_len..])?;
            }
            if !tls.wants_write() {
                return Ok(());
            }
            tls.write_tls(&mut self.socket)?;
        }
    }

    fn after_write(&mut self) {
        if !self.writable || self.sent_len < self.outbox.len() {
            return;
        }
        self.outbox = Vec::new();
        self.sent_len = 0;
        if self.phase != Phase::Finishing {
            return;
        }
        if let Some(tls) = self.tls.as_mut() {
            tls.send_close_notify();
            // A full socket loses the notice, which only says what the end of the stream says too.
            let _ = tls.write_tls(&mut self.socket);
        }
        let is_shut = self.socket.shutdown(Shutdown::Write).is_ok();
        self.phase = if is_shut { Phase::Draining } else { Phase::Closed };
    }
}

impl Socket {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Socket::Tcp(socket) => socket,
            Socket::Unix(socket) => socket,
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.shutdown(how),
            Socket::Unix(socket) => socket.shutdown(how),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(buffer),
            Socket::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
