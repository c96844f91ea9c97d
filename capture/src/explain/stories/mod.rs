//! Stories: sequences of segments and the comments on them.

mod closing;
mod middle;
mod opening;
mod retransmissions;
mod turns;
mod windows_and_limits;

use super::testing::{CLIENT, SERVER, Sketch, assert_story_without_timestamps_too, at};

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
