//! Where the blocks of an output are written.

use std::{
    fmt::Debug,
    io,
    ops::Range,
    sync::{
        Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

/// Takes blocks. This is the only code that may wait for an output.
pub trait Destination: Debug + Send {
    /// Writes a block, of which each packet ends at one of `ends`, and counts what was written. An empty one asks whether
    /// it can go on.
    ///
    /// # Errors
    ///
    /// When no more can be written. What had been written by then has been counted.
    fn write(&mut self, block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()>;

    /// To be called before a block is [written](Self::write): where in the block is what each file that begins after it has,
    /// too, and what a file ends with that is followed by another one.
    fn prepare(&mut self, _header: &[Range<usize>], _trailer: Bytes) {}

    /// Whether it has written an encoder's [header](super::encoder::Encoder::header) itself, into each of its files.
    fn has_header(&self) -> bool {
        false
    }

    /// After how long it is to be called by [`tick`](Self::tick) when no block comes before; `None` if never.
    fn wait(&self) -> Option<Duration> {
        None
    }

    /// Does what the time asks for.
    ///
    /// # Errors
    ///
    /// When no more can be written.
    fn tick(&mut self, _progress: &Progress) -> io::Result<()> {
        Ok(())
    }

    /// Makes sure that all is where it belongs. Nothing is written after it.
    ///
    /// # Errors
    ///
    /// When what was written may not be there.
    fn close(&mut self, _progress: &Progress) -> io::Result<()> {
        Ok(())
    }
}

/// What a destination has written so far.
#[derive(Debug, Default)]
pub struct Progress {
    packets: AtomicU64,
    pieces: AtomicU64,
    /// Packets after the last one that was wanted.
    left_out: AtomicU64,
    /// Whether the destination has as much as it is to have.
    has_enough: AtomicBool,
    /// What there is to say on standard error, and has not been said.
    notes: Mutex<Vec<String>>,
    /// Whether nothing is to be written any more. A destination holds it while it writes, and counts what it wrote.
    pub(super) stopped: Mutex<bool>,
}

impl Progress {
    /// Counts one more write, and the packets of which it was the last byte.
    pub fn wrote(&self, packets: usize) {
        self.packets.fetch_add(packets as u64, Ordering::Relaxed);
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that the destination has as much as it is to have: a limit was set, and it has been reached.
    pub fn set_enough(&self) {
        self.has_enough.store(true, Ordering::Release);
    }

    /// Whether the destination has as much as it is to have.
    pub fn has_enough(&self) -> bool {
        self.has_enough.load(Ordering::Acquire)
    }

    /// Counts packets that came after the last one that was wanted.
    pub fn leave_out(&self, packets: usize) {
        self.left_out.fetch_add(packets as u64, Ordering::Relaxed);
    }

    /// Packets that came after the last one that was wanted.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Keeps what there is to say on standard error.
    pub fn note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// What there is to say on standard error since the last call.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is something that its user has to look at: a note, or its end.
    pub(super) fn has_news(&self) -> bool {
        self.has_enough() || !self.notes.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Lets nothing more be written, and gives up after `patience`.
    pub(super) async fn stop(&self, patience: Duration) {
        const PAUSE: Duration = Duration::from_millis(1);

        let stopped = async {
            loop {
                match self.stopped.try_lock() {
                    Ok(mut stopped) => return *stopped = true,
                    Err(TryLockError::Poisoned(_)) => return,
                    Err(TryLockError::WouldBlock) => sleep(PAUSE).await,
                }
            }
        };
        let _gave_up = timeout(patience, stopped).await;
    }

    /// Packets that have been written, to the last byte.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// A number that changes with everything that is written.
    pub fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }
}
