//! From text to an [`Expression`]. The grammar is the one that tcpdump 4.99.3 shows in runs: one level for `and` and
//! `or`, and items without qualifiers of their own that take those of the primitive to their left.
//!
//! Nothing here is recursive: what is open (`not`, a first operand, a parenthesis) is on a stack.

use alloc::{format, string::String, vec::Vec};

use crate::{
    error::{Error, ErrorKind},
    expression::{Expression, Operator, Primitive, Span, Step, StepKind},
    lexer::{Keyword, Protocol, Token, TokenKind, tokens},
    names::Names,
    parser::qualifiers::{Lost, Qualifiers},
};

mod address;
mod arithmetic;
mod hints;
mod identifier;
mod port;
mod primitive;
mod qualifiers;

/// Reads an expression. Text of blanks selects everything.
///
/// An expression is text. Bytes that are not UTF-8 have no place in it: the caller refuses them as tcpdump does, as a
/// syntax error.
///
/// # Errors
///
/// The first fault from left to right, with its place; names are resolved in the same order, and what `names` says is
/// quoted.
pub fn parse(text: &str, names: &mut dyn Names) -> Result<Expression, Error> {
    let tokens = tokens(text);
    if matches!(tokens.first(), Some(Token { kind: TokenKind::End, .. })) {
        return Ok(Expression::default());
    }
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        names,
        steps: Vec::new(),
        pending: Vec::new(),
        qualifiers: None,
        lost: Lost::None,
    };
    parser.expression()?;
    Ok(Expression { steps: parser.steps })
}

struct Parser<'t, 'n> {
    text: &'t str,
    /// The last one is the end of the text or what cannot be read.
    tokens: Vec<Token<'t>>,
    /// The index of the next token.
    at: usize,
    names: &'n mut dyn Names,
    steps: Vec<Step>,
    /// What waits for an operand, or for its parenthesis.
    pending: Vec<Pending>,
    /// What an item without qualifiers takes.
    qualifiers: Option<Qualifiers>,
    /// Why there are none, for hints.
    lost: Lost,
}

enum Pending {
    Not(Span),
    /// The operator after a first operand.
    Binary(StepKind, Span),
    Group(Group),
}

/// An open parenthesis.
struct Group {
    open: Span,
    content: Content,
    /// Those that are in force again after it.
    saved: Option<Qualifiers>,
    /// It holds only a number, perhaps in further parentheses. Only such a group may be the first operand in a group of
    /// identifiers.
    is_number: bool,
    /// It is the first operand of a group.
    is_first: bool,
}

/// What may stand in a group.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    /// The first operand decides. Nothing but parentheses has been read.
    Undecided,
    /// A whole expression.
    Expression,
    /// Only identifiers: it belongs to qualifiers, or an identifier was first.
    Identifiers,
}

impl<'t> Parser<'t, '_> {
    fn expression(&mut self) -> Result<(), Error> {
        loop {
            self.operand()?;
            if !self.operator()? {
                return Ok(());
            }
        }
    }

    /// Reads an operand, with `not` and opening parentheses before it.
    fn operand(&mut self) -> Result<(), Error> {
        loop {
            let token = self.peek();
            let (kind, span) = (token.kind.clone(), token.span.clone());
            match kind {
                TokenKind::Not => {
                    self.at += 1;
                    self.is_no_number();
                    self.pending.push(Pending::Not(span));
                }
                TokenKind::Open => {
                    self.at += 1;
                    let content = if self.content() == Content::Identifiers {
                        Content::Identifiers
                    } else {
                        Content::Undecided
                    };
                    self.open(span, content);
                }
                TokenKind::Number(_)
                    if self.content() != Content::Identifiers && self.arithmetic_follows() =>
                {
                    return self.relation();
                }
                TokenKind::Number(_)
                | TokenKind::Dotted(_)
                | TokenKind::Ipv6(_)
                | TokenKind::Ether(_)
                | TokenKind::Name(_)
                | TokenKind::Escaped(_) => return self.item(),
                _ if self.content() == Content::Identifiers => {
                    return Err(
                        self.unexpected("only identifiers stand here, without qualifiers of their own")
                    );
                }
                TokenKind::Operator(Operator::Subtract) | TokenKind::Keyword(Keyword::Length) => {
                    return self.relation();
                }
                TokenKind::Keyword(Keyword::Protocol(_))
                    if matches!(self.peek_at(1).kind, TokenKind::OpenIndex) =>
                {
                    return self.relation();
                }
                TokenKind::Keyword(keyword) => return self.primitive(keyword),
                _ => return Err(self.unexpected("an expression, such as `tcp port 80`, is missing here")),
            }
        }
    }

    /// Reads an identifier without qualifiers of its own.
    fn item(&mut self) -> Result<(), Error> {
        let Some(qualifiers) = self.qualifiers.clone() else { return Err(self.without_qualifiers()) };
        self.decide(Content::Identifiers);
        if !matches!(self.peek().kind, TokenKind::Number(_)) {
            self.is_no_number();
        }
        self.identifier(&qualifiers)
    }

    /// Reads what follows qualifiers: an identifier, or several in parentheses.
    fn qualified(&mut self, qualifiers: Qualifiers) -> Result<(), Error> {
        self.decide(Content::Expression);
        self.qualifiers = Some(qualifiers.clone());
        loop {
            let (kind, span) = (self.peek().kind.clone(), self.peek().span.clone());
            match kind {
                TokenKind::Not => {
                    self.at += 1;
                    self.pending.push(Pending::Not(span));
                }
                TokenKind::Open => {
                    self.at += 1;
                    self.open(span, Content::Identifiers);
                    // The group's first operand, in turn: it is not nested in this call.
                    return self.operand();
                }
                _ => return self.identifier(&qualifiers),
            }
        }
    }

    /// Reads what follows an operand, up to the operator before the next one. False at the end of the text.
    fn operator(&mut self) -> Result<bool, Error> {
        loop {
            self.reduce();
            let (kind, span) = (self.peek().kind.clone(), self.peek().span.clone());
            let operator = match kind {
                TokenKind::And => StepKind::And,
                TokenKind::Or => StepKind::Or,
                TokenKind::Close => {
                    self.close()?;
                    continue;
                }
                TokenKind::End => {
                    return match self.pending.last() {
                        None => Ok(false),
                        Some(Pending::Group(group)) => Err(self.not_closed(group.open.clone())),
                        Some(_) => Err(self.unexpected("an operand is missing here")),
                    };
                }
                _ => return Err(self.unexpected("`and` or `or` is missing before this")),
            };
            self.at += 1;
            self.is_no_number();
            self.pending.push(Pending::Binary(operator, span));
            return Ok(true);
        }
    }

    /// Applies the operators that wait for the operand that is complete now.
    fn reduce(&mut self) {
        while let Some(pending) = self.pending.pop() {
            match pending {
                Pending::Not(span) => self.steps.push(Step { kind: StepKind::Not, span }),
                Pending::Binary(kind, span) => self.steps.push(Step { kind, span }),
                Pending::Group(_) => {
                    self.pending.push(pending);
                    return;
                }
            }
        }
    }

    fn open(&mut self, open: Span, content: Content) {
        let is_first = matches!(self.pending.last(), Some(Pending::Group(_)));
        let saved = self.qualifiers.clone();
        self.pending.push(Pending::Group(Group { open, content, saved, is_number: true, is_first }));
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(Pending::Group(group)) = self.pending.pop() else {
            return Err(self.unexpected("no parenthesis is open here"));
        };
        if group.content == Content::Identifiers
            && group.is_first
            && !group.is_number
            && self.content() == Content::Identifiers
        {
            let span = group.open.start..self.peek().span.end;
            let cause = "a group of identifiers may begin with one in parentheses only if that is a number";
            return Err(self.error(ErrorKind::Syntax, span, cause));
        }
        if let Some(Pending::Group(outer)) = self.pending.last_mut() {
            outer.is_number &= group.is_number;
        }
        if self.qualifiers != group.saved {
            self.lost = Lost::Group(self.qualifiers.take());
            self.qualifiers = group.saved;
        }
        self.at += 1;
        Ok(())
    }

    /// The group whose operand is read holds more than a number.
    fn is_no_number(&mut self) {
        if let Some(Pending::Group(group)) = self.pending.last_mut() {
            group.is_number = false;
        }
    }

    /// What may stand in the innermost group. Outside of all, a whole expression.
    fn content(&self) -> Content {
        let groups = self.pending.iter().rev().find_map(|pending| match pending {
            Pending::Group(group) => Some(group.content),
            _ => None,
        });
        groups.unwrap_or(Content::Expression)
    }

    /// Decides what the open groups are of which nothing has been read yet.
    fn decide(&mut self, content: Content) {
        for pending in self.pending.iter_mut().rev() {
            if let Pending::Group(group) = pending {
                if group.content != Content::Undecided {
                    return;
                }
                group.content = content;
            }
        }
    }

    /// Adds a primitive.
    fn push(&mut self, primitive: Primitive, span: Span) {
        self.steps.push(Step { kind: StepKind::Primitive(primitive), span });
    }

    /// No item takes qualifiers from here on.
    fn forget(&mut self, span: Span) {
        if let Some(qualifiers) = self.qualifiers.take() {
            self.lost = Lost::Word(qualifiers, span);
        }
    }

    fn peek(&self) -> &Token<'t> {
        self.peek_at(0)
    }

    /// The token so many after the next one, or the last one.
    fn peek_at(&self, ahead: usize) -> &Token<'t> {
        const END: Token<'static> = Token { kind: TokenKind::End, span: 0..0 };
        self.tokens.get(self.at + ahead).or(self.tokens.last()).unwrap_or(&END)
    }

    /// Whether a number is part of arithmetic, rather than an identifier: an operator or a relation follows, perhaps
    /// after parentheses that would hold only the number.
    fn arithmetic_follows(&self) -> bool {
        let undecided = |pending: &&Pending| matches!(pending, Pending::Group(group) if group.content == Content::Undecided);
        let mut groups = self.pending.iter().rev().take_while(undecided);
        let mut ahead = 1;
        while matches!(self.peek_at(ahead).kind, TokenKind::Close) && groups.next().is_some() {
            ahead += 1;
        }
        matches!(self.peek_at(ahead).kind, TokenKind::Operator(_) | TokenKind::Relation(_))
    }

    fn error(&self, kind: ErrorKind, span: Span, cause: impl Into<String>) -> Error {
        Error::new(kind, self.text, span, cause)
    }

    fn not_closed(&self, open: Span) -> Error {
        self.error(ErrorKind::Syntax, open, "this parenthesis is not closed")
    }

    /// A syntax error at the next token, unless that cannot be read at all.
    fn unexpected(&self, cause: &str) -> Error {
        let token = self.peek();
        match &token.kind {
            TokenKind::Bad(error) => (**error).clone(),
            TokenKind::Keyword(Keyword::Refused(refusal)) => {
                self.error(ErrorKind::Unsupported, token.span.clone(), refusal.cause())
            }
            _ => self.error(ErrorKind::Syntax, token.span.clone(), cause).hint(self.syntax_hint()),
        }
    }

    /// Refuses a protocol that does not go with what it qualifies.
    fn wrong_protocol(&self, protocol: Protocol, span: Span, what: &str, right: &str) -> Error {
        let cause = format!("`{}` does not qualify {what}: {right}", protocol.word());
        self.error(ErrorKind::Qualifier, span, cause)
    }
}

#[cfg(test)]
mod tests;
