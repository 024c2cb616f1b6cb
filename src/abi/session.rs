//! One end of a session, and how it is set up.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::client::Client;
use super::host::Host;
use super::status::Status;
use super::structs::{Config, NONE, ROLE_CLIENT, ROLE_HOST};
use crate::proto::gamestream::secret::Secret;
use crate::proto::packet::native::header::shard_len;
use crate::proto::packet::native::packetize::{BLOCK_DATA_MAX, UNIT_LEN_MAX};
use crate::proto::packet::native::reassemble::FRAME_COUNT_MAX;
use crate::proto::packet::native::seal::{Keys, Opened, Opener, Sealer};
use crate::proto::packet::stats::Stats;

/// What UDP carries.
const DATAGRAM_LEN_MAX: usize = 65_507;
const SOUND_SAMPLE_COUNT_MAX: usize = 5760;
const PATIENCE_US_MAX: u32 = 1_000_000;
const WINDOW_LEN_MAX: usize = 1 << 20;
/// So long a packet is waited for, and up to as long again, before it counts as dropped.
const SETTLE_US: u64 = 50_000;

/// One end.
pub(super) enum Session {
    Client(Box<Client>),
    Host(Box<Host>),
}

/// A configuration whose numbers are known to be within their ranges.
pub(super) struct Settings {
    pub send: Keys,
    pub receive: Keys,
    pub datagram_len_max: usize,
    pub shard_len: usize,
    pub unit_len_max: usize,
    pub block_data_max: usize,
    pub parity_percent: u8,
    pub parity_count_min: u8,
    pub frame_count: usize,
    pub patience: Duration,
    pub stall: Duration,
    pub window_len: usize,
    pub sound_sample_count: u16,
    pub sound_patience: Duration,
}

impl Settings {
    fn of(config: &Config) -> Result<Settings, Status> {
        let datagram_len_max = number(config.datagram_len_max, 1452, 0..=DATAGRAM_LEN_MAX)?;
        let block_data_max = number(config.block_data_max, BLOCK_DATA_MAX, 1..=BLOCK_DATA_MAX)?;
        let parity_count_min = number(config.parity_count_min, 1, 1..=block_data_max.min(255))?;
        let sound_sample_count =
            number(config.sound_sample_count, 240, 1..=SOUND_SAMPLE_COUNT_MAX)?;
        let stall_us = number(config.stall_us, 50_000, 1..=PATIENCE_US_MAX as usize)?;
        Ok(Settings {
            send: keys(&config.send),
            receive: keys(&config.receive),
            datagram_len_max,
            shard_len: shard_len(datagram_len_max).ok_or(Status::Value)?,
            unit_len_max: number(config.unit_len_max, 16 << 20, 1..=UNIT_LEN_MAX)?,
            block_data_max,
            parity_percent: parity_percent(config.parity_percent)?,
            parity_count_min: parity_count_min as u8, // 255 at most
            frame_count: number(config.frame_count, 8, 2..=FRAME_COUNT_MAX)?,
            patience: patience(config.patience_us, 5000)?,
            stall: Duration::from_micros(stall_us as u64),
            window_len: number(config.window_len, 16_384, 1..=WINDOW_LEN_MAX)?,
            sound_sample_count: sound_sample_count as u16, // 5760 at most
            sound_patience: patience(config.sound_patience_us, 10_000)?,
        })
    }
}

impl Session {
    /// `epoch` stands for the caller's 0.
    pub(super) fn open(config: &Config, epoch: Instant) -> Result<Session, Status> {
        let settings = Settings::of(config)?;
        match config.role {
            ROLE_CLIENT => Ok(Session::Client(Box::new(Client::new(&settings, epoch)))),
            ROLE_HOST => Ok(Session::Host(Box::new(Host::new(&settings, epoch)))),
            _ => Err(Status::Value),
        }
    }

    pub(super) fn client(&mut self) -> Result<&mut Client, Status> {
        match self {
            Session::Client(client) => Ok(client),
            Session::Host(_) => Err(Status::Role),
        }
    }

    pub(super) fn host(&mut self) -> Result<&mut Host, Status> {
        match self {
            Session::Client(_) => Err(Status::Role),
            Session::Host(host) => Ok(host),
        }
    }

    /// As [`Host::poll_datagrams`]. Clients have nothing to send yet.
    pub(super) fn poll_datagrams(
        &mut self,
        room: &mut [u8],
        now_us: u64,
    ) -> Result<(usize, usize), Status> {
        match self {
            Session::Client(_) => Ok((0, 0)),
            Session::Host(host) => host.poll_datagrams(room, now_us),
        }
    }

    /// Takes what the peer sent, unless it is refused, and overwrites it.
    pub(super) fn handle_datagram(&mut self, datagram: &mut [u8], now_us: u64) -> bool {
        match self {
            Session::Client(client) => client.handle_datagram(datagram, now_us),
            Session::Host(host) => host.handle_datagram(datagram, now_us),
        }
    }

    pub(super) fn next_send_phase(&mut self, keys: &Keys) {
        match self {
            Session::Client(client) => client.next_send_phase(keys),
            Session::Host(host) => host.next_send_phase(keys),
        }
    }

    pub(super) fn next_receive_phase(&mut self, keys: &Keys) -> Result<(), Status> {
        match self {
            Session::Client(client) => client.next_receive_phase(keys),
            Session::Host(host) => host.next_receive_phase(keys),
        }
    }

    /// What the caller counts for it.
    pub(super) fn counted(&mut self) -> &mut Stats {
        match self {
            Session::Client(client) => client.counted(),
            Session::Host(host) => host.counted(),
        }
    }

    pub(super) fn stats(&mut self) -> Stats {
        match self {
            Session::Client(client) => client.stats(),
            Session::Host(host) => host.stats(),
        }
    }
}

/// Opens what one end receives, and counts it.
pub(super) struct Receiver {
    opener: Opener,
    settled_us: u64,
}

impl Receiver {
    pub(super) fn new(settings: &Settings) -> Receiver {
        let opener = Opener::new(&settings.receive, settings.window_len);
        Receiver { opener, settled_us: 0 }
    }

    pub(super) fn open<'a>(
        &mut self,
        datagram: &'a mut [u8],
        stats: &mut Stats,
        now_us: u64,
    ) -> Option<Opened<'a>> {
        let len = datagram.len();
        let opened = self.opener.open(datagram);
        stats.note_opened(&opened, len);
        if now_us >= self.settled_us.saturating_add(SETTLE_US) {
            self.settled_us = now_us;
            self.opener.settle();
        }
        opened.ok()
    }

    pub(super) fn next_phase(&mut self, keys: &Keys) -> Result<(), Status> {
        self.opener.wanted_phase().ok_or(Status::Early)?;
        self.opener.set_next_keys(keys);
        Ok(())
    }

    pub(super) fn fill(&self, stats: &mut Stats, sealer: &Sealer) {
        stats.set_keys(sealer, &self.opener);
        let window = self.opener.window();
        stats.set_loss(&window.loss(), window.missing_count());
    }
}

/// Keys as they are used here.
pub(super) fn keys(keys: &super::structs::Keys) -> Keys {
    Keys { key: Secret::new(keys.key), iv: Secret::new(keys.iv) }
}

fn patience(given_us: u32, usual_us: u32) -> Result<Duration, Status> {
    let us = match given_us {
        0 => usual_us,
        NONE => 0,
        1..=PATIENCE_US_MAX => given_us,
        _ => return Err(Status::Value),
    };
    Ok(Duration::from_micros(us.into()))
}

/// The caller's time. An [`Instant`] has room for more than what 64 bits of microseconds are.
pub(super) fn instant(epoch: Instant, now_us: u64) -> Instant {
    epoch.checked_add(Duration::from_micros(now_us)).unwrap_or(epoch)
}

/// A time as the caller has it.
pub(super) fn since_us(epoch: Instant, at: Instant) -> u64 {
    at.saturating_duration_since(epoch).as_micros().try_into().unwrap_or(u64::MAX)
}

/// A share of parity as callers write it.
pub(super) fn parity_percent(percent: u32) -> Result<u8, Status> {
    match percent {
        0 => Ok(20),
        NONE => Ok(0),
        1..=100 => Ok(percent as u8),
        _ => Err(Status::Value),
    }
}

/// A number of a caller's, or the usual one for 0.
fn number(given: u32, usual: usize, range: RangeInclusive<usize>) -> Result<usize, Status> {
    let number = if given == 0 { usual.min(*range.end()) } else { given as usize };
    if range.contains(&number) { Ok(number) } else { Err(Status::Value) }
}
