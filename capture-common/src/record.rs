//! What crosses the ring for each selected packet: a [`RecordHeader`], then the first
//! [`captured_len`](RecordHeader::captured_len) bytes of the frame, then padding up to the size that was reserved.

/// The version of this layout. It is in every record, so that a daemon and an object that do not belong together
/// find out at the first packet.
pub const ABI_VERSION: u8 = 1;

/// The longest capture of one frame, in bytes: tcpdump's own ceiling (netdissect.h, `MAXIMUM_SNAPLEN`).
pub const MAX_SNAPLEN: u32 = 262_144;

/// The fixed part of a record. Native byte order: both sides are the same machine.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// `CLOCK_MONOTONIC` when the program saw the packet, in nanoseconds.
    pub time: u64,
    /// Length of the frame on the wire (or of the GSO/GRO packet that stands for several), in bytes, with the link
    /// header and with the VLAN tag that the kernel keeps beside the frame.
    pub wire_len: u32,
    /// Bytes of the frame that follow this header.
    pub captured_len: u32,
    /// The interface's index.
    pub ifindex: u32,
    /// Offset of the IP header in the frame, in bytes.
    pub l3_offset: u8,
    /// Offset of the TCP header in the frame, in bytes; 0 in a fragment that has none.
    pub l4_offset: u8,
    /// Which program made the record: one of [`hook`].
    pub hook: u8,
    /// [`ABI_VERSION`].
    pub abi_version: u8,
}

const _: () = assert!(size_of::<RecordHeader>() == 24);
const _: () = assert!(align_of::<RecordHeader>() == 8);
const _: () = assert!(core::mem::offset_of!(RecordHeader, captured_len) == 12);
const _: () = assert!(core::mem::offset_of!(RecordHeader, l3_offset) == 20);
const _: () = assert!(core::mem::offset_of!(RecordHeader, abi_version) == 23);

/// Values of [`RecordHeader::hook`].
pub mod hook {
    /// TC, on the way in.
    pub const TC_INGRESS: u8 = 0;
    /// TC, on the way out.
    pub const TC_EGRESS: u8 = 1;
    /// XDP.
    pub const XDP: u8 = 2;
}

/// How many bytes of a frame are captured: up to the end of its headers, or exactly `snaplen` where one is set
/// (non-zero), and never more than there are.
#[inline(always)]
pub const fn captured_len(frame_len: u32, headers_end: u32, snaplen: u32) -> u32 {
    let wanted = if snaplen == 0 { headers_end } else { snaplen };
    if wanted < frame_len { wanted } else { frame_len }
}
