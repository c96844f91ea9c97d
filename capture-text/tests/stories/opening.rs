//! Stories of the opening: SYNs that are answered, refused, repeated or left alone.

use std::net::SocketAddr;

use test_support::sketch::{CLIENT, SERVER, Sketch, at};

use super::{OPENS, REQUESTS, assert_story, assert_story_without_timestamps_too, comments};

#[test]
fn a_syn_without_an_answer() {
    let syns = [at(0, CLIENT, "S", 0, 0), at(1000, CLIENT, "S", 0, 0), at(3000, CLIENT, "S", 0, 0)];
    let repeats = [
        OPENS,
        "1000 the client repeats its SYN, try 2: no answer so far",
        "3000 the client repeats its SYN, try 3: no answer so far",
    ];
    assert_story_without_timestamps_too(
        &syns,
        &[
            &repeats[..],
            &["end at the end of the capture, the client has no answer to its SYN: 3 tries in 3 s"],
        ]
        .concat(),
    );
    // The comment comes with a packet of another connection, as soon as it is certain.
    let other = |time, flags| {
        let mut other = at(time, CLIENT, flags, 5, 5);
        other.endpoints = other.endpoints.map(|endpoint| SocketAddr::new(endpoint.ip(), endpoint.port() + 1));
        other
    };
    let later = [other(68_001, "."), other(68_002, "."), other(68_003, "."), other(90_000, ".")];
    let expected = [
        "68001 the client got no answer to its SYN: 3 tries in 3 s",
        "68001 the connection is first seen in the middle; by the ports, the client is CLIENT",
    ];
    assert_story_without_timestamps_too(&[&syns[..], &later].concat(), &[&repeats[..], &expected].concat());
    // Reported at the next attempt.
    assert_story_without_timestamps_too(
        &[&syns[..], &[at(9000, CLIENT, "S", 777_777, 0), at(9001, SERVER, "R.", 0, 777_778)]].concat(),
        &[
            &repeats[..],
            &[
                "9000 the client got no answer to its SYN: 3 tries in 3 s",
                "9000 the client opens a connection",
                "9001 the server refuses the connection (RST)",
            ],
        ]
        .concat(),
    );
}

/// One connection is looked at with each packet: all have had their turn after as many packets as there are.
#[test]
fn many_syns_without_an_answer() {
    let from = |port, sketch: Sketch| {
        let [client, server] = sketch.endpoints;
        sketch.between([SocketAddr::new(client.ip(), port), server])
    };
    let syns = (50_000..50_010).map(|port| from(port, at(0, CLIENT, "S", 0, 0)));
    let later = (0..30).map(|n| from(50_000, at(66_000 + n, CLIENT, "R", 77, 0)));
    let sketches: Vec<Sketch> = syns.chain(later).collect();
    let comments = comments(&sketches, 100);
    let expected = |comment: &&String| comment.ends_with("the client got no answer to its SYN: 1 try");
    assert_eq!(comments.iter().filter(expected).count(), 10, "{comments:?}");
    assert_eq!(comments.len(), 20);
    let last = comments.last().and_then(|comment| comment.split_once(' ')).unwrap().0;
    assert!(last.parse::<u32>().unwrap() <= 66_010, "{comments:?}");
}

#[test]
fn a_refused_connection() {
    assert_story_without_timestamps_too(
        &[
            at(0, CLIENT, "S", 0, 0),
            at(1, SERVER, "R.", 0, 1).win(0),
            at(500, CLIENT, "S", 0, 0),
            at(501, SERVER, "R.", 0, 1).win(0),
        ],
        &[
            OPENS,
            "1 the server refuses the connection (RST)",
            "500 the client opens a connection",
            "501 the server refuses the connection (RST)",
        ],
    );
}

/// RFC 9293 section 3.10.7.3: without the right acknowledgment, a reset means nothing to who sent a SYN.
#[test]
fn a_reset_that_does_not_answer_the_syn() {
    let unanswered = [OPENS, "end at the end of the capture, the client has no answer to its SYN: 1 try"];
    for reset in [at(1, SERVER, "R.", 0, 7), at(1, SERVER, "R", 0, 0), at(1, CLIENT, "R", 500, 0)] {
        assert_story(&[at(0, CLIENT, "S", 0, 0), reset], &unanswered);
    }
}

#[test]
fn a_handshake_that_is_given_up() {
    let syn = at(0, CLIENT, "S", 0, 0);
    let syn_ack = at(1, SERVER, "S.", 0, 1);
    let given_up = "2 the client gives up the connection before it is established (RST)";
    assert_story_without_timestamps_too(&[syn, syn_ack, at(2, CLIENT, "R", 1, 0)], &[OPENS, given_up]);
    assert_story_without_timestamps_too(&[syn, at(2, CLIENT, "R", 1, 0)], &[OPENS, given_up]);
    assert_story_without_timestamps_too(
        &[syn, syn_ack, at(2, SERVER, "R", 1, 0)],
        &[OPENS, "2 the server gives up the connection before it is established (RST)"],
    );
}

#[test]
fn a_handshake_with_losses() {
    assert_story_without_timestamps_too(
        &[
            at(0, CLIENT, "S", 0, 0),
            at(1, SERVER, "S.", 0, 1),
            at(1000, CLIENT, "S", 0, 0),
            at(1001, SERVER, "S.", 0, 1),
            at(1002, CLIENT, ".", 1, 1),
            at(1010, CLIENT, "P.", 1, 1).data(10),
        ],
        &[
            OPENS,
            "1000 the client repeats its SYN: the server's answer has not reached it",
            "1001 the server repeats its SYN-ACK: the client's ACK has not reached it",
            "1010 the connection is established; the client sends a request",
        ],
    );
}

/// A server that answers from a SYN cookie does not remember what it answered before.
#[test]
fn syn_cookies() {
    assert_story_without_timestamps_too(
        &[
            at(0, CLIENT, "S", 0, 0),
            at(1, SERVER, "S.", 0, 1),
            at(1000, CLIENT, "S", 0, 0),
            at(1001, SERVER, "S.", 90_000, 1),
            at(1002, CLIENT, ".", 1, 90_001),
            at(1010, CLIENT, "P.", 1, 90_001).data(10),
        ],
        &[
            OPENS,
            "1000 the client repeats its SYN: the server's answer has not reached it",
            "1010 the connection is established; the client sends a request",
        ],
    );
}

#[test]
fn both_open_at_once() {
    assert_story_without_timestamps_too(
        &[
            at(0, CLIENT, "S", 0, 0),
            at(1, SERVER, "S", 0, 0),
            at(2, CLIENT, "S.", 0, 1),
            at(2, SERVER, "S.", 0, 1),
            at(3, CLIENT, ".", 1, 1),
            at(10, CLIENT, "P.", 1, 1).data(10),
        ],
        &[OPENS, "1 the server opens the same connection at the same time", REQUESTS],
    );
}

#[test]
fn parts_of_the_handshake_that_were_not_seen() {
    // No SYN.
    assert_story_without_timestamps_too(
        &[at(1, SERVER, "S.", 0, 1), at(2, CLIENT, ".", 1, 1), at(10, CLIENT, "P.", 1, 1).data(10)],
        &["1 the server accepts a connection; the client's SYN was not seen", REQUESTS],
    );
    // No SYN-ACK, and nothing else from the server.
    assert_story_without_timestamps_too(
        &[at(0, CLIENT, "S", 0, 0), at(2, CLIENT, ".", 1, 1), at(10, CLIENT, "P.", 1, 1).data(10)],
        &[OPENS, REQUESTS],
    );
    // No SYN-ACK and no ACK.
    assert_story_without_timestamps_too(
        &[at(0, CLIENT, "S", 0, 0), at(5, SERVER, ".", 1, 1), at(10, CLIENT, "P.", 1, 1).data(10)],
        &[OPENS, REQUESTS],
    );
    // A segment of an older connection is no answer.
    assert_story_without_timestamps_too(
        &[
            at(0, CLIENT, "S", 0, 0),
            at(1, SERVER, ".", 500, 999_999),
            at(2, CLIENT, "P.", 999_999, 500).data(3),
        ],
        &[OPENS, "end at the end of the capture, the client has no answer to its SYN: 1 try"],
    );
}
