//! A timer that wakes the process once per interval and not more often. tokio's wakes it also whenever a far deadline
//! moves to a finer wheel: three times in ten seconds.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    unistd::read,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Elapses again and again.
#[derive(Debug)]
pub(super) struct Timer {
    descriptor: AsyncFd<OwnedFd>,
}

impl Timer {
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When there are no more descriptors.
    pub(super) fn new(interval: Duration) -> io::Result<Self> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        timer.set(Expiration::Interval(interval.into()), TimerSetTimeFlags::empty())?;
        #[expect(unsafe_code, reason = "tokio's registration of a file descriptor")]
        // SAFETY: the descriptor is owned by the registration, and neither closed nor replaced while it lives.
        let registered = unsafe { AsyncFd::register_with_interest(timer.into(), Interest::READABLE) };
        let descriptor = registered.map_err(io::Error::from)?;
        Ok(Self { descriptor })
    }

    /// Waits until an interval has passed, if none has since the last time. May be dropped and called again.
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
            let timer = Timer::new(Duration::from_millis(1)).unwrap();
            for _ in 0..3 {
                timer.elapsed().await.unwrap();
            }
        });
    }
}
