//! The memory of a process, without the rings that it shares with the kernel.

use std::{fs, ops::AddAssign};

use anyhow::{Context as _, Result};

/// What a mapping of a ring is called: a BPF map, or the ring of a packet socket.
const RINGS: [&str; 2] = ["anon_inode:bpf-map", "socket:["];

/// Bytes besides the rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All that are resident.
    pub(crate) resident: u64,
    /// Of these, those that no file has: what the process has written.
    pub(crate) anonymous: u64,
}

impl AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.resident += other.resident;
        self.anonymous += other.anonymous;
    }
}

/// Resident bytes of a process besides its rings.
pub(crate) fn besides_rings(process: u32) -> Result<u64> {
    Ok(of(process)?.resident)
}

/// The memory of a process (/proc/PID/smaps).
pub(crate) fn of(process: u32) -> Result<Memory> {
    let smaps = fs::read_to_string(format!("/proc/{process}/smaps"))?;
    understood(&smaps).context("/proc/PID/smaps is not understood")
}

fn understood(smaps: &str) -> Option<Memory> {
    let (mut memory, mut ring) = (Memory::default(), false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next()? {
            "Rss:" if !ring => memory.resident += words.next()?.parse::<u64>().ok()? * 1024,
            "Anonymous:" if !ring => memory.anonymous += words.next()?.parse::<u64>().ok()? * 1024,
            // `start-end flags offset device inode name`; all other lines begin with `Name:`.
            first if !first.ends_with(':') => ring = RINGS.iter().any(|name| line.contains(name)),
            _ => {}
        }
    }
    Some(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_do_not_count() {
        let smaps = "\
55d0-55d1 r--p 00000000 fe:00 1 /usr/bin/a b\nSize: 4 kB\nRss: 4 kB\nAnonymous: 0 kB\nVmFlags: rd mr\n\
7f00-7f01 rw-s 00001000 00:0e 12 anon_inode:bpf-map\nSize: 32768 kB\nRss: 32768 kB\n\
7f01-7f02 rw-s 00000000 00:08 99 socket:[99]\nRss: 2048 kB\n\
7ffc-7ffd rw-p 00000000 00:00 0 [stack]\nRss: 12 kB\nAnonymous: 8 kB\n";
        assert_eq!(understood(smaps), Some(Memory { resident: 16 * 1024, anonymous: 8 * 1024 }));
    }

    #[test]
    fn our_own_memory_is_some() {
        assert!(besides_rings(std::process::id()).unwrap() > 100_000);
    }
}
