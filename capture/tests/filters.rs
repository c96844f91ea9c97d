//! Expressions on the command line: which packets of a file they select, next to the real tcpdump, and how they are shown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use test_support::packets::{Packet, file::pcap, ip::Addresses, tcp::SegmentFields};

const CAPTURE: &str = env!("CARGO_BIN_EXE_capture");
/// Expressions of everyday life, one a line.
const ACCEPTANCE: &str = include_str!("../../capture-filter/tests/acceptance.txt");

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).env("TZ", "GMT0").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn acceptance() -> impl Iterator<Item = &'static str> {
    ACCEPTANCE.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn files_have_the_same_lines_as_tcpdump_for_everyday_expressions() {
    let mut lines = 0;
    for name in
        ["port.pcap", "ipv4.pcap", "ipv6.pcap", "options.pcap", "vlan.pcap", "flags.pcap", "link-sll2.pcap"]
    {
        // The TCP packets of the file: tcpdump would print the others, too.
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("filters-{name}"));
        let file = file.to_str().unwrap();
        assert!(run(CAPTURE, &["-r", golden(name).to_str().unwrap(), "-w", file]).status.success());
        for expression in acceptance() {
            let [tcpdump, capture] =
                ["tcpdump", CAPTURE].map(|program| run(program, &["-n", "-t", "-r", file, expression]));
            // What cannot be asked of such a file is refused by both.
            let context = format!("{name}: {expression}: {}", stderr(&capture));
            assert_eq!(capture.status.success(), tcpdump.status.success(), "{context}");
            assert_eq!(stdout(&capture), stdout(&tcpdump), "{context}");
            lines += stdout(&capture).lines().count();
        }
    }
    assert!(lines > 1000, "{lines}");
}

/// The instructions may differ, the form does not; of an expression as short as this they are the same.
#[test]
fn a_dump_has_the_form_of_tcpdumps() {
    let file = golden("port.pcap");
    let file = file.to_str().unwrap();
    for arguments in [
        &["-d", "ip"][..],
        &["-dd", "ip"],
        &["-ddd", "ip"],
        &["-d", "-s", "96", "ip"],
        &["-d", "-r", file, "tcp[13] & 2 != 0"],
        &["-d", "-r", file],
        // Without an interface, tcpdump asks for what a packet socket knows all the same.
        &["-d", "outbound"],
        &["-d", "ifindex 2"],
        &["-d", "vlan"],
    ] {
        let [tcpdump, capture] = ["tcpdump", CAPTURE].map(|program| run(program, arguments));
        assert!(capture.status.success() && tcpdump.status.success(), "{arguments:?}");
        assert_eq!(stdout(&capture), stdout(&tcpdump), "{arguments:?}");
        assert_eq!(
            stderr(&capture).contains("Warning: assuming Ethernet"),
            !arguments.contains(&"-r"),
            "{arguments:?}"
        );
    }
    let ebpf = stdout(&run(CAPTURE, &["-d", "--ebpf", "tcp port 8888"]));
    assert!(ebpf.contains("tc_ingress: ") && ebpf.contains("tc_egress: "), "{ebpf}");
    assert!(ebpf.contains("(001) r7 = *(u32 *)(r6 + 76)\n"), "{ebpf}");
}

#[test]
fn an_expression_is_said_in_plain_words() {
    let output = run(CAPTURE, &["--check", "host 10.0.0.1 and tcp port 443"]);
    assert!(output.status.success());
    let text = stdout(&output);
    assert!(
        text.starts_with(
            "TCP packets that come from or go to host 10.0.0.1, and come from or go to port 443.\n"
        ),
        "{text}"
    );
    for expression in acceptance() {
        let output = run(CAPTURE, &["--check", expression]);
        assert!(
            output.status.success() && stdout(&output).contains("TCP packets"),
            "{expression}: {}",
            stdout(&output)
        );
    }
}

#[test]
fn the_document_has_what_check_prints() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/filters.md");
    let document = fs::read_to_string(document).unwrap();
    let (_, transcript) = document.split_once("\n$ capture --check '").unwrap();
    let (expression, printed) = transcript.split_once("'\n").unwrap();
    let (printed, _) = printed.split_once("```").unwrap();
    assert_eq!(stdout(&run(CAPTURE, &["--check", expression])), printed);
}

#[test]
fn what_is_refused_is_pointed_at() {
    for (expression, expected) in [
        ("10.0.0.1", "10.0.0.1: a qualifier, such as `host` or `port`, is missing before this\n"),
        ("tcp 80", "hint: "),
        ("tcp host 10.0.0.1", "hint: "),
        ("net 10.0.0.1/8", "10.0.0.0/8"),
        ("port 70000", "port 70000: ports go up to 65535\n  port 70000\n       ^~~~~\n"),
        ("(port 80) or 443", "hint: "),
        ("ip[0:3] = 1", "1, 2"),
        ("(tcp", "  (tcp\n"),
    ] {
        let output = run(CAPTURE, &["-i", "lo", expression]);
        assert_eq!(output.status.code(), Some(2), "{expression}");
        let said = stderr(&output);
        assert!(said.starts_with("capture: ") && said.contains(expected), "{expression}: {said}");
        assert!(!run("tcpdump", &["-d", expression]).status.success(), "{expression}");
    }
}

#[test]
fn what_selects_nothing_is_refused() {
    let file = golden("port.pcap");
    let file = file.to_str().unwrap();
    let everywhere = [
        ("udp", "the expression `udp` selects no TCP packet, and capture prints nothing else\n"),
        ("arp or icmp", "selects no TCP packet"),
        ("tcp and udp", "the expression `tcp and udp` selects no packet\n"),
        ("ip6 and tcp[13] & 2 != 0", "the expression `ip6 and tcp[13] & 2 != 0` selects no packet\n"),
    ];
    let checked = everywhere.map(|(expression, expected)| (["--check", expression].to_vec(), expected));
    let of_a_file = everywhere.into_iter().chain([("inbound", "the expression `inbound`: ")]);
    let of_a_file = of_a_file.map(|(expression, expected)| (["-r", file, expression].to_vec(), expected));
    for (arguments, expected) in checked.into_iter().chain(of_a_file) {
        let output = run(CAPTURE, &arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
    let output = stdout(&run(CAPTURE, &["--check", "ip6 and tcp[13] & 2 != 0"]));
    assert!(output.contains("hint: read the bytes after the fixed header: `ip6[40 + N]`"), "{output}");
}

/// What looks like a mistake is shown with the refusal, wherever that comes from.
#[test]
fn a_refusal_has_the_hints_of_a_check() {
    let file = golden("port.pcap");
    let file = file.to_str().unwrap();
    let expression = "ip6 and tcp[13] & 2 != 0";
    let hints = stdout(&run(CAPTURE, &["--check", expression]));
    let expected = format!("capture: the expression `{expression}` selects no packet\n{hints}");
    for arguments in [&["-i", "lo", expression][..], &["-d", "-i", "lo", expression]] {
        assert_eq!(stderr(&run(CAPTURE, arguments)), expected, "{arguments:?}");
    }
    assert!(stderr(&run(CAPTURE, &["-r", file, expression])).ends_with(&expected));
}

/// `--check` says what an expression selects at the interface or in the file that is named.
#[test]
fn a_check_is_for_an_interface_or_a_file() {
    let file = golden("port.pcap");
    let file = file.to_str().unwrap();
    let nothing = "capture: the expression `outbound` selects no packet that comes in: ";
    for (arguments, expected) in [
        (&["outbound"][..], ""),
        (&["-i", "lo", "tcp"], ""),
        (&["-r", file, "tcp"], ""),
        (&["-i", "lo", "outbound"], nothing),
        (&["--hook", "xdp", "outbound"], nothing),
        (&["-Q", "in", "outbound"], nothing),
        (
            &["-r", file, "outbound"],
            "capture: the expression `outbound`: an Ethernet frame in a file does not say",
        ),
        (&["-i", "nosuch0", "tcp"], "capture: cannot attach to nosuch0: no such interface"),
        (&["-r", "/nonexistent/file", "tcp"], "capture: /nonexistent/file"),
    ] {
        let output = run(CAPTURE, &[&["--check"], arguments].concat());
        assert_eq!(output.status.success(), expected.is_empty(), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with(expected), "{arguments:?}: {}", stderr(&output));
        assert!(
            !expected.is_empty() || stdout(&output).starts_with("TCP packets") || arguments.contains(&"tcp")
        );
    }
    // Behind a raw IP header are no VLAN tags.
    let raw = golden("link-raw.pcap");
    let note = |file: &str| stdout(&run(CAPTURE, &["--check", "-r", file, "host 10.0.0.1"])).contains("VLAN");
    assert!(note(file) && !note(raw.to_str().unwrap()));
}

/// Where only packets of one way are captured, an expression that selects the others is refused with the next step.
#[test]
fn what_selects_the_other_way_is_refused() {
    let program = |arguments: &[&str]| stderr(&run(CAPTURE, arguments));
    for (arguments, expected) in [
        (
            &["-i", "lo", "outbound"][..],
            "selects no packet that comes in: no others are captured with -Q in, nor on loopback, where ",
        ),
        (
            &["-i", "lo", "--hook", "xdp-generic", "outbound"],
            "selects no packet that comes in: XDP sees no others; write --hook tc\n",
        ),
        (
            &["-i", "lo", "-Q", "in", "tcp and outbound"],
            "`tcp and outbound` selects no packet that comes in: ",
        ),
        (
            &["-i", "lo", "-Q", "out", "inbound"],
            "selects no packet that goes out: -Q out captures no others; leave it out\n",
        ),
        (&["-d", "--ebpf", "-Q", "out", "inbound"], "selects no packet that goes out: "),
    ] {
        let said = program(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn an_expression_in_a_file_is_the_same() {
    let file = golden("port.pcap");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("expression");
    fs::write(&path, "tcp port 8888 # the server\n or\n\ttcp port 80\n").unwrap();
    let arguments = ["-n", "-r", file.to_str().unwrap(), "-F", path.to_str().unwrap()];
    let [tcpdump, capture] = ["tcpdump", CAPTURE].map(|program| run(program, &arguments));
    assert_eq!(stdout(&capture), stdout(&tcpdump));
    assert!(!stdout(&capture).is_empty());
}

/// tcpdump's optimiser takes the repetition for a contradiction.
#[test]
fn a_prefix_of_ipv6_that_is_said_twice() {
    const RAW: u32 = 101;
    const TWICE: &str = "dst net (2001:db8::/126 and 2001:db8::/126)";

    let address = |last: u128| ((0x2001_0db8 << 96) | last).to_be_bytes();
    let packets = [1, 4].map(|last| {
        let segment = SegmentFields { source: 1234, destination: 80, ..SegmentFields::default() };
        Packet::whole(0, 0, segment.packet(&Addresses::V6(address(9), address(last))))
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("a-prefix-said-twice.pcap");
    fs::write(&path, pcap(RAW, packets)).unwrap();
    let path = path.to_str().unwrap();
    let ours = stdout(&run(CAPTURE, &["-n", "-r", path, TWICE]));
    assert_eq!(ours.lines().count(), 1);
    assert_eq!(ours, stdout(&run("tcpdump", &["-n", "-O", "-r", path, TWICE])));
    let refused = stderr(&run("tcpdump", &["-n", "-r", path, TWICE]));
    assert!(refused.ends_with("tcpdump: expression rejects all packets\n"), "{refused}");
}

/// The ports of `--port` do not hide what an expression cannot select.
#[test]
fn with_ports_an_expression_without_tcp_is_refused_too() {
    let file = golden("port.pcap");
    let file = file.to_str().unwrap();
    for expression in ["udp", "arp", "ip proto 17"] {
        let output = run(CAPTURE, &["-r", file, "--port", "80", expression]);
        assert_eq!(output.status.code(), Some(1), "{expression}");
        assert!(stderr(&output).contains("selects no TCP packet"), "{expression}: {}", stderr(&output));
    }
}

/// Of several link types in a file, some may not have what an expression asks for: their packets do not match.
#[test]
fn a_file_of_several_link_types_is_read_to_its_end() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [ethernet, raw, both] =
        ["several-1.pcapng", "several-2.pcapng", "several.pcapng"].map(|name| folder.join(name));
    for (from, to) in [("port.pcap", &ethernet), ("link-raw.pcap", &raw)] {
        let from = golden(from);
        let arguments = ["-r", from.to_str().unwrap(), "-w", to.to_str().unwrap()];
        assert!(run(CAPTURE, &arguments).status.success(), "{}", from.display());
    }
    // Sections follow one another.
    let read = |path: &PathBuf| fs::read(path).unwrap();
    fs::write(&both, [read(&ethernet), read(&raw), read(&ethernet)].concat()).unwrap();
    let lines = |file: &PathBuf, expression: &str| {
        let output = run(CAPTURE, &["-n", "-t", "-S", "-r", file.to_str().unwrap(), expression]);
        assert!(output.status.success(), "{expression}: {}", stderr(&output));
        stdout(&output)
    };
    for expression in ["ether host 1:2:3:4:5:6 or tcp", "vlan or tcp", "tcp"] {
        let of_ethernet = lines(&ethernet, expression);
        let of_raw = if expression == "tcp" { lines(&raw, expression) } else { String::new() };
        assert_eq!(
            lines(&both, expression),
            [of_ethernet.as_str(), &of_raw, &of_ethernet].concat(),
            "{expression}"
        );
    }
}
