//! An expression in plain English, and the mistakes that are no errors.

use alloc::{
    borrow::ToOwned as _,
    boxed::Box,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

pub use self::warnings::{Warning, WarningKind, warnings};
use crate::expression::{Expression, Family, Primitive, Step, StepKind};

mod phrases;
mod warnings;

/// How many steps of an expression become a sentence at most. Longer ones are not read by anyone.
const MAX_STEPS: usize = 120;

/// What a part of an expression selects.
enum Phrase {
    Leaf(Leaf),
    Not(Box<Phrase>),
    All(Vec<Phrase>),
    Any(Vec<Phrase>),
}

/// A phrase that stands after "packets that", and its opposite.
struct Leaf {
    positive: String,
    negative: String,
    /// What the phrases apply to. Leaves that differ only here are one, with `or` between these.
    objects: Vec<String>,
    /// It holds for every TCP packet, which is all that capture prints.
    is_tcp: bool,
}

/// What an expression selects, as one sentence. `text` is what it was read from: arithmetic is quoted.
///
/// The sentence is about the TCP packets, because capture prints no others.
pub fn explain(expression: &Expression, text: &str) -> String {
    let mut steps: Vec<&Step> = Vec::with_capacity(expression.steps.len());
    for step in &expression.steps {
        // `not not` says nothing.
        match steps.last() {
            Some(last) if last.kind == StepKind::Not && step.kind == StepKind::Not => _ = steps.pop(),
            _ => steps.push(step),
        }
    }
    if steps.len() > MAX_STEPS {
        let tests = steps.iter().filter(|step| matches!(step.kind, StepKind::Primitive(_))).count();
        return format!("TCP packets that {tests} tests select, too many for a sentence.");
    }
    let has_tags =
        expression.steps.iter().any(|step| matches!(step.kind, StepKind::Primitive(Primitive::Vlan(_))));
    let (mut stack, mut tags): (Vec<Phrase>, _) = (Vec::new(), 0);
    for step in steps {
        let phrase = match &step.kind {
            StepKind::Primitive(primitive) => {
                let quoted = text.get(step.span.clone()).unwrap_or_default();
                let leaf = phrases::leaf(primitive, quoted, has_tags.then_some(tags));
                tags += usize::from(matches!(primitive, Primitive::Vlan(_)));
                Phrase::Leaf(leaf)
            }
            StepKind::Not => match stack.pop() {
                Some(operand) => Phrase::Not(Box::new(operand)),
                None => continue,
            },
            StepKind::And | StepKind::Or => {
                let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { continue };
                if step.kind == StepKind::And { both(left, right) } else { either(left, right) }
            }
        };
        stack.push(phrase);
    }
    match stack.pop() {
        None => "All TCP packets.".to_owned(),
        Some(phrase) => sentence(phrase),
    }
}

/// The sentence about a whole expression.
fn sentence(phrase: Phrase) -> String {
    let mut parts = match phrase {
        Phrase::All(parts) => parts,
        phrase => [phrase].into(),
    };
    parts.retain(|part| !matches!(part, Phrase::Leaf(leaf) if leaf.is_tcp));
    match parts.pop() {
        None => "All TCP packets.".to_owned(),
        Some(only) if parts.is_empty() => format!("TCP packets that {}.", words(&only, false, None)),
        Some(last) => {
            parts.push(last);
            format!("TCP packets that {}.", words(&Phrase::All(parts), false, None))
        }
    }
}

/// A conjunction, of more than two if the first one is itself one.
fn both(left: Phrase, right: Phrase) -> Phrase {
    let mut parts = match left {
        Phrase::All(parts) => parts,
        left => [left].into(),
    };
    match right {
        Phrase::All(further) => parts.extend(further),
        right => parts.push(right),
    }
    Phrase::All(parts)
}

/// A disjunction. What differs only in its object is one phrase.
fn either(left: Phrase, right: Phrase) -> Phrase {
    let mut parts = match left {
        Phrase::Any(parts) => parts,
        left => [left].into(),
    };
    let further = match right {
        Phrase::Any(further) => further,
        right => [right].into(),
    };
    for part in further {
        match (parts.last_mut(), part) {
            (Some(Phrase::Leaf(last)), Phrase::Leaf(leaf))
                if !leaf.objects.is_empty() && last.positive == leaf.positive =>
            {
                last.objects.extend(leaf.objects);
            }
            (_, part) => parts.push(part),
        }
    }
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            Phrase::Any(parts)
        }
        None => Phrase::Any(parts),
    }
}

/// A phrase, or its opposite, as words. In parentheses within a list that is joined by another word. The depth is that
/// of at most [`MAX_STEPS`] steps.
fn words(phrase: &Phrase, negated: bool, within: Option<&str>) -> String {
    let (parts, word) = match phrase {
        Phrase::Leaf(leaf) => {
            let verb = if negated { &leaf.negative } else { &leaf.positive };
            return match leaf.objects.is_empty() {
                true => verb.clone(),
                false => format!("{verb} {}", list(&leaf.objects, "or")),
            };
        }
        Phrase::Not(operand) => return words(operand, !negated, within),
        Phrase::All(parts) => (parts, if negated { "or" } else { "and" }),
        Phrase::Any(parts) => (parts, if negated { "and" } else { "or" }),
    };
    let parts: Vec<String> = parts.iter().map(|part| words(part, negated, Some(word))).collect();
    // A comma keeps the `or` in "come from or go to" apart from that of the list.
    let comma = if parts.iter().any(|part| part.contains("or ")) { "," } else { "" };
    let text = parts.join(&format!("{comma} {word} "));
    if within.is_some_and(|within| within != word) { format!("({text})") } else { text }
}

/// Things with commas between, and a word before the last one.
fn list(things: &[String], word: &str) -> String {
    match things {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

/// The name of a family.
fn family(family: Family) -> String {
    match family {
        Family::Ipv4 => "IPv4".to_string(),
        Family::Ipv6 => "IPv6".to_string(),
    }
}

#[cfg(test)]
mod tests;
