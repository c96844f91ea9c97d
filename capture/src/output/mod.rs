//! Where packets go: an [`Encoder`] appends each to a [`Block`], and a [`Destination`] writes the blocks.
//!
//! The encoder runs on the engine's thread and never waits. Live, blocks go through a bounded [`queue`] to a thread of
//! the output's own, the only code that may wait for it; of a file that is read, they are written at once. Each output
//! counts what became of its packets, to the packet, also after a partial write:
//!
//! handed in = written + queued + dropped + failed + unfit + left out, because a limit was reached.

mod block;
pub mod cooked;
pub mod destination;
pub mod encoder;
pub mod files;
pub mod format;
pub mod json;
pub mod pcap;
pub mod pcapng;
mod queue;
pub mod statistics;
pub mod stream;
pub mod text;
mod way;

use std::{io, ops::Range, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use capture_flow::{Event, Forgotten};
use capture_packet::Packet;
use tokio::sync::Notify;

pub use self::block::{BLOCK, Block};
use self::{
    destination::{Destination, Progress},
    encoder::Encoder,
    format::Format,
    queue::Writer,
    statistics::Statistics,
    way::Way,
};
use crate::source::interface::InterfaceDescription;

/// The forms in which packets and events go somewhere, besides the lines, in the order in which their outputs are opened.
/// Those of files come first, so that they hold up the source. A new one is a file with a [`Format`], and a line here.
pub const FORMATS: &[&Format] = &[&pcap::FORMAT, &pcapng::FORMAT, &json::FORMAT];

/// How long a block waits at most while packets come, in nanoseconds.
const AGE: i64 = 100_000_000;
/// For the packet that makes a block full, in bytes. A longer one makes the block grow.
const ROOM: usize = 4096;
/// A small packet in an output, in bytes.
const SMALL: usize = 64;

/// When a block goes on that is not full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// After this many bytes; 1 is after each drain of the rings, or after each packet of a file.
    After(usize),
    /// When the engine has nothing else to do, or after a tenth of a second.
    WhenIdle,
}

/// One output.
#[derive(Debug)]
pub struct Output {
    /// What its messages call it.
    name: String,
    encoder: Box<dyn Encoder>,
    bytes: BytesMut,
    ends: Vec<usize>,
    header: Vec<Range<usize>>,
    /// What a file ends with that has none of the block's interfaces, if there are any in it.
    trailer: Option<Bytes>,
    way: Way,
    /// Who takes blocks from the queue, until the thread starts.
    writer: Option<Writer>,
    progress: Arc<Progress>,
    flush: Flush,
    /// A block goes on when it has this many bytes.
    full: usize,
    /// Packets that it had no room for.
    dropped: u64,
    /// How many of these have been told.
    told: u64,
    /// Packets that cannot be in this output.
    unfit: u64,
    /// Events that it had no room for.
    dropped_events: u64,
    /// Whether it takes the next packet, with its events.
    takes_next: bool,
    /// When the block got its first bytes, in nanoseconds since the epoch, as far as is known.
    since: Option<i64>,
    /// Whether it takes no more, and whether that is because its reader has gone.
    has_failed: bool,
    has_no_reader: bool,
}

impl Output {
    /// An output with a thread of its own, which is to be [started](Self::start), and notifies `failures` when the
    /// destination takes no more.
    pub fn queued(
        name: String,
        encoder: Box<dyn Encoder>,
        destination: Box<dyn Destination>,
        flush: Flush,
        failures: &Arc<Notify>,
    ) -> Self {
        let has_header = destination.has_header();
        let progress = Arc::new(Progress::default());
        let (way, writer) = Way::queue(destination, &progress, failures);
        let output = Self::new(name, encoder, way, progress, flush, BLOCK, has_header);
        Self { writer: Some(writer), ..output }
    }

    /// Starts the thread, if the output has one: until then blocks wait.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub fn start(&mut self) -> io::Result<()> {
        self.writer.take().map_or(Ok(()), Writer::start)
    }

    /// An output whose blocks are written where they are handed over: for a source that waits. No block grows larger than
    /// `flush` says.
    pub fn here(
        name: String,
        encoder: Box<dyn Encoder>,
        destination: Box<dyn Destination>,
        flush: Flush,
    ) -> Self {
        let full = match flush {
            Flush::After(bytes) => bytes.min(BLOCK),
            Flush::WhenIdle => BLOCK,
        };
        let has_header = destination.has_header();
        Self::new(name, encoder, Way::here(destination), Arc::default(), flush, full, has_header)
    }

    fn new(
        name: String,
        encoder: Box<dyn Encoder>,
        way: Way,
        progress: Arc<Progress>,
        flush: Flush,
        full: usize,
        has_header: bool,
    ) -> Self {
        let mut bytes = BytesMut::new();
        if !has_header {
            bytes.extend_from_slice(&encoder.header());
        }
        let ends = Vec::new();
        Self {
            name,
            encoder,
            bytes,
            ends,
            header: Vec::new(),
            trailer: None,
            way,
            writer: None,
            progress,
            flush,
            full,
            dropped: 0,
            told: 0,
            unfit: 0,
            dropped_events: 0,
            takes_next: true,
            since: None,
            has_failed: false,
            has_no_reader: false,
        }
    }

    /// What its messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Appends an interface of the source that becomes known only now.
    pub fn interface(&mut self, interface: &InterfaceDescription) {
        if self.has_failed {
            return;
        }
        let start = self.bytes.len();
        let trailer = self.trailer();
        self.encoder.interface(interface, &mut self.bytes);
        if self.bytes.len() > start {
            self.trailer = Some(trailer);
            self.header.push(start..self.bytes.len());
        }
    }

    /// What a file ends with that ends within the block: nothing about interfaces that it may not have.
    fn trailer(&self) -> Bytes {
        self.trailer.clone().unwrap_or_else(|| self.encoder.trailer())
    }

    /// Takes the name of an interface; see [`Encoder::interface_name`].
    pub fn interface_name(&mut self, index: u32, name: Option<&str>) {
        self.encoder.interface_name(index, name);
    }

    /// Takes a comment that the source has on the next packet.
    pub fn comment(&mut self, comment: &[u8]) {
        if !self.has_failed {
            self.encoder.comment(comment);
        }
    }

    /// Takes how many packets were lost before the next one, as the source has it.
    pub fn lost(&mut self, packets: u64) {
        self.encoder.lost(packets);
    }

    /// Appends a packet to the block. False if it cannot be in this output.
    #[inline]
    pub fn packet(&mut self, packet: &Packet<'_>) -> bool {
        if self.has_failed {
            return true;
        }
        let fits = self.encoder.packet(packet, &mut self.bytes);
        if fits {
            self.ends.push(self.bytes.len());
        } else {
            self.unfit += 1;
        }
        fits
    }

    /// For an output that holds nothing up: decides whether it takes the next packet, with its events. Where a full
    /// block finds no room in the queue, they are dropped, and counted.
    pub fn make_room(&mut self) {
        self.takes_next = self.has_failed || !self.is_full() || self.hand_over();
    }

    /// Appends a packet as [`make_room`](Self::make_room) has decided.
    pub fn packet_or_drop(&mut self, packet: &Packet<'_>) {
        if self.takes_next {
            self.packet(packet);
        } else if !self.is_closed() {
            // What a destination that is gone does not take is not dropped, but not written.
            self.dropped += 1;
            self.encoder.dropped(packet);
        }
    }

    /// Whether the block has to go on before it gets a further packet.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= self.full
    }

    /// Appends an event, which precedes the packet that caused it, and is dropped with it.
    pub fn event(&mut self, event: &Event) {
        if !self.takes_next {
            self.dropped_events += 1;
        } else if !self.has_failed {
            self.encoder.event(event, &mut self.bytes);
        }
    }

    /// From now on everything is taken: what comes at the end is bounded, and does not come twice.
    pub fn take_the_rest(&mut self) {
        self.takes_next = true;
    }

    /// Whether it has a use for [`statistics`](Self::statistics).
    pub fn wants_statistics(&self) -> bool {
        !self.has_failed && self.encoder.wants_statistics()
    }

    /// Appends how the capture stands, if there is room; in the end always.
    pub fn statistics(&mut self, statistics: &Statistics<'_>) {
        let has_room = !self.is_full() || self.hand_over();
        if self.wants_statistics() && (has_room || statistics.is_last) {
            let statistics = Statistics { dropped_by_output: self.dropped, ..*statistics };
            self.encoder.statistics(&statistics, &mut self.bytes);
        }
    }

    /// Appends what follows the last packet; see [`Encoder::epilogue`].
    pub fn epilogue(&mut self, forgotten: Option<Forgotten>, interrupted: bool) {
        self.encoder.epilogue(forgotten, interrupted, &mut self.bytes);
    }

    /// What there is to say on standard error after the epilogue.
    pub fn remarks(&self) -> String {
        self.encoder.remarks()
    }

    /// Whether the block is to go on now. `idle`: there is nothing else to do.
    #[inline]
    pub fn is_due(&self, idle: bool) -> bool {
        match self.flush {
            Flush::After(bytes) => self.bytes.len() >= bytes,
            Flush::WhenIdle => self.is_full() || idle && !self.bytes.is_empty(),
        }
    }

    /// Whether the block is to go on at `now`, in nanoseconds since the epoch, because it has waited for so long.
    pub fn is_old(&mut self, now: i64) -> bool {
        if self.flush != Flush::WhenIdle || self.bytes.is_empty() {
            return false;
        }
        now.saturating_sub(*self.since.get_or_insert(now)) >= AGE
    }

    /// Hands the block over, if there is one: to the queue, or to the destination. False if it was not taken.
    pub fn hand_over(&mut self) -> bool {
        if self.bytes.is_empty() {
            return true;
        }
        let since = self.since.take();
        let trailer = self.trailer();
        match &mut self.way {
            Way::Queue(queue) => {
                let Some(place) = queue.place() else {
                    self.since = since;
                    return false;
                };
                self.trailer = None;
                let length = self.bytes.len();
                let next = queue.written().unwrap_or_default();
                place.send(Block {
                    bytes: std::mem::replace(&mut self.bytes, next.bytes),
                    ends: std::mem::replace(&mut self.ends, next.ends),
                    header: std::mem::replace(&mut self.header, next.header),
                    trailer,
                });
                // The next block will be as large: grown step by step, it would be copied at each step, which takes up to
                // ten times as long as the encoder.
                if length >= BLOCK {
                    self.bytes.reserve(BLOCK + ROOM);
                    self.ends.reserve(BLOCK / SMALL);
                }
                true
            }
            Way::Here { destination, error } => {
                if error.is_none() {
                    destination.prepare(&self.header, trailer);
                    *error = destination.write(&self.bytes, &self.ends, &self.progress).err();
                }
                self.bytes.clear();
                self.ends.clear();
                self.header.clear();
                self.trailer = None;
                error.is_none()
            }
        }
    }

    /// After how long [`tick`](Self::tick) is to be called when nothing is handed over before: for an output without a
    /// queue, whose thread does it.
    pub fn wait(&self) -> Option<Duration> {
        self.way.wait().filter(|_| !self.has_failed)
    }

    /// Does what the time asks for.
    pub fn tick(&mut self) {
        if !self.has_failed {
            self.way.tick(&self.progress);
        }
    }

    /// Has the destination look whether it can go on, without a block. One that has no room for that is at work, and finds
    /// out.
    pub fn look(&mut self) {
        if !self.has_failed {
            let block = Block { trailer: self.trailer(), ..Block::default() };
            self.way.look(block, &self.progress);
        }
    }

    /// Waits until there is room for one more block. False if the output has ended.
    pub async fn room(&self) -> bool {
        self.way.room().await
    }

    /// Says that no more blocks come.
    pub fn close(&mut self) {
        self.way.close(self.has_failed, &self.progress);
    }

    /// Waits until the output has failed or, once it is [closed](Self::close), everything has been written.
    pub async fn closed(&mut self) {
        self.way.closed().await;
    }

    /// Whether it is known that everything was written and closed, or that it has failed.
    pub fn is_settled(&self) -> bool {
        self.way.is_settled()
    }

    /// What went wrong, once. From then on the output takes nothing, and counts what it does not take.
    pub fn take_error(&mut self) -> Option<io::Error> {
        let error = self.way.take_error();
        if let Some(error) = &error {
            self.has_failed = true;
            self.has_no_reader = error.kind() == io::ErrorKind::BrokenPipe;
        }
        error
    }

    /// Whether the destination takes no more, also where the [error](Self::take_error) has not been taken.
    fn is_closed(&self) -> bool {
        self.way.is_closed()
    }

    /// Whether it has failed because its reader has gone, which has read enough.
    pub fn has_no_reader(&self) -> bool {
        self.has_no_reader
    }

    /// Packets that cannot be in this output.
    pub fn unfit(&self) -> u64 {
        self.unfit
    }

    /// Events that it had no room for.
    pub fn dropped_events(&self) -> u64 {
        self.dropped_events
    }

    /// Whether there is an error that has not been taken: for an output without a queue.
    pub fn is_stuck(&self) -> bool {
        self.way.is_stuck()
    }

    /// Whether an [error](Self::take_error) has been taken.
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Lets nothing more be written: what [`written`](Self::written) says from now on has been written, and at most the
    /// beginning of one packet more. Gives up after `patience`, when a write is stuck halfway: in a terminal or a
    /// socket that takes nothing, on a slow disk, or in a pipe that others write to, too.
    pub async fn stop(&self, patience: Duration) {
        self.progress.stop(patience).await;
    }

    /// What the destination has written, also while the output is waited for.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Packets that have been written, to the last byte.
    pub fn written(&self) -> u64 {
        self.progress.packets()
    }

    /// Packets that it had no room for since the last call, if there were any.
    pub fn take_losses(&mut self) -> Option<u64> {
        let lost = self.dropped - std::mem::replace(&mut self.told, self.dropped);
        (lost > 0).then_some(lost)
    }

    /// Packets that came after the last one that the destination was to have.
    pub fn left_out(&self) -> u64 {
        self.progress.left_out()
    }

    /// Whether the destination has as much as it is to have.
    pub fn has_enough(&self) -> bool {
        self.progress.has_enough()
    }

    /// Packets that the output had no room for.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
