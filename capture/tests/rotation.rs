//! `-C`, `-W` and `-z` of a file that is read: names and contents are tcpdump's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use test_support::{
    packets::{
        Packet,
        file::CaptureFile,
        ip::Addresses,
        link::{Link, frame},
        tcp::{ACK, Segment},
    },
    wait::wait_until,
};

/// Packets of many lengths, 3.6 MB of them.
fn big(folder: &Path) -> PathBuf {
    let addresses = Addresses::between([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let packets = (0..5000_u32).map(|number| {
        let payload = vec![b'x'; number as usize * 7 % 1400];
        let (source, destination) = (40_000, 8888);
        let segment =
            Segment { source, destination, sequence: number, flags: ACK, payload, ..Segment::default() };
        Packet::whole(1_700_000_000, number * 1000, frame(&[], &segment.packet(&addresses)))
    });
    let path = folder.join("big.pcap");
    fs::write(&path, CaptureFile::pcap(Link::Ethernet, packets.collect()).encode()).unwrap();
    path
}

fn run(program: &str, folder: &Path, read: &Path, flags: &str) -> Output {
    let mut command = Command::new(program);
    command.current_dir(folder).arg("-r").arg(read).args(["-w", "x.pcap", "-Z", "root"]);
    let output = command.args(flags.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{program} {flags}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn capture(folder: &Path, read: &Path, flags: &str) -> String {
    String::from_utf8(run(env!("CARGO_BIN_EXE_capture"), folder, read, flags).stderr).unwrap()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn names_and_contents_are_tcpdumps() {
    let source = TempDir::new().unwrap();
    let big = big(source.path());
    for (flags, count) in
        [("-C 1", 4), ("-C 1 -W 3", 3), ("-C 1 -W 2", 2), ("-C 1 -W 12", 4), ("-C 2 -c 1500", 1), ("-W 3", 1)]
    {
        let (ours, theirs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        capture(ours.path(), &big, flags);
        run("tcpdump", theirs.path(), &big, flags);
        assert_eq!(names(ours.path()), names(theirs.path()), "{flags}");
        assert_eq!(names(ours.path()).len(), count, "{flags}");
        assert!(files(ours.path()) == files(theirs.path()), "{flags}");
    }
}

/// tcpdump runs it for all files but the last.
#[test]
fn each_file_goes_to_the_program() {
    let source = TempDir::new().unwrap();
    let big = big(source.path());
    let folder = TempDir::new().unwrap();
    let said = capture(folder.path(), &big, "-C 1 -z gzip");
    assert!(!said.contains("cannot"), "{said}");
    wait_until("gzip", || names(folder.path()) == ["x.pcap.gz", "x.pcap1.gz", "x.pcap2.gz", "x.pcap3.gz"]);
    // gzip removes its source last.
    let mut read = Command::new("sh");
    let read = read.args(["-c", "zcat x.pcap3.gz | tcpdump -n -r -"]).current_dir(&folder).output().unwrap();
    let lines = String::from_utf8(read.stdout).unwrap();
    assert!(lines.lines().count() > 100, "{lines}");
}

/// dumpcap's words: as many packets as asked for, in as many files, and the oldest are deleted.
#[test]
fn dumpcaps_words_end_files_and_the_run() {
    let source = TempDir::new().unwrap();
    let big = big(source.path());
    let folder = TempDir::new().unwrap();
    let rules = "--ring-buffer packets:100 --ring-buffer files:2 --autostop packets:950";
    let said = capture(folder.path(), &big, rules);
    let files = files(folder.path());
    let [(first, _), (second, contents)] = &files[..] else { panic!("{:?}", names(folder.path())) };
    assert!(first.starts_with("x_00009_20") && second.starts_with("x_00010_20"), "{first} {second}");
    let last = folder.path().join("last");
    fs::write(&last, contents).unwrap();
    let read = Command::new("tcpdump").args(["-n", "-r"]).arg(&last).output().unwrap();
    assert_eq!(read.stdout.iter().filter(|byte| **byte == b'\n').count(), 50, "{said}");
}

/// A pipe that brings nothing but a header: files end by the clock, and then the run does.
#[test]
fn periods_end_while_a_pipe_brings_nothing() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    command.current_dir(&folder).args(["-r", "-", "-w", "x-%s", "-G", "1", "-W", "2"]);
    let mut capture = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = capture.stdin.take().unwrap();
    pipe.write_all(&CaptureFile::pcap(Link::Ethernet, Vec::new()).encode()).unwrap();
    let ended = capture.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.contains("Maximum file limit reached: 2"), "{said}");
    assert_eq!(names(folder.path()).len(), 2);
    drop(pipe);
}
