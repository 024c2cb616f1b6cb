//! The management API over its socket and over TCP, and punktfunkctl, which speaks it.

#[path = "api/guest.rs"]
mod guest;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "gamestream/peer.rs"]
mod peer;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../src/host/encode/stub.rs"]
mod stub;
mod support;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use guest::Guest;
use serde_json::{Value, json};
use support::{
    Daemon, Folder, PATIENCE, command, eventually, exchange, fingerprint, free_port, is_root,
    output, program, python, split_answer, vector,
};

/// A user who is neither root nor the daemon's.
const STRANGER: u32 = 65_533;

/// Where the API is asked.
enum Way {
    Socket(PathBuf),
    /// With the token.
    Tcp(SocketAddr, String),
}

/// A call and what came of it.
#[derive(Debug)]
struct Call {
    method: &'static str,
    path: String,
    request: String,
    status: u16,
    answer: Value,
}

impl Way {
    /// Everything that a request brings back.
    fn exchange(&self, bytes: &[u8]) -> String {
        let answer = match self {
            Way::Socket(path) => exchange_unix(path, bytes),
            Way::Tcp(address, _) => exchange(*address, bytes),
        };
        String::from_utf8(answer).unwrap()
    }

    #[track_caller]
    fn call(&self, method: &'static str, path: &str, request: &str) -> Call {
        let token = match self {
            Way::Socket(_) => String::new(),
            Way::Tcp(_, token) => format!("Authorization: Bearer {token}\r\n"),
        };
        let answer = self.exchange(
            format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: {}\r\n\r\n\
                 {request}",
                request.len()
            )
            .as_bytes(),
        );
        let (status, body) = split_answer(&answer);
        let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        assert!(head.contains("\r\ncontent-type: application/json"), "{method} {path}: {head}");
        let answer = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"));
        Call { method, path: path.to_owned(), request: request.to_owned(), status, answer }
    }
}

fn exchange_unix(path: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// A daemon that answers over TCP too, and can stream.
fn start_streaming_with_tcp(clients: &[&str]) -> (Daemon, SocketAddr, String) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let daemon = guest::host(&format!("Http {address}"), clients);
    let token = fs::read_to_string(daemon.state().join("http_token")).unwrap();
    (daemon, address, token.trim().to_owned())
}

/// A daemon that answers over TCP too.
fn start_with_tcp(clients: &[&str]) -> (Daemon, SocketAddr, String) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let daemon = Daemon::start_paired(&format!("Http {address}"), clients);
    let token = fs::read_to_string(daemon.state().join("http_token")).unwrap();
    (daemon, address, token.trim().to_owned())
}

/// A device that waits for its PIN: its connection, and the number of its exchange.
fn device(daemon: &Daemon, address: SocketAddr) -> (TcpStream, Value) {
    let pem = fs::read(vector("expired.pem")).unwrap();
    let pem: String = pem.iter().map(|byte| format!("{byte:02x}")).collect();
    let salt = "5a".repeat(16);
    let target = format!("/pair?uniqueid=1&phrase=getservercert&salt={salt}&clientcert={pem}");
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let id = eventually("the device waits", || {
        let pairings = daemon.pairings();
        let is_it = |pairing: &&Value| {
            pairing["state"] == "waiting" && pairing["address"] == address.ip().to_string()
        };
        pairings.iter().find(is_it).map(|pairing| pairing["id"].clone())
    });
    (socket, id)
}

/// Has every route called, with what it takes and with what it does not.
fn call_everything(daemon: &Daemon, way: &Way) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut call = |method, path: &str, request: &str, status: u16| {
        let call = way.call(method, path, request);
        assert_eq!(call.status, status, "{call:?}");
        let answer = call.answer.clone();
        calls.push(call);
        answer
    };
    let client = |name: &str| format!("/v1/clients/{}", fingerprint(name));
    let (one, two) = (client("rsa-2048"), client("p-256"));
    let nobody = format!("/v1/clients/{}", "0".repeat(64));
    let port = daemon.port;
    let (_here, here) = device(daemon, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let (_there, there) = device(daemon, SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let pin =
        |pin: &str, name: &str| json!({ "pin": pin, "fingerprint": fingerprint(name) }).to_string();

    call("GET", "/openapi.json", "", 200);
    call("GET", "/v1/version", "", 200);
    call("GET", "/v1/status", "", 200);
    call("GET", "/v1/doctor", "", 200);
    call("POST", "/v1/doctor", "", 405);
    call("GET", "/v1/apps?x=y", "", 200);
    let clients = call("GET", "/v1/clients", "", 200);
    assert_eq!(clients["clients"].as_array().unwrap().len(), 3);
    let pairings = call("GET", "/v1/pairings", "", 200);
    assert_eq!(pairings["pairings"].as_array().unwrap().len(), 2);

    // Names.
    let renamed = call("PATCH", &one, "{\"name\":\"Grüße aus dem Wohnzimmer\"}", 200);
    assert_eq!(renamed["name"], "Grüße aus dem Wohnzimmer");
    call("PATCH", &one, "{\"name\":\"p-256\"}", 409);
    call("PATCH", &one, "{\"name\":\"\"}", 400);
    call("PATCH", &one, "{\"name\":\"two\\nlines\"}", 400);
    call("PATCH", &one, &format!("{{\"name\":\"{}\"}}", "x".repeat(64)), 400);
    call("PATCH", &one, "{\"name\":7}", 400);
    call("PATCH", &one, "{\"name\":\"tv\",\"trust\":1}", 400);
    call("PATCH", &one, "{\"name\":\"tv\"", 400);
    call("PATCH", &one, "[\"tv\"]", 400);
    call("PATCH", &one, "", 400);
    call("PATCH", &nobody, "{\"name\":\"tv\"}", 404);
    call("PATCH", "/v1/clients/0011", "{\"name\":\"tv\"}", 400);

    // Grants.
    let grants = format!("{one}/grants");
    assert_eq!(clients["clients"][0]["grants"].as_array().unwrap().len(), 8);
    let changed = call("PATCH", &grants, "{\"revoke\":[\"view\",\"keyboard\",\"pen\"]}", 200);
    assert_eq!(changed["grants"], json!(["mouse", "gamepad", "touch", "audio", "launch"]));
    let both = "{\"grant\":[\"view\"],\"revoke\":[\"audio\",\"launch\"]}";
    let changed = call("PATCH", &grants, both, 200);
    assert_eq!(changed["grants"], json!(["view", "mouse", "gamepad", "touch"]));
    assert_eq!(call("PATCH", &grants, "{}", 200), changed);
    call("PATCH", &grants, "{\"grant\":[\"root\"]}", 400);
    call("PATCH", &grants, "{\"grant\":[\"pen\",\"pen\"]}", 400);
    call("PATCH", &grants, "{\"grant\":[\"pen\"],\"revoke\":[\"pen\"]}", 400);
    call("PATCH", &grants, "{\"grants\":[\"pen\"]}", 400);
    call("PATCH", &grants, "{\"grant\":null}", 400);
    call("PATCH", &grants, "", 400);
    call("PATCH", &format!("{nobody}/grants"), "{\"grant\":[\"pen\"]}", 404);
    call("PATCH", "/v1/clients/0011/grants", "{\"grant\":[\"pen\"]}", 400);

    // Pairings.
    let path = format!("/v1/pairings/{here}/pin");
    call("POST", &path, "{\"pin\":\"1234\"}", 400);
    call("POST", &path, "{\"pin\":1234,\"fingerprint\":\"00\"}", 400);
    call("POST", &path, &pin("12345", "expired"), 400);
    call("POST", &path, &pin("12a4", "expired"), 400);
    call("POST", &path, &pin("", "expired"), 400);
    call("POST", &path, "", 400);
    call("POST", &path, &pin("0471", "rsa-2048"), 409);
    let given = call("POST", &path, &pin("0471", "expired"), 200);
    assert_eq!((&given["id"], &given["state"]), (&here, &json!("proving")));
    call("POST", &path, &pin("0471", "expired"), 409);
    call("POST", "/v1/pairings/999/pin", &pin("0471", "expired"), 404);
    call("POST", "/v1/pairings/x/pin", &pin("0471", "expired"), 400);
    let rejected = call("POST", &format!("/v1/pairings/{there}/reject"), "", 200);
    assert_eq!(rejected["state"], "failed");
    call("POST", "/v1/pairings/999/reject", "", 404);
    call("POST", "/v1/pairings/99999999999999999999/reject", "", 400);
    call("GET", "/v1/pairings", "", 200);

    // What is logged.
    call("GET", "/v1/log-level", "", 200);
    let levels = call("PUT", "/v1/log-level", "{\"level\":\"warn listen=debug\"}", 200);
    assert_eq!(call("GET", "/v1/log-level", "", 200), levels);
    call("PUT", "/v1/log-level", "{\"level\":\"loud\"}", 400);
    call("PUT", "/v1/log-level", "{}", 400);

    // The configuration, which has the address of TCP in it.
    let conf = fs::read_to_string(daemon.folder().path().join("punktfunk.conf")).unwrap();
    let same = call("POST", "/v1/reload", "", 200);
    assert_eq!(same, json!({ "changed": [], "needs_restart": [] }));
    daemon.folder().file("punktfunk.conf", format!("{conf}HostName attic\n"), 0o644);
    let other = call("POST", "/v1/reload", "", 200);
    assert_eq!(other["changed"].as_array().unwrap().len(), 1, "{other}");
    daemon.folder().file("punktfunk.conf", format!("{conf}Nonsense yes\nMdns maybe\n"), 0o644);
    let wrong = call("POST", "/v1/reload", "", 422);
    assert_eq!(wrong["error"]["details"].as_array().unwrap().len(), 2, "{wrong}");
    let status = call("GET", "/v1/status", "", 200);
    assert_eq!(status["host_name"], "attic");

    // Clients that go.
    call("DELETE", &two, "", 200);
    call("DELETE", &two, "", 404);
    call("DELETE", "/v1/clients/xyz", "", 400);
    fs::set_permissions(daemon.state(), Permissions::from_mode(0o500)).unwrap();
    let name = "{\"name\":\"tv\"}";
    let not_renamed = call("PATCH", &one, name, 500);
    let not_granted = call("PATCH", &grants, both, 500);
    let not_stored = call("DELETE", &one, "", 500);
    fs::set_permissions(daemon.state(), Permissions::from_mode(0o700)).unwrap();
    for refused in [not_renamed, not_granted, not_stored] {
        assert_eq!(refused["error"]["code"], "not_stored", "{refused}");
    }
    let left = call("GET", "/v1/clients", "", 200);
    assert_eq!(left["clients"].as_array().unwrap().len(), 1, "{left}");

    // What is not there.
    call("GET", "/", "", 404);
    call("GET", "/v1/status/", "", 404);
    call("GET", "/v2/status", "", 404);
    call("GET", "/../etc/passwd", "", 404);
    call("POST", "/v1/status", "", 405);
    call("GET", "/v1/reload", "", 405);
    call("DELETE", "/v1/clients", "", 405);
    calls
}

/// Has every route about sessions and encoders called.
fn call_sessions(daemon: &Daemon, way: &Way) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut call = |method, path: &str, request: &str, status: u16| {
        let call = way.call(method, path, request);
        assert_eq!(call.status, status, "{call:?}");
        let answer = call.answer.clone();
        calls.push(call);
        answer
    };
    let rate = |kbps: u32| json!({ "bitrate_kbps": kbps }).to_string();
    let rumble = |gamepad: u32| {
        json!({ "gamepad": gamepad, "rumble": { "low": 65535, "high": 1 } }).to_string()
    };

    // Launched.
    assert_eq!(call("GET", "/v1/sessions", "", 200), json!({ "sessions": [] }));
    let mut guest = Guest::launch(daemon, "p-256");
    let sessions = call("GET", "/v1/sessions", "", 200);
    let session = &sessions["sessions"][0];
    let path = format!("/v1/sessions/{}", session["id"]);
    assert_eq!((&session["state"], &session["mode"]), (&json!("launched"), &Value::Null));
    assert_eq!(session["client"], json!({ "name": "p-256", "fingerprint": fingerprint("p-256") }));
    assert_eq!(session["app"]["title"], "Desktop");
    assert_eq!(session["address"], "127.0.0.1");
    let early = call("POST", &format!("{path}/idr"), "", 409);
    assert_eq!(early["error"]["code"], "conflict");
    call("PATCH", &path, &rate(20_000), 409);
    call("POST", &format!("{path}/feedback"), &rumble(0), 409);

    // Announced.
    guest.announce();
    let session = call("GET", &path, "", 200);
    assert_eq!(session["state"], "announced");
    assert_eq!(session["mode"], json!({ "width": 1280, "height": 720, "refresh_mhz": 60_000 }));
    assert_eq!((&session["codec"], &session["bit_depth"]), (&json!("h264"), &json!(8)));
    assert_eq!(session["sealed"], json!({ "control": true, "video": true, "audio": true }));
    let session = call("PATCH", &path, &rate(20_000), 200);
    assert_eq!(session["bitrate_kbps"], 20_000);
    for body in [&rate(499), &rate(10_000_001), "{}", "", "[20000]", "{\"bitrate_kbps\":\"20M\"}"] {
        call("PATCH", &path, body, 400);
    }
    call("PATCH", "/v1/sessions/999", &rate(20_000), 404);

    // Streaming.
    guest.connect();
    eventually("the session streams, with a gamepad", || {
        let (_, session) = daemon.api("GET", &path, "");
        let has_arrived = session["input"]["counts"]["gamepad_arrived"] == 1;
        (session["state"] == "streaming" && has_arrived).then_some(())
    });
    eventually("pictures are sent", || {
        let (_, session) = daemon.api("GET", &path, "");
        let is_timed = session["stages"]["total"]["count"].as_u64() > Some(0);
        (session["counters"]["datagrams"].as_u64() > Some(0) && is_timed).then_some(())
    });
    let session = call("GET", &path, "", 200);
    assert!(session["encoder"].is_string(), "{session}");
    let status = call("GET", "/v1/status", "", 200);
    assert_eq!((&status["session_count"], &status["streaming_count"]), (&json!(1), &json!(1)));
    assert_eq!(call("POST", &format!("{path}/idr"), "", 200)["id"], session["id"]);
    let feedback = format!("{path}/feedback");
    call("POST", &feedback, &rumble(0), 200);
    assert!(guest.hear(0x010b).ends_with(b"\xff\xff\x01\0"));
    call("POST", &feedback, &rumble(1), 409);
    let led = json!({ "gamepad": 0, "led": { "red": 1, "green": 2, "blue": 3 } }).to_string();
    call("POST", &feedback, &led, 409);
    for body in [&rumble(16), "{\"gamepad\":0}", "{}", "", "[0]", &led.replace('1', "256")] {
        call("POST", &feedback, body, 400);
    }

    // Run.
    let runs = call("GET", "/v1/runs", "", 200);
    let expected = json!({
        "id": 1, "client": session["client"], "app": session["app"], "session": session["id"],
        "away_s": null, "left_s": null,
    });
    assert_eq!(runs, json!({ "runs": [expected] }));
    for id in ["x", "-1", "", "4294967296"] {
        call("DELETE", &format!("/v1/runs/{id}"), "", 400);
    }
    call("DELETE", "/v1/runs/999", "", 404);

    // Gone.
    call("DELETE", "/v1/runs/1", "", 200);
    guest.hear(0x0109);
    call("DELETE", "/v1/runs/1", "", 404);
    assert_eq!(call("GET", "/v1/runs", "", 200), json!({ "runs": [] }));
    call("DELETE", &path, "", 404);
    call("GET", &path, "", 404);
    call("POST", &format!("{path}/idr"), "", 404);
    call("POST", &feedback, &rumble(0), 404);
    for id in ["x", "-1", "", "4294967296"] {
        call("GET", &format!("/v1/sessions/{id}"), "", 400);
        call("DELETE", &format!("/v1/sessions/{id}"), "", 400);
        call("POST", &format!("/v1/sessions/{id}/idr"), "", 400);
    }
    call("PUT", &path, "", 405);

    // Ended as a session, and one that waits for its client.
    let _guest = Guest::launch(daemon, "p-256");
    let sessions = call("GET", "/v1/sessions", "", 200);
    let path = format!("/v1/sessions/{}", sessions["sessions"][0]["id"]);
    call("DELETE", &path, "", 200);
    call("DELETE", &path, "", 404);

    // Encoders.
    let encoders = call("GET", "/v1/encoders", "", 200);
    assert_eq!((&encoders["plugin"], &encoders["probe"]), (&json!("stub 1"), &json!("done")));
    assert_eq!(call("POST", "/v1/encoders/probe", "", 200)["probe"], "waiting");
    eventually("the probe is done", || {
        (daemon.api("GET", "/v1/encoders", "").1["probe"] == "done").then_some(())
    });
    calls
}

/// What the description says of the calls that does not fit them.
fn validate(description: &str, calls: &[Call]) -> String {
    let mut child = python()
        .arg("tests/api/validate.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let description: Value = serde_json::from_str(description).unwrap();
    writeln!(input, "{description}").unwrap();
    for Call { method, path, request, status, answer } in calls {
        let request: Value = serde_json::from_str(request).unwrap_or(Value::Null);
        let line = json!({
            "method": method, "path": path, "request": request, "status": status, "answer": answer,
        });
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

#[test]
fn every_route_answers_as_it_is_described_on_the_socket_and_over_tcp() {
    let description = include_str!("../src/host/listen/mgmt/openapi.json");
    for over_tcp in [false, true] {
        let (daemon, address, token) = start_streaming_with_tcp(&["rsa-2048", "p-256", "sha1"]);
        let way = match over_tcp {
            true => Way::Tcp(address, token),
            false => Way::Socket(daemon.socket()),
        };

        let sessions = call_sessions(&daemon, &way);
        let mut calls = call_everything(&daemon, &way);

        calls.extend(sessions);
        assert_eq!(calls[0].answer, serde_json::from_str::<Value>(description).unwrap());
        assert_eq!(validate(description, &calls), "");
        // As a word: times and fingerprints may have any digits, process ids no zero in front.
        let log = daemon.log();
        let mut words = log.split(|character: char| !character.is_ascii_alphanumeric());
        assert!(!words.any(|word| word == "0471"), "{log}");
    }
}

#[test]
fn what_is_taken_from_a_client_is_taken_from_its_session_at_once() {
    let daemon = guest::host("", &["rsa-2048", "p-256"]);
    let session_count =
        || daemon.api("GET", "/v1/sessions", "").1["sessions"].as_array().unwrap().len();
    let mut watched = Guest::launch(&daemon, "rsa-2048");
    watched.announce();
    watched.connect();
    let mut unpaired = Guest::launch(&daemon, "p-256");
    unpaired.announce();
    unpaired.connect();
    let sessions = eventually("both stream", || {
        let sessions = daemon.ctl_json(&["sessions"])["sessions"].as_array().unwrap().clone();
        sessions.iter().all(|it| it["state"] == "streaming").then_some(sessions)
    });
    assert_eq!(sessions.len(), 2);

    // What a page for people has.
    let (first, second) = (sessions[0]["id"].to_string(), sessions[1]["id"].to_string());
    let table: [(&[&str], &str); 7] = [
        (&["sessions"], "1280x720@60"),
        (&["stats"], "STAGE"),
        (&["stats", &first], "1280x720@60"),
        (&["session", "idr", &first], "IDR"),
        (&["session", "bitrate", &first, "20M"], "20000 kbps"),
        (&["session", "rumble", &first, "0", "1", "2"], "gamepad 0"),
        (&["status"], "2, 2 streaming"),
    ];
    for (words, part) in table {
        let output = daemon.ctl(words);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(part), "{words:?} {said}");
    }
    daemon.signal("USR1");
    daemon.wait_log(&format!("state: session {second} of \"p-256\" from 127.0.0.1, streaming"));
    daemon.wait_log("state: app \"Desktop\" of ");

    let revoked = daemon.ctl(&["client", "revoke", "rsa-2048", "keyboard"]);
    assert!(revoked.status.success() && session_count() == 2);
    let revoked = daemon.ctl(&["client", "revoke", "rsa-2048", "view"]);
    assert!(revoked.status.success() && session_count() == 1);
    watched.hear(0x0109);
    assert!(daemon.ctl(&["client", "unpair", "p-256"]).status.success() && session_count() == 0);
    unpaired.hear(0x0109);

    daemon.wait_log("client may not see this host any more");
    daemon.wait_log("client unpaired");
    assert_eq!(daemon.ctl(&["session", "stop", &first]).status.code(), Some(6));
}

#[test]
fn a_driver_that_hangs_keeps_nothing_from_being_stored() {
    // VA-API.
    let daemon = guest::host_with(&["STUB_HANGS=2"], "", &["rsa-2048"]);
    let path = format!("/v1/clients/{}", fingerprint("rsa-2048"));

    let (status, renamed) = daemon.api("PATCH", &path, "{\"name\":\"tv\"}");
    let (_, encoders) = daemon.api("GET", "/v1/encoders", "");
    let (asked, _) = daemon.api("POST", "/v1/encoders/probe", "");

    assert_eq!((status, &renamed["name"]), (200, &json!("tv")));
    assert_eq!((&encoders["probe"], asked), (&json!("running"), 200));
    assert!(daemon.stop().0.success());
}

#[test]
fn what_a_probe_has_found_is_told_without_a_daemon_too() {
    let daemon = guest::host("", &["rsa-2048"]);
    eventually("it is remembered", || daemon.state().join("encoders.json").is_file().then_some(()));
    let (_, folder) = daemon.stop();
    let report = |words: &[&str]| {
        let conf = folder.path().join("punktfunk.conf");
        let report =
            output(command(program("punktfunkd")).arg("-n").arg("-c").arg(conf).args(words));
        String::from_utf8(report.stdout).unwrap()
    };
    let elsewhere = folder.path().join("elsewhere");

    let known = report(&[]);
    let unknown = report(&["-o", &format!("StateDirectory={}", elsewhere.display())]);

    assert!(known.contains("\nencoder plug-in stub 1\n"), "{known}");
    assert!(known.contains("\ncodec           h264: software, because "), "{known}");
    assert!(unknown.contains("\nencoders        not probed yet\n"), "{unknown}");
    assert!(!elsewhere.exists());
}

#[test]
fn over_tcp_nothing_is_done_without_the_token_or_for_pages_of_other_sites() {
    let (daemon, address, token) = start_with_tcp(&["rsa-2048"]);
    let port = address.port();
    let right = format!("Authorization: Bearer {token}\r\n");
    let table = [
        (format!("Host: localhost\r\n{right}"), 200),
        (format!("Host: 127.0.0.1:{port}\r\n{right}"), 200),
        (format!("Host: [::1]:{port}\r\n{right}"), 200),
        (format!("Host: localhost\r\nauthorization: bearer {token}\r\n"), 200),
        ("Host: localhost\r\n".into(), 401),
        (format!("Host: localhost\r\nAuthorization: Bearer {token}0\r\n"), 401),
        (format!("Host: localhost\r\nAuthorization: Bearer {}\r\n", &token[1..]), 401),
        ("Host: localhost\r\nAuthorization: Bearer \r\n".into(), 401),
        (format!("Host: localhost\r\nAuthorization: Basic {token}\r\n"), 401),
        (format!("Host: localhost\r\nAuthorization: {token}\r\n"), 401),
        (format!("Host: localhost\r\nCookie: token={token}\r\n"), 401),
        (format!("Host: localhost\r\n{right}{right}"), 401),
        (format!("Host: evil.example\r\n{right}"), 403),
        (format!("Host: localhost.evil.example:{port}\r\n{right}"), 403),
        (format!("Host: 192.0.2.1\r\n{right}"), 403),
        (format!("Host: localhost\r\nOrigin: http://evil.example\r\n{right}"), 403),
        (format!("Host: localhost\r\nOrigin: null\r\n{right}"), 403),
        (format!("Host: localhost\r\nOrigin: http://localhost:{port}\r\n{right}"), 403),
        (right.clone(), 400),
        (format!("Host: localhost\r\nHost: localhost\r\n{right}"), 400),
    ];
    let unpair = format!("/v1/clients/{}", fingerprint("rsa-2048"));
    for (headers, expected) in &table {
        let asked =
            exchange(address, format!("GET /v1/version HTTP/1.1\r\n{headers}\r\n").as_bytes());
        let (status, body) = split_answer(&String::from_utf8(asked).unwrap());
        assert_eq!(status, *expected, "{headers} {body}");
        if *expected == 200 {
            continue;
        }
        for request in [
            format!("DELETE {unpair} HTTP/1.1\r\n{headers}\r\n"),
            format!("OPTIONS /v1/clients HTTP/1.1\r\n{headers}\r\n"),
        ] {
            let answer = String::from_utf8(exchange(address, request.as_bytes())).unwrap();
            let challenges = answer.contains("\r\nWWW-Authenticate: Bearer\r\n");
            assert_eq!(split_answer(&answer).0, *expected, "{request}");
            assert_eq!(challenges, *expected == 401, "{answer}");
            assert!(!answer.to_ascii_lowercase().contains("access-control"), "{answer}");
        }
    }

    let (_, clients) = daemon.api("GET", "/v1/clients", "");
    assert_eq!(clients["clients"].as_array().unwrap().len(), 1, "{clients}");
    let file = fs::metadata(daemon.state().join("http_token")).unwrap();
    assert_eq!(file.mode() & 0o777, 0o600);
    assert!(!daemon.log().contains(&token));
    let way = Way::Tcp(address, token);
    assert_eq!(way.call("DELETE", &unpair, "").status, 200);
}

#[test]
fn requests_of_every_shape_get_the_answer_that_http_has_for_them() {
    let (daemon, address, token) = start_with_tcp(&[]);
    let ways = [Way::Socket(daemon.socket()), Way::Tcp(address, token.clone())];
    let head = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n");
    let body = |len: usize| {
        let text = [&b"{\"level\":\"info\"}"[..], &vec![b' '; len - 16]].concat();
        let text = String::from_utf8(text).unwrap();
        format!("PUT /v1/log-level HTTP/1.1\r\n{head}Content-Length: {len}\r\n\r\n{text}")
    };
    let table = [
        (format!("GET /v1/version HTTP/1.1\r\n{head}\r\n"), 200),
        (format!("GET /v1/version HTTP/1.0\r\n{head}\r\n"), 505),
        (format!("GET v1/version HTTP/1.1\r\n{head}\r\n"), 400),
        (format!("GET /v1/version HTTP/1.1\r\n{head}A: {}\r\n\r\n", "b".repeat(17_000)), 431),
        (format!("POST /v1/reload HTTP/1.1\r\n{head}Content-Length: 1099511627776\r\n\r\n"), 413),
        (format!("POST /v1/reload HTTP/1.1\r\n{head}Content-Length: x\r\n\r\n"), 400),
        (
            format!(
                "POST /v1/reload HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            501,
        ),
        (format!("POST /v1/reload HTTP/1.1\r\n{head}Expect: 100-continue\r\n\r\n"), 200),
        (format!("GET /v1/version HTTP/1.1\r\n{head}Connection: keep-alive\r\n\r\n"), 200),
        (
            format!(
                "GET /v1/version HTTP/1.1\r\n{head}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            ),
            200,
        ),
        (body(64 * 1024), 200),
        (body(64 * 1024 + 1), 413),
        ("\x16\x03\x01\x02\x00\r\n\r\n".into(), 400),
        ("BREW /coffee HTCPCP/1.0\r\n\r\n".into(), 505),
    ];
    for way in &ways {
        for (request, expected) in &table {
            let answer = way.exchange(request.as_bytes());

            let (status, body) = split_answer(&answer);
            let shown: String = request.chars().take(120).collect();
            assert_eq!(status, *expected, "{shown:?} {body}");
            let value: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(value["error"]["code"].is_string(), *expected != 200, "{shown:?} {body}");
        }
    }
    assert_eq!(daemon.http("/serverinfo").0, 200);
}

#[test]
fn who_is_not_meant_by_the_mode_of_the_socket_gets_nothing() {
    let daemon = Daemon::start("");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&daemon.socket()), 0o660);
    // Only root can be somebody else.
    if is_root() {
        let mut stranger = command(program("punktfunkctl"));
        stranger.uid(STRANGER).gid(STRANGER).arg("-s").arg(daemon.socket()).arg("status");
        assert_not_permitted(&output(&mut stranger));
    }
    // Its own user may not either, where the mode says so.
    fs::set_permissions(daemon.socket(), Permissions::from_mode(0o000)).unwrap();
    assert_not_permitted(&daemon.ctl(&["status"]));

    let place = Folder::new();
    let socket = place.path().join("ctl");
    let _daemon = Daemon::start(&format!("ControlSocket {} 0600", socket.display()));

    assert_eq!(mode(&socket), 0o600);
    let mut own = command(program("punktfunkctl"));
    assert!(output(own.arg("-s").arg(&socket).arg("status")).status.success());
    if is_root() {
        // One of the daemon's group is a stranger to 0600.
        let mut stranger = command(program("punktfunkctl"));
        stranger.uid(STRANGER).arg("-s").arg(&socket).arg("status");
        assert_not_permitted(&output(&mut stranger));
    }
}

#[track_caller]
fn assert_not_permitted(output: &Output) {
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("this user may not use it"), "{said}");
}

/// The envelope that punktfunkctl prints, and its exit status.
#[track_caller]
fn envelope(output: &Output) -> (Value, i32) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["version"], 1, "{value}");
    (value, output.status.code().unwrap())
}

#[test]
fn every_verb_has_an_envelope_and_a_text() {
    let daemon = Daemon::start_paired("", &["rsa-2048", "p-256"]);
    let (_waits, id) = device(&daemon, SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.port)));
    let conf = daemon.folder().path().join("punktfunk.conf");
    let (id, conf) = (id.to_string(), conf.to_str().unwrap());
    let begin = &fingerprint("p-256")[..8];
    // The last column names what must be in the data.
    let table: [(&[&str], &str); 20] = [
        (&["runs"], "runs"),
        (&["status"], "host_id"),
        (&["encoders"], "chosen"),
        (&["encoders", "probe"], "probe"),
        (&["stats"], "sessions"),
        (&["sessions"], "sessions"),
        (&["apps"], "apps"),
        (&["clients"], "clients"),
        (&["version"], "features"),
        (&["log-level"], "level"),
        (&["log-level", "info", "listen=debug"], "level"),
        (&["reload"], "changed"),
        (&["check", conf], "file"),
        (&["pair", "list"], "pairings"),
        (&["client", "rename", "rsa-2048", "tv"], "name"),
        (&["client", "rename", "tv", "rsa-2048"], "name"),
        (&["client", "revoke", "rsa-2048", "view", "audio"], "grants"),
        (&["client", "grant", "rsa-2048", "audio"], "grants"),
        (&["client", "unpair", begin], "fingerprint"),
        (&["pair", "deny", &id], "id"),
    ];
    for (words, key) in table {
        // What changes something is done once.
        if !words.iter().any(|word| ["deny", "rename", "unpair"].contains(word)) {
            let text = daemon.ctl(words);
            assert!(text.status.success() && text.stderr.is_empty(), "{words:?} {text:?}");
            // A file that is right is not worth a word.
            assert_eq!(text.stdout.is_empty(), words[0] == "check", "{words:?} {text:?}");
        }

        let (value, code) = envelope(&daemon.ctl(&[words, &["--json"]].concat()));

        assert_eq!((&value["ok"], code), (&json!(true), 0), "{words:?} {value}");
        assert!(value["data"].get(key).is_some(), "{words:?} {value}");
    }
    let list = daemon.ctl(&["clients"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.starts_with("NAME") && list.contains(&fingerprint("rsa-2048")), "{list}");
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.ends_with("  keyboard mouse gamepad touch pen audio launch\n"), "{list}");
}

#[test]
fn every_failure_has_the_exit_status_of_the_manual_and_an_envelope() {
    let daemon = Daemon::start_paired("", &["rsa-2048", "p-256"]);
    let (_waits, id) = device(&daemon, SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.port)));
    let wrong = daemon.folder().file(
        "wrong.conf",
        "Listen nowhere\nNonsense yes\nStateDirectory /a\nRuntimeDirectory /b\n",
        0o644,
    );
    let (id, wrong) = (id.to_string(), wrong.to_str().unwrap());
    daemon.configure("Nonsense yes");
    let table: [(&[&str], i32, &str); 21] = [
        (&["session", "stop", "999"], 6, "not_found"),
        (&["session", "idr", "999"], 6, "not_found"),
        (&["session", "bitrate", "999", "20M"], 6, "not_found"),
        (&["session", "rumble", "999", "0", "1", "1"], 6, "not_found"),
        (&["session", "rumble", "999", "16", "1", "1"], 1, "bad_request"),
        (&["stats", "999"], 6, "not_found"),
        (&["client", "unpair", "nobody"], 6, "not_found"),
        (&["client", "unpair", "00"], 6, "not_found"),
        (&["client", "rename", "nobody", "tv"], 6, "not_found"),
        (&["client", "rename", "p-256", "rsa-2048"], 1, "conflict"),
        (&["client", "rename", "p-256", ""], 1, "bad_request"),
        (&["client", "grant", "nobody", "view"], 6, "not_found"),
        (&["client", "revoke", "p-256", "root"], 1, "bad_request"),
        (&["pair", "pin", "999", "1234"], 6, "not_found"),
        (&["pair", "deny", "999"], 6, "not_found"),
        (&["pair", "pin", &id, "12345"], 1, "bad_request"),
        (&["pair", "pin", "--fingerprint", "00000000", &id, "1234"], 1, "other_fingerprint"),
        (&["log-level", "loud"], 1, "bad_request"),
        (&["reload"], 1, "configuration_invalid"),
        (&["check", wrong], 1, "configuration_invalid"),
        (&["check", "/nowhere/punktfunk.conf"], 1, "configuration_invalid"),
    ];
    for (words, code, word) in table {
        let text = daemon.ctl(words);
        let (value, json_code) = envelope(&daemon.ctl(&[&["--json"], words].concat()));

        assert_eq!((text.status.code(), json_code), (Some(code), code), "{words:?} {text:?}");
        assert_eq!((&value["ok"], &value["error"]["code"]), (&json!(false), &json!(word)));
        assert!(value["error"]["message"].is_string() && value["error"]["details"].is_array());
        let said = String::from_utf8(text.stderr).unwrap();
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("punktfunkctl: "), "{words:?} {said}");
        assert!(text.stdout.is_empty(), "{words:?}");
    }
    let (value, _) = envelope(&daemon.ctl(&["--json", "check", wrong]));
    let details = value["error"]["details"].as_array().unwrap();
    let places = [format!("{wrong}:1:8: "), format!("{wrong}:2:1: ")];
    assert_eq!(details.len(), places.len(), "{value}");
    for (detail, place) in details.iter().zip(places) {
        assert!(detail.as_str().unwrap().contains(&place), "{detail}");
    }
    let (_, clients) = daemon.api("GET", "/v1/clients", "");
    assert_eq!(clients["clients"].as_array().unwrap().len(), 2);
}

#[test]
fn a_wrong_command_line_exits_with_2_and_asks_nobody() {
    let table: [&[&str]; 12] = [
        &[],
        &["statistics"],
        &["session"],
        &["session", "bitrate", "1", "20"],
        &["session", "rumble", "1", "0", "65536", "0"],
        &["status", "now"],
        &["pair"],
        &["pair", "pin", "x"],
        &["client", "rename", "tv"],
        &["client", "grant", "tv"],
        &["check"],
        &["--nonsense", "status"],
    ];
    for words in table {
        let run = output(command(program("punktfunkctl")).args(["-s", "/nowhere"]).args(words));

        assert_eq!(run.status.code(), Some(2), "{words:?} {run:?}");
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{run:?}");
    }
    for words in [&["-h"][..], &["pair", "-h"], &["-V"]] {
        let run = output(command(program("punktfunkctl")).args(words));
        assert!(run.status.success() && !run.stdout.is_empty(), "{words:?} {run:?}");
    }
}

#[test]
fn what_is_no_daemon_or_does_not_answer_has_an_exit_status_of_its_own() {
    let missing = output(command(program("punktfunkctl")).args(["-s", "/nowhere/ctl", "status"]));
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");

    let folder = Folder::new();
    let path = folder.path().join("ctl");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    let error = "{\"error\":{\"code\":\"c\",\"message\":\"m\"}}";
    let table = [
        (String::new(), 3, "unreachable"),
        ("220 mail ESMTP\r\n".into(), 3, "unreachable"),
        ("HTTP/1.1 200 OK\r\n\r\n<html>".into(), 3, "unreachable"),
        (format!("HTTP/1.1 403 x\r\n\r\n{error}"), 4, "c"),
        (format!("HTTP/1.1 504 x\r\n\r\n{error}"), 5, "c"),
        (format!("HTTP/1.1 503 x\r\n\r\n{error}"), 1, "c"),
    ];
    for (answer, code, word) in table {
        let mut command = command(program("punktfunkctl"));
        command.arg("-s").arg(&path).args(["--json", "status"]).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let len = socket.read(&mut request).unwrap();
        socket.write_all(answer.as_bytes()).unwrap();
        drop(socket);

        let (value, status) = envelope(&child.wait_with_output().unwrap());

        assert!(request[..len].starts_with(b"GET /v1/status HTTP/1.1\r\n"));
        assert_eq!((status, &value["error"]["code"]), (code, &json!(word)), "{answer}");
    }
}
