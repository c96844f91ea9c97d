//! Nothing on the way of a packet allocates: counted by the allocator itself.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    io::Cursor,
    path::Path,
};

use bytes::BytesMut;
use capture::{
    explain::Explainer,
    source::file::{FileSource, Precision},
    text::{Conversations, Printer, options::TextOptions},
};
use jiff::tz::TimeZone;

/// The system's allocator, which counts for each thread how often it is asked for memory.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: every call is handed on as it is. The count is in a `Cell` of plain numbers, which needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller vouches for the layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller vouches for both.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller vouches for all three.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations per packet of a second pass over the goldens, when tables and buffers have their size.
#[test]
fn reading_explaining_and_printing_a_packet_allocates_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let with = |verbosity, link_header, number| TextOptions {
        verbosity,
        link_header,
        number,
        ..TextOptions::default()
    };
    let (mut files, mut packets) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_capture =
            path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng");
        if !is_capture {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for options in [with(0, false, false), with(3, true, true)] {
            let mut printer = Printer::new(options, TimeZone::UTC, Conversations::new(1 << 10));
            let mut explainer = Explainer::new(1 << 10);
            let mut text = BytesMut::with_capacity(1 << 22);
            for pass in 0..2 {
                let Ok(mut source) = FileSource::new(Cursor::new(&bytes), Precision::Micro) else { break };
                loop {
                    let start = ALLOCATIONS.get();
                    let Ok(Some(packet)) = source.next_packet() else { break };
                    let read = ALLOCATIONS.get();
                    explainer.explain(&packet, &mut text);
                    printer.print(&packet, &mut text);
                    let printed = ALLOCATIONS.get();
                    text.clear();
                    packets += pass;
                    // The file's buffer grows with its longest packet.
                    let to_read = if packet.data.len() > 1 << 16 { 0 } else { read - start };
                    let allocations = to_read + printed - read;
                    assert!(pass == 0 || allocations == 0, "{}: {allocations}", path.display());
                }
            }
        }
        files += 1;
    }
    assert!(files > 50 && packets > 3000, "{packets} packets in {files} files");
}

/// That it would notice.
#[test]
fn the_allocator_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get(), before + 1);
}
