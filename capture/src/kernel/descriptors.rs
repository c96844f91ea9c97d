//! Which of the standard descriptors were open when the process started.
//!
//! Before `main`, Rust's runtime opens /dev/null in place of those that were not (std's `sanitize_standard_fds`), so
//! that no other file gets their numbers. From then on a closed one looks like one that was opened on /dev/null for
//! reading and writing, which is what daemon(3) and other programs start their children with. Only before that can they
//! be told apart, so a function of the ELF section `.init_array` looks: the C library calls these before `main`, and
//! std itself gets the arguments there.

use std::{
    os::fd::{AsFd, AsRawFd as _, RawFd},
    sync::atomic::{AtomicU8, Ordering},
};

/// Bit n for descriptor n.
static CLOSED: AtomicU8 = AtomicU8::new(0);

#[expect(unsafe_code, reason = "the section is not one that Rust knows")]
#[used]
// SAFETY: the section holds pointers to functions that take what they need from their arguments, or, as this one, take
// nothing (System V ABI, "Initialization and Termination Functions"). This one uses nothing that is not ready then.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for descriptor in 0..3 {
        #[expect(unsafe_code, reason = "descriptors that may not be open have no owner")]
        // SAFETY: the request takes no argument and reads a flag.
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
        if flags < 0 {
            CLOSED.fetch_or(1 << descriptor, Ordering::Relaxed);
        }
    }
}

/// Whether a standard descriptor was closed when the process started.
pub fn was_closed(standard: &impl AsFd) -> bool {
    let descriptor: RawFd = standard.as_fd().as_raw_fd();
    (0..3).contains(&descriptor) && CLOSED.load(Ordering::Relaxed) & (1 << descriptor) != 0
}
