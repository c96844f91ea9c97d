//! Stories of an exchange: who speaks, and who answers.

use test_support::sketch::{CLIENT, SERVER, at};

use super::{assert_after_exchange, assert_after_handshake, assert_story_without_timestamps_too};

#[test]
fn a_connection_from_beginning_to_end() {
    assert_after_exchange(
        &[at(30, CLIENT, "F.", 11, 101), at(31, SERVER, "F.", 101, 12), at(32, CLIENT, ".", 12, 102)],
        &["30 the client closes its side", "31 the server closes its side too"],
    );
}

#[test]
fn an_established_connection_on_which_nothing_is_sent() {
    assert_after_handshake(&[], &["end the connection is established; nothing has been sent on it"]);
    assert_after_handshake(
        &[at(9, CLIENT, "F.", 1, 1), at(10, SERVER, "F.", 1, 2), at(11, CLIENT, ".", 2, 2)],
        &["9 the connection is established; the client closes its side", "10 the server closes its side too"],
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
