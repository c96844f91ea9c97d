//! Everything that talks to the kernel, and the only user of aya.
//!
//! [`Started::new`] loads the programs ([`object`]), attaches them ([`attacher`], [`attach`]) and splits the process: the
//! [`helper`] keeps them attached. [`Capture::drain`] reads the rings ([`rings`], [`ring`]) and hands out packets in the
//! order of their stamps ([`merge`]); [`Capture::detach`] ends it.

mod attach;
mod attacher;
mod attachment;
mod bpf;
mod capture;
mod capture_error;
mod chain;
mod cleanup;
mod clock;
mod counters;
mod cpus;
mod descriptors;
mod disposition;
mod error;
mod filter;
pub mod helper;
mod hook;
mod interface;
mod life;
mod link;
mod log;
mod losses;
mod mapping;
mod memory;
pub mod merge;
mod namespace;
mod netlink;
mod object;
mod objects;
mod pace;
mod privileges;
mod program;
mod promiscuity;
mod ring;
mod rings;
pub mod route;
mod set;
#[cfg(test)]
mod signature;
mod sources;
mod splice;
mod timer;
mod watch;

pub use attach::{AttachError, Attached};
pub use attacher::Place;
pub use capture::{Capture, CaptureOptions, Change, Started};
pub use capture_error::{CaptureError, DetachError, HelperError, StartError, WaitError};
pub use chain::{Detached, Notice};
pub use cleanup::{CleanupError, clean_up};
pub use descriptors::was_closed;
pub use disposition::is_ignored;
pub use hook::{DirectionFilter, Hook};
pub use interface::{Disappeared, Interface, InterfaceError, printable};
pub use log::{LogError, LogLevel};
pub use losses::Losses;
pub use memory::LargePages;
pub use merge::Left;
pub use namespace::{NamespaceArgument, NamespaceError, NetworkNamespace};
pub use object::{
    CountersError, FilterCode, LoadError, OBJECT, Object, ObjectOptions, RingsError, SettleError,
    TooManyFiles, lift_file_limit,
};
pub use objects::Kind;
pub use privileges::{Denial, NotPermitted};
pub use set::{Interfaces, Named};
pub use sources::{Listed, Origin, RecordSource};
pub use watch::{Appearance, WatchError};

/// The size of a page in bytes.
fn page_size() -> usize {
    const SMALLEST: usize = 4096;
    match nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE) {
        Ok(Some(size)) => usize::try_from(size).unwrap_or(SMALLEST),
        _ => SMALLEST,
    }
}
