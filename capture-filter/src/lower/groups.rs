//! Alternatives of one kind become one question: `port 80 or 443 or 8080` asks for the protocol once, and then for a port in a
//! set.
//!
//! Nothing that could end the program moves: a load that lies beyond the end of the frame in one alternative does so in the
//! others, and no question moves past an arithmetic relation, `vlan`, or what stands in parentheses.

use alloc::{boxed::Box, vec, vec::Vec};

use super::sets::Key;
use crate::expression::{
    Direction, Expression, Family, Ipv4Scope, Primitive, Span, Step, StepKind, Transports,
};

/// A step of a grouped expression, in postfix order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'e> {
    pub(super) kind: ItemKind<'e>,
    pub(super) span: Span,
}

/// What it does to the stack of truth values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ItemKind<'e> {
    Question(Question<'e>),
    Not,
    And,
    Or,
}

/// Whether a packet has a property, or one of several of the same kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question<'e> {
    Protocols {
        family: Option<Family>,
        numbers: Vec<u32>,
    },
    /// Addresses with their masks.
    Ipv4 {
        scope: Ipv4Scope,
        direction: Direction,
        networks: Vec<(u32, u32)>,
    },
    /// Addresses with their masks.
    Ipv6 {
        direction: Direction,
        networks: Vec<(u128, u128)>,
    },
    Ether {
        direction: Direction,
        addresses: Vec<[u8; 6]>,
    },
    /// Ranges, both ends included.
    Ports {
        transports: Transports,
        direction: Direction,
        ranges: Vec<(u16, u16)>,
    },
    /// What follows from which key a packet has.
    Switch {
        /// Where the keys are looked for: a question about addresses or ports, without any.
        subject: Box<Question<'e>>,
        /// No two of them have a key in common.
        arms: Vec<Arm<'e>>,
    },
    /// Has no group.
    Other(&'e Primitive),
}

/// An alternative of a [`Question::Switch`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arm<'e> {
    /// One of these leads here.
    pub(super) keys: Vec<Key>,
    /// What is asked then.
    pub(super) rest: Vec<Item<'e>>,
}

impl<'e> Question<'e> {
    fn of(primitive: &'e Primitive) -> Self {
        match *primitive {
            Primitive::Protocol { family, number } => Self::Protocols { family, numbers: vec![number] },
            Primitive::Ipv4 { scope, direction, address, mask } => {
                Self::Ipv4 { scope, direction, networks: vec![(address, mask)] }
            }
            Primitive::Ipv6 { direction, address, mask } => {
                Self::Ipv6 { direction, networks: vec![(address, mask)] }
            }
            Primitive::Ether { direction, address } => Self::Ether { direction, addresses: vec![address] },
            Primitive::Port { transports, direction, low, high } => {
                Self::Ports { transports, direction, ranges: vec![(low, high)] }
            }
            _ => Self::Other(primitive),
        }
    }

    /// Makes this the question for either of two, if they are of one kind; otherwise gives the other one back.
    fn merge(&mut self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Protocols { family, numbers }, Self::Protocols { family: other, numbers: more })
                if *family == other =>
            {
                numbers.extend(more);
            }
            (
                Self::Ipv4 { scope, direction, networks },
                Self::Ipv4 { scope: other_scope, direction: other, networks: more },
            ) if *scope == other_scope && *direction == other && other != Direction::Both => {
                networks.extend(more);
            }
            (Self::Ipv6 { direction, networks }, Self::Ipv6 { direction: other, networks: more })
                if *direction == other && other != Direction::Both =>
            {
                networks.extend(more);
            }
            (Self::Ether { direction, addresses }, Self::Ether { direction: other, addresses: more })
                if *direction == other && other != Direction::Both =>
            {
                addresses.extend(more);
            }
            (
                Self::Ports { transports, direction, ranges },
                Self::Ports { transports: other_transports, direction: other, ranges: more },
            ) if *transports == other_transports && *direction == other && other != Direction::Both => {
                ranges.extend(more);
            }
            (_, other) => return Some(other),
        }
        None
    }

    /// Whether others may move past it.
    fn can_be_passed(&self) -> bool {
        !matches!(self, Self::Other(Primitive::Vlan(_) | Primitive::Relation { .. }))
    }
}

/// A part of the expression, as a tree; children are indices.
#[derive(Debug)]
pub(super) enum Node<'e> {
    Question(Question<'e>),
    Not(usize),
    /// Operands of one operator, in the order of the text.
    Chain(Operator, Vec<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
}

/// The expression with its alternatives grouped. Without a step, or with too few operands, it is cut short: the parser makes
/// none of the latter.
pub(super) fn group(expression: &Expression) -> Vec<Item<'_>> {
    let mut tree = Tree { nodes: Vec::with_capacity(expression.steps.len()) };
    let mut stack: Vec<usize> = Vec::new();
    for step in &expression.steps {
        let node = match &step.kind {
            StepKind::Primitive(primitive) => Node::Question(Question::of(primitive)),
            StepKind::Not => {
                let Some(operand) = stack.pop() else { break };
                match tree.nodes.get(operand) {
                    Some((Node::Not(inner), _)) => {
                        stack.push(*inner);
                        continue;
                    }
                    _ => Node::Not(operand),
                }
            }
            StepKind::And | StepKind::Or => {
                let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { break };
                let operator = if step.kind == StepKind::And { Operator::And } else { Operator::Or };
                let mut operands = tree.operands(operator, left);
                operands.append(&mut tree.operands(operator, right));
                Node::Chain(operator, operands)
            }
        };
        stack.push(tree.nodes.len());
        tree.nodes.push((node, step.span.clone()));
    }
    match stack.pop() {
        Some(root) => tree.items(root, 0),
        None => Vec::new(),
    }
}

/// The expression as it is written, without groups.
pub(super) fn as_written(expression: &Expression) -> Vec<Item<'_>> {
    let steps = expression.steps.iter();
    let items = steps.map(|Step { kind, span }| {
        let kind = match kind {
            StepKind::Primitive(primitive) => ItemKind::Question(Question::of(primitive)),
            StepKind::Not => ItemKind::Not,
            StepKind::And => ItemKind::And,
            StepKind::Or => ItemKind::Or,
        };
        Item { kind, span: span.clone() }
    });
    items.collect()
}

/// The expression as a tree.
pub(super) struct Tree<'e> {
    pub(super) nodes: Vec<(Node<'e>, Span)>,
}

impl<'e> Tree<'e> {
    /// What a chain of `operator` consists of, taken out of it; or the node itself.
    pub(super) fn operands(&mut self, operator: Operator, node: usize) -> Vec<usize> {
        match self.nodes.get_mut(node) {
            Some((Node::Chain(own, operands), _)) if *own == operator => core::mem::take(operands),
            _ => vec![node],
        }
    }

    /// The question of an alternative: what stands in a chain of `or`, or under `not` in a chain of `and`.
    fn alternative(&mut self, operator: Operator, node: usize) -> Option<&mut Question<'e>> {
        let node = match (operator, &self.nodes.get(node)?.0) {
            (Operator::Or, Node::Question(_)) => node,
            (Operator::And, Node::Not(operand)) => *operand,
            _ => return None,
        };
        match &mut self.nodes.get_mut(node)?.0 {
            Node::Question(question) => Some(question),
            _ => None,
        }
    }

    /// Merges alternatives of one kind into the first of them.
    fn merge(&mut self, operator: Operator, operands: Vec<usize>) -> Vec<usize> {
        let mut kept = Vec::with_capacity(operands.len());
        // Alternatives that later ones can move up to.
        let mut open: Vec<usize> = Vec::new();
        'operands: for node in operands {
            kept.push(node);
            let Some(question) = self.alternative(operator, node) else {
                open.clear();
                continue;
            };
            if !question.can_be_passed() {
                open.clear();
                continue;
            }
            if matches!(question, Question::Other(_)) {
                continue;
            }
            let mut question =
                core::mem::replace(question, Question::Protocols { family: None, numbers: Vec::new() });
            for &earlier in &open {
                let Some(target) = self.alternative(operator, earlier) else { continue };
                match target.merge(question) {
                    None => {
                        kept.pop();
                        continue 'operands;
                    }
                    Some(back) => question = back,
                }
            }
            if let Some(place) = self.alternative(operator, node) {
                *place = question;
            }
            open.push(node);
        }
        kept
    }

    /// The node and what is below it in postfix order. It stands in so many chains of `or`.
    pub(super) fn items(&mut self, root: usize, depth: usize) -> Vec<Item<'e>> {
        enum Work {
            Visit(usize, usize),
            Operator(Operator, Span),
            Not(Span),
        }
        let mut items = Vec::new();
        let mut work = vec![Work::Visit(root, depth)];
        while let Some(next) = work.pop() {
            let (kind, span) = match next {
                Work::Visit(node, depth) => {
                    let Some((taken, span)) = self.nodes.get_mut(node) else { continue };
                    let span = span.clone();
                    let nothing = Node::Chain(Operator::And, Vec::new());
                    match core::mem::replace(taken, nothing) {
                        Node::Question(question) => (ItemKind::Question(question), span),
                        Node::Not(operand) => {
                            work.extend([Work::Not(span), Work::Visit(operand, depth)]);
                            continue;
                        }
                        Node::Chain(operator, operands) => {
                            let mut operands = self.merge(operator, operands);
                            let mut depth = depth;
                            if operator == Operator::Or {
                                operands = self.factor(operands, depth);
                                depth += 1;
                            }
                            for (index, &operand) in operands.iter().enumerate().rev() {
                                if index > 0 {
                                    work.push(Work::Operator(operator, span.clone()));
                                }
                                work.push(Work::Visit(operand, depth));
                            }
                            continue;
                        }
                    }
                }
                Work::Operator(Operator::And, span) => (ItemKind::And, span),
                Work::Operator(Operator::Or, span) => (ItemKind::Or, span),
                Work::Not(span) => (ItemKind::Not, span),
            };
            items.push(Item { kind, span });
        }
        items
    }
}
