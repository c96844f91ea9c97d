//! What a new source, a new output, a new rendering of events and a new destination take: each is a file here, and a line in
//! this one. Nothing else of capture knows them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod destination;
mod output;
mod rendering;
mod source;

use capture::{
    engine::Engine,
    output::{
        Flush, Output,
        format::{Format, Setup},
    },
};
use capture_flow::Tracker;
use capture_packet::Precision;

/// As [`capture::output::FORMATS`]: a line for the output, and one for the rendering.
const FORMATS: &[&Format] = &[
    &output::FORMAT, //
    &rendering::FORMAT,
];

/// What each of the formats makes of three packets.
#[test]
fn each_takes_a_file_and_a_line() {
    let mut source = source::Knocking::new(3);
    let interfaces = [source.interface()];
    let setup = Setup { interfaces: &interfaces, precision: Precision::Micro, explain: false, cooking: None };
    let open = |format: &&Format| {
        let memory = destination::Memory::default();
        let (name, encoder) = (format.name.to_owned(), (format.encoder)(&setup));
        (Output::here(name, encoder, Box::new(memory.clone()), Flush::WhenIdle), memory)
    };
    let (outputs, memories): (Vec<_>, Vec<_>) = FORMATS.iter().map(open).unzip();
    let tracker = FORMATS.iter().any(|format| format.has_events()).then(|| Tracker::new(16));
    let mut engine = Engine::new(outputs, tracker, None);
    source.drive(&mut engine);
    engine.epilogue(false);
    assert!(engine.flush());
    engine.close();
    let written: Vec<String> = memories.iter().map(destination::Memory::text).collect();
    let rows = "seconds,length\n0,40\n1,40\n2,40\n";
    assert_eq!(written, [rows, "at the door\ntry 2\ntry 3\n"]);
    assert_eq!(engine.summary(None).captured, 3);
}
