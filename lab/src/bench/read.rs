//! Printing files: a few flows, and as many flows as packets.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use tempfile::tempfile_in;
use test_support::process::end_with_us;

use super::{
    Bench,
    process::count_lines,
    results::{Quantity, Table},
    tools::Tool,
};
use crate::{
    frames::{Frames, PORT},
    memory,
    packets::{Packet, file::CaptureFile, link::Link},
};

/// The flows of the file with a few.
pub(super) const FEW: u32 = 8;
/// Packets of a file, at most: as many with few flows as with many, so that what a program does once weighs the same.
const MOST_PACKETS: u64 = 1_000_000;

/// Reads a file of `flows` flows with both programs.
pub(super) fn run(bench: &Bench, profile: &'static str, flows: u32) -> Result<Table> {
    let packets = bench.packets.min(MOST_PACKETS);
    let flows = flows.min(packets as u32);
    let title = format!("a file of {packets} packets in {flows} flows, text to /dev/null");
    let tools = [Tool::UNSET, Tool::TCPDUMP, Tool::CAPTURE];
    let mut table = Table::new(profile, title, tools.map(|tool| tool.name));
    let file = write(bench.folder, flows, packets)?;
    for round in 0..bench.rounds {
        for tool in tools {
            // tcpdump's table of conversations takes half a minute for a million: once will do.
            if flows > FEW && !tool.is_capture() && round > 0 {
                continue;
            }
            bench.progress(profile, round, tool);
            let command = tool.read(&bench.capture);
            if round == 0 && (flows <= FEW || tool.is_capture()) {
                let lines = lines(&command, &file)?;
                ensure!(lines == packets, "{} printed {lines} lines for {packets} packets", tool.name);
            }
            // Each after a run of its own: memory that nothing has used for a while costs a virtual machine more.
            if flows <= FEW || tool.is_capture() {
                time(&command, &file)?;
            }
            let (cpu, resident) = time(&command, &file)?;
            let per_packet = cpu.as_nanos() as f64 / packets as f64;
            table.add(tool.name, Quantity::ReadTime, per_packet);
            table.add(tool.name, Quantity::ReadRate, 1e3 / per_packet);
            if let Some(resident) = resident {
                table.add(tool.name, Quantity::Memory, resident as f64 / f64::from(1 << 20));
            }
        }
    }
    Ok(table)
}

/// Writes the file. It has no name.
fn write(folder: &Path, flows: u32, packets: u64) -> Result<File> {
    const START: u32 = 1_700_000_000;

    let mut frames = Frames::new(0, flows, PORT, 0);
    let packets = (0..packets).map(|microseconds| {
        let seconds = START + (microseconds / 1_000_000) as u32;
        Packet::whole(seconds, (microseconds % 1_000_000) as u32 * 1000, frames.next().to_vec())
    });
    let mut file = tempfile_in(folder)?;
    file.write_all(&CaptureFile::pcap(Link::Ethernet, packets.collect()).encode())?;
    Ok(file)
}

/// Starts a command with the file as its standard input.
fn start(command: &[String], mut file: &File, stdout: Stdio) -> Result<Child> {
    file.rewind()?;
    let (program, arguments) = command.split_first().context("no program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(file.try_clone()?).stdout(stdout).stderr(Stdio::null());
    end_with_us(&mut command);
    command.spawn().with_context(|| format!("cannot run {program}"))
}

/// The lines that a command prints.
fn lines(command: &[String], file: &File) -> Result<u64> {
    let mut child = start(command, file, Stdio::piped())?;
    let lines = count_lines(child.stdout.take().context("no pipe")?)?;
    ensure!(child.wait()?.success(), "`{}` failed", command.join(" "));
    Ok(lines)
}

/// The CPU time that a command takes with its output to /dev/null, and the most memory that it was seen to have.
fn time(command: &[String], file: &File) -> Result<(Duration, Option<u64>)> {
    let before = children_cpu()?;
    let mut child = start(command, file, Stdio::null())?;
    let mut resident = None;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        thread::sleep(Duration::from_millis(20));
        // Fails once it is gone.
        resident = resident.max(memory::besides_rings(child.id()).ok().filter(|&bytes| bytes > 0));
    };
    ensure!(status.success(), "`{}` failed", command.join(" "));
    Ok((children_cpu()? - before, resident))
}

/// CPU time of all children that have ended.
fn children_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(microseconds.unsigned_abs()))
}
