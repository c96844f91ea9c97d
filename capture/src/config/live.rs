//! What a live capture is to capture.

use std::ffi::OsString;

use capture_packet::LinkType;

use super::error::ConfigError;
use crate::kernel::{DirectionFilter, Hook, LogLevel, NamespaceArgument};

/// What `-i` calls all interfaces together.
const ANY: &str = "any";

/// The interfaces of a live capture, as they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// None was named.
    Default,
    /// One, by what it is called.
    One(OsString),
    /// Several.
    Several(Vec<OsString>),
    /// All that are up.
    Any,
}

impl Interfaces {
    pub(super) fn new(names: Vec<OsString>) -> Result<Self, ConfigError> {
        match <[OsString; 1]>::try_from(names) {
            Ok([name]) if name != ANY => Ok(Self::One(name)),
            Ok(_) => Ok(Self::Any),
            Err(names) if names.is_empty() => Ok(Self::Default),
            Err(names) if names.iter().all(|name| name == ANY) => Ok(Self::Any),
            Err(names) if names.iter().any(|name| name == ANY) => Err(ConfigError::AnyAndOthers),
            Err(names) => Ok(Self::Several(names)),
        }
    }
}

/// A network namespace, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// By a name, a path or a process.
    Called(NamespaceArgument),
    /// By the id of a container.
    OfContainer(NamespaceArgument),
}

/// What a live capture needs to know.
#[derive(Clone, Debug)]
pub struct Live {
    /// Which interfaces.
    pub interfaces: Interfaces,
    /// The network namespaces that they are in; none for the own one.
    pub namespaces: Vec<Namespace>,
    /// Whether to wait for those that are not there.
    pub wait: bool,
    /// `-y`: what the packets are to begin with.
    pub link_type: Option<LinkType>,
    /// Where to attach.
    pub hook: Hook,
    /// Which packets.
    pub direction: DirectionFilter,
    /// Whether to put the interface into promiscuous mode.
    pub promiscuous: bool,
    /// Bytes to capture of each packet, 0 for the headers alone.
    pub snaplen: u32,
    /// Memory for the rings in bytes.
    pub buffer_size: usize,
    /// What the programs in the kernel log.
    pub log_level: LogLevel,
}

/// The network namespaces that are asked for, in the two ways.
pub(super) fn namespaces(called: Vec<OsString>, of_containers: Vec<OsString>) -> Vec<Namespace> {
    let called = called.into_iter().map(NamespaceArgument::of_name).map(Namespace::Called);
    let of_containers = of_containers.into_iter().map(NamespaceArgument::of_container);
    let mut all: Vec<Namespace> = called.chain(of_containers.map(Namespace::OfContainer)).collect();
    NamespaceArgument::tell_apart(all.iter_mut().map(|namespace| match namespace {
        Namespace::Called(argument) | Namespace::OfContainer(argument) => argument,
    }));
    all
}
