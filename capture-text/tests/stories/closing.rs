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
        &[
            "30 the client actively closes the connection",
            "30 the server closes the connection at the same time",
        ],
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

/// A server that has answered, and a client that has its answer, or has asked nothing, close the connection.
#[test]
fn actively_closed() {
    for (from, seq, ack, comment) in [
        (CLIENT, 11, 101, "30 the client actively closes the connection"),
        (SERVER, 101, 11, "30 the server actively closes the connection"),
    ] {
        assert_after_exchange(&[at(30, from, "F.", seq, ack)], &[comment]);
    }
    assert_after_handshake(
        &[at(30, CLIENT, "F.", 1, 1)],
        &["30 the connection is established; the client actively closes the connection"],
    );
    assert_after_handshake(
        &[at(20, CLIENT, "P.", 1, 1).data(5), at(30, SERVER, "F.", 1, 6)],
        &[
            "20 the connection is established; the client sends a request",
            "30 the server actively closes the connection",
        ],
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
