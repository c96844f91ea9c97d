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
