//! All rings: draining them in batches, merged by time.
//!
//! Within one ring records lie in the order of their stamps, because one CPU makes them one after the other. Between
//! rings they are merged. A record can be missing from its ring for as long as its program takes from the stamp to the
//! commit, so the merge holds records back until they are [`HOLD_BACK`] old; only then is nothing expected any more
//! that belongs before them. With a single ring there is nothing to wait for.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    future::poll_fn,
    io,
    ops::ControlFlow,
    task::Poll,
};

use aya::maps::MapData;
use capture_common::record::{ABI_VERSION, RecordHeader};
use tokio::io::{Interest, unix::AsyncFd};

use super::{KernelError, clock::Clock, ring::Ring};
use crate::packet::{LinkType, Packet, Timestamp};

/// How long records wait for earlier ones from other CPUs, in nanoseconds. A program takes well under a microsecond
/// from stamp to commit; this leaves room for an interrupt in between and for a virtual CPU that is not running.
const HOLD_BACK: u64 = 1_000_000;

/// The rings of one capture.
#[derive(Debug)]
pub(super) struct Rings {
    rings: Vec<AsyncFd<Ring>>,
    /// The next record of each ring that has one: its stamp and the ring. Kept between drains to save its memory.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    clock: Clock,
    link_type: LinkType,
    read: u64,
}

/// What a drain left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Records that have to wait for their time.
    Held,
    /// Records that there was no room for in the batch.
    More,
}

impl Rings {
    /// Takes the maps, each of `size` bytes. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When a ring cannot be mapped or waited for.
    pub(super) fn new(maps: Vec<MapData>, size: usize, link_type: LinkType) -> io::Result<Self> {
        let rings = maps
            .into_iter()
            .map(|map| {
                let ring = Ring::new(map, size)?;
                #[expect(unsafe_code, reason = "tokio's registration of a file descriptor")]
                // SAFETY: the ring owns its map's descriptor, and neither closes nor replaces it while it lives.
                unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(io::Error::from)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let heads = BinaryHeap::with_capacity(rings.len());
        Ok(Self { rings, heads, clock: Clock::new(), link_type, read: 0 })
    }

    /// Hands packets to `each`, oldest first, until it breaks or all that is due has been read. With `all`, everything
    /// is due: to be used once nothing is attached any more.
    ///
    /// # Errors
    ///
    /// [`KernelError::Record`] for a record that is not of this daemon's layout.
    pub(super) fn drain(
        &mut self,
        all: bool,
        mut each: impl FnMut(&Packet<'_>) -> ControlFlow<()>,
    ) -> Result<Left, KernelError> {
        let Self { rings, heads, clock, link_type, read } = self;
        let now = clock.refresh();
        let due = if all || rings.len() == 1 { u64::MAX } else { now.saturating_sub(HOLD_BACK) };
        heads.clear();
        for (index, ring) in rings.iter_mut().enumerate() {
            if let Some(record) = ring.get_mut().peek() {
                heads.push(Reverse((Record::parse(record)?.header.time, index)));
            }
        }
        let mut left = Left::Nothing;
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((time, index)) = *head;
            if time > due {
                left = Left::Held;
                break;
            }
            let Some(ring) = rings.get_mut(index).map(AsyncFd::get_mut) else { break };
            let Some(bytes) = ring.peek() else { break };
            let record = Record::parse(bytes)?;
            let time = clock.wall(record.header.time);
            let flow = each(&record.packet(time, *link_type));
            let length = bytes.len();
            ring.skip(length);
            *read += 1;
            match ring.peek() {
                Some(next) => *head = Reverse((Record::parse(next)?.header.time, index)),
                None => {
                    PeekMut::pop(head);
                }
            }
            if flow.is_break() {
                left = Left::More;
                break;
            }
        }
        for ring in rings {
            ring.get_mut().publish_but_one();
        }
        Ok(left)
    }

    /// Records read so far.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Prepares for [`readable`](Self::readable): from now on the next record wakes. False if there is one already.
    pub(super) fn sleep(&mut self) -> bool {
        let mut empty = true;
        for ring in &mut self.rings {
            empty &= ring.get_mut().publish();
        }
        empty
    }

    /// Waits until a record has come since [`sleep`](Self::sleep).
    ///
    /// # Errors
    ///
    /// When tokio's runtime is shutting down.
    pub(super) async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| {
            let mut ready = false;
            for ring in &self.rings {
                if let Poll::Ready(guard) = ring.poll_read_ready(context) {
                    guard?.clear_ready();
                    ready = true;
                }
            }
            if ready { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Whether nothing is in the rings, nor on its way into them.
    pub(super) fn is_drained(&self) -> bool {
        self.rings.iter().all(|ring| ring.get_ref().is_drained())
    }
}

/// A record's parts.
struct Record<'a> {
    header: RecordHeader,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    fn parse(record: &'a [u8]) -> Result<Self, KernelError> {
        let parsed = RecordHeader::from_record(record).map(|(header, bytes)| Self { header, bytes });
        parsed.ok_or_else(|| KernelError::Record {
            length: record.len(),
            version: record.get(RecordHeader::ABI_VERSION_OFFSET).copied().unwrap_or_default(),
            expected: ABI_VERSION,
        })
    }

    fn packet(&self, time: Timestamp, link_type: LinkType) -> Packet<'a> {
        Packet { time, link_type, wire_len: self.header.wire_len, data: self.bytes }
    }
}
