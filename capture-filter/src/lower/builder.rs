//! Tests with targets that are not known yet: they are filled in as soon as what follows has been made.

use alloc::{vec, vec::Vec};

use crate::program::{Next, Program, Relation, Test, Value};

/// One of the two ways out of a test: its index, and which way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    test: u32,
    yes: bool,
}

/// Tests that decide one question. Where they lead is not known yet.
#[derive(Debug)]
pub(super) struct Fragment {
    /// The index of the first test.
    pub(super) entry: u32,
    /// The ways out if the answer is yes.
    pub(super) yes: Vec<Edge>,
    /// The ways out if it is no.
    pub(super) no: Vec<Edge>,
}

impl Fragment {
    /// The opposite.
    pub(super) fn not(self) -> Self {
        Self { entry: self.entry, yes: self.no, no: self.yes }
    }
}

/// Appends two lists, at the cost of the shorter one.
pub(super) fn join(mut left: Vec<Edge>, mut right: Vec<Edge>) -> Vec<Edge> {
    if left.len() < right.len() {
        core::mem::swap(&mut left, &mut right);
    }
    left.append(&mut right);
    left
}

/// The tests made so far, in the order in which they are evaluated.
#[derive(Debug, Default)]
pub(super) struct Builder {
    tests: Vec<Test>,
    /// For each test, in which state the packet's evaluation is behind it: see `lower::Lowering`.
    states: Vec<u8>,
    /// For each test, whether the caller makes it himself.
    assumed: Vec<bool>,
    /// The state of the tests that are made next.
    pub(super) state: u8,
    /// Whether the caller makes the tests himself that are made next.
    pub(super) is_assumed: bool,
}

impl Builder {
    /// The state behind the test that `edge` leaves.
    pub(super) fn state_behind(&self, edge: Edge) -> u8 {
        self.states.get(edge.test as usize).copied().unwrap_or_default()
    }

    /// Makes one test.
    pub(super) fn test(&mut self, left: Value, relation: Relation, right: Value) -> Fragment {
        let test = self.tests.len() as u32;
        self.tests.push(Test { left, relation, right, yes: Next::Reject, no: Next::Reject });
        self.states.push(self.state);
        self.assumed.push(self.is_assumed);
        Fragment { entry: test, yes: vec![Edge { test, yes: true }], no: vec![Edge { test, yes: false }] }
    }

    /// Whether `left` is `right`.
    pub(super) fn equal(&mut self, left: Value, right: u32) -> Fragment {
        self.test(left, Relation::Equal, Value::Constant(right))
    }

    /// A question whose answer is known.
    pub(super) fn constant(&mut self, answer: bool) -> Fragment {
        self.equal(Value::Constant(1), u32::from(answer))
    }

    /// Both. `right` has been made after `left`.
    pub(super) fn and(&mut self, left: Fragment, right: Fragment) -> Fragment {
        self.lead(&left.yes, Next::Test(right.entry));
        Fragment { entry: left.entry, yes: right.yes, no: join(left.no, right.no) }
    }

    /// One of them. `right` has been made after `left`.
    pub(super) fn or(&mut self, left: Fragment, right: Fragment) -> Fragment {
        self.lead(&left.no, Next::Test(right.entry));
        Fragment { entry: left.entry, yes: join(left.yes, right.yes), no: right.no }
    }

    /// What `yes` says if `question` holds, otherwise what `no` says. They have been made in this order.
    pub(super) fn choose(&mut self, question: Fragment, yes: Fragment, no: Fragment) -> Fragment {
        self.lead(&question.yes, Next::Test(yes.entry));
        self.lead(&question.no, Next::Test(no.entry));
        Fragment { entry: question.entry, yes: join(yes.yes, no.yes), no: join(yes.no, no.no) }
    }

    /// Says where ways out lead.
    pub(super) fn lead(&mut self, edges: &[Edge], next: Next) {
        for &edge in edges {
            self.lead_one(edge, next);
        }
    }

    /// Says where one way out leads.
    pub(super) fn lead_one(&mut self, edge: Edge, next: Next) {
        if let Some(test) = self.tests.get_mut(edge.test as usize) {
            *(if edge.yes { &mut test.yes } else { &mut test.no }) = next;
        }
    }

    /// The program that begins at `entry`, and for each test, whether the caller makes it himself.
    pub(super) fn finish(self, entry: Next) -> (Program, Vec<bool>) {
        (Program { entry, tests: self.tests }, self.assumed)
    }
}
