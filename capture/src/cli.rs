//! The command line: names and meanings are tcpdump's wherever tcpdump has them. Nothing is validated here beyond
//! what clap does by itself; that is [`config`](crate::config)'s.

mod choices;
mod files;
mod formats;

use std::{error::Error as _, ffi::OsString, path::PathBuf};

use capture_packet::Precision;
use clap::{
    ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser,
    builder::{OsStringValueParser, TypedValueParser as _},
    error::{ContextKind, ContextValue, ErrorKind},
};

use self::formats::OUTPUTS;
pub use self::{
    choices::{DirectionChoice, HookChoice, LogLevelChoice},
    files::FileArguments,
    formats::ByName,
};
use crate::{output::format::Format, ports::PortList};

/// The headings of the help.
const CAPTURE: &str = "What to capture";
const FILTERS: &str = "What a filter means";
const LINES: &str = "How packets are printed";

/// Prints the TCP packets on an interface as tcpdump does, traced by eBPF.
///
/// Exit status: 0 after a complete capture, 1 when something failed, 2 for a wrong command line.
///
/// An option given again replaces the earlier one, except -i, --port, --ring-buffer and --autostop. Long options may be abbreviated.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    disable_version_flag = true,
    max_term_width = 100,
    after_help = EXAMPLES,
    args_override_self = true,
    infer_long_args = true
)]
pub struct Cli {
    /// Interface to capture on, by name (an alternative one, or an address's label, also) or by its number in -D;
    /// repeatable; any for all that are up, also those that come later. Without it, the first that is up, has a carrier
    /// and is not loopback, or else any
    #[arg(help_heading = CAPTURE, short = 'i', long = "interface", visible_alias = "iface", value_name = "INTERFACE")]
    pub interfaces: Vec<OsString>,

    /// Capture inside another network namespace, instead of this one: by its name in `ip netns`, by its path, or by a process
    /// in it; repeatable. 1 is that of the machine itself, as a rule. Without -i, all interfaces in it
    #[arg(help_heading = CAPTURE, long, value_name = "NAME|PATH|PID")]
    pub netns: Vec<OsString>,

    /// The same of a container, by its id as docker, podman and crictl show it; repeatable
    #[arg(help_heading = CAPTURE, long, value_name = "ID")]
    pub container: Vec<OsString>,

    /// Remove the filters that killed captures left on interfaces, and exit; only needed below Linux 6.6. With --netns or
    /// --container, inside other network namespaces instead of this one
    #[arg(help_heading = CAPTURE, long)]
    pub cleanup: bool,

    /// Wait for the interface if it is not there or down, and again whenever it disappears
    #[arg(help_heading = CAPTURE, long)]
    pub wait: bool,

    /// Link type of the packets: LINUX_SLL2, which has a place for the interface, also where there is one only, and in
    /// pcapng files
    #[arg(help_heading = CAPTURE, short = 'y', long = "linktype", value_name = "TYPE")]
    pub link_type: Option<String>,

    /// Select packets from or to these ports: 8888, 80,443 or 8000-8100; repeatable. With an expression, packets that
    /// match both
    #[arg(help_heading = CAPTURE, long = "port", value_name = "PORTS")]
    pub ports: Vec<PortList>,

    /// Where in the kernel to attach
    #[arg(help_heading = CAPTURE, long, value_enum, default_value_t, value_name = "HOOK")]
    pub hook: HookChoice,

    /// Capture only packets that come in, go out, or both (the default)
    #[arg(
        help_heading = CAPTURE,
        short = 'Q',
        long = "direction",
        value_enum,
        ignore_case = true,
        default_value_t,
        value_name = "DIRECTION"
    )]
    pub direction: DirectionChoice,

    /// Read packets from a file (pcap or pcapng; - for standard input) instead of an interface; -i, -Q, -B and
    /// --hook then have no effect
    #[arg(help_heading = CAPTURE, short = 'r', value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub read: Option<PathBuf>,

    /// Read the expression from a file instead of the command line
    #[arg(help_heading = CAPTURE, short = 'F', value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub expression_file: Option<PathBuf>,

    /// Say in plain words what the expression selects, for -i and --hook or -r if they are given, and exit
    #[arg(help_heading = FILTERS, long)]
    pub check: bool,

    /// Print the filter as classic BPF, as tcpdump does, and exit: -d to read, -dd as C, -ddd as numbers
    #[arg(help_heading = FILTERS, short = 'd', action = ArgAction::Count)]
    pub dump: u8,

    /// With -d, print the eBPF instructions that go in front of the programs in the kernel
    #[arg(help_heading = FILTERS, long)]
    pub ebpf: bool,

    /// Exit after printing this many packets
    #[arg(help_heading = CAPTURE, short = 'c', value_name = "COUNT")]
    pub count: Option<String>,

    /// Print only how many packets of a file (-r) are selected
    #[arg(help_heading = LINES, long = "count")]
    pub count_only: bool,

    /// List the interfaces and exit
    #[arg(short = 'D', long = "list-interfaces")]
    pub list_interfaces: bool,

    /// Size of the kernel's buffer for all CPUs together, in KiB
    #[arg(help_heading = CAPTURE, short = 'B', long = "buffer-size", value_name = "KIB")]
    pub buffer_size: Option<String>,

    /// Capture this many bytes of each packet; without it, as many as the other options need
    #[arg(
        help_heading = CAPTURE,
        short = 's',
        long = "snapshot-length",
        visible_alias = "snaplen",
        value_name = "BYTES",
        overrides_with = "headers"
    )]
    pub snaplen: Option<String>,

    /// Write out each line as it is printed; the default on a terminal
    #[arg(help_heading = OUTPUTS, short = 'l')]
    pub line_buffered: bool,

    /// Write packets to a file instead of printing them (- for standard output): whole ones, unless -s or --headers
    /// says otherwise
    #[arg(help_heading = OUTPUTS, short = 'w', value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub write: Option<PathBuf>,

    /// The format of the file: pcap, or pcapng, which also has the interface, the direction and the losses; pcapng where
    /// its name ends so
    #[arg(help_heading = OUTPUTS, long, value_parser = formats::of_file(), value_name = "FORMAT")]
    pub format: Option<&'static Format>,

    /// Capture the headers alone, also for -w
    #[arg(help_heading = CAPTURE, long, overrides_with = "snaplen")]
    pub headers: bool,

    /// Print packets, also where they are written to a file or as JSON
    #[arg(help_heading = OUTPUTS, long = "print")]
    pub print: bool,

    /// Write each packet to the file of -w as it comes; without -w, as -l
    #[arg(help_heading = OUTPUTS, short = 'U', long = "packet-buffered")]
    pub packet_buffered: bool,

    /// Where else packets go.
    #[command(flatten)]
    pub by_name: ByName,

    /// When files end.
    #[command(flatten)]
    pub files: FileArguments,

    /// Number the packets
    #[arg(help_heading = LINES, short = '#', long = "number")]
    pub number: bool,

    /// Time stamps: -t none, -tt seconds since the epoch, -ttt since the previous line, -tttt with the date, -ttttt
    /// since the first line
    #[arg(help_heading = LINES, short = 't', action = ArgAction::Count)]
    pub time: u8,

    /// Time stamps to the microsecond (the default)
    #[arg(help_heading = LINES, long, overrides_with_all = ["nano", "precision"])]
    pub micro: bool,

    /// Time stamps to the nanosecond
    #[arg(help_heading = LINES, long, overrides_with_all = ["micro", "precision"])]
    pub nano: bool,

    /// Time stamp precision: micro or nano
    #[arg(
        help_heading = LINES,
        long = "time-stamp-precision",
        value_parser = precision,
        hide = true,
        overrides_with_all = ["micro", "nano"]
    )]
    pub precision: Option<Precision>,

    /// Print absolute sequence numbers
    #[arg(help_heading = LINES, short = 'S', long = "absolute-tcp-sequence-numbers")]
    pub absolute_sequence: bool,

    /// Shorter lines: no flags, sequence numbers or options; -qq also omits addresses and protocol of later fragments
    #[arg(help_heading = LINES, short = 'q', action = ArgAction::Count)]
    pub quiet: u8,

    /// Longer lines: the IP header and checksums; -vv and -vvv as in tcpdump
    #[arg(help_heading = LINES, short = 'v', action = ArgAction::Count)]
    pub verbosity: u8,

    /// Say what happens to each connection, in comment lines that begin with "// " (docs/explain.md)
    #[arg(help_heading = LINES, long)]
    pub explain: bool,

    /// Print the link header
    #[arg(help_heading = LINES, short = 'e')]
    pub link_header: bool,

    /// Do not verify checksums
    #[arg(help_heading = LINES, short = 'K', long = "dont-verify-checksums")]
    pub skip_checksums: bool,

    /// Dump each packet in hex; -xx with its link header
    #[arg(help_heading = LINES, short = 'x', action = ArgAction::Count)]
    pub hex: u8,

    /// Dump each packet in hex and ASCII; -XX with its link header
    #[arg(help_heading = LINES, short = 'X', action = ArgAction::Count)]
    pub hex_ascii: u8,

    /// Dump each packet in ASCII; -AA with its link header
    #[arg(help_heading = LINES, short = 'A', action = ArgAction::Count)]
    pub ascii: u8,

    /// Print addresses and ports as numbers (the default)
    #[arg(help_heading = LINES, short = 'n', action = ArgAction::Count)]
    pub numeric: u8,

    /// Print names of hosts and services instead of numbers; this asks name servers and takes time
    #[arg(help_heading = LINES, long)]
    pub resolve: bool,

    /// With --resolve, print names of hosts without their domain
    #[arg(help_heading = LINES, short = 'N')]
    pub no_domain: bool,

    /// Do not put the interface into promiscuous mode, in which it also takes packets that are for others
    #[arg(help_heading = CAPTURE, short = 'p', long = "no-promiscuous-mode")]
    pub no_promiscuous_mode: bool,

    /// Deliver packets as they come (always the case)
    #[arg(long)]
    pub immediate_mode: bool,

    /// What the programs in the kernel report on standard error, and from info on, what the sandbox consists of and, at the end,
    /// what was counted at each hook
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub log_level: LogLevelChoice,

    /// Print the version
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,

    #[command(flatten)]
    _without_meaning: WithoutMeaning,

    /// Read packets without a sandbox, with all that the user may do (docs/security.md)
    #[arg(help_heading = CAPTURE, long)]
    pub no_sandbox: bool,

    /// The user that root becomes before it reads packets; `nobody` without it
    #[arg(help_heading = CAPTURE, short = 'Z', long = "relinquish-privileges", value_name = "USER")]
    pub user: Option<String>,

    /// Which packets: the language of pcap-filter(7), such as `host 10.0.0.1 and tcp port 443`. Only TCP is captured
    #[arg(value_name = "EXPRESSION")]
    pub expression: Vec<OsString>,
}

/// As tcpdump has it, only the first letters count (tcpdump.c, `tstamp_precision_from_string`).
fn precision(text: &str) -> Result<Precision, String> {
    match text {
        _ if text.starts_with("micro") => Ok(Precision::Micro),
        _ if text.starts_with("nano") => Ok(Precision::Nano),
        _ => Err(format!("`{text}` is not a precision: give micro or nano")),
    }
}

/// What tcpdump does with these, capture does anyway, or has nothing to do it with. Scripts pass them.
#[derive(Args, Clone, Debug)]
struct WithoutMeaning {
    /// tcpdump itself ignores it.
    #[arg(short = 'a', hide = true)]
    _a: bool,
    /// BGP's AS numbers with a dot.
    #[arg(short = 'b', hide = true)]
    _b: bool,
    /// Mesh headers of 802.11s.
    #[arg(short = 'H', hide = true)]
    _mesh: bool,
    /// NFS handles undecoded.
    #[arg(short = 'u', hide = true)]
    _undecoded: bool,
    /// The filter as it stands: there is no optimizer.
    #[arg(short = 'O', long = "no-optimize", hide = true)]
    _no_optimize: bool,
}

impl Cli {
    /// Takes a command line apart.
    ///
    /// As for getopt(3), the value of an option is what follows it, whatever it begins with: `-r -x` reads the file
    /// `-x`. An expression that begins with a hyphen stands after `--`.
    ///
    /// # Errors
    ///
    /// Also `--help` and `--version` come as an error, as clap has it.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let command = Self::command().mut_args(|argument| {
            let is_option = !argument.is_positional() && argument.get_action().takes_values();
            argument.allow_hyphen_values(is_option)
        });
        let matches = command.try_get_matches_from(arguments);
        matches.and_then(|matches| Self::from_arg_matches(&matches)).map_err(in_one_sentence)
    }
}

/// What is wrong with a command line, in one sentence.
fn in_one_sentence(error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let option = text(ContextKind::InvalidArg);
    let value = text(ContextKind::InvalidValue).filter(|value| !value.is_empty());
    let values = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) => alternatives(values),
        _ => String::new(),
    };
    let sentence = match (error.kind(), option) {
        (ErrorKind::UnknownArgument, Some(flag)) => no_such(flag, text(ContextKind::SuggestedArg)),
        (ErrorKind::InvalidValue, Some(option)) => match value {
            Some(value) => format!("invalid value {value}: {option} takes {values}"),
            None if values.is_empty() => format!("a value is missing: {option}"),
            None => format!("a value is missing: {option} takes {values}"),
        },
        (ErrorKind::ValueValidation, Some(option)) => match error.source() {
            Some(source) => format!("invalid value for {option}: {source}"),
            None => return error,
        },
        (ErrorKind::TooManyValues, Some(option)) => format!("{option} takes no value"),
        (ErrorKind::InvalidUtf8, _) => "a number or a name on the command line is not UTF-8".to_owned(),
        _ => return error,
    };
    clap::Error::raw(error.kind(), format!("{sentence}\n"))
}

/// `a`, `a or b`, `a, b or c`.
fn alternatives(values: &[String]) -> String {
    match values {
        [first @ .., before, last] => {
            first.iter().map(|value| format!("{value}, ")).collect::<String>() + before + " or " + last
        }
        values => values.concat(),
    }
}

/// What capture says about an option that it does not have. Most often it is one of tcpdump's.
fn no_such(flag: &str, similar: Option<&str>) -> String {
    let hint = match (flag, similar) {
        (_, Some(similar)) => format!("; did you mean {similar}?"),
        (_, None) => " (see capture --help)".to_owned(),
    };
    format!("no such option: {flag}{hint}")
}

const EXAMPLES: &str = "\
Examples:
  capture -n -i lo tcp port 8888            what `tcpdump -n -i lo tcp port 8888` prints
  capture -i eth0 host 10.0.0.1 and not port 22
  capture -i eth0 --port 443 -w packets.pcapng
  capture -r packets.pcap --port 8888

Signals to a live capture:
  SIGINT, SIGTERM, SIGHUP ..   print what has matched and the summary, and end
  Ctrl-C again, or a signal two seconds later   end at once
  SIGUSR1                      print the numbers so far
  SIGUSR2                      write out what is buffered";
