//! How lines begin: the time stamp (util-print.c, `ts_print`).

use jiff::tz::TimeZone;

use super::{
    line::Line,
    options::{TextOptions, TimestampStyle},
};
use crate::packet::Timestamp;

const DAY: i64 = 86_400;

/// Prints time stamps. The text of a second is made once and kept until the next.
#[derive(Debug)]
pub(super) struct Clock {
    style: TimestampStyle,
    nanoseconds: bool,
    time_zone: TimeZone,
    /// What the differences of `-ttt` and `-ttttt` are from, in the units of the output.
    reference: Time,
    /// The second that `text` is for; `None` before the first.
    second: Option<i64>,
    text: Line,
}

/// A time as tcpdump has it: the fraction in micro- or nanoseconds, whichever are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Time {
    seconds: i64,
    fraction: i64,
}

impl Clock {
    pub(super) fn new(options: &TextOptions, time_zone: TimeZone) -> Self {
        let TextOptions { timestamp, nanoseconds, .. } = *options;
        Self {
            style: timestamp,
            nanoseconds,
            time_zone,
            reference: Time::default(),
            second: None,
            text: Line::new(),
        }
    }

    /// Prints a time stamp and the blank behind it.
    #[inline]
    pub(super) fn print(&mut self, time: Timestamp, line: &mut Line) {
        let fraction = if self.nanoseconds { time.nanoseconds } else { time.nanoseconds / 1000 };
        let time = Time { seconds: time.seconds, fraction };
        match self.style {
            TimestampStyle::None => {}
            TimestampStyle::TimeOfDay | TimestampStyle::DateTime | TimestampStyle::Epoch => {
                self.print_absolute(time, line);
            }
            TimestampStyle::SincePrevious | TimestampStyle::SinceFirst => self.print_difference(time, line),
        }
    }

    #[inline]
    fn print_absolute(&mut self, time: Time, line: &mut Line) {
        if self.second != Some(time.seconds) {
            self.second = Some(time.seconds);
            self.write_second(time.seconds);
        }
        line.bytes(self.text.written());
        self.print_fraction(time.fraction, line);
    }

    /// Makes the text of a second.
    fn write_second(&mut self, seconds: i64) {
        self.text.clear();
        if is_unprintable(seconds) {
            return;
        }
        if self.style == TimestampStyle::Epoch {
            self.text.decimal(seconds as u32);
            return;
        }
        // What jiff cannot represent (after the year 9999) is printed as what tcpdump cannot.
        let Ok(instant) = jiff::Timestamp::from_second(seconds) else { return };
        let local = self.time_zone.to_datetime(instant);
        if self.style == TimestampStyle::DateTime {
            self.text.decimal(local.year() as u32);
            self.text.byte(b'-');
            self.text.decimal_padded(local.month() as u32, 2);
            self.text.byte(b'-');
            self.text.decimal_padded(local.day() as u32, 2);
            self.text.byte(b' ');
        }
        write_time_of_day([local.hour(), local.minute(), local.second()], &mut self.text);
    }

    fn print_difference(&mut self, time: Time, line: &mut Line) {
        if self.reference == Time::default() {
            self.reference = time;
        }
        let (sign, later, earlier) =
            if time < self.reference { (b'-', self.reference, time) } else { (b' ', time, self.reference) };
        let mut seconds = later.seconds.wrapping_sub(earlier.seconds);
        let mut fraction = later.fraction - earlier.fraction;
        if fraction < 0 {
            seconds = seconds.wrapping_sub(1);
            fraction += if self.nanoseconds { 1_000_000_000 } else { 1_000_000 };
        }
        line.byte(sign);
        self.text.clear();
        if !is_unprintable(seconds) {
            let second_of_day = seconds.rem_euclid(DAY);
            let parts = [second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60];
            write_time_of_day(parts.map(|part| part as i8), &mut self.text);
        }
        line.bytes(self.text.written());
        self.print_fraction(fraction, line);
        if self.style == TimestampStyle::SincePrevious {
            self.reference = time;
        }
    }

    /// Completes what `text` begins. It is empty where there is no text for the second.
    #[inline]
    fn print_fraction(&self, fraction: i64, line: &mut Line) {
        if self.text.written().is_empty() {
            line.text("[Error converting time] ");
            return;
        }
        // Only the low 32 bits are printed (`ts_frac_print`).
        let fraction = fraction as u32;
        line.byte(b'.');
        if !self.nanoseconds {
            line.decimal_padded(fraction, 6);
        } else if fraction < 1_000_000_000 {
            line.octet((fraction / 100_000_000) as u8);
            line.decimal_padded(fraction % 100_000_000, 8);
        } else {
            line.decimal(fraction);
        }
        line.byte(b' ');
    }
}

/// tcpdump 4.99.3 looks at bit 31 of the seconds to find out whether they are negative.
fn is_unprintable(seconds: i64) -> bool {
    seconds as u32 & 0x8000_0000 != 0
}

/// `HH:MM:SS`.
fn write_time_of_day([hour, minute, second]: [i8; 3], text: &mut Line) {
    text.decimal_padded(hour as u32, 2);
    text.byte(b':');
    text.decimal_padded(minute as u32, 2);
    text.byte(b':');
    text.decimal_padded(second as u32, 2);
}
