//! The pipeline, the same for live captures and for files: packets go in, and each output gets them, with the events of
//! their connections in front of them.
//!
//! The engine has no runtime and no clock. Who drives it, in [`run`](crate::run), takes packets from a source, hands
//! them in, and hands the outputs' blocks over when there are no more packets for now. It waits for
//! nothing but an output.

use std::{future::pending, io, ops::ControlFlow, sync::Arc, time::Duration};

use capture_common::counters::HookCounters;
use capture_flow::Tracker;
use capture_packet::{Packet, Timestamp};

use crate::{
    output::{Output, statistics::Statistics},
    source::interface::InterfaceDescription,
    summary::{Summary, packets},
};

/// What packets go through.
#[derive(Debug)]
pub struct Engine {
    /// The first that has not failed holds up the source: while it has no [`room`](Self::room), nothing is to be read.
    /// The others drop packets, and count them.
    outputs: Vec<Output>,
    /// Finds out what happens in connections, if an output wants to know.
    tracker: Option<Tracker>,
    /// Packets that the outputs got, and how many bytes they had on the wire.
    handed: u64,
    wire_bytes: u64,
    /// Packets that were read and that no output got, because the capture was over.
    skipped: u64,
    /// How many the outputs are to get: no more than were asked for, and so many that the first output has enough.
    count: u64,
    asked: u64,
}

impl Engine {
    /// Packets and the events of the `tracker` go to `outputs`, up to `count` packets.
    pub fn new(outputs: Vec<Output>, tracker: Option<Tracker>, count: Option<u64>) -> Self {
        let count = count.unwrap_or(u64::MAX);
        Self { outputs, tracker, handed: 0, wire_bytes: 0, skipped: 0, count, asked: count }
    }

    /// Ends when the first output has so many packets: those that [cannot be in it](Output::unfit) do not count.
    pub fn until_first_has(self, packets: Option<u64>) -> Self {
        Self { count: self.asked.min(packets.unwrap_or(u64::MAX)), ..self }
    }

    /// Replaces the outputs, before the first packet: what they are can depend on the source, and the source can be
    /// waiting for its first bytes already.
    pub fn set_outputs(&mut self, outputs: Vec<Output>) {
        self.outputs = outputs;
    }

    /// Takes an interface of the source that becomes known only now, before any packet of it.
    pub fn interface(&mut self, interface: &InterfaceDescription) {
        self.outputs.iter_mut().for_each(|output| output.interface(interface));
    }

    /// Takes the name of the interface with this index in the kernel, or that no packet of it comes any more.
    pub fn interface_name(&mut self, index: u32, name: Option<&str>) {
        self.outputs.iter_mut().for_each(|output| output.interface_name(index, name));
    }

    /// Takes a comment that the source has on the next packet.
    pub fn comment(&mut self, comment: &[u8]) {
        self.outputs.iter_mut().for_each(|output| output.comment(comment));
    }

    /// Takes how many packets were lost before the next one, as the source has it.
    pub fn lost(&mut self, packets: u64) {
        self.outputs.iter_mut().for_each(|output| output.lost(packets));
    }

    /// Takes one packet. Breaks when no further one is to be handed in before blocks have been [handed
    /// over](Self::hand_over), or none at all because it [is complete](Self::is_complete).
    #[inline]
    pub fn packet(&mut self, packet: &Packet<'_>) -> ControlFlow<()> {
        self.handed += 1;
        self.wire_bytes += u64::from(packet.wire_len);
        let is_full = match (self.outputs.as_mut_slice(), &self.tracker) {
            ([only], None) => {
                let fits = only.packet(packet);
                let is_full = only.is_full();
                if !fits {
                    self.go_on();
                }
                is_full
            }
            _ => self.hand_to_all(packet),
        };
        if is_full || self.is_complete() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Hands over a packet with its events, to several outputs perhaps. Whether the block of the one that holds up the
    /// source is full. A function of its own, so that the most common case is compiled into the loop that reads packets.
    #[inline(never)]
    fn hand_to_all(&mut self, packet: &Packet<'_>) -> bool {
        let Self { outputs, tracker, .. } = self;
        make_room(outputs);
        if let Some(tracker) = tracker {
            tracker.track(packet, |event| outputs.iter_mut().for_each(|output| output.event(event)));
        }
        let mut outputs = outputs.iter_mut().filter(|output| !output.has_failed());
        let Some(holding) = outputs.next() else { return false };
        let fits = holding.packet(packet);
        outputs.for_each(|output| output.packet_or_drop(packet));
        let is_full = holding.is_full();
        if !fits {
            self.go_on();
        }
        is_full
    }

    /// A packet is not in the first output: it needs one more to have enough.
    #[cold]
    fn go_on(&mut self) {
        self.count = self.count.saturating_add(1).min(self.asked);
    }

    /// Counts a packet that no output gets any more.
    pub fn skip(&mut self) {
        self.skipped += 1;
    }

    /// Whether the outputs have got as many packets as they are to get.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.handed == self.count
    }

    /// Packets that have been read from the source.
    pub fn read(&self) -> u64 {
        self.handed + self.skipped
    }

    /// Whether an output has as much as it is to have: then the capture is over.
    pub fn has_enough(&self) -> bool {
        self.outputs.iter().any(Output::has_enough)
    }

    /// What outputs have to say on standard error since the last call.
    pub fn take_notes(&self) -> Vec<String> {
        self.outputs.iter().flat_map(|output| output.progress().take_notes()).collect()
    }

    /// After how long [`tick`](Self::tick) is to be called when no packet comes before, for outputs without a queue.
    pub fn wait(&self) -> Option<Duration> {
        self.outputs.iter().filter_map(Output::wait).min()
    }

    /// Does what the time asks of outputs without a queue.
    pub fn tick(&mut self) {
        self.outputs.iter_mut().for_each(Output::tick);
    }

    /// Has each output look whether it can go on.
    pub fn look(&mut self) {
        self.outputs.iter_mut().for_each(Output::look);
    }

    /// How many bytes the packets had on the wire that the outputs got.
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    /// What outputs had no room for since the last call, with their names.
    pub fn take_losses(&mut self) -> Vec<(String, u64)> {
        let lost = |output: &mut Output| Some((output.name().to_owned(), output.take_losses()?));
        self.outputs.iter_mut().filter_map(lost).collect()
    }

    /// What outputs have had no room for so far, whole lines.
    pub fn dropped(&self) -> String {
        let line = |output: &Output| match output.dropped() {
            0 => String::new(),
            dropped => format!("capture: {}: {} dropped so far\n", output.name(), packets(dropped)),
        };
        self.outputs.iter().map(line).collect()
    }

    /// Waits until there is room for a block that could not be handed over when it was due.
    pub async fn room_for_the_rest(&self) {
        let waiting = |output: &&Output| output.is_due(true) && !output.has_failed();
        match self.outputs.iter().find(waiting) {
            Some(output) => drop(output.room().await),
            None => pending().await,
        }
    }

    /// Hands over each block that is due. `idle`: there is nothing else to do. Blocks that are not taken stay, and are
    /// handed over later.
    #[inline]
    pub fn hand_over(&mut self, idle: bool) {
        for output in &mut self.outputs {
            if output.is_due(idle) && !output.has_failed() {
                output.hand_over();
            }
        }
    }

    /// Hands over each block that has waited long enough; it is `now`.
    pub fn hand_over_old(&mut self, now: Timestamp) {
        let now = now.seconds.saturating_mul(1_000_000_000).saturating_add(now.nanoseconds);
        for output in &mut self.outputs {
            if output.is_old(now) && !output.has_failed() {
                output.hand_over();
            }
        }
    }

    /// Hands over what there is, also less than a block that is due. False if something was not taken.
    pub fn flush(&mut self) -> bool {
        let mut all = true;
        for output in self.outputs.iter_mut().filter(|output| !output.has_failed()) {
            all &= output.hand_over();
        }
        all
    }

    /// Hands over what there is, and waits for room for it.
    pub async fn flush_all(&mut self) {
        let _waits = self.flush();
        for output in &mut self.outputs {
            if !output.has_failed() && output.room().await {
                output.hand_over();
            }
        }
    }

    /// Waits until the output that holds up the source has room for one more block. False if that output has failed, or
    /// there is none.
    pub async fn room(&self) -> bool {
        match self.outputs.iter().find(|output| !output.has_failed()) {
            Some(holding) => holding.room().await,
            None => false,
        }
    }

    /// What has gone wrong with outputs since the last call, with their names.
    pub fn take_errors(&mut self) -> Vec<(String, io::Error)> {
        let named = |output: &mut Output| {
            let error = output.take_error()?;
            Some((output.name().to_owned(), error))
        };
        self.outputs.iter_mut().filter_map(named).collect()
    }

    /// Whether an output has failed that [`take_errors`](Self::take_errors) has not told of yet: for outputs without a
    /// queue.
    pub fn is_stuck(&self) -> bool {
        self.outputs.iter().any(Output::is_stuck)
    }

    /// Whether no output is left that takes anything.
    pub fn is_over(&self) -> bool {
        self.outputs.iter().all(|output| output.has_failed() || output.is_stuck()) && !self.outputs.is_empty()
    }

    /// Whether an output is left that has not failed.
    pub fn has_output(&self) -> bool {
        self.outputs.iter().any(|output| !output.has_failed())
    }

    /// Whether an output has a use for [`statistics`](Self::statistics).
    pub fn wants_statistics(&self) -> bool {
        self.outputs.iter().any(Output::wants_statistics)
    }

    /// Appends to the outputs that want it how the capture stands.
    pub fn statistics(&mut self, statistics: &Statistics<'_>) {
        let statistics = Statistics { read: self.read(), ..*statistics };
        self.outputs.iter_mut().for_each(|output| output.statistics(&statistics));
    }

    /// Appends to each output what follows the last packet. `interrupted`: the source had not come to its end.
    pub fn epilogue(&mut self, interrupted: bool) {
        let Self { outputs, tracker, .. } = self;
        let mut forgotten = None;
        outputs.iter_mut().for_each(Output::take_the_rest);
        if let Some(tracker) = tracker {
            tracker.finish(|event| outputs.iter_mut().for_each(|output| output.event(event)));
            forgotten = tracker.forgotten();
        }
        outputs.iter_mut().for_each(|output| output.epilogue(forgotten, interrupted));
    }

    /// Says that no more blocks come.
    pub fn close(&mut self) {
        self.outputs.iter_mut().for_each(Output::close);
    }

    /// Waits until each output has failed or, once they are [closed](Self::close), has written everything.
    pub async fn closed(&mut self) {
        for output in &mut self.outputs {
            output.closed().await;
        }
    }

    /// The first output of which it is not known, after [`take_errors`](Self::take_errors), that everything was written and
    /// closed, although no more blocks come.
    pub fn unsettled(&self) -> Option<&str> {
        self.outputs.iter().find(|output| !output.is_settled()).map(Output::name)
    }

    /// Lets nothing more be written; see [`Output::stop`].
    pub async fn stop(&self, patience: Duration) {
        for output in &self.outputs {
            output.stop(patience).await;
        }
    }

    /// Tells a number that changes with everything that an output takes, also while outputs are waited for.
    pub fn progress(&self) -> impl Fn() -> u64 + use<> {
        let progress: Vec<_> = self.outputs.iter().map(|output| Arc::clone(output.progress())).collect();
        move || progress.iter().map(|progress| progress.pieces()).sum()
    }

    /// What there is to say on standard error at the end, whole lines: of the outputs, and which packets are missing
    /// from them if there are several.
    pub fn remarks(&self) -> String {
        let mut text = String::new();
        for output in &self.outputs {
            if self.outputs.len() > 1 {
                let lines = [
                    (output.dropped(), "dropped, because this output was too slow"),
                    (self.unwritten(output), "not written"),
                    (output.left_out(), "after the limit"),
                ];
                for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
                    text.push_str(&format!("{}: {} {what}\n", output.name(), packets(count)));
                }
            }
            if output.unfit() > 0 {
                let (name, unfit) = (output.name(), packets(output.unfit()));
                text.push_str(&format!("{name}: {unfit} left out: of another link type than the file\n"));
            }
            if output.dropped_events() > 0 {
                text.push_str(&format!("{}: {} events dropped\n", output.name(), output.dropped_events()));
            }
            text.push_str(&output.remarks());
        }
        text
    }

    /// Packets that were handed to an output, and are neither in it nor accounted for otherwise.
    fn unwritten(&self, output: &Output) -> u64 {
        let accounted = output.dropped() + output.written() + output.left_out() + output.unfit();
        self.handed.saturating_sub(accounted)
    }

    /// Whether packets that an output got are not in it, although it has a reader.
    pub fn is_incomplete(&self) -> bool {
        let lacks = |output: &Output| output.dropped() + output.unfit() + self.unwritten(output) > 0;
        self.outputs.iter().any(|output| lacks(output) && !output.has_no_reader())
    }

    /// The accounts. One output's are those of the capture; where there are several, each has [its
    /// own](Self::remarks).
    pub fn summary(&self, counters: Option<&HookCounters>) -> Summary {
        let (captured, left_out, unfit) = match self.outputs.as_slice() {
            [output] => (output.written(), output.left_out(), output.unfit()),
            _ => (self.handed, 0, 0),
        };
        let is_over = self.is_complete() || self.has_enough();
        let beyond_count = left_out + if is_over { self.skipped } else { 0 };
        Summary {
            captured,
            received: counters.map(|counters| counters.matched),
            dropped: counters.map_or(0, |counters| counters.ring_full),
            unreadable: counters.map_or(0, |counters| counters.unreadable),
            unwritten: self.read().saturating_sub(captured + unfit + beyond_count),
            beyond_count,
            has_limit: self.has_enough(),
            ..Summary::default()
        }
    }
}

/// The first that has not failed holds up the source, and takes all.
fn make_room(outputs: &mut [Output]) {
    let mut outputs = outputs.iter_mut().filter(|output| !output.has_failed());
    if let Some(holding) = outputs.next() {
        holding.take_the_rest();
    }
    outputs.for_each(Output::make_room);
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use capture_packet::{LinkType, Timestamp};

    use super::*;
    use crate::output::{
        Flush,
        destination::{Destination, Progress},
        encoder::Encoder,
    };

    /// An encoder that a test writes: a byte for a packet.
    #[derive(Debug)]
    struct Bytes;

    impl Encoder for Bytes {
        fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
            block.extend_from_slice(&packet.data[..1]);
            true
        }
    }

    /// A destination that takes so many bytes and no more.
    #[derive(Debug)]
    struct Room(usize);

    impl Destination for Room {
        fn write(&mut self, block: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()> {
            let taken = self.0.min(block.len());
            self.0 -= taken;
            progress.wrote(ends.partition_point(|end| *end <= taken));
            if taken < block.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    fn engine(rooms: &[usize], count: Option<u64>) -> Engine {
        let output = |(number, &room): (usize, &usize)| {
            Output::here(number.to_string(), Box::new(Bytes), Box::new(Room(room)), Flush::WhenIdle)
        };
        Engine::new(rooms.iter().enumerate().map(output).collect(), None, count)
    }

    fn packet() -> Packet<'static> {
        Packet::new(Timestamp::default(), LinkType::Ethernet, 60, &[7; 60])
    }

    /// Every packet that matched is accounted for, and none twice.
    #[test]
    fn the_numbers_add_up() {
        let counters = HookCounters { matched: 100, ring_full: 20, unreadable: 1, ..HookCounters::default() };
        for (printed, skipped, count, room) in [
            (79, 0, None, 79),
            (60, 19, None, 50),
            (79, 0, Some(79), 79),
            (40, 39, Some(40), 40),
            (40, 39, Some(40), 10),
        ] {
            let mut engine = engine(&[room], count);
            for _ in 0..printed {
                let _flow = engine.packet(&packet());
            }
            let _failed = engine.flush();
            (0..skipped).for_each(|_| engine.skip());
            let Summary { captured, received, dropped, unreadable, unwritten, beyond_count, .. } =
                engine.summary(Some(&counters));
            assert_eq!(captured, room as u64);
            assert_eq!(received, Some(captured + dropped + unreadable + unwritten + beyond_count));
            assert_eq!(beyond_count, if count == Some(printed) { skipped } else { 0 });
            assert_eq!(engine.is_incomplete(), captured < printed);
        }
    }

    #[test]
    fn an_output_that_fails_leaves_the_others_alone_and_counts_what_it_lacks() {
        let mut engine = engine(&[2, 9], None);
        for _ in 0..5 {
            let _flow = engine.packet(&packet());
            engine.hand_over(true);
            for (name, error) in engine.take_errors() {
                assert_eq!((name.as_str(), error.kind()), ("0", io::ErrorKind::StorageFull));
            }
        }
        assert!(engine.has_output());
        assert_eq!(engine.summary(None).captured, 5);
        assert_eq!(engine.remarks(), "0: 3 packets not written\n");
        assert!(engine.is_incomplete());
    }

    /// `-c` counts packets; the limit of the first output counts those that are in it.
    #[test]
    fn packets_that_do_not_fit_do_not_count_for_the_limit_of_the_first_output() {
        #[derive(Debug)]
        struct Long;

        impl Encoder for Long {
            fn packet(&mut self, packet: &Packet<'_>, block: &mut BytesMut) -> bool {
                block.extend_from_slice(&packet.data[..1]);
                packet.data.len() > 30
            }
        }

        for (count, enough, others, expected) in [
            (None, Some(3), 0, 6),
            (None, Some(3), 1, 6),
            (Some(4), Some(3), 0, 4),
            (Some(4), Some(1), 1, 2),
            (Some(5), None, 0, 5),
        ] {
            let mut outputs = engine(&vec![usize::MAX; others], None).outputs;
            let long = Output::here("long".to_owned(), Box::new(Long), Box::new(Room(99)), Flush::WhenIdle);
            outputs.insert(0, long);
            let mut engine = Engine::new(outputs, None, count).until_first_has(enough);
            let mut packets = [&[7; 20][..], &[7; 60]].into_iter().cycle();
            let mut read = 0;
            while !engine.is_complete() {
                let data = packets.next().unwrap();
                let _flow = engine.packet(&Packet { data, ..packet() });
                read += 1;
            }
            assert_eq!(read, expected, "{count:?} {enough:?} {others}");
        }
    }

    #[test]
    fn a_full_block_and_the_last_packet_break() {
        let mut engine = engine(&[usize::MAX], Some(3));
        let flow: Vec<_> = (0..3).map(|_| engine.packet(&packet()).is_break()).collect();
        assert_eq!(flow, [false, false, true]);
    }

    /// While packets come without a pause, a block that is not full goes on after a tenth of a second.
    #[test]
    fn a_block_does_not_grow_old() {
        let mut engine = engine(&[usize::MAX], None);
        let at = |milliseconds: i64| Timestamp { seconds: 7, nanoseconds: milliseconds * 1_000_000 };
        let mut written = Vec::new();
        for milliseconds in [0, 50, 99, 100, 150, 249, 250] {
            let _flow = engine.packet(&packet());
            engine.hand_over(false);
            engine.hand_over_old(at(milliseconds));
            written.push(engine.summary(None).captured);
        }
        assert_eq!(written, [0, 0, 0, 4, 4, 4, 7]);
    }

    /// Closing can take as long as writing, as on a network file system, and show that what was written is not there.
    #[tokio::test(start_paused = true)]
    async fn an_output_that_is_being_closed_is_not_settled() {
        #[derive(Debug)]
        struct Hanging(std::sync::mpsc::Receiver<()>);

        impl Destination for Hanging {
            fn write(&mut self, _: &[u8], ends: &[usize], progress: &Progress) -> io::Result<()> {
                progress.wrote(ends.len());
                Ok(())
            }

            fn close(&mut self, _: &Progress) -> io::Result<()> {
                self.0.recv().map_err(io::Error::other)
            }
        }

        let (release, hanging) = std::sync::mpsc::channel();
        let hanging = Box::new(Hanging(hanging));
        let mut output =
            Output::queued("x".to_owned(), Box::new(Bytes), hanging, Flush::WhenIdle, &Arc::default());
        output.start().unwrap();
        let mut engine = Engine::new(vec![output], None, None);
        let _flow = engine.packet(&packet());
        engine.flush_all().await;
        engine.close();
        let blocked = tokio::time::timeout(Duration::from_secs(1), engine.closed()).await;
        assert!(blocked.is_err() && engine.take_errors().is_empty());
        assert_eq!(engine.unsettled(), Some("x"));
        release.send(()).unwrap();
        engine.closed().await;
        assert_eq!((engine.unsettled(), engine.is_incomplete()), (None, false));
    }

    /// That its reader has gone is no failure of an output, and others have all packets.
    #[test]
    fn a_reader_that_has_gone_leaves_nothing_incomplete() {
        #[derive(Debug)]
        struct NoReader;

        impl Destination for NoReader {
            fn write(&mut self, _: &[u8], _: &[usize], _: &Progress) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }

        let mut engine = engine(&[usize::MAX], None);
        let gone = Output::here("gone".to_owned(), Box::new(Bytes), Box::new(NoReader), Flush::WhenIdle);
        engine.outputs.push(gone);
        for _ in 0..3 {
            let _flow = engine.packet(&packet());
            engine.hand_over(true);
            engine.take_errors();
        }
        assert!(engine.has_output() && !engine.is_over());
        assert_eq!(
            (engine.is_incomplete(), engine.remarks().as_str()),
            (false, "gone: 3 packets not written\n")
        );
    }
}
