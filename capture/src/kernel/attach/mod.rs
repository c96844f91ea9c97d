//! Where the programs are attached.

mod clsact;
mod error;
mod tcx;
mod xdp;

use std::{fmt, os::fd::OwnedFd};

use aya::programs::{SchedClassifier, XdpMode, xdp::XdpLink};

use self::clsact::FilterLink;
pub use self::error::AttachError;
pub(super) use self::tcx::is_known as has_tcx;

use super::{
    chain::{Notice, Own},
    hook::{DirectionFilter, Hook, Side},
    interface::Interface,
    life::remove_dead,
    object::{LoadError, Object},
};

/// The attached programs; detached when dropped.
#[derive(Debug)]
pub struct Attached {
    hook: Hook,
    direction: DirectionFilter,
    /// Of XDP, as the kernel has it.
    mode: Option<&'static str>,
    links: Links,
    own: Vec<Own>,
    /// Filters of captures that were killed, which have been removed.
    removed: usize,
}

/// What keeps the programs attached, until it is dropped.
#[derive(Debug)]
enum Links {
    Tcx(#[expect(dead_code, reason = "held for their drop, which detaches")] Vec<OwnedFd>),
    Clsact(Vec<FilterLink>),
    Xdp(#[expect(dead_code, reason = "held for its drop, which detaches")] XdpLink),
}

/// How programs are attached at TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    Tcx,
    Clsact,
}

impl fmt::Display for Attached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mechanism = match self.links {
            Links::Tcx(_) => Mechanism::Tcx,
            Links::Clsact(_) => Mechanism::Clsact,
            Links::Xdp(_) => {
                let mode = self.mode.filter(|_| self.hook == Hook::Xdp);
                return formatter.write_str(&at_xdp(self.hook, mode));
            }
        };
        formatter.write_str(&at_tc(self.direction, mechanism))
    }
}

fn at_xdp(hook: Hook, mode: Option<&str>) -> String {
    match mode {
        Some(mode) => format!("{hook} ({mode}, ingress only, before GRO)"),
        None => format!("{hook} (ingress only, before GRO)"),
    }
}

fn at_tc(direction: DirectionFilter, mechanism: Mechanism) -> String {
    let side = match direction {
        DirectionFilter::In => "tc ingress",
        DirectionFilter::Out => "tc egress",
        DirectionFilter::Both => "tc ingress and egress",
    };
    let mechanism = match mechanism {
        Mechanism::Tcx => "tcx",
        Mechanism::Clsact => "clsact",
    };
    format!("{side} ({mechanism})")
}

impl Attached {
    /// Loads the programs that `hook` needs, and attaches them to `interface`, before those of others.
    ///
    /// # Errors
    ///
    /// When the verifier refuses a program, the interface does not take it, or the process is not privileged.
    pub fn new(
        object: &mut Object,
        interface: &Interface,
        hook: Hook,
        direction: DirectionFilter,
    ) -> Result<Self, AttachError> {
        let mode = match hook {
            Hook::Tc => return Self::tc(object, interface, hook, direction),
            Hook::Xdp => XdpMode::Default,
            Hook::XdpNative => XdpMode::Driver,
            Hook::XdpGeneric => XdpMode::Skb,
        };
        let (link, own) = xdp::attach(object, interface, hook, mode)?;
        let slot = interface.xdp().map(|(_, mode)| mode);
        let mode = slot.filter(|mode| !mode.is_empty());
        Ok(Self {
            hook,
            direction: DirectionFilter::In,
            mode,
            links: Links::Xdp(link),
            own: vec![own],
            removed: 0,
        })
    }

    /// Loads the programs that `hook` needs, before there is anything to attach them to.
    ///
    /// # Errors
    ///
    /// When the verifier refuses one, or the process is not privileged.
    pub(super) fn load(
        object: &mut Object,
        hook: Hook,
        direction: DirectionFilter,
    ) -> Result<(), AttachError> {
        if hook.is_xdp() {
            return xdp::program(object).map(drop);
        }
        for &side in direction.sides() {
            tc_program(object, side)?;
        }
        Ok(())
    }

    /// Where programs will be attached to an interface, in words, as far as that is known before they are.
    pub(super) fn expected(interface: &Interface, hook: Hook, direction: DirectionFilter) -> String {
        if hook.is_xdp() {
            return at_xdp(hook, None);
        }
        let mechanism = if tcx::is_known(interface.index) { Mechanism::Tcx } else { Mechanism::Clsact };
        // On loopback it goes out only to come in.
        let direction = if interface.is_loopback() { DirectionFilter::In } else { direction };
        at_tc(direction, mechanism)
    }

    /// Leaves the programs attached, to another process that has the same descriptors.
    pub(super) fn disown(self) {
        // A descriptor that is closed here is still open there.
        if let Links::Clsact(links) = self.links {
            links.into_iter().for_each(FilterLink::disown);
        }
    }

    /// What else changes when the programs are attached.
    pub(super) fn notices(&self, interface: &Interface) -> Vec<Notice> {
        // drivers/net/veth.c, `veth_xdp_set`.
        let changes = self.mode == Some("native") && interface.is_veth();
        let changes = changes.then(|| {
            Notice::Note(format!(
                "native XDP on {interface} turns off the segmentation offload of its peer, which then sends smaller \
                 packets, as long as capture runs; `--hook xdp-generic` and `--hook tc` do not"
            ))
        });
        let removed = (self.removed > 0).then(|| Notice::Note(removal(self.removed, interface)));
        let is_at_tc = !matches!(self.links, Links::Xdp(_));
        let unseen = is_at_tc.then(|| interface.kind()).flatten();
        let unseen = unseen.and_then(|kind| unseen_at_tc(&kind, self.direction));
        let unseen = unseen.map(|why| Notice::Note(format!("{why} {interface}")));
        changes.into_iter().chain(removed).chain(unseen).collect()
    }

    /// The programs, and where they are.
    pub(super) fn own(&self) -> &[Own] {
        &self.own
    }

    fn tc(
        object: &mut Object,
        interface: &Interface,
        hook: Hook,
        direction: DirectionFilter,
    ) -> Result<Self, AttachError> {
        // On loopback every packet goes out and comes in again. tcpdump shows it once, as it comes in
        // (libpcap, pcap-linux.c, `linux_check_direction`).
        let direction = match direction {
            DirectionFilter::Out if interface.is_loopback() => {
                return Err(AttachError::OutgoingOnLoopback { interface: interface.name.clone() });
            }
            DirectionFilter::Both if interface.is_loopback() => DirectionFilter::In,
            direction => direction,
        };
        let ((links, own), removed) = match Self::tcx(object, interface, direction)? {
            Some(attached) => (attached, 0),
            None => {
                // What cannot be removed hides nothing.
                let removed = remove_dead(interface.index).unwrap_or(0);
                (Self::clsact(object, interface, direction)?, removed)
            }
        };
        Ok(Self { hook, direction, mode: None, links, own, removed })
    }

    /// `None` where the kernel has no TCX.
    fn tcx(
        object: &mut Object,
        interface: &Interface,
        direction: DirectionFilter,
    ) -> Result<Option<(Links, Vec<Own>)>, AttachError> {
        let mut attached = Vec::new();
        for &side in direction.sides() {
            let program = tc_program(object, side)?;
            match tcx::attach(program, interface, side) {
                Ok(link) => attached.push((link, Own::new(side, program.info())?)),
                Err(tcx::Refusal::Unknown) => return Ok(None),
                Err(tcx::Refusal::Error(error)) => return Err(error),
            }
        }
        let (links, own) = attached.into_iter().unzip();
        Ok(Some((Links::Tcx(links), own)))
    }

    fn clsact(
        object: &mut Object,
        interface: &Interface,
        direction: DirectionFilter,
    ) -> Result<(Links, Vec<Own>), AttachError> {
        let sides = direction.sides();
        clsact::add_qdisc(interface, sides)?;
        let attach = |&side: &Side| {
            let name = format!("{}{}", program_name(side), object.mark);
            let program = tc_program(object, side)?;
            let link = clsact::attach(program, &name, interface, side)?;
            let own = Own::new(side, program.info())?.at(link.place());
            Ok((link, own))
        };
        let attached: Vec<_> = sides.iter().map(attach).collect::<Result<_, AttachError>>()?;
        let (links, own) = attached.into_iter().unzip();
        Ok((Links::Clsact(links), own))
    }
}

/// What is not seen at tc of a device of this kind, in front of its name. tcpdump's tap sees it (docs/interfaces.md has runs of
/// each kind).
fn unseen_at_tc(kind: &str, direction: DirectionFilter) -> Option<&'static str> {
    match kind {
        // drivers/net/vrf.c hands packets to the taps, and to no program.
        "vrf" => Some(
            "the kernel runs no programs at a VRF: capture on the interfaces that belong to it; nothing is printed of",
        ),
        "vti" | "vti6" | "xfrm" if direction != DirectionFilter::Out => Some(
            "incoming packets of IPsec devices are not recognized at tc: only outgoing ones are printed of",
        ),
        _ => None,
    }
}

/// That filters of captures that were killed have been removed from an interface.
pub(super) fn removal(count: usize, interface: &Interface) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("removed {count} filter{plural} from {interface}, left there by a capture that was killed")
}

/// Loads the program for one side.
fn tc_program(object: &mut Object, side: Side) -> Result<&mut SchedClassifier, LoadError> {
    object.program(program_name(side))
}

fn program_name(side: Side) -> &'static str {
    match side {
        Side::Ingress => "tc_ingress",
        Side::Egress => "tc_egress",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_said_where_it_is_asked_for() {
        let says = |kind, direction| unseen_at_tc(kind, direction).is_some();
        for direction in [DirectionFilter::In, DirectionFilter::Out, DirectionFilter::Both] {
            assert!(says("vrf", direction));
            assert!(!says("veth", direction) && !says("", direction));
        }
        for kind in ["vti", "vti6", "xfrm"] {
            assert!(says(kind, DirectionFilter::In) && says(kind, DirectionFilter::Both));
            assert!(!says(kind, DirectionFilter::Out));
        }
    }
}
