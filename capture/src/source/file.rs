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
mod pcap;
mod pcapng;

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    path::Path,
};

use capture_common::record::MAX_SNAPLEN;
use capture_packet::{LinkType, Packet, Precision};

use self::{buffer::Buffer, pcap::Pcap, pcapng::Pcapng};
pub use self::{bytes::ByteOrder, error::FileError};

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
    /// Begins to read a file: its header, and in pcapng what comes up to the first interface. Times are cut off to
    /// `precision`: tcpdump asks libpcap for microseconds, or with `--nano` for nanoseconds.
    pub fn new(reader: R, precision: Precision) -> Result<Self, FileError> {
        const MAGIC_LENGTH: usize = 4;

        let mut buffer = Buffer::new(reader);
        if !buffer.fill(MAGIC_LENGTH).map_err(FileError::Read)? {
            return Err(FileError::TruncatedFileHeader { wanted: MAGIC_LENGTH, got: buffer.available() });
        }
        let format = if let Some(pcap) = Pcap::open(&mut buffer, precision)? {
            Format::Pcap(pcap)
        } else if let Some(pcapng) = Pcapng::open(&mut buffer, precision)? {
            Format::Pcapng(pcapng)
        } else {
            return Err(FileError::UnknownFormat);
        };
        Ok(Self { buffer, format })
    }

    /// The next packet; `None` at the end of the file. After an error there is nothing more.
    #[inline]
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, FileError> {
        match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.buffer),
            Format::Pcapng(pcapng) => pcapng.next(&mut self.buffer),
        }
    }

    /// The byte order of the file's headers.
    pub fn byte_order(&self) -> ByteOrder {
        match &self.format {
            Format::Pcap(pcap) => pcap.byte_order,
            Format::Pcapng(pcapng) => pcapng.byte_order,
        }
    }

    /// The link type and the snapshot length (in bytes) of the file; in pcapng those of its first interface. Nothing
    /// where that interface's link type is not supported.
    pub fn first_interface(&self) -> Option<(LinkType, u32)> {
        match &self.format {
            Format::Pcap(pcap) => Some((pcap.link_type, pcap.snaplen)),
            Format::Pcapng(pcapng) => {
                let interface = pcapng.interfaces.get(0)?;
                Some((interface.link_type.ok()?, interface.snaplen))
            }
        }
    }
}

/// The snapshot length to read a file with: one that cannot be is replaced by the maximum (savefile.c,
/// pcap_adjust_snapshot).
fn adjust_snaplen(snaplen: u32) -> u32 {
    if snaplen == 0 || snaplen > i32::MAX.unsigned_abs() { MAX_SNAPLEN } else { snaplen }
}

#[cfg(test)]
mod tests;
