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
mod tests;
