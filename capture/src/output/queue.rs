//! A bounded queue of blocks, and the thread that writes them.
//!
//! When the output is slow the queue fills. An output that holds up the drain lets the rings fill then, and the kernel
//! counts what it has no room for; any other drops packets and counts them itself. Memory does not grow.

use std::{io, sync::Arc, thread};

use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    Block,
    destination::{Destination, Progress},
};

/// Blocks that wait for the destination at most.
const LENGTH: usize = 8;

/// The sending end, and how the thread ended.
#[derive(Debug)]
pub(super) struct Queue {
    /// Where blocks go, until [`close`](Self::close).
    blocks: Option<mpsc::Sender<Block>>,
    ended: oneshot::Receiver<io::Result<()>>,
    has_ended: bool,
    /// Why, until it has been told.
    error: Option<io::Error>,
}

/// Room for one block.
pub(super) struct Place<'a>(mpsc::Permit<'a, Block>);

impl Place<'_> {
    pub(super) fn send(self, block: Block) {
        self.0.send(block);
    }
}

impl Queue {
    /// Starts the thread, which notifies `failures` when the destination takes no more.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub(super) fn spawn(
        mut destination: Box<dyn Destination>,
        progress: Arc<Progress>,
        failures: Arc<Notify>,
    ) -> io::Result<Self> {
        let (blocks, mut queue) = mpsc::channel::<Block>(LENGTH);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let mut result = Ok(());
            while let Some(Block { bytes, ends }) = queue.blocking_recv() {
                result = destination.write(&bytes, &ends, &progress);
                if result.is_err() {
                    break;
                }
            }
            let result = result.and_then(|()| destination.finish());
            // First of all: who is notified finds the queue closed and the result there.
            drop(queue);
            // The daemon may have gone without waiting.
            let _gone = end.send(result);
            failures.notify_one();
        })?;
        Ok(Self { blocks: Some(blocks), ended, has_ended: false, error: None })
    }

    /// Waits until there is room for one more block. False if the thread has ended.
    pub(super) async fn room(&self) -> bool {
        match &self.blocks {
            Some(blocks) => blocks.reserve().await.is_ok(),
            None => false,
        }
    }

    /// Room for a block, if there is some.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        self.blocks.as_ref()?.try_reserve().ok().map(Place)
    }

    /// Says that no more blocks come. The thread ends when it has written those it has.
    pub(super) fn close(&mut self) {
        self.blocks = None;
    }

    /// Waits until the thread has ended: the destination has failed or, once the queue is [closed](Self::close),
    /// everything has been written.
    pub(super) async fn ended(&mut self) {
        if !self.has_ended {
            let result = (&mut self.ended).await;
            (self.error, self.has_ended) = (result.ok().and_then(Result::err), true);
        }
    }

    /// Why the destination takes no more, once.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        if !self.has_ended
            && let Ok(result) = self.ended.try_recv()
        {
            (self.error, self.has_ended) = (result.err(), true);
        }
        self.error.take()
    }
}
