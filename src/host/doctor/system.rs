//! What the kernel allows: buffers, priority, time.

#![forbid(unsafe_code)]

use std::fs;

use punktfunk_core::net::clock;
use punktfunk_core::proto::calendar::DateTime;

use super::{Finding, Running, Subject};
use crate::capability;
use crate::code::Code;
use crate::conf::{GameStream, Priority};

/// The first second of 2024. No clock that is right shows less.
const CLOCK_S_MIN: u64 = 1_704_067_200;
/// The first second of 2100. Certificates end before.
const CLOCK_S_MAX: u64 = 4_102_444_800;

/// Whether sockets may hold as much as the configuration says.
pub(super) fn check_buffers(subject: &Subject) -> Vec<Finding> {
    if subject.conf.gamestream == GameStream::Off {
        return Vec::new();
    }
    let limit = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let limits = limit("rmem_max").zip(limit("wmem_max"));
    vec![judge_buffers(limits, subject.conf.socket_buffer_len as u64)]
}

/// `limits` are those of receiving and of sending.
fn judge_buffers(limits: Option<(u64, u64)>, wanted: u64) -> Finding {
    let code = Code::Buffers;
    let Some((receive, send)) = limits else {
        return Finding::note(code, "not known: the kernel does not show its limits here");
    };
    let granted = receive.min(send);
    if granted >= wanted {
        return Finding::well(code, format_args!("{wanted} bytes"));
    }
    let lacking = [("rmem_max", receive), ("wmem_max", send)];
    let lacking = lacking.iter().filter(|(_, limit)| *limit < wanted);
    let words: Vec<String> = lacking.map(|(name, _)| format!("net.core.{name}={wanted}")).collect();
    Finding::note(code, format_args!("{granted} of {wanted} bytes"))
        .remedy(format_args!("sysctl -w {}", words.join(" ")))
}

/// Whether threads of sessions may come before others.
pub(super) fn check_real_time(subject: &Subject, _: &Running) -> Vec<Finding> {
    let code = Code::RealTime;
    if subject.conf.priority == Priority::Off {
        return vec![Finding::well(code, "as any other program, as Priority says")];
    }
    let limit = capability::soft_limit("Max realtime priority");
    vec![judge_real_time(limit.as_deref())]
}

fn judge_real_time(limit: Option<&str>) -> Finding {
    let code = Code::RealTime;
    let wanted = u64::from(crate::pipeline::PRIORITY);
    let is_enough = match limit {
        Some("unlimited") => Some(true),
        Some(number) => number.parse::<u64>().ok().map(|limit| limit >= wanted),
        None => None,
    };
    match is_enough {
        Some(true) => Finding::well(code, "threads of sessions run in real time"),
        Some(false) => {
            Finding::note(code, "threads of sessions do not run in real time").remedy(format_args!(
                "LimitRTPRIO={wanted} in the unit, or rtprio {wanted} in /etc/security/limits.d"
            ))
        }
        None => Finding::note(code, "not known: the kernel does not show the limit here"),
    }
}

/// Whether the time can be, and is that of others.
pub(super) fn check_clock(_: &Subject) -> Vec<Finding> {
    vec![judge_clock(clock::unix_s()), judge_sync(clock::is_synchronised().ok())]
}

/// Whether a time is one that can be; for the log.
pub fn clock_fault(unix_s: u64) -> Option<String> {
    let finding = judge_clock(unix_s);
    finding.remedy.map(|remedy| format!("{}: {remedy}", finding.what))
}

fn judge_clock(unix_s: u64) -> Finding {
    let code = Code::Clock;
    let DateTime { year, month, day, hour, minute, .. } = DateTime::of(unix_s);
    let shown = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC");
    if (CLOCK_S_MIN..CLOCK_S_MAX).contains(&unix_s) {
        return Finding::well(code, shown);
    }
    let what = format_args!("{shown} cannot be, and certificates have dates");
    Finding::broken(code, what).remedy("timedatectl set-ntp true, or date --set")
}

fn judge_sync(is_synchronised: Option<bool>) -> Finding {
    let code = Code::TimeSync;
    match is_synchronised {
        Some(true) => Finding::well(code, "kept together with that of others"),
        Some(false) => Finding::note(code, "nobody keeps it together with that of others")
            .remedy("timedatectl set-ntp true, where this machine has its own clock"),
        None => Finding::note(code, "not known: the kernel does not tell here who keeps it"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn buffers_that_are_too_small_have_the_line_that_helps() {
        let table = [
            (Some((100, 100)), State::Well, None),
            (Some((99, 200)), State::Note, Some("sysctl -w net.core.rmem_max=100")),
            (
                Some((9, 8)),
                State::Note,
                Some("sysctl -w net.core.rmem_max=100 net.core.wmem_max=100"),
            ),
            (None, State::Note, None),
        ];
        for (limits, state, remedy) in table {
            let finding = judge_buffers(limits, 100);

            assert_eq!((finding.state, finding.remedy.as_deref()), (state, remedy), "{limits:?}");
        }
        assert_eq!(judge_buffers(Some((9, 8)), 100).what, "8 of 100 bytes");
    }

    #[test]
    fn a_time_that_cannot_be_is_broken() {
        for (unix_s, state) in [
            (0, State::Broken),
            (CLOCK_S_MIN - 1, State::Broken),
            (CLOCK_S_MIN, State::Well),
            (CLOCK_S_MAX, State::Broken),
        ] {
            assert_eq!(judge_clock(unix_s).state, state, "{unix_s}");
            assert_eq!(clock_fault(unix_s).is_some(), state == State::Broken, "{unix_s}");
        }
        assert_eq!(judge_clock(CLOCK_S_MIN).what, "2024-01-01 00:00 UTC");
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_a_note() {
        let wanted = crate::pipeline::PRIORITY.to_string();
        for (limit, state) in [
            (Some("unlimited"), State::Well),
            (Some(wanted.as_str()), State::Well),
            (Some("0"), State::Note),
            (Some("x"), State::Note),
            (None, State::Note),
        ] {
            assert_eq!(judge_real_time(limit).state, state, "{limit:?}");
        }
        assert_eq!(judge_sync(None).state, State::Note);
    }
}
