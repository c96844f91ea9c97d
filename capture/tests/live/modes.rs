//! Every print mode, live: what is captured is enough for it, and the lines are tcpdump's.

use std::net::IpAddr;

use crate::{
    namespace::Namespace,
    oracle::{Point, by_direction, side_by_side},
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
