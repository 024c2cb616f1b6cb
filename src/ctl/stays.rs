//! What the daemon answers about sessions and encoders, for people.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use serde_json::Value;

use crate::arguments::SessionVerb;
use crate::print::{clean, list, rows, shown, table};

/// What became of a session.
pub fn changed(verb: &SessionVerb, data: &Value) -> String {
    let id = shown(&data["id"]);
    match verb {
        SessionVerb::Bitrate(_) => {
            format!("session {id} is encoded at {} now\n", rate(&data["bitrate_kbps"]))
        }
        SessionVerb::Idr(_) => format!("session {id}: an IDR frame is asked for\n"),
        SessionVerb::Rumble(rumble) => {
            format!("session {id}: gamepad {} is told\n", rumble.gamepad)
        }
        SessionVerb::Stop(_) => format!("session {id} is over\n"),
    }
}

/// A line for each session.
pub fn sessions(data: &Value) -> String {
    let head = ["ID", "STATE", "CLIENT", "ADDRESS", "AGE", "MODE", "CODEC", "RATE", "APP"];
    table(
        &head,
        rows(data, "sessions", |session| {
            vec![
                shown(&session["id"]),
                shown(&session["state"]),
                shown(&session["client"]["name"]),
                shown(&session["address"]),
                format!("{} s", shown(&session["age_s"])),
                mode(&session["mode"]),
                codec(session),
                rate(&session["bitrate_kbps"]),
                shown(&session["app"]["title"]),
            ]
        }),
    )
}

/// A line for each app that runs.
pub fn runs(data: &Value) -> String {
    let seconds = |value: &Value| match value {
        Value::Null => shown(value),
        value => format!("{} s", shown(value)),
    };
    table(
        &["ID", "CLIENT", "APP", "SESSION", "AWAY", "LEFT"],
        rows(data, "runs", |run| {
            vec![
                shown(&run["id"]),
                shown(&run["client"]["name"]),
                shown(&run["app"]["title"]),
                shown(&run["session"]),
                seconds(&run["away_s"]),
                seconds(&run["left_s"]),
            ]
        }),
    )
}

/// What sessions have counted and measured.
pub fn stats(data: &Value) -> String {
    let texts: Vec<String> = list(&data["sessions"]).iter().map(session_stats).collect();
    if texts.is_empty() { "no sessions\n".into() } else { texts.join("\n") }
}

fn session_stats(session: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    let count = |name: &str| shown(&session["counters"][name]);
    line("session", &format!("{}, {}", shown(&session["id"]), shown(&session["state"])));
    line("client", &shown(&session["client"]["name"]));
    line("mode", &mode(&session["mode"]));
    line("codec", &codec(session));
    line("encoder", &shown(&session["encoder"]));
    line("rate", &rate(&session["bitrate_kbps"]));
    line("sealed", &sealed(&session["sealed"]));
    let (idrs, healed) = (count("idrs"), count("healed"));
    line("frames", &format!("{}, {idrs} of them IDR, {healed} healed", count("frames")));
    let (late, behind) = (count("skipped_late"), count("skipped_behind"));
    line("left out", &format!("{late} late, {behind} behind, {} too long", count("too_long")));
    line("encoder lost", &count("encoder_reopened"));
    let (lowered, none) = (count("parity_lowered"), count("parity_none"));
    line("parity", &format!("lowered {lowered}, none {none}, of frames that were large"));
    let (parity, dropped) = (count("parity_datagrams"), count("send_dropped"));
    let sent = count("datagrams");
    line("datagrams", &format!("{sent}, {parity} of them parity, {dropped} not taken"));
    line("bytes", &format!("{} encoded, {} sent", count("encoded_bytes"), count("sent_bytes")));
    line("send calls", &count("send_calls"));
    let (gaps, dropped) = (count("sound_gaps"), count("sound_dropped"));
    let sent = count("sound_packets");
    line("sound", &format!("{sent} packets, {gaps} of silence, {dropped} not taken"));
    line("input", &input(&session["input"]));
    let stages = session["stages"].as_object().into_iter().flatten();
    let stages = stages.map(|(name, stage)| {
        let time = |key: &str| milliseconds(&stage[key]);
        let times = ["p50_us", "p95_us", "p99_us"].map(time);
        [clean(name), shown(&stage["count"])].into_iter().chain(times).collect()
    });
    text + &table(&["STAGE", "COUNT", "P50", "P95", "P99"], stages.collect())
}

fn input(input: &Value) -> String {
    let counts = input["counts"].as_object().into_iter().flatten();
    let came = counts.filter(|(_, count)| count.as_u64() != Some(0));
    let mut parts: Vec<String> =
        came.map(|(name, count)| format!("{} {}", name.replace('_', " "), shown(count))).collect();
    if input["refused"].as_u64() != Some(0) {
        parts.push(format!("refused {}", shown(&input["refused"])));
    }
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

/// What can be encoded, and what serves clients.
pub fn encoders(data: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<14}{value}");
    };
    line("plug-in", &shown(&data["plugin"]));
    line("probe", &shown(&data["probe"]));
    for chosen in list(&data["chosen"]) {
        let by = match &chosen["backend"] {
            Value::Null => "none".to_owned(),
            backend => shown(backend),
        };
        let why = match chosen["why"].as_str() {
            None | Some("") => String::new(),
            Some(_) => format!(", because {}", shown(&chosen["why"])),
        };
        line("codec", &format!("{}: {by}{why}", shown(&chosen["codec"])));
    }
    let mut cells = Vec::new();
    for backend in list(&data["backends"]) {
        for codec in list(&backend["codecs"]) {
            let can: Vec<String> = list(&codec["can"]).iter().map(shown).collect();
            let can = if can.is_empty() {
                format!("no: {}", shown(&codec["why_not"]))
            } else {
                can.join(" ")
            };
            cells.push(vec![shown(&backend["name"]), shown(&codec["name"]), can]);
        }
    }
    if cells.is_empty() { text } else { text + &table(&["BACKEND", "CODEC", "CAN"], cells) }
}

/// 2560x1440@119.88.
fn mode(mode: &Value) -> String {
    let Some(refresh_mhz) = mode["refresh_mhz"].as_u64() else {
        return "-".into();
    };
    let (width, height) = (shown(&mode["width"]), shown(&mode["height"]));
    let decimals = match refresh_mhz % 1000 {
        0 => String::new(),
        rest => format!(".{rest:03}").trim_end_matches('0').to_owned(),
    };
    format!("{width}x{height}@{}{decimals}", refresh_mhz / 1000)
}

fn codec(session: &Value) -> String {
    let bits = if session["bit_depth"] == 10 { " 10-bit" } else { "" };
    format!("{}{bits}", shown(&session["codec"]))
}

fn rate(kbps: &Value) -> String {
    kbps.as_u64().map_or_else(|| "-".into(), |kbps| format!("{kbps} kbps"))
}

fn sealed(sealed: &Value) -> String {
    if sealed.is_null() {
        return "-".into();
    }
    let names = ["control", "video", "audio"].into_iter().filter(|name| sealed[*name] == true);
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "nothing".into() } else { names.join(" ") }
}

/// Microseconds as milliseconds.
fn milliseconds(us: &Value) -> String {
    us.as_u64().map_or_else(|| "-".into(), |us| format!("{}.{:02} ms", us / 1000, us % 1000 / 10))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session() -> Value {
        json!({
            "id": 3, "state": "streaming", "client": { "name": "tv\u{1b}[2J" },
            "app": { "title": "Desktop" }, "address": "192.0.2.1", "age_s": 12,
            "mode": { "width": 2560, "height": 1440, "refresh_mhz": 119_880 },
            "codec": "hevc", "bit_depth": 10, "encoder": "hevc_nvenc", "bitrate_kbps": 20_000,
            "sealed": { "control": true, "video": false, "audio": true },
            "counters": { "frames": 100, "idrs": 2, "healed": 1 },
            "stages": { "send": { "count": 9, "p50_us": 70, "p95_us": 1500, "p99_us": 12_345 } },
            "input": { "counts": { "key_down": 7, "key_up": 0 }, "refused": 1 },
        })
    }

    #[test]
    fn a_session_is_a_line_or_a_page() {
        let launched = json!({
            "id": 12, "state": "launched", "client": { "name": "phone" }, "age_s": 0,
            "app": { "title": null }, "address": "::1", "mode": null, "codec": null,
            "bit_depth": null, "bitrate_kbps": null,
        });
        let data = json!({ "sessions": [session(), launched] });

        let lines = sessions(&data);
        let page = stats(&json!({ "sessions": [session()] }));

        let expected = "\
ID  STATE      CLIENT       ADDRESS    AGE   MODE              CODEC        RATE        APP
3   streaming  tv\\u{1b}[2J  192.0.2.1  12 s  2560x1440@119.88  hevc 10-bit  20000 kbps  Desktop
12  launched   phone        ::1        0 s   -                 -            -           -
";
        assert_eq!(lines, expected);
        for line in [
            "sealed        control audio",
            "frames        100, 2 of them IDR, 1 healed",
            "input         key down 7, refused 1",
            "send   9      0.07 ms  1.50 ms  12.34 ms",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}\n{page}");
        }
        assert_eq!(stats(&json!({ "sessions": [] })), "no sessions\n");
    }

    #[test]
    fn encoders_are_what_serves_and_what_could() {
        let data = json!({
            "plugin": "stub 1", "probe": "done",
            "chosen": [
                { "codec": "hevc", "backend": null, "why": "vaapi: no device" },
                { "codec": "h264", "backend": "vaapi", "why": "" },
            ],
            "backends": [{ "name": "vaapi", "codecs": [
                { "name": "h264", "can": ["8-bit", "set-bitrate"] },
                { "name": "hevc", "can": [], "why_not": "no device" },
            ] }],
        });

        let text = encoders(&data);

        let expected = "\
plug-in       stub 1
probe         done
codec         hevc: none, because vaapi: no device
codec         h264: vaapi
BACKEND  CODEC  CAN
vaapi    h264   8-bit set-bitrate
vaapi    hevc   no: no device
";
        assert_eq!(text, expected);
    }
}
