//! What is wrong with a command line.

use capture_common::record::MAX_SNAPLEN;

use super::files::FilesConfigError;
use crate::{
    kernel::Hook,
    output::{
        FORMATS,
        format::{Format, Request},
    },
};

/// The largest `-B`, in KiB: a ring's size is a 32-bit number and its mapping twice that.
pub(super) const MAX_BUFFER_SIZE: u64 = 1024 * 1024;

/// A command line that clap accepts and that means nothing all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An expression that is none, with a line that points at the fault.
    #[error("{0}")]
    Expression(String),
    /// `-F` with a file that cannot be read.
    #[error("-F {file}: {reason}")]
    ExpressionFile {
        /// The file.
        file: String,
        /// The system's answer.
        reason: String,
    },
    /// `-i any` and another one.
    #[error("-i any takes every interface: leave out the other -i, or name all that are meant")]
    AnyAndOthers,
    /// `-i any` at XDP.
    #[error(
        "--hook {0} takes the interfaces by their names: native XDP resets some network cards, and there is one program \
         for each interface; name them with -i, or leave out --hook"
    )]
    AnyAtXdp(Hook),
    /// `-y` with something that is no link type.
    #[error("{0} is no data link type: -y takes LINUX_SLL2, or the interface's own")]
    LinkType(String),
    /// `-Q out` at XDP.
    #[error("XDP sees incoming packets only: -Q out takes --hook tc")]
    OutgoingAtXdp,
    /// `-c` with something else than a number, or 0.
    #[error("invalid packet count {0}: -c takes 1 or more")]
    Count(String),
    /// `-s` with something else than a number, or beyond tcpdump's ceiling.
    #[error("invalid snapshot length {0}: -s takes 1 to {MAX_SNAPLEN} bytes, or 0 for the maximum")]
    Snaplen(String),
    /// `-B` with something else than a number, or out of range.
    #[error("invalid buffer size {0}: -B takes 1 to {MAX_BUFFER_SIZE}, in KiB")]
    BufferSize(String),
    /// `--ebpf` without `-d`.
    #[error("--ebpf is a form of -d: write -d --ebpf")]
    EbpfOfNothing,
    /// `--ebpf` with `-r`.
    #[error("-d --ebpf is what runs in the kernel, and files are read without it: leave out -r or --ebpf")]
    EbpfOfFile,
    /// `--check` with `--port`.
    #[error("--check explains an expression: leave out --port")]
    CheckOfPorts,
    /// `-n --resolve`.
    #[error("-n asks for numbers and --resolve for names: leave one of them out")]
    NumbersAndNames,
    /// `--count` without `-r`.
    #[error(
        "--count counts the packets of a file: name one with -r (a live capture ends with the count, on standard error)"
    )]
    LiveCount,
    /// An output without a name.
    #[error("{0} has an empty name: name a file, or give - for standard output")]
    NoName(String),
    /// `--headers` with `-r`.
    #[error(
        "--headers is what a live capture takes of each packet, and -r has what is in the file: leave it out"
    )]
    HeadersOfFile,
    /// `--format` without `-w`.
    #[error("--format is the format of a file: name one with -w")]
    FormatOfNothing,
    /// `--count` with another output.
    #[error("--count prints only how many packets there are: leave out {}", in_words(options(|_| true), "and"))]
    CountAndWrite,
    /// `--explain` where nothing shows it.
    #[error(
        "{0} files have no comments: write pcapng (--format pcapng), or add {options}",
        options = in_words(["--print".to_owned()].into_iter().chain(options(shows_events)), "or")
    )]
    ExplainNowhere(&'static str),
    /// Two outputs would be mixed.
    #[error("two outputs go to {0}: give one of them a file of its own")]
    SameOutput(String),
    /// An option about files.
    #[error(transparent)]
    Files(#[from] FilesConfigError),
    /// Too many of `-t`, `-x`, `-X` or `-A`.
    #[error("too many -{flag}: {most} at most")]
    TooMany {
        /// The flag.
        flag: char,
        /// How often it may be given.
        most: u8,
    },
}

/// The options of the formats that are meant.
fn options(is_meant: impl Fn(&Format) -> bool) -> impl Iterator<Item = String> {
    let mut options: Vec<String> =
        FORMATS.iter().filter(|format| is_meant(format)).map(|format| format.option()).collect();
    options.dedup();
    options.into_iter()
}

fn shows_events(format: &Format) -> bool {
    format.asked == Request::ByName && format.has_events()
}

/// `a`, `a or b`, `a, b or c`.
fn in_words(options: impl Iterator<Item = String>, word: &str) -> String {
    let options: Vec<String> = options.collect();
    match options.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} {word} {last}", first.join(", ")),
        options => options.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_listed() {
        let words = |options: &[&str]| in_words(options.iter().map(|&option| option.to_owned()), "or");
        assert_eq!(words(&[]), "");
        assert_eq!(words(&["-w"]), "-w");
        assert_eq!(words(&["-w", "--json"]), "-w or --json");
        assert_eq!(words(&["-w", "--json", "--csv"]), "-w, --json or --csv");
    }
}
