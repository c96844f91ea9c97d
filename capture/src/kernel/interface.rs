//! Network interfaces: which there are, and what a frame on them begins with.

use nix::{
    ifaddrs::getifaddrs,
    net::if_::InterfaceFlags,
    sys::socket::{AddressFamily, SockaddrLike},
};

use super::KernelError;
use crate::packet::LinkType;

/// `ARPHRD_RAWIP` of linux/if_arp.h, which the libc crate does not have.
const ARPHRD_RAWIP: u16 = 519;

/// An interface of the network namespace this process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, as `ip link` shows it.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// `IFF_` flags (netdevice(7)).
    pub flags: InterfaceFlags,
    /// `ARPHRD_` hardware type (linux/if_arp.h).
    pub hardware_type: u16,
}

impl Interface {
    /// All interfaces, by index.
    ///
    /// # Errors
    ///
    /// When the kernel does not list them.
    pub fn list() -> Result<Vec<Self>, KernelError> {
        let mut interfaces: Vec<Self> = getifaddrs()
            .map_err(|errno| KernelError::Interfaces(errno.into()))?
            .filter_map(|entry| {
                let address = entry.address?;
                let link =
                    (address.family() == Some(AddressFamily::Packet)).then(|| address.as_link_addr())??;
                Some(Self {
                    name: entry.interface_name,
                    index: u32::try_from(link.ifindex()).ok()?,
                    flags: entry.flags,
                    hardware_type: link.hatype(),
                })
            })
            .collect();
        interfaces.sort_by_key(|interface| interface.index);
        Ok(interfaces)
    }

    /// The interface called `name`, or with the number that `-D` shows before it.
    ///
    /// # Errors
    ///
    /// [`KernelError::NoSuchInterface`] names those that exist.
    pub fn find(name: &str) -> Result<Self, KernelError> {
        let interfaces = Self::list()?;
        let numbered = || interfaces.get(name.parse::<usize>().ok()?.checked_sub(1)?);
        let found = interfaces.iter().find(|interface| interface.name == name).or_else(numbered);
        found.cloned().ok_or_else(|| KernelError::NoSuchInterface {
            name: name.to_owned(),
            have: interfaces.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Whether it is the loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.flags.contains(InterfaceFlags::IFF_UP)
    }

    /// What its frames begin with: the same choice as libpcap's (pcap-linux.c, `map_arphrd_to_dlt`), for the hardware
    /// types that carry Ethernet or IP.
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
