//! XDP: one program per interface and mode.

use std::io;

use aya::{
    programs::{ProgramError, ProgramType, Xdp, XdpMode, xdp::XdpLink},
    sys::{BpfHelper, is_helper_supported},
};

use super::super::{
    chain::Own,
    error::{causes, errno},
    hook::{Hook, Side},
    interface::{Disappeared, Interface},
    object::{LoadError, Object, too_old},
    privileges::NotPermitted,
    program::Program,
};
use super::error::AttachError;

/// Loads the program.
pub(super) fn program(object: &mut Object) -> Result<&mut Xdp, AttachError> {
    Ok(object.program("xdp").map_err(explain_refusal)?)
}

/// Loads the program and attaches it to `interface`.
pub(super) fn attach(
    object: &mut Object,
    interface: &Interface,
    hook: Hook,
    mode: XdpMode,
) -> Result<(XdpLink, Own), AttachError> {
    let program = program(object)?;
    let name = &interface.name;
    let failed = |error: ProgramError| match errno(&error) {
        Some(libc::EPERM) => NotPermitted::to("attach XDP programs").into(),
        Some(libc::EBUSY | libc::EEXIST) => {
            let holder = interface.xdp().map(|(id, mode)| Program::with_id(id).with(mode));
            AttachError::XdpTaken {
                interface: name.clone(),
                holder: holder.unwrap_or_else(|| "another program".to_owned()),
            }
        }
        Some(libc::ENODEV) => Disappeared { name: name.clone() }.into(),
        Some(number) => AttachError::XdpRefused {
            interface: name.clone(),
            hook,
            source: io::Error::from_raw_os_error(number),
        },
        None => AttachError::Other { interface: name.clone(), hook, reason: causes(&error) },
    };
    let link = program.attach_to_if_index(interface.index, mode).map_err(failed)?;
    let link = program.take_link(link).map_err(failed)?;
    Ok((link, Own::new(Side::Ingress, program.info())?))
}

/// A program that the kernel refuses because it lacks what the program calls. `bpf_xdp_load_bytes` came with programs
/// that take several buffers, which this one is, too.
fn explain_refusal(error: LoadError) -> LoadError {
    let lacks =
        || matches!(is_helper_supported(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_load_bytes), Ok(false));
    match error {
        LoadError::Refused { .. } if lacks() => too_old("capturing at XDP (bpf_xdp_load_bytes)", "5.18"),
        error => error,
    }
}
