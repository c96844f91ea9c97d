//! The only code that may block on standard output: a thread that writes chunks from a bounded channel.
//!
//! When the output is slow the channel fills, the daemon stops draining, the rings fill, and the kernel counts what it
//! has no room for. Memory does not grow.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::blocking::{wait_for_room, write_some};

/// Chunks that wait for the output at most.
const QUEUE: usize = 8;

/// The lines of whole packets, to be written together.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The text.
    pub text: Bytes,
    /// Where in the text each packet ends.
    pub ends: Vec<usize>,
}

/// How writing ended.
pub type Ended = io::Result<()>;

/// What has been written so far.
#[derive(Debug, Default)]
struct Progress {
    packets: AtomicU64,
    pieces: AtomicU64,
    /// Whether nothing is to be written any more. Held by the thread while it writes, and counts what it wrote.
    stopped: Mutex<bool>,
}

/// What a pipe takes whole or not at all (linux/limits.h).
const PIPE_BUF: usize = 4096;

/// The sending end and the state of the writer.
#[derive(Debug)]
pub struct Writer {
    /// Where chunks go, until [`close`](Self::close).
    chunks: Option<mpsc::Sender<Chunk>>,
    progress: Arc<Progress>,
    ended: oneshot::Receiver<Ended>,
}

impl Writer {
    /// Starts the thread. If the output `has_reader` (a pipe, a socket, a terminal), no more than `PIPE_BUF` bytes are
    /// written at a time: a pipe takes as many whole or not at all (pipe(7)), so that what was counted is in it, and of
    /// the others it is known how far they have come.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub fn spawn(mut output: impl Write + AsFd + Send + 'static, has_reader: bool) -> io::Result<Self> {
        let (chunks, mut queue) = mpsc::channel::<Chunk>(QUEUE);
        let (end, ended) = oneshot::channel();
        let progress = Arc::new(Progress::default());
        let written = Arc::clone(&progress);
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let mut result = Ok(());
            while let Some(chunk) = queue.blocking_recv() {
                result = write_chunk(&mut output, &chunk, has_reader, &written);
                if result.is_err() {
                    break;
                }
            }
            // The daemon may have gone without waiting.
            let _gone = end.send(result);
        })?;
        Ok(Self { chunks: Some(chunks), progress, ended })
    }

    /// Lets nothing more be written: what [`written`](Self::written) says from now on has been written, and at most
    /// the beginning of one packet more. Gives up after `patience`, when a write is stuck halfway: in a terminal or a
    /// socket that takes nothing, on a slow disk, or in a pipe that others write to, too.
    pub async fn stop(&self, patience: Duration) {
        const PAUSE: Duration = Duration::from_millis(1);

        let stopped = async {
            loop {
                match self.progress.stopped.try_lock() {
                    Ok(mut stopped) => return *stopped = true,
                    Err(TryLockError::Poisoned(_)) => return,
                    Err(TryLockError::WouldBlock) => sleep(PAUSE).await,
                }
            }
        };
        let _gave_up = timeout(patience, stopped).await;
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
        self.progress.packets.load(Ordering::Relaxed)
    }

    /// A number that changes with everything the output takes.
    pub fn progress(&self) -> u64 {
        self.progress.pieces.load(Ordering::Relaxed)
    }

    /// Tells [`progress`](Self::progress), while the writer is waited for.
    pub fn progress_counter(&self) -> impl Fn() -> u64 + use<> {
        let progress = Arc::clone(&self.progress);
        move || progress.pieces.load(Ordering::Relaxed)
    }

    /// Waits until the output has failed or, once it is [closed](Self::close), everything has been written.
    pub async fn ended(&mut self) -> Ended {
        (&mut self.ended).await.unwrap_or(Ok(()))
    }
}

fn write_chunk(
    output: &mut (impl Write + AsFd),
    chunk: &Chunk,
    has_reader: bool,
    progress: &Progress,
) -> Ended {
    let Chunk { text, ends } = chunk;
    let (mut start, mut packets) = (0, 0);
    while start < text.len() {
        let end = if has_reader { end_of_piece(start, ends, text.len()) } else { text.len() };
        if has_reader {
            // The wait for a reader is here, where it holds up nothing: what there is room for is written at once.
            wait_for_room(output)?;
        }
        let stopped = progress.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return Ok(());
        }
        while start < end {
            start += write_some(output, &text[start..end])?;
            // A packet has been written when its last byte has.
            let whole = ends.partition_point(|end| *end <= start);
            progress.packets.fetch_add((whole - packets) as u64, Ordering::Relaxed);
            progress.pieces.fetch_add(1, Ordering::Relaxed);
            packets = whole;
        }
    }
    Ok(())
}

/// Where a piece ends that begins at `start`: after as many whole packets as fit, or within one that does not.
fn end_of_piece(start: usize, ends: &[usize], length: usize) -> usize {
    let longest = start + PIPE_BUF;
    if length <= longest {
        return length;
    }
    let fitting = ends.partition_point(|end| *end <= longest);
    match fitting.checked_sub(1).and_then(|last| ends.get(last)) {
        Some(end) if *end > start && fitting < ends.len() => *end,
        _ => longest,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _};

    use nix::{
        poll::{PollFd, PollFlags, PollTimeout, poll},
        pty::{OpenptyResult, openpty},
    };

    use super::*;

    /// Packets of these lengths, and something after them that belongs to none.
    fn chunk(lengths: &[usize]) -> Chunk {
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        for length in lengths {
            text.resize(text.len() + length, b'x');
            ends.push(text.len());
        }
        text.push(b'\n');
        Chunk { text: text.into(), ends }
    }

    #[test]
    fn pieces_end_where_packets_do() {
        let (mut reader, writer) = io::pipe().unwrap();
        let progress = Progress::default();
        // The second packet is longer than a piece.
        let chunk = chunk(&[2, PIPE_BUF + 1, 2, PIPE_BUF - 2, 1]);
        let mut writer = File::from(std::os::fd::OwnedFd::from(writer));
        write_chunk(&mut writer, &chunk, true, &progress).unwrap();
        drop(writer);
        let mut written = Vec::new();
        reader.read_to_end(&mut written).unwrap();
        assert_eq!(written, chunk.text);
        assert_eq!(progress.packets.load(Ordering::Relaxed), 5);
        // The first; most of the second; its last byte and the third; the others.
        assert_eq!(progress.pieces.load(Ordering::Relaxed), 4);
    }

    fn is_ready(file: &impl AsFd, events: PollFlags) -> bool {
        poll(&mut [PollFd::new(file.as_fd(), events)], PollTimeout::ZERO).unwrap() == 1
    }

    /// A terminal that takes a little now and then is seen to take it, long before it has taken a chunk.
    #[tokio::test]
    async fn a_slow_terminal_is_seen_to_take_something() {
        const NEVER: Duration = Duration::from_secs(30);

        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let mut master = File::from(master);
        let writer = Writer::spawn(File::from(slave), true).unwrap();
        assert!(writer.send(chunk(&[100; 10_000])));
        let mut taken = [0; PIPE_BUF];
        for _ in 0..20 {
            let before = writer.progress();
            let progress = async {
                while writer.progress() == before {
                    if is_ready(&master, PollFlags::POLLIN) {
                        assert_ne!(master.read(&mut taken).unwrap(), 0);
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(NEVER, progress).await.unwrap();
        }
        assert!((1..10_000).contains(&writer.written()));
    }

    /// A pipe that is not read until the writer has been stopped holds what was said to be written, and gets no more
    /// than the beginning of a packet that is longer than the pipe. The stop does not wait for a reader.
    #[tokio::test]
    async fn nothing_comes_after_a_stop() {
        const NEVER: Duration = Duration::from_secs(30);

        for (length, count) in [(1000, 1000), (1_000_000, 2)] {
            let (mut reader, pipe) = io::pipe().unwrap();
            let writer = File::from(std::os::fd::OwnedFd::from(pipe.try_clone().unwrap()));
            let mut writer = Writer::spawn(writer, true).unwrap();
            assert!(writer.send(chunk(&vec![length; count])));
            while is_ready(&pipe, PollFlags::POLLOUT) {
                thread::yield_now();
            }
            timeout(NEVER, writer.stop(NEVER)).await.unwrap();
            let written = writer.written();
            writer.close();
            drop(pipe);
            let mut text = Vec::new();
            reader.read_to_end(&mut text).unwrap();
            assert_eq!(text.len() as u64 / length as u64, written);
            assert!(written < count as u64 && !text.is_empty());
            assert!(length > PIPE_BUF || text.len() as u64 == written * length as u64);
        }
    }
}
