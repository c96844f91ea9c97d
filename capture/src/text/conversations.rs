//! The table that relative sequence numbers come from (print-tcp.c, `tcp_seq_hash`).
//!
//! tcpdump keeps two tables, one for each IP version, and never forgets a conversation. These are bounded: when as
//! many conversations are known as may be, a new one takes the place of one that has not been seen lately, which is
//! counted. Until then they answer as tcpdump's would.
//!
//! A table is one array, and a hash says where in it to look first (linear probing). So the first packet of a
//! conversation costs one cache miss and no more, also when it takes another's place; a library's map with the order
//! of eviction beside it costs three. Slots are in the order of their hashes, so that growing copies front to back.

use std::hash::{BuildHasher, Hash};

use foldhash::quality::RandomState;

/// A pair of addresses and ports, the same for both directions: the lower port comes first, and between equal ports
/// the lower address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Key<A> {
    /// The address of the lower port.
    low: A,
    high: A,
    /// The lower port in the high half.
    ports: u32,
}

/// A conversation's initial sequence numbers, as tcpdump names them: `seq` counts what the side of the lower port
/// sends, `ack` what the other does. Both may be off by what was sent before the conversation was first seen.
#[derive(Clone, Copy, Debug, Default)]
struct Slot<A> {
    key: Key<A>,
    seq: u32,
    ack: u32,
    /// How often it may be passed over before it is forgotten, and one more; 0 if the slot is free.
    credit: u8,
}

/// A conversation of one packet goes soon.
const CREDIT_WHEN_NEW: u8 = 2;
/// One that goes on stays.
const CREDIT_WHEN_SEEN: u8 = 6;

/// The conversations of one address family.
#[derive(Debug)]
struct Table<A> {
    /// Never full: at least a third is free.
    slots: Vec<Slot<A>>,
    /// How many are not free.
    known: usize,
    /// How many may be known.
    limit: usize,
    evicted: u64,
}

/// One segment, to be looked up. All of it as it stands in the headers, in host byte order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<A> {
    pub(super) source: A,
    pub(super) destination: A,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) syn: bool,
}

/// The numbers to print for a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// What is subtracted from the edges of SACK blocks.
    pub(super) sack_base: u32,
}

const INITIAL_SLOTS: usize = 64;

/// How many conversations are passed over at most; then the next one has to go.
const MAX_PASSED_OVER: usize = 32;

impl<A: Copy + Default + Eq + Hash + Ord> Table<A> {
    fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, usize::MAX / 4);
        let slots = vec![Slot::default(); INITIAL_SLOTS.min(slots_for(limit))];
        Self { slots, known: 0, limit, evicted: 0 }
    }

    /// tcpdump's rules, for a segment with ACK set.
    #[inline]
    fn numbers(&mut self, segment: Segment<A>, hasher: &RandomState) -> Numbers {
        let Segment { source, destination, source_port, destination_port, mut seq, mut ack, syn } = segment;
        let reverse =
            source_port > destination_port || (source_port == destination_port && source > destination);
        let key = if reverse {
            let ports = u32::from(destination_port) << 16 | u32::from(source_port);
            Key { low: destination, high: source, ports }
        } else {
            let ports = u32::from(source_port) << 16 | u32::from(destination_port);
            Key { low: source, high: destination, ports }
        };
        let hash = hasher.hash_one(key);
        let mut at = self.find(key, hash);
        let known = self.slots[at].credit > 0;
        if !known {
            at = self.make_room(at, key, hash, hasher);
        }
        let conversation = &mut self.slots[at];
        conversation.credit = if known { CREDIT_WHEN_SEEN } else { CREDIT_WHEN_NEW };
        if !known || syn {
            conversation.key = key;
            let base = (seq, ack.wrapping_sub(1));
            (conversation.seq, conversation.ack) = if reverse { (base.1, base.0) } else { base };
        } else if reverse {
            (seq, ack) = (seq.wrapping_sub(conversation.ack), ack.wrapping_sub(conversation.seq));
        } else {
            (seq, ack) = (seq.wrapping_sub(conversation.seq), ack.wrapping_sub(conversation.ack));
        }
        Numbers { seq, ack, sack_base: if reverse { conversation.seq } else { conversation.ack } }
    }

    /// Where a hash belongs: the array is divided evenly among all hashes, in their order.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (u128::from(hash) * self.slots.len() as u128 >> 64) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 < self.slots.len() { at + 1 } else { 0 }
    }

    /// Where a conversation is, or the free slot where it has to be.
    #[inline]
    fn find(&self, key: Key<A>, hash: u64) -> usize {
        let mut at = self.home(hash);
        while self.slots[at].credit > 0 && self.slots[at].key != key {
            at = self.next(at);
        }
        at
    }

    /// Counts one more conversation, whose place is `at` or, if others had to move for it, what this returns.
    fn make_room(&mut self, at: usize, key: Key<A>, hash: u64, hasher: &RandomState) -> usize {
        if self.known == self.limit {
            self.evicted += 1;
            return self.replace(key, hash, hasher);
        }
        self.known += 1;
        if self.known <= self.slots.len() / 3 * 2 {
            return at;
        }
        self.grow(hasher);
        self.find(key, hash)
    }

    /// Forgets a conversation near the place of a new one, and gives that place.
    ///
    /// Near it, so that it costs no second cache miss and the array stays evenly filled. Those that are passed over
    /// lose credit, which their next packet restores (GCLOCK, Smith 1978).
    fn replace(&mut self, key: Key<A>, hash: u64, hasher: &RandomState) -> usize {
        let mut at = self.home(hash);
        let (mut passed_over, mut beyond_free) = (0, false);
        loop {
            match self.slots[at].credit {
                0 => beyond_free = true,
                2.. if passed_over < MAX_PASSED_OVER => {
                    self.slots[at].credit -= 1;
                    passed_over += 1;
                }
                _ => break,
            }
            at = self.next(at);
        }
        if !beyond_free {
            // All slots from the new one's home to here are taken, so it will be found here.
            return at;
        }
        self.remove(at, hasher);
        self.find(key, hash)
    }

    #[cold]
    fn grow(&mut self, hasher: &RandomState) {
        let length = (self.slots.len() * 2).min(slots_for(self.limit));
        let slots = std::mem::replace(&mut self.slots, vec![Slot::default(); length]);
        for slot in slots.into_iter().filter(|slot| slot.credit > 0) {
            let at = self.find(slot.key, hasher.hash_one(slot.key));
            self.slots[at] = slot;
        }
    }

    /// Frees a slot, and moves up those behind it that would not be found any more.
    fn remove(&mut self, mut free: usize, hasher: &RandomState) {
        let mut at = self.next(free);
        while self.slots[at].credit > 0 {
            let home = self.home(hasher.hash_one(self.slots[at].key));
            if self.distance(home, at) >= self.distance(free, at) {
                self.slots[free] = self.slots[at];
                free = at;
            }
            at = self.next(at);
        }
        self.slots[free] = Slot::default();
    }

    /// How far it is from one slot on to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if from <= to { to - from } else { to + self.slots.len() - from }
    }
}

/// How long an array has to be for so many conversations.
fn slots_for(limit: usize) -> usize {
    (limit / 2 + 1) * 3
}

/// The conversations that have been seen, with what their sequence numbers are relative to.
#[derive(Debug)]
pub struct Conversations {
    v4: Table<u32>,
    v6: Table<u128>,
    /// Seeded anew in each process, so that nobody can make up conversations that are all in one place.
    hasher: RandomState,
}

impl Conversations {
    pub(super) fn new(limit: usize) -> Self {
        Self { v4: Table::new(limit), v6: Table::new(limit), hasher: RandomState::default() }
    }

    /// How many conversations are known.
    pub fn len(&self) -> usize {
        self.v4.known + self.v6.known
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many had to be forgotten because there were more than the limit at once. Only after that can a line
    /// differ from tcpdump's: a forgotten conversation begins again with absolute numbers.
    pub fn evicted(&self) -> u64 {
        self.v4.evicted + self.v6.evicted
    }

    #[inline]
    pub(super) fn numbers_v4(&mut self, segment: Segment<u32>) -> Numbers {
        self.v4.numbers(segment, &self.hasher)
    }

    #[inline]
    pub(super) fn numbers_v6(&mut self, segment: Segment<u128>) -> Numbers {
        self.v6.numbers(segment, &self.hasher)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{super::testing::Random, *};

    /// tcpdump's algorithm, over a map that never forgets.
    #[derive(Default)]
    struct Model {
        /// Sequence numbers of the side of the lower port, and of the other.
        known: HashMap<Key<u32>, (u32, u32)>,
    }

    impl Model {
        fn numbers(&mut self, segment: Segment<u32>) -> Numbers {
            let Segment { source, destination, source_port, destination_port, seq, ack, syn } = segment;
            let reverse = (source_port, source) > (destination_port, destination);
            let mut ends = [(source_port, source), (destination_port, destination)];
            ends.sort_unstable();
            let [(low_port, low), (high_port, high)] = ends;
            let key = Key { low, high, ports: u32::from(low_port) << 16 | u32::from(high_port) };
            if syn || !self.known.contains_key(&key) {
                let base = if reverse { (ack.wrapping_sub(1), seq) } else { (seq, ack.wrapping_sub(1)) };
                self.known.insert(key, base);
                return Numbers { seq, ack, sack_base: if reverse { base.0 } else { base.1 } };
            }
            let (low, high) = self.known[&key];
            let (own, other) = if reverse { (high, low) } else { (low, high) };
            Numbers { seq: seq.wrapping_sub(own), ack: ack.wrapping_sub(other), sack_base: other }
        }
    }

    /// A segment between few enough ends that conversations recur, in both directions.
    fn segment(random: &mut Random, ends: u32) -> Segment<u32> {
        Segment {
            source: random.below(3),
            destination: random.below(3),
            source_port: random.below(ends) as u16,
            destination_port: random.below(ends) as u16,
            seq: random.next() as u32,
            ack: random.next() as u32,
            syn: random.below(20) == 0,
        }
    }

    #[test]
    fn below_the_limit_it_answers_as_tcpdump_does() {
        for ends in [2, 10, 100] {
            let (mut model, mut table) = (Model::default(), Conversations::new(1 << 20));
            let mut random = Random::new(ends.into());
            for _ in 0..100_000 {
                let segment = segment(&mut random, ends);
                assert_eq!(table.numbers_v4(segment), model.numbers(segment));
            }
            assert_eq!((table.len(), table.evicted()), (model.known.len(), 0));
        }
    }

    #[test]
    fn at_the_limit_one_is_forgotten_for_each_new_one() {
        for limit in [1, 2, 3, 31, 100, 1000] {
            let mut table = Conversations::new(limit);
            let mut random = Random::new(limit as u64);
            let mut model = Model::default();
            let mut first_packets = 0;
            for _ in 0..50_000 {
                let segment = segment(&mut random, 100);
                let numbers = table.numbers_v4(segment);
                let expected = model.numbers(segment);
                // A conversation is either as it was left, or it begins anew.
                let anew = Numbers { seq: segment.seq, ack: segment.ack, ..numbers };
                assert!(numbers == expected || numbers == anew);
                if numbers != expected {
                    model.numbers(Segment { syn: true, ..segment });
                }
                first_packets += u64::from(numbers == anew && !segment.syn);
                assert!(table.len() <= limit);
            }
            // Every conversation that began was either its first time, or it had been forgotten.
            assert_eq!(table.len(), limit.min(model.known.len()));
            assert!(table.evicted() + limit as u64 >= first_packets, "{limit}");
            assert!(table.evicted() >= (model.known.len() - table.len()) as u64);
        }
    }

    #[test]
    fn a_conversation_that_goes_on_outlives_a_flood() {
        let limit = 1000;
        let mut table = Conversations::new(limit);
        let steady = |seq| Segment {
            source: 1,
            destination: 2,
            source_port: 1,
            destination_port: 2,
            seq,
            ack: 1,
            syn: false,
        };
        table.numbers_v4(steady(100));
        for n in 0..100 * limit as u32 {
            table.numbers_v4(Segment { source: n, destination: 3, ..steady(7) });
            // Seen every hundred others, a tenth of what there is room for.
            if n % 100 == 0 {
                assert_eq!(table.numbers_v4(steady(101 + n)).seq, 1 + n);
            }
        }
        assert_eq!(table.evicted(), 99 * limit as u64 + 1);
    }

    #[test]
    fn both_directions_and_equal_ports() {
        let mut table = Conversations::new(10);
        let there = Segment {
            source: 9,
            destination: 5,
            source_port: 80,
            destination_port: 80,
            seq: 1000,
            ack: 5000,
            syn: false,
        };
        assert_eq!(table.numbers_v4(there), Numbers { seq: 1000, ack: 5000, sack_base: 4999 });
        let back = Segment { source: 5, destination: 9, seq: 5000, ack: 1001, ..there };
        assert_eq!(table.numbers_v4(back), Numbers { seq: 1, ack: 1, sack_base: 1000 });
        // Older than the first segment seen.
        let older = Segment { seq: 900, ack: 4999, ..there };
        assert_eq!(table.numbers_v4(older), Numbers { seq: 0u32.wrapping_sub(100), ack: 0, sack_base: 4999 });
        // The other family's conversation of the same numbers is another one.
        let v6 = Segment {
            source: 9_u128,
            destination: 5,
            source_port: 80,
            destination_port: 80,
            seq: 1,
            ack: 1,
            syn: false,
        };
        assert_eq!(table.numbers_v6(v6).seq, 1);
        assert_eq!(table.len(), 2);
    }
}
