//! When time ends a file, or the output.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    clock::Clock,
    options::{FilesOptions, Rotation},
};

/// After so long the clock is looked at again: it may have been set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const SECOND: i128 = 1_000_000_000;

/// When time ends a file, or the output.
#[derive(Debug)]
pub(super) struct Schedule {
    clock: Box<dyn Clock>,
    time_zone: TimeZone,
    /// By the time of day.
    periods: Option<Periods>,
    /// How long a file is written, and when the present one has been for so long.
    file: Option<(Duration, Duration)>,
    /// How long the output is written.
    output: Option<Duration>,
}

/// Periods of the wall clock, in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug)]
struct Periods {
    length: i128,
    /// Whether they begin at multiples of their length in local time. tcpdump's begin at the second of the start.
    aligned: bool,
    /// When the present one ends.
    end: i128,
}

impl Schedule {
    pub(super) fn new(options: &FilesOptions, clock: Box<dyn Clock>) -> Self {
        let nanoseconds = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
        let (periods, file) = match options.rotation {
            Rotation::None => (None, None),
            Rotation::Tcpdump(rules) => {
                (rules.period.map(|seconds| (i128::from(seconds) * SECOND, false)), None)
            }
            Rotation::Ring(rules) => {
                (rules.interval.map(|interval| (nanoseconds(interval), true)), rules.duration)
            }
        };
        let periods = periods.filter(|(length, _)| *length > 0);
        let mut schedule = Self {
            clock,
            time_zone: options.time_zone.clone(),
            periods: periods.map(|(length, aligned)| Periods { length, aligned, end: 0 }),
            file: file.map(|length| (length, length)),
            output: options.autostop.duration,
        };
        schedule.file_begins();
        let now = schedule.clock.now();
        let offset = schedule.offset(now);
        if let Some(periods) = &mut schedule.periods {
            periods.begin(now.as_nanosecond(), offset);
        }
        schedule
    }

    /// The time of day, for names.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A file begins, whatever ended the last one.
    pub(super) fn file_begins(&mut self) {
        if let Some((length, end)) = &mut self.file {
            *end = self.clock.elapsed() + *length;
        }
    }

    /// Whether the output has been written for as long as it is to be.
    pub(super) fn is_over(&self) -> bool {
        self.output.is_some_and(|end| self.clock.elapsed() >= end)
    }

    /// Whether it is time for the next file; true once for each time.
    pub(super) fn is_due(&mut self) -> bool {
        let by_file = self.file.is_some_and(|(_, end)| self.clock.elapsed() >= end);
        let Some(mut periods) = self.periods else { return by_file };
        let now = self.clock.now();
        let by_period = periods.is_over(now.as_nanosecond(), self.offset(now));
        self.periods = Some(periods);
        by_period || by_file
    }

    /// How long there is nothing to do; `None` if for ever.
    pub(super) fn wait(&self) -> Option<Duration> {
        let elapsed = [self.output, self.file.map(|(_, end)| end)].into_iter().flatten().min();
        let elapsed = elapsed.map(|end| end.saturating_sub(self.clock.elapsed()));
        let periods = self.periods.map(|periods| {
            let left = periods.end - self.clock.now().as_nanosecond();
            Duration::from_nanos(u64::try_from(left.max(0)).unwrap_or(u64::MAX)).min(LONGEST_WAIT)
        });
        [elapsed, periods].into_iter().flatten().min()
    }

    /// Nanoseconds by which local time is ahead.
    fn offset(&self, now: Timestamp) -> i128 {
        i128::from(self.time_zone.to_offset(now).seconds()) * SECOND
    }
}

impl Periods {
    /// A period begins at `now`.
    fn begin(&mut self, now: i128, offset: i128) {
        let Self { length, aligned, .. } = *self;
        let begin = if aligned {
            let local = now + offset;
            local - local.rem_euclid(length) - offset
        } else {
            now - now.rem_euclid(SECOND)
        };
        self.end = begin + length;
    }

    /// Whether the present period is over; the next begins then. Periods in which no one looked are skipped.
    fn is_over(&mut self, now: i128, offset: i128) -> bool {
        let is_over = now >= self.end;
        // The clock has been set back.
        let is_reset = self.end - now > self.length;
        if is_reset || is_over && self.aligned {
            self.begin(now, offset);
        } else if is_over {
            self.end += ((now - self.end) / self.length + 1) * self.length;
        }
        is_over
    }
}
