//! Other programs on the same interface, and what is left when a capture ends.

use std::net::IpAddr;

use aya::programs::{ProgramInfo, SchedClassifier, tc::TcAttachType};
use capture::kernel::{Attached, Object};
use nix::sys::signal::Signal;

use crate::{
    namespace::Namespace,
    others::{self, Mechanism, Order, Place, Treatment},
    process::{Tracer, wait_until},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// The programs attached to an interface by TCX: ingress, then egress.
fn tcx(namespace: &Namespace, interface: &'static str) -> Vec<ProgramInfo> {
    namespace.run(move || {
        let directions = [TcAttachType::Ingress, TcAttachType::Egress];
        let programs =
            directions.into_iter().map(|direction| SchedClassifier::query_tcx(interface, direction));
        programs.flat_map(|programs| programs.expect("a query").1).collect()
    })
}

/// Their names.
pub(crate) fn tcx_programs(namespace: &Namespace, interface: &'static str) -> Vec<String> {
    let programs = tcx(namespace, interface);
    programs.iter().map(|program| program.name_as_str().expect("a name").to_owned()).collect()
}

/// Their ids.
fn tcx_ids(namespace: &Namespace, interface: &'static str) -> Vec<u32> {
    tcx(namespace, interface).iter().map(ProgramInfo::id).collect()
}

/// Somebody else's program on loopback's way in: it counts.
fn foreigner(namespace: &Namespace, mechanism: Mechanism) -> (Object, Attached) {
    others::attach_own(namespace, "lo", mechanism, || ())
}

#[test]
#[ignore = "needs root"]
fn sigkill_leaves_nothing_attached() {
    let (here, _there) = Namespace::pair();
    let capture = Tracer::capture(&here, "-i veth0 --port 8888");
    assert_eq!(tcx_programs(&here, "veth0"), ["tc_ingress", "tc_egress"]);
    capture.signal(Signal::SIGKILL);
    assert!(!capture.end().status.success());
    wait_until("the end of the links", || tcx_programs(&here, "veth0").is_empty());
    assert!(!here.output("tc qdisc show dev veth0").contains("clsact"));
}

#[test]
#[ignore = "needs root"]
fn an_ordinary_end_leaves_nothing_attached() {
    for hook in ["tc", "xdp-native", "xdp-generic"] {
        let (here, _there) = Namespace::pair();
        let capture = Tracer::capture(&here, &format!("-i veth0 --hook {hook}"));
        assert_eq!(here.output("ip link show veth0").contains(" xdp"), hook != "tc");
        assert!(capture.interrupt().status.success());
        assert_eq!(tcx_programs(&here, "veth0"), [""; 0]);
        assert!(!here.output("ip link show veth0").contains("xdp"));
    }
}

#[test]
#[ignore = "needs root"]
fn a_second_instance_sees_the_same() {
    let namespace = Namespace::new();
    let captures = [(); 2].map(|()| Tracer::capture(&namespace, "-t -l -i lo --port 8888"));
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    let [first, second] = captures.map(|capture| {
        capture.wait_for_stdout(&marker);
        capture.interrupt()
    });
    assert!(first.lines().len() >= 10);
    assert_eq!(first.stdout, second.stdout);
}

#[test]
#[ignore = "needs root"]
fn somebody_elses_program_still_sees_every_packet() {
    for mechanism in [Mechanism::Tcx, Mechanism::Clsact] {
        let namespace = Namespace::new();
        let (before, _attached) = foreigner(&namespace, mechanism);
        let capture = Tracer::capture(&namespace, "-t -l -i lo");
        let (after, _attached_after) = foreigner(&namespace, mechanism);
        traffic::nc_session(&namespace, &namespace, LOOPBACK);
        let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
        capture.wait_for_stdout(&marker);
        let ended = capture.interrupt();
        let received = ended.count("received by filter");
        assert!(received >= 10);
        for foreigner in [before, after] {
            assert_eq!(foreigner.counters().expect("counters").of_both().matched, received, "{mechanism:?}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn programs_come_first_on_both_ways() {
    let (here, _there) = Namespace::pair();
    let others = [Place::TcxIngress, Place::TcxEgress]
        .map(|place| others::attach(&here, "veth0", place, Order::First, "other", Treatment::Next));
    let capture = Tracer::capture(&here, "-i veth0");
    assert_eq!(tcx_programs(&here, "veth0"), ["tc_ingress", "other", "tc_egress", "other"]);
    capture.interrupt();
    drop(others);
}

#[test]
#[ignore = "needs root"]
fn clsact_filters_come_first_on_both_ways() {
    let (here, there) = Namespace::pair();
    let (object, _attached) = others::attach_own(&here, "veth0", Mechanism::Clsact, || ());
    let (_later, _attached_later) = others::attach_own(&here, "veth0", Mechanism::Clsact, || ());
    traffic::nc_session(&there, &here, "10.0.0.2".parse().expect("an address"));
    // Both directions: at least five packets each.
    assert!(object.counters().expect("counters").of_both().matched >= 10);
    for side in ["ingress", "egress"] {
        let filters = here.output(&format!("tc filter show dev veth0 {side}"));
        assert_eq!(filters.matches("pref 1 bpf chain 0 handle").count(), 2, "{filters}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_full_hook() {
    const MOST: usize = 63;

    for (place, side) in [(Place::TcxIngress, "ingress"), (Place::TcxEgress, "egress")] {
        let (here, _there) = Namespace::pair();
        let others: Vec<_> = (0..MOST)
            .map(|number| {
                let name = format!("other_{number}");
                others::attach(&here, "veth0", place, Order::Last, &name, Treatment::Next)
            })
            .collect();
        let ended = Tracer::capture_failing(&here, "-i veth0");
        let id = tcx_ids(&here, "veth0")[0];
        let expected = format!(
            "capture: cannot attach tc to veth0: {MOST} programs are attached to its {side} already, as many as there can \
             be, the first is program other_0 (id {id}); detach one (`bpftool net show dev veth0` lists them)\n"
        );
        assert_eq!((ended.stderr, ended.status.code()), (expected, Some(1)));
        // What was attached to the other side is gone again.
        assert_eq!(tcx_ids(&here, "veth0").len(), MOST);
        drop(others);
    }
}

#[test]
#[ignore = "needs root"]
fn a_clsact_filter_is_removed_and_leaves_others_alone() {
    let namespace = Namespace::new();
    let filters =
        |namespace: &Namespace| namespace.output("tc filter show dev lo ingress").matches(" handle ").count();
    let (first, attached_first) = foreigner(&namespace, Mechanism::Clsact);
    let (second, attached_second) = foreigner(&namespace, Mechanism::Clsact);
    assert_eq!(filters(&namespace), 2);
    namespace.run(move || drop(attached_first));
    assert_eq!(filters(&namespace), 1);
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    assert_eq!(first.counters().expect("counters").of_both().matched, 0);
    assert!(second.counters().expect("counters").of_both().matched >= 10);
    namespace.run(move || drop(attached_second));
    assert_eq!(filters(&namespace), 0);
}
