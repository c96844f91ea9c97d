//! pcapng: a chain of blocks, little-endian, with the interfaces in front, directions and comments at the packets, and
//! the accounts of the capture in between.
//!
//! | block | when | options |
//! |---|---|---|
//! | section header | at the beginning of each file | `shb_hardware`, `shb_os`, `shb_userappl` |
//! | interface description | then, for each interface | `if_name`, `if_description` (the hook), `if_tsresol`, `if_filter`, `if_os` |
//! | enhanced packet | for each packet | `epb_flags` (the direction), `opt_comment` (events) |
//! | interface statistics | once a second, and at the end | `isb_*`, `opt_comment` (events that no packet follows) |
//!
//! There are no custom blocks: tshark takes each for a frame and counts it.

mod blocks;
#[cfg(test)]
mod tests;

use std::{env::consts::ARCH, fs};

use bytes::{Bytes, BytesMut};
use capture_flow::{Event, Forgotten};
use capture_packet::{Direction, LinkType, Packet, Timestamp};
use capture_text::comments::{write_comment_text, write_forgotten_text};

use super::{encoder::Encoder, interface::InterfaceDescription, statistics::Statistics};
use blocks::{
    END_OF_OPTIONS, ENHANCED_PACKET, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, OPTION_HEADER_LENGTH,
    SECTION_HEADER, block, option, option_with, put_words, time_words,
};

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Version 1.0.
const VERSION: u32 = 1;
/// Of a section whose length is not known when it begins.
const UNKNOWN_LENGTH: u32 = u32::MAX;
/// `if_tsresol`: nanoseconds.
const RESOLUTION: u8 = 9;

/// The option `opt_comment` of any block.
const COMMENT: u16 = 1;

/// The option `epb_flags` with its code and its length.
const FLAGS: u32 = 4 << 16 | 2;
/// Up to the packet's data.
const PACKET_FIELDS: usize = 28;
/// The block's length at its end.
const TRAILER_LENGTH: usize = 4;
/// The longest that comes after the data, without comments: padding, flags, the end of the options, the length.
const PACKET_END: usize = 3 + 8 + 4 + TRAILER_LENGTH;

/// Comments that wait for a packet are written without one when they have this many bytes: at the end of a capture there
/// may be thousands.
const COMMENTS_LIMIT: usize = 32 * 1024;

/// Makes the contents of pcapng files.
#[derive(Debug)]
pub struct PcapngEncoder {
    interfaces: Vec<InterfaceDescription>,
    /// The operating system, its release and the architecture, if they are known.
    os: Option<String>,
    with_comments: bool,
    /// The options of the events since the last packet.
    comments: BytesMut,
    /// When the last of them was seen.
    commented: Timestamp,
}

impl PcapngEncoder {
    /// Packets of `interfaces`, which a packet's source is the place in, with the events as `comments` or without.
    pub fn new(interfaces: Vec<InterfaceDescription>, comments: bool) -> Self {
        Self {
            // A comment belongs to an interface.
            with_comments: comments && !interfaces.is_empty(),
            interfaces,
            os: operating_system(),
            comments: BytesMut::new(),
            commented: Timestamp::default(),
        }
    }

    /// The number of a packet's interface. Of a packet from an interface that is not in the list, it is that of the
    /// first with the packet's link type.
    #[inline]
    fn interface(&self, packet: &Packet<'_>) -> Option<u32> {
        match self.interfaces.get(packet.source.0 as usize) {
            Some(interface) if interface.link_type == packet.link_type => Some(packet.source.0),
            _ => self.first_with(packet.link_type),
        }
    }

    #[cold]
    fn first_with(&self, link_type: LinkType) -> Option<u32> {
        let place = self.interfaces.iter().position(|interface| interface.link_type == link_type)?;
        u32::try_from(place).ok()
    }

    /// Appends what is after a packet's data, where there are comments.
    #[cold]
    fn end_with_comments(&mut self, length: u32, start: &[u8], block: &mut BytesMut) {
        block.extend_from_slice(start);
        block.extend_from_slice(&self.comments);
        put_words([END_OF_OPTIONS, length], block);
        self.comments.clear();
    }

    /// Appends the comments that have no packet.
    fn comment_alone(&mut self, out: &mut BytesMut) {
        block(INTERFACE_STATISTICS, out, |out| {
            let [high, low] = time_words(self.commented);
            put_words([0, high, low], out);
            out.extend_from_slice(&self.comments);
            put_words([END_OF_OPTIONS], out);
        });
        self.comments.clear();
    }
}

impl Encoder for PcapngEncoder {
    fn header(&self) -> Bytes {
        const HARDWARE: u16 = 2;
        const OS: u16 = 3;
        const APPLICATION: u16 = 4;

        let mut header = BytesMut::new();
        block(SECTION_HEADER, &mut header, |out| {
            put_words([BYTE_ORDER_MAGIC, VERSION, UNKNOWN_LENGTH, UNKNOWN_LENGTH], out);
            option(HARDWARE, ARCH.as_bytes(), out);
            text_option(OS, self.os.as_deref(), out);
            option(APPLICATION, concat!("capture ", env!("CARGO_PKG_VERSION")).as_bytes(), out);
            put_words([END_OF_OPTIONS], out);
        });
        for interface in &self.interfaces {
            describe(interface, self.os.as_deref(), &mut header);
        }
        header.freeze()
    }

    #[inline]
    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
        let Some(interface) = self.interface(packet) else { return false };
        let data = packet.data;
        let padding = data.len().next_multiple_of(4) - data.len();
        let direction = match packet.direction {
            None => None,
            Some(Direction::In) => Some(1),
            Some(Direction::Out) => Some(2),
        };
        let flags_length = if direction.is_some() { 8 } else { 0 };
        let options_length = match flags_length + self.comments.len() {
            0 => 0,
            length => length + OPTION_HEADER_LENGTH,
        };
        let length = PACKET_FIELDS + data.len() + padding + options_length + TRAILER_LENGTH;
        block.reserve(length);
        let length = length as u32;
        let [high, low] = time_words(packet.time);
        put_words([ENHANCED_PACKET, length, interface, high, low, data.len() as u32, packet.wire_len], block);
        block.extend_from_slice(data);
        // Three bytes of padding, of which as many are left out as are not needed.
        let mut end = [0; PACKET_END];
        let words = [FLAGS, direction.unwrap_or_default(), END_OF_OPTIONS, length];
        for (bytes, word) in end[3..].as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = u32::to_le_bytes(word);
        }
        let start = 3 - padding;
        if !self.comments.is_empty() {
            self.end_with_comments(length, &end[start..3 + flags_length], block);
        } else if direction.is_some() {
            block.extend_from_slice(&end[start..]);
        } else {
            // Padding, and the length at once.
            end[3..3 + TRAILER_LENGTH].copy_from_slice(&length.to_le_bytes());
            block.extend_from_slice(&end[start..3 + TRAILER_LENGTH]);
        }
        true
    }

    fn event(&mut self, event: &Event, block: &mut BytesMut) {
        if !self.with_comments {
            return;
        }
        option_with(COMMENT, &mut self.comments, |out| write_comment_text(event, out));
        self.commented = event.time;
        if self.comments.len() > COMMENTS_LIMIT {
            self.comment_alone(block);
        }
    }

    /// The accounts are the capture's: where it has several interfaces, they are none's.
    fn wants_statistics(&self) -> bool {
        self.interfaces.len() == 1
    }

    fn statistics(&mut self, statistics: &Statistics, out: &mut BytesMut) {
        const START: u16 = 2;
        const END: u16 = 3;
        const DROPPED_BY_INTERFACE: u16 = 5;
        const ACCEPTED_BY_FILTER: u16 = 6;
        const DROPPED_BY_SYSTEM: u16 = 7;
        const DELIVERED: u16 = 8;

        let time_option = |code, time, out: &mut BytesMut| {
            option_with(code, out, |out| put_words(time_words(time), out));
        };
        if !statistics.losses_are_known {
            return;
        }
        block(INTERFACE_STATISTICS, out, |out| {
            let [high, low] = time_words(statistics.time);
            put_words([0, high, low], out);
            time_option(START, statistics.start, out);
            if statistics.is_last {
                time_option(END, statistics.time, out);
            }
            for (code, count) in [
                (DROPPED_BY_INTERFACE, statistics.dropped_by_interface),
                (ACCEPTED_BY_FILTER, statistics.received),
                (DROPPED_BY_SYSTEM, statistics.dropped),
                (DELIVERED, statistics.read.saturating_sub(statistics.dropped_by_output)),
            ] {
                option(code, &count.to_le_bytes(), out);
            }
            put_words([END_OF_OPTIONS], out);
        });
    }

    fn end(&mut self, forgotten: Option<Forgotten>, _interrupted: bool, block: &mut BytesMut) {
        if let Some(forgotten) = forgotten
            && self.with_comments
        {
            option_with(COMMENT, &mut self.comments, |out| write_forgotten_text(forgotten, out));
        }
        if !self.comments.is_empty() {
            self.comment_alone(block);
        }
    }
}

/// Appends the block that describes an interface.
fn describe(interface: &InterfaceDescription, os: Option<&str>, out: &mut BytesMut) {
    const NAME: u16 = 2;
    const DESCRIPTION: u16 = 3;
    const TIME_RESOLUTION: u16 = 9;
    const FILTER: u16 = 11;
    const OS: u16 = 12;

    let InterfaceDescription { name, link_type, snaplen, filter, hook } = interface;
    block(INTERFACE_DESCRIPTION, out, |out| {
        put_words([link_type.number().into(), *snaplen], out);
        text_option(NAME, name.as_deref(), out);
        text_option(DESCRIPTION, hook.as_deref(), out);
        option(TIME_RESOLUTION, &[RESOLUTION], out);
        // A zero says that it is an expression.
        let filter = filter.as_ref().map(|filter| format!("\0{filter}"));
        text_option(FILTER, filter.as_deref(), out);
        text_option(OS, os, out);
        put_words([END_OF_OPTIONS], out);
    });
}

/// Appends an option, if there is a text for it and it has room: half of a filter would be another filter.
fn text_option(code: u16, text: Option<&str>, out: &mut BytesMut) {
    if let Some(text) = text.filter(|text| text.len() <= usize::from(u16::MAX)) {
        option(code, text.as_bytes(), out);
    }
}

/// What `uname -sr` prints, if the kernel says so.
fn operating_system() -> Option<String> {
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok();
    Some(format!("{} {}", read("ostype")?.trim_end(), read("osrelease")?.trim_end()))
}
