//! The file that is being written.

use std::{fs::File, io, ops::Range};

use nix::{errno::Errno, unistd::close};

use super::super::{destination::Progress, stream::Stream};
use crate::blocking::write_all;

/// The file that is being written.
#[derive(Debug)]
pub(super) struct Current {
    /// What messages call it, where that is not what the options do.
    pub(super) name: Option<String>,
    stream: Stream,
    /// Whether it is a regular file that holds nothing else.
    is_regular: bool,
    /// Bytes that have been written.
    pub(super) size: u64,
    /// Packets that have been written.
    pub(super) packets: u64,
}

impl Current {
    /// Writes the `header`. `is_own`: the file holds nothing else.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn begin(
        name: Option<String>,
        mut file: File,
        is_own: bool,
        header: &[u8],
    ) -> io::Result<Self> {
        let is_file = file.metadata()?.is_file();
        write_all(&mut file, header)?;
        let stream = Stream::new(file, !is_file);
        Ok(Self { name, stream, is_regular: is_file && is_own, size: header.len() as u64, packets: 0 })
    }

    /// Writes a part of a block. False if the output has been stopped.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn write(
        &mut self,
        block: &[u8],
        ends: &[usize],
        part: Range<usize>,
        progress: &Progress,
    ) -> io::Result<bool> {
        let (start, end) = (part.start, part.end);
        let (written, result) = self.stream.write_part(block, ends, part, progress);
        let before = ends.partition_point(|end| *end <= start);
        let after = ends.partition_point(|end| *end <= written);
        if result.is_err() && self.is_regular {
            // A reader finds whole packets: the beginning of the one that found no room goes.
            let whole = ends[before..after].last().map_or(0, |end| end - start);
            // The caller reports the error before; this one adds nothing to it.
            let _cut = self.stream.file().set_len(self.size + whole as u64);
        }
        self.size += (written - start) as u64;
        self.packets += (after - before) as u64;
        result.map(|()| written == end)
    }

    /// Writes what belongs to no packet: all of it or nothing, if the file is regular.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let result = write_all(self.stream.file_mut(), bytes);
        if result.is_ok() {
            self.size += bytes.len() as u64;
        } else if self.is_regular {
            // The caller reports the error before; this one adds nothing to it.
            let _cut = self.stream.file().set_len(self.size);
        }
        result
    }

    /// Closes the file: a file system may show only then that what was written is not there.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn close(self) -> io::Result<()> {
        match close(self.stream.into_file()) {
            // The file is closed all the same (close(2)).
            Ok(()) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
