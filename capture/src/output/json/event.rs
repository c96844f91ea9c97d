//! An event of a connection as an object.

use capture_flow::{Event, EventKind, Side, Tries};
use capture_text::comments::sentence;
use serde::{Serialize, Serializer};

use super::{packet::Address, stamp::Stamp, values::SignedExact};

/// The keys in the order they are written.
#[derive(Serialize)]
#[serde(tag = "type", rename = "event")]
pub(super) struct EventObject<'a> {
    time: Stamp,
    client_ip: Address,
    client_port: u16,
    server_ip: Address,
    server_port: u16,
    side: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    data: Data,
    established: bool,
    guessed: bool,
    has_packet: bool,
    text: Text<'a>,
}

/// What only some kinds have.
#[derive(Default, Serialize)]
struct Data {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ns: Option<SignedExact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stalled_ns: Option<SignedExact>,
}

/// The comment's sentence.
struct Text<'a>(&'a Event);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&sentence(self.0))
    }
}

impl<'a> EventObject<'a> {
    pub(super) fn new(event: &'a Event, time: Stamp) -> Self {
        let (kind, data) = kind(event.kind);
        Self {
            time,
            client_ip: Address(event.client.address),
            client_port: event.client.port,
            server_ip: Address(event.server.address),
            server_port: event.server.port,
            side: match event.side {
                Side::Client => "client",
                Side::Server => "server",
            },
            kind,
            data,
            established: event.established,
            guessed: event.guessed,
            has_packet: event.has_packet,
            text: Text(event),
        }
    }
}

/// The name of a kind, and its data.
fn kind(kind: EventKind) -> (&'static str, Data) {
    let none = Data::default();
    let tries = |Tries { count, nanoseconds }| Data {
        tries: Some(count),
        duration_ns: Some(SignedExact(nanoseconds)),
        ..Data::default()
    };
    match kind {
        EventKind::Open { data } => ("open", Data { data: Some(data), ..none }),
        EventKind::Reopen => ("reopen", none),
        EventKind::SimultaneousOpen => ("simultaneous_open", none),
        EventKind::SynRepeated { tries } => ("syn_repeated", Data { tries: Some(tries), ..none }),
        EventKind::AnsweredSynRepeated => ("answered_syn_repeated", none),
        EventKind::SynAckRepeated => ("syn_ack_repeated", none),
        EventKind::NoAnswer(count) => ("no_answer", tries(count)),
        EventKind::NoAnswerYet(count) => ("no_answer_yet", tries(count)),
        EventKind::Refused => ("refused", none),
        EventKind::Abandoned => ("abandoned", none),
        EventKind::AcceptedUnseen => ("accepted_unseen", none),
        EventKind::Idle => ("idle", none),
        EventKind::FirstSeen => ("first_seen", none),
        EventKind::Request => ("request", none),
        EventKind::Response => ("response", none),
        EventKind::SpokeFirst => ("spoke_first", none),
        EventKind::Data => ("data", none),
        EventKind::Retransmission { fin, times, stalled } => (
            "retransmission",
            Data { fin: Some(fin), times: Some(times), stalled_ns: stalled.map(SignedExact), ..none },
        ),
        EventKind::ZeroWindow => ("zero_window", none),
        EventKind::WindowOpened => ("window_opened", none),
        EventKind::ActiveClose => ("active_close", none),
        EventKind::PassiveClose => ("passive_close", none),
        EventKind::SimultaneousClose => ("simultaneous_close", none),
        EventKind::Close => ("close", none),
        EventKind::DataAfterClose => ("data_after_close", none),
        EventKind::Reset => ("reset", none),
        EventKind::UnseenReset => ("unseen_reset", none),
    }
}
