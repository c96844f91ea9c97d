//! All rings: draining them in batches, merged by time.
//!
//! A record can be missing from its ring for as long as its program takes from the stamp to the commit, so the
//! [merge](super::merge) holds records back until they are [`HOLD_BACK`] old; only then is nothing expected any more
//! that belongs before them. With a single ring there is nothing to wait for.

use std::{future::poll_fn, io, ops::ControlFlow, task::Poll, time::Duration};

use aya::maps::MapData;
use capture_common::record::hook;
use capture_packet::{Direction, LinkType, Packet, SourceId, Timestamp};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    clock::Clock,
    merge::{Left, Merge, Queue},
    pace::Pace,
    ring::Ring,
};

/// How long records wait for earlier ones from other CPUs, in nanoseconds. A program takes well under a microsecond
/// from stamp to commit; this leaves room for an interrupt in between and for a virtual CPU that is not running.
const HOLD_BACK: u64 = 1_000_000;

/// A capture is attached to one interface.
const INTERFACE: SourceId = SourceId(0);

/// Which way the packets go that a program sees.
#[inline]
fn direction(program: u8) -> Option<Direction> {
    match program {
        hook::TC_INGRESS | hook::XDP => Some(Direction::In),
        hook::TC_EGRESS => Some(Direction::Out),
        _ => None,
    }
}

/// The rings of one capture.
#[derive(Debug)]
pub(super) struct Rings {
    rings: Vec<AsyncFd<Ring>>,
    merge: Merge,
    pace: Pace,
    clock: Clock,
    link_type: LinkType,
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
    /// Takes the maps, each of `size` bytes; `snaplen` is 0 where only headers are captured. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When a ring cannot be mapped or waited for.
    pub(super) fn new(
        maps: Vec<MapData>,
        size: usize,
        snaplen: u32,
        link_type: LinkType,
    ) -> io::Result<Self> {
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
            clock: Clock::new(),
            link_type,
        })
    }

    /// Hands packets to `each`, oldest first, until it breaks or all that is due has been read. With `all`, everything
    /// is due: to be used once nothing is attached any more.
    pub(super) fn drain(&mut self, all: bool, mut each: impl FnMut(&Packet<'_>) -> ControlFlow<()>) -> Left {
        let Self { rings, merge, pace, clock, link_type } = self;
        let now = clock.refresh();
        let due = if all || rings.len() == 1 { u64::MAX } else { now.saturating_sub(HOLD_BACK) };
        let mut records = 0;
        let left = merge.drain(rings, due, |header, data| {
            records += 1;
            let time = clock.wall(header.time);
            each(&Packet {
                source: INTERFACE,
                direction: direction(header.hook),
                ..Packet::new(time, *link_type, header.wire_len, data)
            })
        });
        let filled = rings.iter_mut().map(|ring| ring.get_mut().publish_but_one()).max();
        pace.read(records, filled.unwrap_or(0));
        left
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

    /// One of the maps.
    pub(super) fn any_map(&self) -> Option<&MapData> {
        self.rings.first().map(|ring| ring.get_ref().map())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_sees_one_direction() {
        for (program, expected) in [
            (hook::TC_INGRESS, Some(Direction::In)),
            (hook::TC_EGRESS, Some(Direction::Out)),
            (hook::XDP, Some(Direction::In)),
            (255, None),
        ] {
            assert_eq!(direction(program), expected);
        }
    }
}
