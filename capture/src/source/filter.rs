//! Which packets of a file are selected: those that match the filter, as the interpreter says, and are TCP.

use capture_common::parse::{Frame as _, Location, Network, locate_ethernet, locate_network};
use capture_filter::{
    interpret::{self, Matcher},
    target::{self, Link, Place, Target},
};
use capture_packet::{LinkType, Packet, layers};

use crate::{
    filter::{Filter, FilterError},
    source::file::ByteOrder,
};

/// What becomes of a packet of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// It is selected.
    Yes,
    /// It does not match the filter.
    No,
    /// It matches the filter, and is not TCP.
    NotTcp,
}

/// The filter for the packets of a file, which may be of several link types.
#[derive(Debug)]
pub struct Selector<'f> {
    filter: &'f Filter,
    byte_order: ByteOrder,
    /// For each link type that has come.
    decisions: [Option<Decision>; LinkType::ALL.len()],
}

/// What the filter says of packets of one link type.
#[derive(Debug)]
enum Decision {
    /// All match.
    Everything,
    /// Some do.
    Some(Matcher),
    /// None can.
    Nothing,
}

impl<'f> Selector<'f> {
    /// For a file whose byte order is `byte_order`.
    pub fn new(filter: &'f Filter, byte_order: ByteOrder) -> Self {
        Self { filter, byte_order, decisions: [const { None }; LinkType::ALL.len()] }
    }

    /// Whether the filter can select packets of one of these link types. A file may have others, too, whose packets then
    /// do not match.
    ///
    /// # Errors
    ///
    /// Why it can select no packet of the first one, where it can select none of any.
    pub fn require(&self, link_types: impl IntoIterator<Item = LinkType>) -> Result<(), FilterError> {
        let mut first = Ok(());
        for link_type in link_types {
            match compiled(self.filter, link_type, self.byte_order) {
                Ok(_) => return Ok(()),
                Err(error) => first = first.and(Err(error)),
            }
        }
        first
    }

    /// Whether a packet is selected. Its layers are located then.
    #[inline]
    pub fn select(&mut self, packet: &mut Packet<'_>) -> Selected {
        let Self { filter, byte_order, decisions } = self;
        let decision = decisions[packet.link_type as usize].get_or_insert_with(|| {
            compiled(filter, packet.link_type, *byte_order).unwrap_or(Decision::Nothing)
        });
        let Packet { data, wire_len, .. } = *packet;
        let matches = match decision {
            Decision::Everything => true,
            Decision::Some(matcher) => {
                matcher.matches(&interpret::Frame { data, wire_len, ifindex: 0, tag: None })
            }
            Decision::Nothing => false,
        };
        match matches {
            false => Selected::No,
            true if is_tcp(packet, self.byte_order) => Selected::Yes,
            true => Selected::NotTcp,
        }
    }
}

/// What the filter language calls a link type of a file whose byte order is `byte_order`.
pub fn link(link_type: LinkType, byte_order: ByteOrder) -> Link {
    match link_type {
        LinkType::Ethernet => Link::Ethernet,
        LinkType::Raw => Link::Raw,
        LinkType::Ipv4 => Link::Ipv4,
        LinkType::Ipv6 => Link::Ipv6,
        LinkType::Null => Link::Null(match byte_order {
            ByteOrder::Little => target::ByteOrder::Little,
            ByteOrder::Big => target::ByteOrder::Big,
        }),
        LinkType::Loop => Link::Loop,
        LinkType::LinuxSll => Link::LinuxSll,
        LinkType::LinuxSll2 => Link::LinuxSll2,
    }
}

#[cold]
fn compiled(filter: &Filter, link_type: LinkType, byte_order: ByteOrder) -> Result<Decision, FilterError> {
    let link = link(link_type, byte_order);
    let target = Target { link, place: Place::File, only_tcp: false };
    // What matches and is not TCP is counted.
    filter.programs(&[Target { only_tcp: true, ..target }])?;
    if filter.is_everything() {
        return Ok(Decision::Everything);
    }
    filter.program(&target).map(Matcher::new).map(Decision::Some)
}

/// Whether a packet of a file whose byte order is `byte_order` is what the filter `tcp` selects, behind up to two tags.
/// Its layers are located then.
#[inline]
fn is_tcp(packet: &mut Packet<'_>, byte_order: ByteOrder) -> bool {
    let (link_type, frame) = (packet.link_type, packet.data);
    if link_type == LinkType::Ethernet {
        // Most files are: compiled into the loop that reads them.
        let Location::Tcp { layers, .. } = locate_ethernet(frame) else { return false };
        packet.layers = Some(layers);
        return true;
    }
    let location = match link_type {
        // The version field is not read: the link type has said it (gencode.c, gen_linktype).
        LinkType::Ipv4 => locate_network(frame, Network::Ipv4, 0),
        LinkType::Ipv6 => locate_network(frame, Network::Ipv6, 0),
        // Only the file's own byte order counts here, or that of the network, though the printer takes either.
        LinkType::Null if !is_family(frame, byte_order) => Location::Other,
        LinkType::Loop if !is_family(frame, ByteOrder::Big) => Location::Other,
        _ => layers::location(link_type, frame),
    };
    let Location::Tcp { layers, .. } = location else { return false };
    packet.layers = match link_type {
        LinkType::Ipv4 | LinkType::Ipv6 => layers::locate(link_type, frame),
        _ => Some(layers),
    };
    true
}

/// Whether a BSD loopback frame begins with an address family in this byte order: a small number.
fn is_family(frame: &[u8], byte_order: ByteOrder) -> bool {
    frame.read(0).is_some_and(|[b0, b1, b2, b3]| match byte_order {
        ByteOrder::Little => [b2, b3] == [0; 2],
        ByteOrder::Big => [b0, b1] == [0; 2],
    })
}

#[cfg(test)]
mod tests {
    use capture_filter::names::NoNames;
    use capture_packet::Timestamp;

    use super::*;

    fn selected(link_type: LinkType, byte_order: ByteOrder, headers: &[u8], port: &str) -> bool {
        let filter = Filter::new(&[port.parse().unwrap()], String::new(), &mut NoNames).unwrap();
        let mut packet = Packet::new(Timestamp::default(), link_type, 0, headers);
        let selected = Selector::new(&filter, byte_order).select(&mut packet) == Selected::Yes;
        assert!(!selected || packet.layers == packet.located().layers);
        selected
    }

    /// An IPv4 header with TCP from port 0x22b8 (8888) to port 0x0102 after it.
    const IPV4: [u8; 24] =
        [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x22, 0xb8, 1, 2];

    fn ipv6() -> Vec<u8> {
        let mut packet = vec![0; 44];
        (packet[0], packet[6]) = (0x60, 6);
        packet[40..].copy_from_slice(&IPV4[20..]);
        packet
    }

    /// What tcpdump's filter compiles to for each link type (`tcpdump -d -r FILE tcp port 8888`).
    #[test]
    fn each_link_type_finds_the_ports() {
        let (little, big) = (ByteOrder::Little, ByteOrder::Big);
        let tagged = |types: &[u16]| {
            let types = types.iter().flat_map(|tag| [tag.to_be_bytes(), [0, 5]]).flatten();
            [vec![0; 12], types.collect()].concat()
        };
        let (ipv4, ipv6) = (IPV4.to_vec(), ipv6());
        let mut ethernet = vec![0; 12];
        ethernet.extend([0x08, 0]);
        let mut single = tagged(&[0x8100]);
        single.extend([0x08, 0]);
        let mut double = tagged(&[0x88a8, 0x9100]);
        double.extend([0x86, 0xdd]);
        let mut triple = tagged(&[0x8100, 0x8100, 0x8100]);
        triple.extend([0x08, 0]);
        let mut cooked = vec![0; 14];
        cooked.extend([0x08, 0]);
        let mut cooked2 = vec![0x86, 0xdd];
        cooked2.resize(20, 0);
        for (link_type, order, header, body, expected) in [
            (LinkType::Ethernet, little, ethernet, &ipv4, true),
            (LinkType::Ethernet, little, single, &ipv4, true),
            (LinkType::Ethernet, little, double, &ipv6, true),
            (LinkType::Ethernet, little, triple, &ipv4, false),
            (LinkType::Raw, little, vec![], &ipv4, true),
            (LinkType::Raw, little, vec![], &ipv6, true),
            (LinkType::Ipv4, little, vec![], &ipv4, true),
            (LinkType::Ipv6, little, vec![], &ipv6, true),
            (LinkType::Ipv6, little, vec![], &ipv4, false),
            (LinkType::Null, little, vec![2, 0, 0, 0], &ipv4, true),
            (LinkType::Null, big, vec![2, 0, 0, 0], &ipv4, false),
            (LinkType::Null, big, vec![0, 0, 0, 2], &ipv4, true),
            (LinkType::Null, little, vec![24, 0, 0, 0], &ipv6, true),
            (LinkType::Null, little, vec![28, 0, 0, 0], &ipv6, true),
            (LinkType::Null, little, vec![30, 0, 0, 0], &ipv6, true),
            (LinkType::Null, little, vec![10, 0, 0, 0], &ipv6, false),
            (LinkType::Null, little, vec![2, 0, 0], &vec![], false),
            (LinkType::Loop, little, vec![0, 0, 0, 2], &ipv4, true),
            (LinkType::Loop, little, vec![0, 0, 0, 30], &ipv6, true),
            (LinkType::Loop, little, vec![2, 0, 0, 0], &ipv4, false),
            (LinkType::LinuxSll, little, cooked, &ipv4, true),
            (LinkType::LinuxSll2, little, cooked2, &ipv6, true),
        ] {
            let frame = [&header[..], &body[..]].concat();
            let what = format!("{link_type:?} {header:02x?}");
            assert_eq!(selected(link_type, order, &frame, "8888"), expected, "{what}");
            assert_eq!(selected(link_type, order, &frame, "258"), expected, "{what}");
            assert!(!selected(link_type, order, &frame, "8889"), "{what}");
        }
    }

    /// DLT_IPV4 does not look at the version, DLT_RAW does.
    #[test]
    fn only_raw_reads_the_version() {
        let mut packet = IPV4;
        packet[0] = 0x55;
        assert!(selected(LinkType::Ipv4, ByteOrder::Little, &packet, "8888"));
        assert!(!selected(LinkType::Raw, ByteOrder::Little, &packet, "8888"));
    }
}
