//! Random expressions as what the parser makes of them, and as text.

use capture_filter::expression::{
    Arithmetic, ArithmeticStep, Direction, Expression, Family, IndexProtocol, Ipv4Scope, Operator, Primitive,
    RelationOperator, Size, Step, StepKind, Transports,
};
use test_support::random::Random;

use crate::packets::{PORTS, PROTOCOLS, VLANS, ipv4_address, ipv6_address, mac_address};

/// A random expression.
pub(crate) fn expression(random: &mut Random) -> Expression {
    let mut steps = Vec::new();
    let terms = random.pick(&[1, 1, 2, 2, 3, 4, 6]);
    add_terms(random, &mut steps, terms);
    Expression { steps: steps.into_iter().map(|kind| Step { kind, span: 0..0 }).collect() }
}

/// A random chain of alternatives of which most begin with keys of few kinds: `(host A and port B) or (host C and port D) ..`.
pub(crate) fn pairs(random: &mut Random) -> Expression {
    let shapes: Vec<[u32; 2]> = (0..random.between(1, 2)).map(|_| [(); 2].map(|()| random.u32())).collect();
    let mut steps = Vec::new();
    for number in 0..random.between(4, 16) {
        if random.one_in(8) {
            steps.push(StepKind::Primitive(primitive(random)));
        } else {
            let [first, rest] = random.pick(&shapes);
            steps.push(StepKind::Primitive(key(random, first)));
            steps.push(StepKind::Primitive(key(random, rest)));
            if random.one_in(6) {
                steps.push(StepKind::Not);
            }
            if random.one_in(4) {
                steps.push(StepKind::Primitive(key(random, first ^ rest)));
                steps.push(if random.one_in(2) { StepKind::And } else { StepKind::Or });
            }
            steps.push(StepKind::And);
        }
        if number > 0 {
            steps.push(StepKind::Or);
        }
    }
    Expression { steps: steps.into_iter().map(|kind| Step { kind, span: 0..0 }).collect() }
}

/// A primitive of a kind.
fn key(random: &mut Random, kind: u32) -> Primitive {
    let direction = [Direction::Either, Direction::Source, Direction::Destination, Direction::Either]
        .get(kind as usize / 8 % 4)
        .copied()
        .unwrap_or(Direction::Both);
    match kind % 8 {
        0..=2 => {
            let mask = random.pick(&[u32::MAX, u32::MAX, u32::MAX, 0xffff_ff00, 0xff00_0000]);
            let address = u32::from_be_bytes(ipv4_address(random)) & mask;
            let scope = if kind & 64 == 0 { Ipv4Scope::Any } else { Ipv4Scope::Ip };
            Primitive::Ipv4 { scope, direction, address, mask }
        }
        3 => {
            let length = random.pick(&[128, 128, 64, 32]);
            let mask = u128::MAX << (128 - length);
            let address = u128::from_be_bytes(ipv6_address(random)) & mask;
            Primitive::Ipv6 { direction, address, mask }
        }
        4..=6 => {
            let low = random.pick(&PORTS);
            let transports = Transports { tcp: true, udp: kind & 32 == 0, sctp: kind & 32 == 0 };
            let high = if random.one_in(8) { low.saturating_add(9) } else { low };
            Primitive::Port { transports, direction, low, high }
        }
        _ => Primitive::Protocol { family: None, number: random.pick(&PROTOCOLS).into() },
    }
}

fn add_terms(random: &mut Random, steps: &mut Vec<StepKind>, terms: usize) {
    if terms <= 1 {
        steps.push(StepKind::Primitive(primitive(random)));
    } else {
        let left = random.between(1, terms - 1);
        add_terms(random, steps, left);
        add_terms(random, steps, terms - left);
        steps.push(if random.one_in(2) { StepKind::And } else { StepKind::Or });
    }
    if random.one_in(6) {
        steps.push(StepKind::Not);
    }
}

fn direction(random: &mut Random) -> Direction {
    random.pick(&[
        Direction::Source,
        Direction::Destination,
        Direction::Either,
        Direction::Either,
        Direction::Both,
    ])
}

fn primitive(random: &mut Random) -> Primitive {
    match random.below(30) {
        0 | 1 => Primitive::EtherType(random.pick(&[
            0x800, 0x86dd, 0x806, 0x8035, 0x8100, 0x88a8, 100, 0x42, 6, 0xf0, 0xfe, 0xe0, 0x809b, 0x80f3,
            0x8137, 1500, 1501, 70000, 0, 4, 1,
        ])),
        2..=6 => Primitive::Protocol {
            family: random.pick(&[None, None, Some(Family::Ipv4), Some(Family::Ipv6)]),
            number: if random.one_in(2) { 6 } else { random.pick(&PROTOCOLS).into() },
        },
        7..=10 => {
            let mask = random.pick(&[u32::MAX, u32::MAX, 0xff00_0000, 0xffff_ff00, 0xff00_00ff, 0]);
            Primitive::Ipv4 {
                scope: random.pick(&[
                    Ipv4Scope::Any,
                    Ipv4Scope::Any,
                    Ipv4Scope::Ip,
                    Ipv4Scope::Arp,
                    Ipv4Scope::Rarp,
                ]),
                direction: direction(random),
                address: u32::from_be_bytes(ipv4_address(random)) & mask,
                mask,
            }
        }
        11 | 12 => {
            let length = random.pick(&[128, 128, 64, 32, 63, 16, 0]);
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            let address = u128::from_be_bytes(ipv6_address(random)) & mask;
            Primitive::Ipv6 { direction: direction(random), address, mask }
        }
        13 => Primitive::Ether { direction: direction(random), address: mac_address(random) },
        14..=19 => {
            let low = random.pick(&PORTS);
            let transports =
                random.pick(&[[true; 3], [true, false, false], [false, true, false], [false, false, true]]);
            Primitive::Port {
                transports: Transports { tcp: transports[0], udp: transports[1], sctp: transports[2] },
                direction: direction(random),
                low,
                high: if random.one_in(3) { low.saturating_add(random.u16() & 1023) } else { low },
            }
        }
        20 | 21 => Primitive::Vlan(random.one_in(2).then(|| random.pick(&VLANS))),
        22 => random.pick(&[Inbound, Outbound, EtherBroadcast, EtherMulticast]).into(),
        23 => random.pick(&[IpBroadcast, IpMulticast, Ip6Multicast, IfIndex]).into(),
        _ => {
            let steps = random.pick(&[0, 1, 1, 2, 3]);
            let mut left = Vec::new();
            arithmetic(random, &mut left, steps);
            let mut right = Vec::new();
            if random.one_in(5) {
                arithmetic(random, &mut right, 1);
            } else {
                right.push(ArithmeticStep::Number(number(random)));
            }
            let operator = random.pick(&[
                RelationOperator::Equal,
                RelationOperator::Equal,
                RelationOperator::NotEqual,
                RelationOperator::Less,
                RelationOperator::LessOrEqual,
                RelationOperator::Greater,
                RelationOperator::GreaterOrEqual,
            ]);
            Primitive::Relation {
                left: Arithmetic { steps: left },
                operator,
                right: Arithmetic { steps: right },
            }
        }
    }
}

/// Primitives without operands.
#[derive(Clone, Copy)]
enum Bare {
    Inbound,
    Outbound,
    EtherBroadcast,
    EtherMulticast,
    IpBroadcast,
    IpMulticast,
    Ip6Multicast,
    IfIndex,
}
use Bare::{
    EtherBroadcast, EtherMulticast, IfIndex, Inbound, Ip6Multicast, IpBroadcast, IpMulticast, Outbound,
};

impl From<Bare> for Primitive {
    fn from(bare: Bare) -> Self {
        match bare {
            Inbound => Self::Inbound,
            Outbound => Self::Outbound,
            EtherBroadcast => Self::EtherBroadcast,
            EtherMulticast => Self::EtherMulticast,
            IpBroadcast => Self::IpBroadcast,
            IpMulticast => Self::IpMulticast,
            Ip6Multicast => Self::Ip6Multicast,
            IfIndex => Self::IfIndex(2),
        }
    }
}

fn number(random: &mut Random) -> u32 {
    match random.below(6) {
        0 => random.u32(),
        1 => u32::from(random.pick(&PORTS)),
        2 => u32::from(random.u8()),
        _ => u32::from(random.u8() & 31),
    }
}

fn arithmetic(random: &mut Random, steps: &mut Vec<ArithmeticStep>, depth: usize) {
    match random.below(if depth == 0 { 4 } else { 12 }) {
        0 => steps.push(ArithmeticStep::Length),
        1..=5 => {
            if depth > 1 && random.one_in(2) {
                arithmetic(random, steps, depth - 2);
                steps.extend([
                    ArithmeticStep::Number(random.pick(&[15, 31, 7])),
                    ArithmeticStep::Binary(Operator::And),
                ]);
            } else if random.one_in(20) {
                let number = u32::from(random.u8() & 15);
                steps.extend([ArithmeticStep::Number(number), ArithmeticStep::Negate]);
            } else {
                steps.push(ArithmeticStep::Number(u32::from(random.u8() & 31)));
            }
            use IndexProtocol::{Arp, Ether, Icmp, Icmp6, Igmp, Ip, Ip6, Pim, Rarp, Sctp, Tcp, Udp, Vrrp};
            let protocol = random.pick(&[
                Ether, Ether, Ip, Ip, Ip, Ip6, Ip6, Tcp, Tcp, Tcp, Tcp, Udp, Sctp, Icmp, Icmp6, Igmp, Pim,
                Vrrp, Arp, Rarp,
            ]);
            steps.push(ArithmeticStep::Load {
                protocol,
                size: random.pick(&[Size::Byte, Size::Half, Size::Word]),
            });
        }
        6 => {
            arithmetic(random, steps, depth - 1);
            steps.push(ArithmeticStep::Negate);
        }
        _ => {
            use Operator::{Add, And, Divide, Modulo, Multiply, Or, ShiftLeft, ShiftRight, Subtract, Xor};
            arithmetic(random, steps, depth - 1);
            let operator = random
                .pick(&[Add, Subtract, Multiply, Divide, Modulo, And, And, Or, Xor, ShiftLeft, ShiftRight]);
            if random.one_in(3) {
                arithmetic(random, steps, depth - 1);
            } else {
                steps.push(ArithmeticStep::Number(u32::from(random.u8() & 31) | 1));
            }
            steps.push(ArithmeticStep::Binary(operator));
        }
    }
}

/// The expression as a user would have to write it.
pub(crate) fn text(expression: &Expression) -> String {
    let mut stack: Vec<String> = Vec::new();
    for step in &expression.steps {
        let text = match &step.kind {
            StepKind::Primitive(primitive) => primitive_text(primitive),
            StepKind::Not => format!("not ({})", stack.pop().unwrap()),
            kind => {
                let (right, left) = (stack.pop().unwrap(), stack.pop().unwrap());
                format!("({left}) {} ({right})", if *kind == StepKind::And { "and" } else { "or" })
            }
        };
        stack.push(text);
    }
    stack.pop().unwrap_or_default()
}

fn direction_text(direction: Direction) -> &'static str {
    match direction {
        Direction::Source => "src ",
        Direction::Destination => "dst ",
        Direction::Either => "",
        Direction::Both => "src and dst ",
    }
}

fn primitive_text(primitive: &Primitive) -> String {
    match primitive {
        Primitive::EtherType(number) => format!("ether proto {number}"),
        Primitive::Protocol { family, number } => match family {
            None => format!("proto {number}"),
            Some(Family::Ipv4) => format!("ip proto {number}"),
            Some(Family::Ipv6) => format!("ip6 proto {number}"),
        },
        Primitive::Ipv4 { scope, direction, address, mask } => {
            let scope = match scope {
                Ipv4Scope::Any => "",
                Ipv4Scope::Ip => "ip ",
                Ipv4Scope::Arp => "arp ",
                Ipv4Scope::Rarp => "rarp ",
            };
            let (address, mask) = (std::net::Ipv4Addr::from(*address), std::net::Ipv4Addr::from(*mask));
            format!("{scope}{}net {address} mask {mask}", direction_text(*direction))
        }
        Primitive::Ipv6 { direction, address, mask } => {
            let address = std::net::Ipv6Addr::from(*address);
            format!("ip6 {}net {address}/{}", direction_text(*direction), mask.leading_ones())
        }
        Primitive::Ether { direction, address } => {
            let [a, b, c, d, e, f] = address;
            format!(
                "ether {}host {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}",
                direction_text(*direction)
            )
        }
        Primitive::Port { transports, direction, low, high } => {
            let transport = match (transports.tcp, transports.udp, transports.sctp) {
                (true, true, true) => "",
                (true, ..) => "tcp ",
                (_, true, _) => "udp ",
                _ => "sctp ",
            };
            let direction = direction_text(*direction);
            if low == high {
                format!("{transport}{direction}port {low}")
            } else {
                format!("{transport}{direction}portrange {low}-{high}")
            }
        }
        Primitive::Vlan(None) => "vlan".to_owned(),
        Primitive::Vlan(Some(identifier)) => format!("vlan {identifier}"),
        Primitive::Inbound => "inbound".to_owned(),
        Primitive::Outbound => "outbound".to_owned(),
        Primitive::IfIndex(index) => format!("ifindex {index}"),
        Primitive::EtherBroadcast => "ether broadcast".to_owned(),
        Primitive::EtherMulticast => "ether multicast".to_owned(),
        Primitive::IpBroadcast => "ip broadcast".to_owned(),
        Primitive::IpMulticast => "ip multicast".to_owned(),
        Primitive::Ip6Multicast => "ip6 multicast".to_owned(),
        Primitive::Relation { left, operator, right } => {
            let operator = match operator {
                RelationOperator::Equal => "=",
                RelationOperator::NotEqual => "!=",
                RelationOperator::Less => "<",
                RelationOperator::LessOrEqual => "<=",
                RelationOperator::Greater => ">",
                RelationOperator::GreaterOrEqual => ">=",
            };
            format!("{} {operator} {}", arithmetic_text(left), arithmetic_text(right))
        }
    }
}

fn arithmetic_text(arithmetic: &Arithmetic) -> String {
    let mut stack: Vec<String> = Vec::new();
    for step in &arithmetic.steps {
        let text = match step {
            ArithmeticStep::Number(number) => number.to_string(),
            ArithmeticStep::Length => "len".to_owned(),
            ArithmeticStep::Load { protocol, size } => {
                let protocol = format!("{protocol:?}").to_lowercase();
                format!("{protocol}[{}:{}]", stack.pop().unwrap(), size.bytes())
            }
            ArithmeticStep::Negate => format!("(-({}))", stack.pop().unwrap()),
            ArithmeticStep::Binary(operator) => {
                let operator = match operator {
                    Operator::Add => "+",
                    Operator::Subtract => "-",
                    Operator::Multiply => "*",
                    Operator::Divide => "/",
                    Operator::Modulo => "%",
                    Operator::And => "&",
                    Operator::Or => "|",
                    Operator::Xor => "^",
                    Operator::ShiftLeft => "<<",
                    Operator::ShiftRight => ">>",
                };
                let (right, left) = (stack.pop().unwrap(), stack.pop().unwrap());
                format!("({left} {operator} {right})")
            }
        };
        stack.push(text);
    }
    stack.pop().unwrap_or_default()
}
