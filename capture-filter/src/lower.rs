//! From an expression to a program for frames of one kind: each question becomes tests, and `and`, `or`, `not` become where
//! the tests lead. Evaluation is short-circuit, from left to right, as in tcpdump.
//!
//! `vlan` makes everything that stands after it in the text read four bytes further on, whatever `not`, `or` and parentheses
//! say. Where the kernel may keep the outermost tag outside of the bytes, the expression is lowered twice, and what is
//! tried first is whether it does:
//!
//! * If it does, the first `vlan` of the text asks for that tag, and shifts nothing.
//! * If not, the first `vlan` shifts what is evaluated *after it*: in live tcpdump a variable holds the shift, and is set
//!   when `vlan` is evaluated. In `tcp and vlan or udp`, `udp` reads the bytes of an untagged frame that is not TCP as if
//!   there were no `vlan`. So what stands after the first `vlan` is made for both states; the optimiser drops what cannot be
//!   reached.

use alloc::{string::String, vec, vec::Vec};
use core::fmt;

mod arithmetic;
mod builder;
mod ether_types;
mod factor;
mod groups;
mod keys;
mod layout;
mod operands;
mod primitives;
mod questions;
mod sets;

use builder::{Builder, Edge, Fragment, join};
use groups::{Item, ItemKind, Question};
use layout::{Layout, Tag};
use questions::Questions;

use crate::{
    expression::{Expression, Primitive, Span},
    optimise::optimise_assuming,
    program::{Base, Field, Metadata, Next, Operator, Program, Size, Value, ValueStep},
    target::{Link, Place, Target},
};

/// Why an expression cannot be lowered for a target. Displayed, it is a sentence without its full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerError {
    /// The sentence.
    pub message: String,
    /// The text it is about.
    pub span: Span,
}

impl fmt::Display for LowerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl core::error::Error for LowerError {}

/// What a packet socket says of packets that leave the machine (linux/if_packet.h, `PACKET_OUTGOING`); also in the "cooked"
/// headers.
const PACKET_OUTGOING: u32 = 4;
/// The types of tags that the kernel takes out of received frames (linux/if_vlan.h, `eth_type_vlan`). It leaves 0x9100.
const TAKEN_OUT: [u32; 2] = [0x8100, 0x88a8];
/// The protocol number of TCP.
const TCP: u32 = 6;

/// Makes the program that decides about frames of one kind. An expression without steps selects everything; one that no
/// packet can match, as far as that is provable, becomes a program that begins with [`Next::Reject`].
///
/// # Errors
///
/// If the link type or the place has not what the expression asks for, such as MAC addresses; if its arithmetic needs more
/// than [`MAX_DEPTH`](crate::program::MAX_DEPTH) values at once, divides by a constant that is 0, or shifts by one that is
/// greater than 31.
pub fn lower(expression: &Expression, target: &Target) -> Result<Program, LowerError> {
    let (program, is_assumed) = draft(groups::group(expression), target)?;
    let program = optimise_assuming(program, &is_assumed);
    let is_file = target.place == Place::File;
    operands::check(
        &program,
        expression,
        &Layout { link: target.link, tag: Tag::InBytes, shift: 0, is_file },
    )?;
    Ok(program)
}

/// As [`lower`], without making the program shorter: test by test what is written.
///
/// # Errors
///
/// As [`lower`], but for constants that cannot be computed with.
pub fn lower_unoptimised(expression: &Expression, target: &Target) -> Result<Program, LowerError> {
    let target = Target { only_tcp: false, ..*target };
    draft(groups::as_written(expression), &target).map(|(program, _)| program)
}

/// The program before it is made shorter, and which of its tests the caller makes himself.
fn draft(items: Vec<Item<'_>>, target: &Target) -> Result<(Program, Vec<bool>), LowerError> {
    let mut builder = Builder::default();
    let copy = |tag, is_dynamic| Lowering { target, tag, is_dynamic, tags: 0 };
    let has_tags = target.link == Link::Ethernet;
    let asks_for_tags =
        items.iter().any(|item| matches!(item.kind, ItemKind::Question(Question::Other(Primitive::Vlan(_)))));
    let entry = match target.place {
        Place::Tc(_) | Place::Socket if has_tags && asks_for_tags => {
            let present = Value::Metadata(Metadata::TagPresent);
            let is_kept = builder.equal(present, 1);
            let kept = copy(Tag::Kept, false).lower(&mut builder, &items)?;
            let other = copy(Tag::InBytes, true).lower(&mut builder, &items)?;
            builder.lead(&is_kept.yes, kept);
            builder.lead(&is_kept.no, other);
            Next::Test(is_kept.entry)
        }
        Place::Xdp if has_tags => {
            let mut ask = |number: u32| {
                let field = Field { base: Base::Frame, offset: 12, size: Size::Half, mask: 0xffff };
                builder.equal(Value::Field(field), number)
            };
            let taken_out = TAKEN_OUT.map(&mut ask);
            let inline = copy(Tag::Inline, false).lower(&mut builder, &items)?;
            let mut entry = copy(Tag::InBytes, true).lower(&mut builder, &items)?;
            for question in taken_out.into_iter().rev() {
                builder.lead(&question.yes, inline);
                builder.lead(&question.no, entry);
                entry = Next::Test(question.entry);
            }
            entry
        }
        _ => copy(Tag::InBytes, false).lower(&mut builder, &items)?,
    };
    Ok(builder.finish(entry))
}

/// The expression, for frames whose outermost tag is at one place.
struct Lowering<'t> {
    target: &'t Target,
    tag: Tag,
    /// Whether the first `vlan` shifts only what is evaluated after it. Then there are two states: 0 before it, 1 behind it.
    is_dynamic: bool,
    /// How many `vlan` have been seen in the text.
    tags: u32,
}

/// A part of the expression that has been lowered.
struct Part {
    /// Where it begins in each state.
    entries: [Option<u32>; 2],
    yes: Vec<Edge>,
    no: Vec<Edge>,
}

impl Part {
    fn in_state(state: u8, fragment: Fragment) -> Self {
        let mut entries = [None; 2];
        if let Some(entry) = entries.get_mut(usize::from(state)) {
            *entry = Some(fragment.entry);
        }
        Self { entries, yes: fragment.yes, no: fragment.no }
    }

    /// The same part for two states.
    fn also(self, other: Self) -> Self {
        let [one, two] = self.entries;
        let [other_one, other_two] = other.entries;
        Self {
            entries: [one.or(other_one), two.or(other_two)],
            yes: join(self.yes, other.yes),
            no: join(self.no, other.no),
        }
    }

    fn begin_at(&self, builder: &mut Builder, edges: &[Edge]) {
        for &edge in edges {
            let state = usize::from(builder.state_behind(edge));
            if let Some(entry) = self.entries.get(state).copied().flatten() {
                builder.lead_one(edge, Next::Test(entry));
            }
        }
    }
}

impl Lowering<'_> {
    /// Lowers the whole expression; gives where it begins.
    fn lower(mut self, builder: &mut Builder, items: &[Item<'_>]) -> Result<Next, LowerError> {
        builder.state = 0;
        let mut stack: Vec<Part> = Vec::new();
        for item in items {
            let part = match &item.kind {
                ItemKind::Question(question) => self.question(builder, question, &item.span)?,
                ItemKind::Not => {
                    let Some(operand) = stack.pop() else { break };
                    Part { entries: operand.entries, yes: operand.no, no: operand.yes }
                }
                ItemKind::And | ItemKind::Or => {
                    let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { break };
                    if matches!(item.kind, ItemKind::And) {
                        right.begin_at(builder, &left.yes);
                        Part { entries: left.entries, yes: right.yes, no: join(left.no, right.no) }
                    } else {
                        right.begin_at(builder, &left.no);
                        Part { entries: left.entries, yes: join(left.yes, right.yes), no: right.no }
                    }
                }
            };
            stack.push(part);
        }
        let accept = if self.target.only_tcp { self.assume_tcp(builder) } else { Next::Accept };
        let Some(part) = stack.pop() else { return Ok(accept) };
        builder.lead(&part.yes, accept);
        builder.lead(&part.no, Next::Reject);
        Ok(part.entries[0].map_or(Next::Reject, Next::Test))
    }

    /// Whether a packet is TCP, as the parser of capture-common says: it looks behind two tags, of which one may be kept
    /// outside of the bytes.
    fn assume_tcp(&self, builder: &mut Builder) -> Next {
        builder.is_assumed = true;
        let tags = match (self.target.link, self.tag) {
            (Link::Ethernet, Tag::InBytes) => 2,
            (Link::Ethernet, Tag::Kept | Tag::Inline) => 1,
            _ => 0,
        };
        let mut untagged = self.questions(builder, 0).protocols(None, &[TCP]);
        let entry = Next::Test(untagged.entry);
        for tag in 0..tags {
            // A frame that is TCP here is none behind a tag, so whatever is not goes on to look for one.
            let is_tag = self.questions(builder, 4 * tag).tag(None);
            builder.lead(&untagged.no, Next::Test(is_tag.entry));
            let behind = self.questions(builder, 4 * (tag + 1)).protocols(None, &[TCP]);
            builder.lead(&is_tag.yes, Next::Test(behind.entry));
            builder.lead(&is_tag.no, Next::Reject);
            builder.lead(&untagged.yes, Next::Accept);
            untagged = behind;
        }
        builder.lead(&untagged.yes, Next::Accept);
        builder.lead(&untagged.no, Next::Reject);
        builder.is_assumed = false;
        entry
    }

    /// One question, for each state in which it can be asked.
    fn question(
        &mut self,
        builder: &mut Builder,
        question: &Question<'_>,
        span: &Span,
    ) -> Result<Part, LowerError> {
        let outermost_is_apart = self.tag != Tag::InBytes || self.is_dynamic;
        let shift = 4 * if outermost_is_apart { self.tags.saturating_sub(1) } else { self.tags };
        if let Question::Other(Primitive::Vlan(identifier)) = question
            && self.tags == 0
            && outermost_is_apart
        {
            self.check_tags(span)?;
            self.tags = 1;
            if self.is_dynamic {
                // The state changes whether the tag is there or not.
                builder.state = 1;
                let fragment = self.questions(builder, 0).tag(*identifier);
                return Ok(Part::in_state(0, fragment));
            }
            return Ok(Part::in_state(0, self.outermost_tag(builder, *identifier)));
        }
        builder.state = 0;
        let fragment = self.ask(&mut self.questions(builder, shift), question, span)?;
        let mut part = Part::in_state(0, fragment);
        if self.is_dynamic && self.tags > 0 {
            builder.state = 1;
            let fragment = self.ask(&mut self.questions(builder, shift + 4), question, span)?;
            part = part.also(Part::in_state(1, fragment));
        }
        if matches!(question, Question::Other(Primitive::Vlan(_))) {
            self.tags += 1;
        }
        Ok(part)
    }

    fn questions<'b>(&self, builder: &'b mut Builder, shift: u32) -> Questions<'b> {
        Questions {
            builder,
            layout: Layout {
                link: self.target.link,
                tag: self.tag,
                shift,
                is_file: self.target.place == Place::File,
            },
            only_tcp: self.target.only_tcp,
        }
    }

    /// Whether the tag that is kept outside of the bytes, and is there, has this identifier.
    fn outermost_tag(&self, builder: &mut Builder, identifier: Option<u16>) -> Fragment {
        let Some(identifier) = identifier else { return builder.constant(true) };
        let mask = 0x0fff;
        let value = if self.tag == Tag::Inline {
            Value::Field(Field { base: Base::Frame, offset: 14, size: Size::Half, mask })
        } else {
            let control = ValueStep::Metadata(Metadata::TagControl);
            let steps = vec![control, ValueStep::Constant(mask), ValueStep::Binary(Operator::And)];
            Value::Computed(steps.into_boxed_slice())
        };
        builder.equal(value, u32::from(identifier))
    }

    fn ask(
        &self,
        questions: &mut Questions<'_>,
        question: &Question<'_>,
        span: &Span,
    ) -> Result<Fragment, LowerError> {
        Ok(match question {
            Question::Ether { direction, addresses } => {
                self.check_addresses(span)?;
                questions.ether(*direction, addresses)
            }
            Question::Other(primitive) => self.ask_other(questions, primitive, span)?,
            question => questions.ask(question),
        })
    }
}

fn error(span: &Span, message: String) -> LowerError {
    LowerError { message, span: span.clone() }
}

#[cfg(test)]
mod tests;
