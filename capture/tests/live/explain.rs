//! `--explain` live: what the kernel's TCP does, in words while it happens.

use std::net::IpAddr;

use crate::{
    namespace::Namespace,
    oracle::{Point, side_by_side},
    traffic,
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The comment before each line that `is_event` takes, without the two ends; none where a line stands before it.
fn comments(output: &str, is_event: impl Fn(&str) -> bool) -> Vec<Option<&str>> {
    let lines: Vec<&str> = output.lines().collect();
    let pairs = lines.windows(2).filter(|pair| !pair[1].starts_with("// ") && is_event(pair[1]));
    pairs
        .map(|pair| pair[0].strip_prefix("// ").and_then(|comment| Some(comment.split_once(": ")?.1)))
        .collect()
}

/// All that is sent to the server is lost for some seconds. Before the first timeout Linux sends the last segment again
/// (RFC 8985, the tail loss probe), then at each timeout the first.
#[test]
#[ignore = "needs root"]
fn each_timeout_says_how_long_the_connection_has_been_stalled() {
    for (namespace, device) in [(0, "veth0"), (1, "veth1")] {
        let (here, there) = Namespace::pair();
        let [from, to] = [address("10.0.0.1"), address("10.0.0.2")];
        let mut point = Point::new([&here, &there][namespace], device, "-t");
        point.capture.push_str(" --explain");
        let printed = side_by_side(
            &[point],
            || traffic::outage(&there, &here, to, 5, 5),
            || traffic::marker(&here, from, to),
        );
        let output = &printed[0].0.stdout;
        // `seen` is 1:5. Linux may send more with the first segment, when it sends it again.
        let told = comments(output, |line| line.contains(" > 10.0.0.2.8888: ") && line.contains("seq 5:"));
        let [request, again @ ..] = &told[..] else { panic!("{output}") };
        assert_eq!(*request, None, "{output}");
        assert!(again.len() >= 4, "{output}");
        let mut stalled = 0.0;
        for (times, comment) in (1..).zip(again) {
            let times = if times == 1 { String::new() } else { format!(" again, {times} times now") };
            let words = format!("the client retransmits data{times}; the connection has been stalled for ");
            let comment = comment.unwrap_or_else(|| panic!("no comment: {output}"));
            let seconds = comment.strip_prefix(&words).and_then(|rest| rest.strip_suffix(" s"));
            let seconds: f64 = seconds
                .and_then(|seconds| seconds.parse().ok())
                .unwrap_or_else(|| panic!("{comment}: {output}"));
            assert!(seconds > stalled, "{output}");
            stalled = seconds;
        }
        let stalls = output.matches("stalled").count();
        assert_eq!(stalls, again.len(), "one comment for each: {output}");
    }
}

/// A client that has asked and closes its side gets its answer.
#[test]
#[ignore = "needs root"]
fn a_half_close_is_no_end() {
    let namespace = Namespace::new();
    let loopback = address("127.0.0.1");
    let mut point = Point::new(&namespace, "lo", "-t");
    point.capture.push_str(" --explain");
    let printed = side_by_side(
        &[point],
        || traffic::half_close(&namespace, &namespace, loopback),
        || traffic::marker(&namespace, loopback, loopback),
    );
    let comments: Vec<&str> = printed[0].0.stdout.lines().filter(|line| line.starts_with("// ")).collect();
    let events: Vec<&str> = comments.iter().filter_map(|line| Some(line.split_once(": ")?.1)).collect();
    let expected = [
        "the client opens a connection",
        "the connection is established; the client sends a request",
        "the client closes its side",
        "the server sends a response",
        "the server closes its side too",
    ];
    assert_eq!(events.get(..5), Some(&expected[..]), "{events:#?}");
}

/// What the other side sends after a half-close: more of an answer, a greeting, more of a request.
#[test]
#[ignore = "needs root"]
fn what_follows_a_half_close_has_a_comment() {
    let namespace = Namespace::new();
    let loopback = address("127.0.0.1");
    let mut point = Point::new(&namespace, "lo", "-t");
    point.capture.push_str(" --explain");
    let printed = side_by_side(
        &[point],
        || {
            traffic::half_close_within_the_answer(&namespace, &namespace, loopback);
            traffic::half_close_at_once(&namespace, &namespace, loopback);
            traffic::half_close_by_the_server(&namespace, &namespace, loopback);
        },
        || traffic::marker(&namespace, loopback, loopback),
    );
    let comments: Vec<&str> = printed[0].0.stdout.lines().filter(|line| line.starts_with("// ")).collect();
    let events: Vec<&str> = comments.iter().filter_map(|line| Some(line.split_once(": ")?.1)).collect();
    let expected = [
        "the client opens a connection",
        "the connection is established; the client sends a request",
        "the server sends a response",
        "the client closes its side",
        "the server sends data after the client has closed its side",
        "the server closes its side too",
        "the client opens a connection",
        "the connection is established; the client closes its side",
        "the server speaks first",
        "the server closes its side too",
        "the client opens a connection",
        "the connection is established; the client sends a request",
        "the server sends a response",
        "the server actively closes the connection",
        "the client sends data after the server has closed its side",
        "the client closes its side too",
    ];
    assert_eq!(events.get(..expected.len()), Some(&expected[..]), "{events:#?}");
}
