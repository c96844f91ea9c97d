//! What is the same wherever frames are looked at, and whether or not only TCP is kept.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "verdicts/expressions.rs"]
mod expressions;
#[path = "verdicts/packets.rs"]
mod packets;

use capture_common::parse::{self, Location, locate_ethernet, locate_raw};
use capture_filter::{
    expression::Expression,
    interpret::Frame,
    lower::{lower, lower_unoptimised},
    program::Program,
    target::{Link, Place, Target, Way},
};
use test_support::{
    packets::{byte_order::ByteOrder, link},
    random::Random,
};

const TARGET: Target = Target { link: Link::Ethernet, place: Place::Xdp, only_tcp: false };

/// The types of tags that the kernel takes out of received frames.
const TAKEN_OUT: [u16; 2] = [0x8100, 0x88a8];

/// The same frame as XDP and as TC see it.
struct Both {
    at_xdp: Vec<u8>,
    at_tc: Vec<u8>,
    tag: Option<u16>,
}

impl Both {
    fn random(random: &mut Random) -> Self {
        let tags = packets::tags(random);
        let at_xdp = packets::ethernet(random, &tags);
        match tags.first() {
            Some((number, control)) if TAKEN_OUT.contains(number) => {
                let at_tc = [&at_xdp[..12], &at_xdp[16..]].concat();
                Self { at_xdp, at_tc, tag: Some(*control) }
            }
            _ => Self { at_tc: at_xdp.clone(), at_xdp, tag: None },
        }
    }

    fn xdp(&self) -> Frame<'_> {
        Frame { data: &self.at_xdp, wire_len: self.at_xdp.len() as u32, ifindex: 2, tag: None }
    }

    fn tc(&self) -> Frame<'_> {
        Frame { data: &self.at_tc, wire_len: self.at_tc.len() as u32, ifindex: 2, tag: self.tag }
    }
}

/// An expression; one in a few is a chain of alternatives that begin with keys.
fn random_expression(random: &mut Random) -> Expression {
    if random.one_in(5) { expressions::pairs(random) } else { expressions::expression(random) }
}

/// The program for a target, and as it is before it is made shorter.
fn programs(expression: &Expression, target: &Target) -> Option<[Program; 2]> {
    Some([lower(expression, target).ok()?, lower_unoptimised(expression, target).ok()?])
}

#[test]
fn xdp_selects_what_tc_selects() {
    let mut random = Random::new(5);
    let (mut compared, mut matches, mut tagged, mut cut_off) = (0, 0, 0, 0);
    for number in 0..1500 {
        let expression = random_expression(&mut random);
        let at_tc = programs(&expression, &Target { place: Place::Tc(Way::In), ..TARGET });
        let at_xdp = programs(&expression, &TARGET);
        let (Some([at_tc, plain]), Some([at_xdp, plain_xdp])) = (at_tc, at_xdp) else { continue };
        for _ in 0..60 {
            let both = Both::random(&mut random);
            let (tc, xdp) = (at_tc.matches(&both.tc()), at_xdp.matches(&both.xdp()));
            let (as_written, as_written_at_xdp) =
                (plain.evaluate(&both.tc()), plain_xdp.evaluate(&both.xdp()));
            let text = expressions::text(&expression);
            assert_eq!(as_written, as_written_at_xdp, "{number}: {text} {:02x?}", both.at_xdp);
            match as_written {
                Some(verdict) => {
                    assert_eq!((tc, xdp), (verdict, verdict), "{number}: {text} {:02x?}", both.at_xdp)
                }
                // The two are made shorter each in its own way.
                None => cut_off += 1,
            }
            compared += 1;
            matches += u64::from(tc);
            tagged += u64::from(both.tag.is_some());
        }
    }
    assert!(
        compared > 60_000 && matches > 10_000 && tagged > 10_000,
        "{compared} {matches} {tagged} {cut_off}"
    );
}

/// A frame for the parser of capture-common.
struct Bytes<'d> {
    data: &'d [u8],
    stripped: usize,
}

impl parse::Frame for Bytes<'_> {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.data.read(offset)
    }

    fn stripped_tags(&self) -> usize {
        self.stripped
    }
}

fn is_tcp(frame: &Frame<'_>, link: Link) -> bool {
    let bytes = Bytes { data: frame.data, stripped: usize::from(frame.tag.is_some()) };
    let location = if link == Link::Raw { locate_raw(&bytes) } else { locate_ethernet(&bytes) };
    matches!(location, Location::Tcp { .. })
}

#[test]
fn of_tcp_the_same_is_selected_where_only_tcp_is_kept() {
    let mut random = Random::new(6);
    let (mut compared, mut matches, mut shorter, mut empty) = (0, 0, 0_u32, 0);
    for number in 0..1500 {
        let expression = random_expression(&mut random);
        let text = expressions::text(&expression);
        let link = random.pick(&[Link::Ethernet, Link::Ethernet, Link::Raw]);
        let place = random.pick(&[Place::File, Place::Tc(Way::In), Place::Xdp]);
        let target = Target { link, place, ..TARGET };
        let Some([program, plain]) = programs(&expression, &target) else { continue };
        let only_tcp = lower(&expression, &Target { only_tcp: true, ..target }).unwrap();
        shorter += u32::from(only_tcp.tests.len() < program.tests.len());
        empty += u32::from(only_tcp.matches_nothing() && !program.matches_nothing());
        for _ in 0..60 {
            let raw = packets::packet(&mut random, link::Link::Raw, ByteOrder::Little);
            let both = Both::random(&mut random);
            let frame = match (link, place) {
                (Link::Raw, _) => Frame { data: &raw, wire_len: raw.len() as u32, ..Frame::default() },
                (_, Place::Tc(_)) => both.tc(),
                _ => both.xdp(),
            };
            if !is_tcp(&frame, link) || plain.evaluate(&frame).is_none() {
                continue;
            }
            let expected = program.matches(&frame);
            assert_eq!(only_tcp.matches(&frame), expected, "{number}: {text} {target:?} {:02x?}", frame.data);
            compared += 1;
            matches += u64::from(expected);
        }
    }
    assert!(compared > 30_000 && matches > 10_000, "{compared} {matches}");
    assert!(shorter > 300 && empty > 100, "{shorter} {empty}");
}
