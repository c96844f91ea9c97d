//! A running capture: drain, hand to the engine, wait; and its end.
//!
//! While packets come, the rings are drained every 1 to 8 milliseconds and no packet wakes the daemon. After an interval
//! without a packet the daemon sleeps until the kernel wakes it, or until the programs of others are looked at, every
//! ten seconds. After the last packet it wakes once more, in the next second, to say what was lost.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use capture_common::counters::{Counters, HookCounters};
use capture_packet::Timestamp;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    error::{RunError, without_number},
    failures::Failures,
    interfaces::Teller,
    patience::Patience,
    progress,
    signals::{Asked, Signals},
};
use crate::{
    engine::Engine,
    kernel::{Capture, CaptureError, DetachError, Left, Losses, Notice},
    messages::Messages,
    output::statistics::{HookAccount, InterfaceLosses, Statistics},
    summary::{Summary, Unwritten, Warnings, packets},
};

impl Seconds {
    /// Of a capture that has not begun.
    pub(super) fn new(shows_progress: bool) -> Self {
        Self { shows_progress, ..Self::default() }
    }

    /// How long the second of the last words goes on, at the time `now`.
    fn rest(&self, now: Timestamp) -> Duration {
        const SECOND: u64 = 1_000_000_000;

        // A clock that was set back does not put it off.
        let nanoseconds =
            if now.seconds == self.last { SECOND.saturating_sub(now.nanoseconds as u64) } else { 0 };
        Duration::from_nanos(nanoseconds)
    }
}

/// How long the other outputs have for their end when one is blocked.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Why a capture ends.
#[derive(Debug)]
enum Stop {
    /// A signal asked for it.
    Signal,
    /// `-c`.
    Count,
    /// An output has as much as it was to have.
    Limit,
    /// No output is left.
    Output,
    /// The kernel's side failed.
    Capture(CaptureError),
}

/// How the outputs ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputEnd {
    /// Everything was written, or writing failed.
    Written,
    /// An output took nothing any more.
    Blocked,
    /// A second request to end came.
    SecondSignal,
}

/// What is still to be done for the outputs, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// Reading what is in the rings.
    Rings,
    /// What follows the last packet.
    Epilogue,
    /// Handing the last blocks over.
    HandOver,
    /// Writing.
    Write,
}

/// The state of a live capture.
pub(super) struct Session {
    pub(super) capture: Capture,
    pub(super) engine: Engine,
    /// Is notified when an output fails, ends, [has enough](Engine::has_enough) or has [something to
    /// say](Engine::take_notes), and when the helper that opens files has ended.
    pub(super) news: Arc<Notify>,
    /// What outputs are told of interfaces.
    pub(super) teller: Teller,
    pub(super) messages: Messages,
    pub(super) warnings: Warnings,
    /// What became of outputs.
    pub(super) failures: Failures,
    /// What there is to do once a second.
    pub(super) seconds: Seconds,
    /// Whether to tell at the end what was counted at each hook.
    pub(super) tells_hooks: bool,
    /// Whether the helper that opens files has ended, and the outputs have not been asked whether they need it.
    pub(super) lost_helper: Arc<AtomicBool>,
}

/// What was said and shown in the last second in which packets came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seconds {
    /// Whether the capture's progress is shown on a terminal.
    shows_progress: bool,
    start: Option<Timestamp>,
    last: i64,
    /// Whether packets have come about which nothing has been said: it is said in the next second, also if no more come.
    are_owed: bool,
    /// Packets that the rings had had no room for by then, that the kernel had not given out, and that had been read.
    ring_full: u64,
    unreadable: u64,
    read: u64,
}

impl Session {
    /// Captures until there is a reason to stop; then detaches and says how it ended. Also returns what is left of the
    /// patience with outputs that take nothing.
    ///
    /// # Errors
    ///
    /// When the kernel's side or an output failed, or an output did not take everything.
    pub(super) async fn run(mut self, signals: &mut Signals) -> (Result<(), RunError>, Patience) {
        let stop = self.capture(signals).await;
        self.finish(stop, signals).await
    }

    async fn capture(&mut self, signals: &mut Signals) -> Stop {
        let mut flush = false;
        loop {
            // Nothing is drained before there is room for it. Where both are ready each has its chance: many signals do
            // not keep out the packets.
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::End | Asked::EndNow => return Stop::Signal,
                    Asked::Report => { self.report(); continue; }
                    Asked::Flush => { flush = true; continue; }
                },
                room = self.engine.room() => if !room && !self.has_output() { return Stop::Output },
            }
            let before = self.engine.read();
            let left = self.drain();
            warn(&mut self.capture, &self.messages, &mut self.warnings);
            if self.engine.is_complete() {
                return Stop::Count;
            }
            if self.engine.has_enough() {
                return Stop::Limit;
            }
            if let Some(error) = self.capture.lost() {
                return Stop::Capture(error);
            }
            self.each_second(false);
            let nothing_came = left == Left::Nothing && self.engine.read() == before;
            // What is handed over now may be dropped, and what comes now may not be all of a burst.
            self.seconds.are_owed |= !nothing_came;
            // What an output has no room for is flushed when it has.
            flush = flush && !self.engine.flush();
            self.engine.hand_over(nothing_came);
            self.engine.hand_over_old(self.capture.now());
            let idle = match left {
                Left::More => continue,
                Left::Held => false,
                Left::Nothing => nothing_came && self.capture.sleep(),
            };
            let rest = self.seconds.rest(self.capture.now());
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::End | Asked::EndNow => return Stop::Signal,
                    Asked::Report => self.report(),
                    Asked::Flush => flush = true,
                },
                () = self.news.notified() => {
                    if self.lost_helper.swap(false, Ordering::Relaxed) {
                        self.engine.look();
                    }
                    self.say_notes();
                    if !self.has_output() { return Stop::Output }
                }
                () = self.engine.room_for_the_rest(), if idle => {}
                () = sleep(rest), if idle && self.seconds.are_owed => {}
                waited = self.capture.wait(idle) => if let Err(error) = waited { return Stop::Capture(error) },
            }
        }
    }

    /// Hands what is in the rings to the engine, until a block is full.
    fn drain(&mut self) -> Left {
        let Self { capture, engine, teller, messages, .. } = self;
        capture.refresh();
        teller.tell(capture.changes(), engine, messages);
        capture.drain(|packet| engine.packet(packet))
    }

    /// What is due once a second while packets come, and when the capture `is_last`: says what was lost, shows the
    /// progress, and gives the outputs the accounts.
    fn each_second(&mut self, is_last: bool) {
        let time = self.capture.now();
        let Self { capture, engine, messages, seconds, .. } = self;
        let start = *seconds.start.get_or_insert(time);
        if !is_last && time.seconds == seconds.last {
            return;
        }
        (seconds.last, seconds.are_owed) = (time.seconds, false);
        let hooks = capture.counters();
        let counters = hooks.of_both();
        let dropped = counters.lost();
        // The summary has what is lost in the end.
        if !is_last {
            for (count, said, why) in [
                (counters.ring_full, &mut seconds.ring_full, "the ring buffers were full"),
                (counters.unreadable, &mut seconds.unreadable, "the kernel did not give out their bytes"),
            ] {
                let lost = count - std::mem::replace(said, count);
                if lost > 0 {
                    messages.say(&format!("capture: {} lost: {why}\n", packets(lost)));
                }
            }
            for (output, lost) in engine.take_losses() {
                messages
                    .say(&format!("capture: {output}: {} lost: this output is too slow\n", packets(lost)));
            }
        }
        let read = engine.read();
        let per_second = read - std::mem::replace(&mut seconds.read, read);
        if seconds.shows_progress {
            messages.show(&progress::live(read, engine.wire_bytes(), dropped, per_second));
        }
        if engine.wants_statistics() {
            let of_each = |&Losses { dropped, dropped_by_interface }: &Losses| InterfaceLosses {
                dropped,
                dropped_by_interface,
            };
            let interfaces: Vec<_> = capture.losses().map(of_each).collect();
            engine.statistics(&Statistics {
                time,
                start,
                received: counters.matched,
                hooks: Some(
                    [hooks.ingress, hooks.egress]
                        .map(|hook| HookAccount { received: hook.matched, dropped: hook.lost() }),
                ),
                dropped,
                dropped_by_interface: interfaces.iter().map(|losses| losses.dropped_by_interface).sum(),
                interfaces: &interfaces,
                losses_are_known: true,
                is_last,
                ..Statistics::default()
            });
        }
    }

    /// Takes in which outputs have failed. False if none is left.
    fn has_output(&mut self) -> bool {
        let Self { engine, messages, failures, .. } = self;
        failures.take(engine, |text| messages.say(text))
    }

    /// Says what outputs have to say.
    fn say_notes(&self) {
        for note in self.engine.take_notes() {
            self.messages.say(&format!("capture: {}\n", without_number(&note)));
        }
    }

    /// SIGUSR1.
    fn report(&mut self) {
        // Before the counters are read, which only grow: nothing has been read that they do not count.
        let read = self.engine.read();
        let counters = self.capture.counters().of_both();
        let report = self.summary(&counters).so_far(read);
        self.messages.say(&format!("capture: {report}\n{}", self.engine.dropped()));
    }

    fn summary(&mut self, counters: &HookCounters) -> Summary {
        let summary = self.engine.summary(Some(counters));
        let dropped_by_interface = self.capture.losses().map(|losses| losses.dropped_by_interface).sum();
        let foreign = self.capture.foreign();
        Summary { dropped_by_interface, foreign, ..summary }
    }

    /// Detaches, reads what is still in the rings, waits for the outputs within reason, and says tcpdump's last words.
    async fn finish(mut self, stop: Stop, signals: &mut Signals) -> (Result<(), RunError>, Patience) {
        let failed = self.capture.detach().err();
        // After -c the outputs have all the time they need: they are to get that many packets.
        let mut patience =
            if matches!(stop, Stop::Count) { Patience::unlimited() } else { Patience::limited() };
        let mut rest =
            if matches!(stop, Stop::Signal | Stop::Capture(_)) { Rest::Rings } else { Rest::Epilogue };
        let interrupted = matches!(stop, Stop::Signal);
        let end = loop {
            tokio::select! {
                // First, so that many signals do not keep it out.
                biased;
                end = self.write_rest(&mut rest, interrupted, &mut patience) => break end,
                asked = signals.next() => match asked {
                    Asked::End => patience.limit(),
                    Asked::EndNow => break OutputEnd::SecondSignal,
                    Asked::Report => self.report(),
                    Asked::Flush => {}
                },
            }
        };
        if end != OutputEnd::Written {
            // The others are to have what they can take.
            if rest <= Rest::Epilogue {
                self.each_second(true);
                self.engine.epilogue(interrupted);
            }
            let _waits = self.engine.flush();
            self.engine.close();
            let _blocked = timeout(LAST_LOOK, self.engine.closed()).await;
        }
        self.skip_rest();
        self.engine.stop(patience.for_last_write()).await;
        // What is noticed only now is printed once, after the summary.
        pass_on(&mut self.capture, &self.messages, &mut self.warnings, |_| {});
        let result = self.last_words(stop, end, failed);
        (result, patience)
    }

    /// Reads and writes what is left, unless an output takes nothing any more. May be dropped and called again.
    async fn write_rest(&mut self, rest: &mut Rest, interrupted: bool, patience: &mut Patience) -> OutputEnd {
        let progress = self.engine.progress();
        while *rest < Rest::Write {
            tokio::select! {
                biased;
                room = self.engine.room() => if !room && !self.has_output() { break },
                () = patience.exhausted(&progress) => return OutputEnd::Blocked,
            }
            match *rest {
                Rest::Rings => {
                    if self.drain() != Left::Nothing && !self.engine.is_complete() {
                        let _waits = self.engine.flush();
                    } else {
                        *rest = Rest::Epilogue;
                    }
                }
                Rest::Epilogue => {
                    self.each_second(true);
                    self.engine.epilogue(interrupted);
                    *rest = Rest::HandOver;
                }
                Rest::HandOver | Rest::Write => {
                    tokio::select! {
                        biased;
                        () = self.engine.flush_all() => *rest = Rest::Write,
                        () = patience.exhausted(&progress) => return OutputEnd::Blocked,
                    }
                }
            }
        }
        self.engine.close();
        tokio::select! {
            () = self.engine.closed() => OutputEnd::Written,
            () = patience.exhausted(&progress) => OutputEnd::Blocked,
        }
    }

    /// Says how it ended.
    fn last_words(
        &mut self,
        stop: Stop,
        end: OutputEnd,
        failed: Option<DetachError>,
    ) -> Result<(), RunError> {
        self.say_notes();
        let Self { engine, failures: lost, messages, .. } = &mut *self;
        let outputs = lost.at_the_end(engine, |text| messages.say(text));
        let reason = if end == OutputEnd::SecondSignal { Unwritten::SecondSignal } else { Unwritten::Output };
        let counters = self.capture.counters();
        let summary = Summary { reason, ..self.summary(&counters.of_both()) };
        let remarks = format!("{}{}", self.capture.remarks(), self.engine.remarks());
        let by_hook = if self.tells_hooks { by_hook(&counters) } else { String::new() };
        self.messages.last(&format!("{by_hook}{summary}{}{remarks}", self.warnings));
        let is_incomplete = summary.unwritten > 0 || self.engine.is_incomplete();
        let unclosed = self.engine.unsettled().map(str::to_owned);
        let incomplete = if is_incomplete && !self.failures.lost_an_output() {
            Some(RunError::Incomplete(reason))
        } else {
            unclosed.map(|output| RunError::Unclosed { output, reason })
        };
        let failures = failures(stop, failed.map(RunError::from), outputs, incomplete);
        self.failures.conclude(failures, |complaint| self.messages.last(complaint))
    }

    /// Counts what is still in the rings, without giving it to the outputs.
    fn skip_rest(&mut self) {
        let Self { capture, engine, .. } = self;
        capture.drain(|_| {
            engine.skip();
            ControlFlow::Continue(())
        });
    }
}

/// What was counted at each hook.
fn by_hook(Counters { ingress, egress }: &Counters) -> String {
    let of = |counters: &HookCounters| {
        format!(
            "{} received by filter, {} dropped by kernel",
            packets(counters.matched),
            packets(counters.lost())
        )
    };
    format!("capture: incoming: {}; outgoing: {}\n", of(ingress), of(egress))
}

/// What went wrong. The kernel's side comes first: it decides the exit status, also where the reader of an output has
/// gone, which alone is no failure.
fn failures(
    stop: Stop,
    at_the_end: Option<RunError>,
    outputs: Vec<RunError>,
    incomplete: Option<RunError>,
) -> Vec<RunError> {
    let stop = if let Stop::Capture(error) = stop { Some(RunError::Capture(error)) } else { None };
    let kernel = stop.into_iter().chain(at_the_end);
    let incomplete = incomplete.filter(|_| outputs.is_empty());
    kernel.chain(outputs).chain(incomplete).collect()
}

/// Prints what the capture noticed, and keeps the warnings for the summary.
pub(super) fn warn(capture: &mut Capture, messages: &Messages, warnings: &mut Warnings) {
    pass_on(capture, messages, warnings, |warning| messages.say(&format!("capture: warning: {warning}\n")));
}

/// Prints the notes among what the capture noticed, and keeps the warnings for the summary, each after `each` has had it.
fn pass_on(capture: &mut Capture, messages: &Messages, warnings: &mut Warnings, each: impl Fn(&str)) {
    for notice in capture.notices() {
        match notice {
            Notice::Note(note) => messages.say(&format!("capture: note: {}\n", without_number(&note))),
            Notice::Warning(warning) => {
                let warning = without_number(&warning);
                each(&warning);
                warnings.add(warning);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{super::error::complaint, *};

    /// That the reader has gone is no failure, and hides none.
    #[test]
    fn a_failure_of_the_kernels_side_comes_first() {
        let gone = || CaptureError::Lost("eth0 disappeared".to_owned());
        let end = || Some(RunError::Capture(gone()));
        let failed = |kind: io::ErrorKind| {
            vec![RunError::Output { output: "standard output".to_owned(), source: kind.into() }]
        };
        let reader_gone = || failed(io::ErrorKind::BrokenPipe);
        let full = || failed(io::ErrorKind::StorageFull);
        let written = Vec::new;
        let because = || Some(RunError::Incomplete(Unwritten::Output));
        let unclosed =
            Some(RunError::Unclosed { output: "x.pcap".to_owned(), reason: Unwritten::SecondSignal });
        let (kernel, output) = ("eth0 disappeared", "cannot write to standard output");
        for (stop, at_the_end, outputs, incomplete, expected) in [
            (Stop::Signal, None, written(), None, &[][..]),
            (Stop::Capture(gone()), None, written(), None, &[kernel]),
            (Stop::Capture(gone()), None, reader_gone(), because(), &[kernel]),
            (Stop::Capture(gone()), None, full(), because(), &[kernel, output]),
            (Stop::Signal, end(), reader_gone(), because(), &[kernel]),
            (Stop::Count, end(), full(), None, &[kernel, output]),
            (Stop::Output, end(), reader_gone(), None, &[kernel]),
            (Stop::Output, None, reader_gone(), because(), &[]),
            (Stop::Output, None, full(), because(), &[output]),
            (Stop::Signal, None, written(), because(), &["the capture is incomplete"]),
            (Stop::Count, None, written(), None, &[]),
            (Stop::Signal, None, written(), unclosed, &["x.pcap is not closed: a second signal ended "]),
        ] {
            let failures = failures(stop, at_the_end, outputs, incomplete);
            let is_reported = failures.first().is_some_and(|first| complaint(first).is_some());
            let said: Vec<String> = failures.iter().filter_map(complaint).collect();
            assert_eq!(said.len(), expected.len(), "{said:?}");
            assert!(said.iter().zip(expected).all(|(said, words)| said.contains(words)), "{said:?}");
            assert_eq!(is_reported, !expected.is_empty(), "{said:?}");
        }
    }
}
