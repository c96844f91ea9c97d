//! What is known of an interface on which packets were seen.

use capture_packet::LinkType;

/// An interface of a source. A packet's [`SourceId`](capture_packet::SourceId) is its place in the source's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceDescription {
    /// Its name; nothing where it is not known, as in pcap files.
    pub name: Option<String>,
    /// What a file says of it.
    pub description: Option<String>,
    /// What its frames begin with.
    pub link_type: LinkType,
    /// `ARPHRD_` hardware type (linux/if_arp.h); 0 where it is not known, as of files.
    pub hardware_type: u16,
    /// How many bytes of a packet are captured at most; 0 where only the headers are, however long they are.
    pub snaplen: u32,
    /// How many digits the fraction of a second has in the times of its packets, from 0 to 9.
    pub time_digits: u8,
    /// The filter, as tcpdump's expression.
    pub filter: Option<String>,
    /// Where in the kernel it is captured, such as `tc ingress and egress (tcx)`.
    pub hook: Option<String>,
    /// What it is made of, such as `Intel X710`.
    pub hardware: Option<String>,
    /// The operating system of its machine.
    pub os: Option<String>,
}

impl InterfaceDescription {
    /// The most digits, those of nanoseconds.
    pub const MAX_TIME_DIGITS: u8 = 9;

    /// One of which no more is known, with nanoseconds.
    pub const fn new(link_type: LinkType, snaplen: u32) -> Self {
        Self {
            name: None,
            description: None,
            link_type,
            hardware_type: 0,
            snaplen,
            time_digits: Self::MAX_TIME_DIGITS,
            filter: None,
            hook: None,
            hardware: None,
            os: None,
        }
    }

    /// Bytes of its texts.
    pub(super) fn text_length(&self) -> usize {
        let Self { name, description, filter, hook, hardware, os, .. } = self;
        [name, description, filter, hook, hardware, os].into_iter().flatten().map(String::len).sum()
    }
}
