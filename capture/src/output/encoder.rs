//! What an output makes of packets.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use capture_flow::{Event, Forgotten};
use capture_packet::Packet;

use super::statistics::Statistics;
use crate::source::interface::InterfaceDescription;

/// Appends packets to a block. It runs on the engine's thread: it does not wait, and for a packet it does not allocate,
/// but for the block itself.
pub trait Encoder: Debug {
    /// What each stream or file begins with.
    fn header(&self) -> Bytes {
        Bytes::new()
    }

    /// Takes the next interface of the source, which becomes known only now: appends what says so. Each stream or file that
    /// begins later has it, too, after the [header](Self::header).
    fn interface(&mut self, _interface: &InterfaceDescription, _block: &mut BytesMut) {}

    /// Takes the name of the interface with this index in the kernel, or that no packet of it comes any more.
    fn interface_name(&mut self, _index: u32, _name: Option<&str>) {}

    /// Takes a comment that the source has on the next packet: UTF-8 in anything well-formed.
    fn comment(&mut self, _comment: &[u8]) {}

    /// Takes how many packets were lost before the next one, as the source has it.
    fn lost(&mut self, _packets: u64) {}

    /// Appends one packet. False if it cannot be in this output and was left out.
    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool;

    /// Takes that there was no room for a packet.
    fn dropped(&mut self, _packet: &Packet<'_>) {}

    /// Appends something that happened in a connection: in front of its packet, if it has one.
    fn event(&mut self, _event: &Event, _block: &mut BytesMut) {}

    /// Whether it has a use for [`statistics`](Self::statistics): they cost a few system calls.
    fn wants_statistics(&self) -> bool {
        false
    }

    /// Appends how the capture stands: about once a second while packets come, and at the end.
    fn statistics(&mut self, _statistics: &Statistics<'_>, _block: &mut BytesMut) {}

    /// What a file ends with that is followed by another one: the accounts of the capture so far.
    fn trailer(&self) -> Bytes {
        Bytes::new()
    }

    /// Appends what follows the last packet. `forgotten`: connections of which events may be missing. `interrupted`: the
    /// source had not come to its end.
    fn epilogue(&mut self, _forgotten: Option<Forgotten>, _interrupted: bool, _block: &mut BytesMut) {}

    /// What there is to say on standard error at the end, whole lines.
    fn remarks(&self) -> String {
        String::new()
    }
}
