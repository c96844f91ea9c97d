//! Network interfaces: which there are, and what a frame on them begins with.

use std::{cmp::Reverse, ffi::OsStr, fmt, io, os::unix::ffi::OsStrExt as _};

use capture_packet::LinkType;
use strsim::jaro_winkler;

use super::link::{Link, link_at, link_called, links};

/// `ARPHRD_RAWIP` of linux/if_arp.h, which the libc crate does not have.
const ARPHRD_RAWIP: u16 = 519;

/// How many names of interfaces a message has: they fit on two lines.
const MOST_NAMES: usize = 10;

/// An interface of the network namespace this process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, which may hold anything but blanks and slashes (net/core/dev.c, `dev_valid_name`). Print the interface
    /// and not this: its `Display` is what is [`printable`] of what was asked for and of the name.
    pub name: String,
    /// What was asked for, if that is not its name: an alternative name, or the label of an address.
    asked: Option<String>,
    /// Its index.
    pub index: u32,
    /// `IFF_` flags, netdevice(7).
    flags: u32,
    /// `ARPHRD_` hardware type, linux/if_arp.h.
    hardware_type: u16,
}

/// Why an interface cannot be captured on.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The interfaces cannot be listed.
    #[error("cannot list the network interfaces: {0}")]
    List(#[source] io::Error),

    /// There is no interface of that name.
    #[error("cannot attach to {}: no such interface (have: {})", printable(.name), printable(.have))]
    NoSuchInterface {
        /// The name asked for.
        name: String,
        /// The names that exist.
        have: String,
    },

    /// Frames on the interface begin with something that is not understood.
    #[error(
        "cannot capture on {}: its hardware type {hardware_type} (ARPHRD_ in linux/if_arp.h) is neither Ethernet nor \
         plain IP",
        printable(.interface)
    )]
    LinkType {
        /// The interface.
        interface: String,
        /// The hardware type.
        hardware_type: u32,
    },
}

/// The interface was removed, or moved to another network namespace, during the capture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} disappeared: the capture has ended", printable(.name))]
pub struct Disappeared {
    /// The interface.
    pub name: String,
}

impl From<Link> for Interface {
    fn from(link: Link) -> Self {
        let Link { name, index, flags, hardware_type, xdp: _, dropped: _, kind: _, master: _, parent: _ } =
            link;
        Self { name, asked: None, index, flags, hardware_type }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asked {
            Some(asked) => write!(formatter, "{} ({})", printable(asked), printable(&self.name)),
            None => formatter.write_str(&printable(&self.name)),
        }
    }
}

/// A name, or several, with a `?` for each byte that is not printable ASCII: a name must not control
/// the terminal that shows it.
pub fn printable(name: &str) -> String {
    name.bytes().map(|byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' }).collect()
}

impl Interface {
    /// All interfaces, by index.
    ///
    /// # Errors
    ///
    /// When the kernel does not list them.
    pub fn list() -> Result<Vec<Self>, InterfaceError> {
        let mut interfaces: Vec<Self> =
            links().map_err(InterfaceError::List)?.into_iter().map(Self::from).collect();
        interfaces.sort_by_key(|interface| interface.index);
        Ok(interfaces)
    }

    /// The interface that tcpdump finds for `name`: the one called so, also by an alternative name; else the one with
    /// that number in [`list`](Self::list); else, of an address's label such as `eth0:1`, the one before the colon. The
    /// kernel, too, takes anything after a colon (net/core/dev_ioctl.c, `dev_ioctl`), and no name has one.
    ///
    /// # Errors
    ///
    /// [`InterfaceError::NoSuchInterface`] names those that exist.
    pub fn find(name: impl AsRef<OsStr>) -> Result<Self, InterfaceError> {
        let asked = name.as_ref().as_bytes();
        let called = |name: &[u8]| link_called(name).map_err(InterfaceError::List);
        if let Some(link) = called(asked)? {
            return Ok(Self::from(link).asked_for_as(asked));
        }
        let mut interfaces = Self::list()?;
        let number = str::from_utf8(asked).ok().and_then(|number| number.parse::<usize>().ok());
        if let Some(position) = number.and_then(|number| number.checked_sub(1))
            && position < interfaces.len()
        {
            return Ok(interfaces.swap_remove(position));
        }
        if let Some(colon) = asked.iter().position(|byte| *byte == b':')
            && let Some((before, _)) = asked.split_at_checked(colon)
            && let Some(link) = called(before)?
        {
            return Ok(Self::from(link).asked_for_as(asked));
        }
        let name = String::from_utf8_lossy(asked).into_owned();
        let have = Self::some(&interfaces, &name);
        Err(InterfaceError::NoSuchInterface { name, have })
    }

    /// The names of these interfaces, for a message; of many, the ones that are most like `wanted`.
    pub fn some(interfaces: &[Self], wanted: &str) -> String {
        let mut names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
        let more = names.len().saturating_sub(MOST_NAMES);
        if more == 0 {
            return names.join(", ");
        }
        // Their order remains where they are equally like it.
        names.sort_by_cached_key(|name| Reverse((jaro_winkler(wanted, name) * 1e6) as u32));
        names.truncate(MOST_NAMES);
        format!("{} and {more} more, which `capture -D` lists", names.join(", "))
    }

    fn asked_for_as(mut self, asked: &[u8]) -> Self {
        let asked = String::from_utf8_lossy(asked);
        if self.name != asked {
            self.asked = Some(asked.into_owned());
        }
        self
    }

    /// Whether it is a loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.has(libc::IFF_LOOPBACK)
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.has(libc::IFF_UP)
    }

    /// Whether it is up and can send and receive.
    pub fn is_running(&self) -> bool {
        self.has(libc::IFF_RUNNING)
    }

    /// `ARPHRD_` hardware type, linux/if_arp.h.
    pub(super) fn hardware_type(&self) -> u16 {
        self.hardware_type
    }

    fn has(&self, flag: i32) -> bool {
        self.flags & flag as u32 != 0
    }

    /// The link as it is now, unless it is gone.
    fn now(&self) -> Option<Link> {
        link_at(self.index).ok().flatten()
    }

    /// Packets that the interface itself had no room for, since it was made. 0 if it is gone.
    pub(super) fn dropped(&self) -> u64 {
        self.now().map_or(0, |link| link.dropped)
    }

    /// What kind of device it is, as the kernel calls it: `veth`, `bridge`. Empty for hardware.
    pub(super) fn kind(&self) -> Option<String> {
        self.now().map(|link| link.kind)
    }

    /// Whether it is one end of a pair of virtual Ethernet devices.
    pub(super) fn is_veth(&self) -> bool {
        self.kind().is_some_and(|kind| kind == "veth")
    }

    /// The id of the program in the XDP slot, if there is one, and the slot's mode, if that is known.
    pub(super) fn xdp(&self) -> Option<(u32, &'static str)> {
        self.now()?.xdp
    }

    /// What its frames begin with: of the hardware types that carry Ethernet or IP, those that libpcap knows
    /// (pcap-linux.c, `map_arphrd_to_dlt`). Of PPP, raw IP, IPv6 tunnels and GRE it hides the header under one of its
    /// own, "cooked"; what is seen here begins with the IP header.
    ///
    /// # Errors
    ///
    /// [`InterfaceError::LinkType`] for any other hardware type.
    pub fn link_type(&self) -> Result<LinkType, InterfaceError> {
        match self.hardware_type {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Ok(LinkType::Ethernet),
            libc::ARPHRD_NONE
            | ARPHRD_RAWIP
            | libc::ARPHRD_PPP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_IPGRE => Ok(LinkType::Raw),
            hardware_type => Err(InterfaceError::LinkType {
                interface: self.name.clone(),
                hardware_type: hardware_type.into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_interfaces_a_message_names_those_most_like_the_one_that_was_meant() {
        let called = |name: String| Interface::from(Link { name, ..Link::default() });
        let mut interfaces: Vec<_> = (0..MOST_NAMES).map(|number| called(format!("veth{number}"))).collect();
        let all = "veth0, veth1, veth2, veth3, veth4, veth5, veth6, veth7, veth8, veth9";
        assert_eq!(Interface::some(&interfaces, "eht0"), all);
        assert_eq!(Interface::some(&[], "eth0"), "");
        interfaces.push(called("eth0".to_owned()));
        assert_eq!(Interface::some(&interfaces, ""), format!("{all} and 1 more, which `capture -D` lists"));
        assert!(Interface::some(&interfaces, "eht0").starts_with("eth0, veth0, veth1, "));
        assert!(Interface::some(&interfaces, "veth99").starts_with("veth9, "));
    }

    #[test]
    fn names_cannot_control_a_terminal() {
        for (name, expected) in [
            ("eth0.5", "eth0.5"),
            ("a\x1b[31mZ\x7f", "a?[31mZ?"),
            ("\u{202e}x", "???x"),
            ("\u{9b}31m", "??31m"),
            ("lo, b\u{f6}", "lo, b??"),
        ] {
            assert_eq!(printable(name), expected);
        }
    }
}
