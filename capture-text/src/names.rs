//! Names instead of numbers, for `--resolve`.

use core::{fmt::Debug, net::IpAddr};

/// Knows names of addresses and ports. They consist of printable ASCII without blanks.
pub trait Names: Debug {
    /// The name of a host, if it has one that is known by now.
    fn host(&mut self, address: IpAddr) -> Option<&str>;

    /// The name of the service at a TCP port.
    fn service(&self, port: u16) -> Option<&str>;
}
