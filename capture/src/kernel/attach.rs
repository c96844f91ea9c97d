//! Where the programs are attached.

use std::{fmt, io};

use aya::{
    programs::{
        LinkOrder, ProgramError, SchedClassifier, Xdp, XdpMode,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError, qdisc_add_clsact},
        xdp::XdpLink,
    },
    util::KernelVersion,
};

use super::{
    error::{KernelError, chain, errno, not_permitted},
    interface::Interface,
    object::{Object, require_kernel},
};

/// The point in the packet's path at which it is traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Hook {
    /// tc, which prints the same lines as tcpdump
    #[default]
    Auto,
    /// Traffic control: ingress and egress; on loopback ingress alone, where each packet passes once
    Tc,
    /// XDP, native if the driver can, else generic; ingress only, before GRO
    Xdp,
    /// XDP in the driver
    XdpNative,
    /// XDP in the network stack, for every driver
    XdpGeneric,
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto | Self::Tc => "tc",
            Self::Xdp => "xdp",
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
        })
    }
}

/// Which packets are captured, seen from this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// Those that come in
    In,
    /// Those that go out
    Out,
    /// All
    #[default]
    #[value(name = "inout")]
    Both,
}

/// How a TC program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// TCX on Linux 6.6 and later, else clsact.
    #[default]
    Auto,
    /// A TCX link: gone with the process, however it ends.
    Tcx,
    /// A filter of a clsact qdisc, over netlink: removed on exit, but left behind by SIGKILL.
    Clsact,
}

/// Where a TC program goes.
struct Place {
    program: &'static str,
    attach_type: TcAttachType,
    /// Among TCX programs.
    order: LinkOrder,
    /// Among clsact filters.
    priority: u16,
}

/// The attached programs; detached when dropped.
#[derive(Debug)]
pub struct Attached {
    hook: Hook,
    mechanism: Mechanism,
    direction: Direction,
    /// Of XDP, where the kernel has chosen.
    mode: Option<&'static str>,
    #[expect(dead_code, reason = "held for its drop, which detaches")]
    links: Links,
}

/// What keeps the programs attached.
#[derive(Debug)]
#[expect(dead_code, reason = "held for their drop, which detaches")]
enum Links {
    Tc(Vec<SchedClassifierLink>),
    Xdp(XdpLink),
}

impl fmt::Display for Attached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hook {
            Hook::Auto | Hook::Tc => {
                formatter.write_str(match self.direction {
                    Direction::In => "tc ingress",
                    Direction::Out => "tc egress",
                    Direction::Both => "tc ingress and egress",
                })?;
                formatter.write_str(if self.mechanism == Mechanism::Clsact { " (clsact)" } else { " (tcx)" })
            }
            hook => match self.mode {
                Some(mode) => write!(formatter, "{hook} ({mode}, ingress only, before GRO)"),
                None => write!(formatter, "{hook} (ingress only, before GRO)"),
            },
        }
    }
}

impl Attached {
    /// Loads the programs that `hook` needs, and attaches them to `interface`.
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
        match hook {
            Hook::Auto | Hook::Tc => Self::tc(object, interface, hook, mechanism, direction),
            Hook::Xdp => Self::xdp(object, interface, hook, XdpMode::Default),
            Hook::XdpNative => Self::xdp(object, interface, hook, XdpMode::Driver),
            Hook::XdpGeneric => Self::xdp(object, interface, hook, XdpMode::Skb),
        }
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
        let has_tcx = KernelVersion::current().is_ok_and(|current| current >= KernelVersion::new(6, 6, 0));
        let mechanism = match mechanism {
            Mechanism::Auto if has_tcx => Mechanism::Tcx,
            Mechanism::Auto => Mechanism::Clsact,
            chosen => chosen,
        };
        let failed = |error: ProgramError| match errno(&error) {
            Some(libc::EPERM) => not_permitted("attach TC programs"),
            _ => KernelError::Attach { interface: interface.name.clone(), hook, reason: chain(&error) },
        };
        if mechanism == Mechanism::Clsact {
            match qdisc_add_clsact(&interface.name) {
                Ok(()) | Err(TcError::AlreadyAttached) => {}
                Err(error) if errno(&error) == Some(libc::EEXIST) => {}
                Err(error) if errno(&error) == Some(libc::ENOENT) => {
                    return Err(KernelError::NoClsact { interface: interface.name.clone() });
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
        // tcpdump's tap sees a packet before TC's programs on the way in and behind them on the way out. Filters with a
        // low number for a priority come first.
        let ingress = Place {
            program: "tc_ingress",
            attach_type: TcAttachType::Ingress,
            order: LinkOrder::first(),
            priority: 1,
        };
        let egress = Place {
            program: "tc_egress",
            attach_type: TcAttachType::Egress,
            order: LinkOrder::last(),
            priority: u16::MAX,
        };
        let places = match direction {
            Direction::In => vec![ingress],
            Direction::Out => vec![egress],
            Direction::Both => vec![ingress, egress],
        };
        let mut tc = Vec::with_capacity(places.len());
        for Place { program, attach_type, order, priority } in places {
            let program: &mut SchedClassifier = object.program(program)?;
            let mut attach = |options| program.attach_with_options(&interface.name, attach_type, options);
            let with_priority =
                |priority| TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() });
            let attached = if mechanism == Mechanism::Clsact {
                match attach(with_priority(priority)) {
                    // A filter of another kind has that priority: the kernel finds one that is free.
                    Err(error) if errno(&error) == Some(libc::EINVAL) => attach(with_priority(0)),
                    attached => attached,
                }
            } else {
                attach(TcAttachOptions::TcxOrder(order))
            };
            let link = attached.map_err(failed)?;
            tc.push(program.take_link(link).map_err(failed)?);
        }
        Ok(Self { hook, mechanism, direction, mode: None, links: Links::Tc(tc) })
    }

    fn xdp(
        object: &mut Object,
        interface: &Interface,
        hook: Hook,
        mode: XdpMode,
    ) -> Result<Self, KernelError> {
        // bpf_xdp_load_bytes, bpf_xdp_get_buff_len and programs that take several buffers.
        require_kernel(KernelVersion::new(5, 18, 0), "capturing at XDP", "5.18")?;
        let program: &mut Xdp = object.program("xdp")?;
        let name = &interface.name;
        let failed = |error: ProgramError| match errno(&error) {
            Some(libc::EPERM) => not_permitted("attach XDP programs"),
            Some(libc::EBUSY | libc::EEXIST) => {
                KernelError::XdpTaken { interface: name.clone(), holder: interface.xdp_holder() }
            }
            Some(number) => KernelError::XdpRefused {
                interface: name.clone(),
                hook,
                source: io::Error::from_raw_os_error(number),
            },
            None => KernelError::Attach { interface: name.clone(), hook, reason: chain(&error) },
        };
        let link = program.attach_to_if_index(interface.index, mode).map_err(failed)?;
        let xdp = program.take_link(link).map_err(failed)?;
        let mode = if hook == Hook::Xdp { interface.xdp_mode() } else { None };
        Ok(Self { hook, mechanism: Mechanism::Auto, direction: Direction::In, mode, links: Links::Xdp(xdp) })
    }
}
