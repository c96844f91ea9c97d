//! Stories of what is sent twice, and of what only looks so.

use test_support::sketch::{CLIENT, SERVER, Sketch, at};

use super::{
    OPENS, REQUESTS, RESPONDS, assert_after_exchange, assert_story, assert_story_without_timestamps_too,
    exchange,
};

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
            "300 the server retransmits data; the connection has been stalled for 0.2 s",
            "700 the server retransmits data again, 2 times now; the connection has been stalled for 0.6 s",
            "950 the server retransmits data; the connection has been stalled for 0.2 s",
        ],
    );
    // A FIN.
    assert_after_exchange(
        &[at(100, CLIENT, "F.", 11, 101), at(300, CLIENT, "F.", 11, 101), at(700, CLIENT, "F.", 11, 101)],
        &[
            "100 the client closes its side",
            "300 the client retransmits its FIN; the connection has been stalled for 0.2 s",
            "700 the client retransmits its FIN again, 2 times now; the connection has been stalled for 0.6 s",
        ],
    );
    // All that was sent, as one segment.
    assert_after_exchange(
        &[
            at(100, SERVER, ".", 101, 11).data(10),
            at(101, SERVER, ".", 111, 11).data(10),
            at(299, SERVER, ".", 101, 11).data(20),
        ],
        &["299 the server retransmits data"],
    );
}

/// All that is sent to a port is dropped for 3 s, as Linux retransmits it: first what it sent last (RFC 8985, the tail
/// loss probe), then at each timeout what it sent first, and when the port takes packets again, all the rest.
#[test]
fn an_outage() {
    let again = |milliseconds, n: u32| at(milliseconds, CLIENT, "P.", 11 + 20 * n, 101).data(20);
    let lost = |n: u32| again(100 + 10 * i64::from(n), n);
    let acked = |milliseconds, n: u32| at(milliseconds, SERVER, ".", 101, 11 + 20 * n);
    let mut segments: Vec<Sketch> = (0..5).map(lost).collect();
    segments.extend([again(150, 4), again(360, 0), again(780, 0), again(1620, 0), again(3300, 0)]);
    segments.extend([acked(3301, 1), again(3302, 1), again(3303, 2), acked(3304, 2), acked(3305, 3)]);
    segments.extend([again(3306, 3), again(3307, 4), acked(3308, 5)]);
    assert_after_exchange(
        &segments,
        &[
            "100 the client sends a request",
            "150 the client retransmits data",
            "360 the client retransmits data; the connection has been stalled for 0.2 s",
            "780 the client retransmits data again, 2 times now; the connection has been stalled for 0.6 s",
            "1620 the client retransmits data again, 3 times now; the connection has been stalled for 1.5 s",
            "3300 the client retransmits data again, 4 times now; the connection has been stalled for 3.2 s",
        ],
    );
    // What is sent meanwhile is lost, too. There is no comment when it is sent again after the outage.
    let mut segments: Vec<Sketch> = (0..2).map(lost).collect();
    segments.extend([
        again(310, 0),
        again(500, 2),
        again(720, 0),
        acked(721, 1),
        again(722, 1),
        again(723, 2),
    ]);
    assert_after_exchange(
        &segments,
        &[
            "100 the client sends a request",
            "310 the client retransmits data; the connection has been stalled for 0.2 s",
            "720 the client retransmits data again, 2 times now; the connection has been stalled for 0.6 s",
        ],
    );
}

/// The acknowledgments are dropped on their way back, after they were seen.
#[test]
fn an_outage_of_the_way_back() {
    let first = |milliseconds| at(milliseconds, CLIENT, "P.", 11, 101).data(20);
    let second = |milliseconds| at(milliseconds, CLIENT, "P.", 31, 101).data(20);
    let acked = |milliseconds| at(milliseconds, SERVER, ".", 101, 51);
    assert_after_exchange(
        &[
            first(100),
            second(101),
            acked(102),
            second(150),
            acked(151),
            first(310),
            acked(311),
            first(720),
            acked(721),
        ],
        &[
            "100 the client sends a request",
            "150 the client retransmits data",
            "310 the client retransmits data; the connection has been stalled for 0.2 s",
            "720 the client retransmits data again, 2 times now; the connection has been stalled for 0.6 s",
        ],
    );
}

/// Where one direction alone is seen, nothing of what is sent seems to be acknowledged.
#[test]
fn an_outage_of_which_one_direction_is_seen() {
    let sent = |milliseconds, n: u32| at(milliseconds, CLIENT, "P.", 11 + 20 * n, 101).data(20);
    assert_story_without_timestamps_too(
        &[
            sent(0, 0),
            sent(1000, 1),
            sent(1001, 2),
            sent(1002, 3),
            // A fast retransmission, then new data.
            sent(1050, 1),
            sent(1060, 4),
            sent(1061, 5),
            // A tail loss probe, timeouts, and the rest after them.
            sent(1100, 5),
            sent(1300, 4),
            sent(1710, 4),
            sent(1711, 5),
            sent(1720, 6),
        ],
        &[
            "0 the connection is first seen in the middle; by the ports, the client is CLIENT",
            "0 the client sends data",
            "1050 the client retransmits data",
            "1100 the client retransmits data",
            "1300 the client retransmits data; the connection has been stalled for 0.2 s",
            "1710 the client retransmits data again, 2 times now; the connection has been stalled for 0.6 s",
        ],
    );
}

/// A loss on a long way is no timeout: the acknowledgments go on coming.
#[test]
fn a_loss_on_a_long_way() {
    let sent = |n: u32| at(100 + i64::from(n), SERVER, ".", 101 + 100 * n, 11).data(100);
    let duplicate = |n: i64| at(701 + n, CLIENT, ".", 11, 201);
    let mut segments: Vec<Sketch> = (0..10).map(sent).collect();
    segments.extend([at(700, CLIENT, ".", 11, 201), duplicate(1), duplicate(2), duplicate(3)]);
    segments.push(at(705, SERVER, ".", 201, 11).data(100));
    segments.push(at(1305, CLIENT, ".", 11, 1101));
    assert_after_exchange(&segments, &["705 the server retransmits data"]);
}

/// A fast retransmission in a stream: the sender's clock has gone on since the first time.
#[test]
fn a_fast_retransmission() {
    let mut stream: Vec<Sketch> =
        (0..20).map(|n| at(100 + i64::from(n), SERVER, ".", 101 + n * 100, 11).data(100)).collect();
    stream.insert(10, at(109, SERVER, ".", 301, 11).data(100));
    let expected = &[OPENS, REQUESTS, RESPONDS, "109 the server retransmits data"];
    assert_story(&[exchange(), stream].concat(), expected);
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

/// A byte that has not been acknowledged is no keep-alive.
#[test]
fn one_byte_sent_again() {
    assert_after_exchange(
        &[at(100, CLIENT, "P.", 11, 101).data(1), at(400, CLIENT, "P.", 11, 101).data(1)],
        &[
            "100 the client sends a request",
            "400 the client retransmits data; the connection has been stalled for 0.3 s",
        ],
    );
}
