//! Stories of the end: FINs, resets, and what follows between the same ports.

use test_support::sketch::{CLIENT, SERVER, Sketch, at};

use super::{
    OPENS, REQUESTS, RESPONDS, assert_after_exchange, assert_after_handshake,
    assert_story_without_timestamps_too, exchange,
};

#[test]
fn both_close_at_once() {
    assert_after_exchange(
        &[
            at(30, CLIENT, "F.", 11, 101),
            at(30, SERVER, "F.", 101, 11),
            at(31, CLIENT, ".", 12, 102),
            at(31, SERVER, ".", 102, 12),
        ],
        &["30 the client closes its side", "30 the server closes the connection at the same time"],
    );
}

/// A client that has asked and closes its side gets the answer: that is no end.
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
            "30 the client closes its side",
            "40 the server sends a response",
            "50 the server closes its side too",
        ],
    );
    // The FIN comes alone.
    assert_after_exchange(
        &[
            at(30, CLIENT, "P.", 11, 101).data(10),
            at(31, SERVER, ".", 101, 21),
            at(32, CLIENT, "F.", 21, 101),
            at(40, SERVER, "P.", 101, 22).data(1000),
            at(41, SERVER, "F.", 1101, 22),
        ],
        &[
            "30 the client sends a request",
            "32 the client closes its side",
            "40 the server sends a response",
            "41 the server closes its side too",
        ],
    );
}

/// The client closes its side when it has the first part of the answer, and the rest follows.
#[test]
fn half_closed_within_the_answer() {
    assert_after_exchange(
        &[
            at(30, CLIENT, "F.", 11, 101),
            // This one was on its way.
            at(30, SERVER, ".", 101, 11).data(100),
            at(31, SERVER, ".", 201, 12).data(100),
            at(31, SERVER, "P.", 301, 12).data(100),
            at(32, CLIENT, ".", 12, 401),
            at(40, SERVER, "FP.", 401, 12).data(100),
        ],
        &[
            "30 the client closes its side",
            "31 the server sends data after the client has closed its side",
            "40 the server closes its side too",
        ],
    );
    // All of the rest was on its way, or is sent again.
    assert_after_exchange(
        &[
            at(30, CLIENT, "F.", 11, 101),
            at(30, SERVER, ".", 101, 11).data(100),
            at(300, SERVER, ".", 101, 12).data(100),
            at(301, SERVER, "F.", 201, 12),
        ],
        &[
            "30 the client closes its side",
            "300 the server retransmits data; the connection has been stalled for 0.2 s",
            "301 the server closes its side too",
        ],
    );
}

/// The client has nothing to say and says so at once, as `nc -N </dev/null`.
#[test]
fn half_closed_by_a_client_that_listens() {
    assert_after_handshake(
        &[
            at(2, CLIENT, "F.", 1, 1),
            at(3, SERVER, ".", 1, 2),
            at(10, SERVER, "P.", 1, 2).data(100),
            at(11, CLIENT, ".", 2, 101),
            at(20, SERVER, "P.", 101, 2).data(100),
            at(30, SERVER, "F.", 201, 2),
        ],
        &[
            "2 the connection is established; the client closes its side",
            "10 the server speaks first",
            "30 the server closes its side too",
        ],
    );
}

/// The server closes its side, and the client goes on sending.
#[test]
fn half_closed_by_the_server() {
    // Without an answer.
    assert_after_handshake(
        &[
            at(20, CLIENT, "P.", 1, 1).data(5),
            at(30, SERVER, "F.", 1, 6),
            at(40, CLIENT, "P.", 6, 2).data(5),
            at(50, CLIENT, "P.", 11, 2).data(5),
            at(60, CLIENT, "F.", 16, 2),
        ],
        &[
            "20 the connection is established; the client sends a request",
            "30 the server closes its side",
            "40 the client sends data after the server has closed its side",
            "60 the client closes its side too",
        ],
    );
    // What a client sends to a server that has closed is no request.
    assert_after_handshake(
        &[at(10, SERVER, "F.", 1, 1), at(20, CLIENT, "P.", 1, 2).data(5)],
        &[
            "10 the connection is established; the server closes its side",
            "20 the client sends data after the server has closed its side",
        ],
    );
    assert_after_exchange(
        &[
            at(30, SERVER, "F.", 101, 11),
            at(31, CLIENT, ".", 11, 102),
            at(40, CLIENT, "P.", 11, 102).data(5),
            at(41, CLIENT, "P.", 16, 102).data(5),
            at(42, SERVER, "R", 102, 0),
        ],
        &[
            "30 the server actively closes the connection",
            "40 the client sends data after the server has closed its side",
            "42 the server closes the connection by force (RST): data may have been lost",
        ],
    );
}

/// A server that has answered all, and closes: nothing will be answered any more. Any other first FIN closes a side.
#[test]
fn actively_closed() {
    for (from, seq, ack, comment) in [
        (CLIENT, 11, 101, "30 the client closes its side"),
        (SERVER, 101, 11, "30 the server actively closes the connection"),
    ] {
        assert_after_exchange(&[at(30, from, "F.", seq, ack)], &[comment]);
    }
    // The request is in the SYN.
    assert_story_without_timestamps_too(
        &[
            at(0, CLIENT, "S", 0, 0).data(10),
            at(1, SERVER, "S.", 0, 11),
            at(2, SERVER, "FP.", 1, 11).data(10),
        ],
        &[
            "0 the client opens a connection and sends a request with its SYN",
            "2 the server sends a response",
            "2 the server actively closes the connection",
        ],
    );
    // The client has sent more, which the server has not got.
    assert_after_exchange(
        &[at(30, CLIENT, "P.", 11, 90).data(10), at(30, SERVER, "F.", 101, 11)],
        &["30 the server closes its side"],
    );
    // No one has asked.
    assert_after_handshake(
        &[at(20, SERVER, "P.", 1, 1).data(5), at(30, SERVER, "F.", 6, 1)],
        &["20 the connection is established; the server speaks first", "30 the server closes its side"],
    );
}

/// Nothing follows a FIN; what claims to is a mistake.
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
        &["30 the connection is established; \
             the client closes the connection by force (RST): data may have been lost"],
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
    for (end, comment) in [
        (&close[..], &["30 the client closes its side", "31 the server closes its side too"][..]),
        (&reset[..], &["30 the client closes the connection by force (RST): data may have been lost"][..]),
    ] {
        assert_story_without_timestamps_too(
            &[&exchange, end, &again].concat(),
            &[
                &[OPENS, REQUESTS, RESPONDS],
                comment,
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
