//! The stages of pairing, made by hand: in a wrong order, recorded and played again, broken off.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use client::Client;
use punktfunk_core::proto::gamestream::pairing::PairRequest;
use punktfunk_core::proto::hex;
use serde_json::{Value, json};
use support::{Daemon, PATIENCE, attribute, element, eventually, fingerprint, split_answer};

#[allow(dead_code, reason = "other tests use more of it")]
mod client {
    use punktfunk_core::proto::cert::Certificate;
    use punktfunk_core::proto::der::pem;
    use punktfunk_core::proto::gamestream::pairing::PairRequest;
    use punktfunk_core::proto::gamestream::secret::Secret;
    use punktfunk_core::proto::hex;

    include!("pairing/client.rs");
}

/// A device whose requests are made by hand, and can be made in any order.
struct Hand<'a> {
    daemon: &'a Daemon,
    client: Client,
    /// The requests so far, as they were sent.
    targets: Vec<String>,
    /// The last answer.
    body: String,
}

impl<'a> Hand<'a> {
    fn new(daemon: &'a Daemon, pin: &str) -> Hand<'a> {
        Hand { daemon, client: Client::new(pin), targets: Vec::new(), body: String::new() }
    }

    /// The request of the stage that comes next.
    fn next(&mut self) -> String {
        target(&match self.targets.len() {
            0 => self.client.get_server_cert(),
            1 => self.client.client_challenge(&self.body),
            2 => self.client.server_challenge_response(&self.body),
            _ => self.client.client_pairing_secret(),
        })
    }

    /// Plays the stages up to this one, the administrator giving the device's PIN.
    #[track_caller]
    fn play(&mut self, stage: usize) {
        while self.targets.len() < stage {
            let target = self.next();
            self.body = match self.targets.is_empty() {
                true => first_stage(self.daemon, &target, &self.client.pin),
                false => self.daemon.http(&target).1,
            };
            assert_eq!(element(&self.body, "paired"), Some("1"), "{}", self.body);
            self.targets.push(target);
            let is_proved = self.targets.len() != 3 || self.client.accepts(&self.body);
            assert!(is_proved, "the host knows the PIN and has its key");
        }
    }
}

/// A stage as clients ask for it.
fn target(request: &PairRequest) -> String {
    let (unique_id, stage) = match request {
        PairRequest::GetServerCert { unique_id, salt, certificate, .. } => {
            let (salt, pem) = (hex::emit(salt.bytes()), hex::emit(certificate.pem().as_bytes()));
            (unique_id, format!("phrase=getservercert&salt={salt}&clientcert={pem}"))
        }
        PairRequest::ClientChallenge { unique_id, challenge } => {
            (unique_id, format!("clientchallenge={}", hex::emit(challenge)))
        }
        PairRequest::ServerChallengeResponse { unique_id, response } => {
            (unique_id, format!("serverchallengeresp={}", hex::emit(response)))
        }
        PairRequest::ClientPairingSecret { unique_id, secret, signature } => {
            let bytes = [&secret.bytes()[..], signature].concat();
            (unique_id, format!("clientpairingsecret={}", hex::emit(&bytes)))
        }
        PairRequest::PairChallenge => unreachable!("the last stage belongs to HTTPS"),
    };
    format!("/pair?uniqueid={unique_id}&uuid=7&devicename=roth&updateState=1&{stage}")
}

/// Begins something that is answered later.
fn begin(daemon: &Daemon, target: &str) -> TcpStream {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, daemon.port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

fn finish(mut socket: TcpStream) -> String {
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    split_answer(&answer).1
}

/// The number of the exchange that waits for its PIN.
#[track_caller]
fn waiting_id(daemon: &Daemon) -> Value {
    eventually("it waits for its PIN", || {
        let mut pairings = daemon.pairings().into_iter();
        pairings.find(|pairing| pairing["state"] == "waiting").map(|pairing| pairing["id"].clone())
    })
}

/// The first stage with all that belongs to it: its answer once the PIN is given.
#[track_caller]
fn first_stage(daemon: &Daemon, target: &str, pin: &str) -> String {
    let socket = begin(daemon, target);
    let path = format!("/v1/pairings/{}/pin", waiting_id(daemon));
    let body = json!({ "pin": pin, "fingerprint": fingerprint("rsa-2048") }).to_string();
    let (status, report) = daemon.api("POST", &path, &body);
    assert_eq!(status, 200, "{report}");
    finish(socket)
}

/// A device that has paired once and is unpaired now: what it sent then.
fn recording(daemon: &Daemon, pin: &str) -> Vec<String> {
    let mut hand = Hand::new(daemon, pin);
    hand.play(4);
    assert_eq!(daemon.trusted(), [fingerprint("rsa-2048")]);
    let path = format!("/v1/clients/{}", fingerprint("rsa-2048"));
    assert_eq!(daemon.api("DELETE", &path, "").0, 200);
    hand.targets
}

#[track_caller]
fn assert_refused(body: &str, what: &str) {
    assert_eq!(attribute(body, "status_code"), Some("400"), "{what}: {body}");
    assert_eq!(element(body, "paired"), Some("0"), "{what}: {body}");
}

#[test]
fn a_stage_out_of_order_ends_the_exchange_without_trust() {
    let daemon = Daemon::start("MaxPairingAttempts 1000/1s");
    let recorded = recording(&daemon, "0000");
    let mut number = 0;
    // Stages that were played, and the wrong one that follows.
    for played in 0..4 {
        for wrong in (1..=4).filter(|wrong| *wrong != played + 1) {
            number += 1;
            let what = format!("stage {wrong} after {played}");
            let mut hand = Hand::new(&daemon, &format!("{number:04}"));
            hand.play(played);
            let right = hand.next();

            let refused = daemon.http(&recorded[wrong - 1]).1;

            assert_refused(&refused, &what);
            if played > 0 {
                assert_refused(&daemon.http(&right).1, &what);
            }
            let is_over = |pairing: &Value| {
                ["failed", "paired"].contains(&pairing["state"].as_str().unwrap())
            };
            assert!(daemon.pairings().iter().all(is_over), "{what}");
            assert!(daemon.trusted().is_empty(), "{what}");
        }
    }
}

#[test]
fn a_later_stage_before_the_pin_ends_the_exchange_and_a_second_first_one_does_not() {
    let daemon = Daemon::start("MaxPairingAttempts 1000/1s");
    let recorded = recording(&daemon, "0000");
    for wrong in 2..=4 {
        let socket = begin(&daemon, &recorded[0]);
        waiting_id(&daemon);

        let second = daemon.http(&recorded[0]).1;
        let id = waiting_id(&daemon);
        let refused = daemon.http(&recorded[wrong - 1]).1;

        assert_refused(&second, "a second one");
        assert_refused(&refused, "a later one");
        assert_refused(&finish(socket), "the first one");
        assert_eq!(daemon.pairing(&id)["state"], "failed");
        assert!(daemon.trusted().is_empty());
    }
}

#[test]
fn what_was_recorded_of_a_pairing_opens_nothing() {
    let daemon = Daemon::start("");
    let recorded = recording(&daemon, "1234");
    let replay = |daemon: &Daemon, pin: &str| {
        let first = first_stage(daemon, &recorded[0], pin);
        assert_eq!(element(&first, "paired"), Some("1"));
        let mut rest = recorded[1..].iter().map(|target| daemon.http(target).1);
        assert!(element(&rest.next().unwrap(), "challengeresponse").is_some());
        assert!(element(&rest.next().unwrap(), "pairingsecret").is_some());
        let last = rest.next().unwrap();
        assert_eq!(element(&last, "paired"), Some("0"), "{last}");
        assert!(daemon.trusted().is_empty());
    };

    replay(&daemon, "2345");
    // A daemon that has started anew does not know that the PIN was used: the challenge does.
    let port = daemon.port;
    let (_, folder) = daemon.stop();
    let daemon = Daemon::start_in(folder, port, "");
    replay(&daemon, "1234");

    // Without a first stage there is nothing to go on with.
    for target in &recorded[1..] {
        assert_refused(&daemon.http(target).1, target);
    }
    assert!(daemon.trusted().is_empty());
}

#[test]
fn a_device_that_stops_in_the_middle_is_forgotten_in_time() {
    let daemon = Daemon::start("");
    let mut hand = Hand::new(&daemon, "1234");
    hand.play(2);
    let right = hand.next();

    let ended = eventually("the exchange is over", || {
        let pairing = daemon.pairings().remove(0);
        (pairing["state"] == "failed").then_some(pairing)
    });

    assert_eq!(ended["reason"], "nothing heard in time");
    assert!(Duration::from_secs(ended["age_s"].as_u64().unwrap()) < PATIENCE);
    assert_refused(&daemon.http(&right).1, "too late");
    assert!(daemon.trusted().is_empty());
}

#[test]
fn a_new_client_gets_the_default_grants_of_that_moment_and_keeps_them() {
    let grants =
        |daemon: &Daemon| daemon.api("GET", "/v1/clients", "").1["clients"][0]["grants"].clone();
    let daemon = Daemon::start("DefaultGrants none");
    daemon.configure("DefaultGrants audio view");
    daemon.ctl_json(&["reload"]);

    Hand::new(&daemon, "1234").play(4);
    let paired = grants(&daemon);
    let port = daemon.port;
    let (_, folder) = daemon.stop();
    let daemon = Daemon::start_in(folder, port, "DefaultGrants none");

    assert_eq!((&paired, &grants(&daemon)), (&json!(["view", "audio"]), &paired));
}
