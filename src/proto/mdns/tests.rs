//! The responder, step by step.

#![forbid(unsafe_code)]

use simple_dns::TYPE;
use simple_dns::rdata::{A, PTR, RData, SRV};

use super::*;

const HOST: &str = "punktfunk-a1b2c3.local";
const KIND: &str = "_nvstream._tcp.local";
const ENUMERATION: &str = "_services._dns-sd._udp.local";
const INSTANCE: &str = "den._nvstream._tcp.local";
const V6: &str = "2001:db8::1";
/// What a whole announcement says.
const EVERYTHING: [&str; 6] = [
    "PTR _services._dns-sd._udp.local 4500",
    "PTR _nvstream._tcp.local 4500",
    "SRV den._nvstream._tcp.local 120 flush",
    "TXT den._nvstream._tcp.local 4500 flush",
    "A punktfunk-a1b2c3.local 120 flush",
    "AAAA punktfunk-a1b2c3.local 120 flush",
];

#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn link(interface: u32, addresses: &[&str]) -> Link {
    let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    Link { interface, family: Family::V4, addresses }
}

/// A responder with one link that has not done anything yet.
fn fresh(now: Instant) -> Responder {
    let kinds = [("_nvstream._tcp".to_owned(), 47989)];
    let mut responder = Responder::new("den", "punktfunk-a1b2c3", &kinds, 4711).unwrap();
    responder.set_links(vec![link(1, &["192.0.2.1", V6])], now);
    responder
}

/// Lets time pass up to `end`; what was sent meanwhile, and when, in milliseconds from `begin`.
fn run(responder: &mut Responder, begin: Instant, end: Instant) -> Vec<(u128, Transmit)> {
    let mut sent = Vec::new();
    while let Some(at) = responder.poll_timeout().filter(|at| *at <= end) {
        responder.handle_timeout(at);
        let since = at.saturating_duration_since(begin).as_millis();
        sent.extend(std::iter::from_fn(|| responder.poll_output()).map(|it| (since, it)));
    }
    sent
}

/// A responder that announced everything some minutes ago, and the time.
fn settled() -> (Responder, Instant) {
    let begin = epoch();
    let mut responder = fresh(begin);
    run(&mut responder, begin, begin + ms(10_000));
    (responder, begin + Duration::from_secs(3600))
}

fn multicast() -> Arrival {
    let source = "192.0.2.7:5353".parse().unwrap();
    Arrival { interface: 1, source, to: GROUP_V4.into(), is_local: true }
}

fn question(name: &str, kind: &str) -> Question<'static> {
    let kind = match kind {
        "A" => TYPE::A.into(),
        "AAAA" => TYPE::AAAA.into(),
        "ANY" => QTYPE::ANY,
        "PTR" => TYPE::PTR.into(),
        "SRV" => TYPE::SRV.into(),
        "TXT" => TYPE::TXT.into(),
        other => panic!("{other}"),
    };
    Question::new(Name::new(name).unwrap().into_owned(), kind, CLASS::IN.into(), false)
}

fn query(name: &str, kind: &str) -> Packet<'static> {
    let mut packet = Packet::new_query(0);
    packet.questions.push(question(name, kind));
    packet
}

fn record(name: &str, ttl: u32, rdata: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new(name).unwrap().into_owned(), CLASS::IN, ttl, rdata)
}

fn service(port: u16) -> RData<'static> {
    let target = Name::new("other.local").unwrap();
    RData::SRV(SRV { priority: 0, weight: 0, port, target })
}

fn pointer() -> RData<'static> {
    RData::PTR(PTR(Name::new(INSTANCE).unwrap()))
}

fn address(last: u8) -> RData<'static> {
    RData::A(A::from(Ipv4Addr::new(192, 0, 2, last)))
}

fn reply(records: Vec<ResourceRecord<'static>>) -> Packet<'static> {
    let mut packet = Packet::new_reply(0);
    packet.answers = records;
    packet
}

fn give(responder: &mut Responder, packet: &Packet<'_>, arrival: &Arrival, now: Instant) {
    let bytes = packet.build_bytes_vec_compressed().unwrap();
    responder.handle_input(&bytes, arrival, now).unwrap();
}

/// Type, owner and TTL of records, and whether they flush caches.
fn lines(records: &[ResourceRecord<'_>]) -> Vec<String> {
    let line = |record: &ResourceRecord<'_>| {
        let flush = if record.cache_flush { " flush" } else { "" };
        format!("{:?} {} {}{flush}", record.rdata.type_code(), record.name, record.ttl)
    };
    records.iter().map(line).collect()
}

fn answers(transmit: &Transmit) -> Vec<String> {
    lines(&Packet::parse(&transmit.bytes).unwrap().answers)
}

fn additional(transmit: &Transmit) -> Vec<String> {
    lines(&Packet::parse(&transmit.bytes).unwrap().additional_records)
}

#[test]
fn names_are_probed_and_then_announced_three_times() {
    let begin = epoch();
    let mut responder = fresh(begin);

    let sent = run(&mut responder, begin, begin + Duration::from_secs(3600));

    let first = sent[0].0;
    assert!(first <= 250);
    let times: Vec<u128> = sent.iter().map(|(at, _)| at - first).collect();
    assert_eq!(times, [0, 250, 500, 750, 1750, 3750]);
    for (_, probe) in &sent[..3] {
        let packet = Packet::parse(&probe.bytes).unwrap();
        let names: Vec<String> =
            packet.questions.iter().map(|question| question.qname.to_string()).collect();
        assert_eq!(names, [INSTANCE, HOST]);
        assert_eq!(lines(&packet.name_servers).len(), 4);
    }
    for (_, announcement) in &sent[3..] {
        assert_eq!(announcement.destination, Destination::Multicast(Family::V4));
        assert_eq!(answers(announcement), EVERYTHING);
    }
    assert_eq!(responder.poll_timeout(), None);
}

#[test]
fn questions_are_answered_with_what_is_asked_next() {
    let types = ["NSEC punktfunk-a1b2c3.local 120 flush"];
    let [enumeration, pointer, service, text, a, aaaa] = EVERYTHING.map(|line| vec![line]);
    let hosts = [a.clone(), aaaa.clone()].concat();
    let all = [service.clone(), text.clone(), hosts.clone()].concat();
    let instance_types = vec!["NSEC den._nvstream._tcp.local 4500 flush"];
    let none = Vec::new();
    let cases = [
        (KIND, "PTR", &pointer, &all),
        ("_NVstream._TCP.local", "PTR", &pointer, &all),
        (KIND, "ANY", &pointer, &all),
        (KIND, "SRV", &none, &none),
        (ENUMERATION, "PTR", &enumeration, &none),
        (INSTANCE, "SRV", &service, &hosts),
        (INSTANCE, "TXT", &text, &none),
        (INSTANCE, "ANY", &[service.clone(), text.clone()].concat(), &hosts),
        (INSTANCE, "A", &instance_types, &none),
        (HOST, "A", &a, &aaaa),
        (HOST, "AAAA", &aaaa, &a),
        (HOST, "ANY", &hosts, &none),
        (HOST, "TXT", &types.to_vec(), &none),
        ("other.local", "A", &none, &none),
    ];
    for (name, kind, expected, more) in cases {
        let (mut responder, now) = settled();

        give(&mut responder, &query(name, kind), &multicast(), now);

        let at_once = responder.poll_output();
        let later = run(&mut responder, now, now + ms(10_000));
        let is_shared = matches!(name, ENUMERATION | KIND | "_NVstream._TCP.local");
        assert!(at_once.is_none() || !is_shared, "{name} {kind}");
        assert!(later.iter().all(|(at, _)| (20..=120).contains(at)), "{name} {kind}");
        let sent: Vec<Transmit> =
            at_once.into_iter().chain(later.into_iter().map(|(_, it)| it)).collect();
        assert_eq!(sent.iter().flat_map(answers).collect::<Vec<_>>(), *expected, "{name} {kind}");
        assert_eq!(sent.iter().flat_map(additional).collect::<Vec<_>>(), *more, "{name} {kind}");
        assert_eq!(responder.poll_timeout(), None);
    }
}

#[test]
fn a_host_without_ipv6_says_so() {
    let (mut responder, now) = settled();
    responder.set_links(vec![link(1, &["192.0.2.1"])], now);
    run(&mut responder, now, now + ms(10_000));
    let now = now + ms(20_000);

    give(&mut responder, &query(HOST, "AAAA"), &multicast(), now);

    let answer = responder.poll_output().unwrap();
    assert_eq!(answers(&answer), ["NSEC punktfunk-a1b2c3.local 120 flush"]);
}

#[test]
fn one_record_is_multicast_once_a_second() {
    let (mut responder, now) = settled();

    for step in 0..50 {
        let now = now + ms(step * 10);
        give(&mut responder, &query(HOST, "A"), &multicast(), now);
        give(&mut responder, &query(KIND, "PTR"), &multicast(), now);
        responder.handle_timeout(now);
    }

    let early: Vec<Transmit> = std::iter::from_fn(|| responder.poll_output()).collect();
    let late = run(&mut responder, now, now + ms(60_000));
    let said = |transmit: &Transmit| [answers(transmit), additional(transmit)].concat();
    let early: Vec<String> = early.iter().flat_map(said).collect();
    let count = |line| early.iter().filter(|other| *other == line).count();
    assert!(EVERYTHING[1..].iter().all(|line| count(line) == 1), "{early:?}");
    assert!(late.iter().all(|(at, _)| *at >= 1000), "{late:?}");
    assert_eq!(responder.poll_timeout(), None);
}

#[test]
fn what_the_asker_knows_is_not_said() {
    let other = RData::PTR(PTR(Name::new("other._nvstream._tcp.local").unwrap()));
    let cases = [
        (record(KIND, 4500, pointer()), true),
        (record(KIND, 2250, pointer()), true),
        (record(KIND, 2249, pointer()), false),
        (record(KIND, 4500, other), false),
    ];
    for (known, is_enough) in cases {
        let (mut responder, now) = settled();
        let mut packet = query(KIND, "PTR");
        packet.answers.push(known.clone());

        give(&mut responder, &packet, &multicast(), now);

        assert_eq!(responder.poll_timeout().is_none(), is_enough, "{known:?}");
    }
}

#[test]
fn known_answers_may_follow_in_another_packet() {
    let (mut responder, now) = settled();
    let mut question = query(KIND, "PTR");
    question.set_flags(PacketFlag::TRUNCATION);
    let mut rest = Packet::new_query(0);
    rest.answers.push(record(KIND, 4500, pointer()));

    give(&mut responder, &question, &multicast(), now);
    let deadline = responder.poll_timeout().unwrap();
    let other = Arrival { source: "192.0.2.8:5353".parse().unwrap(), ..multicast() };
    give(&mut responder, &rest, &other, now + ms(50));
    let after_other = responder.poll_timeout();
    give(&mut responder, &rest, &multicast(), now + ms(100));

    assert!((now + ms(400)..=now + ms(500)).contains(&deadline));
    assert_eq!(after_other, Some(deadline));
    assert_eq!(responder.poll_timeout(), None);
}

#[test]
fn an_old_resolver_is_answered_as_it_expects() {
    let (mut responder, now) = settled();
    let mut packet = query(KIND, "PTR");
    packet.set_id(4711);
    let source = "192.0.2.7:40000".parse().unwrap();
    let arrival = Arrival { source, ..multicast() };

    give(&mut responder, &packet, &arrival, now);

    let transmit = responder.poll_output().unwrap();
    assert_eq!(transmit.destination, Destination::Unicast { to: source, from: None });
    let answer = Packet::parse(&transmit.bytes).unwrap();
    assert_eq!((answer.id(), answer.questions.len()), (4711, 1));
    assert_eq!(answer.questions[0].qname.to_string(), KIND);
    assert_eq!(lines(&answer.answers), ["PTR _nvstream._tcp.local 10"]);
    let more = lines(&answer.additional_records);
    assert_eq!(more.len(), 4);
    assert!(more.iter().all(|line| line.ends_with(" 10")), "{more:?}");
    assert_eq!(responder.poll_timeout(), None);
}

#[test]
fn unicast_answers_are_limited() {
    let (mut responder, now) = settled();
    let arrival = Arrival { source: "192.0.2.7:40000".parse().unwrap(), ..multicast() };

    for _ in 0..100 {
        give(&mut responder, &query(KIND, "PTR"), &arrival, now);
    }

    let count = std::iter::from_fn(|| responder.poll_output()).count();
    assert_eq!(count, UNICAST_COUNT_MAX as usize);
}

#[test]
fn who_could_be_answered_alone_is_answered_with_all_when_one_asks_too_much() {
    let (mut responder, now) = settled();
    let greedy = Arrival { source: "192.0.2.66:40000".parse().unwrap(), ..multicast() };
    let mut packet = query(HOST, "A");
    give(&mut responder, &packet, &multicast(), now);
    packet.questions[0].unicast_response = true;

    for _ in 0..100 {
        give(&mut responder, &query(KIND, "PTR"), &greedy, now + ms(2000));
    }
    while responder.poll_output().is_some() {}
    give(&mut responder, &packet, &multicast(), now + ms(2100));

    let destination = responder.poll_output().unwrap().destination;
    assert_eq!(destination, Destination::Multicast(Family::V4));
}

#[test]
fn one_host_is_answered_alone_if_the_others_heard_it_lately() {
    let (mut responder, now) = settled();
    let mut packet = query(HOST, "A");
    packet.questions[0].unicast_response = true;
    let asker = multicast().source;

    let destinations = [0, 2_000, 29_000, 40_000].map(|at| {
        give(&mut responder, &packet, &multicast(), now + ms(at));
        responder.poll_output().unwrap().destination
    });

    let everyone = Destination::Multicast(Family::V4);
    let one = Destination::Unicast { to: asker, from: None };
    assert_eq!(destinations, [everyone, one, one, everyone]);
}

#[test]
fn the_address_that_was_asked_answers() {
    let (mut responder, now) = settled();
    let ours = "192.0.2.1".parse().unwrap();
    let arrival = Arrival { to: ours, ..multicast() };
    give(&mut responder, &query(HOST, "A"), &multicast(), now);
    responder.poll_output().unwrap();

    give(&mut responder, &query(HOST, "A"), &arrival, now + ms(2000));

    let expected = Destination::Unicast { to: arrival.source, from: Some(ours) };
    assert_eq!(responder.poll_output().unwrap().destination, expected);
}

#[test]
fn strangers_are_not_heard() {
    let ours = "192.0.2.1".parse().unwrap();
    let legacy = "198.51.100.1:40000".parse().unwrap();
    let ask = query(KIND, "PTR");
    let claim = reply(vec![record(INSTANCE, 120, service(1))]);
    let away = Arrival { is_local: false, ..multicast() };
    let cases = [
        (&ask, Arrival { to: ours, ..away }, Err(Error::Source)),
        (&ask, Arrival { source: legacy, ..away }, Err(Error::Source)),
        (&ask, away, Ok(())),
        (&ask, Arrival { interface: 2, ..multicast() }, Err(Error::Link)),
        (&ask, Arrival { source: "[fe80::1]:5353".parse().unwrap(), ..away }, Err(Error::Link)),
        (
            &claim,
            Arrival { source: "192.0.2.7:40000".parse().unwrap(), ..away },
            Err(Error::Source),
        ),
        (&claim, Arrival { to: ours, ..away }, Err(Error::Source)),
    ];
    for (packet, arrival, expected) in cases {
        let (mut responder, now) = settled();
        let bytes = packet.build_bytes_vec().unwrap();

        assert_eq!(responder.handle_input(&bytes, &arrival, now), expected, "{arrival:?}");
        assert_eq!(responder.poll_timeout().is_some(), expected.is_ok(), "{arrival:?}");
    }
}

#[test]
fn a_name_that_is_taken_is_changed_while_probing() {
    let taken = "punktfunk-a1b2c3-2.local";
    let cases = [
        (reply(vec![record(INSTANCE, 120, service(1))]), "den (2)", HOST),
        (reply(vec![record("DEN._nvstream._tcp.local", 120, service(1))]), "den (2)", HOST),
        (reply(vec![record(HOST, 120, address(7))]), "den", taken),
        (reply(vec![record(HOST, 0, address(7))]), "den", HOST),
        (reply(vec![record(HOST, 120, address(1))]), "den", HOST),
        (reply(vec![record("other.local", 120, address(7))]), "den", HOST),
        (reply(vec![record(KIND, 4500, pointer())]), "den", HOST),
    ];
    for (packet, instance, host) in cases {
        let begin = epoch();
        let mut responder = fresh(begin);
        run(&mut responder, begin, begin + ms(300));

        give(&mut responder, &packet, &multicast(), begin + ms(400));

        let sent = run(&mut responder, begin, begin + ms(20_000));
        let said = answers(&sent.last().unwrap().1);
        assert_eq!(responder.instance(), instance);
        assert!(said.contains(&format!("A {host} 120 flush")), "{said:?}");
    }
}

#[test]
fn a_name_that_is_ours_is_proved_again_before_it_is_given_up() {
    let cases = [
        (record(INSTANCE, 120, service(1)), true),
        (record(HOST, 120, address(7)), true),
        (record(HOST, 120, address(1)), false),
        (record(KIND, 4500, service(1)), false),
        (record("other.local", 120, address(7)), false),
    ];
    for (claim, is_conflict) in cases {
        let (mut responder, now) = settled();

        give(&mut responder, &reply(vec![claim.clone()]), &multicast(), now);

        let sent = run(&mut responder, now, now + ms(10_000));
        assert_eq!(responder.instance(), "den");
        assert_eq!(sent.len(), if is_conflict { 6 } else { 0 }, "{claim:?}");
    }
}

#[test]
fn what_goes_out_through_another_interface_is_no_conflict() {
    let begin = epoch();
    let mut responder = fresh(begin);
    let links = vec![link(1, &["192.0.2.1"]), link(2, &["192.0.2.2"])];
    responder.set_links(links, begin);

    let mut now = begin;
    while let Some(at) = responder.poll_timeout() {
        now = at;
        responder.handle_timeout(now);
        let sent: Vec<Transmit> = std::iter::from_fn(|| responder.poll_output()).collect();
        for transmit in sent {
            for interface in [1, 2] {
                let arrival = Arrival { interface, ..multicast() };
                responder.handle_input(&transmit.bytes, &arrival, now).unwrap();
            }
        }
    }

    assert_eq!(responder.instance(), "den");
    assert!(now - begin <= ms(250 + 3750));
}

#[test]
fn of_two_that_probe_at_once_the_greater_records_win() {
    let ours = 47989;
    let cases = [(ours - 1, false), (ours + 1, true)];
    for (port, is_lost) in cases {
        let begin = epoch();
        let mut responder = fresh(begin);
        run(&mut responder, begin, begin + ms(250));
        let before = responder.poll_timeout();
        let mut probe = query(INSTANCE, "ANY");
        probe.name_servers.push(record(INSTANCE, 120, service(port)));
        // The target is compared last; TXT, which is less than SRV, comes first.
        let text = simple_dns::rdata::TXT::new();
        probe.name_servers.push(record(INSTANCE, 4500, RData::TXT(text)));

        give(&mut responder, &probe, &multicast(), begin + ms(300));

        let tie = Some(begin + ms(300) + TIE_DELAY);
        assert_eq!(responder.poll_timeout(), if is_lost { tie } else { before }, "{port}");
        assert_eq!(responder.instance(), "den");
    }
}

#[test]
fn a_probe_for_our_name_is_answered_at_once_and_four_times_a_second() {
    let (mut responder, now) = settled();
    let mut probe = query(INSTANCE, "ANY");
    probe.name_servers.push(record(INSTANCE, 120, service(1)));

    let answered = [0, 100, 250, 500].map(|at| {
        give(&mut responder, &probe, &multicast(), now + ms(at));
        responder.poll_output().is_some()
    });

    assert_eq!(answered, [true, false, true, true]);
}

#[test]
fn who_takes_every_name_makes_probing_slow() {
    let begin = epoch();
    let mut responder = fresh(begin);
    let mut now = begin;
    let end = begin + Duration::from_secs(600);

    let mut count = 0;
    while let Some(at) = responder.poll_timeout().filter(|at| *at < end) {
        now = at;
        responder.handle_timeout(now);
        while responder.poll_output().is_some() {}
        let name = format!("{}.{KIND}", responder.instance());
        give(&mut responder, &reply(vec![record(&name, 120, service(1))]), &multicast(), now);
        count += 1;
    }

    assert!(now > begin + Duration::from_secs(500));
    assert!(count < 1200, "{count} names in ten minutes");
}

#[test]
fn a_new_address_is_announced() {
    let (mut responder, now) = settled();

    responder.set_links(vec![link(1, &["192.0.2.1", V6])], now);
    let unchanged = responder.poll_timeout();
    responder.set_links(vec![link(1, &["192.0.2.9", "192.0.2.1", V6])], now);

    let sent = run(&mut responder, now, now + ms(10_000));
    assert_eq!(unchanged, None);
    assert_eq!(sent.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 1000, 3000]);
    assert!(sent.iter().all(|(_, announcement)| answers(announcement).len() == 7));
}

#[test]
fn a_link_that_comes_is_probed_and_one_that_goes_is_forgotten() {
    let (mut responder, now) = settled();

    responder.set_links(vec![link(2, &["198.51.100.1"]), link(3, &[])], now);

    let sent = run(&mut responder, now, now + ms(10_000));
    assert_eq!(sent.len(), 6);
    assert!(sent.iter().all(|(_, transmit)| transmit.interface == 2));
}

#[test]
fn goodbye_takes_back_what_is_ours_and_is_the_last_word() {
    let (mut responder, now) = settled();
    give(&mut responder, &query(KIND, "PTR"), &multicast(), now);

    responder.close();

    let goodbye = responder.poll_output().unwrap();
    let expected = EVERYTHING.map(|line| line.replace(" 4500", " 0").replace(" 120", " 0"));
    // Other hosts may have services of the kind.
    assert_eq!(answers(&goodbye), expected[1..]);
    assert_eq!(responder.poll_output(), None);
    assert_eq!(responder.poll_timeout(), None);
}

#[test]
fn what_was_never_announced_needs_no_goodbye() {
    let begin = epoch();
    let mut responder = fresh(begin);
    run(&mut responder, begin, begin + ms(300));

    responder.close();

    assert_eq!(responder.poll_output(), None);
}

#[test]
fn records_that_others_let_die_are_said_again() {
    let (mut responder, now) = settled();
    let kind = RData::PTR(PTR(Name::new(KIND).unwrap()));

    give(&mut responder, &reply(vec![record(ENUMERATION, 0, kind)]), &multicast(), now);

    assert_eq!(answers(&responder.poll_output().unwrap()), EVERYTHING[..1]);
}

#[test]
fn mutated_packets_never_panic_and_never_pile_up() {
    let mut question = query(KIND, "PTR");
    question.questions.extend([self::question(INSTANCE, "ANY"), self::question(HOST, "A")]);
    question.answers.push(record(KIND, 4500, pointer()));
    question.name_servers.push(record(INSTANCE, 120, service(1)));
    let answer = reply(vec![
        record(KIND, 4500, pointer()),
        record(INSTANCE, 120, service(1)),
        record(HOST, 120, address(7)),
    ]);
    let seeds = [question, answer].map(|packet| packet.build_bytes_vec_compressed().unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let (mut responder, mut now) = settled();
    for round in 0..20_000 {
        let mut bytes = seeds[random() % 2].clone();
        for _ in 0..random() % 4 {
            let at = random() % bytes.len();
            match random() % 3 {
                0 => bytes[at] = random() as u8,
                1 => bytes.insert(at, random() as u8),
                _ => drop(bytes.remove(at)),
            }
        }
        now += ms(random() as u64 % 50);
        let _ = responder.handle_input(&bytes, &multicast(), now);
        responder.handle_timeout(now);
        let sent: Vec<Transmit> = std::iter::from_fn(|| responder.poll_output()).collect();
        assert!(sent.len() <= 4, "round {round}: {sent:?}");
        assert!(sent.iter().all(|transmit| transmit.bytes.len() <= 1400), "round {round}");
    }
}
