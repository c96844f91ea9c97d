//! The internet checksum (RFC 1071) and tcpdump's verdict on it (in_cksum.c).

/// The one's complement sum of big-endian 16-bit words. A last odd byte is the high half of a word.
pub(super) fn sum(bytes: &[u8], initial: u64) -> u64 {
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    let mut sum = initial;
    for word in words {
        if let Ok(word) = word.try_into() {
            sum += u64::from(u32::from_be_bytes(word));
        }
    }
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum + u64::from(u32::from_be_bytes(last))
}

/// What the checksum field should hold, given what it holds and the [`sum`] of all that it covers, itself included;
/// `None` if it is right (`in_cksum_shouldbe`).
pub(super) fn correction(field: u16, sum: u64) -> Option<u16> {
    let complement = !fold(sum);
    (complement != 0).then(|| fold(u64::from(field) + u64::from(complement)))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0)), 0xddf2);
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2], 0)), 0xf201);
    }

    #[test]
    fn what_the_field_should_hold() {
        // 0x1234 in the field, 0xabcd after it.
        assert_eq!(correction(0x1234, sum(&[0x12, 0x34, 0xab, 0xcd], 0)), Some(0x5432));
        assert_eq!(correction(0x5432, sum(&[0x54, 0x32, 0xab, 0xcd], 0)), None);
        // Both zeros of one's complement.
        assert_eq!(correction(0, sum(&[0, 0, 0, 0], 0)), Some(0xffff));
        assert_eq!(correction(0, sum(&[0, 0, 0xff, 0xff], 0)), None);
        assert_eq!(correction(0xffff, sum(&[0xff, 0xff, 0, 0], 0)), None);
    }
}
