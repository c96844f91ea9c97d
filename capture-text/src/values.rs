//! Single values as the lines have them, for outputs that are not text.

use core::net::IpAddr;

use super::{address::WriteAddress, line::Write, tcp::flags_text};

/// The longest IPv6 address, and what a number is stored with beyond its own digits.
const CAPACITY: usize = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".len() + 8;

/// The text of a value. It is made without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct ValueText {
    bytes: [u8; CAPACITY],
    /// How many of them count.
    length: usize,
}

impl ValueText {
    const EMPTY: Self = Self { bytes: [0; CAPACITY], length: 0 };

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        // It is ASCII.
        self.bytes.get(..self.length).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl Write for ValueText {
    #[inline(always)]
    fn prefix_of<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + N) {
            room.copy_from_slice(bytes);
            self.length += length;
        }
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }
}

/// An address.
#[inline]
pub fn address(address: IpAddr) -> ValueText {
    let mut text = ValueText::EMPTY;
    match address {
        IpAddr::V4(address) => text.ipv4(address.octets()),
        IpAddr::V6(address) => text.ipv6(&address.octets()),
    }
    text
}

/// TCP's flags, such as `P.`, or `none`.
#[inline]
pub fn flags(flags: u8) -> ValueText {
    let mut text = ValueText::EMPTY;
    text.bytes(flags_text(flags));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_values_fit() {
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "::255.255.255.255",
            "::ffff:255.255.255.255",
            "2001:db8::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert_eq!(address(text.parse().unwrap()).as_str(), text);
        }
        assert_eq!([0, 0x12, 0xff].map(|value| flags(value).as_str().to_owned()), ["none", "S.", "FSRP.UEW"]);
    }
}
