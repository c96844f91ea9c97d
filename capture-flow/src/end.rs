//! What one end of a connection has sent, and what is known of its receive window: the send sequence space of
//! RFC 9293 section 3.3.1, as far as it can be seen from outside.

use super::segment::{Kind, Segment};

/// A packet that differs from an earlier one in nothing but its time, and follows it within this time, may be the same
/// packet seen twice (on two interfaces of a bridge, say). Retransmission timers are longer: RFC 6298 asks for 1 s,
/// Linux waits for 200 ms at least.
pub(super) const COPY_INTERVAL: i64 = 10_000_000;

/// The largest window (RFC 7323 section 2.3). What is further away than this belongs to another connection.
const MAX_WINDOW: u32 = 1 << 30;

/// The largest shift count of a window scale option (RFC 7323 section 2.3).
const MAX_WINDOW_SCALE: u8 = 14;

/// What has not been acknowledged for so long may be sent again because the sender's timer has run out: Linux waits for
/// no less (include/net/tcp.h, `TCP_RTO_MIN`).
const MIN_TIMEOUT: i64 = 200_000_000;

/// Whether `a` comes after `b` in sequence space (RFC 9293 section 3.4).
pub(super) fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

fn far_apart(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed().unsigned_abs() > MAX_WINDOW
}

/// A loss recovery that has been reported: from the first retransmission until all that had been sent by then is
/// acknowledged (RFC 6582 section 3.2, "recover"). A timeout begins it once more.
#[derive(Clone, Copy, Debug)]
struct Recovery {
    /// The sequence number of the retransmission it began with.
    first: u32,
    /// What had been sent by then.
    recover: u32,
    /// How often that was retransmitted, and when last.
    times: u32,
    time: i64,
}

/// What a segment adds to what its sender has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It goes further than all before.
    New,
    /// All of it was sent before, for certain, and this is not the same packet seen twice.
    Again,
    /// Nothing, or it cannot be known.
    Unclear,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// Its initial sequence number, if its SYN was seen.
    pub(super) isn: Option<u32>,
    /// SND.NXT: what follows the last that it is known to have sent.
    pub(super) next: Option<u32>,
    /// The highest acknowledgment it got, which is RCV.NXT of the other end.
    pub(super) acked: Option<u32>,
    /// When that last went on, or, if all had been acknowledged by then, when more was sent.
    waits_since: i64,
    /// Its FIN was seen.
    pub(super) fin: bool,
    /// Its SYN-ACK was seen.
    pub(super) syn_ack: bool,
    /// Data from it was seen, with its SYN or after.
    pub(super) spoke: bool,
    /// The window it offers, as in the header.
    window: Option<u16>,
    /// What that is to be shifted by; `None` if its SYN was not seen.
    window_scale: Option<u8>,
    /// From the first to the end of the last that it must have sent and that was not seen. There may be more than one
    /// gap, and segments that were seen between them: this is all of it.
    gap: Option<(u32, u32)>,
    /// The highest TSval. All below `tick` was first sent with a lower one.
    tsval: Option<u32>,
    tick: u32,
    /// When `next` last went on.
    advanced_at: i64,
    /// `recent` was `next` at `recent_at`; `aged` was it at least `COPY_INTERVAL` earlier.
    recent: u32,
    recent_at: i64,
    aged: u32,
    recovery: Option<Recovery>,
}

impl End {
    /// An end whose SYN or SYN-ACK is `segment`.
    pub(super) fn opened_by(segment: &Segment) -> Self {
        let next = segment.seq_end();
        Self {
            isn: Some(segment.seq),
            syn_ack: segment.kind == Kind::SynAck,
            spoke: segment.data_len > 0,
            next: Some(next),
            window: Some(segment.window),
            // Without the option there is no scaling.
            window_scale: Some(segment.window_scale.unwrap_or(0).min(MAX_WINDOW_SCALE)),
            tsval: segment.tsval,
            tick: segment.seq,
            advanced_at: segment.time,
            recent: next,
            recent_at: segment.time,
            aged: segment.seq,
            ..Self::default()
        }
    }

    /// An end of which is known only that its next sequence number is `next`.
    pub(super) fn expected_at(next: u32, time: i64) -> Self {
        Self {
            next: Some(next),
            acked: Some(next),
            tick: next.wrapping_sub(MAX_WINDOW),
            waits_since: time,
            advanced_at: time,
            recent: next,
            recent_at: time,
            aged: next,
            ..Self::default()
        }
    }

    /// Whether `segment` cannot be of this connection, as far as this end as its sender is concerned.
    pub(super) fn is_foreign(&self, segment: &Segment) -> bool {
        self.next.is_some_and(|next| far_apart(segment.seq, next))
    }

    /// Whether `ack` is nothing that the other end of this connection acknowledges.
    pub(super) fn is_foreign_ack(&self, ack: u32) -> bool {
        self.next.is_some_and(|next| far_apart(ack, next))
    }

    /// Whether `ack` acknowledges its SYN, or the data sent with that.
    pub(super) fn is_syn_acked_by(&self, ack: u32) -> bool {
        match (self.isn, self.next) {
            (Some(isn), Some(next)) => after(ack, isn) && !after(ack, next),
            _ => false,
        }
    }

    /// Whether `ack` acknowledges all that it is known to have sent.
    pub(super) fn is_acked_by(&self, ack: u32) -> bool {
        self.next.is_none_or(|next| !after(next, ack))
    }

    /// Whether a packet at `time` comes too late to be a copy of what went on last.
    pub(super) fn is_no_copy(&self, time: i64) -> bool {
        time.saturating_sub(self.advanced_at) >= COPY_INTERVAL
    }

    /// A SYN or SYN-ACK of it was seen once more.
    pub(super) fn repeated(&mut self, segment: &Segment) {
        self.advanced_at = segment.time;
        self.read_clock(segment);
    }

    /// Takes an acknowledgment that it got, at `time`.
    pub(super) fn acknowledge(&mut self, ack: u32, time: i64) {
        if self.acked.is_some_and(|acked| !after(ack, acked)) {
            return;
        }
        self.acked = Some(ack);
        self.waits_since = time;
        if self.recovery.is_some_and(|recovery| !after(recovery.recover, ack)) {
            self.recovery = None;
        }
        if self.gap.is_some_and(|(_, end)| !after(end, ack)) {
            self.gap = None;
        }
    }

    /// Takes what it sent.
    pub(super) fn send(&mut self, segment: &Segment) -> Progress {
        let (start, end) = (segment.seq, segment.seq_end());
        let Some(next) = self.next else {
            self.next = Some(end);
            self.gap = Some((start.wrapping_sub(MAX_WINDOW), start));
            self.tsval = segment.tsval;
            self.tick = start.wrapping_sub(MAX_WINDOW);
            (self.recent, self.recent_at, self.advanced_at) = (end, segment.time, segment.time);
            self.aged = start;
            return if end == start { Progress::Unclear } else { Progress::New };
        };
        self.read_clock(segment);
        if !after(end, next) {
            let again = end != start && self.is_sent_again(segment, next);
            return if again { Progress::Again } else { Progress::Unclear };
        }
        if self.acked.is_some_and(|acked| !after(next, acked)) {
            self.waits_since = segment.time;
        }
        if after(start, next) {
            self.gap = Some((self.gap.map_or(next, |(gap, _)| gap), start));
        }
        self.next = Some(end);
        if segment.time.saturating_sub(self.recent_at) >= COPY_INTERVAL {
            (self.aged, self.recent, self.recent_at) = (self.recent, end, segment.time);
        }
        self.advanced_at = segment.time;
        if end == start { Progress::Unclear } else { Progress::New }
    }

    /// What has been sent when the sender's clock ticks was sent before.
    fn read_clock(&mut self, segment: &Segment) {
        let (Some(tsval), Some(next)) = (segment.tsval, self.next) else { return };
        match self.tsval {
            Some(highest) if !after(tsval, highest) => {}
            Some(_) => (self.tsval, self.tick) = (Some(tsval), next),
            None => self.tsval = Some(tsval),
        }
    }

    /// Whether a segment that ends at or before `next` was sent a second time.
    ///
    /// With timestamps its sender says so: whatever is below `tick` was sent first when the sender's clock showed
    /// less, so that a segment from there with the present time is sent again, whether the first one was seen or not.
    /// A late original, or a copy of it, has the old time. Without timestamps all of it must have been seen, and long
    /// enough ago.
    fn is_sent_again(&self, segment: &Segment, next: u32) -> bool {
        let end = segment.seq_end();
        if let (Some(tsval), Some(highest)) = (segment.tsval, self.tsval) {
            return tsval == highest && !after(end, self.tick);
        }
        let acked = self.acked.is_some_and(|acked| !after(end, acked));
        let seen = self.gap.is_none_or(|(start, gap_end)| !after(gap_end, segment.seq) || !after(end, start));
        let aged = if self.is_no_copy(segment.time) {
            next
        } else if segment.time.saturating_sub(self.recent_at) >= COPY_INTERVAL {
            self.recent
        } else {
            self.aged
        };
        (acked || seen) && !after(end, aged)
    }

    /// Whether `segment`, sent again, is a keep-alive: one byte, acknowledged before (RFC 9293 section 3.8.4).
    pub(super) fn is_keep_alive(&self, segment: &Segment) -> bool {
        segment.data_len == 1
            && !segment.fin
            && self.next == Some(segment.seq_end())
            && self.acked == self.next
    }

    /// How often `segment`, which is sent again, has been, and how long the other side has acknowledged nothing new, in
    /// nanoseconds, if that is long enough for a timeout. `None` if its recovery has been reported.
    pub(super) fn retransmit(&mut self, segment: &Segment) -> Option<(u32, Option<i64>)> {
        let recover = self.next.unwrap_or(segment.seq);
        // Of a connection of which one direction is seen, what is new in that direction shows that it goes on.
        let since = if self.acked.is_some() { self.waits_since } else { self.advanced_at };
        let waited = segment.time.saturating_sub(since);
        let stalled = (waited >= MIN_TIMEOUT).then_some(waited);
        // At a timeout the first is sent again that is not acknowledged (RFC 6298 section 5.4); what is acknowledged
        // here may not be there.
        let is_first = match self.acked {
            Some(acked) => !after(segment.seq, acked),
            None => self.recovery.is_none_or(|recovery| !after(segment.seq, recovery.first)),
        };
        let is_timeout = stalled.is_some() && is_first;
        let times = match self.recovery {
            Some(recovery) if segment.seq == recovery.first => {
                if segment.time.saturating_sub(recovery.time) < COPY_INTERVAL {
                    return None;
                }
                recovery.times.saturating_add(1)
            }
            Some(recovery) if after(recovery.recover, segment.seq) && !is_timeout => return None,
            _ => 1,
        };
        // After a timeout, all that has been sent by then counts (RFC 6582 section 4).
        let recover = match self.recovery {
            Some(recovery) if times > 1 && !is_timeout => recovery.recover,
            _ => recover,
        };
        self.recovery = Some(Recovery { first: segment.seq, recover, times, time: segment.time });
        Some((times, stalled))
    }

    /// Takes the window that it offers: whether that was zero before.
    pub(super) fn offer(&mut self, window: u16) -> bool {
        self.window.replace(window) == Some(0)
    }

    /// Whether it has said that it can take nothing.
    pub(super) fn is_full(&self) -> bool {
        self.window == Some(0)
    }

    /// How far after RCV.NXT it takes a segment.
    fn receive_window(&self) -> u32 {
        match (self.window, self.window_scale) {
            (Some(window), Some(scale)) => u32::from(window) << scale,
            _ => MAX_WINDOW,
        }
    }

    /// Whether `receiver` takes a reset with the sequence number `seq` from this end: in its window, as RFC 9293
    /// section 3.5.3 wants, or in what has been sent.
    pub(super) fn is_reset_acceptable(&self, seq: u32, receiver: &Self) -> bool {
        let Some(expected) = self.acked else { return true };
        let sent =
            self.next.map_or(0, |next| if after(next, expected) { next.wrapping_sub(expected) } else { 0 });
        seq.wrapping_sub(expected) <= receiver.receive_window().max(sent)
    }
}
