//! What programs say of packets, next to what the real tcpdump says. `EXPRESSIONS=10000 SEED=7` makes a long run of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![expect(clippy::print_stderr, reason = "a long run says what it has seen")]

mod expressions;
mod oracle;
mod packets;
#[path = "../support/mod.rs"]
mod support;

use std::env;

use oracle::Answer;
use support::SystemNames;

use capture_filter::{
    expression::{Expression, Step},
    interpret::{Frame, Matcher},
    lower::{lower, lower_unoptimised},
    parse,
    target::{self, Place, Target},
};
use test_support::{
    expressions::valid,
    packets::{
        byte_order::ByteOrder,
        link::{LINKS, Link},
    },
    random::Random,
};

/// Variables that make a run longer, or another one.
fn number_from(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

fn target_of(link: Link, order: ByteOrder) -> Target {
    let link = match link {
        Link::Ethernet => target::Link::Ethernet,
        Link::Raw => target::Link::Raw,
        Link::Ipv4 => target::Link::Ipv4,
        Link::Ipv6 => target::Link::Ipv6,
        Link::Null => target::Link::Null(match order {
            ByteOrder::Little => target::ByteOrder::Little,
            ByteOrder::Big => target::ByteOrder::Big,
        }),
        Link::Loop => target::Link::Loop,
        Link::Sll => target::Link::LinuxSll,
        Link::Sll2 => target::Link::LinuxSll2,
    };
    Target { link, place: Place::File, only_tcp: false }
}

/// How often what happened.
#[derive(Debug, Default)]
struct Counts {
    compared: u64,
    refused_by_the_parser: u64,
    refused_by_both: u64,
    empty_for_both: u64,
    empty_for_tcpdump: u64,
    selected: u64,
    /// Packets that end before something that the expression reads, as it is written: what is removed by either optimiser
    /// decides about them.
    cut_off: u64,
    /// And those that end before something that it may read, if its parts are asked in another order.
    looks_at_each: bool,
    cut_off_differences: u64,
    /// Packets about which tcpdump says something else without its optimiser: the same as capture.
    faults_of_their_optimiser: u64,
    differences: u64,
}

/// Which answers of tcpdump mean that the parser refuses the same: these are checked before an expression is lowered.
const REFUSED_BY_THE_PARSER: [&str; 4] = ["zero", "shift by", "too many registers", "modulus"];

impl Counts {
    /// Compares what is said of packets.
    fn compare(
        &mut self,
        link: Link,
        order: ByteOrder,
        expression: &Expression,
        text: &str,
        packets: &[Vec<u8>],
    ) {
        let target = target_of(link, order);
        let theirs = oracle::select(link, order, packets, text);
        let program = match (lower(expression, &target), &theirs) {
            (Err(_), Answer::Refused(_)) => {
                self.refused_by_both += 1;
                return;
            }
            (Ok(_), Answer::Refused(said))
                if REFUSED_BY_THE_PARSER.iter().any(|word| said.contains(word)) =>
            {
                self.refused_by_both += 1;
                return;
            }
            (Ok(program), Answer::Selected(_) | Answer::RejectsAll) => program,
            (ours, _) => {
                self.differences += 1;
                eprintln!("only one refuses {text:?} on {link:?}: {:?}", ours.map(|_| ()));
                return;
            }
        };
        let selected = match theirs {
            Answer::Selected(selected) => selected,
            _ => {
                let count = if program.matches_nothing() {
                    &mut self.empty_for_both
                } else {
                    &mut self.empty_for_tcpdump
                };
                *count += 1;
                if env::var("VERBOSE").is_ok() && !program.matches_nothing() {
                    eprintln!("empty for tcpdump only: {link:?} {text}");
                }
                vec![false; packets.len()]
            }
        };
        self.compared += 1;
        let mut plain = vec![lower_unoptimised(expression, &target).unwrap()];
        if self.looks_at_each {
            let alone =
                |step: &Step| lower_unoptimised(&Expression { steps: vec![step.clone()] }, &target).ok();
            plain.extend(expression.steps.iter().filter_map(alone));
        }
        let matcher = Matcher::new(program.clone());
        for (data, theirs) in packets.iter().zip(&selected) {
            self.selected += u64::from(*theirs);
            let frame = Frame { data, wire_len: data.len() as u32, ..Frame::default() };
            let ours = matcher.matches(&frame);
            assert_eq!(program.matches(&frame), ours, "{text:?}: {data:02x?}");
            if plain.iter().any(|program| program.evaluate(&frame).is_none()) {
                self.cut_off += 1;
                self.cut_off_differences += u64::from(ours != *theirs);
            } else if ours != *theirs && ours == oracle::selects_unoptimised(link, order, data, text) {
                self.faults_of_their_optimiser += 1;
            } else if ours != *theirs {
                self.differences += 1;
                eprintln!("{text:?} on {link:?} {order:?}: tcpdump says {theirs}: {data:02x?}");
                break;
            }
        }
    }
}

#[test]
fn verdicts_are_those_of_tcpdump() {
    let seed = number_from("SEED", 1);
    let count = number_from("EXPRESSIONS", 300);
    let mut random = Random::new(seed);
    let mut counts = Counts::default();
    for _ in 0..count {
        let link = if random.one_in(2) { Link::Ethernet } else { random.pick(&LINKS) };
        let order = if random.one_in(2) { ByteOrder::Big } else { ByteOrder::Little };
        let packets: Vec<_> = (0..100).map(|_| packets::packet(&mut random, link, order)).collect();
        // Half of them as the parser makes them of text, half of them made without it.
        if random.one_in(2) {
            let text = valid(&mut random, true);
            match parse(&text, &mut SystemNames) {
                Ok(expression) => counts.compare(link, order, &expression, &text, &packets),
                Err(_) => counts.refused_by_the_parser += 1,
            }
        } else {
            let expression = expressions::expression(&mut random);
            counts.compare(link, order, &expression, &expressions::text(&expression), &packets);
        }
    }
    eprintln!("seed {seed}: {counts:?}");
    assert_eq!(counts.differences, 0);
}

#[test]
fn alternatives_that_begin_with_keys_say_what_they_say_for_tcpdump() {
    let mut random = Random::new(number_from("SEED", 9));
    let mut counts = Counts { looks_at_each: true, ..Counts::default() };
    for _ in 0..number_from("EXPRESSIONS", 300) {
        let link = if random.one_in(2) { Link::Ethernet } else { random.pick(&LINKS) };
        let packets: Vec<_> =
            (0..100).map(|_| packets::packet(&mut random, link, ByteOrder::Little)).collect();
        let expression = expressions::pairs(&mut random);
        counts.compare(link, ByteOrder::Little, &expression, &expressions::text(&expression), &packets);
    }
    eprintln!("pairs: {counts:?}");
    assert_eq!(counts.differences, 0);
    assert!(counts.selected > 1000, "{counts:?}");
}

/// What is cut off in the middle of a header may be judged differently: which loads are removed decides. What the
/// expression, as it is written, can read to its end is not.
#[test]
fn of_packets_cut_off_only_those_differ_that_end_before_what_is_read() {
    let mut random = Random::new(7);
    let mut counts = Counts::default();
    for _ in 0..number_from("EXPRESSIONS", 300) / 3 {
        let link = random.pick(&LINKS);
        let order = ByteOrder::Little;
        let packet = |_| {
            let mut data = packets::packet(&mut random, link, order);
            data.truncate(random.between(1, data.len().min(70)));
            data
        };
        let packets: Vec<_> = (0..100).map(packet).collect();
        let expression = expressions::expression(&mut random);
        counts.compare(link, order, &expression, &expressions::text(&expression), &packets);
    }
    eprintln!("cut off: {counts:?}");
    assert_eq!(counts.differences, 0);
    assert!(counts.cut_off > 100, "{counts:?}");
}

#[test]
fn expressions_from_daily_work() {
    let mut random = Random::new(8);
    let mut counts = Counts::default();
    let texts =
        include_str!("../acceptance.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for text in texts {
        let expression = parse(text, &mut SystemNames).unwrap();
        for link in LINKS {
            let packets: Vec<_> =
                (0..100).map(|_| packets::packet(&mut random, link, ByteOrder::Little)).collect();
            counts.compare(link, ByteOrder::Little, &expression, text, &packets);
        }
    }
    eprintln!("daily work: {counts:?}");
    assert_eq!(counts.differences, 0);
    assert!(counts.selected > 1000, "{counts:?}");
}
