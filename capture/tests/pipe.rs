//! `-r -` at the end of a pipe whose other end takes its time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use test_support::wait::NEVER;

fn golden(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

fn reading(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    command.env("TZ", "GMT0").args(["-n", "-r", "-"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Who has read enough may go.
#[test]
fn an_output_without_a_reader_is_no_failure() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/walkthrough.pcap");
    for arguments in [&["-D".as_ref()][..], &["-r".as_ref(), golden.as_os_str()]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
        let output = command.args(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("Broken pipe"), "{said}");
    }
}

/// The lines of the packets that have come are written before the next is waited for, so that an interruption costs
/// none. Without that, they would never come: a few lines do not fill a buffer.
#[test]
fn lines_do_not_wait_for_packets() {
    let mut capture = reading(&[]);
    // It is not closed.
    let mut input = capture.stdin.take().unwrap();
    input.write_all(&golden("walkthrough.pcap")).unwrap();
    let expected = golden("walkthrough.out");
    let mut stdout = capture.stdout.take().unwrap();
    let (sender, received) = mpsc::channel();
    let length = expected.len();
    let reader = thread::spawn(move || {
        let mut printed = vec![0; length];
        stdout.read_exact(&mut printed).unwrap();
        sender.send(printed).unwrap();
        stdout
    });
    assert_eq!(received.recv_timeout(NEVER), Ok(expected));
    kill(Pid::from_raw(capture.id() as i32), Signal::SIGTERM).unwrap();
    let ended = capture.wait_with_output().unwrap();
    assert_eq!(ended.status.signal(), Some(Signal::SIGTERM as i32));
    let mut rest = Vec::new();
    reader.join().unwrap().read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

/// When the reader of the output is gone, capture does not wait for the end of the input.
#[test]
fn a_closed_output_ends_the_wait() {
    let mut capture = reading(&[]);
    drop(capture.stdout.take());
    let mut input = capture.stdin.take().unwrap();
    input.write_all(&golden("walkthrough.pcap")).unwrap();
    let ended = capture.wait_with_output().unwrap();
    assert!(ended.status.success());
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A failed write is an error, also when it came before a wait and later writes succeed.
#[test]
fn a_full_output_ends_the_wait_with_an_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    command.args(["-n", "-r", "-"]).stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped());
    let mut capture = command.spawn().unwrap();
    let mut input = capture.stdin.take().unwrap();
    input.write_all(&golden("walkthrough.pcap")).unwrap();
    let ended = capture.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.ends_with("\ncapture: cannot write to standard output: No space left on device\n"),
        "{said}"
    );
}

/// A reader that has read enough ends its own output and no other.
#[test]
fn a_file_is_whole_although_the_reader_of_the_text_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.pcap");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/walkthrough.pcap");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    command.args(["-n", "-l", "--print", "-r"]).arg(&golden).arg("-w").arg(&file).stdout(writer);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("capture: cannot write to standard output: Broken pipe\n"), "{said}");
    let printed = |path: &Path| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_capture")).args(["-n", "-r"]).arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(printed(&file), printed(&golden));
}

/// pcapng and JSON have nanoseconds, also without `--nano`, and the text next to them has microseconds.
#[test]
fn nanoseconds_of_a_file_are_kept_where_an_output_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let (nano, file) = (folder.path().join("nano.pcap"), folder.path().join("x.pcapng"));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/walkthrough.pcap");
    let mut bytes = fs::read(golden).unwrap();
    // The magic number of nanoseconds, and the first packet's fraction.
    bytes[..4].copy_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
    bytes[28..32].copy_from_slice(&123_456_789_u32.to_le_bytes());
    fs::write(&nano, bytes).unwrap();
    let run = |arguments: &[&std::ffi::OsStr]| {
        let output = Command::new(env!("CARGO_BIN_EXE_capture")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let write = ["-n", "-c1", "--print", "-w"].map(std::ffi::OsStr::new);
    let text = run(&[&write[..], &[file.as_os_str(), "-r".as_ref(), nano.as_os_str()]].concat());
    assert!(text.contains(".123456 IP "), "{text}");
    let read = run(&["-n".as_ref(), "--nano".as_ref(), "-r".as_ref(), file.as_os_str()]);
    assert!(read.contains(".123456789 IP "), "{read}");
    let json = run(&["--json".as_ref(), "-c1".as_ref(), "-r".as_ref(), nano.as_os_str()]);
    assert!(json.contains(".123456789Z"), "{json}");
}
