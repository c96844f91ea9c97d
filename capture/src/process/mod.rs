//! A second process of a run, which has what the first one gives up: how it begins ([`fork`]), how the two talk
//! ([`channel`], [`message`]), and how it ends.
//!
//! The second process is a child, and no program of its own: it has no file to be found, and gets nothing but what the
//! first one had. It hears no signals, also those that a terminal sends to both. Each ends with the other, however that
//! ended: a socket whose process is gone is closed.

pub mod channel;
pub mod message;

use std::{
    ffi::CStr,
    fs::{self, File},
    io,
    os::fd::{AsRawFd, BorrowedFd},
    panic::{AssertUnwindSafe, catch_unwind},
};

use nix::{
    sys::signal::SigSet,
    unistd::{ForkResult, Pid, close, dup2_stderr, dup2_stdin, dup2_stdout},
};

/// Which of the two processes goes on.
#[derive(Debug)]
pub enum Side {
    /// The one that was there, and which the new one is.
    Parent(Pid),
    /// The new one.
    Child(Child),
}

/// The new process. It ends with this: what is on the stack belongs to the parent.
#[derive(Debug)]
#[must_use = "the process ends when this is dropped"]
pub struct Child(());

/// Makes two processes of this one. To be called while it has one thread: what other threads hold stays locked in the child
/// for ever.
///
/// # Errors
///
/// When the system has no more processes or memory.
pub fn fork() -> io::Result<Side> {
    #[expect(unsafe_code, reason = "the child goes on with this program")]
    // SAFETY: this process has one thread, so nothing that the child uses is held by a thread that it does not have.
    let forked = unsafe { nix::unistd::fork() }?;
    Ok(match forked {
        ForkResult::Parent { child } => Side::Parent(child),
        ForkResult::Child => Side::Child(Child(())),
    })
}

impl Child {
    /// Lives as `name` (ps(1); 15 bytes), and ends.
    pub fn live(self, name: &CStr, life: impl FnOnce()) -> ! {
        let run = || {
            // Signals are for the parent.
            let _valid = SigSet::all().thread_block();
            let _best_effort = nix::sys::prctl::set_name(name);
            // Who reads what the parent writes sees its end when the parent ends.
            let _best_effort = leave_standard_streams();
            life();
        };
        let _panicked = catch_unwind(AssertUnwindSafe(run));
        end()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        end()
    }
}

/// Closes a descriptor of the parent's in a child, which never drops what owns it: that is on the stack of the parent.
pub fn disown(descriptor: &impl AsRawFd) {
    // It is open.
    let _closed = close(descriptor.as_raw_fd());
}

/// Closes all descriptors but the standard ones and `kept`, in a child that owns none of the others.
pub fn close_others<'a>(kept: impl Iterator<Item = BorrowedFd<'a>>) {
    let mut kept: Vec<u32> = kept.map(|kept| kept.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 3;
    let mut closed = true;
    for kept in kept.iter().copied() {
        closed &= first >= kept || close_range(first, kept - 1).is_ok();
        first = first.max(kept + 1);
    }
    closed &= close_range(first, u32::MAX).is_ok();
    if !closed {
        // Before Linux 5.9. One of those that are listed is that of the list, and gone by then.
        let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let open: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        for descriptor in open.into_iter().filter(|open| *open > 2 && !kept.contains(open)) {
            let _closed = close(descriptor.cast_signed());
        }
    }
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    #[expect(unsafe_code, reason = "nix has no function for it")]
    // SAFETY: what these descriptors belong to is on the stack of the parent, and no code of the child uses it.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    Ok(nix::errno::Errno::result(result).map(drop)?)
}

/// Ends this process, whatever its other threads do.
fn end() -> ! {
    #[expect(unsafe_code, reason = "exit(3) would run what the parent has registered")]
    // SAFETY: it ends the process, whatever state that is in.
    unsafe {
        libc::_exit(0)
    }
}

fn leave_standard_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    Ok(dup2_stderr(&null)?)
}
