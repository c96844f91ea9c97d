//! The window onto the bytes of a file: one buffer, refilled only when a record does not end within it.

use std::io::{self, Read};

/// Bytes of the window before a record asks for more.
const INITIAL_CAPACITY: usize = 256 * 1024;

/// A reader and the bytes read ahead of it: `bytes[start..end]`.
#[derive(Debug)]
pub(super) struct Buffer<R> {
    reader: R,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, bytes: vec![0; INITIAL_CAPACITY], start: 0, end: 0 }
    }

    /// Bytes that are there to be taken.
    pub(super) fn available(&self) -> usize {
        self.end - self.start
    }

    /// The bytes that are there to be taken.
    pub(super) fn peek(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Reads until at least `length` bytes are there; false if the file ends before. No more is read than that
    /// takes, so that packets come through a pipe as they are written.
    #[inline]
    pub(super) fn fill(&mut self, length: usize) -> io::Result<bool> {
        if self.available() >= length { Ok(true) } else { self.refill(length) }
    }

    /// Takes `length` bytes, which [`fill`](Self::fill) has seen to be there.
    #[inline]
    pub(super) fn take(&mut self, length: usize) -> &[u8] {
        let start = self.start;
        self.start += length;
        &self.bytes[start..start + length]
    }

    /// Moves on by up to `length` bytes, without keeping them: by how many; fewer where the file ends.
    #[cold]
    pub(super) fn skip(&mut self, length: usize) -> io::Result<usize> {
        let mut left = length;
        loop {
            let skipped = left.min(self.available());
            self.start += skipped;
            left -= skipped;
            if left == 0 || !self.fill(1)? {
                return Ok(length - left);
            }
        }
    }

    /// What a record claims to need is taken up only as far as the file goes: the buffer is never more than twice as
    /// large as what has been read into it.
    #[cold]
    fn refill(&mut self, length: usize) -> io::Result<bool> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < length {
            if self.end == self.bytes.len() {
                self.bytes.resize(length.next_power_of_two().min(2 * self.end), 0);
            }
            match self.reader.read(&mut self.bytes[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
