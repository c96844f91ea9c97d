//! TCP segments (RFC 9293 section 3.1).

use super::{checksum, ip::Addresses};

/// The sender has no more data.
pub const FIN: u8 = 0x01;
/// Synchronizes sequence numbers.
pub const SYN: u8 = 0x02;
/// Resets the connection.
pub const RST: u8 = 0x04;
/// Pushes data to the receiver.
pub const PSH: u8 = 0x08;
/// The acknowledgment number counts.
pub const ACK: u8 = 0x10;
/// The urgent pointer counts.
pub const URG: u8 = 0x20;

/// The fields and the data of a segment to be built. What they leave out is made to fit.
#[derive(Clone, Debug, Default)]
pub struct SegmentFields {
    /// The source port.
    pub source: u16,
    /// The destination port.
    pub destination: u16,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgment number.
    pub acknowledgment: u32,
    /// The data offset in 32-bit words, where it is not to be the length of header and options.
    pub data_offset: Option<u8>,
    /// The four bits between data offset and flags.
    pub reserved: u8,
    /// The flags, such as [`ACK`].
    pub flags: u8,
    /// The window, not scaled.
    pub window: u16,
    /// The checksum, where it is not to be right.
    pub checksum: Option<u16>,
    /// The urgent pointer.
    pub urgent: u16,
    /// Padded with zeros to a multiple of four bytes.
    pub options: Vec<u8>,
    /// The data.
    pub payload: Vec<u8>,
}

impl SegmentFields {
    /// An IP packet around the segment.
    pub fn packet(&self, addresses: &Addresses) -> Vec<u8> {
        addresses.packet(&self.encode(addresses))
    }

    /// The bytes of the segment between two addresses.
    pub fn encode(&self, addresses: &Addresses) -> Vec<u8> {
        let padded = self.options.len().next_multiple_of(4);
        let mut bytes = Vec::with_capacity(20 + padded + self.payload.len());
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgment.to_be_bytes());
        let data_offset = self.data_offset.unwrap_or((5 + padded / 4) as u8);
        bytes.extend([data_offset << 4 | self.reserved & 0x0f, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(&self.options);
        bytes.resize(20 + padded, 0);
        bytes.extend(&self.payload);
        let right = || checksum(&[&addresses.pseudo_header(bytes.len()), &bytes]);
        let checksum = self.checksum.unwrap_or_else(right);
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// One option, with the length that belongs to it.
pub fn option(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, (payload.len() + 2) as u8], payload].concat()
}
