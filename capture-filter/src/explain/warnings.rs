//! Mistakes that are no errors: what an expression does not select, although it reads as if it did.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use crate::{
    error::{shown, underlined},
    expression::{
        Arithmetic, ArithmeticStep, Expression, Family, IndexProtocol, Primitive, Span, Step, StepKind,
        Transports,
    },
    lexer::keyword,
};

/// A mistake that is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What kind of mistake it is.
    pub kind: WarningKind,
    /// The part of the text that it is about.
    pub span: Span,
    /// What the expression does.
    pub message: String,
    /// What to write instead, if something else is meant. Empty where capture selects the same then.
    pub hint: String,
}

/// Kinds of mistakes, and of what is worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// `port 80`: frames with a VLAN tag are not selected.
    Tagged,
    /// `port 80 and vlan`, `vlan 1 or vlan 2`: `vlan` moves all that is read by later text.
    VlanShift,
    /// `tcp[13] = 2`: the bytes of transport protocols are read over IPv4 only.
    Ipv4Only,
    /// `A or B and C`: both rank equal.
    Precedence,
    /// `not port 80 or 443`: `not` covers one item.
    Negation,
    /// `tcp[1000] = 0 or port 80`: a load beyond the end ends the evaluation.
    ShortPackets,
    /// `port 53`: UDP and SCTP are meant, too, and capture prints TCP.
    OtherTransports,
}

impl WarningKind {
    /// Whether it is no mistake, and most expressions have it.
    pub fn is_note(self) -> bool {
        matches!(self, Self::Tagged | Self::OtherTransports)
    }
}

impl Warning {
    /// The message, the expression with a line that points at the part, and the hint, as
    /// [`Error::render`](crate::error::Error::render) shows them. A [note](WarningKind::is_note) is one line.
    pub fn render(&self, text: &str) -> String {
        if self.kind.is_note() {
            let separator = if self.hint.is_empty() { "" } else { "; " };
            return format!("note: {self}{separator}{}", self.hint);
        }
        format!("{self}\n{}\nhint: {}", underlined(text, &self.span), self.hint)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The mistakes in an expression that was read from `text`: at most one of each kind, the first one.
pub fn warnings(expression: &Expression, text: &str) -> Vec<Warning> {
    let mut check = Check { text, depths: depths(text), warnings: Vec::new() };
    let mut stack: Vec<Part> = Vec::new();
    for step in &expression.steps {
        let part = match &step.kind {
            StepKind::Primitive(primitive) => check.leaf(primitive, step),
            StepKind::Not => match stack.pop() {
                Some(part) => {
                    Part { root: Root::Not(step.span.clone()), needs_ipv6: false, is_negative: true, ..part }
                }
                None => continue,
            },
            StepKind::And | StepKind::Or => {
                let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { continue };
                check.pair(left, step, right)
            }
        };
        stack.push(part);
    }
    if let Some(part) = stack.pop() {
        check.whole(&part);
    }
    check.warnings
}

/// What is known about a part of an expression.
struct Part {
    root: Root,
    /// Where its first identifier, or word, begins.
    start: usize,
    /// It is an identifier.
    is_item: bool,
    /// There is a `not` in it.
    is_negative: bool,
    /// A test reads the network layer or what is above it.
    reads_ip: bool,
    /// The first `vlan` in it.
    vlan: Option<Span>,
    /// It holds for IPv6 packets only.
    needs_ipv6: bool,
    /// The first relation in it with bytes that only IPv4 packets have.
    index4: Option<Span>,
    /// The first relation in it that reads bytes which a packet may not have.
    far: Option<Span>,
}

/// What a part is: its operator and where that stands.
enum Root {
    Leaf,
    Not(Span),
    And,
    Or(Span),
}

struct Check<'t> {
    text: &'t str,
    /// How many parentheses are open before each byte, and at the end.
    depths: Vec<u32>,
    warnings: Vec<Warning>,
}

impl Check<'_> {
    fn leaf(&mut self, primitive: &Primitive, step: &Step) -> Part {
        let span = step.span.clone();
        let (needs_ipv6, reads_ip) = reads(primitive);
        let mut part = Part {
            root: Root::Leaf,
            start: span.start,
            is_item: keyword(self.text.get(span.clone()).unwrap_or_default()).is_none(),
            is_negative: false,
            reads_ip,
            vlan: matches!(primitive, Primitive::Vlan(_)).then(|| span.clone()),
            needs_ipv6,
            index4: None,
            far: None,
        };
        if let Primitive::Relation { left, right, .. } = primitive {
            let loads = [left, right].map(loads);
            part.is_item = false;
            part.reads_ip = loads.iter().any(|loads| loads.ip);
            part.index4 = loads.iter().any(|loads| loads.transport).then(|| span.clone());
            part.far = loads.iter().any(|loads| loads.far).then(|| span.clone());
        }
        if let Primitive::Port { transports: Transports { tcp: true, udp, sctp }, .. } = primitive
            && (*udp || *sctp)
        {
            let message = "a port without `tcp` is one of UDP and SCTP, too; capture prints only TCP";
            self.warn(WarningKind::OtherTransports, span, message.into(), String::new());
        }
        part
    }

    fn pair(&mut self, left: Part, step: &Step, right: Part) -> Part {
        let span = step.span.clone();
        let is_or = step.kind == StepKind::Or;
        // The addresses of a name are joined by an `or` that is not in the text.
        let is_written =
            self.text.get(span.clone()).is_some_and(|word| matches!(word, "and" | "or" | "&&" | "||"));
        if is_written {
            self.precedence(&left, &span, is_or, &right);
        }
        self.vlan(&left, is_or, &right);
        if is_or && let Some(far) = &left.far {
            let message = "a packet that is too short for this does not match, whatever follows `or`";
            self.warn(WarningKind::ShortPackets, far.clone(), message.into(), "put this test last".into());
        }
        for (ipv6, index) in [(&left, &right), (&right, &left)] {
            if !is_or
                && ipv6.needs_ipv6
                && let Some(index) = &index.index4
            {
                let message = "bytes of TCP, UDP, SCTP and ICMP are read over IPv4 only: no packet matches this and IPv6";
                let hint = "read the bytes after the fixed header: `ip6[40 + N]`";
                self.warn(WarningKind::Ipv4Only, index.clone(), message.into(), hint.into());
            }
        }
        Part {
            root: match is_or {
                true if is_written => Root::Or(span),
                true => Root::Leaf,
                false => Root::And,
            },
            start: left.start,
            is_item: false,
            is_negative: left.is_negative || right.is_negative,
            reads_ip: left.reads_ip || right.reads_ip,
            vlan: left.vlan.or(right.vlan),
            needs_ipv6: if is_or {
                left.needs_ipv6 && right.needs_ipv6
            } else {
                left.needs_ipv6 || right.needs_ipv6
            },
            index4: left.index4.or(right.index4),
            far: left.far.or(right.far),
        }
    }

    /// `A or B and C`, and `not port 80 or 443`.
    fn precedence(&mut self, left: &Part, operator: &Span, is_or: bool, right: &Part) {
        match &left.root {
            Root::Or(first) if !is_or && self.depth(first.end) == self.depth(operator.start) => {
                let message = "`and` and `or` rank equal, from left to right: this is `(.. or ..) and ..`";
                let hint = "use parentheses: `(.. or ..) and ..` or `.. or (.. and ..)`";
                self.warn(WarningKind::Precedence, first.start..operator.end, message.into(), hint.into());
            }
            Root::Not(not) if self.depth(not.end) == self.depth(operator.start) => {
                let between = self.text.get(operator.end..right.start).unwrap_or("..");
                if right.is_item && between.trim().is_empty() {
                    let message = "`not` covers only the item after it, not the next ones";
                    let hint = format!("use parentheses: `not (.. {} ..)`", if is_or { "or" } else { "and" });
                    self.warn(WarningKind::Negation, not.start..operator.end, message.into(), hint);
                }
            }
            _ => {}
        }
    }

    fn vlan(&mut self, left: &Part, is_or: bool, right: &Part) {
        let (span, message, hint) = match (&left.vlan, &right.vlan) {
            (None, Some(vlan)) if !is_or && left.reads_ip => (
                vlan,
                "what stands before `vlan` is looked for in frames without this tag, what follows it behind the tag",
                "put `vlan` first",
            ),
            (Some(vlan), _)
                if (is_or || matches!(left.root, Root::Not(_)))
                    && (right.reads_ip || right.vlan.is_some()) =>
            {
                (
                    vlan,
                    "`vlan` moves whatever later text reads behind the tag, also after `or` and `not`",
                    "put the part without `vlan` first: `E or (vlan and E)`",
                )
            }
            _ => return,
        };
        self.warn(WarningKind::VlanShift, span.clone(), message.into(), hint.into());
    }

    /// What only the whole expression shows.
    fn whole(&mut self, part: &Part) {
        if let Some(index) = &part.index4 {
            let message =
                "bytes of TCP, UDP, SCTP and ICMP are read over IPv4 only: no IPv6 packet matches this";
            let hint = "for IPv6 read the bytes after the fixed header: `ip6[40 + N]`";
            self.warn(WarningKind::Ipv4Only, index.clone(), message.into(), hint.into());
        }
        if part.vlan.is_none() && part.reads_ip {
            let text = shown(self.text.trim());
            let whole = if text.ends_with('…') { "E".into() } else { text };
            let hint = if part.is_negative {
                format!("for tagged frames write `vlan and ({whole})`")
            } else {
                format!("for both kinds write `{whole} or (vlan and ({whole}))`")
            };
            let message = "a VLAN tag in the bytes of a frame hides IP and TCP from this";
            let start = self.text.len() - self.text.trim_start().len();
            self.warn(WarningKind::Tagged, start..self.text.trim_end().len(), message.into(), hint);
        }
    }

    /// Adds a warning, unless there is one of its kind.
    fn warn(&mut self, kind: WarningKind, span: Span, message: String, hint: String) {
        if self.warnings.iter().all(|warning| warning.kind != kind) {
            self.warnings.push(Warning { kind, span, message, hint });
        }
    }

    fn depth(&self, at: usize) -> u32 {
        self.depths.get(at).copied().unwrap_or_default()
    }
}

/// How many parentheses are open before each byte of `text`, and at its end.
fn depths(text: &str) -> Vec<u32> {
    let mut depth: u32 = 0;
    let mut depths: Vec<u32> = Vec::with_capacity(text.len() + 1);
    for byte in text.bytes() {
        depths.push(depth);
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depths.push(depth);
    depths
}

/// Whether a primitive holds for IPv6 only, and whether it reads the network layer or what is above it.
fn reads(primitive: &Primitive) -> (bool, bool) {
    match primitive {
        Primitive::EtherType(0x86dd)
        | Primitive::Protocol { family: Some(Family::Ipv6), .. }
        | Primitive::Ipv6 { .. }
        | Primitive::Ip6Multicast => (true, true),
        Primitive::EtherType(_)
        | Primitive::Protocol { .. }
        | Primitive::Ipv4 { .. }
        | Primitive::Port { .. }
        | Primitive::IpBroadcast
        | Primitive::IpMulticast => (false, true),
        Primitive::Relation { .. }
        | Primitive::Ether { .. }
        | Primitive::Vlan(_)
        | Primitive::Inbound
        | Primitive::Outbound
        | Primitive::IfIndex(_)
        | Primitive::EtherBroadcast
        | Primitive::EtherMulticast => (false, false),
    }
}

/// What the loads of a side read.
#[derive(Default)]
struct Loads {
    ip: bool,
    transport: bool,
    far: bool,
}

fn loads(side: &Arithmetic) -> Loads {
    let mut loads = Loads::default();
    let mut before = None;
    for step in &side.steps {
        if let ArithmeticStep::Load { protocol, size } = step {
            // How many bytes of it each packet has that is not malformed.
            let sure = match protocol {
                IndexProtocol::Ether => 14,
                IndexProtocol::Ip | IndexProtocol::Tcp => 20,
                IndexProtocol::Ip6 => 40,
                IndexProtocol::Arp | IndexProtocol::Rarp => 28,
                IndexProtocol::Sctp => 12,
                _ => 8,
            };
            let ends = match before {
                Some(ArithmeticStep::Number(index)) => index.saturating_add(size.bytes()),
                _ => u32::MAX,
            };
            loads.far |= ends > sure;
            loads.ip |= *protocol != IndexProtocol::Ether;
            let is_network = matches!(
                protocol,
                IndexProtocol::Ether
                    | IndexProtocol::Ip
                    | IndexProtocol::Ip6
                    | IndexProtocol::Arp
                    | IndexProtocol::Rarp
                    | IndexProtocol::Icmp6
            );
            loads.transport |= !is_network;
        }
        before = Some(*step);
    }
    loads
}
