//! The command line.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::net::SocketAddr;

use argh::FromArgs;
use punktfunk_core::proto::packet::native::packetize::{
    BLOCK_DATA_FAST, BLOCK_DATA_MAX, UNIT_LEN_MAX,
};
use punktfunk_core::proto::units::Kbps;

/// Rates that can be asked for, in kbit/s.
const RATE_KBPS: std::ops::RangeInclusive<u32> = 100..=100_000_000;

/// Measure the data plane of punktfunk/1: between two processes, of which one receives and one
/// sends, or stage by stage on one core.
#[derive(FromArgs, Debug)]
pub struct Arguments {
    #[argh(subcommand)]
    pub verb: Verb,
}

/// What is done.
#[derive(FromArgs, Debug)]
#[argh(subcommand)]
pub enum Verb {
    Core(Core),
    Receive(Receive),
    Send(Send),
}

/// time each stage of either end on one core, beside a bare loop that sends as many bytes
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "core")]
pub struct Core {
    /// address and port that datagrams are sent to; whoever is there answers nothing
    #[argh(positional)]
    pub to: SocketAddr,

    /// the processor that it runs on, the first, 0, unless told
    #[argh(option, default = "0")]
    pub processor: usize,

    /// bytes of an access unit, 2000000 unless told
    #[argh(option, default = "2_000_000")]
    pub unit: usize,

    /// data shards of a block at most, 256 unless told
    #[argh(option, default = "BLOCK_DATA_FAST")]
    pub block: usize,

    /// parity shards per hundred data shards, 20 unless told
    #[argh(option, default = "20")]
    pub parity: u8,

    /// bytes of a datagram, 1452 unless told
    #[argh(option, default = "1452")]
    pub datagram: usize,

    /// turns, of which the best of each contender counts, 200 unless told
    #[argh(option, default = "200")]
    pub turns: u32,
}

/// receive until the sender says that it was all, and print what came
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "receive")]
pub struct Receive {
    /// address and port to receive at
    #[argh(positional)]
    pub at: SocketAddr,

    /// bytes of the socket's buffer that are asked for, 33554432 unless told
    #[argh(option, default = "32 << 20")]
    pub buffer: usize,

    /// bytes of a datagram, those of the sender, 1452 unless told
    #[argh(option, default = "1452")]
    pub datagram: usize,

    /// stay awake until something comes, but for a millisecond after each access unit: without what
    /// it takes a processor that rests to wake
    #[argh(switch)]
    pub awake: bool,

    /// seconds without anything after which it is over, 10 unless told
    #[argh(option, default = "10")]
    pub patience: u32,
}

/// send access units at a rate, and print what left
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "send")]
pub struct Send {
    /// address and port of the receiver
    #[argh(positional)]
    pub to: SocketAddr,

    /// bits per second of access units, in k, M or G: 200M
    #[argh(option, from_str_fn(parse_rate), arg_name = "rate")]
    pub rate: u32,

    /// access units per second, 60 unless told
    #[argh(option, default = "60")]
    pub fps: u32,

    /// seconds, 2 unless told
    #[argh(option, default = "2")]
    pub seconds: u32,

    /// parity shards per hundred data shards, 20 unless told
    #[argh(option, default = "20")]
    pub parity: u8,

    /// data shards of a block at most, 256 unless told
    #[argh(option, default = "BLOCK_DATA_FAST")]
    pub block: usize,

    /// bytes of a datagram, 1452 unless told
    #[argh(option, default = "1452")]
    pub datagram: usize,

    /// how much of the time between two access units one may take, in percent, 50 unless told; 0
    /// sends each at once
    #[argh(option, default = "50")]
    pub spread: u8,

    /// bytes of the socket's buffer that are asked for, 33554432 unless told
    #[argh(option, default = "32 << 20")]
    pub buffer: usize,
}

/// What the command line asks for instead of a run.
#[derive(Debug)]
pub struct EarlyExit {
    /// Text to show.
    pub output: String,
    /// Whether it was asked for; else the command line is wrong.
    pub is_help: bool,
}

impl Arguments {
    /// Reads the words behind the program's name.
    pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, EarlyExit> {
        let wrong = |output: String| EarlyExit { output, is_help: false };
        let words = words
            .map(|word| word.into_string().map_err(|word| format!("{word:?} is not text")))
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let arguments = Arguments::from_args(&["punktfunk-bench"], &words).map_err(|exit| {
            EarlyExit { output: exit.output.trim_end().to_owned(), is_help: exit.status.is_ok() }
        })?;
        let complaint = match &arguments.verb {
            Verb::Core(core) => complaint_of_datagram(core.datagram)
                .or_else(|| complaint_of_block(core.block))
                .or_else(|| complaint_of_core(core)),
            Verb::Receive(receive) => complaint_of_datagram(receive.datagram),
            Verb::Send(send) => complaint_of_datagram(send.datagram)
                .or_else(|| complaint_of_block(send.block))
                .or_else(|| complaint(send)),
        };
        match complaint {
            None => Ok(arguments),
            Some(complaint) => Err(wrong(complaint.to_owned())),
        }
    }
}

fn complaint_of_datagram(len: usize) -> Option<&'static str> {
    (!(108..=65_000).contains(&len)).then_some("a datagram has from 108 to 65000 bytes")
}

fn complaint_of_block(len: usize) -> Option<&'static str> {
    (!(1..=BLOCK_DATA_MAX).contains(&len)).then_some("a block has from 1 to 1000 data shards")
}

fn complaint_of_core(core: &Core) -> Option<&'static str> {
    match core {
        _ if core.parity > 100 => Some("parity is 100 percent at most"),
        _ if core.unit > UNIT_LEN_MAX => Some("an access unit has 64 MiB at most"),
        _ if core.turns == 0 => Some("there is one turn at least"),
        _ => None,
    }
}

fn complaint(send: &Send) -> Option<&'static str> {
    match send {
        _ if send.parity > 100 => Some("parity is 100 percent at most"),
        _ if send.spread > 100 => Some("an access unit is spread over 100 percent at most"),
        _ if !(1..=1000).contains(&send.fps) => {
            Some("there are from 1 to 1000 access units a second")
        }
        _ if !(1..=3600).contains(&send.seconds) => Some("it takes from 1 to 3600 seconds"),
        _ if send.unit_len() > UNIT_LEN_MAX => Some("an access unit has 64 MiB at most"),
        _ => None,
    }
}

impl Send {
    /// Bytes of an access unit.
    pub fn unit_len(&self) -> usize {
        (u64::from(self.rate) * 125 / u64::from(self.fps)) as usize
    }
}

/// A rate as punktfunk.conf(5) writes it, in kbit/s.
fn parse_rate(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a rate from 100k to 100G bits per second, such as 20M");
    Kbps::parse(text).map(|rate| rate.0).filter(|kbps| RATE_KBPS.contains(kbps)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, EarlyExit> {
        Arguments::parse(words.iter().map(Into::into))
    }

    #[test]
    fn what_is_left_out_has_a_default_and_what_is_wrong_is_told() {
        let Verb::Send(send) = parse(&["send", "127.0.0.1:9", "--rate", "1G"]).unwrap().verb else {
            panic!("it sends")
        };
        assert_eq!((send.rate, send.fps, send.parity), (1_000_000, 60, 20));

        for words in [
            &["send", "127.0.0.1:9"][..],
            &["send", "127.0.0.1", "--rate", "1G"],
            &["send", "127.0.0.1:9", "--rate", "1"],
            &["send", "127.0.0.1:9", "--rate", "200G"],
            &["send", "127.0.0.1:9", "--rate", "1G", "--parity", "101"],
            &["send", "127.0.0.1:9", "--rate", "1G", "--fps", "0"],
            &["send", "127.0.0.1:9", "--rate", "1G", "--block", "0"],
            &["send", "127.0.0.1:9", "--rate", "1G", "--seconds", "4294967295"],
            &["send", "127.0.0.1:9", "--rate", "100G", "--fps", "1"],
            &["receive", "127.0.0.1:9", "--datagram", "100"],
            &["core", "127.0.0.1:9", "--parity", "101"],
            &["core", "127.0.0.1:9", "--block", "1001"],
            &["core", "127.0.0.1:9", "--unit", "67108865"],
            &["core", "127.0.0.1:9", "--turns", "0"],
            &["fly"],
            &[],
        ] {
            assert!(!parse(words).unwrap_err().is_help, "{words:?}");
        }
        assert!(parse(&["send", "--help"]).unwrap_err().is_help);
    }
}
