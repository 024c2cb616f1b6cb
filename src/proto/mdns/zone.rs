//! What a responder publishes: the names it owns, and the records at them.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Duration;

use simple_dns::rdata::{AAAA, NSEC, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, CharacterString, Label, Name, QTYPE, Question, ResourceRecord, TYPE};

use super::Error;

/// Bytes of one label, RFC 1035 section 2.3.4.
const LABEL_LEN_MAX: usize = 63;
/// Services of one responder, so that everything fits into one packet.
const KIND_COUNT_MAX: usize = 8;

/// Records that name a host or depend on it, RFC 6762 section 10.
const TTL_OF_HOST: u32 = 120;
/// All others.
const TTL_OF_OTHERS: u32 = 75 * 60;

/// All records of one name and type. Sets are asked for, sent and counted as wholes. A number is
/// the index of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Set {
    /// The host's IPv4 addresses on a link.
    A,
    /// The host's IPv6 addresses on a link.
    Aaaa,
    /// `_services._dns-sd._udp.local` has this kind. Shared with other hosts.
    Enumeration(usize),
    /// Which types there are at the host's name.
    HostTypes,
    /// Which types there are at the instance's name.
    InstanceTypes(usize),
    /// The kind has this instance. Shared with other hosts.
    Pointer(usize),
    /// Host and port of the instance.
    Service(usize),
    /// What else there is to know of the instance: nothing, but the record must be there.
    Text(usize),
}

/// A name that must be ours alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Owned {
    /// `host.local`
    Host,
    /// `instance._kind._tcp.local` of one service.
    Instance(usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Zone {
    host: Naming,
    instance: Naming,
    enumeration: Name<'static>,
    host_name: Name<'static>,
    kinds: Vec<Kind>,
}

/// One service.
#[derive(Debug)]
struct Kind {
    name: Name<'static>,
    instance: Name<'static>,
    port: u16,
}

/// A label that is changed when somebody else has it.
#[derive(Debug)]
struct Naming {
    wanted: String,
    /// 1 is the label as it is wanted, others are appended.
    attempt: u32,
}

impl Set {
    /// Whether other hosts may have records of the same name and type.
    pub fn is_shared(self) -> bool {
        matches!(self, Set::Enumeration(_) | Set::Pointer(_))
    }

    /// In seconds.
    pub fn ttl(self) -> u32 {
        match self {
            Set::A | Set::Aaaa | Set::HostTypes | Set::Service(_) => TTL_OF_HOST,
            Set::Enumeration(_) | Set::InstanceTypes(_) | Set::Pointer(_) | Set::Text(_) => {
                TTL_OF_OTHERS
            }
        }
    }

    /// How long a multicast answer makes a unicast one enough, RFC 6762 section 5.4.
    pub fn quarter_ttl(self) -> Duration {
        Duration::from_secs(u64::from(self.ttl() / 4))
    }
}

impl Owned {
    /// Whether records of that type at this name are ours alone.
    pub fn claims(self, kind: TYPE) -> bool {
        match self {
            Owned::Host => matches!(kind, TYPE::A | TYPE::AAAA),
            Owned::Instance(_) => matches!(kind, TYPE::SRV | TYPE::TXT),
        }
    }

    /// The sets there, but for those that only say which there are.
    pub fn sets(self) -> [Set; 2] {
        match self {
            Owned::Host => [Set::A, Set::Aaaa],
            Owned::Instance(index) => [Set::Service(index), Set::Text(index)],
        }
    }

    /// Which types there are.
    pub fn types(self) -> Set {
        match self {
            Owned::Host => Set::HostTypes,
            Owned::Instance(index) => Set::InstanceTypes(index),
        }
    }
}

impl Naming {
    fn label(&self, suffix: impl Fn(u32) -> String) -> String {
        let suffix = if self.attempt == 1 { String::new() } else { suffix(self.attempt) };
        let len = self.wanted.floor_char_boundary(LABEL_LEN_MAX - suffix.len());
        format!("{}{suffix}", &self.wanted[..len])
    }
}

impl Zone {
    /// `kinds` are pairs of a kind such as `_nvstream._tcp` and a port.
    pub fn new(instance: &str, host: &str, kinds: &[(String, u16)]) -> Result<Zone, Error> {
        let naming = |wanted: &str| Naming { wanted: wanted.to_owned(), attempt: 1 };
        let is_short = |label: &str| (1..=LABEL_LEN_MAX).contains(&label.len());
        let is_host = Label::new_unchecked(host.as_bytes()).is_valid_hostname();
        if !is_short(instance) || !is_host || kinds.len() > KIND_COUNT_MAX {
            return Err(Error::Name);
        }
        let kinds = kinds.iter().map(|(kind, port)| {
            let labels: Vec<&str> = kind.split('.').chain(["local"]).collect();
            let name = name(&labels);
            let is_kind = labels.len() == 3 && name.is_valid_service_name();
            let kind = Kind { instance: name.clone(), name, port: *port };
            is_kind.then_some(kind).ok_or(Error::Name)
        });
        let mut zone = Zone {
            host: naming(host),
            instance: naming(instance),
            enumeration: name(&["_services", "_dns-sd", "_udp", "local"]),
            host_name: name(&[host, "local"]),
            kinds: kinds.collect::<Result<_, _>>()?,
        };
        zone.make_names();
        Ok(zone)
    }

    /// Takes another label where `owned` turned out to be somebody else's.
    pub fn rename(&mut self, owned: Owned) {
        let naming = match owned {
            Owned::Host => &mut self.host,
            Owned::Instance(_) => &mut self.instance,
        };
        naming.attempt = naming.attempt.saturating_add(1);
        self.make_names();
    }

    fn make_names(&mut self) {
        let instance = self.instance();
        self.host_name = name(&[&self.host.label(|attempt| format!("-{attempt}")), "local"]);
        for kind in &mut self.kinds {
            let instance = Label::new_unchecked(instance.clone().into_bytes());
            let labels: Vec<Label> =
                [&instance].into_iter().chain(kind.name.get_labels()).cloned().collect();
            kind.instance = Name::new_with_labels(&labels);
        }
    }

    /// The instance's label as it is now.
    pub fn instance(&self) -> String {
        self.instance.label(|attempt| format!(" ({attempt})"))
    }

    /// The names that must be ours alone.
    pub fn owned(&self) -> impl Iterator<Item = (Owned, &Name<'static>)> {
        let instances = self.kinds.iter().enumerate();
        let instances = instances.map(|(index, kind)| (Owned::Instance(index), &kind.instance));
        instances.chain([(Owned::Host, &self.host_name)])
    }

    /// Everything that is announced.
    pub fn sets(&self) -> impl Iterator<Item = Set> {
        let of_kind = |index| {
            [Set::Enumeration(index), Set::Pointer(index), Set::Service(index), Set::Text(index)]
        };
        (0..self.kinds.len()).flat_map(of_kind).chain([Set::A, Set::Aaaa])
    }

    /// The records of a set, on a link where the host has `addresses`.
    pub fn records(&self, set: Set, addresses: &[IpAddr]) -> Vec<ResourceRecord<'static>> {
        let one = |name: &Name<'static>, rdata| vec![record(set, name, rdata)];
        match set {
            Set::A | Set::Aaaa => addresses
                .iter()
                .filter_map(|ip| match (set, ip) {
                    (Set::A, IpAddr::V4(ip)) => Some(RData::A((*ip).into())),
                    (Set::Aaaa, IpAddr::V6(ip)) => Some(RData::AAAA(AAAA::from(*ip))),
                    _ => None,
                })
                .map(|rdata| record(set, &self.host_name, rdata))
                .collect(),
            Set::Enumeration(index) => {
                one(&self.enumeration, RData::PTR(PTR(self.kinds[index].name.clone())))
            }
            Set::HostTypes => {
                let has = |is_it: fn(&IpAddr) -> bool| addresses.iter().any(is_it);
                let types = [(TYPE::A, has(IpAddr::is_ipv4)), (TYPE::AAAA, has(IpAddr::is_ipv6))];
                let types: Vec<TYPE> =
                    types.into_iter().filter_map(|(kind, is)| is.then_some(kind)).collect();
                one(&self.host_name, RData::NSEC(NSEC::from_types(self.host_name.clone(), &types)))
            }
            Set::InstanceTypes(index) => {
                let name = &self.kinds[index].instance;
                let types = NSEC::from_types(name.clone(), &[TYPE::TXT, TYPE::SRV]);
                one(name, RData::NSEC(types))
            }
            Set::Pointer(index) => {
                let kind = &self.kinds[index];
                one(&kind.name, RData::PTR(PTR(kind.instance.clone())))
            }
            Set::Service(index) => {
                let kind = &self.kinds[index];
                let target = self.host_name.clone();
                let service = SRV { priority: 0, weight: 0, port: kind.port, target };
                one(&kind.instance, RData::SRV(service))
            }
            Set::Text(index) => {
                // RFC 6763 section 6.1: an empty TXT record is one empty string.
                let empty = CharacterString::new(b"").expect("short enough");
                let text = TXT::new().with_char_string(empty);
                one(&self.kinds[index].instance, RData::TXT(text))
            }
        }
    }

    /// The sets that answer a question, on a link where the host has `addresses`. An owned name
    /// has an answer for every type, which may be that there is none.
    pub fn answers(&self, question: &Question<'_>, addresses: &[IpAddr]) -> Vec<Set> {
        let class_in = [CLASS::IN.into(), simple_dns::QCLASS::ANY];
        let mut sets = Vec::new();
        if !class_in.contains(&question.qclass) {
            return sets;
        }
        let asks = |kind: TYPE| [QTYPE::ANY, QTYPE::TYPE(kind)].contains(&question.qtype);
        for (index, kind) in self.kinds.iter().enumerate() {
            if question.qname == self.enumeration && asks(TYPE::PTR) {
                sets.push(Set::Enumeration(index));
            }
            if question.qname == kind.name && asks(TYPE::PTR) {
                sets.push(Set::Pointer(index));
            }
            if question.qname == kind.instance {
                let before = sets.len();
                sets.extend(asks(TYPE::SRV).then_some(Set::Service(index)));
                sets.extend(asks(TYPE::TXT).then_some(Set::Text(index)));
                sets.extend((sets.len() == before).then_some(Set::InstanceTypes(index)));
            }
        }
        if question.qname == self.host_name {
            let has_v4 = addresses.iter().any(IpAddr::is_ipv4);
            let has_v6 = addresses.iter().any(IpAddr::is_ipv6);
            sets.extend((asks(TYPE::A) && has_v4).then_some(Set::A));
            sets.extend((asks(TYPE::AAAA) && has_v6).then_some(Set::Aaaa));
            sets.extend(sets.is_empty().then_some(Set::HostTypes));
        }
        sets
    }

    /// What whoever hears of `set` is going to ask next.
    pub fn additional(set: Set, addresses: &[IpAddr]) -> Vec<Set> {
        let has_both =
            addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6);
        let host = [Set::A, Set::Aaaa].into_iter().chain((!has_both).then_some(Set::HostTypes));
        match set {
            Set::A | Set::Aaaa | Set::Service(_) => host.collect(),
            Set::Pointer(index) => {
                [Set::Service(index), Set::Text(index)].into_iter().chain(host).collect()
            }
            Set::Enumeration(_) | Set::HostTypes | Set::InstanceTypes(_) | Set::Text(_) => {
                Vec::new()
            }
        }
    }
}

fn name(labels: &[&str]) -> Name<'static> {
    let labels: Vec<Label<'static>> =
        labels.iter().map(|label| Label::new_unchecked((*label).to_owned().into_bytes())).collect();
    Name::new_with_labels(&labels)
}

fn record(set: Set, name: &Name<'static>, rdata: RData<'static>) -> ResourceRecord<'static> {
    let record = ResourceRecord::new(name.clone(), CLASS::IN, set.ttl(), rdata);
    record.with_cache_flush(!set.is_shared())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_can_be_published_are_taken() {
        let (label, long) = ("a".repeat(63), "a".repeat(64));
        let cases = [
            ("den", "punktfunk-1", "_nvstream._tcp", true),
            ("Wohnzimmer. Büro", "punktfunk-1", "_punktfunk._udp", true),
            (&label, &label, "_nvstream._tcp", true),
            ("", "punktfunk-1", "_nvstream._tcp", false),
            (&long, "punktfunk-1", "_nvstream._tcp", false),
            ("den", &long, "_nvstream._tcp", false),
            ("den", "", "_nvstream._tcp", false),
            ("den", "punkt.funk", "_nvstream._tcp", false),
            ("den", "punktfunk-1", "nvstream._tcp", false),
            ("den", "punktfunk-1", "_nvstream", false),
            ("den", "punktfunk-1", "_nvstream._tcp.local", false),
            ("den", "punktfunk-1", "", false),
        ];
        for (instance, host, kind, expected) in cases {
            let zone = Zone::new(instance, host, &[(kind.to_owned(), 1)]);

            assert_eq!(zone.is_ok(), expected, "{instance} {host} {kind}");
        }
    }

    #[test]
    fn changed_names_stay_within_their_length() {
        let mut zone = Zone::new(&"ü".repeat(31), &"a".repeat(63), &[]).unwrap();

        for _ in 0..10 {
            zone.rename(Owned::Host);
            zone.rename(Owned::Instance(0));
        }

        assert_eq!(zone.instance(), format!("{} (11)", "ü".repeat(29)));
        assert_eq!(zone.host_name.to_string(), format!("{}-11.local", "a".repeat(60)));
    }
}
