//! Exchanges, from their first stage to their end.

#![forbid(unsafe_code)]

use punktfunk_core::net::clock;
use punktfunk_core::proto::der::pem;
use punktfunk_core::proto::gamestream::secret::Secret;
use punktfunk_core::proto::hex;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;

use super::*;
use client::Client;

mod client {
    use super::{Certificate, PairRequest, Secret, hex, pem};

    include!("../../../tests/pairing/client.rs");
}

const WINDOW: Duration = Duration::from_secs(120);
const LIMIT: AttemptLimit = AttemptLimit { count: 5, window: Duration::from_secs(600) };
const SECOND: Duration = Duration::from_secs(1);

/// The pairings of a host, and a clock that is a variable. Connections are numbers.
struct Desk {
    host: (Certificate, KeyPair),
    pairings: Pairings<u32>,
    now: Instant,
    /// How many PINs were given: each is another one.
    pin_count: usize,
}

impl Desk {
    fn new() -> Desk {
        let (pairings, now) = (Pairings::default(), clock::now());
        Desk { host: client::host(), pairings, now, pin_count: 0 }
    }

    fn begin(&mut self, client: &Client, from: u8) -> Result<Entry, Refused<Refusal, u32>> {
        let (request, now) = (client.get_server_cert(), self.now);
        self.pairings.begin(&request, address(from), from.into(), now, WINDOW, LIMIT)
    }

    fn give_pin(
        &mut self,
        entry: &Entry,
        pin: &str,
    ) -> Result<(u32, String), Refused<Refusal, u32>> {
        let (id, fingerprint) = (entry.id, entry.fingerprint);
        self.pairings.handle_pin(id, fingerprint, pin, &self.host.0, self.now)
    }

    fn handle(
        &mut self,
        request: &PairRequest,
        from: u8,
    ) -> Result<Step, Refused<pairing::Error, u32>> {
        let host = HostKeys { certificate: &self.host.0, key: &self.host.1 };
        let random = SystemRandom::new();
        self.pairings.handle_request(request, address(from), &host, &random, self.now)
    }

    /// A device at this address whose PIN was just given.
    fn proving(&mut self, from: u8) -> (Client, Entry, String) {
        let pin = format!("{:04}", self.pin_count);
        self.pin_count += 1;
        let client = Client::new(&pin);
        let entry = self.begin(&client, from).unwrap();
        let (_, body) = self.give_pin(&entry, &pin).unwrap();
        (client, entry, body)
    }

    /// One whose proof held just now.
    fn proved(&mut self, from: u8) -> (Client, Step) {
        let (mut client, _, body) = self.proving(from);
        let request = client.client_challenge(&body);
        let step = self.handle(&request, from).unwrap();
        let request = client.server_challenge_response(&step.reply.body);
        let step = self.handle(&request, from).unwrap();
        assert!(client.accepts(&step.reply.body));
        let step = self.handle(&client.client_pairing_secret(), from).unwrap();
        (client, step)
    }

    fn state(&self, id: u64) -> State {
        let (entry, _) = self.pairings.entries().find(|(entry, _)| entry.id == id).unwrap();
        entry.state.clone()
    }
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn failed(failure: Failure) -> State {
    State::Failed(failure)
}

fn refusal<T: fmt::Debug>(result: Result<T, Refused<Refusal, u32>>) -> Refusal {
    result.unwrap_err().0
}

#[test]
fn the_certificate_of_the_first_stage_is_to_be_trusted_after_the_last() {
    let mut desk = Desk::new();

    let (client, step) = desk.proved(1);
    let before = desk.state(step.id);
    desk.pairings.conclude(step.id, Ok(()), desk.now);

    assert_eq!(step.reply.paired, Some(client.certificate));
    assert_eq!(before, State::Proving);
    assert_eq!(desk.state(step.id), State::Paired);
    assert_eq!(desk.pairings.pending_count(), 0);
    assert_eq!(desk.pairings.poll_timeout(), None);
}

#[test]
fn an_exchange_shows_who_waits_and_is_answered_where_it_waits() {
    let mut desk = Desk::new();
    let client = Client::new("4711");

    let entry = desk.begin(&client, 7).unwrap();

    assert_eq!((entry.id, entry.address), (1, address(7)));
    assert_eq!(entry.fingerprint, client.certificate.fingerprint());
    assert_eq!((entry.began, entry.state.clone()), (desk.now, State::Waiting));
    assert_eq!(desk.pairings.poll_timeout(), Some(desk.now + WINDOW));
    assert_eq!(desk.give_pin(&entry, "4711").unwrap().0, 7);
    assert_eq!(desk.state(entry.id), State::Proving);
}

#[test]
fn what_comes_after_the_proof_changes_nothing_any_more() {
    let mut desk = Desk::new();
    let (client, step) = desk.proved(1);

    // A replay, silence, an administrator who is too late, the device's own mind.
    let replay = desk.handle(&client.client_pairing_secret(), 1).unwrap_err();
    desk.now += WINDOW;
    let expired = desk.pairings.poll_expired(desk.now);
    let rejected = desk.pairings.reject(step.id, desk.now);
    let aborted = desk.pairings.abort(address(1), &client.unique_id, desk.now);
    let erased = desk.pairings.erase_at(address(1), Failure::Malformed, desk.now);

    assert_eq!(replay, (pairing::Error::NotUnderWay, None));
    assert_eq!((expired, aborted, erased), (None, None, None));
    assert_eq!(rejected, Err(Refusal::NotWaiting));
    desk.pairings.conclude(step.id, Ok(()), desk.now);
    assert_eq!(desk.state(step.id), State::Paired);
    let replay = desk.handle(&client.client_pairing_secret(), 1).unwrap_err();
    assert_eq!(replay, (pairing::Error::NotUnderWay, None));
    assert_eq!(desk.state(step.id), State::Paired);
}

#[test]
fn a_client_that_is_not_stored_is_not_paired_and_has_not_failed() {
    let mut desk = Desk::new();

    for _ in 0..LIMIT.count {
        let (_, step) = desk.proved(1);
        desk.pairings.conclude(step.id, Err("disk full".into()), desk.now);
        assert_eq!(desk.state(step.id), failed(Failure::NotStored("disk full".into())));
    }

    assert!(desk.begin(&Client::new("4711"), 1).is_ok());
}

#[test]
fn a_stage_out_of_order_or_twice_erases_the_exchange() {
    type Stage = fn(&mut Client, &str) -> PairRequest;
    let challenge: Stage = |client, body| client.client_challenge(body);
    let response: Stage = |client, _| PairRequest::ServerChallengeResponse {
        unique_id: client.unique_id.clone(),
        response: [7; 32],
    };
    let secret: Stage = |client, _| client.client_pairing_secret();
    let question: Stage = |_, _| PairRequest::PairChallenge;
    // Stages that are taken, then one that is not.
    let table: [(&[Stage], Stage); 9] = [
        (&[], response),
        (&[], secret),
        (&[], question),
        (&[challenge], challenge),
        (&[challenge], secret),
        (&[challenge], question),
        (&[challenge, response], challenge),
        (&[challenge, response], response),
        (&[challenge, response], question),
    ];
    for (row, (taken, last)) in table.into_iter().enumerate() {
        let mut desk = Desk::new();
        let (mut client, entry, body) = desk.proving(1);
        for stage in taken {
            desk.handle(&stage(&mut client, &body), 1).unwrap();
        }

        let (error, ended) = desk.handle(&last(&mut client, &body), 1).unwrap_err();

        assert_eq!(error, pairing::Error::OutOfOrder, "row {row}");
        assert_eq!(ended.unwrap().entry.id, entry.id, "row {row}");
        assert_eq!(desk.state(entry.id), failed(Failure::Protocol(error)), "row {row}");
        let (error, ended) = desk.handle(&client.client_pairing_secret(), 1).unwrap_err();
        assert_eq!((error, ended), (pairing::Error::NotUnderWay, None), "row {row}");
    }
}

#[test]
fn a_stage_before_the_pin_erases_the_exchange_and_owes_an_answer() {
    let mut desk = Desk::new();
    let client = Client::new("4711");
    let entry = desk.begin(&client, 1).unwrap();

    let (error, ended) = desk.handle(&client.client_pairing_secret(), 1).unwrap_err();

    assert_eq!(error, pairing::Error::OutOfOrder);
    assert_eq!(ended.unwrap().waiting, Some(1));
    assert_eq!(refusal(desk.give_pin(&entry, "4711")), Refusal::NotWaiting);
}

#[test]
fn an_address_has_one_exchange_and_cannot_touch_another_s() {
    let mut desk = Desk::new();
    let (mut client, entry, body) = desk.proving(1);
    let waiting = desk.begin(&Client::new("4711"), 2).unwrap();

    let request = client.client_challenge(&body);
    let foreign = desk.handle(&request, 3).unwrap_err();
    let aborted = desk.pairings.abort(address(3), &client.unique_id, desk.now);
    let other_id = desk.pairings.abort(address(1), "fedcba9876543210", desk.now);
    let busy = desk.begin(&Client::new("4712"), 2).unwrap_err();

    assert_eq!(foreign, (pairing::Error::NotUnderWay, None));
    assert_eq!((aborted, other_id), (None, None));
    assert_eq!(busy, (Refusal::Busy, None));
    assert_eq!(desk.state(waiting.id), State::Waiting);
    assert_eq!(desk.state(entry.id), State::Proving);
    assert!(desk.handle(&request, 1).is_ok());
}

#[test]
fn a_first_stage_ends_the_exchange_that_is_past_its_first() {
    let mut desk = Desk::new();
    let (client, entry, _) = desk.proving(1);

    let (error, ended) = desk.begin(&client, 1).unwrap_err();

    assert_eq!(error, Refusal::Busy);
    assert_eq!(ended.unwrap().entry.id, entry.id);
    assert_eq!(desk.pairings.pending_count(), 0);
    assert_eq!(desk.begin(&client, 1).unwrap().id, entry.id + 1);
}

#[test]
fn only_a_first_stage_begins() {
    let mut desk = Desk::new();
    let request = Client::new("4711").client_pairing_secret();

    let (now, at) = (desk.now, address(1));
    let begun = desk.pairings.begin(&request, at, 1, now, WINDOW, LIMIT);

    assert_eq!(refusal(begun), Refusal::Exchange(pairing::Error::OutOfOrder));
    assert_eq!(desk.pairings.entries().count(), 0);
}

#[test]
fn exchanges_are_bounded_in_number() {
    let mut desk = Desk::new();
    let client = Client::new("4711");
    desk.proved(0); // waits for the disk, and counts

    for from in 1..PENDING_COUNT_MAX as u8 {
        desk.begin(&client, from).unwrap();
    }

    assert_eq!(desk.begin(&client, 99).unwrap_err(), (Refusal::Full, None));
    assert!(desk.pairings.connection_closed(1, desk.now).is_some());
    assert!(desk.begin(&client, 99).is_ok());
}

#[test]
fn what_is_over_is_remembered_up_to_a_bound() {
    let mut desk = Desk::new();
    let client = Client::new("4711");

    for _ in 0..RECENT_COUNT_MAX + 3 {
        desk.begin(&client, 1).unwrap();
        desk.pairings.connection_closed(1, desk.now).unwrap();
    }

    let ids: Vec<u64> = desk.pairings.entries().map(|(entry, _)| entry.id).collect();
    assert_eq!(ids.len(), RECENT_COUNT_MAX);
    assert_eq!(ids[0], RECENT_COUNT_MAX as u64 + 3);
}

#[test]
fn a_pin_that_does_not_come_in_time_is_not_taken() {
    let mut desk = Desk::new();
    let early = desk.begin(&Client::new("4711"), 1).unwrap();
    desk.now += SECOND;
    let late = desk.begin(&Client::new("4712"), 2).unwrap();

    desk.now = early.began + WINDOW - SECOND;
    assert_eq!(desk.pairings.poll_expired(desk.now), None);
    desk.now = early.began + WINDOW;
    let ended = desk.pairings.poll_expired(desk.now).unwrap();

    assert_eq!((ended.entry.id, ended.waiting), (early.id, Some(1)));
    assert_eq!(ended.entry.state, failed(Failure::TimedOut));
    assert_eq!(desk.pairings.poll_expired(desk.now), None);
    assert_eq!(desk.pairings.poll_timeout(), Some(late.began + WINDOW));
    assert_eq!(refusal(desk.give_pin(&early, "4711")), Refusal::NotWaiting);
    // Also when the timer has not been looked at yet.
    desk.now += SECOND;
    let error = pairing::Error::TimedOut;
    assert_eq!(refusal(desk.give_pin(&late, "4712")), Refusal::Exchange(error));
    assert_eq!(desk.pairings.pending_count(), 0);
}

#[test]
fn closing_the_connection_takes_the_request_back() {
    let mut desk = Desk::new();
    let client = Client::new("4711");
    let entry = desk.begin(&client, 1).unwrap();
    let (_, proving, _) = desk.proving(2);

    let ended = desk.pairings.connection_closed(1, desk.now).unwrap();

    assert_eq!((ended.entry.id, ended.waiting), (entry.id, None));
    assert_eq!(desk.state(entry.id), failed(Failure::Cancelled));
    assert_eq!(refusal(desk.give_pin(&entry, "4711")), Refusal::NotWaiting);
    assert!(desk.begin(&client, 1).is_ok());
    // Once the first stage is answered, its connection closes as it should.
    assert_eq!(desk.pairings.connection_closed(2, desk.now), None);
    assert_eq!(desk.state(proving.id), State::Proving);
}

#[test]
fn a_pin_is_for_the_certificate_that_the_administrator_saw() {
    let mut desk = Desk::new();
    let entry = desk.begin(&Client::new("4711"), 1).unwrap();
    let other = Entry { fingerprint: desk.host.0.fingerprint(), ..entry.clone() };
    let unknown = Entry { id: 99, ..entry.clone() };

    let table = [
        (&other, "4711", Refusal::OtherFingerprint),
        (&unknown, "4711", Refusal::Unknown),
        (&entry, "471", Refusal::PinFormat),
        (&entry, "47111", Refusal::PinFormat),
        (&entry, "47a1", Refusal::PinFormat),
    ];
    for (entry, pin, expected) in table {
        let refused = desk.give_pin(entry, pin).unwrap_err();
        assert_eq!(refused, (expected, None), "{pin}");
    }

    // A slip of the administrator costs nothing.
    assert!(desk.give_pin(&entry, "4711").is_ok());
    assert_eq!(refusal(desk.give_pin(&entry, "4712")), Refusal::NotWaiting);
}

#[test]
fn a_pin_works_once() {
    let mut desk = Desk::new();
    let (_, first, _) = desk.proving(1); // 0000
    desk.pairings.abort(address(1), "0123456789ABCDEF", desk.now).unwrap();
    let again = desk.begin(&Client::new("0000"), 1).unwrap();

    let (error, ended) = desk.give_pin(&again, "0000").unwrap_err();

    assert_eq!(error, Refusal::PinUsed);
    assert_eq!(ended.unwrap().waiting, Some(1));
    assert_eq!(desk.state(again.id), failed(Failure::UsedPin));
    assert_eq!(refusal(desk.give_pin(&first, "0000")), Refusal::NotWaiting);
    // Devices choose from ten thousand, so one is forgotten in time.
    desk.now += USED_PIN_MEMORY;
    let later = desk.begin(&Client::new("0000"), 1).unwrap();
    assert!(desk.give_pin(&later, "0000").is_ok());
}

#[test]
fn a_wrong_pin_leaves_no_trust_and_no_exchange() {
    let mut desk = Desk::new();
    let mut client = Client::new("4711");
    let entry = desk.begin(&client, 1).unwrap();
    let (_, body) = desk.give_pin(&entry, "4712").unwrap();

    let request = client.client_challenge(&body);
    let body = desk.handle(&request, 1).unwrap().reply.body;
    let request = client.server_challenge_response(&body);
    let body = desk.handle(&request, 1).unwrap().reply.body;
    let step = desk.handle(&client.client_pairing_secret(), 1).unwrap();

    assert!(!client.accepts(&body));
    assert!(step.reply.is_refused && step.reply.paired.is_none());
    assert_eq!(desk.state(entry.id), failed(Failure::WrongPin));
    assert_eq!(desk.pairings.pending_count(), 0);
}

#[test]
fn attempts_that_fail_after_the_pin_are_limited_over_all_addresses() {
    type End = fn(&mut Desk, u8);
    let ends: [(End, Failure); 5] = [
        // As stock clients break off.
        (
            |desk, from| {
                desk.pairings.abort(address(from), "0123456789ABCDEF", desk.now).unwrap();
            },
            Failure::WrongPin,
        ),
        // As others do.
        (
            |desk, _| {
                let later = desk.now + Duration::from_secs(15);
                desk.pairings.poll_expired(later).unwrap();
            },
            Failure::TimedOut,
        ),
        (
            |desk, from| {
                desk.pairings.erase_at(address(from), Failure::Malformed, desk.now).unwrap();
            },
            Failure::Malformed,
        ),
        (
            |desk, from| {
                desk.handle(&PairRequest::PairChallenge, from).unwrap_err();
            },
            Failure::Protocol(pairing::Error::OutOfOrder),
        ),
        (
            |desk, from| {
                desk.begin(&Client::new("4711"), from).unwrap_err();
            },
            Failure::Protocol(pairing::Error::OutOfOrder),
        ),
    ];
    let mut desk = Desk::new();
    let began = desk.now;
    for (from, (end, failure)) in ends.into_iter().enumerate() {
        let (_, entry, _) = desk.proving(from as u8);
        end(&mut desk, from as u8);
        assert_eq!(desk.state(entry.id), failed(failure));
    }

    let refused = desk.begin(&Client::new("4711"), 99).unwrap_err();

    assert_eq!(refused, (Refusal::TooManyFailures(10), None));
    desk.now = began + LIMIT.window - SECOND;
    assert!(desk.begin(&Client::new("4711"), 99).is_err());
    desk.now = began + LIMIT.window;
    assert!(desk.begin(&Client::new("4711"), 99).is_ok());
}

#[test]
fn what_ends_before_the_pin_is_no_failed_attempt() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        desk.begin(&Client::new("4711"), 1).unwrap();
        desk.pairings.connection_closed(1, desk.now).unwrap();
        let entry = desk.begin(&Client::new("4711"), 1).unwrap();
        let ended = desk.pairings.reject(entry.id, desk.now).unwrap();
        assert_eq!((ended.waiting, ended.entry.state), (Some(1), failed(Failure::Rejected)));
        let client = Client::new("4711");
        desk.begin(&client, 1).unwrap();
        let ended = desk.pairings.abort(address(1), &client.unique_id, desk.now).unwrap();
        assert_eq!(ended.entry.state, failed(Failure::Cancelled));
    }

    assert!(desk.begin(&Client::new("4711"), 1).is_ok());
}

#[test]
fn only_what_is_under_way_can_be_rejected() {
    let mut desk = Desk::new();
    let entry = desk.begin(&Client::new("4711"), 1).unwrap();
    desk.pairings.reject(entry.id, desk.now).unwrap();

    assert_eq!(desk.pairings.reject(entry.id, desk.now), Err(Refusal::NotWaiting));
    assert_eq!(desk.pairings.reject(99, desk.now), Err(Refusal::Unknown));
}
