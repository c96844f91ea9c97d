//! Every packet that matched is printed, or counted as lost, by cause.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    net::IpAddr,
    process::Stdio,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    namespace::Namespace,
    neighbours,
    process::{Ended, Tracer, wait_until},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// More packets than the smallest rings hold, many times over.
const FLOOD: usize = 100_000;

/// `received by filter` is the sum of what became of the packets.
fn assert_identity(ended: &Ended, not_written: u64) {
    let received = ended.count("received by filter");
    let accounted = ended.count("captured") + ended.count("dropped by kernel") + not_written;
    assert_eq!(received, accounted, "{}", ended.stderr);
}

#[test]
#[ignore = "needs root"]
fn a_tiny_ring_loses_counted_packets() {
    let (here, there) = Namespace::pair();
    let capture = Tracer::capture(&there, "-i veth1 -B 4 --log-level info --port 8888");
    traffic::flood(&here, "veth0", FLOOD);
    let ended = capture.interrupt();
    assert_identity(&ended, 0);
    let [received, dropped] = ["received by filter", "dropped by kernel"].map(|words| ended.count(words));
    let by_hook = format!(
        "capture: incoming: {received} packets received by filter, {dropped} packets dropped by kernel; \
         outgoing: 0 packets received by filter, 0 packets dropped by kernel\n"
    );
    assert!(ended.stderr.contains(&by_hook), "{}", ended.stderr);
    assert_eq!(ended.lines().len() as u64, ended.count("captured"));
    assert!(ended.count("dropped by kernel") > 0, "{}", ended.stderr);
    assert!(ended.count("captured") > 0, "{}", ended.stderr);
}

#[test]
#[ignore = "needs root"]
fn the_programs_tell_of_what_they_do() {
    let (here, there) = Namespace::pair();
    let capture = Tracer::capture(&there, "-i veth1 -B 4 --log-level debug --port 8888");
    traffic::flood(&here, "veth0", FLOOD);
    capture.wait_for_stderr("kernel: debug: the ring is full: a matched packet is lost and counted");
    let ended = capture.interrupt();
    assert!(!ended.stderr.contains("a packet matched"), "{}", ended.stderr);
    assert_identity(&ended, 0);
    let capture = Tracer::capture(&there, "-i veth1 --log-level trace --port 8888");
    traffic::flood(&here, "veth0", 3);
    let ended = capture.interrupt();
    assert_eq!(ended.stderr.matches("kernel: trace: a packet matched").count(), 3, "{}", ended.stderr);
}

/// The log is not read: the lines come, and the capture ends when a signal asks for it.
#[test]
#[ignore = "needs root"]
fn a_log_that_is_not_read_holds_up_nothing() {
    let (here, there) = Namespace::pair();
    for level in ["debug -B 4", "trace"] {
        let (log, stderr) = std::io::pipe().expect("a pipe");
        let arguments = format!("-i veth1 --port 8888 --log-level {level}");
        let capture = Tracer::capture_with_stderr(&there, &arguments, stderr);
        let mut log = BufReader::new(log);
        let mut greeting = String::new();
        log.read_line(&mut greeting).expect("text");
        assert!(greeting.contains("listening on veth1"), "{greeting}");
        // A report has to wait for its reader, and nothing else does.
        capture.signal(Signal::SIGUSR1);
        let mut sent = 0;
        while capture.stdout().lines().count() < 10_000 {
            traffic::flood(&here, "veth0", FLOOD);
            sent += FLOOD;
            assert!(sent < 100 * FLOOD);
        }
        capture.signal(Signal::SIGINT);
        // The last words are there for a reader who comes within a second.
        let reader = thread::spawn(move || {
            let mut said = Vec::new();
            log.read_to_end(&mut said).map(|_| String::from_utf8_lossy(&said).into_owned())
        });
        assert!(capture.end().status.success());
        let said = reader.join().expect("no panic").expect("it can be read");
        assert!(said.contains("kernel: ") && said.contains(" packets captured\n"), "{said}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_blocked_output_loses_counted_packets_and_harms_no_traffic() {
    const ANONYMOUS_MEMORY_LIMIT: u64 = 16 * 1024;
    let (here, there) = Namespace::pair();
    let mut capture = Tracer::capture_into(&there, "-i veth1 -B 64 --port 8888", Stdio::piped());
    // The pipe is not read. The connections of real users go on, and memory does not grow.
    traffic::flood(&here, "veth0", FLOOD);
    traffic::bulk(&there, &here, "10.0.0.2".parse().expect("an address"), 3_000_000);
    let status = fs::read_to_string(format!("/proc/{}/status", capture.pid())).expect("it runs");
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    let anonymous: u64 = anonymous.split_whitespace().next().expect("a number").parse().expect("a number");
    assert!(anonymous < ANONYMOUS_MEMORY_LIMIT, "{anonymous} KiB");
    capture.signal(Signal::SIGINT);
    wait_until("the summary", || capture.stderr().contains("the capture is incomplete"));
    let mut text = String::new();
    capture.take_stdout().read_to_string(&mut text).expect("text");
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1));
    // What is said to be captured is what is in the pipe, to the line.
    assert!(text.ends_with('\n'));
    assert_eq!(text.lines().count() as u64, ended.count("captured"));
    let not_written = ended.count("not written: the output was blocked, closed or full");
    assert!(not_written > 0);
    assert!(ended.count("dropped by kernel") > 0, "{}", ended.stderr);
    assert_identity(&ended, not_written);
}

/// Text of a packet that is longer than what a pipe takes at once does not keep the end waiting either.
#[test]
#[ignore = "needs root"]
fn a_pipe_that_is_stuck_in_a_long_packet_does_not_hold_up_the_end() {
    const LONG: usize = 200;
    let (here, there) = Namespace::pair();
    let capture = Tracer::capture_into(&there, "-X -i veth1 --port 8888", Stdio::piped());
    for _ in 0..LONG {
        traffic::raw_frame(&here, "veth0", &traffic::long_frame(1400));
    }
    capture.signal(Signal::SIGINT);
    // The pipe is not read before it has ended.
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1));
    let not_written = ended.count("not written: the output was blocked, closed or full");
    assert_identity(&ended, not_written);
    let whole = ended.stdout.matches("IP 10.0.0.1.1234 > 10.0.0.2.8888: ").count() as u64;
    assert!((ended.count("captured")..=ended.count("captured") + 1).contains(&whole), "{whole} packets");
}

#[test]
#[ignore = "needs root"]
fn an_output_that_was_slow_gets_everything_that_was_not_dropped() {
    let (here, there) = Namespace::pair();
    let mut capture = Tracer::capture_into(&there, "-i veth1 -B 64 --port 8888", Stdio::piped());
    traffic::flood(&here, "veth0", FLOOD);
    capture.signal(Signal::SIGTERM);
    let mut text = String::new();
    capture.take_stdout().read_to_string(&mut text).expect("text");
    let ended = capture.end();
    assert_identity(&ended, 0);
    let lines = text.lines().filter(|line| !line.is_empty()).count();
    assert_eq!(lines as u64, ended.count("captured"));
}

#[test]
#[ignore = "needs root"]
fn a_count_is_kept_however_slow_the_reader() {
    /// Their lines fill a pipe, and the writer has room for the rest.
    const COUNT: usize = 800;
    let (here, there) = Namespace::pair();
    let arguments = format!("-i veth1 -c {COUNT} --port 8888");
    let mut capture = Tracer::capture_into(&there, &arguments, Stdio::piped());
    traffic::flood(&here, "veth0", COUNT);
    // The count is reached, and the capture detached; the pipe is read only after a blocked output would have been
    // given up, were there no count.
    wait_until("the end of the capture", || neighbours::tcx_programs(&there, "veth1").is_empty());
    thread::sleep(Duration::from_millis(2500));
    let mut text = String::new();
    capture.take_stdout().read_to_string(&mut text).expect("text");
    let ended = capture.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(text.lines().count(), COUNT);
    assert_eq!(ended.count("captured"), COUNT as u64);
}

#[test]
#[ignore = "needs root"]
fn whole_packets_fit_into_the_smallest_rings() {
    let (here, there) = Namespace::pair();
    for (namespace, device) in [(&here, "veth0"), (&there, "veth1")] {
        namespace.ip(&format!("link set {device} mtu 60000"));
    }
    let capture = Tracer::capture(&there, "-v -c 3 -i veth1 -B 4 --port 8888");
    for length in [1600, 9300, 50_000] {
        traffic::raw_frame(&here, "veth0", &traffic::long_frame(length));
    }
    assert_eq!(capture.end().count("captured"), 3);
}

#[test]
#[ignore = "needs root"]
fn a_count_ends_the_capture_without_an_empty_line() {
    let namespace = Namespace::new();
    let capture = Tracer::capture(&namespace, "-t -i lo -c 3 --port 8888");
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    let ended = capture.end();
    assert!(ended.status.success());
    assert_eq!(ended.stdout.lines().count(), 3, "{}", ended.stdout);
    assert_eq!(ended.count("captured"), 3);
    assert!(ended.count("received by filter") >= 3);
}

#[test]
#[ignore = "needs root"]
fn a_closed_pipe_ends_the_capture_quietly() {
    let namespace = Namespace::new();
    let mut capture = Tracer::capture_into(&namespace, "-l -i lo --port 8888", Stdio::piped());
    drop(capture.take_stdout());
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    let ended = capture.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let not_written = ended.count("not written: the output was blocked, closed or full");
    assert_identity(&ended, not_written);
}

#[test]
#[ignore = "needs root"]
fn an_output_that_fails_is_an_error() {
    let namespace = Namespace::new();
    let full = File::options().write(true).open("/dev/full").expect("a device");
    let capture = Tracer::capture_into(&namespace, "-l -i lo --port 8888", full.into());
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("cannot write to standard output: No space left on device"),
        "{}",
        ended.stderr
    );
}

#[test]
#[ignore = "needs root"]
fn sigusr1_reports_and_sigterm_ends() {
    let namespace = Namespace::new();
    let capture = Tracer::capture(&namespace, "-l -i lo --port 8888");
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    capture.wait_for_stdout(&marker);
    capture.signal(Signal::SIGUSR1);
    capture.wait_for_stderr(" received by filter, 0 packets dropped by kernel\n");
    capture.signal(Signal::SIGTERM);
    let ended = capture.end();
    assert!(ended.status.success());
    assert_identity(&ended, 0);
}

#[test]
#[ignore = "needs root"]
fn a_hang_up_ends_a_capture_in_order() {
    let namespace = Namespace::new();
    let capture = Tracer::capture(&namespace, "-i lo --port 8888");
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    capture.signal(Signal::SIGHUP);
    let ended = capture.end();
    assert!(ended.status.success());
    assert_eq!(ended.lines().len() as u64, ended.count("captured"));
}

#[test]
#[ignore = "needs root"]
fn no_wake_up_is_lost() {
    const ROUNDS: u32 = 2000;
    let (here, there) = Namespace::pair();
    let mut capture = Tracer::capture_into(&there, "-t -l -i veth1 --port 8888", Stdio::piped());
    let mut pipe = capture.take_stdout();
    let sender = traffic::Sender::new(&here, "veth0", &traffic::tagged(&[]));
    let mut buffer = [0; 4096];
    for round in 0..ROUNDS {
        sender.send();
        // Hangs here if the packet does not wake the daemon.
        let count = pipe.read(&mut buffer).expect("it runs");
        assert_eq!(buffer[..count].iter().filter(|byte| **byte == b'\n').count(), 1);
        // The next packet comes at every moment of the daemon's way back to sleep.
        let pause = std::time::Instant::now();
        while pause.elapsed().as_micros() < u128::from(round * 7 % 2500) {
            std::hint::spin_loop();
        }
    }
    let ended = capture.interrupt();
    assert_eq!(ended.count("captured"), u64::from(ROUNDS));
}

/// How often the main thread of a process has gone to sleep.
fn sleeps(capture: &Tracer) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", capture.pid())).expect("it runs");
    let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    switches.expect("a line").trim().parse().expect("a number")
}

/// Under load no packet wakes the daemon: it comes back by itself, once in a drain interval (1 to 8 ms).
#[test]
#[ignore = "needs root"]
fn under_load_packets_do_not_wake_the_daemon() {
    let (here, there) = Namespace::pair();
    let capture = Tracer::capture(&there, "-i veth1 --port 8888");
    let before = sleeps(&capture);
    traffic::flood(&here, "veth0", FLOOD);
    let slept = sleeps(&capture) - before;
    let ended = capture.interrupt();
    assert_eq!(ended.count("captured"), FLOOD as u64);
    assert!(slept < FLOOD as u64 / 10, "{slept} sleeps for {FLOOD} packets");
}

#[test]
#[ignore = "needs root"]
fn stamps_of_two_sending_cpus_are_merged() {
    const EACH: usize = 20_000;
    let (here, there) = Namespace::pair();
    let capture = Tracer::capture(&there, "-tt --nano -i veth1 --port 8888");
    thread::scope(|scope| {
        for cpu in 0..2 {
            let here = &here;
            scope.spawn(move || traffic::flood_from(here, "veth0", cpu, EACH));
        }
    });
    let ended = capture.interrupt();
    assert_identity(&ended, 0);
    let lines = ended.lines();
    let stamps: Vec<&str> = lines.iter().map(|line| line.split(' ').next().expect("a stamp")).collect();
    assert!(stamps.is_sorted(), "stamps run backwards");
    // A record that comes too late has the stamp of the line before it. If the rings were read one after the other,
    // all of one CPU's would.
    let late = stamps.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(late < EACH / 4, "{late} of {} stamps are the line's before", stamps.len());
    // Each CPU's packets are numbered by their sequence numbers, and keep their order.
    for cpu in 0..2 {
        let port = format!(".{} > ", traffic::flood_port(cpu));
        let numbers: Vec<u32> =
            lines.iter().filter(|line| line.contains(&port)).map(|line| sequence(line)).collect();
        assert!(numbers.is_sorted(), "CPU {cpu}: packets out of order");
        assert!(!numbers.is_empty(), "CPU {cpu}: nothing");
    }
}

fn sequence(line: &str) -> u32 {
    let (_, rest) = line.split_once(" seq ").expect("a SYN");
    let (number, _) = rest.split_once(',').expect("a number");
    number.parse().expect("a number")
}
