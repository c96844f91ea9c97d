//! What a file gives for each packet, and how its times are read.

use capture_packet::{Packet, Precision};

use super::options::Options;
use crate::source::interface::InterfaceDescription;

/// How the times of a file are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// As libpcap gives them to tcpdump, which asks for microseconds, or with `--nano` for nanoseconds: cut off to that, and
    /// from 2038 on wrong in a pcap file of this machine's byte order.
    AsTcpdump(Precision),
    /// As the file means them, in nanoseconds.
    Exact,
}

impl Times {
    pub(super) fn precision(self) -> Precision {
        match self {
            Self::AsTcpdump(precision) => precision,
            Self::Exact => Precision::Nano,
        }
    }
}

impl From<Precision> for Times {
    fn from(precision: Precision) -> Self {
        Self::AsTcpdump(precision)
    }
}

/// A packet, with what the file says of it and of its interface.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The packet.
    pub packet: Packet<'a>,
    /// What the file says of it besides.
    pub options: Options<'a>,
    /// The interfaces that are known by now, at least the packet's: see [`FileSource::interfaces`](super::FileSource::interfaces).
    pub interfaces: &'a [InterfaceDescription],
}
