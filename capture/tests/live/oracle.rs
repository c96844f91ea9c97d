//! capture and the real tcpdump at the same point, and what they print.

use std::collections::BTreeMap;

use crate::{
    namespace::Namespace,
    process::{Ended, Tracer},
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

/// Runs `traffic`, ends it with a marker, and returns what capture and tcpdump printed at each point.
pub(crate) fn side_by_side(
    points: &[Point<'_>],
    traffic: impl FnOnce(),
    marker: impl FnOnce() -> String,
) -> Vec<(Ended, Ended)> {
    let tracers: Vec<_> = points
        .iter()
        .map(|point| {
            let tcpdump = Tracer::tcpdump(point.namespace, &point.tcpdump);
            (Tracer::capture(point.namespace, &point.capture), tcpdump)
        })
        .collect();
    traffic();
    let marker = marker();
    tracers
        .into_iter()
        .map(|(capture, tcpdump)| {
            capture.wait_for_stdout(&marker);
            tcpdump.wait_for_stdout(&marker);
            let (capture, tcpdump) = (capture.interrupt(), tcpdump.interrupt());
            assert!(capture.status.success(), "{}", capture.stderr);
            assert_eq!(tcpdump.count("dropped by kernel"), 0, "the oracle lost packets");
            assert_eq!(capture.count("dropped by kernel"), 0, "{}", capture.stderr);
            assert_eq!(capture.count("captured"), capture.count("received by filter"));
            (capture, tcpdump)
        })
        .collect()
}

/// The lines of each direction of each connection, in order. Between two CPUs, two observers may see two packets
/// that do not depend on each other in either order; within a direction they may not.
pub(crate) fn by_direction<'a>(lines: &[&'a str]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut directions = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let direction = line.split_once(": ").map_or(*line, |(direction, _)| direction);
        directions.entry(direction).or_default().push(*line);
    }
    directions
}
