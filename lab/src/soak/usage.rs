//! What a capture takes of the machine: it, and the processes that it has started.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use test_support::wait::within;

use super::PATIENCE;
use crate::{
    bpf::{self, Object},
    memory::{self, Memory},
};

/// What a process and its children have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) memory: Memory,
    pub(super) descriptors: usize,
    pub(super) threads: usize,
    /// Programs, maps and links in the kernel.
    pub(super) held: BTreeSet<(Object, u32)>,
    pub(super) processes: Vec<Process>,
}

/// A process, which its number alone does not name for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    number: u32,
    /// When it was started, in clock ticks since the machine was.
    start: u64,
}

impl Usage {
    /// Of a process that runs.
    pub(super) fn of(process: u32) -> Result<Self> {
        let mut usage = Self { processes: tree(process), ..Self::default() };
        for &Process { number, .. } in &usage.processes {
            let count = |what: &str| fs::read_dir(format!("/proc/{number}/{what}")).map(Iterator::count);
            let counted = || Ok((memory::of(number)?, count("fd")?, count("task")?));
            match counted() {
                Ok((memory, descriptors, threads)) => {
                    usage.memory += memory;
                    usage.descriptors += descriptors;
                    usage.threads += threads;
                }
                // A child may end meanwhile.
                Err(error) if number == process => return Err(error),
                Err::<_, anyhow::Error>(_) => {}
            }
            usage.held.extend(bpf::held_by(number));
        }
        Ok(usage)
    }

    /// How many of a kind it has in the kernel.
    pub(super) fn count(&self, object: Object) -> usize {
        self.held.iter().filter(|(kind, _)| *kind == object).count()
    }

    /// What has to be the same each time that a capture has the same to do, in words.
    pub(super) fn stable(&self) -> String {
        let [programs, maps, links] =
            [Object::Program, Object::Map, Object::Link].map(|object| self.count(object));
        let Self { descriptors, threads, processes, .. } = self;
        format!(
            "{} processes, {threads} threads, {descriptors} descriptors, {programs} programs, {maps} maps, {links} links",
            processes.len()
        )
    }

    /// Whether each number but that of the memory is as large as that of another at most.
    pub(super) fn is_no_more_than(&self, other: &Self) -> bool {
        let objects = [Object::Program, Object::Map, Object::Link];
        self.descriptors <= other.descriptors
            && self.threads <= other.threads
            && self.processes.len() <= other.processes.len()
            && objects.iter().all(|&object| self.count(object) <= other.count(object))
    }
}

/// A process and those that it has started, directly or not.
fn tree(process: u32) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<Status> = numbers.filter_map(Status::of).collect();
    let mut found: Vec<Process> =
        all.iter().filter(|status| status.process.number == process).map(|status| status.process).collect();
    let mut next = 0;
    while let Some(&Process { number, .. }) = found.get(next) {
        found.extend(all.iter().filter(|status| status.parent == number).map(|status| status.process));
        next += 1;
    }
    found
}

/// What /proc/PID/stat says.
struct Status {
    process: Process,
    parent: u32,
    is_dead: bool,
}

impl Status {
    fn of(number: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        // After the name, which is in parentheses and may contain anything: fields 3 and on (proc_pid_stat(5)).
        let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
        let field = |number: usize| fields.get(number - 3);
        let process = Process { number, start: field(22)?.parse().ok()? };
        // A dead process that no one has waited for does not run.
        Some(Self { process, parent: field(4)?.parse().ok()?, is_dead: field(3)?.starts_with(['Z', 'X']) })
    }
}

impl Process {
    /// Whether it calls itself so (/proc/PID/comm).
    pub(super) fn is_called(&self, name: &str) -> bool {
        fs::read_to_string(format!("/proc/{}/comm", self.number)).is_ok_and(|comm| comm.trim_end() == name)
    }

    /// Kills it.
    pub(super) fn kill(&self) -> Result<()> {
        let killed = kill(Pid::from_raw(self.number.cast_signed()), Signal::SIGKILL);
        killed.with_context(|| format!("process {} does not run", self.number))
    }

    fn is_running(&self) -> bool {
        Status::of(self.number).is_some_and(|status| status.process == *self && !status.is_dead)
    }
}

/// Waits until nothing is left of captures that have ended: neither what they had in the kernel, which frees it a while
/// after, nor processes.
pub(super) fn wait_until_gone(held: &BTreeSet<(Object, u32)>, processes: &BTreeSet<Process>) -> Result<()> {
    let mut held: Vec<_> = held.iter().copied().collect();
    let mut look = || {
        let mut left = Vec::new();
        for (object, id) in held.drain(..) {
            if bpf::exists(object, id)? {
                left.push((object, id));
            }
        }
        held = left;
        // The children of one that was killed are ours now. Of the others this fails.
        for process in processes {
            let _ended = waitpid(Pid::from_raw(process.number.cast_signed()), Some(WaitPidFlag::WNOHANG));
        }
        let running: Vec<_> = processes.iter().filter(|process| process.is_running()).collect();
        let is_gone = held.is_empty() && running.is_empty();
        Ok(if is_gone { Ok(()) } else { Err(format!("{held:?} in the kernel, processes {running:?}")) })
    };
    let mut last = String::new();
    let waited = within(PATIENCE, "the end of what the capture had", || {
        look().map(|left: Result<(), String>| left.map_err(|left| last = left).ok())
    });
    waited.with_context(|| format!("left behind: {last}"))
}

/// Waits until no other process is left in this PID namespace: processes whose parents have ended are its first one's
/// children.
pub(super) fn wait_until_alone() -> Result<()> {
    let here = std::process::id();
    let running = || tree(here).into_iter().filter(|process| process.number != here && process.is_running());
    within(PATIENCE, "the end of what captures have started", || Ok(running().next().is_none().then_some(())))
        .with_context(|| format!("processes {:?} are left behind", running().collect::<Vec<_>>()))
}

/// The programs on this machine that can be attached to an interface, and that no process has: they were left behind.
#[derive(Debug)]
pub(super) struct Orphans {
    before: BTreeSet<u32>,
}

impl Orphans {
    /// What is there at the start is not ours.
    pub(super) fn new() -> Result<Self> {
        Ok(Self { before: bpf::all(Object::Program)? })
    }

    /// Waits until there are no others.
    pub(super) fn check(&self) -> Result<()> {
        let orphans = || -> Result<BTreeSet<u32>> {
            let now = bpf::all(Object::Program)?;
            let candidates: BTreeSet<u32> =
                now.difference(&self.before).copied().filter(|id| bpf::is_for_packets(*id)).collect();
            if candidates.is_empty() {
                return Ok(candidates);
            }
            let numbers =
                fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            let held: BTreeSet<(Object, u32)> = numbers.flat_map(bpf::held_by).collect();
            Ok(candidates.into_iter().filter(|id| !held.contains(&(Object::Program, *id))).collect())
        };
        // Those of other processes come and go; ours would stay.
        let mut left = orphans()?;
        let waited = within(PATIENCE, "that no program is left in the kernel", || {
            let now = orphans()?;
            left.retain(|id| now.contains(id));
            Ok(left.is_empty().then_some(()))
        });
        ensure!(waited.is_ok(), "programs that no process has are left in the kernel: {left:?}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_counts_with_its_parent() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let here = std::process::id();
        let (with, alone) = (Usage::of(here).unwrap(), Usage::of(child.id()).unwrap());
        let process = alone.processes[0];
        let running = process.is_running();
        child.kill().unwrap();
        let is_dead = within(PATIENCE, "its end", || Ok((!process.is_running()).then_some(())));
        child.wait().unwrap();
        assert!(running && is_dead.is_ok());
        assert_eq!((alone.processes.len(), process.number, alone.threads), (1, child.id(), 1));
        assert!(!Process { start: process.start + 1, ..with.processes[0] }.is_running());
        assert!(with.processes.contains(&process) && with.threads >= 2);
        assert!(with.memory.resident > alone.memory.resident && alone.descriptors > 0);
    }
}
