//! The interfaces that a pcapng file describes: how the packets of each are read, and what is known of it.

use capture_common::record::MAX_SNAPLEN;
use capture_packet::{LinkType, Precision, SourceId, Timestamp};

use super::{
    bytes::ByteOrder,
    error::FileError,
    link::{self, adjust_snaplen},
};
use crate::{
    pcapng::{block::INTERFACE_DESCRIPTION, interface, option::END_OF_OPTIONS},
    source::interface::InterfaceDescription,
};

/// Runs of like interfaces that are kept, which bounds the memory. Files that are not made to be broken have few.
const MAX_RUNS: usize = 1 << 15;

/// Interfaces that are listed each by itself, and how many bytes their texts have together.
const MAX_LISTED: usize = 1000;
const MAX_TEXT: usize = 1024 * 1024;

/// The interfaces of a section, by their numbers. A file may describe millions, most of them alike: of those that
/// follow each other and are read alike, one is kept.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    runs: Vec<Run>,
    /// How many the section has described, and how many of them are in the runs.
    count: u32,
    kept: u32,
    list: List,
}

#[derive(Debug)]
struct Run {
    /// The number of the first.
    first: u32,
    interface: Interface,
    /// The place of the first in the list.
    source: SourceId,
    /// Whether all have that place; else one after the other.
    is_shared: bool,
}

/// How packets of an interface are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What is known of the interfaces of all sections. It is bounded: when it is full, those that follow share a place with
/// the others of their link type.
#[derive(Debug, Default)]
struct List {
    interfaces: Vec<InterfaceDescription>,
    /// Bytes of their texts.
    text: usize,
    /// The places of those that stand for several, one for each link type.
    shared: Vec<SourceId>,
    /// The places of the first interfaces of this section and of the one before, by their numbers.
    section: Vec<SourceId>,
    section_before: Vec<SourceId>,
    /// How many have no place of their own.
    left_out: u64,
}

impl Interfaces {
    /// A section begins, which has to describe its own.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        (self.count, self.kept) = (0, 0);
        self.list.next_section();
    }

    /// What is known of each interface, through all sections so far. Those of link types that are not supported are left
    /// out.
    #[inline]
    pub(super) fn list(&self) -> &[InterfaceDescription] {
        &self.list.interfaces
    }

    /// How many interfaces share a place in the list with others, because it was full.
    pub(super) fn left_out(&self) -> u64 {
        self.list.left_out
    }

    /// Whether the section has described none.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The interface of a number and its place in the list, if it has been described and kept.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<(&Interface, SourceId)> {
        let run = match self.runs.as_slice() {
            [run] => run,
            _ => self.search(number)?,
        };
        let source = if run.is_shared { run.source.0 } else { run.source.0 + (number - run.first) };
        (number < self.kept).then_some((&run.interface, SourceId(source)))
    }

    fn search(&self, number: u32) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.first <= number);
        self.runs.get(after.checked_sub(1)?)
    }

    /// Why there is no interface of that number.
    #[cold]
    pub(super) fn missing(&self, number: u32) -> FileError {
        if number < self.count {
            FileError::TooManyInterfaces(number)
        } else {
            FileError::UnknownInterface(number)
        }
    }

    /// Adds the one that a block describes. Where there is no room for it, that is an error once a packet names it.
    pub(super) fn add(&mut self, byte_order: ByteOrder, body: &[u8]) -> Result<(), FileError> {
        let (interface, description) = Interface::read(byte_order, body)?;
        let number = self.count;
        self.count = self.count.saturating_add(1);
        if number > self.kept {
            return Ok(());
        }
        let (source, is_shared) = match description {
            Some(description) => self.list.place(number, description),
            // No packet of it is given.
            None => (SourceId(u32::MAX), true),
        };
        let goes_on = |run: &Run| {
            // One of which no packet is given has no place to count from.
            let next =
                if is_shared { Some(run.source.0) } else { run.source.0.checked_add(number - run.first) };
            run.interface == interface && run.is_shared == is_shared && next == Some(source.0)
        };
        if !self.runs.last().is_some_and(goes_on) {
            if self.runs.len() == MAX_RUNS {
                return Ok(());
            }
            self.runs.push(Run { first: number, interface, source, is_shared });
        }
        self.kept = self.count;
        Ok(())
    }
}

impl List {
    fn next_section(&mut self) {
        std::mem::swap(&mut self.section, &mut self.section_before);
        self.section.clear();
    }

    /// The place of an interface, the one of this number in its section, and whether others share it. Files that were put
    /// together describe the same interfaces in each section: such a one has one place.
    fn place(&mut self, number: u32, description: InterfaceDescription) -> (SourceId, bool) {
        let again = self.section_before.get(number as usize).copied();
        let again = again.filter(|place| self.interfaces.get(place.0 as usize) == Some(&description));
        let text = description.text_length();
        let (place, is_shared) = if let Some(place) = again {
            (place, self.shared.contains(&place))
        } else if self.interfaces.len() < MAX_LISTED && self.text + text <= MAX_TEXT {
            self.text += text;
            (self.push(description), false)
        } else {
            self.left_out += 1;
            (self.share(description.link_type), true)
        };
        if number as usize == self.section.len() && self.section.len() < MAX_LISTED {
            self.section.push(place);
        }
        (place, is_shared)
    }

    fn share(&mut self, link_type: LinkType) -> SourceId {
        let is_one = |place: &&SourceId| {
            self.interfaces.get(place.0 as usize).is_some_and(|shared| shared.link_type == link_type)
        };
        if let Some(place) = self.shared.iter().find(is_one) {
            return *place;
        }
        let place = self.push(InterfaceDescription::new(link_type, MAX_SNAPLEN));
        self.shared.push(place);
        place
    }

    fn push(&mut self, description: InterfaceDescription) -> SourceId {
        // There are never more than fit into 32 bits.
        let place = SourceId(self.interfaces.len() as u32);
        self.interfaces.push(description);
        place
    }
}

impl Interface {
    /// How its packets are read, and what the block says of it: nothing where the link type is not supported.
    fn read(byte_order: ByteOrder, body: &[u8]) -> Result<(Self, Option<InterfaceDescription>), FileError> {
        let Some((fixed, options)) = body.split_at_checked(8) else { return Err(short()) };
        let number = byte_order.u16(fixed, 0);
        let mut interface = Self {
            link_type: link::from_number(number.into()).ok_or(number),
            snaplen: adjust_snaplen(byte_order.u32(fixed, 4)),
            resolution: 1_000_000,
            binary: false,
            offset: 0,
        };
        let mut description =
            InterfaceDescription::new(interface.link_type.unwrap_or(LinkType::Raw), interface.snaplen);
        interface.read_options(byte_order, options, &mut description)?;
        description.time_digits = interface.time_digits();
        Ok((interface, interface.link_type.ok().map(|_| description)))
    }

    /// sf-pcapng.c, process_idb_options; and the texts.
    fn read_options(
        &mut self,
        byte_order: ByteOrder,
        mut options: &[u8],
        description: &mut InterfaceDescription,
    ) -> Result<(), FileError> {
        let (mut saw_resolution, mut saw_offset) = (false, false);
        while !options.is_empty() {
            let (header, rest) = options.split_at_checked(4).ok_or_else(short)?;
            let (code, length) = (byte_order.u16(header, 0), byte_order.u16(header, 2));
            let padded = usize::from(length).next_multiple_of(4);
            let (value, rest) = rest.split_at_checked(padded).ok_or_else(short)?;
            options = rest;
            let text = &value[..usize::from(length)];
            match code {
                END_OF_OPTIONS if length != 0 => return Err(FileError::EndOfOptionsLength(length)),
                END_OF_OPTIONS => break,
                interface::TIME_RESOLUTION => {
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
                interface::TIME_OFFSET => {
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
                interface::NAME => description.name = text_of(text),
                interface::DESCRIPTION => description.description = text_of(text),
                interface::HARDWARE => description.hardware = text_of(text),
                interface::OS => description.os = text_of(text),
                // Other kinds of filters are no expressions.
                interface::FILTER => {
                    if let Some(expression) = text.strip_prefix(&[0]) {
                        description.filter = text_of(expression);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The time in the precision it is wanted in, cut off and not rounded. Multiplying first wraps round where the
    /// resolution is a high power of two, as it does in libpcap.
    #[inline]
    pub(super) fn time(&self, ticks: u64, precision: Precision) -> Timestamp {
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

    /// How many digits the fraction of a second has: nine at most, which stand for powers of two, too.
    fn time_digits(&self) -> u8 {
        let most = InterfaceDescription::MAX_TIME_DIGITS;
        if self.binary {
            most
        } else {
            (0..most).find(|digits| 10_u64.pow((*digits).into()) == self.resolution).unwrap_or(most)
        }
    }
}

/// The text of an option. Some programs end it with a zero.
fn text_of(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn short() -> FileError {
    FileError::ShortBlock(INTERFACE_DESCRIPTION)
}
