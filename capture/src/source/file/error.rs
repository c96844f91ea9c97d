//! What can be wrong with a file, in libpcap's words where it has them.

use std::{io, path::PathBuf};

use super::link;

/// Why a file cannot be read, or not any further. Every packet before the fault has been given by then.
///
/// The messages are those of libpcap 1.10.3 (savefile.c, sf-pcap.c, sf-pcapng.c); tcpdump prints them after
/// `tcpdump: pcap_loop: ` or, while it opens the file, `tcpdump: `.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be opened.
    #[error("{}: {source}", path.display())]
    Open {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is open but cannot be read.
    #[error("error reading dump file: {0}")]
    Read(#[source] io::Error),
    /// Neither pcap nor pcapng.
    #[error("unknown file format")]
    UnknownFormat,
    /// The file ends within its header.
    #[error("truncated dump file; tried to read {wanted} file header bytes, only got {got}")]
    TruncatedFileHeader {
        /// Bytes the header has.
        wanted: usize,
        /// Bytes left in the file; those of the magic number not counted once it is known.
        got: usize,
    },
    /// A pcap file from before version 2.
    #[error("archaic pcap savefile format")]
    Archaic,
    /// A pcap file of an unknown version.
    #[error("unsupported pcap savefile version {major}.{minor}")]
    UnsupportedVersion {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// A pcap file ends within a packet's header.
    #[error("truncated dump file; tried to read {wanted} header bytes, only got {got}")]
    TruncatedHeader {
        /// Bytes the header has.
        wanted: usize,
        /// Bytes left in the file.
        got: usize,
    },
    /// A pcap file ends within a packet's bytes.
    #[error("truncated dump file; tried to read {wanted} captured bytes, only got {got}")]
    TruncatedData {
        /// Bytes the packet's header claims, or the snapshot length where not even that many are left.
        wanted: u32,
        /// Bytes left in the file.
        got: usize,
    },
    /// A packet claims more captured bytes than the snapshot length allows, and than can be believed.
    #[error("invalid packet capture length {captured_len}, bigger than snaplen of {snaplen}")]
    OverSnaplen {
        /// What the packet claims.
        captured_len: u32,
        /// What the file's header claims.
        snaplen: u32,
    },
    /// A packet claims more captured bytes than can be believed.
    #[error("invalid packet capture length {captured_len}, bigger than maximum of {maximum}")]
    OverMaximum {
        /// What the packet claims.
        captured_len: u32,
        /// The most that is believed.
        maximum: u32,
    },
    /// A pcapng file ends within a block.
    #[error("truncated pcapng dump file; tried to read {wanted} bytes, only got {got}")]
    TruncatedBlock {
        /// Bytes that belong there.
        wanted: usize,
        /// Bytes left in the file.
        got: usize,
    },
    /// The first block of a pcapng file has an impossible length.
    #[error(
        "Section Header Block in pcapng dump file has invalid length 28 < _{0}_ < 1048576 (BT_SHB_INSANE_MAX)"
    )]
    SectionLength(u32),
    /// The first section of a pcapng file has an unknown version.
    #[error("unsupported pcapng savefile version {major}.{minor}")]
    UnsupportedPcapngVersion {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// A later section of a pcapng file has an unknown version.
    #[error("unknown pcapng savefile major version number {0}")]
    UnknownMajorVersion(u16),
    /// A later section of a pcapng file is in the other byte order.
    #[error("the file has sections with different byte orders")]
    MixedByteOrders,
    /// A later section of a pcapng file has no byte-order magic.
    #[error("the file has a section with a bad byte order magic field")]
    BadByteOrderMagic,
    /// A pcapng block is shorter than a block can be.
    #[error("block in pcapng dump file has a length of {0} < 12")]
    BlockLength(u32),
    /// A pcapng block has an odd length.
    #[error("block in pcapng dump file has a length of {0} that is not a multiple of 4")]
    UnalignedBlock(u32),
    /// A pcapng block is longer than can be believed.
    #[error("pcapng block size {length} > maximum {maximum}")]
    BlockTooLong {
        /// What its header claims.
        length: u32,
        /// The most that is believed.
        maximum: u32,
    },
    /// The two lengths of a pcapng block differ.
    #[error("block total length in header and trailer don't match")]
    BlockLengthsDiffer,
    /// A pcapng block ends before its fields do.
    #[error("block of type {0} in pcapng dump file is too short")]
    ShortBlock(u32),
    /// A pcapng file ends without having described an interface.
    #[error("the capture file has no Interface Description Blocks")]
    NoInterfaces,
    /// A pcapng file has a packet before it has described an interface.
    #[error("the capture file has a packet block before any Interface Description Blocks")]
    PacketBeforeInterface,
    /// A packet names an interface that the section has not described.
    #[error(
        "a packet arrived on interface {0}, but there's no Interface Description Block for that interface"
    )]
    UnknownInterface(u32),
    /// A packet names an interface of which the description was not kept: those before it changed too often.
    #[error(
        "a packet arrived on interface {0}, and the file describes too many different interfaces before that"
    )]
    TooManyInterfaces(u32),
    /// The end-of-options option of an interface is not empty.
    #[error("Interface Description Block has opt_endofopt option with length {0} != 0")]
    EndOfOptionsLength(u16),
    /// An option of an interface has the wrong length.
    #[error("Interface Description Block has {option} option with length {length} != {wanted}")]
    OptionLength {
        /// The option's name.
        option: &'static str,
        /// Its length.
        length: u16,
        /// The length it has to have.
        wanted: u16,
    },
    /// An option of an interface is there twice.
    #[error("Interface Description Block has more than one {0} option")]
    OptionTwice(&'static str),
    /// The time of an interface is finer than 64 bits can count.
    #[error("Interface Description Block if_tsresol option resolution {base}^-{exponent} is too high")]
    ResolutionTooHigh {
        /// 2 or 10.
        base: u8,
        /// The exponent, without its sign.
        exponent: u8,
    },
    /// A link type that is not read here.
    #[error("link-type {} is not supported (supported: {})", link::describe(*.0), link::SUPPORTED)]
    UnsupportedLinkType(u32),
}
