//! Source and destination: `10.0.0.1.1234 > 10.0.0.2.8888: `. The texts printed last are kept.

use alloc::boxed::Box;

use super::{
    address::WriteAddress,
    conversations::NOWHERE,
    ip_addresses::IpAddresses,
    line::{Cursor, Kept, Line, Write},
};

/// How many texts of pairs are kept of each address family: one for each value of a hash. Those of IPv4 take 16 KiB.
const SLOTS: usize = 256;

const V4_END: usize = "255.255.255.255.65535".len();
const V6_END: usize = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff.65535".len();
const V4_PAIR: usize = 2 * V4_END + " > : ".len();
const V6_PAIR: usize = 2 * V6_END + " > : ".len();

/// Prints pairs of endpoints.
#[derive(Debug)]
pub(super) struct Endpoints {
    v4: Texts<u32, V4_END, V4_PAIR>,
    v6: Texts<[u8; 16], V6_END, V6_PAIR>,
}

impl Endpoints {
    pub(super) fn new() -> Self {
        Self { v4: Texts::new(0), v6: Texts::new([0; 16]) }
    }

    /// Prints addresses and ports, with colon and blank. Returns where the conversation's place is kept, unless there are
    /// names.
    #[inline(always)]
    pub(super) fn print(
        &mut self,
        addresses: IpAddresses<'_>,
        [source_port, destination_port]: [u16; 2],
        line: &mut Line,
    ) -> Option<&mut u32> {
        let ports = u32::from(source_port) << 16 | u32::from(destination_port);
        match addresses {
            IpAddresses::V4 { source, destination, .. } => {
                let [source, destination] = [source, destination].map(u32::from_be_bytes);
                if line.names.is_some() {
                    let ends = [(source, source_port), (destination, destination_port)];
                    print_pair(ends, line, |line, address| line.ipv4(address.to_be_bytes()));
                    return None;
                }
                let ends = Ends { source, destination, ports };
                let hash = source.swap_bytes().wrapping_mul(3) ^ destination.swap_bytes() ^ ports;
                let print = |line: &mut Cursor<'_>, address: u32| line.dotted_with_dot(address.to_be_bytes());
                Some(self.v4.print(ends, hash, line, print))
            }
            IpAddresses::V6 { source, destination } => {
                if line.names.is_some() {
                    let ends = [(*source, source_port), (*destination, destination_port)];
                    print_pair(ends, line, |line, address| line.ipv6(&address));
                    return None;
                }
                let fold = |address: &[u8; 16]| {
                    let address = u128::from_ne_bytes(*address);
                    (address ^ address >> 32 ^ address >> 64 ^ address >> 96) as u32
                };
                let hash = fold(source).wrapping_mul(3) ^ fold(destination) ^ ports;
                let ends = Ends { source: *source, destination: *destination, ports };
                Some(self.v6.print(ends, hash, line, |line, address| {
                    line.ipv6(&address);
                    line.byte(b'.');
                }))
            }
        }
    }
}

/// The texts of one address family that are kept.
#[derive(Debug)]
struct Texts<A, const END: usize, const PAIR: usize> {
    pairs: Box<[Pair<A, PAIR>; SLOTS]>,
    /// An end that many pairs have: a server's.
    common: Common<A, END>,
}

impl<A: Copy + PartialEq, const END: usize, const PAIR: usize> Texts<A, END, PAIR> {
    fn new(any: A) -> Self {
        let ends = Ends { source: any, destination: any, ports: 0 };
        Self {
            pairs: Box::new([Pair { ends, place: NOWHERE, text: Kept::EMPTY }; SLOTS]),
            common: Common { address: any, port: 0, text: Kept::EMPTY },
        }
    }

    /// Prints ends; `address` prints an address and a dot.
    #[inline(always)]
    fn print(
        &mut self,
        ends: Ends<A>,
        hash: u32,
        line: &mut Line,
        address: impl Fn(&mut Cursor<'_>, A),
    ) -> &mut u32 {
        let pair = &mut self.pairs[slot(hash)];
        if pair.ends == ends && !pair.text.is_empty() {
            line.kept(&pair.text);
        } else {
            let Ends { source, destination, ports } = ends;
            pair.print(source, destination, ports, &mut self.common, line, address);
        }
        &mut pair.place
    }
}

/// Two addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ends<A> {
    source: A,
    destination: A,
    /// The source's in the high half.
    ports: u32,
}

/// Two ends, what is printed of them, and what is remembered of their conversation.
#[derive(Clone, Copy, Debug)]
struct Pair<A, const PAIR: usize> {
    ends: Ends<A>,
    /// Where the conversation was found the last time.
    place: u32,
    /// Empty until they are seen a second time.
    text: Kept<PAIR>,
}

impl<A: Copy + PartialEq, const PAIR: usize> Pair<A, PAIR> {
    /// Prints ends whose text is not kept. They come in registers: through memory, they are read back in other pieces than
    /// they were stored in, for which the processor waits.
    #[inline(never)]
    fn print<const END: usize>(
        &mut self,
        source: A,
        destination: A,
        ports: u32,
        common: &mut Common<A, END>,
        line: &mut Line,
        address: impl Fn(&mut Cursor<'_>, A),
    ) {
        let start = line.position();
        let (source_port, destination_port) = ((ports >> 16) as u16, ports as u16);
        if common.is(destination, destination_port) {
            line.write(|line| {
                address(line, source);
                line.decimal(source_port.into());
                line.text(" > ");
                line.kept(&common.text);
                line.text(": ");
            });
        } else {
            common.print_others([(source, source_port), (destination, destination_port)], line, address);
        }
        let ends = Ends { source, destination, ports };
        if self.ends == ends {
            self.keep(start, line);
        } else {
            (self.ends, self.place) = (ends, NOWHERE);
            self.text.clear();
        }
    }

    /// Keeps what has been printed since `start`.
    #[inline(never)]
    fn keep(&mut self, start: usize, line: &Line) {
        self.text = line.keep(start..line.position()).unwrap_or(Kept::EMPTY);
    }
}

/// An end, and what is printed of it.
#[derive(Debug)]
struct Common<A, const N: usize> {
    address: A,
    port: u16,
    text: Kept<N>,
}

impl<A: Copy + PartialEq, const N: usize> Common<A, N> {
    /// Whether the text is of this end.
    #[inline(always)]
    fn is(&self, address: A, port: u16) -> bool {
        self.port == port && self.address == address && !self.text.is_empty()
    }

    /// Prints ends of which the second is another one: it becomes the one that is kept, unless the first is that.
    #[inline(never)]
    fn print_others(
        &mut self,
        [source, destination]: [(A, u16); 2],
        line: &mut Line,
        address: impl Fn(&mut Cursor<'_>, A),
    ) {
        let is_source = self.is(source.0, source.1);
        let (mut start, mut end) = (0, 0);
        line.write(|line| {
            if is_source {
                line.kept(&self.text);
            } else {
                address(line, source.0);
                line.decimal(source.1.into());
            }
            line.text(" > ");
            start = line.position();
            address(line, destination.0);
            line.decimal(destination.1.into());
            end = line.position();
            line.text(": ");
        });
        if !is_source {
            let text = line.keep(start..end).unwrap_or(Kept::EMPTY);
            *self = Self { address: destination.0, port: destination.1, text };
        }
    }
}

/// The high bits of a product depend on all bits of the hash (2^32 over the golden ratio).
#[inline]
fn slot(hash: u32) -> usize {
    (hash.wrapping_mul(0x9e37_79b9) >> (u32::BITS - SLOTS.ilog2())) as usize
}

/// With names. Not kept: a name may become known at any time.
fn print_pair<A: Copy>(
    [source, destination]: [(A, u16); 2],
    line: &mut Line,
    address: impl Fn(&mut Line, A),
) {
    address(line, source.0);
    line.byte(b'.');
    line.port(source.1);
    line.text(" > ");
    address(line, destination.0);
    line.byte(b'.');
    line.port(destination.1);
    line.text(": ");
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use test_support::random::Random;

    use super::*;

    /// Whatever is kept of earlier pairs: the same ends come in any order, few enough to recur and to have ports or
    /// addresses in common.
    #[test]
    fn what_is_kept_is_what_would_be_written() {
        let mut random = Random::new(1);
        let (mut endpoints, mut line) = (Endpoints::new(), Line::new());
        for _ in 0..20_000 {
            let mut end = || ([192, 0, 2, random.below(3) as u8 * 100], random.below(3) as u16 * 25_000);
            let [(source, source_port), (destination, destination_port)] = [end(), end()];
            let ports = [source_port, destination_port];
            endpoints.print(IpAddresses::V4 { header: 0, source, destination }, ports, &mut line);
            let [from, to] = [source, destination].map(Ipv4Addr::from);
            assert_eq!(line.taken(), format!("{from}.{source_port} > {to}.{destination_port}: "));
            let [from, to] =
                [from, to].map(|address| Ipv6Addr::from((0x2001_0db8 << 96) + u128::from(address.to_bits())));
            let [source, destination] = [from, to].map(|address| address.octets());
            let addresses = IpAddresses::V6 { source: &source, destination: &destination };
            endpoints.print(addresses, ports, &mut line);
            assert_eq!(line.taken(), format!("{from}.{source_port} > {to}.{destination_port}: "));
        }
    }
}
