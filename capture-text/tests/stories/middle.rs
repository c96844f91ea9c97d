//! Stories of connections whose beginning was not seen.

use test_support::sketch::{CLIENT, SERVER, at};

use super::assert_story_without_timestamps_too;

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

/// A side that closes while nothing is known of the other side may be the second to do so.
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
