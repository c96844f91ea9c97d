//! `-C`, `-W` and `-z` of a file that is read: names and contents are tcpdump's. A helper opens the files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs::{self, File, Permissions},
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    thread,
};

use nix::{
    libc,
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use tempfile::TempDir;
use test_support::{
    namespace::own_mounts,
    packets::{
        Packet,
        file::CaptureFile,
        ip::Addresses,
        link::{Link, frame},
        tcp::{ACK, SegmentFields},
    },
    wait::wait_until,
};

/// The uid of `daemon` and of `nobody` on Debian.
const DAEMON: u32 = 1;
const NOBODY: u32 = 65534;

/// Packets of many lengths, 3.6 MB of them.
fn big(folder: &Path) -> PathBuf {
    let addresses = Addresses::between([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let packets = (0..5000_u32).map(|number| {
        let payload = vec![b'x'; number as usize * 7 % 1400];
        let (source, destination) = (40_000, 8888);
        let segment = SegmentFields {
            source,
            destination,
            sequence: number,
            flags: ACK,
            payload,
            ..SegmentFields::default()
        };
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
    let contents = |name: &String| fs::read(folder.join(name)).unwrap();
    names(folder).into_iter().map(|name| (name.clone(), contents(&name))).collect()
}

/// Sorted, and without a look into the files: a program of `-z` may remove them meanwhile.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
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

/// A capture that reads a pipe, which brings nothing but a header at first, and writes to `x`.
struct Reading {
    child: Child,
    pipe: ChildStdin,
}

impl Reading {
    fn new(folder: &Path, arguments: &[&str]) -> Self {
        Self::by(Command::new(env!("CARGO_BIN_EXE_capture")), folder, arguments)
    }

    fn by(mut command: Command, folder: &Path, arguments: &[&str]) -> Self {
        command.current_dir(folder).args(["-r", "-", "-w", "x"]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&CaptureFile::pcap(Link::Ethernet, Vec::new()).encode()).unwrap();
        Self { child, pipe }
    }

    fn process(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Its child that opens files, once it is there and ready: its threads run.
    fn helper(&self) -> Pid {
        let process = self.process();
        let child = || {
            let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
            let child: i32 = children.trim().parse().ok()?;
            let threads = fs::read_dir(format!("/proc/{child}/task")).ok()?;
            (threads.count() > 1).then_some(Pid::from_raw(child))
        };
        wait_until("the helper", || child().is_some());
        child().unwrap()
    }

    /// Sends as many packets as make the first file full, and more.
    fn fill(&mut self, folder: &Path) {
        let packets = fs::read(big(folder)).unwrap();
        // It may have ended before it has read them all.
        let _gone = self.pipe.write_all(&packets[24..]);
    }

    /// What it has said when it has ended, and its status.
    fn end(self) -> Output {
        drop(self.pipe);
        self.child.wait_with_output().unwrap()
    }
}

fn is_gone(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("State:\t")).is_none_or(|state| state.starts_with('Z'))
}

/// However one of them ends: also while the helper waits for the reader of a pipe, which it does in open(2).
#[test]
fn each_process_ends_with_the_other() {
    for is_pipe in [false, true] {
        for kills_helper in [false, true] {
            let folder = TempDir::new().unwrap();
            if is_pipe {
                mkfifo(&folder.path().join("x"), Mode::S_IRWXU).unwrap();
            }
            let reading = Reading::new(folder.path(), if is_pipe { &[] } else { &["-C", "1"] });
            let (process, helper) = (reading.process(), reading.helper());
            if is_pipe {
                // The thread of the output is in open(2) (fs/pipe.c, `fifo_open`).
                let calls = || {
                    let threads = fs::read_dir(format!("/proc/{helper}/task")).unwrap();
                    let call = |thread: PathBuf| fs::read_to_string(thread.join("wchan")).unwrap();
                    threads.map(|thread| call(thread.unwrap().path())).collect::<Vec<_>>()
                };
                wait_until("open(2)", || calls().iter().any(|call| call == "wait_for_partner"));
            } else {
                wait_until("the first file", || {
                    fs::metadata(folder.path().join("x")).is_ok_and(|x| x.len() == 24)
                });
            }
            kill(if kills_helper { helper } else { process }, Signal::SIGKILL).unwrap();
            if kills_helper {
                wait_until("the capture ends", || is_gone(process));
                let ended = reading.end();
                let said = String::from_utf8(ended.stderr).unwrap();
                assert_eq!(ended.status.code(), Some(1), "{said}");
                let sentence = "capture: cannot write to x: lost the helper process that opens the files: it has ended; \
                                start capture again\n";
                assert!(said.ends_with(sentence), "{said}");
            } else {
                wait_until("the helper ends", || is_gone(helper));
                reading.end();
            }
        }
    }
}

/// The keys of a terminal signal both processes. One that ends a run ends it also while a pipe has no reader.
#[test]
fn signals_are_for_the_process_that_reads() {
    let folder = TempDir::new().unwrap();
    mkfifo(&folder.path().join("x"), Mode::S_IRWXU).unwrap();
    let reading = Reading::new(folder.path(), &[]);
    let helper = reading.helper();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1] {
        kill(helper, signal).unwrap();
    }
    assert!(!is_gone(helper));
    kill(reading.process(), Signal::SIGINT).unwrap();
    wait_until("the helper ends", || is_gone(helper));
    assert_eq!(reading.end().status.signal(), Some(libc::SIGINT));
}

/// A pipe gets everything from the header on, whenever its reader comes.
#[test]
fn a_pipe_is_opened_when_it_has_a_reader() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("x");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let mut reading = Reading::new(folder.path(), &[]);
    reading.helper();
    let reader = thread::spawn(move || {
        let mut read = Vec::new();
        File::open(pipe).unwrap().read_to_end(&mut read).unwrap();
        read
    });
    reading.fill(folder.path());
    assert!(reading.end().status.success());
    assert!(reader.join().unwrap() == fs::read(folder.path().join("big.pcap")).unwrap());
}

/// With `-Z` files and programs are those of the user; without, those of the one that started capture. No signals are
/// blocked in the program that were not at the start.
#[test]
#[ignore = "needs root"]
fn programs_run_as_the_user() {
    for (arguments, uid) in [(&["-Z", "daemon"][..], DAEMON), (&[], 0)] {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let program = folder.path().join("program");
        let script =
            "#!/bin/sh\n(id -u; id -ru; grep SigBlk /proc/self/status; nice; echo end) > \"$1.seen\"\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let program = program.display().to_string();
        let reading = Reading::new(folder.path(), &[&["-z", &program], arguments].concat());
        assert!(reading.end().status.success());
        let seen = folder.path().join("x.seen");
        wait_until("the program", || fs::read_to_string(&seen).is_ok_and(|seen| seen.ends_with("end\n")));
        let expected = format!("{uid}\n{uid}\nSigBlk:\t{:016x}\n19\nend\n", 0);
        assert_eq!(fs::read_to_string(&seen).unwrap(), expected);
        for name in ["x", "x.seen"] {
            assert_eq!(fs::metadata(folder.path().join(name)).unwrap().uid(), uid, "{name}");
        }
    }
}

/// The words of errors are those of a process that opens its files itself.
#[test]
#[ignore = "needs root"]
fn what_fails_later_is_said_in_the_same_words() {
    // The directory goes.
    let [source, parent] = [(); 2].map(|()| TempDir::new().unwrap());
    let folder = parent.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let mut reading = Reading::new(&folder, &["-C", "1"]);
    wait_until("the first file", || folder.join("x").exists());
    fs::remove_dir_all(&folder).unwrap();
    reading.fill(source.path());
    let said = String::from_utf8(reading.end().stderr).unwrap();
    let sentence = "\ncapture: cannot write to x: the next file, x1: No such file or directory; create the directory first\n";
    assert!(said.contains(sentence), "{said}");

    // The directory may not be written to any more.
    let folder = TempDir::new().unwrap();
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_capture"));
    command.uid(NOBODY).gid(NOBODY);
    let mut reading = Reading::by(command, folder.path(), &["-C", "1"]);
    wait_until("the first file", || folder.path().join("x").exists());
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    reading.fill(source.path());
    let said = String::from_utf8(reading.end().stderr).unwrap();
    let sentence = "\ncapture: cannot write to x: the next file, x1: Permission denied; choose a directory that you may write \
                    to\n";
    assert!(said.contains(sentence), "{said}");

    // The next file is there, and is a link; and one that is another output.
    for (is_link, why) in [
        (true, "it is a symbolic link; name the file that it leads to, or remove it"),
        (false, "another output goes to this file, as other; name another one"),
    ] {
        let folder = TempDir::new().unwrap();
        let mut reading = Reading::new(folder.path(), &["-C", "1", "--json=other"]);
        let [other, next] = ["other", "x1"].map(|name| folder.path().join(name));
        wait_until("both files", || other.exists());
        if is_link {
            std::os::unix::fs::symlink("other", next).unwrap();
        } else {
            fs::hard_link(other, next).unwrap();
        }
        reading.fill(source.path());
        let said = String::from_utf8(reading.end().stderr).unwrap();
        assert!(
            said.contains(&format!(
                "\ncapture: cannot write to x: the next file, x1: {why}; the other outputs go on\n"
            )),
            "{said}"
        );
    }
}

/// The next file of a full disk: there is room for its name, and not for its packets.
#[test]
#[ignore = "needs root"]
fn a_full_disk_is_said_with_the_name_of_the_file() {
    let [source, folder] = [(); 2].map(|()| TempDir::new().unwrap());
    let in_a_namespace = move || {
        own_mounts();
        let (kind, data) = (Some("tmpfs"), Some("size=1500k"));
        nix::mount::mount(kind, folder.path(), kind, nix::mount::MsFlags::empty(), data).unwrap();
        let mut reading = Reading::new(folder.path(), &["-C", "1"]);
        reading.fill(source.path());
        let ended = reading.end();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        let sentence = "\ncapture: cannot write to x: x1: No space left on device; make room, or choose a directory on \
                        another file system\n";
        assert!(said.contains(sentence), "{said}");
        nix::mount::umount(folder.path()).unwrap();
    };
    thread::spawn(in_a_namespace).join().unwrap();
}
