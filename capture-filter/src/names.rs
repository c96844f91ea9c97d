//! Names in expressions, which the caller of the parser resolves: the crate has no I/O.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;

/// Where names are looked up. Each error is the resolver's reason, without the name: `Name or service not known`.
pub trait Names {
    /// All addresses of a host, of both families, in any order; the same one may come twice. Numeric forms such as
    /// `10` and `::1` are asked for too, when a backslash stands before them.
    fn host(&mut self, name: &str) -> Result<Vec<IpAddr>, String>;

    /// The ports of a service: services(5).
    fn service(&mut self, name: &str) -> Result<Service, String>;

    /// The number of a protocol above IP: protocols(5).
    fn protocol(&mut self, name: &str) -> Result<u32, String>;

    /// The number of a network, in host byte order, as getnetbyname(3) returns it: networks(5).
    fn network(&mut self, name: &str) -> Result<u32, String>;

    /// The address of an Ethernet station: ethers(5).
    fn ether(&mut self, name: &str) -> Result<[u8; 6], String>;
}

/// The ports of a service. At least one is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its port of TCP.
    pub tcp: Option<u16>,
    /// Its port of UDP.
    pub udp: Option<u16>,
}

/// No names: each look-up fails. For expressions that come without a resolver, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNames;

/// Why [`NoNames`] refuses a name.
const NO_NAMES: &str = "names are not looked up here";

impl Names for NoNames {
    fn host(&mut self, _: &str) -> Result<Vec<IpAddr>, String> {
        Err(NO_NAMES.into())
    }

    fn service(&mut self, _: &str) -> Result<Service, String> {
        Err(NO_NAMES.into())
    }

    fn protocol(&mut self, _: &str) -> Result<u32, String> {
        Err(NO_NAMES.into())
    }

    fn network(&mut self, _: &str) -> Result<u32, String> {
        Err(NO_NAMES.into())
    }

    fn ether(&mut self, _: &str) -> Result<[u8; 6], String> {
        Err(NO_NAMES.into())
    }
}
