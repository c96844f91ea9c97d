//! From the command line to what is to be done: the validated form of [`Cli`].

mod error;
mod files;
mod live;
mod outputs;

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use capture_common::record::MAX_SNAPLEN;
use capture_filter::names::Names;
use capture_packet::{LinkType, Precision};
use capture_text::options::{Dump, TextOptions, TimestampStyle};

pub use self::{
    error::ConfigError,
    files::{FileRules, FilesConfigError},
    live::{Interfaces, Live, Namespace},
    outputs::{OutputSpec, Outputs},
};
use self::{error::MAX_BUFFER_SIZE, live::namespaces};
use crate::{
    cli::{Cli, LogLevelChoice},
    filter::Filter,
    kernel::{DirectionFilter, Hook},
    sandbox::SandboxOptions,
};

/// Memory for the rings where `-B` does not say, in KiB.
const DEFAULT_BUFFER_SIZE: u64 = 32 * 1024;
/// The same where payload is captured: what a full-size packet takes is 15 times what its headers take.
const DEFAULT_BUFFER_SIZE_WITH_PAYLOAD: u64 = 64 * 1024;
/// What a run is to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// List the interfaces of these network namespaces; with none, of the own one.
    ListInterfaces(Vec<Namespace>),
    /// Remove what dead captures have left in these network namespaces; with none, in the own one.
    CleanUp(Vec<Namespace>),
    /// Say what the expression selects.
    Check(Box<Config>),
    /// Print what the filter becomes.
    Dump(Box<Config>, Form),
    /// Print packets.
    Print(Box<Config>),
}

/// How a filter is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `-d`: classic BPF, to be read.
    Classic,
    /// `-dd`: classic BPF, as a fragment of C.
    C,
    /// `-ddd`: classic BPF, as numbers.
    Numbers,
    /// `-d --ebpf`: what goes in front of the programs in the kernel.
    Ebpf,
}

/// How packets are to be printed, and where they come from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where packets come from.
    pub source: Source,
    /// Which are selected.
    pub filter: Filter,
    /// How many to print; `None` for all.
    pub count: Option<u64>,
    /// How many the file of `-w` is to have: then all outputs end, with the same packet.
    pub enough: Option<u64>,
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
    /// What a file is read in.
    pub sandbox: SandboxOptions,
}

/// Where packets come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    File(CaptureFile),
    /// An interface.
    Live(Live),
}

impl Source {
    /// Whether packets come as they are sent, and do not wait: what is too slow loses some.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }
}

/// `-r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFile {
    /// Its name; `-` for standard input.
    pub path: PathBuf,
}

impl Command {
    /// What a command line asks for. Names in the expression are looked up in `names`.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn new(cli: Cli, names: &mut dyn Names) -> Result<Self, ConfigError> {
        if cli.list_interfaces {
            return Ok(Self::ListInterfaces(namespaces(cli.netns, cli.container)));
        }
        if cli.cleanup {
            return Ok(Self::CleanUp(namespaces(cli.netns, cli.container)));
        }
        let (hook, direction) = (Hook::from(cli.hook), DirectionFilter::from(cli.direction));
        if cli.read.is_none() && hook.is_xdp() && direction == DirectionFilter::Out {
            return Err(ConfigError::OutgoingAtXdp);
        }
        let mut interfaces = Interfaces::new(cli.interfaces.clone())?;
        // No interface of another namespace is the one that is meant as a rule.
        if interfaces == Interfaces::Default && !(cli.netns.is_empty() && cli.container.is_empty()) {
            interfaces = Interfaces::Any;
        }
        if cli.read.is_none() && hook.is_xdp() && interfaces == Interfaces::Any {
            return Err(ConfigError::AnyAtXdp(hook));
        }
        let filter = filter(&cli, names)?;
        if cli.check && !cli.ports.is_empty() {
            return Err(ConfigError::CheckOfPorts);
        }
        let form = match (cli.dump, cli.ebpf) {
            (0, false) => None,
            (0, true) => return Err(ConfigError::EbpfOfNothing),
            (_, true) if cli.read.is_some() => return Err(ConfigError::EbpfOfFile),
            (_, true) => Some(Form::Ebpf),
            (1, false) => Some(Form::Classic),
            (2, false) => Some(Form::C),
            (_, false) => Some(Form::Numbers),
        };
        if cli.resolve && cli.numeric > 0 {
            return Err(ConfigError::NumbersAndNames);
        }
        if cli.headers && cli.read.is_some() {
            return Err(ConfigError::HeadersOfFile);
        }
        if cli.count_only && cli.read.is_none() {
            return Err(ConfigError::LiveCount);
        }
        let mut text = text_options(&cli)?;
        let outputs = Outputs::new(&cli)?;
        let enough = outputs.file().and_then(|file| file.rules.autostop.packets);
        let line_buffered = outputs::is_line_buffered(&cli);
        let count = count(cli.count)?;
        let snaplen = snaplen(cli.snaplen, cli.headers, &text, &outputs)?;
        let live = Live {
            interfaces,
            namespaces: namespaces(cli.netns, cli.container),
            wait: cli.wait,
            link_type: cli.link_type.map(link_type).transpose()?,
            hook,
            direction,
            promiscuous: !cli.no_promiscuous_mode,
            snaplen,
            buffer_size: buffer_size(cli.buffer_size, snaplen)?,
            log_level: cli.log_level.into(),
        };
        let file = cli.read.map(|path| Source::File(CaptureFile { path }));
        let source = file.unwrap_or(Source::Live(live));
        text.headers_only = matches!(source, Source::Live(Live { snaplen: 0, .. }));
        let config = Box::new(Config {
            source,
            filter,
            count,
            enough,
            count_only: cli.count_only,
            text,
            resolve: cli.resolve,
            no_domain: cli.no_domain,
            explain: cli.explain,
            line_buffered,
            outputs,
            sandbox: SandboxOptions {
                is_wanted: !cli.no_sandbox,
                user: cli.user,
                is_reported: cli.log_level != LogLevelChoice::Off,
            },
        });
        Ok(match form {
            _ if cli.check => Self::Check(config),
            Some(form) => Self::Dump(config, form),
            None => Self::Print(config),
        })
    }
}

/// A link type by the name that tcpdump has for it (libpcap, `pcap_datalink_name_to_val`).
fn link_type(name: String) -> Result<LinkType, ConfigError> {
    let is_it = |link_type: &LinkType| {
        link_type.to_string().split(' ').next().is_some_and(|known| known.eq_ignore_ascii_case(&name))
    };
    LinkType::ALL.into_iter().find(is_it).ok_or(ConfigError::LinkType(name))
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

/// The ports and the expression, which may come in several words, in one, or from a file.
fn filter(cli: &Cli, names: &mut dyn Names) -> Result<Filter, ConfigError> {
    let text = match &cli.expression_file {
        Some(path) => expression_in(path)?,
        None => {
            let words: Vec<_> = cli.expression.iter().map(|word| word.to_string_lossy()).collect();
            words.join(" ")
        }
    };
    let filter = Filter::new(&cli.ports, text.clone(), names);
    filter.map_err(|error| ConfigError::Expression(error.render(&text)))
}

/// The expression in a file of `-F`, as tcpdump reads it: a line ends at a `#`, the text ends at a NUL.
fn expression_in(path: &Path) -> Result<String, ConfigError> {
    /// The longest file, in bytes.
    const LIMIT: u64 = 1 << 20;

    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes));
    let refused = |reason| ConfigError::ExpressionFile { file: path.display().to_string(), reason };
    read.map_err(|error| refused(error.to_string()))?;
    if bytes.len() as u64 > LIMIT {
        return Err(refused(format!("it is longer than {LIMIT} bytes")));
    }
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.split(|byte| *byte == b'#').next());
    let lines: Vec<_> = lines.flatten().map(String::from_utf8_lossy).collect();
    Ok(lines.join(" "))
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
        None if prints_more || outputs.have_whole_packets() => Ok(MAX_SNAPLEN),
        None => Ok(0),
    }
}

fn buffer_size(asked: Option<String>, snaplen: u32) -> Result<usize, ConfigError> {
    let default = if snaplen == 0 { DEFAULT_BUFFER_SIZE } else { DEFAULT_BUFFER_SIZE_WITH_PAYLOAD };
    let size: u64 = number(asked, ConfigError::BufferSize)?.unwrap_or(default);
    let in_range = Some(size).filter(|size| (1..=MAX_BUFFER_SIZE).contains(size));
    let bytes = in_range.and_then(|size| usize::try_from(size * 1024).ok());
    bytes.ok_or_else(|| ConfigError::BufferSize(size.to_string()))
}

#[cfg(test)]
mod tests;
