//! The stock client pairs with the running daemon, and nobody does who should not.

mod support;

use punktfunk_core::net::clock;
use serde_json::{Value, json};
use support::device::{Device, give_pin};
use support::{Daemon, eventually};

const IPV4: &str = "127.0.0.1";
const IPV6: &str = "[::1]";

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[test]
fn the_stock_client_pairs_over_ipv4_and_ipv6_and_sees_what_is_there() {
    let daemon = Daemon::start("MaxMode 640x480@60");
    for (host, pin) in [(IPV4, "0451"), (IPV6, "1234")] {
        let mut device = Device::new(&daemon, host);
        let before = device.ask(&["info"]);
        let pairing = device.begin_pairing(&daemon, pin);

        let given = give_pin(&daemon, &pairing, pin, &[]);
        let answer = device.answer();

        let (address, fingerprint) = (device.address.clone(), device.fingerprint.clone());
        assert_eq!(before["ok"]["paired"], false, "{before}");
        assert_eq!((&pairing["address"], &pairing["device_name"]), (&json!(address), &Value::Null));
        assert_eq!(text(&given.stdout), format!("paired: {address}, {fingerprint}\n"));
        assert!(text(&given.stderr).contains(&format!("certificate {fingerprint}")), "{given:?}");
        assert_eq!(given.status.code(), Some(0));
        let host_pem = include_str!("vectors/certificates/host.pem");
        assert_eq!(answer, json!({ "ok": host_pem }));
        let after = device.ask(&["info"]);
        assert_eq!(after["ok"]["paired"], true, "{after}");
        assert_eq!(before["ok"]["unique_id"], after["ok"]["unique_id"]);
        assert!(device.has_apps());
        assert_eq!(device.ask(&["quit"]), json!({ "ok": null }));
        let refusals = [
            (&["launch", "Desktop"][..], 400, "This host streams 640x480 at most"),
            (&["resume"], 503, "No running app to resume"),
        ];
        for (words, status, sentence) in refusals {
            let refused = device.ask(words);
            assert_eq!(
                (&refused["error"], &refused["status"]),
                (&json!("HttpResponseError"), &json!(status))
            );
            assert!(refused["message"].as_str().unwrap().contains(sentence), "{refused}");
        }
        let (_, report) = daemon.api("GET", "/v1/clients", "");
        let clients = report["clients"].as_array().unwrap();
        let client = clients.iter().find(|client| client["fingerprint"] == fingerprint).unwrap();
        assert_eq!(client["name"], format!("moonlight-{address}"));
    }
    assert_eq!(daemon.trusted().len(), 2);
}

#[test]
fn a_user_of_the_stock_client_types_the_pin_that_it_shows_and_is_connected() {
    let daemon = Daemon::start("HostName attic");
    let mut device = Device::new(&daemon, IPV4);

    device.begin(&["connect"]);
    let shown = device.line();
    let pin = shown.trim_end().strip_prefix("PIN: ").unwrap().to_owned();
    device.line();
    let pairing = device.waiting(&daemon);
    let given = give_pin(&daemon, &pairing, &pin, &[]);
    let first = device.answer();
    let second = device.ask(&["connect"]);

    let expected = json!({ "ok": { "host": "attic", "apps": ["Desktop"] } });
    assert!(given.status.success(), "{given:?}");
    // The second time nothing is asked.
    assert_eq!((&first, &second), (&expected, &expected));
}

#[test]
fn a_wrong_pin_is_told_to_both_ends_and_leaves_no_trust() {
    let daemon = Daemon::start("");
    let mut device = Device::new(&daemon, IPV4);
    let waiting = device.begin_pairing(&daemon, "1234");

    let given = give_pin(&daemon, &waiting, "4321", &[]);
    let answer = device.answer();

    assert_eq!(answer["error"], "WrongPinError", "{answer}");
    assert_eq!(given.status.code(), Some(1));
    assert!(text(&given.stderr).ends_with("punktfunkctl: wrong PIN\n"), "{given:?}");
    let ended = daemon.pairing(&waiting["id"]);
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("failed"), &json!("wrong PIN")));
    assert!(daemon.trusted().is_empty());
    assert_eq!(device.ask(&["apps"])["status"], 401);
    // With the PIN that was wrong, now on the device as well, the host is not to be had either.
    let again = device.begin_pairing(&daemon, "4321");
    let refused = give_pin(&daemon, &again, "4321", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(device.answer()["error"], "HttpResponseError");
    assert!(daemon.trusted().is_empty());
    device.pair(&daemon, "5678");
    assert_eq!(daemon.trusted(), [device.fingerprint.clone()]);
}

#[test]
fn an_unpaired_device_is_unknown_at_once_and_its_pin_of_then_never_works_again() {
    let daemon = Daemon::start("");
    let mut device = Device::new(&daemon, IPV4);
    device.pair(&daemon, "1234");
    assert!(device.has_apps());

    let unpaired = daemon.ctl(&["client", "unpair", &device.fingerprint[..8]]);
    let list = device.ask(&["apps"]);
    let waiting = device.begin_pairing(&daemon, "1234");
    let given = give_pin(&daemon, &waiting, "1234", &[]);
    let answer = device.answer();

    assert!(unpaired.status.success(), "{unpaired:?}");
    assert_eq!((&list["error"], &list["status"]), (&json!("HttpResponseError"), &json!(401)));
    assert_eq!(given.status.code(), Some(1));
    assert!(text(&given.stderr).contains("this PIN was used before"), "{given:?}");
    assert_eq!((&answer["error"], &answer["status"]), (&json!("HttpResponseError"), &json!(400)));
    assert_eq!(daemon.pairing(&waiting["id"])["reason"], "that PIN was used before");
    assert!(daemon.trusted().is_empty());
    device.pair(&daemon, "2345");
    assert!(device.has_apps());
}

#[test]
fn of_two_devices_that_wait_the_named_one_gets_the_pin() {
    let daemon = Daemon::start("");
    let (mut one, mut two) = (Device::new(&daemon, IPV4), Device::new(&daemon, IPV6));
    let (of_one, of_two) = (one.begin_pairing(&daemon, "1111"), two.begin_pairing(&daemon, "2222"));
    let pin_to = |id: &Value, fingerprint: &str, pin: &str| {
        let body = json!({ "pin": pin, "fingerprint": fingerprint }).to_string();
        daemon.api("POST", &format!("/v1/pairings/{id}/pin"), &body)
    };

    // The number of one with the fingerprint of the other is nobody's.
    let (mixed, _) = pin_to(&of_one["id"], &two.fingerprint, "2222");
    let digits = &two.fingerprint[..8];
    let other = give_pin(&daemon, &of_one, "2222", &["--fingerprint", digits]);
    let right = give_pin(&daemon, &of_two, "2222", &["--fingerprint", digits]);

    assert_eq!((mixed, other.status.code()), (409, Some(1)));
    assert!(text(&other.stderr).contains("another fingerprint"), "{other:?}");
    assert!(right.status.success(), "{right:?}");
    assert!(two.answer()["ok"].is_string());
    assert_eq!(daemon.pairing(&of_one["id"])["state"], "waiting");
    assert_eq!(daemon.trusted(), [two.fingerprint.clone()]);
    // A device that is denied is told so, and its number is worth nothing from then on.
    let denied = daemon.ctl(&["pair", "deny", &of_one["id"].to_string()]);
    assert!(denied.status.success(), "{denied:?}");
    let answer = one.answer();
    assert_eq!((&answer["error"], &answer["status"]), (&json!("HttpResponseError"), &json!(400)));
    assert!(answer["message"].as_str().unwrap().contains("rejected"), "{answer}");
    assert_eq!(pin_to(&of_one["id"], &one.fingerprint, "1111").0, 409);
    assert_eq!(daemon.trusted(), [two.fingerprint.clone()]);
}

#[test]
fn a_device_that_leaves_before_its_pin_takes_its_exchange_along() {
    let daemon = Daemon::start("");
    let mut device = Device::new(&daemon, IPV4);
    let waiting = device.begin_pairing(&daemon, "1234");

    device.leave();
    let ended = eventually("the exchange is over", || {
        let ended = daemon.pairing(&waiting["id"]);
        (ended["state"] == "failed").then_some(ended)
    });
    let given = give_pin(&daemon, &waiting, "1234", &[]);
    let mut next = Device::new(&daemon, IPV4);
    next.pair(&daemon, "2345");

    assert_eq!(ended["reason"], "cancelled on the device");
    assert_eq!(given.status.code(), Some(1));
    assert_eq!(daemon.trusted(), [next.fingerprint.clone()]);
}

#[test]
fn a_device_waits_for_its_pin_no_longer_than_pairingwindow() {
    let daemon = Daemon::start("PairingWindow 10s");
    let mut device = Device::new(&daemon, IPV4);
    let begun = clock::now();
    let waiting = device.begin_pairing(&daemon, "1234");

    let answer = device.answer();
    let took = begun.elapsed();
    let given = give_pin(&daemon, &waiting, "1234", &[]);

    assert!(waiting["left_s"].as_u64().unwrap() <= 10, "{waiting}");
    assert_eq!((&answer["error"], &answer["status"]), (&json!("HttpResponseError"), &json!(400)));
    assert!((9..20).contains(&took.as_secs()), "{took:?}");
    assert_eq!(daemon.pairing(&waiting["id"])["reason"], "nothing heard in time");
    assert_eq!(given.status.code(), Some(1));
    assert!(daemon.trusted().is_empty());
}

#[test]
fn guesses_beyond_maxpairingattempts_are_not_taken() {
    let daemon = Daemon::start("MaxPairingAttempts 2/10m");
    let mut device = Device::new(&daemon, IPV4);
    for (pin, guess) in [("1111", "0001"), ("2222", "0002")] {
        let waiting = device.begin_pairing(&daemon, pin);
        give_pin(&daemon, &waiting, guess, &[]);
        assert_eq!(device.answer()["error"], "WrongPinError");
    }

    // Also from another address: it may be the same attacker.
    let here = device.ask(&["pair", "3333"]);
    let there = Device::new(&daemon, IPV6).ask(&["pair", "3333"]);

    for answer in [here, there] {
        let message = answer["message"].as_str().unwrap();
        assert_eq!(answer["status"], 400);
        assert!(message.contains("Too many pairings have failed"), "{message}");
    }
    assert!(daemon.trusted().is_empty());
}

#[test]
fn a_host_that_takes_no_new_clients_says_so_and_keeps_those_it_has() {
    let daemon = Daemon::start("");
    let mut device = Device::new(&daemon, IPV4);
    device.pair(&daemon, "1234");
    daemon.configure("Pairing off");
    assert!(daemon.ctl(&["reload"]).status.success());

    let refused = Device::new(&daemon, IPV6).ask(&["pair", "2345"]);

    assert!(refused["message"].as_str().unwrap().contains("takes no new clients"), "{refused}");
    assert!(device.has_apps());
}

#[test]
fn trust_outlives_the_daemon() {
    let daemon = Daemon::start("");
    let mut device = Device::new(&daemon, IPV4);
    device.pair(&daemon, "1234");
    let before = device.ask(&["info"]);

    let port = daemon.port;
    let (status, folder) = daemon.stop();
    let daemon = Daemon::start_in(folder, port, "");

    assert!(status.success());
    assert!(device.has_apps());
    assert_eq!(device.ask(&["info"]), before);
    assert_eq!(before["ok"]["paired"], true);
    assert_eq!(daemon.trusted(), [device.fingerprint.clone()]);
}
