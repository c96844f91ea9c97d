//! Where the blocks of an output are written.

use std::{
    fmt::Debug,
    io,
    sync::{
        Mutex, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};

/// Takes blocks. This is the only code that may wait for an output.
pub trait Destination: Debug + Send {
    /// Writes a block, of which each packet ends at one of `ends`, and counts what was written.
    ///
    /// # Errors
    ///
    /// When no more can be written. What had been written by then has been counted.
    fn write(&mut self, block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()>;

    /// Whether it has written an encoder's [header](super::encoder::Encoder::header) itself, into each of its files.
    fn has_header(&self) -> bool {
        false
    }

    /// Makes sure that all is where it belongs. Nothing is written after it.
    ///
    /// # Errors
    ///
    /// When what was written may not be there.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a destination has written so far.
#[derive(Debug, Default)]
pub struct Progress {
    packets: AtomicU64,
    pieces: AtomicU64,
    /// Whether nothing is to be written any more. A destination holds it while it writes, and counts what it wrote.
    pub(super) stopped: Mutex<bool>,
}

impl Progress {
    /// Counts one more write, and the packets of which it was the last byte.
    pub fn wrote(&self, packets: usize) {
        self.packets.fetch_add(packets as u64, Ordering::Relaxed);
        self.pieces.fetch_add(1, Ordering::Relaxed);
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
