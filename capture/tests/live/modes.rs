//! Every print mode, live: what is captured is enough for it, and the lines are tcpdump's.

use std::net::IpAddr;

use crate::{
    namespace::Namespace,
    oracle::{Point, by_direction, side_by_side},
    process::Tracer,
    traffic::{self, Tun},
};

/// Flags that need more than headers, and combinations of flags.
const MODES: [&str; 16] = [
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
];

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[test]
#[ignore = "needs root"]
fn every_print_mode_on_loopback() {
    for flags in MODES {
        let namespace = Namespace::new();
        let printed = side_by_side(
            &[Point::whole(&namespace, "lo", flags)],
            || {
                traffic::nc_session(&namespace, &namespace, LOOPBACK);
                traffic::reset(&namespace, &namespace, LOOPBACK);
            },
            || traffic::marker(&namespace, LOOPBACK, LOOPBACK),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.stdout, tcpdump.stdout, "{flags}");
    }
}

/// The two programs stamp a packet at different moments: what can be the same is the form, and all behind it.
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

/// One tag the kernel takes out of the frame, the other one stays in its bytes. tcpdump has to be told of it.
#[test]
#[ignore = "needs root"]
fn one_tag_behind_the_other() {
    for flags in ["-t", "-t -e", "-t -e -v", "-t -xx", "-t -e -XX -vv"] {
        let (here, there) = Namespace::pair();
        let mut point = Point::whole(&there, "veth1", flags);
        point.tcpdump = point.tcpdump.replace(
            "tcp port 8888",
            "tcp port 8888 or (vlan and (tcp port 8888 or (vlan and tcp port 8888)))",
        );
        let [from, to] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().expect("an address"));
        let printed = side_by_side(
            &[point],
            || {
                for tags in [&[0x8100][..], &[0x88a8], &[0x88a8, 0x8100], &[0x8100, 0x8100]] {
                    traffic::raw_frame(&here, "veth0", &traffic::tagged(tags));
                }
            },
            || traffic::marker(&here, from, to),
        );
        let (capture, tcpdump) = &printed[0];
        assert_eq!(capture.stdout, tcpdump.stdout, "{flags}");
        assert_eq!(capture.count("captured"), 6, "{}", capture.stdout);
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
    for flags in ["-t -v", "-t -e -S -v"] {
        let namespace = Namespace::new();
        let printed = side_by_side(
            &[Point::whole(&namespace, "lo", flags)],
            || traffic::bulk(&namespace, &namespace, LOOPBACK, 2_000_000),
            || traffic::marker(&namespace, LOOPBACK, LOOPBACK),
        );
        let (capture, tcpdump) = &printed[0];
        // A packet has two lines; the second begins with spaces.
        let joined = [capture, tcpdump].map(|ended| ended.stdout.replace("\n    ", " "));
        let [ours, theirs] = joined.each_ref().map(|text| text.lines().collect::<Vec<_>>());
        assert!(ours.iter().any(|line| line.contains("length 65483")), "{flags}: no giant");
        for to_server in [true, false] {
            let direction = |line: &&&str| line.contains(".8888: Flags") == to_server;
            let [ours, theirs] =
                [&ours, &theirs].map(|lines| lines.iter().filter(direction).collect::<Vec<_>>());
            assert_eq!(ours, theirs, "{flags}");
        }
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
