//! How lines begin: the time stamp (util-print.c, `ts_print`).

use capture_packet::Timestamp;
use jiff::tz::TimeZone;

use super::{
    line::{Kept, Line, Write},
    options::{TextOptions, TimestampStyle},
};

const DAY: i64 = 86_400;

/// Longest text of a second: `2023-11-14 22:13:20.`, with some room for `-tt`.
const SECOND_LENGTH: usize = 24;

/// Prints time stamps. The text of a second is made once and kept until the next.
#[derive(Debug)]
pub(super) struct StampPrinter {
    style: TimestampStyle,
    nanoseconds: bool,
    time_zone: TimeZone,
    /// What the differences of `-ttt` and `-ttttt` are from, in the units of the output.
    reference: Time,
    /// The last second, and its text up to the point before the fraction.
    second: Option<(i64, Kept<SECOND_LENGTH>)>,
}

/// A time as tcpdump has it: the fraction in micro- or nanoseconds, whichever are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Time {
    seconds: i64,
    fraction: i64,
}

impl StampPrinter {
    pub(super) fn new(options: &TextOptions, time_zone: TimeZone) -> Self {
        let TextOptions { timestamp, nanoseconds, .. } = *options;
        Self { style: timestamp, nanoseconds, time_zone, reference: Time::default(), second: None }
    }

    /// Prints a time stamp and the blank after it.
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
        match &self.second {
            Some((seconds, text)) if *seconds == time.seconds => {
                let fraction = time.fraction as u32;
                if !self.nanoseconds && fraction < 1_000_000 {
                    // Nearly every line of tcpdump's begins so: in one go.
                    line.write(|line| {
                        line.kept(text);
                        line.six_digits_and_blank(fraction);
                    });
                    return;
                }
                line.kept(text);
            }
            _ => {
                let start = line.position();
                if !self.print_second(time.seconds, line) {
                    line.text(UNPRINTABLE);
                    return;
                }
                self.second = line.keep(start..line.position()).map(|text| (time.seconds, text));
            }
        }
        self.print_fraction(time.fraction, line);
    }

    /// Prints a second and the point after it; whether there is a text for it.
    fn print_second(&self, seconds: i64, line: &mut Line) -> bool {
        if is_unprintable(seconds) {
            return false;
        }
        if self.style == TimestampStyle::Epoch {
            line.decimal(seconds as u32);
        } else {
            // What jiff cannot represent (after the year 9999) is printed as what tcpdump cannot.
            let Ok(instant) = jiff::Timestamp::from_second(seconds) else { return false };
            let local = self.time_zone.to_datetime(instant);
            if self.style == TimestampStyle::DateTime {
                line.decimal(local.year() as u32);
                line.byte(b'-');
                line.decimal_padded(local.month() as u32, 2);
                line.byte(b'-');
                line.decimal_padded(local.day() as u32, 2);
                line.byte(b' ');
            }
            print_time_of_day([local.hour(), local.minute(), local.second()], line);
        }
        line.byte(b'.');
        true
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
        if is_unprintable(seconds) {
            line.text(UNPRINTABLE);
        } else {
            let second_of_day = seconds.rem_euclid(DAY);
            let parts = [second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60];
            print_time_of_day(parts.map(|part| part as i8), line);
            line.byte(b'.');
            self.print_fraction(fraction, line);
        }
        if self.style == TimestampStyle::SincePrevious {
            self.reference = time;
        }
    }

    /// The digits of the fraction and a blank. Only the low 32 bits are printed (`ts_frac_print`).
    #[inline]
    fn print_fraction(&self, fraction: i64, line: &mut Line) {
        let fraction = fraction as u32;
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

const UNPRINTABLE: &str = "[Error converting time] ";

/// tcpdump 4.99.3 looks at bit 31 of the seconds to find out whether they are negative.
fn is_unprintable(seconds: i64) -> bool {
    seconds as u32 & 0x8000_0000 != 0
}

/// `HH:MM:SS`.
fn print_time_of_day([hour, minute, second]: [i8; 3], line: &mut Line) {
    line.decimal_padded(hour as u32, 2);
    line.byte(b':');
    line.decimal_padded(minute as u32, 2);
    line.byte(b':');
    line.decimal_padded(second as u32, 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the stamps of packets at these times look like, in seconds and nanoseconds.
    fn stamps(style: TimestampStyle, nanoseconds: bool, zone: &str, times: &[(i64, i64)]) -> Vec<String> {
        let options = TextOptions { timestamp: style, nanoseconds, ..TextOptions::default() };
        let mut stamps = StampPrinter::new(&options, TimeZone::posix(zone).unwrap());
        let stamp = |&(seconds, nanoseconds)| {
            let mut line = Line::new();
            stamps.print(Timestamp { seconds, nanoseconds }, &mut line);
            line.taken()
        };
        times.iter().map(stamp).collect()
    }

    /// Central European Time: daylight saving time from the last Sunday in March to that in October.
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    #[test]
    fn a_day_begins_at_local_midnight() {
        let times = [(1_700_002_799, 999_999_999), (1_700_002_800, 0)];
        assert_eq!(
            stamps(TimestampStyle::DateTime, false, BERLIN, &times),
            ["2023-11-14 23:59:59.999999 ", "2023-11-15 00:00:00.000000 "]
        );
        assert_eq!(
            stamps(TimestampStyle::TimeOfDay, true, "UTC0", &times),
            ["22:59:59.999999999 ", "23:00:00.000000000 "]
        );
    }

    #[test]
    fn daylight_saving_time_begins_and_ends_while_printing() {
        // 2024-03-31 and 2024-10-27, 01:00 UTC; and back again.
        let times =
            [1_711_846_799, 1_711_846_800, 1_729_990_799, 1_729_990_800, 1_711_846_799].map(|s| (s, 5_000));
        assert_eq!(
            stamps(TimestampStyle::TimeOfDay, false, BERLIN, &times),
            [
                "01:59:59.000005 ",
                "03:00:00.000005 ",
                "02:59:59.000005 ",
                "02:00:00.000005 ",
                "01:59:59.000005 "
            ]
        );
    }

    #[test]
    fn seconds_since_the_epoch() {
        let times = [(0, 0), (1_700_000_000, 123_456_789), (0x7fff_ffff, 0)];
        assert_eq!(
            stamps(TimestampStyle::Epoch, false, BERLIN, &times),
            ["0.000000 ", "1700000000.123456 ", "2147483647.000000 "]
        );
    }

    #[test]
    fn differences_to_the_packet_before_and_to_the_first() {
        let times = [(100, 999_999_000), (101, 0), (101, 0), (100, 0), (86_500, 1_999)];
        assert_eq!(
            stamps(TimestampStyle::SincePrevious, false, BERLIN, &times),
            [
                " 00:00:00.000000 ",
                " 00:00:00.000001 ",
                " 00:00:00.000000 ",
                "-00:00:01.000000 ",
                " 00:00:00.000001 "
            ]
        );
        assert_eq!(
            stamps(TimestampStyle::SinceFirst, true, BERLIN, &times),
            [
                " 00:00:00.000000000 ",
                " 00:00:00.000001000 ",
                " 00:00:00.000001000 ",
                "-00:00:00.999999000 ",
                " 23:59:59.000002999 "
            ]
        );
        // Less than a microsecond is nothing where microseconds are printed.
        assert_eq!(
            stamps(TimestampStyle::SincePrevious, false, BERLIN, &[(1, 999), (1, 1_000)])[1],
            " 00:00:00.000001 "
        );
        // A packet at the epoch is no reference.
        assert_eq!(
            stamps(TimestampStyle::SinceFirst, false, BERLIN, &[(0, 0), (7, 0), (8, 0)])[1..],
            [" 00:00:00.000000 ", " 00:00:01.000000 "]
        );
    }

    #[test]
    fn times_that_no_clock_shows() {
        // Microseconds of 1 500 000, of -1, seconds beyond 2^31, and beyond the year 9999.
        let times = [(1, 1_500_000_000), (1, -1_000), (-1, 0), (1 << 31, 0), (1 << 32, 0), (0x46 << 32, 0)];
        assert_eq!(
            stamps(TimestampStyle::TimeOfDay, false, "UTC0", &times),
            [
                "00:00:01.1500000 ",
                "00:00:01.4294967295 ",
                "[Error converting time] ",
                "[Error converting time] ",
                "06:28:16.000000 ",
                "[Error converting time] "
            ]
        );
        assert_eq!(
            stamps(TimestampStyle::SinceFirst, false, "UTC0", &[(-5, 0), (i64::from(i32::MAX), 0)])[1],
            " [Error converting time] "
        );
    }
}
