//! Who sends to whom: `10.0.0.1.1234 > 10.0.0.2.8888: `. The texts printed last are kept.

use super::{
    address::WriteAddress,
    line::{Kept, Line, Write},
    tcp::Network,
};

/// How many texts of each address family are kept: one for each value of a hash. Those of IPv4 take 16 KiB.
const SLOTS: usize = 256;

const V4_LENGTH: usize = "255.255.255.255.65535 > 255.255.255.255.65535: ".len();
const V6_LENGTH: usize = 2 * "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff.65535".len() + " > : ".len();

/// Source and destination, and their ports in the high and the low half.
type Pair<A> = (A, A, u32);

/// Prints pairs of endpoints.
#[derive(Debug)]
pub(super) struct Endpoints {
    v4: Box<[(Pair<[u8; 4]>, Kept<V4_LENGTH>); SLOTS]>,
    v6: Box<[(Pair<[u8; 16]>, Kept<V6_LENGTH>); SLOTS]>,
}

impl Endpoints {
    pub(super) fn new() -> Self {
        Self {
            v4: Box::new([(([0; 4], [0; 4], 0), Kept::EMPTY); SLOTS]),
            v6: Box::new([(([0; 16], [0; 16], 0), Kept::EMPTY); SLOTS]),
        }
    }

    /// Prints addresses and ports, with colon and blank.
    #[inline]
    pub(super) fn print(&mut self, network: Network<'_>, ports: [u16; 2], line: &mut Line) {
        if line.names.is_some() {
            // Not kept: a name may become known at any time.
            return match network {
                Network::V4 { source, destination, .. } => {
                    print_pair(line, ports, |line| line.ipv4(source), |line| line.ipv4(destination));
                }
                Network::V6 { source, destination } => {
                    print_pair(line, ports, |line| line.ipv6(source), |line| line.ipv6(destination));
                }
            };
        }
        let key = u32::from(ports[0]) << 16 | u32::from(ports[1]);
        match network {
            Network::V4 { source, destination, .. } => {
                let hash = u32::from_ne_bytes(source).wrapping_mul(3) ^ u32::from_ne_bytes(destination) ^ key;
                let (pair, text) = &mut self.v4[slot(hash)];
                let known = *pair == (source, destination, key);
                if known && !text.is_empty() {
                    line.kept(text);
                    return;
                }
                let start = line.position();
                line.write(|line| {
                    print_pair(line, ports, |line| line.ipv4(source), |line| line.ipv4(destination));
                });
                *pair = (source, destination, key);
                *text = if known { line.keep(start).unwrap_or(Kept::EMPTY) } else { Kept::EMPTY };
            }
            Network::V6 { source, destination } => {
                let fold = |address: &[u8; 16]| {
                    let address = u128::from_ne_bytes(*address);
                    (address ^ address >> 32 ^ address >> 64 ^ address >> 96) as u32
                };
                let hash = fold(source).wrapping_mul(3) ^ fold(destination) ^ key;
                let (pair, text) = &mut self.v6[slot(hash)];
                let known = *pair == (*source, *destination, key);
                if known && !text.is_empty() {
                    line.kept(text);
                    return;
                }
                let start = line.position();
                line.write(|line| {
                    print_pair(line, ports, |line| line.ipv6(source), |line| line.ipv6(destination));
                });
                *pair = (*source, *destination, key);
                *text = if known { line.keep(start).unwrap_or(Kept::EMPTY) } else { Kept::EMPTY };
            }
        }
    }
}

/// The high bits of a product depend on all bits of the hash (2^32 over the golden ratio).
#[inline]
fn slot(hash: u32) -> usize {
    (hash.wrapping_mul(0x9e37_79b9) >> (u32::BITS - SLOTS.ilog2())) as usize
}

#[inline(always)]
fn print_pair<W: Write>(
    line: &mut W,
    [source_port, destination_port]: [u16; 2],
    source: impl FnOnce(&mut W),
    destination: impl FnOnce(&mut W),
) {
    source(line);
    line.byte(b'.');
    line.port(source_port);
    line.text(" > ");
    destination(line);
    line.byte(b'.');
    line.port(destination_port);
    line.text(": ");
}
