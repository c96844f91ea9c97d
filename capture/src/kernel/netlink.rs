//! Links as rtnetlink describes them: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket,
};

/// The multicast group that announces changed links.
const RTMGRP_LINK: u32 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// `struct nlmsghdr`.
const MESSAGE_HEADER: usize = 16;
/// `struct ifinfomsg`: family, type, index, flags, change.
const LINK_HEADER: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;
/// Where in `struct rtnl_link_stats64` the counters are that libpcap adds up (pcap-linux.c, `linux_if_drops`).
const RX_FIFO_ERRORS: usize = 14 * 8;
const RX_MISSED_ERRORS: usize = 15 * 8;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_IDS: [(u16, &str); 4] = [(5, "native"), (6, "generic"), (7, "offloaded"), (4, "")];
/// The high bits of an attribute's type are flags.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;
/// The kernel gives no more in one piece (net/netlink/af_netlink.c, `netlink_dump`).
const PIECE: usize = 64 * 1024;

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
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A link is there.
    Link(Link),
    /// The link with this index is gone.
    Gone(u32),
    /// A dump has ended.
    Done,
    /// The kernel refused, with this number of errno(3).
    Refused(i32),
    /// Something else.
    Other,
}

/// All links of the network namespace.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let netlink = open(0, SockFlag::empty())?;
    sendto(netlink.as_raw_fd(), &dump_request(), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut links = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let length = recv(netlink.as_raw_fd(), &mut piece, MsgFlags::empty())?;
        for message in messages(piece.get(..length).unwrap_or_default()) {
            match message {
                Message::Link(link) => links.push(link),
                Message::Done => return Ok(links),
                Message::Refused(errno) => return Err(io::Error::from_raw_os_error(errno)),
                Message::Gone(_) | Message::Other => {}
            }
        }
    }
}

/// A socket that receives an announcement of every change.
pub(super) fn announcements() -> io::Result<OwnedFd> {
    open(RTMGRP_LINK, SockFlag::SOCK_NONBLOCK)
}

fn open(groups: u32, flags: SockFlag) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(netlink.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(netlink)
}

fn dump_request() -> Vec<u8> {
    let mut request = Vec::with_capacity(MESSAGE_HEADER + LINK_HEADER);
    request.extend_from_slice(&((MESSAGE_HEADER + LINK_HEADER) as u32).to_ne_bytes());
    request.extend_from_slice(&RTM_GETLINK.to_ne_bytes());
    request.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.resize(MESSAGE_HEADER + LINK_HEADER, 0);
    request
}

/// Takes apart what one read of a socket gave.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        let length = number(bytes, 0)? as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(MESSAGE_HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(match kind {
            RTM_NEWLINK => link(body).map_or(Message::Other, Message::Link),
            RTM_DELLINK => link(body).map_or(Message::Other, |link| Message::Gone(link.index)),
            NLMSG_DONE => Message::Done,
            // `struct nlmsgerr` begins with the negative number; 0 is no error.
            NLMSG_ERROR => match number(body, 0)?.cast_signed().wrapping_neg() {
                0 => Message::Done,
                errno => Message::Refused(errno),
            },
            _ => Message::Other,
        })
    })
}

/// `None` for a message of another address family: a bridge announces its ports with `AF_BRIDGE`, and that one has
/// left a bridge as if it were gone.
fn link(body: &[u8]) -> Option<Link> {
    if *body.first()? != 0 {
        return None;
    }
    let mut link = Link {
        hardware_type: u16::from_ne_bytes(*body.get(2..)?.first_chunk()?),
        index: number(body, 4)?,
        flags: number(body, 8)?,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(LINK_HEADER..)?) {
        match kind {
            IFLA_IFNAME => {
                link.name = String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into()
            }
            IFLA_XDP => link.xdp = xdp(value),
            IFLA_STATS64 => link.dropped = dropped(value).unwrap_or_default(),
            _ => {}
        }
    }
    Some(link)
}

fn xdp(nested: &[u8]) -> Option<(u32, &'static str)> {
    IFLA_XDP_PROG_IDS.iter().find_map(|(kind, mode)| {
        let (_, id) = attributes(nested).find(|(found, _)| found == kind)?;
        Some((number(id, 0)?, *mode))
    })
}

fn dropped(statistics: &[u8]) -> Option<u64> {
    let counter = |offset: usize| Some(u64::from_ne_bytes(*statistics.get(offset..)?.first_chunk()?));
    Some(counter(RX_FIFO_ERRORS)?.wrapping_add(counter(RX_MISSED_ERRORS)?))
}

/// The attributes in `bytes` (`struct rtattr`): type and value.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [l0, l1, t0, t1] = *bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([t0, t1]) & ATTRIBUTE_TYPE_MASK, value))
    })
}

fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let length = (MESSAGE_HEADER + LINK_HEADER + attributes.len()) as u32;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend_from_slice(&kind.to_ne_bytes());
        message.resize(MESSAGE_HEADER, 0);
        message.extend_from_slice(&[0, 0]);
        message.extend_from_slice(&772_u16.to_ne_bytes());
        message.extend_from_slice(&7_u32.to_ne_bytes());
        message.extend_from_slice(&0x49_u32.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(attributes);
        message
    }

    #[test]
    fn links_are_read_with_name_type_flags_and_xdp_program() {
        let xdp =
            [attribute(2, &[2]), attribute(4, &77_u32.to_ne_bytes()), attribute(6, &77_u32.to_ne_bytes())];
        let counters: Vec<u8> = (0..25_u64).flat_map(u64::to_ne_bytes).collect();
        let attributes =
            [attribute(3, b"lo\0"), attribute(IFLA_STATS64, &counters), attribute(IFLA_XDP, &xdp.concat())];
        let first = message(RTM_NEWLINK, &attributes.concat());
        let second = message(RTM_NEWLINK, &attribute(IFLA_XDP, &attribute(2, &[0])));
        let both = [first, second, message(RTM_DELLINK, &[]), message(NLMSG_DONE, &[])].concat();
        let link = Link { index: 7, flags: 0x49, hardware_type: 772, ..Link::default() };
        let expected = [
            Message::Link(Link {
                name: "lo".to_owned(),
                xdp: Some((77, "generic")),
                dropped: 14 + 15,
                ..link.clone()
            }),
            Message::Link(link),
            Message::Gone(7),
            Message::Done,
        ];
        assert_eq!(messages(&both).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let mut left = message(RTM_DELLINK, &[]);
        left[MESSAGE_HEADER] = libc::AF_BRIDGE as u8;
        assert_eq!(messages(&left).collect::<Vec<_>>(), [Message::Other]);
    }

    #[test]
    fn broken_messages_end_the_reading() {
        let whole = message(RTM_NEWLINK, &attribute(3, b"lo\0"));
        for length in 0..whole.len() - 4 {
            assert_eq!(messages(&whole[..length]).collect::<Vec<_>>(), [], "{length} bytes");
        }
        let mut endless = whole;
        endless[..4].copy_from_slice(&[0; 4]);
        assert_eq!(messages(&endless).count(), 0);
    }

    #[test]
    fn loopback_is_among_the_links() {
        assert!(links().unwrap().iter().any(|link| link.name == "lo" && link.hardware_type == 772));
    }
}
