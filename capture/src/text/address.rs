//! Addresses as text. IPv6 addresses are written as RFC 5952 wants, with one difference: those whose first 96 bits
//! are zero end in a dotted IPv4 address (addrtostr.c, `addrtostr6`).

use super::line::{Write, hex_digits};

/// Addresses can be written into whatever can be written into.
pub(super) trait WriteAddress: Write {
    /// `a.b.c.d`, or the host's name.
    #[inline(always)]
    fn ipv4(&mut self, address: [u8; 4]) {
        if !self.host_name(address.into()) {
            self.dotted(address);
        }
    }

    /// `a.b.c.d`.
    #[inline(always)]
    fn dotted(&mut self, [a, b, c, d]: [u8; 4]) {
        self.octet(a);
        self.byte(b'.');
        self.octet(b);
        self.byte(b'.');
        self.octet(c);
        self.byte(b'.');
        self.octet(d);
    }

    /// An IPv6 address, its longest run of two or more zero groups written as `::`, or the host's name.
    fn ipv6(&mut self, address: &[u8; 16]) {
        if self.host_name((*address).into()) {
            return;
        }
        let groups: [u16; 8] =
            std::array::from_fn(|n| u16::from_be_bytes([address[2 * n], address[2 * n + 1]]));
        let zeros = longest_zero_run(&groups);
        let dotted = zeros.start == 0 && (zeros.end == 6 || (zeros.end == 5 && groups[5] == 0xffff));
        for (n, &group) in groups.iter().enumerate() {
            if zeros.contains(&n) {
                if n == zeros.start {
                    self.byte(b':');
                }
                continue;
            }
            if n > 0 {
                self.byte(b':');
            }
            if n == 6 && dotted {
                self.dotted([address[12], address[13], address[14], address[15]]);
                return;
            }
            write_group(group, self);
        }
        if zeros.end == groups.len() {
            self.byte(b':');
        }
    }

    /// A TCP port, or its service's name.
    #[inline(always)]
    fn port(&mut self, port: u16) {
        if !self.service_name(port) {
            self.decimal(port.into());
        }
    }

    /// `xx:xx:xx:xx:xx:xx`.
    fn ethernet_address(&mut self, address: &[u8; 6]) {
        for (n, &byte) in address.iter().enumerate() {
            if n > 0 {
                self.byte(b':');
            }
            self.prefix(hex_digits(byte), 2);
        }
    }
}

impl<W: Write> WriteAddress for W {}

/// `%x` of a group.
#[inline]
fn write_group<W: Write + ?Sized>(group: u16, line: &mut W) {
    let [[a, b], [c, d]] = group.to_be_bytes().map(hex_digits);
    let digits = u32::from_le_bytes([a, b, c, d]);
    let leading_zeros = (group | 1).leading_zeros() / 4;
    line.prefix((digits >> (leading_zeros * 8)).to_le_bytes(), 4 - leading_zeros as usize);
}

/// The first of the longest runs of two or more zero groups; an empty range at the end if there is none.
fn longest_zero_run(groups: &[u16; 8]) -> std::ops::Range<usize> {
    let none = usize::MAX..usize::MAX;
    let (mut best, mut start) = (0..1, 0);
    let mut found = false;
    for (n, &group) in groups.iter().enumerate() {
        if group != 0 {
            start = n + 1;
        } else if n + 1 - start > best.len() {
            best = start..n + 1;
            found = true;
        }
    }
    if found { best } else { none }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::{super::line::Line, *};

    fn ipv6(address: Ipv6Addr) -> String {
        let mut line = Line::new();
        line.ipv6(&address.octets());
        line.taken()
    }

    #[test]
    fn ipv6_as_tcpdump_writes_it() {
        for address in [
            "::",
            "::1",
            "1::",
            "fe80::1",
            "2001:db8::1",
            "1:0:2:0:3:0:4:0",
            "1:0:0:2::3",
            "1::2:0:0:3",
            "0:1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:0",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "::0.1.0.2",
            "::1:2:3",
            "::fffe:102:304",
            "ff02::1:ff00:1",
            "0:0:1::",
            "1:1::ffff:102:304",
            "10:200:3000:a:bc:def:1234:0",
        ] {
            assert_eq!(ipv6(address.parse().unwrap()), address);
        }
    }

    #[test]
    fn ipv6_as_the_library_writes_it() {
        // Each group is one of four values, so all runs of zeros occur.
        for pattern in 0..1 << 16_u32 {
            let group = |n: u32| [0, 1, 0xffff, 0x0a0][(pattern >> (2 * n) & 3) as usize];
            let address = Ipv6Addr::from(std::array::from_fn::<u16, 8, _>(|n| group(n as u32)));
            let compatible = address.octets()[..12] == [0; 12] && group(6) != 0;
            if !compatible {
                assert_eq!(ipv6(address), address.to_string());
            }
        }
    }
}
