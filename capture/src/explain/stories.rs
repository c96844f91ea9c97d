//! Stories: sequences of segments and what is told about them.

use super::{
    segment::Endpoint,
    testing::{
        CLIENT, SERVER, Sketch, assert_story, assert_story_with_limit, assert_story_without_timestamps_too,
        at, comments,
    },
};

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

/// What is told of `segments` after [`exchange`].
#[track_caller]
fn assert_after_exchange(segments: &[Sketch], expected: &[&str]) {
    assert_story_without_timestamps_too(
        &[&exchange(), segments].concat(),
        &[&[OPENS, REQUESTS, RESPONDS], expected].concat(),
    );
}

/// What is told of `segments` after [`handshake`].
#[track_caller]
fn assert_after_handshake(segments: &[Sketch], expected: &[&str]) {
    assert_story_without_timestamps_too(&[&handshake(), segments].concat(), &[&[OPENS], expected].concat());
}

#[test]
fn a_connection_from_beginning_to_end() {
    assert_after_exchange(
        &[at(30, CLIENT, "F.", 11, 101), at(31, SERVER, "F.", 101, 12), at(32, CLIENT, ".", 12, 102)],
        &["30 the client actively closes the connection", "31 the server closes its side too"],
    );
}

#[test]
fn an_established_connection_on_which_nothing_is_sent() {
    assert_after_handshake(&[], &["end the connection is established; nothing has been sent on it"]);
    assert_after_handshake(
        &[at(9, CLIENT, "F.", 1, 1), at(10, SERVER, "F.", 1, 2), at(11, CLIENT, ".", 2, 2)],
        &[
            "9 the connection is established; the client actively closes the connection",
            "10 the server closes its side too",
        ],
    );
}

#[test]
fn the_server_may_speak_first() {
    assert_after_handshake(
        &[
            at(10, SERVER, "P.", 1, 1).data(5),
            at(11, CLIENT, ".", 1, 6),
            at(12, CLIENT, "P.", 1, 6).data(5),
            at(13, SERVER, "P.", 6, 6).data(5),
        ],
        &[
            "10 the connection is established; the server speaks first",
            "12 the client sends a request",
            "13 the server sends a response",
        ],
    );
}

/// If the request was not seen, what acknowledges it is a response all the same.
#[test]
fn a_response_to_a_request_that_was_not_seen() {
    assert_after_handshake(
        &[at(10, SERVER, "P.", 1, 50).data(5)],
        &["10 the connection is established; the server sends a response"],
    );
}

/// One comment for each change of direction, however many segments there are.
#[test]
fn turns() {
    assert_after_exchange(
        &[
            at(30, CLIENT, ".", 11, 101).data(1000),
            at(31, CLIENT, "P.", 1011, 101).data(1000),
            at(32, SERVER, ".", 101, 2011),
            at(33, SERVER, ".", 101, 2011).data(1000),
            at(33, SERVER, ".", 1101, 2011).data(1000),
            at(34, CLIENT, ".", 2011, 2101),
            at(34, SERVER, ".", 2101, 2011).data(1000),
            at(35, CLIENT, ".", 2011, 3101),
        ],
        &["30 the client sends a request", "33 the server sends a response"],
    );
}

/// Data that does not acknowledge all that came before answers nothing.
#[test]
fn data_that_crosses_is_no_answer() {
    assert_after_exchange(
        &[
            at(30, CLIENT, "P.", 11, 101).data(100),
            at(31, SERVER, "P.", 101, 11).data(100),
            at(31, CLIENT, "P.", 111, 101).data(100),
            at(32, SERVER, "P.", 201, 111).data(100),
            at(32, CLIENT, "P.", 211, 201).data(100),
            at(33, SERVER, ".", 301, 311),
            at(40, SERVER, "P.", 301, 311).data(100),
        ],
        &["30 the client sends a request", "40 the server sends a response"],
    );
}

#[test]
fn data_on_the_syn_is_a_request() {
    assert_story_without_timestamps_too(
        &[
            at(0, CLIENT, "S", 0, 0).data(10),
            at(1, SERVER, "S.", 0, 11),
            at(2, SERVER, "P.", 1, 11).data(10),
            at(3, CLIENT, ".", 11, 11),
            at(30, CLIENT, "P.", 11, 11).data(10),
        ],
        &[
            "0 the client opens a connection and sends a request with its SYN",
            "2 the server sends a response",
            "30 the connection is established; the client sends a request",
        ],
    );
}

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
    // Told by somebody else's packet, as soon as it is certain.
    let other = |time, flags| {
        let mut other = at(time, CLIENT, flags, 5, 5);
        other.endpoints = other.endpoints.map(|endpoint| Endpoint { port: endpoint.port + 1, ..endpoint });
        other
    };
    let later = [other(68_001, "."), other(68_002, "."), other(68_003, "."), other(90_000, ".")];
    let told = [
        "68001 the client got no answer to its SYN: 3 tries in 3 s",
        "68001 the connection is first seen in the middle; by the ports, the client is CLIENT",
    ];
    assert_story_without_timestamps_too(&[&syns[..], &later].concat(), &[&repeats[..], &told].concat());
    // Told by the next attempt.
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
        sketch.between([Endpoint { port, ..client }, server])
    };
    let syns = (50_000..50_010).map(|port| from(port, at(0, CLIENT, "S", 0, 0)));
    let later = (0..30).map(|n| from(50_000, at(66_000 + n, CLIENT, "R", 77, 0)));
    let sketches: Vec<Sketch> = syns.chain(later).collect();
    let comments = comments(&sketches, 100);
    let told = |comment: &&String| comment.ends_with("the client got no answer to its SYN: 1 try");
    assert_eq!(comments.iter().filter(told).count(), 10, "{comments:?}");
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

#[test]
fn a_connection_first_seen_in_the_middle() {
    assert_story_without_timestamps_too(
        &[
            at(0, SERVER, ".", 5000, 7000).data(100),
            at(1, CLIENT, ".", 7000, 5100),
            at(2, SERVER, ".", 5100, 7000).data(100),
            at(10, CLIENT, "P.", 7000, 5200).data(10),
            at(20, SERVER, "P.", 5200, 7010).data(10),
            at(30, SERVER, "F.", 5210, 7010),
        ],
        &[
            "0 the connection is first seen in the middle; by the ports, the client is CLIENT",
            "0 the server sends data",
            "10 the client sends a request",
            "20 the server sends a response",
            "30 the server actively closes the connection",
        ],
    );
}

/// Whoever closes while nothing is known of the other side may be the second to do so.
#[test]
fn a_close_first_seen_in_the_middle() {
    assert_story_without_timestamps_too(
        &[at(0, CLIENT, "F.", 5000, 7000), at(1, SERVER, ".", 7000, 5001)],
        &[
            "0 the connection is first seen in the middle; by the ports, the client is CLIENT",
            "0 the client closes its side",
        ],
    );
}

#[test]
fn a_reset_of_an_unseen_connection() {
    assert_story_without_timestamps_too(
        &[at(0, CLIENT, "R", 5000, 0), at(100, CLIENT, "R", 5000, 0), at(200, SERVER, ".", 7, 5000)],
        &["0 a connection that was not seen before is reset (RST): if it existed, data may have been lost"],
    );
}

/// What was sent before the first segment that was seen is not known.
#[test]
fn before_the_middle_nothing_is_known() {
    assert_story_without_timestamps_too(
        &[
            at(100, CLIENT, ".", 7000, 5000).data(10),
            at(100, CLIENT, ".", 6990, 5000).data(10).ts(90),
            at(200, CLIENT, ".", 6000, 5000).data(10).ts(90),
        ],
        &[
            "100 the connection is first seen in the middle; by the ports, the client is CLIENT",
            "100 the client sends data",
        ],
    );
}

#[test]
fn both_close_at_once() {
    assert_after_exchange(
        &[
            at(30, CLIENT, "F.", 11, 101),
            at(30, SERVER, "F.", 101, 11),
            at(31, CLIENT, ".", 12, 102),
            at(31, SERVER, ".", 102, 12),
        ],
        &[
            "30 the client actively closes the connection",
            "30 the server closes the connection at the same time",
        ],
    );
}

/// Who has closed its side still gets the answer.
#[test]
fn half_closed() {
    assert_after_exchange(
        &[
            at(30, CLIENT, "FP.", 11, 101).data(10),
            at(31, SERVER, ".", 101, 22),
            at(40, SERVER, "P.", 101, 22).data(1000),
            at(41, CLIENT, ".", 22, 1101),
            at(50, SERVER, "F.", 1101, 22),
            at(51, CLIENT, ".", 22, 1102),
        ],
        &[
            "30 the client sends a request",
            "30 the client actively closes the connection",
            "40 the server sends a response",
            "50 the server closes its side too",
        ],
    );
}

/// Nothing follows a FIN; what claims to is somebody's mistake.
#[test]
fn data_behind_a_fin() {
    assert_after_exchange(
        &[at(30, SERVER, "F.", 101, 11), at(31, SERVER, "P.", 102, 11).data(10)],
        &["30 the server actively closes the connection"],
    );
}

#[test]
fn closed_by_force() {
    let reset = "30 the client closes the connection by force (RST): data may have been lost";
    assert_after_exchange(
        &[
            at(30, CLIENT, "R.", 11, 101),
            at(31, CLIENT, "R", 11, 0),
            at(32, SERVER, "P.", 101, 11).data(10),
            at(33, CLIENT, "R", 11, 0),
        ],
        &[reset],
    );
    // In the window, of 500 << 7 bytes.
    assert_after_exchange(&[at(30, CLIENT, "R", 11 + (500 << 7), 0)], &[reset]);
    assert_after_handshake(
        &[at(30, CLIENT, "R.", 1, 1)],
        &[
            "30 the connection is established; the client closes the connection by force (RST): data may have been lost",
        ],
    );
}

/// A reset that its receiver ignores (RFC 9293 section 3.5.3), because it is outside of the window.
#[test]
fn a_reset_out_of_the_window() {
    for seq in [10, 12 + (500 << 7), 900_000_000] {
        assert_after_exchange(&[at(30, CLIENT, "R", seq, 0)], &[]);
    }
}

#[test]
fn the_same_ports_again() {
    let exchange = exchange();
    let again = exchange.iter().map(|sketch| sketch.delayed(1000).jump(777_777));
    let again: Vec<Sketch> = again.collect();
    let close = [at(30, CLIENT, "F.", 11, 101), at(31, SERVER, "F.", 101, 12), at(32, CLIENT, ".", 12, 102)];
    let reset = [at(30, CLIENT, "R", 11, 0)];
    for (end, told) in [
        (
            &close[..],
            &["30 the client actively closes the connection", "31 the server closes its side too"][..],
        ),
        (&reset[..], &["30 the client closes the connection by force (RST): data may have been lost"][..]),
    ] {
        assert_story_without_timestamps_too(
            &[&exchange, end, &again].concat(),
            &[
                &[OPENS, REQUESTS, RESPONDS],
                told,
                &[
                    "1000 the client opens a connection",
                    "1010 the connection is established; the client sends a request",
                    "1020 the server sends a response",
                ],
            ]
            .concat(),
        );
    }
    assert_after_exchange(
        &again[..1],
        &[
            "1000 the client opens a new connection; the end of the one before was not seen",
            "end at the end of the capture, the client has no answer to its SYN: 1 try",
        ],
    );
    // The new SYN was not seen.
    assert_story_without_timestamps_too(
        &[&exchange, &reset[..], &again[1..4]].concat(),
        &[
            OPENS,
            REQUESTS,
            RESPONDS,
            "30 the client closes the connection by force (RST): data may have been lost",
            "1001 the server accepts a connection; the client's SYN was not seen",
            "1010 the connection is established; the client sends a request",
        ],
    );
}

#[test]
fn retransmissions() {
    // A lost tail, sent again and again, and then more of it.
    assert_after_exchange(
        &[
            at(100, SERVER, ".", 101, 11).data(1000),
            at(100, SERVER, ".", 1101, 11).data(1000),
            at(300, SERVER, ".", 101, 11).data(1000),
            at(700, SERVER, ".", 101, 11).data(1000),
            at(702, CLIENT, ".", 11, 1101),
            at(703, SERVER, ".", 1101, 11).data(1000),
            at(704, CLIENT, ".", 11, 2101),
            at(710, SERVER, ".", 2101, 11).data(1000),
            at(950, SERVER, ".", 2101, 11).data(1000),
        ],
        &[
            "300 the server retransmits data",
            "700 the server retransmits data again, 2 times now",
            "950 the server retransmits data",
        ],
    );
    // A FIN.
    assert_after_exchange(
        &[at(100, CLIENT, "F.", 11, 101), at(300, CLIENT, "F.", 11, 101), at(700, CLIENT, "F.", 11, 101)],
        &[
            "100 the client actively closes the connection",
            "300 the client retransmits its FIN",
            "700 the client retransmits its FIN again, 2 times now",
        ],
    );
    // All that was sent, as one segment.
    assert_after_exchange(
        &[
            at(100, SERVER, ".", 101, 11).data(10),
            at(101, SERVER, ".", 111, 11).data(10),
            at(300, SERVER, ".", 101, 11).data(20),
        ],
        &["300 the server retransmits data"],
    );
}

/// A fast retransmission in a stream: the sender's clock has gone on since the first time.
#[test]
fn a_fast_retransmission() {
    let mut stream: Vec<Sketch> =
        (0..20).map(|n| at(100 + i64::from(n), SERVER, ".", 101 + n * 100, 11).data(100)).collect();
    stream.insert(10, at(109, SERVER, ".", 301, 11).data(100));
    let told = &[OPENS, REQUESTS, RESPONDS, "109 the server retransmits data"];
    assert_story(&[exchange(), stream].concat(), told);
}

/// The first time was not seen, but the sender's clock tells that there was one.
#[test]
fn a_retransmission_of_what_was_not_seen() {
    let lost = [at(100, SERVER, ".", 201, 11).data(100), at(130, SERVER, ".", 101, 11).data(100)];
    let lost = [&exchange()[..], &lost].concat();
    assert_story(&lost, &[OPENS, REQUESTS, RESPONDS, "130 the server retransmits data"]);
    // Without a clock there is no telling.
    let lost: Vec<Sketch> = lost.iter().map(|sketch| sketch.no_ts()).collect();
    assert_story(&lost, &[OPENS, REQUESTS, RESPONDS]);
}

#[test]
fn what_comes_late_is_not_sent_again() {
    // Out of order, however late.
    let late = [
        at(100, SERVER, ".", 201, 11).data(100),
        at(101, SERVER, ".", 301, 11).data(100),
        at(150, SERVER, ".", 101, 11).data(100).ts(100),
    ];
    assert_after_exchange(&late, &[]);
    // Acknowledged before it is seen: captured on two CPUs.
    let acknowledged = [at(100, CLIENT, ".", 11, 201), at(100, SERVER, ".", 101, 11).data(100).ts(99)];
    assert_after_exchange(&acknowledged, &[]);
}

/// Copies of a packet, as on two interfaces of a bridge: each of the packets between them has one too.
#[test]
fn copies_are_not_sent_again() {
    let burst: Vec<Sketch> = (0..5).map(|n| at(100, SERVER, ".", 101 + n * 100, 11).data(100)).collect();
    assert_after_exchange(&[&burst[..], &burst].concat(), &[]);
}

#[test]
fn keep_alives_and_window_probes_are_not_data() {
    assert_after_exchange(
        &[
            // Linux sends no data, others one byte that was acknowledged before.
            at(5000, CLIENT, ".", 10, 101),
            at(5001, SERVER, ".", 101, 11),
            at(9000, CLIENT, ".", 10, 101).data(1),
            at(9001, SERVER, ".", 101, 11),
            at(12_000, CLIENT, ".", 10, 101).data(1),
        ],
        &[],
    );
    assert_after_exchange(
        &[
            at(100, CLIENT, ".", 11, 101).win(0),
            at(400, SERVER, ".", 100, 11),
            at(401, CLIENT, ".", 11, 101).win(0),
            at(800, SERVER, ".", 101, 11).data(1),
            at(801, CLIENT, ".", 11, 101).win(0),
            at(1600, SERVER, ".", 101, 11).data(1),
            at(1601, CLIENT, ".", 11, 101).win(0),
        ],
        &["100 the client's window is zero: the server has to wait"],
    );
}

/// A byte that nobody has acknowledged is no keep-alive.
#[test]
fn one_byte_sent_again() {
    assert_after_exchange(
        &[at(100, CLIENT, "P.", 11, 101).data(1), at(400, CLIENT, "P.", 11, 101).data(1)],
        &["100 the client sends a request", "400 the client retransmits data"],
    );
}

#[test]
fn zero_windows() {
    assert_after_exchange(
        &[
            at(100, CLIENT, ".", 11, 101).win(0),
            at(200, CLIENT, ".", 11, 101).win(0),
            // An old segment comes late and says nothing about now.
            at(250, CLIENT, ".", 11, 90).win(5),
            at(300, CLIENT, ".", 11, 101).win(5),
            at(350, CLIENT, ".", 11, 90).win(0),
            at(400, CLIENT, ".", 11, 101).win(0),
        ],
        &[
            "100 the client's window is zero: the server has to wait",
            "300 the client's window is open again: the server may send",
            "400 the client's window is zero: the server has to wait",
        ],
    );
    // Who has closed its side does not wait for a window.
    assert_after_exchange(
        &[at(100, SERVER, "F.", 101, 11), at(101, CLIENT, ".", 11, 102).win(0)],
        &["100 the server actively closes the connection"],
    );
}

/// Numbers of another connection, and acknowledgments of what was never sent.
#[test]
fn far_away_numbers_are_ignored() {
    assert_after_exchange(
        &[
            at(100, CLIENT, "P.", 2_000_000_000, 101).data(10),
            at(101, CLIENT, "P.", 11, 2_000_000_000).data(10),
            at(102, CLIENT, "F.", 2_000_000_000, 101),
            at(110, CLIENT, "P.", 11, 101).data(10),
        ],
        &["110 the client sends a request"],
    );
}

#[test]
fn a_bounded_table_says_what_it_forgot() {
    let from = |port: u16, sketches: &[Sketch]| -> Vec<Sketch> {
        let move_client = |endpoint: Endpoint| {
            if endpoint == CLIENT.endpoint() { Endpoint { port, ..endpoint } } else { endpoint }
        };
        let sketches = sketches.iter();
        sketches.map(|sketch| sketch.between(sketch.endpoints.map(move_client))).collect()
    };
    let reset = [at(30, CLIENT, "R", 11, 0)];
    // The first has ended when room is needed, the second has not.
    let sketches = [
        from(50_001, &exchange()),
        from(50_001, &reset),
        from(50_002, &exchange()),
        from(50_003, &exchange()),
        from(50_002, &[at(40, CLIENT, "P.", 11, 101).data(10)]),
        from(50_004, &exchange()),
        // Not "first seen": it may be one of those that were forgotten.
        from(50_001, &[at(50, SERVER, ".", 101, 11).data(10)]),
    ];
    let one = [OPENS, REQUESTS, RESPONDS];
    assert_story_with_limit(
        2,
        &sketches.concat(),
        &[
            &one[..],
            &["30 the client closes the connection by force (RST): data may have been lost"],
            &one,
            &one,
            &["40 the client sends a request"],
            &one,
            &["50 the server sends data"],
            &["end 2 connections were forgotten before they ended, because only 2 are remembered"],
        ]
        .concat(),
    );
}
