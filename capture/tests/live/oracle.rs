//! capture and the real tcpdump at the same point, and what they print.

use std::collections::BTreeMap;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    namespace::Namespace,
    process::{Ended, Tracer, wait_until},
};

/// A point at which both programs listen.
pub(crate) struct Point<'a> {
    namespace: &'a Namespace,
    /// Arguments of capture.
    pub(crate) capture: String,
    /// Arguments of tcpdump.
    pub(crate) tcpdump: String,
}

impl<'a> Point<'a> {
    /// Where tcpdump captures headers only, so that it keeps up.
    pub(crate) fn new(namespace: &'a Namespace, interface: &str, both: &str) -> Self {
        Self {
            namespace,
            capture: format!("-n -l -i {interface} --port 8888 {both}"),
            tcpdump: format!("-n --immediate-mode -i {interface} {both} -s 128 tcp port 8888"),
        }
    }

    /// With the same flags for both; tcpdump captures what it captures by itself. Not in immediate mode: there it cuts
    /// packets a few bytes before the snapshot length.
    pub(crate) fn whole(namespace: &'a Namespace, interface: &str, both: &str) -> Self {
        Self {
            tcpdump: format!("-n -i {interface} {both} tcp port 8888"),
            ..Self::new(namespace, interface, both)
        }
    }
}

/// Runs `traffic` on one CPU, ends it with a marker, and returns what capture and tcpdump printed at each point: the same
/// lines, in the same order within a direction.
///
/// On several CPUs the order differs by design, within one direction of a connection, too. A packet that is sent through
/// veth or loopback comes in on the CPU that sent it, first at tcpdump's tap, then at capture's program (net/core/dev.c,
/// `netif_rx` and `__netif_receive_skb_core`). Where one CPU sends an acknowledgement and another the next segment, either
/// can be interrupted between tap and program. Nor is a marker then the last packet that comes in.
pub(crate) fn side_by_side(
    points: &[Point<'_>],
    traffic: impl FnOnce(),
    marker: impl Fn() -> String,
) -> Vec<(Ended, Ended)> {
    observe(points, || {
        let _pinned = Pinned::to(sched_getcpu().expect("a CPU"));
        traffic();
        (marker(), 1)
    })
}

/// The same on all CPUs: the lines are the same, their order is not. Each CPU sends a marker, which is the last of its
/// packets.
pub(crate) fn side_by_side_on_all_cpus(
    points: &[Point<'_>],
    traffic: impl FnOnce(),
    marker: impl Fn() -> String,
) -> Vec<(Ended, Ended)> {
    observe(points, || {
        traffic();
        let cpus = sched_getaffinity(THIS_THREAD).expect("CPUs");
        let cpus = (0..CpuSet::count()).filter(|&cpu| cpus.is_set(cpu) == Ok(true));
        let markers = cpus.map(|cpu| {
            let _pinned = Pinned::to(cpu);
            marker()
        });
        let markers: Vec<_> = markers.collect();
        (markers[0].clone(), markers.len())
    })
}

/// `traffic` returns what the lines of its markers contain, and how many they are.
fn observe(points: &[Point<'_>], traffic: impl FnOnce() -> (String, usize)) -> Vec<(Ended, Ended)> {
    let tracers: Vec<_> = points
        .iter()
        .map(|point| {
            let tcpdump = Tracer::tcpdump(point.namespace, &point.tcpdump);
            (Tracer::capture(point.namespace, &point.capture), tcpdump)
        })
        .collect();
    let (marker, markers) = traffic();
    tracers
        .into_iter()
        .map(|(capture, tcpdump)| {
            for tracer in [&capture, &tcpdump] {
                wait_until(&format!("{markers} `{marker}` on standard output"), || {
                    tracer.stdout().matches(&marker).count() >= markers
                });
            }
            let (capture, tcpdump) = (capture.interrupt(), tcpdump.interrupt());
            assert!(capture.status.success(), "{}", capture.stderr);
            assert_eq!(tcpdump.count("dropped by kernel"), 0, "the oracle lost packets");
            assert_eq!(capture.count("dropped by kernel"), 0, "{}", capture.stderr);
            assert_eq!(capture.count("captured"), capture.count("received by filter"));
            (capture, tcpdump)
        })
        .collect()
}

const THIS_THREAD: Pid = Pid::from_raw(0);

/// Keeps the calling thread, the threads and processes that it starts, and its jobs in namespaces, on one CPU.
struct Pinned {
    before: CpuSet,
}

impl Pinned {
    fn to(cpu: usize) -> Self {
        let before = sched_getaffinity(THIS_THREAD).expect("CPUs");
        let mut one = CpuSet::new();
        one.set(cpu).expect("a CPU's number");
        sched_setaffinity(THIS_THREAD, &one).expect("it is one of them");
        Self { before }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _kept_on_one = sched_setaffinity(THIS_THREAD, &self.before);
    }
}

/// The lines of each direction of each connection, in order. Packets of different connections can come in on two CPUs
/// although the traffic runs on one, and two observers then see them in either order: a process that another test starts
/// holds a copy of each socket until it executes its program, and the FIN is sent by the last close.
pub(crate) fn by_direction<'a>(lines: &[&'a str]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut directions = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let direction = line.split_once(": ").map_or(*line, |(direction, _)| direction);
        directions.entry(direction).or_default().push(*line);
    }
    directions
}
