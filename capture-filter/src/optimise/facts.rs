//! What is known about values where a test begins: of each value, or of some of its bits, in which ranges it lies.
//!
//! Facts are what has been tested on every way that leads there. They may say less than what is true, never more.

use alloc::vec::Vec;

/// Ranges that a set has at most. With more, neighbours are joined: the set then says less.
const MAX_RANGES: usize = 6;
/// Values that are known at once, at most. The oldest facts are forgotten first.
const MAX_FACTS: usize = 16;

/// What a test asks of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    Equal(u32),
    Greater(u32),
}

impl Condition {
    pub(super) const fn holds(self, value: u32) -> bool {
        match self {
            Self::Equal(other) => value == other,
            Self::Greater(other) => value > other,
        }
    }
}

/// A number for each value that programs test, without its mask.
pub(super) type Subject = u32;

/// A set of numbers, as ranges with both ends included, in ascending order, with gaps between them.
#[derive(Clone, Copy, Debug)]
struct Set {
    ranges: [(u32, u32); MAX_RANGES],
    length: usize,
}

impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Set {
    fn up_to(maximum: u32) -> Self {
        Self::from_sorted([(0, maximum)].into_iter())
    }

    /// From ranges that are sorted by their lower ends.
    fn from_sorted(ranges: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut set = Self { ranges: [(0, 0); MAX_RANGES], length: 0 };
        for (low, high) in ranges {
            let length = set.length;
            match set.ranges.get_mut(..length).and_then(<[_]>::last_mut) {
                Some((_, last)) if low <= last.saturating_add(1) => *last = high.max(*last),
                Some((_, last)) if length == MAX_RANGES => *last = high,
                _ => {
                    if let Some(place) = set.ranges.get_mut(set.length) {
                        *place = (low, high);
                        set.length += 1;
                    }
                }
            }
        }
        set
    }

    fn as_slice(&self) -> &[(u32, u32)] {
        self.ranges.get(..self.length).unwrap_or_default()
    }

    fn only(&self) -> Option<u32> {
        match self.as_slice() {
            [(low, high)] if low == high => Some(*low),
            _ => None,
        }
    }

    fn contains(&self, value: u32) -> bool {
        self.as_slice().iter().any(|&(low, high)| low <= value && value <= high)
    }

    /// Whether the condition holds for all members, or for none.
    fn decides(&self, condition: Condition) -> Option<bool> {
        let (lowest, highest) = (self.as_slice().first()?.0, self.as_slice().last()?.1);
        match condition {
            Condition::Equal(value) if !self.contains(value) => Some(false),
            Condition::Equal(value) => (lowest == value && highest == value).then_some(true),
            Condition::Greater(value) if lowest > value => Some(true),
            Condition::Greater(value) => (highest <= value).then_some(false),
        }
    }

    /// The members for which the condition gives this answer.
    fn with(&self, condition: Condition, answer: bool) -> Self {
        let ranges = self.as_slice().iter().copied();
        match (condition, answer) {
            (Condition::Equal(value), true) => Self::from_sorted([(value, value)].into_iter()),
            (Condition::Equal(value), false) => Self::from_sorted(ranges.flat_map(|(low, high)| {
                if low <= value && value <= high {
                    let below = value.checked_sub(1).map(|last| (low, last));
                    let above = value.checked_add(1).map(|first| (first, high));
                    [below, above].map(|range| range.filter(|(low, high)| low <= high))
                } else {
                    [Some((low, high)), None]
                }
                .into_iter()
                .flatten()
            })),
            (Condition::Greater(value), true) => Self::from_sorted(
                ranges
                    .filter(|&(_, high)| high > value)
                    .map(|(low, high)| (low.max(value.saturating_add(1)), high)),
            ),
            (Condition::Greater(value), false) => Self::from_sorted(
                ranges.filter(|&(low, _)| low <= value).map(|(low, high)| (low, high.min(value))),
            ),
        }
    }

    fn union(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.as_slice().iter().peekable(), other.as_slice().iter().peekable());
        Self::from_sorted(core::iter::from_fn(|| match (left.peek(), right.peek()) {
            (Some(one), Some(two)) if one <= two => left.next().copied(),
            (_, Some(_)) => right.next().copied(),
            (_, None) => left.next().copied(),
        }))
    }
}

/// That the bits of a value that a mask keeps form a number of a set.
#[derive(Clone, Copy, Debug)]
struct Fact {
    subject: Subject,
    mask: u32,
    set: Set,
}

impl Fact {
    /// What it says about a condition on bits of the same value.
    fn decides(&self, mask: u32, condition: Condition) -> Option<bool> {
        if mask == self.mask {
            return self.set.decides(condition);
        }
        if mask & !self.mask == 0 {
            // The condition is about fewer bits than are known.
            if let Some(value) = self.set.only() {
                return Some(condition.holds(value & mask));
            }
            // Clearing low bits keeps the order.
            let (cleared, lowest_kept) = (self.mask ^ mask, mask & mask.wrapping_neg());
            if cleared < lowest_kept {
                let ranges = self.set.as_slice().iter().map(|(low, high)| (low & mask, high & mask));
                return Set::from_sorted(ranges).decides(condition);
            }
        } else if self.mask & !mask == 0
            && let Condition::Equal(value) = condition
            && !self.set.contains(value & self.mask)
        {
            return Some(false);
        }
        None
    }
}

/// What is known at one place of the program.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The newest ones last.
    facts: Vec<Fact>,
}

impl Facts {
    /// Whether a condition on the masked bits of a value is known to hold, or not to hold.
    pub(super) fn decide(&self, subject: Subject, mask: u32, condition: Condition) -> Option<bool> {
        let of_subject = self.facts.iter().filter(|fact| fact.subject == subject);
        of_subject.filter_map(|fact| fact.decides(mask, condition)).next()
    }

    /// These, and that a condition has been answered.
    pub(super) fn with(&self, subject: Subject, mask: u32, condition: Condition, answer: bool) -> Self {
        let mut facts = Vec::with_capacity(self.facts.len() + 1);
        let mut set = Set::up_to(mask);
        for fact in &self.facts {
            if fact.subject == subject && fact.mask == mask {
                set = fact.set;
            } else {
                facts.push(*fact);
            }
        }
        facts.push(Fact { subject, mask, set: set.with(condition, answer) });
        if facts.len() > MAX_FACTS {
            facts.remove(0);
        }
        Self { facts }
    }

    /// What is known on either of two ways.
    pub(super) fn meet(&mut self, other: &Self) {
        self.facts.retain_mut(|fact| {
            let mut same =
                other.facts.iter().filter(|other| other.subject == fact.subject && other.mask == fact.mask);
            let Some(other) = same.next() else { return false };
            fact.set = fact.set.union(&other.set);
            fact.set != Set::up_to(fact.mask)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u32 = u32::MAX;

    #[test]
    fn a_set_knows_what_it_holds() {
        let byte = Set::up_to(255);
        let not_six = byte.with(Condition::Equal(6), false);
        assert_eq!(not_six.as_slice(), [(0, 5), (7, 255)]);
        assert_eq!(not_six.decides(Condition::Equal(6)), Some(false));
        assert_eq!(not_six.decides(Condition::Equal(7)), None);
        assert_eq!(not_six.with(Condition::Greater(5), true).as_slice(), [(7, 255)]);
        assert_eq!(not_six.with(Condition::Greater(6), false).as_slice(), [(0, 5)]);
        assert_eq!(byte.with(Condition::Equal(6), true).decides(Condition::Greater(5)), Some(true));
        assert_eq!(byte.with(Condition::Equal(0), false).as_slice(), [(1, 255)]);
        assert_eq!(Set::up_to(ALL).with(Condition::Equal(ALL), false).as_slice(), [(0, ALL - 1)]);
        assert_eq!(not_six.union(&byte.with(Condition::Equal(6), true)), byte);
        // Too many ranges: the set grows, and never shrinks.
        let many =
            (0..20).fold(Set::up_to(ALL), |set, number| set.with(Condition::Equal(number * 10), false));
        assert_eq!(many.decides(Condition::Equal(0)), Some(false));
        assert!((0..200).filter(|number| number % 10 != 0).all(|number| many.contains(number)));
    }

    #[test]
    fn facts_about_some_bits_decide_about_others() {
        let facts = Facts::default().with(1, 0xff, Condition::Equal(0x12), true);
        assert_eq!(facts.decide(1, 0xff, Condition::Equal(0x12)), Some(true));
        assert_eq!(facts.decide(1, 0x02, Condition::Equal(0)), Some(false));
        assert_eq!(facts.decide(1, 0xf0, Condition::Greater(0x0f)), Some(true));
        assert_eq!(facts.decide(2, 0xff, Condition::Equal(0x12)), None);
        let facts = Facts::default().with(1, 0x02, Condition::Equal(0), true);
        assert_eq!(facts.decide(1, 0xff, Condition::Equal(0x12)), Some(false));
        assert_eq!(facts.decide(1, 0xff, Condition::Equal(0x10)), None);
        // 10.0.0.0/8 in the full address: not in 11.0.0.0/8.
        let facts = Facts::default().with(1, ALL, Condition::Greater(0x09ff_ffff), true).with(
            1,
            ALL,
            Condition::Greater(0x0aff_ffff),
            false,
        );
        assert_eq!(facts.decide(1, 0xff00_0000, Condition::Equal(0x0b00_0000)), Some(false));
        assert_eq!(facts.decide(1, 0xff00_0000, Condition::Equal(0x0a00_0000)), Some(true));
        assert_eq!(facts.decide(1, 0x00ff_0000, Condition::Equal(0)), None);
    }

    #[test]
    fn what_two_ways_know() {
        let mut facts =
            Facts::default().with(1, 0xff, Condition::Equal(6), true).with(2, 1, Condition::Equal(1), true);
        facts.meet(&Facts::default().with(1, 0xff, Condition::Equal(17), true));
        assert_eq!(facts.decide(1, 0xff, Condition::Equal(1)), Some(false));
        assert_eq!(facts.decide(1, 0xff, Condition::Equal(6)), None);
        assert_eq!(facts.decide(2, 1, Condition::Equal(1)), None);
    }
}
