//! Standard output, a pipe, a socket: bytes one after the other.

use std::{fs::File, io, ops::Range, sync::PoisonError};

use super::destination::{Destination, Progress};
use crate::blocking::{wait_for_room, write_some};

/// What a pipe takes whole or not at all (linux/limits.h).
const PIPE_BUF: usize = 4096;

/// Writes to an open file.
#[derive(Debug)]
pub struct Stream {
    output: File,
    has_reader: bool,
}

impl Stream {
    /// If the output `has_reader` (a pipe, a socket, a terminal), no more than `PIPE_BUF` bytes are written at a time: a
    /// pipe takes as many whole or not at all (pipe(7)), so that what was counted is in it, and of the others it is
    /// known how far they have come.
    pub fn new(output: File, has_reader: bool) -> Self {
        Self { output, has_reader }
    }
}

impl Destination for Stream {
    fn write(&mut self, block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()> {
        self.write_part(block, ends, 0..block.len(), progress).1
    }
}

impl Stream {
    /// Writes a part of a block, and returns where it came to: not to its end after an error, or when the output has been
    /// stopped.
    pub(super) fn write_part(
        &mut self,
        block: &[u8],
        ends: &[usize],
        part: Range<usize>,
        progress: &Progress,
    ) -> (usize, io::Result<()>) {
        let mut start = part.start;
        let result = self.write_pieces(block, ends, &mut start, part.end, progress);
        (start, result)
    }

    fn write_pieces(
        &mut self,
        block: &[u8],
        ends: &[usize],
        start: &mut usize,
        last: usize,
        progress: &Progress,
    ) -> io::Result<()> {
        let Self { output, has_reader } = self;
        let mut packets = ends.partition_point(|end| *end <= *start);
        while *start < last {
            let end = if *has_reader { end_of_piece(*start, ends, last) } else { last };
            if *has_reader {
                // The wait for a reader is here, where it holds up nothing: what there is room for is written at once.
                wait_for_room(output)?;
            }
            let stopped = progress.stopped.lock().unwrap_or_else(PoisonError::into_inner);
            if *stopped {
                return Ok(());
            }
            while *start < end {
                *start += write_some(output, &block[*start..end])?;
                // A packet has been written when its last byte has.
                let whole = ends.partition_point(|end| *end <= *start);
                progress.wrote(whole - packets);
                packets = whole;
            }
        }
        Ok(())
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.output
    }

    /// The file, to be written to by hand.
    pub(super) fn file_mut(&mut self) -> &mut File {
        &mut self.output
    }

    /// The file, to be closed.
    pub(super) fn into_file(self) -> File {
        self.output
    }
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
    use std::{
        fs::File,
        io::{PipeWriter, Read as _},
        os::fd::{AsFd, OwnedFd},
        sync::Arc,
        thread,
        time::Duration,
    };

    use nix::{
        poll::{PollFd, PollFlags, PollTimeout, poll},
        pty::{OpenptyResult, openpty},
    };

    use tokio::{
        sync::Notify,
        time::{sleep, timeout},
    };

    use super::{
        super::{block::Block, queue::Queue},
        *,
    };

    const NEVER: Duration = Duration::from_secs(30);

    /// Packets of these lengths, and something after them that belongs to none.
    fn block(lengths: &[usize]) -> Block {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for length in lengths {
            bytes.resize(bytes.len() + length, b'x');
            ends.push(bytes.len());
        }
        bytes.push(b'\n');
        Block { bytes: bytes.as_slice().into(), ends, ..Block::default() }
    }

    fn queue(file: File) -> (Queue, Arc<Progress>) {
        let progress = Arc::new(Progress::default());
        let stream = Box::new(Stream::new(file, true));
        let (queue, writer) = Queue::new(stream, Arc::clone(&progress), Arc::new(Notify::new()));
        writer.start().unwrap();
        (queue, progress)
    }

    fn file(pipe: PipeWriter) -> File {
        File::from(OwnedFd::from(pipe))
    }

    #[test]
    fn pieces_end_where_packets_do() {
        let (mut reader, writer) = io::pipe().unwrap();
        let progress = Progress::default();
        // The second packet is longer than a piece.
        let Block { bytes, ends, .. } = block(&[2, PIPE_BUF + 1, 2, PIPE_BUF - 2, 1]);
        Stream::new(file(writer), true).write(&bytes, &ends, &progress).unwrap();
        let mut written = Vec::new();
        reader.read_to_end(&mut written).unwrap();
        assert_eq!(written, bytes);
        assert_eq!(progress.packets(), 5);
        // The first; most of the second; its last byte and the third; the others.
        assert_eq!(progress.pieces(), 4);
    }

    fn is_ready(file: &impl AsFd, events: PollFlags) -> bool {
        poll(&mut [PollFd::new(file.as_fd(), events)], PollTimeout::ZERO).unwrap() == 1
    }

    /// A terminal that takes a little now and then is seen to take it, long before it has taken a block.
    #[tokio::test]
    async fn a_slow_terminal_is_seen_to_take_something() {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let mut master = File::from(master);
        let (queue, written) = queue(File::from(slave));
        queue.place().unwrap().send(block(&[100; 10_000]));
        let mut taken = [0; PIPE_BUF];
        for _ in 0..20 {
            let before = written.pieces();
            let progress = async {
                while written.pieces() == before {
                    if is_ready(&master, PollFlags::POLLIN) {
                        assert_ne!(master.read(&mut taken).unwrap(), 0);
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(NEVER, progress).await.unwrap();
        }
        assert!((1..10_000).contains(&written.packets()));
    }

    /// A pipe that is not read until the queue has been stopped holds what was said to be written, and gets no more
    /// than the beginning of a packet that is longer than the pipe. The stop does not wait for a reader.
    #[tokio::test]
    async fn nothing_comes_after_a_stop() {
        for (length, count) in [(1000, 1000), (1_000_000, 2)] {
            let (mut reader, pipe) = io::pipe().unwrap();
            let (mut queue, progress) = queue(file(pipe.try_clone().unwrap()));
            queue.place().unwrap().send(block(&vec![length; count]));
            while is_ready(&pipe, PollFlags::POLLOUT) {
                thread::yield_now();
            }
            timeout(NEVER, progress.stop(NEVER)).await.unwrap();
            let written = progress.packets();
            queue.close();
            drop(pipe);
            let mut text = Vec::new();
            reader.read_to_end(&mut text).unwrap();
            assert_eq!(text.len() as u64 / length as u64, written);
            assert!(written < count as u64 && !text.is_empty());
            assert!(length > PIPE_BUF || text.len() as u64 == written * length as u64);
        }
    }
}
