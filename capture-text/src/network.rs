//! The layer below TCP: which IP version, and the addresses.

/// The network layer a segment came in.
#[derive(Clone, Copy)]
pub(super) enum Network<'p> {
    V4 {
        /// Offset of the IPv4 header.
        header: usize,
        source: [u8; 4],
        destination: [u8; 4],
    },
    V6 {
        source: &'p [u8; 16],
        destination: &'p [u8; 16],
    },
}
