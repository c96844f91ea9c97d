//! Offsets and values of the header fields the parser reads. Offsets are in bytes from the start of the header, all
//! multi-byte fields are big-endian.

/// Ethernet II, and the 802.1Q and 802.1ad tags between its addresses and its type.
pub mod ethernet {
    /// Length of the header without tags.
    pub const LENGTH: usize = 14;
    /// The type field of an untagged frame.
    pub const TYPE: usize = 12;
    /// What one 802.1Q or 802.1ad tag adds to the header.
    pub const TAG_LENGTH: usize = 4;
    /// Tags the parser skips: one, or two for QinQ. One that the kernel keeps outside of the frame counts.
    pub const MAX_TAGS: usize = 2;

    /// IPv4.
    pub const TYPE_IPV4: u16 = 0x0800;
    /// IPv6.
    pub const TYPE_IPV6: u16 = 0x86dd;
    /// 802.1Q, the customer tag.
    pub const TYPE_8021Q: u16 = 0x8100;
    /// 802.1ad, the service tag.
    pub const TYPE_8021AD: u16 = 0x88a8;
    /// QinQ from before 802.1ad, which tcpdump reads as a tag too.
    pub const TYPE_QINQ: u16 = 0x9100;

    /// Whether an Ethernet type announces a VLAN tag.
    #[inline(always)]
    pub const fn is_tag(ethertype: u16) -> bool {
        matches!(ethertype, TYPE_8021Q | TYPE_8021AD | TYPE_QINQ)
    }
}

/// IPv4, RFC 791 section 3.1.
pub mod ipv4 {
    /// Version in the high four bits, header length in 32-bit words in the low four.
    pub const VERSION_IHL: usize = 0;
    /// Flags in the high three bits, fragment offset in units of 8 bytes in the low 13.
    pub const FRAGMENT: usize = 6;
    /// The mask of the fragment offset.
    pub const FRAGMENT_OFFSET_MASK: u16 = 0x1fff;
    /// The protocol number.
    pub const PROTOCOL: usize = 9;
    /// The longest header, with 40 bytes of options.
    pub const MAX_LENGTH: usize = 60;
}

/// IPv6, RFC 8200 section 3, and its fragment header, section 4.5.
pub mod ipv6 {
    /// The next-header field.
    pub const NEXT_HEADER: usize = 6;
    /// Length of the fixed header.
    pub const LENGTH: usize = 40;
    /// Length of a fragment header.
    pub const FRAGMENT_LENGTH: usize = 8;
    /// The next-header number of a fragment header.
    pub const NEXT_HEADER_FRAGMENT: u8 = 44;
    /// Fragment offset (in the high 13 bits) within a fragment header.
    pub const FRAGMENT_OFFSET: usize = 2;
    /// The mask of the fragment offset.
    pub const FRAGMENT_OFFSET_MASK: u16 = 0xfff8;
}

/// TCP, RFC 9293 section 3.1.
pub mod tcp {
    /// The protocol number in IPv4 and IPv6.
    pub const PROTOCOL: u8 = 6;
    /// The source port.
    pub const SOURCE_PORT: usize = 0;
    /// The destination port.
    pub const DESTINATION_PORT: usize = 2;
    /// Data offset in 32-bit words, in the high four bits.
    pub const DATA_OFFSET: usize = 12;
    /// The shortest header.
    pub const MIN_LENGTH: usize = 20;
    /// The longest header, with 40 bytes of options.
    pub const MAX_LENGTH: usize = 60;
}
