//! The addresses of the layer below TCP, and with them which version of IP it is.

/// The addresses of the IP packet that a segment came in.
#[derive(Clone, Copy)]
pub(super) enum IpAddresses<'p> {
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
