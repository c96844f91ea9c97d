//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers.

use std::net::IpAddr;

use super::checksum;

/// The protocol number of TCP.
pub const TCP: u8 = 6;

/// Where a packet comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Source and destination of IPv4.
    V4([u8; 4], [u8; 4]),
    /// Source and destination of IPv6.
    V6([u8; 16], [u8; 16]),
}

impl Addresses {
    /// Of two ends, which must be of one version.
    pub fn between(source: IpAddr, destination: IpAddr) -> Self {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::V4(source.octets(), destination.octets()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Self::V6(source.octets(), destination.octets()),
            _ => unreachable!("{source} and {destination} are of two versions"),
        }
    }

    /// The way back.
    pub fn reversed(self) -> Self {
        match self {
            Self::V4(source, destination) => Self::V4(destination, source),
            Self::V6(source, destination) => Self::V6(destination, source),
        }
    }

    /// Whether this is IPv4.
    pub fn is_v4(&self) -> bool {
        matches!(self, Self::V4(..))
    }

    /// A packet between the addresses, around bytes.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        match *self {
            Self::V4(source, destination) => Ipv4::default().encode(source, destination, payload),
            Self::V6(source, destination) => Ipv6::default().encode(source, destination, payload),
        }
    }

    /// What the checksum of a TCP segment also covers.
    pub(super) fn pseudo_header(&self, segment_length: usize) -> Vec<u8> {
        match self {
            Self::V4(source, destination) => {
                [&source[..], destination, &[0, TCP], &(segment_length as u16).to_be_bytes()].concat()
            }
            Self::V6(source, destination) => {
                [&source[..], destination, &(segment_length as u32).to_be_bytes(), &[0, 0, 0, TCP]].concat()
            }
        }
    }
}

/// An IPv4 header. What it leaves out is made to fit.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    /// 4, if it is to be right.
    pub version: u8,
    /// The header length in 32-bit words, where it is not to be that of header and options.
    pub header_length: Option<u8>,
    /// The type of service.
    pub tos: u8,
    /// The total length, where it is not to be right.
    pub total_length: Option<u16>,
    /// The identification.
    pub id: u16,
    /// The three flags (high bits) and the fragment offset.
    pub fragment: u16,
    /// The time to live.
    pub ttl: u8,
    /// The number of what follows.
    pub protocol: u8,
    /// The checksum, where it is not to be right.
    pub checksum: Option<u16>,
    /// Padded with zeros to a multiple of four bytes.
    pub options: Vec<u8>,
}

impl Default for Ipv4 {
    fn default() -> Self {
        Self {
            version: 4,
            header_length: None,
            tos: 0,
            total_length: None,
            id: 0,
            fragment: 0x4000,
            ttl: 64,
            protocol: TCP,
            checksum: None,
            options: Vec::new(),
        }
    }
}

impl Ipv4 {
    /// The bytes of the header, and what it carries.
    pub fn encode(&self, source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let length = 20 + self.options.len().next_multiple_of(4);
        let header_length = self.header_length.unwrap_or((length / 4) as u8);
        let mut bytes = Vec::with_capacity(length + payload.len());
        bytes.extend([self.version << 4 | header_length & 0x0f, self.tos]);
        bytes.extend(self.total_length.unwrap_or((length + payload.len()) as u16).to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend(&self.options);
        bytes.resize(length, 0);
        let checksum = self.checksum.unwrap_or_else(|| checksum(&[&bytes]));
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(payload);
        bytes
    }
}

/// An IPv6 header. What it leaves out is made to fit.
#[derive(Clone, Debug)]
pub struct Ipv6 {
    /// 6, if it is to be right.
    pub version: u8,
    /// The traffic class.
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// The payload length, where it is not to be right.
    pub payload_length: Option<u16>,
    /// The number of what follows.
    pub next_header: u8,
    /// The hop limit.
    pub hop_limit: u8,
}

impl Default for Ipv6 {
    fn default() -> Self {
        Self {
            version: 6,
            traffic_class: 0,
            flow_label: 0,
            payload_length: None,
            next_header: TCP,
            hop_limit: 64,
        }
    }
}

impl Ipv6 {
    /// The bytes of the header, and what it carries.
    pub fn encode(&self, source: [u8; 16], destination: [u8; 16], payload: &[u8]) -> Vec<u8> {
        let first = u32::from(self.version) << 28
            | u32::from(self.traffic_class) << 20
            | self.flow_label & 0x000f_ffff;
        let payload_length = self.payload_length.unwrap_or(payload.len() as u16);
        let mut bytes = Vec::with_capacity(40 + payload.len());
        bytes.extend(first.to_be_bytes());
        bytes.extend(payload_length.to_be_bytes());
        bytes.extend([self.next_header, self.hop_limit]);
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend(payload);
        bytes
    }
}

/// An IPv6 fragment header (RFC 8200 section 4.5); the offset in bytes.
pub fn fragment_header(next_header: u8, offset: u16, more: bool, id: u32) -> [u8; 8] {
    let [offset_high, offset_low] = (offset & 0xfff8 | u16::from(more)).to_be_bytes();
    let [i3, i2, i1, i0] = id.to_be_bytes();
    [next_header, 0, offset_high, offset_low, i3, i2, i1, i0]
}
