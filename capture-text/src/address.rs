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

    /// An IPv6 address, the first of its longest runs of zero groups written as `::`, or the host's name.
    #[inline]
    fn ipv6(&mut self, address: &[u8; 16]) {
        if self.host_name((*address).into()) {
            return;
        }
        let groups: [u16; 8] =
            core::array::from_fn(|n| u16::from_be_bytes([address[2 * n], address[2 * n + 1]]));
        let zeros = (0..8).fold(0, |zeros, n| zeros | usize::from(groups[n] == 0) << n);
        let (start, end) = ZERO_RUNS[zeros];
        let (head, tail) = (&groups[..usize::from(start)], &groups[usize::from(end)..]);
        match (head, tail) {
            _ if start == end => write_groups(&groups, self),
            ([], [0xffff, _, _]) => {
                self.text("::ffff:");
                self.dotted([address[12], address[13], address[14], address[15]]);
            }
            ([], [_, _]) => {
                self.text("::");
                self.dotted([address[12], address[13], address[14], address[15]]);
            }
            _ => {
                write_groups(head, self);
                self.text("::");
                write_groups(tail, self);
            }
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

/// Groups as `%x`, colons between them.
#[inline]
fn write_groups<W: Write + ?Sized>(groups: &[u16], line: &mut W) {
    for (n, &group) in groups.iter().enumerate() {
        if n > 0 {
            line.byte(b':');
        }
        let [[a, b], [c, d]] = group.to_be_bytes().map(hex_digits);
        let digits = u32::from_le_bytes([a, b, c, d]);
        let zeros = (group | 1).leading_zeros() / 4;
        line.prefix((digits >> (zeros * 8)).to_le_bytes(), 4 - zeros as usize);
    }
}

/// Where the first of the longest runs of two or more zero groups begins and ends, for each set of zero groups (bit n
/// for group n). Twice the same number if there is none.
const ZERO_RUNS: [(u8, u8); 256] = {
    let mut runs = [(0, 0); 256];
    let mut zeros = 0;
    while zeros < runs.len() {
        let (mut start, mut end) = (0, 0);
        while end < 8 {
            end += 1;
            if zeros >> (end - 1) & 1 == 0 {
                start = end;
            } else if end - start > 1 && end - start > runs[zeros].1 - runs[zeros].0 {
                runs[zeros] = (start, end);
            }
        }
        zeros += 1;
    }
    runs
};

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
