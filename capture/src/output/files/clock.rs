//! The time that files are named and ended by.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// A clock. Tests have one of their own.
pub trait Clock: Debug + Send {
    /// The time of day, which may be set at any time.
    fn now(&self) -> Timestamp;

    /// How long the clock has run, whatever the time of day was set to.
    fn elapsed(&self) -> Duration;
}

/// The system's clocks.
#[derive(Debug)]
pub(super) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
