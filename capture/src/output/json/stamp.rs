//! Times as RFC 3339 has them, with nine digits.

use capture_packet::Timestamp;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

const NANOSECONDS: i64 = 1_000_000_000;

/// `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`.
const LENGTH: usize = 30;
/// Where the fraction begins.
const FRACTION: usize = 20;

/// The text of a time. RFC 3339 has the years 0 to 9999; other times are null.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp(Option<[u8; LENGTH]>);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_ref().and_then(|text| str::from_utf8(text).ok()) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_none(),
        }
    }
}

/// Makes the texts. The part up to the second is made once and kept until the next second.
#[derive(Debug)]
pub(super) struct Stamps {
    seconds: i64,
    /// The last text.
    text: Option<[u8; LENGTH]>,
}

impl Stamps {
    pub(super) fn new() -> Self {
        Self { seconds: 0, text: second(0) }
    }

    /// A file can claim a fraction outside of its second: it is carried over.
    #[inline]
    pub(super) fn stamp(&mut self, time: Timestamp) -> Stamp {
        let seconds = time.seconds.saturating_add(time.nanoseconds.div_euclid(NANOSECONDS));
        let mut fraction = time.nanoseconds.rem_euclid(NANOSECONDS);
        if seconds != self.seconds {
            (self.seconds, self.text) = (seconds, second(seconds));
        }
        if let Some(text) = &mut self.text {
            for digit in text[FRACTION..LENGTH - 1].iter_mut().rev() {
                *digit = b'0' + (fraction % 10) as u8;
                fraction /= 10;
            }
        }
        Stamp(self.text)
    }
}

/// The text of a second, with a fraction of zero.
#[cold]
fn second(seconds: i64) -> Option<[u8; LENGTH]> {
    let time = TimeZone::UTC.to_datetime(jiff::Timestamp::from_second(seconds).ok()?);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let parts = [
        (0..4, u16::try_from(time.year()).ok()?),
        (5..7, time.month().unsigned_abs().into()),
        (8..10, time.day().unsigned_abs().into()),
        (11..13, time.hour().unsigned_abs().into()),
        (14..16, time.minute().unsigned_abs().into()),
        (17..19, time.second().unsigned_abs().into()),
    ];
    for (place, mut value) in parts {
        for digit in text[place].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_nine_digits() {
        let mut stamps = Stamps::new();
        for (seconds, nanoseconds, expected) in [
            (0, 5, r#""1970-01-01T00:00:00.000000005Z""#),
            (1_795_659_934, 849_266_123, r#""2026-11-26T02:25:34.849266123Z""#),
            (1_795_659_934, 0, r#""2026-11-26T02:25:34.000000000Z""#),
            (1_795_659_934, 1_500_000_000, r#""2026-11-26T02:25:35.500000000Z""#),
            (1_795_659_934, -1, r#""2026-11-26T02:25:33.999999999Z""#),
            (-62_167_219_200, 0, r#""0000-01-01T00:00:00.000000000Z""#),
            (-62_167_219_201, 0, "null"),
            (253_402_207_199, 999_999_999, r#""9999-12-30T21:59:59.999999999Z""#),
            (253_402_300_800, 0, "null"),
            (i64::MAX, i64::MAX, "null"),
            (1, 2, r#""1970-01-01T00:00:01.000000002Z""#),
        ] {
            let stamp = stamps.stamp(Timestamp { seconds, nanoseconds });
            assert_eq!(serde_json::to_string(&stamp).unwrap(), expected, "{seconds} {nanoseconds}");
        }
    }
}
