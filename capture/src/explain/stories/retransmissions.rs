//! Stories of what is sent twice, and of what only looks so.

use super::{OPENS, REQUESTS, RESPONDS, assert_after_exchange, exchange};
use crate::explain::testing::{CLIENT, SERVER, Sketch, assert_story, at};

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
