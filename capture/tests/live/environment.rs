//! Where `capture` runs: with few privileges, little memory, few descriptors, in namespaces of other kinds, under a
//! storm of signals.

use std::{fs, net::IpAddr, time::Instant};

use nix::sys::signal::Signal;

use crate::{
    namespace::Namespace,
    others,
    process::{Ended, NEVER, Tracer, wait_until},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const CAPTURE: &str = env!("CARGO_BIN_EXE_capture");

/// That the program failed with one line on standard error, which has all of `words`.
fn assert_one_sentence(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "no `{word}` in: {}", ended.stderr);
    }
}

#[test]
#[ignore = "needs root"]
fn the_missing_capability_is_named() {
    let namespace = Namespace::new();
    for (capabilities, expected) in [
        ("-all", "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are missing"),
        ("-all,+bpf,+net_admin", "CAP_PERFMON is missing"),
        ("-all,+perfmon,+net_admin", "CAP_BPF is missing"),
        ("-all,+bpf,+perfmon", "CAP_NET_ADMIN is missing"),
    ] {
        for hook in ["tc", "xdp-generic"] {
            let arguments = format!("-p -i lo --hook {hook}");
            let ended = Tracer::unprivileged(&namespace, capabilities, &arguments).end();
            assert_one_sentence(&ended, &["capture: not permitted to ", expected, "grant what is missing"]);
        }
    }
    // Where others may read it.
    let program = std::env::temp_dir().join(format!("capture-unprivileged-{}", std::process::id()));
    fs::copy(CAPTURE, &program).expect("a copy");
    let arguments = format!("--reuid=65534 --clear-groups --inh-caps=-all {} -i lo", program.display());
    let ended = Tracer::program(&namespace, "setpriv", &arguments).end();
    fs::remove_file(&program).expect("it is ours");
    assert_one_sentence(&ended, &["run as root, or grant the capabilities once with `setcap cap_bpf,"]);
}

#[test]
#[ignore = "needs root"]
fn root_of_a_user_namespace_is_named() {
    let arguments = format!("--user --map-root-user {CAPTURE} -i lo");
    let ended = Tracer::program(&Namespace::new(), "unshare", &arguments).end();
    assert_one_sentence(&ended, &["not permitted to load eBPF programs", "user namespace", "outside of it"]);
}

/// However few descriptors there are: it starts, or says in one sentence that there are too few.
#[test]
#[ignore = "needs root"]
fn few_descriptors() {
    let namespace = Namespace::new();
    let mut started = 0;
    let mut refused = 0;
    for limit in 6..40 {
        let arguments = format!("--nofile={limit}:{limit} {CAPTURE} -i lo");
        let tracer = Tracer::program(&namespace, "prlimit", &arguments);
        wait_until("a start or an end", || tracer.has_ended() || tracer.stderr().contains("listening on"));
        if tracer.has_ended() {
            let ended = tracer.end();
            // The dynamic linker has its own words.
            if ended.status.code() != Some(127) {
                assert_one_sentence(&ended, &["open files", "ulimit"]);
                refused += 1;
            }
        } else {
            assert!(tracer.interrupt().status.success());
            started += 1;
        }
    }
    assert!(started > 0 && refused > 0, "{started} started, {refused} refused");
}

/// A signal interrupts the verifier, which is no reason to give up.
#[test]
#[ignore = "needs root"]
fn signals_while_it_starts() {
    let namespace = Namespace::new();
    for _ in 0..5 {
        let tracer = Tracer::program(&namespace, CAPTURE, "-i lo");
        let status = format!("/proc/{}/status", tracer.pid());
        // From here on the signal does not end it (proc(5), `SigBlk`).
        let holds_back = |status: &str| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
                .is_some_and(|mask| mask >> (Signal::SIGUSR1 as u32 - 1) & 1 == 1)
        };
        wait_until("a mask", || holds_back(&fs::read_to_string(&status).unwrap_or_default()));
        let start = Instant::now();
        while !tracer.stderr().contains("listening on") {
            assert!(!tracer.has_ended() && start.elapsed() < NEVER, "{}", tracer.stderr());
            tracer.signal(Signal::SIGUSR1);
        }
        assert!(tracer.interrupt().status.success());
    }
}

/// The first stamp of a line that `-tt` prints, in seconds.
fn stamp(ended: &Ended) -> f64 {
    let line = ended.lines()[0].to_owned();
    line.split(' ').next().expect("a word").parse().unwrap_or_else(|_| panic!("no stamp: {line}"))
}

/// A container may have clocks of its own. The kernel's stamps do not have them.
#[test]
#[ignore = "needs root"]
fn stamps_in_a_time_namespace() {
    let namespace = Namespace::new();
    for offset in ["7200", "86400000"] {
        let arguments =
            format!("--time --monotonic {offset} --boottime {offset} {CAPTURE} -n -tt -l -i lo --port 8888");
        let capture = Tracer::program(&namespace, "unshare", &arguments);
        capture.wait_for_stderr("listening on");
        let tcpdump = Tracer::tcpdump(&namespace, "-n -tt -i lo tcp port 8888");
        let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
        capture.wait_for_stdout(&marker);
        tcpdump.wait_for_stdout(&marker);
        let [capture, tcpdump] = [capture, tcpdump].map(Tracer::interrupt);
        let difference = (stamp(&capture) - stamp(&tcpdump)).abs();
        assert!(difference < 1.0, "{}{}", capture.stdout, tcpdump.stdout);
    }
}

/// What the two processes need at most apart from the rings, in KiB. Each ring is mapped twice in a row. These 11 MiB are
/// those of a release build: most of it is code, and that of a debug build takes 8 MiB more in each.
#[test]
#[ignore = "needs root"]
fn the_start_needs_little_memory() {
    const MOST: u64 = if cfg!(debug_assertions) { 27 } else { 11 } * 1024;
    const RINGS: u64 = 4096;

    let capture = Tracer::capture(&Namespace::new(), &format!("-i lo -B {RINGS}"));
    let peak = |process| -> u64 {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
        peak.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let others = (peak(capture.pid()) + peak(capture.helper())).saturating_sub(2 * RINGS);
    assert!(others < MOST, "{others} KiB apart from the rings");
    assert!(capture.interrupt().status.success());
}

#[test]
#[ignore = "needs root"]
fn a_record_of_another_program_is_counted_and_does_not_end_the_capture() {
    let namespace = Namespace::new();
    let capture = Tracer::capture(&namespace, "-n -l -i lo --port 8888");
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    others::write_to_ring_of(capture.pid(), *b"junk");
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    capture.wait_for_stdout(&traffic::marker(&namespace, LOOPBACK, LOOPBACK));
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    let line = "\n1 record in the ring buffers is not capture's own: ";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
    let received = ended.count("received by filter");
    assert_eq!((received, ended.lines().len() as u64), (ended.count("captured"), received));
    assert!(received >= 20, "{}", ended.stderr);
}
