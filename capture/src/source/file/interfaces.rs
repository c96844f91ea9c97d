//! The interfaces that a section of a pcapng file describes.

use capture_packet::{LinkType, SourceId, Timestamp};

use super::{ByteOrder, FileError, Precision, adjust_snaplen, link};

/// The type of the block that describes one.
pub(super) const INTERFACE_DESCRIPTION: u32 = 1;

/// The code of the option that ends a list of options.
pub(super) const END_OF_OPTIONS: u16 = 0;

/// Runs of like interfaces that are kept, which bounds the memory. Files that are not made to be broken have few.
const MAX_RUNS: usize = 1 << 15;

/// The interfaces of a section, by their numbers. A file may describe millions, most of them alike: of those that
/// follow each other and are alike, one is kept.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    runs: Vec<Run>,
    /// How many the section has described, and how many of them are in the runs.
    count: u32,
    kept: u32,
    /// How many the sections before have described.
    before: u32,
}

#[derive(Debug)]
struct Run {
    /// The number of the first.
    first: u32,
    interface: Interface,
}

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

impl Interfaces {
    /// A section begins, which has to describe its own.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.before = self.before.wrapping_add(self.count);
        (self.count, self.kept) = (0, 0);
    }

    /// The interface of a number, if it has been described and kept.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&Interface> {
        match self.runs.as_slice() {
            [run] if number < self.kept => Some(&run.interface),
            _ => self.search(number),
        }
    }

    /// The place of the interface of a number among those of all sections.
    #[inline]
    pub(super) fn source(&self, number: u32) -> SourceId {
        SourceId(self.before.wrapping_add(number))
    }

    fn search(&self, number: u32) -> Option<&Interface> {
        let after = self.runs.partition_point(|run| run.first <= number);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (number < self.kept).then_some(&run.interface)
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
        let interface = Interface::read(byte_order, body)?;
        let number = self.count;
        self.count = self.count.saturating_add(1);
        if number > self.kept {
            return Ok(());
        }
        if self.runs.last().is_none_or(|run| run.interface != interface) {
            if self.runs.len() == MAX_RUNS {
                return Ok(());
            }
            self.runs.push(Run { first: number, interface });
        }
        self.kept = self.count;
        Ok(())
    }
}

impl Interface {
    fn read(byte_order: ByteOrder, body: &[u8]) -> Result<Self, FileError> {
        let Some((fixed, options)) = body.split_at_checked(8) else { return Err(short()) };
        let number = byte_order.u16(fixed, 0);
        let mut interface = Self {
            link_type: link::from_number(number.into()).ok_or(number),
            snaplen: adjust_snaplen(byte_order.u32(fixed, 4)),
            resolution: 1_000_000,
            binary: false,
            offset: 0,
        };
        interface.read_options(byte_order, options)?;
        Ok(interface)
    }

    /// sf-pcapng.c, process_idb_options.
    fn read_options(&mut self, byte_order: ByteOrder, mut options: &[u8]) -> Result<(), FileError> {
        const RESOLUTION: u16 = 9;
        const OFFSET: u16 = 14;

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
}

fn short() -> FileError {
    FileError::ShortBlock(INTERFACE_DESCRIPTION)
}
