//! Right operands that no operator takes: a divisor of 0, and shifts by 32 bits and more.
//!
//! The parser refuses them where they are written as a number. What is computed from constants (`len / (1 - 1)`) is refused by
//! tcpdump when its optimiser computes it, so only where a packet can get there.

use alloc::{format, string::String, vec::Vec};

use super::{LowerError, arithmetic, error, layout::Layout};
use crate::{
    expression::{Expression, Operator, Primitive, StepKind},
    program::{Program, Value, ValueStep},
};

/// Refuses a program that computes with such an operand. `layout` is one for frames that it is for.
pub(super) fn check(program: &Program, expression: &Expression, layout: &Layout) -> Result<(), LowerError> {
    let values = program.tests.iter().flat_map(|test| [&test.left, &test.right]);
    let Some(cause) = values.filter_map(refusal).next() else { return Ok(()) };
    let refused = expression.steps.iter().find(|step| match &step.kind {
        StepKind::Primitive(Primitive::Relation { left, right, .. }) => [left, right].iter().any(|side| {
            let value = arithmetic::value(side, layout, &mut Vec::new());
            value.is_ok_and(|value| refusal(&value).is_some())
        }),
        _ => false,
    });
    Err(error(&refused.map(|step| step.span.clone()).unwrap_or_default(), cause))
}

/// Why a value cannot be computed, whatever the packet is.
fn refusal(value: &Value) -> Option<String> {
    let Value::Computed(steps) = value else { return None };
    // Of each value on the stack, its number, if it is always the same.
    let mut stack: Vec<Option<u32>> = Vec::new();
    for step in steps {
        let result = match *step {
            ValueStep::Constant(number) => Some(number),
            ValueStep::Field(field) if field.mask == 0 => Some(0),
            ValueStep::Field(_) | ValueStep::Metadata(_) => None,
            ValueStep::Indexed(_) => {
                stack.pop();
                None
            }
            ValueStep::Negate => stack.pop().flatten().map(u32::wrapping_neg),
            ValueStep::Binary(operator) => {
                let (right, left) = (stack.pop().flatten(), stack.pop().flatten());
                match (operator, left, right) {
                    (Operator::Divide, _, Some(0)) => return Some("it divides by 0".into()),
                    (Operator::Modulo, _, Some(0)) => {
                        return Some("it takes the remainder of a division by 0".into());
                    }
                    (Operator::ShiftLeft | Operator::ShiftRight, None, Some(bits @ 32..)) => {
                        return Some(format!("it shifts by {bits} bits, and at most 31 are possible"));
                    }
                    (Operator::And | Operator::Multiply, _, Some(0)) => Some(0),
                    (_, Some(left), Some(right)) => operator.apply(left, right),
                    _ => None,
                }
            }
        };
        stack.push(result);
    }
    None
}
