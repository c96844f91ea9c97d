//! As many packets as can be sent: how many each program delivers, and at what cost to the sender and to itself.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context as _, Result, ensure};
use test_support::namespace::Namespace;

use super::{
    Bench, cpu,
    cpu::Cpu,
    live_frames::{self, Destination},
    namespace::{RECEIVER, received},
    process::{Ended, Output, Process},
    results::{Quantity, Table},
    sender::{self, Flood, Sent},
    space::{self, Space},
    tools::Tool,
};
use crate::frames::LENGTH;

/// One profile.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) tools: Vec<Tool>,
    /// Where the lines go.
    pub(super) output: Output<'static>,
    /// More arguments, for all programs.
    pub(super) arguments: &'static str,
    /// Whether packets are written (`-w -`) to a file in memory instead of being printed.
    pub(super) writes: bool,
    /// Whether packets are written to a file in memory, and printed as well (`--print`).
    pub(super) writes_too: bool,
    pub(super) generator: Generator,
    /// Packets.
    pub(super) packets: u64,
    pub(super) rounds: u64,
}

/// What sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Generator {
    /// The raw sender: flows, port, senders, bytes of data in each packet, and the rate of each sender.
    Raw { flows: u32, port: u16, senders: usize, data: usize, rate: Option<u64> },
    /// The XDP sender: as fast as it can, or waiting for the next multiple of so many nanoseconds each time.
    Live(Destination, Option<u32>),
}

/// What one program did in one round.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// Packets that arrived where it listened.
    pub(super) offered: u64,
    pub(super) sent: Sent,
    /// CPU time of the sending side.
    pub(super) sender_cpu: f64,
    /// What it said in the end, and its CPU time and memory, if there was a program.
    pub(super) ended: Ended,
    daemon: Cpu,
    resident: Option<u64>,
}

/// Runs all programs in turn, as often as there are rounds.
pub(super) fn run(bench: &Bench, profile: &'static str, title: String, plan: &Plan) -> Result<Table> {
    let mut table = Table::new(profile, title, plan.tools.iter().map(|tool| tool.name));
    let space = plan.writes.then(|| Space::new(bench.folder, plan.written_bytes())).transpose()?;
    for round in 0..plan.rounds {
        let mut unwatched = None;
        for &tool in &plan.tools {
            bench.progress(profile, round, tool);
            let run = measure(bench, tool, plan, space.as_ref())?;
            let per_packet = run.sender_cpu / run.sent.packets.max(1) as f64;
            table.add(tool.name, Quantity::Offered, run.offered as f64);
            table.add(tool.name, Quantity::Rate, run.rate() / 1e6);
            table.add(tool.name, Quantity::SenderCpu, per_packet);
            if let Some((unwatched, _)) = unwatched {
                table.add(tool.name, Quantity::SenderAdded, per_packet - unwatched);
            }
            let typical = run.sent.typical;
            if let Some(typical) = typical {
                table.add(tool.name, Quantity::SenderTypical, typical);
            }
            if let Some((_, Some(unwatched))) = unwatched
                && let Some(typical) = typical
            {
                table.add(tool.name, Quantity::TypicalAdded, typical - unwatched);
            }
            if !tool.listens() {
                unwatched = Some((per_packet, typical));
                continue;
            }
            let lines = run.ended.captured;
            table.add(tool.name, Quantity::Delivered, lines as f64);
            table.add(tool.name, Quantity::Lost, run.lost());
            let per_line = |time: std::time::Duration| time.as_nanos() as f64 / lines as f64;
            table.add(tool.name, Quantity::DaemonCpu, per_line(run.daemon.total));
            if let Some((user, system)) = run.daemon.split() {
                table.add(tool.name, Quantity::DaemonUser, per_line(user));
                table.add(tool.name, Quantity::DaemonSystem, per_line(system));
            }
            if let Some(resident) = run.resident {
                table.add(tool.name, Quantity::Memory, resident as f64 / f64::from(1 << 20));
            }
        }
    }
    Ok(table)
}

impl Plan {
    /// As many as any of the formats takes.
    fn written_bytes(&self) -> u64 {
        const HEADERS: u64 = 64;
        const ONCE: u64 = 1 << 20;
        self.packets * (self.generator.length() as u64 + HEADERS) + ONCE
    }
}

impl Run {
    /// Packets per second.
    pub(super) fn rate(&self) -> f64 {
        self.sent.packets as f64 / self.sent.wall.as_secs_f64()
    }

    /// Per cent of the packets that were offered.
    pub(super) fn lost(&self) -> f64 {
        (self.offered - self.ended.captured) as f64 / self.offered as f64 * 100.0
    }
}

/// Runs one program, which writes to the space if there is one, and checks its accounts.
pub(super) fn measure(bench: &Bench, tool: Tool, plan: &Plan, space: Option<&Space>) -> Result<Run> {
    let (namespace, interface) = plan.generator.listens_at(bench);
    // An XDP sender needs an XDP program at the other end of a veth pair; `capture --hook xdp-native` is one.
    let passes = matches!(plan.generator, Generator::Live(Destination::Wire, _)) && tool != Tool::NATIVE;
    let _pass = if passes { Some(attach_pass(namespace)?) } else { None };
    let listener = if tool.listens() {
        let (write, output) = match space {
            Some(space) => ("-w -", Output::Into(space)),
            None => ("", plan.output),
        };
        let too =
            if plan.writes_too { format!("--print -w {}", second(bench).display()) } else { String::new() };
        let command = tool.listen(&bench.capture, interface, &format!("{} {write} {too}", plan.arguments));
        Some(Process::start(namespace, bench.folder, &command, output)?)
    } else {
        None
    };
    let mut run = Run::default();
    let before = match &listener {
        Some(listener) => listener.cpu()?,
        None => Cpu::default(),
    };
    let softirq_before = cpu::of_softirq_threads()?;
    (run.sent, run.offered) = plan.generator.send(bench, plan.packets)?;
    let softirq = cpu::of_softirq_threads()?.saturating_sub(softirq_before);
    run.sender_cpu = (run.sent.cpu + softirq).as_nanos() as f64;
    let Some(listener) = listener else { return Ok(run) };
    listener.settle(tool.quiet())?;
    run.daemon = listener.cpu()?.since(&before);
    run.resident = Some(listener.resident()?);
    run.ended = listener.interrupt()?;
    if let Some(space) = space {
        run.ended.lines = Some(space.count_packets()?);
    }
    if plan.writes_too {
        check_both(bench, tool, &run.ended)?;
    } else {
        check(tool, &run)?;
    }
    Ok(run)
}

/// The file that is written next to the lines.
fn second(bench: &Bench) -> PathBuf {
    bench.folder.join("capture-bench.pcap")
}

/// Each of the two outputs has every packet that the program says it has captured, but for those that it says the output
/// lacks.
fn check_both(bench: &Bench, tool: Tool, ended: &Ended) -> Result<()> {
    let path = second(bench);
    let packets = space::count_packets(File::open(&path)?)?;
    fs::remove_file(&path)?;
    let file = ("file", packets, ended.lacks(&path.display().to_string()));
    let text = ("text", ended.lines.context("lines are counted")?, ended.lacks("standard output"));
    for (output, has, lacks) in [file, text] {
        let (name, captured) = (tool.name, ended.captured);
        ensure!(
            has + lacks == captured,
            "{name}: {captured} packets, its {output} has {has} and lacks {lacks}"
        );
    }
    Ok(())
}

/// The accounts of a program that was interrupted when it had nothing left to do.
fn check(tool: Tool, run: &Run) -> Result<()> {
    let Run { offered, ended, .. } = run;
    let Ended { lines, captured, received, dropped, unwritten, .. } = *ended;
    let name = tool.name;
    ensure!(captured > 0, "{name} printed nothing of {offered} packets");
    if let Some(lines) = lines {
        ensure!(lines == captured, "{name} says that it printed {captured} packets, but {lines} arrived");
    }
    ensure!(captured <= *offered, "{name} printed {captured} of {offered} packets");
    if tool.is_capture() {
        ensure!(received == *offered, "{name} matched {received} of {offered} packets");
        ensure!(
            received == captured + dropped + unwritten,
            "{name} matched {received} packets, and accounts for {captured} printed, {dropped} dropped and \
             {unwritten} not written"
        );
    }
    Ok(())
}

fn attach_pass(namespace: &Namespace) -> Result<std::os::fd::OwnedFd> {
    namespace.run(|| live_frames::pass()?.attach(nix::net::if_::if_nametoindex(RECEIVER)?))
}

impl Generator {
    /// Length of its frames in bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Raw { data, .. } => LENGTH + data,
            Self::Live(..) => LENGTH,
        }
    }

    /// Where its packets can be seen.
    fn listens_at(self, bench: &Bench) -> (&Namespace, &'static str) {
        match self {
            Self::Live(Destination::Loopback, _) => (&bench.namespaces.receiver, "lo"),
            _ => (&bench.namespaces.receiver, RECEIVER),
        }
    }

    /// Sends, and says how many packets arrived.
    fn send(self, bench: &Bench, packets: u64) -> Result<(Sent, u64)> {
        let namespaces = &bench.namespaces;
        // What the kernel hands up on loopback is not counted there; none of it can get lost either.
        if let Self::Live(Destination::Loopback, period) = self {
            let sent = live_frames::flood(&namespaces.receiver, Destination::Loopback, packets, period)?;
            return Ok((sent, sent.packets));
        }
        let before = received(&namespaces.receiver, RECEIVER)?;
        let sent = match self {
            Self::Live(destination, period) => {
                live_frames::flood(&namespaces.sender, destination, packets, period)?
            }
            Self::Raw { flows, port, senders, data, rate } => {
                sender::flood(&namespaces.sender, Flood { packets, flows, port, senders, data, rate })?
            }
        };
        Ok((sent, received(&namespaces.receiver, RECEIVER)? - before))
    }
}
