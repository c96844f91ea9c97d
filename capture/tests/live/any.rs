//! `-i any`, and several `-i`: the lines are those of `tcpdump -i any`, and the set follows the machine.

use std::{fs, net::IpAddr, process::Command};

use tempfile::TempDir;

use crate::{
    crowds::tcx_links,
    namespace::Namespace,
    oracle::{Point, side_by_side},
    process::{Tracer, wait_until},
    traffic::{self, Tun},
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn station(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn sorted<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

/// A machine with loopback, a bridge, two ports of it, and a tun device; and the stations at the ports.
struct Machine {
    here: Namespace,
    stations: [Namespace; 2],
    tun: Tun,
}

impl Machine {
    fn new() -> Self {
        let (here, stations) = Namespace::bridge();
        let tun = Tun::new(&here);
        // The bridge has the addresses of the stations for itself.
        here.ip("addr flush dev tun0");
        Self { here, stations, tun }
    }

    /// Packets through, to and from each interface, the last of them on loopback.
    fn traffic(&self) {
        let [first, second] = &self.stations;
        traffic::nc_session(second, first, station(2));
        traffic::nc_session(&self.here, first, station(3));
        self.tun.send(&traffic::marker_packet());
        traffic::raw_frame(first, "veth0", &traffic::tagged(&[]));
        traffic::nc_session(&self.here, &self.here, LOOPBACK);
    }

    fn marker(&self) -> String {
        traffic::marker(&self.here, LOOPBACK, LOOPBACK)
    }
}

#[test]
#[ignore = "needs root"]
fn the_lines_are_tcpdumps() {
    let machine = Machine::new();
    for flags in
        ["-t", "-t -e", "-t -q -e", "-t -q", "-t -S -v", "-t -x", "-t -xx", "-t -XX -e", "-t -Q in -e"]
    {
        let point = Point::whole(&machine.here, "any", flags);
        let ended = side_by_side(&[point], || machine.traffic(), || machine.marker());
        let (capture, tcpdump) = &ended[0];
        // Blocks of lines, as a dump follows its line.
        let blocks = |text: &str| {
            let mut blocks: Vec<String> = text.replace("\n\t", "\r\t").lines().map(str::to_owned).collect();
            blocks.sort_unstable();
            blocks
        };
        assert_eq!(blocks(&capture.stdout), blocks(&tcpdump.stdout), "{flags}");
        let [mut names, mut ways] = [Vec::new(), Vec::new()];
        for line in
            capture.stdout.lines().filter(|line| !line.is_empty() && !line.starts_with(char::is_whitespace))
        {
            let mut words = line.split_whitespace();
            names.push(words.next().expect("a name"));
            ways.push(words.next().expect("a direction"));
        }
        for name in ["lo", "br0", "port1", "port2", "tun0"] {
            // What comes in for others at a port is all that `-Q in` sees of it.
            assert!(names.contains(&name), "{flags}: {name}: {}", capture.stdout);
        }
        let expected: &[&str] =
            if flags.contains("-Q in") { &["In", "P", "B"] } else { &["In", "P", "B", "Out"] };
        for way in expected {
            assert!(ways.contains(way), "{flags}: {way}: {}", capture.stdout);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn what_goes_out_alone() {
    let machine = Machine::new();
    let ended = side_by_side(
        &[Point::whole(&machine.here, "any", "-t -Q out")],
        || machine.traffic(),
        || {
            let text = traffic::marker(&machine.stations[0], station(1), station(3));
            format!("port1 Out IP {text}")
        },
    );
    let (capture, tcpdump) = &ended[0];
    assert_eq!(sorted(capture.lines()), sorted(tcpdump.lines()));
    assert!(capture.lines().len() >= 20, "{}", capture.stdout);
}

/// "Cooked" frames have no tags. Of two, tcpdump takes the second one for an IP header (docs/output-format.md).
#[test]
#[ignore = "needs root"]
fn tags() {
    for flags in ["-t", "-t -e", "-t -xx"] {
        let (here, there) = Namespace::pair();
        let mut point = Point::whole(&there, "any", flags);
        // What goes out has its tag in its bytes, and `--port` looks behind it.
        point.tcpdump =
            format!("-n -i any {flags} tcp port 8888 or ether proto 0x8100 or ether proto 0x88a8");
        let ended = side_by_side(
            &[point],
            || {
                for tags in [[0x8100], [0x88a8]] {
                    traffic::raw_frame(&here, "veth0", &traffic::tagged(&tags));
                    traffic::raw_frame(&there, "veth1", &traffic::tagged(&tags));
                }
            },
            || traffic::marker(&here, station(1), station(2)),
        );
        let (capture, tcpdump) = &ended[0];
        assert_eq!(sorted(capture.lines()), sorted(tcpdump.lines()), "{flags}");
        for way in ["veth1 B   ", "veth1 Out "] {
            assert!(capture.stdout.matches(way).count() >= 2, "{}", capture.stdout);
        }
    }
    let (here, there) = Namespace::pair();
    let capture = Tracer::capture(&there, "-t -l -i any --port 8888");
    let twice = traffic::tagged(&[0x88a8, 0x8100]);
    traffic::raw_frame(&here, "veth0", &twice);
    traffic::raw_frame(&there, "veth1", &twice);
    for start in ["veth1 B   IP 10.0.0.1.1234 > ", "veth1 Out IP 10.0.0.1.1234 > "] {
        capture.wait_for_stdout(start);
    }
    assert!(capture.interrupt().status.success());
}

#[test]
#[ignore = "needs root"]
fn files_name_the_interfaces() {
    let folder = TempDir::new().expect("a folder");
    let machine = Machine::new();
    for (name, more, read_by) in [
        ("a.pcap", "", "tcpdump"),
        ("b.pcapng", "-y LINUX_SLL2", "tcpdump"),
        ("c.pcapng", "-y linux_sll2 --headers", env!("CARGO_BIN_EXE_capture")),
    ] {
        let path = folder.path().join(name);
        let path = path.display();
        let arguments = format!("-i any -t -S --print -l --port 8888 -w {path} {more}");
        let capture = Tracer::capture(&machine.here, &arguments);
        machine.traffic();
        capture.wait_for_stdout(&machine.marker());
        let ended = capture.interrupt();
        assert!(ended.status.success(), "{}", ended.stderr);
        assert!(!ended.stderr.contains("two link types"), "{}", ended.stderr);
        let read = machine.here.output(&format!("{read_by} -n -t -S -r {path}"));
        assert_eq!(read.trim_end(), ended.stdout.trim_end(), "{name}");
    }
}

/// One block for each interface, with its own link type, and one that comes later.
#[test]
#[ignore = "needs root"]
fn pcapng_and_json_have_the_interfaces_own_frames() {
    let folder = TempDir::new().expect("a folder");
    let machine = Machine::new();
    let [file, json] = ["x.pcapng", "x.json"].map(|name| folder.path().join(name));
    let arguments = format!("-i any --port 8888 -U -w {} --json={} -l", file.display(), json.display());
    let capture = Tracer::capture(&machine.here, &arguments);
    machine.here.ip("link add late type veth peer name later");
    machine.here.ip("link set late up");
    machine.here.ip("link set later up");
    wait_until("the new interfaces", || {
        let text = fs::read_to_string(&json).expect("a file");
        ["\"name\":\"late\"", "\"name\":\"later\""].iter().all(|name| text.contains(name))
    });
    machine.traffic();
    let seen = |name: &str| format!("\"interface\":\"{name}\"");
    // An interface is made known before it is attached to.
    wait_until("packets of the new interfaces", || {
        traffic::raw_frame(&machine.here, "late", &traffic::tagged(&[]));
        let text = fs::read_to_string(&json).expect("a file");
        ["late", "later"].iter().all(|name| text.contains(&seen(name)))
    });
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    let note = "capture: note: ";
    assert_eq!(ended.stderr.matches("gets interfaces of two link types").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(note) && ended.stderr.contains("-y LINUX_SLL2"), "{}", ended.stderr);
    let shown = |fields: &str| {
        let mut command = Command::new("tshark");
        let output = command.args(fields.split_whitespace()).arg("-r").arg(&file).output().expect("tshark");
        String::from_utf8(output.stdout).expect("text")
    };
    let frames = shown("-T fields -e frame.interface_name -e frame.encap_type");
    let objects = fs::read_to_string(&json).expect("a file");
    for (name, encapsulation) in
        [("lo", 1), ("br0", 1), ("port1", 1), ("port2", 1), ("late", 1), ("later", 1), ("tun0", 7)]
    {
        let line = format!("{name}\t{encapsulation}");
        let in_file = frames.lines().filter(|shown| *shown == line).count();
        assert!(in_file > 0, "{name}: {frames}");
        assert_eq!(objects.matches(&seen(name)).count(), in_file, "{name}");
    }
    let refused = Command::new("tcpdump").arg("-r").arg(&file).output().expect("tcpdump");
    assert!(!refused.status.success());
}

#[test]
#[ignore = "needs root"]
fn two_that_are_named() {
    let machine = Machine::new();
    let mut point = Point::whole(&machine.here, "any", "-t -e");
    point.capture = "-n -l -t -e -i port1 -i lo -i port1 --port 8888".to_owned();
    let ended = side_by_side(&[point], || machine.traffic(), || machine.marker());
    let (capture, tcpdump) = &ended[0];
    let named = |line: &&str| line.starts_with("lo ") || line.starts_with("port1 ");
    assert_eq!(sorted(capture.lines()), sorted(tcpdump.lines().into_iter().filter(named)));
    assert!(capture.stderr.contains("listening on port1, lo, link-type LINUX_SLL2 (Linux cooked v2), "));
    for (arguments, expected) in [
        ("-i lo -i nothere", "capture: cannot attach to nothere: no such interface (have: "),
        (
            "-i lo -y EN10MB -i port1",
            "capture: the packets of lo, port1 do not begin with EN10MB (Ethernet): ",
        ),
        ("-i tun0 -y EN10MB", "capture: the packets of tun0 do not begin with EN10MB (Ethernet): "),
        ("-i lo -y NO_SUCH", "capture: NO_SUCH is no data link type: "),
        ("-i any --hook xdp", "capture: --hook xdp takes the interfaces by their names: "),
    ] {
        let ended = Tracer::capture_failing(&machine.here, arguments);
        assert!(ended.stderr.starts_with(expected), "{}", ended.stderr);
    }
}

/// With one interface, `-y LINUX_SLL2` is a way to have its name in the lines.
#[test]
#[ignore = "needs root"]
fn one_as_cooked_frames() {
    let namespace = Namespace::new();
    let capture = Tracer::capture(&namespace, "-t -l -i lo -y LINUX_SLL2 --port 8888");
    let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    capture.wait_for_stdout(&format!("lo    In  IP {marker}"));
    assert!(capture.interrupt().status.success());
}

#[test]
#[ignore = "needs root"]
fn expressions() {
    let machine = Machine::new();
    let index = machine.here.output("ip -o link show port1");
    let index = index.split(':').next().expect("a number");
    for expression in
        [format!("ifindex {index}"), "inbound".to_owned(), "outbound or host 127.0.0.1".to_owned()]
    {
        let mut point = Point::whole(&machine.here, "any", "-t");
        let expression = format!("tcp port 8888 and ({expression} or host 127.0.0.1)");
        point.capture = format!("-n -l -i any -t {expression}");
        point.tcpdump = format!("-n -i any -t {expression}");
        let ended = side_by_side(&[point], || machine.traffic(), || machine.marker());
        let (capture, tcpdump) = &ended[0];
        assert_eq!(sorted(capture.lines()), sorted(tcpdump.lines()), "{expression}");
    }
    // What tcpdump refuses, and what it looks for in a header that the interfaces do not have.
    for (expression, reason) in [
        ("ether host 02:00:00:00:00:01", "has no MAC addresses"),
        ("vlan 5", "has no VLAN tags"),
        ("broadcast", "has no MAC addresses"),
        ("ether[0] = 0", "the bytes of the link header (ether[..]) are different ones"),
    ] {
        for interfaces in ["-i any", "-i lo -i br0"] {
            let ended = Tracer::capture_failing(&machine.here, &format!("{interfaces} {expression}"));
            assert!(ended.stderr.contains(reason), "{}", ended.stderr);
        }
    }
}

/// What is new is attached to, what is renamed has its new name, and what goes is said.
#[test]
#[ignore = "needs root"]
fn the_set_follows_the_machine() {
    let (here, there) = Namespace::pair();
    let capture = Tracer::capture(&here, "-t -l -i any --port 8888");
    let frame = traffic::tagged(&[]);
    let sees = |namespace: &Namespace, out_of: &'static str, line: &str| {
        let before = capture.stdout().matches(line).count();
        // It is attached to as soon as the daemon has been told.
        wait_until(&format!("{line} in {} {}", capture.stdout(), capture.stderr()), || {
            traffic::raw_frame(namespace, out_of, &frame);
            capture.stdout().matches(line).count() > before
        });
    };
    sees(&there, "veth1", "veth0 B   IP ");
    here.ip("link add new0 type veth peer name new1");
    here.ip("link set new0 up");
    here.ip("link set new1 up");
    sees(&here, "new0", "new0  Out IP ");
    sees(&here, "new0", "new1  B   IP ");
    // Down and up again.
    here.ip("link set new0 down");
    here.ip("link set new0 name renamed0");
    here.ip("link set renamed0 up");
    sees(&here, "renamed0", "renamed0 Out IP ");
    here.ip("link del renamed0");
    capture.wait_for_stderr("capture: note: renamed0 disappeared\n");
    capture.wait_for_stderr("capture: note: new1 disappeared\n");
    // It goes to another network namespace, and the others go on.
    here.ip("link add moved type veth peer name stays");
    here.ip("link set moved up");
    here.ip("link set stays up");
    sees(&here, "moved", "moved Out IP ");
    here.run({
        let there = there.thread();
        move || {
            let status = Command::new("ip").args(["link", "set", "moved", "netns", &there]).status();
            assert!(status.expect("ip").success());
        }
    });
    capture.wait_for_stderr("capture: note: moved disappeared\n");
    sees(&there, "veth1", "veth0 B   IP ");
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stderr.contains("\n3 interfaces disappeared during the capture\n"), "{}", ended.stderr);
    assert_eq!(ended.count("captured"), ended.count("received by filter"));
}

/// A line of a veth's other end.
fn pair_of(namespace: &Namespace, name: &str) {
    namespace.ip(&format!("link add {name} type veth peer name {name}peer"));
    namespace.ip(&format!("link set {name}peer up"));
    namespace.ip(&format!("link set {name} up"));
}

#[test]
#[ignore = "needs root"]
fn one_that_is_waited_for() {
    let namespace = Namespace::new();
    for interfaces in ["-i e0 --wait", "-i e0 -i lo --wait"] {
        let capture = Tracer::program(
            &namespace,
            env!("CARGO_BIN_EXE_capture"),
            &format!("-t -l {interfaces} --port 8888"),
        );
        let is_alone = !interfaces.contains("lo");
        capture.wait_for_stderr(if is_alone { "capture: waiting for e0\n" } else { "listening on lo, e0, " });
        let start = if is_alone { "IP 10.0.0.1" } else { "e0    Out IP 10.0.0.1" };
        for round in 1..=3 {
            pair_of(&namespace, "e0");
            let lines = || capture.stdout().lines().filter(|line| line.starts_with(start)).count();
            let before = lines();
            wait_until(&format!("packets of round {round}: {}", capture.stderr()), || {
                traffic::raw_frame(&namespace, "e0", &traffic::tagged(&[]));
                lines() > before
            });
            capture.wait_for_stderr("listening on ");
            namespace.ip("link del e0");
            wait_until("the note", || {
                capture.stderr().matches("capture: note: e0 disappeared: ").count() == round
            });
        }
        let ended = capture.interrupt();
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("capture: note: e0 is back: ").count(), 2, "{}", ended.stderr);
        assert!(ended.stderr.contains("\ne0 disappeared 3 times, for "), "{}", ended.stderr);
        assert_eq!(ended.count("captured"), ended.count("received by filter"));
    }
    // One that never comes.
    let capture = Tracer::program(&namespace, env!("CARGO_BIN_EXE_capture"), "-i e1 --wait");
    capture.wait_for_stderr("capture: waiting for e1\n");
    assert!(capture.interrupt().status.success());
}

/// A name stands for the interface that had it, whatever that is called later, until that is gone.
#[test]
#[ignore = "needs root"]
fn names_stand_for_one_interface_at_a_time() {
    let namespace = Namespace::new();
    let pair = |name: &str, peer: &str| {
        namespace.ip(&format!("link add {name} type veth peer name {peer}"));
        namespace.ip(&format!("link set {peer} up"));
        namespace.ip(&format!("link set {name} up"));
    };
    pair("ea", "fa");
    pair("eb", "fb");
    let capture = Tracer::capture(&namespace, "-l -i ea -i eb --port 8888");
    let programs = |count| wait_until("the programs", || tcx_links(&capture) == count);
    programs(4);
    let rename = |from: &str, to: &str| {
        namespace.ip(&format!("link set {from} down"));
        namespace.ip(&format!("link set {from} name {to}"));
        namespace.ip(&format!("link set {to} up"));
    };
    rename("ea", "ec");
    namespace.ip("link del ec");
    capture.wait_for_stderr("note: ec, which was ea, disappeared: ea is captured when there is one again\n");
    programs(2);
    pair("ea", "fa");
    capture.wait_for_stderr("note: ea is back: ");
    programs(4);
    // Another one takes the name over.
    rename("ea", "ec");
    pair("ea", "ga");
    let note = "note: there is another ea now: capture goes on with ec, which was ea before\n";
    capture.wait_for_stderr(note);
    programs(4);
    namespace.ip("link del ec");
    wait_until("the other one", || capture.stderr().matches("note: ea is back: ").count() == 2);
    programs(4);
    let ended = capture.interrupt();
    assert_eq!(ended.stderr.matches(note).count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("\nea disappeared 2 times, for "), "{}", ended.stderr);
}

/// What was refused once is tried again when it comes up, and when another one has gone; it is said once.
#[test]
#[ignore = "needs root"]
fn what_was_refused_is_tried_again() {
    let namespace = Namespace::new();
    let add = |name: &str| {
        namespace.ip(&format!("link add {name} type veth peer name {name}p"));
        namespace.ip(&format!("link set {name} up"));
    };
    add("ea");
    let capture = Tracer::capture(&namespace, "-l -i any --port 8888");
    let programs = |count| wait_until("the programs", || tcx_links(&capture) == count);
    programs(3);
    let helper = capture.helper();
    let limit = |most: usize| {
        let arguments = [format!("--pid={helper}"), format!("--nofile={most}:")];
        assert!(Command::new("prlimit").args(arguments).status().expect("it starts").success());
    };
    // What is open stays open.
    limit(3);
    add("eb");
    add("ec");
    for name in ["eb", "ec"] {
        capture.wait_for_stderr(&format!("warning: cannot attach tc to {name}: "));
    }
    namespace.ip("link set eb down");
    namespace.ip("link set eb up");
    limit(1024);
    namespace.ip("link set eb down");
    namespace.ip("link set eb up");
    programs(5);
    namespace.ip("link del ea");
    capture.wait_for_stderr("note: ea disappeared\n");
    programs(5);
    let ended = capture.interrupt();
    for name in ["eb", "ec"] {
        let said = ended.stderr.matches(&format!("\ncapture: warning: cannot attach tc to {name}: ")).count();
        // Once when it happens, and once in the summary.
        assert!((1..=2).contains(&said), "{}", ended.stderr);
    }
}

/// Without TCX there are clsact filters, of which one can be removed, and which go with their interface.
#[test]
#[ignore = "needs root"]
fn clsact_filters_at_several() {
    let (here, there) = Namespace::pair();
    let capture = Tracer::without_tcx(&here, "-t -l -i any --port 8888");
    capture.wait_for_stderr("listening on any, ");
    assert!(capture.stderr().contains(" (clsact), "), "{}", capture.stderr());
    let sees = |namespace: &Namespace, out_of: &'static str, line: &str| {
        let before = capture.stdout().matches(line).count();
        wait_until(&format!("{line} in {} {}", capture.stdout(), capture.stderr()), || {
            traffic::raw_frame(namespace, out_of, &traffic::tagged(&[]));
            capture.stdout().matches(line).count() > before
        });
    };
    sees(&there, "veth1", "veth0 B   IP ");
    for _ in 0..2 {
        pair_of(&here, "e0");
        sees(&here, "e0", "e0peer B   IP ");
        for name in ["e0", "e0peer"] {
            let filters = format!("tc filter show dev {name} egress");
            wait_until("filters at both", || here.output(&filters).contains("bpf"));
        }
        here.ip("link del e0");
    }
    here.output("tc qdisc del dev veth0 clsact");
    // The programs of others are looked at every ten seconds.
    capture
        .wait_for_stderr("capture: warning: capture was detached from ingress of veth0 by another process: ");
    let marker = traffic::marker(&here, LOOPBACK, LOOPBACK);
    capture.wait_for_stdout(&marker);
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stderr.contains("\n4 interfaces disappeared during the capture\n"), "{}", ended.stderr);
    assert_eq!(ended.count("captured"), ended.count("received by filter"));
    assert_eq!(here.output("tc filter show dev lo ingress"), "");
}

/// At XDP nothing goes out, and the receiver's address says the rest.
#[test]
#[ignore = "needs root"]
fn xdp_at_several() {
    let (here, there) = Namespace::pair();
    for hook in ["xdp-generic", "xdp"] {
        let capture = Tracer::capture(&here, &format!("-t -l -i veth0 -i lo --hook {hook} --port 8888"));
        traffic::raw_frame(&there, "veth1", &traffic::tagged(&[]));
        capture.wait_for_stdout("veth0 B   IP 10.0.0.1.1234 > ");
        traffic::nc_session(&here, &there, station(1));
        let marker = traffic::marker(&here, LOOPBACK, LOOPBACK);
        capture.wait_for_stdout(&marker);
        let ended = capture.interrupt();
        assert!(ended.status.success(), "{}", ended.stderr);
        assert!(ended.stdout.contains("veth0 In  IP 10.0.0.2."), "{}", ended.stdout);
        assert!(ended.stdout.contains("lo    In  IP 127.0.0.1."), "{}", ended.stdout);
        assert!(!ended.stdout.contains(" Out "), "{}", ended.stdout);
    }
}

/// With nothing but loopback up, it is tcpdump's choice.
#[test]
#[ignore = "needs root"]
fn the_default_where_nothing_is_up() {
    let namespace = Namespace::new();
    for (arguments, expected) in [
        (
            "",
            "capture: data link type LINUX_SLL2\ncapture: listening on any, link-type LINUX_SLL2 (Linux cooked v2), ",
        ),
        ("--hook xdp", "capture: no interface to capture on: all but loopback are down (have: lo); "),
    ] {
        let capture = Tracer::program(&namespace, env!("CARGO_BIN_EXE_capture"), arguments);
        capture.wait_for_stderr(expected);
        if arguments.is_empty() {
            assert!(capture.interrupt().status.success());
        }
    }
    // Nothing at all: it waits for what comes.
    namespace.ip("link set lo down");
    let capture = Tracer::capture(&namespace, "-t -l -i any --port 8888");
    namespace.ip("link set lo up");
    wait_until("a packet", || {
        traffic::marker(&namespace, LOOPBACK, LOOPBACK);
        capture.stdout().contains("lo    In  IP ")
    });
    assert!(capture.interrupt().status.success());
}
