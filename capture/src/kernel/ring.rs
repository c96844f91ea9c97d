//! Reading one BPF ring buffer.
//!
//! aya has a reader; this one exists for two things that its interface does not allow. The merge has to look at a record
//! without taking it. And the reader decides when the kernel wakes it: the kernel does so when, and only when, a record
//! is committed at the position that the reader has published (kernel/bpf/ringbuf.c, `bpf_ringbuf_commit`).
//! While the daemon comes back by itself anyway, [`Ring::publish_but_one`] keeps the position one record back, and no
//! packet pays for a wake-up. Before it sleeps, [`Ring::publish`] catches up.
//!
//! Measured with one ring, where no hold-back of the merge delays the reader: 8000 packets, 5000 a second, raise
//! one or two interrupts for a wake-up, and 900 where all that was read is given back at once. That the position is
//! published once per batch and not once per record saves nothing that could be measured; it is the simpler code.

#![expect(unsafe_code, reason = "the ring is memory shared with the kernel")]

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use aya::maps::MapData;
use nix::sys::mman::ProtFlags;

use super::mapping::{Mapping, acquire};

/// What the kernel puts before each record: its length with two flags, and an offset that only it needs.
const RECORD_HEADER: usize = 8;
/// Reserved and not yet committed.
const BUSY: u32 = 1 << 31;
/// Committed, but to be skipped.
const DISCARDED: u32 = 1 << 30;

/// The reader's side of one ring.
#[derive(Debug)]
pub(super) struct Ring {
    map: MapData,
    /// The page with the consumer's position, which is ours to write.
    consumer: Mapping,
    /// The page with the producer's position, then the data twice in a row, so that a record which wraps around is
    /// contiguous all the same.
    producer: Mapping,
    page_size: usize,
    /// Size of the data in bytes, a power of two.
    size: usize,
    /// Where the next record begins; grows without bound.
    position: u64,
    /// Where the record before it began, or `position` where that record was given back: what is published never goes
    /// back.
    last: u64,
    /// What was published last.
    published: u64,
    /// The producer's position when it was last looked at. The producer writes its cache line for each record, so it
    /// is looked at only when all that was there then has been read.
    produced: u64,
}

impl Ring {
    /// Maps a ring of `size` bytes.
    ///
    /// # Errors
    ///
    /// When the kernel does not map it.
    pub(super) fn new(map: MapData, size: usize) -> io::Result<Self> {
        let page_size = super::page_size();
        let fd = map.fd().as_fd();
        let consumer = Mapping::new(fd, 0, page_size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let producer = Mapping::new(fd, page_size, page_size + 2 * size, ProtFlags::PROT_READ)?;
        let mut ring = Self {
            map,
            consumer,
            producer,
            page_size,
            size,
            position: 0,
            last: 0,
            published: 0,
            produced: 0,
        };
        ring.position = ring.consumer_position().load(Ordering::Relaxed);
        (ring.last, ring.published, ring.produced) = (ring.position, ring.position, ring.position);
        Ok(ring)
    }

    /// The next committed record, without taking it. `None` when there is none, or when the next one is reserved but
    /// not yet committed.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<&[u8]> {
        loop {
            if self.position >= self.produced {
                // Pairs with the kernel's release of the position in `__bpf_ringbuf_reserve`.
                self.produced = acquire(self.producer_position(), AtomicU64::load);
                if self.position >= self.produced {
                    return None;
                }
            }
            // Pairs with the kernel's exchange of the header in `bpf_ringbuf_commit`: what it wrote into the record is
            // visible after this.
            let header = acquire(self.header_at(self.position), AtomicU32::load);
            if header & BUSY != 0 {
                return None;
            }
            let length = (header & !DISCARDED) as usize;
            if header & DISCARDED != 0 {
                self.skip(length);
                continue;
            }
            let start = self.offset(self.position) + RECORD_HEADER;
            // SAFETY: the record of `length` bytes from `start` on lies within the doubled data area, because a record
            // is never longer than the ring; the kernel does not touch it before the position is published, which
            // takes `&mut self`.
            return Some(unsafe { std::slice::from_raw_parts(self.data().add(start), length) });
        }
    }

    /// Takes the record that [`peek`](Self::peek) gave, which was `length` bytes long.
    #[inline]
    pub(super) fn skip(&mut self, length: usize) {
        self.last = self.position;
        self.position += (RECORD_HEADER + length).next_multiple_of(8) as u64;
    }

    /// Gives what was taken, except for the last record, back to the kernel. As long as that record is held, no
    /// commit wakes the daemon. Returns how much that was, in bytes.
    pub(super) fn publish_but_one(&mut self) -> u64 {
        let given_back = self.last.wrapping_sub(self.published);
        // A store takes the cache line away from the producers, who read it for each record.
        if given_back != 0 {
            self.published = self.last;
            self.consumer_position().store(self.last, Ordering::Release);
        }
        given_back
    }

    /// Gives everything that was taken back to the kernel, so that the next commit wakes the daemon, and says whether
    /// there is nothing left to read. Only then may the daemon sleep.
    pub(super) fn publish(&mut self) -> bool {
        loop {
            let published = self.position;
            if !self.publish_and_look() {
                return false;
            }
            // Discarded records may have been passed over meanwhile; what follows them would not wake us.
            if self.position == published {
                return true;
            }
        }
    }

    fn publish_and_look(&mut self) -> bool {
        (self.last, self.published) = (self.position, self.position);
        self.consumer_position().store(self.position, Ordering::Release);
        // The kernel commits with a full barrier between its write of the header and its read of our position; with
        // one here between our write of the position and our read of the producer's, one of the two sees the other.
        fence(Ordering::SeqCst);
        // A record that is reserved but busy will wake us when it is committed: it is the one at the
        // published position.
        self.peek().is_none()
    }

    fn offset(&self, position: u64) -> usize {
        (position as usize) & (self.size - 1)
    }

    fn data(&self) -> *const u8 {
        // SAFETY: the data area begins one page into the mapping, which is longer than that.
        unsafe { self.producer.start().cast_const().add(self.page_size) }
    }

    fn header_at(&self, position: u64) -> &AtomicU32 {
        let offset = self.offset(position);
        // SAFETY: the offset is within the data area.
        let header = unsafe { self.data().add(offset) };
        // SAFETY: records begin at multiples of 8, and the kernel accesses the header atomically.
        unsafe { &*header.cast::<AtomicU32>() }
    }

    fn consumer_position(&self) -> &AtomicU64 {
        // SAFETY: the position is the first word of the page, and both sides access it atomically.
        unsafe { &*self.consumer.start().cast::<AtomicU64>() }
    }

    fn producer_position(&self) -> &AtomicU64 {
        // SAFETY: the position is the first word of the mapping, and both sides access it atomically.
        unsafe { &*self.producer.start().cast::<AtomicU64>() }
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.map.fd().as_fd().as_raw_fd()
    }
}
