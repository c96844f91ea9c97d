//! What blocks are made of: words of 32 bits, and options.

use bytes::BytesMut;
use capture_packet::Timestamp;

use crate::{pcapng::option::END_OF_OPTIONS, source::interface::InterfaceDescription};

const NANOSECONDS: i64 = 1_000_000_000;

/// Ends a list of options: code and length.
pub(super) const END: u32 = END_OF_OPTIONS as u32;

/// Code and length of an option.
pub(super) const OPTION_HEADER_LENGTH: usize = 4;

/// Appends numbers of 32 bits.
#[inline]
pub(super) fn put_words<const N: usize>(words: [u32; N], out: &mut BytesMut) {
    let bytes = words.map(u32::to_le_bytes);
    out.extend_from_slice(bytes.as_flattened());
}

/// Appends a block around the whole words that `body` appends.
pub(super) fn block(block_type: u32, out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    put_words([block_type, 0], out);
    body(out);
    let length = ((out.len() - start + 4) as u32).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&length);
    out.extend_from_slice(&length);
}

/// Appends an option.
pub(super) fn option(code: u16, value: &[u8], out: &mut BytesMut) {
    option_with(code, out, |out| out.extend_from_slice(value));
}

/// Appends an option with the value that `value` appends, which is shorter than 64 KiB, and padding.
pub(super) fn option_with(code: u16, out: &mut BytesMut, value: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    put_words([code.into()], out);
    value(out);
    let length = out.len() - start - OPTION_HEADER_LENGTH;
    out[start + 2..start + OPTION_HEADER_LENGTH].copy_from_slice(&(length as u16).to_le_bytes());
    out.resize(start + OPTION_HEADER_LENGTH + length.next_multiple_of(4), 0);
}

/// A time in ticks since the epoch, the high word first. A tick is a unit of the last of so many digits of the fraction of a
/// second. 64 bits of nanoseconds hold the times up to the year 2554; those before 1970 are in two's complement.
#[inline]
pub(super) fn time_words(time: Timestamp, digits: u8) -> [u32; 2] {
    let ticks = if digits < InterfaceDescription::MAX_TIME_DIGITS {
        coarse_ticks(time, digits)
    } else {
        time.seconds.wrapping_mul(NANOSECONDS).wrapping_add(time.nanoseconds)
    };
    [(ticks >> 32) as u32, ticks as u32]
}

fn coarse_ticks(time: Timestamp, digits: u8) -> i64 {
    let per_second = 10_i64.pow(digits.into());
    let fraction = time.nanoseconds.div_euclid(NANOSECONDS / per_second);
    time.seconds.wrapping_mul(per_second).wrapping_add(fraction)
}
