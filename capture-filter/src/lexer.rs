//! The words of an expression. The longest match counts, as in tcpdump: `80and` is one word.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::net::Ipv6Addr;

pub(crate) use self::words::{Keyword, Protocol, Refusal, Type, keyword};
use crate::{
    error::{Error, ErrorKind, shown},
    expression::{Operator, RelationOperator, Span},
};

mod words;

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token<'t> {
    pub(crate) kind: TokenKind<'t>,
    pub(crate) span: Span,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind<'t> {
    Keyword(Keyword),
    /// A number or a named constant.
    Number(u32),
    /// Two to four numbers with dots between, not yet checked: `10.1`, `10.0.0.256`.
    Dotted(&'t str),
    Ipv6(Ipv6Addr),
    Ether([u8; 6]),
    /// A word that is nothing else.
    Name(&'t str),
    /// The word after a backslash, which is never a keyword, nor a number.
    Escaped(&'t str),
    And,
    Or,
    Not,
    Open,
    Close,
    OpenIndex,
    CloseIndex,
    Colon,
    Operator(Operator),
    Relation(RelationOperator),
    /// The text cannot be read on. Always the last one.
    Bad(Box<Error>),
    /// The end of the text. Always the last one.
    End,
}

/// The words of a text: at least one, of which the last one is [`TokenKind::End`] or [`TokenKind::Bad`].
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        at += blanks;
        let rest = text.get(at..).unwrap_or_default();
        let (kind, length) = match next(rest) {
            Ok(found) => found,
            Err((kind, length, cause)) => {
                let error = Error::new(kind, text, at..at + length, cause);
                (TokenKind::Bad(Box::new(error.hint(hint(rest)))), length)
            }
        };
        let last = matches!(kind, TokenKind::End | TokenKind::Bad(_));
        tokens.push(Token { kind, span: at..at + length });
        at += length;
        if last {
            return tokens;
        }
    }
}

/// A fault: its kind, how many bytes it concerns, and the cause.
type Fault = (ErrorKind, usize, String);

/// The word at the beginning of `rest`, and its length in bytes.
fn next(rest: &str) -> Result<(TokenKind<'_>, usize), Fault> {
    let Some(first) = rest.chars().next() else { return Ok((TokenKind::End, 0)) };
    if first == '\\' {
        return escaped(rest);
    }
    if let Some(found) = address(rest)? {
        return Ok(found);
    }
    if first.is_ascii_alphanumeric() {
        let word = word(rest);
        return Ok((classify(word)?, word.len()));
    }
    symbol(rest).ok_or_else(|| {
        let cause = "this character has no place in an expression";
        (ErrorKind::Syntax, first.len_utf8(), cause.into())
    })
}

/// Operators and parentheses.
fn symbol(rest: &str) -> Option<(TokenKind<'_>, usize)> {
    use RelationOperator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    use TokenKind::{And, Close, CloseIndex, Colon, Not, Open, OpenIndex, Or, Relation};

    let bytes = rest.as_bytes();
    let pair = match bytes.get(..2) {
        Some(b"&&") => Some(And),
        Some(b"||") => Some(Or),
        Some(b"==") => Some(Relation(Equal)),
        Some(b"!=") => Some(Relation(NotEqual)),
        Some(b"<=") => Some(Relation(LessOrEqual)),
        Some(b">=") => Some(Relation(GreaterOrEqual)),
        Some(b"<<") => Some(TokenKind::Operator(Operator::ShiftLeft)),
        Some(b">>") => Some(TokenKind::Operator(Operator::ShiftRight)),
        _ => None,
    };
    if let Some(kind) = pair {
        return Some((kind, 2));
    }
    let kind = match bytes.first()? {
        b'!' => Not,
        b'(' => Open,
        b')' => Close,
        b'[' => OpenIndex,
        b']' => CloseIndex,
        b':' => Colon,
        b'=' => Relation(Equal),
        b'<' => Relation(Less),
        b'>' => Relation(Greater),
        b'+' => TokenKind::Operator(Operator::Add),
        b'-' => TokenKind::Operator(Operator::Subtract),
        b'*' => TokenKind::Operator(Operator::Multiply),
        b'/' => TokenKind::Operator(Operator::Divide),
        b'%' => TokenKind::Operator(Operator::Modulo),
        b'&' => TokenKind::Operator(Operator::And),
        b'|' => TokenKind::Operator(Operator::Or),
        b'^' => TokenKind::Operator(Operator::Xor),
        _ => return None,
    };
    Some((kind, 1))
}

/// A word after a backslash: it ends at a blank, at a parenthesis and at `!`, and may hold any other character.
fn escaped(rest: &str) -> Result<(TokenKind<'_>, usize), Fault> {
    let name = rest.get(1..).unwrap_or_default();
    let end = name.find([' ', '\t', '\n', '\r', '(', ')', '!']).unwrap_or(name.len());
    match name.get(..end) {
        None | Some("") => Err((ErrorKind::Syntax, 1, "no word follows the backslash".into())),
        Some(name) => Ok((TokenKind::Escaped(name), 1 + end)),
    }
}

/// The letters, digits, `.`, `_` and `-` from here on; neither `_` nor `-` is its last.
fn word(rest: &str) -> &str {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default().trim_end_matches(['_', '-'])
}

/// What a word is that is no address with colons.
fn classify(word: &str) -> Result<TokenKind<'_>, Fault> {
    let fault = |kind, cause| Err((kind, word.len(), cause));
    if let Some(kind) = words::word(word) {
        return Ok(kind);
    }
    if let Some(address) = ether(word) {
        return match address {
            Some(address) => Ok(TokenKind::Ether(address)),
            None => {
                let cause = "between the groups of an Ethernet address one and the same separator stands: `:`, `-` or `.`";
                fault(ErrorKind::Value, cause.into())
            }
        };
    }
    if let Some((digits, radix)) = number(word) {
        // A digit 8 or 9 after a leading 0 is the only one that its radix does not have.
        if radix == 8 && digits.contains(['8', '9']) {
            let cause =
                format!("a number with a leading 0 is octal, without the digits 8 and 9; write {}", {
                    shown(word.trim_start_matches('0'))
                });
            return fault(ErrorKind::Value, cause);
        }
        return match u32::from_str_radix(digits, radix) {
            Ok(number) => Ok(TokenKind::Number(number)),
            Err(_) => fault(ErrorKind::Value, "numbers go up to 4294967295 (32 bits)".into()),
        };
    }
    let parts = word.split('.').count();
    if (2..=4).contains(&parts) && word.split('.').all(|part| number(part).is_some()) {
        return Ok(TokenKind::Dotted(word));
    }
    Ok(TokenKind::Name(word))
}

/// The digits of a number and their radix.
fn number(word: &str) -> Option<(&str, u32)> {
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        let hexadecimal = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        return hexadecimal.then_some((digits, 16));
    }
    let decimal = !word.is_empty() && word.bytes().all(|digit| digit.is_ascii_digit());
    decimal.then_some((word, if word.starts_with('0') { 8 } else { 10 }))
}

/// An Ethernet address without colons, in one of its forms; `Some(None)` if it has two separators.
fn ether(word: &str) -> Option<Option<[u8; 6]>> {
    let hexadecimal = |part: &str| part.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut address = [0; 6];
    if word.len() == 12 && hexadecimal(word) {
        for (byte, at) in address.iter_mut().zip((0..12).step_by(2)) {
            *byte = u8::from_str_radix(word.get(at..at + 2)?, 16).ok()?;
        }
        return Some(Some(address));
    }
    let is_group = |part: &str| (1..=2).contains(&part.len()) && hexadecimal(part);
    let mut parts = word.split(['.', '-']);
    if word.split(['.', '-']).count() == 6 && parts.clone().all(is_group) {
        if word.contains('.') && word.contains('-') {
            return Some(None);
        }
        for (byte, part) in address.iter_mut().zip(parts) {
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        return Some(Some(address));
    }
    if word.len() == 14
        && word.split('.').count() == 3
        && parts.all(|part| part.len() == 4 && hexadecimal(part))
    {
        for (bytes, part) in address.chunks_exact_mut(2).zip(word.split('.')) {
            bytes.copy_from_slice(&u16::from_str_radix(part, 16).ok()?.to_be_bytes());
        }
        return Some(Some(address));
    }
    None
}

/// An address with at least two colons: of Ethernet or of IPv6.
fn address(rest: &str) -> Result<Option<(TokenKind<'_>, usize)>, Fault> {
    // No address is longer than `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let run = rest.get(..rest.bytes().take(45).take_while(is_part).count()).unwrap_or_default();
    if run.bytes().filter(|byte| *byte == b':').count() < 2 {
        return Ok(None);
    }
    // What follows may begin with a letter that is a digit, too: `1:2:3:4:5:66and`.
    for length in (2..=run.len()).rev() {
        let text = run.get(..length).unwrap_or_default();
        if let Ok(address) = text.parse() {
            return Ok(Some((TokenKind::Ipv6(address), length)));
        }
        let mut address = [0; 6];
        let is_group = |part: &str| (1..=2).contains(&part.len()) && !part.contains('.');
        if text.split(':').count() == 6 && text.split(':').all(is_group) {
            for (byte, part) in address.iter_mut().zip(text.split(':')) {
                *byte = u8::from_str_radix(part, 16).unwrap_or_default();
            }
            return Ok(Some((TokenKind::Ether(address), length)));
        }
    }
    Err((ErrorKind::Value, run.len(), "this is neither an IPv6 nor an Ethernet address".into()))
}

/// What to write instead of a character that has no place.
fn hint(rest: &str) -> Option<String> {
    let hint = match rest.chars().next()? {
        ',' => "write `or` between alternatives: `port 80 or 443`",
        '#' => "comments stand only in the files of -F",
        '"' | '\'' | '`' => "quote the whole expression for the shell, and nothing in it",
        '$' | ';' | '{' | '}' | '~' | '?' | '@' => {
            "put the expression in single quotes, so that the shell does not change it"
        }
        '_' | '.' => "words begin with a letter or a digit",
        _ => return None,
    };
    Some(hint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind<'_>> {
        let mut kinds: Vec<_> = tokens(text).into_iter().map(|token| token.kind).collect();
        assert_eq!(kinds.pop(), Some(TokenKind::End), "{text}");
        kinds
    }

    fn cause(text: &str) -> String {
        let last = tokens(text).pop().unwrap();
        let TokenKind::Bad(error) = last.kind else { panic!("{text} is read") };
        error.cause
    }

    #[test]
    fn the_longest_match_is_a_word() {
        assert_eq!(kinds("80and"), [TokenKind::Name("80and")]);
        assert_eq!(kinds("5-1"), [TokenKind::Name("5-1")]);
        assert_eq!(kinds("a- 1_2"), kinds("a - 1_2"));
        assert_eq!(kinds("80&&443"), [TokenKind::Number(80), TokenKind::And, TokenKind::Number(443)]);
        assert_eq!(kinds("\\tcp)"), [TokenKind::Escaped("tcp"), TokenKind::Close]);
    }

    #[test]
    fn numbers_have_three_radices() {
        assert_eq!(kinds("80 0x50 0X50 0120"), vec![TokenKind::Number(80); 4]);
        assert_eq!(kinds("tcp-syn|tcp-ack").len(), 3);
        assert_eq!(kinds("0x"), [TokenKind::Name("0x")]);
        assert!(cause("080").ends_with("write 80"));
        assert!(cause("4294967376").starts_with("numbers go up to"));
    }

    #[test]
    fn addresses_have_many_forms() {
        let ether = TokenKind::Ether([2, 0, 0, 0, 0, 1]);
        let forms = "02:00:00:00:00:01 2:0:0:0:0:1 2-0-0-0-0-1 2.0.0.0.0.1 0200.0000.0001 020000000001";
        assert_eq!(kinds(forms), vec![ether; 6]);
        assert_eq!(kinds("::1"), [TokenKind::Ipv6(Ipv6Addr::LOCALHOST)]);
        assert_eq!(kinds("1:2:3:4:5:66and").len(), 2);
        assert_eq!(kinds("12:1]").len(), 4);
        assert!(cause("0:1:1").starts_with("this is neither"));
        assert!(cause("2.0-0.0.0.1").starts_with("between the groups"));
        assert_eq!(kinds("10.1 1.2.3.4.5"), [TokenKind::Dotted("10.1"), TokenKind::Name("1.2.3.4.5")]);
    }

    #[test]
    fn other_characters_are_refused() {
        for text in ["é", "host é", "_a", ".a", "tcp;", "a\u{b}b", "\\", "\\ a", "\u{feff}tcp", "a\0b"] {
            cause(text);
        }
    }
}
