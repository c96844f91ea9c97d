//! What can be measured.

use anyhow::Result;

use super::{
    Bench, FEWER_ROUNDS,
    flood::{self, Generator, Plan},
    live_frames::Destination,
    process::Output,
    quiet, rates, read,
    results::Table,
    streams,
    tools::Tool,
    unmatched,
};
use crate::frames::PORT;

/// Flows, where their number is not the point.
const FLOWS: u32 = 8;
/// As many as the table of conversations has to hold.
const MANY_FLOWS: u32 = 1_000_000;
/// Packets per second at which no listener should lose any.
const PACE: u64 = 250_000;
/// Packets of the profiles that no budget depends on, and in which programs lose packets: their buffers are full long
/// before so many.
const FEWER_PACKETS: u64 = 1_000_000;

/// A profile.
pub(super) struct Profile {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    kind: Kind,
}

enum Kind {
    /// Text where, and with which arguments besides.
    Text(Output<'static>, &'static str),
    /// A file of packets instead of text, with so many bytes of data in each packet, by this capture.
    Write(usize, Tool),
    /// Text to a file, and a file of packets.
    Both,
    Flows,
    Senders,
    Paced,
    Rates,
    Hooks,
    Live,
    LiveNative,
    Unmatched,
    Silence,
    Latency,
    RoundTrips,
    Bulk,
    Read(u32),
}

const fn profile(name: &'static str, about: &'static str, kind: Kind) -> Profile {
    Profile { name, about, kind }
}

/// All of them, in the order in which they are run.
pub(super) const PROFILES: [Profile; 21] = [
    profile("null", "full speed, text to /dev/null", Kind::Text(Output::Null, "")),
    profile("file", "full speed, text to a file", Kind::Text(Output::File, "")),
    profile("pipe", "full speed, text through a pipe with -l", Kind::Text(Output::Pipe, "-l")),
    profile("write-66", "full speed, written to a file as pcap", Kind::Write(0, Tool::CAPTURE)),
    profile(
        "write-1514",
        "full speed, whole packets written to a file as pcap",
        Kind::Write(1448, Tool::CAPTURE),
    ),
    profile(
        "write-headers",
        "full speed, headers written to a file as pcapng",
        Kind::Write(1448, Tool::PCAPNG_HEADERS),
    ),
    profile("write-and-print", "full speed, written to a file as pcap, and text to another file", Kind::Both),
    profile("flows-1m", "full speed, 1 000 000 flows", Kind::Flows),
    profile("senders", "full speed, two sending CPUs", Kind::Senders),
    profile("paced", "at a rate at which no listener loses a packet", Kind::Paced),
    profile("rates", "up to which rate no packet is lost", Kind::Rates),
    profile("hooks", "full speed, each hook", Kind::Hooks),
    profile("live", "live XDP frames up the stack: faster than a socket can send", Kind::Live),
    profile("live-xdp", "live XDP frames through a driver's XDP hook", Kind::LiveNative),
    profile("unmatched", "packets that are not selected", Kind::Unmatched),
    profile("silence", "wake-ups without packets", Kind::Silence),
    profile("latency", "from packet to line on a quiet wire", Kind::Latency),
    profile("round-trips", "latency of TCP requests on loopback", Kind::RoundTrips),
    profile("bulk", "throughput of TCP on loopback", Kind::Bulk),
    profile("read", "a file of 8 flows", Kind::Read(read::FEW)),
    profile("read-flows", "a file of 1 000 000 flows", Kind::Read(MANY_FLOWS)),
];

impl Profile {
    /// Measures.
    pub(super) fn run(&self, bench: &Bench) -> Result<Table> {
        let Self { name, about, ref kind } = *self;
        let compared = vec![Tool::NONE, Tool::UNSET, Tool::TCPDUMP, Tool::CAPTURE];
        let and = |tool: Tool| [compared.as_slice(), &[tool]].concat();
        let raw = Generator::Raw { flows: FLOWS, port: PORT, senders: 1, data: 0, rate: None };
        let fewer = bench.packets.min(FEWER_PACKETS);
        let fewer_rounds = bench.rounds.min(FEWER_ROUNDS);
        let plan = Plan {
            tools: compared.clone(),
            output: Output::Null,
            arguments: "",
            writes: false,
            writes_too: false,
            generator: raw,
            packets: bench.packets,
            rounds: bench.rounds,
        };
        let plan = match *kind {
            // The lossless tcpdump is what the sender's cost is compared with.
            Kind::Text(Output::Null, _) => {
                let tools = vec![Tool::NONE, Tool::UNSET, Tool::TCPDUMP, Tool::LOSSLESS, Tool::CAPTURE];
                Plan { tools, ..plan }
            }
            Kind::Text(Output::Pipe, arguments) => {
                Plan { output: Output::Pipe, arguments, packets: fewer, rounds: fewer_rounds, ..plan }
            }
            Kind::Text(output, arguments) => Plan { output, arguments, ..plan },
            Kind::Write(data, capture) => {
                let tools = vec![Tool::NONE, Tool::TCPDUMP, Tool::LARGE_BUFFER, capture];
                let generator = Generator::Raw { flows: FLOWS, port: PORT, senders: 1, data, rate: None };
                Plan { tools, writes: true, generator, rounds: fewer_rounds, ..plan }
            }
            Kind::Both => {
                let tools = vec![Tool::NONE, Tool::TCPDUMP, Tool::LARGE_BUFFER, Tool::CAPTURE];
                Plan { tools, output: Output::File, writes_too: true, rounds: fewer_rounds, ..plan }
            }
            Kind::Flows => {
                let flows = bench.flows(MANY_FLOWS);
                let generator = Generator::Raw { flows, port: PORT, senders: 1, data: 0, rate: None };
                Plan { generator, packets: fewer, rounds: fewer_rounds, ..plan }
            }
            Kind::Senders => {
                let generator = Generator::Raw { flows: FLOWS, port: PORT, senders: 2, data: 0, rate: None };
                Plan { generator, rounds: fewer_rounds, ..plan }
            }
            Kind::Paced => {
                let generator =
                    Generator::Raw { flows: FLOWS, port: PORT, senders: 1, data: 0, rate: Some(PACE) };
                Plan { generator, packets: bench.packets.min(2 * PACE), ..plan }
            }
            Kind::Hooks => Plan {
                tools: [and(Tool::NATIVE).as_slice(), &[Tool::GENERIC]].concat(),
                packets: fewer,
                rounds: fewer_rounds,
                ..plan
            },
            Kind::Live => {
                let generator = Generator::Live(Destination::Loopback, None);
                Plan { tools: and(Tool::GENERIC), generator, rounds: fewer_rounds, ..plan }
            }
            Kind::LiveNative => {
                let generator = Generator::Live(Destination::Wire, None);
                Plan { tools: and(Tool::NATIVE), generator, rounds: fewer_rounds, ..plan }
            }
            Kind::Rates => return rates::run(bench, name),
            Kind::Unmatched => return unmatched::run(bench, name),
            Kind::Silence => return quiet::silence(bench, name),
            Kind::Latency => return quiet::latency(bench, name),
            Kind::RoundTrips => return streams::round_trips(bench, name),
            Kind::Bulk => return streams::bulk(bench, name),
            Kind::Read(flows) => return read::run(bench, name, bench.flows(flows)),
        };
        let plan = Plan { tools: bench.tools(plan.tools), ..plan };
        flood::run(
            bench,
            name,
            format!("{about}, {} packets of {} bytes", plan.packets, plan.generator.length()),
            &plan,
        )
    }
}
