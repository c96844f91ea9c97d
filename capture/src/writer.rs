//! The only code that may block on output: a thread that writes chunks from a bounded channel.
//!
//! When the output is slow the channel fills, the daemon stops draining, the rings fill, and the kernel counts what it
//! has no room for. Memory does not grow.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// Chunks that wait for the output at most.
const QUEUE: usize = 8;

/// Lines of whole packets, to be written together.
#[derive(Debug)]
pub struct Chunk {
    /// The text.
    pub text: Bytes,
    /// Packets in it.
    pub packets: u64,
}

/// How writing ended.
pub type Ended = io::Result<()>;

/// The sending end and the state of the writer.
#[derive(Debug)]
pub struct Writer {
    /// Where chunks go, until [`close`](Self::close).
    chunks: Option<mpsc::Sender<Chunk>>,
    written: Arc<AtomicU64>,
    ended: oneshot::Receiver<Ended>,
}

impl Writer {
    /// Starts the thread. The output is written to unbuffered: chunks are as large as they should be.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn spawn(mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let (chunks, mut queue) = mpsc::channel::<Chunk>(QUEUE);
        let (end, ended) = oneshot::channel();
        let written = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&written);
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let mut result = Ok(());
            while let Some(Chunk { text, packets }) = queue.blocking_recv() {
                result = output.write_all(&text).and_then(|()| output.flush());
                if result.is_err() {
                    break;
                }
                count.fetch_add(packets, Ordering::Relaxed);
            }
            // The daemon may have gone without waiting; then nobody wants to know.
            let _nobody = end.send(result);
        })?;
        Ok(Self { chunks: Some(chunks), written, ended })
    }

    /// Waits until there is room for one more chunk. False if the writer has ended.
    pub async fn room(&self) -> bool {
        match &self.chunks {
            Some(chunks) => chunks.reserve().await.is_ok(),
            None => false,
        }
    }

    /// Hands over a chunk. False if there is no [`room`](Self::room), or the writer has ended.
    pub fn send(&self, chunk: Chunk) -> bool {
        self.chunks.as_ref().is_some_and(|chunks| chunks.try_send(chunk).is_ok())
    }

    /// Waits until the writer has ended although there may be more to write: the output has failed.
    pub async fn failed(&self) {
        if let Some(chunks) = &self.chunks {
            chunks.closed().await;
        }
    }

    /// Says that no more chunks come. The writer ends when it has written those it has.
    pub fn close(&mut self) {
        self.chunks = None;
    }

    /// Packets that have been written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until the output has failed or, once it is [closed](Self::close), everything has been written.
    pub async fn ended(&mut self) -> Ended {
        (&mut self.ended).await.unwrap_or(Ok(()))
    }
}
