//! What an expression is lowered for: the kind of frames, and where they are looked at.

/// The kind of frames, and where they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the frames begin with.
    pub link: Link,
    /// Where they are looked at.
    pub place: Place,
    /// Whether the caller keeps only packets that are TCP, by the parser of capture-common. Then what the program says of
    /// other packets is of no concern.
    pub only_tcp: bool,
}

/// What frames begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet.
    Ethernet,
    /// IPv4 or IPv6, by the version in the packet.
    Raw,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// BSD loopback: the address family in the byte order of the machine that wrote the file.
    Null(ByteOrder),
    /// OpenBSD loopback: the address family in network byte order.
    Loop,
    /// Linux "cooked".
    LinuxSll,
    /// Linux "cooked", version 2.
    LinuxSll2,
}

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest byte first.
    Little,
    /// The highest byte first.
    Big,
}

/// Where frames are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a capture file: all tags are in the bytes.
    File,
    /// At TC. The kernel may keep the outermost tag outside of the bytes.
    Tc(Way),
    /// At XDP. All tags are in the bytes, but the outermost one counts as kept outside, if it is one that the kernel takes
    /// out before TC: so XDP selects what TC selects.
    Xdp,
    /// In a packet socket, which is where tcpdump's programs run. As TC, but one program sees both ways.
    Socket,
    /// In a packet socket of a kernel that is not asked what it knows of tags (libpcap's `pcap_open_dead`): all are looked
    /// for in the bytes.
    UnknownSocket,
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into the machine.
    In,
    /// Out of it.
    Out,
}

impl Link {
    /// How errors call it, with an article.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "an Ethernet frame",
            Self::Raw => "a raw IP packet",
            Self::Ipv4 => "a raw IPv4 packet",
            Self::Ipv6 => "a raw IPv6 packet",
            Self::Null(_) => "a BSD loopback packet",
            Self::Loop => "an OpenBSD loopback packet",
            Self::LinuxSll => "a Linux cooked packet",
            Self::LinuxSll2 => "a Linux cooked v2 packet",
        }
    }
}
