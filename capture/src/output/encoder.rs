//! What an output makes of packets.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use capture_flow::{Event, Forgotten};
use capture_packet::Packet;

use super::statistics::Statistics;

/// Appends packets to a block. It runs on the engine's thread: it does not wait, and for a packet it does not allocate,
/// but for the block itself.
pub trait Encoder: Debug {
    /// What each stream or file begins with.
    fn header(&self) -> Bytes {
        Bytes::new()
    }

    /// Appends one packet. False if it cannot be in this output and was left out.
    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool;

    /// Appends something that happened in a connection: in front of its packet, if it has one.
    fn event(&mut self, _event: &Event, _block: &mut BytesMut) {}

    /// Whether it has a use for [`statistics`](Self::statistics): they cost a few system calls.
    fn wants_statistics(&self) -> bool {
        false
    }

    /// Appends how the capture stands: about once a second while packets come, and at the end.
    fn statistics(&mut self, _statistics: &Statistics, _block: &mut BytesMut) {}

    /// Appends what follows the last packet. `forgotten`: connections of which events may be missing. `interrupted`: the
    /// source had not come to its end.
    fn end(&mut self, _forgotten: Option<Forgotten>, _interrupted: bool, _block: &mut BytesMut) {}

    /// What there is to say on standard error at the end, whole lines.
    fn remarks(&self) -> String {
        String::new()
    }
}
