//! The calls of bpf(2) for TCX, which aya has for the name of an interface only: between the look-up of a name and the
//! call it can pass to another interface.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use super::hook::Side;

/// Commands of bpf(2), linux/bpf.h.
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_LINK_CREATE: libc::c_long = 28;
/// Places a program before all others where no other one is named.
const BPF_F_BEFORE: u32 = 1 << 3;
/// More programs than one hook takes (include/linux/bpf_mprog.h: one less than `BPF_MPROG_MAX`).
const MOST_PROGRAMS: usize = 64;

impl Side {
    /// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`.
    fn attach_type(self) -> u32 {
        match self {
            Self::Ingress => 46,
            Self::Egress => 47,
        }
    }
}

/// What [`attach_tcx`] passes: `link_create` of `union bpf_attr`.
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
    /// The program or link that `flags` refer to, if they do.
    relative: u32,
    padding: u32,
    /// The revision that the chain has to have; 0 for any.
    revision: u64,
}

/// What [`tcx_chain`] passes: `query` of `union bpf_attr`.
#[repr(C)]
struct ProgramQuery {
    interface: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    padding: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

/// The TCX programs at one side of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TcxChain {
    /// Grows by one with each change.
    pub(super) revision: u64,
    /// The ids, in the order in which the programs run.
    pub(super) programs: Vec<u32>,
}

/// Attaches a program before all others. It is detached when the link is closed.
pub(super) fn attach_tcx(program: BorrowedFd<'_>, interface: u32, side: Side) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        interface,
        attach_type: side.attach_type(),
        flags: BPF_F_BEFORE,
        relative: 0,
        padding: 0,
        revision: 0,
    };
    #[expect(unsafe_code, reason = "a system call, and the descriptor that it returns")]
    // SAFETY: the attributes are those of BPF_LINK_CREATE and point to nothing. The call returns a new descriptor, which
    // nothing else owns.
    unsafe {
        let link = bpf(BPF_LINK_CREATE, &mut attributes)?;
        Ok(OwnedFd::from_raw_fd(link))
    }
}

/// The programs at one side of an interface.
pub(super) fn tcx_chain(interface: u32, side: Side) -> io::Result<TcxChain> {
    let mut programs = vec![0_u32; MOST_PROGRAMS];
    let mut attributes = ProgramQuery {
        interface,
        attach_type: side.attach_type(),
        query_flags: 0,
        attach_flags: 0,
        programs: programs.as_mut_ptr().expose_provenance() as u64,
        count: MOST_PROGRAMS as u32,
        padding: 0,
        program_flags: 0,
        links: 0,
        link_flags: 0,
        revision: 0,
    };
    #[expect(unsafe_code, reason = "a system call")]
    // SAFETY: the attributes are those of BPF_PROG_QUERY, and `programs` has room for `count` ids.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    programs.truncate(attributes.count as usize);
    Ok(TcxChain { revision: attributes.revision, programs })
}

/// One call of bpf(2).
///
/// # Safety
///
/// `attributes` has to be the part of `union bpf_attr` that belongs to `command`, and what it points to as large as it
/// states.
#[expect(unsafe_code, reason = "libc has no wrapper of bpf(2)")]
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes the attributes within their size, and what they point to within the size that
    // they state; the caller answers for both.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout is that of linux/bpf.h: a size that the kernel knows, without gaps.
    #[test]
    fn the_attributes_have_the_kernels_layout() {
        assert_eq!([size_of::<LinkCreate>(), size_of::<ProgramQuery>()], [32, 64]);
        assert_eq!(std::mem::offset_of!(ProgramQuery, revision), 56);
        assert_eq!(std::mem::offset_of!(LinkCreate, revision), 24);
    }
}
