//! Records of several queues, in the order of their stamps.
//!
//! Within one queue records lie in that order already, or nearly so where CPUs share it: what is late comes late. The
//! merge stays with a queue for as long as its records are due before those of all others, and looks at the others again
//! only then: with one busy CPU it costs a comparison for each record, however many queues there are.

use std::{cmp::Reverse, collections::BinaryHeap, ops::ControlFlow};

use capture_common::record::RecordHeader;

/// Where records wait.
pub trait Queue {
    /// The next record, without taking it.
    fn peek(&mut self) -> Option<&[u8]>;

    /// Takes the record that [`peek`](Self::peek) gave, which was `length` bytes long.
    fn skip(&mut self, length: usize);
}

/// What a drain left in the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Records that have to wait for their time.
    Held,
    /// Perhaps more records: the batch was ended.
    More,
}

/// Merges queues. Between two calls it keeps memory and a count.
#[derive(Debug, Default)]
pub struct Merge {
    /// Queues that have a record, by the stamp of their next one.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    /// Records that were not of this daemon's layout, and were passed over.
    foreign: u64,
}

impl Merge {
    /// Hands records to `each`, the oldest first and none that is stamped later than `due`, until it breaks. A record
    /// is taken when `each` has had it. Records of another layout are passed over and [counted](Self::foreign).
    #[inline]
    pub fn drain<Q: Queue>(
        &mut self,
        queues: &mut [Q],
        due: u64,
        mut each: impl FnMut(&RecordHeader, &[u8]) -> ControlFlow<()>,
    ) -> Left {
        let Self { heads, foreign } = self;
        heads.clear();
        for (index, queue) in queues.iter_mut().enumerate() {
            while let Some(record) = queue.peek() {
                if let Some((header, _)) = RecordHeader::from_record(record) {
                    heads.push(Reverse((header.time, index)));
                    break;
                }
                pass_over(queue, foreign);
            }
        }
        while let Some(Reverse((time, index))) = heads.pop() {
            if time > due {
                return Left::Held;
            }
            let until = heads.peek().map_or(due, |Reverse((next, _))| due.min(*next));
            let Some(queue) = queues.get_mut(index) else { break };
            while let Some(record) = queue.peek() {
                let Some((header, captured)) = RecordHeader::from_record(record) else {
                    pass_over(queue, foreign);
                    continue;
                };
                if header.time > until {
                    heads.push(Reverse((header.time, index)));
                    break;
                }
                let flow = each(&header, captured);
                let length = record.len();
                queue.skip(length);
                if flow.is_break() {
                    return Left::More;
                }
            }
        }
        Left::Nothing
    }

    /// Records that were not of this daemon's layout: of an object from another release, or put into the ring by
    /// another program.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }
}

#[cold]
fn pass_over(queue: &mut impl Queue, foreign: &mut u64) {
    if let Some(length) = queue.peek().map(<[u8]>::len) {
        queue.skip(length);
        *foreign += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use capture_common::record::ABI_VERSION;
    use test_support::random::Random;

    use super::*;

    fn set_version(record: &mut [u8], version: u16) {
        record[RecordHeader::ABI_VERSION_OFFSET..][..2].copy_from_slice(&version.to_ne_bytes());
    }

    /// A queue in memory.
    #[derive(Default)]
    struct Memory(VecDeque<Vec<u8>>);

    impl Memory {
        /// A record whose stamp is `time`, and whose one captured byte is `tag`.
        fn push(&mut self, time: u64, tag: u8) {
            let mut record = [0; RecordHeader::SIZE + 8];
            record[..8].copy_from_slice(&time.to_ne_bytes());
            record[12..16].copy_from_slice(&1_u32.to_ne_bytes());
            set_version(&mut record, ABI_VERSION);
            record[RecordHeader::SIZE] = tag;
            self.0.push_back(record.to_vec());
        }
    }

    impl Queue for Memory {
        fn peek(&mut self) -> Option<&[u8]> {
            self.0.front().map(Vec::as_slice)
        }

        fn skip(&mut self, length: usize) {
            assert_eq!(self.0.pop_front().map(|record| record.len()), Some(length));
        }
    }

    /// Queues with records of these stamps, tagged with the queue's number.
    fn queues(stamps: &[&[u64]]) -> Vec<Memory> {
        let queue = |(tag, stamps): (u8, &&[u64])| {
            let mut queue = Memory::default();
            stamps.iter().for_each(|&time| queue.push(time, tag));
            queue
        };
        (0..).zip(stamps).map(queue).collect()
    }

    /// Stamps and tags in the order in which they come, at most `most` of them, and what is left.
    fn drained(queues: &mut [Memory], due: u64, most: usize) -> (Vec<(u64, u8)>, Left) {
        let mut records = Vec::new();
        let left = Merge::default().drain(queues, due, |header, captured| {
            records.push((header.time, captured[0]));
            if records.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (records, left)
    }

    #[test]
    fn the_oldest_comes_first() {
        let mut queues = queues(&[&[1, 4, 5, 9], &[], &[2, 3, 6], &[7]]);
        let (records, left) = drained(&mut queues, u64::MAX, usize::MAX);
        assert_eq!(records, [(1, 0), (2, 2), (3, 2), (4, 0), (5, 0), (6, 2), (7, 3), (9, 0)]);
        assert_eq!(left, Left::Nothing);
    }

    #[test]
    fn what_is_not_due_stays() {
        let mut queues = queues(&[&[1, 5], &[2, 6]]);
        assert_eq!(drained(&mut queues, 4, usize::MAX), (vec![(1, 0), (2, 1)], Left::Held));
        // Meanwhile a record has come that belongs before those that waited.
        queues[1].0.clear();
        queues[1].push(4, 1);
        assert_eq!(drained(&mut queues, 5, usize::MAX), (vec![(4, 1), (5, 0)], Left::Nothing));
    }

    #[test]
    fn a_full_batch_takes_no_more() {
        let mut queues = queues(&[&[1, 3], &[2]]);
        assert_eq!(drained(&mut queues, u64::MAX, 2), (vec![(1, 0), (2, 1)], Left::More));
        assert_eq!(drained(&mut queues, u64::MAX, 2), (vec![(3, 0)], Left::Nothing));
    }

    #[test]
    fn records_of_another_layout_are_passed_over_and_counted() {
        let mut queues = queues(&[&[1, 2, 3], &[4]]);
        set_version(&mut queues[0].0[1], ABI_VERSION + 1);
        // The first of its queue; shorter than a header; and empty.
        queues[1].0.push_front(vec![0xff; 100]);
        queues[1].0.push_back(vec![0; RecordHeader::SIZE - 1]);
        queues[1].0.push_back(Vec::new());
        let mut merge = Merge::default();
        let mut stamps = Vec::new();
        let left = merge.drain(&mut queues, u64::MAX, |header, _| {
            stamps.push(header.time);
            ControlFlow::Continue(())
        });
        assert_eq!((left, stamps, merge.foreign()), (Left::Nothing, vec![1, 3, 4], 4));
    }

    /// What several CPUs do: each stamps in order and commits up to `LATE` later, while batches are drained. As long as
    /// nothing is later than the hold-back, everything comes, once, and in order.
    #[test]
    fn nothing_runs_backwards_within_the_hold_back() {
        const LATE: usize = 50;
        const RECORDS: u64 = 20_000;
        let mut random = Random::new(1);
        for count in [1, 2, 3, 17] {
            let mut queues: Vec<Memory> = (0..count).map(|_| Memory::default()).collect();
            // What each CPU has stamped and not yet committed: the stamp, and when it will be.
            let mut pending: Vec<VecDeque<(u64, u64)>> = vec![VecDeque::new(); count];
            let mut came = Vec::new();
            for now in 0..RECORDS + 2 * LATE as u64 {
                if now < RECORDS {
                    let cpu = random.below(count);
                    let not_before = pending[cpu].back().map_or(0, |&(_, commit)| commit);
                    pending[cpu].push_back((now, not_before.max(now + random.below(LATE) as u64)));
                }
                for (cpu, pending) in pending.iter_mut().enumerate() {
                    while let Some(&(time, commit)) = pending.front()
                        && commit <= now
                    {
                        queues[cpu].push(time, cpu as u8);
                        pending.pop_front();
                    }
                }
                if random.one_in(7) || now > RECORDS {
                    let due = now.saturating_sub(LATE as u64);
                    let (records, _) = drained(&mut queues, due, 1 + random.below(40));
                    came.extend(records.into_iter().map(|(time, _)| time));
                }
            }
            came.extend(drained(&mut queues, u64::MAX, usize::MAX).0.into_iter().map(|(time, _)| time));
            assert!(came.iter().copied().eq(0..RECORDS), "{count} queues");
        }
    }
}
