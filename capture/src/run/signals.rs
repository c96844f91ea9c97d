//! The signals that a live capture listens to.
//!
//! They are blocked and read from a descriptor (signalfd(2)), because only that tells where a signal comes from. Blocked
//! they interrupt nothing: not the loading of programs, and not an attachment halfway.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use tokio::{sync::Notify, task::coop};

use crate::kernel::is_ignored;

/// From this time after the first request to end, another one is a request to end now. What comes sooner belongs to
/// the first: timeout(1) sends its signal twice, a shell and the kernel both send SIGHUP.
const LATER: Duration = Duration::from_secs(2);

/// The signals a capture listens to. Dropped with the process.
#[derive(Debug)]
pub(super) struct Signals {
    pending: Arc<Pending>,
}

/// What was asked for and waits for an answer. Requests of one kind that wait are one request, as in the kernel, so that
/// the thread that reads signals never waits: it stamps each when it comes, however busy the daemon is.
#[derive(Debug, Default)]
struct Pending {
    /// Bit n for the kind n of [`Asked`].
    kinds: AtomicU8,
    added: Notify,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To end, with everything that has been matched.
    End,
    /// To end without waiting for the output.
    EndNow,
    /// The numbers so far, on standard error.
    Report,
    /// To write out the lines that are buffered.
    Flush,
}

/// A signal, when it came, and whether a key of the terminal sent it.
#[derive(Clone, Copy, Debug)]
struct Received {
    signal: Signal,
    at: Instant,
    from_terminal: bool,
}

/// The requests to end so far.
#[derive(Debug, Default)]
struct Requests {
    first: Option<Instant>,
    from_terminal: bool,
}

/// The signals, blocked, and not waited for by a thread yet.
#[derive(Debug)]
pub(super) struct Blocked {
    descriptor: SignalFd,
    requests: Requests,
}

impl Blocked {
    /// Blocks the signals. To be called before any thread is started: they inherit what is blocked.
    ///
    /// # Errors
    ///
    /// When the system has no more descriptors.
    pub(super) fn new() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in Signal::iterator().filter(|signal| is_listened_to(*signal, is_ignored)) {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self { descriptor: descriptor(&set)?, requests: Requests::default() })
    }

    /// Waits for a signal: to be called when this is readable, where nothing else may wait. What it asks for, if it asks
    /// for anything.
    ///
    /// # Errors
    ///
    /// When no signal comes any more.
    pub(super) fn next(&mut self) -> io::Result<Option<Asked>> {
        let received = match self.descriptor.read_signal() {
            Ok(Some(info)) => received_as(info.ssi_signo, info.ssi_code, Instant::now()),
            Ok(None) | Err(Errno::EINTR) => None,
            Err(errno) => return Err(errno.into()),
        };
        Ok(received.and_then(|received| self.requests.judge(received)))
    }

    /// Starts the thread that waits for them.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub(super) fn listen(mut self) -> io::Result<Signals> {
        let pending = Arc::new(Pending::default());
        let to = Arc::clone(&pending);
        let run = move || {
            while let Ok(asked) = self.next() {
                asked.into_iter().for_each(|asked| to.add(asked));
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(run)?;
        Ok(Signals { pending })
    }
}

impl AsFd for Blocked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Signals {
    /// Waits for the next one. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Asked {
        // Timers and descriptors have their turn, however fast signals come.
        coop::consume_budget().await;
        loop {
            match self.pending.take() {
                Some(asked) => return asked,
                None => self.pending.added.notified().await,
            }
        }
    }
}

impl Asked {
    /// In the order in which they are answered: many reports do not keep out a request to end.
    const ALL: [Self; 4] = [Self::End, Self::EndNow, Self::Report, Self::Flush];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Pending {
    fn add(&self, asked: Asked) {
        self.kinds.fetch_or(asked.bit(), Ordering::Relaxed);
        self.added.notify_one();
    }

    fn take(&self) -> Option<Asked> {
        let is_pending =
            |asked: &Asked| self.kinds.fetch_and(!asked.bit(), Ordering::Relaxed) & asked.bit() != 0;
        Asked::ALL.into_iter().find(is_pending)
    }
}

impl Requests {
    /// What a signal asks for, if it asks for anything that was not asked for before.
    fn judge(&mut self, Received { signal, at, from_terminal }: Received) -> Option<Asked> {
        match signal {
            Signal::SIGUSR1 => return Some(Asked::Report),
            Signal::SIGUSR2 => return Some(Asked::Flush),
            _ => {}
        }
        let again_from_terminal = self.from_terminal && from_terminal;
        self.from_terminal |= from_terminal;
        match self.first {
            None => {
                self.first = Some(at);
                Some(Asked::End)
            }
            Some(first) if again_from_terminal || at.duration_since(first) >= LATER => Some(Asked::EndNow),
            Some(_) => None,
        }
    }
}

/// What signals are read from. The programs of `-z` do not get it.
fn descriptor(set: &SigSet) -> nix::Result<SignalFd> {
    SignalFd::with_flags(set, SfdFlags::SFD_CLOEXEC)
}

/// Whether a capture listens to a signal; `is_ignored` says whether it was ignored from the start.
fn is_listened_to(signal: Signal, is_ignored: impl Fn(Signal) -> bool) -> bool {
    match signal {
        // tcpdump, too, listens to these even where they were ignored, as for children of a shell in the background.
        Signal::SIGINT | Signal::SIGTERM | Signal::SIGUSR1 | Signal::SIGUSR2 => true,
        // They cannot be blocked.
        Signal::SIGKILL | Signal::SIGSTOP => false,
        // Faults, and abort(3): there is nothing that could be trusted to end in order.
        Signal::SIGILL
        | Signal::SIGTRAP
        | Signal::SIGABRT
        | Signal::SIGBUS
        | Signal::SIGFPE
        | Signal::SIGSEGV
        | Signal::SIGSYS => false,
        // Job control, and what does nothing by default (signal(7)).
        Signal::SIGCHLD
        | Signal::SIGCONT
        | Signal::SIGTSTP
        | Signal::SIGTTIN
        | Signal::SIGTTOU
        | Signal::SIGURG
        | Signal::SIGWINCH => false,
        // The write that causes them reports an error.
        Signal::SIGPIPE | Signal::SIGXFSZ => false,
        // Everything else would end the process. nohup(1) lets it ignore SIGHUP.
        other => !is_ignored(other),
    }
}

/// A signal as signalfd(2) has it: its number, and its origin as in sigaction(2).
fn received_as(number: u32, code: i32, at: Instant) -> Option<Received> {
    let signal = Signal::try_from(i32::try_from(number).ok()?).ok()?;
    // The kernel itself sends what a key of the terminal asks for (drivers/tty/n_tty.c, `isig`); kill(2) has other
    // codes.
    let is_key = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
    Some(Received { signal, at, from_terminal: is_key && code == libc::SI_KERNEL })
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    use super::*;

    #[test]
    fn programs_do_not_get_the_descriptor() {
        let flags = fcntl(descriptor(&SigSet::empty()).unwrap(), FcntlArg::F_GETFD).unwrap();
        assert_eq!(FdFlag::from_bits_truncate(flags), FdFlag::FD_CLOEXEC);
    }

    #[test]
    fn what_ends_a_process_ends_a_capture_unless_it_was_ignored() {
        let listened = |is_ignored: fn(Signal) -> bool| {
            let signals = Signal::iterator().filter(|signal| is_listened_to(*signal, is_ignored));
            signals.map(Signal::as_str).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            listened(|_| false),
            "SIGHUP SIGINT SIGQUIT SIGUSR1 SIGUSR2 SIGALRM SIGTERM SIGSTKFLT SIGXCPU SIGVTALRM SIGPROF SIGIO SIGPWR"
        );
        assert_eq!(listened(|_| true), "SIGINT SIGUSR1 SIGUSR2 SIGTERM");
        assert!(!is_listened_to(Signal::SIGHUP, |signal| signal == Signal::SIGHUP));
        assert!(is_listened_to(Signal::SIGQUIT, |signal| signal == Signal::SIGHUP));
    }

    /// However many others wait because the capture is busy, with its start or with detaching.
    #[tokio::test]
    async fn a_request_to_end_is_answered_before_others() {
        let mut signals = Signals { pending: Arc::default() };
        for asked in [Asked::Flush, Asked::Report, Asked::EndNow, Asked::Report, Asked::End, Asked::EndNow] {
            signals.pending.add(asked);
        }
        for asked in Asked::ALL {
            assert_eq!(signals.next().await, asked);
        }
        assert_eq!(signals.pending.take(), None);
        let pending = Arc::clone(&signals.pending);
        let later = thread::spawn(move || pending.add(Asked::Report));
        assert_eq!(signals.next().await, Asked::Report);
        later.join().unwrap();
    }

    #[test]
    fn only_a_key_or_a_later_signal_asks_to_end_now() {
        const MOMENT: Duration = Duration::from_millis(1);
        let now = Instant::now();
        let key = |signal: Signal| received_as(signal as u32, libc::SI_KERNEL, now).unwrap();
        let sent = |signal: Signal| received_as(signal as u32, libc::SI_USER, now).unwrap();
        let (int, term, hup) = (Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP);
        for (first, second, after, expected) in [
            // timeout(1), which signals its child and then its group; with -s INT, too.
            (sent(term), sent(term), MOMENT, None),
            (sent(int), sent(int), MOMENT, None),
            // `timeout --foreground` on a terminal passes on what the key sent already.
            (key(int), sent(int), MOMENT, None),
            // A terminal that goes away: the kernel's SIGHUP and the shell's.
            (key(hup), sent(hup), MOMENT, None),
            (key(hup), key(hup), MOMENT, None),
            // systemd with SendSIGHUP=yes.
            (sent(term), sent(hup), MOMENT, None),
            (sent(term), key(int), MOMENT, None),
            (key(int), key(int), MOMENT, Some(Asked::EndNow)),
            (key(int), key(Signal::SIGQUIT), MOMENT, Some(Asked::EndNow)),
            (sent(term), sent(term), LATER, Some(Asked::EndNow)),
            (key(int), sent(term), LATER, Some(Asked::EndNow)),
        ] {
            let mut requests = Requests::default();
            assert_eq!(requests.judge(first), Some(Asked::End));
            let second = Received { at: now + after, ..second };
            assert_eq!(requests.judge(second), expected, "{first:?} {second:?}");
            assert_eq!(requests.judge(sent(Signal::SIGUSR1)), Some(Asked::Report));
            assert_eq!(requests.judge(sent(Signal::SIGUSR2)), Some(Asked::Flush));
        }
    }
}
