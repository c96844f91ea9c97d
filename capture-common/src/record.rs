//! What crosses the ring for each selected packet: a [`RecordHeader`], then the first
//! [`captured_len`](RecordHeader::captured_len) bytes of the frame, then padding up to the size that was reserved.

/// The version of this layout. It is in every record, so that a daemon and an object that do not belong together
/// find out at the first packet.
pub const ABI_VERSION: u8 = 2;

/// The longest capture of one frame, in bytes: tcpdump's own ceiling (netdissect.h, `MAXIMUM_SNAPLEN`).
pub const MAX_SNAPLEN: u32 = 262_144;

/// The fixed part of a record. Native byte order: both sides are the same machine.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// `CLOCK_BOOTTIME` of the initial time namespace when the program saw the packet, in nanoseconds.
    pub time: u64,
    /// Length of the frame on the wire (or of the GSO/GRO packet that stands for several), in bytes, with the link
    /// header and with the VLAN tag that the kernel keeps outside of the frame.
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

impl RecordHeader {
    /// Size of the header in bytes.
    pub const SIZE: usize = size_of::<Self>();
    /// Where in a record its ABI version is.
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
            l3,
            l4,
            hook,
            version,
        ] = *header;
        let header = Self {
            time: u64::from_ne_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            wire_len: u32::from_ne_bytes([w0, w1, w2, w3]),
            captured_len: u32::from_ne_bytes([c0, c1, c2, c3]),
            ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
            l3_offset: l3,
            l4_offset: l4,
            hook,
            abi_version: version,
        };
        let captured = bytes.get(..header.captured_len as usize)?;
        (version == ABI_VERSION).then_some((header, captured))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: u8, captured_len: u8) -> [u8; 32] {
        let mut record = [0; 32];
        record[0] = 7;
        record[8] = 66;
        record[12] = captured_len;
        record[16] = 3;
        record[20..24].copy_from_slice(&[14, 34, hook::TC_EGRESS, version]);
        record[24..].copy_from_slice(b"abcdefgh");
        record
    }

    #[test]
    fn a_record_is_its_header_and_the_captured_bytes() {
        let record = record(ABI_VERSION, 5);
        let (header, bytes) = RecordHeader::from_record(&record).unwrap();
        let expected = RecordHeader {
            time: u64::from_ne_bytes([7, 0, 0, 0, 0, 0, 0, 0]),
            wire_len: u32::from_ne_bytes([66, 0, 0, 0]),
            captured_len: u32::from_ne_bytes([5, 0, 0, 0]),
            ifindex: u32::from_ne_bytes([3, 0, 0, 0]),
            l3_offset: 14,
            l4_offset: 34,
            hook: hook::TC_EGRESS,
            abi_version: ABI_VERSION,
        };
        assert_eq!(header, expected);
        assert_eq!(bytes, b"abcde");
    }

    #[test]
    fn other_versions_and_short_records_are_refused() {
        assert_eq!(RecordHeader::from_record(&record(ABI_VERSION + 1, 5)), None);
        assert_eq!(RecordHeader::from_record(&record(ABI_VERSION, 9)), None);
        assert_eq!(RecordHeader::from_record(&record(ABI_VERSION, 0)[..23]), None);
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
