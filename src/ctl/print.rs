//! What the daemon answers, for people.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use serde_json::Value;

use crate::arguments::{ClientVerb, PairVerb, Verb};
use crate::call::Failure;
use crate::{doctor, stays};

/// The answer to a verb, in whole lines.
pub fn text(verb: &Verb, data: &Value) -> String {
    match verb {
        Verb::Apps(_) => table(
            &["ID", "TITLE", "HIDDEN", "IMAGE"],
            rows(data, "apps", |app| {
                let hidden = if app["hidden"] == true { "yes" } else { "no" };
                vec![shown(&app["id"]), shown(&app["title"]), hidden.into(), shown(&app["image"])]
            }),
        ),
        Verb::Check(_) => String::new(),
        Verb::Client(client) => match client.verb {
            ClientVerb::Grant(_) | ClientVerb::Revoke(_) => {
                format!("{} has these grants now: {}\n", shown(&data["fingerprint"]), grants(data))
            }
            ClientVerb::Rename(_) => {
                format!("{} is called {} now\n", shown(&data["fingerprint"]), shown(&data["name"]))
            }
            ClientVerb::Unpair(_) => format!("{} is unpaired\n", shown(&data["fingerprint"])),
        },
        Verb::Clients(_) => {
            let head = ["NAME", "FINGERPRINT", "PROTOCOL", "CONNECTIONS", "GRANTS"];
            table(
                &head,
                rows(data, "clients", |client| {
                    let keys = ["name", "fingerprint", "protocol", "connection_count"];
                    let cells = keys.iter().map(|key| shown(&client[*key]));
                    cells.chain([grants(client)]).collect()
                }),
            )
        }
        Verb::Doctor(_) => doctor::text(data),
        Verb::Encoders(_) => stays::encoders(data),
        Verb::LogLevel(_) => format!("{}\n", shown(&data["level"])),
        Verb::Pair(pair) => match pair.verb {
            PairVerb::Deny(_) => format!("pairing {} is refused\n", shown(&data["id"])),
            PairVerb::List(_) => pairings(data),
            PairVerb::Pin(_) => {
                format!("paired: {}, {}\n", shown(&data["address"]), shown(&data["fingerprint"]))
            }
        },
        Verb::Reload(_) => reload(data),
        Verb::Run(_) => format!("run {} is over\n", shown(&data["id"])),
        Verb::Runs(_) => stays::runs(data),
        Verb::Session(session) => stays::changed(&session.verb, data),
        Verb::Sessions(_) => stays::sessions(data),
        Verb::Stats(_) => stays::stats(data),
        Verb::Status(_) => status(data),
        Verb::Version(_) => format!("{} {}\n", shown(&data["name"]), shown(&data["version"])),
    }
}

/// What went wrong, in whole lines.
pub fn failure(failure: &Failure) -> String {
    let mut text = String::new();
    for line in &failure.details {
        let _ = writeln!(text, "{}", clean(line));
    }
    let _ = writeln!(text, "punktfunkctl: {}", clean(&failure.message));
    text
}

/// The device that waits for its PIN, for whoever has to decide.
pub fn device(pairing: &Value) -> String {
    let age_s = shown(&pairing["age_s"]);
    let mut text = format!("device at {}, asking since {age_s} s", shown(&pairing["address"]));
    if pairing["device_name"].is_string() {
        let _ = write!(text, ", calls itself {}", shown(&pairing["device_name"]));
    }
    let _ = writeln!(text, "\ncertificate {}", shown(&pairing["fingerprint"]));
    text
}

/// What a client may do, in words.
fn grants(client: &Value) -> String {
    let names: Vec<String> = list(&client["grants"]).iter().map(shown).collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

fn pairings(data: &Value) -> String {
    let head = ["ID", "STATE", "ADDRESS", "AGE", "LEFT", "FINGERPRINT", "REASON"];
    table(
        &head,
        rows(data, "pairings", |pairing| {
            let seconds = |key: &str| match &pairing[key] {
                Value::Null => "-".to_owned(),
                value => format!("{} s", shown(value)),
            };
            vec![
                shown(&pairing["id"]),
                shown(&pairing["state"]),
                shown(&pairing["address"]),
                seconds("age_s"),
                seconds("left_s"),
                shown(&pairing["fingerprint"]),
                shown(&pairing["reason"]),
            ]
        }),
    )
}

fn reload(data: &Value) -> String {
    let mut text = String::new();
    for line in list(&data["changed"]) {
        let _ = writeln!(text, "changed: {}", shown(line));
    }
    for line in list(&data["needs_restart"]) {
        let _ = writeln!(text, "needs a restart: {}", shown(line));
    }
    if text.is_empty() { "nothing changed\n".into() } else { text }
}

fn status(data: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    line("host", &shown(&data["host_name"]));
    line("id", &shown(&data["host_id"]));
    line("certificate", &shown(&data["fingerprint"]));
    line("version", &shown(&data["version"]));
    line("up", &format!("{} s", shown(&data["uptime_s"])));
    for door in list(&data["listen"]) {
        line("listening", &format!("{} {}", shown(&door["plane"]), shown(&door["address"])));
    }
    let interfaces: Vec<String> = list(&data["mdns"]["interfaces"]).iter().map(shown).collect();
    match data["mdns"]["instance"].as_str() {
        None => line("mdns", "off"),
        Some(_) if interfaces.is_empty() => line("mdns", "no interface to announce on"),
        Some(name) => line("mdns", &format!("{} on {}", clean(name), interfaces.join(" "))),
    }
    line("clients", &shown(&data["client_count"]));
    line("pairings", &format!("{} under way", shown(&data["pairing_count"])));
    line("connections", &shown(&data["connection_count"]));
    let (count, streaming_count) = (&data["session_count"], &data["streaming_count"]);
    line("sessions", &format!("{}, {} streaming", shown(count), shown(streaming_count)));
    for codec in list(&data["codecs"]) {
        line("codec", &shown(codec));
    }
    if data["stray_count"].as_u64() != Some(0) {
        line("counted", &format!("stray datagrams {}", shown(&data["stray_count"])));
    }
    for (name, count) in data["counters"].as_object().into_iter().flatten() {
        if count.as_u64() != Some(0) {
            line("counted", &format!("{} {}", clean(name), shown(count)));
        }
    }
    text
}

pub(crate) fn rows(
    data: &Value,
    key: &str,
    row: impl Fn(&Value) -> Vec<String>,
) -> Vec<Vec<String>> {
    list(&data[key]).iter().map(row).collect()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A head and rows in columns, two spaces apart. An empty cell is a dash, so that every row has
/// the same number of words in its first columns.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let column_count = lines[0].len();
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..column_count).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut padded = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(padded, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", padded.trim_end());
    }
    text
}

pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => clean(text),
        other => other.to_string(),
    }
}

/// Text that cannot steer a terminal.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => cleaned.extend(character.escape_default()),
            false => cleaned.push(character),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_columns_and_nothing_that_steers_a_terminal() {
        let data = json!({ "pairings": [
            {
                "id": 7, "state": "waiting", "address": "::1", "age_s": 3, "left_s": 117,
                "fingerprint": "ab", "reason": null,
            },
            {
                "id": 12, "state": "failed", "address": "192.0.2.1", "age_s": 60, "left_s": null,
                "fingerprint": "cd", "reason": "wrong\u{1b}[2J",
            },
        ] });

        let text = pairings(&data);

        assert_eq!(
            text,
            "ID  STATE    ADDRESS    AGE   LEFT   FINGERPRINT  REASON\n\
             7   waiting  ::1        3 s   117 s  ab           -\n\
             12  failed   192.0.2.1  60 s  -      cd           wrong\\u{1b}[2J\n"
        );
    }

    #[test]
    fn a_reload_that_changes_nothing_says_so() {
        let table = [
            (json!({ "changed": [], "needs_restart": [] }), "nothing changed\n"),
            (json!({ "changed": ["Mdns no"], "needs_restart": [] }), "changed: Mdns no\n"),
        ];
        for (data, expected) in table {
            assert_eq!(reload(&data), expected);
        }
    }
}
