//! Filters of live captures: where they come from, how long they may be, and the SSH session that is looked at itself.

use std::{
    io::{PipeReader, pipe},
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
};

use test_support::process::Process;

use crate::{
    namespace::Namespace,
    oracle::{Point, side_by_side},
    process::{Ended, NEVER, Tracer},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const CAPTURE: &str = env!("CARGO_BIN_EXE_capture");

/// A file with an expression.
fn file(name: &str, expression: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, expression).expect("a file");
    path
}

/// One session, with one filter in capture and one in tcpdump.
fn session(capture: &str, tcpdump: &str) -> [Ended; 2] {
    let namespace = Namespace::new();
    let mut point = Point::new(&namespace, "lo", "-t");
    point.capture = format!("-n -l -t -i lo {capture}");
    point.tcpdump = format!("-n --immediate-mode -t -i lo -s 128 {tcpdump}");
    let traffic = || traffic::nc_session(&namespace, &namespace, LOOPBACK);
    let mut printed = side_by_side(&[point], traffic, || traffic::marker(&namespace, LOOPBACK, LOOPBACK));
    let (capture, tcpdump) = printed.remove(0);
    assert_eq!(capture.lines(), tcpdump.lines());
    assert!(capture.lines().len() >= 10, "{}", capture.stdout);
    [capture, tcpdump]
}

#[test]
#[ignore = "needs root"]
fn an_expression_from_a_file() {
    let path = file("filter-of-a-session", "# one host\nhost 127.0.0.1\nand # and\n  tcp port 8888\n");
    session(&format!("-F {}", path.display()), &format!("-F {}", path.display()));
}

#[test]
#[ignore = "needs root"]
fn ports_and_an_expression_have_to_match_both() {
    session("--port 80,8888 host localhost", "tcp port 8888 and host localhost");
    session("--port 8888 tcp[tcpflags] & tcp-syn == 0 or tcp[tcpflags] & tcp-syn != 0", "tcp port 8888");
    session("--port 80 --port 8000-9000 dst port 8888 or src port 8888", "tcp port 8888");
}

/// A thousand hosts are a decision tree; the last one is the one that is there.
#[test]
#[ignore = "needs root"]
fn a_thousand_hosts() {
    let hosts = (0..1000).map(|number| format!("host 10.{}.{}.7 or ", number / 250, number % 250));
    let path = file("filter-of-a-thousand-hosts", &(hosts.collect::<String>() + "host 127.0.0.1"));
    session(&format!("-F {}", path.display()), "tcp");
}

/// Two thousand pairs are a decision tree, too, whichever way round they are.
#[test]
#[ignore = "needs root"]
fn two_thousand_pairs() {
    let address = |number: u32| format!("10.{}.{}.7", number / 250, number % 250);
    let pairs = (0..2000).map(|number| format!("(host {} and port {number}) or ", address(number)));
    let path = file("filter-of-pairs", &(pairs.collect::<String>() + "(host 127.0.0.1 and port 8888)"));
    session(&format!("-F {}", path.display()), "tcp");
    let pairs = (0..2000).map(|number| format!("(tcp port {number} and src host {}) or ", address(number)));
    let path =
        file("filter-of-turned-pairs", &(pairs.collect::<String>() + "(port 8888 and src host localhost)"));
    session(&format!("-F {}", path.display()), "tcp");
}

/// `count` tests that have nothing in common.
fn tests(count: u32) -> String {
    let test = |n: u32| {
        let (tcp, ip) = (n % 20, n % 17);
        format!("(tcp[{tcp}] * {} + len * 3 != {} or ip[{ip}] > {})", n + 1, n * 7, n % 200)
    };
    (0..count).map(test).collect::<Vec<_>>().join(" and ")
}

/// What is too long for the kernel is refused in one sentence, with the beginning of the expression, by capture or in the
/// words of the verifier.
#[test]
#[ignore = "needs root"]
fn what_is_too_long_for_the_kernel() {
    const BEGINNING: &str =
        "the expression `(tcp[0] * 1 + len * 3 != 0 or ip[0] > 0) and (tcp[1] * 2 + len * 3 != 7";

    let refused = |count| {
        let path = file(&format!("filter-of-{count}-tests"), &tests(count));
        let ended = Tracer::capture_failing(&Namespace::new(), &format!("-i lo -F {}", path.display()));
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.len() < 700 && ended.stderr.contains(BEGINNING), "{}", ended.stderr);
        ended.stderr
    };
    let said = refused(3000);
    assert!(said.ends_with(": shorten it\n"), "{said}");
    let said = refused(1000);
    assert!(said.starts_with("capture: the kernel's verifier refused program tc_ingress with "), "{said}");
    assert!(said.contains("); shorten the expression or"), "{said}");
}

/// Starts a shell, to which an SSH session belongs, with a capture that prints into a pipe.
fn over_ssh(namespace: &Namespace, connection: &str, script: &str) -> (Process, PipeReader) {
    let (reader, writer) = pipe().expect("a pipe");
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("SSH_CONNECTION", connection).env("CAPTURE", CAPTURE);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let streams = [None, Some(writer.into()), None];
    let process = Process::start(namespace, folder, command, streams, Command::spawn).expect("it starts");
    process.wait_for_stderr("listening on", NEVER).expect("it listens");
    (process, reader)
}

/// What leaves through the captured interface to the one who looks at it is captured, too: that is said, with the expression
/// that leaves it out.
#[test]
#[ignore = "needs root"]
fn a_session_over_ssh_that_prints_itself() {
    const OWN: &str = "10.0.0.1 52144 10.0.0.2 22";
    let (here, there) = Namespace::pair();
    // The SYN that ends the capture is no packet of the session.
    let said = |connection: &str, script: &str| {
        let (mut process, _reader) = over_ssh(&there, connection, script);
        traffic::flood(&here, "veth0", 1);
        assert!(process.end(NEVER).expect("it ends").success(), "{}", process.stderr());
        let stderr = process.stderr();
        let warning = stderr.lines().find_map(|line| line.strip_prefix("capture: warning: "));
        warning.map(str::to_owned)
    };
    let warning = |without: &str| {
        Some(format!(
            "what this capture prints leaves through veth1 (SSH to 10.0.0.1, port 52144) and is captured there, too; to \
             leave it out: '{without}'"
        ))
    };
    let all = "not (host 10.0.0.1 and tcp port 52144)";
    assert_eq!(said(OWN, "exec $CAPTURE -n -l -i veth1 -c 1"), warning(all));
    // sudo(8) takes the variable away, and an ancestor has it.
    assert_eq!(said(OWN, "env -u SSH_CONNECTION $CAPTURE -n -l -i veth1 -c 1; true"), warning(all));
    let twice = "unset SSH_CONNECTION; sh -c '$CAPTURE -n -l -i veth1 -c 1; true'; true";
    assert_eq!(said(OWN, twice), warning(all));
    assert_eq!(
        said(OWN, "exec $CAPTURE -n -l -i veth1 -c 1 tcp or udp"),
        warning("(tcp or udp) and not (host 10.0.0.1 and tcp port 52144)")
    );
    // What it suggests leaves the session out.
    for script in [
        format!("exec $CAPTURE -n -l -i veth1 -c 1 '{all}'"),
        "exec $CAPTURE -n -l -i veth1 -c 1 not port 22".to_owned(),
        "exec $CAPTURE -n -l -i veth1 -c 1 --port 8888".to_owned(),
        "exec $CAPTURE -n -l -i veth1 -c 1 > /dev/null".to_owned(),
    ] {
        assert_eq!(said(OWN, &script), None, "{script}");
    }
    // A client that is reached another way.
    assert_eq!(said("127.0.0.1 52144 127.0.0.1 22", "exec $CAPTURE -n -l -i veth1 -c 1"), None);
}
