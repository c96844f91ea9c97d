//! The front end next to the real tcpdump: each expression is refused by both, or by neither.

mod support;

use capture_filter::{
    explain::{explain, warnings},
    expression::Expression,
    lower::{lower, lower_unoptimised},
    parse,
    target::{Link, Place, Target},
};
use support::{SystemNames, tcpdump_refuses};
use test_support::{expressions::generate, random::Random};

/// What a list of expressions holds, one a line.
fn expressions(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn each_row_is_refused_by_both_or_by_neither() {
    let rows = include_str!("rows.txt");
    let (quirks, acceptance) = (include_str!("quirks.txt"), include_str!("acceptance.txt"));
    let mut differences = Vec::new();
    for expression in expressions(rows).chain(expressions(quirks)).chain(expressions(acceptance)) {
        let ours = parse(expression, &mut SystemNames);
        let theirs = tcpdump_refuses(expression, false);
        if ours.is_err() != theirs.is_some() {
            differences.push(format!("{expression}: {ours:?}, and tcpdump: {theirs:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Operands that are computed from constants are refused by tcpdump's optimiser, and so only where a packet gets there.
#[test]
fn constants_that_cannot_be_computed_with() {
    let target = Target { link: Link::Ethernet, place: Place::Socket, only_tcp: false };
    for (text, cause) in [
        ("len / (1 - 1) = 0", "it divides by 0"),
        ("tcp and len % (1 - 1) = 0", "it takes the remainder of a division by 0"),
        ("len << (30 + 5) = 0", "it shifts by 35 bits, and at most 31 are possible"),
        ("len >> -1 = 0", "it shifts by 4294967295 bits, and at most 31 are possible"),
        ("1 / (1 - 1) = 0", "it divides by 0"),
        ("len / (len & 0) = 1 or tcp", "it divides by 0"),
        ("len / (len * 0) = 1", "it divides by 0"),
        ("len / (5 / 10) = 1", "it divides by 0"),
        ("len % (2 >> 5) = 1", "it takes the remainder of a division by 0"),
        ("len / (0x80000000 + 0x80000000) = 1", "it divides by 0"),
        ("tcp[5] & (1 / (1 - 1)) = 0", "it divides by 0"),
        ("tcp[1 / (1 - 1)] = 0", "it divides by 0"),
        ("len / (1 - 1) * 0 = 0", "it divides by 0"),
        ("len / (2 - 1) = 1", ""),
        ("len << (30 + 1) = 0", ""),
        ("1 << (30 + 5) = 0", ""),
        ("len / (len - len) = 1", ""),
        ("len / (len / 1000000) = 1", ""),
        ("1 = 1 or len / (1 - 1) = 0", ""),
    ] {
        let expression = parse(text, &mut SystemNames).expect("it is read");
        let lowered = lower(&expression, &target);
        assert_eq!(lowered.as_ref().err().map_or("", |error| &error.message), cause, "{text}");
        assert_eq!(tcpdump_refuses(text, true).is_some(), lowered.is_err(), "{text}");
        if let Err(error) = lowered {
            assert!(text.contains(&text[error.span.clone()]) && !error.span.is_empty(), "{text}");
        }
        // What -O shows is not computed.
        assert!(lower_unoptimised(&expression, &target).is_ok() && tcpdump_refuses(text, false).is_none());
    }
}

#[test]
fn each_expression_from_daily_work_is_taken() {
    for expression in expressions(include_str!("acceptance.txt")) {
        if let Err(error) = parse(expression, &mut SystemNames) {
            panic!("{}", error.render(expression));
        }
    }
}

/// Makes the sentence and the warnings, which have to be printable.
fn explained(expression: &Expression, text: &str) {
    let sentence = explain(expression, text);
    assert!(sentence.ends_with('.') && !sentence.contains(char::is_control), "{text}: {sentence}");
    for warning in warnings(expression, text) {
        assert!(text.get(warning.span.clone()).is_some(), "{text}: {warning:?}");
        warning.render(text);
    }
}

/// How many random expressions are compared, unless the environment variable `EXPRESSIONS` says another number.
const EXPRESSIONS: usize = 300;

#[test]
fn random_expressions_are_refused_by_both_or_by_neither() {
    let asked =
        std::env::var("EXPRESSIONS").ok().map(|number| number.parse().expect("EXPRESSIONS is a number"));
    let seed = std::env::var("SEED").ok().map_or(1, |seed| seed.parse().expect("SEED is a number"));
    let mut random = Random::new(seed);
    let (mut taken, mut refused, mut empty, mut differences) = (0, 0, 0, Vec::new());
    for _ in 0..asked.unwrap_or(EXPRESSIONS) {
        let expression = generate(&mut random);
        let ours = parse(&expression, &mut SystemNames);
        let theirs = tcpdump_refuses(&expression, false);
        match (&ours, &theirs) {
            (Ok(_), None) => {
                taken += 1;
                if let Ok(read) = &ours {
                    explained(read, &expression);
                }
                // What only tcpdump's optimiser finds: it proves the expression empty, or a divisor 0.
                empty += usize::from(tcpdump_refuses(&expression, true).is_some());
            }
            (Err(_), Some(_)) => refused += 1,
            _ => differences.push(format!("{expression}\n  {ours:?}\n  tcpdump: {theirs:?}")),
        }
    }
    println!(
        "taken by both: {taken} ({empty} of them refused by tcpdump's optimiser); refused by both: {refused}"
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(taken > refused, "most expressions are valid");
}
