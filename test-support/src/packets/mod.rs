//! Making packets, sane and insane, and the files they are in.

pub mod byte_order;
pub mod file;
pub mod ip;
pub mod link;
pub mod tcp;

/// One packet of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Seconds since the epoch, as 32 bits of a file have them.
    pub seconds: u32,
    /// Nanoseconds, or what a file has in their place.
    pub nanoseconds: u32,
    /// The length on the wire that is claimed, in bytes.
    pub wire_len: u32,
    /// What was captured.
    pub data: Vec<u8>,
}

impl Packet {
    /// A packet captured whole.
    pub fn whole(seconds: u32, nanoseconds: u32, data: Vec<u8>) -> Self {
        Self { seconds, nanoseconds, wire_len: length(&data), data }
    }
}

/// The length of a frame, which is far below 4 GiB.
pub fn length(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

/// The sum of RFC 1071 over big-endian 16-bit words, not yet folded.
fn sum(data: &[u8]) -> u64 {
    data.chunks(2).map(|pair| u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from)).sum()
}

/// The Internet checksum (RFC 1071) over several pieces; all but the last of even length.
pub fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut total: u64 = pieces.iter().map(|piece| sum(piece)).sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}
