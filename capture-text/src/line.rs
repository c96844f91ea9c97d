//! The buffer that the text of one packet is written into, and the writing of numbers.
//!
//! Three things make it fast, without `unsafe`. A number is stored as one whole word of which only the first bytes
//! count: that costs less than finding out first how long the number is. It takes a buffer whose every byte is
//! initialised and whose size the compiler knows, so that each write is one comparison and one store. What every
//! line has is written through a [`Cursor`], whose position stays in a register: through memory, each write would
//! wait for the one before it. And room is made before, for several pieces together.

use alloc::{boxed::Box, vec::Vec};
use core::{net::IpAddr, ops::Range};

use bytes::BytesMut;

use super::names::Names;

/// Size of the buffer. The line of a typical segment is 170 bytes; what does not fit goes to the output in parts.
const CAPACITY: usize = 1024;

/// What can be written in one go.
const MAX_PIECES: usize = 256;

/// The decimal text of 0 to 255 with a dot after it.
const DOTTED_OCTETS: [[u8; 4]; 256] = {
    let mut octets = [[0; 4]; 256];
    let mut value = 0;
    while value < 256 {
        let (hundreds, tens, ones) =
            (b'0' + (value / 100) as u8, b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8);
        octets[value] = match value {
            0..10 => [ones, b'.', 0, 0],
            10..100 => [tens, ones, b'.', 0],
            _ => [hundreds, tens, ones, b'.'],
        };
        value += 1;
    }
    octets
};

/// How many bits of a dotted octet's text count.
const DOTTED_BITS: [u8; 256] = {
    let mut bits = [32; 256];
    let mut value = 0;
    while value < 100 {
        bits[value] = if value < 10 { 16 } else { 24 };
        value += 1;
    }
    bits
};

#[inline(always)]
fn octet_length(value: u8) -> usize {
    1 + usize::from(value > 9) + usize::from(value > 99)
}

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

/// `%03u` of 0 to 999, the first digit in the lowest byte. The highest byte is how many bits the zeros in front have.
static THREE_DIGITS: [u32; 1000] = {
    let mut texts = [0; 1000];
    let mut value = 0;
    while value < 1000 {
        let zeros = match value {
            0..10 => 16,
            10..100 => 8,
            _ => 0,
        };
        let digits = [value / 100, value / 10 % 10, value % 10];
        let [first, second, third] = [b'0' + digits[0] as u8, b'0' + digits[1] as u8, b'0' + digits[2] as u8];
        texts[value] = u32::from_le_bytes([first, second, third, zeros]);
        value += 1;
    }
    texts
};

/// `%06u` of a value below 1 000 000 in the lowest six bytes. The others do not count.
#[inline(always)]
fn six_digits(value: u32) -> u64 {
    let [first, last] =
        [value / 1000, value % 1000].map(|value| u64::from(THREE_DIGITS[value as usize % 1000]));
    first & 0xff_ffff | last << 24
}

/// `%u` of a value from 1 000 000 on, and how long that is in the highest byte. A function of its own: compiled in
/// wherever a number is printed, it would be most of the code there.
#[inline(never)]
fn seven_digits_and_more(value: u32) -> u128 {
    let digits = |value: u32| u128::from(eight_digits(value) | ASCII_ZEROS);
    let (text, length) = if value < 100_000_000 {
        let zeros = u32::from(value < 10_000_000);
        (digits(value) >> (zeros * 8), 8 - zeros)
    } else {
        let first = (value / 100_000_000) as u8;
        let length = octet_length(first) as u32;
        let octet = u128::from(u32::from_le_bytes(DOTTED_OCTETS[usize::from(first)]));
        (octet & ((1 << (length * 8)) - 1) | digits(value % 100_000_000) << (length * 8), 8 + length)
    };
    text | u128::from(length) << 120
}

/// A text that is printed again and again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<const N: usize> {
    bytes: [u8; N],
    /// How many of them count.
    length: u8,
}

impl<const N: usize> Kept<N> {
    pub(super) const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Makes it empty, in one store.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }
}

/// The text of one packet, on its way to the output.
#[derive(Debug)]
pub(super) struct Line {
    bytes: Box<[u8; CAPACITY]>,
    /// How many of them are written.
    end: usize,
    /// What was written before that.
    overflow: Vec<u8>,
    /// With `--resolve`: what hosts and services are called.
    pub(super) names: Option<Box<dyn Names>>,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { bytes: Box::new([0; CAPACITY]), end: 0, overflow: Vec::new(), names: None }
    }

    /// Moves what has been written to the end of `out`.
    #[inline]
    pub(super) fn move_to(&mut self, out: &mut BytesMut) {
        if !self.overflow.is_empty() {
            out.extend_from_slice(&self.overflow);
            self.overflow.clear();
        }
        out.extend_from_slice(&self.bytes[..self.end]);
        self.end = 0;
    }

    /// How much has been written.
    #[inline]
    pub(super) fn position(&self) -> usize {
        self.overflow.len() + self.end
    }

    /// A copy of what has been written between two [`position`](Self::position)s. `None` if that is longer than `N` or
    /// not all here any more.
    pub(super) fn keep<const N: usize>(&self, Range { start, end }: Range<usize>) -> Option<Kept<N>> {
        const { assert!(N <= u8::MAX as usize) };
        let length = end.checked_sub(start).filter(|&length| length <= N)? as u8;
        let start = start.checked_sub(self.overflow.len())?;
        let bytes = *self.bytes.get(start..)?.first_chunk()?;
        Some(Kept { bytes, length })
    }

    /// Writes several pieces in one go, [`MAX_PIECES`] bytes at most.
    #[inline(always)]
    pub(super) fn write(&mut self, pieces: impl FnOnce(&mut Cursor<'_>)) {
        let mut cursor = self.cursor();
        pieces(&mut cursor);
        let end = cursor.end;
        self.set_end(end);
    }

    /// The same by hand, for what is compiled into several places: LLVM makes one function of a closure then. Where the
    /// cursor has come to is to be [set](Self::set_end).
    #[inline(always)]
    pub(super) fn cursor(&mut self) -> Cursor<'_> {
        if self.end > CAPACITY - MAX_PIECES {
            self.spill();
        }
        Cursor { bytes: &mut self.bytes, end: self.end, before: self.overflow.len() }
    }

    /// Goes on where a [`cursor`](Self::cursor) has ended.
    #[inline(always)]
    pub(super) fn set_end(&mut self, end: usize) {
        self.end = end;
    }

    /// Makes room.
    #[cold]
    #[inline(never)]
    fn spill(&mut self) {
        self.overflow.extend_from_slice(&self.bytes[..self.end]);
        self.end = 0;
    }

    /// Writes what may be longer than the room for pieces.
    #[cold]
    #[inline(never)]
    fn write_long(&mut self, bytes: &[u8]) {
        self.spill();
        self.overflow.extend_from_slice(bytes);
    }
}

impl Write for Line {
    #[inline(always)]
    fn prefix_of<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        const { assert!(N <= MAX_PIECES) };
        self.write(|cursor| cursor.prefix_of(bytes, length));
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        if bytes.len() > MAX_PIECES {
            self.write_long(bytes);
        } else {
            self.write(|cursor| cursor.bytes(bytes));
        }
    }

    fn host_name(&mut self, address: IpAddr) -> bool {
        let Some(mut names) = self.names.take() else { return false };
        let name = names.host(address).map(|name| self.text(name));
        self.names = Some(names);
        name.is_some()
    }

    fn service_name(&mut self, port: u16) -> bool {
        let Some(names) = self.names.take() else { return false };
        let name = names.service(port).map(|name| self.text(name));
        self.names = Some(names);
        name.is_some()
    }
}

/// A place in a [`Line`] with room for [`MAX_PIECES`] bytes, to be kept in registers. That there is room is not looked at for
/// each piece: what to do without would be most of the code of whatever writes, and take the registers.
pub(super) struct Cursor<'a> {
    bytes: &'a mut [u8; CAPACITY],
    end: usize,
    /// What of the line is not in `bytes` any more.
    before: usize,
}

impl Cursor<'_> {
    /// Where it has come to.
    #[inline(always)]
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// As [`Line::position`].
    #[inline(always)]
    pub(super) fn position(&self) -> usize {
        self.before + self.end
    }
}

impl Write for Cursor<'_> {
    #[inline(always)]
    fn prefix_of<const N: usize>(&mut self, bytes: &[u8; N], length: usize) {
        let room = self.bytes.get_mut(self.end..self.end + N);
        debug_assert!(room.is_some(), "more than MAX_PIECES in one go");
        if let Some(room) = room {
            room.copy_from_slice(bytes);
        }
        self.end += length;
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.end..self.end + bytes.len());
        debug_assert!(room.is_some(), "more than MAX_PIECES in one go");
        if let Some(room) = room {
            room.copy_from_slice(bytes);
            self.end += bytes.len();
        }
    }
}

/// What can be written into a line: named after the conversions of printf, which tcpdump writes with.
pub(super) trait Write {
    /// Writes the name of a host, if names are wanted and it has one.
    #[inline(always)]
    fn host_name(&mut self, _: IpAddr) -> bool {
        false
    }

    /// Writes the name of a service, if names are wanted and it has one.
    #[inline(always)]
    fn service_name(&mut self, _: u16) -> bool {
        false
    }

    /// Stores all of `bytes`, of which the first `length` count.
    ///
    /// They are taken by reference: by value, a long array is copied to the stack first, and read back in other pieces
    /// than it was stored in, for which a processor has to wait (a failed store forwarding: 10 ns per line).
    fn prefix_of<const N: usize>(&mut self, bytes: &[u8; N], length: usize);

    /// The same of what fits a register.
    #[inline(always)]
    fn prefix<const N: usize>(&mut self, bytes: [u8; N], length: usize) {
        const { assert!(N <= 8) };
        self.prefix_of(&bytes, length);
    }

    fn bytes(&mut self, bytes: &[u8]);

    #[inline(always)]
    fn kept<const N: usize>(&mut self, kept: &Kept<N>) {
        self.prefix_of(&kept.bytes, usize::from(kept.length));
    }

    #[inline(always)]
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) {
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

    /// `%06u ` of a value below 1 000 000.
    #[inline(always)]
    fn six_digits_and_blank(&mut self, value: u32) {
        let text = six_digits(value) & 0xffff_ffff_ffff | u64::from(b' ') << 48;
        self.prefix(text.to_le_bytes(), 7);
    }

    /// `%u`.
    #[inline(always)]
    fn decimal(&mut self, value: u32) {
        match value {
            0..1000 => {
                let digits = THREE_DIGITS[value as usize];
                let zeros = digits >> 24;
                self.prefix((digits >> zeros).to_le_bytes(), 3 - zeros as usize / 8);
            }
            1000..1_000_000 => {
                let zeros = THREE_DIGITS[(value / 1000) as usize] >> 24;
                self.prefix((six_digits(value) >> zeros).to_le_bytes(), 6 - zeros as usize / 8);
            }
            _ => {
                let text = seven_digits_and_more(value);
                self.prefix_of(&text.to_le_bytes(), (text >> 120) as usize);
            }
        }
    }

    /// As [`decimal`](Self::decimal), for a number that is long as a rule.
    #[inline(always)]
    fn long_decimal(&mut self, value: u32) {
        if value < 100_000_000 {
            self.up_to_eight_digits(value);
        } else {
            self.octet((value / 100_000_000) as u8);
            self.all_eight_digits(value % 100_000_000);
        }
    }

    /// `%u` of 64 bits.
    fn decimal64(&mut self, value: u64) {
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
    fn octet(&mut self, value: u8) {
        self.prefix(DOTTED_OCTETS[usize::from(value)], octet_length(value));
    }

    /// `%u.%u.%u.%u`.
    #[inline(always)]
    fn dotted(&mut self, octets: [u8; 4]) {
        self.dotted_without(octets, 1);
    }

    /// `%u.%u.%u.%u.`.
    #[inline(always)]
    fn dotted_with_dot(&mut self, octets: [u8; 4]) {
        self.dotted_without(octets, 0);
    }

    /// The same without the last so many bytes.
    #[inline(always)]
    fn dotted_without(&mut self, [a, b, c, d]: [u8; 4], left_out: usize) {
        let pair = |first: u8, second: u8| {
            let text = |octet: u8| u64::from(u32::from_le_bytes(DOTTED_OCTETS[usize::from(octet)]));
            let bits = |octet: u8| usize::from(DOTTED_BITS[usize::from(octet)]);
            let both = text(first) | text(second) << bits(first);
            (both.to_le_bytes(), (bits(first) + bits(second)) / 8)
        };
        let (text, length) = pair(a, b);
        self.prefix(text, length);
        let (text, length) = pair(c, d);
        self.prefix(text, length - left_out);
    }

    /// `%0{width}u`, where `width` is at most eight: more digits where there are more.
    #[inline(always)]
    fn decimal_padded(&mut self, value: u32, width: u32) {
        if value < 10_u32.pow(width) {
            let digits = (eight_digits(value) | ASCII_ZEROS) >> ((8 - width) * 8);
            self.prefix(digits.to_le_bytes(), width as usize);
        } else {
            self.decimal(value);
        }
    }

    /// `%x`.
    fn hex(&mut self, value: u64) {
        self.hex_padded(value, 1);
    }

    /// `%0{width}x`.
    fn hex_padded(&mut self, value: u64, width: u32) {
        let mut digits = width.max((u64::BITS - value.leading_zeros()).div_ceil(4));
        while digits > 0 {
            digits -= 1;
            self.byte(HEX_DIGITS[(value >> (digits * 4) & 15) as usize]);
        }
    }

    /// `%02x` of each.
    fn hex_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.prefix(hex_digits(byte), 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Line {
        /// What has been written.
        pub(in super::super) fn taken(&mut self) -> String {
            let mut out = BytesMut::new();
            self.move_to(&mut out);
            String::from_utf8(out.to_vec()).unwrap()
        }
    }

    fn written(write: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::new();
        write(&mut line);
        line.taken()
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
            assert_eq!(written(|line| line.decimal(value % 10_000_000)), format!("{}", value % 10_000_000));
            assert_eq!(written(|line| line.long_decimal(value)), format!("{value}"));
            let fraction = value % 1_000_000;
            assert_eq!(written(|line| line.six_digits_and_blank(fraction)), format!("{fraction:06} "));
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
    fn what_does_not_fit_is_kept() {
        let text = "x".repeat(3 * CAPACITY);
        assert_eq!(written(|line| line.text(&text)), text);
        let around = |line: &mut Line| {
            line.text("<");
            line.text(&text);
            line.text(">");
        };
        assert_eq!(written(around), format!("<{text}>"));
        for before in CAPACITY - 20..=CAPACITY {
            let text = &text[..before];
            let write = |line: &mut Line| {
                line.text(text);
                line.decimal(u32::MAX);
                line.byte(b'|');
                line.octet(255);
            };
            assert_eq!(written(write), format!("{text}4294967295|255"));
        }
    }
}
