//! TCP: print-tcp.c. Its options are in [`tcp_options`](super::tcp_options).

use capture_packet::tcp::flag;

use super::{
    address::WriteAddress,
    checksum,
    conversations::{NOWHERE, Numbers, SequenceFields},
    dissector::{Dissector, Truncated},
    ip_addresses::IpAddresses,
    line::{Cursor, Write},
    tcp_options::known_options,
};

const MIN_LENGTH: usize = 20;

/// What of the data of a reset is printed at most (`MAX_RST_DATA_LEN`).
const MAX_RESET_DATA: u32 = 30;

/// `Flags [S.]` for each value of the byte, and how long that is.
static FLAGS: [([u8; 16], u8); 256] = {
    let mut texts = [(*b"Flags [none]\0\0\0\0", 12); 256];
    let mut flags = 1;
    while flags < 256 {
        let (mut text, mut length, mut bit) = (*b"Flags [\0\0\0\0\0\0\0\0\0", FLAGS_START, 0);
        while bit < 8 {
            if flags >> bit & 1 != 0 {
                text[length] = b"FSRP.UEW"[bit];
                length += 1;
            }
            bit += 1;
        }
        text[length] = b']';
        texts[flags] = (text, length as u8 + 1);
        flags += 1;
    }
    texts
};

const FLAGS_START: usize = "Flags [".len();

/// What stands between the brackets of `Flags [S.]`.
pub(super) fn flags_text(flags: u8) -> &'static [u8] {
    let (text, length) = &FLAGS[usize::from(flags)];
    text.get(FLAGS_START..usize::from(*length) - 1).unwrap_or_default()
}

/// `, length 0`.
#[inline(always)]
fn write_length(length: u32, line: &mut Cursor<'_>) {
    line.text(", length ");
    line.decimal(length);
}

/// A TCP segment, or what the network layer says is one.
pub(super) struct LocatedSegment<'p> {
    /// Offset of the TCP header from the start of the frame.
    pub(super) offset: usize,
    /// Length of header and data on the wire, as the network layer claims.
    pub(super) length: u32,
    pub(super) addresses: IpAddresses<'p>,
    /// Whether the addresses have been printed already, as they are before an IPv6 fragment header.
    pub(super) ports_only: bool,
    /// Whether more fragments belong to it.
    pub(super) fragmented: bool,
}

impl Dissector<'_> {
    /// Prints a segment. It is compiled into each of the two callers: what only the other needs is left out.
    #[inline(always)]
    pub(super) fn tcp(&mut self, segment: &LocatedSegment<'_>) -> Result<(), Truncated> {
        self.protocol = "tcp";
        let &LocatedSegment { offset, length, .. } = segment;
        let Ok(header) = self.array::<MIN_LENGTH>(offset) else {
            self.short_header(segment);
            return Ok(());
        };
        // Each field is read where it is printed: there are not so many registers.
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let word =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let mut nowhere = NOWHERE;
        let place = if segment.ports_only {
            self.ports([half(0), half(2)]);
            &mut nowhere
        } else {
            let place = self.endpoints.print(segment.addresses, [half(0), half(2)], self.line);
            place.unwrap_or(&mut nowhere)
        };
        let (data_offset, flags) = (header[12], header[13]);
        let header_length = usize::from(data_offset >> 4) * 4;
        // It wraps where the header claims to be longer than the segment.
        let data_length = length.wrapping_sub(header_length as u32);
        if header_length < MIN_LENGTH {
            self.labelled(" tcp ", data_length);
            self.labelled(" [bad hdr length ", header_length as u32);
            self.line.text(" - too short, < 20]");
            return Ok(());
        }
        let too_long = header_length as u32 > length;
        if self.options.quiet {
            self.labelled("tcp ", data_length);
            if too_long {
                self.header_too_long(header_length, length);
            }
            return Ok(());
        }
        let (text, text_length) = &FLAGS[usize::from(flags)];
        self.line.prefix_of(text, usize::from(*text_length));

        let (seq, ack) = (word(4), word(8));
        let numbers = if self.options.absolute_sequence || flags & flag::ACK == 0 {
            Numbers { seq, ack, ..Numbers::default() }
        } else {
            let (source_port, destination_port, syn) = (half(0), half(2), flags & flag::SYN != 0);
            let fields = SequenceFields { source_port, destination_port, seq, ack, syn };
            self.conversations.numbers(segment.addresses, fields, place)
        };
        if too_long {
            self.header_too_long(header_length, length);
            return Ok(());
        }
        if self.options.verbosity > 0 && !self.options.skip_checksums && !segment.fragmented {
            self.checksum(segment, half(16))?;
        }
        let shows_seq =
            self.options.verbosity > 1 || data_length > 0 || flags & (flag::SYN | flag::FIN | flag::RST) != 0;
        let (frame, options, data) = (self.data, offset + MIN_LENGTH, offset + header_length);
        let mut line = self.line.cursor();
        if shows_seq {
            line.text(", seq ");
            line.decimal(numbers.seq);
            if data_length > 0 {
                line.byte(b':');
                line.decimal(numbers.seq.wrapping_add(data_length));
            }
        }
        if flags & flag::ACK != 0 {
            line.text(", ack ");
            line.decimal(numbers.ack);
        }
        line.text(", win ");
        line.decimal(half(14).into());
        if flags & flag::URG != 0 {
            line.text(", urg ");
            line.decimal(half(18).into());
        }
        let known = known_options(frame, options, data, &mut line);
        if options + known == data {
            write_length(data_length, &mut line);
        }
        let end = line.end();
        self.line.set_end(end);
        if options + known < data {
            let sack_base = numbers.sack_base;
            if !self.tcp_options(options, known, data, data_length, flags, sack_base)? {
                return Ok(());
            }
            self.line.write(|line| write_length(data_length, line));
        }
        if data_length == 0 {
            return Ok(());
        }
        if !self.has(offset, header_length) {
            self.labelled(" [remaining caplen(", self.available(offset) as u32);
            self.labelled(") < header length(", header_length as u32);
            self.line.text(")]");
            return Err(Truncated);
        }
        if flags & flag::RST != 0 && self.options.verbosity > 0 {
            self.reset_data(data, data_length);
        }
        Ok(())
    }

    #[inline(never)]
    fn ports(&mut self, [source, destination]: [u16; 2]) {
        self.line.port(source);
        self.line.text(" > ");
        self.line.port(destination);
        self.line.text(": ");
    }

    /// What is left of a segment whose header was not captured whole.
    #[cold]
    fn short_header(&mut self, segment: &LocatedSegment<'_>) {
        if let Ok(&[s1, s0, d1, d0]) = self.array(segment.offset) {
            let ports = [u16::from_be_bytes([s1, s0]), u16::from_be_bytes([d1, d0])];
            if segment.ports_only {
                self.ports(ports);
            } else {
                self.endpoints.print(segment.addresses, ports, self.line);
            }
        } else {
            match segment.addresses {
                IpAddresses::V4 { source, destination, .. } => {
                    self.line.ipv4(source);
                    self.line.text(" > ");
                    self.line.ipv4(destination);
                }
                IpAddresses::V6 { source, destination } => {
                    self.line.ipv6(source);
                    self.line.text(" > ");
                    self.line.ipv6(destination);
                }
            }
            self.line.byte(b':');
        }
        self.print_truncated(Truncated);
    }

    #[cold]
    fn header_too_long(&mut self, header_length: usize, length: u32) {
        self.labelled(" [bad hdr length ", header_length as u32);
        self.labelled(" - too long, > ", length);
        self.line.byte(b']');
    }

    /// `, cksum 0x1234 (correct)`, if all of the segment was captured.
    #[inline(never)]
    fn checksum(&mut self, segment: &LocatedSegment<'_>, field: u16) -> Result<(), Truncated> {
        let &LocatedSegment { offset, length, addresses, .. } = segment;
        let Some(covered) = self.data.get(offset..offset + length as usize) else { return Ok(()) };
        let initial = u64::from(capture_common::headers::tcp::PROTOCOL) + u64::from(length);
        let pseudo_header = match addresses {
            IpAddresses::V4 { header, source, destination } => {
                let destination = self.final_destination(header, offset)?.unwrap_or(destination);
                checksum::sum(&destination, checksum::sum(&source, initial))
            }
            IpAddresses::V6 { source, destination } => {
                checksum::sum(destination, checksum::sum(source, initial))
            }
        };
        self.line.text(", cksum 0x");
        self.line.hex_padded(field.into(), 4);
        match checksum::correction(field, checksum::sum(covered, pseudo_header)) {
            None => self.line.text(" (correct)"),
            Some(correction) => {
                self.line.text(" (incorrect -> 0x");
                self.line.hex_padded(correction.into(), 4);
                self.line.byte(b')');
            }
        }
        Ok(())
    }

    /// The data of a reset, which may say why (`print_tcp_rst_data`; RFC 9293 section 3.5.3).
    #[inline(never)]
    fn reset_data(&mut self, offset: usize, length: u32) {
        self.line.text(if self.has(offset, length as usize) { " [RST" } else { " [!RST" });
        self.line.text(if length > MAX_RESET_DATA { "+ " } else { " " });
        let data = self.data.get(offset..).unwrap_or_default();
        for &byte in data.iter().take(length.min(MAX_RESET_DATA) as usize) {
            self.visible(byte);
        }
        self.line.byte(b']');
    }

    /// A byte as text without control characters: `^A` for those, `M-` before what is not ASCII (util-print.c,
    /// `fn_print_char`).
    fn visible(&mut self, byte: u8) {
        if !byte.is_ascii() {
            self.line.text("M-");
        }
        let byte = byte & 0x7f;
        if byte.is_ascii_control() {
            self.line.byte(b'^');
            self.line.byte(byte ^ 0x40);
        } else {
            self.line.byte(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use capture_packet::LinkType;

    use super::super::{
        options::TextOptions,
        testing::{Tcp, line, print_all, print_cut},
    };

    fn print(options: TextOptions, packet: &[u8]) -> String {
        print_cut(options, LinkType::Raw, packet, packet.len())
    }

    fn with_verbosity(verbosity: u8) -> TextOptions {
        TextOptions { verbosity, ..TextOptions::default() }
    }

    #[test]
    fn flags() {
        for (flags, text) in [(0, "none"), (0x29, "FPU"), (0xc2, "SEW"), (0x52, "S.E"), (0xff, "FSRP.UEW")] {
            let packet = Tcp { flags, ..Tcp::default() }.ipv4();
            assert!(line(&packet).contains(&format!(": Flags [{text}], ")));
        }
        // The four bits before them are not looked at.
        let mut packet = Tcp { flags: 0, ..Tcp::default() }.ipv4();
        packet[32] |= 0x0f;
        assert!(line(&packet).contains(": Flags [none], "));
    }

    #[test]
    fn sequence_numbers_are_shown_where_they_say_something() {
        let rest = |tcp: Tcp<'_>| line(&tcp.ipv4()).split_once("], ").unwrap().1.to_owned();
        assert_eq!(rest(Tcp::default()), "ack 2000, win 342, length 0\n");
        assert_eq!(rest(Tcp { flags: 0x08, ..Tcp::default() }), "win 342, length 0\n");
        assert_eq!(rest(Tcp { flags: 0x01, ..Tcp::default() }), "seq 1000, win 342, length 0\n");
        assert_eq!(rest(Tcp { flags: 0x20, ..Tcp::default() }), "win 342, urg 7, length 0\n");
        let wrap = Tcp { seq: u32::MAX, flags: 0x08, payload: b"ab", ..Tcp::default() };
        assert_eq!(rest(wrap), "seq 4294967295:1, win 342, length 2\n");
        let verbose = print(with_verbosity(2), &Tcp::default().ipv4());
        assert!(verbose.ends_with("(correct), seq 1000, ack 2000, win 342, length 0\n"), "{verbose}");
    }

    #[test]
    fn selective_acknowledgements_are_relative_to_the_other_side() {
        let sack: &[u8] = &[1, 1, 5, 10, 0, 0, 0x13, 0x88, 0, 0, 0x13, 0x92];
        let packets = [
            Tcp { ack: 4991, ..Tcp::default() }.ipv4(),
            Tcp { ack: 4991, options: sack, ..Tcp::default() }.ipv4(),
        ];
        let lines = print_all(TextOptions::default(), LinkType::Raw, &packets);
        assert!(
            lines.ends_with("Flags [.], ack 1, win 342, options [nop,nop,sack 1 {10:20}], length 0\n"),
            "{lines}"
        );
    }

    #[test]
    fn headers_that_contradict_the_packet() {
        let with_data_offset = |words: u8| {
            let mut packet = Tcp::default().ipv4();
            packet[32] = words << 4;
            packet
        };
        let start = "IP 10.0.0.1.1234 > 10.0.0.2.8888: ";
        assert_eq!(
            line(&with_data_offset(4)),
            format!("{start} tcp 4 [bad hdr length 16 - too short, < 20]\n")
        );
        assert_eq!(
            line(&with_data_offset(6)),
            format!("{start}Flags [.] [bad hdr length 24 - too long, > 20]\n")
        );
        let quiet = TextOptions { quiet: true, ..TextOptions::default() };
        assert_eq!(print(quiet, &Tcp::default().ipv4()), format!("{start}tcp 0\n"));
        assert_eq!(
            print(quiet, &with_data_offset(6)),
            format!("{start}tcp 4294967292 [bad hdr length 24 - too long, > 20]\n")
        );
    }

    #[test]
    fn a_header_that_is_too_long_counts_as_part_of_its_conversation() {
        let mut broken = Tcp::default().ipv4();
        broken[32] = 0x60;
        let lines = print_all(TextOptions::default(), LinkType::Raw, &[broken, Tcp::default().ipv4()]);
        assert!(lines.ends_with("Flags [.], ack 1, win 342, length 0\n"), "{lines}");
    }

    #[test]
    fn captures_that_end_within_the_header() {
        let packet = Tcp { options: &[1; 4], payload: b"data", ..Tcp::default() }.ipv4();
        let cut = |captured| print_cut(TextOptions::default(), LinkType::Raw, &packet, captured);
        assert_eq!(cut(23), "IP 10.0.0.1 > 10.0.0.2: [|tcp]\n");
        assert_eq!(cut(24), "IP 10.0.0.1.1234 > 10.0.0.2.8888:  [|tcp]\n");
        assert_eq!(cut(39), "IP 10.0.0.1.1234 > 10.0.0.2.8888:  [|tcp]\n");
        // An option that ends the list hides that the rest of the header is missing, until the data is looked for.
        let packet = Tcp { options: &[0, 1, 1, 1], payload: b"data", ..Tcp::default() }.ipv4();
        assert_eq!(
            print_cut(TextOptions::default(), LinkType::Raw, &packet, 41),
            "IP 10.0.0.1.1234 > 10.0.0.2.8888: Flags [.], seq 1000:1004, ack 2000, win 342, options [eol], \
             length 4 [remaining caplen(21) < header length(24)] [|tcp]\n"
        );
    }

    #[test]
    fn checksums_are_verified_where_the_segment_is_whole() {
        let mut packet = Tcp { payload: b"odd", ..Tcp::default() }.ipv6();
        let clause = |options, captured: usize| {
            let line = print_cut(options, LinkType::Raw, &packet, captured);
            line.split_once("Flags [.]").unwrap().1.split_once(", seq").unwrap().0.to_owned()
        };
        assert_eq!(clause(with_verbosity(1), 63), ", cksum 0xaac9 (correct)");
        assert_eq!(clause(with_verbosity(1), 62), "");
        assert_eq!(clause(TextOptions { skip_checksums: true, ..with_verbosity(1) }, 63), "");
        packet[57] = 0;
        assert!(print(with_verbosity(1), &packet).contains(", cksum 0xaa00 (incorrect -> 0xaac9), "));
    }

    #[test]
    fn resets_may_say_why() {
        let reset = |payload| Tcp { flags: 0x04, payload, ..Tcp::default() }.ipv4();
        let end = |packet: &[u8], captured| {
            let line = print_cut(with_verbosity(1), LinkType::Raw, packet, captured);
            line.split_once(", length ").unwrap().1.split_once(", length ").unwrap().1.to_owned()
        };
        let packet = reset(b"no\x1b[2J\xff\x7f\n");
        assert_eq!(end(&packet, packet.len()), "9 [RST no^[[2JM-^?^?^J]\n");
        assert_eq!(end(&packet, packet.len() - 1), "9 [!RST no^[[2JM-^?^?]\n");
        let packet = reset(&[b'x'; 31]);
        assert_eq!(end(&packet, packet.len()), format!("31 [RST+ {}]\n", "x".repeat(30)));
        assert!(line(&packet).ends_with(", length 31\n"));
    }
}
