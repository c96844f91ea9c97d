//! The numbers of the pcapng format (draft-ietf-opsawg-pcapng), for what reads such files and what writes them.

/// What a section begins with, and what its byte order is recognised by.
pub const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Types of blocks.
pub mod block {
    /// Section header. It reads the same in both byte orders.
    pub const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    /// Interface description.
    pub const INTERFACE_DESCRIPTION: u32 = 1;
    /// Packet, obsolete.
    pub const OBSOLETE_PACKET: u32 = 2;
    /// Simple packet.
    pub const SIMPLE_PACKET: u32 = 3;
    /// Interface statistics.
    pub const INTERFACE_STATISTICS: u32 = 5;
    /// Enhanced packet.
    pub const ENHANCED_PACKET: u32 = 6;
}

/// Codes of options in any block.
pub mod option {
    /// `opt_endofopt`: ends a list of options, and is empty.
    pub const END_OF_OPTIONS: u16 = 0;
    /// `opt_comment`, UTF-8.
    pub const COMMENT: u16 = 1;
}

/// Codes of options of a section header.
pub mod section {
    /// `shb_hardware`, UTF-8.
    pub const HARDWARE: u16 = 2;
    /// `shb_os`, UTF-8.
    pub const OS: u16 = 3;
    /// `shb_userappl`, UTF-8: the program.
    pub const APPLICATION: u16 = 4;
}

/// Codes of options of an interface description.
pub mod interface {
    /// `if_name`, UTF-8.
    pub const NAME: u16 = 2;
    /// `if_description`, UTF-8.
    pub const DESCRIPTION: u16 = 3;
    /// `if_tsresol`, u8: the exponent of ten, or with the high bit set of two, of the ticks in a second.
    pub const TIME_RESOLUTION: u16 = 9;
    /// `if_filter`: a zero, and tcpdump's expression in UTF-8.
    pub const FILTER: u16 = 11;
    /// `if_os`, UTF-8.
    pub const OS: u16 = 12;
    /// `if_tsoffset`, i64: seconds to be added.
    pub const TIME_OFFSET: u16 = 14;
    /// `if_hardware`, UTF-8.
    pub const HARDWARE: u16 = 15;
}

/// Codes of options of an enhanced packet.
pub mod packet {
    /// `epb_flags`, u32: bits 0 and 1 are the direction, 1 for in and 2 for out.
    pub const FLAGS: u16 = 2;
    /// `epb_dropcount`, u64: packets that were lost since the one before.
    pub const DROP_COUNT: u16 = 4;
}

/// Codes of options of interface statistics. Times are two words of 32 bits, the high one first; counts are u64, since the
/// start.
pub mod statistics {
    /// `isb_starttime`.
    pub const START: u16 = 2;
    /// `isb_endtime`.
    pub const END: u16 = 3;
    /// `isb_ifdrop`: dropped by the interface.
    pub const DROPPED_BY_INTERFACE: u16 = 5;
    /// `isb_filteraccept`: selected by the filter.
    pub const ACCEPTED_BY_FILTER: u16 = 6;
    /// `isb_osdrop`: dropped by the operating system.
    pub const DROPPED_BY_SYSTEM: u16 = 7;
    /// `isb_usrdeliv`: delivered to the user.
    pub const DELIVERED: u16 = 8;
}
