//! A quiet wire: how often a program wakes up for nothing, and how long a packet takes to become a line.

use std::{
    fs,
    io::Read as _,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    Bench, FEWER_ROUNDS,
    namespace::{RECEIVER, SENDER},
    process::{Output, Process},
    results::{Quantity, Table},
    tools::Tool,
};
use crate::{
    frames::{Frames, PORT},
    packet_socket::{self, PacketSocket},
};

/// How long a program is left alone before its wake-ups count.
const START: Duration = Duration::from_secs(1);

/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between packets, at least; a few more microseconds each time, so that no timer is in step with it.
const PAUSE: Duration = Duration::from_millis(10);

/// Counts context switches while nothing is sent.
pub(super) fn silence(bench: &Bench, profile: &'static str) -> Result<Table> {
    // Those of a group at the same time: where nothing is sent, one has nothing to do with another. Only two captures
    // have: each finds the other's programs when it looks at the chain, and prints a warning.
    let groups: [&[Tool]; 2] = [&[Tool::UNSET, Tool::TCPDUMP, Tool::CAPTURE], &[Tool::NATIVE]];
    let time = Duration::from_secs(if bench.quick { 1 } else { 10 });
    let title = format!("nothing is sent for {} s", time.as_secs());
    let mut table = Table::new(profile, title, groups.concat().iter().map(|tool| tool.name));
    for round in 0..bench.rounds.min(FEWER_ROUNDS) {
        for tools in groups {
            let mut listeners = Vec::new();
            for &tool in tools {
                bench.progress(profile, round, tool);
                let command = tool.listen(&bench.capture, RECEIVER, "-l");
                let receiver = &bench.namespaces.receiver;
                listeners.push((tool, Process::start(receiver, bench.folder, &command, Output::Null)?));
            }
            thread::sleep(START);
            let count = |(_, listener): &(Tool, Process)| -> Result<u64> {
                listener.all()?.into_iter().map(context_switches).sum()
            };
            let before = listeners.iter().map(count).collect::<Result<Vec<_>>>()?;
            thread::sleep(time);
            let after = listeners.iter().map(count).collect::<Result<Vec<_>>>()?;
            for ((tool, listener), (before, after)) in
                listeners.into_iter().zip(before.into_iter().zip(after))
            {
                table.add(tool.name, Quantity::WakeUps, (after - before) as f64 / time.as_secs_f64());
                listener.interrupt()?;
            }
        }
    }
    Ok(table)
}

/// Of all threads of a process, wanted or not (/proc/PID/task/TID/status).
fn context_switches(process: u32) -> Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let counts = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
        for (_, count) in counts {
            total += count.trim().parse::<u64>()?;
        }
    }
    Ok(total)
}

/// Sends one packet at a time, and waits for its line at the other end of a pipe.
pub(super) fn latency(bench: &Bench, profile: &'static str) -> Result<Table> {
    let tools = [Tool::UNSET, Tool::TCPDUMP, Tool::IMMEDIATE, Tool::CAPTURE, Tool::NATIVE];
    let packets = if bench.quick { 5 } else { 200 };
    let title = format!("from packet to line through a pipe, with -l, {packets} packets about 10 ms apart");
    let mut table = Table::new(profile, title, tools.map(|tool| tool.name));
    for round in 0..bench.rounds {
        for tool in tools {
            bench.progress(profile, round, tool);
            let mut latencies = measure(bench, tool, packets)?;
            latencies.sort();
            for (quantity, share) in [(Quantity::MedianLatency, 0.5), (Quantity::TailLatency, 0.99)] {
                let latency = percentile(&latencies, share).context("no packet was sent")?;
                table.add(tool.name, quantity, latency.as_nanos() as f64 / 1e3);
            }
        }
    }
    Ok(table)
}

/// The smallest value that at least this share of the sorted values does not exceed.
pub(super) fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn measure(bench: &Bench, tool: Tool, packets: usize) -> Result<Vec<Duration>> {
    let command = tool.listen(&bench.capture, RECEIVER, "-l");
    let mut listener = Process::start(&bench.namespaces.receiver, bench.folder, &command, Output::Handed)?;
    let mut pipe = listener.take_stdout().context("no pipe")?;
    let (lines, arrived) = channel();
    let reader = thread::Builder::new().name("lines".to_owned()).spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            let now = Instant::now();
            for _ in buffer[..length].iter().filter(|&&byte| byte == b'\n') {
                // The empty line at the end is not waited for.
                let _gone = lines.send(now);
            }
        }
    })?;
    let mut socket = PacketSocket::new(bench.namespaces.sender.run(|| packet_socket::open(SENDER))?);
    let mut frames = Frames::new(0, 8, PORT, 0);
    let mut sent = Vec::new();
    for number in 0..packets {
        thread::sleep(PAUSE + Duration::from_micros(137 * (number as u64 % 8)));
        sent.push(Instant::now());
        ensure!(
            socket.send(1, |buffer| buffer.extend_from_slice(frames.next()))? == 1,
            "the interface did not take a packet"
        );
    }
    let latencies = sent.into_iter().map(|sent| line(&arrived, tool, sent)).collect::<Result<_>>()?;
    listener.interrupt()?;
    drop(arrived);
    if reader.join().is_err() {
        bail!("the reader panicked");
    }
    Ok(latencies)
}

fn line(arrived: &Receiver<Instant>, tool: Tool, sent: Instant) -> Result<Duration> {
    let line = arrived.recv_timeout(PATIENCE);
    let line = line.with_context(|| format!("{} printed no line for a packet", tool.name))?;
    Ok(line.saturating_duration_since(sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 0.5), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&sorted, 0.99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&sorted[..1], 0.99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
