//! Outputs that are closed, full or limited, and time zones that are none: what needs no privileges.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{sys::stat::Mode, unistd::mkfifo};

const CAPTURE: &str = env!("CARGO_BIN_EXE_capture");

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/walkthrough.pcap")
}

/// Runs a command line in a shell, with the name of a file for FILE and that of the program for `$0`.
fn shell(line: &str) -> Output {
    let line = line.replace("FILE", golden().to_str().unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &line, CAPTURE]).env("TZ", "GMT0").stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped()).output().unwrap()
}

/// Everything that prints says so when there is no place for it, and fails.
#[test]
fn an_output_that_takes_nothing_is_an_error() {
    for arguments in ["-r FILE", "-n -r FILE --count", "-r - < FILE", "-D", "--help", "--version"] {
        for (output, error) in [
            (">&-", "Bad file descriptor"),
            (">&- <&-", "Bad file descriptor"),
            ("1</dev/null", "Bad file descriptor"),
            (">/dev/full", "No space left on device"),
        ] {
            let ended = shell(&format!("exec $0 {arguments} {output}"));
            let said = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(1), "{arguments} {output}: {said}");
            let error = format!("capture: cannot write to standard output: {error}\n");
            assert!(said.ends_with(&error), "{arguments} {output}: {said}");
        }
        // What other programs start their children with is a choice, and standard error need not be there.
        for output in [">/dev/null", "1<>/dev/null", "<>/dev/null 1>&0", "2>&-", "2>/dev/full"] {
            let input =
                if arguments.contains("< FILE") && output.starts_with("<>") { continue } else { output };
            assert!(shell(&format!("exec $0 {arguments} {input}")).status.success(), "{arguments} {output}");
        }
    }
}

/// tcpdump's words.
#[test]
fn a_closed_input_is_an_error() {
    let [ours, theirs] = ["$0", "tcpdump"].map(|program| shell(&format!("exec {program} -r - <&-")));
    let [ours, theirs] =
        [ours, theirs].map(|ended| (ended.status.code(), String::from_utf8(ended.stderr).unwrap()));
    assert_eq!(ours, (Some(1), theirs.1.replace("tcpdump: ", "capture: ")));
}

/// tcpdump is killed by SIGXFSZ there.
#[test]
fn a_limit_for_the_size_of_a_file_is_an_error() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("limited-{}", std::process::id()));
    for arguments in ["-r FILE", "-l -r FILE", "-X -r FILE 2>&1"] {
        let ended = shell(&format!("ulimit -f 1; exec $0 >{} {arguments}", path.display()));
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments}: {said}");
        let is_said = said.ends_with("capture: cannot write to standard output: File too large\n");
        assert!(is_said || arguments.contains("2>&1"), "{arguments}: {said}");
        // `ulimit -f` counts in units of 512 bytes.
        assert_eq!(fs::metadata(&path).unwrap().len(), 512, "{arguments}");
        fs::remove_file(&path).unwrap();
    }
}

/// What a time stamp looks like in a time zone, without waiting for ever.
fn stamp(program: &str, zone: &str) -> String {
    const NEVER: Duration = Duration::from_secs(30);

    let mut command = Command::new(program);
    command.args(["-n", "-tttt", "-c", "1", "-r"]).arg(golden()).env("TZ", zone);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > NEVER {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    }
    let printed = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    printed.split(" IP ").next().unwrap_or_default().to_owned()
}

/// Also where the C library finds no time zone, or one that the time zone database does not know.
#[test]
fn time_zones_are_tcpdumps() {
    let mut different = Vec::new();
    for zone in [
        "",
        ":",
        "GMT0",
        "UTC",
        "Europe/Vienna",
        ":Europe/Vienna",
        "/usr/share/zoneinfo/Asia/Kathmandu",
        "../zoneinfo/Europe/Vienna",
        "europe/vienna",
        "CET-1CEST",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT",
        "<+03>-3",
        "Nowhere",
        "Europe",
        "/dev/zero",
        "/dev/null",
        "/dev/full",
        "/dev/stdin",
        "/",
        "/etc/passwd",
        "/etc/passwd/x",
    ] {
        let expected = stamp("tcpdump", zone);
        assert!(!expected.is_empty());
        assert_eq!(stamp(CAPTURE, zone), expected, "TZ={zone}");
        different.push(expected);
    }
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 4);
}

/// tcpdump waits for the first, and reads all of the second.
#[test]
fn a_time_zone_without_an_end_is_none() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [fifo, large] =
        ["fifo", "large"].map(|name| directory.join(format!("zone-{}-{name}", std::process::id())));
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    fs::copy("/usr/share/zoneinfo/Europe/Vienna", &large).unwrap();
    File::options().write(true).open(&large).unwrap().set_len(1 << 40).unwrap();
    let utc = stamp(CAPTURE, "UTC");
    for path in [fifo, large] {
        assert_eq!(stamp(CAPTURE, path.to_str().unwrap()), utc);
        fs::remove_file(path).unwrap();
    }
}
