//! What can be measured.

use anyhow::Result;

use super::{
    Bench,
    flood::{self, Generator, Plan},
    frames::PORT,
    live_frames::Destination,
    process::Output,
    quiet, read,
    results::Table,
    streams,
    tools::Tool,
    unmatched,
};

/// Flows, where their number is not the point.
const FLOWS: u32 = 8;
/// As many as the table of conversations has to hold.
const MANY_FLOWS: u32 = 1_000_000;
/// Packets per second at which no listener should lose any.
const PACE: u64 = 250_000;

/// A profile.
pub(super) struct Profile {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    kind: Kind,
}

enum Kind {
    /// Text where, and with which arguments besides.
    Text(Output, &'static str),
    Flows(u32),
    Senders(usize),
    Paced,
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
pub(super) const PROFILES: [Profile; 18] = [
    profile("null", "full speed, text to /dev/null", Kind::Text(Output::Null, "")),
    profile("file", "full speed, text to a file", Kind::Text(Output::File, "")),
    profile("pipe", "full speed, text through a pipe with -l", Kind::Text(Output::Pipe, "-l")),
    profile("flow", "full speed, one flow", Kind::Flows(1)),
    profile("flows-10k", "full speed, 10 000 flows", Kind::Flows(10_000)),
    profile("flows-1m", "full speed, 1 000 000 flows", Kind::Flows(MANY_FLOWS)),
    profile("senders", "full speed, two sending CPUs", Kind::Senders(2)),
    profile("paced", "at a rate at which nobody loses a packet", Kind::Paced),
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
        let compared = vec![Tool::NOBODY, Tool::TCPDUMP, Tool::TUNED, Tool::CAPTURE];
        let raw = Generator::Raw { flows: FLOWS, port: PORT, senders: 1, rate: None };
        let packets = bench.packets;
        let plan = Plan { tools: compared, output: Output::Null, arguments: "", generator: raw, packets };
        let plan = match *kind {
            // The lossless tcpdump is what the sender's cost is compared with.
            Kind::Text(Output::Null, _) => {
                let tools = vec![Tool::NOBODY, Tool::TCPDUMP, Tool::TUNED, Tool::LOSSLESS, Tool::CAPTURE];
                Plan { tools, ..plan }
            }
            Kind::Text(output, arguments) => Plan { output, arguments, ..plan },
            Kind::Flows(flows) => {
                let generator =
                    Generator::Raw { flows: bench.flows(flows), port: PORT, senders: 1, rate: None };
                Plan { generator, ..plan }
            }
            Kind::Senders(senders) => {
                Plan { generator: Generator::Raw { flows: FLOWS, port: PORT, senders, rate: None }, ..plan }
            }
            Kind::Paced => {
                let rate = Some(PACE);
                let packets = packets.min(4 * PACE);
                Plan {
                    generator: Generator::Raw { flows: FLOWS, port: PORT, senders: 1, rate },
                    packets,
                    ..plan
                }
            }
            Kind::Hooks => {
                let tools = vec![Tool::NOBODY, Tool::LOSSLESS, Tool::CAPTURE, Tool::NATIVE, Tool::GENERIC];
                Plan { tools, ..plan }
            }
            Kind::Live => {
                let tools = vec![Tool::NOBODY, Tool::TCPDUMP, Tool::TUNED, Tool::CAPTURE, Tool::GENERIC];
                Plan { tools, generator: Generator::Live(Destination::Loopback), ..plan }
            }
            Kind::LiveNative => {
                let tools = vec![Tool::NOBODY, Tool::TCPDUMP, Tool::TUNED, Tool::CAPTURE, Tool::NATIVE];
                Plan { tools, generator: Generator::Live(Destination::Wire), ..plan }
            }
            Kind::Unmatched => return unmatched::run(bench, name),
            Kind::Silence => return quiet::silence(bench, name),
            Kind::Latency => return quiet::latency(bench, name),
            Kind::RoundTrips => return streams::round_trips(bench, name),
            Kind::Bulk => return streams::bulk(bench, name),
            Kind::Read(flows) => return read::run(bench, name, bench.flows(flows)),
        };
        let plan = Plan { tools: bench.tools(plan.tools), ..plan };
        flood::run(bench, name, format!("{about}, {} packets of 66 bytes", plan.packets), &plan)
    }
}
