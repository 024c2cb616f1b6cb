//! A multicast DNS responder: says on every link which services this host has, and answers who
//! asks (RFC 6762, RFC 6763).
//!
//! It turns packets and instants into packets. Names are probed before they are used and changed
//! when somebody else has them. Nothing is owed and no deadline set while nobody asks. Unicast
//! answers may be taken by another program that has the port, so it relies on none itself. Address
//! to name records are left to the machine's own responder.

#![forbid(unsafe_code)]

mod link;
mod packet;
mod timing;
mod zone;

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use link::{Phase, SET_INTERVAL, State};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, ResourceRecord};
use timing::{Random, Window};
use zone::{Owned, Set, Zone};

pub use link::{Family, Link};
pub use packet::PACKET_LEN_MAX;

/// Where everybody listens.
pub const PORT: u16 = 5353;
/// The group of IPv4, RFC 6762 section 3.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The group of IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Links of one responder; more are not served.
pub const LINK_COUNT_MAX: usize = 64;

/// Addresses of one link that are published, so that they fit into one packet.
const ADDRESS_COUNT_MAX: usize = 16;
/// Packets that wait to be sent. One more is not made: the driver takes them after each call.
const OUTBOX_LEN_MAX: usize = 4 * LINK_COUNT_MAX;

// RFC 6762 section 8.
const PROBE_COUNT: u8 = 3;
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
const PROBE_DELAY_MS: u32 = 250;
/// After a tie that the other one won.
const TIE_DELAY: Duration = Duration::from_secs(1);
/// How long after an announcement the next one follows.
const ANNOUNCE_INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// So many conflicts within so much time make probing wait.
const CONFLICT_COUNT: u32 = 15;
const CONFLICT_WINDOW: Duration = Duration::from_secs(10);
const CONFLICT_DELAY: Duration = Duration::from_secs(5);

// RFC 6762 section 6.
/// For answers to probes, which defend a name.
const SET_INTERVAL_OF_PROBE: Duration = PROBE_INTERVAL;
/// The range for answers that others give as well, in milliseconds.
const SHARED_DELAY_MS: (u32, u32) = (20, 120);
/// The same where more known answers follow, RFC 6762 section 7.2.
const TRUNCATED_DELAY_MS: (u32, u32) = (400, 500);
/// What an old resolver may keep an answer for, in seconds, RFC 6762 section 6.7.
const LEGACY_TTL_MAX: u32 = 10;

/// Unicast answers within a second, so that a forged source is not flooded through us.
const UNICAST_COUNT_MAX: u32 = 20;
const UNICAST_WINDOW: Duration = Duration::from_secs(1);

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// It is no multicast DNS packet, or damaged.
    Format,
    /// It came in where nothing is published.
    Link,
    /// A name cannot be published: empty, too long, or of the wrong letters.
    Name,
    /// It comes from off the link, or is an answer from a port that gives none.
    Source,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Format => "no multicast DNS packet",
            Error::Link => "link that nothing is published on",
            Error::Name => "name that cannot be published",
            Error::Source => "source that is not heard",
        })
    }
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// Index of the interface.
    pub interface: u32,
    /// Who sent it.
    pub source: SocketAddr,
    /// Where to: the group or an address of this machine.
    pub to: IpAddr,
    /// Whether the source has an address of a network that this interface is in.
    pub is_local: bool,
}

/// A packet to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Transmit {
    /// Index of the interface it goes out through.
    pub interface: u32,
    /// Where to.
    pub destination: Destination,
    /// The packet.
    pub bytes: Vec<u8>,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Destination {
    /// To the group of this family.
    Multicast(Family),
    /// To one host.
    Unicast {
        /// The host.
        to: SocketAddr,
        /// The address that was asked, where it was not the group: the answer comes from there.
        from: Option<IpAddr>,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Responder {
    zone: Zone,
    links: Vec<State>,
    outbox: VecDeque<Transmit>,
    random: Random,
    conflicts: Window,
    unicasts: Window,
}

impl Responder {
    /// Publishes `instance` of each of `kinds`, which are pairs such as (`_nvstream._tcp`, 47989),
    /// at the host `host`.local. `seed` is a random number. Nothing is sent before there are links.
    pub fn new(
        instance: &str,
        host: &str,
        kinds: &[(String, u16)],
        seed: u64,
    ) -> Result<Responder, Error> {
        Ok(Responder {
            zone: Zone::new(instance, host, kinds)?,
            links: Vec::new(),
            outbox: VecDeque::new(),
            random: Random::new(seed),
            conflicts: Window::default(),
            unicasts: Window::default(),
        })
    }

    /// Takes the links as they are now. New ones are probed, and where addresses changed, they are
    /// announced. Links without addresses are not served.
    pub fn set_links(&mut self, links: Vec<Link>, now: Instant) {
        let mut old = std::mem::take(&mut self.links);
        let links = links.into_iter().filter(|link| !link.addresses.is_empty());
        for mut link in links.take(LINK_COUNT_MAX) {
            link.addresses.truncate(ADDRESS_COUNT_MAX);
            let is_it = |state: &State| state.link.is_same(link.interface, link.family);
            let state = match old.iter().position(is_it) {
                Some(index) => {
                    let mut state = old.swap_remove(index);
                    state.set_addresses(link.addresses, now);
                    state
                }
                None => {
                    let phase = Phase::Probing(0, self.probe_start(now));
                    State::new(link, phase)
                }
            };
            self.links.push(state);
        }
    }

    /// Takes one packet.
    pub fn handle_input(
        &mut self,
        bytes: &[u8],
        arrival: &Arrival,
        now: Instant,
    ) -> Result<(), Error> {
        let family = if arrival.source.is_ipv4() { Family::V4 } else { Family::V6 };
        let is_it = |state: &State| state.link.is_same(arrival.interface, family);
        let index = self.links.iter().position(is_it).ok_or(Error::Link)?;
        // Only the link-local groups keep strangers out; what came otherwise has to come from here.
        if !arrival.is_multicast() && !arrival.is_local {
            return Err(Error::Source);
        }
        let bytes = packet::without_reserved_bit(bytes)?;
        let packet = packet::parse(&bytes)?;
        if !packet.has_flags(PacketFlag::RESPONSE) {
            return self.on_query(index, &packet, arrival, now);
        }
        if arrival.source.port() != PORT {
            return Err(Error::Source);
        }
        self.on_response(index, &packet, now);
        Ok(())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for index in 0..self.links.len() {
            match self.links[index].phase {
                Phase::Probing(PROBE_COUNT, at) if at <= now => {
                    self.links[index].phase = Phase::Announcing(0, now);
                    self.announce(index, now);
                }
                Phase::Probing(count, at) if at <= now => {
                    self.links[index].phase = Phase::Probing(count + 1, now + PROBE_INTERVAL);
                    self.probe(index);
                }
                Phase::Announcing(_, at) if at <= now => self.announce(index, now),
                _ => {}
            }
            self.answer(index, now);
        }
    }

    /// Takes back everything that was announced. Nothing more is said until there are links again.
    pub fn close(&mut self) {
        for state in std::mem::take(&mut self.links) {
            if matches!(state.phase, Phase::Probing(..)) {
                continue;
            }
            // That there are services of a kind stays true as long as other hosts have some.
            let is_ours = |set: &Set| !matches!(set, Set::Enumeration(_));
            let sets: Vec<Set> = self.zone.sets().filter(is_ours).collect();
            let mut packet = self.response(&sets, &state.link);
            packet.answers.iter_mut().for_each(|record| record.ttl = 0);
            let destination = Destination::Multicast(state.link.family);
            self.push(&packet, state.link.interface, destination);
        }
    }

    /// The next packet to send.
    pub fn poll_output(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// When to call `handle_timeout`, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = self.links.iter().flat_map(|state| {
            let phase = match state.phase {
                Phase::Probing(_, at) | Phase::Announcing(_, at) => Some(at),
                Phase::Settled => None,
            };
            state.owed.iter().map(|owed| owed.at).chain(phase)
        });
        deadlines.min()
    }

    /// The instance's name as it is now; it changes when somebody else has it.
    pub fn instance(&self) -> String {
        self.zone.instance()
    }

    fn on_query(
        &mut self,
        index: usize,
        packet: &Packet<'_>,
        arrival: &Arrival,
        now: Instant,
    ) -> Result<(), Error> {
        let state = &mut self.links[index];
        if let Phase::Probing(..) = state.phase {
            self.break_tie(index, packet, now);
            return Ok(());
        }
        let is_legacy = arrival.source.port() != PORT;
        if is_legacy && !arrival.is_local {
            return Err(Error::Source);
        }
        let addresses = &state.link.addresses;
        let is_known = |set| packet::knows(packet, &self.zone.records(set, addresses));
        state.owed.retain(|owed| owed.asker != Some(arrival.source.ip()) || !is_known(owed.set));
        let mut asked: Vec<(Set, bool)> = Vec::new();
        for question in &packet.questions {
            let may_be_unicast = question.unicast_response || !arrival.is_multicast();
            for set in self.zone.answers(question, addresses) {
                match asked.iter_mut().find(|(other, _)| *other == set) {
                    Some((_, for_all)) => *for_all &= may_be_unicast,
                    None => asked.push((set, may_be_unicast)),
                }
            }
        }
        asked.retain(|(set, _)| is_legacy || !is_known(*set));
        let (mut unicast, mut multicast): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|(set, may_be_unicast)| {
                // Who joins later needs to hear of it now and then, RFC 6762 section 5.4.
                let is_fresh = state.last_sent(*set).is_some_and(|at| now < at + set.quarter_ttl());
                is_legacy || *may_be_unicast && is_fresh && arrival.is_local
            });
        if !unicast.is_empty() && self.unicasts.count(now, UNICAST_WINDOW) > UNICAST_COUNT_MAX {
            // One who asks too much must not leave the others without an answer. Old resolvers
            // hear no multicast.
            let refused = std::mem::take(&mut unicast);
            multicast.extend(refused.into_iter().filter(|_| !is_legacy));
        }
        let is_probe = !packet.name_servers.is_empty();
        let has_more = packet.has_flags(PacketFlag::TRUNCATION);
        for (set, _) in multicast {
            let delay = match (has_more, set.is_shared()) {
                (true, _) => self.random.between_ms(TRUNCATED_DELAY_MS),
                (false, true) => self.random.between_ms(SHARED_DELAY_MS),
                (false, false) => Duration::ZERO,
            };
            let interval = if is_probe { SET_INTERVAL_OF_PROBE } else { SET_INTERVAL };
            state.owe(set, now + delay, interval, Some(arrival.source.ip()));
        }
        let unicast: Vec<Set> = unicast.into_iter().map(|(set, _)| set).collect();
        if !unicast.is_empty() {
            self.answer_one(index, packet, &unicast, arrival);
        }
        self.answer(index, now);
        Ok(())
    }

    /// Answers one host.
    fn answer_one(&mut self, index: usize, query: &Packet<'_>, sets: &[Set], arrival: &Arrival) {
        let link = &self.links[index].link;
        let mut packet = self.response(sets, link);
        packet.additional_records = self.additional(sets, link, |_| true).1;
        if arrival.source.port() != PORT {
            packet.set_id(query.id());
            packet.questions = query
                .questions
                .iter()
                .filter(|question| !self.zone.answers(question, &link.addresses).is_empty())
                .take(sets.len())
                .map(|question| Question { unicast_response: false, ..question.clone() })
                .collect();
            for record in packet.answers.iter_mut().chain(&mut packet.additional_records) {
                record.ttl = record.ttl.min(LEGACY_TTL_MAX);
                record.cache_flush = false;
            }
        }
        let from = (!arrival.is_multicast()).then_some(arrival.to);
        let destination = Destination::Unicast { to: arrival.source, from };
        let interface = link.interface;
        self.push(&packet, interface, destination);
    }

    /// Multicasts what is due on a link.
    fn answer(&mut self, index: usize, now: Instant) {
        let state = &mut self.links[index];
        let due: Vec<Set> =
            state.owed.extract_if(.., |owed| owed.at <= now).map(|owed| owed.set).collect();
        if !due.is_empty() {
            self.multicast(index, &due, now);
        }
    }

    fn multicast(&mut self, index: usize, sets: &[Set], now: Instant) {
        let state = &self.links[index];
        let mut packet = self.response(sets, &state.link);
        let may_follow = |set| state.may_send(set, now);
        let (more, records) = self.additional(sets, &state.link, may_follow);
        packet.additional_records = records;
        let (interface, family) = (state.link.interface, state.link.family);
        self.links[index].note_sent(sets.iter().chain(&more), now);
        self.push(&packet, interface, Destination::Multicast(family));
    }

    /// What is said beside `sets`, of the sets that `may_follow`.
    fn additional(
        &self,
        sets: &[Set],
        link: &Link,
        may_follow: impl Fn(Set) -> bool,
    ) -> (Vec<Set>, Vec<ResourceRecord<'static>>) {
        let mut more = Vec::new();
        for set in sets.iter().flat_map(|set| Zone::additional(*set, &link.addresses)) {
            if !sets.contains(&set) && !more.contains(&set) && may_follow(set) {
                more.push(set);
            }
        }
        let records = more.iter().flat_map(|set| self.zone.records(*set, &link.addresses));
        let records = records.collect();
        (more, records)
    }

    fn announce(&mut self, index: usize, now: Instant) {
        let state = &mut self.links[index];
        if let Phase::Announcing(count, _) = state.phase {
            state.phase = match ANNOUNCE_INTERVALS.get(count) {
                Some(interval) => Phase::Announcing(count + 1, now + *interval),
                None => Phase::Settled,
            };
        }
        let sets: Vec<Set> = self.zone.sets().filter(|set| state.may_send(*set, now)).collect();
        if !sets.is_empty() {
            self.multicast(index, &sets, now);
        }
    }

    fn probe(&mut self, index: usize) {
        let link = &self.links[index].link;
        let mut packet = Packet::new_query(0);
        for (owned, name) in self.zone.owned() {
            let (kind, class) = (QTYPE::ANY, CLASS::IN.into());
            packet.questions.push(Question::new(name.clone(), kind, class, false));
            packet.name_servers.extend(self.claim(owned, link));
        }
        let (interface, family) = (link.interface, link.family);
        self.push(&packet, interface, Destination::Multicast(family));
    }

    /// The records that we want to be the only ones at a name.
    fn claim(&self, owned: Owned, link: &Link) -> Vec<ResourceRecord<'static>> {
        let sets = owned.sets().into_iter();
        let records = sets.flat_map(|set| self.zone.records(set, &link.addresses));
        // Probes are compared without the bit, RFC 6762 section 8.2.
        records.map(|record| record.with_cache_flush(false)).collect()
    }

    /// Two hosts want a name at once: the greater records win, RFC 6762 section 8.2.1.
    fn break_tie(&mut self, index: usize, packet: &Packet<'_>, now: Instant) {
        let state = &self.links[index];
        let is_lost = self.zone.owned().any(|(owned, name)| {
            let is_asked = packet.questions.iter().any(|question| question.qname == *name);
            let theirs = packet.name_servers.iter().filter(|record| record.name == *name);
            let theirs: Vec<_> = theirs.collect();
            let is_echo = theirs.iter().all(|record| self.is_ours(owned, record));
            is_asked
                && !is_echo
                && packet::sorted(theirs) > packet::sorted(&self.claim(owned, &state.link))
        });
        if is_lost {
            self.links[index].phase = Phase::Probing(0, now + TIE_DELAY);
        }
    }

    fn on_response(&mut self, index: usize, packet: &Packet<'_>, now: Instant) {
        let is_probing = matches!(self.links[index].phase, Phase::Probing(..));
        let said = packet.answers.iter().chain(&packet.additional_records);
        let said = said.filter(|record| record.class == CLASS::IN);
        let taken = said.clone().filter(|record| record.ttl > 0).find_map(|record| {
            let is_it = |(owned, name): &(Owned, &Name<'_>)| {
                record.name == **name
                    && (is_probing || owned.claims(record.rdata.type_code()))
                    && !self.is_ours(*owned, record)
            };
            self.zone.owned().find(is_it).map(|(owned, _)| owned)
        });
        match taken {
            Some(owned) if is_probing => {
                self.zone.rename(owned);
                self.conflicts.count(now, CONFLICT_WINDOW);
                let at = self.probe_start(now);
                self.links.iter_mut().for_each(|state| state.probe_again(at));
            }
            // Whoever has it will say so again when we ask.
            Some(_) => {
                self.conflicts.count(now, CONFLICT_WINDOW);
                let at = self.probe_start(now);
                self.links[index].probe_again(at);
            }
            None if is_probing => {}
            // Somebody lets records die that are ours as well, RFC 6762 section 6.6.
            None => {
                let state = &mut self.links[index];
                for set in self.zone.sets() {
                    let records = self.zone.records(set, &state.link.addresses);
                    let is_dying = |record: &ResourceRecord<'_>| {
                        record.ttl < set.ttl() / 2 && records.contains(record)
                    };
                    if said.clone().any(is_dying) {
                        state.owe(set, now, SET_INTERVAL, None);
                    }
                }
                self.answer(index, now);
            }
        }
    }

    /// Whether a record at an owned name is one that we give out, on whichever link: two
    /// interfaces may lead to the same one.
    fn is_ours(&self, owned: Owned, record: &ResourceRecord<'_>) -> bool {
        let [first, second] = owned.sets();
        let sets = [first, second, owned.types()];
        self.links.iter().any(|state| {
            let addresses = &state.link.addresses;
            sets.iter().any(|set| self.zone.records(*set, addresses).contains(record))
        })
    }

    fn probe_start(&mut self, now: Instant) -> Instant {
        if self.conflicts.has(CONFLICT_COUNT, now, CONFLICT_WINDOW) {
            return now + CONFLICT_DELAY;
        }
        now + self.random.between_ms((0, PROBE_DELAY_MS))
    }

    fn response(&self, sets: &[Set], link: &Link) -> Packet<'static> {
        let mut packet = Packet::new_reply(0);
        packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        let records = sets.iter().flat_map(|set| self.zone.records(*set, &link.addresses));
        packet.answers = records.collect();
        packet
    }

    fn push(&mut self, packet: &Packet<'_>, interface: u32, destination: Destination) {
        if self.outbox.len() >= OUTBOX_LEN_MAX {
            return;
        }
        // Writing to memory fails only for names too long, which the zone does not make.
        if let Ok(bytes) = packet.build_bytes_vec_compressed() {
            self.outbox.push_back(Transmit { interface, destination, bytes });
        }
    }
}

impl Arrival {
    fn is_multicast(&self) -> bool {
        self.to == GROUP_V4 || self.to == GROUP_V6
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(
                sent.iter().flat_map(answers).collect::<Vec<_>>(),
                *expected,
                "{name} {kind}"
            );
            assert_eq!(
                sent.iter().flat_map(additional).collect::<Vec<_>>(),
                *more,
                "{name} {kind}"
            );
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
}
