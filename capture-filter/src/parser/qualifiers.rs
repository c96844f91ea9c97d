//! Qualifiers, and what is said when an identifier has none.

use alloc::{format, string::String};

use super::Parser;
use crate::{
    error::{Error, ErrorKind, shown},
    expression::{Direction, Span},
    lexer::{Protocol, Token, TokenKind, Type},
};

/// What stands before an identifier.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Qualifiers {
    pub(super) protocol: Option<Protocol>,
    pub(super) direction: Option<Direction>,
    pub(super) kind: Kind,
    /// Their words.
    pub(super) span: Span,
}

/// What an identifier is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Type(Type),
    Proto,
}

/// Why no qualifiers are in force.
#[derive(Clone, Debug)]
pub(super) enum Lost {
    /// There were none.
    None,
    /// A word that takes no identifier came after them.
    Word(Qualifiers, Span),
    /// Those in parentheses end there.
    Group(Option<Qualifiers>),
}

impl Qualifiers {
    pub(super) fn direction(&self) -> Direction {
        self.direction.unwrap_or(Direction::Either)
    }

    /// As the text says them, harmless to print: the blanks between may be others than spaces.
    pub(super) fn words(&self, text: &str) -> String {
        shown(text.get(self.span.clone()).unwrap_or_default())
    }
}

impl Protocol {
    /// The word of the language.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ether => "ether",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Rarp => "rarp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Igmp => "igmp",
            Self::Igrp => "igrp",
            Self::Pim => "pim",
            Self::Vrrp => "vrrp",
            Self::Carp => "carp",
            Self::Ah => "ah",
            Self::Esp => "esp",
        }
    }
}

impl Parser<'_, '_> {
    /// The error about an identifier that has no qualifiers and takes none.
    pub(super) fn without_qualifiers(&self) -> Error {
        let token = self.peek();
        let text = self.text.get(token.span.clone()).unwrap_or_default();
        let (cause, hint) = match &self.lost {
            Lost::Group(Some(lost)) => {
                let words = lost.words(self.text);
                let cause = format!("`{words}` holds only inside the parentheses");
                (cause, Some(format!("repeat it: `{} {}`", words, shown(text))))
            }
            Lost::Word(lost, by) => {
                let (words, by) = (lost.words(self.text), self.text.get(by.clone()).unwrap_or_default());
                let cause = format!("`{}` no longer holds after `{}`", words, shown(by));
                (cause, Some(format!("repeat it: `{} {}`", words, shown(text))))
            }
            Lost::None | Lost::Group(None) => {
                let cause = "a qualifier, such as `host` or `port`, is missing before this";
                (cause.into(), guess(token, text))
            }
        };
        let hint = self.name_hint(token).or(hint);
        self.error(ErrorKind::Syntax, token.span.clone(), cause).hint(hint)
    }
}

/// What an identifier most likely is.
fn guess(token: &Token<'_>, text: &str) -> Option<String> {
    let text = shown(text);
    Some(match token.kind {
        TokenKind::Number(_) if text.starts_with("tcp-") => format!("write `tcp[tcpflags] & {text} != 0`"),
        TokenKind::Number(0..=65535) => format!("write `port {text}`"),
        TokenKind::Ether(_) => format!("write `ether host {text}`"),
        TokenKind::Dotted(_) | TokenKind::Ipv6(_) => format!("write `host {text}`"),
        TokenKind::Name(_) => format!("write `host {text}` or `port {text}`"),
        _ => return None,
    })
}
