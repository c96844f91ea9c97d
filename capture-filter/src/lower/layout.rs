//! Where things stand in a frame: by link type, by the tags before them, and by where the outermost tag is.

use alloc::vec::Vec;

use crate::{
    expression::{Family, IndexProtocol, Operator},
    program::{Base, Field, Size, Value, ValueStep},
    target::{ByteOrder, Link},
};

/// Where the outermost tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// In the bytes, if there is one, and nothing special about it.
    InBytes,
    /// Outside of the bytes, kept by the kernel. It is there.
    Kept,
    /// In the bytes, and it counts as kept outside: as if the four bytes at 12 were not in the frame.
    Inline,
}

/// Where things stand in frames of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) link: Link,
    pub(super) tag: Tag,
    /// Bytes of tags that are skipped, besides those that [`Tag`] says are kept outside.
    pub(super) shift: u32,
    /// Whether the frames are those of a file.
    pub(super) is_file: bool,
}

/// Where the bytes begin that an index counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// At this offset.
    Frame(u32),
    /// Behind the IPv4 header at this offset.
    Ipv4(u32),
}

/// How the protocol of the network layer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkType {
    /// By an Ethernet type at this offset.
    EtherType(u32),
    /// By the version in the packet.
    Version,
    /// It is always this one.
    Always(Family),
    /// By the address family in the first four bytes.
    AddressFamily(ByteOrder),
}

impl Layout {
    /// Whether a tag in the bytes counts as kept outside.
    pub(super) fn tag_is_inline(&self) -> bool {
        self.tag == Tag::Inline
    }

    /// How the protocol of the network layer is known.
    pub(super) fn network_type(&self) -> NetworkType {
        match self.link {
            Link::Ethernet => NetworkType::EtherType(12 + self.shift),
            Link::LinuxSll => NetworkType::EtherType(14),
            Link::LinuxSll2 => NetworkType::EtherType(0),
            Link::Raw => NetworkType::Version,
            Link::Ipv4 => NetworkType::Always(Family::Ipv4),
            Link::Ipv6 => NetworkType::Always(Family::Ipv6),
            Link::Null(order) => NetworkType::AddressFamily(order),
            Link::Loop => NetworkType::AddressFamily(ByteOrder::Big),
        }
    }

    /// Where the network layer begins.
    pub(super) fn network(&self) -> u32 {
        match self.link {
            Link::Ethernet => 14 + self.shift,
            Link::LinuxSll => 16,
            Link::LinuxSll2 => 20,
            Link::Null(_) | Link::Loop => 4,
            Link::Raw | Link::Ipv4 | Link::Ipv6 => 0,
        }
    }

    /// Where the bytes of a protocol begin.
    pub(super) fn payload(&self, protocol: IndexProtocol) -> Payload {
        match protocol {
            IndexProtocol::Ether => Payload::Frame(0),
            IndexProtocol::Ip | IndexProtocol::Ip6 | IndexProtocol::Arp | IndexProtocol::Rarp => {
                Payload::Frame(self.network())
            }
            IndexProtocol::Icmp6 => Payload::Frame(self.network() + 40),
            _ => Payload::Ipv4(self.network()),
        }
    }

    /// Bytes at an offset from the start of the frame.
    pub(super) fn at(&self, offset: u32, size: Size, mask: u32) -> Value {
        let mut steps = Vec::new();
        self.read(&mut steps, Field { base: Base::Frame, offset, size, mask });
        match steps.as_slice() {
            [ValueStep::Field(field)] => Value::Field(*field),
            _ => Value::Computed(steps.into_boxed_slice()),
        }
    }

    /// Bytes behind the IPv4 header.
    pub(super) fn in_ipv4_payload(&self, offset: u32, size: Size, mask: u32) -> Value {
        let base = Base::Ipv4Payload { header: self.network() };
        Value::Field(self.behind_tag(Field { base, offset, size, mask }))
    }

    /// The same bytes, which lie at 12 or behind it, four bytes further on if a tag stands there that does not count.
    pub(super) fn behind_tag(&self, field: Field) -> Field {
        if self.tag != Tag::Inline {
            return field;
        }
        match field.base {
            // What lies beyond the end of any frame stays there.
            Base::Frame => Field { offset: field.offset.saturating_add(4), ..field },
            Base::Ipv4Payload { header } => {
                Field { base: Base::Ipv4Payload { header: header.wrapping_add(4) }, ..field }
            }
        }
    }

    /// Pushes bytes at an offset from the start of the frame. Where a tag at 12 does not count, they may lie on both sides of
    /// it. Then the bytes at the offset and those four bytes further on are read: both are in the frame if the bytes of the
    /// frame without the tag are.
    pub(super) fn read(&self, steps: &mut Vec<ValueStep>, field: Field) {
        let before = 12_u32.saturating_sub(field.offset);
        if self.tag != Tag::Inline || before >= field.size.bytes() {
            steps.push(ValueStep::Field(field));
        } else if before == 0 {
            steps.push(ValueStep::Field(self.behind_tag(field)));
        } else {
            let behind_mask = u32::MAX.checked_shr(32 - (field.size.bytes() - before) * 8).unwrap_or(0);
            let before = Field { mask: field.mask & !behind_mask, ..field };
            let behind = self.behind_tag(Field { mask: field.mask & behind_mask, ..field });
            let either = ValueStep::Binary(Operator::Or);
            steps.extend([ValueStep::Field(before), ValueStep::Field(behind), either]);
        }
    }
}
