//! The comments: every wording there is. `docs/explain.md` has the same table for people; a test compares the two.

use std::fmt::{self, Write as _};

use bytes::BytesMut;

use super::segment::{Endpoint, Segment};

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that opened it.
    Client,
    /// The other.
    Server,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// How often a SYN was sent without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tries {
    pub(super) count: u32,
    /// From the first to the last.
    pub(super) seconds: i64,
}

impl fmt::Display for Tries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => formatter.write_str("1 try"),
            count => write!(formatter, "{count} tries in {} s", self.seconds),
        }
    }
}

/// How long nothing of what one side sends has been acknowledged, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stall(pub(super) i64);

impl fmt::Display for Stall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0 / 100_000_000;
        write!(formatter, "the connection has been stalled for {}.{} s", tenths / 10, tenths % 10)
    }
}

/// Something that happened. Where it names no side, it is the sender's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Opens,
    OpensWithData,
    OpensAnew,
    OpensToo,
    RepeatsSyn { tries: u32 },
    RepeatsAnsweredSyn,
    RepeatsSynAck,
    GotNoAnswer(Tries),
    HasNoAnswer(Tries),
    Refuses,
    GivesUp,
    AcceptsUnseen,
    Idle,
    FirstSeen { client: Endpoint },
    Requests,
    Responds,
    SpeaksFirst,
    SendsData,
    Retransmits { fin: bool, times: u32, stalled: Option<Stall> },
    WindowIsZero,
    WindowOpens,
    ClosesActively,
    ClosesToo,
    ClosesAtOnce,
    Closes,
    Resets,
    ResetsUnseen,
}

/// What a comment says: an event, and who is its subject.
struct Sentence {
    side: Side,
    event: Event,
}

impl fmt::Display for Sentence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = self.side;
        let other = side.other();
        match self.event {
            Event::Opens => write!(formatter, "the {side} opens a connection"),
            Event::OpensWithData => {
                write!(formatter, "the {side} opens a connection and sends a request with its SYN")
            }
            Event::OpensAnew => {
                write!(formatter, "the {side} opens a new connection; the end of the one before was not seen")
            }
            Event::OpensToo => write!(formatter, "the {side} opens the same connection at the same time"),
            Event::RepeatsSyn { tries } => {
                write!(formatter, "the {side} repeats its SYN, try {tries}: no answer so far")
            }
            Event::RepeatsAnsweredSyn => {
                write!(formatter, "the {side} repeats its SYN: the {other}'s answer has not reached it")
            }
            Event::RepeatsSynAck => {
                write!(formatter, "the {side} repeats its SYN-ACK: the {other}'s ACK has not reached it")
            }
            Event::GotNoAnswer(tries) => write!(formatter, "the {side} got no answer to its SYN: {tries}"),
            Event::HasNoAnswer(tries) => {
                write!(formatter, "at the end of the capture, the {side} has no answer to its SYN: {tries}")
            }
            Event::Refuses => write!(formatter, "the {side} refuses the connection (RST)"),
            Event::GivesUp => {
                write!(formatter, "the {side} gives up the connection before it is established (RST)")
            }
            Event::AcceptsUnseen => {
                write!(formatter, "the {side} accepts a connection; the {other}'s SYN was not seen")
            }
            Event::Idle => formatter.write_str("nothing has been sent on it"),
            Event::FirstSeen { client } => write!(
                formatter,
                "the connection is first seen in the middle; by the ports, the client is {client}"
            ),
            Event::Requests => write!(formatter, "the {side} sends a request"),
            Event::Responds => write!(formatter, "the {side} sends a response"),
            Event::SpeaksFirst => write!(formatter, "the {side} speaks first"),
            Event::SendsData => write!(formatter, "the {side} sends data"),
            Event::Retransmits { fin, times, stalled } => {
                let what = if fin { "its FIN" } else { "data" };
                write!(formatter, "the {side} retransmits {what}")?;
                if times > 1 {
                    write!(formatter, " again, {times} times now")?;
                }
                stalled.map_or(Ok(()), |stalled| write!(formatter, "; {stalled}"))
            }
            Event::WindowIsZero => {
                write!(formatter, "the {side}'s window is zero: the {other} has to wait")
            }
            Event::WindowOpens => {
                write!(formatter, "the {side}'s window is open again: the {other} may send")
            }
            Event::ClosesActively => write!(formatter, "the {side} actively closes the connection"),
            Event::ClosesToo => write!(formatter, "the {side} closes its side too"),
            Event::ClosesAtOnce => write!(formatter, "the {side} closes the connection at the same time"),
            Event::Closes => write!(formatter, "the {side} closes its side"),
            Event::Resets => {
                write!(formatter, "the {side} closes the connection by force (RST): data may have been lost")
            }
            Event::ResetsUnseen => formatter.write_str(
                "a connection that was not seen before is reset (RST): if it existed, data may have been lost",
            ),
        }
    }
}

/// Where comments go, and what each begins with: the two ends as tcpdump writes them, the sender first.
pub(super) struct Story<'a> {
    out: &'a mut BytesMut,
    from: Endpoint,
    to: Endpoint,
}

impl<'a> Story<'a> {
    /// For what `segment` tells.
    pub(super) fn of(segment: &Segment, out: &'a mut BytesMut) -> Self {
        Self { out, from: segment.source, to: segment.destination }
    }

    /// For a comment on the connection from `client` to `server` without a segment.
    pub(super) fn between(client: Endpoint, server: Endpoint, out: &'a mut BytesMut) -> Self {
        Self { out, from: client, to: server }
    }

    /// Writes one comment. `established`: it is also the first that tells that the connection is.
    #[cold]
    pub(super) fn tell(&mut self, side: Side, event: Event, established: bool) {
        let Self { out, from, to } = self;
        let established = if established { "the connection is established; " } else { "" };
        // A `BytesMut` grows: it takes everything.
        let _infallible = writeln!(out, "// {from} > {to}: {established}{}", Sentence { side, event });
    }
}

/// The last comment of a capture in which `forgotten` connections had to make room for others.
pub(super) fn tell_forgotten(forgotten: u64, limit: usize, out: &mut BytesMut) {
    let _infallible = writeln!(
        out,
        "// {forgotten} connections were forgotten before they ended, because only {limit} are remembered"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::testing::SERVER;

    /// Every wording, in the order of the table.
    fn sentences() -> Vec<String> {
        let many = Tries { count: 7, seconds: 63 };
        let events = [
            Event::Opens,
            Event::OpensWithData,
            Event::OpensAnew,
            Event::OpensToo,
            Event::RepeatsSyn { tries: 2 },
            Event::RepeatsAnsweredSyn,
            Event::RepeatsSynAck,
            Event::GotNoAnswer(many),
            Event::HasNoAnswer(many),
            Event::Refuses,
            Event::GivesUp,
            Event::AcceptsUnseen,
            Event::Idle,
            Event::FirstSeen { client: SERVER.endpoint() },
            Event::Requests,
            Event::Responds,
            Event::SpeaksFirst,
            Event::SendsData,
            Event::Retransmits { fin: false, times: 1, stalled: None },
            Event::Retransmits { fin: false, times: 2, stalled: None },
            Event::Retransmits { fin: false, times: 1, stalled: Some(Stall(600_000_000)) },
            Event::Retransmits { fin: false, times: 2, stalled: Some(Stall(600_000_000)) },
            Event::Retransmits { fin: true, times: 1, stalled: None },
            Event::WindowIsZero,
            Event::WindowOpens,
            Event::ClosesActively,
            Event::ClosesToo,
            Event::ClosesAtOnce,
            Event::Closes,
            Event::Resets,
            Event::ResetsUnseen,
        ];
        let side = |event| match event {
            Event::RepeatsSynAck | Event::OpensToo | Event::Refuses => Side::Server,
            Event::AcceptsUnseen | Event::Responds | Event::SpeaksFirst => Side::Server,
            _ => Side::Client,
        };
        events.map(|event| Sentence { side: side(event), event }.to_string()).into()
    }

    /// The table in docs/explain.md has every wording, each once, and no other.
    #[test]
    fn the_documented_wordings_are_these() {
        let document = include_str!("../../../docs/explain.md");
        let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let documented: Vec<&str> = rows.map(|(wording, _)| wording).collect();
        let mut expected = sentences();
        let client = SERVER.endpoint().to_string();
        for sentence in &mut expected {
            *sentence =
                sentence.replace(&client, "ADDRESS.PORT").replace("7 tries in 63 s", "N tries in N s");
            *sentence =
                sentence.replace("try 2", "try N").replace("2 times", "N times").replace("0.6 s", "N.N s");
            if sentence.contains("nothing has been sent") {
                sentence.insert_str(0, "the connection is established; ");
            }
        }
        let mut out = BytesMut::new();
        tell_forgotten(12, 65536, &mut out);
        let forgotten = str::from_utf8(&out).unwrap().trim_end().trim_start_matches("// ");
        expected.push(forgotten.replace("12", "N").replace("65536", "N"));
        assert_eq!(documented, expected);
    }

    #[test]
    fn a_stall_is_cut_off_to_tenths_of_a_second() {
        for (nanoseconds, expected) in
            [(200_000_000, "0.2 s"), (299_999_999, "0.2 s"), (102_400_000_000, "102.4 s")]
        {
            assert!(Stall(nanoseconds).to_string().ends_with(&format!(" {expected}")));
        }
    }

    #[test]
    fn one_try_is_no_tries() {
        assert_eq!(Tries { count: 1, seconds: 0 }.to_string(), "1 try");
        assert_eq!(Tries { count: 2, seconds: 1 }.to_string(), "2 tries in 1 s");
    }
}
