//! Files that other tools read.
//!
//! Each file begins with the encoder's header, which is in it as soon as it exists, and holds whole packets. Errors are
//! those of the system, with the file's name; also what only closing a file shows is one.

mod error;
mod open;
mod options;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use nix::{errno::Errno, unistd::close};

use self::open::{Folder, is_descriptor, open_descriptor};
pub use self::{
    error::{Cause, FilesError},
    options::FilesOptions,
};
use super::{
    destination::{Destination, Progress},
    stream::Stream,
};
use crate::blocking::write_all;

/// Writes to files.
#[derive(Debug)]
pub struct Files {
    options: FilesOptions,
    current: Option<Current>,
}

/// The file that is being written.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    stream: Stream,
    /// Whether it is a regular file that holds nothing else.
    is_regular: bool,
    /// Bytes that have been written.
    size: u64,
}

impl Files {
    /// Opens the first file and writes the encoder's `header`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or written.
    pub fn create(options: FilesOptions, header: Bytes) -> Result<Self, FilesError> {
        let path = options.path.clone();
        let current = if is_descriptor(&path) {
            Current::begin(&path, open_descriptor(&path)?, false, &header)?
        } else {
            let file = Folder::of(&path)?.open(&path)?;
            Current::begin(&path, file, true, &header)?
        };
        Ok(Self { options, current: Some(current) })
    }

    /// The system's answer for the file `path`. Messages call the output by the name in the options; where the file has
    /// another one, the error names it.
    fn error(&self, path: &Path, error: io::Error) -> io::Error {
        if path == self.options.path {
            return error;
        }
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    }
}

impl Current {
    /// Writes the `header`. `is_own`: the file holds nothing else.
    fn begin(path: &Path, mut file: File, is_own: bool, header: &Bytes) -> Result<Self, FilesError> {
        let failed = |error| FilesError::new(path, Cause::System(error));
        let is_file = file.metadata().map_err(failed)?.is_file();
        write_all(&mut file, header).map_err(failed)?;
        let stream = Stream::new(file, !is_file);
        let (path, size) = (path.to_owned(), header.len() as u64);
        Ok(Self { path, stream, is_regular: is_file && is_own, size })
    }

    /// Writes a part of a block. False if the output has been stopped.
    fn write(
        &mut self,
        block: &[u8],
        ends: &[usize],
        part: Range<usize>,
        progress: &Progress,
    ) -> io::Result<bool> {
        let (start, end) = (part.start, part.end);
        let (written, result) = self.stream.write_part(block, ends, part, progress);
        if result.is_err() && self.is_regular {
            // A reader finds whole packets: the beginning of the one that found no room goes.
            let whole = ends[..ends.partition_point(|end| *end <= written)].last();
            let whole = whole.map_or(start, |whole| (*whole).max(start));
            // The error is the one that is told; this is no worse.
            let _cut = self.stream.file().set_len(self.size + (whole - start) as u64);
        }
        self.size += (written - start) as u64;
        result.map(|()| written == end)
    }

    /// Closes the file: a file system may show only then that what was written is not there.
    fn close(self) -> io::Result<()> {
        match close(self.stream.into_file()) {
            // The file is closed all the same (close(2)).
            Ok(()) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Destination for Files {
    fn write(&mut self, block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        match current.write(block, ends, 0..block.len(), progress) {
            Ok(_) => Ok(()),
            Err(error) => {
                let path = current.path.clone();
                Err(self.error(&path, error))
            }
        }
    }

    fn has_header(&self) -> bool {
        true
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let path = current.path.clone();
        current.close().map_err(|error| self.error(&path, error))
    }
}
