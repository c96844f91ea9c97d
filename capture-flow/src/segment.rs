//! What the tracker needs of a packet: one TCP segment, and only if the packet certainly is one.

use core::net::{IpAddr, Ipv6Addr};

use capture_common::{
    headers::{ipv4, ipv6, tcp},
    parse::{Frame as _, Layers, Network},
};
use capture_packet::{
    Packet,
    tcp::{flag, option},
};

use super::event::Endpoint;

/// The shortest IPv4 header, in bytes.
const IPV4_MIN_LENGTH: usize = 20;
/// "More fragments" and the fragment offset: of a packet that is whole, both are zero.
const IPV4_FRAGMENTED: u16 = 0x2000 | ipv4::FRAGMENT_OFFSET_MASK;

/// What a segment is for (RFC 9293 section 3.10.7: a segment without ACK that is neither SYN nor RST is dropped by
/// its receiver, and so it is here).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syn,
    SynAck,
    Reset {
        /// Whether the acknowledgment number counts.
        ack: bool,
    },
    /// Data, acknowledgment, FIN.
    Other,
}

/// A TCP segment, all numbers as they stand in the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// When it was seen, in nanoseconds since the epoch.
    pub(super) time: i64,
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) kind: Kind,
    pub(super) fin: bool,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// The window field, not scaled.
    pub(super) window: u16,
    /// Bytes of data.
    pub(super) data_len: u32,
    /// The shift count of a window scale option.
    pub(super) window_scale: Option<u8>,
    /// The sender's clock in a timestamps option (TSval).
    pub(super) tsval: Option<u32>,
}

impl Segment {
    /// The segment in `packet`. `None` if there is none, if the packet is a fragment, or if it contradicts itself or
    /// is cut off before the end of the fixed header: then nothing is certain.
    #[inline]
    pub(super) fn parse(packet: &Packet<'_>) -> Option<Self> {
        let frame = packet.data;
        if frame.len() > packet.wire_len as usize {
            return None;
        }
        let Layers { network, l3_offset, l4_offset } = packet.layers?;
        let (source, destination, length) = match network {
            Network::Ipv4 => ipv4_header(packet, l3_offset)?,
            Network::Ipv6 => ipv6_header(packet, l3_offset)?,
        };
        let l4_offset = l4_offset?.get();
        let header: [u8; tcp::MIN_LENGTH] = frame.read(l4_offset)?;
        let [s1, s0, d1, d0, n3, n2, n1, n0, a3, a2, a1, a0, data_offset, flags, w1, w0, ..] = header;
        let header_length = usize::from(data_offset >> 4) * 4;
        if header_length < tcp::MIN_LENGTH {
            return None;
        }
        let data_len = length.checked_sub(header_length as u32)?;
        let has = |flag| flags & flag != 0;
        let kind = match (has(flag::SYN), has(flag::RST), has(flag::ACK)) {
            (true, false, false) => Kind::Syn,
            (true, false, true) => Kind::SynAck,
            (false, true, ack) => Kind::Reset { ack },
            (false, false, true) => Kind::Other,
            _ => return None,
        };
        let fin = has(flag::FIN);
        if fin && kind != Kind::Other {
            return None;
        }
        let mut segment = Self {
            time: packet.time.seconds.saturating_mul(1_000_000_000).saturating_add(packet.time.nanoseconds),
            source: Endpoint { address: source, port: u16::from_be_bytes([s1, s0]) },
            destination: Endpoint { address: destination, port: u16::from_be_bytes([d1, d0]) },
            kind,
            fin,
            seq: u32::from_be_bytes([n3, n2, n1, n0]),
            ack: u32::from_be_bytes([a3, a2, a1, a0]),
            window: u16::from_be_bytes([w1, w0]),
            data_len,
            window_scale: None,
            tsval: None,
        };
        let options = l4_offset + tcp::MIN_LENGTH..l4_offset + header_length;
        segment.read_options(frame.get(options).unwrap_or_default());
        // In a connection with itself, the two sides cannot be distinguished.
        (segment.source != segment.destination).then_some(segment)
    }

    /// Reads options up to the first that is malformed.
    fn read_options(&mut self, mut options: &[u8]) {
        while let [kind, rest @ ..] = options {
            match (*kind, rest) {
                (option::END, _) => return,
                (option::NOP, _) => options = rest,
                (kind, [length, ..]) if (2..=options.len()).contains(&usize::from(*length)) => {
                    let (this, next) = options.split_at(usize::from(*length));
                    match (kind, this) {
                        (option::WINDOW_SCALE, [_, _, shift]) => self.window_scale = Some(*shift),
                        (option::TIMESTAMPS, [_, _, a, b, c, d, _, _, _, _]) => {
                            self.tsval = Some(u32::from_be_bytes([*a, *b, *c, *d]));
                        }
                        _ => {}
                    }
                    options = next;
                }
                _ => return,
            }
        }
    }

    /// How many sequence numbers it takes: SEG.LEN of RFC 9293.
    pub(super) fn seq_len(&self) -> u32 {
        let syn = matches!(self.kind, Kind::Syn | Kind::SynAck);
        self.data_len + u32::from(syn) + u32::from(self.fin)
    }

    /// The sequence number after it.
    pub(super) fn seq_end(&self) -> u32 {
        self.seq.wrapping_add(self.seq_len())
    }
}

/// Source, destination, and the length of the TCP segment.
#[inline]
fn ipv4_header(packet: &Packet<'_>, l3_offset: usize) -> Option<(IpAddr, IpAddr, u32)> {
    let header: [u8; IPV4_MIN_LENGTH] = packet.data.read(l3_offset)?;
    let [version_ihl, _, l1, l0, _, _, f1, f0, _, _, _, _, addresses @ ..] = header;
    let header_length = usize::from(version_ihl & 0x0f) * 4;
    let total_length = u16::from_be_bytes([l1, l0]);
    if version_ihl >> 4 != 4
        || header_length < IPV4_MIN_LENGTH
        || u16::from_be_bytes([f1, f0]) & IPV4_FRAGMENTED != 0
        || l3_offset + usize::from(total_length) > packet.wire_len as usize
    {
        return None;
    }
    let [a, b, c, d, e, f, g, h] = addresses;
    let length = u32::from(total_length).checked_sub(header_length as u32)?;
    Some((IpAddr::from([a, b, c, d]), IpAddr::from([e, f, g, h]), length))
}

/// Source, destination, and the length of the TCP segment.
#[inline]
fn ipv6_header(packet: &Packet<'_>, l3_offset: usize) -> Option<(IpAddr, IpAddr, u32)> {
    let header: [u8; ipv6::LENGTH] = packet.data.read(l3_offset)?;
    let payload_length = u16::from_be_bytes([header[4], header[5]]);
    let total_length = ipv6::LENGTH + usize::from(payload_length);
    // Without a payload length it may be a jumbogram, of which the printer, too, does not know the length.
    if header[0] >> 4 != 6
        || header[ipv6::NEXT_HEADER] != tcp::PROTOCOL
        || payload_length == 0
        || l3_offset + total_length > packet.wire_len as usize
    {
        return None;
    }
    let address = |at: usize| header[at..].first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets));
    Some((address(8)?.into(), address(24)?.into(), payload_length.into()))
}

#[cfg(test)]
mod tests {
    use capture_packet::{LinkType, Timestamp};
    use test_support::{
        packets::link,
        sketch::{CLIENT, SERVER, Sketch, at},
    };

    use super::*;

    fn packet(link_type: LinkType, data: &[u8]) -> Packet<'_> {
        Packet::new(Timestamp::default(), link_type, data.len() as u32, data).located()
    }

    fn parse(link_type: LinkType, frame: &[u8]) -> Option<Segment> {
        Segment::parse(&packet(link_type, frame))
    }

    fn sketch() -> Sketch {
        at(0, CLIENT, "P.", 7, 9).data(30).win(5).ts(1234)
    }

    #[test]
    fn the_fields() {
        let expected = Segment {
            time: 0,
            source: Endpoint { address: [10, 0, 0, 1].into(), port: 41234 },
            destination: Endpoint { address: [10, 0, 0, 2].into(), port: 8888 },
            kind: Kind::Other,
            fin: false,
            seq: 7,
            ack: 9,
            window: 5,
            data_len: 30,
            window_scale: None,
            tsval: Some(1234),
        };
        assert_eq!(parse(LinkType::Raw, &sketch().ipv4()), Some(expected));
        let segment = parse(LinkType::Raw, &at(0, SERVER, "S.", 1, 2).scale(7).ipv4()).unwrap();
        assert_eq!((segment.kind, segment.window_scale), (Kind::SynAck, Some(7)));
        assert_eq!((segment.seq_len(), segment.seq_end()), (1, 2));
    }

    /// A packet that is cut off gives the whole segment or nothing; options may be missing.
    #[test]
    fn every_length() {
        for whole in [link::frame(&[0x8100], &sketch().ipv4()), link::frame(&[], &sketch().ipv6())] {
            let expected = parse(LinkType::Ethernet, &whole).unwrap();
            let headers = whole.len() - 30 - 12;
            for captured in 0..whole.len() {
                let mut packet = packet(LinkType::Ethernet, &whole);
                packet.data = &whole[..captured];
                let segment = Segment::parse(&packet);
                assert_eq!(segment.is_some(), captured >= headers, "{captured}");
                if let Some(segment) = segment {
                    assert_eq!(Segment { tsval: expected.tsval, ..segment }, expected);
                }
            }
        }
    }

    #[test]
    fn what_is_in_doubt_is_nothing() {
        let change = |at: usize, value: u8| {
            let mut packet = sketch().ipv4();
            packet[at] = value;
            parse(LinkType::Raw, &packet)
        };
        assert!(change(8, 63).is_some());
        for (at, value, what) in [
            (0, 0x55, "version"),
            (0, 0x44, "header too short"),
            (0, 0x4f, "header too long"),
            (3, 83, "longer than the packet"),
            (3, 19, "shorter than its header"),
            (3, 51, "shorter than the TCP header"),
            (6, 0x20, "more fragments"),
            (7, 0x01, "fragment offset"),
            (9, 17, "UDP"),
            (32, 0x40, "data offset too short"),
            (33, 0x00, "no flags"),
            (33, 0x08, "no ACK"),
            (33, 0x03, "SYN and FIN"),
            (33, 0x06, "SYN and RST"),
        ] {
            assert_eq!(change(at, value), None, "{what}");
        }
        let mut fragment = sketch().ipv6();
        fragment[6] = 44;
        assert_eq!(parse(LinkType::Raw, &fragment), None);
        let whole = sketch().ipv4();
        assert_eq!(Segment::parse(&Packet { wire_len: 81, ..packet(LinkType::Raw, &whole) }), None);
        let itself = sketch().between([SERVER.endpoint(); 2]);
        assert_eq!(parse(LinkType::Raw, &itself.ipv4()), None);
    }

    #[test]
    fn malformed_options_end_the_options() {
        let mut segment = parse(LinkType::Raw, &at(0, CLIENT, ".", 1, 1).no_ts().ipv4()).unwrap();
        for options in
            [&[8][..], &[8, 10, 1], &[8, 0], &[8, 1], &[3, 4, 1, 1], &[0, 3, 3, 9], &[5, 200, 3, 3, 9]]
        {
            segment.read_options(options);
            assert_eq!((segment.window_scale, segment.tsval), (None, None), "{options:?}");
        }
        segment.read_options(&[1, 5, 2, 3, 3, 9, 0]);
        assert_eq!(segment.window_scale, Some(9));
    }
}
