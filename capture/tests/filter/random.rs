//! Random programs and packets that have something to do with each other.

use capture_filter::program::{
    Base, Field, MAX_DEPTH, Metadata, Next, Operator, Program, Relation, Size, Test, Value, ValueStep,
};
use test_support::random::Random;

/// All bits of a value of this size.
fn all_bits(size: Size) -> u32 {
    u32::MAX >> (32 - 8 * size.bytes())
}

/// Offsets at which there is something in an Ethernet frame.
const OFFSETS: [u32; 14] = [0, 6, 12, 14, 16, 20, 23, 26, 30, 38, 54, 56, 60, 40];

fn field(random: &mut Random) -> Field {
    let size = random.pick(&[Size::Byte, Size::Half, Size::Word]);
    let base = if random.one_in(2) {
        Base::Frame
    } else {
        let header = if random.one_in(10) { random.u32() % 80 } else { random.pick(&[14, 14, 18]) };
        Base::Ipv4Payload { header }
    };
    let offset = match (random.below(30), base) {
        (0, _) => random.u32(),
        (1, _) => 0u32.wrapping_sub(random.u32() % 20),
        (2, _) => random.u32() % 0x9000,
        (3..6, _) => random.u32() % 150,
        (_, Base::Frame) => random.pick(&OFFSETS),
        (_, Base::Ipv4Payload { .. }) => random.pick(&[0, 2, 4, 8, 12, 13]),
    };
    let mask = match random.below(5) {
        0 => random.u32() & all_bits(size),
        1 => 1 << random.below(8 * size.bytes() as usize),
        _ => all_bits(size),
    };
    Field { base, offset, size, mask }
}

fn metadata(random: &mut Random) -> Metadata {
    random.pick(&[
        Metadata::Length,
        Metadata::Length,
        Metadata::IfIndex,
        Metadata::TagPresent,
        Metadata::TagControl,
    ])
}

/// A number that packets are likely to have.
fn number(random: &mut Random) -> u32 {
    match random.below(8) {
        0 => 0x0800,
        1 => 0x86dd,
        2 => 6,
        3 => random.pick(&[80, 443, 0x0a00_0001, 0x0a00_0002, 100, 17]),
        4 => random.u32(),
        5 => u32::from(random.u16()),
        6 => 1 << random.below(32),
        _ => random.u32() % 70,
    }
}

fn computed(random: &mut Random) -> Value {
    const OPERATORS: [Operator; 10] = [
        Operator::Add,
        Operator::Subtract,
        Operator::Multiply,
        Operator::Divide,
        Operator::Modulo,
        Operator::And,
        Operator::Or,
        Operator::Xor,
        Operator::ShiftLeft,
        Operator::ShiftRight,
    ];
    let length = random.between(1, 24);
    let most = random.between(2, MAX_DEPTH - 1);
    let mut steps = Vec::new();
    let mut depth = 0;
    while steps.len() < length || depth != 1 {
        let push = depth == 0 || (steps.len() < length && depth < most && random.one_in(2));
        let step = match random.below(8) {
            _ if push => match random.below(4) {
                0 => ValueStep::Metadata(metadata(random)),
                1 => ValueStep::Constant(number(random)),
                _ => ValueStep::Field(field(random)),
            },
            0 => ValueStep::Negate,
            1 => ValueStep::Indexed(field(random)),
            // Most numbers are too large for an index.
            2 => {
                steps.push(ValueStep::Constant(0x3f));
                steps.push(ValueStep::Binary(Operator::And));
                ValueStep::Indexed(field(random))
            }
            _ if depth > 1 => ValueStep::Binary(random.pick(&OPERATORS)),
            _ => ValueStep::Negate,
        };
        steps.push(step);
        match step {
            ValueStep::Binary(_) => depth -= 1,
            _ if push => depth += 1,
            _ => {}
        }
    }
    Value::Computed(steps.into())
}

fn value(random: &mut Random) -> Value {
    match random.below(10) {
        0 => Value::Metadata(metadata(random)),
        1..3 => computed(random),
        3 => Value::Constant(number(random)),
        _ => Value::Field(field(random)),
    }
}

/// Tests of which most lead on, so that a verdict depends on several.
pub(crate) fn program(random: &mut Random) -> Program {
    let most = random.pick(&[8, 8, 8, 40]);
    let count = random.between(0, most);
    let mut fields = Vec::new();
    let next = |random: &mut Random, after: usize| match random.below(6) {
        0 => Next::Accept,
        1 => Next::Reject,
        _ if after == count => random.pick(&[Next::Accept, Next::Reject]),
        2..4 => Next::Test(after as u32),
        _ => Next::Test(random.between(after, (after + 6).min(count - 1)) as u32),
    };
    let entry = next(random, 0);
    let tests = (0..count)
        .map(|index| {
            // Programs read the same fields again and again.
            let left = match fields.last() {
                Some(left) if random.one_in(2) => Value::clone(left),
                _ => value(random),
            };
            fields.push(left.clone());
            let right = if random.one_in(8) { value(random) } else { Value::Constant(number(random)) };
            let relation = random.pick(&[
                Relation::Equal,
                Relation::Equal,
                Relation::Greater,
                Relation::GreaterOrEqual,
                Relation::AnyBit,
            ]);
            let [yes, no] = [(); 2].map(|()| next(random, index + 1));
            Test { left, relation, right, yes, no }
        })
        .collect();
    Program { entry, tests }
}

/// A frame, cut off anywhere after the Ethernet header.
pub(crate) fn packet(random: &mut Random) -> Vec<u8> {
    let mut packet = Vec::new();
    for _ in 0..2 {
        packet.extend([2, 0, 0, 0, 0, random.u8() % 3]);
    }
    if random.one_in(4) {
        packet.extend([0x81, 0, 0, random.pick(&[100, 200])]);
    }
    let protocol = random.pick(&[6, 6, 17, 132, 44, 1]);
    if random.one_in(3) {
        packet.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, protocol, 64]);
        packet.extend(random.bytes(32));
    } else {
        packet.extend([8, 0]);
        let words = if random.one_in(4) { random.between(0, 15) } else { 5 };
        let fragment = if random.one_in(5) { random.u16() } else { 0x4000 };
        packet.extend([0x40 | words as u8, 0, 0, random.pick(&[40, 60, 52]), 0, 1]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        for _ in 0..2 {
            packet.extend([10, 0, 0, 1 + random.u8() % 3]);
        }
        packet.extend(random.bytes(4 * words.saturating_sub(5)));
    }
    for _ in 0..2 {
        packet.extend(random.pick(&[80_u16, 443, 22, 8080, 1024]).to_be_bytes());
    }
    packet.extend(random.bytes(8));
    packet.extend([0x50, random.pick(&[2, 16, 18, 24])]);
    let more = random.below(80);
    packet.extend(random.bytes(more));
    if random.one_in(3) {
        packet.truncate(random.between(14, packet.len()));
    }
    packet
}
