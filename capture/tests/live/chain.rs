//! What is said of other programs: at the start, when one comes before capture's, and in the summary.

use std::{
    io::Read as _,
    net::IpAddr,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    namespace::Namespace,
    others::{self, Mechanism, Order, Place, Treatment},
    process::{Ended, Tracer, wait_until},
    traffic::{self, Sender, long_frame, tagged},
};

const HIDES: &str = "what it accepts, drops or redirects is neither printed nor counted";

/// The lines on standard error that are neither the greeting nor the numbers.
fn said(ended: &Ended) -> Vec<&str> {
    let is_usual = |line: &&str| {
        line.starts_with("capture: listening on ")
            || line.starts_with("capture: packets are read with: ")
            || line.starts_with("capture: programs are attached with: ")
            || ["captured", "received by filter", "dropped by kernel"].iter().any(|end| line.ends_with(end))
    };
    ended.stderr.lines().filter(|line| !is_usual(line)).collect()
}

/// The id of a loaded program.
fn id(name: &str) -> u32 {
    let programs = aya::programs::loaded_programs().filter_map(Result::ok);
    programs
        .filter(|program| program.name_as_str() == Some(name))
        .map(|program| program.id())
        .last()
        .expect("it is loaded")
}

#[test]
#[ignore = "needs root"]
fn programs_after_capture_are_named_once() {
    let (here, _there) = Namespace::pair();
    let links = [
        others::attach(&here, "veth0", Place::TcxIngress, Order::Last, "after_in", Treatment::Accept),
        others::attach(&here, "veth0", Place::TcxEgress, Order::Last, "after_out_1", Treatment::Accept),
        others::attach(&here, "veth0", Place::TcxEgress, Order::Last, "after_out_2", Treatment::Accept),
    ];
    let capture = Tracer::capture(&here, "-i veth0");
    let [one, two, three] = ["after_in", "after_out_1", "after_out_2"].map(id);
    let expected = [
        format!(
            "capture: note: after capture on veth0 ingress: program after_in (id {one}): what it drops, redirects or \
             rewrites is printed as it came in"
        ),
        format!(
            "capture: note: after capture on veth0 egress: program after_out_1 (id {two}), program after_out_2 (id \
             {three}): what they drop, redirect or rewrite is printed as it was before"
        ),
    ];
    assert_eq!(said(&capture.interrupt()), expected);
    drop(links);
}

/// What another capture attaches lets everything pass, whatever it captures.
#[test]
#[ignore = "needs root"]
fn other_captures_are_not_named() {
    let (here, _there) = Namespace::pair();
    let first = Tracer::capture(&here, "-i veth0");
    let second = Tracer::capture(&here, "-i veth0 -s 100 --log-level debug --port 8888");
    for capture in [first, second] {
        assert_eq!(said(&capture.interrupt()), [""; 0]);
    }
}

#[test]
#[ignore = "needs root"]
fn one_that_comes_before_is_warned_of_when_it_is_noticed_and_at_the_end() {
    let (here, _there) = Namespace::pair();
    let capture = Tracer::capture(&here, "-n -t -l -i veth0 -Q out tcp port 8888");
    let link =
        others::attach(&here, "veth0", Place::TcxEgress, Order::First, "intruder_tcx", Treatment::Accept);
    let warning = format!(
        "capture: warning: before capture on veth0 egress: program intruder_tcx (id {}): {HIDES}",
        id("intruder_tcx")
    );
    capture.wait_for_stderr(&warning);
    // It is true: a long frame is hidden, a short one is not.
    for frame in [long_frame(300), tagged(&[])] {
        Sender::new(&here, "veth0", &frame).send();
    }
    capture.wait_for_stdout(", length 0\n");
    let ended = capture.interrupt();
    assert_eq!((ended.lines().len(), ended.count("received by filter")), (1, 1));
    assert_eq!(said(&ended), [warning.as_str(), warning.as_str()]);
    assert!(ended.stderr.ends_with(&format!("dropped by kernel\n{warning}\n")), "{}", ended.stderr);
    drop(link);
}

/// The last look is before detaching.
#[test]
#[ignore = "needs root"]
fn one_that_came_last_is_in_the_summary() {
    for (place, name, whom, hides) in [
        (Place::TcxIngress, "late_tcx", "program", HIDES),
        (
            Place::XdpNative,
            "late_native",
            "XDP program",
            "what it drops or redirects is neither printed nor counted",
        ),
        (
            Place::XdpGeneric,
            "late_generic",
            "XDP program",
            "what it drops or redirects is neither printed nor counted",
        ),
    ] {
        let (here, _there) = Namespace::pair();
        let capture = Tracer::capture(&here, "-i veth0");
        let link = others::attach(&here, "veth0", place, Order::First, name, Treatment::Next);
        let mode = match place {
            Place::XdpNative => ", native",
            Place::XdpGeneric => ", generic",
            _ => "",
        };
        let warning = format!(
            "capture: warning: before capture on veth0 ingress: {whom} {name} (id {}{mode}): {hides}",
            id(name)
        );
        assert_eq!(said(&capture.interrupt()).last(), Some(&warning.as_str()));
        drop(link);
    }
}

#[test]
#[ignore = "needs root"]
fn xdp_that_was_there_before_is_no_surprise() {
    let (here, _there) = Namespace::pair();
    let link = others::attach(&here, "veth0", Place::XdpNative, Order::Last, "early_native", Treatment::Drop);
    let ended = Tracer::capture(&here, "-i veth0").interrupt();
    let expected = format!(
        "capture: note: before capture on veth0 ingress: XDP program early_native (id {}, native): what it drops or \
         redirects is printed neither here nor by tcpdump",
        id("early_native")
    );
    assert_eq!(said(&ended), [expected]);
    drop(link);
}

#[test]
#[ignore = "needs root"]
fn one_that_came_and_went_between_two_looks() {
    let (here, _there) = Namespace::pair();
    let capture = Tracer::capture(&here, "-i veth0");
    drop(others::attach(&here, "veth0", Place::TcxEgress, Order::First, "guest", Treatment::Drop));
    let note = "capture: note: on veth0 egress: programs were attached and detached again between two checks: one that \
                ran before capture can have hidden packets";
    assert_eq!(said(&capture.interrupt()).last(), Some(&note));
}

/// The kernel gives names to CAP_SYS_ADMIN only.
#[test]
#[ignore = "needs root"]
fn where_the_name_may_not_be_known_the_id_is_said() {
    let (here, _there) = Namespace::pair();
    let link = others::attach(&here, "veth0", Place::TcxEgress, Order::Last, "nameless", Treatment::Next);
    let capabilities = "-all,+bpf,+net_admin,+net_raw,+perfmon,+setgid,+setuid";
    let capture = Tracer::unprivileged(&here, capabilities, "-i veth0 -Q out");
    capture.wait_for_stderr("listening on");
    let expected = format!(
        "capture: note: after capture on veth0 egress: program (id {}): what it drops, redirects or rewrites is printed \
         as it was before",
        id("nameless")
    );
    assert_eq!(said(&capture.interrupt()), [expected]);
    let holder = others::attach(&here, "veth0", Place::XdpNative, Order::Last, "holder", Treatment::Next);
    let capture = Tracer::unprivileged(&here, capabilities, "-i veth0 --hook xdp-native");
    let ended = capture.end();
    let expected =
        format!("cannot attach XDP to veth0: program (id {}, native) is attached there; ", id("holder"));
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    drop((link, holder));
}

#[test]
#[ignore = "needs root"]
fn a_program_that_is_detached_ends_the_capture() {
    for hook in ["tc", "xdp-generic"] {
        let (here, _there) = Namespace::pair();
        let capture = Tracer::capture(&here, &format!("-i veth0 --hook {hook}"));
        others::detach_links_of(capture.helper());
        let ended = if hook == "tc" { capture.end() } else { capture.interrupt() };
        let expected = "\ncapture: capture was detached from ingress of veth0 by another process (`tc qdisc del` does \
                        that, `bpftool`, too): the capture has ended; start it again\n";
        assert!(ended.stderr.ends_with(expected), "{}", ended.stderr);
        assert_eq!(ended.status.code(), Some(1));
    }
}

fn without_tcx(namespace: &Namespace, arguments: &str) -> Tracer {
    let tracer = Tracer::without_tcx(namespace, arguments);
    tracer.wait_for_stderr("listening on");
    tracer
}

#[test]
#[ignore = "needs root"]
fn a_kernel_without_tcx_gets_clsact_filters() {
    let (here, there) = Namespace::pair();
    let [one, two] = [1, 2].map(|number| IpAddr::from([10, 0, 0, number]));
    let tcpdump = Tracer::tcpdump(&here, "-n -t -i veth0 tcp port 8888");
    let capture = without_tcx(&here, "-t -l -i veth0 --port 8888");
    traffic::nc_session(&there, &here, two);
    let marker = traffic::marker(&here, one, two);
    let [tcpdump, capture] = [tcpdump, capture].map(|tracer| {
        tracer.wait_for_stdout(&marker);
        tracer.interrupt()
    });
    assert!(capture.stderr.contains(", tc ingress and egress (clsact), "), "{}", capture.stderr);
    assert_eq!(capture.stdout, tcpdump.stdout);
    assert_eq!(said(&capture), [""; 0]);
    for side in ["ingress", "egress"] {
        assert_eq!(here.output(&format!("tc filter show dev veth0 {side}")), "");
    }
}

#[test]
#[ignore = "needs root"]
fn clsact_filters_before_and_after_capture() {
    let (here, _there) = Namespace::pair();
    here.output("tc qdisc add dev veth0 clsact");
    here.output("tc filter add dev veth0 egress prio 1 protocol ip u32 match u16 300 0xffff at 2 flowid 1:1");
    others::add_filter(&here, "veth0", "egress prio 2", "after_bpf", Treatment::Next);
    let capture = without_tcx(&here, "-n -t -l -i veth0 -Q out");
    // As near to the front as it can be.
    let filters = here.output("tc filter show dev veth0 egress");
    assert!(filters.contains("pref 2 bpf chain 0 handle 0x2 tc_egress"), "{filters}");
    for frame in [long_frame(300), tagged(&[])] {
        Sender::new(&here, "veth0", &frame).send();
    }
    capture.wait_for_stdout(", length 0\n");
    others::add_filter(&here, "veth0", "egress prio 2", "late_bpf", Treatment::Next);
    let ended = capture.interrupt();
    assert_eq!(ended.lines().len(), 1);
    let hides = |who: &str| format!("capture: warning: before capture on veth0 egress: {who}: {HIDES}");
    let u32 = hides("the filter pref 1 u32 handle 800::800");
    let late = hides(&format!("the filter pref 2 bpf handle 0x3 late_bpf:[*fsobj] (id {})", id("late_bpf")));
    let after = format!(
        "capture: note: after capture on veth0 egress: the filter pref 2 bpf handle 0x1 after_bpf:[*fsobj] (id {}): what it drops, \
         redirects or rewrites is printed as it was before",
        id("after_bpf")
    );
    // What comes last is noticed at the end, and printed once.
    assert_eq!(said(&ended), [&u32, &after, &u32, &late]);
}

/// The qdiscs `ingress` and `clsact` have the same place.
#[test]
#[ignore = "needs root"]
fn a_plain_ingress_qdisc_has_no_way_out() {
    let (here, there) = Namespace::pair();
    here.output("tc qdisc add dev veth0 ingress");
    for direction in ["", "-Q out"] {
        let ended = Tracer::without_tcx(&here, &format!("-i veth0 {direction}")).end();
        let expected = "capture: cannot capture outgoing packets on veth0: its qdisc `ingress` is for incoming ones, and \
                        stands where clsact would; use `-Q in` or `--hook xdp`, or make room for clsact (`tc qdisc del \
                        dev veth0 ingress`, which removes its filters)\n";
        assert_eq!((ended.stderr.as_str(), ended.status.code()), (expected, Some(1)));
        assert_eq!(here.output("tc filter show dev veth0 ingress"), "");
    }
    // What comes in is printed, and once.
    let [one, two] = [1, 2].map(|number| IpAddr::from([10, 0, 0, number]));
    let tcpdump = Tracer::tcpdump(&here, "-n -t -i veth0 -Q in tcp port 8888");
    let capture = without_tcx(&here, "-t -l -i veth0 -Q in --port 8888");
    traffic::nc_session(&there, &here, two);
    let marker = traffic::marker_in(&there, two, one);
    let [tcpdump, capture] = [tcpdump, capture].map(|tracer| {
        tracer.wait_for_stdout(&marker);
        tracer.interrupt()
    });
    assert!(tcpdump.lines().len() >= 5);
    assert_eq!(capture.stdout, tcpdump.stdout);
    // TCX does not care.
    let capture = Tracer::capture(&here, "-i veth0").interrupt();
    assert!(capture.stderr.contains(" (tcx), "), "{}", capture.stderr);
}

#[test]
#[ignore = "needs root"]
fn filters_that_interfaces_share() {
    let (here, _there) = Namespace::pair();
    here.output("tc qdisc add dev veth0 egress_block 7 clsact");
    let ended = Tracer::without_tcx(&here, "-i veth0").end();
    let expected = "capture: cannot attach tc to veth0: it shares the filters of its egress with other interfaces (a \
                    block: tc(8)); use `--hook xdp`, or give it a clsact qdisc of its own\n";
    assert_eq!((ended.stderr.as_str(), ended.status.code()), (expected, Some(1)));
    assert_eq!(here.output("tc filter show dev veth0 ingress"), "");
}

#[test]
#[ignore = "needs root"]
fn a_clsact_qdisc_that_is_removed_ends_the_capture() {
    let (here, _there) = Namespace::pair();
    let capture = without_tcx(&here, "-i veth0");
    here.output("tc qdisc del dev veth0 clsact");
    let ended = capture.end();
    assert!(
        ended.stderr.contains("\ncapture: capture was detached from ingress of veth0 "),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.status.code(), Some(1));
}

/// Packets of the other side, more than the output takes, do not keep it from being noticed.
#[test]
#[ignore = "needs root"]
fn one_side_that_is_detached_ends_the_capture_during_a_flood_on_the_other() {
    const MOST_PACKETS: usize = 50_000_000;
    /// 64 KiB in that time: far less than the flood makes, so that the rings never become empty.
    const PAUSE: Duration = Duration::from_millis(50);

    let (here, _there) = Namespace::pair();
    let (mut output, stdout) = std::io::pipe().expect("a pipe");
    let capture =
        Tracer::capture_without_tcx_into(&here, "-t -B 4096 -i veth0 --port 8888", Stdio::from(stdout));
    let sender = Sender::new(&here, "veth0", &tagged(&[]));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MOST_PACKETS {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                sender.send();
            }
        });
        let (has_begun, begun) = std::sync::mpsc::channel();
        scope.spawn(|| {
            let has_begun = has_begun;
            let mut piece = vec![0; 1 << 16];
            while output.read(&mut piece).expect("a pipe") > 0 {
                let _first_ones = has_begun.send(());
                if !is_over.load(Ordering::Relaxed) {
                    thread::sleep(PAUSE);
                }
            }
        });
        begun.recv().expect("lines");
        here.output("tc filter del dev veth0 ingress");
        let detached = std::panic::catch_unwind(|| {
            wait_until("the end of the program at the other side", || {
                here.output("tc filter show dev veth0 egress").is_empty()
            });
        });
        is_over.store(true, Ordering::Relaxed);
        let ended = capture.end();
        detached.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(
            ended.stderr.contains("\ncapture: capture was detached from ingress of veth0 "),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.status.code(), Some(1));
    });
}

/// What was `veth0` becomes `veth9`, and another takes its name.
fn rename() {
    for words in [
        "link set veth0 down",
        "link set veth0 name veth9",
        "link add veth0 type veth peer name other",
        "link set veth9 up",
    ] {
        let done = std::process::Command::new("ip").args(words.split(' ')).status();
        assert!(done.expect("it starts").success(), "{words}");
    }
}

/// As `interfaces` has it for TCX and XDP.
#[test]
#[ignore = "needs root"]
fn clsact_filters_are_attached_to_the_interface_that_was_found() {
    let (here, _there) = Namespace::pair();
    let (_object, _attached) = others::attach_own(&here, "veth0", Mechanism::Clsact, rename);
    let qdiscs =
        ["veth0", "veth9"].map(|name| here.output(&format!("tc qdisc show dev {name}")).contains("clsact"));
    assert_eq!(qdiscs, [false, true]);
    assert!(here.output("tc filter show dev veth9 egress").contains("tc_egress"));
}

#[test]
#[ignore = "needs root"]
fn a_filter_that_has_taken_the_place_of_ours_stays() {
    let (here, _there) = Namespace::pair();
    let (_object, attached) = others::attach_own(&here, "veth0", Mechanism::Clsact, || ());
    here.output("tc filter del dev veth0 egress prio 1");
    others::add_filter(&here, "veth0", "egress prio 1 handle 1", "successor", Treatment::Next);
    here.run(move || drop(attached));
    assert!(
        here.output("tc filter show dev veth0 egress").contains("pref 1 bpf chain 0 handle 0x1 successor")
    );
    assert_eq!(here.output("tc filter show dev veth0 ingress"), "");
}

#[test]
#[ignore = "needs root"]
fn native_xdp_on_veth_turns_off_its_peers_segmentation_offload() {
    let (here, there) = Namespace::pair();
    let offload = || there.run(|| others::segmentation_offload("veth1"));
    assert!(offload());
    for hook in ["tc", "xdp-generic"] {
        let capture = Tracer::capture(&here, &format!("-i veth0 --hook {hook}"));
        assert!(offload(), "{hook}");
        assert_eq!(said(&capture.interrupt()), [""; 0]);
    }
    for hook in ["xdp", "xdp-native"] {
        let capture = Tracer::capture(&here, &format!("-i veth0 --hook {hook}"));
        assert!(!offload(), "{hook}");
        let note = "capture: note: native XDP on veth0 turns off the segmentation offload of its peer, which then sends \
                    smaller packets, as long as capture runs; `--hook xdp-generic` and `--hook tc` do not";
        assert_eq!(said(&capture.interrupt()), [note]);
        wait_until("the offload", offload);
    }
}

/// Programs at tc come after XDP, and have the last word on what is captured there.
#[test]
#[ignore = "needs root"]
fn programs_at_tc_come_after_xdp() {
    let (here, _there) = Namespace::pair();
    let link = others::attach(&here, "veth0", Place::TcxIngress, Order::Last, "after_xdp", Treatment::Drop);
    let ended = Tracer::capture(&here, "-i veth0 --hook xdp-generic").interrupt();
    let expected = format!(
        "capture: note: after capture on veth0 ingress: program after_xdp (id {}): what it drops, redirects or rewrites \
         is printed as it came in",
        id("after_xdp")
    );
    assert_eq!(said(&ended), [expected]);
    drop(link);
}

/// The slots of the driver and of the stack exclude each other.
#[test]
#[ignore = "needs root"]
fn an_xdp_slot_that_is_taken_in_another_mode() {
    for (place, mode, hook) in
        [(Place::XdpNative, "native", "xdp-generic"), (Place::XdpGeneric, "generic", "xdp-native")]
    {
        let (here, _there) = Namespace::pair();
        let name = format!("in_{mode}");
        let link = others::attach(&here, "veth0", place, Order::Last, &name, Treatment::Next);
        let ended = Tracer::capture_failing(&here, &format!("-i veth0 --hook {hook}"));
        let expected = format!(
            "capture: cannot attach XDP to veth0: program {name} (id {}, {mode}) is attached there; detach it, or use \
             `--hook tc`, which shares the interface with any number of programs\n",
            id(&name)
        );
        assert_eq!((ended.stderr, ended.status.code()), (expected, Some(1)));
        drop(link);
    }
}
