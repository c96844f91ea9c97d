//! What crosses the ring for each selected packet: a [`RecordHeader`], then the first
//! [`captured_len`](RecordHeader::captured_len) bytes of the frame, then padding up to the size that was reserved.

use core::num::NonZeroUsize;

use crate::parse::{Layers, Network};

/// The version of this layout. It is in every record, so that a daemon and an object that do not belong together
/// find out at the first packet.
pub const ABI_VERSION: u16 = 3;

/// The longest capture of one frame, in bytes: tcpdump's own ceiling (netdissect.h, `MAXIMUM_SNAPLEN`).
pub const MAX_SNAPLEN: u32 = 262_144;

/// The fixed part of a record. Native byte order: both sides are the same machine.
///
/// Its size is no multiple of 8, so that a record of the most common size fills its place in the ring: 28 bytes, 68 of
/// the frame, and the 8 that the kernel puts before them.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// `CLOCK_BOOTTIME` of the initial time namespace when the program saw the packet, in nanoseconds.
    pub time: u64,
    /// Length of the frame on the wire (or of the GSO/GRO packet that stands for several), in bytes, with the link
    /// header and with the VLAN tag that the kernel keeps outside of the frame.
    pub wire_len: u32,
    /// Bytes of the frame that follow this header.
    pub captured_len: u32,
    /// The interface's index in its network namespace.
    pub ifindex: u32,
    /// The number of the program instance that made the record, a constant in it. With `ifindex` it names the
    /// interface.
    pub instance: u16,
    /// [`ABI_VERSION`].
    pub abi_version: u16,
    /// Offset of the IP header in the frame, in bytes.
    pub l3_offset: u8,
    /// Offset of the TCP header in the frame, in bytes; 0 in a fragment that has none.
    pub l4_offset: u8,
    /// Which IP header is at `l3_offset`: 4 or 6.
    pub ip_version: u8,
    /// To whom the packet is addressed, and whether it comes in: one of [`packet_type`].
    pub packet_type: u8,
}

const _: () = assert!(size_of::<RecordHeader>() == 28);
const _: () = assert!(core::mem::offset_of!(RecordHeader, captured_len) == 12);
const _: () = assert!(core::mem::offset_of!(RecordHeader, instance) == 20);
const _: () = assert!(core::mem::offset_of!(RecordHeader, l3_offset) == 24);
const _: () = assert!(core::mem::offset_of!(RecordHeader, packet_type) == 27);

impl RecordHeader {
    /// Size of the header in bytes.
    pub const SIZE: usize = size_of::<Self>();
    /// Where in a record its ABI version is, two bytes.
    pub const ABI_VERSION_OFFSET: usize = core::mem::offset_of!(Self, abi_version);

    /// Takes a record apart: its header, and the captured bytes of the frame. `None` if it is not one of this
    /// [`ABI_VERSION`], or shorter than it says.
    #[inline]
    pub fn from_record(record: &[u8]) -> Option<(Self, &[u8])> {
        let (header, bytes) = record.split_first_chunk::<{ Self::SIZE }>()?;
        let [
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            t6,
            t7,
            w0,
            w1,
            w2,
            w3,
            c0,
            c1,
            c2,
            c3,
            i0,
            i1,
            i2,
            i3,
            n0,
            n1,
            v0,
            v1,
            l3_offset,
            l4_offset,
            ip_version,
            packet_type,
        ] = *header;
        let header = Self {
            time: u64::from_ne_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            wire_len: u32::from_ne_bytes([w0, w1, w2, w3]),
            captured_len: u32::from_ne_bytes([c0, c1, c2, c3]),
            ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
            instance: u16::from_ne_bytes([n0, n1]),
            abi_version: u16::from_ne_bytes([v0, v1]),
            l3_offset,
            l4_offset,
            ip_version,
            packet_type,
        };
        let captured = bytes.get(..header.captured_len as usize)?;
        (header.abi_version == ABI_VERSION).then_some((header, captured))
    }

    /// Where the packet's layers begin. `None` where the record says what no program writes: any program with the
    /// power to do so can write to the ring.
    #[inline]
    pub fn layers(&self) -> Option<Layers> {
        let network = match self.ip_version {
            4 => Network::Ipv4,
            6 => Network::Ipv6,
            _ => return None,
        };
        let l4_offset = NonZeroUsize::new(self.l4_offset.into());
        let is_sound = u32::from(self.l3_offset) <= self.wire_len
            && (self.l4_offset == 0 || self.l4_offset >= self.l3_offset);
        is_sound.then_some(Layers { network, l3_offset: usize::from(self.l3_offset), l4_offset })
    }
}

/// Values of [`RecordHeader::packet_type`].
pub mod packet_type {
    /// To this machine (linux/if_packet.h, `PACKET_HOST`, as all of these but the last).
    pub const HOST: u8 = 0;
    /// To all.
    pub const BROADCAST: u8 = 1;
    /// To a group.
    pub const MULTICAST: u8 = 2;
    /// To another machine.
    pub const OTHERHOST: u8 = 3;
    /// It goes out. The program says so itself: the kernel gives this type to the copies that packet sockets get
    /// (net/core/dev.c, `dev_queue_xmit_nit`), and not to the packet.
    pub const OUTGOING: u8 = 4;
    /// Of an XDP program, which runs before the kernel finds it out. The packet comes in.
    pub const UNKNOWN: u8 = 255;
}

/// How many bytes of a frame are captured: up to the end of its headers, or exactly `snaplen` where one is set
/// (non-zero), and never more than there are.
#[inline(always)]
pub const fn captured_len(frame_len: u32, headers_end: u32, snaplen: u32) -> u32 {
    let wanted = if snaplen == 0 { headers_end } else { snaplen };
    if wanted < frame_len { wanted } else { frame_len }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"abcdefgh";

    fn record(version: u16, captured_len: u8) -> [u8; RecordHeader::SIZE + BYTES.len()] {
        let mut record = [0; RecordHeader::SIZE + BYTES.len()];
        record[0] = 7;
        record[8] = 66;
        record[12] = captured_len;
        record[16] = 3;
        record[20] = 2;
        record[RecordHeader::ABI_VERSION_OFFSET..][..2].copy_from_slice(&version.to_ne_bytes());
        record[24..RecordHeader::SIZE].copy_from_slice(&[14, 34, 4, packet_type::OUTGOING]);
        record[RecordHeader::SIZE..].copy_from_slice(BYTES);
        record
    }

    const HEADER: RecordHeader = RecordHeader {
        time: 7,
        wire_len: 66,
        captured_len: 5,
        ifindex: 3,
        instance: 2,
        abi_version: ABI_VERSION,
        l3_offset: 14,
        l4_offset: 34,
        ip_version: 4,
        packet_type: packet_type::OUTGOING,
    };

    #[test]
    fn a_record_is_its_header_and_the_captured_bytes() {
        let record = record(ABI_VERSION, 5);
        assert_eq!(RecordHeader::from_record(&record), Some((HEADER, &BYTES[..5])));
    }

    #[test]
    fn other_versions_and_short_records_are_refused() {
        assert_eq!(RecordHeader::from_record(&record(ABI_VERSION + 1, 5)), None);
        assert_eq!(RecordHeader::from_record(&record(ABI_VERSION, 9)), None);
        assert_eq!(RecordHeader::from_record(&record(ABI_VERSION, 0)[..RecordHeader::SIZE - 1]), None);
    }

    #[test]
    fn offsets_that_no_program_writes_are_not_believed() {
        let layers = Layers { network: Network::Ipv4, l3_offset: 14, l4_offset: NonZeroUsize::new(34) };
        assert_eq!(HEADER.layers(), Some(layers));
        let fragment = RecordHeader { l4_offset: 0, ip_version: 6, ..HEADER };
        assert_eq!(fragment.layers(), Some(Layers { network: Network::Ipv6, l4_offset: None, ..layers }));
        for header in [
            RecordHeader { ip_version: 0, ..HEADER },
            RecordHeader { ip_version: 5, ..HEADER },
            RecordHeader { l4_offset: 13, ..HEADER },
            RecordHeader { l3_offset: 67, l4_offset: 87, ..HEADER },
            RecordHeader { l3_offset: 255, l4_offset: 0, ..HEADER },
        ] {
            assert_eq!(header.layers(), None, "{header:?}");
        }
    }

    #[test]
    fn captured_len_is_bounded_by_headers_snaplen_and_frame() {
        assert_eq!(captured_len(1514, 67, 0), 67);
        assert_eq!(captured_len(60, 67, 0), 60);
        assert_eq!(captured_len(1514, 67, 128), 128);
        assert_eq!(captured_len(1514, 67, 40), 40);
        assert_eq!(captured_len(100, 67, 262_144), 100);
    }
}
