//! Everything that talks to the kernel, and the only user of aya.
//!
//! [`Capture::start`] loads the programs ([`object`]), makes the rings ([`rings`], [`ring`]) and attaches
//! ([`attach`]); [`Capture::drain`] hands out packets in the order of their stamps ([`merge`]); [`Capture::detach`] ends
//! it.

mod attach;
mod bpf;
mod capture;
mod chain;
mod clock;
mod cpus;
mod descriptors;
mod disposition;
mod error;
mod filter;
mod hook;
mod interface;
mod link;
mod log;
pub mod merge;
mod netlink;
mod object;
mod pace;
mod privileges;
mod program;
mod promiscuity;
mod ring;
mod rings;
#[cfg(test)]
mod signature;
mod timer;
mod watch;

pub use attach::Attached;
pub use capture::{Capture, CaptureOptions};
pub use chain::Notice;
pub use descriptors::was_closed;
pub use disposition::is_ignored;
pub use error::KernelError;
pub use hook::{DirectionFilter, Hook};
pub use interface::{Interface, printable};
pub use log::LogLevel;
pub use merge::Left;
pub use object::{OBJECT, Object, ObjectOptions, lift_file_limit};
pub use privileges::Denial;

/// The size of a page in bytes.
fn page_size() -> usize {
    const SMALLEST: usize = 4096;
    match nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE) {
        Ok(Some(size)) => usize::try_from(size).unwrap_or(SMALLEST),
        _ => SMALLEST,
    }
}
