//! What happens in connections, as data. Texts are made of it elsewhere: `capture-text` has the comments.

use core::net::IpAddr;

use capture_packet::Timestamp;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The IPv4 or IPv6 address.
    pub address: IpAddr,
    /// The TCP port.
    pub port: u16,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The one that opened it.
    Client,
    /// The other.
    Server,
}

impl Side {
    /// The opposite end.
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Something that happened in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The time of the packet with which the event was noticed. At the end of the capture, that of the last packet with
    /// a TCP segment.
    pub time: Timestamp,
    /// Whether that packet is the event. Silence has no packet of its own, nor has the end of the capture.
    pub has_packet: bool,
    /// The side that opened the connection.
    pub client: Endpoint,
    /// The other side.
    pub server: Endpoint,
    /// Neither a SYN nor a SYN-ACK of the connection was seen: which side is the client is a guess by the ports.
    pub guessed: bool,
    /// The side whose doing the event is. Where there is a packet, the side that sent it.
    pub side: Side,
    /// It is the first event since the handshake was completed: it also says that the connection is established.
    pub established: bool,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// The end whose doing the event is.
    pub fn from(&self) -> Endpoint {
        self.end(self.side)
    }

    /// The opposite end.
    pub fn to(&self) -> Endpoint {
        self.end(self.side.other())
    }

    fn end(&self, side: Side) -> Endpoint {
        match side {
            Side::Client => self.client,
            Side::Server => self.server,
        }
    }
}

/// What happened. "It" is the [side](Event::side) of the event. docs/explain.md says what each kind means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It sent a SYN, and the ports were free as far as is known.
    Open {
        /// The SYN carries data (TCP Fast Open, RFC 7413).
        data: bool,
    },
    /// It sent a SYN with another number while the connection between these ports had not ended.
    Reopen,
    /// It sent a SYN, too, before any answer to the other side's (RFC 9293, figure 8).
    SimultaneousOpen,
    /// It sent its SYN again; there was no answer yet.
    SynRepeated {
        /// How often it has sent the SYN.
        tries: u32,
    },
    /// It sent its SYN again, after the SYN-ACK.
    AnsweredSynRepeated,
    /// It sent its SYN-ACK again.
    SynAckRepeated,
    /// Its SYN got no answer, and it has given up.
    NoAnswer(Tries),
    /// At the end of the capture, its SYN has no answer.
    NoAnswerYet(Tries),
    /// It answered the SYN with a RST.
    Refused,
    /// It sent a RST during the handshake.
    Abandoned,
    /// It sent a SYN-ACK to a SYN that was not seen.
    AcceptedUnseen,
    /// At the end of the capture, the connection is established, and no data was sent.
    Idle,
    /// It sent the first segment that is seen of a connection, in its middle.
    FirstSeen,
    /// As the client, it sent new data at its turn.
    Request,
    /// As the server, it sent new data at its turn.
    Response,
    /// As the server, it sent new data before any from the client.
    SpokeFirst,
    /// It sent the first data of a connection that was first seen in the middle.
    Data,
    /// It sent again what it had sent before.
    Retransmission {
        /// No data, but a FIN.
        fin: bool,
        /// How often it has sent this segment again.
        times: u32,
        /// For how many nanoseconds the other side had acknowledged nothing new, if that is long enough for a
        /// retransmission timeout.
        stalled: Option<i64>,
    },
    /// Its receive window became zero.
    ZeroWindow,
    /// Its receive window is no longer zero.
    WindowOpened,
    /// As the server, it sent the first FIN after it had answered all that the client sent.
    ActiveClose,
    /// It sent the second FIN, which acknowledges the first.
    PassiveClose,
    /// It sent the second FIN, which does not acknowledge the first (RFC 9293, figure 13).
    SimultaneousClose,
    /// It sent any other first FIN: the other side may well go on sending. On a connection first seen in the middle, the
    /// other side may have closed before.
    Close,
    /// It sent new data that acknowledges the other side's FIN, and no turn of it says so.
    DataAfterClose,
    /// It sent a RST.
    Reset,
    /// It sent a RST between ports of which nothing is known.
    UnseenReset,
}

/// How often a SYN was sent without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// How often.
    pub count: u32,
    /// From the first to the last. Negative where the clock was set back in between.
    pub nanoseconds: i64,
}

/// Connections that had to make room for others before they ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// How many.
    pub connections: u64,
    /// How many connections are remembered at most.
    pub limit: usize,
}
