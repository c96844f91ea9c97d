//! Where the programs are attached.

mod clsact;
mod tcx;
mod xdp;

use std::{fmt, os::fd::OwnedFd};

use aya::programs::{SchedClassifier, XdpMode, xdp::XdpLink};

use self::clsact::FilterLink;

use super::{
    chain::{Notice, Own},
    error::KernelError,
    hook::{DirectionFilter, Hook, Side},
    interface::Interface,
    object::Object,
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
}

/// What keeps the programs attached, until it is dropped.
#[derive(Debug)]
enum Links {
    Tcx(#[expect(dead_code, reason = "held for their drop, which detaches")] Vec<OwnedFd>),
    Clsact(#[expect(dead_code, reason = "held for their drop, which detaches")] Vec<FilterLink>),
    Xdp(#[expect(dead_code, reason = "held for its drop, which detaches")] XdpLink),
}

impl fmt::Display for Attached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mechanism = match self.links {
            Links::Tcx(_) => "tcx",
            Links::Clsact(_) => "clsact",
            Links::Xdp(_) => {
                return match self.mode.filter(|_| self.hook == Hook::Xdp) {
                    Some(mode) => write!(formatter, "{} ({mode}, ingress only, before GRO)", self.hook),
                    None => write!(formatter, "{} (ingress only, before GRO)", self.hook),
                };
            }
        };
        formatter.write_str(match self.direction {
            DirectionFilter::In => "tc ingress",
            DirectionFilter::Out => "tc egress",
            DirectionFilter::Both => "tc ingress and egress",
        })?;
        write!(formatter, " ({mechanism})")
    }
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
    ) -> Result<Self, KernelError> {
        let mode = match hook {
            Hook::Auto | Hook::Tc => return Self::tc(object, interface, hook, direction),
            Hook::Xdp => XdpMode::Default,
            Hook::XdpNative => XdpMode::Driver,
            Hook::XdpGeneric => XdpMode::Skb,
        };
        let (link, own) = xdp::attach(object, interface, hook, mode)?;
        let slot = interface.xdp().map(|(_, mode)| mode);
        let mode = slot.filter(|mode| !mode.is_empty());
        Ok(Self { hook, direction: DirectionFilter::In, mode, links: Links::Xdp(link), own: vec![own] })
    }

    /// What else changes when the programs are attached.
    pub(super) fn notice(&self, interface: &Interface) -> Option<Notice> {
        // drivers/net/veth.c, `veth_xdp_set`.
        let changes = self.mode == Some("native") && interface.is_veth();
        changes.then(|| {
            Notice::Note(format!(
                "native XDP on {interface} turns off the segmentation offload of its peer, which then sends smaller \
                 packets, as long as capture runs; `--hook xdp-generic` and `--hook tc` do not"
            ))
        })
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
    ) -> Result<Self, KernelError> {
        // On loopback every packet goes out and comes in again. tcpdump shows it once, as it comes in
        // (libpcap, pcap-linux.c, `linux_check_direction`).
        let direction = match direction {
            DirectionFilter::Out if interface.is_loopback() => {
                return Err(KernelError::OutgoingOnLoopback { interface: interface.name.clone() });
            }
            DirectionFilter::Both if interface.is_loopback() => DirectionFilter::In,
            direction => direction,
        };
        let (links, own) = match Self::tcx(object, interface, direction)? {
            Some(attached) => attached,
            None => Self::clsact(object, interface, direction)?,
        };
        Ok(Self { hook, direction, mode: None, links, own })
    }

    /// `None` where the kernel has no TCX.
    fn tcx(
        object: &mut Object,
        interface: &Interface,
        direction: DirectionFilter,
    ) -> Result<Option<(Links, Vec<Own>)>, KernelError> {
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
    ) -> Result<(Links, Vec<Own>), KernelError> {
        let sides = direction.sides();
        clsact::add_qdisc(interface, sides)?;
        let attach = |&side: &Side| {
            let program = tc_program(object, side)?;
            Ok((
                clsact::attach(program, program_name(side), interface, side)?,
                Own::new(side, program.info())?,
            ))
        };
        let attached: Vec<_> = sides.iter().map(attach).collect::<Result<_, KernelError>>()?;
        let (links, own) = attached.into_iter().unzip();
        Ok((Links::Clsact(links), own))
    }
}

/// Loads the program for one side.
fn tc_program(object: &mut Object, side: Side) -> Result<&mut SchedClassifier, KernelError> {
    object.program(program_name(side))
}

fn program_name(side: Side) -> &'static str {
    match side {
        Side::Ingress => "tc_ingress",
        Side::Egress => "tc_egress",
    }
}
