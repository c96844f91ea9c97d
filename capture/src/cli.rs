//! The command line: names and meanings are tcpdump's wherever tcpdump has them. Nothing is validated here beyond
//! what clap does by itself; that is [`config`](crate::config)'s.

use clap::{ArgAction, Parser};

use crate::{
    kernel::{Hook, LogLevel},
    ports::PortList,
};

/// Prints the TCP packets on an interface as tcpdump does, traced by eBPF.
///
/// Exit status: 0 after a complete capture, 1 when something failed, 2 for a wrong command line.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// Interface to capture on (see -D); without it, the first that is up and not loopback
    #[arg(short = 'i', long = "interface", visible_alias = "iface", value_name = "INTERFACE")]
    pub interface: Option<String>,

    /// Select packets from or to these ports: 8888, 80,443 or 8000-8100; repeatable. Without it, every TCP packet
    #[arg(long = "port", value_name = "PORTS")]
    pub ports: Vec<PortList>,

    /// Where in the kernel to attach
    #[arg(long, value_enum, default_value_t, value_name = "HOOK")]
    pub hook: Hook,

    /// Read packets from a file (pcap or pcapng; - for standard input) instead of an interface
    #[arg(short = 'r', value_name = "FILE", conflicts_with_all = ["interface", "hook", "buffer_size", "list_interfaces"])]
    pub read: Option<String>,

    /// Exit after printing this many packets
    #[arg(short = 'c', value_name = "COUNT")]
    pub count: Option<u64>,

    /// List the interfaces and exit
    #[arg(short = 'D', long = "list-interfaces")]
    pub list_interfaces: bool,

    /// Size of the kernel's buffer for all CPUs together, in KiB
    #[arg(short = 'B', long = "buffer-size", value_name = "KIB")]
    pub buffer_size: Option<u64>,

    /// Capture this many bytes of each packet; without it, what the other options need
    #[arg(short = 's', long = "snapshot-length", visible_alias = "snaplen", value_name = "BYTES")]
    pub snaplen: Option<u32>,

    /// Write out each line as it is printed; the default on a terminal
    #[arg(short = 'l')]
    pub line_buffered: bool,

    /// Number the packets
    #[arg(short = '#', long = "number")]
    pub number: bool,

    /// Time stamps: -t none, -tt seconds since the epoch, -ttt since the line before, -tttt with the date, -ttttt
    /// since the first line
    #[arg(short = 't', action = ArgAction::Count)]
    pub time: u8,

    /// Time stamps to the microsecond (the default)
    #[arg(long, conflicts_with = "nano")]
    pub micro: bool,

    /// Time stamps to the nanosecond
    #[arg(long)]
    pub nano: bool,

    /// Absolute sequence numbers
    #[arg(short = 'S', long = "absolute-tcp-sequence-numbers")]
    pub absolute_sequence: bool,

    /// Less: no flags, numbers and options
    #[arg(short = 'q')]
    pub quiet: bool,

    /// More: the IP header, checksums; -vv and -vvv as in tcpdump
    #[arg(short = 'v', action = ArgAction::Count)]
    pub verbosity: u8,

    /// Tell what happens to each connection, in comment lines that begin with "// " (docs/explain.md)
    #[arg(long)]
    pub explain: bool,

    /// Print the link header
    #[arg(short = 'e')]
    pub link_header: bool,

    /// Do not verify checksums
    #[arg(short = 'K', long = "dont-verify-checksums")]
    pub skip_checksums: bool,

    /// Dump each packet in hex; -xx with its link header
    #[arg(short = 'x', action = ArgAction::Count)]
    pub hex: u8,

    /// Dump each packet in hex and ASCII; -XX with its link header
    #[arg(short = 'X', action = ArgAction::Count)]
    pub hex_ascii: u8,

    /// Dump each packet in ASCII; -AA with its link header
    #[arg(short = 'A', action = ArgAction::Count)]
    pub ascii: u8,

    /// Numeric addresses and ports (the default)
    #[arg(short = 'n', action = ArgAction::Count)]
    pub numeric: u8,

    /// Names of hosts and services instead of numbers; it asks name servers and costs time
    #[arg(long, conflicts_with = "numeric")]
    pub resolve: bool,

    /// Do not put the interface into promiscuous mode (never done)
    #[arg(short = 'p', long = "no-promiscuous-mode")]
    pub no_promiscuous_mode: bool,

    /// Deliver packets as they come (always the case)
    #[arg(long)]
    pub immediate_mode: bool,

    /// What the programs in the kernel report on standard error
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub log_level: LogLevel,

    /// A tcpdump filter expression is not understood; --port selects
    #[arg(value_name = "EXPRESSION", hide = true)]
    pub expression: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  capture -i lo --port 8888                 what `tcpdump -n -i lo tcp port 8888` prints
  capture -i eth0 --port 80,443 -l | grep 'Flags \\[R'
  capture -i eth0 --port 8000-8100 -c 1000 > packets.txt
  capture -r packets.pcap --port 8888

SIGINT and SIGTERM end a capture with tcpdump's summary on standard error, SIGUSR1 prints it on the way.";
