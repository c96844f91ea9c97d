//! All rings: draining them in batches, merged by time.
//!
//! A record can be missing from its ring for as long as its program takes from the stamp to the commit, so the
//! [merge](super::merge) holds records back until they are [`HOLD_BACK`] old; only then is nothing expected any more
//! that belongs before them. With a single ring there is nothing to wait for.

use std::{future::poll_fn, io, ops::ControlFlow, task::Poll, time::Duration};

use aya::maps::MapData;
use capture_packet::{Direction, Packet, Timestamp};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    clock::Clock,
    merge::{Left, Merge, Queue},
    pace::Pace,
    ring::Ring,
    sources::{Origin, RecordSource, Sources},
};

/// How long records wait for earlier ones from other CPUs, in nanoseconds. A program takes well under a microsecond
/// from stamp to commit; this leaves room for an interrupt in between and for a virtual CPU that is not running.
const HOLD_BACK: u64 = 1_000_000;

/// Which way a packet goes. What has no [packet type](capture_common::record::packet_type) of a packet's way comes in: an XDP program sees
/// nothing else, and what goes out is marked by the program.
#[inline]
fn direction(packet_type: u8) -> Direction {
    Direction::of_packet_type(packet_type.into()).unwrap_or(Direction::In)
}

/// The rings of one capture.
#[derive(Debug)]
pub(super) struct Rings {
    rings: Vec<AsyncFd<Ring>>,
    merge: Merge,
    pace: Pace,
    clock: Clock,
    sources: Sources,
    /// The numbers of interfaces that are gone and all of whose records have been read.
    forgotten: Vec<u32>,
}

impl Queue for AsyncFd<Ring> {
    #[inline]
    fn peek(&mut self) -> Option<&[u8]> {
        self.get_mut().peek()
    }

    #[inline]
    fn skip(&mut self, length: usize) {
        self.get_mut().skip(length);
    }
}

impl Rings {
    /// Takes the maps, each of `size` bytes; `snaplen` is 0 where only headers are captured, and `shift` that of this process's
    /// [clocks](super::clock::shift_of_this_process). To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When a ring cannot be mapped or waited for.
    pub(super) fn new(maps: Vec<MapData>, size: usize, snaplen: u32, shift: i64) -> io::Result<Self> {
        let rings = maps
            .into_iter()
            .map(|map| {
                let ring = Ring::new(map, size)?;
                #[expect(unsafe_code, reason = "tokio's registration of a file descriptor")]
                // SAFETY: the ring owns its map's descriptor, and neither closes nor replaces it while it lives.
                unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(io::Error::from)
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            rings,
            merge: Merge::default(),
            pace: Pace::new(size, snaplen),
            clock: Clock::new(shift),
            sources: Sources::default(),
            forgotten: Vec::new(),
        })
    }

    /// Takes the time up to which [`drain`](Self::drain) reads. What there is to be known of interfaces is taken in between
    /// the two: no record is read that is younger.
    pub(super) fn refresh(&mut self) {
        self.clock.refresh();
    }

    /// Hands packets to `each`, oldest first, until it breaks or all that is due has been read. With `all`, everything
    /// is due: to be used once nothing is attached any more.
    pub(super) fn drain(&mut self, all: bool, mut each: impl FnMut(&Packet<'_>) -> ControlFlow<()>) -> Left {
        let Self { rings, merge, pace, clock, sources, forgotten } = self;
        let now = clock.stamp();
        let due = match rings.as_slice() {
            _ if all => u64::MAX,
            [_] => now,
            _ => now.saturating_sub(HOLD_BACK),
        };
        let mut records = 0;
        let left = merge.drain(rings, due, |header, data| {
            records += 1;
            let time = clock.wall(header.time);
            let source = RecordSource { instance: header.instance, ifindex: header.ifindex };
            let Origin { id, number, link_type } = sources.of(source);
            each(&Packet {
                source: id,
                ifindex: number,
                packet_type: header.packet_type,
                direction: Some(direction(header.packet_type)),
                layers: header.layers(),
                ..Packet::new(time, link_type, header.wire_len, data)
            })
        });
        let filled = rings.iter_mut().map(|ring| ring.get_mut().publish_but_one()).max();
        pace.read(records, filled.unwrap_or(0));
        if left != Left::More {
            let over = sources.forget(now.saturating_sub(HOLD_BACK));
            forgotten.extend(over.into_iter().map(|origin| origin.number));
        }
        left
    }

    /// From now on there can be records of this interface.
    pub(super) fn add(&mut self, source: RecordSource, origin: Origin) {
        self.forgotten.retain(|forgotten| *forgotten != origin.number);
        self.sources.add(source, origin);
    }

    /// What packets of this interface have from it.
    pub(super) fn origin_of(&mut self, source: RecordSource) -> Origin {
        self.sources.of(source)
    }

    /// No program sees packets of this interface any more.
    pub(super) fn remove(&mut self, source: RecordSource) {
        let now = self.clock.refresh();
        self.sources.remove(source, now);
    }

    /// The numbers of the interfaces all of whose records have been read since they were [removed](Self::remove), once each.
    pub(super) fn take_forgotten(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.forgotten)
    }

    /// The time of day at the last drain.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long the rings are to be left alone now, while packets come.
    pub(super) fn next_interval(&mut self) -> Duration {
        self.pace.next_interval()
    }

    /// Records that were not of this daemon's layout.
    pub(super) fn foreign(&self) -> u64 {
        self.merge.foreign()
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
}

#[cfg(test)]
mod tests {
    use capture_common::record::packet_type;

    use super::*;

    #[test]
    fn what_is_not_outgoing_comes_in() {
        for packet_type in 0..=u8::MAX {
            let outgoing = packet_type == packet_type::OUTGOING;
            assert_eq!(direction(packet_type) == Direction::Out, outgoing, "{packet_type}");
        }
    }
}
