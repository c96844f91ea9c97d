//! Any bytes as what one process of a run says to another: refused, or a message that is made of the same bytes again.

#![no_main]

use capture::{
    kernel::helper::message::{Event, Request as OfPrograms},
    output::files::message::{Answer, Beginning, End, Request as OfFiles},
    process::message::{Message, SIZE},
    resolve::message::{Answer as Name, Question},
};
use libfuzzer_sys::fuzz_target;

fn check<M: Message>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        assert!(message.encode() == bytes);
    }
}

fuzz_target!(|bytes: &[u8]| {
    // No more is received.
    if bytes.len() > SIZE {
        return;
    }
    check::<Event>(bytes);
    check::<OfPrograms>(bytes);
    check::<OfFiles>(bytes);
    check::<Answer>(bytes);
    check::<Beginning>(bytes);
    check::<End>(bytes);
    check::<Question>(bytes);
    check::<Name>(bytes);
});
