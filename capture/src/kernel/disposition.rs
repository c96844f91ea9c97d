//! What a process does about a signal.

use nix::sys::signal::Signal;

/// Whether the process ignores a signal.
pub fn is_ignored(signal: Signal) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    #[expect(unsafe_code, reason = "nix has no question that changes nothing")]
    // SAFETY: without a new action the call changes nothing, and it writes no more than one of that type. All bytes zero
    // are a valid one.
    let action = unsafe {
        libc::sigaction(signal as libc::c_int, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rusts_runtime_ignores_sigpipe_and_handles_sigsegv() {
        assert!(is_ignored(Signal::SIGPIPE));
        assert!(!is_ignored(Signal::SIGSEGV));
        assert!(!is_ignored(Signal::SIGKILL));
    }
}
