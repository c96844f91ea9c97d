//! pcapng: a chain of blocks, little-endian, with the interfaces in front, directions and comments at the packets, and
//! the accounts of the capture in between.
//!
//! | block | when | options |
//! |---|---|---|
//! | section header | at the beginning of each file | `shb_hardware`, `shb_os`, `shb_userappl` |
//! | interface description | then, and for each interface that becomes known later | `if_name`, `if_description` (of a live capture, the hook), `if_tsresol`, `if_filter`, `if_os`, `if_hardware` |
//! | enhanced packet | for each packet | `epb_flags` (the direction), `epb_dropcount` (once losses are known), `opt_comment` (of the source, and events) |
//! | interface statistics | of each interface whose numbers have changed, once a second; of each at the end of each file, and at the end | `isb_*`, `opt_comment` (events that no packet follows) |
//!
//! There are no custom blocks: tshark takes each for a frame and counts it.

mod blocks;
#[cfg(test)]
mod tests;

use std::{env::consts::ARCH, fs, sync::OnceLock};

use bytes::{Bytes, BytesMut};
use capture_flow::{Event, Forgotten};
use capture_packet::{Direction, LinkType, Packet, Timestamp};
use capture_text::comments::{write_comment_text, write_forgotten_text};

use super::{
    cooked::{Cooked, cooked_description},
    encoder::Encoder,
    format::{Events, Format, Request, Setup},
    statistics::{InterfaceLosses, Statistics},
};
use crate::{
    pcapng::{
        BYTE_ORDER_MAGIC,
        block::{ENHANCED_PACKET, INTERFACE_DESCRIPTION, INTERFACE_STATISTICS, SECTION_HEADER},
        interface,
        option::COMMENT,
        packet, section, statistics,
    },
    source::interface::InterfaceDescription,
};
use blocks::{END, OPTION_HEADER_LENGTH, block, option, option_with, put_words, time_words};

/// pcapng files.
pub const FORMAT: Format = Format {
    name: "pcapng",
    help: "draft-ietf-opsawg-pcapng",
    asked: Request::OfFile,
    whole_packets: true,
    exact_times: true,
    interfaces: true,
    events: Events::Explained,
    encoder,
};

fn encoder(setup: &Setup<'_>) -> Box<dyn Encoder> {
    let &Setup { interfaces, explain, cooking, .. } = setup;
    match cooking.filter(|cooking| cooking.is_asked) {
        Some(cooking) => {
            let descriptions = interfaces.iter().map(cooked_description).collect();
            let encoder = PcapngEncoder::new(descriptions, explain);
            Box::new(Cooked::new(encoder, interfaces, cooking.snaplen))
        }
        None => Box::new(PcapngEncoder::new(interfaces.to_vec(), explain)),
    }
}

/// Version 1.0.
const VERSION: u32 = 1;
/// Of a section whose length is not known when it begins.
const UNKNOWN_LENGTH: u32 = u32::MAX;

/// The option `epb_flags` with its code and its length.
const FLAGS: u32 = 4 << 16 | packet::FLAGS as u32;
/// Up to the packet's data.
const PACKET_FIELDS: usize = 28;
/// The block's length at its end.
const TRAILER_LENGTH: usize = 4;
/// The longest that comes after the data, without comments: padding, flags, the end of the options, the length.
const PACKET_END: usize = 3 + 8 + 4 + TRAILER_LENGTH;

/// Comments that wait for a packet are written without one when they have this many bytes: at the end of a capture there
/// may be thousands.
const COMMENTS_LIMIT: usize = 32 * 1024;

/// Comments of the source on one packet, in bytes, of which more are left out: no block gets too long for readers.
const PACKET_COMMENTS_LIMIT: usize = 1024 * 1024;

/// Makes the contents of pcapng files.
#[derive(Debug)]
pub struct PcapngEncoder {
    interfaces: Vec<Interface>,
    /// The operating system, its release and the architecture, if they are known.
    os: Option<String>,
    /// Whether events are comments.
    with_comments: bool,
    /// The options of the next packet: what the source says of it.
    options: BytesMut,
    /// The options of the events since the last packet.
    comments: BytesMut,
    /// When the last of them was seen.
    commented: Timestamp,
    /// Comments of the source that there was no room for.
    left_out: u64,
    /// Packets that were lost in front of the next one, as the source has it.
    lost: u64,
    /// The accounts of the capture so far.
    trailer: Bytes,
}

/// An interface with its accounts.
#[derive(Debug)]
struct Interface {
    description: InterfaceDescription,
    /// Its packets.
    packets: u64,
    /// Those that there was no room for.
    dropped: u64,
    /// Packets that were lost since the start, and how many of them are still to be told at the next packet.
    lost: u64,
    untold: u64,
    /// What its last accounts say.
    told: Counts,
}

/// What the accounts of an interface say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    dropped_by_interface: u64,
    accepted: u64,
    dropped: u64,
    delivered: u64,
}

impl From<InterfaceDescription> for Interface {
    fn from(description: InterfaceDescription) -> Self {
        Self { description, packets: 0, dropped: 0, lost: 0, untold: 0, told: Counts::default() }
    }
}

impl PcapngEncoder {
    /// Packets of `interfaces`, which a packet's source is the place in, with the events as `comments` or without.
    pub fn new(interfaces: Vec<InterfaceDescription>, comments: bool) -> Self {
        Self {
            interfaces: interfaces.into_iter().map(Interface::from).collect(),
            os: operating_system(),
            with_comments: comments,
            options: BytesMut::new(),
            comments: BytesMut::new(),
            commented: Timestamp::default(),
            left_out: 0,
            lost: 0,
            trailer: Bytes::new(),
        }
    }

    /// The number of a packet's interface. Of a packet from an interface that is not in the list, it is that of the first with
    /// the packet's link type.
    #[inline]
    fn place(&self, packet: &Packet<'_>) -> Option<u32> {
        match self.interfaces.get(packet.source.0 as usize) {
            Some(interface) if interface.description.link_type == packet.link_type => Some(packet.source.0),
            _ => self.first_with(packet.link_type),
        }
    }

    #[cold]
    fn first_with(&self, link_type: LinkType) -> Option<u32> {
        let mut numbered = (0..).zip(&self.interfaces);
        let found = numbered.find(|(_, interface)| interface.description.link_type == link_type);
        found.map(|(number, _)| number)
    }

    /// A packet's interface, and its number.
    #[inline]
    fn interface_of(&mut self, packet: &Packet<'_>) -> Option<(u32, &mut Interface)> {
        let number = self.place(packet)?;
        Some((number, self.interfaces.get_mut(number as usize)?))
    }

    /// Of the interface that comments without a packet are put to.
    fn time_digits(&self) -> u8 {
        self.interfaces
            .first()
            .map_or(InterfaceDescription::MAX_TIME_DIGITS, |interface| interface.description.time_digits)
    }

    /// Adds to the next packet's options what was lost before it.
    #[cold]
    fn tell_losses(&mut self, untold: u64) {
        let lost = std::mem::take(&mut self.lost).saturating_add(untold);
        option(packet::DROP_COUNT, &lost.to_le_bytes(), &mut self.options);
    }

    /// Appends what is after a packet's data, where there are more options than the flags.
    #[cold]
    fn end_with_options(&mut self, length: u32, start: &[u8], block: &mut BytesMut) {
        block.extend_from_slice(start);
        block.extend_from_slice(&self.options);
        block.extend_from_slice(&self.comments);
        put_words([END, length], block);
        self.options.clear();
        self.comments.clear();
    }

    /// Appends the comments that have no packet.
    fn comment_alone(&mut self, out: &mut BytesMut) {
        let [high, low] = time_words(self.commented, self.time_digits());
        block(INTERFACE_STATISTICS, out, |out| {
            put_words([0, high, low], out);
            out.extend_from_slice(&self.comments);
            put_words([END], out);
        });
        self.comments.clear();
    }
}

impl Encoder for PcapngEncoder {
    fn header(&self) -> Bytes {
        let mut header = BytesMut::new();
        block(SECTION_HEADER, &mut header, |out| {
            put_words([BYTE_ORDER_MAGIC, VERSION, UNKNOWN_LENGTH, UNKNOWN_LENGTH], out);
            option(section::HARDWARE, ARCH.as_bytes(), out);
            text_option(section::OS, self.os.as_deref(), out);
            option(section::APPLICATION, concat!("capture ", env!("CARGO_PKG_VERSION")).as_bytes(), out);
            put_words([END], out);
        });
        for interface in &self.interfaces {
            describe(&interface.description, &mut header);
        }
        header.freeze()
    }

    fn interface(&mut self, interface: &InterfaceDescription, block: &mut BytesMut) {
        describe(interface, block);
        self.interfaces.push(interface.clone().into());
    }

    fn comment(&mut self, comment: &[u8]) {
        let fits = comment.len() <= usize::from(u16::MAX)
            && self.options.len() + comment.len() <= PACKET_COMMENTS_LIMIT;
        if fits {
            option(COMMENT, comment, &mut self.options);
        } else {
            self.left_out += 1;
        }
    }

    fn lost(&mut self, packets: u64) {
        self.lost = self.lost.saturating_add(packets);
    }

    #[inline]
    fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
        let Some((number, interface)) = self.interface_of(packet) else {
            // What is said of it goes with it.
            self.options.clear();
            self.comments.clear();
            return false;
        };
        interface.packets += 1;
        let time_digits = interface.description.time_digits;
        let untold = std::mem::take(&mut interface.untold);
        if untold > 0 || self.lost > 0 {
            self.tell_losses(untold);
        }
        let more = self.options.len() + self.comments.len();
        let data = packet.data;
        let padding = data.len().next_multiple_of(4) - data.len();
        let direction = match packet.direction {
            None => None,
            Some(Direction::In) => Some(1),
            Some(Direction::Out) => Some(2),
        };
        let flags_length = if direction.is_some() { 8 } else { 0 };
        let options_length = match flags_length + more {
            0 => 0,
            length => length + OPTION_HEADER_LENGTH,
        };
        let length = PACKET_FIELDS + data.len() + padding + options_length + TRAILER_LENGTH;
        block.reserve(length);
        let length = length as u32;
        let [high, low] = time_words(packet.time, time_digits);
        put_words([ENHANCED_PACKET, length, number, high, low, data.len() as u32, packet.wire_len], block);
        block.extend_from_slice(data);
        // Three bytes of padding, of which as many are left out as are not needed.
        let mut end = [0; PACKET_END];
        let words = [FLAGS, direction.unwrap_or_default(), END, length];
        for (bytes, word) in end[3..].as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = u32::to_le_bytes(word);
        }
        let start = 3 - padding;
        if more > 0 {
            self.end_with_options(length, &end[start..3 + flags_length], block);
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

    fn dropped(&mut self, packet: &Packet<'_>) {
        if let Some((_, interface)) = self.interface_of(packet) {
            interface.dropped += 1;
        }
    }

    fn wants_statistics(&self) -> bool {
        true
    }

    fn statistics(&mut self, statistics: &Statistics<'_>, out: &mut BytesMut) {
        if !statistics.losses_are_known {
            return;
        }
        let is_only = self.interfaces.len() == 1;
        let mut trailer = BytesMut::new();
        for (number, interface) in (0_u32..).zip(&mut self.interfaces) {
            let counts = interface.counts(statistics, number, is_only);
            let start = trailer.len();
            account(number, statistics, counts, interface.description.time_digits, &mut trailer);
            if statistics.is_last || counts != std::mem::replace(&mut interface.told, counts) {
                out.extend_from_slice(trailer.get(start..).unwrap_or_default());
            }
        }
        self.trailer = trailer.freeze();
    }

    fn trailer(&self) -> Bytes {
        self.trailer.clone()
    }

    fn remarks(&self) -> String {
        match self.left_out {
            0 => String::new(),
            count => {
                let were = if count == 1 { "comment was" } else { "comments were" };
                format!(
                    "capture: {count} {were} left out: those of one packet had more than {} KiB\n",
                    PACKET_COMMENTS_LIMIT / 1024
                )
            }
        }
    }

    fn epilogue(&mut self, forgotten: Option<Forgotten>, _interrupted: bool, block: &mut BytesMut) {
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

impl Interface {
    /// The accounts. What was lost since the last ones is told at the next packet. Where the interface is the only one, the losses
    /// of the whole capture are its own, and in the end it was also it that accepted what no output was to have.
    fn counts(&mut self, statistics: &Statistics<'_>, number: u32, is_only: bool) -> Counts {
        let &Statistics { dropped, dropped_by_interface, received, is_last, .. } = statistics;
        let InterfaceLosses { dropped, dropped_by_interface } = if is_only {
            InterfaceLosses { dropped, dropped_by_interface }
        } else {
            statistics.interfaces.get(number as usize).copied().unwrap_or_default()
        };
        let accepted = if is_only && is_last { received } else { self.packets + self.dropped + dropped };
        let lost = dropped + dropped_by_interface + self.dropped;
        self.untold = self.untold.saturating_add(lost.saturating_sub(self.lost));
        self.lost = lost.max(self.lost);
        Counts { dropped_by_interface, accepted, dropped, delivered: self.packets }
    }
}

/// Appends the block that describes an interface.
fn describe(interface: &InterfaceDescription, out: &mut BytesMut) {
    let InterfaceDescription {
        name,
        description,
        link_type,
        hardware_type: _,
        snaplen,
        time_digits,
        filter,
        hook,
        hardware,
        os,
    } = interface;
    block(INTERFACE_DESCRIPTION, out, |out| {
        put_words([link_type.number().into(), *snaplen], out);
        text_option(interface::NAME, name.as_deref(), out);
        text_option(interface::DESCRIPTION, description.as_deref().or(hook.as_deref()), out);
        option(interface::TIME_RESOLUTION, &[*time_digits], out);
        // A zero says that it is an expression.
        let filter = filter.as_ref().map(|filter| format!("\0{filter}"));
        text_option(interface::FILTER, filter.as_deref(), out);
        text_option(interface::OS, os.as_deref(), out);
        text_option(interface::HARDWARE, hardware.as_deref(), out);
        put_words([END], out);
    });
}

/// Appends the block with the accounts of an interface.
fn account(number: u32, of: &Statistics<'_>, counts: Counts, time_digits: u8, out: &mut BytesMut) {
    let Counts { dropped_by_interface, accepted, dropped, delivered } = counts;
    let time_option = |code, time, out: &mut BytesMut| {
        option_with(code, out, |out| put_words(time_words(time, time_digits), out));
    };
    block(INTERFACE_STATISTICS, out, |out| {
        let [high, low] = time_words(of.time, time_digits);
        put_words([number, high, low], out);
        time_option(statistics::START, of.start, out);
        if of.is_last {
            time_option(statistics::END, of.time, out);
        }
        for (code, count) in [
            (statistics::DROPPED_BY_INTERFACE, dropped_by_interface),
            (statistics::ACCEPTED_BY_FILTER, accepted),
            (statistics::DROPPED_BY_SYSTEM, dropped),
            (statistics::DELIVERED, delivered),
        ] {
            option(code, &count.to_le_bytes(), out);
        }
        put_words([END], out);
    });
}

/// Appends an option, if there is a text for it and it has room: half of a filter would be another filter.
fn text_option(code: u16, text: Option<&str>, out: &mut BytesMut) {
    if let Some(text) = text.filter(|text| text.len() <= usize::from(u16::MAX)) {
        option(code, text.as_bytes(), out);
    }
}

/// What `uname -sr` prints, if the kernel says so: read at the first call, because later it may be out of reach.
pub fn operating_system() -> Option<String> {
    static READ: OnceLock<Option<String>> = OnceLock::new();
    let read = |name| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok();
    let both = || Some(format!("{} {}", read("ostype")?.trim_end(), read("osrelease")?.trim_end()));
    READ.get_or_init(both).clone()
}
