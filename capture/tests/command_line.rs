//! Command lines as people know them: the same arguments to capture and to the real tcpdump.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const CAPTURE: &str = env!("CARGO_BIN_EXE_capture");

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn run(program: &str, file: &Path, arguments: &[&str]) -> Output {
    let output =
        Command::new(program).env("TZ", "GMT0").arg("-r").arg(file).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output
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
        let words: Vec<&str> = arguments.split(' ').collect();
        let [capture, tcpdump] = [CAPTURE, "tcpdump"].map(|program| run(program, &file, &words).stdout);
        assert_eq!(String::from_utf8_lossy(&capture), String::from_utf8_lossy(&tcpdump), "{arguments}");
        different.push(capture);
    }
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 5 && different.iter().all(|lines| !lines.is_empty()));
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
        (&["host\u{1b}c"], "capture: the filter expression `host?c` is not understood: "),
        (&["-r"], "capture: a value is required for '-r <FILE>' but none was supplied\n"),
    ] {
        let said = said(arguments);
        assert!(said.starts_with("capture: ") && said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains(|character: char| character.is_control() && character != '\n'), "{said}");
    }
}
