//! A bounded queue of blocks, and the thread that writes them.
//!
//! When the output is slow the queue fills. An output that holds up the drain lets the rings fill then, and the kernel
//! counts what it has no room for; any other drops packets and counts them itself. Memory does not grow.
//!
//! What has been written goes back, to be filled again: the kernel would have to find memory for each new block.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    block::{BLOCK, Block},
    destination::{Destination, Progress},
};

/// Blocks that wait for the destination at most.
const LENGTH: usize = 8;
/// Blocks that wait to be filled again at most: more are needed only now and then.
const SPARE: usize = 4;

/// The sending end, and how the thread ended.
#[derive(Debug)]
pub(super) struct Queue {
    /// Where blocks go, until [`close`](Self::close).
    blocks: Option<mpsc::Sender<Block>>,
    /// Blocks that have been written, empty.
    written: Receiver<Block>,
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

/// What the thread got.
enum Received {
    Block(Block),
    /// Nothing for a while.
    Nothing,
    /// No more blocks come.
    End,
}

/// Wakes the thread that waits for a block.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a block, for `longest` at most, or until the thread is woken for another reason.
fn receive(queue: &mut mpsc::Receiver<Block>, waker: &Waker, longest: Option<Duration>) -> Received {
    let Some(longest) = longest else {
        return queue.blocking_recv().map_or(Received::End, Received::Block);
    };
    let received = |poll| match poll {
        Poll::Ready(Some(block)) => Some(Received::Block(block)),
        Poll::Ready(None) => Some(Received::End),
        Poll::Pending => None,
    };
    let mut context = Context::from_waker(waker);
    received(queue.poll_recv(&mut context)).unwrap_or_else(|| {
        thread::park_timeout(longest);
        received(queue.poll_recv(&mut context)).unwrap_or(Received::Nothing)
    })
}

/// Writes all blocks, and does in between what the time asks for.
fn write_all(
    destination: &mut dyn Destination,
    queue: &mut mpsc::Receiver<Block>,
    written: &SyncSender<Block>,
    progress: &Progress,
    news: &Notify,
) -> io::Result<()> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut had_enough = false;
    loop {
        match receive(queue, &waker, destination.wait()) {
            Received::Block(mut block) => {
                destination.prepare(&block.header, std::mem::take(&mut block.trailer));
                destination.write(&block.bytes, &block.ends, progress)?;
                // What a long packet made larger is not kept.
                if !block.bytes.is_empty() && block.bytes.capacity() <= 2 * BLOCK {
                    // There may be enough of them, and no one left to fill them.
                    let _freed = written.try_send(block.emptied());
                }
            }
            Received::Nothing => destination.tick(progress)?,
            Received::End => return Ok(()),
        }
        if progress.has_news() && !had_enough {
            had_enough = progress.has_enough();
            news.notify_one();
        }
    }
}

/// The other end of a queue, which is to become a thread.
#[derive(Debug)]
pub(super) struct Writer {
    destination: Box<dyn Destination>,
    queue: mpsc::Receiver<Block>,
    written: SyncSender<Block>,
    progress: Arc<Progress>,
    failures: Arc<Notify>,
    end: oneshot::Sender<io::Result<()>>,
}

impl Writer {
    /// Starts the thread, which notifies `failures` when the destination takes no more or has something to say.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub(super) fn start(self) -> io::Result<()> {
        let Self { mut destination, mut queue, written, progress, failures, end } = self;
        let run = move || {
            let result = write_all(&mut *destination, &mut queue, &written, &progress, &failures);
            let result = result.and_then(|()| destination.close(&progress));
            // First of all: who is notified finds the queue closed and the result there.
            drop(queue);
            // The daemon may have gone without waiting.
            let _gone = end.send(result);
            failures.notify_one();
        };
        thread::Builder::new().name("writer".to_owned()).spawn(run).map(drop)
    }
}

impl Queue {
    /// A queue, and what takes blocks from it when it is started.
    pub(super) fn new(
        destination: Box<dyn Destination>,
        progress: Arc<Progress>,
        failures: Arc<Notify>,
    ) -> (Self, Writer) {
        let (blocks, queue) = mpsc::channel::<Block>(LENGTH);
        let (emptied, written) = sync_channel(SPARE);
        let (end, ended) = oneshot::channel();
        let writer = Writer { destination, queue, written: emptied, progress, failures, end };
        (Self { blocks: Some(blocks), written, ended, has_ended: false, error: None }, writer)
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

    /// A block that has been written, empty, if there is one.
    pub(super) fn written(&self) -> Option<Block> {
        self.written.try_recv().ok()
    }

    /// Whether the thread takes no more, although more may come.
    pub(super) fn is_closed(&self) -> bool {
        self.blocks.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Says that no more blocks come. The thread ends when it has written those it has.
    pub(super) fn close(&mut self) {
        self.blocks = None;
    }

    /// Waits until the thread has ended: the destination has failed or, once the queue is [closed](Self::close),
    /// everything has been written.
    pub(super) async fn closed(&mut self) {
        if !self.has_ended {
            let result = (&mut self.ended).await.unwrap_or_else(|_| Err(vanished()));
            (self.error, self.has_ended) = (result.err(), true);
        }
    }

    /// Whether the thread has ended, as far as [`closed`](Self::closed) and [`take_error`](Self::take_error) have seen.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Why the destination takes no more, once.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        if !self.has_ended {
            let result = match self.ended.try_recv() {
                Ok(result) => result,
                Err(oneshot::error::TryRecvError::Empty) => return None,
                Err(oneshot::error::TryRecvError::Closed) => Err(vanished()),
            };
            (self.error, self.has_ended) = (result.err(), true);
        }
        self.error.take()
    }
}

/// The thread is gone, and has not said how.
fn vanished() -> io::Error {
    io::Error::other("the writer's thread has ended; this is a bug")
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio::time::timeout;

    use super::*;

    /// A destination that wants to be called every millisecond, and has enough at the third call.
    #[derive(Debug)]
    struct Ticking(u32);

    impl Destination for Ticking {
        fn write(&mut self, _block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()> {
            progress.wrote(ends.len());
            Ok(())
        }

        fn wait(&self) -> Option<Duration> {
            (self.0 > 0).then_some(Duration::from_millis(1))
        }

        fn tick(&mut self, progress: &Progress) -> io::Result<()> {
            self.0 = self.0.saturating_sub(1);
            if self.0 == 0 {
                progress.set_enough();
            }
            Ok(())
        }
    }

    /// Without a block. Blocks that come before or after are written all the same.
    #[tokio::test]
    async fn a_destination_is_called_when_it_is_time_and_its_end_is_news() {
        const NEVER: Duration = Duration::from_secs(30);

        let (progress, news) = (Arc::new(Progress::default()), Arc::new(Notify::new()));
        let (mut queue, writer) = Queue::new(Box::new(Ticking(3)), Arc::clone(&progress), Arc::clone(&news));
        writer.start().unwrap();
        let block = || Block { bytes: BytesMut::from(&b"a"[..]), ends: vec![1], ..Block::default() };
        queue.place().unwrap().send(block());
        timeout(NEVER, news.notified()).await.unwrap();
        assert!(progress.has_enough());
        timeout(NEVER, queue.room()).await.unwrap();
        queue.place().unwrap().send(block());
        let large = BytesMut::from(&vec![b'a'; 3 * BLOCK][..]);
        queue.place().unwrap().send(Block { bytes: large, ends: vec![3 * BLOCK], ..Block::default() });
        queue.close();
        timeout(NEVER, queue.closed()).await.unwrap();
        assert_eq!(progress.packets(), 3);
        // Both have come back, and nothing is in them. What is too large does not come back.
        for _ in 0..2 {
            let block = queue.written().unwrap();
            assert!(block.bytes.is_empty() && block.ends.is_empty() && block.bytes.capacity() > 0);
        }
        assert!(queue.written().is_none());
        assert!(queue.take_error().is_none());
    }
}
