//! A schedule of one moment per interval, and the timer that wakes the process for it and not more often. tokio's wakes
//! it also whenever a far deadline moves to a finer wheel: three times in ten seconds.
//!
//! The schedule alone says what is due; the timer only ends a sleep. It is armed after the schedule is made, on the same
//! clock, so that a process that it wakes always finds the moment due.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    unistd::read,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Comes due again and again.
#[derive(Debug)]
pub(super) struct Timer {
    descriptor: AsyncFd<OwnedFd>,
    schedule: Schedule,
}

/// Moments that lie a whole number of intervals apart.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    next: Instant,
    interval: Duration,
}

impl Schedule {
    /// Whether a moment has come since the last call. Moments that were missed count as one.
    fn is_due(&mut self, now: Instant) -> bool {
        let Some(late) = now.checked_duration_since(self.next) else { return false };
        let missed = late.as_nanos() / self.interval.as_nanos().max(1);
        self.next += self.interval * (missed as u32 + 1);
        true
    }
}

impl Timer {
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When there are no more descriptors.
    pub(super) fn new(interval: Duration) -> io::Result<Self> {
        // `Instant` is CLOCK_MONOTONIC, too.
        let schedule = Schedule { next: Instant::now() + interval, interval };
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(interval.into()), TimerSetTimeFlags::empty())?;
        #[expect(unsafe_code, reason = "tokio's registration of a file descriptor")]
        // SAFETY: the descriptor is owned by the registration, and neither closed nor replaced while it lives.
        let registered = unsafe { AsyncFd::register_with_interest(timer.into(), Interest::READABLE) };
        let descriptor = registered.map_err(io::Error::from)?;
        Ok(Self { descriptor, schedule })
    }

    /// Whether the moment of an interval has come since the last call.
    pub(super) fn is_due(&mut self) -> bool {
        self.schedule.is_due(Instant::now())
    }

    /// Waits until an interval has passed, if none has since the last time. May be dropped and called again. It may also
    /// end when [`is_due`](Self::is_due) has been true for that interval already.
    ///
    /// # Errors
    ///
    /// When tokio's runtime is shutting down.
    pub(super) async fn elapsed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            // The number of intervals (timerfd_create(2)).
            match read(self.descriptor.get_ref().as_fd(), &mut [0; 8]) {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_elapses_again_and_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let mut timer = Timer::new(Duration::from_millis(1)).unwrap();
            timer.elapsed().await.unwrap();
            assert!(timer.is_due());
            for _ in 0..3 {
                timer.elapsed().await.unwrap();
            }
            assert!(timer.is_due());
        });
    }

    #[test]
    fn each_interval_is_due_once() {
        const INTERVAL: Duration = Duration::from_secs(10);
        let start = Instant::now();
        let mut schedule = Schedule { next: start + INTERVAL, interval: INTERVAL };
        let mut due = |milliseconds| schedule.is_due(start + Duration::from_millis(milliseconds));
        assert!(!due(9_999));
        // Asked by a busy daemon, then by the one that the timer wakes.
        assert!(due(10_000));
        assert!(!due(10_001));
        assert!(due(20_009));
        // The moments do not move when one is late.
        assert!(due(30_000));
        // What was missed while the process was stopped is made up for by one.
        assert!(due(75_000));
        assert!(!due(79_999));
        assert!(due(80_000));
    }
}
