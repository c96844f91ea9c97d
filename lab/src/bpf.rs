//! The little of bpf(2) that measurements and checks need: loading a program of a few instructions, running it on frames,
//! attaching it, the kernel's run-time statistics of programs, and which programs, maps and links there are.

#![expect(unsafe_code, reason = "bpf(2) takes pointers to structures, and has no safe wrapper")]

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result};
use test_support::bpf::{self, ProgramType, bpf, by_id, descriptor};

pub(crate) use test_support::bpf::{Object, all, exists, held_by};

/// `enum bpf_cmd` (linux/bpf.h).
#[derive(Clone, Copy)]
enum Command {
    ObjectGetInfoByFd = 15,
    LinkCreate = 28,
    EnableStats = 32,
}

/// What a program is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// XDP, in the driver.
    Xdp,
    /// TC, on the way in, by TCX (Linux 6.6).
    TcIngress,
}

impl Kind {
    fn program_type(self) -> ProgramType {
        match self {
            Self::Xdp => ProgramType::Xdp,
            Self::TcIngress => ProgramType::SchedCls,
        }
    }

    /// `BPF_XDP` with `XDP_FLAGS_DRV_MODE`, `BPF_TCX_INGRESS`.
    fn attach_type_and_flags(self) -> (u32, u32) {
        match self {
            Self::Xdp => (37, 1 << 2),
            Self::TcIngress => (46, 0),
        }
    }
}

/// `BPF_F_TEST_XDP_LIVE_FRAMES`: frames go where the program sends them.
const LIVE_FRAMES: u32 = 1 << 1;
/// `BPF_STATS_RUN_TIME`.
const STATS_RUN_TIME: u32 = 0;

// The commands' parts of `union bpf_attr`. Everything is plain integers without padding.

#[repr(C)]
struct InfoByFd {
    program: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// `struct bpf_prog_info`: where in it the name and the two statistics are, and how long that makes it.
const INFO_NAME: usize = 64;
const INFO_NAME_LENGTH: usize = 16;
const INFO_RUN_TIME: usize = 192;
const INFO_RUN_COUNT: usize = 200;
const INFO_LENGTH: usize = 208;

/// A command of bpf(2) without addresses that returns a new descriptor.
fn open<T>(command: Command, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: there are no addresses, and no other code knows of the descriptor.
    unsafe { bpf(command as u32, attributes).map(|raw| descriptor(raw)) }
}

/// A loaded program.
#[derive(Debug)]
pub(crate) struct Program {
    kind: Kind,
    descriptor: OwnedFd,
}

impl Program {
    /// Loads instructions, each eight bytes (RFC 9669 section 3).
    pub(crate) fn load(kind: Kind, instructions: &[u64]) -> Result<Self> {
        // A program is refused, too, when its log does not fit: a loop is logged each time round.
        let mut log = vec![0_u8; 1 << 20];
        let code: Vec<u8> = instructions.iter().flat_map(|instruction| instruction.to_ne_bytes()).collect();
        let loaded = bpf::load(kind.program_type(), &code, &mut log);
        let descriptor =
            loaded.with_context(|| format!("cannot load a program for {kind:?}: {}", bpf::words(&log)))?;
        Ok(Self { kind, descriptor })
    }

    /// Runs an XDP program on `count` frames that begin as `frame`, and sends each where it says. The frames are
    /// reused: what the program writes into one is still there when it sees it again.
    pub(crate) fn send(&self, frame: &[u8], count: u32) -> Result<()> {
        let result = bpf::run(self.descriptor.as_fd(), frame, count, LIVE_FRAMES);
        result.context("cannot send live XDP frames (Linux 5.18)")?;
        Ok(())
    }

    /// Attaches the program to an interface of the current namespace, as long as the result lives.
    pub(crate) fn attach(&self, interface: u32) -> Result<OwnedFd> {
        let (attach_type, flags) = self.kind.attach_type_and_flags();
        let program = self.descriptor.as_raw_fd() as u32;
        let mut attributes = LinkCreate { program, interface, attach_type, flags };
        let link = open(Command::LinkCreate, &mut attributes);
        link.with_context(|| format!("cannot attach a program for {:?}", self.kind))
    }

    /// Its statistics.
    pub(crate) fn statistics(&self) -> Result<Statistics> {
        Ok(info(self.descriptor.as_fd())?.1)
    }
}

/// Has the kernel measure the programs that run, as long as the result lives (kernel.bpf_stats_enabled is left alone).
pub(crate) fn enable_statistics() -> Result<OwnedFd> {
    let mut kind = STATS_RUN_TIME;
    let enabled = open(Command::EnableStats, &mut kind);
    enabled.context("cannot enable the run-time statistics of BPF programs (Linux 5.8)")
}

/// How often programs ran while statistics were enabled, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    pub(crate) runs: u64,
    pub(crate) time: Duration,
}

impl Statistics {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { runs: self.runs - before.runs, time: self.time.saturating_sub(before.time) }
    }

    /// Nanoseconds per run; `None` if there was none.
    pub(crate) fn per_run(self) -> Option<f64> {
        (self.runs > 0).then(|| self.time.as_nanos() as f64 / self.runs as f64)
    }
}

/// Whether a program is one for TC or XDP.
pub(crate) fn is_for_packets(id: u32) -> bool {
    const TYPES: [u32; 2] = [ProgramType::SchedCls as u32, ProgramType::Xdp as u32];
    by_id(Object::Program, id)
        .and_then(|program| program_type(program.as_fd()))
        .is_ok_and(|program_type| TYPES.contains(&program_type))
}

/// The programs that one of these processes has loaded, by their names.
pub(crate) fn programs_of(processes: &[u32], names: &[&str]) -> Result<Vec<OwnedFd>> {
    let mut programs = Vec::new();
    let held: BTreeSet<(Object, u32)> = processes.iter().copied().flat_map(held_by).collect();
    for (object, id) in held {
        if object != Object::Program {
            continue;
        }
        // It may have gone meanwhile.
        let Ok(program) = by_id(object, id) else { continue };
        if names.contains(&info(program.as_fd())?.0.as_str()) {
            programs.push(program);
        }
    }
    Ok(programs)
}

/// The statistics of programs, added up.
pub(crate) fn statistics(programs: &[OwnedFd]) -> Result<Statistics> {
    let mut total = Statistics::default();
    for program in programs {
        let (_, Statistics { runs, time }) = info(program.as_fd())?;
        total.runs += runs;
        total.time += time;
    }
    Ok(total)
}

/// The beginning of a program's `struct bpf_prog_info`.
fn raw_info(program: BorrowedFd<'_>) -> io::Result<[u8; INFO_LENGTH]> {
    let mut info = [0_u8; INFO_LENGTH];
    let mut attributes = InfoByFd {
        program: program.as_raw_fd() as u32,
        length: INFO_LENGTH as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the buffer is as long as said, zeroed as the kernel wants it, and outlives the call.
    unsafe { bpf(Command::ObjectGetInfoByFd as u32, &mut attributes) }?;
    Ok(info)
}

/// A program's type, which is the first number.
fn program_type(program: BorrowedFd<'_>) -> io::Result<u32> {
    let info = raw_info(program)?;
    Ok(u32::from_ne_bytes([info[0], info[1], info[2], info[3]]))
}

/// A program's name and statistics.
fn info(program: BorrowedFd<'_>) -> Result<(String, Statistics)> {
    let info = raw_info(program).context("cannot ask for a BPF program's statistics")?;
    let name = &info[INFO_NAME..INFO_NAME + INFO_NAME_LENGTH];
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    let number = |offset: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&info[offset..offset + 8]);
        u64::from_ne_bytes(bytes)
    };
    let statistics =
        Statistics { runs: number(INFO_RUN_COUNT), time: Duration::from_nanos(number(INFO_RUN_TIME)) };
    Ok((String::from_utf8_lossy(name).into_owned(), statistics))
}
