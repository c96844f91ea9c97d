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

use std::{io::Read, slice};

use capture_common::record::MAX_SNAPLEN;
use capture_packet::{Direction, LinkType, Packet, Precision, Timestamp};

use super::{
    buffer::Buffer,
    bytes::ByteOrder,
    error::FileError,
    link::{self, adjust_snaplen},
    options::Options,
    record::{Record, Times},
};
use crate::source::interface::InterfaceDescription;

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
    pub(super) interface: InterfaceDescription,
    /// What a fraction of a second is in.
    fraction: Precision,
    times: Times,
    header_length: usize,
    length_order: LengthOrder,
}

impl Pcap {
    /// Reads the file's header if the magic number, which is in the buffer, is pcap's.
    pub(super) fn open<R: Read>(buffer: &mut Buffer<R>, times: Times) -> Result<Option<Self>, FileError> {
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
        let interface = InterfaceDescription {
            time_digits: match fraction {
                Precision::Micro => 6,
                Precision::Nano => 9,
            },
            ..InterfaceDescription::new(link_type, snaplen)
        };
        Ok(Some(Self { byte_order, interface, fraction, times, header_length, length_order }))
    }

    /// The next packet (sf-pcap.c, pcap_next_packet).
    #[inline]
    pub(super) fn next<'b, R: Read>(
        &'b self,
        buffer: &'b mut Buffer<R>,
    ) -> Result<Option<Record<'b>>, FileError> {
        let &InterfaceDescription { link_type, snaplen, .. } = &self.interface;
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
            return Err(if captured_len > snaplen {
                FileError::OverSnaplen { captured_len, snaplen }
            } else {
                FileError::OverMaximum { captured_len, maximum: MAX_SNAPLEN }
            });
        }
        // What is beyond the snapshot length is read and thrown away.
        let kept = captured_len.min(snaplen);
        let length = self.header_length + captured_len as usize;
        if !buffer.fill(length).map_err(FileError::Read)? {
            let got = buffer.available() - self.header_length;
            let wanted = if got < kept as usize { kept } else { captured_len };
            return Err(FileError::TruncatedData { wanted, got });
        }
        let data = &buffer.take(length)[self.header_length..][..kept as usize];
        let direction = Direction::of_cooked(link_type, data);
        let packet = Packet { direction, ..Packet::new(time, link_type, wire_len, data) };
        Ok(Some(Record { packet, options: Options::NONE, interfaces: slice::from_ref(&self.interface) }))
    }

    /// libpcap reads both numbers as signed where the file has the machine's byte order, and as unsigned where it swaps
    /// them. What the file means are unsigned numbers: seconds up to 2106.
    #[inline]
    fn time(&self, seconds: u32, fraction: u32) -> Timestamp {
        let wanted = match self.times {
            Times::AsTcpdump(precision) if self.byte_order == ByteOrder::NATIVE => {
                return cut_off(
                    seconds.cast_signed().into(),
                    fraction.cast_signed().into(),
                    self.fraction,
                    precision,
                );
            }
            Times::AsTcpdump(precision) => precision,
            Times::Exact => Precision::Nano,
        };
        cut_off(seconds.into(), fraction.into(), self.fraction, wanted)
    }

    /// What [`SignedTimes`] is for, if the file has it.
    pub(super) fn signed_times(&self) -> Option<SignedTimes> {
        let differ = self.times == Times::Exact && self.byte_order == ByteOrder::NATIVE;
        differ.then_some(SignedTimes { fraction: self.fraction })
    }
}

/// The time of so many seconds and a `fraction` in units of `of`, cut off to what is `wanted`.
#[inline]
fn cut_off(seconds: i64, fraction: i64, of: Precision, wanted: Precision) -> Timestamp {
    let nanoseconds = match (of, wanted) {
        (Precision::Nano, Precision::Nano) => fraction,
        (Precision::Nano, Precision::Micro) => fraction / 1000 * 1000,
        (Precision::Micro, _) => fraction * 1000,
    };
    Timestamp { seconds, nanoseconds }
}

/// How tcpdump reads the times of a file that were read as the file means them: both numbers of a packet's header as
/// signed.
#[derive(Clone, Copy, Debug)]
pub struct SignedTimes {
    /// What a fraction of a second is in.
    fraction: Precision,
}

impl SignedTimes {
    /// As tcpdump reads it.
    #[inline]
    pub fn of(self, time: Timestamp) -> Timestamp {
        let signed = |number: i64| i64::from((number as u32).cast_signed());
        let unit = match self.fraction {
            Precision::Micro => 1000,
            Precision::Nano => 1,
        };
        Timestamp { seconds: signed(time.seconds), nanoseconds: signed(time.nanoseconds / unit) * unit }
    }
}
