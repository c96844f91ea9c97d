use super::*;
use crate::{
    expression::{
        Arithmetic, ArithmeticStep, Direction, IndexProtocol, Ipv4Scope, RelationOperator, Step, StepKind,
        Transports,
    },
    interpret::Frame,
    target::{ByteOrder, Way},
};

const FILE: Target = Target { link: Link::Ethernet, place: Place::File, only_tcp: false };

fn expression(kinds: impl IntoIterator<Item = StepKind>) -> Expression {
    Expression { steps: kinds.into_iter().map(|kind| Step { kind, span: 0..0 }).collect() }
}

fn one(primitive: Primitive) -> StepKind {
    StepKind::Primitive(primitive)
}

fn port(number: u16) -> StepKind {
    one(Primitive::Port {
        transports: Transports { tcp: true, udp: true, sctp: true },
        direction: Direction::Either,
        low: number,
        high: number,
    })
}

fn tcp() -> StepKind {
    one(Primitive::Protocol { family: None, number: 6 })
}

fn host(address: [u8; 4]) -> StepKind {
    let address = u32::from_be_bytes(address);
    let (scope, direction) = (Ipv4Scope::Any, Direction::Either);
    one(Primitive::Ipv4 { scope, direction, address, mask: u32::MAX })
}

fn vlan(identifier: Option<u16>) -> StepKind {
    one(Primitive::Vlan(identifier))
}

/// `protocol[index] = value`.
fn byte(protocol: IndexProtocol, index: u32, value: u32) -> StepKind {
    let load = ArithmeticStep::Load { protocol, size: Size::Byte };
    one(Primitive::Relation {
        left: Arithmetic { steps: vec![ArithmeticStep::Number(index), load] },
        operator: RelationOperator::Equal,
        right: Arithmetic { steps: vec![ArithmeticStep::Number(value)] },
    })
}

/// 10.0.0.1:1234 > 10.0.0.2:80, with tags of these identifiers.
fn frame(tags: &[u16]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for tag in tags {
        frame.extend([0x81, 0]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([4, 210, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    frame
}

fn says(target: &Target, kinds: &[StepKind], data: &[u8], tag: Option<u16>) -> bool {
    let program = lower(&expression(kinds.iter().cloned()), target).unwrap();
    for (index, test) in program.tests.iter().enumerate() {
        for next in [test.yes, test.no] {
            assert!(!matches!(next, Next::Test(next) if next as usize <= index), "backwards: {program:?}");
        }
    }
    program.matches(&Frame { data, wire_len: data.len() as u32, ifindex: 0, tag })
}

fn in_file(kinds: &[StepKind], tags: &[u16]) -> bool {
    says(&FILE, kinds, &frame(tags), None)
}

use StepKind::{And, Not, Or};

#[test]
fn questions_and_their_combinations() {
    assert!(in_file(&[], &[]));
    assert!(in_file(&[tcp()], &[]));
    assert!(in_file(&[port(80)], &[]));
    assert!(in_file(&[port(1234)], &[]));
    assert!(!in_file(&[port(81)], &[]));
    assert!(in_file(&[port(81), Not], &[]));
    assert!(in_file(&[port(81), port(80), Or], &[]));
    assert!(in_file(&[port(81), host([10, 0, 0, 1]), Or, port(80), And], &[]));
    assert!(!in_file(&[host([10, 0, 0, 3]), port(80), And], &[]));
    assert!(!in_file(&[port(80), Not, port(81), Not, And], &[]));
    assert!(in_file(&[port(82), Not, port(81), Not, And], &[]));
    assert!(in_file(&[byte(IndexProtocol::Tcp, 13, 2)], &[]));
    assert!(in_file(&[byte(IndexProtocol::Tcp, u32::MAX, 2)], &[]));
    assert!(!in_file(&[byte(IndexProtocol::Tcp, 1000, 2), Not], &[]));
}

#[test]
fn a_long_list_is_a_tree() {
    let ports = (0..1000).map(|number| port(number * 2));
    let ors = core::iter::repeat_n(Or, 999);
    let program = lower(&expression(ports.chain(ors)), &FILE).unwrap();
    let data = frame(&[]);
    assert!(program.matches(&Frame { data: &data, wire_len: 54, ..Frame::default() }));
    // Two directions, two families, a leaf and a comparison for each port.
    assert!(program.tests.len() < 8100, "{}", program.tests.len());
}

/// Comparisons on the longest way through a program.
fn depth(program: &Program) -> usize {
    let mut depths = vec![0; program.tests.len()];
    for (index, test) in program.tests.iter().enumerate().rev() {
        let of = |next| if let Next::Test(next) = next { depths[next as usize] } else { 0 };
        depths[index] = 1 + of(test.yes).max(of(test.no));
    }
    depths[0]
}

/// `(host A and port B) or (host C and port D) or ..`: what is behind one key is not asked behind another one.
#[test]
fn pairs_are_a_tree() {
    let first = 0x0a00_0002_u32.wrapping_sub(2 * 700);
    let pairs = |count: u32, shared: bool| {
        (0..count).flat_map(move |number| {
            let port = if shared && number != 700 { 443 } else { 80 + (number.abs_diff(700) as u16) };
            let or = if number == 0 { And } else { Or };
            let pair = [host(first.wrapping_add(2 * number).to_be_bytes()), self::port(port), And, or];
            pair.into_iter().take(if number == 0 { 3 } else { 4 })
        })
    };
    let data = frame(&[]);
    let matches =
        |program: &Program| program.matches(&Frame { data: &data, wire_len: 54, ..Frame::default() });
    for shared in [false, true] {
        let program = lower(&expression(pairs(2000, shared)), &FILE).unwrap();
        assert!(matches(&program));
        assert!(depth(&program) < 50, "{}", depth(&program));
        assert!(program.tests.len() < 2 * 2000 * 5, "{}", program.tests.len());
        assert!(!matches(&lower(&expression(pairs(700, shared)), &FILE).unwrap()));
    }
}

/// Of addresses that differ in the middle only, the rest is compared once.
#[test]
fn ipv6_hosts_are_told_apart_by_what_differs() {
    let host = |number: u128| {
        let address = 0x2001_0db8_0000_0000_0000_0000_0000_0001 | number << 64;
        one(Primitive::Ipv6 { direction: Direction::Source, address, mask: u128::MAX })
    };
    let hosts = (0..1000).map(|number| host(number * 2)).chain(core::iter::repeat_n(Or, 999));
    let program = lower(&expression(hosts), &FILE).unwrap();
    assert!(program.tests.len() < 2010, "{}", program.tests.len());
}

#[test]
fn vlan_shifts_all_later_text() {
    assert!(in_file(&[vlan(None), tcp(), And], &[5]));
    assert!(in_file(&[vlan(Some(5)), tcp(), And], &[5]));
    assert!(!in_file(&[vlan(Some(6)), tcp(), And], &[5]));
    assert!(!in_file(&[vlan(None), tcp(), And], &[]));
    assert!(!in_file(&[vlan(None), Not, tcp(), And], &[]));
    assert!(in_file(&[vlan(None), vlan(Some(7)), And, tcp(), And], &[5, 7]));
    assert!(!in_file(&[vlan(None), tcp(), And, tcp(), Or], &[]));
    assert!(in_file(&[tcp(), vlan(None), tcp(), And, Or], &[]));
}

#[test]
fn where_the_kernel_keeps_the_outermost_tag() {
    let expressions: &[&[StepKind]] = &[
        &[tcp()],
        &[port(80)],
        &[vlan(None)],
        &[vlan(Some(5))],
        &[vlan(Some(6))],
        &[vlan(Some(5)), port(80), And],
        &[vlan(None), vlan(Some(7)), And, tcp(), And],
        &[vlan(None), Not],
        &[tcp(), vlan(None), And, port(80), Or],
        &[tcp(), Not, vlan(None), And, port(80), Or],
        &[byte(IndexProtocol::Ether, 12, 8)],
        &[byte(IndexProtocol::Ether, 11, 1)],
        &[byte(IndexProtocol::Ip, u32::MAX, 0)],
        // Before the frame's first byte, where nothing is.
        &[byte(IndexProtocol::Ip, 15_u32.wrapping_neg(), 0), tcp(), Or],
        &[byte(IndexProtocol::Tcp, 13, 2)],
    ];
    let at = |place| Target { place, ..FILE };
    for expression in expressions {
        for tags in [&[][..], &[5], &[5, 7], &[6, 7]] {
            let inline = frame(tags);
            let bare = frame(tags.get(1..).unwrap_or_default());
            let tag = tags.first().copied();
            let at_tc = says(&at(Place::Tc(Way::In)), expression, &bare, tag);
            assert_eq!(at_tc, says(&at(Place::Xdp), expression, &inline, None), "{expression:?} {tags:?}");
            if tags.len() < 2 && tag == Some(5) {
                assert!(
                    at_tc
                        || expression.contains(&vlan(Some(6)))
                        || expression.len() > 2
                        || expression.contains(&Not),
                    "{expression:?}"
                );
            }
        }
    }
}

#[test]
fn what_a_link_type_lacks_is_an_error() {
    let refused = |link, place, primitive| {
        let target = Target { link, place, ..FILE };
        let expression = Expression { steps: vec![Step { kind: one(primitive), span: 3..7 }] };
        let error = lower(&expression, &target).unwrap_err();
        assert_eq!(error.span, 3..7);
        error.message
    };
    let mac = || Primitive::Ether { direction: Direction::Either, address: [2; 6] };
    assert_eq!(refused(Link::Raw, Place::File, mac()), "a raw IP packet has no MAC addresses");
    assert_eq!(
        refused(Link::LinuxSll2, Place::File, Primitive::Vlan(None)),
        "a Linux cooked v2 packet has no VLAN tags"
    );
    assert_eq!(
        refused(Link::Null(ByteOrder::Little), Place::File, Primitive::Inbound),
        "a BSD loopback packet in a file does not say whether it was inbound or outbound"
    );
    assert_eq!(
        refused(Link::Ethernet, Place::File, Primitive::IfIndex(3)),
        "an Ethernet frame in a file does not say on which interface it was captured"
    );
}
