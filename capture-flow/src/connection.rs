//! One connection: which segment is an event, and which.
//!
//! The states are those of RFC 9293 section 3.3.2 as far as they can be told from the packets, of which some may be
//! missing. When in doubt, there is no event.

use capture_packet::Timestamp;

use super::{
    end::{COPY_INTERVAL, End, Progress, after},
    event::{Endpoint, Event, EventKind, Side, Tries},
    segment::{Kind, Segment},
};

/// A SYN without an answer is not waited for any longer, in nanoseconds: the longest pause that Linux makes between
/// two of them with its default of six retries is 64 s (tcp(7), `tcp_syn_retries`).
const SYN_PATIENCE: i64 = 65_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The client's SYN was seen.
    SynSent,
    /// The server's SYN-ACK was seen, or what proves it.
    SynReceived,
    /// The handshake is complete, or was not seen.
    Established,
    /// A RST ended it.
    Reset,
}

/// The client's SYN.
#[derive(Clone, Copy, Debug)]
struct Syn {
    first: i64,
    last: i64,
    tries: u32,
    /// There was an event that no answer came.
    reported: bool,
}

/// Where events go, and what they have in common while a packet is looked at.
pub(super) struct Observer<'a> {
    pub(super) each: &'a mut dyn FnMut(&Event),
    /// The time of the packet.
    pub(super) time: Timestamp,
    /// Whether the packet is the event.
    pub(super) has_packet: bool,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) client: Endpoint,
    pub(super) server: Endpoint,
    phase: Phase,
    /// Whether it was seen from its SYN or its SYN-ACK on.
    whole: bool,
    /// Whether an event has said that it is established.
    announced: bool,
    /// Which side took the last turn.
    speaker: Option<Side>,
    /// An event has said that a side sends although the other has closed.
    sent_after_close: bool,
    syn: Syn,
    client_end: End,
    server_end: End,
    /// When a segment was last seen.
    last: i64,
}

impl Connection {
    /// A connection of which `segment` is the first that is seen. `forgetful`: it may be that earlier ones were
    /// forgotten, so that it is not certain that they were not seen.
    pub(super) fn first_seen(segment: &Segment, forgetful: bool, observer: &mut Observer<'_>) -> Self {
        match segment.kind {
            Kind::Syn => {
                let connection = Self::opened_by(segment);
                connection.emit(
                    observer,
                    Side::Client,
                    EventKind::Open { data: segment.data_len > 0 },
                    false,
                );
                connection
            }
            Kind::SynAck => {
                let connection = Self {
                    phase: Phase::SynReceived,
                    whole: true,
                    client_end: End::expected_at(segment.ack, segment.time),
                    server_end: End::opened_by(segment),
                    ..Self::new(segment.destination, segment.source, segment.time)
                };
                if !forgetful {
                    connection.emit(observer, Side::Server, EventKind::AcceptedUnseen, false);
                }
                connection
            }
            Kind::Reset { .. } => {
                let connection = Self { phase: Phase::Reset, ..Self::guessed(segment) };
                if !forgetful {
                    let side = connection.sender(segment);
                    connection.emit(observer, side, EventKind::UnseenReset, false);
                }
                connection
            }
            Kind::Other => {
                let mut connection = Self { announced: true, ..Self::guessed(segment) };
                if !forgetful {
                    let side = connection.sender(segment);
                    connection.emit(observer, side, EventKind::FirstSeen, false);
                }
                connection.track(segment, observer);
                connection
            }
        }
    }

    fn new(client: Endpoint, server: Endpoint, time: i64) -> Self {
        Self {
            client,
            server,
            phase: Phase::Established,
            whole: false,
            announced: false,
            speaker: None,
            sent_after_close: false,
            syn: Syn { first: time, last: time, tries: 0, reported: false },
            client_end: End::default(),
            server_end: End::default(),
            last: time,
        }
    }

    fn opened_by(syn: &Segment) -> Self {
        let new = Self::new(syn.source, syn.destination, syn.time);
        Self {
            phase: Phase::SynSent,
            whole: true,
            speaker: (syn.data_len > 0).then_some(Side::Client),
            syn: Syn { tries: 1, ..new.syn },
            client_end: End::opened_by(syn),
            ..new
        }
    }

    /// Without a SYN the lower port is the server's; between equal ones, the first to be seen is the client.
    fn guessed(segment: &Segment) -> Self {
        let (source, destination) = (segment.source, segment.destination);
        if source.port < destination.port {
            Self::new(destination, source, segment.time)
        } else {
            Self::new(source, destination, segment.time)
        }
    }

    fn sender(&self, segment: &Segment) -> Side {
        if segment.source == self.client { Side::Client } else { Side::Server }
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client_end,
            Side::Server => &mut self.server_end,
        }
    }

    /// Whether nothing more is to come, but stragglers.
    pub(super) fn has_ended(&self) -> bool {
        self.phase == Phase::Reset || (self.client_end.fin && self.server_end.fin)
    }

    /// Reports an event, and with the first after the handshake that the connection is established.
    fn report(&mut self, observer: &mut Observer<'_>, side: Side, kind: EventKind) {
        let established = self.phase == Phase::Established && !self.announced;
        self.announced |= established;
        self.emit(observer, side, kind, established);
    }

    #[cold]
    fn emit(&self, observer: &mut Observer<'_>, side: Side, kind: EventKind, established: bool) {
        let &mut Observer { ref mut each, time, has_packet } = observer;
        let &Self { client, server, whole, .. } = self;
        each(&Event { time, has_packet, client, server, guessed: !whole, side, established, kind });
    }

    /// Reports what happens with `segment`, which is of this connection or of one between the same ends.
    pub(super) fn track(&mut self, segment: &Segment, observer: &mut Observer<'_>) {
        let side = self.sender(segment);
        match segment.kind {
            Kind::Syn => self.syn(side, segment, observer),
            Kind::SynAck => self.syn_ack(side, segment, observer),
            Kind::Reset { ack } => self.reset(side, segment, ack, observer),
            Kind::Other => self.other(side, segment, observer),
        }
        self.last = segment.time;
    }

    fn syn(&mut self, side: Side, segment: &Segment, observer: &mut Observer<'_>) {
        let ended = self.has_ended();
        if self.end(side).isn == Some(segment.seq) {
            if !ended {
                self.repeated_syn(side, segment, observer);
                return;
            }
            if segment.time.saturating_sub(self.last) < COPY_INTERVAL {
                return;
            }
        }
        if self.phase == Phase::SynSent && side == Side::Server {
            self.server_end = End::opened_by(segment);
            self.phase = Phase::SynReceived;
            self.emit(observer, side, EventKind::SimultaneousOpen, false);
            return;
        }
        let unanswered = self.phase == Phase::SynSent;
        if unanswered && !self.syn.reported {
            self.emit(observer, side, EventKind::NoAnswer(self.tries()), false);
        }
        *self = Self::opened_by(segment);
        let kind = if ended || unanswered {
            EventKind::Open { data: segment.data_len > 0 }
        } else {
            EventKind::Reopen
        };
        self.emit(observer, Side::Client, kind, false);
    }

    fn repeated_syn(&mut self, side: Side, segment: &Segment, observer: &mut Observer<'_>) {
        if !self.end(side).is_no_copy(segment.time) {
            return;
        }
        self.end(side).repeated(segment);
        if self.phase == Phase::SynSent {
            self.syn.tries = self.syn.tries.saturating_add(1);
            self.syn.last = segment.time;
            self.syn.reported = false;
            self.emit(observer, side, EventKind::SynRepeated { tries: self.syn.tries }, false);
        } else if self.end(side.other()).syn_ack {
            self.emit(observer, side, EventKind::AnsweredSynRepeated, false);
        }
    }

    fn syn_ack(&mut self, side: Side, segment: &Segment, observer: &mut Observer<'_>) {
        let answers = self.end(side.other()).is_syn_acked_by(segment.ack);
        if side == Side::Client {
            // Both opened at once, and this one has got the other's SYN.
            if self.phase == Phase::SynReceived && answers {
                self.server_end.acknowledge(segment.ack, segment.time);
                self.phase = Phase::Established;
            }
            return;
        }
        if self.server_end.isn == Some(segment.seq) {
            if !core::mem::replace(&mut self.server_end.syn_ack, true) {
                self.client_end.acknowledge(segment.ack, segment.time);
            } else if self.phase != Phase::Reset && self.server_end.is_no_copy(segment.time) {
                self.server_end.repeated(segment);
                self.emit(observer, side, EventKind::SynAckRepeated, false);
            }
        } else if self.has_ended() && !answers {
            // Of a new connection, whose SYN was not seen.
            *self = Self::first_seen(segment, false, observer);
        } else if answers && matches!(self.phase, Phase::SynSent | Phase::SynReceived) {
            // A second answer with another number comes from a server that does not remember its first (SYN cookies).
            self.server_end = End::opened_by(segment);
            self.client_end.acknowledge(segment.ack, segment.time);
            self.phase = Phase::SynReceived;
        }
    }

    fn reset(&mut self, side: Side, segment: &Segment, ack: bool, observer: &mut Observer<'_>) {
        let kind = match (self.phase, side) {
            (Phase::Reset, _) => return,
            (Phase::SynSent, Side::Server) => {
                // RFC 9293 section 3.10.7.3: a reset counts if it acknowledges the SYN.
                if !ack || !self.client_end.is_syn_acked_by(segment.ack) {
                    return;
                }
                EventKind::Refused
            }
            (Phase::SynSent, Side::Client) => {
                let begins =
                    self.client_end.isn == Some(segment.seq) || self.client_end.next == Some(segment.seq);
                if !begins {
                    return;
                }
                EventKind::Abandoned
            }
            (Phase::SynReceived | Phase::Established, _) => {
                let receiver = *self.end(side.other());
                if !self.end(side).is_reset_acceptable(segment.seq, &receiver) {
                    return;
                }
                if self.phase == Phase::SynReceived && self.speaker.is_none() {
                    EventKind::Abandoned
                } else {
                    EventKind::Reset
                }
            }
        };
        self.report(observer, side, kind);
        self.phase = Phase::Reset;
    }

    /// Takes the handshake further. Whether `segment` belongs to the connection.
    fn handshake(&mut self, side: Side, segment: &Segment) -> bool {
        match (self.phase, side) {
            (Phase::Reset, _) => return false,
            // The SYN-ACK was not seen, but this proves it.
            (Phase::SynSent, Side::Server) => {
                if !self.client_end.is_syn_acked_by(segment.ack) {
                    return false;
                }
                self.phase = Phase::SynReceived;
            }
            (Phase::SynSent, Side::Client) => {
                if self.client_end.next != Some(segment.seq) {
                    return false;
                }
                self.phase = Phase::Established;
            }
            (Phase::SynReceived, Side::Client) => {
                if self.server_end.isn.is_none() || self.server_end.is_syn_acked_by(segment.ack) {
                    self.phase = Phase::Established;
                }
            }
            (Phase::SynReceived, Side::Server) | (Phase::Established, _) => {}
        }
        true
    }

    /// Data, acknowledgment, FIN.
    fn other(&mut self, side: Side, segment: &Segment, observer: &mut Observer<'_>) {
        let peer = side.other();
        if self.end(side).is_foreign(segment)
            || self.end(peer).is_foreign_ack(segment.ack)
            || !self.handshake(side, segment)
        {
            return;
        }
        let peer_end = *self.end(peer);
        let own = self.end(side);
        let own_before = *own;
        let progress = own.send(segment);
        if own_before.fin && progress == Progress::New {
            // No side sends after its FIN.
            *own = own_before;
            return;
        }
        self.end(peer).acknowledge(segment.ack, segment.time);
        let is_latest = own_before.next.is_none_or(|next| !after(next, segment.seq_end()))
            && self.end(peer).acked == Some(segment.ack);
        if is_latest && !peer_end.fin {
            self.window(side, segment, observer);
        }
        if progress == Progress::New && segment.data_len > 0 {
            self.end(side).spoke = true;
            if peer_end.is_acked_by(segment.ack) {
                self.turn(side, peer_end.next.is_some_and(|next| segment.ack != next), observer);
            }
        }
        let fin = segment.fin && !own_before.fin;
        if progress == Progress::Again && !fin {
            self.sent_again(side, segment, observer);
        }
        if fin {
            self.end(side).fin = true;
            let is_acked = peer_end.is_acked_by(segment.ack);
            // What it closes is its own direction. Only a server ends the exchange with that, once it has answered all:
            // nothing will be answered any more. To a client, the rest of an answer may still come.
            let has_answered =
                side == Side::Server && self.speaker == Some(side) && peer_end.spoke && is_acked;
            let kind = match (peer_end.fin, is_acked) {
                (true, true) => EventKind::PassiveClose,
                (true, false) => EventKind::SimultaneousClose,
                (false, _) if has_answered => EventKind::ActiveClose,
                (false, _) => EventKind::Close,
            };
            self.report(observer, side, kind);
        }
    }

    fn window(&mut self, side: Side, segment: &Segment, observer: &mut Observer<'_>) {
        let was_full = self.end(side).offer(segment.window);
        match (was_full, segment.window) {
            (false, 0) => self.report(observer, side, EventKind::ZeroWindow),
            (true, 1..) => self.report(observer, side, EventKind::WindowOpened),
            _ => {}
        }
    }

    /// New data that acknowledges all that the other side has sent: it is this side's turn, if it was not already.
    /// Data that crosses with the other side's answers nothing. `unseen`: it acknowledges what was not seen.
    ///
    /// The first that acknowledges the other side's FIN is an event in any case.
    fn turn(&mut self, side: Side, unseen: bool, observer: &mut Observer<'_>) {
        let other_closed = self.end(side.other()).fin;
        if self.speaker == Some(side) && other_closed == self.sent_after_close {
            return;
        }
        self.sent_after_close = other_closed;
        let kind = match (side, self.speaker) {
            // A server that has closed answers nothing: this is no request.
            (Side::Client, _) if other_closed => EventKind::DataAfterClose,
            (Side::Server, Some(Side::Server)) => EventKind::DataAfterClose,
            (_, None) if !self.whole => EventKind::Data,
            (Side::Client, _) => EventKind::Request,
            (Side::Server, None) if !unseen => EventKind::SpokeFirst,
            (Side::Server, _) => EventKind::Response,
        };
        self.speaker = Some(side);
        self.report(observer, side, kind);
    }

    fn sent_again(&mut self, side: Side, segment: &Segment, observer: &mut Observer<'_>) {
        // What is sent to a closed window is a probe (RFC 9293 section 3.8.6.1).
        let is_probe = segment.data_len <= 1 && self.end(side.other()).is_full();
        if is_probe || self.end(side).is_keep_alive(segment) {
            return;
        }
        if let Some((times, stalled)) = self.end(side).retransmit(segment) {
            let fin = segment.data_len == 0;
            self.report(observer, side, EventKind::Retransmission { fin, times, stalled });
        }
    }

    fn tries(&self) -> Tries {
        Tries { count: self.syn.tries, nanoseconds: self.syn.last.saturating_sub(self.syn.first) }
    }

    /// Reports that there is no answer, if the client has waited for one until `now`.
    pub(super) fn wait(&mut self, now: i64, observer: &mut Observer<'_>) {
        let waits = self.phase == Phase::SynSent && !self.syn.reported;
        if waits && now.saturating_sub(self.syn.last) > SYN_PATIENCE {
            self.syn.reported = true;
            self.emit(observer, Side::Client, EventKind::NoAnswer(self.tries()), false);
        }
    }

    /// Reports what is left when the capture ends.
    pub(super) fn finish(&mut self, observer: &mut Observer<'_>) {
        match self.phase {
            Phase::SynSent if !self.syn.reported => {
                self.emit(observer, Side::Client, EventKind::NoAnswerYet(self.tries()), false);
            }
            Phase::Established if !self.announced => self.report(observer, Side::Client, EventKind::Idle),
            _ => {}
        }
    }
}
