//! What a ruleset of nft(8), as `nft -j list ruleset` prints it, does with a client's first packet.
//!
//! Rules are walked as the kernel would, with a packet of which only transport and port are known.
//! What a rule asks beyond that may be so or not, so a walk may end in more than one way.

#![forbid(unsafe_code)]

use std::cell::Cell;

use punktfunk_core::net::holder::Port;
use serde_json::Value;

/// Jumps below a base chain; the kernel allows no more.
const DEPTH_MAX: usize = 16;
/// Rules and elements of sets that are looked at for one packet.
const STEP_COUNT_MAX: usize = 1_000_000;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Passage {
    /// It never gets through, because of this chain.
    Blocked(String),
    /// It gets through.
    Free,
    /// That depends on what is not known here; this chain decides it.
    Perhaps(String),
}

/// Chains and sets of a ruleset.
#[derive(Debug)]
pub struct Ruleset<'a> {
    chains: Vec<Chain<'a>>,
    sets: Vec<(Place<'a>, &'a Value)>,
}

/// Family, table and name.
type Place<'a> = (&'a str, &'a str, &'a str);

#[derive(Debug)]
struct Chain<'a> {
    place: Place<'a>,
    /// Whether packets for this machine begin there; then whether they end there, if nothing says
    /// otherwise.
    drops: Option<bool>,
    rules: Vec<&'a [Value]>,
}

/// The ways in which a walk may end, as bits.
type Ends = u8;
const ACCEPT: Ends = 1;
const DROP: Ends = 2;
/// The next rule is looked at.
const NEXT: Ends = 4;
/// The chain is left.
const RETURN: Ends = 8;

/// Whether a packet is what a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Answer {
    No,
    Perhaps,
    Yes,
}

impl Answer {
    fn of(is_so: bool) -> Answer {
        if is_so { Answer::Yes } else { Answer::No }
    }

    fn not(self) -> Answer {
        match self {
            Answer::No => Answer::Yes,
            Answer::Perhaps => Answer::Perhaps,
            Answer::Yes => Answer::No,
        }
    }

    fn or(self, other: Answer) -> Answer {
        if self > other { self } else { other }
    }

    fn and(self, other: Answer) -> Answer {
        if self < other { self } else { other }
    }
}

impl<'a> Ruleset<'a> {
    /// What `nft -j list ruleset` printed; `None` if that is something else.
    pub fn parse(document: &'a Value) -> Option<Ruleset<'a>> {
        let mut ruleset = Ruleset { chains: Vec::new(), sets: Vec::new() };
        let entries = document["nftables"].as_array()?;
        for entry in entries {
            if let Some(chain) = entry.get("chain") {
                let is_input = chain["hook"] == "input" && chain["type"] == "filter";
                let drops = is_input.then(|| chain["policy"] == "drop");
                let place = place(chain, "name");
                ruleset.chains.push(Chain { place, drops, rules: Vec::new() });
            } else if let Some(set) = entry.get("set").or(entry.get("map")) {
                ruleset.sets.push((place(set, "name"), &set["elem"]));
            }
        }
        for rule in entries.iter().filter_map(|entry| entry.get("rule")) {
            let place = place(rule, "chain");
            let chain = ruleset.chains.iter_mut().find(|chain| chain.place == place);
            if let (Some(chain), Some(parts)) = (chain, rule["expr"].as_array()) {
                chain.rules.push(parts);
            }
        }
        Some(ruleset)
    }

    /// What becomes of the first packet of a client to that port, over IPv4 and not from this
    /// machine.
    pub fn passage(&self, port: Port) -> Passage {
        let mut passage = Passage::Free;
        for chain in &self.chains {
            let (family, table, name) = chain.place;
            let Some(drops) = chain.drops.filter(|_| matches!(family, "inet" | "ip")) else {
                continue;
            };
            let walk = Walk { ruleset: self, port, count: Cell::new(0) };
            let mut ends = walk.chain(chain, 0);
            if ends & RETURN != 0 {
                ends |= if drops { DROP } else { ACCEPT };
            }
            let chain = || format!("{family} {table} {name}");
            match (ends & ACCEPT != 0, ends & DROP != 0) {
                (_, false) => {}
                (false, true) => return Passage::Blocked(chain()),
                (true, true) => passage = Passage::Perhaps(chain()),
            }
        }
        passage
    }
}

fn place<'a>(object: &'a Value, name: &str) -> Place<'a> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    (text("family"), text("table"), text(name))
}

/// One packet on its way through the rules.
struct Walk<'a> {
    ruleset: &'a Ruleset<'a>,
    port: Port,
    /// Rules and elements so far.
    count: Cell<usize>,
}

impl<'a> Walk<'a> {
    fn chain(&self, chain: &Chain<'a>, depth: usize) -> Ends {
        let mut ends = 0;
        for rule in &chain.rules {
            if self.count.get() >= STEP_COUNT_MAX {
                return ends | ACCEPT | DROP;
            }
            self.count.set(self.count.get() + 1);
            let (answer, its_ends) = self.rule(rule, chain.place, depth);
            if answer == Answer::No {
                continue;
            }
            ends |= its_ends & !NEXT;
            if answer == Answer::Yes && its_ends & NEXT == 0 {
                return ends;
            }
        }
        ends | RETURN
    }

    /// Whether a rule is for the packet, and what it does with it then.
    fn rule(&self, parts: &[Value], place: Place<'a>, depth: usize) -> (Answer, Ends) {
        let (mut answer, mut names_port) = (Answer::Yes, false);
        let (mut hides_state, mut hides_address) = (false, false);
        for part in parts {
            let Some((kind, content)) = part.as_object().and_then(|part| part.iter().next()) else {
                continue;
            };
            match (kind.as_str(), content["name"].as_str()) {
                ("match", _) => {
                    let its_answer = self.asks(content, place);
                    names_port |=
                        its_answer == Answer::Yes && content["left"]["payload"]["field"] == "dport";
                    answer = answer.and(its_answer);
                }
                ("limit" | "quota", _) => answer = answer.and(Answer::Perhaps),
                ("xt", Some("addrtype")) => hides_address = true,
                ("xt", Some("comment")) => {}
                ("xt", Some("conntrack" | "state")) => hides_state = true,
                ("xt", _) if content["type"] == "match" => answer = answer.and(Answer::Perhaps),
                _ => {}
            }
            if answer == Answer::No {
                break;
            }
            if let Some(ends) = self.verdict(kind, content, place, depth) {
                // nft does not show of which state iptables wants a connection to be. Rules that
                // name a port as well are about new ones, others about those under way.
                if hides_state && !names_port {
                    return (Answer::No, ends);
                }
                // Nor which kinds of addresses; those of this machine are spared with a return.
                let is_sure = !hides_address || ends == RETURN;
                return (if is_sure { answer } else { answer.and(Answer::Perhaps) }, ends);
            }
        }
        (answer, NEXT)
    }

    /// What a part of a rule does with the packet, if anything.
    fn verdict(&self, kind: &str, content: &Value, place: Place<'a>, depth: usize) -> Option<Ends> {
        match kind {
            "accept" => Some(ACCEPT),
            "drop" | "reject" => Some(DROP),
            "xt" if content["name"] == "REJECT" => Some(DROP),
            "queue" => Some(ACCEPT | DROP),
            "return" => Some(RETURN),
            "continue" => Some(NEXT),
            "goto" => Some(self.jump(content, place, depth)),
            "jump" => {
                let ends = self.jump(content, place, depth);
                Some(if ends & RETURN != 0 { ends & !RETURN | NEXT } else { ends })
            }
            "vmap" => Some(self.verdict_map(content, place, depth)),
            _ => None,
        }
    }

    fn jump(&self, content: &Value, (family, table, _): Place<'a>, depth: usize) -> Ends {
        let name = content["target"].as_str().unwrap_or_default();
        let mut chains = self.ruleset.chains.iter();
        match chains.find(|chain| chain.place == (family, table, name)) {
            Some(chain) if depth < DEPTH_MAX => self.chain(chain, depth + 1),
            _ => ACCEPT | DROP | RETURN,
        }
    }

    /// The verdicts of a map whose keys the packet may have.
    fn verdict_map(&self, map: &Value, place: Place<'a>, depth: usize) -> Ends {
        let elements = self.elements(&map["data"], place);
        let mut ends = 0;
        for element in elements {
            let (key, verdict) = (&element[0], &element[1]);
            let answer = self.is(&map["key"], key, place);
            let verdict = verdict.as_object().and_then(|verdict| verdict.iter().next());
            let (Some((kind, content)), true) = (verdict, answer != Answer::No) else {
                continue;
            };
            let its_ends = self.verdict(kind, content, place, depth).unwrap_or(NEXT);
            ends |= its_ends;
            if answer == Answer::Yes {
                return ends;
            }
        }
        ends | NEXT
    }

    fn asks(&self, content: &Value, place: Place<'a>) -> Answer {
        let answer = self.is(&content["left"], &content["right"], place);
        match content["op"].as_str() {
            Some("==" | "in") => answer,
            Some("!=") => answer.not(),
            _ => Answer::Perhaps,
        }
    }

    /// Whether a property of the packet is one of those values.
    fn is(&self, property: &Value, values: &Value, place: Place<'a>) -> Answer {
        let (protocol, port) = match self.port {
            Port::Tcp(port) => ("tcp", port),
            Port::Udp(port) => ("udp", port),
        };
        let number = if protocol == "tcp" { 6 } else { 17 };
        let is_protocol = |value: &Value| {
            Answer::of(value.as_str() == Some(protocol) || value.as_u64() == Some(number))
        };
        let any = |is: &dyn Fn(&Value) -> Answer| self.any(values, place, is);
        let (payload, meta) = (&property["payload"], property["meta"]["key"].as_str());
        match (payload["protocol"].as_str(), payload["field"].as_str()) {
            (Some("tcp" | "udp" | "th"), field) => {
                if payload["protocol"] != "th" && payload["protocol"] != protocol {
                    return Answer::No;
                }
                return match field {
                    Some("dport") => any(&|value| is_number(value, u64::from(port))),
                    _ => Answer::Perhaps,
                };
            }
            (Some("ip"), Some("protocol")) => return any(&is_protocol),
            // Questions for hosts go to the group.
            (Some("ip"), Some("daddr")) if self.port == Port::Udp(5353) => {
                let is = |value: &Value| {
                    if value == "224.0.0.251" { Answer::Yes } else { Answer::Perhaps }
                };
                return any(&is);
            }
            (Some("ip" | "ether" | "vlan"), _) => return Answer::Perhaps,
            (Some(_), _) => return Answer::No, // of another protocol
            (None, _) => {}
        }
        match meta {
            Some("l4proto") => return any(&is_protocol),
            Some("nfproto" | "protocol") => {
                return any(&|value| match value.as_str() {
                    Some("ipv4" | "ip") => Answer::Yes,
                    Some("ipv6" | "ip6" | "arp") => Answer::No,
                    _ => Answer::Perhaps,
                });
            }
            Some("iif" | "iifname") => {
                let is = |value: &Value| if value == "lo" { Answer::No } else { Answer::Perhaps };
                return any(&is);
            }
            _ => {}
        }
        match property["ct"]["key"].as_str() {
            Some("state") => any(&|value| Answer::of(value == "new")),
            _ => Answer::Perhaps,
        }
    }

    /// Whether one of the values is what is asked for.
    fn any(&self, values: &Value, place: Place<'a>, is: &dyn Fn(&Value) -> Answer) -> Answer {
        let is_name = values.as_str().is_some_and(|text| text.starts_with('@'));
        if is_name || values.is_array() || values.get("set").is_some() {
            let elements = self.elements(values, place);
            return elements.iter().fold(Answer::No, |answer, it| answer.or(is(plain(it))));
        }
        is(values)
    }

    /// The elements of a set, by name or in place.
    fn elements(&self, values: &'a Value, (family, table, _): Place<'a>) -> &'a [Value] {
        let values = match values.as_str().and_then(|text| text.strip_prefix('@')) {
            Some(name) => {
                let mut sets = self.ruleset.sets.iter();
                let set = sets.find(|(place, _)| *place == (family, table, name));
                set.map_or(&Value::Null, |(_, elements)| *elements)
            }
            None => values.get("set").unwrap_or(values),
        };
        let elements = values.as_array().map_or(&[][..], Vec::as_slice);
        self.count.set(self.count.get() + elements.len());
        elements
    }
}

/// An element without its timeout, comment or counter.
fn plain(element: &Value) -> &Value {
    element.get("elem").and_then(|elem| elem.get("val")).unwrap_or(element)
}

fn is_number(value: &Value, number: u64) -> Answer {
    if let Some(value) = value.as_u64() {
        return Answer::of(value == number);
    }
    match (value["range"][0].as_u64(), value["range"][1].as_u64()) {
        (Some(first), Some(last)) => Answer::of((first..=last).contains(&number)),
        _ => Answer::Perhaps,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(name: &str, policy: Option<&str>) -> Value {
        let mut chain = json!({ "family": "inet", "table": "filter", "name": name });
        if let Some(policy) = policy {
            chain["type"] = json!("filter");
            chain["hook"] = json!("input");
            chain["policy"] = json!(policy);
        }
        json!({ "chain": chain })
    }

    fn rule(chain: &str, parts: Value) -> Value {
        json!({ "rule": { "family": "inet", "table": "filter", "chain": chain, "expr": parts } })
    }

    fn asks(left: Value, right: Value) -> Value {
        json!({ "match": { "op": "==", "left": left, "right": right } })
    }

    fn dport(protocol: &str, right: Value) -> Value {
        asks(json!({ "payload": { "protocol": protocol, "field": "dport" } }), right)
    }

    fn state(right: Value) -> Value {
        json!({ "match": { "op": "in", "left": { "ct": { "key": "state" } }, "right": right } })
    }

    fn passage(entries: &[Value], port: Port) -> Passage {
        let document = json!({ "nftables": entries });
        Ruleset::parse(&document).unwrap().passage(port)
    }

    fn blocked() -> Passage {
        Passage::Blocked("inet filter input".into())
    }

    fn perhaps() -> Passage {
        Passage::Perhaps("inet filter input".into())
    }

    #[test]
    fn a_policy_holds_where_no_rule_says_otherwise() {
        let accept = || json!({ "accept": null });
        let lo = asks(json!({ "meta": { "key": "iifname" } }), json!("lo"));
        let usual = [
            chain("input", Some("drop")),
            rule("input", json!([lo, accept()])),
            rule("input", json!([state(json!(["established", "related"])), accept()])),
            rule("input", json!([dport("tcp", json!(22)), { "counter": {} }, accept()])),
            rule(
                "input",
                json!([dport("tcp", json!({ "set": [80, { "range": [100, 200] }] })), accept()]),
            ),
            rule("input", json!([{ "counter": {} }, { "log": null }])),
        ];
        let table = [
            (Port::Tcp(22), Passage::Free),
            (Port::Udp(22), blocked()),
            (Port::Tcp(80), Passage::Free),
            (Port::Tcp(150), Passage::Free),
            (Port::Tcp(201), blocked()),
        ];
        for (port, expected) in table {
            assert_eq!(passage(&usual, port), expected, "{port}");
        }
        assert_eq!(passage(&[chain("input", Some("accept"))], Port::Tcp(1)), Passage::Free);
        assert_eq!(passage(&[chain("input", Some("drop"))], Port::Tcp(1)), blocked());
        assert_eq!(passage(&[], Port::Tcp(1)), Passage::Free);
    }

    #[test]
    fn what_depends_on_more_than_the_port_may_be_so_or_not() {
        let saddr =
            asks(json!({ "payload": { "protocol": "ip", "field": "saddr" } }), json!("10.0.0.1"));
        let drop = chain("input", Some("drop"));
        let table = [
            (json!([saddr.clone(), { "accept": null }]), perhaps()),
            (json!([{ "limit": { "rate": 1 } }, { "accept": null }]), perhaps()),
            (json!([{ "xt": { "type": "match", "name": "tcp" } }, { "accept": null }]), perhaps()),
            (json!([saddr.clone(), { "drop": null }]), blocked()),
            (json!([dport("udp", json!(5)), saddr, { "accept": null }]), blocked()),
            (json!([{ "queue": { "num": 0 } }]), perhaps()),
            (json!([state(json!("new")), { "accept": null }]), Passage::Free),
            (json!(["nonsense", 7, { "x": [] }, { "accept": null }]), Passage::Free),
        ];
        for (parts, expected) in table {
            let found = passage(&[drop.clone(), rule("input", parts.clone())], Port::Tcp(5));
            assert_eq!(found, expected, "{parts}");
        }
    }

    #[test]
    fn questions_for_hosts_go_to_their_group() {
        let daddr = asks(
            json!({ "payload": { "protocol": "ip", "field": "daddr" } }),
            json!("224.0.0.251"),
        );
        let parts = json!([daddr, dport("udp", json!(5353)), { "accept": null }]);
        let entries = [chain("input", Some("drop")), rule("input", parts)];

        assert_eq!(passage(&entries, Port::Udp(5353)), Passage::Free);
        assert_eq!(passage(&entries, Port::Udp(5354)), blocked());
    }

    #[test]
    fn chains_maps_and_sets_are_followed() {
        let set = json!({ "set": { "family": "inet", "table": "filter", "name": "open",
            "elem": [7, { "elem": { "val": 8, "comment": "x" } }] } });
        let map = json!({ "vmap": { "key": { "ct": { "key": "state" } }, "data": { "set": [
            ["invalid", { "drop": null }], ["established", { "accept": null }],
            ["new", { "jump": { "target": "mine" } }]] } } });
        let entries = [
            set,
            chain("input", Some("accept")),
            chain("mine", None),
            rule("input", json!([map])),
            rule("input", json!([{ "reject": { "type": "icmpx", "expr": "admin-prohibited" } }])),
            rule("mine", json!([dport("tcp", json!("@open")), { "accept": null }])),
            rule("mine", json!([dport("tcp", json!(9)), { "return": null }])),
            rule("mine", json!([dport("tcp", json!(10)), { "goto": { "target": "nowhere" } }])),
        ];
        for (port, expected) in [
            (7, Passage::Free),
            (8, Passage::Free),
            (9, blocked()),
            (10, perhaps()),
            (11, blocked()),
        ] {
            assert_eq!(passage(&entries, Port::Tcp(port)), expected, "{port}");
        }
    }

    #[test]
    fn rules_of_iptables_hide_the_state_and_are_taken_for_what_they_usually_mean() {
        let xt = |name: &str| json!({ "xt": { "type": "match", "name": name } });
        let accept = || json!({ "accept": null });
        let entries = [
            chain("input", Some("drop")),
            rule("input", json!([xt("conntrack"), accept()])),
            rule("input", json!([xt("conntrack"), { "drop": null }])),
            rule("input", json!([{ "jump": { "target": "not-local" } }])),
            chain("not-local", None),
            rule("not-local", json!([xt("addrtype"), { "return": null }])),
            rule("not-local", json!([{ "drop": null }])),
            rule("input", json!([dport("tcp", json!(7)), xt("conntrack"), accept()])),
            rule("input", json!([dport("tcp", json!(10)), xt("addrtype"), accept()])),
            rule("input", json!([xt("state"), dport("tcp", json!(8)), xt("comment"), accept()])),
            rule("input", json!([dport("tcp", json!(9)), xt("recent"), accept()])),
            rule("input", json!([{ "xt": { "type": "target", "name": "LOG" } }])),
            rule("input", json!([{ "xt": { "type": "target", "name": "REJECT" } }])),
        ];
        for (port, expected) in [
            (6, blocked()),
            (7, Passage::Free),
            (8, Passage::Free),
            (9, perhaps()),
            (10, perhaps()),
        ] {
            assert_eq!(passage(&entries, Port::Tcp(port)), expected, "{port}");
        }
    }

    #[test]
    fn a_ruleset_that_runs_in_circles_comes_to_an_end() {
        let jump = || json!([{ "jump": { "target": "input" } }]);
        let entries: Vec<Value> = std::iter::once(chain("input", Some("drop")))
            .chain((0..40).map(|_| rule("input", jump())))
            .collect();

        assert_eq!(passage(&entries, Port::Tcp(5)), perhaps());
    }

    #[test]
    fn no_change_of_a_ruleset_is_more_than_another_verdict() {
        let state = state(json!(["established", "new"]));
        let range = dport("tcp", json!({ "set": [7, { "range": [80, 90] }, "@mine"] }));
        let map = json!({ "vmap": { "key": { "meta": { "key": "iifname" } }, "data":
            { "set": [["lo", { "accept": null }], ["x", { "jump": { "target": "input" } }]] } } });
        let entries = [
            chain("input", Some("drop")),
            rule("input", json!([state, range, { "xt": { "type": "match", "name": "x" } }, map])),
        ];
        let text = json!({ "nftables": entries }).to_string();
        for at in 0..text.len() {
            for byte in *b"0\"[]{}:,-x\x80" {
                let mut changed = text.clone().into_bytes();
                changed[at] = byte;
                if let Ok(document) = serde_json::from_slice::<Value>(&changed)
                    && let Some(ruleset) = Ruleset::parse(&document)
                {
                    ruleset.passage(Port::Tcp(80));
                    ruleset.passage(Port::Udp(5353));
                }
            }
        }
    }

    #[test]
    fn what_is_no_ruleset_is_none() {
        for document in [json!(null), json!([]), json!({ "nftables": {} }), json!("x")] {
            assert!(Ruleset::parse(&document).is_none(), "{document}");
        }
        assert!(
            Ruleset::parse(&json!({ "nftables": [7, {}, { "rule": 7 }, { "chain": [] }] }))
                .is_some()
        );
    }
}
