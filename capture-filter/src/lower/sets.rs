//! Whether a value is one of several, or which: as a decision tree, so that a thousand values cost ten comparisons.

use alloc::{collections::BTreeMap, vec::Vec};

use super::builder::{Builder, Edge, Fragment, join};
use crate::program::{Next, Relation, Value};

/// As many alternatives are compared one after the other: a tree would not be shorter.
const FEW: usize = 3;

/// Sorts ranges (both ends included) and joins those that touch.
pub(super) fn normalise(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match joined.last_mut() {
            Some((_, last)) if low <= last.saturating_add(1) => *last = (*last).max(high),
            _ => joined.push((low, high)),
        }
    }
    joined
}

/// Whether the value lies in one of `ranges`, which are normalised and not empty. `value` gives those of its bits that a mask
/// keeps; `maximum` is its highest value, a power of two less one.
pub(super) fn in_ranges(
    builder: &mut Builder,
    value: &impl Fn(u32) -> Value,
    maximum: u32,
    ranges: &[(u32, u32)],
) -> Fragment {
    if ranges.len() > FEW {
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        let pivot = upper.first().map_or(0, |(low, _)| *low);
        let question = builder.test(value(maximum), Relation::GreaterOrEqual, Value::Constant(pivot));
        let upper = in_ranges(builder, value, maximum, upper);
        let lower = in_ranges(builder, value, maximum, lower);
        return builder.choose(question, upper, lower);
    }
    let mut answer = None;
    for &range in ranges {
        let next = in_range(builder, value, maximum, range);
        answer = Some(match answer {
            None => next,
            Some(answer) => builder.or(answer, next),
        });
    }
    match answer {
        Some(answer) => answer,
        None => builder.constant(false),
    }
}

fn in_range(
    builder: &mut Builder,
    value: &impl Fn(u32) -> Value,
    maximum: u32,
    (low, high): (u32, u32),
) -> Fragment {
    let differing = low ^ high;
    let constant = Value::Constant;
    if low == 0 && high >= maximum {
        builder.constant(true)
    } else if low == high {
        builder.equal(value(maximum), low)
    } else if low & differing == 0
        && high & differing == differing
        && differing & differing.wrapping_add(1) == 0
    {
        // The range is all that begins with the same bits.
        builder.equal(value(maximum & !differing), low)
    } else if low == 0 {
        builder.test(value(maximum), Relation::Greater, constant(high)).not()
    } else if high >= maximum {
        builder.test(value(maximum), Relation::GreaterOrEqual, constant(low))
    } else {
        let above = builder.test(value(maximum), Relation::GreaterOrEqual, constant(low));
        let below = builder.test(value(maximum), Relation::Greater, constant(high)).not();
        builder.and(above, below)
    }
}

/// What a key of several words is compared with. `packet & mask == value`, word by word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The masks.
    pub(super) masks: [u32; 4],
    /// The values; bits outside of the mask are 0.
    pub(super) values: [u32; 4],
}

impl Key {
    /// A key of one word.
    pub(super) const fn word(value: u32, mask: u32) -> Self {
        Self { masks: [mask, 0, 0, 0], values: [value & mask, 0, 0, 0] }
    }

    fn value(&self, index: usize) -> u32 {
        self.values.get(index).copied().unwrap_or_default()
    }
}

/// Gives the masked bits of word number so-and-so of what is compared with keys.
pub(super) type Word<'w> = dyn Fn(usize, u32) -> Value + 'w;

/// Whether one of `keys` matches.
pub(super) fn matches_key(builder: &mut Builder, word: &Word<'_>, keys: &[Key]) -> Fragment {
    let mut keys: Vec<_> = keys.iter().map(|&key| (key, 0)).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut answer = None;
    for keys in keys.chunk_by_mut(|(left, _), (right, _)| left.masks == right.masks) {
        let Decision { entry, mut matched, otherwise } = Decision::new(builder, word, keys);
        let next = Fragment { entry, yes: matched.remove(&0).unwrap_or_default(), no: otherwise };
        answer = Some(match answer {
            None => next,
            Some(answer) => builder.or(answer, next),
        });
    }
    match answer {
        Some(answer) => answer,
        None => builder.constant(false),
    }
}

/// Which of several keys matches: tests, and their ways out.
pub(super) struct Decision {
    /// The index of the first test.
    pub(super) entry: u32,
    /// For the number that stands next to a key, the ways out if that key matches.
    pub(super) matched: BTreeMap<usize, Vec<Edge>>,
    /// The ways out if none does.
    pub(super) otherwise: Vec<Edge>,
}

impl Decision {
    /// Makes the tests. All keys have the same masks; no two of them are the same; there is at least one.
    ///
    /// The word that tells the fewest of them apart is compared first: what all have in common is asked once, and what
    /// differs is a decision tree.
    pub(super) fn new(builder: &mut Builder, word: &Word<'_>, keys: &mut [(Key, usize)]) -> Self {
        let masks = keys.first().map(|(key, _)| key.masks).unwrap_or_default();
        let words: Vec<usize> = (0..masks.len()).filter(|&index| masks.get(index) != Some(&0)).collect();
        let mut maker = DecisionMaker { builder, word, masks, matched: BTreeMap::new() };
        let (entry, otherwise) = if words.is_empty() {
            let always = maker.builder.constant(true);
            maker.matched(keys, always.yes);
            (always.entry, always.no)
        } else {
            maker.by_words(&words, keys)
        };
        Self { entry, matched: maker.matched, otherwise }
    }
}

struct DecisionMaker<'m> {
    builder: &'m mut Builder,
    word: &'m Word<'m>,
    masks: [u32; 4],
    matched: BTreeMap<usize, Vec<Edge>>,
}

impl DecisionMaker<'_> {
    /// Compares words. Where that begins, and the ways out if no key matches.
    fn by_words(&mut self, words: &[usize], keys: &mut [(Key, usize)]) -> (u32, Vec<Edge>) {
        let count = |index: usize, keys: &mut [(Key, usize)]| {
            keys.sort_unstable_by_key(|(key, _)| key.value(index));
            keys.chunk_by(|(left, _), (right, _)| left.value(index) == right.value(index)).count()
        };
        let first = match words {
            [only] => *only,
            _ => words.iter().copied().min_by_key(|&index| count(index, keys)).unwrap_or_default(),
        };
        let later: Vec<usize> = words.iter().copied().filter(|&index| index != first).collect();
        keys.sort_unstable_by_key(|(key, _)| key.value(first));
        let mut groups: Vec<_> =
            keys.chunk_by_mut(|(left, _), (right, _)| left.value(first) == right.value(first)).collect();
        self.by_values(first, &later, &mut groups)
    }

    fn by_values(
        &mut self,
        index: usize,
        later: &[usize],
        groups: &mut [&mut [(Key, usize)]],
    ) -> (u32, Vec<Edge>) {
        let value = |keys: &[(Key, usize)]| keys.first().map_or(0, |(key, _)| key.value(index));
        let masked = (self.word)(index, self.masks.get(index).copied().unwrap_or_default());
        if groups.len() > FEW {
            let (lower, upper) = groups.split_at_mut(groups.len() / 2);
            let pivot = upper.first().map_or(0, |keys| value(keys));
            let question = self.builder.test(masked, Relation::GreaterOrEqual, Value::Constant(pivot));
            let (upper, upper_no) = self.by_values(index, later, upper);
            let (lower, lower_no) = self.by_values(index, later, lower);
            self.builder.lead(&question.yes, Next::Test(upper));
            self.builder.lead(&question.no, Next::Test(lower));
            return (question.entry, join(upper_no, lower_no));
        }
        let mut answer: Option<(u32, Vec<Edge>)> = None;
        for keys in groups {
            let is_value = self.builder.equal(masked.clone(), value(keys));
            let mut otherwise = is_value.no;
            if later.is_empty() {
                self.matched(keys, is_value.yes);
            } else {
                let (rest, no) = self.by_words(later, keys);
                self.builder.lead(&is_value.yes, Next::Test(rest));
                otherwise = join(otherwise, no);
            }
            answer = Some(match answer {
                None => (is_value.entry, otherwise),
                Some((entry, no)) => {
                    self.builder.lead(&no, Next::Test(is_value.entry));
                    (entry, otherwise)
                }
            });
        }
        answer.unwrap_or_default()
    }

    /// These ways out lead to what the one key that is left stands for.
    fn matched(&mut self, keys: &[(Key, usize)], ways: Vec<Edge>) {
        let number = keys.first().map_or(0, |(_, number)| *number);
        let before = self.matched.remove(&number).unwrap_or_default();
        self.matched.insert(number, join(before, ways));
    }
}
