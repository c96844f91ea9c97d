//! The lines are tcpdump's.

use std::net::IpAddr;

use crate::{
    namespace::Namespace,
    oracle::{Point, by_direction, side_by_side, side_by_side_on_all_cpus},
    process::{Ended, Tracer, wait_until},
    traffic,
};

fn loopback(family: &str) -> IpAddr {
    if family == "IPv4" { "127.0.0.1" } else { "::1" }.parse().expect("an address")
}

/// What crosses the veth pair: the addresses of its ends.
fn ends(family: &str) -> (IpAddr, IpAddr) {
    let (here, there) = if family == "IPv4" { ("10.0.0.1", "10.0.0.2") } else { ("fd00::1", "fd00::2") };
    (here.parse().expect("an address"), there.parse().expect("an address"))
}

#[test]
#[ignore = "needs root"]
fn the_walkthroughs_session_on_loopback() {
    for family in ["IPv4", "IPv6"] {
        let namespace = Namespace::new();
        let address = loopback(family);
        let printed = side_by_side(
            &[Point::new(&namespace, "lo", "-t")],
            || traffic::nc_session(&namespace, &namespace, address),
            || traffic::marker(&namespace, address, address),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.lines(), tcpdump.lines());
        assert!(capture.lines().len() >= 10, "{}", capture.stdout);
        // Both end an interrupted capture with an empty line.
        assert_eq!(capture.stdout, tcpdump.stdout);
    }
}

/// An interface that goes down is one that may come up again.
#[test]
#[ignore = "needs root"]
fn a_link_that_goes_down_and_up() {
    for (hook, device) in [("tc", "veth1"), ("tc", "lo"), ("xdp-native", "veth1"), ("xdp-generic", "veth1")] {
        let (here, there) = Namespace::pair();
        let server = ends("IPv4").1;
        let (client_at, from) = if device == "lo" { (&there, server) } else { (&here, ends("IPv4").0) };
        let mut point = Point::new(&there, device, "-t");
        point.capture.push_str(&format!(" --hook {hook}"));
        let printed = side_by_side(
            &[point],
            || {
                traffic::nc_session(&there, client_at, server);
                there.ip(&format!("link set {device} down"));
                there.ip(&format!("link set {device} up"));
                wait_until("a link", || {
                    device == "lo" || there.output(&format!("ip link show {device}")).contains("state UP")
                });
                traffic::nc_session(&there, client_at, server);
            },
            || traffic::marker_in(client_at, from, server),
        );
        let (capture, tcpdump) = &printed[0];
        if hook == "tc" {
            assert_eq!(by_direction(&capture.lines()), by_direction(&tcpdump.lines()), "{device}");
        }
        assert!(capture.lines().len() >= 11, "{hook} on {device}: {}", capture.stdout);
    }
}

/// `-Q`: the program is attached where such packets pass, and nowhere else.
#[test]
#[ignore = "needs root"]
fn one_direction() {
    for (direction, place) in
        [("in", "tc ingress (tcx)"), ("out", "tc egress (tcx)"), ("inout", "tc ingress and")]
    {
        let (here, there) = Namespace::pair();
        let (client, server) = ends("IPv4");
        let printed = side_by_side(
            &[Point::new(&there, "veth1", &format!("-t -Q {direction}"))],
            || traffic::nc_session(&there, &here, server),
            || match direction {
                "in" => traffic::marker_in(&here, client, server),
                _ => traffic::marker(&here, client, server),
            },
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(by_direction(&capture.lines()), by_direction(&tcpdump.lines()), "{direction}");
        assert!(capture.lines().len() >= 5, "{}", capture.stdout);
        assert!(capture.stderr.contains(place), "{}", capture.stderr);
    }
    let namespace = Namespace::new();
    let ended = Tracer::capture_failing(&namespace, "-i lo -Q out");
    assert!(ended.stderr.starts_with("capture: cannot capture outgoing packets on lo: "), "{}", ended.stderr);
    assert_eq!(ended.status.code(), Some(1));
}

/// What a queueing discipline drops has been printed before the queue, and reaches no tap after it.
#[test]
#[ignore = "needs root"]
fn what_a_queue_drops_is_printed() {
    const SENT: usize = 1000;
    let (here, _there) = Namespace::pair();
    // Nothing but the test's packets passes the queue.
    here.run(|| std::fs::write("/proc/sys/net/ipv6/conf/veth0/disable_ipv6", "1")).expect("sysctl");
    here.output("tc qdisc replace dev veth0 root tbf rate 1mbit burst 1600 limit 3000");
    let tcpdump = Tracer::tcpdump(&here, "-n -t --immediate-mode -i veth0 tcp port 8888");
    let capture = Tracer::capture(&here, "-n -t -l -i veth0 --port 8888");
    traffic::flood(&here, "veth0", SENT);
    let queue = here.output("tc -s qdisc show dev veth0");
    let (_, dropped) = queue.split_once("(dropped ").expect("statistics");
    let dropped: usize = dropped.split_once(',').expect("a number").0.parse().expect("a number");
    assert!(dropped > 0, "{queue}");
    let lines = |tracer: &Tracer| tracer.stdout().lines().count();
    wait_until("all packets", || lines(&capture) == SENT);
    wait_until("those that were not dropped", || lines(&tcpdump) == SENT - dropped);
    assert_eq!(capture.interrupt().lines().len(), SENT);
    assert_eq!(tcpdump.interrupt().lines().len(), SENT - dropped);
}

#[test]
#[ignore = "needs root"]
fn every_print_option_that_needs_headers_only() {
    for flags in ["-t -S", "-t -q", "-t -e", "-t -#", "-t -S -e -#"] {
        let namespace = Namespace::new();
        let address = loopback("IPv4");
        let printed = side_by_side(
            &[Point::new(&namespace, "lo", flags)],
            || {
                traffic::nc_session(&namespace, &namespace, address);
                traffic::half_close(&namespace, &namespace, address);
            },
            || traffic::marker(&namespace, address, address),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.stdout, tcpdump.stdout, "{flags}");
    }
}

/// Whether tcpdump could have checked a signature depends on the data, which capture has not captured.
#[test]
#[ignore = "needs root"]
fn the_words_for_a_signature() {
    for flags in ["-t", "-t -e -S"] {
        let (here, there) = Namespace::pair();
        let (from, to) = ends("IPv4");
        let printed = side_by_side(
            &[Point::whole(&there, "veth1", flags)],
            || {
                for missing in [0, 1, 130] {
                    traffic::raw_frame(&here, "veth0", &traffic::signed(missing));
                }
            },
            || traffic::marker(&here, from, to),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.stdout, tcpdump.stdout, "{flags}");
        let count = |words: &str| capture.stdout.matches(words).count();
        assert_eq!(count("md5 shared secret not supplied with -M, can't check - "), 1, "{}", capture.stdout);
        assert_eq!(count("md5 snaplen too short, can't check - "), 2, "{}", capture.stdout);
    }
}

#[test]
#[ignore = "needs root"]
fn every_kind_of_connection_on_loopback() {
    for family in ["IPv4", "IPv6"] {
        let namespace = Namespace::new();
        let address = loopback(family);
        let printed = side_by_side(
            &[Point::new(&namespace, "lo", "-t")],
            || {
                traffic::half_close(&namespace, &namespace, address);
                traffic::reset(&namespace, &namespace, address);
                traffic::bulk(&namespace, &namespace, address, 3_000_000);
                traffic::crowd(&namespace, &namespace, address, 40);
            },
            || traffic::marker(&namespace, address, address),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(by_direction(&capture.lines()), by_direction(&tcpdump.lines()));
    }
}

#[test]
#[ignore = "needs root"]
fn every_kind_of_connection_at_both_ends_of_a_veth_pair() {
    fn sorted(ended: &Ended) -> Vec<&str> {
        let mut lines = ended.lines();
        lines.sort_unstable();
        lines
    }

    for family in ["IPv4", "IPv6"] {
        let (here, there) = Namespace::pair();
        let (from, to) = ends(family);
        let printed = side_by_side_on_all_cpus(
            &[Point::new(&here, "veth0", "-t"), Point::new(&there, "veth1", "-t")],
            || {
                traffic::nc_session(&there, &here, to);
                traffic::half_close(&there, &here, to);
                traffic::reset(&there, &here, to);
                traffic::bulk(&there, &here, to, 3_000_000);
                traffic::crowd(&there, &here, to, 40);
            },
            || traffic::marker(&here, from, to),
        );
        for (capture, tcpdump) in &printed {
            assert_eq!(sorted(capture), sorted(tcpdump));
        }
    }
}

#[test]
#[ignore = "needs root"]
fn retransmissions_on_a_veth_pair() {
    for family in ["IPv4", "IPv6"] {
        let (here, there) = Namespace::pair();
        let (from, to) = ends(family);
        let printed = side_by_side(
            &[Point::new(&here, "veth0", "-t")],
            || traffic::lossy(&there, &here, to),
            || traffic::marker(&here, from, to),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.lines(), tcpdump.lines());
        let lost = capture.lines().iter().filter(|line| line.contains("seq 5:9, ")).count();
        assert!(lost > 1, "nothing was sent again: {}", capture.stdout);
    }
}

#[test]
#[ignore = "needs root"]
fn xdp_prints_what_comes_in() {
    for (hook, family) in
        [("xdp", "IPv4"), ("xdp-native", "IPv4"), ("xdp-generic", "IPv4"), ("xdp-native", "IPv6")]
    {
        let (here, there) = Namespace::pair();
        let (from, to) = ends(family);
        let mut point = Point::new(&there, "veth1", "-t");
        point.capture.push_str(&format!(" --hook {hook}"));
        point.tcpdump = point.tcpdump.replace("-t", "-t -Q in");
        let printed = side_by_side(
            &[point],
            || {
                traffic::nc_session(&there, &here, to);
                traffic::half_close(&there, &here, to);
                traffic::reset(&there, &here, to);
            },
            // The RST goes out; the SYN before it comes in, and is the last that does.
            || traffic::marker_in(&here, from, to),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.lines(), tcpdump.lines(), "{hook}");
    }
}

#[test]
#[ignore = "needs root"]
fn generic_xdp_on_loopback() {
    let namespace = Namespace::new();
    let address = loopback("IPv4");
    let mut point = Point::new(&namespace, "lo", "-t");
    point.capture.push_str(" --hook xdp-generic");
    let printed = side_by_side(
        &[point],
        || traffic::nc_session(&namespace, &namespace, address),
        || traffic::marker(&namespace, address, address),
    );
    let (capture, tcpdump) = &printed[0];
    assert_eq!(capture.lines(), tcpdump.lines());
}

#[test]
#[ignore = "needs root"]
fn stamps_are_tcpdumps_within_a_moment_and_never_run_backwards() {
    const MOMENT: f64 = 0.5;
    let namespace = Namespace::new();
    let address = loopback("IPv4");
    let printed = side_by_side(
        &[Point::new(&namespace, "lo", "-tt")],
        || {
            traffic::nc_session(&namespace, &namespace, address);
            traffic::crowd(&namespace, &namespace, address, 20);
        },
        || traffic::marker(&namespace, address, address),
    );
    let (capture, tcpdump) = &printed[0];
    let stamps = |ended: &Ended| -> Vec<f64> {
        let stamp = |line: &&str| line.split_once(' ').and_then(|(stamp, _)| stamp.parse().ok());
        ended.lines().iter().map(|line| stamp(line).expect("a stamp")).collect()
    };
    let (ours, theirs) = (stamps(capture), stamps(tcpdump));
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.is_sorted(), "stamps run backwards");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() < MOMENT, "{ours} and {theirs}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_tag_that_the_kernel_takes_out_does_not_hide_a_packet() {
    for flags in ["-t", "-t -e"] {
        let (here, there) = Namespace::pair();
        let (from, to) = ends("IPv4");
        let printed = side_by_side(
            &[Point::new(&there, "veth1", flags)],
            || {
                traffic::raw_frame(&here, "veth0", &traffic::tagged(&[0x8100]));
                traffic::raw_frame(&here, "veth0", &traffic::tagged(&[0x88a8]));
            },
            || traffic::marker(&here, from, to),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.stdout, tcpdump.stdout);
        assert!(capture.lines().len() >= 4, "{}", capture.stdout);
    }
}

#[test]
#[ignore = "needs root"]
fn headers_outside_the_linear_part_are_read() {
    for hook in ["tc", "xdp-generic"] {
        let (here, there) = Namespace::pair();
        for (namespace, device) in [(&here, "veth0"), (&there, "veth1")] {
            namespace.ip(&format!("link set {device} mtu 9000"));
        }
        let (from, to) = ends("IPv4");
        let mut point = Point::new(&there, "veth1", "-t");
        point.capture.push_str(&format!(" --hook {hook}"));
        point.tcpdump = point.tcpdump.replace("-t", "-t -Q in");
        if hook == "tc" {
            point.tcpdump = point.tcpdump.replace("-Q in", "");
        }
        let printed = side_by_side(
            &[point],
            // A raw frame longer than a page arrives with nothing but its Ethernet header in the linear part
            // (net/packet/af_packet.c, `packet_alloc_skb`).
            || traffic::raw_frame(&here, "veth0", &traffic::long_frame(6000)),
            || traffic::marker_in(&here, from, to),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(by_direction(&capture.lines()), by_direction(&tcpdump.lines()), "{hook}");
        assert!(capture.stdout.contains("length 5960"), "{hook}: {}", capture.stdout);
    }
}
