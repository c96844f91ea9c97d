//! The set of ports a filter selects: one bit for each of the 65536, so that a look-up costs the same for one port
//! and for ten thousand.

/// 64-bit words in the bitmap.
pub const WORDS: usize = 1024;

/// The bitmap. Port `p` is bit `p % 64` of word `p / 64`.
pub type PortBitmap = [u64; WORDS];

/// Something that knows which ports are selected.
pub trait Ports {
    /// Whether the filter is `tcp` without a port: then the ports are not read at all, and fragments without a TCP
    /// header are selected too, as tcpdump's `tcp` selects them.
    fn any(&self) -> bool;

    /// Whether `port` (in host byte order) is selected.
    fn contains(&self, port: u16) -> bool;
}

/// The word of the bitmap that `port` is in, and the mask of its bit.
#[inline(always)]
pub const fn position(port: u16) -> (usize, u64) {
    ((port >> 6) as usize, 1 << (port & 63))
}
