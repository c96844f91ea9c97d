//! The options of a packet block, which libpcap does not look at: what is malformed says nothing.

use capture_packet::Direction;

use super::bytes::ByteOrder;
use crate::pcapng::{option, packet};

/// What a file says of a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    bytes: &'a [u8],
    byte_order: ByteOrder,
}

impl<'a> Options<'a> {
    /// None.
    pub(super) const NONE: Self = Self { bytes: &[], byte_order: ByteOrder::NATIVE };

    /// The options that follow the `data` of a packet block, from `after` on.
    #[inline]
    pub(super) fn after(data: &[u8], after: &'a [u8], byte_order: ByteOrder) -> Self {
        match after {
            // There is less than an option: nothing, or padding.
            [] | [_] | [_, _] | [_, _, _] => Self::NONE,
            _ => {
                let padding = data.len().next_multiple_of(4) - data.len();
                Self { bytes: after.get(padding..).unwrap_or_default(), byte_order }
            }
        }
    }

    /// Whether there are any, as far as a look tells.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The comments, in their order: UTF-8 in anything well-formed.
    pub fn comments(self) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(|(code, _)| *code == option::COMMENT).map(|(_, value)| value)
    }

    /// How many packets were lost before this one.
    pub fn drop_count(self) -> Option<u64> {
        let is_count = |(code, value): &(u16, &[u8])| *code == packet::DROP_COUNT && value.len() == 8;
        self.iter().find(is_count).map(|(_, value)| self.byte_order.u64(value, 0))
    }

    /// The direction (`epb_flags`, `pack_flags`: bits 0 and 1).
    #[inline(never)]
    pub(super) fn direction(self) -> Option<Direction> {
        let is_flags = |(code, value): &(u16, &[u8])| *code == packet::FLAGS && value.len() == 4;
        let (_, flags) = self.iter().find(is_flags)?;
        match self.byte_order.u32(flags, 0) & 3 {
            1 => Some(Direction::In),
            2 => Some(Direction::Out),
            _ => None,
        }
    }

    /// Codes and values, up to the end of the options or to one that is malformed.
    fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (header, after) = rest.split_at_checked(4)?;
            let (code, length) = (self.byte_order.u16(header, 0), self.byte_order.u16(header, 2));
            if code == option::END_OF_OPTIONS {
                return None;
            }
            let (value, after) = after.split_at_checked(usize::from(length).next_multiple_of(4))?;
            rest = after;
            Some((code, value.get(..usize::from(length))?))
        })
    }
}
