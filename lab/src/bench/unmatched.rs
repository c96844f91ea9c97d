//! What a packet pays that no listener selects.

use anyhow::{Context as _, Result, ensure};
use nix::net::if_::if_nametoindex;

use super::{
    Bench, FEWER_ROUNDS, cpu,
    live_frames::instruction,
    namespace::RECEIVER,
    process::{Output, Process},
    results::{Quantity, Table},
    sender::{self, Flood},
    tools::Tool,
};
use crate::{
    bpf::{self, Kind, Program},
    frames::OTHER_PORT,
};

/// The names of the programs that `capture` attaches.
const PROGRAMS: [&str; 3] = ["tc_ingress", "tc_egress", "xdp"];

/// The column of a TC program that does nothing, in the same place: what the statistics themselves take, and the call.
pub(super) const EMPTY: &str = "an empty program";

/// Packets per measurement, at most.
const MOST_PACKETS: u64 = 1_000_000;

/// Sends packets to another port: once for the sender's cost, and once more for the kernel's own measurement.
pub(super) fn run(bench: &Bench, profile: &'static str) -> Result<Table> {
    let tools = [
        Tool::NONE,
        Tool::UNSET,
        Tool::TCPDUMP,
        Tool::CAPTURE,
        Tool::MANY_PORTS,
        Tool::NATIVE,
        Tool::GENERIC,
    ];
    let packets = bench.packets.min(MOST_PACKETS);
    let title = format!("{packets} packets to a port that is not selected");
    let mut table = Table::new(profile, title, tools.map(|tool| tool.name).into_iter().chain([EMPTY]));
    let flood = Flood { packets, flows: 8, port: OTHER_PORT, senders: 1, data: 0, rate: None };
    for round in 0..bench.rounds.min(FEWER_ROUNDS) {
        let mut unwatched = 0.0;
        for tool in tools {
            bench.progress(profile, round, tool);
            let listener = if tool.listens() {
                let command = tool.listen(&bench.capture, RECEIVER, "");
                let listener =
                    Process::start(&bench.namespaces.receiver, bench.folder, &command, Output::Null)?;
                Some(listener)
            } else {
                None
            };
            let softirq_before = cpu::of_softirq_threads()?;
            let sent = sender::flood(&bench.namespaces.sender, flood)?;
            let softirq = cpu::of_softirq_threads()?.saturating_sub(softirq_before);
            let per_packet = (sent.cpu + softirq).as_nanos() as f64 / sent.packets as f64;
            table.add(tool.name, Quantity::SenderCpu, per_packet);
            let Some(listener) = listener else {
                unwatched = per_packet;
                continue;
            };
            table.add(tool.name, Quantity::SenderAdded, per_packet - unwatched);
            if tool.is_capture() {
                let programs = bpf::programs_of(&listener.all()?, &PROGRAMS)?;
                let _enabled = bpf::enable_statistics()?;
                let before = bpf::statistics(&programs)?;
                sender::flood(&bench.namespaces.sender, flood)?;
                let statistics = bpf::statistics(&programs)?.since(before);
                let per_run = statistics.per_run().context("the programs did not run")?;
                ensure!(statistics.runs >= sent.packets, "the programs ran only {} times", statistics.runs);
                table.add(tool.name, Quantity::ProgramTime, per_run);
            }
            let ended = listener.interrupt()?;
            ensure!(ended.captured == 0, "{} printed packets to another port", tool.name);
        }
        // r0 = TCX_NEXT; exit.
        let program = [instruction(0xb7, 0, 0, 0, -1), instruction(0x95, 0, 0, 0, 0)];
        let empty = Program::load(Kind::TcIngress, &program)?;
        let attached = bench.namespaces.receiver.run(move || {
            let link = empty.attach(if_nametoindex(RECEIVER)?)?;
            Ok((empty, link))
        });
        let (empty, _link) = match attached {
            Ok(attached) => attached,
            // Before Linux 6.6 there is no comparison.
            Err(error) if is_invalid(&error) => continue,
            Err(error) => return Err(error),
        };
        let _enabled = bpf::enable_statistics()?;
        sender::flood(&bench.namespaces.sender, flood)?;
        let per_run = empty.statistics()?.per_run().context("the empty program did not run")?;
        table.add(EMPTY, Quantity::ProgramTime, per_run);
    }
    Ok(table)
}

/// Whether the kernel does not know what it was asked for.
fn is_invalid(error: &anyhow::Error) -> bool {
    let number = error.root_cause().downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    number == Some(libc::EINVAL)
}
