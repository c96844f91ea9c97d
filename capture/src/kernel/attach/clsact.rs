//! clsact: filters of a qdisc, over netlink, below Linux 6.6. They are removed on exit, but left in place by SIGKILL.

use std::{io, os::fd::AsFd as _};

use aya::programs::SchedClassifier;

use super::super::{
    error::causes,
    filter::{Filter, Place, add_clsact, add_filter, delete_filter, filter_at, filters, ingress_qdisc},
    hook::{Hook, Side},
    interface::{Disappeared, Interface},
    privileges::NotPermitted,
};
use super::error::AttachError;

/// How often a place is looked for that someone else takes first.
const TRIES: usize = 8;

/// An attached program; detached when dropped.
#[derive(Debug)]
pub(super) struct FilterLink {
    interface: u32,
    side: Side,
    filter: Filter,
    is_own: bool,
}

impl FilterLink {
    /// Where it is.
    pub(super) fn place(&self) -> Place {
        self.filter.place()
    }

    /// Leaves the program attached.
    pub(super) fn disown(mut self) {
        self.is_own = false;
    }
}

impl Drop for FilterLink {
    fn drop(&mut self) {
        let Self { interface, side, filter, is_own } = self;
        if !*is_own {
            return;
        }
        // What has our priority and handle is not ours if someone has removed ours and put another one in its place.
        let id = |filter: &Filter| filter.program.as_ref().map(|program| program.id);
        let found = filter_at(*interface, *side, filter.place());
        if found.is_ok_and(|found| found.is_some_and(|found| id(&found) == id(filter))) {
            let _gone_meanwhile = delete_filter(*interface, *side, filter);
        }
    }
}

/// Adds the qdisc, unless it is there. A qdisc of kind `ingress` takes its place, and will do for what comes in.
pub(super) fn add_qdisc(interface: &Interface, sides: &[Side]) -> Result<(), AttachError> {
    match add_clsact(interface.index) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        added => return added.map_err(|error| failed(interface, &error)),
    }
    let kind = ingress_qdisc(interface.index).map_err(|error| failed(interface, &error))?;
    if kind.as_deref() == Some("ingress") && sides.contains(&Side::Egress) {
        return Err(AttachError::IngressOnly { interface: interface.name.clone() });
    }
    Ok(())
}

/// Attaches a program as near to the front as it can.
pub(super) fn attach(
    program: &SchedClassifier,
    name: &str,
    interface: &Interface,
    side: Side,
) -> Result<FilterLink, AttachError> {
    let refused = |reason| AttachError::Other { interface: interface.name.clone(), hook: Hook::Tc, reason };
    let descriptor = program.fd().map_err(|error| refused(causes(&error)))?.as_fd();
    let add = || {
        let priority = first_priority(&filters(interface.index, side)?)?;
        add_filter(interface.index, side, priority, name, descriptor)
    };
    let mut added = add();
    for _ in 1..TRIES {
        match &added {
            // Someone else has taken the priority in the meantime.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => added = add(),
            _ => break,
        }
    }
    let filter = added.map_err(|error| match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => AttachError::SharedBlock { interface: interface.name.clone(), side },
        _ => failed(interface, &error),
    })?;
    Ok(FilterLink { interface: interface.index, side, filter, is_own: true })
}

/// The first priority that is free, or that programs share: of those with the same priority the newest comes first
/// (net/sched/cls_bpf.c, `cls_bpf_change`). Others with the same priority are of one kind and for one protocol
/// (net/sched/cls_api.c, `tcf_chain_tp_find`).
fn first_priority(filters: &[Filter]) -> io::Result<u16> {
    let mut first: u16 = 1;
    // They are in the order of their priorities.
    for filter in filters {
        if filter.priority == first && !filter.shares_its_priority() {
            first =
                first.checked_add(1).ok_or_else(|| io::Error::other("other filters have every priority"))?;
        }
    }
    Ok(first)
}

fn failed(interface: &Interface, error: &io::Error) -> AttachError {
    match error.raw_os_error() {
        Some(libc::EPERM) => NotPermitted::to("attach TC programs").into(),
        Some(libc::ENODEV) => Disappeared { name: interface.name.clone() }.into(),
        // The kind of qdisc, or of filter, is unknown.
        Some(libc::ENOENT) => AttachError::NoClsact { interface: interface.name.clone() },
        _ => AttachError::Other {
            interface: interface.name.clone(),
            hook: Hook::Tc,
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_priority_that_takes_a_program() {
        let filter = |priority, kind: &str, protocol| Filter {
            priority,
            kind: kind.to_owned(),
            protocol,
            ..Filter::default()
        };
        let (all, ipv4) = (libc::ETH_P_ALL as u16, libc::ETH_P_IP as u16);
        for (filters, expected) in [
            (vec![], 1),
            (vec![filter(1, "bpf", all)], 1),
            (vec![filter(2, "u32", ipv4)], 1),
            (vec![filter(1, "u32", all), filter(1, "u32", all)], 2),
            (vec![filter(1, "bpf", ipv4), filter(2, "matchall", all), filter(3, "bpf", all)], 3),
        ] {
            assert_eq!(first_priority(&filters).unwrap(), expected, "{filters:?}");
        }
    }
}
