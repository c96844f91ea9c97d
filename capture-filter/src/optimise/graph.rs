//! The program in the optimiser's form: each test is one of two conditions on masked bits of a numbered value.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use super::facts::{Condition, Subject};
use crate::program::{Field, Metadata, Next, Program, Relation, Test, Value};

/// A test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// What it asks about, without the mask.
    pub(super) subject: Subject,
    /// Which bits of it count.
    pub(super) mask: u32,
    pub(super) condition: Condition,
    pub(super) yes: Next,
    pub(super) no: Next,
    /// Whether the caller makes this test himself.
    pub(super) is_assumed: bool,
}

/// What a condition can be about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    /// A value; of a field, all of its bits.
    Value(Value),
    /// 1 if a relation of two values holds that is no condition on one of them, otherwise 0.
    Relation(Value, Relation, Value),
}

/// Tests of which each leads to later ones.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) entry: Next,
    pub(super) nodes: Vec<Node>,
    /// What the subjects are.
    things: Vec<Thing>,
}

const fn all_bits(field: &Field) -> u32 {
    match field.size.bytes() {
        1 => 0xff,
        2 => 0xffff,
        _ => u32::MAX,
    }
}

impl Graph {
    pub(super) fn of(program: Program, is_assumed: &[bool]) -> Self {
        let mut graph =
            Self { entry: program.entry, nodes: Vec::with_capacity(program.tests.len()), things: Vec::new() };
        let mut subjects = BTreeMap::new();
        for (index, test) in program.tests.into_iter().enumerate() {
            let (thing, mask, question, exchange) = condition(test.left, test.relation, test.right);
            let (yes, no) = if exchange { (test.no, test.yes) } else { (test.yes, test.no) };
            let (condition, yes, no) = match question {
                Question::Open(condition) => (condition, yes, no),
                Question::Known(answer) => {
                    let next = if answer { yes } else { no };
                    (Condition::Equal(0), next, next)
                }
            };
            let subject = *subjects.entry(thing).or_insert_with_key(|thing| {
                graph.things.push(thing.clone());
                graph.things.len() as Subject - 1
            });
            let is_assumed = is_assumed.get(index).copied().unwrap_or_default();
            graph.nodes.push(Node { subject, mask, condition, yes, no, is_assumed });
        }
        graph
    }

    pub(super) fn node(&self, next: Next) -> Option<&Node> {
        match next {
            Next::Test(index) => self.nodes.get(index as usize),
            Next::Accept | Next::Reject => None,
        }
    }

    /// Says where a test leads.
    pub(super) fn replace(&mut self, index: usize, yes: Next, no: Next) {
        if let Some(node) = self.nodes.get_mut(index) {
            (node.yes, node.no) = (yes, no);
        }
    }

    /// What the caller tests himself counts as true.
    pub(super) fn accept_assumed(&mut self) {
        for index in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(index).copied() else { break };
            if !node.is_assumed {
                let [yes, no] = [node.yes, node.no].map(|next| self.accepted(next));
                self.replace(index, yes, no);
            }
        }
        self.entry = self.accepted(self.entry);
    }

    fn accepted(&self, next: Next) -> Next {
        match self.node(next) {
            Some(node) if node.is_assumed => Next::Accept,
            _ => next,
        }
    }

    /// Removes tests whose answer does not matter, joins equal ones, drops what nothing leads to, and numbers the rest.
    pub(super) fn compact(&mut self) {
        // From the last to the first: where to go instead of a test.
        let mut instead: Vec<Next> = vec![Next::Reject; self.nodes.len()];
        let lead = |instead: &[Next], next: Next| match next {
            Next::Test(index) => instead.get(index as usize).copied().unwrap_or(Next::Reject),
            verdict => verdict,
        };
        let mut seen = BTreeMap::new();
        for index in (0..self.nodes.len()).rev() {
            let Some(node) = self.nodes.get_mut(index) else { continue };
            (node.yes, node.no) = (lead(&instead, node.yes), lead(&instead, node.no));
            let next = if node.yes == node.no {
                node.yes
            } else {
                let key = (node.subject, node.mask, node.condition, node.yes, node.no, node.is_assumed);
                *seen.entry(key).or_insert(Next::Test(index as u32))
            };
            if let Some(place) = instead.get_mut(index) {
                *place = next;
            }
        }
        self.entry = lead(&instead, self.entry);
        // From the first to the last: what is reached, and its number.
        let mut reached = vec![false; self.nodes.len()];
        let mut numbers = instead;
        let mark = |reached: &mut Vec<bool>, next: Next| {
            if let Next::Test(index) = next
                && let Some(place) = reached.get_mut(index as usize)
            {
                *place = true;
            }
        };
        mark(&mut reached, self.entry);
        let mut kept = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if reached.get(index).copied().unwrap_or_default() {
                if let Some(place) = numbers.get_mut(index) {
                    *place = Next::Test(kept.len() as u32);
                }
                mark(&mut reached, node.yes);
                mark(&mut reached, node.no);
                kept.push(*node);
            }
        }
        for node in &mut kept {
            (node.yes, node.no) = (lead(&numbers, node.yes), lead(&numbers, node.no));
        }
        self.entry = lead(&numbers, self.entry);
        self.nodes = kept;
    }

    pub(super) fn into_program(self) -> Program {
        let things = self.things;
        let tests = self.nodes.into_iter().filter_map(|node| {
            let (left, relation, right) = match things.get(node.subject as usize)? {
                Thing::Relation(left, relation, right) => (left.clone(), *relation, right.clone()),
                Thing::Value(value) => {
                    let left = match value {
                        Value::Field(field) => Value::Field(Field { mask: node.mask, ..*field }),
                        other => other.clone(),
                    };
                    let (relation, right) = match node.condition {
                        Condition::Equal(value) => (Relation::Equal, value),
                        Condition::Greater(value) => (Relation::Greater, value),
                    };
                    (left, relation, Value::Constant(right))
                }
            };
            Some(Test { left, relation, right, yes: node.yes, no: node.no })
        });
        Program { entry: self.entry, tests: tests.collect() }
    }
}

enum Question {
    Open(Condition),
    Known(bool),
}

/// A test as a condition on masked bits of a thing, and whether its answers are exchanged.
fn condition(left: Value, relation: Relation, right: Value) -> (Thing, u32, Question, bool) {
    let (left, mut mask, right) = match (left, right) {
        (Value::Constant(left), Value::Constant(right)) => {
            let answer = relation.holds(left, right);
            return (Thing::Value(Value::Constant(0)), 0, Question::Known(answer), false);
        }
        (Value::Field(field), Value::Constant(right)) => {
            let all = all_bits(&field);
            (Value::Field(Field { mask: all, ..field }), field.mask & all, right)
        }
        (Value::Metadata(metadata), Value::Constant(right)) => {
            let mask = match metadata {
                Metadata::TagPresent => 1,
                Metadata::TagControl => 0xffff,
                Metadata::Length | Metadata::IfIndex | Metadata::PacketType => u32::MAX,
            };
            (Value::Metadata(metadata), mask, right)
        }
        (left, Value::Constant(right)) => (left, u32::MAX, right),
        (left, right) => {
            let thing = Thing::Relation(left, relation, right);
            return (thing, 1, Question::Open(Condition::Equal(1)), false);
        }
    };
    let (condition, exchange) = match relation {
        Relation::AnyBit if matches!(left, Value::Field(_)) => {
            mask &= right;
            (Condition::Equal(0), true)
        }
        Relation::AnyBit => {
            let thing = Thing::Relation(left, relation, Value::Constant(right));
            return (thing, 1, Question::Open(Condition::Equal(1)), false);
        }
        Relation::Equal => (Condition::Equal(right), false),
        Relation::Greater if right == 0 => (Condition::Equal(0), true),
        Relation::Greater => (Condition::Greater(right), false),
        Relation::GreaterOrEqual => match right {
            0 => return (Thing::Value(left), mask, Question::Known(true), false),
            1 => (Condition::Equal(0), true),
            _ => (Condition::Greater(right - 1), false),
        },
    };
    // The masked bits are at most the mask.
    let question = match condition {
        Condition::Equal(value) if value & !mask != 0 => Question::Known(false),
        Condition::Equal(0) if mask == 0 => Question::Known(true),
        Condition::Greater(value) if value >= mask => Question::Known(false),
        condition => Question::Open(condition),
    };
    (Thing::Value(left), mask, question, exchange)
}
