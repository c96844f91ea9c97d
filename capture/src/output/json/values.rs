//! Values that JSON has no form for.

use serde::{Serialize, Serializer};

/// What one option can have at most: its list is no longer.
const CAPACITY: usize = 40;

/// Bytes as hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";

        let mut text = [[0; 2]; CAPACITY];
        for (digits, byte) in text.iter_mut().zip(self.0) {
            *digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        let text = &text.as_flattened()[..2 * self.0.len().min(CAPACITY)];
        serializer.serialize_str(str::from_utf8(text).unwrap_or_default())
    }
}

/// A number that readers keep exact: beyond 2^53, where many of them have no integers, it is a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exact(pub(super) u64);

impl Exact {
    const LIMIT: u64 = 1 << 53;
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 <= Self::LIMIT { serializer.serialize_u64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

/// The same with a sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedExact(pub(super) i64);

impl Serialize for SignedExact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.unsigned_abs() <= Exact::LIMIT {
            serializer.serialize_i64(self.0)
        } else {
            serializer.collect_str(&self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_strings() {
        let unsigned = |value| serde_json::to_string(&Exact(value)).unwrap();
        assert_eq!(unsigned(1 << 53), "9007199254740992");
        assert_eq!(unsigned((1 << 53) + 1), r#""9007199254740993""#);
        assert_eq!(unsigned(u64::MAX), r#""18446744073709551615""#);
        let signed = |value| serde_json::to_string(&SignedExact(value)).unwrap();
        assert_eq!(signed(-(1 << 53)), "-9007199254740992");
        assert_eq!(signed(i64::MIN), r#""-9223372036854775808""#);
    }
}
