//! Stories: sequences of segments and the comments on them, which is what the tracker (`capture-flow`) and the wording
//! are tested by.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod closing;
mod middle;
mod opening;
mod retransmissions;
mod turns;
mod windows_and_limits;

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use capture_flow::Tracker;
use capture_packet::{LinkType, Packet, Timestamp};
use capture_text::comments::{write_comment, write_forgotten};
use test_support::sketch::{CLIENT, SERVER, Sketch, at, exchange_addresses, to_ipv6, wrap};

/// A handshake from 0 ms to 1 ms.
fn handshake() -> [Sketch; 3] {
    [at(0, CLIENT, "S", 0, 0).scale(7), at(1, SERVER, "S.", 0, 1).scale(7), at(1, CLIENT, ".", 1, 1)]
}

/// A handshake, a request of 10 bytes at 10 ms and a response of 100 bytes at 20 ms.
fn exchange() -> Vec<Sketch> {
    let exchange = [
        at(10, CLIENT, "P.", 1, 1).data(10),
        at(11, SERVER, ".", 1, 11),
        at(20, SERVER, "P.", 1, 11).data(100),
        at(21, CLIENT, ".", 11, 101),
    ];
    [&handshake()[..], &exchange].concat()
}

const OPENS: &str = "0 the client opens a connection";
const REQUESTS: &str = "10 the connection is established; the client sends a request";
const RESPONDS: &str = "20 the server sends a response";

/// The comments on `segments` after [`exchange`].
#[track_caller]
fn assert_after_exchange(segments: &[Sketch], expected: &[&str]) {
    assert_story_without_timestamps_too(
        &[&exchange(), segments].concat(),
        &[&[OPENS, REQUESTS, RESPONDS], expected].concat(),
    );
}

/// The comments on `segments` after [`handshake`].
#[track_caller]
fn assert_after_handshake(segments: &[Sketch], expected: &[&str]) {
    assert_story_without_timestamps_too(&[&handshake(), segments].concat(), &[&[OPENS], expected].concat());
}

/// So many nanoseconds after 2023-11-14 22:13:20 UTC.
fn time(nanoseconds: i64) -> Timestamp {
    Timestamp {
        seconds: 1_700_000_000 + nanoseconds.div_euclid(1_000_000_000),
        nanoseconds: nanoseconds.rem_euclid(1_000_000_000),
    }
}

/// As tcpdump writes it; the IPv6 addresses of sketches end in an IPv4 address.
fn written(endpoint: SocketAddr) -> String {
    match endpoint.ip() {
        IpAddr::V4(address) => format!("{address}.{}", endpoint.port()),
        IpAddr::V6(address) => format!("::{}.{}", address.to_ipv4().unwrap(), endpoint.port()),
    }
}

/// The comments on `sketches`, each with the time in milliseconds of the packet it stands before, or `end`, and
/// without the two ends, which are looked at here. Where a comment names the client, it says `CLIENT` here.
fn comments(sketches: &[Sketch], limit: usize) -> Vec<String> {
    let mut tracker = Tracker::new(limit);
    let mut comments = Vec::new();
    for sketch in sketches {
        let frame = sketch.ip();
        let mut out = BytesMut::new();
        let packet = Packet::new(time(sketch.time + 1), LinkType::Raw, frame.len() as u32, &frame).located();
        tracker.track(&packet, |event| write_comment(event, &mut out));
        let [from, to] = sketch.endpoints.map(written);
        let client = if sketch.from == CLIENT { &from } else { &to };
        for line in str::from_utf8(&out).unwrap().lines() {
            let text = line.strip_prefix(&format!("// {from} > {to}: "));
            // The comment on silence comes with a packet of any connection.
            let silence = || line.contains("no answer to its SYN").then(|| line.split_once(": ").unwrap().1);
            let text = text.or_else(silence).unwrap_or_else(|| panic!("{line} is about another connection"));
            let text = text.replace(&format!(" {client}"), " CLIENT");
            comments.push(format!("{} {text}", sketch.time / 1_000_000));
        }
    }
    let mut out = BytesMut::new();
    tracker.finish(|event| write_comment(event, &mut out));
    if let Some(forgotten) = tracker.forgotten() {
        write_forgotten(forgotten, &mut out);
    }
    for line in str::from_utf8(&out).unwrap().lines() {
        let text = line.strip_prefix("// ").unwrap();
        comments.push(format!("end {}", text.split_once(": ").map_or(text, |(_, text)| text)));
    }
    comments
}

/// Holds the comments on a story against `expected`, as [`comments`] gives them; and again with every packet captured
/// twice, over IPv6, with the addresses the other way round, and with sequence numbers that wrap.
#[track_caller]
fn assert_story(sketches: &[Sketch], expected: &[&str]) {
    let change = |change: &dyn Fn(Sketch) -> Sketch| sketches.iter().map(|sketch| change(*sketch)).collect();
    let copy = |mut sketch: Sketch| {
        sketch.time += 3_000;
        sketch
    };
    let twice = sketches.iter().flat_map(|sketch| [*sketch, copy(*sketch)]);
    let variants: [(&str, Vec<Sketch>); 5] = [
        ("as it is", sketches.to_vec()),
        ("twice", twice.collect()),
        ("IPv6", change(&|sketch| sketch.between(sketch.endpoints.map(to_ipv6)))),
        ("addresses exchanged", change(&exchange_addresses)),
        ("wrapped", change(&wrap)),
    ];
    for (name, variant) in variants {
        assert_eq!(comments(&variant, 100), expected, "{name}");
    }
}

/// [`assert_story`], and the same without timestamps options.
#[track_caller]
fn assert_story_without_timestamps_too(sketches: &[Sketch], expected: &[&str]) {
    assert_story(sketches, expected);
    let without: Vec<Sketch> = sketches.iter().map(|sketch| sketch.no_ts()).collect();
    assert_story(&without, expected);
}

/// Holds the comments of an explainer that remembers only `limit` connections against `expected`.
#[track_caller]
fn assert_story_with_limit(limit: usize, sketches: &[Sketch], expected: &[&str]) {
    assert_eq!(comments(sketches, limit), expected);
}
