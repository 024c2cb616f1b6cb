//! All that is received of one peer: its channels, and the room they share.

use crate::channel::{Channel, Verdict};
use crate::wire::{Body, Command};
use crate::{Config, Error};

/// Reliable messages of one peer that wait for an earlier one or for fragments.
const WAITING_COUNT_MAX: usize = 512;
/// Unreliable messages of one peer that wait for a reliable one or for fragments.
const LOOSE_COUNT_MAX: usize = 64;
/// Unsequenced messages among which a duplicate is known.
const GROUP_COUNT: u32 = 1024;
/// Groups ahead that are taken.
const GROUP_AHEAD_MAX: u32 = 32 * GROUP_COUNT;

#[derive(Debug)]
pub(crate) struct Inbox {
    channels: Vec<Channel>,
    groups: Groups,
    room: Room,
}

/// What a peer's messages may take while they wait.
#[derive(Debug)]
pub(crate) struct Room {
    message_len_max: usize,
    len_max: usize,
    len: usize,
    waiting_count: usize,
    loose_count: usize,
}

/// Which unsequenced messages have come: a run of groups, a bit each.
#[derive(Debug)]
struct Groups {
    base: u32,
    seen: [u64; GROUP_COUNT as usize / 64],
}

impl Inbox {
    pub(crate) fn new(channel_count: u8, config: &Config) -> Inbox {
        let mut inbox = Inbox {
            channels: Vec::new(),
            groups: Groups { base: 0, seen: [0; GROUP_COUNT as usize / 64] },
            room: Room::new(config),
        };
        inbox.channels.resize_with(channel_count.into(), Channel::default);
        inbox
    }

    /// The other end has fewer channels.
    pub(crate) fn limit_channels(&mut self, count: u8) {
        self.channels.truncate(count.into());
    }

    /// Forgets everything and takes nothing any more.
    pub(crate) fn close(&mut self) {
        self.channels = Vec::new();
        (self.room.len, self.room.waiting_count, self.room.loose_count) = (0, 0, 0);
    }

    pub(crate) fn channel_count(&self) -> u8 {
        self.channels.len() as u8
    }

    /// Bytes of messages that wait.
    pub(crate) fn held_len(&self) -> usize {
        self.room.len
    }

    /// Takes a part of a message and appends the messages whose turn has come. `false` if it was not
    /// kept and should be sent again.
    pub(crate) fn handle(
        &mut self,
        command: &Command<'_>,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<bool, Error> {
        let mut verdict = self.offer(command, out)?;
        if verdict == Verdict::Full {
            // Unreliable messages are the first to go.
            for channel in &mut self.channels {
                channel.drop_loose(&mut self.room);
            }
            verdict = self.offer(command, out)?;
        }
        Ok(verdict == Verdict::Taken)
    }

    fn offer(&mut self, command: &Command<'_>, out: &mut Vec<Vec<u8>>) -> Result<Verdict, Error> {
        let Command { sequence, data, .. } = *command;
        let room = &mut self.room;
        if data.len() > room.message_len_max {
            return Err(Error::Malformed);
        }
        let channel =
            self.channels.get_mut(usize::from(command.channel)).ok_or(Error::Unexpected)?;
        match &command.body {
            Body::Fragment(it) => channel.handle_fragment(sequence, it, data, room, out),
            Body::Reliable => Ok(channel.handle_reliable(sequence, data, room, out)),
            Body::Unreliable { number } => {
                Ok(channel.handle_unreliable(sequence, *number, data, room, out))
            }
            Body::UnreliableFragment(it) => {
                channel.handle_unreliable_fragment(sequence, it, data, room, out)
            }
            Body::Unsequenced { group } => {
                if self.groups.is_new(*group) {
                    out.push(data.to_vec());
                }
                Ok(Verdict::Taken)
            }
            _ => Err(Error::Unexpected),
        }
    }
}

impl Room {
    pub(crate) fn new(config: &Config) -> Room {
        Room {
            message_len_max: config.message_len_max,
            len_max: config.held_len_max,
            len: 0,
            waiting_count: 0,
            loose_count: 0,
        }
    }

    pub(crate) fn message_len_max(&self) -> usize {
        self.message_len_max
    }

    /// For a reliable message of so many bytes; `false` if there is none.
    pub(crate) fn take_waiting(&mut self, len: usize) -> bool {
        let is_there = self.waiting_count < WAITING_COUNT_MAX && self.has(len);
        if is_there {
            self.waiting_count += 1;
            self.len += len;
        }
        is_there
    }

    pub(crate) fn give_waiting(&mut self, len: usize) {
        self.waiting_count -= 1;
        self.len -= len;
    }

    /// As [`Room::take_waiting`], for an unreliable one.
    pub(crate) fn take_loose(&mut self, len: usize) -> bool {
        let is_there = self.loose_count < LOOSE_COUNT_MAX && self.has(len);
        if is_there {
            self.loose_count += 1;
            self.len += len;
        }
        is_there
    }

    pub(crate) fn give_loose(&mut self, len: usize) {
        self.loose_count -= 1;
        self.len -= len;
    }

    fn has(&self, len: usize) -> bool {
        len <= self.len_max.saturating_sub(self.len)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        (self.len, self.waiting_count, self.loose_count) == (0, 0, 0)
    }
}

impl Groups {
    /// Whether this group has not come before, as far as is known. It has from now on.
    fn is_new(&mut self, group: u16) -> bool {
        let group = u32::from(group);
        let unwrapped = if group < self.base { group + 0x1_0000 } else { group };
        if unwrapped >= self.base + GROUP_AHEAD_MAX {
            return false;
        }
        let index = group % GROUP_COUNT;
        if group - index != self.base {
            self.base = group - index;
            self.seen.fill(0);
        }
        let word = &mut self.seen[(index / 64) as usize];
        let bit = 1 << (index % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Fragment;

    fn command(channel: u8, sequence: u16, body: Body, data: &[u8]) -> Command<'_> {
        Command { acknowledge: true, unsequenced: false, channel, sequence, body, data }
    }

    #[test]
    fn duplicates_of_unsequenced_messages_are_known() {
        let cases = [
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (1023, true),
            (1025, true), // another run
            (1025, false),
            (1024, true),
            (3, false), // behind: taken for far ahead
            (33_791, true),
            (33_791, false),
            (33_000, true),
            (100, false), // just too far ahead
            (34_000, true),
            (100, true), // wrapped
            (100, false),
            (0x9000, false),
        ];
        let mut groups = Inbox::new(1, &Config::default()).groups;
        for (index, (group, expected)) in cases.into_iter().enumerate() {
            assert_eq!(groups.is_new(group), expected, "case {index}: {group}");
        }
    }

    #[test]
    fn channels_have_an_order_each() {
        let mut inbox = Inbox::new(3, &Config::default());
        let mut out = Vec::new();

        for (channel, sequence) in [(0, 2), (1, 1), (2, 2), (0, 1)] {
            let text = [b'0' + channel, b'0' + sequence as u8];
            let command = command(channel, sequence, Body::Reliable, &text);
            assert_eq!(inbox.handle(&command, &mut out), Ok(true));
        }

        assert_eq!(out, [b"11", b"01", b"02"]);
        assert_eq!(inbox.held_len(), 2);
        let outside = command(3, 1, Body::Reliable, b"");
        assert_eq!(inbox.handle(&outside, &mut out), Err(Error::Unexpected));
    }

    #[test]
    fn unreliable_messages_make_room_for_reliable_ones_and_for_each_other() {
        let config = Config { held_len_max: 100, ..Config::default() };
        let mut inbox = Inbox::new(2, &config);
        let mut out = Vec::new();
        let loose = command(0, 9, Body::Unreliable { number: 1 }, &[0; 60]);
        assert_eq!(inbox.handle(&loose, &mut out), Ok(true));
        let parts = Fragment { start: 1, count: 2, number: 0, total_len: 60, offset: 0 };
        let parts = command(1, 0, Body::UnreliableFragment(parts), b"");

        assert_eq!(inbox.handle(&parts, &mut out), Ok(true));
        assert_eq!(inbox.held_len(), 68);
        assert_eq!(inbox.handle(&command(0, 2, Body::Reliable, &[0; 90]), &mut out), Ok(true));
        assert_eq!(inbox.held_len(), 90);

        assert_eq!(inbox.handle(&command(1, 2, Body::Reliable, &[0; 11]), &mut out), Ok(false));
        assert_eq!(inbox.handle(&command(1, 1, Body::Reliable, &[0; 99]), &mut out), Ok(true));
        assert_eq!((inbox.held_len(), out.len()), (90, 1));
    }
}
