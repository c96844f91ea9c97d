//! What the flags ask of the printer.

/// How each line begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampStyle {
    /// `HH:MM:SS.frac`, local time.
    #[default]
    TimeOfDay,
    /// `-t`: nothing.
    None,
    /// `-tt`: seconds since the epoch.
    Epoch,
    /// `-ttt`: the difference to the line before.
    SincePrevious,
    /// `-tttt`: `YYYY-MM-DD HH:MM:SS.frac`, local time.
    DateTime,
    /// `-ttttt`: the difference to the first line.
    SinceFirst,
}

/// What of the packet's bytes is dumped below its line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dump {
    /// Nothing.
    #[default]
    None,
    /// `-x` (false) or `-xx` (true: with the link header): hex.
    Hex {
        /// From the link header on.
        link_header: bool,
    },
    /// `-X` or `-XX`: hex and ASCII.
    HexAscii {
        /// From the link header on.
        link_header: bool,
    },
    /// `-A` or `-AA`: ASCII.
    Ascii {
        /// From the link header on.
        link_header: bool,
    },
}

/// What to print of each packet. The default is what `tcpdump -n` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// How each line begins.
    pub timestamp: TimestampStyle,
    /// `--nano`: nine digits of a second instead of six.
    pub nanoseconds: bool,
    /// `-#`: the packet's number first.
    pub number: bool,
    /// `-v`, `-vv`, `-vvv`.
    pub verbosity: u8,
    /// `-e`: the link header.
    pub link_header: bool,
    /// `-q`: less.
    pub quiet: bool,
    /// `-qq`: nothing of a later fragment.
    pub quieter: bool,
    /// `-S`: absolute sequence numbers.
    pub absolute_sequence: bool,
    /// `-K`: checksums are not verified.
    pub skip_checksums: bool,
    /// `-x`, `-X`, `-A` and their doubles.
    pub dump: Dump,
    /// Only headers are captured, because nothing else is printed. The one text that depends on whether the data
    /// was captured too, that of an MD5 option, is then the one for whole packets.
    pub headers_only: bool,
}
