//! The phrase for one primitive.

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Leaf, family, list};
use crate::{
    error::quoted,
    expression::{
        Arithmetic, ArithmeticStep, Direction, IndexProtocol, Ipv4Scope, Operator, Primitive,
        RelationOperator, Size, Transports,
    },
};

/// The flags of TCP, from the lowest bit on.
const FLAGS: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];

/// Of which byte of the TCP header they are.
const FLAGS_OFFSET: u32 = 13;

/// The phrase for a primitive that was read from `text`. `tags` is how many `vlan` stand before it, in an expression
/// that has any.
pub(super) fn leaf(primitive: &Primitive, text: &str, tags: Option<usize>) -> Leaf {
    match primitive {
        Primitive::EtherType(0x0800) => are("IPv4"),
        Primitive::EtherType(0x86dd) => are("IPv6"),
        Primitive::EtherType(0x0806) => are("ARP"),
        Primitive::EtherType(0x8035) => are("RARP"),
        Primitive::EtherType(number) => are(&format!("of EtherType {number:#06x}")),
        Primitive::Protocol { family: None, number: 6 } => match tags {
            None => Leaf { is_tcp: true, ..are("TCP") },
            Some(0) => are("untagged TCP"),
            Some(_) => are("TCP behind the tag"),
        },
        Primitive::Protocol { family: of, number } => {
            let name = match (number, of) {
                // All packets that are printed are TCP.
                (6, Some(of)) => return are(&family(*of)),
                (17, _) => "UDP".into(),
                (132, _) => "SCTP".into(),
                (1, _) => "ICMP".into(),
                (58, _) => "ICMPv6".into(),
                _ => format!("of IP protocol {number}"),
            };
            match of {
                Some(of) => are(&format!("{name} over {}", family(*of))),
                None => are(&name),
            }
        }
        Primitive::Ipv4 { scope, direction, address, mask } => {
            let protocol = match scope {
                Ipv4Scope::Any => "",
                Ipv4Scope::Ip => "IPv4 ",
                Ipv4Scope::Arp => "ARP ",
                Ipv4Scope::Rarp => "RARP ",
            };
            let (kind, object) = ipv4(*address, *mask);
            moving(*direction, &format!("{protocol}{kind}"), named(object, text))
        }
        Primitive::Ipv6 { direction, address, mask } => {
            let address = Ipv6Addr::from_bits(*address);
            match mask.leading_ones() {
                128 => moving(*direction, "host", named(address.to_string(), text)),
                length => moving(*direction, "network", format!("{address}/{length}")),
            }
        }
        Primitive::Ether { direction, address } => {
            let address: Vec<_> = address.iter().map(|byte| format!("{byte:02x}")).collect();
            moving(*direction, "Ethernet station", address.join(":"))
        }
        Primitive::Port { transports, direction, low, high } => {
            let protocol = transport(*transports);
            if low == high {
                moving(*direction, &format!("{protocol}port"), low.to_string())
            } else {
                moving(*direction, &format!("{protocol}ports"), format!("{low} to {high}"))
            }
        }
        Primitive::Vlan(identifier) => vlan(*identifier, tags.unwrap_or_default()),
        Primitive::Inbound => other("come in by the interface", "do not come in by the interface"),
        Primitive::Outbound => other("leave by the interface", "do not leave by the interface"),
        Primitive::IfIndex(index) => other(
            &format!("pass the interface of index {index}"),
            &format!("do not pass the interface of index {index}"),
        ),
        Primitive::EtherBroadcast => are("Ethernet broadcasts"),
        Primitive::EtherMulticast => are("Ethernet multicasts or broadcasts"),
        Primitive::IpBroadcast => are("IPv4 broadcasts"),
        Primitive::IpMulticast => are("IPv4 multicasts"),
        Primitive::Ip6Multicast => are("IPv6 multicasts"),
        Primitive::Relation { left, operator, right } => relation(left, *operator, right, text),
    }
}

fn other(positive: &str, negative: &str) -> Leaf {
    Leaf { positive: positive.into(), negative: negative.into(), objects: Vec::new(), is_tcp: false }
}

fn are(what: &str) -> Leaf {
    other(&format!("are {what}"), &format!("are not {what}"))
}

/// A VLAN tag, behind those that earlier text has looked for.
fn vlan(identifier: Option<u16>, tags: usize) -> Leaf {
    let identifier =
        identifier.map(|identifier| format!(" with identifier {identifier}")).unwrap_or_default();
    let behind = match tags {
        0 => String::new(),
        1 => " behind another one".into(),
        _ => format!(" behind {tags} others"),
    };
    other(&format!("have a VLAN tag{identifier}{behind}"), &format!("have no VLAN tag{identifier}{behind}"))
}

/// "come from" and "go to" something.
fn moving(direction: Direction, kind: &str, object: String) -> Leaf {
    let (positive, negative) = match direction {
        Direction::Source => ("come from", "do not come from"),
        Direction::Destination => ("go to", "do not go to"),
        Direction::Either => ("come from or go to", "neither come from nor go to"),
        Direction::Both => ("both come from and go to", "do not both come from and go to"),
    };
    let mut leaf = other(&format!("{positive} {kind}"), &format!("{negative} {kind}"));
    leaf.objects.push(object);
    leaf
}

fn ipv4(address: u32, mask: u32) -> (&'static str, String) {
    let shown = Ipv4Addr::from_bits(address);
    let ones = mask.leading_ones();
    if ones == 32 {
        ("host", shown.to_string())
    } else if mask.count_ones() == ones {
        ("network", format!("{shown}/{ones}"))
    } else {
        ("network", format!("{shown} mask {}", Ipv4Addr::from_bits(mask)))
    }
}

/// An address, and in parentheses the name that it was found under.
fn named(address: String, text: &str) -> String {
    let name = text.strip_prefix('\\').unwrap_or(text);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains(':');
    if is_name { format!("{address} ({})", crate::error::shown(name)) } else { address }
}

/// Which protocol's ports, if TCP's are not among them.
fn transport(transports: Transports) -> &'static str {
    match transports {
        Transports { tcp: true, .. } => "",
        Transports { udp: true, sctp: false, .. } => "UDP ",
        Transports { udp: false, sctp: true, .. } => "SCTP ",
        _ => "UDP or SCTP ",
    }
}

fn relation(left: &Arithmetic, operator: RelationOperator, right: &Arithmetic, text: &str) -> Leaf {
    if let Some(leaf) = length(left, operator, right).or_else(|| flags(left, operator, right)) {
        return leaf;
    }
    let text = quoted(text);
    other(&format!("satisfy `{text}`"), &format!("do not satisfy `{text}`"))
}

/// Comparisons of the length with a number.
fn length(left: &Arithmetic, operator: RelationOperator, right: &Arithmetic) -> Option<Leaf> {
    let ([ArithmeticStep::Length], [ArithmeticStep::Number(number)]) = (&*left.steps, &*right.steps) else {
        return None;
    };
    let what = match operator {
        RelationOperator::Equal => format!("exactly {number} bytes long"),
        RelationOperator::NotEqual => return Some(negated(are(&format!("exactly {number} bytes long")))),
        RelationOperator::Less => format!("shorter than {number} bytes"),
        RelationOperator::LessOrEqual => format!("at most {number} bytes long"),
        RelationOperator::Greater => format!("longer than {number} bytes"),
        RelationOperator::GreaterOrEqual => format!("at least {number} bytes long"),
    };
    Some(are(&what))
}

fn negated(leaf: Leaf) -> Leaf {
    Leaf { positive: leaf.negative, negative: leaf.positive, ..leaf }
}

/// Comparisons of TCP's flags with constants.
fn flags(left: &Arithmetic, operator: RelationOperator, right: &Arithmetic) -> Option<Leaf> {
    let load = ArithmeticStep::Load { protocol: IndexProtocol::Tcp, size: Size::Byte };
    let value = constant(&right.steps)?;
    let mask = match &*left.steps {
        [ArithmeticStep::Number(FLAGS_OFFSET), first] if *first == load => 0xff,
        [ArithmeticStep::Number(FLAGS_OFFSET), first, mask @ .., ArithmeticStep::Binary(Operator::And)]
            if *first == load =>
        {
            constant(mask)?
        }
        _ => return None,
    };
    if mask == 0 || mask > 0xff || value & !mask != 0 {
        return None;
    }
    let (set, clear) = (names(value), names(mask & !value));
    let what = match operator {
        // Any of them.
        RelationOperator::NotEqual if value == 0 => format!("with {} set", list(&names(mask), "or")),
        RelationOperator::Equal if mask == 0xff && value != 0 => {
            format!("with only {} set", list(&set, "and"))
        }
        RelationOperator::Equal if set.is_empty() => format!("without {} set", list(&clear, "or")),
        RelationOperator::Equal if clear.is_empty() => format!("with {} set", list(&set, "and")),
        RelationOperator::Equal => {
            format!("with {} set and {} not set", list(&set, "and"), list(&clear, "and"))
        }
        _ => return None,
    };
    Some(are(&format!("IPv4 {what}")))
}

/// The names of the flags in `bits`.
fn names(bits: u32) -> Vec<String> {
    FLAGS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| (*name).into()).collect()
}

/// The value of numbers that are joined by `|`, `&` and `+`.
fn constant(steps: &[ArithmeticStep]) -> Option<u32> {
    let mut stack: Vec<u32> = Vec::new();
    for step in steps {
        let value = match step {
            ArithmeticStep::Number(number) => *number,
            ArithmeticStep::Binary(operator) => {
                let (right, left) = (stack.pop()?, stack.pop()?);
                match operator {
                    Operator::Or => left | right,
                    Operator::And => left & right,
                    Operator::Add => left.wrapping_add(right),
                    _ => return None,
                }
            }
            _ => return None,
        };
        stack.push(value);
    }
    let value = stack.pop()?;
    stack.is_empty().then_some(value)
}
