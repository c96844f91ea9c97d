//! How a clsact filter tells whether its capture lives: below Linux 6.6 it stays when the process is killed that would have
//! removed it.
//!
//! The name of the filter has a mark, and as long as the capture lives its helper has a socket of that name. Abstract names of
//! sockets (unix(7)) belong to the network namespace, as the interface does, so that no capture is taken for dead because it is in
//! another container; and they are free again however the process ended.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket},
};

use super::{
    filter::{Filter, delete_filter, filters},
    hook::Side,
};

/// What separates the name of a program from the mark, which is 16 hexadecimal digits.
const MARKED: &str = " capture-";

/// A sign of life. Dropped, or with the process, it is gone.
#[derive(Debug)]
pub(super) struct Life {
    #[expect(dead_code, reason = "held for its drop, which frees the name")]
    socket: OwnedFd,
    mark: u64,
}

impl Life {
    /// In the network namespace that this thread is in.
    ///
    /// # Errors
    ///
    /// When the system has no more descriptors.
    pub(super) fn new() -> io::Result<Self> {
        // Its keys are random (std::hash::RandomState).
        let mark = RandomState::new().hash_one(std::process::id());
        Ok(Self { socket: named(mark)?, mark })
    }

    /// What the names of its filters end with.
    pub(super) fn suffix(&self) -> String {
        format!("{MARKED}{:016x}", self.mark)
    }
}

/// A socket with the name of a mark. `EADDRINUSE` if there is one.
fn named(mark: u64) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &UnixAddr::new_abstract(format!("capture-{mark:016x}").as_bytes())?)?;
    Ok(socket)
}

/// Whether a filter is that of a capture which does not live any more, in this network namespace.
fn is_dead(filter: &Filter) -> bool {
    let Some(program) = &filter.program else { return false };
    mark_of(&program.name).is_some_and(|mark| named(mark).is_ok())
}

fn mark_of(name: &str) -> Option<u64> {
    let (_, mark) = name.split_once(MARKED)?;
    let is_mark = mark.len() == 16 && mark.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(mark, 16).ok().filter(|_| is_mark)
}

/// Removes the filters of dead captures from both sides of an interface, and returns how many. The qdisc stays: others may
/// use it.
///
/// # Errors
///
/// The kernel's, when one is not removed.
pub(super) fn remove_dead(interface: u32) -> io::Result<usize> {
    let mut removed = 0;
    for side in [Side::Ingress, Side::Egress] {
        let all = match filters(interface, side) {
            // Without a qdisc there is none.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENODEV | libc::EINVAL)) =>
            {
                continue;
            }
            all => all?,
        };
        for filter in all.iter().filter(|filter| is_dead(filter)) {
            match delete_filter(interface, side, filter) {
                // Somebody else was faster.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                deleted => {
                    deleted?;
                    removed += 1;
                }
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::filter::FilterProgram;

    #[test]
    fn only_marks_are_taken_for_marks() {
        assert_eq!(mark_of("tc_ingress capture-00000000000000ff"), Some(255));
        for name in [
            "tc_ingress",
            "tc_ingress capture-",
            "capture-00000000000000ff",
            "x capture-+0000000000000ff",
            "x capture-ff",
        ] {
            assert_eq!(mark_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_capture_lives_as_long_as_its_socket() {
        let life = Life::new().unwrap();
        let name = format!("tc_egress{}", life.suffix());
        let filter =
            Filter { program: Some(FilterProgram { name, ..FilterProgram::default() }), ..Filter::default() };
        assert!(!is_dead(&filter) && !is_dead(&Filter::default()));
        drop(life);
        assert!(is_dead(&filter));
    }
}
