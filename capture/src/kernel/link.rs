//! Links as rtnetlink describes them: linux/rtnetlink.h, linux/if_link.h.

use std::io;

use libc::{
    IFLA_ALT_IFNAME, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER, IFLA_STATS64,
    IFLA_XDP, RTM_DELLINK, RTM_NEWLINK,
};
use netlink_packet_core::{DefaultNla, NlaBuffer, ParseableParametrized as _};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkHeader, LinkMessage, LinkXdp},
};

use super::netlink::{Message, attributes, dump, request, text};

/// `struct ifinfomsg`, in bytes.
const HEADER: usize = 16;
/// Bytes of an alternative name, its NUL included (linux/if.h, `ALTIFNAMSIZ`).
const LONGEST_NAME: usize = 128;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    /// `IFF_` flags, netdevice(7).
    pub(super) flags: u32,
    /// `ARPHRD_` type, linux/if_arp.h.
    pub(super) hardware_type: u16,
    /// The program in its XDP slot, and the slot's mode: empty where there are several.
    pub(super) xdp: Option<(u32, &'static str)>,
    /// Packets that it had no room for since it was made.
    pub(super) dropped: u64,
    /// `veth`, `bridge` ..; empty for hardware.
    pub(super) kind: String,
    /// The index of the bridge, bond .. of which it is a port; 0 if it is none.
    pub(super) master: u32,
    /// The index of the interface that it is made on, in whichever network namespace; 0 if there is none.
    pub(super) parent: u32,
}

/// All links of the network namespace, without their counters.
///
/// # Errors
///
/// When the kernel does not list them.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let mut all = LinkMessage::default();
    all.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    dump(RouteNetlinkMessage::GetLink(all), link)
}

/// What each link of the network namespace had no room for since it was made, by its index.
///
/// # Errors
///
/// When the kernel does not list them.
pub(super) fn drops() -> io::Result<Vec<(u32, u64)>> {
    let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
    dump(all, |message| link(message).map(|link| (link.index, link.dropped)))
}

/// The link with this index, if there is one.
///
/// # Errors
///
/// When the kernel does not say.
pub(super) fn link_at(index: u32) -> io::Result<Option<Link>> {
    let mut one = LinkMessage::default();
    one.header.index = index;
    single(one)
}

/// The link with this name or alternative name, if there is one.
///
/// # Errors
///
/// When the kernel does not say.
pub(super) fn link_called(name: &[u8]) -> io::Result<Option<Link>> {
    if name.is_empty() || name.len() >= LONGEST_NAME || name.contains(&0) {
        return Ok(None);
    }
    let mut one = LinkMessage::default();
    // The kernel looks for names of either kind, whichever attribute has it (net/core/dev.c, `__dev_get_by_name`); only
    // this one may be longer than an interface's first name.
    let name = DefaultNla::new(IFLA_ALT_IFNAME, [name, &[0]].concat());
    one.attributes.push(LinkAttribute::Other(name));
    single(one)
}

fn single(wanted: LinkMessage) -> io::Result<Option<Link>> {
    match request(RouteNetlinkMessage::GetLink(wanted), 0, link) {
        Ok(links) => Ok(links.into_iter().next()),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The index of the link that is gone, if that is what a message says.
pub(super) fn gone(message: Message<'_>) -> Option<u32> {
    (message.kind == RTM_DELLINK).then_some(header(message)?.index)
}

/// The link that is there, if that is what a message says.
pub(super) fn link(message: Message<'_>) -> Option<Link> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let header = header(message)?;
    let mut link = Link {
        index: header.index,
        flags: header.flags.bits(),
        hardware_type: header.link_layer_type.into(),
        ..Link::default()
    };
    for attribute in message.attributes(HEADER) {
        match attribute.kind() {
            IFLA_IFNAME => link.name = text(attribute.value()),
            IFLA_MASTER => link.master = number(attribute.value()),
            IFLA_LINK => link.parent = number(attribute.value()),
            IFLA_LINKINFO => {
                let kind = attributes(attribute.value()).find(|part| part.kind() == IFLA_INFO_KIND);
                link.kind = kind.map_or_else(String::new, |kind| text(kind.value()));
            }
            IFLA_XDP | IFLA_STATS64 => match decoded(&attribute) {
                Some(LinkAttribute::Xdp(slots)) => link.xdp = xdp(&slots),
                // The counters that libpcap adds up (pcap-linux.c, `linux_if_drops`).
                Some(LinkAttribute::Stats64(counters)) => {
                    link.dropped = counters.rx_fifo_errors.wrapping_add(counters.rx_missed_errors);
                }
                _ => {}
            },
            _ => {}
        }
    }
    Some(link)
}

fn number(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// `None` for a message of another address family: a bridge announces its ports with `AF_BRIDGE`, and that one has
/// left a bridge as if it were gone.
fn header(message: Message<'_>) -> Option<LinkHeader> {
    let header = LinkHeader::parse(message.body).ok()?;
    (header.interface_family == AddressFamily::Unspec).then_some(header)
}

fn decoded(attribute: &NlaBuffer<&[u8]>) -> Option<LinkAttribute> {
    LinkAttribute::parse_with_param(attribute, AddressFamily::Unspec).ok()
}

/// The program of the slot that is first asked for, of those that are taken.
fn xdp(slots: &[LinkXdp]) -> Option<(u32, &'static str)> {
    let taken = slots.iter().filter_map(|slot| match *slot {
        LinkXdp::DrvProgId(id) => Some((0, (id, "native"))),
        LinkXdp::SkbProgId(id) => Some((1, (id, "generic"))),
        LinkXdp::HwProgId(id) => Some((2, (id, "offloaded"))),
        LinkXdp::ProgId(id) => Some((3, (id, ""))),
        _ => None,
    });
    taken.min_by_key(|(rank, _)| *rank).map(|(_, slot)| slot)
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::tests::attribute, *};

    fn body(attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![0, 0];
        body.extend_from_slice(&772_u16.to_ne_bytes());
        body.extend_from_slice(&7_u32.to_ne_bytes());
        body.extend_from_slice(&0x49_u32.to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&attributes.concat());
        body
    }

    fn read(attributes: &[Vec<u8>]) -> Link {
        link(Message { kind: RTM_NEWLINK, body: &body(attributes) }).unwrap()
    }

    const PLAIN: Link = Link {
        name: String::new(),
        index: 7,
        flags: 0x49,
        hardware_type: 772,
        xdp: None,
        dropped: 0,
        kind: String::new(),
        master: 0,
        parent: 0,
    };

    #[test]
    fn links_are_read_with_their_attributes() {
        let xdp =
            [attribute(2, &[2]), attribute(4, &77_u32.to_ne_bytes()), attribute(6, &77_u32.to_ne_bytes())];
        let counters: Vec<u8> = (0..25_u64).flat_map(u64::to_ne_bytes).collect();
        let link = read(&[
            attribute(IFLA_IFNAME, b"lo\0"),
            attribute(IFLA_STATS64, &counters),
            attribute(IFLA_XDP, &xdp.concat()),
            attribute(IFLA_MASTER, &3_u32.to_ne_bytes()),
            attribute(IFLA_LINK, &4_u32.to_ne_bytes()),
        ]);
        let expected = Link {
            name: "lo".to_owned(),
            xdp: Some((77, "generic")),
            dropped: 14 + 15,
            master: 3,
            parent: 4,
            ..PLAIN
        };
        assert_eq!(link, expected);
        assert_eq!(read(&[attribute(IFLA_XDP, &attribute(2, &[0]))]), PLAIN);
    }

    /// A kernel newer than the crate may have made a structure longer, and a name is any bytes.
    #[test]
    fn an_attribute_that_is_not_understood_hides_no_link() {
        let broken = [
            attribute(IFLA_STATS64, &[1; 7]),
            attribute(IFLA_XDP, &[1; 3]),
            attribute(libc::IFLA_MTU, &[1]),
            attribute(libc::IFLA_VFINFO_LIST, &[1; 2]),
            attribute(IFLA_MASTER, &[1; 3]),
            attribute(IFLA_IFNAME, b"c\xff\0"),
        ];
        assert_eq!(read(&broken), Link { name: "c\u{fffd}".to_owned(), ..PLAIN });
        let longer = attribute(IFLA_STATS64, &[0; 400]);
        assert_eq!(read(&[longer, attribute(IFLA_IFNAME, b"lo\0")]).name, "lo");
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let mut body = body(&[]);
        assert_eq!(gone(Message { kind: RTM_DELLINK, body: &body }), Some(7));
        assert_eq!(gone(Message { kind: RTM_NEWLINK, body: &body }), None);
        body[0] = libc::AF_BRIDGE as u8;
        assert_eq!(gone(Message { kind: RTM_DELLINK, body: &body }), None);
    }

    #[test]
    fn loopback_is_among_the_links_and_found_alone() {
        let listed = links().unwrap().into_iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(listed.hardware_type, 772);
        assert_eq!(link_called(b"lo").unwrap().unwrap().index, listed.index);
        assert_eq!(link_at(listed.index).unwrap().unwrap().name, "lo");
        for name in [&b""[..], b"l\0", b"lo\0", b"no such link", &[b'x'; 200]] {
            assert_eq!(link_called(name).unwrap(), None);
        }
        assert_eq!(link_at(0x7fff_fff0).unwrap(), None);
    }
}
