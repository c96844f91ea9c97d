//! From the command line to what is to be done: the validated form of [`Cli`].

mod files;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    str::FromStr,
};

use capture_common::record::MAX_SNAPLEN;
use capture_packet::Precision;
use capture_text::options::{Dump, TextOptions, TimestampStyle};

use self::files::Target;
pub use self::files::{FileRules, FilesConfigError};
use crate::{
    cli::{Cli, FileFormat},
    expression,
    kernel::{DirectionFilter, Hook, LogLevel},
    ports::{PortList, PortSet},
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
    Print(Box<Config>),
}

/// How packets are to be printed, and where they come from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where packets come from.
    pub source: Source,
    /// Which are selected.
    pub ports: PortSet,
    /// Whether the command line asks for TCP, with an expression or with ports. If not, tcpdump prints all packets.
    pub asks_for_tcp: bool,
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
    /// Where packets go.
    pub outputs: Outputs,
}

/// Where packets go. At least one is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Lines on standard output.
    pub text: bool,
    /// A file of packets.
    pub write: Option<PacketFile>,
    /// JSON; `-` for standard output.
    pub json: Option<PathBuf>,
}

impl Outputs {
    /// Whether one of them is standard output.
    pub fn uses_standard_output(&self) -> bool {
        let paths = [self.write.as_ref().map(|file| &file.path), self.json.as_ref()];
        self.text || paths.into_iter().flatten().any(|path| is_standard_output(path))
    }

    /// Whether one of them always has nanoseconds: then they are read, and the others cut them off themselves.
    pub fn keep_nanoseconds(&self) -> bool {
        self.json.is_some() || self.write.as_ref().is_some_and(|file| file.format == FileFormat::Pcapng)
    }
}

/// `-w`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketFile {
    /// Its name; `-` for standard output.
    pub path: PathBuf,
    /// What it looks like.
    pub format: FileFormat,
    /// Whether each packet is written at once.
    pub packet_buffered: bool,
    /// When the next file begins, and when there is enough.
    pub rules: FileRules,
    /// `-z`: what gets each finished file.
    pub command: Option<OsString>,
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
    pub direction: DirectionFilter,
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
    /// `--format` without `-w`.
    #[error("--format is the format of a file: name one with -w")]
    FormatOfNothing,
    /// `--count` with `-w` or `--json`.
    #[error("--count prints only how many packets there are: leave out -w and --json")]
    CountAndWrite,
    /// `--explain` where nothing shows it.
    #[error("pcap files have no comments: write pcapng (--format pcapng), or add --print or --json")]
    ExplainInPcap,
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
        if cli.read.is_none() && is_xdp && cli.direction == DirectionFilter::Out {
            return Err(ConfigError::OutgoingAtXdp);
        }
        let ports = cli.ports.iter().chain(&expression_ports(&cli.expression)?).collect();
        let asks_for_tcp = !cli.ports.is_empty() || cli.expression.iter().any(|word| !word.is_empty());
        if cli.resolve && cli.numeric > 0 {
            return Err(ConfigError::NumbersAndNames);
        }
        if cli.count_only && cli.read.is_none() {
            return Err(ConfigError::LiveCount);
        }
        let mut text = text_options(&cli)?;
        let outputs = outputs(&cli)?;
        let enough = outputs.write.as_ref().and_then(|file| file.rules.autostop.packets);
        let count = count(cli.count)?;
        let live = Live {
            interface: cli.interface,
            hook: cli.hook,
            direction: cli.direction,
            promiscuous: !cli.no_promiscuous_mode,
            snaplen: snaplen(cli.snaplen, cli.headers, &text, &outputs)?,
            buffer_size: buffer_size(cli.buffer_size)?,
            log_level: cli.log_level,
        };
        let source = cli.read.map_or(Source::Live(live), Source::File);
        text.headers_only = matches!(source, Source::Live(Live { snaplen: 0, .. }));
        // All outputs end with the same packet.
        let count = [count, enough].into_iter().flatten().min();
        Ok(Self::Print(Box::new(Config {
            source,
            ports,
            asks_for_tcp,
            count,
            count_only: cli.count_only,
            text,
            resolve: cli.resolve,
            no_domain: cli.no_domain,
            explain: cli.explain,
            line_buffered: cli.line_buffered || cli.packet_buffered && outputs.write.is_none(),
            outputs,
        })))
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

/// What to capture: as asked, or the least that the options need. A file has whole packets, as tcpdump's. Dumps need
/// everything, and so do checksums and what else -v prints; the headers are enough for the rest.
fn snaplen(
    asked: Option<String>,
    headers: bool,
    text: &TextOptions,
    outputs: &Outputs,
) -> Result<u32, ConfigError> {
    let prints_more = outputs.text && (text.verbosity > 0 || text.dump != Dump::None);
    match number(asked, ConfigError::Snaplen)? {
        Some(0) => Ok(MAX_SNAPLEN),
        Some(snaplen) if snaplen <= MAX_SNAPLEN => Ok(snaplen),
        Some(snaplen) => Err(ConfigError::Snaplen(snaplen.to_string())),
        None if headers => Ok(0),
        None if prints_more || outputs.write.is_some() => Ok(MAX_SNAPLEN),
        None => Ok(0),
    }
}

/// Where packets go: to standard output as text if nothing else is asked for.
fn outputs(cli: &Cli) -> Result<Outputs, ConfigError> {
    let format = |path: &Path| match cli.format {
        Some(format) => format,
        None if path.extension().is_some_and(|extension| extension == "pcapng") => FileFormat::Pcapng,
        None => FileFormat::Pcap,
    };
    let [write, json] = [&cli.write, &cli.json].map(|path| path.as_deref().map(output_path));
    let target = match &write {
        None => Target::None,
        Some(path) if is_standard_output(path) => Target::Stream,
        Some(_) => Target::File,
    };
    let rules = files::rules(&cli.files, target)?;
    let write = write.map(|path| PacketFile {
        format: format(&path),
        path,
        packet_buffered: cli.packet_buffered,
        rules,
        command: cli.files.postrotate_command.clone(),
    });
    if cli.format.is_some() && write.is_none() {
        return Err(ConfigError::FormatOfNothing);
    }
    let text = cli.print || write.is_none() && json.is_none();
    let outputs = Outputs { text, write, json };
    if cli.count_only && (outputs.write.is_some() || outputs.json.is_some()) {
        return Err(ConfigError::CountAndWrite);
    }
    let has_events = outputs.text
        || outputs.json.is_some()
        || outputs.write.as_ref().is_some_and(|file| file.format == FileFormat::Pcapng);
    if cli.explain && !has_events {
        return Err(ConfigError::ExplainInPcap);
    }
    let paths = [outputs.write.as_ref().map(|file| &file.path), outputs.json.as_ref()];
    let to_standard_output = paths.into_iter().flatten().filter(|path| is_standard_output(path)).count();
    if to_standard_output + usize::from(outputs.text) > 1 {
        return Err(ConfigError::SameOutput("standard output".to_owned()));
    }
    match paths {
        [Some(file), Some(json)] if file == json => Err(ConfigError::SameOutput(file.display().to_string())),
        _ => Ok(outputs),
    }
}

/// Where an output goes: standard output is `-`, whichever of its names it was given.
fn output_path(path: &Path) -> PathBuf {
    let names = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    if names.iter().any(|name| path == Path::new(name)) { PathBuf::from("-") } else { path.to_owned() }
}

fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

fn buffer_size(asked: Option<String>) -> Result<usize, ConfigError> {
    let size: u64 = number(asked, ConfigError::BufferSize)?.unwrap_or(DEFAULT_BUFFER_SIZE);
    let in_range = Some(size).filter(|size| (1..=MAX_BUFFER_SIZE).contains(size));
    let bytes = in_range.and_then(|size| usize::try_from(size * 1024).ok());
    bytes.ok_or_else(|| ConfigError::BufferSize(size.to_string()))
}

#[cfg(test)]
mod tests;
