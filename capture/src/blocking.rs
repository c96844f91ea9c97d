//! Reads and writes that wait, also where a descriptor is in non-blocking mode: that is a property of the open file,
//! and another process that shares it may have set it.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// Between two attempts where poll(2) cannot wait.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until something can be written, or writing fails at once.
///
/// # Errors
///
/// When the kernel has no memory.
pub fn wait_for_room(output: &impl AsFd) -> io::Result<()> {
    wait_for(output, PollFlags::POLLOUT)
}

fn wait_for(descriptor: &impl AsFd, events: PollFlags) -> io::Result<()> {
    let mut polled = [PollFd::new(descriptor.as_fd(), events)];
    loop {
        match poll(&mut polled, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            // poll(2) takes no more descriptors than RLIMIT_NOFILE, which is 0 for a moment while the programs are
            // loaded. The caller tries again.
            Err(Errno::EINVAL) => {
                thread::sleep(PAUSE);
                return Ok(());
            }
            result => return Ok(result.map(drop)?),
        }
    }
}

/// Writes something, and returns how many bytes that was.
///
/// # Errors
///
/// When the output takes no more.
pub fn write_some(output: &mut (impl Write + AsFd), bytes: &[u8]) -> io::Result<usize> {
    loop {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(output)?,
            Err(error) => return Err(error),
        }
    }
}

/// Writes all bytes.
///
/// # Errors
///
/// When the output takes no more.
pub fn write_all(output: &mut (impl Write + AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[write_some(output, bytes)?..];
    }
    Ok(())
}

/// Reads something, and returns how many bytes that was: 0 at the end.
///
/// # Errors
///
/// When the input cannot be read.
pub fn read_some(input: &mut (impl Read + AsFd), bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for(input, PollFlags::POLLIN)?,
            result => return result,
        }
    }
}
