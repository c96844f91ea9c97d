//! A running capture: drain, print, hand to the writer; wait; and its end.
//!
//! While packets come, the rings are drained once per millisecond and no packet wakes anybody. After an interval
//! without a packet the daemon sleeps until the kernel wakes it: no timer runs while the wire is silent.

use std::{io, ops::ControlFlow, thread, time::Duration};

use bytes::BytesMut;
use capture_common::counters::Counters;
use tokio::time::timeout;

use super::{
    RunError, say, say_forgotten,
    signals::{Asked, Signals},
};
use crate::{
    explain::Explainer,
    kernel::{Capture, KernelError, Left},
    summary::Summary,
    text::Printer,
    writer::{Chunk, Writer},
};

/// Text that is collected before it is handed to the writer, at least, where lines are not written at once: the size
/// of tcpdump's buffer.
pub(super) const BUFFERED: usize = 4096;
/// Text that is made in one go, at most (and one packet more). It bounds how long a signal waits.
const CHUNK: usize = 256 * 1024;
/// How long an output that takes nothing is waited for when the capture ends.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a write that is stuck halfway is waited for after that.
const LAST_PATIENCE: Duration = Duration::from_millis(100);

/// Why a capture ends.
#[derive(Debug)]
enum Stop {
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// `-c`.
    Count,
    /// The output failed, or its reader has gone.
    Output,
    /// The kernel's side failed.
    Kernel(KernelError),
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

    /// The numbers to be told when `written` of the packets have been written.
    fn summary(&self, written: u64, counters: &Counters) -> Summary {
        let beyond_count = if self.is_complete() { self.skipped } else { 0 };
        Summary {
            captured: written,
            received: counters.matched,
            dropped: counters.ring_full,
            unreadable: counters.unreadable,
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
    pub(super) explainer: Option<Explainer>,
    pub(super) writer: Writer,
    /// Lines that the writer has not got yet, and where in them each packet ends.
    pub(super) text: BytesMut,
    pub(super) ends: Vec<usize>,
    pub(super) tally: Tally,
    /// How much text is collected before the writer gets it.
    pub(super) buffered: usize,
}

impl Session {
    /// Prints until there is a reason to stop; then detaches and says how it ended.
    ///
    /// # Errors
    ///
    /// When the kernel's side or the output failed, or the output did not take everything.
    pub(super) async fn run(mut self, signals: &mut Signals) -> Result<(), RunError> {
        let stop = self.print(signals).await;
        self.finish(stop, signals).await
    }

    async fn print(&mut self, signals: &mut Signals) -> Stop {
        loop {
            // Nothing is drained before the writer has room for it.
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::Stop => return Stop::Signal,
                    Asked::Report => { self.report(); continue; }
                },
                room = self.writer.room() => if !room { return Stop::Output },
            }
            let before = self.tally.printed;
            let left = match self.print_batch() {
                Ok(left) => left,
                Err(error) => return Stop::Kernel(error),
            };
            if self.tally.is_complete() {
                return Stop::Count;
            }
            if self.text.len() >= self.buffered && !self.hand_over() {
                return Stop::Output;
            }
            let idle = match left {
                Left::More => continue,
                Left::Held => false,
                Left::Nothing => self.tally.printed == before && self.capture.sleep(),
            };
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::Stop => return Stop::Signal,
                    Asked::Report => self.report(),
                },
                () = self.writer.failed() => return Stop::Output,
                waited = self.capture.wait(idle) => if let Err(error) = waited { return Stop::Kernel(error) },
            }
        }
    }

    /// Makes lines of what is in the rings, up to [`CHUNK`].
    fn print_batch(&mut self) -> Result<Left, KernelError> {
        let Self { capture, printer, explainer, text, ends, tally, .. } = self;
        capture.drain(|packet| {
            if let Some(explainer) = explainer {
                explainer.explain(packet, text);
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
        let report = match self.capture.counters() {
            Ok(counters) => self.summary(&counters).one_line(),
            Err(error) => error.to_string(),
        };
        // Standard error may be full of the programs' log, and the packets do not wait.
        let _no_thread = thread::Builder::new().spawn(move || say(&format!("capture: {report}\n")));
    }

    fn summary(&self, counters: &Counters) -> Summary {
        let summary = self.tally.summary(self.writer.written(), counters);
        Summary { dropped_by_interface: self.capture.dropped_by_interface(), ..summary }
    }

    /// Detaches, prints what is still in the rings, waits for the output within reason, and says tcpdump's last words.
    async fn finish(mut self, stop: Stop, signals: &mut Signals) -> Result<(), RunError> {
        let mut failed = self.capture.detach().err();
        let mut hurried = false;
        if matches!(stop, Stop::Signal | Stop::Kernel(_)) {
            tokio::select! {
                result = self.print_rest() => match result {
                    Ok(all) => hurried = !all,
                    Err(error) => failed = failed.or(Some(error)),
                },
                () = signals.stop_again() => hurried = true,
            }
        }
        if let Some(explainer) = &mut self.explainer {
            explainer.finish(&mut self.text);
        }
        if let Stop::Signal = stop {
            // tcpdump, too, ends an interrupted capture with an empty line, in case one was being printed
            // (tcpdump.c, `main`).
            self.text.extend_from_slice(b"\n");
        }
        failed = failed.or(self.skip_rest().err());
        // After -c there is nothing to hurry for: who asked for that many lines gets them, however slowly.
        let patience = match stop {
            _ if hurried => Duration::ZERO,
            Stop::Count => Duration::MAX,
            _ => PATIENCE,
        };
        let ended = tokio::select! {
            ended = self.write_rest(patience) => ended,
            () = signals.stop_again() => Ok(()),
        };
        self.writer.stop(LAST_PATIENCE).await;
        let summary = self.summary(&self.capture.counters()?);
        say(&summary.to_string());
        say_forgotten(&self.printer);
        ended.map_err(RunError::Output)?;
        match stop {
            Stop::Kernel(error) => Err(error.into()),
            _ if failed.is_some() => failed.map_or(Ok(()), |error| Err(error.into())),
            _ if summary.unwritten > 0 => Err(RunError::Incomplete),
            _ => Ok(()),
        }
    }

    /// Prints what is in the rings, unless the output takes nothing. Whether that was all.
    async fn print_rest(&mut self) -> Result<bool, KernelError> {
        while self.room(PATIENCE).await {
            let left = self.print_batch()?;
            if left == Left::Nothing || self.tally.is_complete() {
                return Ok(true);
            }
            self.hand_over();
        }
        Ok(false)
    }

    /// Waits for room at the writer, unless the output takes nothing for as long as `patience`.
    async fn room(&self, patience: Duration) -> bool {
        loop {
            let progress = self.writer.progress();
            match timeout(patience, self.writer.room()).await {
                Ok(room) => return room,
                Err(_) if self.writer.progress() == progress => return false,
                Err(_) => {}
            }
        }
    }

    /// Waits until everything has been written, unless the output takes nothing for as long as `patience`.
    async fn write_rest(&mut self, mut patience: Duration) -> io::Result<()> {
        if !self.text.is_empty() {
            if self.room(patience).await {
                self.hand_over();
            } else {
                patience = Duration::ZERO;
            }
        }
        self.writer.close();
        loop {
            let progress = self.writer.progress();
            match timeout(patience, self.writer.ended()).await {
                Ok(ended) => return ended,
                Err(_) if self.writer.progress() == progress => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// Counts what is still in the rings, without printing it.
    fn skip_rest(&mut self) -> Result<(), KernelError> {
        let Self { capture, tally, .. } = self;
        capture.drain(|_| {
            tally.skipped += 1;
            ControlFlow::Continue(())
        })?;
        Ok(())
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
                tally.summary(written, &counters);
            assert_eq!(captured, written);
            assert_eq!(received, captured + dropped + unreadable + unwritten + beyond_count);
            assert_eq!(beyond_count, if count == Some(printed) { skipped } else { 0 });
        }
    }
}
