//! IPv4: print-ip.c.

use capture_common::headers::{ipv4, tcp};

use super::{
    address::WriteAddress,
    checksum,
    dissector::{Dissector, Truncated, protocol_name},
    ip_addresses::IpAddresses,
    line::Write,
    tcp::LocatedSegment,
};

const MIN_LENGTH: usize = 20;

const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;
const RESERVED: u16 = 0x8000;

/// Options, as `ip_option_values` has them.
mod option {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const RECORD_ROUTE: u8 = 7;
    pub(super) const TIMESTAMP: u8 = 68;
    pub(super) const TRACEROUTE: u8 = 82;
    pub(super) const SECURITY: u8 = 130;
    pub(super) const LOOSE_SOURCE_ROUTE: u8 = 131;
    pub(super) const STRICT_SOURCE_ROUTE: u8 = 137;
    pub(super) const ROUTER_ALERT: u8 = 148;
}

/// Flags of the timestamp option (RFC 791 section 3.1).
mod timestamp_flag {
    pub(super) const TIMESTAMPS_ONLY: u8 = 0;
    pub(super) const WITH_ADDRESSES: u8 = 1;
    pub(super) const PRESPECIFIED: u8 = 3;
}

/// What printing the options came to.
#[derive(PartialEq, Eq)]
enum OptionsOutcome {
    Printed,
    /// They go on where the capture does not.
    CutOff,
}

impl Dissector<'_> {
    /// Prints the IPv4 packet at `offset`, of which `length` bytes were on the wire.
    #[inline]
    pub(super) fn ipv4(&mut self, offset: usize, length: u32) -> Result<(), Truncated> {
        self.protocol = "ip";
        let version = self.u8(offset)? >> 4;
        if version != 4 {
            self.wrong_version(version);
            return Ok(());
        }
        if !self.options.link_header {
            self.line.text("IP ");
        }
        let Ok(header) = self.array::<MIN_LENGTH>(offset) else {
            self.print_truncated(Truncated);
            return Ok(());
        };
        if (length as usize) < MIN_LENGTH {
            self.labelled("truncated-ip ", length);
            return Ok(());
        }
        let header_length = usize::from(header[ipv4::VERSION_IHL] & 15) * 4;
        if header_length < MIN_LENGTH {
            self.labelled("bad-hlen ", header_length as u32);
            return Ok(());
        }
        let total_length = u16::from_be_bytes([header[2], header[3]]);
        if length < u32::from(total_length) {
            self.labelled("truncated-ip - ", u32::from(total_length) - length);
            self.line.text(" bytes missing! ");
        }
        if usize::from(total_length) < header_length {
            self.labelled("bad-len ", total_length.into());
            return Ok(());
        }
        self.cut(offset, total_length.into());
        let payload_length = u32::from(total_length) - header_length as u32;
        let fragment = u16::from_be_bytes([header[ipv4::FRAGMENT], header[ipv4::FRAGMENT + 1]]);
        let [source, destination] = addresses(header);
        if self.options.verbosity > 0
            && self.verbose_header(offset, header, header_length)? == OptionsOutcome::CutOff
        {
            self.address_pair(source, destination);
            self.line.text(": ");
            self.print_truncated(Truncated);
            return Ok(());
        }
        let protocol = header[ipv4::PROTOCOL];
        if fragment & ipv4::FRAGMENT_OFFSET_MASK != 0 {
            if !self.options.quieter {
                self.address_pair(source, destination);
                // Among names, tcpdump's own name of the protocol (ipproto.c, `netdb_protoname`).
                if protocol == tcp::PROTOCOL && self.line.names.is_some() {
                    self.line.text(": tcp");
                } else {
                    self.labelled(": ip-proto-", protocol.into());
                }
            }
            return Ok(());
        }
        if protocol != tcp::PROTOCOL {
            self.address_pair(source, destination);
            self.line.text(": ");
        }
        if !self.has(offset, header_length) {
            self.labelled(" [remaining caplen(", self.available(offset) as u32);
            self.labelled(") < header length(", header_length as u32);
            self.line.text(")]");
            return Err(Truncated);
        }
        if protocol != tcp::PROTOCOL {
            self.unknown_protocol(protocol, payload_length);
            return Ok(());
        }
        self.tcp(&LocatedSegment {
            offset: offset + header_length,
            length: payload_length,
            addresses: IpAddresses::V4 { header: offset, source, destination },
            ports_only: false,
            fragmented: fragment & MORE_FRAGMENTS != 0,
        })
    }

    #[cold]
    fn wrong_version(&mut self, version: u8) {
        if version == 6 {
            self.line.text("IP6, wrong link-layer encapsulation");
        } else {
            self.labelled("IP", version.into());
        }
        self.line.text(" (invalid)");
    }

    /// `a.b.c.d > e.f.g.h`.
    #[inline(never)]
    fn address_pair(&mut self, source: [u8; 4], destination: [u8; 4]) {
        self.line.ipv4(source);
        self.line.text(" > ");
        self.line.ipv4(destination);
    }

    /// `-v`: the header in parentheses, and the beginning of the next line.
    #[inline(never)]
    fn verbose_header(
        &mut self,
        offset: usize,
        header: &[u8; MIN_LENGTH],
        header_length: usize,
    ) -> Result<OptionsOutcome, Truncated> {
        let &[_, tos, l1, l0, i1, i0, f1, f0, ttl, protocol, c1, c0, ..] = header;
        let fragment = u16::from_be_bytes([f1, f0]);
        self.line.text("(tos 0x");
        self.line.hex(tos.into());
        self.line.text(["", ",ECT(1)", ",ECT(0)", ",CE"][usize::from(tos & 3)]);
        if ttl > 0 {
            self.labelled(", ttl ", ttl.into());
        }
        self.labelled(", id ", u16::from_be_bytes([i1, i0]).into());
        self.labelled(", offset ", u32::from(fragment & ipv4::FRAGMENT_OFFSET_MASK) * 8);
        self.fragment_flags(fragment);
        self.line.text(", proto ");
        self.line.text(protocol_name(protocol));
        self.labelled(" (", protocol.into());
        self.labelled("), length ", u16::from_be_bytes([l1, l0]).into());
        let mut options = OptionsOutcome::Printed;
        if header_length > MIN_LENGTH {
            self.line.text(", options (");
            options = self.ipv4_options(offset + MIN_LENGTH, header_length - MIN_LENGTH)?;
            if options == OptionsOutcome::CutOff {
                self.line.text(" [truncated-option]");
            }
            self.line.byte(b')');
        }
        if !self.options.skip_checksums
            && let Some(covered) = self.data.get(offset..offset + header_length)
        {
            let field = u16::from_be_bytes([c1, c0]);
            if let Some(correction) = checksum::correction(field, checksum::sum(covered, 0)) {
                self.line.text(", bad cksum ");
                self.line.hex(field.into());
                self.line.text(" (->");
                self.line.hex(correction.into());
                self.line.text(")!");
            }
        }
        self.line.text(")\n    ");
        Ok(options)
    }

    /// `, flags [DF]`.
    fn fragment_flags(&mut self, fragment: u16) {
        self.line.text(", flags [");
        let mut separator = "";
        for (bit, name) in [(MORE_FRAGMENTS, "+"), (DONT_FRAGMENT, "DF"), (RESERVED, "rsvd")] {
            if fragment & bit != 0 {
                self.line.text(separator);
                self.line.text(name);
                separator = ", ";
            }
        }
        self.line.text(if separator.is_empty() { "none]" } else { "]" });
    }

    /// `ip_optprint`.
    fn ipv4_options(&mut self, mut offset: usize, mut remaining: usize) -> Result<OptionsOutcome, Truncated> {
        let mut separator = "";
        while remaining > 0 {
            self.line.text(separator);
            separator = ",";
            let kind = self.u8(offset)?;
            self.option_name(kind);
            let length = match kind {
                option::NOP | option::END => 1,
                _ => usize::from(self.u8(offset + 1)?),
            };
            let minimum = if matches!(kind, option::NOP | option::END) { 1 } else { 2 };
            if length < minimum || length > remaining {
                self.bad(" [bad length ", length);
                return Ok(OptionsOutcome::Printed);
            }
            if !self.has(offset, length) {
                return Ok(OptionsOutcome::CutOff);
            }
            let outcome = match kind {
                option::END => return Ok(OptionsOutcome::Printed),
                option::TIMESTAMP => self.timestamp_option(offset, length),
                option::RECORD_ROUTE | option::LOOSE_SOURCE_ROUTE | option::STRICT_SOURCE_ROUTE => {
                    self.route_option(offset, length)
                }
                option::ROUTER_ALERT => self.router_alert(offset, length),
                _ => OptionsOutcome::Printed,
            };
            if outcome == OptionsOutcome::CutOff {
                return Ok(OptionsOutcome::CutOff);
            }
            offset += length;
            remaining -= length;
        }
        Ok(OptionsOutcome::Printed)
    }

    /// Where a source route leads in the end; `None` if there is none, or none that is whole (`ip_finddst`). The
    /// checksum of TCP is over that address. The header goes from `header` to `end`.
    pub(super) fn final_destination(&self, header: usize, end: usize) -> Result<Option<[u8; 4]>, Truncated> {
        let mut at = header + MIN_LENGTH;
        while at < end {
            let kind = self.u8(at)?;
            let length = match kind {
                option::END => break,
                option::NOP => 1,
                _ => usize::from(self.u8(at + 1)?),
            };
            if length == 0
                || (length < 2 && kind != option::NOP)
                || at + length > end
                || !self.has(at, length)
            {
                break;
            }
            if matches!(kind, option::STRICT_SOURCE_ROUTE | option::LOOSE_SOURCE_ROUTE) && length >= 7 {
                return self.array(at + length - 4).map(|address| Some(*address));
            }
            at += length;
        }
        Ok(None)
    }

    fn option_name(&mut self, kind: u8) {
        self.line.text(match kind {
            option::END => "EOL",
            option::NOP => "NOP",
            option::TIMESTAMP => "timestamp",
            option::SECURITY => "security",
            option::RECORD_ROUTE => "RR",
            option::STRICT_SOURCE_ROUTE => "SSRR",
            option::LOOSE_SOURCE_ROUTE => "LSRR",
            option::ROUTER_ALERT => "RA",
            option::TRACEROUTE => "traceroute",
            _ => return self.labelled("unknown ", kind.into()),
        });
    }

    /// A complaint: a text, a number, `]`.
    fn bad(&mut self, label: &str, value: usize) {
        self.labelled(label, value as u32);
        self.line.byte(b']');
    }

    /// RFC 2113.
    fn router_alert(&mut self, offset: usize, length: usize) -> OptionsOutcome {
        if length < 4 {
            self.bad(" [bad length ", length);
        } else if let Ok(value @ 1..) = self.u16(offset + 2) {
            self.labelled(" value ", value.into());
        }
        OptionsOutcome::Printed
    }

    /// `ip_printroute`. The option has been captured to its end, but its last address may go on after that.
    fn route_option(&mut self, offset: usize, length: usize) -> OptionsOutcome {
        if length < 3 {
            self.bad(" [bad length ", length);
            return OptionsOutcome::Printed;
        }
        if !(length + 1).is_multiple_of(4) {
            self.bad(" [bad length ", length);
        }
        let Ok(pointer_field) = self.u8(offset + 2) else { return OptionsOutcome::CutOff };
        // Counted from one; zero wraps to far beyond the end.
        let pointer = usize::from(pointer_field).wrapping_sub(1);
        if pointer < 3 || pointer.wrapping_add(1) % 4 != 0 || pointer > length + 1 {
            self.bad(" [bad ptr ", pointer_field.into());
        }
        for at in (3..length).step_by(4) {
            let Ok(&address) = self.array(offset + at) else { return OptionsOutcome::CutOff };
            self.line.byte(b' ');
            self.line.ipv4(address);
            if pointer > at {
                self.line.byte(b',');
            }
        }
        OptionsOutcome::Printed
    }

    /// `ip_printts`. The option has been captured to its end, but its last stamp may go on after that.
    fn timestamp_option(&mut self, offset: usize, length: usize) -> OptionsOutcome {
        if length < 4 {
            self.bad("[bad length ", length);
            return OptionsOutcome::Printed;
        }
        let Ok(&[pointer_field, flags]) = self.array(offset + 2) else { return OptionsOutcome::CutOff };
        let hop_length = if flags & 15 == timestamp_flag::TIMESTAMPS_ONLY { 4 } else { 8 };
        self.line.text(" TS{");
        if !(length - 4).is_multiple_of(hop_length) {
            self.bad("[bad length ", length);
        }
        let pointer = usize::from(pointer_field).wrapping_sub(1);
        if pointer < 4 || pointer.wrapping_sub(4) % hop_length != 0 || pointer > length + 1 {
            self.bad("[bad ptr ", pointer_field.into());
        }
        let kind = match flags & 15 {
            timestamp_flag::TIMESTAMPS_ONLY => Some("TSONLY"),
            timestamp_flag::WITH_ADDRESSES => Some("TS+ADDR"),
            timestamp_flag::PRESPECIFIED => Some("PRESPEC"),
            _ => None,
        };
        let mut at = 0;
        if let Some(kind) = kind {
            self.line.text(kind);
            at = 4;
            let mut separator = " ";
            while at < length {
                if pointer == at {
                    separator = " ^ ";
                }
                let Ok(time) = self.u32(offset + at + hop_length - 4) else { return OptionsOutcome::CutOff };
                self.labelled(separator, time);
                self.line.byte(b'@');
                if hop_length == 8
                    && let Ok(&address) = self.array(offset + at)
                {
                    self.line.ipv4(address);
                }
                separator = " ";
                at += hop_length;
            }
        } else {
            self.bad("[bad ts type ", (flags & 15).into());
        }
        if pointer == at {
            self.line.text(" ^ ");
        }
        if flags >> 4 > 0 {
            self.labelled(" [", (flags >> 4).into());
            self.line.text(" hops not recorded]} ");
        } else {
            self.line.byte(b'}');
        }
        OptionsOutcome::Printed
    }
}

/// Source and destination.
fn addresses(header: &[u8; MIN_LENGTH]) -> [[u8; 4]; 2] {
    let [.., a, b, c, d, e, f, g, h] = *header;
    [[a, b, c, d], [e, f, g, h]]
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use bytes::BytesMut;
    use capture_packet::{LinkType, Packet, Timestamp};
    use jiff::tz::TimeZone;

    use super::super::{
        Conversations, Printer,
        names::Names,
        options::{TextOptions, TimestampStyle},
        testing::{Tcp, header_checksum, line, print_cut},
    };

    const LINE: &str = "10.0.0.1.1234 > 10.0.0.2.8888: Flags [.], ack 2000, win 342, length 0\n";

    /// A packet whose header has been changed, its checksum made right again.
    fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut packet = Tcp::default().ipv4();
        change(&mut packet);
        header_checksum(&mut packet);
        packet
    }

    fn with_options(options: &[u8]) -> Vec<u8> {
        changed(|packet| {
            packet[0] = 0x45 + (options.len() / 4) as u8;
            packet[3] += options.len() as u8;
            packet.splice(20..20, options.iter().copied());
        })
    }

    fn verbose(packet: &[u8]) -> String {
        print_cut(TextOptions { verbosity: 1, ..TextOptions::default() }, LinkType::Raw, packet, packet.len())
    }

    #[test]
    fn contradicting_lengths() {
        let claims = |length: u8| changed(|packet| packet[3] = length);
        assert_eq!(
            line(&claims(44)),
            format!(
                "IP truncated-ip - 4 bytes missing! {}",
                LINE.replace("length 0", "length 4").replace("ack", "seq 1000:1004, ack")
            )
        );
        assert_eq!(line(&claims(39)), "IP 10.0.0.1.1234 > 10.0.0.2.8888:  [|tcp]\n");
        assert_eq!(line(&claims(19)), "IP bad-len 19\n");
        assert_eq!(line(&claims(0)), "IP bad-len 0\n");
        assert_eq!(line(&changed(|packet| packet[0] = 0x44)), "IP bad-hlen 16\n");
        assert_eq!(line(&changed(|packet| packet[0] = 0x4a)), "IP 10.0.0.1 > 10.0.0.2: [|tcp]\n");
        assert_eq!(line(&Tcp::default().ipv4()[..19]), "IP  [|ip]\n");
    }

    #[test]
    fn another_version_than_the_link_header_says() {
        let ethernet = |version| {
            let frame = [&[0; 12], &[8, 0][..], &changed(|packet| packet[0] = version)].concat();
            print_cut(TextOptions::default(), LinkType::Ethernet, &frame, frame.len())
        };
        assert_eq!(ethernet(0x65), "IP6, wrong link-layer encapsulation (invalid)\n");
        assert_eq!(ethernet(0x55), "IP5 (invalid)\n");
    }

    /// Without `-n`, tcpdump has a name for the protocol even where no host has one.
    #[test]
    fn a_later_fragment_among_names() {
        #[derive(Debug)]
        struct NoNames;
        impl Names for NoNames {
            fn host(&mut self, _: IpAddr) -> Option<&str> {
                None
            }
            fn service(&self, _: u16) -> Option<&str> {
                None
            }
        }
        let data = &changed(|packet| packet[7] = 3)[..];
        let options = TextOptions { timestamp: TimestampStyle::None, ..TextOptions::default() };
        let mut printer = Printer::new(options, TimeZone::UTC, Conversations::new(1));
        printer.set_names(Box::new(NoNames));
        let mut line = BytesMut::new();
        let (time, wire_len) = (Timestamp::default(), data.len() as u32);
        printer.print(&Packet::new(time, LinkType::Raw, wire_len, data), &mut line);
        assert_eq!(line, "IP 10.0.0.1 > 10.0.0.2: tcp\n");
    }

    #[test]
    fn fragments() {
        let fragment = |high, low| changed(|packet| packet[6..8].copy_from_slice(&[high, low]));
        assert_eq!(line(&fragment(0x20, 0)), format!("IP {LINE}"));
        assert_eq!(line(&fragment(0x20, 3)), "IP 10.0.0.1 > 10.0.0.2: ip-proto-6\n");
        assert_eq!(
            verbose(&fragment(0x20, 0)),
            format!(
                "IP (tos 0x0, ttl 64, id 4660, offset 0, flags [+], proto TCP (6), length 40)\n    {LINE}"
            )
        );
        assert_eq!(
            verbose(&fragment(0xe0, 3)),
            "IP (tos 0x0, ttl 64, id 4660, offset 24, flags [+, DF, rsvd], proto TCP (6), length 40)\n    \
             10.0.0.1 > 10.0.0.2: ip-proto-6\n"
        );
    }

    #[test]
    fn type_of_service_time_to_live_and_a_wrong_checksum() {
        let start = "offset 0, flags [none], proto TCP (6), length 40";
        let end = LINE.replace(", ack", ", cksum 0x6733 (correct), ack");
        for (tos, text) in [(0x02, "0x2,ECT(0)"), (0x01, "0x1,ECT(1)"), (0xff, "0xff,CE"), (0x10, "0x10")] {
            let packet = changed(|packet| (packet[1], packet[6], packet[8]) = (tos, 0, 1));
            assert_eq!(verbose(&packet), format!("IP (tos {text}, ttl 1, id 4660, {start})\n    {end}"));
        }
        let mut packet = changed(|packet| (packet[6], packet[8]) = (0, 0));
        let right = [packet[10], packet[11]];
        packet[10..12].copy_from_slice(&[0, 1]);
        assert_eq!(
            verbose(&packet),
            format!(
                "IP (tos 0x0, id 4660, {start}, bad cksum 1 (->{:x})!)\n    {end}",
                u16::from_be_bytes(right)
            )
        );
    }

    #[test]
    fn options() {
        for (options, text) in [
            (&[1, 1, 1, 0][..], "NOP,NOP,NOP,EOL"),
            (&[7, 7, 4, 0, 0, 0, 0, 0], "RR 0.0.0.0,EOL"),
            (&[7, 11, 8, 1, 2, 3, 4, 0, 0, 0, 0, 0], "RR 1.2.3.4, 0.0.0.0,EOL"),
            (&[131, 7, 3, 1, 2, 3, 4, 0], "LSRR [bad ptr 3] 1.2.3.4,EOL"),
            (&[137, 6, 4, 1, 2, 3, 0, 0], "SSRR [bad length 6] 1.2.3.0,EOL"),
            (&[68, 12, 13, 0, 0, 0, 0, 7, 0, 0, 0, 8], "timestamp TS{TSONLY 7@ 8@ ^ }"),
            (
                &[68, 12, 5, 0x21, 1, 2, 3, 4, 0, 0, 0, 9],
                "timestamp TS{TS+ADDR ^ 9@1.2.3.4 [2 hops not recorded]} ",
            ),
            (&[68, 12, 5, 3, 1, 2, 3, 4, 0, 0, 0, 9], "timestamp TS{PRESPEC ^ 9@1.2.3.4}"),
            (&[68, 4, 1, 2], "timestamp TS{[bad ptr 1][bad ts type 2] ^ }"),
            (&[68, 3, 5, 0], "timestamp[bad length 3],EOL"),
            (&[148, 4, 0, 0, 148, 4, 0, 7], "RA,RA value 7"),
            (&[148, 3, 0, 0], "RA [bad length 3],EOL"),
            (&[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "security,NOP"),
            (&[82, 4, 0, 0, 25, 2, 1, 1], "traceroute,unknown 25,NOP,NOP"),
            (&[7, 1, 0, 0], "RR [bad length 1]"),
            (&[1, 1, 7, 3], "NOP,NOP,RR [bad length 3]"),
        ] {
            let printed = verbose(&with_options(options));
            let (_, printed) = printed.split_once(", options (").unwrap();
            assert_eq!(printed.split_once("))\n    ").unwrap().0, text);
        }
    }

    #[test]
    fn a_source_route_changes_what_the_checksum_is_over() {
        // The segment's checksum is for 10.0.0.2; the route says 10.0.0.9 comes last.
        let packet = with_options(&[131, 7, 4, 10, 0, 0, 9, 0]);
        assert!(verbose(&packet).contains("cksum 0x6733 (incorrect -> 0x672c)"), "{}", verbose(&packet));
    }

    #[test]
    fn captures_that_end_within_the_options() {
        let packet = with_options(&[1, 1, 131, 7, 4, 10, 0, 0, 9, 0, 0, 0]);
        let options = TextOptions { verbosity: 1, skip_checksums: true, ..TextOptions::default() };
        let cut = |captured| print_cut(options, LinkType::Raw, &packet, captured);
        let start = "IP (tos 0x0, ttl 64, id 4660, offset 0, flags [DF], proto TCP (6), length 52, options (";
        assert_eq!(cut(20), format!("{start} [|ip]\n"));
        assert_eq!(cut(21), format!("{start}NOP, [|ip]\n"));
        assert_eq!(cut(23), format!("{start}NOP,NOP,LSRR [|ip]\n"));
        assert_eq!(
            cut(28),
            format!("{start}NOP,NOP,LSRR [truncated-option]))\n    10.0.0.1 > 10.0.0.2:  [|ip]\n")
        );
        assert_eq!(
            print_cut(TextOptions::default(), LinkType::Raw, &packet, 31),
            "IP  [remaining caplen(31) < header length(32)] [|ip]\n"
        );
    }
}
