//! The expressions of daily work: capture and tcpdump select the same packets on the same interface.

use std::{path::Path, thread};

use nix::{
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    sys::signal::Signal,
    unistd::Pid,
};
use test_support::packets::{
    ip::{Addresses, Ipv4},
    link::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ethernet},
    tcp::{ACK, FIN, PSH, RST, SYN, SegmentFields, option},
};

use crate::{
    namespace::Namespace,
    process::{Ended, Tracer, wait_until},
    traffic::{Sender, Tun},
};

/// The port of the first and the last packet on each way, which no expression names.
const MARKER_PORT: u16 = 9;
const UDP: u8 = 17;
const ICMP: u8 = 1;

fn expressions() -> Vec<String> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../capture-filter/tests/acceptance.txt");
    let list = std::fs::read_to_string(list).expect("the list");
    list.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn segment(number: usize, source: u16, destination: u16) -> SegmentFields {
    let (flags, payload) = match number % 9 {
        0 | 8 => (SYN, Vec::new()),
        1 => (SYN | ACK, Vec::new()),
        2 => (ACK, Vec::new()),
        3 => (PSH | ACK, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        4 => (FIN | ACK, Vec::new()),
        5 => (RST, Vec::new()),
        6 => (ACK, vec![b'x'; 600]),
        _ => (PSH | ACK, vec![b'y'; 1200]),
    };
    SegmentFields {
        source,
        destination,
        // By it a line belongs to a packet.
        sequence: 1000 * (number as u32 + 1),
        flags,
        window: 512,
        // Wrong, so that no one answers.
        checksum: Some(0),
        options: if number.is_multiple_of(2) { option(2, &1460_u16.to_be_bytes()) } else { Vec::new() },
        payload,
        ..SegmentFields::default()
    }
}

/// IP packets that the expressions select and do not select, and some that are not TCP.
fn packets() -> Vec<Vec<u8>> {
    let ends = [
        ("10.0.0.1", "10.0.0.2"),
        ("10.0.0.2", "10.0.0.1"),
        ("10.0.0.2", "198.51.100.1"),
        ("192.168.1.5", "10.0.0.9"),
        ("172.16.3.4", "172.32.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::2"),
        ("2001:db9::1", "fd00::1"),
        ("::1", "::1"),
    ];
    let ports =
        [(1024, 80), (80, 1024), (40000, 443), (22, 40000), (40000, 22), (40001, 8050), (8080, 40001)];
    let address = |text: &str| text.parse().expect("an address");
    let mut packets = Vec::new();
    for (source, destination) in ends {
        let addresses = Addresses::between(address(source), address(destination));
        for (from, to) in ports {
            let segment = segment(packets.len(), from, to);
            let (Addresses::V4(source, destination), true) = (addresses, packets.len() % 5 == 4) else {
                packets.push(segment.packet(&addresses));
                continue;
            };
            let ip = Ipv4 { options: vec![7, 4, 4, 0], ..Ipv4::default() };
            packets.push(ip.encode(source, destination, &segment.encode(&addresses)));
        }
    }
    let (here, there) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let bytes = segment(packets.len(), 1024, 80).encode(&Addresses::V4(here, there));
    for (protocol, fragment) in [(UDP, 0), (ICMP, 0), (6, 0x2000), (6, 0x0003)] {
        let ip = Ipv4 { protocol, fragment, ..Ipv4::default() };
        packets.push(ip.encode(here, there, &bytes));
    }
    packets
}

fn marker() -> Vec<u8> {
    segment(0, 1, MARKER_PORT).packet(&Addresses::V4([10, 0, 0, 1], [10, 0, 0, 2]))
}

/// In Ethernet, between stations that do not exist.
fn frame(number: usize, tags: &[(u16, u16)], packet: &[u8]) -> Vec<u8> {
    let source = [2, 0, 0, 0, 0, if number.is_multiple_of(3) { 1 } else { 7 }];
    let ethertype = if packet[0] >> 4 == 6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    [ethernet([2, 0, 0, 0, 0, 9], source, tags, ethertype), packet.to_vec()].concat()
}

fn untagged() -> Vec<Vec<u8>> {
    packets().iter().enumerate().map(|(number, packet)| frame(number, &[], packet)).collect()
}

/// Each packet with no tag and with tags.
fn frames() -> Vec<Vec<u8>> {
    let tags: [&[(u16, u16)]; 6] = [
        &[(0x8100, 100)],
        &[(0x8100, 200)],
        &[(0x88a8, 0x6064)],
        &[(0x8100, 100), (0x8100, 200)],
        &[(0x9100, 100)],
        &[(0x88a8, 200), (0x8100, 100)],
    ];
    let tagged = packets();
    let tagged = tagged.iter().enumerate().map(|(number, packet)| {
        // The number of tags does not follow the port.
        frame(number, tags[(number + number / 7) % tags.len()], packet)
    });
    let arp = [ethernet([0xff; 6], [2, 0, 0, 0, 0, 1], &[], 0x0806), vec![0; 46]].concat();
    untagged().into_iter().chain(tagged).chain([arp]).collect()
}

/// Sends frames out of an interface, between markers.
fn send(namespace: &Namespace, interface: &'static str, frames: &[Vec<u8>]) {
    let sender = Sender::new(namespace, interface, &[]);
    between_markers(&frame(0, &[], &marker()), frames, |frame| sender.send_also(frame));
}

/// Markers in front of frames. libpcap runs the filter itself on the packets that came before it was set, and on the next
/// one, and knows neither the direction nor the interface there.
const MARKERS_IN_FRONT: usize = 8;
/// Markers in front of frames and after them.
const MARKERS: usize = MARKERS_IN_FRONT + 1;

fn between_markers(marker: &Vec<u8>, frames: &[Vec<u8>], send: impl Fn(&[u8])) {
    for frame in [marker; MARKERS_IN_FRONT].into_iter().chain(frames).chain([marker]) {
        send(frame);
    }
}

/// Keeps this thread and what it sends on one CPU: what comes in is then looked at in the order in which it is sent.
fn on_one_cpu(job: impl FnOnce()) {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).expect("CPUs");
    let mut one = CpuSet::new();
    one.set(sched_getcpu().expect("a CPU")).expect("its number");
    sched_setaffinity(this, &one).expect("it is one of them");
    job();
    sched_setaffinity(this, &before).expect("they were ours");
}

/// Starts a program with an expression.
fn tracer(namespace: &Namespace, program: &str, flags: &str, expression: &str) -> Tracer {
    Tracer::program(namespace, program, &format!("-n -t -S -e -l {flags} {expression}"))
}

fn capture(namespace: &Namespace, flags: &str, expression: &str) -> Tracer {
    tracer(namespace, env!("CARGO_BIN_EXE_capture"), &format!("-B 1024 {flags}"), expression)
}

/// tcpdump, with a snapshot length of which its buffer takes many, and which does not print at its end what is left in its buffer: so it selects the markers, too. They stand first,
/// because what follows `vlan` is shifted.
fn tcpdump(namespace: &Namespace, flags: &str, expression: &str) -> Tracer {
    let expression = format!("tcp port {MARKER_PORT} or ( {expression} )");
    tracer(namespace, "tcpdump", &format!("-B 4096 -s 256 --immediate-mode {flags}"), &expression)
}

/// Waits until it listens, or has ended; whether it listens.
fn listens(tracer: &Tracer) -> bool {
    wait_until("a greeting or an end", || tracer.stderr().contains("listening on") || tracer.has_ended());
    tracer.stderr().contains("listening on")
}

fn markers(tracer: &Tracer) -> usize {
    tracer.stdout().lines().filter(|line| is_marker(line)).count()
}

fn is_marker(line: &str) -> bool {
    line.contains(".1 > 10.0.0.2.9: Flags [S], seq 1000")
}

/// The lines of TCP packets but the markers, sorted: which of two directions is printed first is left to chance.
fn selected(stdout: &str) -> Vec<&str> {
    let of_tcp = |line: &&str| line.contains(": Flags [") && !is_marker(line);
    let mut lines: Vec<_> = stdout.lines().filter(of_tcp).map(without_data).collect();
    lines.sort_unstable();
    lines
}

/// A line without what tcpdump says of the data of some ports, which follows their length.
fn without_data(line: &str) -> &str {
    const LENGTH: &str = ", length ";
    let digits = line.rfind(LENGTH).map_or(line.len(), |length| length + LENGTH.len());
    let (before, after) = line.split_at(digits);
    let count = after.bytes().take_while(u8::is_ascii_digit).count();
    &line[..before.len() + count]
}

/// Ends all at once.
fn interrupt(tracers: Vec<Tracer>) -> Vec<Ended> {
    for tracer in tracers.iter().filter(|tracer| !tracer.has_ended()) {
        tracer.signal(Signal::SIGINT);
    }
    tracers.into_iter().map(Tracer::end).collect()
}

fn assert_equal(place: &str, expression: &str, capture: &Ended, tcpdump: &Ended) {
    let (ours, theirs) = (selected(&capture.stdout), selected(&tcpdump.stdout));
    let only = |these: &[&str], those: &[&str]| -> Vec<String> {
        let mut rest = those.to_vec();
        let mut others = Vec::new();
        for line in these {
            match rest.iter().position(|other| other == line) {
                Some(index) => drop(rest.swap_remove(index)),
                None => others.push((*line).to_owned()),
            }
        }
        others
    };
    let (more, fewer) = (only(&ours, &theirs), only(&theirs, &ours));
    assert!(ours == theirs, "{place}: {expression}: capture alone {more:#?}, tcpdump alone {fewer:#?}");
    assert_eq!(tcpdump.count("dropped by kernel"), 0, "the oracle lost packets");
    assert_eq!(capture.count("dropped by kernel"), 0, "{}", capture.stderr);
    assert_eq!(capture.count("captured"), capture.count("received by filter"));
}

/// Runs all expressions at once and compares the lines of what is sent, `sent` times, between markers. Returns the
/// expressions that capture refuses, and those that select nothing.
fn compare(
    place: &str,
    namespace: &Namespace,
    interface: &str,
    sent: usize,
    traffic: impl FnOnce(),
) -> [Vec<String>; 2] {
    compare_these(expressions(), place, namespace, interface, sent, traffic)
}

fn compare_these(
    expressions: Vec<String>,
    place: &str,
    namespace: &Namespace,
    interface: &str,
    sent: usize,
    traffic: impl FnOnce(),
) -> [Vec<String>; 2] {
    let flags = format!("-i {interface}");
    let tcpdumps: Vec<_> =
        expressions.iter().map(|expression| tcpdump(namespace, &flags, expression)).collect();
    // The first one is the last in the chain of programs. When it has seen a packet, all have.
    assert_eq!(expressions[0], "tcp");
    let mut captures = vec![capture(namespace, &flags, &expressions[0])];
    assert!(listens(&captures[0]), "{}", captures[0].stderr());
    captures.extend(expressions.iter().skip(1).map(|expression| capture(namespace, &flags, expression)));
    let listening: Vec<_> =
        captures.iter().zip(&tcpdumps).map(|pair| [listens(pair.0), listens(pair.1)]).collect();
    on_one_cpu(traffic);
    let all_seen = |tracer: &Tracer| wait_until("the markers", || markers(tracer) == MARKERS * sent);
    all_seen(&captures[0]);
    for (tcpdump, _) in tcpdumps.iter().zip(&listening).filter(|(_, listening)| listening[1]) {
        all_seen(tcpdump);
    }
    let (captures, tcpdumps) = (interrupt(captures), interrupt(tcpdumps));
    let mut unusual = [Vec::new(), Vec::new()];
    for (index, expression) in expressions.into_iter().enumerate() {
        let (capture, tcpdump) = (&captures[index], &tcpdumps[index]);
        let [ours, theirs] = listening[index];
        // What selects nothing is refused by capture alone.
        let is_alike = ours == theirs || theirs && selected(&tcpdump.stdout).is_empty();
        assert!(is_alike, "{place}: {expression}: {}{}", capture.stderr, tcpdump.stderr);
        if !ours {
            unusual[0].push(expression);
            continue;
        }
        assert_equal(place, &expression, capture, tcpdump);
        if selected(&capture.stdout).is_empty() {
            unusual[1].push(expression);
        }
    }
    unusual
}

const NONE: [&str; 0] = [];

/// At a port of a bridge: what the other port hands on has its tag outside of the bytes, as has what comes in.
#[test]
#[ignore = "needs root"]
fn on_veth_both_ways_tagged_and_untagged() {
    let (bridge, [first, second]) = Namespace::bridge();
    let [refused, nothing] = compare("veth", &bridge, "port2", 3, || {
        send(&first, "veth0", &frames());
        send(&second, "veth0", &frames());
        // With the tags in the bytes.
        send(&bridge, "port2", &frames());
    });
    assert_eq!(refused, NONE);
    assert_eq!(nothing, NONE);
}

/// There is one direction.
#[test]
#[ignore = "needs root"]
fn on_loopback_tagged_and_untagged() {
    let namespace = Namespace::new();
    let [refused, nothing] = compare("lo", &namespace, "lo", 1, || send(&namespace, "lo", &frames()));
    assert_eq!(refused, ["outbound and tcp port 80"]);
    assert_eq!(nothing, NONE);
}

/// There is no link header.
#[test]
#[ignore = "needs root"]
fn on_a_tun_device_both_ways() {
    let namespace = Namespace::new();
    let tun = Tun::new(&namespace);
    let [refused, nothing] = compare("tun", &namespace, "tun0", 2, || {
        let outgoing = Sender::new(&namespace, "tun0", &[]);
        between_markers(&marker(), &packets(), |packet| tun.send(packet));
        between_markers(&marker(), &packets(), |packet| outgoing.send_also(packet));
    });
    assert_eq!(refused, ["ether src 02:00:00:00:00:01 and tcp", "vlan 100 and tcp port 80"]);
    assert_eq!(nothing, NONE);
}

/// What only an interface has: a netmask, a number, and two directions.
#[test]
#[ignore = "needs root"]
fn with_what_an_interface_knows() {
    let (here, there) = Namespace::pair();
    let index = there.run(|| if_nametoindex("veth1").expect("the interface exists"));
    let expressions = [
        "tcp".to_owned(),
        "ip broadcast".to_owned(),
        "not ip broadcast".to_owned(),
        "ip multicast".to_owned(),
        "ether broadcast or ether multicast".to_owned(),
        format!("ifindex {index}"),
        format!("ifindex {}", index + 1),
        "inbound and ip broadcast".to_owned(),
        "not outbound".to_owned(),
    ];
    let ends =
        [[10, 0, 0, 255], [10, 0, 0, 254], [10, 0, 1, 255], [10, 255, 255, 255], [255; 4], [224, 0, 0, 1]];
    let mut frames = Vec::new();
    for (number, to) in ends.into_iter().enumerate() {
        let packet = segment(number, 1024, 80).packet(&Addresses::V4([10, 0, 0, 1], to));
        for destination in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0, 9]] {
            let header = ethernet(destination, [2, 0, 0, 0, 0, 1], &[], ETHERTYPE_IPV4);
            frames.push([header, packet.clone()].concat());
        }
    }
    let [refused, nothing] = compare_these(expressions.to_vec(), "veth", &there, "veth1", 2, || {
        send(&here, "veth0", &frames);
        send(&there, "veth1", &frames);
    });
    assert_eq!(refused, NONE);
    assert_eq!(nothing, [format!("ifindex {}", index + 1)]);
}

/// What comes in. capture refuses `outbound`, which selects nothing there.
fn compare_at_xdp(hook: &'static str) {
    // An interface has one program at XDP: captures follow one another, and the packets are sent again for each.
    let one_after_another = move |expressions: &[String]| {
        let (here, there) = Namespace::pair();
        let frames = frames();
        let start = |expression: &String| tcpdump(&there, "-i veth1 -Q in", expression);
        let tcpdumps: Vec<_> = expressions.iter().map(start).collect();
        assert!(tcpdumps.iter().all(listens));
        on_one_cpu(|| send(&here, "veth0", &frames));
        for tcpdump in &tcpdumps {
            wait_until("the markers", || markers(tcpdump) == MARKERS);
        }
        let mut refused = Vec::new();
        for (expression, tcpdump) in expressions.iter().zip(&interrupt(tcpdumps)) {
            let capture = capture(&there, &format!("-i veth1 --hook {hook}"), expression);
            let lines = selected(&tcpdump.stdout).len();
            if !listens(&capture) {
                assert_eq!(lines, 0, "{}", capture.stderr());
                refused.push(expression.clone());
                continue;
            }
            on_one_cpu(|| send(&here, "veth0", &frames));
            assert!(lines > 0, "{expression}");
            wait_until("as many lines", || selected(&capture.stdout()).len() >= lines);
            assert_equal(hook, expression, &interrupt(vec![capture])[0], tcpdump);
        }
        refused
    };
    let expressions = expressions();
    let refused: Vec<_> = thread::scope(|scope| {
        let parts = expressions.chunks(5).map(|part| scope.spawn(move || one_after_another(part)));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(|part| part.join().expect("equal lines")).collect()
    });
    assert_eq!(refused, ["outbound and tcp port 80"]);
}

#[test]
#[ignore = "needs root"]
fn at_native_xdp_tagged_and_untagged() {
    compare_at_xdp("xdp-native");
}

#[test]
#[ignore = "needs root"]
fn at_generic_xdp_tagged_and_untagged() {
    compare_at_xdp("xdp-generic");
}
