//! `--explain`: comments between the lines of packets, which tell the story of their connections.
//!
//! A packet in, comment lines out: no I/O, no clock (time is what the packets say), no `unsafe`. `segment` takes out
//! of a packet what matters; `connections` finds the connection; `connection` decides what happened, with what `end`
//! knows of each side; `comment` has the words. docs/explain.md lists them all, and the rules.

mod comment;
mod connection;
mod connections;
mod end;
#[cfg(test)]
mod property;
mod segment;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod testing;

use bytes::BytesMut;
use capture_packet::Packet;

use self::{comment::Story, connections::Connections, segment::Segment};

/// How many connections are remembered at most. They take about 20 MiB then.
pub const CONNECTION_LIMIT: usize = 1 << 16;

/// Tells what happens in the connections of the packets it is shown.
#[derive(Debug)]
pub struct Explainer {
    connections: Connections,
    /// The next place in the table that is looked at for a SYN without an answer.
    next_silence_check: usize,
}

impl Explainer {
    /// One that knows no connection yet, and remembers at most `connection_limit` of them.
    pub fn new(connection_limit: usize) -> Self {
        Self { connections: Connections::new(connection_limit), next_silence_check: 0 }
    }

    /// Appends the comments on `packet` to `out`, each a line that begins with `// `. They belong before the packet's
    /// own text. Most packets have none.
    #[inline]
    pub fn explain(&mut self, packet: &Packet<'_>, out: &mut BytesMut) {
        let Some(segment) = Segment::parse(packet) else { return };
        self.look_for_silence(segment.time, out);
        self.connections.explain(&segment, &mut Story::of(&segment, out));
    }

    /// Appends what is left to tell at the end of the capture.
    pub fn finish(&mut self, out: &mut BytesMut) {
        for connection in self.connections.iter_mut() {
            let (client, server) = (connection.client, connection.server);
            connection.finish(&mut Story::between(client, server, out));
        }
        if self.connections.forgotten() > 0 {
            comment::tell_forgotten(self.connections.forgotten(), self.connections.limit(), out);
        }
    }

    /// Looks at one connection with each packet, so that no timer is needed: the comment on an unanswered SYN comes
    /// with a later packet of any connection, at the latest after as many packets as there are connections.
    #[inline]
    fn look_for_silence(&mut self, now: i64, out: &mut BytesMut) {
        let next = self.next_silence_check + 1;
        self.next_silence_check = if next < self.connections.len() { next } else { 0 };
        if let Some(connection) = self.connections.at(self.next_silence_check) {
            let (client, server) = (connection.client, connection.server);
            connection.wait(now, &mut Story::between(client, server, out));
        }
    }
}
