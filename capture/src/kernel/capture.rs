//! One capture, from loading to detaching, as the process sees it that reads packets.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    os::fd::{AsRawFd, RawFd},
    time::{Duration, Instant},
};

use aya::maps::MapData;
use capture_common::counters::Counters;
use capture_packet::{Packet, Timestamp};
use nix::poll::PollTimeout;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    attacher::{Place, Prepared},
    attachment::Manner,
    capture_error::{CaptureError, DetachError, HelperError, StartError, WaitError},
    chain::Notice,
    clock::shift_of_this_process,
    counters::CounterPages,
    cpus,
    helper::{
        Broken, ReaderEnd,
        message::{Event, Request},
        split,
    },
    hook::{DirectionFilter, Hook},
    interface::{Interface, printable},
    log::{KernelLog, LogLevel, Logger},
    losses::Losses,
    merge::Left,
    object::{LoadError, ObjectOptions, RingsError},
    objects::{Kind, Objects},
    rings::Rings,
    sources::{Listed, RecordSource},
    timer::Timer,
};
use crate::messages::Messages;

/// How long the helper has for its answer to a question for a number; it may be attaching to an interface meanwhile.
const PATIENCE: u16 = 200;
/// How long the end of a capture waits for the helper to detach from all interfaces, which are switched off by then: 20 ms
/// for each. The helper goes on by itself.
const LAST_PATIENCE: Duration = Duration::from_millis(900);
/// What a ring should have at least, in bytes: a CPU's packets of several drain intervals. Where the memory does not
/// go so far, CPUs share rings.
const RING_SHARE: usize = 1 << 20;
/// The smallest ring, in bytes, in which two of the largest records fit that a snaplen allows (the sizes are in
/// capture-ebpf, `emit`).
const fn smallest_ring(snaplen: u32) -> usize {
    match snaplen {
        0 => 4096,
        1..=9216 => 32 << 10,
        9217..=32768 => 128 << 10,
        32769..=66048 => 256 << 10,
        _ => 1 << 20,
    }
}

/// What to capture and where.
#[derive(Clone, Debug)]
pub struct CaptureOptions<'a> {
    /// The interfaces, at least of one namespace, and of each only once.
    pub places: &'a [Place<'a>],
    /// The hook.
    pub hook: Hook,
    /// Which packets.
    pub direction: DirectionFilter,
    /// Whether to put the interfaces into promiscuous mode, unless they are all there are.
    pub promiscuous: bool,
    /// What to load. Interfaces with frames of another kind are left out.
    pub kinds: &'a [Kind<'a>],
    /// Bytes to capture of each frame, 0 for the headers alone.
    pub snaplen: u32,
    /// Memory for all rings together, in bytes. A ring's share is rounded up to a power of two and a whole page.
    pub buffer_size: usize,
    /// What the programs log.
    pub log_level: LogLevel,
    /// Where the log goes.
    pub messages: &'a Messages,
}

/// What is to be known of the interfaces of packets, in front of the packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The next in the list that a packet's [`SourceId`](capture_packet::SourceId) is a place in.
    Listed(Listed),
    /// The name of an interface, which is new or has changed.
    Named {
        /// Its [number](super::Origin::number), which its packets have.
        number: u32,
        /// What is printable of the name.
        name: String,
    },
    /// An interface is gone, and no packet of it comes any more.
    Forgotten {
        /// Its number.
        number: u32,
    },
}

/// A capture that is attached, and whose process has [split](super::helper). It has no threads yet, and reads nothing.
/// Dropping it detaches.
#[derive(Debug)]
pub struct Started {
    helper: Helper,
    rings: Vec<MapData>,
    ring_size: usize,
    snaplen: u32,
    clock_shift: i64,
    counters: Vec<CounterPages>,
    logs: Vec<Logger>,
    description: String,
    interfaces: Vec<Interface>,
    events: Vec<Event>,
}

/// A running capture. Dropping it detaches.
#[derive(Debug)]
pub struct Capture {
    helper: AsyncFd<Helper>,
    rings: Rings,
    timer: Timer,
    counters: Vec<CounterPages>,
    logs: Vec<KernelLog>,
    /// What has been noticed and not been asked for yet.
    notices: Vec<Notice>,
    changes: Vec<Change>,
    /// Why no packet comes any more.
    lost: Option<CaptureError>,
    /// The list of interfaces: the name of each, and what was lost of it, as far as is known.
    interfaces: Vec<(Option<String>, Losses)>,
    remarks: String,
}

/// The helper, as long as something is attached.
#[derive(Debug)]
struct Helper {
    channel: ReaderEnd,
    is_attached: bool,
    /// Until when its end is waited for, once it detaches.
    deadline: Option<Instant>,
    /// What it said while an answer was waited for.
    said: VecDeque<Event>,
}

impl Started {
    /// Loads and attaches, and splits the process, which must have one thread: the other process, the helper, calls
    /// `confine` and keeps the programs attached.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left attached.
    pub fn new(
        options: &CaptureOptions<'_>,
        confine: impl FnOnce() -> Result<(), String>,
    ) -> Result<Self, StartError> {
        let CaptureOptions {
            places,
            hook,
            direction,
            promiscuous,
            kinds,
            snaplen,
            buffer_size,
            log_level,
            messages,
        } = *options;
        let prepared = Prepared::new(places, Manner { hook, direction, promiscuous })?;
        let (rings, ring_size) = layout(buffer_size, online_cpus(), snaplen);
        let of_each = ObjectOptions {
            filter: None,
            link_header: true,
            instance: 0,
            snaplen,
            ring_size,
            rings,
            log_level,
        };
        let mut objects = Objects::load(kinds, u16::try_from(places.len()).unwrap_or(u16::MAX), &of_each)?;
        let rings = objects.take_rings();
        let logs = objects.logs(log_level, messages)?;
        let counters = objects.counter_pages()?;
        let mut events = Vec::new();
        let attacher = prepared.attach(objects, &mut |event| events.push(event))?;
        let description = attacher.description().map_or_else(|| hook.to_string(), str::to_owned);
        let interfaces = attacher.interfaces().cloned().collect();
        let (channel, rings) = split(attacher, rings, confine).map_err(StartError::Helper)?;
        let helper = Helper { channel, is_attached: true, deadline: None, said: VecDeque::new() };
        let clock_shift = shift_of_this_process();
        Ok(Self {
            helper,
            rings,
            ring_size,
            snaplen,
            clock_shift,
            counters,
            logs,
            description,
            interfaces,
            events,
        })
    }

    /// Where it is attached, in words; the hook, while there is nothing to attach to.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The interfaces that it is attached to.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The list that a packet's [`SourceId`](capture_packet::SourceId) is a place in, so far.
    pub fn listed(&self) -> impl Iterator<Item = &Listed> {
        self.events.iter().filter_map(|event| match event {
            Event::Listed(listed) => Some(listed),
            _ => None,
        })
    }

    /// How many rings there are, and the size of each in bytes.
    pub fn buffers(&self) -> (usize, usize) {
        (self.rings.len(), self.ring_size)
    }

    /// Begins to read. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the system has no more memory, descriptors or threads. Nothing is left attached.
    pub fn listen(self) -> Result<Capture, StartError> {
        let Self { helper, rings, ring_size: size, snaplen, clock_shift, counters, logs, events, .. } = self;
        let count = rings.len();
        let rings = Rings::new(rings, size, snaplen, clock_shift)
            .map_err(|source| LoadError::Rings(RingsError { count, size, source }))?;
        #[expect(unsafe_code, reason = "tokio's registration of a file descriptor")]
        // SAFETY: the helper owns its channel's descriptor, and neither closes nor replaces it while it lives.
        let helper = unsafe { AsyncFd::register_with_interest(helper, Interest::READABLE) };
        let helper = helper.map_err(|error| WaitError(error.into()))?;
        let logs = logs.into_iter().map(Logger::start).collect::<Result<_, _>>()?;
        let mut capture = Capture {
            helper,
            rings,
            timer: Timer::new().map_err(WaitError)?,
            counters,
            logs,
            notices: Vec::new(),
            changes: Vec::new(),
            lost: None,
            interfaces: Vec::new(),
            remarks: String::new(),
        };
        events.into_iter().for_each(|event| capture.take(event));
        Ok(capture)
    }
}

impl Capture {
    /// What there is to be known of interfaces since the last call: to be asked for in front of each
    /// [`drain`](Self::drain), after [`refresh`](Self::refresh).
    pub fn changes(&mut self) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.changes);
        let forgotten = self.rings.take_forgotten().into_iter();
        changes.extend(forgotten.map(|number| Change::Forgotten { number }));
        changes
    }

    /// What there is to say of the interfaces at the end, whole lines: what was lost of which, where there are several.
    pub fn remarks(&self) -> String {
        let mut remarks = self.remarks.clone();
        let lossy = self.interfaces.iter().filter(|(_, losses)| *losses != Losses::default());
        for (name, Losses { dropped, dropped_by_interface }) in lossy.filter(|_| self.interfaces.len() > 1) {
            let name = name.as_deref().map_or_else(|| "other interfaces".to_owned(), printable);
            for (count, by) in [(*dropped, "kernel"), (*dropped_by_interface, "interface")] {
                let plural = if count == 1 { "" } else { "s" };
                if count > 0 {
                    remarks.push_str(&format!("{name}: {count} packet{plural} dropped by {by}\n"));
                }
            }
        }
        remarks
    }

    /// What has been noticed since the last call. To be asked for at the start, after each [`drain`](Self::drain) and
    /// after [`detach`](Self::detach).
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Takes in what the helper has said, and sets the time up to which [`drain`](Self::drain) reads.
    pub fn refresh(&mut self) {
        // In this order: what the helper says of an interface it says before the interface has packets.
        self.rings.refresh();
        if self.helper.get_ref().is_attached {
            self.listen();
        }
    }

    /// Hands packets to `each`, oldest first, until it breaks or what is due has been read.
    pub fn drain(&mut self, each: impl FnMut(&Packet<'_>) -> ControlFlow<()>) -> Left {
        let all = !self.helper.get_ref().is_attached;
        self.rings.drain(all, each)
    }

    /// Takes in what the helper has said.
    fn listen(&mut self) {
        loop {
            match self.helper.get_mut().next() {
                Ok(Some(event)) => self.take(event),
                Ok(None) => return,
                Err(error) => {
                    self.lost.get_or_insert(CaptureError::Helper(error));
                    return;
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Listed(listed) => {
                self.interfaces.push((listed.name.clone(), Losses::default()));
                self.changes.push(Change::Listed(listed));
            }
            Event::Attached { source, name, origin } => {
                self.rings.add(source, origin);
                self.changes.push(Change::Named { number: origin.number, name });
            }
            Event::Gone { source } => self.rings.remove(source),
            Event::Note(text) => self.notices.push(Notice::Note(text)),
            Event::Warning(text) => self.notices.push(Notice::Warning(text)),
            Event::Lost(text) => drop(self.lost.get_or_insert(CaptureError::Lost(text))),
            Event::Counted { source, losses } => self.add(source, losses),
            // It came too late for the question.
            Event::AllCounted => {}
            Event::Detached { remarks, .. } => self.remarks = remarks,
        }
    }

    fn add(&mut self, source: RecordSource, losses: Losses) {
        let place = self.rings.origin_of(source).id.0 as usize;
        if let Some((_, sum)) = self.interfaces.get_mut(place) {
            sum.add(losses);
        }
    }

    /// Why no packet comes any more: the one interface is gone, or another process has detached a program. To be asked for
    /// after each [`refresh`](Self::refresh), which finds it out: packets of the other side may go on without an end.
    pub fn lost(&mut self) -> Option<CaptureError> {
        self.lost.take()
    }

    /// Arms the wake-up for the next packet. False if there is something to drain already.
    pub fn sleep(&mut self) -> bool {
        self.rings.sleep()
    }

    /// Waits for packets: `asleep` for the next one, as armed by [`sleep`](Self::sleep), otherwise for the time after
    /// which the rings are drained again. Ends also when the helper says something, which
    /// [`refresh`](Self::refresh) takes in, and at once while there is something that was not asked for yet: it was said in
    /// front of an answer, and no descriptor tells of it any more.
    ///
    /// # Errors
    ///
    /// When tokio's runtime is shutting down.
    pub async fn wait(&mut self, asleep: bool) -> Result<(), CaptureError> {
        if self.lost.is_some() || !self.notices.is_empty() || !self.changes.is_empty() {
            return Ok(());
        }
        let Self { helper, rings, timer, .. } = self;
        let interval = rings.next_interval();
        let packets = async {
            if asleep {
                rings.readable().await.map_err(WaitError)
            } else {
                timer.wait(interval).await.map_err(WaitError)
            }
        };
        tokio::select! {
            result = packets => Ok(result?),
            ready = helper.readable() => {
                // It has been said completely when the next refresh has taken it in.
                ready.map_err(WaitError)?.clear_ready();
                Ok(())
            }
        }
    }

    /// Has the helper look at the chains for the last time, switch the programs off, and wait until the last one has ended: from
    /// here on nothing changes in the rings and the counters, and what is in the rings is due at once. It detaches them
    /// meanwhile; dropping this waits for that, until a second has passed.
    ///
    /// # Errors
    ///
    /// When the kernel does not say when the last program has ended, one was no longer attached, or the helper is gone.
    pub fn detach(&mut self) -> Result<(), DetachError> {
        let detached = self.helper.get_mut().detach();
        let events = std::mem::take(&mut self.helper.get_mut().said);
        events.into_iter().for_each(|event| self.take(event));
        self.logs.drain(..).for_each(KernelLog::finish);
        match detached? {
            Some(failure) => Err(DetachError::Told(failure)),
            None => Ok(()),
        }
    }

    /// The time of day when the rings were last drained.
    pub fn now(&self) -> Timestamp {
        self.rings.now()
    }

    /// What was lost of each interface of the list since it was attached to: what was known last, if the helper does not
    /// answer soon.
    pub fn losses(&mut self) -> impl Iterator<Item = &Losses> {
        self.helper.get_mut().count_losses();
        let events = std::mem::take(&mut self.helper.get_mut().said);
        events.into_iter().for_each(|event| self.take(event));
        self.interfaces.iter().map(|(_, losses)| losses)
    }

    /// Records in the rings that were not of this daemon's layout: of an object from another release, or put there by
    /// another program. They are passed over.
    pub fn foreign(&self) -> u64 {
        self.rings.foreign()
    }

    /// The counters.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.counters.iter().for_each(|pages| sum.add(&pages.sum()));
        sum
    }
}

impl Helper {
    /// The next thing it has said.
    fn next(&mut self) -> Result<Option<Event>, HelperError> {
        match self.said.pop_front() {
            Some(event) => Ok(Some(event)),
            None => self.channel.next().map_err(no_use),
        }
    }

    /// Asks for something, and waits for the `answer`; what it says before that is kept. `None` if there was none in time.
    fn ask(
        &mut self,
        request: Request,
        patience: PollTimeout,
        answer: impl Fn(&Event) -> bool,
    ) -> Result<Option<Event>, HelperError> {
        self.channel.say(&request).map_err(no_use)?;
        while self.channel.wait(patience).map_err(no_use)? {
            while let Some(event) = self.channel.next().map_err(no_use)? {
                if answer(&event) {
                    return Ok(Some(event));
                }
                self.said.push_back(event);
            }
        }
        Ok(None)
    }

    /// Has it say what was lost.
    fn count_losses(&mut self) {
        if self.is_attached {
            let is_it = |event: &Event| matches!(event, Event::AllCounted);
            // That it is gone is noticed when it is listened to.
            let _not_in_time = self.ask(Request::Losses, PollTimeout::from(PATIENCE), is_it);
        }
    }

    /// Has it switch the programs off, and detach. Returns what went wrong there.
    fn detach(&mut self) -> Result<Option<String>, HelperError> {
        if !std::mem::replace(&mut self.is_attached, false) {
            return Ok(None);
        }
        self.deadline = Instant::now().checked_add(LAST_PATIENCE);
        let is_it = |event: &Event| matches!(event, Event::Detached { .. });
        let last = self.ask(Request::Detach, PollTimeout::NONE, is_it)?;
        let failure = match &last {
            Some(Event::Detached { failure, .. }) => failure.clone(),
            _ => None,
        };
        self.said.extend(last);
        Ok(failure)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Without it nothing is attached either. It ends when it has detached everything.
        let _gone = self.detach();
        let rest = |deadline: Instant| {
            PollTimeout::try_from(deadline.saturating_duration_since(Instant::now()))
                .unwrap_or(PollTimeout::ZERO)
        };
        while let Some(rest) = self.deadline.map(rest)
            && self.channel.wait(rest).is_ok_and(|is_heard| is_heard)
            && self.channel.next().is_ok()
        {}
    }
}

impl AsRawFd for Helper {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}

fn no_use(why: Broken) -> HelperError {
    HelperError(why.to_string())
}

/// How many rings there are, and the size of each: one for each CPU, or as many as have [their share](RING_SHARE) of
/// the memory.
fn layout(buffer_size: usize, cpus: usize, snaplen: u32) -> (usize, usize) {
    let least = smallest_ring(snaplen).max(super::page_size());
    let rings = cpus.min(buffer_size / RING_SHARE.max(least)).max(1);
    (rings, (buffer_size / rings).max(least).next_power_of_two())
}

/// CPUs that a program can run on: those that are online, which share their rings with any that come later.
fn online_cpus() -> usize {
    cpus::online().map_or(1, |cpus| cpus.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_has_a_ring_while_the_memory_lasts() {
        const MIB: usize = 1 << 20;
        assert_eq!(layout(32 * MIB, 2, 0), (2, 16 * MIB));
        assert_eq!(layout(32 * MIB, 3, 0), (3, 16 * MIB));
        assert_eq!(layout(32 * MIB, 256, 0), (32, MIB));
        assert_eq!(layout(32 * MIB, 256, capture_common::record::MAX_SNAPLEN), (32, MIB));
        assert_eq!(layout(MIB / 2, 8, 0), (1, MIB / 2));
        assert_eq!(layout(1, 8, 0).0, 1);
        assert_eq!(layout(1, 8, 9000), (1, 32 << 10));
    }
}
