//! Outputs that are closed, full or limited, and time zones that are none: what needs no privileges.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs::{self, File},
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::stat::Mode,
    unistd::mkfifo,
};
use test_support::wait::{NEVER, wait_until, within};

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

/// Neither the input nor another output is written over, by whichever name.
#[test]
fn each_file_has_one_use() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("one-use-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let read = "it is the file that is read, ";
    let other = "another output goes to this file, as ";
    for (arguments, name, why) in [
        ("-r io -w io", "io", format!("{read}io")),
        ("-r - -w link < io", "link", format!("{read}standard input")),
        ("-r io --json=./io", "./io", format!("{read}io")),
        ("-r io -w - >> link", "standard output", format!("{read}io")),
        ("-r io >> io", "standard output", format!("{read}io")),
        ("-r io -w same --json=./same", "./same", format!("{other}same")),
        ("-r io -w same --print > same", "same", format!("{other}standard output")),
        ("-r io --json -w /dev/fd/3 > same 3>> same", "/dev/fd/3", format!("{other}standard output")),
        ("-r io -w fifo --json=./fifo", "./fifo", format!("{other}fifo")),
        ("-r io -w fifo --print 1<> fifo", "fifo", format!("{other}standard output")),
    ] {
        fs::copy(golden(), folder.join("io")).unwrap();
        let line =
            format!("cd {}; ln -f io link; mkfifo -m 600 fifo 2>&-; exec $0 {arguments}", folder.display());
        let ended = shell(&line);
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments}: {said}");
        let expected = format!("capture: cannot write to {name}: {why}; name another one\n");
        assert!(said.ends_with(&expected), "{arguments}: {said}");
        assert!(fs::read(folder.join("io")).unwrap() == fs::read(golden()).unwrap(), "{arguments}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

fn set_non_blocking(descriptor: &impl AsFd) {
    fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

/// A small pipe in non-blocking mode that has no room left, and what is in it.
fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (reader, mut writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(1)).unwrap();
    set_non_blocking(&writer);
    let mut length = 0;
    while let Ok(count) = writer.write(b".") {
        length += count;
    }
    (reader, writer, length)
}

/// Waits until the child sleeps, or has ended.
fn wait_for_sleep(child: &Child) {
    wait_until("sleep, or the end", || {
        let status = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let (_, state) = status.rsplit_once(") ").unwrap();
        state.starts_with(['S', 'Z'])
    });
}

/// Both outputs are one pipe, as with `2>&1`. Another process that shares it may set the mode.
#[test]
fn an_output_in_non_blocking_mode_loses_nothing() {
    for arguments in ["-n -r FILE", "-l -vvv -X -n -r FILE", "-n -r FILE --count", "-D", "--help"] {
        let command = || {
            let arguments = arguments.replace("FILE", golden().to_str().unwrap());
            let mut command = Command::new(CAPTURE);
            command.args(arguments.split(' ')).stdin(Stdio::null());
            command
        };
        let mut expected = Vec::new();
        let (mut reader, writer) = io::pipe().unwrap();
        let mut child = command().stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        reader.read_to_end(&mut expected).unwrap();
        assert!(child.wait().unwrap().success());

        let (mut reader, writer, length) = full_pipe();
        let mut child = command().stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        wait_for_sleep(&child);
        // poll(2) fails from here on, as while the programs of a live capture are loaded.
        let mut limit = Command::new("prlimit");
        limit.args(["--nofile=0:", "--pid", &child.id().to_string()]).stderr(Stdio::null());
        let _has_ended = limit.status().unwrap();
        let mut printed = Vec::new();
        reader.read_to_end(&mut printed).unwrap();
        assert!(child.wait().unwrap().success(), "{arguments}");
        assert_eq!(String::from_utf8_lossy(&printed[length..]), String::from_utf8_lossy(&expected));
    }
}

/// What has not come yet is waited for.
#[test]
fn an_input_in_non_blocking_mode_is_read_to_its_end() {
    let expected = shell("exec $0 -n -r FILE --count >&2");
    let (reader, mut writer) = io::pipe().unwrap();
    set_non_blocking(&reader);
    let mut command = Command::new(CAPTURE);
    command.args(["-n", "-r", "-", "--count"]).stdin(reader).stdout(Stdio::piped());
    let child = command.stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    let file = fs::read(golden()).unwrap();
    for half in file.chunks(file.len() / 2 + 1) {
        wait_for_sleep(&child);
        writer.write_all(half).unwrap();
    }
    drop(writer);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    let (printed, expected) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&expected.stderr));
    assert!(printed.ends_with("packets\n") && expected.ends_with(&*printed), "{printed}{expected}");
}

/// What a time stamp looks like in a time zone, without waiting for ever.
fn stamp(program: &str, zone: &str) -> String {
    let mut command = Command::new(program);
    command.args(["-n", "-tttt", "-c", "1", "-r"]).arg(golden()).env("TZ", zone);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    if within(NEVER, "the end", || Ok(child.try_wait()?)).is_err() {
        child.kill().unwrap();
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
