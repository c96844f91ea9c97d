//! clsact: filters of a qdisc, over netlink, below Linux 6.6. They are removed on exit, but left behind by SIGKILL.

use aya::programs::{
    ProgramError, SchedClassifier,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, qdisc_add_clsact},
};

use super::super::{
    error::{KernelError, chain, errno, not_permitted},
    hook::{Hook, Side},
    interface::Interface,
};

/// Adds the qdisc, unless it is there.
pub(super) fn add_qdisc(interface: &Interface) -> Result<(), KernelError> {
    match qdisc_add_clsact(&interface.name) {
        Ok(()) | Err(TcError::AlreadyAttached) => Ok(()),
        Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(()),
        Err(error) if errno(&error) == Some(libc::ENOENT) => {
            Err(KernelError::NoClsact { interface: interface.name.clone() })
        }
        Err(error) => Err(failed(interface, error.into())),
    }
}

/// Attaches a program as near to the front as it can. Filters with a low number for a priority come first; of those
/// with the same priority and kind, the newest.
pub(super) fn attach(
    program: &mut SchedClassifier,
    interface: &Interface,
    side: Side,
) -> Result<SchedClassifierLink, KernelError> {
    let attach_type = match side {
        Side::Ingress => TcAttachType::Ingress,
        Side::Egress => TcAttachType::Egress,
    };
    let mut attach = |priority| {
        let options = TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() });
        program.attach_with_options(&interface.name, attach_type, options)
    };
    let attached = match attach(1) {
        // A filter of another kind has that priority: the kernel finds one that is free.
        Err(error) if errno(&error) == Some(libc::EINVAL) => attach(0),
        attached => attached,
    };
    let link = attached.map_err(|error| failed(interface, error))?;
    program.take_link(link).map_err(|error| failed(interface, error))
}

fn failed(interface: &Interface, error: ProgramError) -> KernelError {
    match errno(&error) {
        Some(libc::EPERM) => not_permitted("attach TC programs"),
        _ => KernelError::Attach { interface: interface.name.clone(), hook: Hook::Tc, reason: chain(&error) },
    }
}
