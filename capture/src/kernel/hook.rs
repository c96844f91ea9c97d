//! Where packets are traced: the hook, the direction, and the sides of an interface.

use std::fmt;

/// The point in the packet's path at which it is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Traffic control: ingress and egress; on loopback ingress alone, where each packet passes once.
    Tc,
    /// XDP, native if the driver can, else generic; ingress only, before GRO.
    Xdp,
    /// XDP in the driver.
    XdpNative,
    /// XDP in the network stack, for every driver.
    XdpGeneric,
}

impl Hook {
    /// Whether it is XDP in one of its modes.
    pub fn is_xdp(self) -> bool {
        matches!(self, Self::Xdp | Self::XdpNative | Self::XdpGeneric)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
        })
    }
}

/// Which packets are captured, by the way they go, seen from this machine: `-Q`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectionFilter {
    /// Those that come in.
    In,
    /// Those that go out.
    Out,
    /// All.
    Both,
}

impl DirectionFilter {
    /// The sides of an interface where these packets pass.
    pub(super) fn sides(self) -> &'static [Side] {
        match self {
            Self::In => &[Side::Ingress],
            Self::Out => &[Side::Egress],
            Self::Both => &[Side::Ingress, Side::Egress],
        }
    }
}

/// One side of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where packets come in.
    Ingress,
    /// Where packets go out.
    Egress,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}
