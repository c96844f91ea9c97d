//! The only code that may block on output: a thread that writes chunks from a bounded channel.
//!
//! When the output is slow the channel fills, the daemon stops draining, the rings fill, and the kernel counts what it
//! has no room for. Memory does not grow.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use bytes::Bytes;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::{mpsc, oneshot};

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
}

/// The sending end and the state of the writer.
#[derive(Debug)]
pub struct Writer {
    /// Where chunks go, until [`close`](Self::close).
    chunks: Option<mpsc::Sender<Chunk>>,
    progress: Arc<Progress>,
    ended: oneshot::Receiver<Ended>,
}

impl Writer {
    /// Starts the thread. It writes pieces of at most `piece` bytes, unless a packet is longer. A pipe takes pieces of
    /// up to `PIPE_BUF` whole or not at all (pipe(7)), so that exactly what was counted is in it.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn spawn(mut output: impl Write + AsFd + Send + 'static, piece: usize) -> io::Result<Self> {
        let (chunks, mut queue) = mpsc::channel::<Chunk>(QUEUE);
        let (end, ended) = oneshot::channel();
        let progress = Arc::new(Progress::default());
        let written = Arc::clone(&progress);
        thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let mut result = Ok(());
            while let Some(chunk) = queue.blocking_recv() {
                result = write_chunk(&mut output, &chunk, piece, &written);
                if result.is_err() {
                    break;
                }
            }
            // The daemon may have gone without waiting; then nobody wants to know.
            let _nobody = end.send(result);
        })?;
        Ok(Self { chunks: Some(chunks), progress, ended })
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

    /// Waits until the output has failed or, once it is [closed](Self::close), everything has been written.
    pub async fn ended(&mut self) -> Ended {
        (&mut self.ended).await.unwrap_or(Ok(()))
    }
}

fn write_chunk(output: &mut (impl Write + AsFd), chunk: &Chunk, piece: usize, progress: &Progress) -> Ended {
    let (mut start, mut packets) = (0, 0);
    while start < chunk.text.len() {
        let fitting = chunk.ends.partition_point(|end| *end <= start + piece).max(packets + 1);
        let end = chunk.ends.get(fitting - 1).copied().unwrap_or(chunk.text.len());
        write_all(output, &chunk.text[start..end])?;
        let count = fitting.min(chunk.ends.len()) - packets;
        progress.packets.fetch_add(count as u64, Ordering::Relaxed);
        progress.pieces.fetch_add(1, Ordering::Relaxed);
        (start, packets) = (end, packets + count);
    }
    Ok(())
}

/// Like [`Write::write_all`], for outputs in non-blocking mode too: that is a property of the open file, and whoever
/// shares it may have set it.
fn write_all(output: &mut (impl Write + AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut writable = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
                poll(&mut writable, PollTimeout::NONE)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _};

    use super::*;

    #[test]
    fn pieces_end_where_packets_do() {
        let (mut reader, writer) = io::pipe().unwrap();
        let progress = Progress::default();
        // The second packet is longer than a piece, and what follows the last belongs to none.
        let chunk = Chunk { text: Bytes::from_static(b"a\nbcdefgh\ni\nj\n\n"), ends: vec![2, 10, 12, 14] };
        let mut writer = File::from(std::os::fd::OwnedFd::from(writer));
        write_chunk(&mut writer, &chunk, 4, &progress).unwrap();
        drop(writer);
        let mut written = Vec::new();
        reader.read_to_end(&mut written).unwrap();
        assert_eq!(written, chunk.text);
        assert_eq!(progress.packets.load(Ordering::Relaxed), 4);
        assert_eq!(progress.pieces.load(Ordering::Relaxed), 4);
    }
}
