//! Relations and their arithmetic, as postfix steps. Operators wait on a stack until what follows binds less tightly.
//!
//! From runs of tcpdump: `%` and `^` have no precedence. They take one operand on their left and everything up to the
//! relation, or the closing parenthesis, on their right.

use alloc::{format, string::String, vec::Vec};

use super::{Content, Parser, Pending};
use crate::{
    error::{Error, ErrorKind},
    expression::{Arithmetic, ArithmeticStep, IndexProtocol, Operator, Primitive, Size, Span},
    lexer::{Keyword, Protocol, TokenKind},
};

/// What waits on the stack.
enum Waiting {
    Negate,
    Binary(Operator, Span),
    Parenthesis(Span),
    Index(IndexProtocol, Span),
}

/// One side of a relation.
#[derive(Default)]
struct Side {
    steps: Vec<ArithmeticStep>,
    /// Of each value on the stack that the steps leave, the index of its first step.
    starts: Vec<usize>,
    waiting: Vec<Waiting>,
}

impl Parser<'_, '_> {
    /// Reads a relation. Parentheses that are open already, with nothing in them, may belong to its left side.
    pub(super) fn relation(&mut self) -> Result<(), Error> {
        let mut start = self.peek().span.start;
        let left = self.side(true, &mut start)?;
        let TokenKind::Relation(operator) = self.peek().kind else {
            return Err(self.unexpected("a comparison, such as `!= 0`, is missing before this"));
        };
        self.at += 1;
        self.decide(Content::Expression);
        let right = self.side(false, &mut start)?;
        let end =
            self.at.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(start, |last| last.span.end);
        self.push(Primitive::Relation { left, operator, right }, start..end);
        self.forget(start..end);
        Ok(())
    }

    /// Reads a side. `start` moves to the first of the parentheses that belong to the left side.
    fn side(&mut self, is_left: bool, start: &mut usize) -> Result<Arithmetic, Error> {
        let mut side = Side::default();
        loop {
            self.value(&mut side)?;
            if !self.value_operator(&mut side, is_left, start)? {
                return Ok(Arithmetic { steps: side.steps });
            }
        }
    }

    /// Reads a value, with what stands before it.
    fn value(&mut self, side: &mut Side) -> Result<(), Error> {
        loop {
            let (kind, span) = (self.peek().kind.clone(), self.peek().span.clone());
            let step = match kind {
                TokenKind::Number(number) => ArithmeticStep::Number(number),
                TokenKind::Keyword(Keyword::Length) => ArithmeticStep::Length,
                TokenKind::Operator(Operator::Subtract) => {
                    self.at += 1;
                    side.waiting.push(Waiting::Negate);
                    continue;
                }
                TokenKind::Open => {
                    self.at += 1;
                    side.waiting.push(Waiting::Parenthesis(span));
                    continue;
                }
                TokenKind::Keyword(Keyword::Protocol(protocol))
                    if matches!(self.peek_at(1).kind, TokenKind::OpenIndex) =>
                {
                    let Some(index) = protocol.index() else {
                        let cause = format!("bytes of `{}` cannot be read: use `ip[..]`", protocol.word());
                        return Err(self.error(ErrorKind::Qualifier, span, cause));
                    };
                    let bracket = self.peek_at(1).span.clone();
                    self.at += 2;
                    side.waiting.push(Waiting::Index(index, bracket));
                    continue;
                }
                _ => {
                    return Err(
                        self.unexpected("a number, `len` or bytes, such as `tcp[13]`, are missing here")
                    );
                }
            };
            self.at += 1;
            side.push(step);
            return Ok(());
        }
    }

    /// Reads what follows a value, up to the operator before the next one. False where the side ends.
    fn value_operator(&mut self, side: &mut Side, is_left: bool, start: &mut usize) -> Result<bool, Error> {
        loop {
            match self.peek().kind {
                TokenKind::Operator(operator) => {
                    self.reduce_side(side, Some(operator))?;
                    let span = self.peek().span.clone();
                    self.at += 1;
                    side.waiting.push(Waiting::Binary(operator, span));
                    return Ok(true);
                }
                TokenKind::Close => {
                    self.reduce_side(side, None)?;
                    match side.waiting.last() {
                        Some(Waiting::Parenthesis(_)) => {
                            side.waiting.pop();
                        }
                        None if is_left => match self.pending.last() {
                            Some(Pending::Group(group)) if group.content == Content::Undecided => {
                                *start = group.open.start;
                                self.pending.pop();
                            }
                            _ => return Ok(false),
                        },
                        None => return Ok(false),
                        Some(_) => return Err(self.unexpected("no parenthesis is open here")),
                    }
                    self.at += 1;
                }
                TokenKind::CloseIndex | TokenKind::Colon => self.close_index(side)?,
                _ => {
                    self.reduce_side(side, None)?;
                    return match side.waiting.last() {
                        None => Ok(false),
                        Some(Waiting::Index(_, bracket)) if matches!(self.peek().kind, TokenKind::End) => {
                            Err(self.error(ErrorKind::Syntax, bracket.clone(), "this bracket is not closed"))
                        }
                        Some(Waiting::Parenthesis(open)) if matches!(self.peek().kind, TokenKind::End) => {
                            Err(self.not_closed(open.clone()))
                        }
                        Some(_) => {
                            Err(self
                                .unexpected("an operator or a closing parenthesis is missing before this"))
                        }
                    };
                }
            }
        }
    }

    /// Reads the size, if there is one, and the closing bracket.
    fn close_index(&mut self, side: &mut Side) -> Result<(), Error> {
        self.reduce_side(side, None)?;
        let Some(Waiting::Index(protocol, _)) = side.waiting.pop() else {
            return Err(self.unexpected("no bracket is open here"));
        };
        let mut size = Size::Byte;
        if matches!(self.peek().kind, TokenKind::Colon) {
            self.at += 1;
            let TokenKind::Number(number) = self.peek().kind else {
                return Err(self.unexpected("a size of 1, 2 or 4 bytes is missing here"));
            };
            size = match number {
                1 => Size::Byte,
                2 => Size::Half,
                4 => Size::Word,
                _ => {
                    let cause = "1, 2 or 4 bytes can be read at once";
                    return Err(self.error(ErrorKind::Value, self.peek().span.clone(), cause));
                }
            };
            self.at += 1;
            if !matches!(self.peek().kind, TokenKind::CloseIndex) {
                return Err(self.unexpected("the bracket has to be closed before this"));
            }
        }
        self.at += 1;
        side.steps.push(ArithmeticStep::Load { protocol, size });
        Ok(())
    }

    /// Applies the operators that bind at least as tightly as `next`; without one, all since the last bracket.
    fn reduce_side(&self, side: &mut Side, next: Option<Operator>) -> Result<(), Error> {
        let next = match next {
            None => 0,
            // What stands before `%` and `^` waits for all that follows.
            Some(Operator::Modulo | Operator::Xor) => return Ok(()),
            Some(operator) => precedence(operator),
        };
        loop {
            match side.waiting.last() {
                Some(Waiting::Negate) => side.steps.push(ArithmeticStep::Negate),
                Some(Waiting::Binary(operator, _)) if precedence(*operator) >= next => {
                    let (operator, span) = match side.waiting.last() {
                        Some(Waiting::Binary(operator, span)) => (*operator, span.clone()),
                        _ => return Ok(()),
                    };
                    let right = side.starts.pop().and_then(|start| side.steps.get(start));
                    if let Some(cause) = right.and_then(|first| bad_operand(operator, *first)) {
                        return Err(self.error(ErrorKind::Value, span, cause));
                    }
                    side.steps.push(ArithmeticStep::Binary(operator));
                }
                _ => return Ok(()),
            }
            side.waiting.pop();
        }
    }
}

impl Side {
    fn push(&mut self, step: ArithmeticStep) {
        self.starts.push(self.steps.len());
        self.steps.push(step);
    }
}

/// How tightly an operator binds.
fn precedence(operator: Operator) -> u8 {
    match operator {
        Operator::Modulo | Operator::Xor => 0,
        Operator::Or => 1,
        Operator::And => 2,
        Operator::ShiftLeft | Operator::ShiftRight => 3,
        Operator::Add | Operator::Subtract => 4,
        Operator::Multiply | Operator::Divide => 5,
    }
}

/// What tcpdump refuses of a right operand, whose `first` step is given: runs show that it looks at this one only, also
/// where it is an index (`len / tcp[0]`).
fn bad_operand(operator: Operator, first: ArithmeticStep) -> Option<String> {
    let ArithmeticStep::Number(number) = first else { return None };
    let cause = match operator {
        Operator::Divide | Operator::Modulo if number == 0 => "the first number of the divisor is 0".into(),
        Operator::ShiftLeft | Operator::ShiftRight if number > 31 => {
            format!("a shift is by at most 31 bits, and the first number on its right is {number}")
        }
        _ => return None,
    };
    Some(cause)
}

impl Protocol {
    /// Whose bytes `P[..]` reads.
    fn index(self) -> Option<IndexProtocol> {
        Some(match self {
            Self::Ether => IndexProtocol::Ether,
            Self::Ip => IndexProtocol::Ip,
            Self::Ip6 => IndexProtocol::Ip6,
            Self::Arp => IndexProtocol::Arp,
            Self::Rarp => IndexProtocol::Rarp,
            Self::Tcp => IndexProtocol::Tcp,
            Self::Udp => IndexProtocol::Udp,
            Self::Sctp => IndexProtocol::Sctp,
            Self::Icmp => IndexProtocol::Icmp,
            Self::Icmp6 => IndexProtocol::Icmp6,
            Self::Igmp => IndexProtocol::Igmp,
            Self::Igrp => IndexProtocol::Igrp,
            Self::Pim => IndexProtocol::Pim,
            Self::Vrrp => IndexProtocol::Vrrp,
            Self::Carp => IndexProtocol::Carp,
            Self::Ah | Self::Esp => return None,
        })
    }
}
