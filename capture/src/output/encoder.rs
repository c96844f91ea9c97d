//! What an output makes of packets.

use std::fmt::Debug;

use bytes::BytesMut;
use capture_flow::{Event, Forgotten};
use capture_packet::Packet;

/// Appends packets to a block. It runs on the engine's thread: it does not wait, and for a packet it does not allocate,
/// but for the block itself.
pub trait Encoder: Debug {
    /// Appends what comes before the first packet.
    fn begin(&mut self, _block: &mut BytesMut) {}

    /// Appends one packet, with what belongs in front of it.
    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut);

    /// Appends something that happened in a connection: in front of its packet, if it has one.
    fn event(&mut self, _event: &Event, _block: &mut BytesMut) {}

    /// Appends what follows the last packet. `forgotten`: connections of which events may be missing. `interrupted`: the
    /// source had not come to its end.
    fn end(&mut self, _forgotten: Option<Forgotten>, _interrupted: bool, _block: &mut BytesMut) {}

    /// What there is to say on standard error at the end, whole lines.
    fn remarks(&self) -> String {
        String::new()
    }
}
