//! Other programs on the same interface, and what is left behind.

use std::net::IpAddr;

use aya::programs::{SchedClassifier, tc::TcAttachType};
use capture::kernel::{
    Attached, Direction, Hook, Interface, LogLevel, Mechanism, OBJECT, Object, ObjectOptions,
};
use nix::sys::signal::Signal;

use crate::{
    namespace::Namespace,
    process::{Tracer, wait_until},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// The names of the programs attached to an interface by TCX.
pub(crate) fn tcx_programs(namespace: &Namespace, interface: &'static str) -> Vec<String> {
    namespace.run(move || {
        let directions = [TcAttachType::Ingress, TcAttachType::Egress];
        let programs =
            directions.map(|direction| SchedClassifier::query_tcx(interface, direction).expect("a query").1);
        programs.iter().flatten().map(|program| program.name_as_str().expect("a name").to_owned()).collect()
    })
}

/// Somebody else's program on loopback's way in: it counts.
fn foreigner(namespace: &Namespace, mechanism: Mechanism) -> (Object, Attached) {
    foreigner_at(namespace, "lo", mechanism)
}

fn foreigner_at(namespace: &Namespace, interface: &'static str, mechanism: Mechanism) -> (Object, Attached) {
    namespace.run(move || {
        let options = ObjectOptions {
            ports: None,
            link_header: true,
            snaplen: 0,
            ring_size: 1 << 20,
            rings: 1,
            log_level: LogLevel::Off,
        };
        let mut object = Object::load(OBJECT, &options).expect("the object loads");
        let interface = Interface::find(interface).expect("it exists");
        let attached = Attached::new(&mut object, &interface, Hook::Tc, mechanism, Direction::Both)
            .expect("it attaches");
        (object, attached)
    })
}

#[test]
#[ignore = "needs root"]
fn sigkill_leaves_nothing_behind() {
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
fn an_ordinary_end_leaves_nothing_behind() {
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
            assert_eq!(foreigner.counters().expect("counters").matched, received, "{mechanism:?}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn clsact_filters_are_first_on_the_way_in_and_last_on_the_way_out() {
    let (here, there) = Namespace::pair();
    let (object, _attached) = foreigner_at(&here, "veth0", Mechanism::Clsact);
    let (_later, _attached_later) = foreigner_at(&here, "veth0", Mechanism::Clsact);
    traffic::nc_session(&there, &here, "10.0.0.2".parse().expect("an address"));
    // Both directions: at least five packets each.
    assert!(object.counters().expect("counters").matched >= 10);
    let egress = here.output("tc filter show dev veth0 egress");
    assert_eq!(egress.matches("pref 65535 bpf chain 0 handle").count(), 2, "{egress}");
    let ingress = here.output("tc filter show dev veth0 ingress");
    assert_eq!(ingress.matches("pref 1 bpf chain 0 handle").count(), 2, "{ingress}");
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
    assert_eq!(first.counters().expect("counters").matched, 0);
    assert!(second.counters().expect("counters").matched >= 10);
    namespace.run(move || drop(attached_second));
    assert_eq!(filters(&namespace), 0);
}
