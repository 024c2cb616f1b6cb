//! tiny_http as the engine of the API: a thread that turns requests into posts to the reactor.
//!
//! It listens on a socket in a directory that only this user can enter, and the reactor is its only
//! caller. It is started with the first request and told to stop when none has come for a while, so
//! an idle daemon has none of its threads.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::Waker;
use tiny_http::{Header, Request, Response, Server};

use super::front;
use super::route::{self, Answer, Command, Refusal};
use super::{Post, route::Report};

/// How long the reactor may take for an answer: a little less than the front waits for ours.
const REPLY_TIME: Duration = Duration::from_secs(9);

/// The running engine.
#[derive(Debug)]
pub struct Engine {
    server: Arc<ServerHandle>,
    thread: JoinHandle<()>,
}

/// [`Server`] has no `Debug`.
struct ServerHandle(Server);

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl Engine {
    /// Starts it on a Unix socket at `path`, where nobody else may be listening, an earlier one
    /// included: that takes the path away when it is dropped. It asks through `posts`, and `waker`
    /// tells the reactor to look.
    pub fn start(path: &Path, posts: SyncSender<Post>, waker: Arc<Waker>) -> io::Result<Engine> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let server = Server::from_listener(listener, None).map_err(io::Error::other)?;
        let server = Arc::new(ServerHandle(server));
        let theirs = Arc::clone(&server);
        let thread = thread::Builder::new()
            .name("engine".into())
            .stack_size(512 * 1024)
            .spawn(move || run(&theirs.0, &posts, &waker))?;
        Ok(Engine { server, thread })
    }

    /// Whether it has ended by itself, as it does when its listener fails.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it. Its thread must have nothing to do, because it is waited for. What is left is the
    /// server's own to end when it is dropped: it wakes its threads by way of its path.
    pub fn stop(self) {
        self.server.0.unblock();
        self.thread.join().expect("a panic of the other thread ends the process");
    }
}

fn run(server: &Server, posts: &SyncSender<Post>, waker: &Waker) {
    for mut request in server.incoming_requests() {
        let answer = answer(&mut request, posts, waker);
        let response = match answer {
            Ok(report) => response(200, report.0.to_string()),
            Err(refusal) => response(refusal.status(), refusal.body()),
        };
        // The front has gone: whoever asked does not want to know any more.
        let _ = request.respond(response);
    }
}

fn answer(request: &mut Request, posts: &SyncSender<Post>, waker: &Waker) -> Answer {
    let mut body = Vec::new();
    let read = request.as_reader().take(front::LIMITS.body_len_max as u64).read_to_end(&mut body);
    read.map_err(|error| Refusal::bad_request(&error.to_string()))?;
    let method = request.method().to_string();
    let command = route::parse(&method, request.url(), &body)?;
    if command == Command::Document {
        return Ok(Report(route::document()));
    }
    let (reply, replies) = sync_channel(1);
    match posts.try_send(Post { command, reply }) {
        Err(TrySendError::Full(_)) => return Err(Refusal::busy()),
        Err(TrySendError::Disconnected(_)) => return Err(Refusal::no_answer()),
        Ok(()) => {}
    }
    waker.wake().map_err(|_| Refusal::no_answer())?;
    replies.recv_timeout(REPLY_TIME).unwrap_or_else(|_| Err(Refusal::no_answer()))
}

fn response(status: u16, body: String) -> Response<io::Cursor<Vec<u8>>> {
    let mut response = Response::from_string(body + "\n").with_status_code(status);
    for (name, value) in [
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ] {
        let header = Header::from_bytes(name, value).expect("plain ASCII");
        response.add_header(header);
    }
    response
}
