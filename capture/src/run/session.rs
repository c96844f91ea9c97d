//! A running capture: drain, print, hand to the writer; wait; and its end.
//!
//! While packets come, the rings are drained every few milliseconds and no packet wakes the daemon. After an interval
//! without a packet the daemon sleeps until the kernel wakes it, or until the programs of others are looked at, every
//! ten seconds.

use std::{io, ops::ControlFlow};

use bytes::BytesMut;
use capture_common::counters::Counters;
use capture_flow::Tracker;
use capture_text::{Printer, comments::write_comment};

use super::{
    RunError, comment_on_the_rest, complaint, forgotten,
    patience::Patience,
    signals::{Asked, Signals},
    without_number,
};
use crate::{
    kernel::{Capture, KernelError, Left, Notice},
    messages::Messages,
    summary::{Summary, Unwritten, Warnings},
    writer::{Chunk, Writer},
};

/// Text that is collected before it is handed to the writer, at least, where lines are not written at once: the size
/// of tcpdump's buffer.
pub(super) const BUFFERED: usize = 4096;
/// Text that is made in one go, at most (and one packet more). It bounds how long a signal waits.
const CHUNK: usize = 256 * 1024;

/// Why a capture ends.
#[derive(Debug)]
enum Stop {
    /// A signal asked for it.
    Signal,
    /// `-c`.
    Count,
    /// The output failed, or its reader has gone.
    Output,
    /// The kernel's side failed.
    Kernel(KernelError),
}

/// How the output ended.
#[derive(Debug)]
enum OutputEnd {
    /// Everything was written, or writing failed.
    Written(io::Result<()>),
    /// The output took nothing any more.
    Blocked,
    /// A second request to end came.
    SecondSignal,
}

/// What is still to be done for the output, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// Printing what is in the rings.
    Rings,
    /// What follows the last packet.
    Epilogue,
    /// Handing the text to the writer.
    HandOver,
    /// Writing.
    Write,
}

/// What became of the packets that were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// Packets whose lines were made.
    printed: u64,
    /// Packets that were read and not printed, because the capture was over.
    skipped: u64,
    /// How many are to be printed.
    count: u64,
}

impl Tally {
    /// Of nothing yet; `-c` says how many are to be printed.
    pub(super) fn new(count: Option<u64>) -> Self {
        Self { printed: 0, skipped: 0, count: count.unwrap_or(u64::MAX) }
    }

    /// Whether as many have been printed as are to be.
    fn is_complete(&self) -> bool {
        self.printed == self.count
    }

    /// The numbers when `written` of the packets have been written.
    fn summary(&self, written: u64, counters: Option<&Counters>) -> Summary {
        let beyond_count = if self.is_complete() { self.skipped } else { 0 };
        Summary {
            captured: written,
            received: counters.map(|counters| counters.matched),
            dropped: counters.map_or(0, |counters| counters.ring_full),
            unreadable: counters.map_or(0, |counters| counters.unreadable),
            unwritten: self.printed + self.skipped - written - beyond_count,
            beyond_count,
            ..Summary::default()
        }
    }
}

/// The state of a live capture.
pub(super) struct Session {
    pub(super) capture: Capture,
    pub(super) printer: Printer,
    pub(super) tracker: Option<Tracker>,
    pub(super) writer: Writer,
    pub(super) messages: Messages,
    pub(super) warnings: Warnings,
    /// Lines that the writer has not got yet, and where in them each packet ends.
    pub(super) text: BytesMut,
    pub(super) ends: Vec<usize>,
    pub(super) tally: Tally,
    /// How much text is collected before the writer gets it.
    pub(super) buffered: usize,
}

impl Session {
    /// Prints until there is a reason to stop; then detaches and says how it ended. Also returns what is left of the
    /// patience with outputs that take nothing.
    ///
    /// # Errors
    ///
    /// When the kernel's side or the output failed, or the output did not take everything.
    pub(super) async fn run(mut self, signals: &mut Signals) -> (Result<(), RunError>, Patience) {
        let stop = self.print(signals).await;
        self.finish(stop, signals).await
    }

    async fn print(&mut self, signals: &mut Signals) -> Stop {
        let mut flush = false;
        loop {
            // Nothing is drained before the writer has room for it. Where both are ready each has its chance: many
            // signals do not keep out the packets.
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::End | Asked::EndNow => return Stop::Signal,
                    Asked::Report => { self.report(); continue; }
                    Asked::Flush => { flush = true; continue; }
                },
                room = self.writer.room() => if !room { return Stop::Output },
            }
            let before = self.tally.printed;
            let left = self.print_batch();
            warn(&mut self.capture, &self.messages, &mut self.warnings);
            if self.tally.is_complete() {
                return Stop::Count;
            }
            if let Some(error) = self.capture.lost() {
                return Stop::Kernel(error);
            }
            let enough = if flush { 1 } else { self.buffered };
            if self.text.len() >= enough && !self.hand_over() {
                return Stop::Output;
            }
            flush = false;
            let idle = match left {
                Left::More => continue,
                Left::Held => false,
                Left::Nothing => self.tally.printed == before && self.capture.sleep(),
            };
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::End | Asked::EndNow => return Stop::Signal,
                    Asked::Report => self.report(),
                    Asked::Flush => flush = true,
                },
                () = self.writer.failed() => return Stop::Output,
                waited = self.capture.wait(idle) => if let Err(error) = waited { return Stop::Kernel(error) },
            }
        }
    }

    /// Makes lines of what is in the rings, up to [`CHUNK`].
    fn print_batch(&mut self) -> Left {
        let Self { capture, printer, tracker, text, ends, tally, .. } = self;
        capture.drain(|packet| {
            if let Some(tracker) = tracker {
                tracker.track(packet, |event| write_comment(event, text));
            }
            printer.print(packet, text);
            ends.push(text.len());
            tally.printed += 1;
            if text.len() >= CHUNK || tally.is_complete() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    /// Gives the text to the writer. False if it does not take it.
    fn hand_over(&mut self) -> bool {
        let chunk = Chunk { text: self.text.split().freeze(), ends: std::mem::take(&mut self.ends) };
        self.writer.send(chunk)
    }

    /// SIGUSR1.
    fn report(&self) {
        // Before the counters are read, which only grow: nothing has been read that they do not count.
        let read = self.tally.printed + self.tally.skipped;
        let report = match self.capture.counters() {
            Ok(counters) => self.summary(Some(&counters)).so_far(read),
            Err(error) => error.to_string(),
        };
        self.messages.say(&format!("capture: {report}\n"));
    }

    fn summary(&self, counters: Option<&Counters>) -> Summary {
        let summary = self.tally.summary(self.writer.written(), counters);
        let (dropped_by_interface, foreign) = (self.capture.dropped_by_interface(), self.capture.foreign());
        Summary { dropped_by_interface, foreign, ..summary }
    }

    /// Detaches, prints what is still in the rings, waits for the output within reason, and says tcpdump's last words.
    async fn finish(mut self, stop: Stop, signals: &mut Signals) -> (Result<(), RunError>, Patience) {
        let failed = self.capture.detach().err();
        // After -c the output has all the time it needs: it is to get that many lines.
        let mut patience =
            if matches!(stop, Stop::Count) { Patience::unlimited() } else { Patience::limited() };
        let mut rest =
            if matches!(stop, Stop::Signal | Stop::Kernel(_)) { Rest::Rings } else { Rest::Epilogue };
        // tcpdump, too, ends an interrupted capture with an empty line, in case one was being printed (tcpdump.c,
        // `main`).
        let epilogue = if matches!(stop, Stop::Signal) { "\n" } else { "" };
        let end = loop {
            tokio::select! {
                // First, so that many signals do not keep it out.
                biased;
                end = self.write_rest(&mut rest, epilogue, &mut patience) => break end,
                asked = signals.next() => match asked {
                    Asked::End => patience.limit(),
                    Asked::EndNow => break OutputEnd::SecondSignal,
                    Asked::Report => self.report(),
                    Asked::Flush => {}
                },
            }
        };
        self.skip_rest();
        self.writer.stop(patience.for_last_write()).await;
        // What is noticed only now is printed once, after the summary.
        pass_on(&mut self.capture, &self.messages, &mut self.warnings, |_| {});
        let result = self.last_words(stop, end, failed);
        (result, patience)
    }

    /// Prints and writes what is left, unless the output takes nothing any more. May be dropped and called again.
    async fn write_rest(&mut self, rest: &mut Rest, epilogue: &str, patience: &mut Patience) -> OutputEnd {
        while *rest < Rest::Write {
            let writer = &self.writer;
            tokio::select! {
                biased;
                // The writer that has ended has failed, and says how.
                room = writer.room() => if !room { break },
                () = patience.exhausted(|| writer.progress()) => return OutputEnd::Blocked,
            }
            match *rest {
                Rest::Rings => {
                    if self.print_batch() != Left::Nothing && !self.tally.is_complete() {
                        self.hand_over();
                    } else {
                        *rest = Rest::Epilogue;
                    }
                }
                Rest::Epilogue => {
                    if let Some(tracker) = &mut self.tracker {
                        comment_on_the_rest(tracker, &mut self.text);
                    }
                    self.text.extend_from_slice(epilogue.as_bytes());
                    *rest = Rest::HandOver;
                }
                Rest::HandOver | Rest::Write => {
                    if !self.text.is_empty() {
                        self.hand_over();
                    }
                    *rest = Rest::Write;
                }
            }
        }
        self.writer.close();
        let progress = self.writer.progress_counter();
        tokio::select! {
            ended = self.writer.ended() => OutputEnd::Written(ended),
            () = patience.exhausted(progress) => OutputEnd::Blocked,
        }
    }

    /// Says how it ended.
    fn last_words(&self, stop: Stop, end: OutputEnd, failed: Option<KernelError>) -> Result<(), RunError> {
        let reason =
            if matches!(end, OutputEnd::SecondSignal) { Unwritten::SecondSignal } else { Unwritten::Output };
        let counters = self.capture.counters();
        let summary = Summary { reason, ..self.summary(counters.as_ref().ok()) };
        self.messages.last(&format!("{summary}{}{}", self.warnings, forgotten(&self.printer)));
        let unwritten = (summary.unwritten > 0).then_some(reason);
        let mut failures = failures(stop, [failed, counters.err()], end, unwritten).into_iter();
        let first = failures.next();
        for complaint in failures.filter_map(|failure| complaint(&failure)) {
            self.messages.last(&complaint);
        }
        first.map_or(Ok(()), Err)
    }

    /// Counts what is still in the rings, without printing it.
    fn skip_rest(&mut self) {
        let Self { capture, tally, .. } = self;
        capture.drain(|_| {
            tally.skipped += 1;
            ControlFlow::Continue(())
        });
    }
}

/// What went wrong. The kernel's side comes first: it decides the exit status, also where the reader of the output has
/// gone, which alone is no failure.
fn failures(
    stop: Stop,
    at_the_end: [Option<KernelError>; 2],
    end: OutputEnd,
    unwritten: Option<Unwritten>,
) -> Vec<RunError> {
    let stop = if let Stop::Kernel(error) = stop { Some(error) } else { None };
    let kernel = stop.into_iter().chain(at_the_end.into_iter().flatten()).map(RunError::Kernel);
    let output = if let OutputEnd::Written(Err(error)) = end { Some(RunError::Output(error)) } else { None };
    kernel.chain(output.or(unwritten.map(RunError::Incomplete))).collect()
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
    use super::*;

    /// Every packet that matched is accounted for, and none twice.
    #[test]
    fn the_numbers_add_up() {
        let counters = Counters { matched: 100, ring_full: 20, unreadable: 1, ..Counters::default() };
        for (printed, skipped, count, written) in [
            (79, 0, None, 79),
            (60, 19, None, 50),
            (79, 0, Some(79), 79),
            (40, 39, Some(40), 40),
            (40, 39, Some(40), 10),
            (0, 79, Some(0), 0),
        ] {
            let tally = Tally { printed, skipped, ..Tally::new(count) };
            let Summary { captured, received, dropped, unreadable, unwritten, beyond_count, .. } =
                tally.summary(written, Some(&counters));
            assert_eq!(captured, written);
            assert_eq!(received, Some(captured + dropped + unreadable + unwritten + beyond_count));
            assert_eq!(beyond_count, if count == Some(printed) { skipped } else { 0 });
        }
    }

    /// That the reader has gone is no failure, and hides none.
    #[test]
    fn a_failure_of_the_kernels_side_comes_first() {
        let gone = || KernelError::Disappeared { name: "eth0".to_owned() };
        let reader_gone = || OutputEnd::Written(Err(io::ErrorKind::BrokenPipe.into()));
        let full = || OutputEnd::Written(Err(io::ErrorKind::StorageFull.into()));
        let written = || OutputEnd::Written(Ok(()));
        let because = Some(Unwritten::Output);
        let (kernel, output) = ("eth0 disappeared", "cannot write to standard output");
        for (stop, at_the_end, end, unwritten, expected) in [
            (Stop::Signal, [None, None], written(), None, &[][..]),
            (Stop::Kernel(gone()), [None, None], written(), None, &[kernel]),
            (Stop::Kernel(gone()), [None, None], reader_gone(), because, &[kernel]),
            (Stop::Kernel(gone()), [None, None], full(), because, &[kernel, output]),
            (Stop::Signal, [Some(gone()), None], reader_gone(), because, &[kernel]),
            (Stop::Count, [None, Some(gone())], full(), None, &[kernel, output]),
            (Stop::Output, [None, Some(gone())], reader_gone(), None, &[kernel]),
            (Stop::Output, [None, None], reader_gone(), because, &[]),
            (Stop::Output, [None, None], full(), because, &[output]),
            (Stop::Signal, [None, None], OutputEnd::Blocked, because, &["the capture is incomplete"]),
            (Stop::Count, [None, None], OutputEnd::SecondSignal, None, &[]),
        ] {
            let failures = failures(stop, at_the_end, end, unwritten);
            let is_reported = failures.first().is_some_and(|first| complaint(first).is_some());
            let said: Vec<String> = failures.iter().filter_map(complaint).collect();
            assert_eq!(said.len(), expected.len(), "{said:?}");
            assert!(said.iter().zip(expected).all(|(said, words)| said.contains(words)), "{said:?}");
            assert_eq!(is_reported, !expected.is_empty(), "{said:?}");
        }
    }
}
