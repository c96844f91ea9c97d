//! A packet as an object.

use std::net::IpAddr;

use capture_common::{
    headers::{ipv4, ipv6, tcp},
    parse::{Layers, Network},
    record::MAX_SNAPLEN,
};
use capture_packet::{Direction, Packet, tcp::flag};
use capture_text::{Conversations, SequenceFields, values};
use serde::{Serialize, Serializer};

use super::{options::Options, stamp::Stamp};

/// The shortest IPv4 header, in bytes.
const IPV4_MIN_LENGTH: usize = 20;
const IPV4_MORE_FRAGMENTS: u16 = 0x2000;
const IPV6_MORE_FRAGMENTS: u16 = 1;

/// The keys in the order they are written. What is not known is left out.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "packet")]
pub(super) struct PacketObject<'a> {
    time: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    wire_len: u32,
    captured_len: usize,
    #[serde(flatten)]
    ip: Option<IpFields>,
    #[serde(flatten)]
    ports: Option<Ports>,
    #[serde(flatten)]
    tcp: Option<TcpFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    #[serde(skip_serializing_if = "is_false")]
    malformed: bool,
}

/// What the IP header says.
#[derive(Clone, Copy, Debug, Serialize)]
struct IpFields {
    ip_version: u8,
    src_ip: Address,
    dest_ip: Address,
    proto: &'static str,
    /// Of IPv6, the hop limit.
    ttl: u8,
    /// The identification: in IPv6, fragments alone have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<Fragment>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Fragment {
    /// Where it belongs in the packet, in bytes.
    offset: u16,
    /// Whether others come after it.
    more: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Ports {
    src_port: u16,
    dest_port: u16,
}

/// What the fixed part of the TCP header says.
#[derive(Clone, Copy, Debug, Serialize)]
struct TcpFields {
    flags: Flags,
    seq: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative_seq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative_ack: Option<u32>,
    win: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    urg: Option<u16>,
}

/// An address as in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address(pub(super) IpAddr);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(values::address(self.0).as_str())
    }
}

/// Flags as in the text.
#[derive(Clone, Copy, Debug)]
struct Flags(u8);

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(values::flags(self.0).as_str())
    }
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// Why not all of a packet's headers are known.
#[derive(Clone, Copy, Debug)]
enum Gap {
    /// The captured bytes, or the fragment, end before the headers do.
    Truncated,
    /// The headers contradict each other.
    Malformed,
}

/// The payload of an IP packet that is or begins with a TCP header.
struct Payload<'a> {
    /// The frame, up to the end of the IP packet or of what was captured of it.
    frame: &'a [u8],
    /// Where the TCP header is.
    offset: usize,
    /// How many bytes of TCP header and data the IP packet has.
    length: usize,
    /// Whether more fragments belong to it.
    has_more: bool,
}

impl<'a> PacketObject<'a> {
    /// What is known of `packet`, which was seen on `interface`. `conversations` gets the segments that the printer
    /// gives to its own, so that relative numbers are those of the lines.
    #[inline]
    pub(super) fn read(
        packet: &Packet<'a>,
        time: Stamp,
        interface: Option<&'a str>,
        conversations: &mut Conversations,
    ) -> Self {
        let mut object = Self {
            time,
            interface,
            direction: packet.direction.map(|direction| match direction {
                Direction::In => "in",
                Direction::Out => "out",
            }),
            wire_len: packet.wire_len,
            captured_len: packet.data.len(),
            ip: None,
            ports: None,
            tcp: None,
            length: None,
            options: None,
            truncated: false,
            malformed: false,
        };
        match object.read_headers(packet, conversations) {
            Ok(()) => {}
            Err(Gap::Truncated) => object.truncated = true,
            Err(Gap::Malformed) => object.malformed = true,
        }
        object
    }

    #[inline]
    fn read_headers(&mut self, packet: &Packet<'a>, conversations: &mut Conversations) -> Result<(), Gap> {
        let (captured_len, wire_len) = (packet.data.len(), packet.wire_len as usize);
        if captured_len == 0 || wire_len < captured_len || packet.wire_len > MAX_SNAPLEN {
            return Err(Gap::Malformed);
        }
        let not_located = if captured_len < wire_len { Gap::Truncated } else { Gap::Malformed };
        let layers = packet.layers.ok_or(not_located)?;
        let payload = match layers.network {
            Network::Ipv4 => self.read_ipv4(packet, layers)?,
            Network::Ipv6 => self.read_ipv6(packet, layers)?,
        };
        payload.map_or(Ok(()), |payload| self.read_tcp(&payload, conversations))
    }

    /// `None` in a fragment without a TCP header.
    #[inline]
    fn read_ipv4(&mut self, packet: &Packet<'a>, layers: Layers) -> Result<Option<Payload<'a>>, Gap> {
        let Layers { l3_offset, .. } = layers;
        let header: &[u8; IPV4_MIN_LENGTH] = array(packet.data, l3_offset).ok_or(Gap::Truncated)?;
        let [version_ihl, _, l1, l0, i1, i0, f1, f0, ttl, _, _, _, a, b, c, d, e, f, g, h] = *header;
        let wire_len = packet.wire_len as usize;
        if version_ihl >> 4 != 4 || wire_len - l3_offset < IPV4_MIN_LENGTH {
            return Err(Gap::Malformed);
        }
        let fragment = u16::from_be_bytes([f1, f0]);
        let (offset, more) = (fragment & ipv4::FRAGMENT_OFFSET_MASK, fragment & IPV4_MORE_FRAGMENTS != 0);
        self.ip = Some(IpFields {
            ip_version: 4,
            src_ip: Address([a, b, c, d].into()),
            dest_ip: Address([e, f, g, h].into()),
            proto: "tcp",
            ttl,
            ip_id: Some(u16::from_be_bytes([i1, i0]).into()),
            // Thirteen bits, times eight: it fits.
            fragment: (offset != 0 || more).then_some(Fragment { offset: offset * 8, more }),
        });
        let header_length = usize::from(version_ihl & 15) * 4;
        let total_length = usize::from(u16::from_be_bytes([l1, l0]));
        if header_length < IPV4_MIN_LENGTH || total_length < header_length {
            return Err(Gap::Malformed);
        }
        if offset != 0 {
            return Ok(None);
        }
        let frame = cut(packet.data, l3_offset + total_length);
        let offset = l3_offset + header_length;
        if frame.len() < offset {
            return Err(Gap::Truncated);
        }
        Ok(Some(Payload { frame, offset, length: total_length - header_length, has_more: more }))
    }

    /// `None` in a fragment without a TCP header.
    #[inline]
    fn read_ipv6(&mut self, packet: &Packet<'a>, layers: Layers) -> Result<Option<Payload<'a>>, Gap> {
        let Layers { l3_offset, .. } = layers;
        let header: &[u8; ipv6::LENGTH] = array(packet.data, l3_offset).ok_or(Gap::Truncated)?;
        let [version, _, _, _, p1, p0, next_header, ttl, addresses @ ..] = header;
        let wire_len = packet.wire_len as usize;
        let ([source, destination], _) = addresses.as_chunks::<16>() else { return Err(Gap::Malformed) };
        if version >> 4 != 6 || wire_len - l3_offset < ipv6::LENGTH {
            return Err(Gap::Malformed);
        }
        let mut ip = IpFields {
            ip_version: 6,
            src_ip: Address((*source).into()),
            dest_ip: Address((*destination).into()),
            proto: "tcp",
            ttl: *ttl,
            ip_id: None,
            fragment: None,
        };
        let payload_length = usize::from(u16::from_be_bytes([*p1, *p0]));
        let frame = cut(packet.data, l3_offset + ipv6::LENGTH + payload_length);
        let mut payload =
            Payload { frame, offset: l3_offset + ipv6::LENGTH, length: payload_length, has_more: false };
        let mut gap = None;
        if *next_header == ipv6::NEXT_HEADER_FRAGMENT {
            match array(packet.data, payload.offset) {
                Some(&[_, _, o1, o0, i3, i2, i1, i0]) => {
                    let field = u16::from_be_bytes([o1, o0]);
                    let offset = field & ipv6::FRAGMENT_OFFSET_MASK;
                    payload.has_more = field & IPV6_MORE_FRAGMENTS != 0;
                    ip.ip_id = Some(u32::from_be_bytes([i3, i2, i1, i0]));
                    ip.fragment = Some(Fragment { offset, more: payload.has_more });
                }
                None => gap = Some(Gap::Truncated),
            }
            payload.offset += ipv6::FRAGMENT_LENGTH;
            match payload_length.checked_sub(ipv6::FRAGMENT_LENGTH) {
                Some(length) => payload.length = length,
                None => gap = gap.or(Some(Gap::Malformed)),
            }
        }
        self.ip = Some(ip);
        match (gap, ip.fragment) {
            (Some(gap), _) => Err(gap),
            (None, Some(Fragment { offset: 1.., .. })) => Ok(None),
            // The length of a jumbogram is not known.
            _ if payload_length == 0 => Err(Gap::Truncated),
            _ => Ok(Some(payload)),
        }
    }

    #[inline]
    fn read_tcp(&mut self, payload: &Payload<'a>, conversations: &mut Conversations) -> Result<(), Gap> {
        let &Payload { frame, offset, length, has_more } = payload;
        // What the packet itself has no room for may be in the next fragment.
        let beyond_packet = if has_more { Gap::Truncated } else { Gap::Malformed };
        if let Some(&[s1, s0, d1, d0]) = array(frame, offset) {
            let [src_port, dest_port] = [[s1, s0], [d1, d0]].map(u16::from_be_bytes);
            self.ports = Some(Ports { src_port, dest_port });
        }
        let Some(header) = array::<{ tcp::MIN_LENGTH }>(frame, offset) else {
            return Err(if length < tcp::MIN_LENGTH { beyond_packet } else { Gap::Truncated });
        };
        let [.., n3, n2, n1, n0, a3, a2, a1, a0, data_offset, flags, w1, w0, _, _, u1, u0] = *header;
        let header_length = usize::from(data_offset >> 4) * 4;
        if header_length < tcp::MIN_LENGTH {
            return Err(Gap::Malformed);
        }
        let [seq, ack] = [[n3, n2, n1, n0], [a3, a2, a1, a0]].map(u32::from_be_bytes);
        let has_ack = flags & flag::ACK != 0;
        let numbers = if has_ack { self.numbers(seq, ack, flags, conversations) } else { None };
        let relative = numbers.filter(|numbers| numbers.is_relative);
        self.tcp = Some(TcpFields {
            flags: Flags(flags),
            seq,
            ack: has_ack.then_some(ack),
            relative_seq: relative.map(|numbers| numbers.seq),
            relative_ack: relative.map(|numbers| numbers.ack),
            win: u16::from_be_bytes([w1, w0]),
            urg: (flags & flag::URG != 0).then_some(u16::from_be_bytes([u1, u0])),
        });
        let Some(data_length) = length.checked_sub(header_length) else { return Err(beyond_packet) };
        self.length = u32::try_from(data_length).ok();
        if header_length > tcp::MIN_LENGTH {
            let end = (offset + header_length).min(frame.len());
            let list = frame.get(offset + tcp::MIN_LENGTH..end).unwrap_or_default();
            let (options, is_malformed) = Options::read(list, numbers.map(|numbers| numbers.sack_base));
            self.options = Some(options);
            if end < offset + header_length {
                return Err(Gap::Truncated);
            }
            if is_malformed {
                return Err(Gap::Malformed);
            }
        }
        Ok(())
    }

    #[inline]
    fn numbers(
        &self,
        seq: u32,
        ack: u32,
        flags: u8,
        conversations: &mut Conversations,
    ) -> Option<capture_text::Numbers> {
        let (ip, Ports { src_port, dest_port }) = (self.ip?, self.ports?);
        let syn = flags & flag::SYN != 0;
        let fields = SequenceFields { source_port: src_port, destination_port: dest_port, seq, ack, syn };
        conversations.numbers_between([ip.src_ip.0, ip.dest_ip.0], fields)
    }
}

#[inline]
fn array<const N: usize>(frame: &[u8], offset: usize) -> Option<&[u8; N]> {
    frame.get(offset..)?.first_chunk()
}

/// The frame up to `end`, if it goes further.
#[inline]
fn cut(frame: &[u8], end: usize) -> &[u8] {
    frame.get(..end).unwrap_or(frame)
}
