//! Command lines as people know them: the same arguments to capture and to the real tcpdump.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use test_support::oracle::{Invocation, printed};

const CAPTURE: &str = env!("CARGO_BIN_EXE_capture");

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// In a script, the one can stand in the other's place.
#[test]
fn the_same_arguments_print_the_same() {
    let file = golden("port.pcap");
    let mut different = Vec::new();
    for arguments in [
        "-n tcp",
        "-n tcp port 8888",
        "-n tcp port 8888 or tcp port 80",
        "-n tcp port 80 || 8888",
        "-n tcp portrange 8000-8100",
        "-n tcp portrange 8000-8100 or tcp port 80",
        "-n tcp and port 8888",
        "-n tcp and ( port 80 or port 8888 )",
        "tcp port 8888 -n -tttt",
        "-n -Z root --time-stamp-precision=nanosecond -c 2 tcp",
        "-n -Q in tcp",
        "-n -Q out -# tcp port 8888",
    ] {
        let invocation: Invocation = arguments.parse().unwrap();
        let [capture, tcpdump] =
            [CAPTURE, "tcpdump"].map(|program| printed(invocation.command(program, &file)));
        assert_eq!(capture, tcpdump, "{arguments}");
        different.push(capture);
    }
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 5 && different.iter().all(|lines| !lines.is_empty()));
}

/// As for getopt(3): the word after an option is its value, whatever it begins with.
#[test]
fn a_value_may_begin_with_a_hyphen() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hyphens");
    fs::create_dir_all(&folder).unwrap();
    for name in ["-x", "--", "--nano", "-c", "x=y"] {
        fs::copy(golden("port.pcap"), folder.join(name)).unwrap();
    }
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command.env("TZ", "GMT0").current_dir(&folder).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.lines().next().unwrap_or_default().to_owned();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), said)
    };
    for arguments in [
        &["-n", "-r", "-x", "tcp"][..],
        &["-n", "-r-x", "tcp"],
        &["-nr", "--", "tcp"],
        &["-nr", "--", "tcp", "port", "8888"],
        &["-n", "tcp", "-r", "--nano", "-c", "1"],
        &["-n", "-r", "-c", "-c", "2", "tcp"],
        &["-nr--nano", "-c2", "tcp"],
        &["-nrx=y", "-ttt", "tcp"],
        &["-n", "-r", "-x", "--", "tcp"],
        &["-n", "-r", "-x", "-Z", "root", "tcp"],
    ] {
        let [ours, theirs] = [CAPTURE, "tcpdump"].map(|program| run(program, arguments));
        assert_eq!((ours.0, &ours.1), (true, &theirs.1), "{arguments:?}: {}", ours.2);
        assert!(!ours.1.is_empty(), "{arguments:?}");
    }
    for arguments in [
        &["-r", "-missing"][..],
        &["-r-missing"],
        &["-r", ""],
        &["-c", "-1", "-r", "-x"],
        &["-c", "-r"],
        &["-c", "", "-r", "-x"],
        &["-c--", "-r", "-x"],
    ] {
        let [ours, theirs] = [CAPTURE, "tcpdump"].map(|program| run(program, arguments));
        assert!(!ours.0 && !theirs.0, "{arguments:?}");
        let theirs = theirs.2.strip_prefix("tcpdump: ").unwrap();
        let ours = ours.2.strip_prefix("capture: ").unwrap();
        // Ours may go on: what to do next.
        assert!(ours.starts_with(theirs), "{arguments:?}: {ours}, and tcpdump: {theirs}");
    }
}

/// What is said on standard error begins with the program's name, and controls no terminal.
#[test]
fn messages_begin_with_the_name_and_hold_no_control_characters() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("named-\u{1b}[31m\u{9b}.pcap");
    fs::copy(golden("walkthrough.pcap"), &path).unwrap();
    let missing = path.with_extension("missing");
    let said = |arguments: &[&str]| {
        let output = Command::new(CAPTURE).args(arguments).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let [path, missing] = [&path, &missing].map(|path| path.to_str().unwrap());
    assert!(said(&["-r", path]).contains("named-?[31m?.pcap, link-type EN10MB"));
    for (arguments, expected) in [
        (&["-r", missing][..], "named-?[31m?.missing: No such file or directory"),
        (&["-r", ""], "capture: : No such file or directory\n"),
        (&["--no\u{1b}c"], "capture: no such option: --no"),
        (&["host\u{1b}c"], "  host?c\n"),
        (&["-r"], "capture: a value is missing: -r <FILE>\n"),
    ] {
        let said = said(arguments);
        assert!(said.starts_with("capture: ") && said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains(|character: char| character.is_control() && character != '\n'), "{said}");
    }
}
