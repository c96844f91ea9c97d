//! The little of bpf(2) that the measurements need: loading a program of a few instructions, running it on frames,
//! attaching it, and the kernel's run-time statistics of programs.

#![expect(unsafe_code, reason = "bpf(2) takes pointers to structures, and has no safe wrapper")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// `enum bpf_cmd` (linux/bpf.h).
#[derive(Clone, Copy)]
enum Command {
    ProgramLoad = 5,
    ProgramTestRun = 10,
    ProgramGetNextId = 11,
    ProgramGetFdById = 13,
    ObjectGetInfoByFd = 15,
    LinkCreate = 28,
    EnableStats = 32,
}

/// What a program is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// XDP, in the driver.
    Xdp,
    /// TC, on the way in, by TCX (Linux 6.6).
    TcIngress,
}

impl Kind {
    /// `BPF_PROG_TYPE_XDP`, `BPF_PROG_TYPE_SCHED_CLS`.
    fn program_type(self) -> u32 {
        match self {
            Self::Xdp => 6,
            Self::TcIngress => 3,
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

/// The command's part of `union bpf_attr`. Everything is plain integers without padding.
#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    return_value: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

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

/// bpf(2).
///
/// # Safety
///
/// `attributes` is what the command takes, and the addresses in it are of memory that lives, is as long as the
/// attributes say, and is writable where the command writes.
unsafe fn bpf<T>(command: Command, attributes: &mut T) -> io::Result<i32> {
    let size = size_of::<T>() as u32;
    // SAFETY: `attributes` is valid for `size` bytes; for the rest the caller vouches.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as i32, &raw mut *attributes, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// The descriptor that a command returned.
fn descriptor(raw: i32) -> OwnedFd {
    // SAFETY: the kernel has just opened it for us, and no other code knows of it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// A loaded program.
#[derive(Debug)]
pub(super) struct Program {
    kind: Kind,
    descriptor: OwnedFd,
}

impl Program {
    /// Loads instructions, each eight bytes (RFC 9669 section 3).
    pub(super) fn load(kind: Kind, instructions: &[u64]) -> Result<Self> {
        // A program is refused, too, when its log does not fit: a loop is logged each time round.
        let mut log = vec![0_u8; 1 << 20];
        let mut attributes = ProgramLoad {
            program_type: kind.program_type(),
            instruction_count: instructions.len() as u32,
            instructions: instructions.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log_level: 1,
            log_size: log.len() as u32,
            log_buffer: log.as_mut_ptr() as u64,
        };
        // SAFETY: instructions, license and log are as long as said, and outlive the call.
        let loaded = unsafe { bpf(Command::ProgramLoad, &mut attributes) };
        let said = || String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_owned();
        let program = loaded.with_context(|| format!("cannot load a program for {kind:?}: {}", said()))?;
        Ok(Self { kind, descriptor: descriptor(program) })
    }

    /// Runs an XDP program on `count` frames that begin as `frame`, and sends each where it says. The frames are
    /// reused: what the program writes into one is still there when it sees it again.
    pub(super) fn send(&self, frame: &[u8], count: u32) -> Result<()> {
        let mut attributes = TestRun {
            program: self.descriptor.as_raw_fd() as u32,
            data_size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            repeat: count,
            flags: LIVE_FRAMES,
            ..TestRun::default()
        };
        // SAFETY: the frame is as long as said, is only read, and outlives the call.
        let result = unsafe { bpf(Command::ProgramTestRun, &mut attributes) };
        result.context("cannot send live XDP frames (Linux 5.18)")?;
        Ok(())
    }

    /// Attaches the program to an interface of the current namespace, as long as the result lives.
    pub(super) fn attach(&self, interface: u32) -> Result<OwnedFd> {
        let (attach_type, flags) = self.kind.attach_type_and_flags();
        let program = self.descriptor.as_raw_fd() as u32;
        let mut attributes = LinkCreate { program, interface, attach_type, flags };
        // SAFETY: there are no addresses.
        let link = unsafe { bpf(Command::LinkCreate, &mut attributes) };
        Ok(descriptor(link.with_context(|| format!("cannot attach a program for {:?}", self.kind))?))
    }

    /// Its statistics.
    pub(super) fn statistics(&self) -> Result<Statistics> {
        Ok(info(self.descriptor.as_fd())?.1)
    }
}

/// Has the kernel measure the programs that run, as long as the result lives (kernel.bpf_stats_enabled is left alone).
pub(super) fn enable_statistics() -> Result<OwnedFd> {
    let mut kind = STATS_RUN_TIME;
    // SAFETY: there are no addresses.
    let enabled = unsafe { bpf(Command::EnableStats, &mut kind) };
    Ok(descriptor(enabled.context("cannot enable the run-time statistics of BPF programs (Linux 5.8)")?))
}

/// How often programs ran while statistics were enabled, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    pub(super) runs: u64,
    pub(super) time: Duration,
}

impl Statistics {
    pub(super) fn since(self, before: Self) -> Self {
        Self { runs: self.runs - before.runs, time: self.time.saturating_sub(before.time) }
    }

    /// Nanoseconds per run; `None` if there was none.
    pub(super) fn per_run(self) -> Option<f64> {
        (self.runs > 0).then(|| self.time.as_nanos() as f64 / self.runs as f64)
    }
}

/// The programs that a process has loaded, by their names.
pub(super) fn programs_of(process: u32, names: &[&str]) -> Result<Vec<OwnedFd>> {
    let mut programs = Vec::new();
    let mut id = 0;
    while let Some(next) = next_id(id)? {
        id = next;
        // It may have gone meanwhile.
        let Ok(program) = by_id(id) else { continue };
        if names.contains(&info(program.as_fd())?.0.as_str()) && holds(process, id)? {
            programs.push(program);
        }
    }
    Ok(programs)
}

/// The statistics of programs, added up.
pub(super) fn statistics(programs: &[OwnedFd]) -> Result<Statistics> {
    let mut total = Statistics::default();
    for program in programs {
        let (_, Statistics { runs, time }) = info(program.as_fd())?;
        total.runs += runs;
        total.time += time;
    }
    Ok(total)
}

/// Whether one of a process's descriptors is the program (/proc/PID/fdinfo).
fn holds(process: u32, id: u32) -> Result<bool> {
    for entry in std::fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        // A descriptor may be closed meanwhile.
        let Ok(text) = std::fs::read_to_string(entry?.path()) else { continue };
        let number = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
        if number.and_then(|number| number.trim().parse().ok()) == Some(id) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn next_id(id: u32) -> Result<Option<u32>> {
    let mut attributes = ById { id, ..ById::default() };
    // SAFETY: there are no addresses.
    match unsafe { bpf(Command::ProgramGetNextId, &mut attributes) } {
        Ok(_) => Ok(Some(attributes.next_id)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("cannot list BPF programs"),
    }
}

fn by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attributes = ById { id, ..ById::default() };
    // SAFETY: there are no addresses.
    unsafe { bpf(Command::ProgramGetFdById, &mut attributes) }.map(descriptor)
}

/// A program's name and statistics.
fn info(program: BorrowedFd<'_>) -> Result<(String, Statistics)> {
    let mut info = [0_u8; INFO_LENGTH];
    let mut attributes = InfoByFd {
        program: program.as_raw_fd() as u32,
        length: INFO_LENGTH as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the buffer is as long as said, zeroed as the kernel wants it, and outlives the call.
    let result = unsafe { bpf(Command::ObjectGetInfoByFd, &mut attributes) };
    result.context("cannot ask for a BPF program's statistics")?;
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
