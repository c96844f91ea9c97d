//! Which packets are selected: the ports of `--port` and the expression, as one filter, and the programs that decide for
//! frames of one kind.
//!
//! A packet is selected if both match it and it is TCP; that it is, and where its headers are, is for the parser in
//! `capture-common`. The ports are looked for behind up to two VLAN tags, as that parser looks for TCP. An expression
//! looks behind a tag where it says `vlan`, as tcpdump's does.

use std::{fmt, ops::RangeInclusive};

use capture_filter::{
    ebpf::{AssembleError, EbpfOptions, Hook, Instruction, assemble},
    error::Error,
    explain::warnings,
    expression::{Direction, Expression, Primitive, Step, StepKind, Transports},
    lower::{LowerError, lower},
    names::Names,
    parse,
    program::{Next, Program},
    target::{Link, Target},
};

use crate::ports::PortList;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In ascending order, not overlapping, not adjacent; none for all.
    ports: Vec<RangeInclusive<u16>>,
    /// The expression as it was typed; blank for everything.
    text: String,
    expression: Expression,
}

/// Why a filter selects nothing on an interface or in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}{hints}")]
pub struct FilterError {
    /// The reason.
    #[source]
    pub refusal: Refusal,
    /// The mistakes in the expression, each after a newline; most often none.
    pub hints: String,
}

/// The reason of a [`FilterError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The expression asks for what the frames do not have.
    #[error("the expression `{expression}`: {source}")]
    Impossible {
        /// The expression.
        expression: String,
        /// What they do not have.
        #[source]
        source: LowerError,
    },
    /// The kernel takes no program of this length.
    #[error("the expression `{expression}`: {source}")]
    TooLong {
        /// The expression.
        expression: String,
        /// How long it is.
        #[source]
        source: AssembleError,
    },
    /// No packet can match.
    #[error("the expression `{0}` selects no packet")]
    Nothing(String),
    /// No TCP packet can match.
    #[error("the expression `{0}` selects no TCP packet, and capture prints nothing else")]
    NoTcp(String),
    /// Only packets that go the other way can match.
    #[error("the expression `{expression}` selects no packet that {way}: {next_step}")]
    WrongWay {
        /// The expression.
        expression: String,
        /// Which way packets go that are captured.
        way: &'static str,
        /// Why no others are, and what to do about it.
        next_step: &'static str,
    },
}

impl Filter {
    /// The filter of these ports and of an expression.
    ///
    /// # Errors
    ///
    /// When the text is no expression, or a name in it has no number.
    pub fn new(lists: &[PortList], text: String, names: &mut dyn Names) -> Result<Self, Error> {
        let expression = parse(&text, names)?;
        Ok(Self { ports: ranges(lists), text, expression })
    }

    /// Whether every packet matches.
    pub fn is_everything(&self) -> bool {
        self.ports.is_empty() && self.expression.steps.is_empty()
    }

    /// The expression as it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the expression says.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// The filter as messages quote it: on one line, and the beginning of a long one.
    pub fn shown(&self) -> String {
        const WIDTH: usize = 150;

        let text = self.to_string();
        let mut words = String::with_capacity(text.len());
        for word in text.split_whitespace() {
            words.push_str(if words.is_empty() { "" } else { " " });
            words.push_str(word);
        }
        match words.char_indices().nth(WIDTH) {
            Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
            None => words,
        }
    }

    /// The programs that decide about frames of several kinds, one for each target.
    ///
    /// # Errors
    ///
    /// When none of them can match.
    pub fn programs(&self, targets: &[Target]) -> Result<Vec<Program>, FilterError> {
        // The expression by itself: with the ports in front, the optimiser proves less.
        let can_match = |target: &Target| {
            self.compiled(&self.expression, target).map(|program| program.entry != Next::Reject)
        };
        let alone = targets.iter().map(can_match).collect::<Result<Vec<bool>, _>>()?;
        let programs = targets.iter().map(|target| self.program(target)).collect::<Result<Vec<_>, _>>()?;
        let both = programs.iter().any(|program| program.entry != Next::Reject);
        if both && alone.contains(&true) {
            return Ok(programs);
        }
        let all = targets.iter().map(|target| can_match(&Target { only_tcp: false, ..*target }));
        let selects_others = !alone.contains(&true) && all.flatten().any(|can_match| can_match);
        let refusal = if selects_others { Refusal::NoTcp } else { Refusal::Nothing };
        Err(self.refused(refusal(self.shown())))
    }

    /// The program that decides about frames of one kind; it begins with [`Next::Reject`] where none can match.
    ///
    /// # Errors
    ///
    /// When the expression asks for what the frames do not have.
    pub fn program(&self, target: &Target) -> Result<Program, FilterError> {
        let expression = self.compiled(&self.expression, target)?;
        if self.ports.is_empty() {
            return Ok(expression);
        }
        Ok(self.compiled(&self.behind_tags(target.link), target)?.and(expression))
    }

    fn compiled(&self, expression: &Expression, target: &Target) -> Result<Program, FilterError> {
        lower(expression, target)
            .map_err(|source| self.refused(Refusal::Impossible { expression: self.shown(), source }))
    }

    /// The refusal, with what looks like a mistake in the expression.
    pub fn refused(&self, refusal: Refusal) -> FilterError {
        let warnings = warnings(&self.expression, &self.text);
        let mistakes = warnings.iter().filter(|warning| !warning.kind.is_note());
        let hints = mistakes.map(|warning| format!("\n{}", warning.render(&self.text))).collect();
        FilterError { refusal, hints }
    }

    /// The instructions that accept what a program accepts, to be placed in front of another program.
    ///
    /// # Errors
    ///
    /// When there would be too many.
    pub fn instructions(&self, program: &Program, hook: Hook) -> Result<Vec<Instruction>, FilterError> {
        assemble(program, &EbpfOptions { hook, helpers_only: false }).map_err(|source| FilterError {
            refusal: Refusal::TooLong { expression: self.shown(), source },
            hints: String::new(),
        })
    }

    /// The ports as an expression: `E or (vlan and (E or (vlan and E)))` where frames have tags.
    fn behind_tags(&self, link: Link) -> Expression {
        let step = |kind| Step { kind, span: 0..0 };
        let transports = Transports { tcp: true, udp: false, sctp: false };
        let mut ports = Vec::new();
        for range in &self.ports {
            let (low, high) = (*range.start(), *range.end());
            let direction = Direction::Either;
            let or = !ports.is_empty();
            ports.push(step(StepKind::Primitive(Primitive::Port { transports, direction, low, high })));
            if or {
                ports.push(step(StepKind::Or));
            }
        }
        let mut steps = ports.clone();
        if link == Link::Ethernet {
            for _ in 0..2 {
                steps.push(step(StepKind::Primitive(Primitive::Vlan(None))));
                steps.extend(ports.iter().cloned());
            }
            for _ in 0..2 {
                steps.extend([StepKind::And, StepKind::Or].map(step));
            }
        }
        Expression { steps }
    }
}

/// The ranges of all lists: sorted, and joined where they meet.
fn ranges(lists: &[PortList]) -> Vec<RangeInclusive<u16>> {
    let mut all: Vec<_> = lists.iter().flat_map(PortList::ranges).cloned().collect();
    all.sort_unstable_by_key(|range| *range.start());
    let mut joined: Vec<RangeInclusive<u16>> = Vec::new();
    for range in all {
        match joined.last_mut() {
            Some(last) if u32::from(*range.start()) <= u32::from(*last.end()) + 1 => {
                *last = *last.start()..=*range.end().max(last.end());
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// The filter as tcpdump's expression: `tcp`, `tcp port 8888`, `(tcp port 80 or tcp portrange 8000-8100) and (..)`.
impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.trim();
        if self.ports.is_empty() {
            return formatter.write_str(if text.is_empty() { "tcp" } else { text });
        }
        if !text.is_empty() {
            formatter.write_str("(")?;
        }
        let mut or = "";
        for range in &self.ports {
            match (range.start(), range.end()) {
                (low, high) if low == high => write!(formatter, "{or}tcp port {low}")?,
                (low, high) => write!(formatter, "{or}tcp portrange {low}-{high}")?,
            }
            or = " or ";
        }
        if text.is_empty() { Ok(()) } else { write!(formatter, ") and ({text})") }
    }
}

#[cfg(test)]
mod tests {
    use capture_filter::names::NoNames;

    use super::*;

    fn filter(lists: &[&str], text: &str) -> Filter {
        let lists: Vec<PortList> = lists.iter().map(|list| list.parse().unwrap()).collect();
        Filter::new(&lists, text.to_owned(), &mut NoNames).unwrap()
    }

    #[test]
    fn ports_lists_and_ranges_add_up() {
        let ports = |lists: &[&str]| filter(lists, "").ports;
        assert_eq!(ports(&[]), []);
        assert_eq!(ports(&["443,80", "80"]), [80..=80, 443..=443]);
        assert_eq!(ports(&["8000-8002,1", "0-0", "8001-8001", "8003"]), [0..=1, 8000..=8003]);
        assert_eq!(ports(&["0-65535,65535"]), [0..=65535]);
    }

    #[test]
    fn a_filter_is_an_expression() {
        for (lists, text, expected) in [
            (&[][..], " ", "tcp"),
            (&[], " host 10.0.0.1 ", "host 10.0.0.1"),
            (&["8888"], "", "tcp port 8888"),
            (&["2,8000-8100,80"], "", "tcp port 2 or tcp port 80 or tcp portrange 8000-8100"),
            (&["80,443"], "host 10.0.0.1", "(tcp port 80 or tcp port 443) and (host 10.0.0.1)"),
        ] {
            assert_eq!(filter(lists, text).to_string(), expected);
        }
    }
    #[test]
    fn messages_quote_the_beginning_of_a_long_filter() {
        assert_eq!(filter(&[], "tcp\n  port\t80 ").shown(), "tcp port 80");
        let long = vec!["host 10.0.0.1"; 100].join(" or ");
        assert_eq!(filter(&[], &long).shown(), format!("{}…", &long[..150]));
    }
}
