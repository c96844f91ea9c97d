//! Which way packets leave this machine, as rtnetlink says it (linux/rtnetlink.h, `RTM_GETROUTE`).

use std::{io, net::IpAddr};

use libc::{RTA_OIF, RTM_NEWROUTE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage},
};

use super::{
    link::link_at,
    netlink::{Message, request},
};

/// `struct rtmsg`, in bytes.
const HEADER: usize = 12;

/// Whether packets to `address` leave through the interface with the index `interface`: it is the route's own, or the
/// one that the route's own is made on (a VLAN on a network card), or a port of it (of a bridge, a bond).
///
/// # Errors
///
/// When the kernel does not say, or there is no route.
pub fn leaves_through(address: IpAddr, interface: u32) -> io::Result<bool> {
    let Some(index) = outgoing(address)? else { return Ok(false) };
    if index == interface {
        return Ok(true);
    }
    let is_made_on = link_at(index)?.is_some_and(|link| link.parent == interface);
    let is_port_of = link_at(interface)?.is_some_and(|link| link.master == index);
    Ok(is_made_on || is_port_of)
}

/// The index of the interface through which packets to `address` leave.
fn outgoing(address: IpAddr) -> io::Result<Option<u32>> {
    let mut route = RouteMessage::default();
    let (family, bits, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    route.header.address_family = family;
    route.header.destination_prefix_length = bits;
    route.attributes.push(RouteAttribute::Destination(destination));
    let routes = request(RouteNetlinkMessage::GetRoute(route), 0, interface_of)?;
    Ok(routes.into_iter().next())
}

fn interface_of(message: Message<'_>) -> Option<u32> {
    if message.kind != RTM_NEWROUTE {
        return None;
    }
    let index = message.attributes(HEADER).find(|attribute| attribute.kind() == RTA_OIF)?;
    index.value().first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::tests::attribute, *};

    #[test]
    fn the_outgoing_interface_is_an_attribute_of_the_answer() {
        let body = |attributes: &[Vec<u8>]| [vec![0; HEADER], attributes.concat()].concat();
        let index = |kind, body: &[u8]| interface_of(Message { kind, body });
        let whole =
            body(&[attribute(libc::RTA_TABLE, &[254, 0, 0, 0]), attribute(RTA_OIF, &7_u32.to_ne_bytes())]);
        assert_eq!(index(RTM_NEWROUTE, &whole), Some(7));
        assert_eq!(index(libc::RTM_DELROUTE, &whole), None);
        assert_eq!(index(RTM_NEWROUTE, &body(&[attribute(RTA_OIF, &[7])])), None);
        assert_eq!(index(RTM_NEWROUTE, &body(&[])), None);
        assert_eq!(index(RTM_NEWROUTE, &[]), None);
    }
}
