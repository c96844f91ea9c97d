//! Every print mode, live: what is captured is enough for it, and the lines are tcpdump's.

use std::net::{IpAddr, UdpSocket};

use crate::{
    namespace::Namespace,
    oracle::{Point, by_direction, side_by_side},
    process::{Ended, NEVER, Tracer, wait_until},
    traffic::{self, Tun},
};

/// Flags that need more than headers, and combinations of flags.
const MODES: [&str; 19] = [
    "-t -v",
    "-t -vv",
    "-t -vvv -e",
    "-t -v -K -S",
    "-t -v -q",
    "-t -x",
    "-t -xx",
    "-t -X -e",
    "-t -XX -v",
    "-t -A",
    "-t -AA -#",
    "-t -v -s 60",
    "-t -s 40",
    "-t -x -s 100",
    "-t -q -e -#",
    "-t -s 0",
    "-t -qq",
    "-t -K",
    "-t -vvv",
];

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const LOOPBACK6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

/// The packets of each direction, to the server and from it, each with all its lines.
fn directions(ended: &Ended) -> [Vec<String>; 2] {
    // From the second line on, they begin with blanks or a tab.
    let joined = ended.stdout.replace("\n    ", " ").replace("\n\t", " ");
    let (to, from) = joined.lines().map(str::to_owned).partition(|line| line.contains(".8888: "));
    [to, from]
}

#[test]
#[ignore = "needs root"]
fn every_print_mode_on_loopback() {
    let modes = MODES.map(|flags| (LOOPBACK, flags));
    let modes6 = ["-t -v", "-t -e", "-t -X", "-t -vv -e -XX -S"].map(|flags| (LOOPBACK6, flags));
    for (address, flags) in modes.into_iter().chain(modes6) {
        let namespace = Namespace::new();
        let printed = side_by_side(
            &[Point::whole(&namespace, "lo", flags)],
            || {
                traffic::nc_session(&namespace, &namespace, address);
                traffic::reset(&namespace, &namespace, address);
            },
            || traffic::marker(&namespace, address, address),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.stdout, tcpdump.stdout, "{address} {flags}");
        // It is there at both of its passages.
        assert_eq!(2 * capture.count("received by filter"), tcpdump.count("received by filter"));
    }
}

#[test]
#[ignore = "needs root"]
fn whole_packets_on_a_veth_pair() {
    for flags in ["-t -v", "-t -X", "-t -vv -e -xx"] {
        for (from, to) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let (here, there) = Namespace::pair();
            let [from, to] = [from, to].map(|address| address.parse().expect("an address"));
            let printed = side_by_side(
                &[Point::whole(&here, "veth0", flags), Point::whole(&there, "veth1", flags)],
                || traffic::nc_session(&there, &here, to),
                || traffic::marker(&here, from, to),
            );
            for (capture, tcpdump) in &printed {
                assert_eq!(directions(capture), directions(tcpdump), "{flags}");
            }
        }
    }
}

#[test]
#[ignore = "needs root"]
fn whole_packets_at_xdp() {
    for flags in ["-t -v", "-t -X"] {
        let namespace = Namespace::new();
        let mut point = Point::whole(&namespace, "lo", flags);
        point.capture.push_str(" --hook xdp-generic");
        let printed = side_by_side(
            &[point],
            || traffic::nc_session(&namespace, &namespace, LOOPBACK),
            || traffic::marker(&namespace, LOOPBACK, LOOPBACK),
        );
        assert_eq!(printed[0].0.stdout, printed[0].1.stdout, "{flags}");

        let (here, there) = Namespace::pair();
        let [from, to] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().expect("an address"));
        let mut point = Point::whole(&there, "veth1", flags);
        point.capture.push_str(" --hook xdp-native");
        point.tcpdump = point.tcpdump.replace("-t", "-t -Q in");
        let printed = side_by_side(
            &[point],
            || traffic::nc_session(&there, &here, to),
            || traffic::marker_in(&here, from, to),
        );
        assert_eq!(printed[0].0.stdout, printed[0].1.stdout, "{flags}");
    }
}

/// The kernel's helper for XDP reads no more than 65,535 bytes at once.
#[test]
#[ignore = "needs root"]
fn frames_above_64_kib_at_xdp() {
    let namespace = Namespace::new();
    let mut point = Point::whole(&namespace, "lo", "-t -e -x");
    point.capture.push_str(" --hook xdp-generic");
    let printed = side_by_side(
        &[point],
        || {
            for length in [65_000, 65_520, 65_521, 65_522, 65_535] {
                traffic::raw_frame(&namespace, "lo", &traffic::long_frame(length));
            }
        },
        || traffic::marker(&namespace, LOOPBACK, LOOPBACK),
    );
    let (capture, tcpdump) = &printed[0];
    assert!(capture.stdout.contains(", length 65549: "));
    assert_eq!(capture.stdout, tcpdump.stdout);
}

/// `-c` counts packets, not lines.
#[test]
#[ignore = "needs root"]
fn so_many_packets_of_several_lines() {
    let namespace = Namespace::new();
    let capture = Tracer::capture(&namespace, "-t -n -i lo --port 8888 -v -X -c 3");
    let tcpdump = Tracer::tcpdump(&namespace, "-t -n -i lo -v -X -c 3 tcp port 8888");
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    let (capture, tcpdump) = (capture.end(), tcpdump.end());
    assert_eq!(capture.stdout, tcpdump.stdout);
    assert_eq!(capture.stdout.lines().filter(|line| line.starts_with("IP ")).count(), 3);
}

/// Until its buffer has come round once, libpcap filters packets again, in what is captured of them. In immediate mode
/// it does not.
#[test]
#[ignore = "needs root"]
fn snapshots_too_short_for_the_ports() {
    let arguments =
        |length: u32, count: u32, filter: &str| format!("-t -n -i lo -x -s {length} -c {count} {filter}");
    let namespace = Namespace::new();
    for length in [10, 20, 34, 36, 37] {
        let capture = Tracer::capture(&namespace, &arguments(length, 2, "--port 8888"));
        let filter = "--immediate-mode tcp port 8888";
        let tcpdump = Tracer::tcpdump(&namespace, &arguments(length, 2, filter));
        traffic::marker(&namespace, LOOPBACK, LOOPBACK);
        assert_eq!(capture.end().stdout, tcpdump.end().stdout, "{length}");
    }
    // The source port is there, the destination port is not.
    let capture = Tracer::capture(&namespace, &arguments(36, 4, "--port 8888"));
    let tcpdump = Tracer::tcpdump(&namespace, &arguments(36, 2, "tcp port 8888"));
    traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    let source_ports = |ended: &Ended| -> Vec<String> {
        let last = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
        ended.stdout.lines().filter(|line| line.contains("0x0010")).map(last).collect()
    };
    let (capture, tcpdump) = (capture.end(), tcpdump.end());
    assert_eq!(source_ports(&capture), ["0007", "22b8", "0007", "22b8"]);
    assert_eq!(source_ports(&tcpdump), ["22b8", "22b8"]);
}

#[test]
#[ignore = "needs root"]
fn snapshots_of_tagged_packets() {
    for flags in ["-t -e -s 60", "-t -e -x -s 50", "-t -X -s 59"] {
        let (here, there) = Namespace::pair();
        let [from, to] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().expect("an address"));
        let printed = side_by_side(
            &[Point::whole(&there, "veth1", flags)],
            || {
                for tag in [0x8100, 0x88a8] {
                    traffic::raw_frame(&here, "veth0", &traffic::tagged(&[tag]));
                }
            },
            || traffic::marker(&here, from, to),
        );
        assert_eq!(printed[0].0.stdout, printed[0].1.stdout, "{flags}");
    }
}

/// What is said when a capture begins.
#[test]
#[ignore = "needs root"]
fn what_is_captured_is_said() {
    let namespace = Namespace::new();
    for (flags, hook, length) in [
        ("", "tc ingress (tcx)", "headers only"),
        ("-v", "tc ingress (tcx)", "snapshot length 262144 bytes"),
        ("--hook xdp", "xdp (generic, ingress only, before GRO)", "headers only"),
        ("-s 96 --hook xdp-generic", "xdp-generic (ingress only, before GRO)", "snapshot length 96 bytes"),
    ] {
        let capture = Tracer::capture(&namespace, &format!("-i lo {flags}"));
        capture.wait_for_stderr(" KiB\n");
        // Below Linux 6.6 it is another one of the two ways to attach.
        let said = capture.stderr().replace("(clsact)", "(tcx)");
        let begin =
            format!("capture: listening on lo, link-type EN10MB (Ethernet), {hook}, {length}, buffer ");
        let buffer = said.strip_prefix(&begin).and_then(|rest| rest.strip_suffix(" KiB\n"));
        let (rings, size) =
            buffer.and_then(|buffer| buffer.split_once(" x ")).unwrap_or_else(|| panic!("{said}"));
        assert!(rings.parse::<u32>().is_ok() && size.parse::<u32>().is_ok(), "{said}");
    }
}

/// The two programs stamp a packet at different moments: what can be the same is the form, and all that follows.
#[test]
#[ignore = "needs root"]
fn every_style_of_time_stamps() {
    let styles = ["", "-tt", "-ttt", "-tttt", "-ttttt"];
    let precisions = ["", "--micro", "--nano"];
    for style in styles {
        for precision in precisions {
            let flags = format!("{style} {precision}");
            let namespace = Namespace::new();
            let printed = side_by_side(
                &[Point::whole(&namespace, "lo", &flags)],
                || traffic::nc_session(&namespace, &namespace, LOOPBACK),
                || traffic::marker(&namespace, LOOPBACK, LOOPBACK),
            );
            let forms = [&printed[0].0, &printed[0].1].map(|ended| {
                let form = |line: &str| match line.split_once("IP ") {
                    Some((stamp, rest)) => {
                        (stamp.replace(|c: char| c.is_ascii_digit(), "0"), rest.to_owned())
                    }
                    None => (String::new(), line.to_owned()),
                };
                ended.stdout.lines().map(form).collect::<Vec<_>>()
            });
            assert_eq!(forms[0], forms[1], "{flags}");
            let digits = forms[0][0].0.trim_end().rsplit('.').next().map_or(0, str::len);
            assert_eq!(digits, if precision == "--nano" { 9 } else { 6 }, "{flags}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn lists_and_ranges_of_ports() {
    for (ports, filter) in [
        ("--port 80,8888", "tcp port 80 or tcp port 8888"),
        ("--port 8800-8899", "tcp portrange 8800-8899"),
        ("--port 1 --port 2-8,8880-8888", "tcp port 1 or tcp portrange 2-8 or tcp portrange 8880-8888"),
        ("", "tcp"),
        ("tcp port 80 or 8888", "tcp port 80 or 8888"),
    ] {
        let namespace = Namespace::new();
        let mut point = Point::whole(&namespace, "lo", "-t");
        point.capture = point.capture.replace("--port 8888", ports);
        point.tcpdump = point.tcpdump.replace("tcp port 8888", filter);
        let printed = side_by_side(
            &[point],
            || traffic::nc_session(&namespace, &namespace, LOOPBACK),
            || traffic::marker(&namespace, LOOPBACK, LOOPBACK),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.stdout, tcpdump.stdout, "{ports}");
    }
    let namespace = Namespace::new();
    let capture = Tracer::capture(&namespace, "-i lo --port 8887,8889-9000");
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    assert_eq!(capture.interrupt().count("received by filter"), 0);
}

/// One tag the kernel takes out of the frame on its way in, the others stay in its bytes. tcpdump needs `vlan` in
/// its expression. Two at most are skipped, wherever they are: a frame with three gives no line at either end.
#[test]
#[ignore = "needs root"]
fn one_tag_after_the_other() {
    const TAGS: [&[u16]; 7] = [
        &[0x8100],
        &[0x88a8],
        &[0x88a8, 0x8100],
        &[0x8100, 0x8100],
        &[0x8100, 0x8100, 0x8100],
        &[0x88a8, 0x8100, 0x8100],
        &[0x8100; 4],
    ];
    for flags in ["-t", "-t -e", "-t -e -v", "-t -xx", "-t -e -XX -vv"] {
        let (here, there) = Namespace::pair();
        let points = [(&here, "veth0"), (&there, "veth1")].map(|(namespace, device)| {
            let mut point = Point::whole(namespace, device, flags);
            point.tcpdump = point.tcpdump.replace(
                "tcp port 8888",
                "tcp port 8888 or (vlan and (tcp port 8888 or (vlan and tcp port 8888)))",
            );
            point
        });
        let [from, to] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().expect("an address"));
        let printed = side_by_side(
            &points,
            || TAGS.into_iter().for_each(|tags| traffic::raw_frame(&here, "veth0", &traffic::tagged(tags))),
            || traffic::marker(&here, from, to),
        );
        for (capture, tcpdump) in &printed {
            assert_eq!(capture.stdout, tcpdump.stdout, "{flags}");
            assert_eq!(capture.count("captured"), 6, "{}", capture.stdout);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn comments_leave_the_lines_as_they_are() {
    let namespace = Namespace::new();
    let mut point = Point::whole(&namespace, "lo", "-t");
    point.capture.push_str(" --explain");
    let printed = side_by_side(
        &[point],
        || traffic::nc_session(&namespace, &namespace, LOOPBACK),
        || traffic::marker(&namespace, LOOPBACK, LOOPBACK),
    );
    let (capture, tcpdump) = &printed[0];
    let (comments, lines): (Vec<_>, Vec<_>) =
        capture.stdout.lines().partition(|line| line.starts_with("// "));
    assert_eq!(lines, tcpdump.stdout.lines().collect::<Vec<_>>());
    let told: Vec<&str> =
        comments.iter().filter_map(|comment| comment.split_once(": ")).map(|(_, t)| t).collect();
    assert_eq!(
        told,
        [
            "the client opens a connection",
            "the connection is established; the client sends a request",
            "the server sends a response",
            "the server actively closes the connection",
            "the client closes its side too",
            // The marker.
            "the client opens a connection",
            "the server refuses the connection (RST)",
        ]
    );
}

#[test]
#[ignore = "needs root"]
fn whole_giants_on_loopback() {
    for (flags, length) in [("-t -v", 2_000_000), ("-t -e -S -v", 2_000_000), ("-t -x", 500_000)] {
        let namespace = Namespace::new();
        let printed = side_by_side(
            &[Point::whole(&namespace, "lo", flags)],
            || traffic::bulk(&namespace, &namespace, LOOPBACK, length),
            || traffic::marker(&namespace, LOOPBACK, LOOPBACK),
        );
        // A sender that moves to another CPU between two packets may be seen to send them in either order.
        let [ours, theirs] = [&printed[0].0, &printed[0].1].map(|ended| {
            let mut packets = directions(ended).concat();
            packets.sort();
            packets
        });
        let giant = |packet: &String| {
            let length = packet.rsplit("length ").next().and_then(|rest| rest.split(' ').next());
            length.is_some_and(|length| length.parse().is_ok_and(|length: u32| length > 30_000))
        };
        assert!(ours.iter().any(giant), "{flags}: no giant");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            // What is printed of a giant in hex is too much to be printed again.
            let start = |packet: &str| packet.chars().take(300).collect::<String>();
            assert!(ours == theirs, "{flags}:\n{}\n{}", start(ours), start(theirs));
        }
        assert_eq!(ours.len(), theirs.len(), "{flags}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_tun_device_without_link_header() {
    // tc egress sees a packet before the kernel fills in the checksum for a device that does not, tcpdump after.
    let shows_checksums = ["-t -v", "-t -xx"];
    for flags in ["-t", "-t -e", "-t -v -K"].into_iter().chain(shows_checksums) {
        let outgoing = !shows_checksums.contains(&flags);
        let namespace = Namespace::new();
        let tun = Tun::new(&namespace);
        let printed = side_by_side(
            &[Point::whole(&namespace, "tun0", flags)],
            // A SYN goes out, and what is written to the device comes in.
            || {
                if outgoing {
                    traffic::unanswered(&namespace, Tun::PEER.into());
                }
                tun.send(&traffic::long_frame(600)[14..]);
            },
            || {
                tun.send(&traffic::marker_packet());
                format!("{}.7 > {}.8888: ", Tun::PEER, Tun::ADDRESS)
            },
        );
        let (capture, tcpdump) = &printed[0];
        assert!(capture.stderr.contains("link-type RAW (Raw IP)"), "{}", capture.stderr);
        assert_eq!(by_direction(&capture.lines()), by_direction(&tcpdump.lines()), "{flags}");
        assert!(capture.lines().len() >= 2 + usize::from(outgoing), "{}", capture.stdout);
    }
}

/// Which tcpdump captures "cooked".
#[test]
#[ignore = "needs root"]
fn devices_of_other_types_that_carry_ip() {
    const ARPHRD_RAWIP: u16 = 519;
    for hardware_type in [libc::ARPHRD_PPP, ARPHRD_RAWIP, libc::ARPHRD_TUNNEL6, libc::ARPHRD_IPGRE] {
        for flags in ["-t", "-t -v -X", "-t -e"] {
            let namespace = Namespace::new();
            let tun = Tun::of_type(&namespace, hardware_type);
            let printed = side_by_side(
                &[Point::whole(&namespace, "tun0", flags)],
                || tun.send(&traffic::long_frame(600)[14..]),
                || {
                    tun.send(&traffic::marker_packet());
                    format!("{}.7 > {}.8888: ", Tun::PEER, Tun::ADDRESS)
                },
            );
            let (capture, tcpdump) = &printed[0];
            assert!(capture.stderr.contains("link-type RAW (Raw IP)"), "{}", capture.stderr);
            assert!(tcpdump.stderr.contains("link-type LINUX_SLL (Linux cooked v1)"), "{}", tcpdump.stderr);
            if flags == "-t -e" {
                assert!(capture.stdout.starts_with("ip: 10.0.0.1"), "{}", capture.stdout);
                let cooked = tcpdump.stdout.starts_with(" In ethertype IPv4 (0x0800), length ");
                assert!(cooked, "{}", tcpdump.stdout);
            } else {
                assert_eq!(capture.lines(), tcpdump.lines(), "{hardware_type} {flags}");
                assert!(capture.lines().len() >= 2, "{}", capture.stdout);
            }
        }
    }
}

/// Whose checksum is not filled in where capture sees it.
#[test]
#[ignore = "needs root"]
fn a_checksum_that_a_tun_device_leaves_to_the_kernel() {
    let namespace = Namespace::new();
    let tun = Tun::new(&namespace);
    let printed = side_by_side(
        &[Point::whole(&namespace, "tun0", "-t -v")],
        || traffic::unanswered(&namespace, Tun::PEER.into()),
        || {
            tun.send(&traffic::marker_packet());
            format!("{}.7 > {}.8888: ", Tun::PEER, Tun::ADDRESS)
        },
    );
    let [ours, theirs] = [&printed[0].0, &printed[0].1].map(|ended| {
        let [to, _] = directions(ended);
        let (before, rest) = to[0].split_once(", cksum 0x").expect("-v");
        let (checksum, after) = rest.split_once("), ").expect("a parenthesis");
        (before.to_owned(), after.to_owned(), checksum.to_owned())
    });
    assert_eq!((ours.0, ours.1), (theirs.0, theirs.1));
    let (filled_in, _) = theirs.2.split_once(" (correct").expect("a checksum that is right");
    assert!(ours.2.ends_with(&format!(" (incorrect -> 0x{filled_in}")), "{}", ours.2);
}

#[test]
#[ignore = "needs root"]
fn names_of_hosts_and_services() {
    let namespace = Namespace::new();
    let mut point = Point::whole(&namespace, "lo", "-t");
    point.capture = point.capture.replace("-n ", "--resolve ");
    point.tcpdump = point.tcpdump.replace("-n ", "");
    // Bare systems have no services(5); then both print the number.
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let echo = if services.contains("7/tcp") { "echo" } else { "7" };
    let printed = side_by_side(
        &[point],
        || traffic::nc_session(&namespace, &namespace, LOOPBACK),
        || {
            traffic::marker(&namespace, LOOPBACK, LOOPBACK);
            format!("localhost.8888 > localhost.{echo}: ")
        },
    );
    let (capture, tcpdump) = &printed[0];
    assert_eq!(capture.stdout, tcpdump.stdout);
}

/// A name server that never answers holds up no line for good, and costs no packet.
#[test]
#[ignore = "needs root"]
fn a_silent_name_server() {
    const PACKETS: usize = 1000;
    let (here, there) = Namespace::pair();
    there.with_files_of_its_own(&[
        ("/etc/resolv.conf", "nameserver 127.0.0.1\n"),
        ("/etc/hosts", ""),
        ("/etc/nsswitch.conf", "hosts: dns\n"),
    ]);
    let server = there.run(|| UdpSocket::bind("127.0.0.1:53").expect("a free port"));
    server.set_read_timeout(Some(NEVER)).expect("a time");
    let capture = Tracer::capture(&there, "--resolve -l -t -i veth1 --port 8888");
    traffic::flood(&here, "veth0", PACKETS);
    let mut question = [0; 512];
    server.recv(&mut question).expect("a question");
    let lines = || capture.stdout().matches("IP 10.0.0.1.1234 > 10.0.0.2.8888: Flags [S]").count();
    wait_until("all lines, with numbers", || lines() == PACKETS);
    let ended = capture.interrupt();
    assert_eq!(ended.count("captured"), PACKETS as u64);
    assert_eq!(ended.count("dropped by kernel"), 0);
}
