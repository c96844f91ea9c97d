//! Link types: what a frame begins with, and where the network layer follows.

use core::fmt;

/// The link-layer header of a frame, by its `LINKTYPE_` number in pcap and pcapng files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet (1, `EN10MB`).
    Ethernet,
    /// None: an IPv4 or IPv6 header, distinguished by its version field (101, `RAW`).
    Raw,
    /// None: an IPv4 header (228).
    Ipv4,
    /// None: an IPv6 header (229).
    Ipv6,
    /// BSD loopback: a 4-byte address family in the byte order of the machine that captured (0, `NULL`).
    Null,
    /// OpenBSD loopback: a 4-byte address family in network byte order (108, `LOOP`).
    Loop,
    /// Linux "cooked" capture, 16 bytes (113).
    LinuxSll,
    /// Linux "cooked" capture version 2, 20 bytes (276).
    LinuxSll2,
}

impl LinkType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Null,
        Self::Ethernet,
        Self::Raw,
        Self::Loop,
        Self::LinuxSll,
        Self::Ipv4,
        Self::Ipv6,
        Self::LinuxSll2,
    ];

    /// Its `LINKTYPE_` number.
    pub const fn number(self) -> u16 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::Raw => 101,
            Self::Loop => 108,
            Self::LinuxSll => 113,
            Self::Ipv4 => 228,
            Self::Ipv6 => 229,
            Self::LinuxSll2 => 276,
        }
    }

    /// The link type of a `LINKTYPE_` number, if it is one of these.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|link_type| u32::from(link_type.number()) == number)
    }
}

impl fmt::Display for LinkType {
    /// Name and description as tcpdump gives them (libpcap, pcap.c, `dlt_choices`).
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ethernet => "EN10MB (Ethernet)",
            Self::Raw => "RAW (Raw IP)",
            Self::Ipv4 => "IPV4 (Raw IPv4)",
            Self::Ipv6 => "IPV6 (Raw IPv6)",
            Self::Null => "NULL (BSD loopback)",
            Self::Loop => "LOOP (OpenBSD loopback)",
            Self::LinuxSll => "LINUX_SLL (Linux cooked v1)",
            Self::LinuxSll2 => "LINUX_SLL2 (Linux cooked v2)",
        })
    }
}

/// [`LinkType::Null`] and [`LinkType::Loop`]: an address family by its number on the BSDs (libpcap, gencode.c,
/// `gen_linktype`).
pub mod bsd_loopback {
    /// Length of the header.
    pub const LENGTH: usize = 4;
    /// IPv4.
    pub const AF_INET: u32 = 2;
    /// IPv6: NetBSD and OpenBSD, FreeBSD, macOS.
    pub const AF_INET6: [u32; 3] = [24, 28, 30];
}

/// [`LinkType::LinuxSll`].
pub mod linux_sll {
    /// Length of the header.
    pub const LENGTH: usize = 16;
    /// Offset of the packet type.
    pub const PACKET_TYPE: usize = 0;
    /// Offset of the Ethernet type.
    pub const PROTOCOL: usize = 14;
}

/// [`LinkType::LinuxSll2`].
pub mod linux_sll2 {
    /// Length of the header.
    pub const LENGTH: usize = 20;
    /// Offset of the Ethernet type.
    pub const PROTOCOL: usize = 0;
    /// Offset of the packet type, a byte here.
    pub const PACKET_TYPE: usize = 10;
}
