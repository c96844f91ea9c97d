//! Link headers: print-ether.c, print-sll.c, print-null.c and print-raw.c.

use capture_common::{
    headers::ethernet,
    parse::{Layers, Network},
};
use capture_packet::{
    LinkType, Packet,
    link::{bsd_loopback, linux_sll, linux_sll2},
};

use super::{
    address::WriteAddress,
    dissector::{Dissector, Truncated},
    dump,
    line::Write,
    options::Dump,
};

/// A tag tcpdump knows besides those that the filter skips (ethertype.h, `ETHERTYPE_8021Q9200`).
const TYPE_9200: u16 = 0x9200;

/// A type field up to this is a length (ethertype.h, `MAX_ETHERNET_LENGTH_VAL`).
const MAX_ETHERNET_LENGTH: u16 = 1500;

/// `LINUX_SLL_P_802_3` and `LINUX_SLL_P_802_2` of print-sll.c.
const SLL_802_3: u16 = 1;
const SLL_802_2: u16 = 4;

impl Dissector<'_> {
    /// Prints a frame and gives the length of its link header, which `-x`, `-X` and `-A` leave out.
    #[inline]
    pub(super) fn link(&mut self, packet: &Packet<'_>) -> Result<usize, Truncated> {
        let &Packet { link_type, layers, wire_len, .. } = packet;
        // Where nothing of the link header is printed, it need not be read again.
        if let Some(Layers { network, l3_offset, .. }) = layers
            && l3_offset <= self.data.len()
            && !self.options.link_header
            && link_type != LinkType::LinuxSll2
        {
            let length = wire_len - l3_offset as u32;
            match network {
                Network::Ipv4 => self.ipv4(l3_offset, length)?,
                Network::Ipv6 => self.ipv6(l3_offset, length)?,
            }
            return Ok(l3_offset);
        }
        self.link_header(link_type, wire_len)
    }

    /// Prints a frame from its first byte on.
    #[inline(never)]
    fn link_header(&mut self, link_type: LinkType, wire_len: u32) -> Result<usize, Truncated> {
        match link_type {
            LinkType::Ethernet => self.ethernet(wire_len),
            LinkType::Raw | LinkType::Ipv4 | LinkType::Ipv6 => self.raw(wire_len),
            LinkType::Null | LinkType::Loop => self.null(wire_len),
            LinkType::LinuxSll => self.linux_sll(wire_len),
            LinkType::LinuxSll2 => self.linux_sll2(wire_len),
        }
    }

    /// print-ether.c, `ether_common_print`.
    #[inline]
    fn ethernet(&mut self, wire_len: u32) -> Result<usize, Truncated> {
        self.protocol = "ether";
        let Some(&header) = self.data.first_chunk::<{ ethernet::LENGTH }>() else {
            self.print_truncated(Truncated);
            return Ok(self.data.len());
        };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t1, t0] = header;
        let addresses = [[s0, s1, s2, s3, s4, s5], [d0, d1, d2, d3, d4, d5]];
        let mut ethertype = u16::from_be_bytes([t1, t0]);
        let mut header_length = ethernet::LENGTH;
        if self.options.link_header {
            self.ethernet_addresses(addresses);
        }
        let mut length_printed = false;
        while ethernet::is_tag(ethertype) || ethertype == TYPE_9200 {
            let Ok(&[c1, c0, t1, t0]) = self.array(header_length) else {
                self.protocol = "vlan";
                self.print_truncated(Truncated);
                return Ok(self.data.len());
            };
            if self.options.link_header {
                self.ethernet_type_and_length(ethertype, wire_len, &mut length_printed);
                self.vlan(u16::from_be_bytes([c1, c0]));
            }
            ethertype = u16::from_be_bytes([t1, t0]);
            header_length += ethernet::TAG_LENGTH;
        }
        if self.options.link_header {
            self.ethernet_type_and_length(ethertype, wire_len, &mut length_printed);
        }
        if !self.network(ethertype, header_length, wire_len)? {
            if !self.options.link_header {
                self.ethernet_addresses(addresses);
                self.ethernet_type_and_length(ethertype, wire_len, &mut false);
            }
            self.unknown(header_length);
        }
        Ok(header_length)
    }

    fn ethernet_addresses(&mut self, [source, destination]: [[u8; 6]; 2]) {
        self.line.ethernet_address(&source);
        self.line.text(" > ");
        self.line.ethernet_address(&destination);
        self.line.text(", ");
    }

    fn ethernet_type_and_length(&mut self, ethertype: u16, wire_len: u32, length_printed: &mut bool) {
        match ethertype_name(ethertype) {
            Some(name) if self.options.quiet => self.line.text(name),
            None if self.options.quiet => {
                self.line.text("Unknown Ethertype (0x");
                self.line.hex_padded(ethertype.into(), 4);
                self.line.byte(b')');
            }
            _ => self.ethertype(ethertype),
        }
        if core::mem::replace(length_printed, true) {
            self.line.text(", ");
        } else {
            self.length(wire_len);
        }
    }

    /// `ethertype IPv4 (0x0800)`.
    fn ethertype(&mut self, ethertype: u16) {
        self.line.text("ethertype ");
        self.line.text(ethertype_name(ethertype).unwrap_or("Unknown"));
        self.line.text(" (0x");
        self.line.hex_padded(ethertype.into(), 4);
        self.line.byte(b')');
    }

    fn length(&mut self, length: u32) {
        self.line.text(", length ");
        self.line.decimal(length);
        self.line.text(": ");
    }

    /// A tag's control information: VLAN, priority, drop eligible indicator (addrtoname.c, `ieee8021q_tci_string`).
    fn vlan(&mut self, control: u16) {
        self.line.text("vlan ");
        self.line.decimal(u32::from(control & 0x0fff));
        self.line.text(", p ");
        self.line.decimal(u32::from(control >> 13));
        self.line.text(if control & 0x1000 != 0 { ", DEI, " } else { ", " });
    }

    /// print-raw.c, `raw_if_print`, and print-ip.c, `ipN_print`.
    #[inline]
    fn raw(&mut self, wire_len: u32) -> Result<usize, Truncated> {
        if self.options.link_header {
            self.line.text("ip: ");
        }
        self.protocol = "ipn";
        match self.u8(0)? >> 4 {
            4 => self.ipv4(0, wire_len)?,
            6 => self.ipv6(0, wire_len)?,
            version => {
                self.line.text("unknown ip ");
                self.line.decimal(version.into());
            }
        }
        Ok(0)
    }

    /// print-null.c, `null_if_print`.
    fn null(&mut self, wire_len: u32) -> Result<usize, Truncated> {
        self.protocol = "null";
        let family = u32::from_ne_bytes(*self.array(0)?);
        // Families are small numbers: one that is not was written in the other byte order.
        let family = if family >> 16 != 0 { family.swap_bytes() } else { family };
        if self.options.link_header {
            self.null_header(family, wire_len);
        }
        if family == bsd_loopback::AF_INET {
            self.ipv4(bsd_loopback::LENGTH, wire_len - bsd_loopback::LENGTH as u32)?;
        } else if bsd_loopback::AF_INET6.contains(&family) {
            self.ipv6(bsd_loopback::LENGTH, wire_len - bsd_loopback::LENGTH as u32)?;
        } else {
            if !self.options.link_header {
                self.null_header(family, wire_len);
            }
            self.unknown(bsd_loopback::LENGTH);
        }
        Ok(bsd_loopback::LENGTH)
    }

    fn null_header(&mut self, family: u32, wire_len: u32) {
        let name = match family {
            bsd_loopback::AF_INET => Some("IPv4"),
            family if bsd_loopback::AF_INET6.contains(&family) => Some("IPv6"),
            _ => None,
        };
        if !self.options.quiet {
            self.line.text("AF ");
            self.line.text(name.unwrap_or("Unknown"));
            self.line.text(" (");
            self.line.decimal(family);
            self.line.byte(b')');
        } else if let Some(name) = name {
            self.line.text(name);
        } else {
            self.line.text("Unknown AF ");
            self.line.decimal(family);
        }
        self.length(wire_len);
    }

    /// print-sll.c, `sll_if_print`. Protocol at 14, packet type at 0, address length at 4, address at 6.
    fn linux_sll(&mut self, wire_len: u32) -> Result<usize, Truncated> {
        self.protocol = "sll";
        let header = *self.array::<{ linux_sll::LENGTH }>(0)?;
        let protocol = u16::from_be_bytes([header[14], header[15]]);
        let print_header = |this: &mut Self| {
            let packet_type = packet_type_name(u16::from_be_bytes([header[0], header[1]]));
            for _ in packet_type.len()..3 {
                this.line.byte(b' ');
            }
            this.line.text(packet_type);
            this.line.byte(b' ');
            let address_length = u16::from_be_bytes([header[4], header[5]]);
            this.cooked_address_and_protocol(address_length, &header[6..14], protocol, wire_len);
        };
        self.cooked(linux_sll::LENGTH, protocol, wire_len, print_header)
    }

    /// print-sll.c, `sll2_if_print`. Protocol at 0, interface at 4, packet type at 10, address length at 11, address
    /// at 12.
    fn linux_sll2(&mut self, wire_len: u32) -> Result<usize, Truncated> {
        self.protocol = "sll2";
        let header = *self.array::<{ linux_sll2::LENGTH }>(0)?;
        let protocol = u16::from_be_bytes([header[0], header[1]]);
        let interface = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let place = self.interfaces.binary_search_by_key(&interface, |(index, _)| *index).ok();
        let name = place.and_then(|place| self.interfaces.get(place));
        let name = name.map_or("?", |(_, name)| name.as_str());
        self.left_aligned(name, 5);
        self.left_aligned(packet_type_name(header[10].into()), 3);
        let print_header = |this: &mut Self| {
            this.line.text("ifindex ");
            this.line.decimal(interface);
            this.line.byte(b' ');
            this.cooked_address_and_protocol(header[11].into(), &header[12..20], protocol, wire_len);
        };
        self.cooked(linux_sll2::LENGTH, protocol, wire_len, print_header)
    }

    /// `%-*s` and a blank.
    fn left_aligned(&mut self, text: &str, width: usize) {
        self.line.text(text);
        for _ in 0..=width.saturating_sub(text.len()) {
            self.line.byte(b' ');
        }
    }

    /// What both versions of the cooked header have in common from the address on.
    fn cooked_address_and_protocol(
        &mut self,
        address_length: u16,
        address: &[u8],
        protocol: u16,
        length: u32,
    ) {
        if address_length == 6
            && let Some(address) = address.first_chunk()
        {
            self.line.ethernet_address(address);
            self.line.byte(b' ');
        }
        if !self.options.quiet {
            match protocol {
                SLL_802_3 => self.line.text("802.3"),
                SLL_802_2 => self.line.text("802.2"),
                _ => self.ethertype(protocol),
            }
            self.length(length);
        }
    }

    /// What follows a cooked header.
    fn cooked(
        &mut self,
        mut header_length: usize,
        mut protocol: u16,
        wire_len: u32,
        print_header: impl Fn(&mut Self),
    ) -> Result<usize, Truncated> {
        if self.options.link_header {
            print_header(self);
        }
        // Only this one tag is skipped (print-sll.c), and its inner type is printed even without `-e`.
        while protocol == ethernet::TYPE_8021Q {
            let Ok(&[c1, c0, t1, t0]) = self.array(header_length) else {
                self.protocol = "vlan";
                self.print_truncated(Truncated);
                return Ok(self.data.len());
            };
            if self.options.link_header {
                self.vlan(u16::from_be_bytes([c1, c0]));
            }
            protocol = u16::from_be_bytes([t1, t0]);
            if protocol <= MAX_ETHERNET_LENGTH {
                protocol = SLL_802_2;
            }
            if !self.options.quiet {
                self.line.text("ethertype ");
                self.line.text(ethertype_name(protocol).unwrap_or("Unknown"));
                self.line.text(", ");
            }
            header_length += ethernet::TAG_LENGTH;
        }
        if !self.network(protocol, header_length, wire_len)? {
            if !self.options.link_header {
                print_header(self);
            }
            self.unknown(header_length);
        }
        Ok(header_length)
    }

    /// Prints the network layer at `offset`, if it is one of the two (print-ether.c, `ethertype_print`).
    #[inline]
    fn network(&mut self, ethertype: u16, offset: usize, wire_len: u32) -> Result<bool, Truncated> {
        let length = wire_len - offset as u32;
        match ethertype {
            ethernet::TYPE_IPV4 => self.ipv4(offset, length)?,
            ethernet::TYPE_IPV6 => self.ipv6(offset, length)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is neither IPv4 nor IPv6 is dumped, as tcpdump does with what it does not know, unless `-q` asks for less
    /// or `-x` or `-X` for the same.
    fn unknown(&mut self, offset: usize) {
        if !self.options.quiet && matches!(self.options.dump, Dump::None | Dump::Ascii { .. }) {
            dump::hex_and_ascii(self.data.get(offset..).unwrap_or_default(), self.line);
        }
    }
}

/// print-ether.c, `ethertype_values`, as far as such a frame can carry TCP.
fn ethertype_name(ethertype: u16) -> Option<&'static str> {
    match ethertype {
        ethernet::TYPE_IPV4 => Some("IPv4"),
        ethernet::TYPE_IPV6 => Some("IPv6"),
        ethernet::TYPE_8021Q => Some("802.1Q"),
        ethernet::TYPE_8021AD => Some("802.1Q-QinQ"),
        ethernet::TYPE_QINQ => Some("802.1Q-9100"),
        TYPE_9200 => Some("802.1Q-9200"),
        _ => None,
    }
}

/// print-sll.c, `sll_pkttype_values`.
fn packet_type_name(packet_type: u16) -> &'static str {
    match packet_type {
        0 => "In",
        1 => "B",
        2 => "M",
        3 => "P",
        4 => "Out",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Conversations, Printer,
        options::{TextOptions, TimestampStyle},
        testing::{Tcp, print_cut},
    };
    use super::*;

    /// `-t`.
    fn plain() -> TextOptions {
        TextOptions { timestamp: TimestampStyle::None, ..TextOptions::default() }
    }

    /// `-t -e`.
    fn with_header() -> TextOptions {
        TextOptions { link_header: true, ..plain() }
    }

    /// `-t -e -q`.
    fn with_short_header() -> TextOptions {
        TextOptions { quiet: true, ..with_header() }
    }

    fn print(options: TextOptions, link_type: LinkType, frame: &[u8]) -> String {
        print_cut(options, link_type, frame, frame.len())
    }

    /// An Ethernet frame whose type field and what is before the packet are `types`.
    fn ethernet(types: &[u8], packet: &[u8]) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1], types, packet].concat()
    }

    const IPV4_LINE: &str = "10.0.0.1.1234 > 10.0.0.2.8888: Flags [.], ack 2000, win 342, length 0\n";
    const IPV6_LINE: &str = "fe80::1.1234 > fe80::2.8888: Flags [.], ack 2000, win 342, length 0\n";

    #[test]
    fn ethernet_with_and_without_tags() {
        let (ipv4, ipv6) = (Tcp::default().ipv4(), Tcp::default().ipv6());
        let addresses = "02:00:00:00:00:01 > 02:00:00:00:00:fe, ";
        let frame = ethernet(&[8, 0], &ipv4);
        assert_eq!(print(plain(), LinkType::Ethernet, &frame), format!("IP {IPV4_LINE}"));
        assert_eq!(
            print(with_header(), LinkType::Ethernet, &frame),
            format!("{addresses}ethertype IPv4 (0x0800), length 54: {IPV4_LINE}")
        );
        let frame = ethernet(&[0x81, 0, 0x70, 5, 0x86, 0xdd], &ipv6);
        assert_eq!(print(plain(), LinkType::Ethernet, &frame), format!("IP6 {IPV6_LINE}"));
        assert_eq!(
            print(with_header(), LinkType::Ethernet, &frame),
            format!(
                "{addresses}ethertype 802.1Q (0x8100), length 78: vlan 5, p 3, DEI, \
                 ethertype IPv6 (0x86dd), {IPV6_LINE}"
            )
        );
        let frame = ethernet(&[0x88, 0xa8, 0, 1, 0x91, 0, 0x0f, 0xff, 0x92, 0, 0, 2, 8, 0], &ipv4);
        assert_eq!(
            print(with_short_header(), LinkType::Ethernet, &frame),
            format!(
                "{addresses}802.1Q-QinQ, length 66: vlan 1, p 0, 802.1Q-9100, vlan 4095, p 0, \
                 802.1Q-9200, vlan 2, p 0, IPv4, 10.0.0.1.1234 > 10.0.0.2.8888: tcp 0\n"
            )
        );
        for (captured, text) in
            [(13, " [|ether]\n"), (14, " [|vlan]\n"), (17, " [|vlan]\n"), (25, " [|vlan]\n")]
        {
            assert_eq!(print_cut(plain(), LinkType::Ethernet, &frame, captured), text);
        }
        assert_eq!(print_cut(plain(), LinkType::Ethernet, &frame, 26), " [|ip]\n");
    }

    #[test]
    fn no_link_header() {
        let (ipv4, ipv6) = (Tcp::default().ipv4(), Tcp::default().ipv6());
        for link_type in [LinkType::Raw, LinkType::Ipv4] {
            assert_eq!(print(plain(), link_type, &ipv4), format!("IP {IPV4_LINE}"));
        }
        for link_type in [LinkType::Raw, LinkType::Ipv6] {
            assert_eq!(print(with_header(), link_type, &ipv6), format!("ip: {IPV6_LINE}"));
        }
        assert_eq!(print(plain(), LinkType::Raw, &[0x50, 0]), "unknown ip 5\n");
    }

    #[test]
    fn bsd_loopback_in_either_byte_order() {
        for (link_type, family) in [(LinkType::Null, [2, 0, 0, 0]), (LinkType::Loop, [0, 0, 0, 2])] {
            let frame = [&family[..], &Tcp::default().ipv4()].concat();
            assert_eq!(print(plain(), link_type, &frame), format!("IP {IPV4_LINE}"));
            assert_eq!(
                print(with_header(), link_type, &frame),
                format!("AF IPv4 (2), length 44: {IPV4_LINE}")
            );
        }
        for family in [24, 28, 30] {
            let frame = [&[0, 0, 0, family][..], &Tcp::default().ipv6()].concat();
            assert_eq!(
                print(with_header(), LinkType::Loop, &frame),
                format!("AF IPv6 ({family}), length 64: {IPV6_LINE}")
            );
        }
        assert_eq!(print(plain(), LinkType::Null, &[2, 0, 0]), " [|null]\n");
    }

    #[test]
    fn linux_cooked() {
        let packet = Tcp::default().ipv4();
        let header = [0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
        let frame = [&header[..], &[8, 0], &packet].concat();
        assert_eq!(print(plain(), LinkType::LinuxSll, &frame), format!("IP {IPV4_LINE}"));
        assert_eq!(
            print(with_header(), LinkType::LinuxSll, &frame),
            format!("Out 02:00:00:00:00:01 ethertype IPv4 (0x0800), length 56: {IPV4_LINE}")
        );
        let tagged = [&header[..], &[0x81, 0, 0, 5, 8, 0], &packet].concat();
        assert_eq!(print(plain(), LinkType::LinuxSll, &tagged), format!("ethertype IPv4, IP {IPV4_LINE}"));
        assert_eq!(
            print(with_header(), LinkType::LinuxSll, &tagged),
            format!(
                "Out 02:00:00:00:00:01 ethertype 802.1Q (0x8100), length 60: vlan 5, p 0, \
                 ethertype IPv4, {IPV4_LINE}"
            )
        );
        assert_eq!(print_cut(plain(), LinkType::LinuxSll, &tagged, 15), " [|sll]\n");
        assert_eq!(print_cut(plain(), LinkType::LinuxSll, &tagged, 19), " [|vlan]\n");
    }

    #[test]
    fn linux_cooked_2_with_the_names_of_interfaces() {
        let header = [8, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let frame = [&header[..], &Tcp::default().ipv4()].concat();
        assert_eq!(print(plain(), LinkType::LinuxSll2, &frame), format!("?     In  IP {IPV4_LINE}"));
        let mut printer = Printer::new(with_header(), jiff::tz::TimeZone::UTC, Conversations::new(1));
        printer.set_interfaces(vec![(6, "lo".to_owned()), (7, "enp0s31f6".to_owned())]);
        let mut out = bytes::BytesMut::new();
        let (time, wire_len) = (Default::default(), frame.len() as u32);
        let packet = Packet::new(time, LinkType::LinuxSll2, wire_len, &frame);
        printer.print(&packet, &mut out);
        assert_eq!(
            str::from_utf8(&out).unwrap(),
            format!("enp0s31f6 In  ifindex 7 ethertype IPv4 (0x0800), length 60: {IPV4_LINE}")
        );
    }

    #[test]
    fn what_is_neither_ipv4_nor_ipv6_is_dumped() {
        let frame = ethernet(&[0x12, 0x34], b"what is this?");
        let start = "02:00:00:00:00:01 > 02:00:00:00:00:fe, ethertype Unknown (0x1234), length 27: ";
        let dump = "\n\t0x0000:  7768 6174 2069 7320 7468 6973 3f         what.is.this?\n";
        assert_eq!(print(plain(), LinkType::Ethernet, &frame), format!("{start}{dump}"));
        assert_eq!(print(with_header(), LinkType::Ethernet, &frame), format!("{start}{dump}"));
        assert_eq!(
            print(with_short_header(), LinkType::Ethernet, &frame),
            "02:00:00:00:00:01 > 02:00:00:00:00:fe, Unknown Ethertype (0x1234), length 27: \n"
        );
    }
}
