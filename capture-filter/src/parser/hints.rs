//! What to write instead: common mistakes, and the hint for each.

use alloc::{format, string::String};

use super::{
    Parser,
    qualifiers::{Kind, Qualifiers},
};
use crate::{
    error::shown,
    expression::{Operator, RelationOperator},
    lexer::{Keyword, Protocol, Token, TokenKind, Type, keyword},
};

impl Parser<'_, '_> {
    /// A hint about a syntax error at the next token.
    pub(super) fn syntax_hint(&self) -> Option<String> {
        let token = self.peek();
        let before = self.at.checked_sub(1).and_then(|before| self.tokens.get(before));
        let hint = self.name_hint(token).or_else(|| before.and_then(|before| self.name_hint(before)));
        hint.or_else(|| {
            let (before, after) = (before?, self.peek_at(1));
            let [first, second] = [before, after].map(|token| self.word(token));
            match (&before.kind, &token.kind, &after.kind) {
                (TokenKind::Dotted(_) | TokenKind::Name(_), TokenKind::Colon, TokenKind::Number(_)) => {
                    Some(format!("write `host {first} and port {second}`"))
                }
                (TokenKind::Number(_), TokenKind::Operator(Operator::Divide), TokenKind::Number(_)) => {
                    Some(format!("write the network with dots: `{first}.0.0.0/{second}`"))
                }
                (TokenKind::Number(_), TokenKind::Operator(Operator::Divide), TokenKind::Keyword(_)) => {
                    Some(format!("write `{second} port {first}`"))
                }
                (TokenKind::Number(_), TokenKind::Operator(Operator::Subtract), _) => {
                    Some("a range is written without blanks: `portrange 8000-8100`".into())
                }
                (_, TokenKind::Operator(Operator::And), _) => {
                    Some("write `and`, and quote the expression for the shell".into())
                }
                (_, TokenKind::Operator(Operator::Or), _) => Some("write `or`".into()),
                (TokenKind::Ipv6(_), TokenKind::Operator(Operator::Modulo), _) => {
                    Some(format!("leave out the zone: `{first}`"))
                }
                (_, TokenKind::OpenIndex, TokenKind::Ipv6(_)) => {
                    Some(format!("write the address without brackets: `{}`", self.word(after)))
                }
                (TokenKind::CloseIndex, TokenKind::End, _) => {
                    Some("quote the expression: unquoted, the shell ends it at `&`".into())
                }
                (TokenKind::Keyword(Keyword::Proto), TokenKind::Keyword(Keyword::Protocol(_)), _) => {
                    let word = self.word(token);
                    Some(format!("write `{word}` alone, or `\\{word}`"))
                }
                (TokenKind::Number(_), TokenKind::Number(_), _) => {
                    Some(format!("write `or` between alternatives: `{first} or {}`", self.word(token)))
                }
                (_, TokenKind::Not, _) => Some("write `and not`".into()),
                (TokenKind::Keyword(_), TokenKind::Relation(RelationOperator::NotEqual), _) => {
                    Some("write `not` in front instead: `not port 22`".into())
                }
                (TokenKind::Keyword(_), TokenKind::Relation(RelationOperator::Equal), _) => {
                    Some(format!("leave out `{}`", self.word(token)))
                }
                (_, TokenKind::Number(_) | TokenKind::Name(_), _)
                    if matches!(&before.kind, TokenKind::Keyword(word) if is_bare_protocol(*word)) =>
                {
                    let word = self.word(token);
                    let kind = if matches!(token.kind, TokenKind::Number(_)) { "port" } else { "host" };
                    Some(format!("write `{first} port {word}` or `{first} and {kind} {word}`"))
                }
                (_, TokenKind::Dotted(_) | TokenKind::Ipv6(_), _)
                    if matches!(&before.kind, TokenKind::Keyword(word) if is_bare_protocol(*word)) =>
                {
                    Some(format!("write `{first} and host {}`", self.word(token)))
                }
                _ => None,
            }
        })
    }

    /// A hint about a word that is no keyword.
    pub(super) fn name_hint(&self, token: &Token<'_>) -> Option<String> {
        let TokenKind::Name(name) = token.kind else { return None };
        let lower = name.to_ascii_lowercase();
        let is_word = |word: &str| keyword(word).is_some() || matches!(word, "and" | "or" | "not");
        if lower != name && is_word(&lower) {
            return Some(format!("keywords are in lower case: `{lower}`"));
        }
        let instead = match lower.as_str() {
            "dest" | "destination" | "to" => Some("dst"),
            "source" | "from" => Some("src"),
            "dport" => Some("dst port"),
            "sport" => Some("src port"),
            "ports" => Some("port"),
            "ipv6" => Some("ip6"),
            "ipv4" => Some("ip"),
            "range" => Some("portrange"),
            "network" => Some("net"),
            "eq" => Some("="),
            "ne" => Some("!="),
            "lt" => Some("<"),
            "gt" => Some(">"),
            "le" => Some("<="),
            "ge" => Some(">="),
            "tcp-psh" => Some("tcp-push"),
            "syn" => Some("tcp[tcpflags] & tcp-syn != 0"),
            "ack" => Some("tcp[tcpflags] & tcp-ack != 0"),
            "fin" => Some("tcp[tcpflags] & tcp-fin != 0"),
            "rst" => Some("tcp[tcpflags] & tcp-rst != 0"),
            "psh" => Some("tcp[tcpflags] & tcp-push != 0"),
            "flags" => Some("tcpflags"),
            _ => None,
        };
        if let Some(instead) = instead {
            return Some(format!("write `{instead}`"));
        }
        if let Some(instead) = display_filter(&lower) {
            let instead = match self.value_of(token) {
                Some(value) if instead.ends_with(" N") => format!("{}{value}", instead.trim_end_matches('N')),
                _ => instead,
            };
            return Some(format!("this is a display filter of Wireshark; write `{instead}`"));
        }
        if let Some((first, second)) = lower.split_once('-')
            && is_number(first)
            && is_number(second)
        {
            return Some(format!("write `portrange {first}-{second}`"));
        }
        for operator in ["and", "or", "not"] {
            let (before, after) = (name.strip_suffix(operator), name.strip_prefix(operator));
            if let Some(before) = before.filter(|before| is_word(before) || is_number(before)) {
                return Some(format!("is a blank missing? `{before} {operator}`"));
            }
            if let Some(after) = after.filter(|after| is_word(after) || is_number(after)) {
                return Some(format!("is a blank missing? `{operator} {after}`"));
            }
        }
        None
    }

    /// The value that a display filter compares its field with: `tcp.port eq 80`.
    fn value_of(&self, field: &Token<'_>) -> Option<String> {
        let at = self.tokens.iter().position(|token| token.span == field.span)?;
        let operator = &self.tokens.get(at + 1)?.kind;
        let value = self.tokens.get(at + 2)?;
        let compares =
            matches!(operator, TokenKind::Relation(RelationOperator::Equal) | TokenKind::Name("eq"));
        (compares && !matches!(value.kind, TokenKind::End | TokenKind::Bad(_))).then(|| self.word(value))
    }

    /// A hint about a protocol that has no hosts or networks.
    pub(super) fn protocol_hint(
        &self,
        protocol: Protocol,
        token: &Token<'_>,
        kind: Type,
        qualifiers: &Qualifiers,
    ) -> Option<String> {
        if protocol == Protocol::Ether {
            return None;
        }
        let words = qualifiers.words(self.text);
        let rest = words.split_once(' ').map(|(_, rest)| rest.trim_start().into());
        let (rest, id, protocol): (String, _, _) =
            (rest.unwrap_or_default(), self.last_word(), protocol.word());
        // `tcp src 80`: a number after a direction alone is meant as a port.
        let has_type = rest.ends_with("host") || rest.ends_with("net");
        if kind == Type::Host && !has_type && matches!(token.kind, TokenKind::Number(_)) {
            return Some(format!("write `{protocol} {rest} port {id}`"));
        }
        matches!(qualifiers.kind, Kind::Type(_)).then(|| format!("write `{protocol} and {rest} {id}`"))
    }

    /// The word that was read last, as hints show it.
    pub(super) fn last_word(&self) -> String {
        self.at
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last))
            .map(|last| self.word(last))
            .unwrap_or_default()
    }

    fn word(&self, token: &Token<'_>) -> String {
        shown(self.text.get(token.span.clone()).unwrap_or_default())
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|digit| digit.is_ascii_digit())
}

/// Whether a word alone is a whole expression, so that an identifier after it stands alone.
fn is_bare_protocol(word: Keyword) -> bool {
    matches!(word, Keyword::Protocol(protocol) if protocol != Protocol::Ether)
}

/// What says the same as a field of Wireshark's display filters; `N` stands for the value.
fn display_filter(name: &str) -> Option<String> {
    let (protocol, field) = name.split_once('.')?;
    Some(match (protocol, field) {
        ("tcp" | "udp", "port") => format!("{protocol} port N"),
        ("tcp" | "udp", "srcport") => format!("{protocol} src port N"),
        ("tcp" | "udp", "dstport") => format!("{protocol} dst port N"),
        ("ip" | "ipv6", "addr" | "host") => "host N".into(),
        ("ip" | "ipv6", "src" | "src_host") => "src host N".into(),
        ("ip" | "ipv6", "dst" | "dst_host") => "dst host N".into(),
        ("eth", "addr") => "ether host N".into(),
        ("eth", "src") => "ether src N".into(),
        ("eth", "dst") => "ether dst N".into(),
        ("vlan", "id") => "vlan N".into(),
        ("frame", "len") => "len = N".into(),
        ("tcp", _) if field.starts_with("flags") => "tcp[tcpflags] & tcp-syn != 0".into(),
        _ => return None,
    })
}
