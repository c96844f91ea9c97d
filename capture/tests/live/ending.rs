//! What ends a capture, and what must not: signals, and outputs that are closed, full or not read.

use std::{
    fs::{self, File},
    io::{self, PipeReader, Read as _, Write as _},
    net::IpAddr,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    libc,
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
};

use crate::{
    namespace::Namespace,
    neighbours::tcx_programs,
    process::{Ended, Tracer, wait_until},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const CAPTURE: &str = env!("CARGO_BIN_EXE_capture");
/// Packets whose records fit into the rings, and whose lines are many times what a pipe holds.
const MANY: usize = 20_000;

/// Every packet of [`MANY`] is in the output or counted as not written for the reason `why`; how many were not.
fn assert_account(ended: &Ended, why: &str) -> u64 {
    let words = format!("not written: {why}");
    let not_written = if ended.stderr.contains(&words) { ended.count(&words) } else { 0 };
    assert_eq!(ended.count("received by filter"), MANY as u64, "{}", ended.stderr);
    assert_eq!(ended.count("captured") + not_written, MANY as u64, "{}", ended.stderr);
    not_written
}

/// Reads a little at a time until the end: in minutes it would be through with [`MANY`] lines.
fn read_slowly(mut pipe: PipeReader) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let (mut text, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let count = pipe.read(&mut piece).expect("a pipe");
            if count == 0 {
                return String::from_utf8(text).expect("text");
            }
            text.extend_from_slice(&piece[..count]);
            thread::sleep(Duration::from_millis(100));
        }
    })
}

/// timeout(1) signals its child and then its group; a shell passes on the SIGHUP that the kernel sends as well.
#[test]
#[ignore = "needs root"]
fn two_signals_within_a_moment_lose_nothing() {
    /// Less than the time after which a second signal means something else.
    const MOMENT: Duration = Duration::from_secs(1);
    let (here, there) = Namespace::pair();
    let mut stalls = 0;
    let mut rounds = vec![
        (Signal::SIGTERM, Signal::SIGTERM, "when a program is detached"),
        (Signal::SIGINT, Signal::SIGINT, "when lines are written"),
        (Signal::SIGINT, Signal::SIGTERM, "at once"),
        (Signal::SIGTERM, Signal::SIGHUP, "when a program is detached"),
        (Signal::SIGHUP, Signal::SIGHUP, "when lines are written"),
        (Signal::SIGALRM, Signal::SIGQUIT, "at once"),
    ];
    while let Some((first, second, when)) = rounds.pop() {
        let capture = Tracer::capture(&there, "-i veth1 --port 8888");
        // The packets are in the rings when the first signal comes.
        capture.signal(Signal::SIGSTOP);
        traffic::flood(&here, "veth0", MANY);
        capture.signal(first);
        let start = Instant::now();
        if when == "at once" {
            capture.signal(second);
        }
        capture.signal(Signal::SIGCONT);
        if when != "at once" {
            wait_until(when, || match when {
                "when lines are written" => !capture.stdout().is_empty(),
                _ => tcx_programs(&there, "veth1").len() < 2,
            });
            // It may have ended already.
            capture.signal(second);
        }
        let is_within_a_moment = start.elapsed() < MOMENT;
        let ended = capture.end();
        if !is_within_a_moment {
            stalls += 1;
            assert!(stalls < 10, "the machine is too slow for this test");
            rounds.push((first, second, when));
            continue;
        }
        assert!(ended.status.success(), "{first} {second}: {}", ended.stderr);
        assert_eq!(ended.lines().len(), MANY, "{first} {second}: {}", ended.stderr);
        assert_eq!(assert_account(&ended, "a second signal"), 0);
    }
}

/// An output that takes nothing is given up, however many reports are asked for meanwhile.
#[test]
#[ignore = "needs root"]
fn other_signals_do_not_put_off_the_end() {
    let (here, there) = Namespace::pair();
    let (_reader, writer) = full_pipe();
    let capture = Tracer::capture_into(&there, "-i veth1 --port 8888", writer.into());
    traffic::flood(&here, "veth0", MANY);
    capture.signal(Signal::SIGTERM);
    wait_until("the end", || {
        for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
            capture.signal(signal);
        }
        capture.has_ended()
    });
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(assert_account(&ended, "the output was blocked, closed or full"), MANY as u64);
}

/// As many signals as a process can send do not keep out the packets.
#[test]
#[ignore = "needs root"]
fn a_storm_of_signals_does_not_hold_up_the_lines() {
    let (here, there) = Namespace::pair();
    let capture = Tracer::capture(&there, "-l -i veth1 --port 8888");
    let (pid, is_over) = (capture.pid(), Arc::new(AtomicBool::new(false)));
    let storm = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            while !is_over.load(Ordering::Relaxed) {
                kill(pid, Signal::SIGUSR2).expect("it runs");
            }
        }
    });
    traffic::flood(&here, "veth0", 1000);
    wait_until("the lines", || capture.stdout().lines().count() == 1000);
    capture.signal(Signal::SIGTERM);
    wait_until("the end", || capture.has_ended());
    is_over.store(true, Ordering::Relaxed);
    storm.join().expect("no panic");
    assert!(capture.end().status.success());
}

/// What would end the process by default ends the capture in order, so that nothing stays attached: not even where the
/// kernel keeps the programs when the process just dies.
#[test]
#[ignore = "needs root"]
fn every_signal_that_can_be_listened_to_ends_a_capture_in_order() {
    let (here, there) = Namespace::pair();
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGALRM,
        Signal::SIGTERM,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGXCPU,
        Signal::SIGIO,
        Signal::SIGPWR,
    ] {
        let capture = Tracer::without_tcx(&there, "-i veth1 --port 8888");
        capture.wait_for_stderr("listening on");
        let filters = |direction| there.output(&format!("tc filter show dev veth1 {direction}"));
        assert!(filters("ingress").contains("tc_ingress") && filters("egress").contains("tc_egress"));
        traffic::flood(&here, "veth0", 3);
        capture.signal(signal);
        let ended = capture.end();
        assert!(ended.status.success(), "{signal}: {:?}", ended.status);
        assert_eq!(ended.lines().len(), 3, "{signal}");
        assert_eq!(ended.count("captured"), 3, "{signal}");
        assert_eq!(["ingress", "egress"].map(filters), [""; 2], "{signal}");
    }
}

/// As tcpdump: nohup(1) keeps a hang-up away, a shell in the background cannot keep SIGINT away, and SIGPIPE and
/// SIGXFSZ belong to writes, which report what is wrong.
#[test]
#[ignore = "needs root"]
fn what_was_ignored_from_the_start_stays_ignored_except_an_interruption() {
    for has_proc in [true, false] {
        let namespace = Namespace::new();
        if !has_proc {
            namespace.with_an_empty("/proc");
        }
        let arguments = format!("--ignore-signal=HUP,INT,QUIT {CAPTURE} -l -i lo --port 8888");
        let capture = Tracer::start_with(&namespace, "env", &arguments, [None, None, None]);
        capture.wait_for_stderr("listening on");
        let ignored = [Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGWINCH];
        for (number, signal) in (1..).zip(ignored) {
            capture.signal(signal);
            let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
            wait_until("one more marker", || capture.stdout().matches(&marker).count() == number);
        }
        assert!(capture.interrupt().status.success());
    }
}

/// A file gets 4096 bytes at a time; tcpdump's `-w` file is what SIGUSR2 flushes there.
#[test]
#[ignore = "needs root"]
fn sigusr2_writes_out_what_is_buffered() {
    let namespace = Namespace::new();
    let buffered = Tracer::capture(&namespace, "-i lo --port 8888");
    let at_once = Tracer::capture(&namespace, "-l -i lo --port 8888");
    let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    at_once.wait_for_stdout(&marker);
    assert_eq!(buffered.stdout(), "");
    // Also where there is nothing to write, or nothing any more.
    wait_until("the lines", || {
        buffered.signal(Signal::SIGUSR2);
        buffered.stdout().contains(&marker)
    });
    let ended = buffered.interrupt();
    assert!(ended.status.success());
    assert_eq!(ended.lines().len() as u64, ended.count("captured"));
    drop(at_once);
}

/// Ctrl-C twice, on a terminal: the second does not wait for an output that takes its time, and is named as the cause.
#[test]
#[ignore = "needs root"]
fn a_second_interruption_from_the_terminal_ends_a_capture_at_once() {
    const INTERRUPT: &[u8] = b"\x03";
    let (here, there) = Namespace::pair();
    let (mut keyboard, slave) = terminal();
    let (reader, writer) = io::pipe().expect("a pipe");
    let arguments = format!("--ctty {CAPTURE} -i veth1 --port 8888");
    let capture =
        Tracer::start_with(&there, "setsid", &arguments, [Some(slave.into()), Some(writer.into()), None]);
    capture.wait_for_stderr("listening on");
    traffic::flood(&here, "veth0", MANY);
    keyboard.write_all(INTERRUPT).expect("a terminal");
    let reader = read_slowly(reader);
    wait_until("the detachment", || tcx_programs(&there, "veth1").is_empty());
    keyboard.write_all(INTERRUPT).expect("a terminal");
    let ended = capture.end();
    let text = reader.join().expect("no panic");
    assert_eq!(ended.status.code(), Some(1));
    let cause = "a second signal ended the capture at once";
    assert!(assert_account(&ended, cause) > 0, "{}", ended.stderr);
    assert!(
        ended.stderr.ends_with(&format!("capture: the capture is incomplete: {cause}\n")),
        "{}",
        ended.stderr
    );
    assert_eq!(text.matches("Flags [").count() as u64, ended.count("captured"));
}

/// Without a terminal a signal seconds after the first does the same.
#[test]
#[ignore = "needs root"]
fn a_signal_seconds_later_ends_a_capture_at_once() {
    let (here, there) = Namespace::pair();
    let (reader, writer) = io::pipe().expect("a pipe");
    let capture = Tracer::capture_into(&there, "-i veth1 --port 8888", writer.into());
    traffic::flood(&here, "veth0", MANY);
    let reader = read_slowly(reader);
    capture.signal(Signal::SIGTERM);
    wait_until("the end", || {
        let gone = fs::read_to_string(format!("/proc/{}/stat", capture.pid()))
            .is_ok_and(|stat| stat.contains(") Z "));
        if !gone {
            capture.signal(Signal::SIGTERM);
        }
        gone
    });
    let ended = capture.end();
    let text = reader.join().expect("no panic");
    assert!(assert_account(&ended, "a second signal ended the capture at once") > 0, "{}", ended.stderr);
    assert_eq!(text.matches("Flags [").count() as u64, ended.count("captured"));
}

/// After -c the output has all the time it needs, until a signal comes.
#[test]
#[ignore = "needs root"]
fn a_signal_ends_the_wait_after_a_count() {
    /// Their lines fill a pipe, and the writer has room for the rest.
    const COUNT: usize = 800;
    let (here, there) = Namespace::pair();
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let capture = Tracer::capture_into(&there, &format!("-c {COUNT} -i veth1 --port 8888"), writer.into());
    traffic::flood(&here, "veth0", COUNT);
    wait_until("the count", || tcx_programs(&there, "veth1").is_empty());
    capture.signal(Signal::SIGTERM);
    let ended = capture.end();
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    assert_eq!(ended.status.code(), Some(1));
    let not_written = ended.count("not written: the output was blocked, closed or full");
    assert!(not_written > 0);
    assert_eq!(ended.count("captured") + not_written, COUNT as u64);
    assert_eq!(text.lines().count() as u64, ended.count("captured"));
}

/// A pipe that has no room left.
fn full_pipe() -> (PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    while poll(&mut [PollFd::new(writer.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(1) {
        writer.write_all(&[b'.'; 4096]).expect("a pipe");
    }
    (reader, writer)
}

fn threads(capture: &Tracer) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", capture.pid())).expect("it runs");
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).expect("a line");
    threads.trim().parse().expect("a number")
}

/// Standard error that is not read holds up neither the lines nor the end, and costs no thread per message.
#[test]
#[ignore = "needs root"]
fn a_standard_error_that_is_not_read_holds_up_nothing() {
    let (here, there) = Namespace::pair();
    for log in ["", "--log-level trace"] {
        let (mut reader, writer) = full_pipe();
        let arguments = format!("-l -i veth1 --port 8888 {log}");
        let capture = Tracer::start_with(&there, CAPTURE, &arguments, [None, None, Some(writer.into())]);
        wait_until("the attachment", || tcx_programs(&there, "veth1").len() == 2);
        traffic::flood(&here, "veth0", 1000);
        wait_until("the lines", || capture.stdout().lines().count() == 1000);
        let before = threads(&capture);
        for _ in 0..1000 {
            capture.signal(Signal::SIGUSR1);
        }
        traffic::flood(&here, "veth0", 1000);
        wait_until("more lines", || capture.stdout().lines().count() == 2000);
        assert_eq!(threads(&capture), before);
        capture.signal(Signal::SIGTERM);
        let ended = capture.end();
        assert!(ended.status.success());
        assert_eq!(ended.lines().len(), 2000);
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("text");
        assert!(said.chars().all(|character| character == '.'), "{said}");
    }
}

/// When standard error is read again, it says how much is missing, and the last words come.
#[test]
#[ignore = "needs root"]
fn messages_that_were_dropped_are_counted() {
    let (here, there) = Namespace::pair();
    let (mut reader, writer) = full_pipe();
    let arguments = "-i veth1 --port 8888 --log-level trace";
    let capture = Tracer::start_with(&there, CAPTURE, arguments, [None, None, Some(writer.into())]);
    wait_until("the attachment", || tcx_programs(&there, "veth1").len() == 2);
    // A message for each of them is more than waits at most.
    traffic::flood(&here, "veth0", MANY);
    let said = Arc::new(Mutex::new(String::new()));
    let so_far = || said.lock().expect("no panic").clone();
    let reader = thread::spawn({
        let said = Arc::clone(&said);
        let mut piece = [0; 4096];
        move || loop {
            match reader.read(&mut piece).expect("a pipe") {
                0 => return,
                count => said.lock().expect("no panic").push_str(&String::from_utf8_lossy(&piece[..count])),
            }
        }
    });
    wait_until("a count", || {
        so_far().contains("message(s) dropped here: standard error did not take them in time\n")
    });
    assert!(so_far().contains("capture: listening on veth1"), "{}", so_far());
    capture.signal(Signal::SIGTERM);
    assert!(capture.end().status.success());
    reader.join().expect("no panic");
    let last = format!("{MANY} packets received by filter\n0 packets dropped by kernel\n");
    assert!(so_far().ends_with(&last), "{}", so_far());
}

/// Neither output is read: the capture ends all the same. So does one that cannot begin.
#[test]
#[ignore = "needs root"]
fn outputs_that_are_not_read_do_not_hold_up_the_end() {
    let (here, there) = Namespace::pair();
    for arguments in ["-i veth1 --port 8888", "-c 5000 -i veth1 --port 8888"] {
        let ((mut output, stdout), (_error, stderr)) = (full_pipe(), full_pipe());
        let streams = [None, Some(stdout.into()), Some(stderr.into())];
        let capture = Tracer::start_with(&there, CAPTURE, arguments, streams);
        wait_until("the attachment", || tcx_programs(&there, "veth1").len() == 2);
        traffic::flood(&here, "veth0", MANY);
        capture.signal(Signal::SIGTERM);
        assert_eq!(capture.end().status.code(), Some(1));
        let mut text = String::new();
        output.read_to_string(&mut text).expect("text");
        assert!(text.chars().all(|character| character == '.'));
    }
    let (_error, stderr) = full_pipe();
    let failing = Tracer::start_with(&there, CAPTURE, "-i nosuch", [None, None, Some(stderr.into())]);
    assert_eq!(failing.end().status.code(), Some(1));
}

/// A file in a file system of 256 KiB: it takes a part of a write.
fn file_in_a_small_file_system() -> File {
    const NOTHING: Option<&str> = None;
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).expect("private mounts");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        mount(NOTHING, directory, Some("tmpfs"), MsFlags::empty(), Some("size=256k")).expect("a mount");
        let path = directory.join("output");
        File::options().read(true).write(true).create_new(true).open(path).expect("a file")
    })
    .join()
    .expect("no panic")
}

/// The summary counts what is in the output to the packet, however much of a write was taken.
#[test]
#[ignore = "needs root"]
fn a_full_output_holds_what_was_counted() {
    use std::io::Seek as _;

    let (here, there) = Namespace::pair();
    let limited =
        |limit: &str, arguments: &str| ("prlimit", format!("--fsize={limit} {CAPTURE} {arguments}"));
    let arguments = "-i veth1 --port 8888";
    for (mut file, (program, arguments), error) in [
        (file_in_a_small_file_system(), (CAPTURE, arguments.to_owned()), "No space left on device"),
        (file_in_a_small_file_system(), (CAPTURE, format!("-e -v {arguments}")), "No space left on device"),
        (tempfile(), limited("100001", arguments), "File too large"),
        (tempfile(), limited("100001", &format!("-l {arguments}")), "File too large"),
    ] {
        let stdout = file.try_clone().expect("a descriptor");
        let capture = Tracer::start_with(&there, program, &arguments, [None, Some(stdout.into()), None]);
        capture.wait_for_stderr("listening on");
        traffic::flood(&here, "veth0", MANY);
        let ended = capture.end();
        assert_eq!(ended.status.code(), Some(1), "{:?}", ended.status);
        let error = format!("capture: cannot write to standard output: {error}\n");
        assert!(ended.stderr.ends_with(&error), "{}", ended.stderr);
        file.rewind().expect("a file");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("text");
        // With -v a packet has two lines, of which the second has the flags.
        let is_whole = |line: &&str| line.contains("Flags [") && line.ends_with('\n');
        let whole = text.split_inclusive('\n').filter(is_whole).count() as u64;
        assert_eq!(ended.count("captured"), whole, "{arguments}: {}", ended.stderr);
        assert!(whole > 0);
        let lost = ended.count("dropped by kernel")
            + ended.count("not written: the output was blocked, closed or full");
        assert_eq!(ended.count("received by filter"), ended.count("captured") + lost);
    }
}

/// A file without a name.
fn tempfile() -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("limited-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
    fs::remove_file(path).expect("it is ours");
    file
}

/// Both ends of a pseudo-terminal, of which processes that are started get only what is passed on to them.
fn terminal() -> (File, File) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("a pseudo-terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
    let path = ptsname_r(&master).expect("a name");
    let slave = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path);
    (OwnedFd::from(master).into(), slave.expect("a pseudo-terminal"))
}

/// Its window is gone, and nothing more can be written.
#[test]
#[ignore = "needs root"]
fn a_terminal_that_goes_away_is_an_error() {
    let namespace = Namespace::new();
    let (master, slave) = terminal();
    let capture = Tracer::capture_into(&namespace, "-i lo --port 8888", slave.into());
    drop(master);
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1));
    let error = "capture: cannot write to standard output: Input/output error\n";
    assert!(ended.stderr.ends_with(error), "{}", ended.stderr);
    assert_eq!(ended.count("captured"), 0);
}

/// Rust's runtime opens /dev/null in place of a closed descriptor, which takes everything.
#[test]
#[ignore = "needs root"]
fn a_closed_output_is_an_error_at_the_start() {
    let namespace = Namespace::new();
    let run = |closing: &str| -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {CAPTURE} -c 1 -i lo --port 8888 {closing}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        namespace.run(move || command.output().expect("it starts"))
    };
    for closing in [">&-", ">&- <&-"] {
        let output = run(closing);
        assert_eq!(output.status.code(), Some(1), "{closing}");
        let error = "capture: cannot write to standard output: Bad file descriptor\n";
        assert_eq!(String::from_utf8_lossy(&output.stderr), error);
    }
    assert_eq!(run(">&- 2>&-").status.code(), Some(1));
}
