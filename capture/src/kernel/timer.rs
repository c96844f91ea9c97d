//! A timer that is as exact as the kernel's. tokio's own counts in milliseconds and rounds up: a millisecond took two.

#![expect(unsafe_code, reason = "tokio's registration of a file descriptor")]

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
};
use tokio::io::{Interest, unix::AsyncFd};

/// The descriptor of the timer (timerfd_create(2)).
#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// One wait at a time.
#[derive(Debug)]
pub(super) struct Timer(AsyncFd<Descriptor>);

impl Timer {
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When there are no more descriptors, or there is no more memory.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let descriptor = Descriptor(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?);
        // SAFETY: the timer owns its descriptor, and neither closes nor replaces it while it lives.
        let timer = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        Ok(Self(timer.map_err(io::Error::from)?))
    }

    /// Waits for so long; not at all for no time. May be dropped and called again: what was asked for before is forgotten then,
    /// and ends no wait but at most wakes the runtime once.
    ///
    /// # Errors
    ///
    /// When tokio's runtime is shutting down.
    pub(super) async fn wait(&self, time: Duration) -> io::Result<()> {
        if time.is_zero() {
            return Ok(());
        }
        let timer = &self.0.get_ref().0;
        timer.set(Expiration::OneShot(TimeSpec::from_duration(time)), TimerSetTimeFlags::empty())?;
        loop {
            let mut ready = self.0.readable().await?;
            // What tokio knows can be of a wait that was dropped: setting the timer took that back.
            match timer.wait() {
                Err(Errno::EAGAIN) => ready.clear_ready(),
                ended => {
                    ready.clear_ready();
                    return Ok(ended?);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wait_is_as_long_as_it_was_asked_to_be_also_after_one_that_was_dropped() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let timer = Timer::new().unwrap();
            timer.wait(Duration::ZERO).await.unwrap();
            // The first one's time has not come when the next one begins, the second one's has.
            for time in [Duration::from_secs(60), Duration::from_millis(1)] {
                tokio::select! {
                    biased;
                    ended = timer.wait(time) => ended.unwrap(),
                    () = std::future::ready(()) => {}
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                let start = Instant::now();
                timer.wait(Duration::from_millis(20)).await.unwrap();
                let waited = start.elapsed();
                // Not for the rest of the minute that was asked for before.
                assert!(
                    waited >= Duration::from_millis(20) && waited < Duration::from_secs(50),
                    "{waited:?}"
                );
            }
        });
    }
}
