//! Values of directives: text to typed value, and back.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use log::LevelFilter;

use super::error::Complaint;
use super::lexer::{Word, emit};
use super::network::{self, Network};
use super::{Attempts, ControlSocket, LogLevels};

/// Bytes in a path at most: with every one escaped it fits a line.
const PATH_LEN_MAX: usize = 1024;
/// Bytes in the path of a Unix socket at most, unix(7).
const SOCKET_PATH_LEN_MAX: usize = 107;
/// Bytes in the name of a user or group at most.
const USER_LEN_MAX: usize = 32;
/// Bytes in the name of a network interface at most.
const INTERFACE_LEN_MAX: usize = 15;
/// Bytes in the name of a module at most.
const MODULE_LEN_MAX: usize = 48;
/// Modules with a level of their own at most.
const MODULE_COUNT_MAX: usize = 63;
/// Units of time, the largest first, with their milliseconds.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const LEVELS: [(&str, LevelFilter); 5] = [
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
];

/// `yes` or `no`.
pub fn yes_no(word: &Word) -> Result<bool, Complaint> {
    match word.text.as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(word.complain("is neither yes nor no")),
    }
}

/// The text of [`yes_no`].
pub fn emit_yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// One of the names.
pub fn choice<T: Copy>(word: &Word, choices: &[(&str, T)]) -> Result<T, Complaint> {
    choices.iter().find(|(name, _)| *name == word.text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        word.complain(format_args!("is not one of {}", names.join(", ")))
    })
}

/// The name of a value of [`choice`].
pub fn emit_choice<T: PartialEq>(value: &T, choices: &[(&str, T)]) -> String {
    let name = choices.iter().find(|(_, choice)| choice == value).map(|(name, _)| *name);
    name.expect("every value has a name").to_owned()
}

/// A decimal number.
pub fn number<T>(word: &Word, range: RangeInclusive<T>) -> Result<T, Complaint>
where
    T: Display + FromStr + PartialOrd,
{
    number_in(&word.text, &range).ok_or_else(|| {
        let (first, last) = (range.start(), range.end());
        word.complain(format_args!("is not a number from {first} to {last}"))
    })
}

fn number_in<T: FromStr + PartialOrd>(text: &str, range: &RangeInclusive<T>) -> Option<T> {
    // from_str takes a sign, which is no part of a number here.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|value| is_number && range.contains(value))
}

/// A number with a unit: `500ms`, `8s`, `5m`, `2h`.
pub fn time(word: &Word, range: RangeInclusive<Duration>) -> Result<Duration, Complaint> {
    let range_text = format!("{} to {}", emit_time(*range.start()), emit_time(*range.end()));
    if !word.text.is_empty() && word.text.bytes().all(|byte| byte.is_ascii_digit()) {
        let what = format!("has no unit, write a time from {range_text}, in ms, s, m or h");
        return Err(word.complain(what));
    }
    time_in(&word.text, &range)
        .ok_or_else(|| word.complain(format_args!("is not a time from {range_text}")))
}

/// A time within the range, or none for `forever`.
pub fn time_or_forever(
    word: &Word,
    range: RangeInclusive<Duration>,
) -> Result<Option<Duration>, Complaint> {
    if word.text.eq_ignore_ascii_case("forever") {
        return Ok(None);
    }
    time(word, range).map(Some)
}

fn time_in(text: &str, range: &RangeInclusive<Duration>) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let (_, unit_ms) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
    let time_ms = count.parse::<u64>().ok()?.checked_mul(*unit_ms)?;
    Some(Duration::from_millis(time_ms)).filter(|time| range.contains(time))
}

/// The text of [`time`], in the largest unit that needs no fraction.
pub fn emit_time(time: Duration) -> String {
    let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let whole = TIME_UNITS.iter().find(|(_, unit_ms)| time_ms.is_multiple_of(*unit_ms));
    let (unit, unit_ms) = whole.expect("the last unit is one millisecond");
    format!("{}{unit}", time_ms / unit_ms)
}

/// So many in such a time: `5/10m`.
pub fn attempts(word: &Word) -> Result<Attempts, Complaint> {
    let windows = Duration::from_secs(1)..=Duration::from_secs(86_400);
    let parse = || {
        let (count, window) = word.text.split_once('/')?;
        let (count, window) = (number_in(count, &(1..=1000))?, time_in(window, &windows)?);
        Some(Attempts { count, window })
    };
    let what = "is not a number from 1 to 1000, a slash and a time from 1s to 24h, such as 5/10m";
    parse().ok_or_else(|| word.complain(what))
}

/// Text for people, of one character at least.
pub fn title(word: &Word, len_max: usize) -> Result<String, Complaint> {
    if word.text.trim().is_empty() || word.text.contains(char::is_control) {
        return Err(word.complain("is no name"));
    }
    if word.text.len() > len_max {
        let what = format!("is longer than {len_max} bytes");
        return Err(word.complain(what));
    }
    Ok(word.text.clone())
}

/// The login name of a user, or of a group.
pub fn user(word: &Word, what: &str) -> Result<String, Complaint> {
    let text = &word.text;
    let is_name = (1..=USER_LEN_MAX).contains(&text.len())
        && !text.starts_with('-')
        && !text.contains(|it: char| it.is_whitespace() || matches!(it, ':' | '/' | ','));
    if is_name { Ok(text.clone()) } else { Err(word.complain(format_args!("is no {what}'s name"))) }
}

/// A path from the root.
pub fn path(word: &Word) -> Result<PathBuf, Complaint> {
    let path = Path::new(&word.text);
    if !path.is_absolute() {
        return Err(word.complain("is not a path from the root, which begins with '/'"));
    }
    if word.text.len() > PATH_LEN_MAX {
        return Err(word.complain(format_args!("is longer than {PATH_LEN_MAX} bytes")));
    }
    Ok(path.to_owned())
}

/// A path from the root that, `rest` appended, is a socket's.
pub fn socket_path(word: &Word, rest: &str) -> Result<PathBuf, Complaint> {
    let len_max = SOCKET_PATH_LEN_MAX - rest.len();
    if word.text.len() > len_max {
        let what = format!("is longer than {len_max} bytes, which is all that a socket can have");
        return Err(word.complain(what));
    }
    path(word)
}

/// The text of [`path`].
pub fn emit_path(path: &Path) -> String {
    emit(&path.to_string_lossy())
}

/// A program and its arguments; nothing where `none` stands alone.
pub fn command(words: &[Word]) -> Vec<String> {
    let is_none = words.len() == 1 && words[0].text == "none";
    if is_none { Vec::new() } else { words.iter().map(|word| word.text.clone()).collect() }
}

/// As [`command`] takes it.
pub fn emit_command(words: &[String]) -> String {
    if words.is_empty() {
        return "none".into();
    }
    words.iter().map(|word| emit(word)).collect::<Vec<_>>().join(" ")
}

/// The text of several commands, a line each; nothing keeps its place as `none`.
pub fn emit_commands(commands: &[Vec<String>]) -> String {
    if commands.is_empty() {
        return "none".into();
    }
    commands.iter().map(|words| emit_command(words)).collect::<Vec<_>>().join("\n")
}

/// Names and values of the environment; nothing where `none` stands alone.
pub fn variables(words: &[Word]) -> Result<Vec<(String, String)>, Complaint> {
    if words.len() == 1 && words[0].text == "none" {
        return Ok(Vec::new());
    }
    let variable = |word: &Word| match word.text.split_once('=') {
        Some((name, value)) if is_variable(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(word.complain("is not NAME=value, the name of letters, digits and '_'")),
    };
    words.iter().map(variable).collect()
}

fn is_variable(name: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(may) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// The text of several [`variables`], a line each.
pub fn emit_variables(lines: &[Vec<(String, String)>]) -> String {
    if lines.is_empty() {
        return "none".into();
    }
    let line = |variables: &Vec<(String, String)>| {
        let words = variables.iter().map(|(name, value)| format!("{name}={value}"));
        emit_command(&words.collect::<Vec<_>>())
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Path, mode and group of the control socket.
pub fn control_socket(words: &[Word]) -> Result<ControlSocket, Complaint> {
    let path = socket_path(&words[0], "")?;
    let mode = words.get(1).map_or(Ok(0o660), socket_mode)?;
    let group = words.get(2).map(|word| user(word, "group")).transpose()?;
    Ok(ControlSocket { path, mode, group })
}

fn socket_mode(word: &Word) -> Result<u32, Complaint> {
    let is_octal = (3..=4).contains(&word.text.len())
        && word.text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u32::from_str_radix(&word.text, 8) {
        Ok(mode) if is_octal && mode & 0o600 == 0o600 && mode & !0o770 == 0 => Ok(mode),
        Ok(mode) if is_octal && mode & 0o007 != 0 => {
            Err(word.complain("lets every user of this machine in, write 0660 or 0600"))
        }
        _ => Err(word.complain("is not the mode of a socket, write 0660 or 0600")),
    }
}

/// The text of [`control_socket`].
pub fn emit_control_socket(control: &ControlSocket) -> String {
    let mut text = format!("{} {:04o}", emit_path(&control.path), control.mode);
    if let Some(group) = &control.group {
        text.push(' ');
        text.push_str(&emit(group));
    }
    text
}

/// Addresses to listen on.
pub fn addresses(words: &[Word]) -> Result<Vec<IpAddr>, Complaint> {
    let mut addresses = Vec::new();
    for word in words {
        let text = word.text.as_str();
        let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
        let address: IpAddr = bare.parse().map_err(|_| {
            word.complain("is not an address such as 192.168.1.2, :: or ::1, without a port")
        })?;
        let is_link_local = matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let is_everything = |ip: &IpAddr| *ip == Ipv6Addr::UNSPECIFIED;
        if is_link_local || address.is_multicast() {
            return Err(word.complain("cannot be listened on, write :: for every address"));
        }
        if address.to_canonical() != address {
            return Err(word.complain("is an IPv4 address in IPv6, write it as an IPv4 address"));
        }
        if addresses.contains(&address) {
            return Err(word.complain("stands here twice"));
        }
        let is_wide = |ip: &IpAddr| ip.is_unspecified() && ip.is_ipv4() == address.is_ipv4();
        if addresses.iter().any(|it| is_everything(it) || is_wide(it))
            || (is_everything(&address) && !addresses.is_empty())
            || (address.is_unspecified() && addresses.iter().any(IpAddr::is_ipv4))
        {
            let what = "is one of two that overlap, :: alone stands for every address";
            return Err(word.complain(what));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// Networks; `any` stands for every one, `local` for those that lie near.
pub fn networks(words: &[Word]) -> Result<Vec<Network>, Complaint> {
    let mut networks = Vec::new();
    for word in words {
        match word.text.as_str() {
            "any" => networks.extend(network::ANY),
            "local" => networks.extend(network::LOCAL),
            text => networks.push(Network::parse(text).map_err(|what| word.complain(what))?),
        }
    }
    Ok(networks)
}

/// The text of [`networks`].
pub fn emit_networks(networks: &[Network]) -> String {
    let mut words = Vec::new();
    let mut rest = networks;
    while let [first, others @ ..] = rest {
        if let Some(others) = rest.strip_prefix(&network::ANY) {
            words.push("any".to_owned());
            rest = others;
        } else if let Some(others) = rest.strip_prefix(&network::LOCAL) {
            words.push("local".to_owned());
            rest = others;
        } else {
            words.push(first.to_string());
            rest = others;
        }
    }
    words.join(" ")
}

/// Values, separated by spaces.
pub fn emit_list<T: Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Network interfaces.
pub fn interfaces(words: &[Word]) -> Result<Vec<String>, Complaint> {
    let mut names = Vec::new();
    for word in words {
        let text = &word.text;
        let is_name = (1..=INTERFACE_LEN_MAX).contains(&text.len())
            && !matches!(text.as_str(), "." | ".." | "auto")
            && !text.contains(|it: char| it.is_whitespace() || matches!(it, ':' | '/' | '"'));
        if !is_name {
            return Err(word.complain("is no interface's name such as eth0"));
        }
        if names.contains(text) {
            return Err(word.complain("stands here twice"));
        }
        names.push(text.clone());
    }
    Ok(names)
}

/// `off`, or a loopback address and port.
pub fn http(word: &Word) -> Result<Option<SocketAddr>, Complaint> {
    if word.text == "off" {
        return Ok(None);
    }
    let address: SocketAddr = word
        .text
        .parse()
        .map_err(|_| word.complain("is not off or an address and port such as 127.0.0.1:47990"))?;
    if !address.ip().is_loopback() {
        let what = "is not on this machine alone, and there is no TLS: write 127.0.0.1 or [::1]";
        return Err(word.complain(what));
    }
    if address.port() == 0 {
        return Err(word.complain("has no port, write one from 1 to 65535"));
    }
    Ok(Some(address))
}

/// A level, and `module=level` for modules that have one of their own.
pub fn log_levels(words: &[Word]) -> Result<LogLevels, Complaint> {
    let mut levels = LogLevels { default: LevelFilter::Info, modules: Vec::new() };
    let mut has_default = false;
    for word in words {
        let (module, name) = match word.text.split_once('=') {
            Some((module, name)) => (Some(module), name),
            None => (None, word.text.as_str()),
        };
        let column = word.column + word.text.chars().count() - name.chars().count();
        let level = choice(&Word { text: name.to_owned(), column }, &LEVELS)?;
        match module {
            None if has_default => return Err(word.complain("is a second level for everything")),
            None => (has_default, levels.default) = (true, level),
            Some(module) if !is_module(module) => {
                return Err(word.complain("names no module, write one such as listen::mdns=debug"));
            }
            Some(module) if levels.modules.iter().any(|(name, _)| name == module) => {
                return Err(word.complain("is a second level for this module"));
            }
            Some(_) if levels.modules.len() == MODULE_COUNT_MAX => {
                let what = format!("is one too many, {MODULE_COUNT_MAX} modules have a level");
                return Err(word.complain(what));
            }
            Some(module) => levels.modules.push((module.to_owned(), level)),
        }
    }
    Ok(levels)
}

fn is_module(text: &str) -> bool {
    let is_short = text.len() <= MODULE_LEN_MAX;
    is_short
        && text.split("::").all(|part| {
            part.starts_with(|it: char| it.is_ascii_lowercase())
                && part.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        })
}

/// The text of [`log_levels`].
pub fn emit_log_levels(levels: &LogLevels) -> String {
    let name = |level: LevelFilter| level.as_str().to_ascii_lowercase();
    let mut text = name(levels.default);
    for (module, level) in &levels.modules {
        text.push_str(&format!(" {module}={}", name(*level)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        Word { text: text.to_owned(), column: 1 }
    }

    fn words(line: &str) -> Vec<Word> {
        line.split(' ').map(word).collect()
    }

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        let range = Duration::from_millis(1)..=Duration::from_secs(7200);
        let table = [
            ("500ms", Ok(500)),
            ("8s", Ok(8_000)),
            ("5m", Ok(300_000)),
            ("2h", Ok(7_200_000)),
            ("8", Err("'8' has no unit, write a time from 1ms to 2h, in ms, s, m or h")),
            ("0s", Err("'0s' is not a time from 1ms to 2h")),
            ("3h", Err("'3h' is not a time from 1ms to 2h")),
            ("s", Err("'s' is not a time from 1ms to 2h")),
            ("", Err("'' is not a time from 1ms to 2h")),
            ("-1s", Err("'-1s' is not a time from 1ms to 2h")),
            ("1d", Err("'1d' is not a time from 1ms to 2h")),
            ("18446744073709551615h", Err("'18446744073709551615h' is not a time from 1ms to 2h")),
        ];
        for (text, expected) in table {
            let time = time(&word(text), range.clone()).map_err(|it| it.what);
            assert_eq!(time, expected.map(Duration::from_millis).map_err(str::to_owned), "{text}");
        }
        for (time_ms, text) in [(90_000, "90s"), (60_000, "1m"), (1_500, "1500ms"), (0, "0h")] {
            assert_eq!(emit_time(Duration::from_millis(time_ms)), text);
        }
    }

    #[test]
    fn addresses_that_the_kernel_would_refuse_together_are_refused() {
        let table = [
            ("::", None),
            ("[::1] 127.0.0.1", None),
            ("0.0.0.0 ::1", None),
            ("10.0.0.1 10.0.0.1", Some("'10.0.0.1' stands here twice")),
            (":: ::1", Some("'::1' is one of two that overlap, :: alone stands for every address")),
            ("::1 ::", Some("'::' is one of two that overlap, :: alone stands for every address")),
            (
                "10.0.0.1 0.0.0.0",
                Some("'0.0.0.0' is one of two that overlap, :: alone stands for every address"),
            ),
            ("fe80::1", Some("'fe80::1' cannot be listened on, write :: for every address")),
            (
                "10.0.0.1:80",
                Some(
                    "'10.0.0.1:80' is not an address such as 192.168.1.2, :: or ::1, without a \
                     port",
                ),
            ),
        ];
        for (line, expected) in table {
            let refused = addresses(&words(line)).err().map(|it| it.what);
            assert_eq!(refused.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn networks_are_written_as_briefly_as_they_are_read() {
        for line in ["any", "local", "local 100.64.0.0/10 any", "any any", "10.0.0.0/8 ::/0 local"]
        {
            assert_eq!(emit_networks(&networks(&words(line)).unwrap()), line);
        }
    }

    #[test]
    fn the_management_api_listens_on_this_machine_alone() {
        let table = [
            ("off", true),
            ("127.0.0.1:47990", true),
            ("[::1]:1", true),
            ("127.0.0.1:0", false),
            ("127.0.0.1", false),
            ("0.0.0.0:47990", false),
            ("[::]:47990", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("localhost:47990", false),
        ];
        for (text, expected) in table {
            assert_eq!(http(&word(text)).is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_control_socket_is_never_open_to_everybody() {
        let table = [
            ("/a", true),
            ("/a 0660", true),
            ("/a 600 wheel", true),
            ("/a 0666", false),
            ("/a 0400", false),
            ("/a 04660", false),
            ("/a 888", false),
            ("/a 0660 a:b", false),
            ("a", false),
        ];
        for (line, expected) in table {
            assert_eq!(control_socket(&words(line)).is_ok(), expected, "{line}");
        }
    }

    #[test]
    fn modules_may_have_levels_of_their_own() {
        let table = [
            ("info", Ok("info")),
            ("debug net::tls=warn listen=trace", Ok("debug net::tls=warn listen=trace")),
            ("listen=debug", Ok("info listen=debug")),
            ("loud", Err("'loud' is not one of error, warn, info, debug, trace")),
            ("listen=", Err("'' is not one of error, warn, info, debug, trace")),
            ("info debug", Err("'debug' is a second level for everything")),
            ("a=info a=warn", Err("'a=warn' is a second level for this module")),
            ("a::=info", Err("'a::=info' names no module, write one such as listen::mdns=debug")),
        ];
        for (line, expected) in table {
            let levels = log_levels(&words(line)).map(|it| emit_log_levels(&it));
            assert_eq!(levels.as_deref().map_err(|it| it.what.as_str()), expected, "{line}");
        }
    }
}
