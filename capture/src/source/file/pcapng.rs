//! pcapng: a chain of blocks, each with its type, its length, its body, and its length again.
//!
//! Layouts of the bodies in the section's byte order, offsets in bytes:
//!
//! * Section Header: byte-order magic u32, major and minor version u16, length of the section (not used) u64;
//! * Interface Description: link type u16, reserved u16, snapshot length u32, options;
//! * Enhanced Packet: interface u32, time u64 (high word first), captured length u32, length on the wire u32, data, options;
//! * Packet (obsolete): interface u16, drops u16, then as Enhanced Packet from the time on;
//! * Simple Packet: length on the wire u32, data.

use std::io::Read;

use capture_packet::{Direction, Packet, Precision, SourceId};

use super::{
    buffer::Buffer,
    bytes::ByteOrder,
    error::FileError,
    interfaces::{Interface, Interfaces},
    options::Options,
    record::Record,
};
use crate::pcapng::{
    BYTE_ORDER_MAGIC,
    block::{ENHANCED_PACKET, INTERFACE_DESCRIPTION, OBSOLETE_PACKET, SECTION_HEADER, SIMPLE_PACKET},
};

const BLOCK_HEADER_LENGTH: usize = 8;
const BLOCK_TRAILER_LENGTH: usize = 4;
const MIN_BLOCK_LENGTH: u32 = 12;
/// The longest block that is believed (sf-pcapng.c, INITIAL_MAX_BLOCKSIZE).
const MAX_BLOCK_LENGTH: u32 = 16 * 1024 * 1024;
/// Bytes of the first block that are looked at to tell a pcapng file from others.
const PROBE_LENGTH: usize = 12;
/// Up to where it has the version.
const VERSION_END: usize = 16;
const MIN_SECTION_LENGTH: u32 = 28;
/// The longest first block that is believed (sf-pcapng.c, BT_SHB_INSANE_MAX).
const MAX_SECTION_LENGTH: u32 = 1024 * 1024;

/// Bytes of a later section header that are looked at, from the start of its body.
const SECTION_FIELDS: usize = 16;

#[derive(Debug)]
pub(super) struct Pcapng {
    pub(super) byte_order: ByteOrder,
    precision: Precision,
    pub(super) interfaces: Interfaces,
}

/// Where a packet's data are, and what is known of it.
struct PacketBlock<'i> {
    source: SourceId,
    interface: &'i Interface,
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
        let wanted = length as usize - PROBE_LENGTH;
        if !buffer.fill(VERSION_END).map_err(FileError::Read)? {
            return Err(FileError::TruncatedBlock { wanted, got: buffer.available() - PROBE_LENGTH });
        }
        let section = buffer.take(VERSION_END);
        let (major, minor) = (byte_order.u16(section, 12), byte_order.u16(section, 14));
        let rest = length as usize - VERSION_END;
        let skipped = buffer.skip(rest).map_err(FileError::Read)?;
        if skipped < rest {
            return Err(FileError::TruncatedBlock { wanted, got: VERSION_END - PROBE_LENGTH + skipped });
        }
        if !matches!((major, minor), (1, 0 | 2)) {
            return Err(FileError::UnsupportedPcapngVersion { major, minor });
        }
        let mut file = Self { byte_order, precision, interfaces: Interfaces::default() };
        while file.interfaces.is_empty() {
            match file.next_block(buffer)? {
                None => return Err(FileError::NoInterfaces),
                Some((ENHANCED_PACKET | SIMPLE_PACKET | OBSOLETE_PACKET, length)) => {
                    file.hold(buffer, length)?;
                    return Err(FileError::PacketBeforeInterface);
                }
                Some((block_type, length)) => file.other_block(buffer, block_type, length)?,
            }
        }
        Ok(Some(file))
    }

    /// The next packet (sf-pcapng.c, pcap_ng_next_packet). Unlike there, interfaces may differ in their link types
    /// and snapshot lengths.
    #[inline]
    pub(super) fn next<'b, R: Read>(
        &'b mut self,
        buffer: &'b mut Buffer<R>,
    ) -> Result<Option<Record<'b>>, FileError> {
        let (found, length) = loop {
            let Some((block_type, length)) = self.next_block(buffer)? else { return Ok(None) };
            if matches!(block_type, ENHANCED_PACKET | OBSOLETE_PACKET | SIMPLE_PACKET) {
                self.hold(buffer, length)?;
                break (self.packet_block(block_type, body(&buffer.peek()[..length]))?, length);
            }
            self.other_block(buffer, block_type, length)?;
        };
        let PacketBlock { source, interface, ticks, captured_len, wire_len, data_offset } = found;
        if captured_len > interface.snaplen {
            return Err(FileError::OverSnaplen { captured_len, snaplen: interface.snaplen });
        }
        let time = interface.time(ticks, self.precision);
        let block = buffer.take(length);
        let block_type = self.byte_order.u32(block, 0);
        let data =
            body(block).get(data_offset..).and_then(|data| data.split_at_checked(captured_len as usize));
        let (data, after) = data.ok_or(FileError::ShortBlock(block_type))?;
        let link_type =
            interface.link_type.map_err(|number| FileError::UnsupportedLinkType(number.into()))?;
        let options = Options::after(data, after, self.byte_order);
        let direction = if options.is_empty() { None } else { options.direction() };
        let direction = direction.or_else(|| Direction::of_cooked(link_type, data));
        let packet = Packet { source, direction, ..Packet::new(time, link_type, wire_len, data) };
        Ok(Some(Record { packet, options, interfaces: self.interfaces.list() }))
    }

    /// Looks at the next block's header, and gives its type and its length (sf-pcapng.c, read_block).
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
        Ok(Some((block_type, length as usize)))
    }

    /// Brings the whole block that is next into the buffer.
    #[inline]
    fn hold<R: Read>(&self, buffer: &mut Buffer<R>, length: usize) -> Result<(), FileError> {
        if !buffer.fill(length).map_err(FileError::Read)? {
            let (wanted, got) = (length - BLOCK_HEADER_LENGTH, buffer.available() - BLOCK_HEADER_LENGTH);
            return Err(FileError::TruncatedBlock { wanted, got });
        }
        if self.byte_order.u32(buffer.peek(), length - BLOCK_TRAILER_LENGTH) as usize != length {
            return Err(FileError::BlockLengthsDiffer);
        }
        Ok(())
    }

    /// Takes a block without a packet. What is not looked at is not kept: it may be long.
    #[cold]
    fn other_block<R: Read>(
        &mut self,
        buffer: &mut Buffer<R>,
        block_type: u32,
        length: usize,
    ) -> Result<(), FileError> {
        if block_type == INTERFACE_DESCRIPTION {
            self.hold(buffer, length)?;
            return self.interfaces.add(self.byte_order, body(buffer.take(length)));
        }
        let wanted = length - BLOCK_HEADER_LENGTH;
        let truncated = |got| FileError::TruncatedBlock { wanted, got };
        buffer.take(BLOCK_HEADER_LENGTH);
        let fields = SECTION_FIELDS.min(wanted - BLOCK_TRAILER_LENGTH);
        let mut section = [0; SECTION_FIELDS];
        if !buffer.fill(fields).map_err(FileError::Read)? {
            return Err(truncated(buffer.available()));
        }
        section[..fields].copy_from_slice(buffer.take(fields));
        let rest = wanted - BLOCK_TRAILER_LENGTH - fields;
        let skipped = buffer.skip(rest).map_err(FileError::Read)?;
        if skipped < rest || !buffer.fill(BLOCK_TRAILER_LENGTH).map_err(FileError::Read)? {
            return Err(truncated(fields + skipped + buffer.available()));
        }
        if self.byte_order.u32(buffer.take(BLOCK_TRAILER_LENGTH), 0) as usize != length {
            return Err(FileError::BlockLengthsDiffer);
        }
        match block_type {
            SECTION_HEADER => self.next_section(&section[..fields]),
            _ => Ok(()),
        }
    }

    #[inline]
    fn packet_block(&self, block_type: u32, body: &[u8]) -> Result<PacketBlock<'_>, FileError> {
        let fixed_length = if block_type == SIMPLE_PACKET { 4 } else { 20 };
        if body.len() < fixed_length {
            return Err(FileError::ShortBlock(block_type));
        }
        let field = |offset| self.byte_order.u32(body, offset);
        let number = match block_type {
            ENHANCED_PACKET => field(0),
            OBSOLETE_PACKET => self.byte_order.u16(body, 0).into(),
            _ => 0,
        };
        let found = self.interfaces.get(number).ok_or_else(|| self.interfaces.missing(number));
        let (interface, source) = found?;
        Ok(if block_type == SIMPLE_PACKET {
            let wire_len = field(0);
            let captured_len = wire_len.min(interface.snaplen);
            PacketBlock { source, interface, ticks: 0, captured_len, wire_len, data_offset: fixed_length }
        } else {
            let ticks = u64::from(field(4)) << 32 | u64::from(field(8));
            let (captured_len, wire_len) = (field(12), field(16));
            PacketBlock { source, interface, ticks, captured_len, wire_len, data_offset: fixed_length }
        })
    }

    fn next_section(&mut self, body: &[u8]) -> Result<(), FileError> {
        if body.len() < SECTION_FIELDS {
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
}

/// What is between a block's header and its trailer. The block has room for both.
#[inline]
fn body(block: &[u8]) -> &[u8] {
    &block[BLOCK_HEADER_LENGTH..block.len() - BLOCK_TRAILER_LENGTH]
}
