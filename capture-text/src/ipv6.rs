//! IPv6: print-ip6.c, and its fragment header: print-frag6.c.
//!
//! The filter `tcp` lets through what has a TCP or a fragment header right after the IPv6 header. Other extension
//! headers are printed as a protocol tcpdump does not know.

use capture_common::headers::{ipv6, tcp};

use super::{
    address::WriteAddress,
    dissector::{Dissector, Truncated, protocol_name},
    ip_addresses::IpAddresses,
    line::Write,
    tcp::LocatedSegment,
};

impl Dissector<'_> {
    /// Prints the IPv6 packet at `offset`, of which `length` bytes were on the wire.
    #[inline]
    pub(super) fn ipv6(&mut self, offset: usize, length: u32) -> Result<(), Truncated> {
        self.protocol = "ip6";
        let Ok(header) = self.array::<{ ipv6::LENGTH }>(offset) else {
            self.print_truncated(Truncated);
            return Ok(());
        };
        if (length as usize) < ipv6::LENGTH {
            self.labelled("truncated-ip6 ", length);
            return Ok(());
        }
        if !self.options.link_header {
            self.line.text("IP6 ");
        }
        let &[v, _, _, _, p1, p0, next_header, hop_limit, ..] = header;
        if v >> 4 != 6 {
            self.labelled("version error: ", (v >> 4).into());
            self.line.text(" != 6");
            return Ok(());
        }
        let payload_length = u16::from_be_bytes([p1, p0]);
        // Without a payload length, a jumbo payload option could follow: then the length is what was on the wire,
        // for the time being.
        let mut remaining = length;
        if payload_length != 0 {
            remaining = u32::from(payload_length);
            let total_length = remaining + ipv6::LENGTH as u32;
            if length < total_length {
                self.labelled("truncated-ip6 - ", total_length - length);
                self.line.text(" bytes missing!");
            }
        }
        if self.options.verbosity > 0 {
            let flow = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            self.verbose_ipv6_header(flow, payload_length, next_header, hop_limit);
        }
        self.cut(offset, remaining as usize + ipv6::LENGTH);
        let (source, destination) = addresses(header);
        if next_header != tcp::PROTOCOL {
            self.line.ipv6(source);
            self.line.text(" > ");
            self.line.ipv6(destination);
            self.line.text(": ");
        }
        let mut at = offset + ipv6::LENGTH;
        let mut protocol = next_header;
        while protocol == ipv6::NEXT_HEADER_FRAGMENT {
            if !self.fragment_header(at, at - offset, payload_length)? || self.available(at + 8) == 0 {
                return Ok(());
            }
            protocol = self.u8(at)?;
            self.protocol = "ip6";
            let Some(rest) = remaining.checked_sub(ipv6::FRAGMENT_LENGTH as u32) else {
                self.print_truncated(Truncated);
                return Ok(());
            };
            remaining = rest;
            at += ipv6::FRAGMENT_LENGTH;
        }
        let fragmented = at != offset + ipv6::LENGTH;
        if payload_length == 0 {
            if fragmented {
                self.print_truncated(Truncated);
                return Ok(());
            }
            remaining = 0;
            self.cut(offset, ipv6::LENGTH);
        }
        if protocol != tcp::PROTOCOL {
            self.unknown_protocol(protocol, remaining);
            return Ok(());
        }
        self.tcp(&LocatedSegment {
            offset: at,
            length: remaining,
            addresses: IpAddresses::V6 { source, destination },
            ports_only: next_header != tcp::PROTOCOL,
            fragmented,
        })
    }

    /// `-v`: the header in parentheses, on the same line. (The parentheses are tcpdump's.)
    fn verbose_ipv6_header(&mut self, flow: u32, payload_length: u16, next_header: u8, hop_limit: u8) {
        self.line.byte(b'(');
        let (class, label) = (flow >> 20 & 0xff, flow & 0x000f_ffff);
        if class != 0 {
            self.line.text("class 0x");
            self.line.hex_padded(class.into(), 2);
            self.line.text(", ");
        }
        if label != 0 {
            self.line.text("flowlabel 0x");
            self.line.hex_padded(label.into(), 5);
            self.line.text(", ");
        }
        self.labelled("hlim ", hop_limit.into());
        self.line.text(", next-header ");
        self.line.text(protocol_name(next_header));
        self.labelled(" (", next_header.into());
        self.labelled(") payload length: ", payload_length.into());
        self.line.text(") ");
    }

    /// Prints the fragment header at `offset`, `from_header` bytes after the beginning of the IPv6 header. Whether
    /// it is the first fragment, which alone has a TCP header.
    fn fragment_header(
        &mut self,
        offset: usize,
        from_header: usize,
        payload_length: u16,
    ) -> Result<bool, Truncated> {
        self.protocol = "frag6";
        let identification = if self.options.verbosity > 0 { Some(self.u32(offset + 4)?) } else { None };
        let fragment_offset = self.u16(offset + ipv6::FRAGMENT_OFFSET)? & ipv6::FRAGMENT_OFFSET_MASK;
        self.line.text("frag (");
        if let Some(identification) = identification {
            self.line.text("0x");
            self.line.hex_padded(identification.into(), 8);
            self.line.byte(b':');
        }
        self.line.decimal(fragment_offset.into());
        self.line.byte(b'|');
        // The difference of two sizes of 64 bits: too short a payload length wraps.
        let end = (ipv6::LENGTH + usize::from(payload_length)) as u64;
        self.line.decimal64(end.wrapping_sub((from_header + ipv6::FRAGMENT_LENGTH) as u64));
        self.line.byte(b')');
        if fragment_offset == 0 {
            self.line.byte(b' ');
        }
        Ok(fragment_offset == 0)
    }
}

fn addresses(header: &[u8; ipv6::LENGTH]) -> (&[u8; 16], &[u8; 16]) {
    match header[8..].as_chunks() {
        ([source, destination], _) => (source, destination),
        _ => (&[0; 16], &[0; 16]),
    }
}

#[cfg(test)]
mod tests {
    use capture_packet::LinkType;

    use super::super::{
        options::TextOptions,
        testing::{Tcp, line, print_cut},
    };

    const LINE: &str = "fe80::1.1234 > fe80::2.8888: Flags [.], ack 2000, win 342, length 0\n";

    fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut packet = Tcp::default().ipv6();
        change(&mut packet);
        packet
    }

    /// The segment after a fragment header.
    fn fragment(offset_and_flags: u16) -> Vec<u8> {
        changed(|packet| {
            let [high, low] = offset_and_flags.to_be_bytes();
            (packet[5], packet[6]) = (28, 44);
            packet.splice(40..40, [6, 0, high, low, 0, 0, 0x12, 0x34]);
        })
    }

    fn verbose(packet: &[u8]) -> String {
        print_cut(TextOptions { verbosity: 1, ..TextOptions::default() }, LinkType::Raw, packet, packet.len())
    }

    #[test]
    fn contradicting_lengths() {
        assert_eq!(
            line(&changed(|packet| packet[5] = 24)),
            format!(
                "IP6 truncated-ip6 - 4 bytes missing!{}",
                LINE.replace("ack", "seq 1000:1004, ack").replace("length 0", "length 4")
            )
        );
        assert_eq!(line(&changed(|packet| packet[5] = 19)), "IP6 fe80::1.1234 > fe80::2.8888:  [|tcp]\n");
        assert_eq!(line(&changed(|packet| packet[5] = 0)), "IP6 fe80::1 > fe80::2: [|tcp]\n");
        assert_eq!(line(&Tcp::default().ipv6()[..39]), " [|ip6]\n");
    }

    #[test]
    fn another_version_than_the_link_header_says() {
        let frame = [&[0; 12], &[0x86, 0xdd][..], &changed(|packet| packet[0] = 0x45)].concat();
        assert_eq!(
            print_cut(TextOptions::default(), LinkType::Ethernet, &frame, frame.len()),
            "IP6 version error: 4 != 6\n"
        );
    }

    #[test]
    fn class_and_flow_label() {
        let start = "next-header TCP (6) payload length: 20) ";
        let end = LINE.replace(", ack", ", cksum 0x7e31 (correct), ack");
        assert_eq!(verbose(&Tcp::default().ipv6()), format!("IP6 (hlim 64, {start}{end}"));
        assert_eq!(
            verbose(&changed(|packet| packet[..4].copy_from_slice(&[0x60, 0x5f, 0xed, 0xcb]))),
            format!("IP6 (class 0x05, flowlabel 0xfedcb, hlim 64, {start}{end}")
        );
    }

    #[test]
    fn fragments() {
        let ports = "1234 > 8888: Flags [.], ack 2000, win 342, length 0\n";
        assert_eq!(line(&fragment(1)), format!("IP6 fe80::1 > fe80::2: frag (0|20) {ports}"));
        assert_eq!(line(&fragment(0x0fa8)), "IP6 fe80::1 > fe80::2: frag (4008|20)\n");
        // A fragment's checksum is over what is not here.
        assert_eq!(
            verbose(&fragment(1)),
            format!(
                "IP6 (hlim 64, next-header Fragment (44) payload length: 28) fe80::1 > fe80::2: \
                 frag (0x00001234:0|20) {ports}"
            )
        );
        let mut short = fragment(0x10);
        short[5] = 7;
        assert_eq!(line(&short), "IP6 fe80::1 > fe80::2: frag (16|18446744073709551615)\n");
        short[43] = 0;
        assert_eq!(line(&short), "IP6 fe80::1 > fe80::2: frag (0|18446744073709551615) \n");
    }

    #[test]
    fn captures_that_end_within_a_fragment_header() {
        let packet = fragment(1);
        let cut = |verbosity, captured| {
            print_cut(TextOptions { verbosity, ..TextOptions::default() }, LinkType::Raw, &packet, captured)
        };
        assert_eq!(cut(0, 43), "IP6 fe80::1 > fe80::2:  [|frag6]\n");
        assert_eq!(cut(0, 44), "IP6 fe80::1 > fe80::2: frag (0|20) \n");
        assert!(cut(1, 47).ends_with("fe80::1 > fe80::2:  [|frag6]\n"));
    }
}
