//! TCX: links that are gone with the process, however it ends. From Linux 6.6.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::programs::SchedClassifier;

use super::super::{
    bpf::{attach_tcx, tcx_chain},
    error::causes,
    hook::{Hook, Side},
    interface::{Disappeared, Interface},
    privileges::NotPermitted,
    program::Program,
};
use super::error::AttachError;

/// Why a program is not attached.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The kernel has no TCX.
    Unknown,
    /// Another reason.
    Error(AttachError),
}

/// Attaches a program before all others.
pub(super) fn attach(
    program: &SchedClassifier,
    interface: &Interface,
    side: Side,
) -> Result<OwnedFd, Refusal> {
    let failed = |reason| AttachError::Other { interface: interface.name.clone(), hook: Hook::Tc, reason };
    let program = program.fd().map_err(|error| Refusal::Error(failed(causes(&error))))?;
    attach_tcx(program.as_fd(), interface.index, side).map_err(|error| match error.raw_os_error() {
        _ if is_unknown(&error) => Refusal::Unknown,
        Some(libc::EPERM) => Refusal::Error(NotPermitted::to("attach TC programs").into()),
        Some(libc::ERANGE) => Refusal::Error(full(interface, side)),
        Some(libc::ENODEV) => Refusal::Error(Disappeared { name: interface.name.clone() }.into()),
        _ => Refusal::Error(failed(error.to_string())),
    })
}

/// Whether the kernel knows of TCX programs of the interface with this index.
pub(in super::super) fn is_known(interface: u32) -> bool {
    tcx_chain(interface, Side::Ingress).map_or_else(|error| !is_unknown(&error), |_| true)
}

/// What a kernel without TCX answers: one below 6.6, or without CONFIG_NET_XGRESS, does not know the attach type
/// (kernel/bpf/syscall.c, `link_create`; include/net/tcx.h, `tcx_link_attach`).
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::E2BIG | libc::EOPNOTSUPP))
}

/// That there is no room, how many programs there are, and which stands first.
fn full(interface: &Interface, side: Side) -> AttachError {
    let programs = tcx_chain(interface.index, side).map_or_else(|_| Vec::new(), |chain| chain.programs);
    AttachError::HookFull {
        interface: interface.name.clone(),
        side,
        count: programs.len(),
        first: programs.first().map_or_else(String::new, |&id| Program::with_id(id).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_without_tcx_is_taken_for_one() {
        let unknown = |number| is_unknown(&io::Error::from_raw_os_error(number));
        assert!([libc::EINVAL, libc::E2BIG, libc::EOPNOTSUPP].into_iter().all(unknown));
        assert!(![libc::EPERM, libc::ERANGE, libc::ENODEV, libc::ENOMEM].into_iter().any(unknown));
    }
}
