//! Up to which rate a program loses nothing, and from which on it does.

use anyhow::Result;

use super::{
    Bench, FEWER_ROUNDS,
    flood::{self, Generator, Plan},
    live_frames::Destination,
    process::Output,
    results::{Quantity, Table},
    tools::Tool,
};

/// What the sender waits before each frame, in nanoseconds: to the next multiple of so many. What a frame costs comes
/// on top, and differs between the programs: the rates are measured.
const PERIODS: [u32; 7] = [2000, 1300, 900, 600, 400, 200, 1];

/// Packets per rate: with fewer, buffers would hide what a program cannot keep up with.
const MOST_PACKETS: u64 = 1_000_000;

/// Sends to each program at one rate after the other, until it loses packets.
pub(super) fn run(bench: &Bench, profile: &'static str) -> Result<Table> {
    let tools = [Tool::UNSET, Tool::TCPDUMP, Tool::CAPTURE];
    let packets = bench.packets.min(MOST_PACKETS);
    let title =
        format!("live XDP frames, faster and faster until some are lost, {packets} packets at each rate");
    let mut table = Table::new(profile, title, tools.map(|tool| tool.name));
    let periods = if bench.quick { &PERIODS[..1] } else { &PERIODS[..] };
    for round in 0..bench.rounds.min(FEWER_ROUNDS) {
        for tool in tools {
            bench.progress(profile, round, tool);
            let (mut lossless, mut lossy) = (None, None);
            for &period in periods {
                let plan = Plan {
                    tools: vec![tool],
                    output: Output::Null,
                    arguments: "",
                    writes: false,
                    writes_too: false,
                    generator: Generator::Live(Destination::Loopback, Some(period)),
                    packets,
                    rounds: 1,
                };
                let run = flood::measure(bench, tool, &plan, None)?;
                let rate = run.rate() / 1e6;
                if run.lost() > 0.0 {
                    lossy = Some((rate, run.lost()));
                    break;
                }
                lossless = Some(lossless.map_or(rate, |highest: f64| highest.max(rate)));
            }
            if let Some(rate) = lossless {
                table.add(tool.name, Quantity::LosslessRate, rate);
            }
            if let Some((rate, lost)) = lossy {
                table.add(tool.name, Quantity::LossyRate, rate);
                table.add(tool.name, Quantity::LostThere, lost);
            }
        }
    }
    Ok(table)
}
