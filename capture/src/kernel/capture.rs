//! One capture, from loading to detaching.

use std::{ops::ControlFlow, time::Duration};

use capture_common::{counters::Counters, ports::PortBitmap};
use capture_packet::{LinkType, Packet, Timestamp};
use tokio::time::sleep;

use super::{
    KernelError,
    attach::Attached,
    chain::{Chains, Notice},
    cpus,
    hook::{DirectionFilter, Hook},
    interface::Interface,
    log::{KernelLog, LogLevel},
    merge::Left,
    object::{OBJECT, Object, ObjectOptions},
    promiscuity::Promiscuity,
    rings::Rings,
    timer::Timer,
    watch::Watch,
};
use crate::messages::Messages;

/// How often the programs of others are looked at: the only timer on a silent wire.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
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
    /// The interface.
    pub interface: &'a Interface,
    /// The hook.
    pub hook: Hook,
    /// Which packets.
    pub direction: DirectionFilter,
    /// Whether to put the interface into promiscuous mode.
    pub promiscuous: bool,
    /// The selected ports; `None` for every TCP packet.
    pub ports: Option<&'a PortBitmap>,
    /// Bytes to capture of each frame, 0 for the headers alone.
    pub snaplen: u32,
    /// Memory for all rings together, in bytes. A ring's share is rounded up to a power of two and a whole page.
    pub buffer_size: usize,
    /// What the programs log.
    pub log_level: LogLevel,
    /// Where the log goes.
    pub messages: &'a Messages,
}

/// A running capture. Dropping it detaches.
#[derive(Debug)]
pub struct Capture {
    object: Object,
    rings: Rings,
    attached: Option<Attached>,
    promiscuity: Option<Promiscuity>,
    watch: Watch,
    log: Option<KernelLog>,
    description: String,
    link_type: LinkType,
    buffers: (usize, usize),
    interface: Interface,
    chains: Chains,
    /// Says when a look at the chains is due, and wakes the process for it.
    timer: Timer,
    /// What has been noticed and not been asked for yet.
    notices: Vec<Notice>,
    /// Why no packet comes any more at a side.
    lost: Option<KernelError>,
    /// What the interface had [dropped](Interface::dropped) before.
    dropped_before: u64,
}

impl Capture {
    /// Loads and attaches. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Any of [`KernelError`]'s; nothing is left attached.
    pub fn start(options: &CaptureOptions<'_>) -> Result<Self, KernelError> {
        let CaptureOptions {
            interface,
            hook,
            direction,
            promiscuous,
            ports,
            snaplen,
            buffer_size,
            log_level,
            messages,
        } = *options;
        let link_type = interface.link_type()?;
        // Before anything is attached, so that no change of the interface goes unnoticed.
        let watch = Watch::new(interface)?;
        let (rings, ring_size) = layout(buffer_size, online_cpus(), snaplen);
        let mut object = Object::load(
            OBJECT,
            &ObjectOptions {
                ports,
                link_header: link_type == LinkType::Ethernet,
                snaplen,
                ring_size,
                rings,
                log_level,
            },
        )?;
        let maps = std::mem::take(&mut object.rings);
        let buffers = (maps.len(), ring_size);
        let rings = Rings::new(maps, ring_size, snaplen, link_type).map_err(|source| KernelError::Rings {
            count: buffers.0,
            size: ring_size,
            source,
        })?;
        let log = KernelLog::start(&mut object.ebpf, log_level, messages)?;
        let mut notices = Vec::new();
        // On loopback there is nothing that is addressed to others.
        let promiscuity = if promiscuous && !interface.is_loopback() {
            let wanted = Promiscuity::new(interface.index)
                .map_err(|source| KernelError::NotPromiscuous { interface: interface.name.clone(), source });
            wanted.map_err(|error| notices.push(Notice::Warning(error.to_string()))).ok()
        } else {
            None
        };
        let attached = Attached::new(&mut object, interface, hook, direction)?;
        let timer = Timer::new(LOOK_INTERVAL).map_err(KernelError::Wait)?;
        let mut chains = Chains::new(interface, attached.own());
        notices.extend(attached.notice(interface));
        notices.extend(chains.look()?);
        Ok(Self {
            object,
            rings,
            description: attached.to_string(),
            attached: Some(attached),
            promiscuity,
            watch,
            log,
            link_type,
            buffers,
            interface: interface.clone(),
            chains,
            timer,
            notices,
            lost: None,
            dropped_before: interface.dropped(),
        })
    }

    /// Where it is attached, in words.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What has been noticed since the last call. To be asked for at the start, after each [`drain`](Self::drain) and
    /// after [`detach`](Self::detach).
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// How many rings there are, and the size of each in bytes.
    pub fn buffers(&self) -> (usize, usize) {
        self.buffers
    }

    /// What its frames begin with.
    pub fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// Hands packets to `each`, oldest first, until it breaks or what is due has been read.
    pub fn drain(&mut self, each: impl FnMut(&Packet<'_>) -> ControlFlow<()>) -> Left {
        if self.attached.is_some() && self.timer.is_due() {
            match self.chains.look() {
                Ok(noticed) => self.notices.extend(noticed),
                Err(error) => self.lost = Some(error),
            }
        }
        self.rings.drain(self.attached.is_none(), each)
    }

    /// Why no packet comes any more at a side of the interface, if another process has detached a program. To be asked
    /// for after each [`drain`](Self::drain), which finds it out: packets of the other side may go on without an end.
    pub fn lost(&mut self) -> Option<KernelError> {
        self.lost.take()
    }

    /// Arms the wake-up for the next packet. False if there is something to drain already.
    pub fn sleep(&mut self) -> bool {
        self.rings.sleep()
    }

    /// Waits for packets: `asleep` for the next one, as armed by [`sleep`](Self::sleep), otherwise for the time after
    /// which the rings are drained again. Ends also when it is time to look at the chains, which [`drain`](Self::drain)
    /// does.
    ///
    /// # Errors
    ///
    /// When the interface is gone, or tokio's runtime is shutting down.
    pub async fn wait(&mut self, asleep: bool) -> Result<(), KernelError> {
        let Self { rings, watch, timer, .. } = self;
        let interval = rings.next_interval();
        let packets = async {
            if asleep {
                rings.readable().await.map_err(KernelError::Wait)
            } else {
                sleep(interval).await;
                Ok(())
            }
        };
        tokio::select! {
            result = packets => result,
            error = watch.lost() => Err(error),
            elapsed = timer.elapsed() => elapsed.map_err(KernelError::Wait),
        }
    }

    /// Looks at the chains for the last time, detaches, and waits until the last program has ended: from here on nothing
    /// changes in the rings and the counters, and what is in the rings is due at once.
    ///
    /// # Errors
    ///
    /// When the kernel does not say when the last program has ended, or one was no longer attached.
    pub fn detach(&mut self) -> Result<(), KernelError> {
        let Self { object, rings, attached, promiscuity, log, chains, notices, .. } = self;
        let looked = if attached.is_some() { chains.look() } else { Ok(Vec::new()) };
        let looked = looked.map(|noticed| notices.extend(noticed));
        *attached = None;
        *promiscuity = None;
        let ended = rings.any_map().map_or(Ok(()), |ring| object.wait_for_programs(ring));
        if let Some(log) = log.take() {
            log.finish();
        }
        looked.and(ended)
    }

    /// The time of day when the rings were last drained.
    pub fn now(&self) -> Timestamp {
        self.rings.now()
    }

    /// Packets that the interface had no room for since the capture began: no program has seen them.
    pub fn dropped_by_interface(&self) -> u64 {
        self.interface.dropped().saturating_sub(self.dropped_before)
    }

    /// Records in the rings that were not of this daemon's layout: of an object from another release, or put there by
    /// another program. They are passed over.
    pub fn foreign(&self) -> u64 {
        self.rings.foreign()
    }

    /// The counters.
    ///
    /// # Errors
    ///
    /// When the counters cannot be read.
    pub fn counters(&self) -> Result<Counters, KernelError> {
        self.object.counters()
    }
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
