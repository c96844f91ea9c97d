//! The buffer that the lines of one packet are written into, and the writing of numbers.
//!
//! Every byte of the buffer is always initialised and there is always room behind the end, so that a number can be
//! stored as one whole word of which only the first bytes count. That costs less than finding out first how long the
//! number is, and it needs no `unsafe`.

/// Where the buffer starts. The line of a typical segment is 150 bytes; only dumps and freaks are longer than this.
const INITIAL_CAPACITY: usize = 1024;

/// The decimal text of 0 to 255, the digits first, and how many digits there are in the last byte.
const OCTETS: [[u8; 4]; 256] = {
    let mut octets = [[0; 4]; 256];
    let mut value = 0;
    while value < 256 {
        let (hundreds, tens, ones) = ((value / 100) as u8, (value / 10 % 10) as u8, (value % 10) as u8);
        octets[value] = if hundreds > 0 {
            [b'0' + hundreds, b'0' + tens, b'0' + ones, 3]
        } else if tens > 0 {
            [b'0' + tens, b'0' + ones, 0, 2]
        } else {
            [b'0' + ones, 0, 0, 1]
        };
        value += 1;
    }
    octets
};

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two lower-case hexadecimal digits.
#[inline(always)]
pub(super) const fn hex_digits(value: u8) -> [u8; 2] {
    [HEX_DIGITS[(value >> 4) as usize], HEX_DIGITS[(value & 15) as usize]]
}

/// The eight decimal digits of a value below 100 000 000, one to a byte and not yet ASCII, the first digit in the
/// lowest byte. Divides all lanes of a word at once: 10486 / 2^20 is 1/100 for what fits four digits, 103 / 2^10 is
/// 1/10 for what fits two.
#[inline(always)]
const fn eight_digits(value: u32) -> u64 {
    let fours = (value / 10_000) as u64 | ((value % 10_000) as u64) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - tens * 10) << 8
}

const ASCII_ZEROS: u64 = u64::from_ne_bytes(*b"00000000");

/// What is being printed.
#[derive(Debug)]
pub(super) struct Line {
    bytes: Vec<u8>,
    end: usize,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; INITIAL_CAPACITY], end: 0 }
    }

    /// What has been written since [`clear`](Self::clear).
    #[inline]
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[..self.end]
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.end = 0;
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, needed: usize) {
        self.bytes.resize(self.bytes.len() * 2 + needed, 0);
    }

    /// The next `length` bytes, to be written.
    #[inline(always)]
    fn room(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < length {
            self.grow(length);
        }
        &mut self.bytes[self.end..self.end + length]
    }

    /// Stores all of `bytes`, of which the first `length` count.
    #[inline(always)]
    pub(super) fn prefix<const N: usize>(&mut self, bytes: [u8; N], length: usize) {
        self.room(N).copy_from_slice(&bytes);
        self.end += length;
    }

    #[inline(always)]
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    #[inline(always)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.end += bytes.len();
    }

    #[inline(always)]
    pub(super) fn byte(&mut self, byte: u8) {
        self.prefix([byte], 1);
    }

    /// `%u` of a value below 100 000 000.
    #[inline(always)]
    fn up_to_eight_digits(&mut self, value: u32) {
        let digits = eight_digits(value);
        // At least one digit stays, that of 0.
        let zeros = (digits | 1 << 56).trailing_zeros() / 8;
        self.prefix(((digits | ASCII_ZEROS) >> (zeros * 8)).to_le_bytes(), 8 - zeros as usize);
    }

    /// `%08u` of a value below 100 000 000.
    #[inline(always)]
    fn all_eight_digits(&mut self, value: u32) {
        self.prefix((eight_digits(value) | ASCII_ZEROS).to_le_bytes(), 8);
    }

    /// `%u`.
    #[inline(always)]
    pub(super) fn decimal(&mut self, value: u32) {
        if value < 100_000_000 {
            self.up_to_eight_digits(value);
        } else {
            self.octet((value / 100_000_000) as u8);
            self.all_eight_digits(value % 100_000_000);
        }
    }

    /// `%u` of 64 bits.
    pub(super) fn decimal64(&mut self, value: u64) {
        match u32::try_from(value) {
            Ok(value) => self.decimal(value),
            Err(_) => {
                self.decimal64(value / 100_000_000);
                self.all_eight_digits((value % 100_000_000) as u32);
            }
        }
    }

    /// `%u` of eight bits.
    #[inline(always)]
    pub(super) fn octet(&mut self, value: u8) {
        let octet = OCTETS[usize::from(value)];
        self.prefix(octet, usize::from(octet[3]));
    }

    /// `%0{width}u`, where `width` is at most eight: more digits where there are more.
    #[inline(always)]
    pub(super) fn decimal_padded(&mut self, value: u32, width: u32) {
        if value < 10_u32.pow(width) {
            let digits = (eight_digits(value) | ASCII_ZEROS) >> ((8 - width) * 8);
            self.prefix(digits.to_le_bytes(), width as usize);
        } else {
            self.decimal(value);
        }
    }

    /// `%x`.
    pub(super) fn hex(&mut self, value: u64) {
        self.hex_padded(value, 1);
    }

    /// `%0{width}x`.
    pub(super) fn hex_padded(&mut self, value: u64, width: u32) {
        let mut digits = width.max((u64::BITS - value.leading_zeros()).div_ceil(4));
        while digits > 0 {
            digits -= 1;
            self.byte(HEX_DIGITS[(value >> (digits * 4) & 15) as usize]);
        }
    }

    /// `%02x` of each.
    pub(super) fn hex_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.prefix(hex_digits(byte), 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new();
        write(&mut line);
        String::from_utf8(line.written().to_vec()).unwrap()
    }

    #[test]
    fn decimals_are_what_format_makes() {
        let edges = (0..=9).flat_map(|n| {
            let power = 10_u32.pow(n);
            [power - 1, power, power + 1, power.wrapping_mul(4), power.wrapping_mul(9)]
        });
        let spread = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761));
        for value in edges.chain(spread).chain([u32::MAX - 1, u32::MAX]) {
            assert_eq!(written(|line| line.decimal(value)), format!("{value}"));
            assert_eq!(written(|line| line.octet(value as u8)), format!("{}", value as u8));
            assert_eq!(written(|line| line.decimal_padded(value, 6)), format!("{value:06}"));
            assert_eq!(written(|line| line.hex(value.into())), format!("{value:x}"));
            assert_eq!(written(|line| line.hex_padded(value.into(), 5)), format!("{value:05x}"));
        }
        for value in [0, u64::from(u32::MAX), 1 << 32, 99_999_999_999_999_999, 1 << 63, u64::MAX] {
            assert_eq!(written(|line| line.decimal64(value)), format!("{value}"));
            assert_eq!(written(|line| line.hex(value)), format!("{value:x}"));
        }
    }

    #[test]
    fn a_line_grows() {
        let text = "x".repeat(3 * INITIAL_CAPACITY);
        assert_eq!(written(|line| line.text(&text)), text);
        let numbers = written(|line| (0..4 * INITIAL_CAPACITY).for_each(|_| line.decimal(7)));
        assert_eq!(numbers, "7".repeat(4 * INITIAL_CAPACITY));
    }
}
