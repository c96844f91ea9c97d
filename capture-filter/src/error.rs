//! Why an expression is refused, and where in the text.

use alloc::{
    format,
    string::{String, ToString as _},
};
use core::{error, fmt};

use crate::expression::Span;

/// How many characters of an expression [`Error::render`] shows at most.
const WIDTH: usize = 76;

/// How many characters of a word a message shows at most.
const WORD: usize = 48;

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of fault it is.
    pub kind: ErrorKind,
    /// The part of the text that is at fault. Empty at the end of the text if something is missing there.
    pub span: Span,
    /// What is refused, as a message names it: harmless to print, and short.
    pub subject: String,
    /// The reason.
    pub cause: String,
    /// What to write instead, if the mistake is known.
    pub hint: Option<String>,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The words do not follow each other in this order.
    Syntax,
    /// A number, an address or a length is out of its range or malformed.
    Value,
    /// A qualifier does not go with what it qualifies.
    Qualifier,
    /// A name cannot be resolved.
    Name,
    /// pcap-filter(7) has it, capture does not.
    Unsupported,
}

impl Error {
    /// An error about the part of `text` at `span`.
    pub(crate) fn new(kind: ErrorKind, text: &str, span: Span, cause: impl Into<String>) -> Self {
        let subject = text.get(span.clone()).unwrap_or_default();
        let subject = match subject.chars().next() {
            None => "end of the expression".into(),
            Some(first) if first.is_ascii_alphanumeric() => shown(subject),
            Some(_) => format!("`{}`", shown(subject)),
        };
        Self { kind, span, subject, cause: cause.into(), hint: None }
    }

    /// The same with another subject.
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.subject = shown(subject);
        self
    }

    /// The same with a hint.
    pub(crate) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The message, the expression with a line that points at the fault, and the hint: several lines without a newline
    /// at the end. Of a long expression, what surrounds the fault. Of the text it shows nothing but printable ASCII and
    /// `…`, whatever the text holds.
    pub fn render(&self, text: &str) -> String {
        let mut lines = format!("{self}\n{}", underlined(text, &self.span));
        if let Some(hint) = &self.hint {
            lines.push_str("\nhint: ");
            lines.push_str(hint);
        }
        lines
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.cause)
    }
}

impl error::Error for Error {}

/// A word as messages show it.
pub(crate) fn shown(word: &str) -> String {
    shortened(word, WORD)
}

/// A part of an expression as sentences quote it.
pub(crate) fn quoted(part: &str) -> String {
    shortened(part, 2 * WIDTH)
}

fn shortened(word: &str, width: usize) -> String {
    let mut shown: String = word.chars().take(width).map(harmless).collect();
    if word.chars().nth(width).is_some() {
        shown.push('…');
    }
    shown
}

/// What stands for a character, one column wide. Others than printable ASCII can move the cursor, or have another width.
fn harmless(character: char) -> char {
    match character {
        ' '..='~' => character,
        '\t' | '\n' | '\r' => ' ',
        _ => '?',
    }
}

/// Two lines: the expression, or what fits around `span`, and under it a line that points there.
pub(crate) fn underlined(text: &str, span: &Span) -> String {
    let columns = |bytes: usize| text.get(..bytes).map_or(0, |before| before.chars().count());
    let (total, start) = (columns(text.len()), columns(span.start));
    let marked = columns(span.end).saturating_sub(start).clamp(1, WIDTH / 2);
    // The fault stands a third from the left where something is cut off.
    let first = if total <= WIDTH { 0 } else { start.saturating_sub(WIDTH / 3).min(total - WIDTH) };
    let mut line: String = text.chars().skip(first).take(WIDTH).map(harmless).collect();
    if first + WIDTH < total {
        line.push('…');
    }
    let lead = if first > 0 { "…" } else { "" };
    let indent = " ".repeat(start - first + lead.chars().count());
    let line = line.trim_end().to_string();
    format!("  {lead}{line}\n  {indent}^{}", "~".repeat(marked - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_points_at_the_word() {
        let text = "tcp and port 70000";
        let error = Error::new(ErrorKind::Value, text, 13..18, "ports go up to 65535").about("port 70000");
        let error = error.hint("write 443".to_string());
        let expected =
            "port 70000: ports go up to 65535\n  tcp and port 70000\n               ^~~~~\nhint: write 443";
        assert_eq!(error.render(text), expected);
    }

    #[test]
    fn what_is_missing_at_the_end_is_pointed_at() {
        let error = Error::new(ErrorKind::Syntax, "tcp and", 7..7, "an operand is missing");
        assert_eq!(
            error.render("tcp and"),
            "end of the expression: an operand is missing\n  tcp and\n         ^"
        );
    }

    #[test]
    fn nothing_harmful_and_nothing_long_is_shown() {
        let text = "port 1 or ".repeat(5000) + "\u{1b}[2J\u{202e}é\n" + &" or port 2".repeat(5000);
        let error = Error::new(ErrorKind::Syntax, &text, 50_000..50_010, "no word");
        let rendered = error.render(&text);
        let lines: Vec<_> = rendered.lines().collect();
        assert_eq!(lines[0], "`?[2J?? `: no word");
        assert_eq!(lines[1].chars().nth(lines[2].find('^').unwrap()), Some('?'), "{rendered}");
        assert!(lines.iter().all(|line| line.chars().count() <= 2 + WIDTH + 2), "{rendered}");
        assert!(rendered.chars().all(|c| matches!(c, ' '..='~' | '\n' | '…')), "{rendered}");
    }
}
