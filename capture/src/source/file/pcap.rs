//! pcap: one header for the file, one for each packet.
//!
//! Layouts in the file's byte order, offsets in bytes:
//!
//! | file header | | packet header | |
//! |---|---|---|---|
//! | 0 | magic number, u32 | 0 | seconds, 32 bits |
//! | 4, 6 | major and minor version, u16 | 4 | fraction of the second, 32 bits |
//! | 8, 12 | time zone and accuracy, not used | 8 | captured length, u32 |
//! | 16 | snapshot length, u32 | 12 | length on the wire, u32 |
//! | 20 | link type in the low 26 bits, u32 | | |

use std::io::Read;

use capture_common::record::MAX_SNAPLEN;
use capture_packet::{Direction, LinkType, Packet, Timestamp};

use super::{ByteOrder, FileError, Precision, adjust_snaplen, buffer::Buffer, link};

const FILE_HEADER_LENGTH: usize = 24;
const MAGIC_LENGTH: usize = 4;
const PACKET_HEADER_LENGTH: usize = 16;
/// Kuznetzov's patched header has the interface, the protocol and the packet type after the usual fields.
const PATCHED_PACKET_HEADER_LENGTH: usize = 24;

/// The magic number: what a fraction of a second is in, and the length of a packet's header.
fn magic(magic: u32) -> Option<(Precision, usize)> {
    match magic {
        0xa1b2_c3d4 => Some((Precision::Micro, PACKET_HEADER_LENGTH)),
        0xa1b2_3c4d => Some((Precision::Nano, PACKET_HEADER_LENGTH)),
        0xa1b2_cd34 => Some((Precision::Micro, PATCHED_PACKET_HEADER_LENGTH)),
        _ => None,
    }
}

/// Where the two lengths of a packet's header stand (sf-pcap.c, pcap_check_header).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LengthOrder {
    CapturedThenWire,
    WireThenCaptured,
    /// Version 2.3 was written both ways.
    SmallerIsCaptured,
}

#[derive(Debug)]
pub(super) struct Pcap {
    pub(super) byte_order: ByteOrder,
    pub(super) link_type: LinkType,
    pub(super) snaplen: u32,
    /// What a fraction of a second is in.
    fraction: Precision,
    /// What it is to be cut off to.
    wanted: Precision,
    header_length: usize,
    length_order: LengthOrder,
}

impl Pcap {
    /// Reads the file's header if the magic number, which is in the buffer, is pcap's.
    pub(super) fn open<R: Read>(
        buffer: &mut Buffer<R>,
        wanted: Precision,
    ) -> Result<Option<Self>, FileError> {
        let recognised = [ByteOrder::Little, ByteOrder::Big].into_iter().find_map(|byte_order| {
            magic(byte_order.u32(buffer.peek(), 0)).map(|(precision, length)| (byte_order, precision, length))
        });
        let Some((byte_order, fraction, header_length)) = recognised else { return Ok(None) };
        if !buffer.fill(FILE_HEADER_LENGTH).map_err(FileError::Read)? {
            let got = buffer.available() - MAGIC_LENGTH;
            return Err(FileError::TruncatedFileHeader { wanted: FILE_HEADER_LENGTH, got });
        }
        let header = buffer.take(FILE_HEADER_LENGTH);
        let length_order = match (byte_order.u16(header, 4), byte_order.u16(header, 6)) {
            (0 | 1, _) => return Err(FileError::Archaic),
            // DG/UX wrote version 543.0.
            (2, 0..=2) | (543, 0) => LengthOrder::WireThenCaptured,
            (2, 3) => LengthOrder::SmallerIsCaptured,
            (2, 4) => LengthOrder::CapturedThenWire,
            (major, minor) => return Err(FileError::UnsupportedVersion { major, minor }),
        };
        let number = byte_order.u32(header, 20) & 0x03ff_ffff;
        let link_type = link::from_number(number).ok_or(FileError::UnsupportedLinkType(number))?;
        let mut snaplen = adjust_snaplen(byte_order.u32(header, 16));
        if header_length == PATCHED_PACKET_HEADER_LENGTH && link_type == LinkType::Ethernet {
            // The snapshot length may not have counted the Ethernet header.
            snaplen = snaplen.saturating_add(14).min(i32::MAX.unsigned_abs());
        }
        Ok(Some(Self { byte_order, link_type, snaplen, fraction, wanted, header_length, length_order }))
    }

    /// The next packet (sf-pcap.c, pcap_next_packet).
    #[inline]
    pub(super) fn next<'b, R: Read>(
        &self,
        buffer: &'b mut Buffer<R>,
    ) -> Result<Option<Packet<'b>>, FileError> {
        if !buffer.fill(self.header_length).map_err(FileError::Read)? {
            return match buffer.available() {
                0 => Ok(None),
                got => Err(FileError::TruncatedHeader { wanted: self.header_length, got }),
            };
        }
        let Some(header) = buffer.peek().first_chunk::<PACKET_HEADER_LENGTH>() else { return Ok(None) };
        let [seconds, fraction, mut captured_len, mut wire_len] = self.byte_order.words(header);
        let time = self.time(seconds, fraction);
        if self.length_order == LengthOrder::WireThenCaptured
            || self.length_order == LengthOrder::SmallerIsCaptured && captured_len > wire_len
        {
            (captured_len, wire_len) = (wire_len, captured_len);
        }
        // Longer ones are not believed (pcap-int.h, MAXIMUM_SNAPLEN).
        if captured_len > MAX_SNAPLEN {
            return Err(if captured_len > self.snaplen {
                FileError::OverSnaplen { captured_len, snaplen: self.snaplen }
            } else {
                FileError::OverMaximum { captured_len, maximum: MAX_SNAPLEN }
            });
        }
        // What is beyond the snapshot length is read and thrown away.
        let kept = captured_len.min(self.snaplen);
        let length = self.header_length + captured_len as usize;
        if !buffer.fill(length).map_err(FileError::Read)? {
            let got = buffer.available() - self.header_length;
            let wanted = if got < kept as usize { kept } else { captured_len };
            return Err(FileError::TruncatedData { wanted, got });
        }
        let data = &buffer.take(length)[self.header_length..][..kept as usize];
        let direction = Direction::of_cooked(self.link_type, data);
        Ok(Some(Packet { direction, ..Packet::new(time, self.link_type, wire_len, data) }))
    }

    /// libpcap reads both numbers as signed where the file has the machine's byte order, and as unsigned where it
    /// swaps them.
    fn time(&self, seconds: u32, fraction: u32) -> Timestamp {
        let signed = |number: u32| {
            let native = self.byte_order == ByteOrder::NATIVE;
            if native { i64::from(number.cast_signed()) } else { i64::from(number) }
        };
        let (seconds, fraction) = (signed(seconds), signed(fraction));
        let nanoseconds = match (self.fraction, self.wanted) {
            (Precision::Nano, Precision::Nano) => fraction,
            (Precision::Nano, Precision::Micro) => fraction / 1000 * 1000,
            (Precision::Micro, _) => fraction * 1000,
        };
        Timestamp { seconds, nanoseconds }
    }
}
