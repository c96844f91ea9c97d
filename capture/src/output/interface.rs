//! What outputs say of an interface on which packets were seen.

use capture_packet::LinkType;

/// An interface of a source. A packet's [`SourceId`](capture_packet::SourceId) is its place in the source's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceDescription {
    /// Its name; nothing where it is not known, as in pcap files.
    pub name: Option<String>,
    /// What its frames begin with.
    pub link_type: LinkType,
    /// How many bytes of a packet are captured at most; 0 where only the headers are, however long they are.
    pub snaplen: u32,
    /// The filter, as tcpdump's expression.
    pub filter: Option<String>,
    /// Where in the kernel it is captured, such as `tc ingress and egress (tcx)`.
    pub hook: Option<String>,
}
