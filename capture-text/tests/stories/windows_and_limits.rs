//! Stories of closed windows, of numbers from far away, and of a table that is full.

use std::net::SocketAddr;

use test_support::sketch::{CLIENT, SERVER, Sketch, at};

use super::{OPENS, REQUESTS, RESPONDS, assert_after_exchange, assert_story_with_limit, exchange};

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
        let move_client = |endpoint: SocketAddr| {
            if endpoint == CLIENT.endpoint() { SocketAddr::new(endpoint.ip(), port) } else { endpoint }
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
