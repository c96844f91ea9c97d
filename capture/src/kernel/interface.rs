//! Network interfaces: which there are, and what a frame on them begins with.

use std::{ffi::OsStr, fmt};

use aya::programs::loaded_programs;

use super::{
    KernelError,
    netlink::{Link, links},
};
use crate::packet::LinkType;

/// `ARPHRD_RAWIP` of linux/if_arp.h, which the libc crate does not have.
const ARPHRD_RAWIP: u16 = 519;

/// An interface of the network namespace this process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, which may hold anything but blanks and slashes (net/core/dev.c, `dev_valid_name`). Print the interface
    /// and not this: its `Display` is what is [`printable`] of the name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// `IFF_` flags, netdevice(7).
    flags: u32,
    /// `ARPHRD_` hardware type, linux/if_arp.h.
    hardware_type: u16,
}

impl From<Link> for Interface {
    fn from(link: Link) -> Self {
        let Link { name, index, flags, hardware_type, xdp: _, dropped: _ } = link;
        Self { name, index, flags, hardware_type }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&printable(&self.name))
    }
}

/// A name, or several, with a `?` for each byte that is not printable ASCII: whoever may name an interface must not
/// control the terminal of who looks at it.
pub fn printable(name: &str) -> String {
    name.bytes().map(|byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' }).collect()
}

impl Interface {
    /// All interfaces, by index.
    ///
    /// # Errors
    ///
    /// When the kernel does not list them.
    pub fn list() -> Result<Vec<Self>, KernelError> {
        let mut interfaces: Vec<Self> =
            links().map_err(KernelError::Interfaces)?.into_iter().map(Self::from).collect();
        interfaces.sort_by_key(|interface| interface.index);
        Ok(interfaces)
    }

    /// The interface called `name`, or with the number that `-D` shows before it.
    ///
    /// # Errors
    ///
    /// [`KernelError::NoSuchInterface`] names those that exist.
    pub fn find(name: impl AsRef<OsStr>) -> Result<Self, KernelError> {
        let name = name.as_ref().to_string_lossy();
        let interfaces = Self::list()?;
        let numbered = || interfaces.get(name.parse::<usize>().ok()?.checked_sub(1)?);
        let found = interfaces.iter().find(|interface| interface.name == name).or_else(numbered);
        match found {
            // What is not UTF-8 cannot be passed on as a name.
            Some(found) if found.name.contains(char::REPLACEMENT_CHARACTER) => {
                Err(KernelError::NameNotUtf8 { name: found.name.clone() })
            }
            Some(found) => Ok(found.clone()),
            None => {
                let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
                let have = names.join(", ");
                Err(if name == "any" {
                    KernelError::Any { have }
                } else {
                    KernelError::NoSuchInterface { name: name.into_owned(), have }
                })
            }
        }
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

    fn has(&self, flag: i32) -> bool {
        self.flags & flag as u32 != 0
    }

    /// Packets that the interface itself had no room for, since it was made. 0 if it is gone.
    pub(super) fn dropped(&self) -> u64 {
        let links = links().unwrap_or_default();
        links.iter().find(|link| link.index == self.index).map_or(0, |link| link.dropped)
    }

    /// The mode of the program in the XDP slot, if there is one.
    pub(super) fn xdp_mode(&self) -> Option<&'static str> {
        let links = links().ok()?;
        let (_, mode) = links.iter().find(|link| link.index == self.index)?.xdp?;
        (!mode.is_empty()).then_some(mode)
    }

    /// Describes the program in the XDP slot: its name, id and mode, as far as they can be found out.
    pub(super) fn xdp_holder(&self) -> String {
        let links = links().unwrap_or_default();
        let Some((id, mode)) = links.iter().find(|link| link.index == self.index).and_then(|link| link.xdp)
        else {
            return "another program".to_owned();
        };
        let info = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
        let name = info.as_ref().and_then(|program| program.name_as_str()).unwrap_or("?");
        let mode = if mode.is_empty() { String::new() } else { format!(", {mode}") };
        format!("program {name} (id {id}{mode})")
    }

    /// What its frames begin with: of the hardware types that carry Ethernet or IP, those that libpcap knows
    /// (pcap-linux.c, `map_arphrd_to_dlt`). Of PPP, raw IP, IPv6 tunnels and GRE it hides the header behind one of its
    /// own, "cooked"; what is seen here begins with the IP header.
    ///
    /// # Errors
    ///
    /// [`KernelError::LinkType`] for any other hardware type.
    pub fn link_type(&self) -> Result<LinkType, KernelError> {
        match self.hardware_type {
            libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Ok(LinkType::Ethernet),
            libc::ARPHRD_NONE
            | ARPHRD_RAWIP
            | libc::ARPHRD_PPP
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | libc::ARPHRD_IPGRE => Ok(LinkType::Raw),
            hardware_type => Err(KernelError::LinkType {
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
