use super::codes::JEQ;
use super::*;
use crate::program::{Base, Relation, Size, Test, Value};

fn byte(offset: u32) -> Value {
    Value::Field(Field { base: Base::Frame, offset, size: Size::Byte, mask: 0xff })
}

#[test]
fn a_verdict_alone() {
    let program = |entry| Program { entry, tests: Vec::new() };
    assert_eq!(listing(&assemble(&program(Next::Accept), 96)), "(000) ret      #96\n");
    assert_eq!(listing(&assemble(&program(Next::Reject), 96)), "(000) ret      #0\n");
}

#[test]
fn what_is_far_is_reached_by_another_jump() {
    // Each test leads to the next one, or to the very end.
    let tests: Vec<_> = (0..1000)
        .map(|index| Test {
            left: byte(index),
            relation: Relation::Equal,
            right: Value::Constant(7),
            yes: Next::Accept,
            no: if index == 999 { Next::Reject } else { Next::Test(index + 1) },
        })
        .collect();
    let instructions = assemble(&Program { entry: Next::Test(0), tests }, 1);
    let end = instructions.len();
    for (index, instruction) in instructions.iter().enumerate() {
        if instruction.code == JEQ {
            let goal = |distance: u8| {
                let target = index + 1 + usize::from(distance);
                match instructions[target] {
                    Instruction { code: JA, k, .. } => target + 1 + k as usize,
                    _ => target,
                }
            };
            assert_eq!(goal(instruction.jt), end - 2);
            assert!([index + 1, index + 2, end - 1].contains(&goal(instruction.jf)));
        }
    }
}

#[test]
fn registers_keep_what_the_next_test_needs() {
    let test = |value, yes, no| Test {
        left: byte(9),
        relation: Relation::Equal,
        right: Value::Constant(value),
        yes,
        no,
    };
    let tests = vec![test(6, Next::Accept, Next::Test(1)), test(17, Next::Accept, Next::Reject)];
    let instructions = assemble(&Program { entry: Next::Test(0), tests }, 1);
    let expected = "(000) ldb      [9]\n\
                    (001) jeq      #0x6             jt 3\tjf 2\n\
                    (002) jeq      #0x11            jt 3\tjf 4\n\
                    (003) ret      #1\n\
                    (004) ret      #0\n";
    assert_eq!(listing(&instructions), expected);
}
