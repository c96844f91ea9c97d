//! Which signals are blocked, before any thread starts.

use std::sync::OnceLock;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The signals that were blocked when the process started.
static AT_START: OnceLock<SigSet> = OnceLock::new();

/// Lets two signals not end the process. To be called first: later threads inherit what is blocked.
///
/// A write beyond the limit for a file's size (`ulimit -f`) fails then, and the error is reported, where SIGXFSZ would
/// end the process. SIGUSR2 does nothing while a file is read, as in tcpdump; a live capture listens to it.
pub fn block_signals() {
    let blocked: SigSet = [Signal::SIGXFSZ, Signal::SIGUSR2].into_iter().collect();
    // The mask is valid, and this fails for no other reason (pthread_sigmask(3)).
    if let Ok(before) = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK) {
        AT_START.get_or_init(|| before);
    }
}

/// The signals that were blocked when the process started: what it starts has no others blocked.
pub(super) fn signals_at_start() -> SigSet {
    AT_START.get().copied().unwrap_or_else(SigSet::empty)
}
