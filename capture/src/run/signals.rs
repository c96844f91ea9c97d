//! The signals that a live capture listens to.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals a capture listens to.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Not listened to where it was ignored from the start, as nohup(1) does.
    hang_up: Option<Signal>,
    report: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: if is_hang_up_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
            report: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Asked {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = hang_up => Asked::Stop,
            _ = self.report.recv() => Asked::Report,
        }
    }

    /// Waits until one asks to stop, once more.
    pub(super) async fn stop_again(&mut self) {
        while let Asked::Report = self.next().await {}
    }
}

/// Whether SIGHUP is ignored.
fn is_hang_up_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hang_up(&status))
}

/// What a process's status says of SIGHUP (proc(5), `SigIgn`: bit n-1 for signal n).
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

/// What a signal asks for.
pub(super) enum Asked {
    /// To stop.
    Stop,
    /// The numbers so far, on standard error.
    Report,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_up_is_ignored_where_the_first_bit_says_so() {
        assert!(ignores_hang_up("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!ignores_hang_up("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\nSigCgt:\t1\n"));
        assert!(!ignores_hang_up(""));
    }
}
