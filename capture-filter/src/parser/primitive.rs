//! Primitives that begin with a word: qualifiers, protocols, and those of their own form.

use alloc::format;

use super::{
    Content, Parser,
    qualifiers::{Kind, Qualifiers},
};
use crate::{
    error::{Error, ErrorKind},
    expression::{Arithmetic, ArithmeticStep, Direction, Family, Primitive, RelationOperator, Span},
    lexer::{Keyword, Protocol, Refusal, TokenKind, Type},
};

/// The highest identifier of a VLAN: 12 bits (IEEE 802.1Q).
const MAX_VLAN: u32 = 4095;

impl Parser<'_, '_> {
    /// Reads a primitive that begins with a keyword, which is the next token.
    pub(super) fn primitive(&mut self, keyword: Keyword) -> Result<(), Error> {
        let start = self.peek().span.start;
        match keyword {
            Keyword::Protocol(protocol) => {
                self.at += 1;
                self.after_protocol(protocol, start)
            }
            Keyword::Source | Keyword::Destination | Keyword::Type(_) | Keyword::Proto => {
                self.after_qualifier(None, start)
            }
            Keyword::Broadcast => self.alone(start, Primitive::EtherBroadcast),
            Keyword::Multicast => self.alone(start, Primitive::EtherMulticast),
            Keyword::Inbound => self.alone(start, Primitive::Inbound),
            Keyword::Outbound => self.alone(start, Primitive::Outbound),
            Keyword::Vlan => self.vlan(start),
            Keyword::Less => self.length(start, RelationOperator::LessOrEqual),
            Keyword::Greater => self.length(start, RelationOperator::GreaterOrEqual),
            Keyword::IfIndex => {
                self.at += 1;
                let index = self.number("the index of an interface")?;
                self.complete(start, Primitive::IfIndex(index));
                Ok(())
            }
            Keyword::Mask | Keyword::Length | Keyword::Refused(_) => {
                Err(self.unexpected("no expression begins with this word"))
            }
        }
    }

    /// Reads what follows a protocol: further qualifiers, or nothing.
    fn after_protocol(&mut self, protocol: Protocol, start: usize) -> Result<(), Error> {
        let name = self.span_from(start);
        match self.peek().kind {
            TokenKind::Keyword(Keyword::Refused(Refusal::Gateway | Refusal::Chain)) => {
                Err(self.unexpected(""))
            }
            TokenKind::Keyword(Keyword::Broadcast) => match protocol {
                Protocol::Ether => self.alone(start, Primitive::EtherBroadcast),
                Protocol::Ip => self.alone(start, Primitive::IpBroadcast),
                _ => Err(self.wrong_protocol(protocol, name, "`broadcast`", "`ether` and `ip` do")),
            },
            TokenKind::Keyword(Keyword::Multicast) => match protocol {
                Protocol::Ether => self.alone(start, Primitive::EtherMulticast),
                Protocol::Ip => self.alone(start, Primitive::IpMulticast),
                Protocol::Ip6 => self.alone(start, Primitive::Ip6Multicast),
                _ => Err(self.wrong_protocol(protocol, name, "`multicast`", "`ether`, `ip` and `ip6` do")),
            },
            TokenKind::Keyword(
                Keyword::Source | Keyword::Destination | Keyword::Type(_) | Keyword::Proto,
            ) => self.after_qualifier(Some(protocol), start),
            _ => {
                let Some(primitive) = alone(protocol) else {
                    let cause = "what of the link layer? `host`, `proto`, `broadcast`, `multicast` or `[..]` is missing";
                    return Err(self.error(ErrorKind::Syntax, name, cause));
                };
                self.complete(start, primitive);
                Ok(())
            }
        }
    }

    /// Reads a direction, a type, and what they qualify. The next token is one of these two.
    fn after_qualifier(&mut self, protocol: Option<Protocol>, start: usize) -> Result<(), Error> {
        if matches!(self.peek().kind, TokenKind::Keyword(Keyword::Proto)) {
            self.at += 1;
            let span = self.span_from(start);
            return self.qualified(Qualifiers { protocol, direction: None, kind: Kind::Proto, span });
        }
        let direction = self.direction();
        let mut kind = Type::Host;
        if let TokenKind::Keyword(Keyword::Type(named)) = self.peek().kind {
            self.at += 1;
            kind = named;
        }
        let span = self.span_from(start);
        self.qualified(Qualifiers { protocol, direction, kind: Kind::Type(kind), span })
    }

    /// Reads `src`, `dst`, or both with `or` or `and` between them.
    fn direction(&mut self) -> Option<Direction> {
        let direction = |kind: &TokenKind<'_>| match kind {
            TokenKind::Keyword(Keyword::Source) => Some(Direction::Source),
            TokenKind::Keyword(Keyword::Destination) => Some(Direction::Destination),
            _ => None,
        };
        let first = direction(&self.peek().kind)?;
        self.at += 1;
        let both = match self.peek().kind {
            TokenKind::Or => Direction::Either,
            TokenKind::And => Direction::Both,
            _ => return Some(first),
        };
        match direction(&self.peek_at(1).kind) {
            Some(second) if second != first => {
                self.at += 2;
                Some(both)
            }
            _ => Some(first),
        }
    }

    /// Reads `vlan` and its identifier, which may stand in parentheses.
    fn vlan(&mut self, start: usize) -> Result<(), Error> {
        self.at += 1;
        let mut open = 0;
        while matches!(self.peek_at(open).kind, TokenKind::Open) {
            open += 1;
        }
        let TokenKind::Number(number) = self.peek_at(open).kind else {
            if open > 0 {
                return Err(self.unexpected("`vlan` is followed by a number, `and`, `or`, or nothing"));
            }
            self.complete(start, Primitive::Vlan(None));
            return Ok(());
        };
        self.at += open;
        let span = self.peek().span.clone();
        let Some(identifier) = u16::try_from(number).ok().filter(|_| number <= MAX_VLAN) else {
            let error = self.error(ErrorKind::Value, span, "identifiers of VLANs go up to 4095");
            return Err(error.about(&format!("vlan {number}")));
        };
        self.at += 1;
        for _ in 0..open {
            if !matches!(self.peek().kind, TokenKind::Close) {
                return Err(self.unexpected("`vlan` is followed by one number"));
            }
            self.at += 1;
        }
        self.complete(start, Primitive::Vlan(Some(identifier)));
        Ok(())
    }

    /// Reads `less N` or `greater N`.
    fn length(&mut self, start: usize, operator: RelationOperator) -> Result<(), Error> {
        self.at += 1;
        let number = self.number("a length in bytes")?;
        let left = Arithmetic { steps: [ArithmeticStep::Length].into() };
        let right = Arithmetic { steps: [ArithmeticStep::Number(number)].into() };
        self.complete(start, Primitive::Relation { left, operator, right });
        Ok(())
    }

    fn number(&mut self, what: &str) -> Result<u32, Error> {
        let TokenKind::Number(number) = self.peek().kind else {
            return Err(self.unexpected(&format!("{what}, as a number, is missing before this")));
        };
        self.at += 1;
        Ok(number)
    }

    /// Takes the next token as the last one of a primitive.
    fn alone(&mut self, start: usize, primitive: Primitive) -> Result<(), Error> {
        self.at += 1;
        self.complete(start, primitive);
        Ok(())
    }

    /// Adds a primitive whose qualifiers no later identifier takes.
    fn complete(&mut self, start: usize, primitive: Primitive) {
        let span = self.span_from(start);
        self.decide(Content::Expression);
        self.forget(span.clone());
        self.push(primitive, span);
    }

    /// From `start` to the end of the last token that was read.
    pub(super) fn span_from(&self, start: usize) -> Span {
        let last = self.at.checked_sub(1).and_then(|last| self.tokens.get(last));
        start..last.map_or(start, |last| last.span.end)
    }
}

/// What a protocol's word means alone. `ether` means nothing.
fn alone(protocol: Protocol) -> Option<Primitive> {
    let both = |number| Primitive::Protocol { family: None, number };
    let ipv4 = |number| Primitive::Protocol { family: Some(Family::Ipv4), number };
    Some(match protocol {
        Protocol::Ether => return None,
        Protocol::Ip => Primitive::EtherType(0x0800),
        Protocol::Ip6 => Primitive::EtherType(0x86dd),
        Protocol::Arp => Primitive::EtherType(0x0806),
        Protocol::Rarp => Primitive::EtherType(0x8035),
        Protocol::Tcp => both(6),
        Protocol::Udp => both(17),
        Protocol::Sctp => both(132),
        Protocol::Icmp => ipv4(1),
        Protocol::Icmp6 => Primitive::Protocol { family: Some(Family::Ipv6), number: 58 },
        Protocol::Igmp => ipv4(2),
        Protocol::Igrp => ipv4(9),
        Protocol::Pim => both(103),
        Protocol::Vrrp | Protocol::Carp => ipv4(112),
        Protocol::Ah => both(51),
        Protocol::Esp => both(50),
    })
}
