//! A hash table that never has more than so many entries. When it is full, a new entry takes the place of one that has
//! not been used lately.
//!
//! A table is a list in the order in which places were taken, and an index over it. The list is written from front to
//! back, round and round, so that a flood of new entries costs few cache misses. A map that holds the entries
//! themselves would cost one for each, and could not say which came first.
//!
//! The table hashes nothing: the caller brings the hash of what is looked for, and how to hash an entry.
//!
//! The crate is `no_std`, so that it has no I/O and no clock.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod index;

use alloc::vec::Vec;
use core::{mem, ops};

use self::index::Index;

const USED_BITS: usize = u64::BITS as usize;

/// How many entries there is room for at first.
const LEAST: usize = 64;

/// A bounded table of entries of type `T`.
#[derive(Debug)]
pub struct BoundedTable<T> {
    /// Where in the list an entry is.
    index: Index,
    list: Vec<T>,
    /// Whether an entry has been marked as used since it came, or since it was last passed over: a bit for each place
    /// of the list.
    used: Vec<u64>,
    /// How long the list may get.
    limit: usize,
    /// Which has to go next, if it has not been used lately (CLOCK, Corbató 1968).
    hand: usize,
    evicted: u64,
}

impl<T> BoundedTable<T> {
    /// An empty table for up to `limit` entries, and for at least one.
    pub fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, Index::MOST);
        Self { index: Index::new(limit), list: Vec::new(), used: Vec::new(), limit, hand: 0, evicted: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many entries there may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many entries had to make room for others.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// How many bytes the table has allocated.
    pub fn allocated(&self) -> usize {
        self.index.allocated()
            + self.list.capacity() * size_of::<T>()
            + self.used.capacity() * size_of::<u64>()
    }

    /// The place of the entry that `is_it`, among those of this `hash`. It keeps its place until it is evicted.
    #[inline(always)]
    pub fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<usize> {
        self.index.find(hash, |place| is_it(&self.list[place]))
    }

    /// The entry at a place from 0 to [`len`](Self::len), exclusive.
    #[inline(always)]
    pub fn get(&self, place: usize) -> Option<&T> {
        self.list.get(place)
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.list.get_mut(place)
    }

    /// In the order in which they came, as long as none was evicted.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.list.iter_mut()
    }

    /// The entry at `place` is in use: it is passed over once when room is needed.
    #[inline(always)]
    pub fn mark(&mut self, place: usize) {
        self.used[place / USED_BITS] |= 1 << (place % USED_BITS);
    }

    /// The entry at `place` may go when room is needed.
    #[inline(always)]
    pub fn unmark(&mut self, place: usize) {
        self.used[place / USED_BITS] &= !(1 << (place % USED_BITS));
    }

    /// Adds an entry that is not in the table, unmarked. Returns its place, and the entry that had it before, if one
    /// had to go. `hash` is that of the entry, and `hash_of` gives any entry's.
    #[inline(always)]
    pub fn insert(&mut self, entry: T, hash: u64, hash_of: impl Fn(&T) -> u64) -> (usize, Option<T>) {
        let (at, evicted) = if self.list.len() < self.limit {
            if self.list.len() == self.list.capacity() {
                self.grow_list();
            }
            self.list.push(entry);
            (self.list.len() - 1, None)
        } else {
            let at = self.evict(&hash_of);
            (at, Some(mem::replace(&mut self.list[at], entry)))
        };
        if self.index.has_room() {
            self.index.insert(hash, at);
        } else {
            self.rebuild_index(hash_of);
        }
        (at, evicted)
    }

    /// Makes room for many times as many entries: what is not in use yet costs addresses, and no memory.
    #[cold]
    fn grow_list(&mut self) {
        const GROWTH: usize = 32;

        let capacity = self.list.len().saturating_mul(GROWTH).clamp(LEAST, self.limit.max(LEAST));
        self.list.reserve_exact(capacity - self.list.len());
    }

    /// Makes the index from the list, with room for many times as many, when it is full: of entries, or of the marks
    /// that removed ones leave. Read in its order, the list is read from front to back; an index that grows by itself
    /// would jump back and forth in it, and grow for the marks, too.
    #[cold]
    fn rebuild_index(&mut self, hash_of: impl Fn(&T) -> u64) {
        // From so many entries on, the next index is the last of a million, so that it is filled once.
        const MANY: usize = 1 << 14;

        // There is always room for some marks, so that this does not happen for each entry that is evicted.
        let most = self.limit.saturating_add(self.limit / 8).max(LEAST);
        let growth = if self.list.len() < MANY { 8 } else { 64 };
        let capacity = self.list.len().saturating_mul(growth).clamp(LEAST, most);
        self.index.clear(capacity);
        for (at, entry) in self.list.iter().enumerate() {
            self.index.insert(hash_of(entry), at);
        }
        // The index may have more room than was asked for.
        self.used.resize(self.index.capacity().min(self.limit).div_ceil(USED_BITS), 0);
    }

    /// Whether it was marked; it is not any more.
    fn take_mark(&mut self, at: usize) -> bool {
        let (bits, bit) = (&mut self.used[at / USED_BITS], 1 << (at % USED_BITS));
        let used = *bits & bit != 0;
        *bits &= !bit;
        used
    }

    /// Takes the first entry from the hand on that has not been marked since the hand last came by out of the index.
    #[inline(never)]
    fn evict(&mut self, hash_of: impl Fn(&T) -> u64) -> usize {
        loop {
            let at = self.hand;
            self.hand = if at + 1 < self.list.len() { at + 1 } else { 0 };
            if !self.take_mark(at) {
                let hash = hash_of(&self.list[at]);
                self.index.remove(hash, at);
                self.evicted += 1;
                return at;
            }
        }
    }
}

/// By place.
impl<T> ops::Index<usize> for BoundedTable<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, place: usize) -> &T {
        &self.list[place]
    }
}

/// By place.
impl<T> ops::IndexMut<usize> for BoundedTable<T> {
    #[inline(always)]
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.list[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash that spreads what is counted up.
    fn hash_of(entry: &u64) -> u64 {
        entry.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn add(table: &mut BoundedTable<u64>, entry: u64) -> (usize, Option<u64>) {
        table.insert(entry, hash_of(&entry), hash_of)
    }

    fn has(table: &BoundedTable<u64>, entry: u64) -> bool {
        let place = table.find(hash_of(&entry), |found| *found == entry);
        place.is_some_and(|place| table[place] == entry)
    }

    #[test]
    fn a_full_table_evicts_one_for_each_that_comes() {
        for limit in [1, 2, 10, 100, 896, 1000] {
            let mut table = BoundedTable::new(limit);
            for entry in 0..100 * limit as u64 {
                let (place, evicted) = add(&mut table, entry);
                assert_eq!(table[place], entry);
                // None is marked, so that they go in the order in which they came.
                assert_eq!(evicted, entry.checked_sub(limit as u64));
            }
            assert_eq!((table.len(), table.limit()), (limit, limit));
            assert_eq!(table.evicted(), 99 * limit as u64);
            // All that are there are found, and no other.
            let found = (0..100 * limit as u64).filter(|entry| has(&table, *entry));
            assert!(found.eq(99 * limit as u64..100 * limit as u64));
        }
    }

    /// To look at an entry is to wait for memory.
    #[test]
    fn what_is_not_there_is_compared_with_hardly_an_entry() {
        let mut table = BoundedTable::new(1 << 12);
        for entry in 0..1 << 12 {
            add(&mut table, entry);
        }
        let compared = core::cell::Cell::new(0);
        for entry in 1 << 12..1 << 13 {
            let found = table.find(hash_of(&entry), |other| {
                compared.set(compared.get() + 1);
                *other == entry
            });
            assert_eq!(found, None);
        }
        assert!(compared.get() < 10, "{}", compared.get());
    }

    #[test]
    fn the_index_does_not_grow_for_what_is_evicted() {
        for limit in [1, 10, 100, 896, 1000] {
            let mut table = BoundedTable::new(limit);
            let mut flood = |from: usize, to: usize| {
                for entry in from..to {
                    add(&mut table, entry as u64);
                }
                table.allocated()
            };
            let full = flood(0, limit);
            assert_eq!(flood(limit, 100 * limit), full);
            // Less than three slots for each.
            assert!(table.index.allocated() <= limit.max(LEAST) * 3 * size_of::<u32>(), "{limit}");
        }
    }

    #[test]
    fn a_marked_entry_is_passed_over_once() {
        let mut table = BoundedTable::new(3);
        let places = [0, 1, 2].map(|entry| add(&mut table, entry).0);
        table.mark(places[0]);
        table.mark(places[1]);
        table.unmark(places[1]);
        assert_eq!(add(&mut table, 3), (places[1], Some(1)));
        assert_eq!(add(&mut table, 4), (places[2], Some(2)));
        assert_eq!(add(&mut table, 5), (places[0], Some(0)));
    }

    #[test]
    fn when_all_are_marked_one_goes_all_the_same() {
        let mut table = BoundedTable::new(3);
        for entry in 0..3 {
            let (place, _) = add(&mut table, entry);
            table.mark(place);
        }
        assert_eq!(add(&mut table, 3), (0, Some(0)));
        assert!(table.iter_mut().map(|entry| *entry).eq([3, 1, 2]));
    }
}
