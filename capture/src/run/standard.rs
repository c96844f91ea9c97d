//! The standard streams. Their descriptors are written to as they are, and what goes to standard error may be lost.

use std::{fs::File, io, os::fd::AsFd as _};

use nix::errno::Errno;

use super::error::RunError;
use crate::{blocking, kernel::was_closed, messages};

/// Standard output as a file: [`io::stdout`] has a lock and a buffer of its own, and takes a descriptor that cannot be
/// written to for one that takes everything.
pub(super) fn standard_output() -> Result<File, RunError> {
    let stdout = io::stdout();
    if was_closed(&stdout) {
        return Err(RunError::standard_output(Errno::EBADF.into()));
    }
    stdout.as_fd().try_clone_to_owned().map(File::from).map_err(RunError::standard_output)
}

pub(super) fn write_all(mut output: File, text: &str) -> Result<(), RunError> {
    blocking::write_all(&mut output, text.as_bytes()).map_err(RunError::standard_output)
}

/// Standard error as a file, likewise.
pub(super) fn standard_error() -> io::Result<File> {
    io::stderr().as_fd().try_clone_to_owned().map(File::from)
}

/// Writes to standard error. Where it is gone, the text is lost.
pub fn say(text: &str) {
    let _gone = blocking::write_all(&mut io::stderr(), messages::without_controls(text).as_bytes());
}

/// Writes a text that controls a terminal to standard error.
pub(super) fn show(text: &str) {
    let _gone = blocking::write_all(&mut io::stderr(), text.as_bytes());
}
