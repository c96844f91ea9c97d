//! From the kernel's stamps to the time of day.
//!
//! The programs stamp with `CLOCK_BOOTTIME`, which goes on while the machine is suspended. What lies between it and
//! `CLOCK_REALTIME` changes when the clock is set or slewed, so it is sampled with each batch, never per packet. In a
//! time namespace this process reads a shifted clock and the programs do not: time_namespaces(7).
//!
//! Whether a record is late is judged by the kernel's stamps alone. A record that is late, however long the reader was
//! kept from running, gets the time of the line before it; only a change of the offset can take the time back.

use std::fs;

use nix::time::{ClockId, clock_gettime};

use capture_packet::Timestamp;

const NANOSECONDS: i64 = 1_000_000_000;
/// How long a sample is used where the clock is not set, in nanoseconds.
const SAMPLE_LIFETIME: u64 = 1_000_000_000;
/// A change of the offset by more than this is a clock that was set, in nanoseconds. Slewing changes it by half a
/// millisecond per second (adjtimex(2)), reading it by less than a microsecond.
const STEP: i64 = 5_000_000;
/// How far before the last line a clock that was set back may be and be waited for, in nanoseconds.
const SMALL_STEP: i64 = NANOSECONDS;
/// Reads of the two clocks per sample; the one during which least time passed counts.
const ATTEMPTS: usize = 5;
/// A sample during which no more time passed than this needs no further attempt, in nanoseconds.
const NARROW: i64 = 2_000;

/// Converts stamps.
#[derive(Debug)]
pub(super) struct Clock {
    /// What this process reads on `CLOCK_BOOTTIME` minus what the kernel stamps with, in nanoseconds.
    shift: i64,
    /// `CLOCK_REALTIME` minus the kernel's stamp of the same moment, in nanoseconds: for stamps after `since`, and for
    /// those up to there.
    offset: i64,
    offset_before: i64,
    /// The last stamp of which it is known that `offset_before` holds.
    since: u64,
    /// When the last sample was taken, and when one is taken over although the clock was not set.
    sampled: u64,
    sample_due: u64,
    /// The highest stamp so far.
    newest: u64,
    /// The last result, in nanoseconds since the epoch.
    last: i64,
}

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// On the clock of the kernel's stamps.
    stamp: u64,
    /// The time of day minus the stamp.
    offset: i64,
}

/// By how much the time namespace of this process shifts `CLOCK_BOOTTIME`, in nanoseconds.
pub(super) fn shift_of_this_process() -> i64 {
    fs::read_to_string("/proc/self/timens_offsets").map_or(0, |offsets| boot_time_shift(&offsets))
}

impl Clock {
    /// A clock with a fresh sample, in a process whose clocks are shifted by [`shift_of_this_process`].
    pub(super) fn new(shift: i64) -> Self {
        let Sample { stamp, offset } = sample(shift);
        Self {
            shift,
            offset,
            offset_before: offset,
            since: 0,
            sampled: stamp,
            sample_due: stamp + SAMPLE_LIFETIME,
            newest: 0,
            last: i64::MIN,
        }
    }

    /// Samples the clocks, and returns what the kernel would stamp now. To be called once per batch.
    pub(super) fn refresh(&mut self) -> u64 {
        let sample = sample(self.shift);
        self.take(sample);
        sample.stamp
    }

    /// What the kernel stamped with at the last sample.
    pub(super) fn stamp(&self) -> u64 {
        self.sampled
    }

    /// The time of day of the last sample.
    pub(super) fn now(&self) -> Timestamp {
        timestamp((self.sampled as i64).wrapping_add(self.offset))
    }

    /// A clock that was set was set since the sample before.
    fn take(&mut self, Sample { stamp, offset }: Sample) {
        let is_set = offset.abs_diff(self.offset) > STEP.unsigned_abs();
        if is_set {
            (self.offset_before, self.since) = (self.offset, self.sampled);
        }
        if is_set || stamp >= self.sample_due {
            self.offset = offset;
            self.sample_due = stamp + SAMPLE_LIFETIME;
        }
        self.sampled = stamp;
    }

    /// The time of day of a stamp. A record that is late has the time of the one before. Where the clock was set back by
    /// less than a second, or two samples of the offset differ, time stands still until it has caught up. A clock that
    /// was set back by more is followed.
    pub(super) fn wall(&mut self, stamp: u64) -> Timestamp {
        self.newest = self.newest.max(stamp);
        let offset = if self.newest > self.since { self.offset } else { self.offset_before };
        let mut wall = (self.newest as i64).wrapping_add(offset);
        if wall < self.last && self.last - wall < SMALL_STEP {
            wall = self.last;
        }
        self.last = wall;
        timestamp(wall)
    }
}

/// From nanoseconds since the epoch.
#[inline]
fn timestamp(wall: i64) -> Timestamp {
    Timestamp { seconds: wall.div_euclid(NANOSECONDS), nanoseconds: wall.rem_euclid(NANOSECONDS) }
}

/// By how much `CLOCK_BOOTTIME` is shifted in this time namespace, in nanoseconds: the line `boottime SECONDS
/// NANOSECONDS` (kernel/time/namespace.c, `proc_timens_show_offsets`). No such line, no shift.
fn boot_time_shift(offsets: &str) -> i64 {
    let numbers = offsets.lines().find_map(|line| line.strip_prefix("boottime"));
    let mut numbers = numbers.unwrap_or_default().split_whitespace().map(str::parse::<i64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(seconds)), Some(Ok(nanoseconds))) => {
            seconds.saturating_mul(NANOSECONDS).saturating_add(nanoseconds)
        }
        _ => 0,
    }
}

fn nanoseconds(clock: ClockId) -> i64 {
    // The two clocks exist on every Linux, and the address is valid: clock_gettime(2) knows no other error.
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * NANOSECONDS + time.tv_nsec())
}

fn sample(shift: i64) -> Sample {
    let mut best = (i64::MAX, Sample { stamp: 0, offset: 0 });
    for _ in 0..ATTEMPTS {
        let before = nanoseconds(ClockId::CLOCK_BOOTTIME) - shift;
        let wall = nanoseconds(ClockId::CLOCK_REALTIME);
        let width = nanoseconds(ClockId::CLOCK_BOOTTIME) - shift - before;
        if width < best.0 {
            best = (width, Sample { stamp: before as u64, offset: wall - before - width / 2 });
        }
        if width <= NARROW {
            break;
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(offset: i64) -> Clock {
        Clock {
            shift: 0,
            offset,
            offset_before: offset,
            since: 0,
            sampled: 0,
            sample_due: SAMPLE_LIFETIME,
            newest: 0,
            last: i64::MIN,
        }
    }

    const SECOND: u64 = NANOSECONDS as u64;

    #[test]
    fn stamps_become_seconds_and_nanoseconds() {
        let mut clock = clock(10 * NANOSECONDS);
        assert_eq!(clock.wall(1_500_000_000), Timestamp { seconds: 11, nanoseconds: 500_000_000 });
    }

    #[test]
    fn late_records_have_the_time_of_the_line_before() {
        for late in [1, SECOND / 2, 2 * SECOND + SECOND / 2, 3600 * SECOND] {
            let mut clock = clock(0);
            let first = clock.wall(5000 * SECOND);
            assert_eq!(clock.wall(5000 * SECOND - late), first, "{late}");
            let next = Timestamp { nanoseconds: 1, ..first };
            assert_eq!(clock.wall(5000 * SECOND + 1), next, "{late}");
        }
    }

    #[test]
    fn a_slewed_clock_does_not_run_backwards() {
        let mut clock = clock(0);
        let first = clock.wall(5 * SECOND);
        clock.take(Sample { stamp: 6 * SECOND, offset: -STEP });
        assert_eq!(clock.wall(5 * SECOND + 1), first);
        assert_eq!(clock.wall(6 * SECOND), Timestamp { seconds: 5, nanoseconds: NANOSECONDS - STEP });
    }

    #[test]
    fn a_clock_that_was_set_holds_for_later_stamps() {
        for step in [-3600 * NANOSECONDS, 3600 * NANOSECONDS] {
            let mut clock = clock(0);
            clock.take(Sample { stamp: 5000 * SECOND, offset: 0 });
            clock.wall(4999 * SECOND);
            // Set after the sample at 5000 s and before the one at 5001 s.
            clock.take(Sample { stamp: 5001 * SECOND, offset: step });
            assert_eq!(clock.wall(5000 * SECOND), Timestamp { seconds: 5000, nanoseconds: 0 });
            let expected = Timestamp { seconds: 5000 + step / NANOSECONDS, nanoseconds: 1 };
            assert_eq!(clock.wall(5000 * SECOND + 1), expected);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_is_waited_for() {
        let mut clock = clock(0);
        let first = clock.wall(5 * SECOND);
        clock.take(Sample { stamp: 5 * SECOND, offset: -400_000_000 });
        assert_eq!(clock.wall(5 * SECOND + 1), first);
        assert_eq!(clock.wall(5_500_000_000), Timestamp { seconds: 5, nanoseconds: 100_000_000 });
    }

    #[test]
    fn the_shift_of_a_time_namespace_is_read() {
        assert_eq!(boot_time_shift("monotonic           0         0\nboottime            0         0\n"), 0);
        assert_eq!(boot_time_shift("monotonic 1 2\nboottime 3600 5\n"), 3600 * NANOSECONDS + 5);
        assert_eq!(boot_time_shift("monotonic 1 2\nboottime -7 500000000\n"), -7 * NANOSECONDS + 500_000_000);
        assert_eq!(boot_time_shift(""), 0);
        assert_eq!(boot_time_shift("boottime x"), 0);
    }

    #[test]
    fn the_sampled_offset_leads_to_the_real_clock() {
        // However long this test is kept from running in between, and slewed clocks may differ a little.
        const TOLERANCE: i64 = 30 * NANOSECONDS;

        let mut clock = Clock::new(shift_of_this_process());
        let now = clock.refresh();
        let wall = clock.wall(now);
        let real = nanoseconds(ClockId::CLOCK_REALTIME);
        let difference = real - (wall.seconds * NANOSECONDS + wall.nanoseconds);
        assert!((-TOLERANCE..TOLERANCE).contains(&difference), "{wall:?} for {real}");
    }
}
