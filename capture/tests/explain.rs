//! `--explain` on the command line: the program itself, reading a file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use test_support::packets::{
    Packet,
    file::pcap,
    ip::Addresses,
    link::Link,
    tcp::{SYN, SegmentFields},
};

/// A capture file of raw IP packets, a second apart: two tries to open a connection, without an answer.
fn two_syns() -> Vec<u8> {
    let syn = SegmentFields {
        source: 41218,
        destination: 8888,
        sequence: 1000,
        flags: SYN,
        window: 256,
        ..SegmentFields::default()
    };
    let syn = syn.packet(&Addresses::V4([10, 0, 0, 1], [10, 0, 0, 2]));
    let packets = [0, 1].map(|second| Packet::whole(1_700_000_000 + second, 0, syn.clone()));
    pcap(Link::Raw.number(), packets)
}

fn output(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    command.args(["-r", "-", "-t"]).args(arguments).env("TZ", "UTC0");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&two_syns()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

const LINE: &str = "IP 10.0.0.1.41218 > 10.0.0.2.8888: Flags [S], seq 1000, win 256, length 0\n";
const OPENS: &str = "// 10.0.0.1.41218 > 10.0.0.2.8888: the client opens a connection\n";
const REPEATS: &str =
    "// 10.0.0.1.41218 > 10.0.0.2.8888: the client repeats its SYN, try 2: no answer so far\n";

fn at_the_end(tries: &str) -> String {
    let start =
        "// 10.0.0.1.41218 > 10.0.0.2.8888: at the end of the capture, the client has no answer to its SYN";
    format!("{start}: {tries}\n")
}

#[test]
fn comments_stand_before_their_lines_and_at_the_end() {
    assert_eq!(output(&[]), [LINE, LINE].concat());
    assert_eq!(output(&["--explain"]), [OPENS, LINE, REPEATS, LINE, &at_the_end("2 tries in 1 s")].concat());
    assert_eq!(output(&["--explain", "-c", "1"]), [OPENS, LINE, &at_the_end("1 try")].concat());
    assert_eq!(output(&["--explain", "-l", "--port", "9999"]), "");
}

/// A packet of several lines has its comments before the first.
#[test]
fn comments_stand_before_the_first_line() {
    let options = ["-v", "-x", "-c", "1"];
    let lines = output(&options);
    assert_eq!(lines.lines().count(), 5, "{lines}");
    assert_eq!(
        output(&[&options[..], &["--explain"]].concat()),
        [OPENS, &lines, &at_the_end("1 try")].concat()
    );
}

/// The example of docs/explain.md: the command, as its arguments, and what it prints.
fn documented_example() -> (Vec<String>, String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/explain.md");
    let text = fs::read_to_string(file).unwrap();
    let (_, example) = text.split_once("\n## An example\n").unwrap();
    let (before, block) = example.split_once("\n```text\n").unwrap();
    let (block, _) = block.split_once("```\n").unwrap();
    let command = before.lines().find_map(|line| line.strip_prefix("    TZ=UTC0 capture ")).unwrap();
    (command.split_ascii_whitespace().map(str::to_owned).collect(), block.to_owned())
}

#[test]
fn the_documented_example_is_what_is_printed() {
    let (arguments, expected) = documented_example();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let print = |arguments: &[String]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
        let output = command.args(arguments).current_dir(repository).env("TZ", "UTC0").output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(print(&arguments), expected);
    // The lines themselves are tcpdump's.
    let lines = expected.split_inclusive('\n').filter(|line| !line.starts_with("// "));
    let lines: String = lines.collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/walkthrough.out");
    assert_eq!(lines, fs::read_to_string(golden).unwrap());
    let without: Vec<String> = arguments.into_iter().filter(|argument| argument != "--explain").collect();
    assert_eq!(print(&without), lines);
}

/// What the walk-through that the example is from says of its lines.
#[test]
fn the_example_has_the_comments_of_the_walk_through() {
    const CLIENT: &str = "10.96.78.213.1234";
    const SERVER: &str = "10.96.78.213.8888";
    let expected = [
        (CLIENT, SERVER, "the client opens a connection"),
        (CLIENT, SERVER, "the connection is established; the client sends a request"),
        (SERVER, CLIENT, "the server sends a response"),
        (SERVER, CLIENT, "the server actively closes the connection"),
        (CLIENT, SERVER, "the client closes its side too"),
        (SERVER, CLIENT, "the server closes the connection by force (RST): data may have been lost"),
    ];
    let expected = expected.map(|(from, to, event)| format!("// {from} > {to}: {event}"));
    let (_, text) = documented_example();
    let comments: Vec<_> = text.lines().filter(|line| line.starts_with("//")).collect();
    assert_eq!(comments, expected);
}
