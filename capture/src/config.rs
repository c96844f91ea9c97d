//! From the command line to what is to be done: the validated form of [`Cli`].

use std::{ffi::OsString, path::PathBuf, str::FromStr};

use capture_common::record::MAX_SNAPLEN;

use crate::{
    cli::{Cli, Precision},
    expression,
    kernel::{Direction, Hook, LogLevel},
    ports::{PortList, PortSet},
    text::options::{Dump, TextOptions, TimestampStyle},
};

/// Memory for the rings where `-B` does not say, in KiB.
const DEFAULT_BUFFER_SIZE: u64 = 32 * 1024;
/// The largest `-B`, in KiB: a ring's size is a 32-bit number and its mapping twice that.
const MAX_BUFFER_SIZE: u64 = 1024 * 1024;

/// What a run is to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// List the interfaces.
    ListInterfaces,
    /// Print packets.
    Print(Config),
}

/// How packets are to be printed, and where they come from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where packets come from.
    pub source: Source,
    /// Which are selected.
    pub ports: PortSet,
    /// How many to print; `None` for all.
    pub count: Option<u64>,
    /// Whether only their number is printed. Never for a live capture.
    pub count_only: bool,
    /// How they are printed.
    pub text: TextOptions,
    /// Whether hosts and services are printed by their names.
    pub resolve: bool,
    /// Whether names of hosts are printed without their domain.
    pub no_domain: bool,
    /// Whether comments tell what happens to each connection.
    pub explain: bool,
    /// Whether each line is written out at once.
    pub line_buffered: bool,
}

/// Where packets come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file; `-` for standard input.
    File(PathBuf),
    /// An interface.
    Live(Live),
}

/// What a live capture needs to know.
#[derive(Clone, Debug)]
pub struct Live {
    /// The interface's name; `None` for the first that is up and not loopback.
    pub interface: Option<OsString>,
    /// Where to attach.
    pub hook: Hook,
    /// Which packets.
    pub direction: Direction,
    /// Whether to put the interface into promiscuous mode.
    pub promiscuous: bool,
    /// Bytes to capture of each packet, 0 for the headers alone.
    pub snaplen: u32,
    /// Memory for the rings in bytes.
    pub buffer_size: usize,
    /// What the programs in the kernel log.
    pub log_level: LogLevel,
}

/// A command line that clap accepts and that means nothing all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A filter expression of which more would be needed than is understood.
    #[error("the filter expression `{0}` is not understood: {hint}", hint = instead(.0))]
    Expression(String),
    /// `-Z` with another user than root.
    #[error(
        "-Z {0}: capture keeps its privileges, which it needs until the end; leave it out, or write -Z root"
    )]
    User(String),
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
    /// `-n --resolve`.
    #[error("-n asks for numbers and --resolve for names: leave one of them out")]
    NumbersAndNames,
    /// `--count` without `-r`.
    #[error(
        "--count counts the packets of a file: name one with -r (a live capture ends with the count, on standard error)"
    )]
    LiveCount,
    /// Too many of `-t`, `-x`, `-X` or `-A`.
    #[error("too many -{flag}: {most} at most")]
    TooMany {
        /// The flag.
        flag: char,
        /// How often it may be given.
        most: u8,
    },
}

impl TryFrom<Cli> for Command {
    type Error = ConfigError;

    fn try_from(cli: Cli) -> Result<Self, ConfigError> {
        if cli.list_interfaces {
            return Ok(Self::ListInterfaces);
        }
        if let Some(user) = cli.user.as_ref().filter(|user| *user != "root" && cli.read.is_none()) {
            return Err(ConfigError::User(user.clone()));
        }
        let is_xdp = matches!(cli.hook, Hook::Xdp | Hook::XdpNative | Hook::XdpGeneric);
        if cli.read.is_none() && is_xdp && cli.direction == Direction::Out {
            return Err(ConfigError::OutgoingAtXdp);
        }
        let ports = cli.ports.iter().chain(&expression_ports(&cli.expression)?).collect();
        if cli.resolve && cli.numeric > 0 {
            return Err(ConfigError::NumbersAndNames);
        }
        if cli.count_only && cli.read.is_none() {
            return Err(ConfigError::LiveCount);
        }
        let mut text = text_options(&cli)?;
        let count = count(cli.count)?;
        let live = Live {
            interface: cli.interface,
            hook: cli.hook,
            direction: cli.direction,
            promiscuous: !cli.no_promiscuous_mode,
            snaplen: snaplen(cli.snaplen, &text)?,
            buffer_size: buffer_size(cli.buffer_size)?,
            log_level: cli.log_level,
        };
        let source = cli.read.map_or(Source::Live(live), Source::File);
        text.headers_only = matches!(source, Source::Live(Live { snaplen: 0, .. }));
        Ok(Self::Print(Config {
            source,
            ports,
            count,
            count_only: cli.count_only,
            text,
            resolve: cli.resolve,
            no_domain: cli.no_domain,
            explain: cli.explain,
            line_buffered: cli.line_buffered,
        }))
    }
}

fn text_options(cli: &Cli) -> Result<TextOptions, ConfigError> {
    let timestamp = match cli.time {
        0 => TimestampStyle::TimeOfDay,
        1 => TimestampStyle::None,
        2 => TimestampStyle::Epoch,
        3 => TimestampStyle::SincePrevious,
        4 => TimestampStyle::DateTime,
        5 => TimestampStyle::SinceFirst,
        _ => return Err(ConfigError::TooMany { flag: 't', most: 5 }),
    };
    // Where several are given, tcpdump's order of preference (print.c, `pretty_print_packet`).
    let dump = match (cli.hex_ascii, cli.hex, cli.ascii) {
        (0, 0, 0) => Dump::None,
        (0, 0, times) => Dump::Ascii { link_header: times > 1 },
        (0, times, _) => Dump::Hex { link_header: times > 1 },
        (times, _, _) => Dump::HexAscii { link_header: times > 1 },
    };
    Ok(TextOptions {
        timestamp,
        nanoseconds: cli.nano || cli.precision == Some(Precision::Nano),
        number: cli.number,
        verbosity: cli.verbosity,
        link_header: cli.link_header,
        quiet: cli.quiet > 0,
        quieter: cli.quiet > 1,
        absolute_sequence: cli.absolute_sequence,
        skip_checksums: cli.skip_checksums,
        dump,
        headers_only: false,
    })
}

/// The ports that an expression selects, if there is one. It may come in several words or in one.
fn expression_ports(words: &[OsString]) -> Result<Vec<PortList>, ConfigError> {
    if words.iter().all(|word| word.is_empty()) {
        return Ok(Vec::new());
    }
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let expression = words.join(" ");
    expression::ports(&expression).ok_or(ConfigError::Expression(expression))
}

/// What to write instead of a filter expression.
fn instead(expression: &str) -> String {
    let with_tcp = format!("tcp {expression}");
    if expression::ports(&with_tcp).is_some() {
        return format!("capture prints only TCP: write `{with_tcp}`");
    }
    "write `tcp port 8888`, `tcp portrange 8000-8100`, several of these joined by `or`, or use --port"
        .to_owned()
}

/// A number that an option was given, if it was given; else `error` with what stands in its place.
fn number<N: FromStr>(
    asked: Option<String>,
    error: fn(String) -> ConfigError,
) -> Result<Option<N>, ConfigError> {
    asked.map(|asked| asked.parse().map_err(|_| error(asked))).transpose()
}

fn count(asked: Option<String>) -> Result<Option<u64>, ConfigError> {
    match number(asked, ConfigError::Count)? {
        Some(0) => Err(ConfigError::Count("0".to_owned())),
        count => Ok(count),
    }
}

/// What to capture: as asked, or the least that the options need. Dumps need everything, and so do checksums and what
/// else -v prints; the headers are enough for the rest.
fn snaplen(asked: Option<String>, text: &TextOptions) -> Result<u32, ConfigError> {
    match number(asked, ConfigError::Snaplen)? {
        Some(0) => Ok(MAX_SNAPLEN),
        Some(snaplen) if snaplen <= MAX_SNAPLEN => Ok(snaplen),
        Some(snaplen) => Err(ConfigError::Snaplen(snaplen.to_string())),
        None if text.verbosity > 0 || text.dump != Dump::None => Ok(MAX_SNAPLEN),
        None => Ok(0),
    }
}

fn buffer_size(asked: Option<String>) -> Result<usize, ConfigError> {
    let size: u64 = number(asked, ConfigError::BufferSize)?.unwrap_or(DEFAULT_BUFFER_SIZE);
    let in_range = Some(size).filter(|size| (1..=MAX_BUFFER_SIZE).contains(size));
    let bytes = in_range.and_then(|size| usize::try_from(size * 1024).ok());
    bytes.ok_or_else(|| ConfigError::BufferSize(size.to_string()))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

    use capture_common::ports::Ports as _;

    use super::*;

    fn config(arguments: &str) -> Result<Config, ConfigError> {
        let words = ["capture"].into_iter().chain(arguments.split_whitespace());
        let cli = Cli::read(words.map(OsString::from)).unwrap();
        match Command::try_from(cli)? {
            Command::Print(config) => Ok(config),
            Command::ListInterfaces => panic!("not -D"),
        }
    }

    fn live(arguments: &str) -> Live {
        match config(arguments).unwrap().source {
            Source::Live(live) => live,
            Source::File(path) => panic!("not a file: {path:?}"),
        }
    }

    #[test]
    fn tcpdumps_flags_mean_what_they_mean_there() {
        let text = config("-nn -i lo -ttttSq#e --nano").unwrap().text;
        let expected = TextOptions {
            timestamp: TimestampStyle::DateTime,
            nanoseconds: true,
            number: true,
            link_header: true,
            quiet: true,
            absolute_sequence: true,
            headers_only: true,
            ..TextOptions::default()
        };
        assert_eq!(text, expected);
        assert_eq!(config("-XX").unwrap().text.dump, Dump::HexAscii { link_header: true });
        assert_eq!(config("-A -x").unwrap().text.dump, Dump::Hex { link_header: false });
    }

    #[test]
    fn the_smallest_snaplen_that_serves_is_chosen() {
        assert_eq!(live("-i lo").snaplen, 0);
        assert_eq!(live("-e -q -S -#").snaplen, 0);
        assert_eq!(live("-v").snaplen, MAX_SNAPLEN);
        assert_eq!(live("-x").snaplen, MAX_SNAPLEN);
        assert_eq!(live("-x -s 96").snaplen, 96);
        assert_eq!(live("-s 0").snaplen, MAX_SNAPLEN);
    }

    #[test]
    fn refusals_say_what_is_accepted() {
        for (arguments, expected) in [
            ("-c 0", "invalid packet count 0: -c takes 1 or more"),
            ("-c -1", "invalid packet count -1: -c takes 1 or more"),
            ("-c abc", "invalid packet count abc: -c takes 1 or more"),
            ("-s 262145", "invalid snapshot length 262145: -s takes 1 to 262144 bytes, or 0 for the maximum"),
            (
                "-r x -s 262145",
                "invalid snapshot length 262145: -s takes 1 to 262144 bytes, or 0 for the maximum",
            ),
            ("-s -1", "invalid snapshot length -1: -s takes 1 to 262144 bytes, or 0 for the maximum"),
            ("-B 0", "invalid buffer size 0: -B takes 1 to 1048576, in KiB"),
            ("-B 1048577", "invalid buffer size 1048577: -B takes 1 to 1048576, in KiB"),
            ("-B -1", "invalid buffer size -1: -B takes 1 to 1048576, in KiB"),
            ("-tttttt", "too many -t: 5 at most"),
            ("--hook xdp -Q out", "XDP sees incoming packets only: -Q out takes --hook tc"),
            (
                "-Z nobody",
                "-Z nobody: capture keeps its privileges, which it needs until the end; leave it out, or write -Z root",
            ),
            ("-n --resolve", "-n asks for numbers and --resolve for names: leave one of them out"),
        ] {
            assert_eq!(config(arguments).unwrap_err().to_string(), expected, "{arguments}");
        }
        assert_eq!(config("--count").unwrap_err(), ConfigError::LiveCount);
    }

    /// Who comes from tcpdump types its expressions.
    #[test]
    fn an_expression_is_answered_with_the_option() {
        const GENERAL: &str = "write `tcp port 8888`, `tcp portrange 8000-8100`, several of these joined by `or`, or use --port";
        for (expression, expected) in [
            ("port 443", "capture prints only TCP: write `tcp port 443`"),
            ("portrange 1-2 or 80", "capture prints only TCP: write `tcp portrange 1-2 or 80`"),
            ("tcp port http", GENERAL),
            ("host 10.0.0.1", GENERAL),
        ] {
            let expected = format!("the filter expression `{expression}` is not understood: {expected}");
            assert_eq!(config(expression).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn an_expression_and_ports_add_up() {
        for (arguments, expected) in [
            ("tcp", &[][..]),
            ("tcp port 443 -n", &[443]),
            ("--port 80 tcp port 443 or 8888", &[80, 443, 8888]),
        ] {
            let ports = config(arguments).unwrap().ports;
            assert_eq!(ports.any(), expected.is_empty());
            let selected: Vec<u16> = (0..=u16::MAX).filter(|port| ports.contains(*port)).collect();
            assert_eq!(selected, expected, "{arguments}");
        }
        // In one word, as a script may have it.
        let cli = Cli::read(["capture", "tcp port 80 or tcp port 443"].map(OsString::from)).unwrap();
        assert_eq!(expression_ports(&cli.expression).unwrap().len(), 2);
    }

    /// As getopt(3) has it: an option may come again, and the last one counts.
    #[test]
    fn the_last_of_an_option_counts() {
        let text = config("-e -e -q -q -S -S -## -K -K -l -U --nano --nano --micro").unwrap().text;
        assert!(
            text.link_header && text.quieter && text.absolute_sequence && text.number && text.skip_checksums
        );
        for (arguments, nanoseconds) in [
            ("--micro --nano", true),
            ("--nano --micro", false),
            ("--nano --time-stamp-precision=micro", false),
            ("--micro --time-stamp-precision nanosecond", true),
            ("--time-stamp-precision nano --micro", false),
        ] {
            assert_eq!(config(arguments).unwrap().text.nanoseconds, nanoseconds, "{arguments}");
        }
        assert_eq!(config("-c 1 -c 2").unwrap().count, Some(2));
        assert_eq!(live("-i lo -i eth0 -s 60 -s 70 -B 1 -B 2").interface, Some("eth0".into()));
        let file = config("-r a -r b -i lo -B 4096 --hook xdp --hook tc").unwrap().source;
        assert!(matches!(file, Source::File(path) if path == Path::new("b")));
        assert_eq!(format!("{:?}", config("--port 1 --port 2").unwrap().ports), "{1, 2}");
        let cli = Cli::read(["capture", "-r", "x", "-D", "tcp"].map(OsString::from)).unwrap();
        assert!(matches!(Command::try_from(cli), Ok(Command::ListInterfaces)));
    }

    #[test]
    fn what_scripts_pass_is_accepted() {
        for flag in ["-U", "--packet-buffered", "--packet-buf"] {
            assert!(config(flag).unwrap().line_buffered, "{flag}");
        }
        let config = config("-a -b -H -u -O --no-optimize --print -p --imm -N -r x --count").unwrap();
        assert!(config.no_domain && config.count_only);
    }

    #[test]
    fn flags_that_there_are_not_are_named() {
        for (flag, expected) in [
            ("-w", "no such option: -w: capture prints text only\n"),
            ("-nw", "no such option: -w: capture prints text only\n"),
            ("-F", "no such option: -F: write the expression on the command line\n"),
            ("-V", "no such option: -V (see capture --help)\n"),
            ("-Jin", "no such option: -J (see capture --help)\n"),
            ("--prot", "no such option: --prot; did you mean --port?\n"),
        ] {
            let error = Cli::read(["capture", flag, "in"].map(OsString::from)).unwrap_err();
            assert_eq!(error.to_string(), format!("error: {expected}"));
            assert_eq!(error.exit_code(), 2);
        }
    }

    /// File names are bytes.
    #[test]
    fn names_need_not_be_utf8() {
        let name = OsStr::from_bytes(b"a\xff");
        let cli = Cli::read([OsStr::new("capture"), OsStr::new("-r"), name].map(OsString::from)).unwrap();
        let Ok(Command::Print(config)) = Command::try_from(cli) else { panic!("a command") };
        assert!(matches!(config.source, Source::File(path) if path == name));
    }
}
