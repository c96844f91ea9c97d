//! Text: the tcpdump printer, a packet in, lines out; and the [comments] of `--explain`, an event in, a line out.
//!
//! The text is that of tcpdump 4.99.3, to the byte, for every packet that its filter `tcp` selects. Each module
//! below prints what one of tcpdump's files prints: `link` is print-ether.c, print-sll.c, print-null.c and
//! print-raw.c; `ipv4` print-ip.c; `ipv6` print-ip6.c and print-frag6.c; `tcp` and `tcp_options` print-tcp.c;
//! `mptcp` print-mptcp.c; `dump` print-ascii.c; `time` and this file print.c and util-print.c.
//!
//! The crate is `no_std`, so that it has no I/O and no clock.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod checksum;
pub mod comments;
mod conversations;
mod dissector;
mod dump;
mod endpoints;
mod ip_addresses;
mod ipv4;
mod ipv6;
mod line;
mod link;
mod mptcp;
pub mod names;
pub mod options;
mod tcp;
mod tcp_options;
#[cfg(test)]
mod testing;
mod time;
pub mod values;

use alloc::{borrow::ToOwned as _, boxed::Box, string::String, vec::Vec};

use bytes::BytesMut;
use capture_common::record::MAX_SNAPLEN;
use capture_packet::Packet;
pub use conversations::{Conversations, Numbers, SequenceFields};
use jiff::tz::TimeZone;

use self::{
    dissector::Dissector,
    endpoints::Endpoints,
    line::{Line, Write},
    names::Names,
    options::TextOptions,
    time::StampPrinter,
};

/// Prints packets one after the other, as one run of tcpdump would: it remembers conversations, the packet number
/// and the time stamps that differences are taken from.
#[derive(Debug)]
pub struct Printer {
    options: TextOptions,
    stamps: StampPrinter,
    endpoints: Endpoints,
    conversations: Conversations,
    /// In the order of their indices.
    interfaces: Vec<(u32, String)>,
    line: Line,
    printed: u32,
}

impl Printer {
    /// A printer that has printed nothing yet. Local times are in `time_zone`.
    pub fn new(options: TextOptions, time_zone: TimeZone, conversations: Conversations) -> Self {
        Self {
            options,
            stamps: StampPrinter::new(&options, time_zone),
            endpoints: Endpoints::new(),
            conversations,
            interfaces: Vec::new(),
            line: Line::new(),
            printed: 0,
        }
    }

    /// Sets the names of this machine's interfaces by their index. "Cooked" captures of version 2 carry only the
    /// index; tcpdump asks the machine it runs on for the name, and prints `?` if there is none.
    pub fn set_interfaces(&mut self, interfaces: Vec<(u32, String)>) {
        self.interfaces = interfaces;
        self.interfaces.sort_by_key(|(index, _)| *index);
    }

    /// Sets the name of one interface by its index, or forgets it.
    pub fn set_interface(&mut self, index: u32, name: Option<&str>) {
        let place = self.interfaces.binary_search_by_key(&index, |(index, _)| *index);
        match (place, name) {
            (Ok(place), None) => drop(self.interfaces.remove(place)),
            (Ok(place), Some(name)) => {
                if let Some((_, known)) = self.interfaces.get_mut(place) {
                    name.clone_into(known);
                }
            }
            (Err(place), Some(name)) => self.interfaces.insert(place, (index, name.to_owned())),
            (Err(_), None) => {}
        }
    }

    /// Prints the names of hosts and services instead of their numbers, as far as `names` knows them.
    pub fn set_names(&mut self, names: Box<dyn Names>) {
        self.line.names = Some(names);
    }

    /// The conversations seen so far.
    pub fn conversations(&self) -> &Conversations {
        &self.conversations
    }

    /// Appends the text of one packet to `out`: a line, or several, each with its newline (print.c,
    /// `pretty_print_packet`).
    pub fn print(&mut self, packet: &Packet<'_>, out: &mut BytesMut) {
        self.printed = self.printed.wrapping_add(1);
        if self.options.number {
            self.print_number();
        }
        if is_invalid(packet) {
            self.print_invalid(packet);
        } else {
            self.stamps.print(packet.time, &mut self.line);
            let mut dissector = Dissector {
                options: self.options,
                line: &mut self.line,
                endpoints: &mut self.endpoints,
                conversations: &mut self.conversations,
                interfaces: &self.interfaces,
                data: packet.data,
                wire_len: packet.wire_len,
                protocol: "",
            };
            let link_header_length = match dissector.link(packet) {
                Ok(length) => length,
                Err(truncated) => {
                    dissector.print_truncated(truncated);
                    0
                }
            };
            dump::print(self.options.dump, packet.data, link_header_length, &mut self.line);
        }
        self.line.byte(b'\n');
        self.line.move_to(out);
    }

    /// `-#`: `%5u` and two blanks.
    fn print_number(&mut self) {
        let digits = self.printed.checked_ilog10().unwrap_or(0) + 1;
        for _ in digits..5 {
            self.line.byte(b' ');
        }
        self.line.decimal(self.printed);
        self.line.text("  ");
    }

    #[cold]
    fn print_invalid(&mut self, packet: &Packet<'_>) {
        let (captured_len, wire_len) = (packet.data.len(), packet.wire_len);
        let line = &mut self.line;
        let mut separator = "[Invalid header: ";
        let mut item = |line: &mut Line| line.text(core::mem::replace(&mut separator, ", "));
        if captured_len == 0 {
            item(line);
            line.text("caplen==0");
        }
        if wire_len == 0 {
            item(line);
            line.text("len==0");
        } else if (wire_len as usize) < captured_len {
            item(line);
            line.text("len(");
            line.decimal(wire_len);
            line.text(") < caplen(");
            line.decimal64(captured_len as u64);
            line.byte(b')');
        }
        for (name, length) in [("caplen(", captured_len as u64), ("len(", u64::from(wire_len))] {
            if length > u64::from(MAX_SNAPLEN) {
                item(line);
                line.text(name);
                line.decimal64(length);
                line.text(") > ");
                line.decimal(MAX_SNAPLEN);
            }
        }
        line.byte(b']');
    }
}

/// Whether the lengths contradict each other or are beyond what tcpdump looks at.
fn is_invalid(packet: &Packet<'_>) -> bool {
    let captured_len = packet.data.len();
    captured_len == 0 || (packet.wire_len as usize) < captured_len || packet.wire_len > MAX_SNAPLEN
}

#[cfg(test)]
mod tests {
    use capture_packet::{LinkType, Timestamp};

    use super::{
        options::TimestampStyle,
        testing::{SECOND, Tcp, print_all},
        *,
    };

    const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6];

    /// A handshake, a request and its acknowledgement.
    fn conversation() -> Vec<Tcp<'static>> {
        let syn: &[u8] = &[2, 4, 0xff, 0xd7, 4, 2, 8, 10, 0, 0, 0, 5, 0, 0, 0, 0, 1, 3, 3, 7];
        vec![
            Tcp { ack: 0, flags: 0x02, options: syn, ..Tcp::default() },
            Tcp { seq: 5000, ack: 1001, flags: 0x12, options: syn, reverse: true, ..Tcp::default() },
            Tcp { seq: 1001, ack: 5001, options: &TIMESTAMPS, ..Tcp::default() },
            Tcp {
                seq: 1001,
                ack: 5001,
                flags: 0x18,
                options: &TIMESTAMPS,
                payload: b"hello\n",
                reverse: false,
            },
            Tcp { seq: 5001, ack: 1007, options: &TIMESTAMPS, reverse: true, ..Tcp::default() },
        ]
    }

    #[test]
    fn a_conversation_over_ipv4() {
        let packets: Vec<_> = conversation().iter().map(Tcp::ipv4).collect();
        assert_eq!(
            print_all(TextOptions::default(), LinkType::Raw, &packets),
            "22:13:20.000000 IP 10.0.0.1.1234 > 10.0.0.2.8888: Flags [S], seq 1000, win 342, options [mss 65495,sackOK,TS val 5 ecr 0,nop,wscale 7], length 0\n\
             22:13:20.000001 IP 10.0.0.2.8888 > 10.0.0.1.1234: Flags [S.], seq 5000, ack 1001, win 342, options [mss 65495,sackOK,TS val 5 ecr 0,nop,wscale 7], length 0\n\
             22:13:20.000002 IP 10.0.0.1.1234 > 10.0.0.2.8888: Flags [.], ack 1, win 342, options [nop,nop,TS val 5 ecr 6], length 0\n\
             22:13:20.000003 IP 10.0.0.1.1234 > 10.0.0.2.8888: Flags [P.], seq 1:7, ack 1, win 342, options [nop,nop,TS val 5 ecr 6], length 6\n\
             22:13:20.000004 IP 10.0.0.2.8888 > 10.0.0.1.1234: Flags [.], ack 7, win 342, options [nop,nop,TS val 5 ecr 6], length 0\n"
        );
    }

    #[test]
    fn a_conversation_over_ipv6_with_absolute_numbers_and_packet_numbers() {
        let packets: Vec<_> = conversation().iter().map(Tcp::ipv6).collect();
        let options = TextOptions {
            timestamp: TimestampStyle::None,
            absolute_sequence: true,
            number: true,
            ..TextOptions::default()
        };
        assert_eq!(
            print_all(options, LinkType::Raw, &packets[2..]),
            "    1  IP6 fe80::1.1234 > fe80::2.8888: Flags [.], ack 5001, win 342, options [nop,nop,TS val 5 ecr 6], length 0\n    \
                 2  IP6 fe80::1.1234 > fe80::2.8888: Flags [P.], seq 1001:1007, ack 5001, win 342, options [nop,nop,TS val 5 ecr 6], length 6\n    \
                 3  IP6 fe80::2.8888 > fe80::1.1234: Flags [.], ack 1007, win 342, options [nop,nop,TS val 5 ecr 6], length 0\n"
        );
    }

    #[test]
    fn lengths_that_contradict_each_other() {
        let mut printer = Printer::new(TextOptions::default(), TimeZone::UTC, Conversations::new(1));
        let mut out = BytesMut::new();
        let time = Timestamp { seconds: SECOND, nanoseconds: 0 };
        let data = [0; 60];
        for (wire_len, data) in
            [(0, &data[..0]), (60, &data[..0]), (0, &data[..]), (59, &data[..]), (262_145, &data[..])]
        {
            printer.print(&Packet::new(time, LinkType::Ethernet, wire_len, data), &mut out);
        }
        assert_eq!(
            str::from_utf8(&out).unwrap(),
            "[Invalid header: caplen==0, len==0]\n\
             [Invalid header: caplen==0]\n\
             [Invalid header: len==0]\n\
             [Invalid header: len(59) < caplen(60)]\n\
             [Invalid header: len(262145) > 262144]\n"
        );
    }
}
