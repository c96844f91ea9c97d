//! Where the programs are attached.

mod clsact;
mod tcx;
mod xdp;

use std::{fmt, os::fd::OwnedFd};

use aya::programs::{SchedClassifier, XdpMode, tc::SchedClassifierLink, xdp::XdpLink};

use super::{
    error::KernelError,
    hook::{Direction, Hook, Mechanism, Side},
    interface::Interface,
    object::Object,
};

/// The attached programs; detached when dropped.
#[derive(Debug)]
pub struct Attached {
    hook: Hook,
    direction: Direction,
    /// Of XDP, where the kernel has chosen.
    mode: Option<&'static str>,
    links: Links,
}

/// What keeps the programs attached, until it is dropped.
#[derive(Debug)]
enum Links {
    Tcx(#[expect(dead_code, reason = "held for their drop, which detaches")] Vec<OwnedFd>),
    Clsact(#[expect(dead_code, reason = "held for their drop, which detaches")] Vec<SchedClassifierLink>),
    Xdp(#[expect(dead_code, reason = "held for its drop, which detaches")] XdpLink),
}

impl fmt::Display for Attached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mechanism = match self.links {
            Links::Tcx(_) => "tcx",
            Links::Clsact(_) => "clsact",
            Links::Xdp(_) => {
                return match self.mode {
                    Some(mode) => write!(formatter, "{} ({mode}, ingress only, before GRO)", self.hook),
                    None => write!(formatter, "{} (ingress only, before GRO)", self.hook),
                };
            }
        };
        formatter.write_str(match self.direction {
            Direction::In => "tc ingress",
            Direction::Out => "tc egress",
            Direction::Both => "tc ingress and egress",
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
        mechanism: Mechanism,
        direction: Direction,
    ) -> Result<Self, KernelError> {
        let mode = match hook {
            Hook::Auto | Hook::Tc => return Self::tc(object, interface, hook, mechanism, direction),
            Hook::Xdp => XdpMode::Default,
            Hook::XdpNative => XdpMode::Driver,
            Hook::XdpGeneric => XdpMode::Skb,
        };
        let link = xdp::attach(object, interface, hook, mode)?;
        let slot = interface.xdp().map(|(_, mode)| mode);
        let mode = slot.filter(|mode| hook == Hook::Xdp && !mode.is_empty());
        Ok(Self { hook, direction: Direction::In, mode, links: Links::Xdp(link) })
    }

    fn tc(
        object: &mut Object,
        interface: &Interface,
        hook: Hook,
        mechanism: Mechanism,
        direction: Direction,
    ) -> Result<Self, KernelError> {
        // On loopback every packet goes out and comes in again. tcpdump shows it once, as it comes in
        // (libpcap, pcap-linux.c, `linux_check_direction`).
        let direction = match direction {
            Direction::Out if interface.is_loopback() => {
                return Err(KernelError::OutgoingOnLoopback { interface: interface.name.clone() });
            }
            Direction::Both if interface.is_loopback() => Direction::In,
            direction => direction,
        };
        let links = match mechanism {
            Mechanism::Clsact => Self::clsact(object, interface, direction)?,
            Mechanism::Auto | Mechanism::Tcx => match Self::tcx(object, interface, direction)? {
                Some(links) => links,
                None if mechanism == Mechanism::Auto => Self::clsact(object, interface, direction)?,
                None => {
                    return Err(KernelError::Attach {
                        interface: interface.name.clone(),
                        hook,
                        reason: "the kernel has no TCX".to_owned(),
                    });
                }
            },
        };
        Ok(Self { hook, direction, mode: None, links })
    }

    /// `None` where the kernel has no TCX.
    fn tcx(
        object: &mut Object,
        interface: &Interface,
        direction: Direction,
    ) -> Result<Option<Links>, KernelError> {
        let mut links = Vec::new();
        for &side in direction.sides() {
            match tcx::attach(tc_program(object, side)?, interface, side) {
                Ok(link) => links.push(link),
                Err(tcx::Refusal::Unknown) => return Ok(None),
                Err(tcx::Refusal::Error(error)) => return Err(error),
            }
        }
        Ok(Some(Links::Tcx(links)))
    }

    fn clsact(
        object: &mut Object,
        interface: &Interface,
        direction: Direction,
    ) -> Result<Links, KernelError> {
        clsact::add_qdisc(interface)?;
        let sides = direction.sides().iter();
        let links = sides.map(|&side| clsact::attach(tc_program(object, side)?, interface, side));
        Ok(Links::Clsact(links.collect::<Result<_, _>>()?))
    }
}

/// Loads the program for one side.
fn tc_program(object: &mut Object, side: Side) -> Result<&mut SchedClassifier, KernelError> {
    object.program(match side {
        Side::Ingress => "tc_ingress",
        Side::Egress => "tc_egress",
    })
}
