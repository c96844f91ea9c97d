//! The file that is being written.

use std::{
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::stat::{FileStat, fstat},
    unistd::close,
};

use super::{
    super::{destination::Progress, stream::Stream},
    claims::Claim,
    error::{Cause, FilesError},
};
use crate::blocking::write_all;

/// The file that is being written.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) path: PathBuf,
    stream: Stream,
    /// No other output writes to it meanwhile.
    _claim: Option<Claim>,
    /// Whether it is a regular file that holds nothing else.
    pub(super) is_regular: bool,
    /// Bytes that have been written.
    pub(super) size: u64,
    /// Packets that have been written.
    pub(super) packets: u64,
}

/// A file that is complete.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// Which file it is, whatever has its name now.
    pub(super) identity: Option<(u64, u64)>,
}

impl Current {
    /// Writes the `header`. `is_own`: the file holds nothing else.
    pub(super) fn begin(
        path: &Path,
        mut file: File,
        is_own: bool,
        claim: Option<Claim>,
        header: &[u8],
    ) -> Result<Self, FilesError> {
        let failed = |error| FilesError::new(path, Cause::System(error));
        let is_file = file.metadata().map_err(failed)?.is_file();
        write_all(&mut file, header).map_err(failed)?;
        let stream = Stream::new(file, !is_file);
        let (path, size) = (path.to_owned(), header.len() as u64);
        Ok(Self { path, stream, _claim: claim, is_regular: is_file && is_own, size, packets: 0 })
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

    /// Closes the file: a file system may show only then that what was written is not there.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn close(self) -> io::Result<Finished> {
        let file = self.stream.into_file();
        let finished =
            Finished { path: self.path, size: self.size, identity: fstat(&file).ok().as_ref().map(identity) };
        match close(file) {
            // The file is closed all the same (close(2)).
            Ok(()) | Err(Errno::EINTR) => Ok(finished),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The device and the inode.
pub(super) fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
