//! From the command line to what is to be done: the validated form of [`Cli`].

mod files;

use std::{
    ffi::OsString,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use capture_common::record::MAX_SNAPLEN;
use capture_filter::names::Names;
use capture_packet::{LinkType, Precision};
use capture_text::options::{Dump, TextOptions, TimestampStyle};

use self::files::Target;
pub use self::files::{FileRules, FilesConfigError};
use crate::{
    cli::{Cli, FileFormat, LogLevelChoice},
    filter::Filter,
    kernel::{DirectionFilter, Hook, LogLevel, NamespaceArgument},
    sandbox::SandboxOptions,
};

/// Memory for the rings where `-B` does not say, in KiB.
const DEFAULT_BUFFER_SIZE: u64 = 32 * 1024;
/// The same where payload is captured: what a full-size packet takes is 15 times what its headers take.
const DEFAULT_BUFFER_SIZE_WITH_PAYLOAD: u64 = 64 * 1024;
/// The largest `-B`, in KiB: a ring's size is a 32-bit number and its mapping twice that.
const MAX_BUFFER_SIZE: u64 = 1024 * 1024;

/// What `-i` calls all interfaces together.
const ANY: &str = "any";

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

    /// Whether one of them has a place for the interfaces.
    pub fn name_interfaces(&self) -> bool {
        self.have_exact_times()
    }

    /// Whether one of them always has the times that the source means, to the nanosecond: then they are read, and the others
    /// cut them off themselves.
    pub fn have_exact_times(&self) -> bool {
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

impl PacketFile {
    /// Whether its format is pcapng.
    pub fn is_pcapng(&self) -> bool {
        self.format == FileFormat::Pcapng
    }
}

/// Where packets come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file; `-` for standard input.
    File(PathBuf),
    /// An interface.
    Live(Live),
}

/// The interfaces of a live capture, as they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// None was named.
    Default,
    /// One, by what it is called.
    One(OsString),
    /// Several.
    Several(Vec<OsString>),
    /// All that are up.
    Any,
}

impl Interfaces {
    fn new(names: Vec<OsString>) -> Result<Self, ConfigError> {
        match <[OsString; 1]>::try_from(names) {
            Ok([name]) if name != ANY => Ok(Self::One(name)),
            Ok(_) => Ok(Self::Any),
            Err(names) if names.is_empty() => Ok(Self::Default),
            Err(names) if names.iter().all(|name| name == ANY) => Ok(Self::Any),
            Err(names) if names.iter().any(|name| name == ANY) => Err(ConfigError::AnyAndOthers),
            Err(names) => Ok(Self::Several(names)),
        }
    }
}

/// A network namespace, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// By a name, a path or a process.
    Called(NamespaceArgument),
    /// By the id of a container.
    OfContainer(NamespaceArgument),
}

/// What a live capture needs to know.
#[derive(Clone, Debug)]
pub struct Live {
    /// Which interfaces.
    pub interfaces: Interfaces,
    /// The network namespaces that they are in; none for the own one.
    pub namespaces: Vec<Namespace>,
    /// Whether to wait for those that are not there.
    pub wait: bool,
    /// `-y`: what the packets are to begin with.
    pub link_type: Option<LinkType>,
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
    NoName(&'static str),
    /// `--headers` with `-r`.
    #[error(
        "--headers is what a live capture takes of each packet, and -r has what is in the file: leave it out"
    )]
    HeadersOfFile,
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
        let outputs = outputs(&cli)?;
        let enough = outputs.write.as_ref().and_then(|file| file.rules.autostop.packets);
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
        let source = cli.read.map_or(Source::Live(live), Source::File);
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
            line_buffered: cli.line_buffered || cli.packet_buffered && outputs.write.is_none(),
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

fn namespaces(called: Vec<OsString>, of_containers: Vec<OsString>) -> Vec<Namespace> {
    let called = called.into_iter().map(NamespaceArgument::of_name).map(Namespace::Called);
    let of_containers = of_containers.into_iter().map(NamespaceArgument::of_container);
    let mut all: Vec<Namespace> = called.chain(of_containers.map(Namespace::OfContainer)).collect();
    NamespaceArgument::tell_apart(all.iter_mut().map(|namespace| match namespace {
        Namespace::Called(argument) | Namespace::OfContainer(argument) => argument,
    }));
    all
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
    for (option, path) in [("-w", &cli.write), ("--json", &cli.json)] {
        if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(ConfigError::NoName(option));
        }
    }
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

fn buffer_size(asked: Option<String>, snaplen: u32) -> Result<usize, ConfigError> {
    let default = if snaplen == 0 { DEFAULT_BUFFER_SIZE } else { DEFAULT_BUFFER_SIZE_WITH_PAYLOAD };
    let size: u64 = number(asked, ConfigError::BufferSize)?.unwrap_or(default);
    let in_range = Some(size).filter(|size| (1..=MAX_BUFFER_SIZE).contains(size));
    let bytes = in_range.and_then(|size| usize::try_from(size * 1024).ok());
    bytes.ok_or_else(|| ConfigError::BufferSize(size.to_string()))
}

#[cfg(test)]
mod tests;
