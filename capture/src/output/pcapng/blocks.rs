//! What blocks are made of: words of 32 bits, and options.

use bytes::BytesMut;
use capture_packet::{Precision, Timestamp};

pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE_DESCRIPTION: u32 = 1;
pub(super) const INTERFACE_STATISTICS: u32 = 5;
pub(super) const ENHANCED_PACKET: u32 = 6;

/// `opt_endofopt`: code and length.
pub(super) const END_OF_OPTIONS: u32 = 0;

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

/// Nanoseconds since the epoch, the high word first. 64 bits hold the times up to the year 2554; those before 1970 are
/// in two's complement.
#[inline]
pub(super) fn time_words(time: Timestamp) -> [u32; 2] {
    let per_second = Precision::Nano.per_second();
    let seconds = time.seconds.cast_unsigned().wrapping_mul(per_second);
    let ticks = seconds.wrapping_add(time.nanoseconds.cast_unsigned());
    [(ticks >> 32) as u32, ticks as u32]
}
