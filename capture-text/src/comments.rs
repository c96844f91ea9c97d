//! The comments of `--explain`: what events are in words, with every wording there is. `docs/explain.md` has the same table for people; a test compares the two.

use core::{
    fmt::{self, Write as _},
    net::{IpAddr, Ipv4Addr},
};

use bytes::BytesMut;
use capture_flow::{Endpoint, Event, EventKind, Forgotten, Side, Tries};

/// Appends the comment on `event` to `out`: a line that begins with `// ` and the two ends as tcpdump writes them, the
/// side first whose doing it is.
#[cold]
pub fn write_comment(event: &Event, out: &mut BytesMut) {
    out.extend_from_slice(b"// ");
    write_comment_text(event, out);
    out.extend_from_slice(b"\n");
}

/// As [`write_comment`], but the words alone, for places that need no mark.
#[cold]
pub fn write_comment_text(event: &Event, out: &mut BytesMut) {
    let (from, to) = (WrittenEndpoint(event.from()), WrittenEndpoint(event.to()));
    let established = if event.established { "the connection is established; " } else { "" };
    // A `BytesMut` grows: it takes everything.
    let _infallible = write!(out, "{from} > {to}: {established}{}", Sentence(event));
}

/// What happened, as the comment says it without the two ends.
pub fn sentence(event: &Event) -> impl fmt::Display {
    Sentence(event)
}

/// Appends the last comment of a capture in which connections had to make room for others.
pub fn write_forgotten(forgotten: Forgotten, out: &mut BytesMut) {
    out.extend_from_slice(b"// ");
    write_forgotten_text(forgotten, out);
    out.extend_from_slice(b"\n");
}

/// As [`write_forgotten`], but the words alone.
pub fn write_forgotten_text(forgotten: Forgotten, out: &mut BytesMut) {
    let Forgotten { connections, limit } = forgotten;
    let _infallible = write!(
        out,
        "{connections} connections were forgotten before they ended, because only {limit} are remembered"
    );
}

/// `address.port` as tcpdump writes it. It writes the last 32 bits of an IPv6 address with a dot wherever the first 96
/// are zero (addrtostr.c, `addrtostr6`); the standard library does so for IPv4-mapped addresses alone.
struct WrittenEndpoint(Endpoint);

impl fmt::Display for WrittenEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { address, port } = self.0;
        match address {
            IpAddr::V6(address) if address.octets()[..12] == [0; 12] && address.segments()[6] != 0 => {
                let [.., a, b, c, d] = address.octets();
                write!(formatter, "::{}.{port}", Ipv4Addr::new(a, b, c, d))
            }
            address => write!(formatter, "{address}.{port}"),
        }
    }
}

struct WrittenSide(Side);

impl fmt::Display for WrittenSide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Side::Client => "client",
            Side::Server => "server",
        })
    }
}

struct WrittenTries(Tries);

impl fmt::Display for WrittenTries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Tries { count: 1, .. } => formatter.write_str("1 try"),
            Tries { count, nanoseconds } => {
                write!(formatter, "{count} tries in {} s", nanoseconds / 1_000_000_000)
            }
        }
    }
}

/// For how many nanoseconds a connection has been stalled.
struct WrittenStall(i64);

impl fmt::Display for WrittenStall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0 / 100_000_000;
        write!(formatter, "the connection has been stalled for {}.{} s", tenths / 10, tenths % 10)
    }
}

/// What a comment says.
struct Sentence<'a>(&'a Event);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Event { side, client, kind, .. } = self.0;
        let (side, other) = (WrittenSide(side), WrittenSide(side.other()));
        match kind {
            EventKind::Open { data: false } => write!(formatter, "the {side} opens a connection"),
            EventKind::Open { data: true } => {
                write!(formatter, "the {side} opens a connection and sends a request with its SYN")
            }
            EventKind::Reopen => {
                write!(formatter, "the {side} opens a new connection; the end of the one before was not seen")
            }
            EventKind::SimultaneousOpen => write!(formatter, "the {side} opens the same connection at the same time"),
            EventKind::SynRepeated { tries } => {
                write!(formatter, "the {side} repeats its SYN, try {tries}: no answer so far")
            }
            EventKind::AnsweredSynRepeated => {
                write!(formatter, "the {side} repeats its SYN: the {other}'s answer has not reached it")
            }
            EventKind::SynAckRepeated => {
                write!(formatter, "the {side} repeats its SYN-ACK: the {other}'s ACK has not reached it")
            }
            EventKind::NoAnswer(tries) => write!(formatter, "the {side} got no answer to its SYN: {}", WrittenTries(tries)),
            EventKind::NoAnswerYet(tries) => {
                write!(formatter, "at the end of the capture, the {side} has no answer to its SYN: {}", WrittenTries(tries))
            }
            EventKind::Refused => write!(formatter, "the {side} refuses the connection (RST)"),
            EventKind::Abandoned => {
                write!(formatter, "the {side} gives up the connection before it is established (RST)")
            }
            EventKind::AcceptedUnseen => {
                write!(formatter, "the {side} accepts a connection; the {other}'s SYN was not seen")
            }
            EventKind::Idle => formatter.write_str("nothing has been sent on it"),
            EventKind::FirstSeen => write!(
                formatter,
                "the connection is first seen in the middle; by the ports, the client is {}",
                WrittenEndpoint(client)
            ),
            EventKind::Request => write!(formatter, "the {side} sends a request"),
            EventKind::Response => write!(formatter, "the {side} sends a response"),
            EventKind::SpokeFirst => write!(formatter, "the {side} speaks first"),
            EventKind::Data => write!(formatter, "the {side} sends data"),
            EventKind::Retransmission { fin, times, stalled } => {
                let what = if fin { "its FIN" } else { "data" };
                write!(formatter, "the {side} retransmits {what}")?;
                if times > 1 {
                    write!(formatter, " again, {times} times now")?;
                }
                stalled.map_or(Ok(()), |stalled| write!(formatter, "; {}", WrittenStall(stalled)))
            }
            EventKind::ZeroWindow => {
                write!(formatter, "the {side}'s window is zero: the {other} has to wait")
            }
            EventKind::WindowOpened => {
                write!(formatter, "the {side}'s window is open again: the {other} may send")
            }
            EventKind::ActiveClose => write!(formatter, "the {side} actively closes the connection"),
            EventKind::PassiveClose => write!(formatter, "the {side} closes its side too"),
            EventKind::SimultaneousClose => write!(formatter, "the {side} closes the connection at the same time"),
            EventKind::Close => write!(formatter, "the {side} closes its side"),
            EventKind::DataAfterClose => {
                write!(formatter, "the {side} sends data after the {other} has closed its side")
            }
            EventKind::Reset => {
                write!(formatter, "the {side} closes the connection by force (RST): data may have been lost")
            }
            EventKind::UnseenReset => formatter.write_str(
                "a connection that was not seen before is reset (RST): if it existed, data may have been lost",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use capture_packet::{LinkType, Packet, Timestamp};
    use test_support::sketch::{CLIENT, at};

    use super::*;
    use crate::{Conversations, Printer, options::TextOptions};

    fn end(address: &str, port: u16) -> Endpoint {
        Endpoint { address: address.parse().unwrap(), port }
    }

    fn event(side: Side, kind: EventKind) -> Event {
        Event {
            time: Timestamp::default(),
            has_packet: true,
            client: end("10.0.0.1", 1234),
            server: end("10.0.0.2", 8888),
            guessed: false,
            side,
            established: kind == EventKind::Idle,
            kind,
        }
    }

    fn comment(event: &Event) -> String {
        let mut out = BytesMut::new();
        write_comment(event, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Every wording, in the order of the table.
    fn wordings() -> Vec<String> {
        let many = Tries { count: 7, nanoseconds: 63_999_999_999 };
        let retransmission = |fin, times, stalled| EventKind::Retransmission { fin, times, stalled };
        let kinds = [
            EventKind::Open { data: false },
            EventKind::Open { data: true },
            EventKind::Reopen,
            EventKind::SimultaneousOpen,
            EventKind::SynRepeated { tries: 2 },
            EventKind::AnsweredSynRepeated,
            EventKind::SynAckRepeated,
            EventKind::NoAnswer(many),
            EventKind::NoAnswerYet(many),
            EventKind::Refused,
            EventKind::Abandoned,
            EventKind::AcceptedUnseen,
            EventKind::Idle,
            EventKind::FirstSeen,
            EventKind::Request,
            EventKind::Response,
            EventKind::SpokeFirst,
            EventKind::Data,
            retransmission(false, 1, None),
            retransmission(false, 2, None),
            retransmission(false, 1, Some(600_000_000)),
            retransmission(false, 2, Some(600_000_000)),
            retransmission(true, 1, None),
            EventKind::ZeroWindow,
            EventKind::WindowOpened,
            EventKind::ActiveClose,
            EventKind::PassiveClose,
            EventKind::SimultaneousClose,
            EventKind::Close,
            EventKind::DataAfterClose,
            EventKind::Reset,
            EventKind::UnseenReset,
        ];
        let side = |kind| match kind {
            EventKind::SynAckRepeated | EventKind::SimultaneousOpen | EventKind::Refused => Side::Server,
            EventKind::AcceptedUnseen | EventKind::Response | EventKind::SpokeFirst => Side::Server,
            EventKind::ActiveClose => Side::Server,
            _ => Side::Client,
        };
        let wording = |kind| {
            let comment = comment(&event(side(kind), kind));
            let ends = match side(kind) {
                Side::Client => "// 10.0.0.1.1234 > 10.0.0.2.8888: ",
                Side::Server => "// 10.0.0.2.8888 > 10.0.0.1.1234: ",
            };
            comment.strip_prefix(ends).unwrap().trim_end().to_owned()
        };
        kinds.map(wording).into()
    }

    /// The table in docs/explain.md has every wording, each once, and no other.
    #[test]
    fn the_documented_wordings_are_these() {
        let document = include_str!("../../docs/explain.md");
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let documented: Vec<&str> = rows.map(|(wording, _)| wording).collect();
        let mut expected = wordings();
        for wording in &mut expected {
            for (example, number) in [
                ("10.0.0.1.1234", "ADDRESS.PORT"),
                ("7 tries in 63 s", "N tries in N s"),
                ("try 2", "try N"),
                ("2 times", "N times"),
                ("0.6 s", "N.N s"),
            ] {
                *wording = wording.replace(example, number);
            }
        }
        let mut out = BytesMut::new();
        write_forgotten(Forgotten { connections: 12, limit: 65536 }, &mut out);
        let forgotten = str::from_utf8(&out).unwrap().trim_end().trim_start_matches("// ");
        expected.push(forgotten.replace("12", "N").replace("65536", "N"));
        assert_eq!(documented, expected);
    }

    #[test]
    fn a_stall_is_cut_off_to_tenths_of_a_second() {
        for (nanoseconds, expected) in
            [(200_000_000, "0.2 s"), (299_999_999, "0.2 s"), (102_400_000_000, "102.4 s")]
        {
            assert!(WrittenStall(nanoseconds).to_string().ends_with(&format!(" {expected}")));
        }
    }

    #[test]
    fn one_try_is_no_tries() {
        let written = |count, nanoseconds| WrittenTries(Tries { count, nanoseconds }).to_string();
        assert_eq!(written(1, 0), "1 try");
        assert_eq!(written(2, 1_999_999_999), "2 tries in 1 s");
    }

    /// The endpoints in a comment are found in the line below it.
    #[test]
    fn endpoints_are_written_as_in_the_lines() {
        for address in [
            "10.0.0.1",
            "0.0.0.0",
            "::",
            "::1",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "::102:304:506",
            "::0.1.0.0",
            "fe80::1",
            "1:0:0:2::3",
            "2001:db8::ffff",
        ] {
            let [from, to] =
                [end(address, 65535), end(if address.contains(':') { "ff02::1" } else { "10.9.9.9" }, 1)];
            let frame =
                at(0, CLIENT, "P.", 7, 9).between([from, to].map(|end| (end.address, end.port).into())).ip();
            let packet =
                Packet::new(Timestamp::default(), LinkType::Raw, frame.len() as u32, &frame).located();
            let mut line = BytesMut::new();
            Printer::new(TextOptions::default(), jiff::tz::TimeZone::UTC, Conversations::new(1))
                .print(&packet, &mut line);
            let line = str::from_utf8(&line).unwrap();
            let comment =
                comment(&Event { client: from, server: to, ..event(Side::Client, EventKind::Data) });
            let (ends, _) = comment.strip_prefix("// ").unwrap().split_once(": ").unwrap();
            assert!(line.contains(&format!(" {ends}: ")), "{line}");
        }
    }
}
