//! The little of bpf(2) that tests and measurements share: loading instructions as they are, running them on packets, and
//! which programs, maps and links there are.

#![expect(unsafe_code, reason = "bpf(2) takes pointers to structures, and has no safe wrapper")]

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::libc;

/// Commands, `enum bpf_cmd` (linux/bpf.h).
const PROGRAM_LOAD: u32 = 5;
const PROGRAM_TEST_RUN: u32 = 10;

/// Length of an instruction in bytes (RFC 9669 section 3).
const INSTRUCTION_LENGTH: usize = 8;

/// What a program is for: `enum bpf_prog_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramType {
    /// `BPF_PROG_TYPE_SCHED_CLS`: TC.
    SchedCls = 3,
    /// `BPF_PROG_TYPE_XDP`.
    Xdp = 6,
}

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
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
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

/// bpf(2).
///
/// # Safety
///
/// `attributes` is what the command takes, and the addresses in it are of memory that lives, is as long as the
/// attributes say, and is writable where the command writes.
///
/// # Errors
///
/// The kernel's.
pub unsafe fn bpf<T>(command: u32, attributes: &mut T) -> io::Result<i32> {
    let size = size_of::<T>() as u32;
    // SAFETY: `attributes` is valid for `size` bytes; for the rest the caller vouches.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// The descriptor that a command returned, which the kernel has just opened.
///
/// # Safety
///
/// Nothing else owns it.
pub unsafe fn descriptor(raw: i32) -> OwnedFd {
    // SAFETY: the caller vouches.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Loads instructions, each eight bytes. The verifier's words go into `log`, if it has room for all of them; an empty
/// one asks for none.
///
/// # Errors
///
/// When the kernel refuses the program, or its log does not fit.
pub fn load(program_type: ProgramType, code: &[u8], log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut attributes = ProgramLoad {
        program_type: program_type as u32,
        instruction_count: (code.len() / INSTRUCTION_LENGTH) as u32,
        instructions: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log_buffer: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
    };
    // SAFETY: instructions, license and log are as long as said, and outlive the call. It returns a new descriptor.
    unsafe { bpf(PROGRAM_LOAD, &mut attributes).map(|raw| descriptor(raw)) }
}

/// What a verifier's log says.
pub fn words(log: &[u8]) -> String {
    String::from_utf8_lossy(log).trim_end_matches('\0').trim().to_owned()
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// What the program returned.
    pub verdict: u32,
    /// Nanoseconds, the mean of all times it was repeated.
    pub duration: u32,
}

/// Runs a program on a packet. The packet is reused: what the program writes into it is still there when it sees it again.
///
/// # Errors
///
/// When the kernel does not run it, such as on a packet that is too short.
pub fn run(program: BorrowedFd<'_>, packet: &[u8], repeat: u32, flags: u32) -> io::Result<Run> {
    let mut attributes = TestRun {
        program: program.as_raw_fd() as u32,
        data_size_in: packet.len() as u32,
        data_in: packet.as_ptr() as u64,
        repeat,
        flags,
        ..TestRun::default()
    };
    // SAFETY: the packet is as long as said, is only read, and outlives the call.
    unsafe { bpf(PROGRAM_TEST_RUN, &mut attributes) }?;
    Ok(Run { verdict: attributes.return_value, duration: attributes.duration })
}

/// What the kernel numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A program.
    Program,
    /// A map.
    Map,
    /// A link.
    Link,
}

impl Object {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Program, Self::Map, Self::Link];

    /// `BPF_PROG_GET_NEXT_ID`, `BPF_MAP_GET_NEXT_ID`, `BPF_LINK_GET_NEXT_ID`.
    fn next(self) -> u32 {
        match self {
            Self::Program => 11,
            Self::Map => 12,
            Self::Link => 31,
        }
    }

    /// `BPF_PROG_GET_FD_BY_ID`, `BPF_MAP_GET_FD_BY_ID`, `BPF_LINK_GET_FD_BY_ID`.
    fn by_id(self) -> u32 {
        match self {
            Self::Program => 13,
            Self::Map => 14,
            Self::Link => 30,
        }
    }

    /// What its number stands behind in /proc/PID/fdinfo.
    fn word(self) -> &'static str {
        match self {
            Self::Program => "prog_id:",
            Self::Map => "map_id:",
            Self::Link => "link_id:",
        }
    }
}

/// What a process's descriptors are, or stand for (/proc/PID/fdinfo): nothing, if it has ended. The programs of links are
/// among them.
pub fn held_by(process: u32) -> BTreeSet<(Object, u32)> {
    let mut held = BTreeSet::new();
    // A process may end meanwhile, and a descriptor be closed.
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo")).into_iter().flatten().flatten() {
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        for line in text.lines() {
            let number = |object: Object| line.strip_prefix(object.word())?.trim().parse().ok();
            held.extend(Object::ALL.into_iter().filter_map(|object| Some((object, number(object)?))));
        }
    }
    held
}

/// The numbers of all that there are on this machine.
///
/// # Errors
///
/// When the kernel does not list them.
pub fn all(object: Object) -> Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    let mut id = 0;
    while let Some(next) = next_id(object, id)? {
        id = next;
        ids.insert(id);
    }
    Ok(ids)
}

/// Whether there is such a one.
///
/// # Errors
///
/// When the kernel does not say.
pub fn exists(object: Object, id: u32) -> Result<bool> {
    match by_id(object, id) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at BPF {object:?} {id}")),
    }
}

/// A descriptor of the one that has this number.
///
/// # Errors
///
/// When there is none any more.
pub fn by_id(object: Object, id: u32) -> io::Result<OwnedFd> {
    let mut attributes = ById { id, ..ById::default() };
    // SAFETY: there are no addresses, and no other code knows of the descriptor.
    unsafe { bpf(object.by_id(), &mut attributes).map(|raw| descriptor(raw)) }
}

fn next_id(object: Object, id: u32) -> Result<Option<u32>> {
    let mut attributes = ById { id, ..ById::default() };
    // SAFETY: there are no addresses.
    match unsafe { bpf(object.next(), &mut attributes) } {
        Ok(_) => Ok(Some(attributes.next_id)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot list BPF objects of the kind {object:?}")),
    }
}
