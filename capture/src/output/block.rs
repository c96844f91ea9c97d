//! What goes from an encoder to a destination.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// A block goes on when it has this many bytes, at the latest, and it has one packet more at most. It bounds how long
/// a signal waits.
pub const BLOCK: usize = 256 * 1024;

/// Whole packets in the form of an output, to be written together.
#[derive(Debug, Default)]
pub struct Block {
    /// What is to be written.
    pub bytes: BytesMut,
    /// Where in it each packet ends: the places where it may be cut.
    pub ends: Vec<usize>,
    /// Where in it is what each file that begins after it has, too.
    pub header: Vec<Range<usize>>,
    /// What a file ends with that is followed by another one.
    pub trailer: Bytes,
}

impl Block {
    /// The same memory, with nothing in it.
    pub(super) fn emptied(self) -> Self {
        let Self { mut bytes, mut ends, mut header, trailer: _ } = self;
        bytes.clear();
        ends.clear();
        header.clear();
        Self { bytes, ends, header, trailer: Bytes::new() }
    }
}
