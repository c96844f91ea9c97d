//! From the command line to what is to be done: the validated form of [`Cli`].

use std::path::PathBuf;

use capture_common::{ports::Ports, record::MAX_SNAPLEN};

use crate::{
    cli::Cli,
    kernel::{Hook, LogLevel},
    ports::PortSet,
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
    /// How they are printed.
    pub text: TextOptions,
    /// Whether hosts and services are printed by their names.
    pub resolve: bool,
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
    pub interface: Option<String>,
    /// Where to attach.
    pub hook: Hook,
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
    /// A filter expression.
    #[error(
        "filter expressions are not understood (`{0}`): select with --port instead, for example `--port 8888` for \
         `tcp port 8888`"
    )]
    Expression(String),
    /// `-c 0`.
    #[error("invalid packet count 0: -c takes 1 or more")]
    Count,
    /// `-s` beyond tcpdump's ceiling.
    #[error("invalid snapshot length {0}: -s takes up to {MAX_SNAPLEN} bytes, and 0 for that")]
    Snaplen(u32),
    /// `-B` out of range.
    #[error("invalid buffer size {0} KiB: -B takes 1 to {MAX_BUFFER_SIZE}")]
    BufferSize(u64),
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
        if !cli.expression.is_empty() {
            return Err(ConfigError::Expression(cli.expression.join(" ")));
        }
        if cli.count == Some(0) {
            return Err(ConfigError::Count);
        }
        let mut text = text_options(&cli)?;
        let source = match &cli.read {
            Some(path) => Source::File(path.into()),
            None => Source::Live(Live {
                interface: cli.interface.clone(),
                hook: cli.hook,
                snaplen: snaplen(cli.snaplen, &text)?,
                buffer_size: buffer_size(cli.buffer_size)?,
                log_level: cli.log_level,
            }),
        };
        text.headers_only = matches!(source, Source::Live(Live { snaplen: 0, .. }));
        Ok(Self::Print(Config {
            source,
            ports: cli.ports.iter().collect(),
            count: cli.count,
            text,
            resolve: cli.resolve,
            explain: cli.explain,
            line_buffered: cli.line_buffered,
        }))
    }
}

impl Config {
    /// The filter in tcpdump's words.
    pub fn filter(&self) -> &'static str {
        if self.ports.any() { "tcp" } else { "tcp port" }
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
        nanoseconds: cli.nano,
        number: cli.number,
        verbosity: cli.verbosity,
        link_header: cli.link_header,
        quiet: cli.quiet,
        absolute_sequence: cli.absolute_sequence,
        skip_checksums: cli.skip_checksums,
        dump,
        headers_only: false,
    })
}

/// What to capture: as asked, or the least that the options need. Dumps need everything, and so do checksums and what
/// else -v prints; the headers are enough for the rest.
fn snaplen(asked: Option<u32>, text: &TextOptions) -> Result<u32, ConfigError> {
    match asked {
        Some(0) => Ok(MAX_SNAPLEN),
        Some(snaplen) if snaplen <= MAX_SNAPLEN => Ok(snaplen),
        Some(snaplen) => Err(ConfigError::Snaplen(snaplen)),
        None if text.verbosity > 0 || text.dump != Dump::None => Ok(MAX_SNAPLEN),
        None => Ok(0),
    }
}

fn buffer_size(asked: Option<u64>) -> Result<usize, ConfigError> {
    let size = asked.unwrap_or(DEFAULT_BUFFER_SIZE);
    let in_range = Some(size).filter(|size| (1..=MAX_BUFFER_SIZE).contains(size));
    in_range.and_then(|size| usize::try_from(size * 1024).ok()).ok_or(ConfigError::BufferSize(size))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn config(arguments: &str) -> Result<Config, ConfigError> {
        let cli = Cli::try_parse_from(["capture"].into_iter().chain(arguments.split_whitespace())).unwrap();
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
        assert_eq!(config("tcp port 8888").unwrap_err(), ConfigError::Expression("tcp port 8888".to_owned()));
        assert_eq!(config("-c 0").unwrap_err(), ConfigError::Count);
        assert_eq!(config("-s 300000").unwrap_err(), ConfigError::Snaplen(300_000));
        for size in [0, MAX_BUFFER_SIZE + 1, u64::MAX] {
            assert_eq!(config(&format!("-B {size}")).unwrap_err(), ConfigError::BufferSize(size));
        }
        assert_eq!(config("-tttttt").unwrap_err(), ConfigError::TooMany { flag: 't', most: 5 });
    }
}
