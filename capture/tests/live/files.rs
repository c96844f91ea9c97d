//! `-w`, live: the files are read by the real tools, and by capture itself.

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    namespace::{Namespace, own_mounts},
    process::{Tracer, wait_until},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// What a program prints of a file.
fn printed(program: &str, arguments: &str, file: &Path) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments.split_whitespace()).arg(file).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments} {}: {stderr}", file.display());
    String::from_utf8(output.stdout).expect("text")
}

fn tcpdump(file: &Path) -> String {
    printed("tcpdump", "-n -t -S -r", file)
}

/// The text of a capture that also writes `name`, with the options `more`.
fn text_and_file(folder: &TempDir, name: &str, more: &str) -> (String, std::path::PathBuf) {
    let file = folder.path().join(name);
    let namespace = Namespace::new();
    let arguments = format!("-i lo -t -S --print -l --port 8888 -w {} {more}", file.display());
    let capture = Tracer::capture(&namespace, &arguments);
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    capture.wait_for_stdout(&traffic::marker(&namespace, LOOPBACK, LOOPBACK));
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.count("captured"), ended.count("received by filter"));
    (ended.stdout.trim_end().to_owned(), file)
}

#[test]
#[ignore = "needs root"]
fn what_is_read_of_a_file_is_what_was_printed() {
    let folder = TempDir::new().expect("a folder");
    for (name, more) in
        [("a.pcap", ""), ("b.pcapng", ""), ("c.pcap", "--headers"), ("d", "--format pcapng --headers --nano")]
    {
        let (text, file) = text_and_file(&folder, name, more);
        assert_eq!(tcpdump(&file).trim_end(), text, "{name}");
        let arguments = "-n -t -S -r";
        assert_eq!(printed(env!("CARGO_BIN_EXE_capture"), arguments, &file).trim_end(), text, "{name}");
        let frames = printed("tshark", "-r", &file);
        assert_eq!(frames.lines().count(), text.lines().count(), "{name}");
        printed("capinfos", "-c", &file);
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o7777, 0o600);
    }
}

/// What tshark shows of the blocks around the packets.
#[test]
#[ignore = "needs root"]
fn pcapng_has_the_interface_the_directions_and_the_comments() {
    let folder = TempDir::new().expect("a folder");
    let (here, there) = Namespace::pair();
    let file = folder.path().join("x.pcapng");
    let capture =
        Tracer::capture(&there, &format!("-i veth1 --port 8888 --explain -U -w {}", file.display()));
    traffic::nc_session(&there, &here, "10.0.0.2".parse().expect("an address"));
    wait_until("the end of the session", || {
        fs::read(&file).expect("a file").windows(15).any(|bytes| bytes == b"closes its side")
    });
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    let shown = printed(
        "tshark",
        "-T fields -e frame.interface_name -e frame.packet_flags_direction -e frame.comment -r",
        &file,
    );
    let first = shown.lines().next().expect("a line");
    assert!(first.starts_with("veth1\t0x00000001\t10.0.0.1."), "{first}");
    assert!(first.ends_with(" > 10.0.0.2.8888: the client opens a connection"), "{first}");
    assert!(shown.lines().any(|line| line.starts_with("veth1\t0x00000002\t")), "{shown}");
}

/// Each file is complete in itself: also one that another follows ends with the accounts of the capture so far.
#[test]
#[ignore = "needs root"]
fn each_file_of_a_ring_has_the_accounts() {
    let folder = TempDir::new().expect("a folder");
    let namespace = Namespace::new();
    let file = folder.path().join("x.pcapng");
    let arguments = format!("-i lo --port 8888 --ring-buffer packets:2 -w {}", file.display());
    let capture = Tracer::capture(&namespace, &arguments);
    traffic::nc_session(&namespace, &namespace, LOOPBACK);
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    let mut files = 0;
    for file in fs::read_dir(folder.path()).expect("a folder") {
        let shown = printed("capinfos", "", &file.expect("a file").path());
        let entries = shown.lines().find_map(|line| line.trim().strip_prefix("Number of stat entries = "));
        assert!(entries.is_some_and(|count| count != "0"), "{shown}");
        files += 1;
    }
    assert!(files > 2, "{files} files");
}

/// What the rings had no room for is at the packet after it.
#[test]
#[ignore = "needs root"]
fn losses_are_at_the_next_packet() {
    const FLOOD: usize = 20_000;
    let folder = TempDir::new().expect("a folder");
    let (here, there) = Namespace::pair();
    let file = folder.path().join("x.pcapng");
    let arguments = format!("-i veth1 -Q in --port 8888 -B 64 -w {}", file.display());
    let capture = Tracer::capture(&there, &arguments);
    capture.signal(Signal::SIGSTOP);
    traffic::flood(&here, "veth0", FLOOD);
    capture.signal(Signal::SIGCONT);
    let shown = || printed("tshark", "-T fields -e frame.drop_count -r", &file);
    wait_until("losses in the file", || {
        traffic::flood(&here, "veth0", 1);
        shown().lines().any(|line| !line.is_empty())
    });
    let ended = capture.interrupt();
    let shown = shown();
    let lost: u64 = shown.lines().filter_map(|line| line.parse::<u64>().ok()).sum();
    assert!(lost > 0);
    assert_eq!(lost, ended.count("dropped by kernel"), "{}", ended.stderr);
    assert_eq!(shown.lines().count() as u64, ended.count("captured"));
}

/// An interface in a pcapng file: its name, its packets, and what its last accounts say of packets.
#[derive(Debug, Default, PartialEq)]
struct Account {
    name: String,
    packets: u64,
    accepted: u64,
    dropped: u64,
    delivered: u64,
}

fn accounts(file: &Path) -> Vec<Account> {
    let file = fs::read(file).expect("a file");
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("a word"));
    let mut interfaces: Vec<Account> = Vec::new();
    let mut block = 0;
    while block < file.len() {
        let (kind, length, number) = (word(block), word(block + 4) as usize, word(block + 8) as usize);
        // An interface's options come after its link type and snaplen, those of accounts after a time.
        let mut option = block + if kind == 1 { 16 } else { 20 };
        match kind {
            1 => interfaces.push(Account::default()),
            5 => {}
            6 => interfaces[number].packets += 1,
            _ => {}
        }
        while matches!(kind, 1 | 5) && option + 4 < block + length - 4 {
            let (code, size) = (word(option) & 0xffff, (word(option) >> 16) as usize);
            let value = &file[option + 4..option + 4 + size];
            let count = || u64::from_le_bytes(value.try_into().expect("a number"));
            match (kind, code) {
                (1, 2) => {
                    interfaces.last_mut().expect("one").name = String::from_utf8_lossy(value).into_owned()
                }
                (5, 6) => interfaces[number].accepted = count(),
                (5, 7) => interfaces[number].dropped = count(),
                (5, 8) => interfaces[number].delivered = count(),
                _ => {}
            }
            option += 4 + size.next_multiple_of(4);
        }
        block += length;
    }
    interfaces
}

/// Those of an interface that comes later and of one that gets another name, too.
#[test]
#[ignore = "needs root"]
fn each_interface_has_its_losses() {
    const FLOOD: u64 = 20_000;
    let folder = TempDir::new().expect("a folder");
    let (here, there) = Namespace::pair();
    let file = folder.path().join("x.pcapng");
    let arguments = format!("-i lo -i veth1 -Q in --wait --port 8888 -B 64 -w {}", file.display());
    let capture = Tracer::capture(&there, &arguments);
    let losses = |name: &str| {
        let found = accounts(&file).into_iter().find(|account| account.name == name);
        found.map_or(0, |account| account.dropped)
    };
    let flood = |interface: &'static str, from: &Namespace, named: &str| {
        capture.signal(Signal::SIGSTOP);
        traffic::flood(from, interface, FLOOD as usize);
        capture.signal(Signal::SIGCONT);
        wait_until("losses in the file", || {
            traffic::flood(from, interface, 1);
            losses(named) > 0
        });
    };
    flood("lo", &there, "lo");
    flood("veth0", &here, "veth1");
    there.ip("link set veth1 down");
    there.ip("link set veth1 name other");
    there.ip("link set other up");
    flood("veth0", &here, "other");
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    let accounts = accounts(&file);
    let names: Vec<_> = accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["lo", "veth1", "other"]);
    for Account { name, packets, accepted, dropped, delivered } in &accounts {
        assert_eq!(packets, delivered, "{accounts:?}");
        assert_eq!(*accepted, delivered + dropped, "{accounts:?}");
        assert!(*dropped > 0 && *accepted >= FLOOD, "{accounts:?}");
        let line = format!("{name}: {dropped} packets dropped by kernel\n");
        assert!(ended.stderr.contains(&line), "{line}{}", ended.stderr);
    }
    let sum = |count: fn(&Account) -> u64| accounts.iter().map(count).sum::<u64>();
    assert_eq!(sum(|account| account.dropped), ended.count("packets dropped by kernel"), "{}", ended.stderr);
    assert_eq!(sum(|account| account.accepted), ended.count("received by filter"), "{}", ended.stderr);
    assert_eq!(sum(|account| account.delivered), ended.count("captured"), "{}", ended.stderr);
}

/// Also when no packet comes after them, and the capture is killed.
#[test]
#[ignore = "needs root"]
fn losses_are_told_on_a_wire_that_is_silent_again() {
    const FLOOD: u64 = 20_000;
    let folder = TempDir::new().expect("a folder");
    let (here, there) = Namespace::pair();
    let (file, json) = (folder.path().join("x.pcapng"), folder.path().join("x.json"));
    let outputs = format!("-w {} --json={}", file.display(), json.display());
    let arguments = format!("-i veth1 -Q in --port 8888 -B 64 {outputs}");
    let capture = Tracer::capture(&there, &arguments);
    let account = || accounts(&file).pop().expect("an interface");
    let told = || -> u64 {
        let lines = fs::read_to_string(&json).expect("text");
        let losses = lines.lines().filter_map(|line| line.split_once("\"dropped_by_kernel\":"));
        losses
            .map(|(_, rest)| rest.split(',').next().expect("a number").parse::<u64>().expect("a number"))
            .sum()
    };
    for round in 1..=3 {
        // With the first packet everything has been said for this second.
        let before = account().packets;
        traffic::flood(&here, "veth0", 1);
        wait_until("a packet", || account().packets > before);
        capture.signal(Signal::SIGSTOP);
        traffic::flood(&here, "veth0", FLOOD as usize);
        capture.signal(Signal::SIGCONT);
        wait_until("the accounts of all", || account().accepted == round * (FLOOD + 1));
        let Account { packets, dropped, delivered, .. } = account();
        assert_eq!((packets, packets + dropped), (delivered, round * (FLOOD + 1)));
        wait_until("the losses in JSON", || told() == dropped);
        let said = || -> u64 {
            let said = capture.stderr();
            let lost = said
                .lines()
                .filter_map(|line| line.strip_suffix(" packets lost: the ring buffers were full"));
            lost.map(|line| line.trim_start_matches("capture: ").parse::<u64>().expect("a number")).sum()
        };
        wait_until("the losses in words", || said() == dropped);
    }
    let before = account();
    capture.signal(Signal::SIGKILL);
    capture.end();
    assert!(before.dropped > 0);
    assert_eq!(account(), before);
}

/// Everything up to a second before is readable.
#[test]
#[ignore = "needs root"]
fn a_file_is_readable_after_sigkill() {
    let folder = TempDir::new().expect("a folder");
    for name in ["x.pcap", "x.pcapng"] {
        let file = folder.path().join(name);
        let namespace = Namespace::new();
        let capture = Tracer::capture(&namespace, &format!("-i lo --port 8888 -w {}", file.display()));
        // The header is there at once.
        assert_eq!(tcpdump(&file), "");
        traffic::nc_session(&namespace, &namespace, LOOPBACK);
        traffic::marker(&namespace, LOOPBACK, LOOPBACK);
        wait_until("the last packet", || printed("tcpdump", "-n -r", &file).contains("Flags [S]"));
        capture.signal(Signal::SIGKILL);
        capture.end();
        printed("tshark", "-r", &file);
        printed("capinfos", "-c", &file);
        assert_ne!(tcpdump(&file), "");
    }
}

/// The packets that a full disk does not take are counted, what is there is readable, and the text goes on.
#[test]
#[ignore = "needs root"]
fn a_full_disk_leaves_the_text_alone() {
    const FLOOD: usize = 10_000;
    let folder = TempDir::new().expect("a folder");
    let disk = folder.path().display().to_string();
    let (here, there) = Namespace::pair();
    there.run(own_mounts);
    there.output(&format!("mount -t tmpfs -o size=256k tmpfs {disk}"));
    for name in ["x.pcap", "x.pcapng"] {
        let file = folder.path().join(name);
        let shown = file.display().to_string();
        let capture = Tracer::capture(&there, &format!("-i veth1 --port 8888 --print -w {shown}"));
        traffic::flood(&here, "veth0", FLOOD);
        capture.wait_for_stderr("No space left on device");
        let ended = capture.interrupt();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains(", TCP packets only\n"), "{}", ended.stderr);
        assert_eq!(ended.lines().iter().filter(|line| !line.is_empty()).count(), FLOOD, "{}", ended.stderr);
        let complaint = format!("capture: cannot write to {shown}: No space left on device");
        assert_eq!(ended.stderr.matches(&complaint).count(), 1, "{}", ended.stderr);
        let missing = format!("{shown}: ");
        let line = ended.stderr.lines().find(|line| line.starts_with(&missing));
        let line = line.expect("the packets that are missing");
        let missing: usize =
            line[missing.len()..].split(' ').next().and_then(|number| number.parse().ok()).expect(line);
        // What is there is whole.
        for (program, arguments) in [("tcpdump", "-n -r"), ("tshark", "-n -r"), ("capinfos", "-c -M")] {
            let read = file.clone();
            let printed = there.run(move || printed(program, arguments, &read));
            let count = match program {
                "capinfos" => printed.split_whitespace().last().and_then(|count| count.parse().ok()),
                _ => Some(printed.lines().count()),
            };
            assert_eq!(count.map(|count| count + missing), Some(FLOOD), "{program} {name}: {printed}");
        }
        there.output(&format!("rm {shown}"));
    }
}

/// On an idle link, too: as many files as asked for, one for each second, and the end of the run.
#[test]
#[ignore = "needs root"]
fn periods_end_without_a_packet() {
    let folder = TempDir::new().expect("a folder");
    let namespace = Namespace::new();
    let pattern = folder.path().join("x-%s.pcap");
    let capture =
        Tracer::capture(&namespace, &format!("-i lo --port 8888 -G 1 -W 3 -w {}", pattern.display()));
    capture.wait_for_stderr("Maximum file limit reached: 3");
    let ended = capture.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    let mut files: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert_eq!(files.len(), 3);
    for file in files {
        assert_eq!(tcpdump(&file), "");
    }
}

/// Packets that come after the limit are in no file, and they are counted.
#[test]
#[ignore = "needs root"]
fn what_comes_after_the_limit_is_counted() {
    const FLOOD: usize = 20_000;
    let folder = TempDir::new().expect("a folder");
    let (here, there) = Namespace::pair();
    let file = folder.path().join("x");
    let arguments = format!("-i veth1 -Q in --port 8888 --autostop packets:100 -w {}", file.display());
    let capture = Tracer::capture(&there, &arguments);
    traffic::flood(&here, "veth0", FLOOD);
    let ended = capture.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(tcpdump(&file).lines().count(), 100);
    assert_eq!(ended.count("captured"), 100);
    let beyond = ended.count("after the limit");
    let received = ended.count("received by filter");
    assert_eq!(received, 100 + beyond + ended.count("dropped by kernel"), "{}", ended.stderr);
}

/// A pipe that no one reads: a signal ends the capture all the same.
#[test]
#[ignore = "needs root"]
fn a_pipe_without_a_reader_does_not_hold_up_the_end() {
    let folder = TempDir::new().expect("a folder");
    let namespace = Namespace::new();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let capture = Tracer::capture(&namespace, &format!("-i lo --port 8888 -w {}", pipe.display()));
    traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    let ended = capture.interrupt();
    assert!(ended.stderr.contains("the output was blocked, closed or full"), "{}", ended.stderr);
}

/// Not even the header was written.
#[test]
#[ignore = "needs root"]
fn a_pipe_without_a_reader_is_no_success_without_packets_either() {
    let folder = TempDir::new().expect("a folder");
    let namespace = Namespace::new();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let ended = Tracer::capture(&namespace, &format!("-i lo --port 8888 -w {}", pipe.display())).interrupt();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let expected =
        format!("capture: {} is not closed: the output was blocked, closed or full; ", pipe.display());
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
}

/// The same packets in the same files, live.
#[test]
#[ignore = "needs root"]
fn rings_of_files_are_tcpdumps() {
    const FLOOD: usize = 40_000;
    let (here, there) = Namespace::pair();
    let [ours, theirs] = [(); 2].map(|()| TempDir::new().expect("a folder"));
    let arguments = |folder: &TempDir| {
        format!("-i veth1 -Q in -c {FLOOD} -C 1 -W 2 -Z root -w {}/x", folder.path().display())
    };
    let tcpdump = Tracer::tcpdump(&there, &format!("{} tcp", arguments(&theirs)));
    let capture = Tracer::capture(&there, &arguments(&ours));
    traffic::flood_from(&here, "veth0", 0, FLOOD);
    for tracer in [capture, tcpdump] {
        let ended = tracer.end();
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_eq!(ended.count("dropped by kernel"), 0, "{}", ended.stderr);
    }
    for name in ["x0", "x1"] {
        let [ours, theirs] = [&ours, &theirs].map(|folder| self::tcpdump(&folder.path().join(name)));
        assert!(
            ours == theirs,
            "{name}: {} lines, tcpdump's has {}",
            ours.lines().count(),
            theirs.lines().count()
        );
        assert!(ours.lines().count() > 1000);
    }
    assert_eq!(fs::read_dir(ours.path()).expect("a folder").count(), 2);
}
