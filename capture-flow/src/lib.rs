//! The connection tracker: packets in, events out.
//!
//! [`segment`] takes out of a packet what matters; [`connections`] finds the connection; [`connection`] decides what
//! happened, with what [`end`] knows of each side; [`event`] is what comes out, as data. Time is what the packets say.
//! docs/explain.md has the rules, and `capture-text` the comments, which its tests hold the tracker to.
//!
//! The crate is `no_std`, so that it has no I/O and no clock.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod connection;
mod connections;
mod end;
mod event;
mod segment;

use capture_packet::{Packet, Timestamp};

pub use self::event::{Endpoint, Event, EventKind, Forgotten, Side, Tries};
use self::{connection::Observer, connections::Connections, segment::Segment};

/// How many connections are remembered at most, unless something else is asked for. They take about 20 MiB then.
pub const CONNECTION_LIMIT: usize = 1 << 16;

/// Follows the connections of the packets it is given.
#[derive(Debug)]
pub struct Tracker {
    connections: Connections,
    /// The next place in the table that is looked at for a SYN without an answer.
    next_silence_check: usize,
    /// When the last segment was seen.
    last: Timestamp,
}

impl Tracker {
    /// A tracker that knows no connection yet, and remembers at most `connection_limit` of them.
    pub fn new(connection_limit: usize) -> Self {
        Self {
            connections: Connections::new(connection_limit),
            next_silence_check: 0,
            last: Timestamp::default(),
        }
    }

    /// Hands what happens with `packet` to `each`. Most packets are no event.
    #[inline]
    pub fn track(&mut self, packet: &Packet<'_>, mut each: impl FnMut(&Event)) {
        self.track_with(packet, &mut each);
    }

    /// Compiled once, and not for each caller: events are rare.
    fn track_with(&mut self, packet: &Packet<'_>, each: &mut dyn FnMut(&Event)) {
        let Some(segment) = Segment::parse(packet) else { return };
        self.last = packet.time;
        let mut observer = Observer { each, time: packet.time, has_packet: false };
        self.look_for_silence(segment.time, &mut observer);
        observer.has_packet = true;
        self.connections.track(&segment, &mut observer);
    }

    /// Hands what is left at the end of the capture to `each`.
    pub fn finish(&mut self, mut each: impl FnMut(&Event)) {
        let mut observer = Observer { each: &mut each, time: self.last, has_packet: false };
        for connection in self.connections.iter_mut() {
            connection.finish(&mut observer);
        }
    }

    /// The connections that had to make room for others before they ended, if there were any. From the first on, an
    /// event can be missing that says that a connection was not seen before.
    pub fn forgotten(&self) -> Option<Forgotten> {
        let (connections, limit) = (self.connections.forgotten(), self.connections.limit());
        (connections > 0).then_some(Forgotten { connections, limit })
    }

    /// Looks at one connection with each packet, so that no timer is needed: the event of an unanswered SYN comes with
    /// a later packet of any connection, at the latest after as many packets as there are connections.
    #[inline]
    fn look_for_silence(&mut self, now: i64, observer: &mut Observer<'_>) {
        let next = self.next_silence_check + 1;
        self.next_silence_check = if next < self.connections.len() { next } else { 0 };
        if let Some(connection) = self.connections.at(self.next_silence_check) {
            connection.wait(now, observer);
        }
    }
}
