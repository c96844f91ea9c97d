//! pcapng: a chain of blocks, each with its type, its length, its body, and its length again.
//!
//! Layouts of the bodies in the section's byte order, offsets in bytes:
//!
//! * Section Header: byte-order magic u32, major and minor version u16, length of the section (not used) u64;
//! * Interface Description: link type u16, reserved u16, snapshot length u32, options;
//! * Enhanced Packet: interface u32, time u64 (high word first), captured length u32, length on the wire u32, data;
//! * Packet (obsolete): interface u16, drops u16, then as Enhanced Packet from the time on;
//! * Simple Packet: length on the wire u32, data.

use std::io::Read;

use super::{ByteOrder, FileError, Precision, adjust_snaplen, buffer::Buffer, link};
use crate::packet::{LinkType, Packet, Timestamp};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

const BLOCK_HEADER_LENGTH: usize = 8;
const BLOCK_TRAILER_LENGTH: usize = 4;
const MIN_BLOCK_LENGTH: u32 = 12;
/// The longest block that is believed (sf-pcapng.c, INITIAL_MAX_BLOCKSIZE).
const MAX_BLOCK_LENGTH: u32 = 16 * 1024 * 1024;
/// Bytes of the first block that are looked at to tell a pcapng file from others.
const PROBE_LENGTH: usize = 12;
const MIN_SECTION_LENGTH: u32 = 28;
/// The longest first block that is believed (sf-pcapng.c, BT_SHB_INSANE_MAX).
const MAX_SECTION_LENGTH: u32 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Pcapng {
    pub(super) byte_order: ByteOrder,
    precision: Precision,
    /// Those of the current section.
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    /// The link type, or its number where it is not supported. That is an error only once a packet has it.
    pub(super) link_type: Result<LinkType, u16>,
    pub(super) snaplen: u32,
    /// Ticks of the time per second.
    resolution: u64,
    /// Whether the resolution is a power of two.
    binary: bool,
    /// Seconds to be added, in two's complement.
    offset: u64,
}

/// Where a packet's data are, and what is known of it.
struct PacketBlock {
    interface: u32,
    ticks: u64,
    captured_len: u32,
    wire_len: u32,
    data_offset: usize,
}

impl Pcapng {
    /// Reads up to the first description of an interface, if the file, whose first four bytes are in the buffer, is
    /// pcapng (sf-pcapng.c, pcap_ng_check_header).
    pub(super) fn open<R: Read>(
        buffer: &mut Buffer<R>,
        precision: Precision,
    ) -> Result<Option<Self>, FileError> {
        // The type of this block reads the same in both byte orders.
        if ByteOrder::Little.u32(buffer.peek(), 0) != SECTION_HEADER {
            return Ok(None);
        }
        if !buffer.fill(PROBE_LENGTH).map_err(FileError::Read)? {
            return Ok(None);
        }
        let orders = [ByteOrder::Little, ByteOrder::Big];
        let recognised = orders.into_iter().find(|order| order.u32(buffer.peek(), 8) == BYTE_ORDER_MAGIC);
        let Some(byte_order) = recognised else { return Ok(None) };
        let length = byte_order.u32(buffer.peek(), 4);
        if !(MIN_SECTION_LENGTH..=MAX_SECTION_LENGTH).contains(&length) {
            return Err(FileError::SectionLength(length));
        }
        if !buffer.fill(length as usize).map_err(FileError::Read)? {
            let (wanted, got) = (length as usize - PROBE_LENGTH, buffer.available() - PROBE_LENGTH);
            return Err(FileError::TruncatedBlock { wanted, got });
        }
        let section = buffer.take(length as usize);
        let (major, minor) = (byte_order.u16(section, 12), byte_order.u16(section, 14));
        if !matches!((major, minor), (1, 0 | 2)) {
            return Err(FileError::UnsupportedPcapngVersion { major, minor });
        }
        let mut file = Self { byte_order, precision, interfaces: Vec::new() };
        while file.interfaces.is_empty() {
            match file.next_block(buffer)? {
                None => return Err(FileError::NoInterfaces),
                Some((INTERFACE_DESCRIPTION, length)) => {
                    let body = body(buffer.take(length));
                    file.add_interface(body)?;
                }
                Some((ENHANCED_PACKET | SIMPLE_PACKET | OBSOLETE_PACKET, _)) => {
                    return Err(FileError::PacketBeforeInterface);
                }
                Some((_, length)) => {
                    buffer.take(length);
                }
            }
        }
        Ok(Some(file))
    }

    /// The first interface of the current section, if it has one yet.
    pub(super) fn first_interface(&self) -> Option<Interface> {
        self.interfaces.first().copied()
    }

    /// The next packet (sf-pcapng.c, pcap_ng_next_packet). Unlike there, interfaces may differ in their link types
    /// and snapshot lengths.
    #[inline]
    pub(super) fn next<'b, R: Read>(
        &mut self,
        buffer: &'b mut Buffer<R>,
    ) -> Result<Option<Packet<'b>>, FileError> {
        let (found, length) = loop {
            let Some((block_type, length)) = self.next_block(buffer)? else { return Ok(None) };
            let body = body(&buffer.peek()[..length]);
            match block_type {
                ENHANCED_PACKET | OBSOLETE_PACKET | SIMPLE_PACKET => {
                    break (self.packet_block(block_type, body)?, length);
                }
                INTERFACE_DESCRIPTION => self.add_interface(body)?,
                SECTION_HEADER => self.next_section(body)?,
                _ => {}
            }
            buffer.take(length);
        };
        let PacketBlock { interface, ticks, captured_len, wire_len, data_offset } = found;
        // `packet_block` has found the interface.
        let interface = &self.interfaces[interface as usize];
        if captured_len > interface.snaplen {
            return Err(FileError::OverSnaplen { captured_len, snaplen: interface.snaplen });
        }
        let time = interface.time(ticks, self.precision);
        let block = buffer.take(length);
        let block_type = self.byte_order.u32(block, 0);
        let data = body(block).get(data_offset..).and_then(|data| data.get(..captured_len as usize));
        let data = data.ok_or(FileError::ShortBlock(block_type))?;
        let link_type =
            interface.link_type.map_err(|number| FileError::UnsupportedLinkType(number.into()))?;
        Ok(Some(Packet { time, link_type, wire_len, data }))
    }

    /// Brings the whole next block into the buffer, and gives its type and its length (sf-pcapng.c, read_block).
    #[inline]
    fn next_block<R: Read>(&self, buffer: &mut Buffer<R>) -> Result<Option<(u32, usize)>, FileError> {
        if !buffer.fill(BLOCK_HEADER_LENGTH).map_err(FileError::Read)? {
            return match buffer.available() {
                0 => Ok(None),
                got => Err(FileError::TruncatedBlock { wanted: BLOCK_HEADER_LENGTH, got }),
            };
        }
        let block_type = self.byte_order.u32(buffer.peek(), 0);
        let length = self.byte_order.u32(buffer.peek(), 4);
        if length < MIN_BLOCK_LENGTH {
            return Err(FileError::BlockLength(length));
        }
        if !length.is_multiple_of(4) {
            return Err(FileError::UnalignedBlock(length));
        }
        if length > MAX_BLOCK_LENGTH {
            return Err(FileError::BlockTooLong { length, maximum: MAX_BLOCK_LENGTH });
        }
        let size = length as usize;
        if !buffer.fill(size).map_err(FileError::Read)? {
            let (wanted, got) = (size - BLOCK_HEADER_LENGTH, buffer.available() - BLOCK_HEADER_LENGTH);
            return Err(FileError::TruncatedBlock { wanted, got });
        }
        if self.byte_order.u32(buffer.peek(), size - BLOCK_TRAILER_LENGTH) != length {
            return Err(FileError::BlockLengthsDiffer);
        }
        Ok(Some((block_type, size)))
    }

    #[inline]
    fn packet_block(&self, block_type: u32, body: &[u8]) -> Result<PacketBlock, FileError> {
        let fixed_length = if block_type == SIMPLE_PACKET { 4 } else { 20 };
        if body.len() < fixed_length {
            return Err(FileError::ShortBlock(block_type));
        }
        let field = |offset| self.byte_order.u32(body, offset);
        let interface = match block_type {
            ENHANCED_PACKET => field(0),
            OBSOLETE_PACKET => self.byte_order.u16(body, 0).into(),
            _ => 0,
        };
        let Some(described) = self.interfaces.get(interface as usize) else {
            return Err(FileError::UnknownInterface(interface));
        };
        Ok(if block_type == SIMPLE_PACKET {
            let wire_len = field(0);
            let captured_len = wire_len.min(described.snaplen);
            PacketBlock { interface, ticks: 0, captured_len, wire_len, data_offset: fixed_length }
        } else {
            let ticks = u64::from(field(4)) << 32 | u64::from(field(8));
            let (captured_len, wire_len) = (field(12), field(16));
            PacketBlock { interface, ticks, captured_len, wire_len, data_offset: fixed_length }
        })
    }

    #[cold]
    fn next_section(&mut self, body: &[u8]) -> Result<(), FileError> {
        if body.len() < 16 {
            return Err(FileError::ShortBlock(SECTION_HEADER));
        }
        let magic = self.byte_order.u32(body, 0);
        if magic == BYTE_ORDER_MAGIC.swap_bytes() {
            return Err(FileError::MixedByteOrders);
        }
        if magic != BYTE_ORDER_MAGIC {
            return Err(FileError::BadByteOrderMagic);
        }
        let major = self.byte_order.u16(body, 4);
        if major != 1 {
            return Err(FileError::UnknownMajorVersion(major));
        }
        self.interfaces.clear();
        Ok(())
    }

    #[cold]
    fn add_interface(&mut self, body: &[u8]) -> Result<(), FileError> {
        let Some((fixed, options)) = body.split_at_checked(8) else {
            return Err(FileError::ShortBlock(INTERFACE_DESCRIPTION));
        };
        let number = self.byte_order.u16(fixed, 0);
        let mut interface = Interface {
            link_type: link::from_number(number.into()).ok_or(number),
            snaplen: adjust_snaplen(self.byte_order.u32(fixed, 4)),
            resolution: 1_000_000,
            binary: false,
            offset: 0,
        };
        interface.read_options(self.byte_order, options)?;
        self.interfaces.push(interface);
        Ok(())
    }
}

impl Interface {
    /// sf-pcapng.c, process_idb_options.
    fn read_options(&mut self, byte_order: ByteOrder, mut options: &[u8]) -> Result<(), FileError> {
        const END_OF_OPTIONS: u16 = 0;
        const RESOLUTION: u16 = 9;
        const OFFSET: u16 = 14;

        let short = || FileError::ShortBlock(INTERFACE_DESCRIPTION);
        let (mut saw_resolution, mut saw_offset) = (false, false);
        while !options.is_empty() {
            let (header, rest) = options.split_at_checked(4).ok_or_else(short)?;
            let (code, length) = (byte_order.u16(header, 0), byte_order.u16(header, 2));
            let padded = usize::from(length).next_multiple_of(4);
            let (value, rest) = rest.split_at_checked(padded).ok_or_else(short)?;
            options = rest;
            match code {
                END_OF_OPTIONS if length != 0 => return Err(FileError::EndOfOptionsLength(length)),
                END_OF_OPTIONS => break,
                RESOLUTION => {
                    let option = "if_tsresol";
                    if length != 1 {
                        return Err(FileError::OptionLength { option, length, wanted: 1 });
                    }
                    if saw_resolution {
                        return Err(FileError::OptionTwice(option));
                    }
                    saw_resolution = true;
                    self.binary = value[0] & 0x80 != 0;
                    let (base, exponent) = (if self.binary { 2 } else { 10 }, value[0] & 0x7f);
                    self.resolution = u64::from(base)
                        .checked_pow(exponent.into())
                        .ok_or(FileError::ResolutionTooHigh { base, exponent })?;
                }
                OFFSET => {
                    let option = "if_tsoffset";
                    if length != 8 {
                        return Err(FileError::OptionLength { option, length, wanted: 8 });
                    }
                    if saw_offset {
                        return Err(FileError::OptionTwice(option));
                    }
                    saw_offset = true;
                    self.offset = byte_order.u64(value, 0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The time in the precision it is wanted in, cut off and not rounded. Multiplying first wraps round where the
    /// resolution is a high power of two, as it does in libpcap.
    #[inline]
    fn time(&self, ticks: u64, precision: Precision) -> Timestamp {
        let wanted = precision.per_second();
        let seconds = (ticks / self.resolution).wrapping_add(self.offset);
        let fraction = ticks % self.resolution;
        let fraction = if self.resolution == wanted {
            fraction
        } else if self.binary {
            fraction.wrapping_mul(wanted) / self.resolution
        } else if self.resolution > wanted {
            fraction / (self.resolution / wanted)
        } else {
            fraction * (wanted / self.resolution)
        };
        let nanoseconds = fraction * (Precision::Nano.per_second() / wanted);
        Timestamp { seconds: seconds.cast_signed(), nanoseconds: nanoseconds.cast_signed() }
    }
}

/// What is between a block's header and its trailer. The block has room for both.
#[inline]
fn body(block: &[u8]) -> &[u8] {
    &block[BLOCK_HEADER_LENGTH..block.len() - BLOCK_TRAILER_LENGTH]
}
