//! Packets from pcap and pcapng files.
//!
//! What is accepted, what is refused, and with which words is as in libpcap 1.10.3, so that a file gives the same
//! packets here and in tcpdump, whole, cut off or corrupt. One thing is more: in a pcapng file the interfaces may
//! differ in their link types and snapshot lengths, where libpcap gives up.
//!
//! The readers are our own because that is what the crates for these formats cannot give: they decide for themselves
//! what is malformed (an option of a packet block that libpcap never looks at, for one), and what they say of it does
//! not lead back to libpcap's words.

mod buffer;
mod bytes;
mod error;
mod interfaces;
mod link;
mod options;
mod pcap;
mod pcapng;
mod record;

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    path::Path,
    slice,
};

use capture_packet::Packet;

use self::{buffer::Buffer, pcap::Pcap, pcapng::Pcapng};
pub use self::{
    bytes::ByteOrder,
    error::FileError,
    options::Options,
    pcap::SignedTimes,
    record::{Record, Times},
};
use super::interface::InterfaceDescription;

/// The packets of a file, in the order they stand in it.
#[derive(Debug)]
pub struct FileSource<R> {
    buffer: Buffer<R>,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// Opens the file at `path`, or standard input where `path` is `-`.
///
/// # Errors
///
/// [`FileError::Open`].
pub fn open(path: &Path) -> Result<File, FileError> {
    let file = if path == Path::new("-") {
        // Its descriptor, because `Stdin` has a buffer and a lock of its own.
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    file.map_err(|source| FileError::Open { path: path.into(), source })
}

impl<R: Read> FileSource<R> {
    /// Begins to read a file: its header, and in pcapng what comes up to the first interface.
    pub fn new(reader: R, times: impl Into<Times>) -> Result<Self, FileError> {
        const MAGIC_LENGTH: usize = 4;

        let times = times.into();
        let mut buffer = Buffer::new(reader);
        if !buffer.fill(MAGIC_LENGTH).map_err(FileError::Read)? {
            return Err(FileError::TruncatedFileHeader { wanted: MAGIC_LENGTH, got: buffer.available() });
        }
        let format = if let Some(pcap) = Pcap::open(&mut buffer, times)? {
            Format::Pcap(pcap)
        } else if let Some(pcapng) = Pcapng::open(&mut buffer, times.precision())? {
            Format::Pcapng(pcapng)
        } else {
            return Err(FileError::UnknownFormat);
        };
        Ok(Self { buffer, format })
    }

    /// The next packet; `None` at the end of the file. After an error there is nothing more.
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, FileError> {
        match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.buffer),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.buffer),
        }
    }

    /// As [`next_record`](Self::next_record), the packet alone.
    #[inline]
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, FileError> {
        Ok(self.next_record()?.map(|record| record.packet))
    }

    /// The byte order of the file's headers.
    pub fn byte_order(&self) -> ByteOrder {
        match &self.format {
            Format::Pcap(pcap) => pcap.byte_order,
            Format::Pcapng(pcapng) => pcapng.byte_order,
        }
    }

    /// How tcpdump reads [exact](Times::Exact) times of this file, if in another way.
    pub fn signed_times(&self) -> Option<SignedTimes> {
        match &self.format {
            Format::Pcap(pcap) => pcap.signed_times(),
            Format::Pcapng(_) => None,
        }
    }

    /// What is known of the interfaces by now, which a packet's source is the place in. The list grows: a pcapng file
    /// describes interfaces wherever it likes, in each of its sections. It is bounded, to 1000 interfaces with 1 MiB of
    /// texts together, and one more for each link type, which those share that find no place. One that a section
    /// describes like the section before it has one place.
    pub fn interfaces(&self) -> &[InterfaceDescription] {
        match &self.format {
            Format::Pcap(pcap) => slice::from_ref(&pcap.interface),
            Format::Pcapng(pcapng) => pcapng.interfaces.list(),
        }
    }

    /// How many interfaces share a place with others, because the list is full.
    pub fn interfaces_left_out(&self) -> u64 {
        match &self.format {
            Format::Pcap(_) => 0,
            Format::Pcapng(pcapng) => pcapng.interfaces.left_out(),
        }
    }
}

#[cfg(test)]
mod tests;
