//! From the kernel's stamps to the time of day.
//!
//! The programs stamp with `CLOCK_MONOTONIC`. What lies between it and `CLOCK_REALTIME` changes when the clock is set
//! or slewed, so it is sampled at the start and then about once a second while packets come, never per packet.

use nix::time::{ClockId, clock_gettime};

use crate::packet::Timestamp;

const NANOSECONDS: i64 = 1_000_000_000;
/// How long a sample is used, in nanoseconds.
const SAMPLE_LIFETIME: u64 = 1_000_000_000;
/// Reads of the two clocks per sample; the one during which least time passed counts.
const ATTEMPTS: usize = 5;

/// Converts stamps, never backwards.
#[derive(Debug)]
pub(super) struct Clock {
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`, in nanoseconds.
    offset: i64,
    /// The monotonic time at which the offset is sampled again.
    sample_due: u64,
    /// The last result, in nanoseconds since the epoch.
    last: i64,
}

impl Clock {
    /// A clock with a fresh sample.
    pub(super) fn new() -> Self {
        let mut clock = Self { offset: 0, sample_due: 0, last: i64::MIN };
        clock.refresh();
        clock
    }

    /// Reads the monotonic clock, and samples the offset when that is due. To be called once per batch.
    pub(super) fn refresh(&mut self) -> u64 {
        let now = monotonic();
        if now >= self.sample_due {
            self.offset = sample_offset();
            self.sample_due = now + SAMPLE_LIFETIME;
        }
        now
    }

    /// The time of day of a stamp. A result that would lie up to a second before the one before is that one instead:
    /// lines do not run backwards because two CPUs or two samples of the offset differ. A clock that was set back by
    /// more is followed.
    pub(super) fn wall(&mut self, stamp: u64) -> Timestamp {
        let mut wall = (stamp as i64).wrapping_add(self.offset);
        if wall < self.last && self.last - wall < NANOSECONDS {
            wall = self.last;
        }
        self.last = wall;
        Timestamp { seconds: wall.div_euclid(NANOSECONDS), nanoseconds: wall.rem_euclid(NANOSECONDS) }
    }
}

fn nanoseconds(clock: ClockId) -> i64 {
    // The two clocks exist on every Linux, and the address is valid: clock_gettime(2) knows no other error.
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * NANOSECONDS + time.tv_nsec())
}

fn monotonic() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC) as u64
}

fn sample_offset() -> i64 {
    let mut best = (i64::MAX, 0);
    for _ in 0..ATTEMPTS {
        let before = nanoseconds(ClockId::CLOCK_MONOTONIC);
        let wall = nanoseconds(ClockId::CLOCK_REALTIME);
        let width = nanoseconds(ClockId::CLOCK_MONOTONIC) - before;
        if width < best.0 {
            best = (width, wall - before - width / 2);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(offset: i64) -> Clock {
        Clock { offset, sample_due: u64::MAX, last: i64::MIN }
    }

    #[test]
    fn stamps_become_seconds_and_nanoseconds() {
        let mut clock = clock(10 * NANOSECONDS);
        assert_eq!(clock.wall(1_500_000_000), Timestamp { seconds: 11, nanoseconds: 500_000_000 });
    }

    #[test]
    fn small_steps_back_are_held() {
        let mut clock = clock(0);
        let first = clock.wall(5_000_000_000);
        assert_eq!(clock.wall(4_999_999_000), first);
        clock.offset = -400_000_000;
        assert_eq!(clock.wall(5_000_000_001), first);
        assert_eq!(clock.wall(5_500_000_000), Timestamp { seconds: 5, nanoseconds: 100_000_000 });
    }

    #[test]
    fn a_clock_that_was_set_back_is_followed() {
        let mut clock = clock(0);
        clock.wall(5_000_000_000_000);
        clock.offset = -3600 * NANOSECONDS;
        assert_eq!(clock.wall(5_000_000_000_001), Timestamp { seconds: 1400, nanoseconds: 1 });
    }

    #[test]
    fn the_sampled_offset_leads_to_the_real_clock() {
        // However long this test is kept from running in between, and slewed clocks may differ a little.
        const TOLERANCE: i64 = 30 * NANOSECONDS;

        let mut clock = Clock::new();
        let wall = clock.wall(monotonic());
        let real = nanoseconds(ClockId::CLOCK_REALTIME);
        let difference = real - (wall.seconds * NANOSECONDS + wall.nanoseconds);
        assert!((-TOLERANCE..TOLERANCE).contains(&difference), "{wall:?} for {real}");
    }
}
