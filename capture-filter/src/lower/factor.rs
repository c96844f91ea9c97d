//! Alternatives that begin with a key become a switch: of `(host A and port B) or (host C and port D) or ..` a packet's host
//! says which port is asked for, so that a thousand pairs cost some twenty comparisons.
//!
//! Alternatives move up to the first one of their kind, but only past others that begin with a key. That can change the
//! verdict only of packets that are cut off inside of a header: which of two that match is asked first decides whether a load
//! fails.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

use super::{
    groups::{Arm, Node, Operator, Question, Tree},
    sets::Key,
};
use crate::expression::{Direction, Primitive, Transports};

/// So many alternatives stay what they are.
const FEW: usize = 3;
/// How many chains of `or` within each other are looked at, at most: what follows a key is made twice, for the source and for
/// the destination.
const MAX_DEPTH: usize = 4;

/// Alternatives whose first operands are of one kind.
struct Kind {
    /// The first operand of the first of them: a node.
    first: usize,
    /// For each set of keys, where in the chain the alternatives stand that begin with it.
    places: BTreeMap<Vec<Key>, Vec<usize>>,
}

impl<'e> Tree<'e> {
    /// Takes common parts out of the operands of a chain of `or`, which stands in so many others.
    pub(super) fn factor(&mut self, operands: Vec<usize>, depth: usize) -> Vec<usize> {
        if operands.len() <= FEW || depth >= MAX_DEPTH {
            return operands;
        }
        let mut operands: Vec<Option<usize>> = operands.into_iter().map(Some).collect();
        let mut kinds: Vec<Kind> = Vec::new();
        for place in 0..operands.len() {
            let Some(node) = operands.get(place).copied().flatten() else { continue };
            let first = match self.nodes.get(node) {
                Some((Node::Chain(Operator::And, parts), _)) if self.can_move(node) => parts.first().copied(),
                _ => None,
            };
            let (Some(first), Some(question)) = (first, first.and_then(|first| self.question(first))) else {
                self.take_out(core::mem::take(&mut kinds), &mut operands, depth);
                continue;
            };
            let keys = question.keys().unwrap_or_default();
            let mut known = kinds.iter_mut();
            let same = known.find(|kind| self.question(kind.first).is_some_and(|one| one.is_like(question)));
            match same {
                Some(kind) => kind.places.entry(keys).or_default().push(place),
                None => kinds.push(Kind { first, places: BTreeMap::from([(keys, vec![place])]) }),
            }
        }
        self.take_out(kinds, &mut operands, depth);
        operands.into_iter().flatten().collect()
    }

    /// Replaces alternatives of each kind by one, at the place of the first.
    fn take_out(&mut self, kinds: Vec<Kind>, operands: &mut [Option<usize>], depth: usize) {
        for kind in kinds {
            // A packet's key is to say which alternatives are left, so no two sets share a key.
            let mut owned: BTreeSet<Key> = BTreeSet::new();
            let mut sets: Vec<(Vec<Key>, Vec<usize>)> = kind.places.into_iter().collect();
            sets.retain(|(keys, _)| {
                let is_free = !keys.iter().any(|key| owned.contains(key));
                owned.extend(keys.iter().filter(|_| is_free).copied());
                is_free
            });
            let all = || sets.iter().flat_map(|(_, places)| places).copied();
            if all().count() <= FEW {
                continue;
            }
            let Some(place) = all().min() else { continue };
            if sets.len() <= FEW {
                for (_, places) in sets {
                    self.join(&places, operands);
                }
                continue;
            }
            let mut transports = all().map(|place| self.transports(operands.get(place).copied().flatten()));
            let common =
                transports.next().flatten().filter(|first| transports.all(|one| one == Some(*first)));
            let subject = self.question(kind.first).and_then(Question::without_keys);
            let Some(subject) = subject else { continue };
            let mut arms = Vec::with_capacity(sets.len());
            for (keys, places) in sets {
                let Some((_, rest)) = self.split(&places, operands) else { continue };
                arms.push(Arm { keys, rest: self.items(rest, depth + 1) });
            }
            let switch = Question::Switch { subject: Box::new(subject), arms };
            let mut node = self.add(Node::Question(switch));
            if let Some(transports) = common {
                // Each asks for a port: that there are ports is asked once.
                let ranges = vec![(0, u16::MAX)];
                let ports = Question::Ports { transports, direction: Direction::Either, ranges };
                let ports = self.add(Node::Question(ports));
                node = self.add(Node::Chain(Operator::And, vec![ports, node]));
            }
            if let Some(operand) = operands.get_mut(place) {
                *operand = Some(node);
            }
        }
    }

    /// Makes one alternative of several whose first operands are the same.
    fn join(&mut self, places: &[usize], operands: &mut [Option<usize>]) {
        if places.len() > 1
            && let Some((first, rest)) = self.split(places, operands)
            && let Some(operand) = places.first().and_then(|&place| operands.get_mut(place))
        {
            *operand = Some(self.add(Node::Chain(Operator::And, vec![first, rest])));
        }
    }

    /// Takes alternatives out of the chain. The first operand of the first of them, and one node for what follows in all.
    fn split(&mut self, places: &[usize], operands: &mut [Option<usize>]) -> Option<(usize, usize)> {
        let mut first = None;
        let mut rests = Vec::with_capacity(places.len());
        for &place in places {
            let node = operands.get_mut(place)?.take()?;
            let mut parts = self.operands(Operator::And, node).into_iter();
            let own = parts.next();
            first = first.or(own);
            rests.push(self.chain(Operator::And, parts.collect()));
        }
        Some((first?, self.chain(Operator::Or, rests)))
    }

    fn chain(&mut self, operator: Operator, operands: Vec<usize>) -> usize {
        match *operands {
            [only] => only,
            _ => self.add(Node::Chain(operator, operands)),
        }
    }

    /// A node that stands for no text: nothing in it can be refused.
    fn add(&mut self, node: Node<'e>) -> usize {
        self.nodes.push((node, 0..0));
        self.nodes.len() - 1
    }

    /// Whether an alternative consists of questions that can be asked of frames of every kind, and that others may move past.
    fn can_move(&self, node: usize) -> bool {
        let mut work = vec![node];
        while let Some(node) = work.pop() {
            match self.nodes.get(node) {
                Some((Node::Question(question), _)) if !question.can_follow() => return false,
                Some((Node::Not(operand), _)) => work.push(*operand),
                Some((Node::Chain(_, operands), _)) => work.extend(operands),
                Some((Node::Question(_), _)) | None => {}
            }
        }
        true
    }

    fn question(&self, node: usize) -> Option<&Question<'e>> {
        match self.nodes.get(node) {
            Some((Node::Question(question), _)) => Some(question),
            _ => None,
        }
    }

    /// The protocols of whose ports one is asked for in each packet that an alternative selects.
    fn transports(&self, alternative: Option<usize>) -> Option<Transports> {
        let Some((Node::Chain(Operator::And, parts), _)) = self.nodes.get(alternative?) else { return None };
        parts.iter().find_map(|&part| match self.question(part)? {
            Question::Ports { transports, .. } => Some(*transports),
            _ => None,
        })
    }
}

impl<'e> Question<'e> {
    /// The keys of which a packet has to have one, if there is one place or the other to look for them.
    fn keys(&self) -> Option<Vec<Key>> {
        let (direction, mut keys): (_, Vec<Key>) = match self {
            Self::Ipv4 { direction, networks, .. } => {
                (direction, networks.iter().map(|&(address, mask)| Key::word(address, mask)).collect())
            }
            Self::Ipv6 { direction, networks } => {
                (direction, networks.iter().copied().map(Key::from).collect())
            }
            Self::Ports { direction, ranges, .. } => {
                let single = ranges.iter().filter(|(low, high)| low == high);
                let keys: Vec<_> = single.map(|&(port, _)| Key::word(port.into(), 0xffff)).collect();
                (direction, if keys.len() == ranges.len() { keys } else { Vec::new() })
            }
            _ => return None,
        };
        keys.sort_unstable();
        keys.dedup();
        (*direction != Direction::Both && !keys.is_empty()).then_some(keys)
    }

    /// Whether both ask for keys at the same place, or are the same.
    fn is_like(&self, other: &Self) -> bool {
        let is_kind = match (self, other) {
            (Self::Ipv4 { scope, direction, .. }, Self::Ipv4 { scope: other, direction: way, .. }) => {
                (scope, direction) == (other, way)
            }
            (Self::Ipv6 { direction, .. }, Self::Ipv6 { direction: way, .. }) => direction == way,
            (
                Self::Ports { transports, direction, .. },
                Self::Ports { transports: other, direction: way, .. },
            ) => (transports, direction) == (other, way),
            _ => false,
        };
        is_kind && self.keys().is_some() && other.keys().is_some() || self == other
    }

    /// Whether it can be asked of frames of every kind, and has no effect on what follows.
    fn can_follow(&self) -> bool {
        match self {
            Self::Ether { .. } => false,
            Self::Other(primitive) => matches!(primitive, Primitive::EtherType(_)),
            _ => true,
        }
    }

    /// The same question, about nothing.
    fn without_keys(&self) -> Option<Self> {
        Some(match *self {
            Self::Ipv4 { scope, direction, .. } => Self::Ipv4 { scope, direction, networks: Vec::new() },
            Self::Ipv6 { direction, .. } => Self::Ipv6 { direction, networks: Vec::new() },
            Self::Ports { transports, direction, .. } => {
                Self::Ports { transports, direction, ranges: Vec::new() }
            }
            _ => return None,
        })
    }
}
