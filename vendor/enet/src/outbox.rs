//! All that is sent to one peer: what waits to be sent, what waits to be acknowledged, and the
//! acknowledgements that are owed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtt::Rtt;
use crate::wire::{
    Body, CHANNEL_NONE, COMMAND_COUNT_MAX, Command, FRAGMENT_LEN, Fragment, HEADER_LEN_MAX,
};
use crate::{Config, SendError};

/// Commands queued for one peer, those included that wait to be acknowledged.
const COMMAND_COUNT: usize = 4096;
/// Commands of one peer that wait to be acknowledged.
const FLIGHT_COUNT_MAX: usize = 512;
/// Reliable numbers of a channel between the first that waits to be acknowledged and the last.
const SPAN_MAX: u16 = 512;
/// Acknowledgements owed to one peer: those of some datagrams.
const ACKNOWLEDGEMENT_COUNT_MAX: usize = 8 * COMMAND_COUNT_MAX;
/// By which the wait for an acknowledgement grows at most, attempt by attempt.
const BACK_OFF_MAX: u32 = 4;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It arrives, once and after all reliable ones that were sent before it on its channel.
    Reliable,
    /// It may get lost, but never arrives later than one that was sent after it on its channel.
    Unreliable,
    /// It may get lost, and arrives whenever it does. It fits one datagram.
    Unsequenced,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    mtu: usize,
    /// Bytes of messages under way that the peer takes.
    window: usize,
    len_max: usize,
    message_len_max: usize,
    /// Of the last command of the connection itself.
    sequence: u16,
    /// Of the last unsequenced message.
    group: u16,
    channels: Vec<Numbers>,
    queue: VecDeque<Outgoing>,
    /// In the order of their first departure.
    flights: VecDeque<Flight>,
    acknowledgements: VecDeque<Acknowledgement>,
    /// Bytes of messages in `queue` and `flights`.
    len: usize,
    /// Bytes of messages in `flights`.
    flight_len: usize,
}

/// The last numbers given on a channel.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    reliable: u16,
    unreliable: u16,
}

/// A command that owns its data.
#[derive(Debug)]
struct Outgoing {
    acknowledge: bool,
    unsequenced: bool,
    channel: u8,
    sequence: u16,
    body: Body,
    data: Vec<u8>,
}

/// A command that is to be acknowledged.
#[derive(Debug)]
struct Flight {
    command: Outgoing,
    sent_at: Instant,
    /// Until it is sent again.
    wait: Duration,
    attempts: u32,
    /// It is to be sent again now.
    is_due: bool,
}

#[derive(Clone, Copy, Debug)]
struct Acknowledgement {
    channel: u8,
    sequence: u16,
    sent_time: u16,
}

impl Outbox {
    pub(crate) fn new(channel_count: u8, config: &Config) -> Outbox {
        Outbox {
            mtu: config.mtu.into(),
            window: config.mtu.into(),
            len_max: config.queue_len_max,
            message_len_max: config.message_len_max,
            sequence: 0,
            group: 0,
            channels: vec![Numbers::default(); channel_count.into()],
            queue: VecDeque::new(),
            flights: VecDeque::new(),
            acknowledgements: VecDeque::new(),
            len: 0,
            flight_len: 0,
        }
    }

    /// Sets what both ends agreed on.
    pub(crate) fn set_limits(&mut self, channel_count: u8, mtu: u16, window: u32) {
        self.channels.truncate(channel_count.into());
        self.mtu = mtu.into();
        self.window = window as usize;
    }

    /// Queues a message.
    pub(crate) fn send(
        &mut self,
        channel: u8,
        data: &[u8],
        delivery: Delivery,
    ) -> Result<(), SendError> {
        let numbers = self.channels.get_mut(usize::from(channel)).ok_or(SendError::NoChannel)?;
        let piece_len = self.mtu - HEADER_LEN_MAX - FRAGMENT_LEN;
        let count = data.len().div_ceil(piece_len).max(1);
        let is_long = count > 1;
        if data.len() > self.message_len_max
            || count > usize::from(SPAN_MAX)
            || is_long && delivery == Delivery::Unsequenced
        {
            return Err(SendError::TooLong);
        }
        if data.len() > self.len_max - self.len
            || self.queue.len() + self.flights.len() + count > COMMAND_COUNT
        {
            return Err(SendError::QueueFull);
        }
        // Unreliable numbers begin anew with a reliable message and never wrap.
        let is_reliable = delivery == Delivery::Reliable
            || delivery == Delivery::Unreliable && numbers.unreliable == u16::MAX;
        let start = match delivery {
            Delivery::Unsequenced => {
                self.group = self.group.wrapping_add(1);
                self.group
            }
            _ if is_reliable => {
                numbers.unreliable = 0;
                numbers.reliable.wrapping_add(1)
            }
            _ => {
                numbers.unreliable += 1;
                numbers.unreliable
            }
        };
        for number in 0..count {
            if is_reliable {
                numbers.reliable = numbers.reliable.wrapping_add(1);
            }
            let offset = number * piece_len;
            let data = &data[offset..data.len().min(offset + piece_len)];
            let fragment = Fragment {
                start,
                count: count as u32,
                number: number as u32,
                total_len: 0,
                offset: offset as u32,
            };
            let body = match delivery {
                Delivery::Unsequenced => Body::Unsequenced { group: start },
                _ if is_reliable && is_long => Body::Fragment(fragment),
                _ if is_reliable => Body::Reliable,
                _ if is_long => Body::UnreliableFragment(fragment),
                _ => Body::Unreliable { number: start },
            };
            let is_unsequenced = delivery == Delivery::Unsequenced;
            self.queue.push_back(Outgoing {
                acknowledge: is_reliable,
                unsequenced: is_unsequenced,
                channel,
                sequence: if is_unsequenced { 0 } else { numbers.reliable },
                body,
                data: data.to_vec(),
            });
        }
        // Every fragment says how long the message is.
        for command in self.queue.iter_mut().rev().take(count) {
            if let Body::Fragment(it) | Body::UnreliableFragment(it) = &mut command.body {
                it.total_len = data.len() as u32;
            }
        }
        self.len += data.len();
        Ok(())
    }

    /// Queues a command of the connection itself, ahead of messages. It is to be acknowledged.
    pub(crate) fn command(&mut self, body: Body) {
        self.sequence = self.sequence.wrapping_add(1);
        let command = Outgoing {
            acknowledge: true,
            unsequenced: false,
            channel: CHANNEL_NONE,
            sequence: self.sequence,
            body,
            data: Vec::new(),
        };
        self.queue.push_front(command);
    }

    /// Owes an acknowledgement; one too many is forgotten, and the command will come again.
    pub(crate) fn acknowledge(&mut self, channel: u8, sequence: u16, sent_time: u16) {
        if self.acknowledgements.len() < ACKNOWLEDGEMENT_COUNT_MAX {
            self.acknowledgements.push_back(Acknowledgement { channel, sequence, sent_time });
        }
    }

    /// The peer has a command: what it was, unless it was known before.
    pub(crate) fn handle_acknowledgement(&mut self, channel: u8, sequence: u16) -> Option<Body> {
        let index = self.flights.iter().position(|flight| {
            (flight.command.channel, flight.command.sequence) == (channel, sequence)
        })?;
        let command = self.flights.remove(index)?.command;
        self.len -= command.data.len();
        self.flight_len -= command.data.len();
        Some(command.body)
    }

    /// Forgets everything but the acknowledgements that are owed.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
        self.flights.clear();
        self.len = 0;
        self.flight_len = 0;
    }

    /// Forgets the acknowledgements that are owed.
    pub(crate) fn clear_acknowledgements(&mut self) {
        self.acknowledgements.clear();
    }

    /// Has what was not acknowledged in time sent again.
    pub(crate) fn handle_timeout(&mut self, now: Instant, rtt: &Rtt, timeout: Duration) {
        for flight in &mut self.flights {
            if !flight.is_due && now >= flight.sent_at + flight.wait {
                flight.is_due = true;
                let attempts = flight.attempts.clamp(1, BACK_OFF_MAX);
                flight.wait = rtt.wait_again(attempts, timeout);
            }
        }
    }

    /// When something is to be sent again, if that is known.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.flights.iter().filter(|flight| !flight.is_due);
        waiting.map(|flight| flight.sent_at + flight.wait).min()
    }

    /// Appends as many commands as a datagram holds. `true` if any is to be acknowledged.
    pub(crate) fn poll(&mut self, now: Instant, wait: Duration, out: &mut Vec<u8>) -> bool {
        let mut datagram = Datagram { room: self.mtu - HEADER_LEN_MAX, count: 0, out };
        while let Some(acknowledgement) = self.acknowledgements.front() {
            if !datagram.add(acknowledgement.command()) {
                return false;
            }
            self.acknowledgements.pop_front();
        }
        let mut wants_time = false;
        for flight in self.flights.iter_mut().filter(|flight| flight.is_due) {
            if !datagram.add(flight.command.command()) {
                return wants_time;
            }
            flight.is_due = false;
            flight.sent_at = now;
            flight.attempts += 1;
            wants_time = true;
        }
        self.poll_queue(now, wait, &mut datagram) || wants_time
    }

    /// Sends in turn. Where the window keeps a reliable message, only unreliable ones pass it.
    fn poll_queue(&mut self, now: Instant, wait: Duration, datagram: &mut Datagram<'_>) -> bool {
        let mut wants_time = false;
        let mut is_blocked = false;
        let mut index = 0;
        while let Some(command) = self.queue.get(index) {
            is_blocked |= command.acknowledge && !self.may_depart(command);
            if command.acknowledge && is_blocked {
                index += 1;
                continue;
            }
            if !datagram.add(command.command()) {
                break;
            }
            let command = self.queue.remove(index).expect("index is of the queue");
            if !command.acknowledge {
                self.len -= command.data.len();
                continue;
            }
            wants_time = true;
            self.flight_len += command.data.len();
            let flight = Flight { command, sent_at: now, wait, attempts: 1, is_due: false };
            self.flights.push_back(flight);
        }
        wants_time
    }

    fn may_depart(&self, command: &Outgoing) -> bool {
        if command.channel == CHANNEL_NONE {
            return true;
        }
        let mut flights = self.flights.iter().map(|flight| &flight.command);
        let first = flights.find(|other| other.channel == command.channel);
        let span = first.map_or(0, |other| command.sequence.wrapping_sub(other.sequence));
        span < SPAN_MAX
            && self.flights.len() < FLIGHT_COUNT_MAX
            && self.flight_len + command.data.len() <= self.window.max(self.mtu)
    }

    /// Whether something waits to be acknowledged.
    pub(crate) fn has_flights(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Whether nothing is queued and nothing waits to be acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.flights.is_empty()
    }

    /// Commands that are queued or wait to be acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.queue.len() + self.flights.len()
    }
}

impl Outgoing {
    fn command(&self) -> Command<'_> {
        Command {
            acknowledge: self.acknowledge,
            unsequenced: self.unsequenced,
            channel: self.channel,
            sequence: self.sequence,
            body: self.body,
            data: &self.data,
        }
    }
}

impl Acknowledgement {
    fn command(&self) -> Command<'static> {
        Command {
            acknowledge: false,
            unsequenced: false,
            channel: self.channel,
            sequence: self.sequence,
            body: Body::Acknowledge { sequence: self.sequence, sent_time: self.sent_time },
            data: &[],
        }
    }
}

/// One that is being filled.
struct Datagram<'a> {
    room: usize,
    count: usize,
    out: &'a mut Vec<u8>,
}

impl Datagram<'_> {
    /// `false` if the command does not fit.
    fn add(&mut self, command: Command<'_>) -> bool {
        let len = command.wire_len();
        let fits = len <= self.room && self.count < COMMAND_COUNT_MAX;
        if fits {
            command.emit(self.out);
            self.room -= len;
            self.count += 1;
        }
        fits
    }
}
