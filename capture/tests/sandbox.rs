//! What reads a file may do nothing else: each thing is tried from inside, in each configuration of docs/security.md, and
//! /proc says what a running capture has.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::BTreeMap,
    env,
    ffi::{CString, OsStr},
    fs,
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use capture::sandbox::{Needs, Sandbox, SandboxOptions, confine_helper};
use nix::{
    errno::Errno,
    libc,
    sys::signal::{Signal, kill},
    unistd::{execv, getppid},
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use test_support::wait::wait_until;

const CAPTURE: &str = env!("CARGO_BIN_EXE_capture");
/// What a child of a test is to do: the configuration, what to try, and where.
const TASK: &str = "CAPTURE_TEST_TASK";
const FOLDER: &str = "CAPTURE_TEST_FOLDER";
const PORT: &str = "CAPTURE_TEST_PORT";
/// The status of a child that could do what it tried; plus the error's number where it could not.
const DONE: i32 = 50;

/// The uid of `nobody` and of `daemon` on Debian.
const NOBODY: u32 = 65534;
const DAEMON: u32 = 1;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Runs this test again, as a process of its own, with a task.
fn again(test: &str, task: &str, folder: &Path, port: u16) -> ExitStatus {
    let mut command = Command::new(env::current_exe().unwrap());
    // One thread: the test runs on that of the process.
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(TASK, task).env(FOLDER, folder).env(PORT, port.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap()
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Done,
    /// The call fails.
    Fails(Errno),
    /// The process is ended.
    Dies,
}
use Outcome::{Dies, Done, Fails};

const REFUSED: Outcome = Fails(Errno::EPERM);
/// By Landlock.
const DENIED: Outcome = Fails(Errno::EACCES);

const CONFIGURATIONS: [&str; 9] = [
    "reading",
    "asking",
    "names",
    "live",
    "live, asking",
    "helper",
    "helper of namespaces",
    "files",
    "programs",
];

/// What is tried, and what becomes of it in each configuration.
const ATTEMPTS: [(&str, [Outcome; 9]); 15] = [
    ("open /etc/shadow", [REFUSED, REFUSED, DENIED, REFUSED, REFUSED, REFUSED, REFUSED, DENIED, Done]),
    ("create a file", [REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, DENIED, Done]),
    ("create a file there", [REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, Done, Done]),
    ("read a file there", [REFUSED, REFUSED, DENIED, REFUSED, REFUSED, REFUSED, REFUSED, DENIED, Done]),
    ("delete a file", [REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, DENIED, Done]),
    ("connect a socket", [REFUSED, REFUSED, Done, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, Done]),
    ("start a thread", [REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, Done]),
    ("start a program", [REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, Done]),
    ("become a program", [Dies, Dies, Dies, Dies, Dies, Dies, Dies, Dies, Done]),
    ("make a user namespace", [Dies, Dies, Dies, Dies, Dies, Dies, Dies, Dies, REFUSED]),
    (
        "make a process in one",
        [REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED],
    ),
    (
        "the same by clone3",
        [REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, Fails(Errno::ENOSYS)],
    ),
    ("trace a process", [Dies, Dies, Dies, Dies, Dies, Dies, Dies, Dies, REFUSED]),
    ("load a BPF program", [Dies, Dies, Dies, Dies, Dies, REFUSED, REFUSED, Dies, REFUSED]),
    ("signal a process", [REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, Done]),
];

fn enter(configuration: &str, folder: PathBuf) {
    let options = SandboxOptions { is_wanted: true, user: None, is_reported: false };
    let sandbox = Sandbox::new(&options).unwrap();
    let enter = |needs| drop(sandbox.confine(needs).unwrap().seal().unwrap());
    let files = Needs { folders: vec![folder], ..Needs::default() };
    match configuration {
        "reading" => enter(Needs::default()),
        "asking" => enter(Needs { asks: true, ..Needs::default() }),
        "names" => enter(Needs { names: true, ..Needs::default() }),
        "files" => enter(Needs { serves: true, ..files }),
        "programs" => enter(Needs { programs: true, serves: true, ..files }),
        "live" => enter(Needs { live: true, ..Needs::default() }),
        "live, asking" => enter(Needs { live: true, asks: true, ..Needs::default() }),
        "helper" => drop(confine_helper(false).unwrap()),
        "helper of namespaces" => drop(confine_helper(true).unwrap()),
        other => panic!("no such configuration: {other}"),
    }
}

fn attempt(what: &str, folder: &Path, port: u16) -> io::Result<()> {
    let elsewhere = folder.with_extension("elsewhere");
    match what {
        "open /etc/shadow" => fs::File::open("/etc/shadow").map(drop),
        "create a file" => fs::File::create(elsewhere.join("new")).map(drop),
        "create a file there" => fs::File::create(folder.join("new")).map(drop),
        "read a file there" => fs::File::open(folder.join("old")).map(drop),
        "delete a file" => fs::remove_file(elsewhere.join("old")),
        "connect a socket" => TcpStream::connect(("127.0.0.1", port)).map(drop),
        "start a thread" => thread::Builder::new().spawn(|| {}).map(drop),
        "start a program" => Command::new("/bin/true").status().map(drop),
        "become a program" => Ok(execv(c"/bin/true", &[c"true"]).map(drop)?),
        "make a user namespace" => call(libc::SYS_unshare, libc::CLONE_NEWUSER.into(), 0),
        // With the signal of its end, as fork(2).
        "make a process in one" => child(libc::SYS_clone, (libc::CLONE_NEWUSER | libc::SIGCHLD).into(), 0),
        "the same by clone3" => {
            // struct clone_args, of linux/sched.h, with flags alone.
            let arguments = [u64::from(libc::CLONE_NEWUSER.cast_unsigned()), 0, 0, 0, 0, 0, 0, 0];
            child(libc::SYS_clone3, arguments.as_ptr() as i64, size_of_val(&arguments) as i64)
        }
        "trace a process" => call(libc::SYS_ptrace, libc::PTRACE_SEIZE.into(), getppid().as_raw().into()),
        // BPF_PROG_LOAD, of none.
        "load a BPF program" => call(libc::SYS_bpf, 5, 0),
        "signal a process" => Ok(kill(getppid(), None)?),
        other => panic!("no such attempt: {other}"),
    }
}

fn call(number: libc::c_long, first: i64, second: i64) -> io::Result<()> {
    // SAFETY: the other arguments are null, and the kernel reads no memory of this process through them.
    let result = unsafe { libc::syscall(number, first, second, 0, 0) };
    Ok(Errno::result(result).map(drop)?)
}

/// As [`call`], of what returns twice: the child ends.
fn child(number: libc::c_long, first: i64, second: i64) -> io::Result<()> {
    // SAFETY: the child has a copy of all memory, and does nothing with it. What the kernel reads outlives the call.
    let result = unsafe { libc::syscall(number, first, second, 0, 0, 0) };
    if result == 0 {
        // SAFETY: it ends the process, whatever state that is in.
        unsafe { libc::_exit(0) }
    }
    Ok(Errno::result(result).map(drop)?)
}

#[test]
#[ignore = "needs root"]
fn what_must_fail_fails_from_inside() {
    if let Ok(task) = env::var(TASK) {
        let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
        let port = env::var(PORT).unwrap().parse().unwrap();
        let (configuration, what) = task.split_once(": ").unwrap();
        enter(configuration, folder.clone());
        let error = attempt(what, &folder, port).err();
        let status = DONE + error.map_or(0, |error| error.raw_os_error().unwrap());
        // The test has a thread next to the process's own, which can still be in the C library's handler that changes the
        // user of each thread. exit(3) takes away the stack that it runs on.
        // SAFETY: it ends the process, whatever state that is in.
        unsafe { libc::_exit(status) }
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut wrong = Vec::new();
    for (what, outcomes) in ATTEMPTS {
        for (configuration, expected) in CONFIGURATIONS.into_iter().zip(outcomes) {
            let parent = tempfile::tempdir().unwrap();
            let folder = parent.path().join("x");
            let elsewhere = folder.with_extension("elsewhere");
            for folder in [&folder, &elsewhere] {
                fs::create_dir(folder).unwrap();
                fs::write(folder.join("old"), "").unwrap();
            }
            let task = format!("{configuration}: {what}");
            let status = again("what_must_fail_fails_from_inside", &task, &folder, port);
            let became = what == "become a program" && status.success();
            let outcome = match (status.code(), status.signal()) {
                (Some(DONE), _) => Done,
                _ if became => Done,
                (Some(code), _) if code > DONE => Fails(Errno::from_raw(code - DONE)),
                (None, Some(libc::SIGSYS)) => Dies,
                _ => panic!("{task}: {status}"),
            };
            if outcome != expected {
                wrong.push(format!("{task}: {outcome:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The status of each thread.
fn threads(process: u32) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let status = |task: PathBuf| fs::read_to_string(task.join("status")).unwrap();
    let fields = |text: String| {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.trim().replace('\t', " "))).collect()
    };
    tasks.map(|task| fields(status(task.unwrap().path()))).collect()
}

/// A capture whose input has begun and has not ended.
struct Reading {
    child: Child,
    folder: tempfile::TempDir,
}

impl Reading {
    /// In a directory of its own.
    fn new(arguments: &[&str], has_begun: impl Fn(&Path) -> bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(CAPTURE);
        command.current_dir(&folder).args(["-r", "-"]).args(arguments);
        let output = fs::File::create(folder.path().join("printed")).unwrap();
        let said = fs::File::create(folder.path().join("said")).unwrap();
        let mut child = command.stdin(Stdio::piped()).stdout(output).stderr(said).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(&fs::read(golden("walkthrough.pcap")).unwrap()).unwrap();
        wait_until("the first packets", || has_begun(folder.path()));
        Self { child, folder }
    }

    fn threads(&self) -> Vec<BTreeMap<String, String>> {
        threads(self.child.id())
    }

    /// The child that opens files.
    fn helper(&self) -> Option<u32> {
        self.child_called("capture-files")
    }

    fn child_called(&self, name: &str) -> Option<u32> {
        let process = self.child.id();
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
        let mut children = children.split_whitespace().map(|child| child.parse().unwrap());
        children
            .find(|child: &u32| fs::read_to_string(format!("/proc/{child}/comm")).unwrap().trim_end() == name)
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        self.folder.close().unwrap();
    }
}

fn has_lines(folder: &Path) -> bool {
    fs::metadata(folder.join("printed")).unwrap().len() > 0
}

/// Said when the sandbox is complete.
fn has_greeted(folder: &Path) -> bool {
    fs::read_to_string(folder.join("said")).unwrap().contains("reading from file")
}

fn has_file(name: &str) -> impl Fn(&Path) -> bool {
    // More than the header: the packets are written when the outputs are open and the sandbox is complete.
    move |folder| fs::metadata(folder.join(name)).is_ok_and(|metadata| metadata.len() > 24)
}

/// That a process or a thread has this user, and these capabilities and no others.
fn holds(status: &BTreeMap<String, String>, uid: u32, capabilities: u64, bounds: u64) {
    let ids = vec![uid.to_string(); 4].join(" ");
    // The group `daemon` has the same number as the user; nobody's is nogroup.
    assert_eq!([&status["Uid"], &status["Gid"]], [&ids, &ids], "{status:?}");
    for (set, expected) in
        [("CapInh", 0), ("CapPrm", capabilities), ("CapEff", capabilities), ("CapBnd", bounds), ("CapAmb", 0)]
    {
        assert_eq!(u64::from_str_radix(&status[set], 16), Ok(expected), "{set}: {status:?}");
    }
    assert_eq!([&status["NoNewPrivs"], &status["Seccomp"]], ["1", "2"], "{status:?}");
    assert!(uid == 0 || status["Groups"].is_empty(), "{status:?}");
}

#[test]
#[ignore = "needs root"]
fn a_process_that_reads_holds_nothing() {
    let plain = |arguments| Reading::new(arguments, has_lines);
    let writing = |arguments| Reading::new(arguments, has_file("x"));
    for (reading, uid, threads) in [
        (plain(&["-n"]), NOBODY, 1),
        (plain(&["-n", "-Z", "daemon"]), DAEMON, 1),
        (plain(&["-n", "-Z", "root"]), 0, 1),
        // No packet is selected: no name server is asked.
        (Reading::new(&["--resolve", "host", "127.0.0.1"], has_greeted), NOBODY, 1),
        (plain(&["--json"]), NOBODY, 1),
        (plain(&["-w", "-"]), NOBODY, 1),
        (writing(&["-w", "x"]), NOBODY, 1),
        (writing(&["--json=x"]), NOBODY, 1),
        (writing(&["-w", "x", "-Z", "daemon"]), DAEMON, 1),
        (writing(&["-w", "x", "-C", "1"]), NOBODY, 1),
        (writing(&["-w", "x", "-C", "1", "-Z", "daemon"]), DAEMON, 1),
        (writing(&["-w", "x", "-z", "true"]), NOBODY, 1),
        (Reading::new(&["-w", "x", "--print", "--resolve", "port", "1"], has_greeted), NOBODY, 1),
    ] {
        let all = reading.threads();
        assert_eq!(all.len(), threads);
        all.iter().for_each(|status| holds(status, uid, 0, 0));
        reading.end();
    }
}

/// Outputs know the header of a file; what looks at it holds nothing either.
#[test]
#[ignore = "needs root"]
fn what_looks_at_the_header_holds_nothing() {
    for (arguments, uid) in [
        (&["-n"][..], NOBODY),
        (&["-w", "x"], NOBODY),
        (&["--json=x"], NOBODY),
        (&["-w", "x", "--json=y", "-Z", "daemon"], DAEMON),
        (&["-w", "x", "-C", "1"], NOBODY),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(CAPTURE);
        command.current_dir(&folder).args(["-r", "-"]).args(arguments).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // A file's first bytes: it has no interface yet.
        child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(&fs::read(golden("walkthrough.pcap")).unwrap()[..20])
            .unwrap();
        let is_sealed = || threads(child.id()).iter().all(|status| status["Seccomp"] == "2");
        wait_until("the sandbox", is_sealed);
        threads(child.id()).iter().for_each(|status| holds(status, uid, 0, 0));
        drop(child.stdin.take());
        assert!(!child.wait().unwrap().success());
    }
}

/// It is there only where files are opened later, and it has nothing of what is read.
#[test]
#[ignore = "needs root"]
fn the_helper_holds_what_opening_files_takes() {
    const DAC_OVERRIDE: u64 = 1 << 1;
    /// CAP_CHOWN to CAP_SETUID.
    const OF_PROGRAMS: u64 = 0xff;
    let writing = |arguments| Reading::new(arguments, has_file("x"));
    assert_eq!(Reading::new(&["-n"], has_lines).helper(), None);
    for (reading, uid, capabilities, bounds) in [
        (writing(&["-w", "x"]), 0, DAC_OVERRIDE, 0),
        (writing(&["--json=x"]), 0, DAC_OVERRIDE, 0),
        // One file stays root's.
        (writing(&["-w", "x", "-Z", "daemon"]), 0, DAC_OVERRIDE, 0),
        (writing(&["-w", "x", "-C", "1"]), 0, DAC_OVERRIDE, 0),
        (writing(&["-w", "x", "-C", "1", "-Z", "daemon"]), DAEMON, DAC_OVERRIDE, 0),
        (writing(&["-w", "x", "-z", "true"]), 0, OF_PROGRAMS, OF_PROGRAMS),
        (writing(&["-w", "x", "-z", "true", "-Z", "daemon"]), DAEMON, DAC_OVERRIDE, DAC_OVERRIDE),
    ] {
        let helper = reading.helper().unwrap();
        let all = threads(helper);
        // The one that waits for the end, and one for the output.
        assert_eq!(all.len(), 2);
        all.iter().for_each(|status| holds(status, uid, capabilities, bounds));
        let descriptors = fs::read_dir(format!("/proc/{helper}/fd")).unwrap();
        for descriptor in descriptors {
            let to = fs::read_link(descriptor.unwrap().path()).unwrap();
            let shown = to.display().to_string();
            let is_known =
                shown == "/dev/null" || shown.starts_with("socket:") || to == reading.folder.path();
            assert!(is_known, "{shown}");
        }
        reading.end();
        wait_until("the helper ends", || fs::metadata(format!("/proc/{helper}")).is_err());
    }
}

/// It is there only with `--resolve`, and it has nothing of what is read.
#[test]
#[ignore = "needs root"]
fn the_helper_that_asks_for_names_holds_nothing() {
    assert_eq!(Reading::new(&["-n"], has_lines).child_called("capture-names"), None);
    // No packet is selected: no name server is asked.
    for (arguments, uid) in [
        (&["--resolve", "host", "127.0.0.1"][..], NOBODY),
        (&["--resolve", "-Z", "daemon", "host", "127.0.0.1"], DAEMON),
        (&["--resolve", "-w", "x", "-C", "1", "--print", "port", "1"], NOBODY),
    ] {
        let reading = Reading::new(arguments, has_greeted);
        let helper = reading.child_called("capture-names").unwrap();
        let all = threads(helper);
        assert_eq!(all.len(), 1);
        holds(&all[0], uid, 0, 0);
        let descriptors = fs::read_dir(format!("/proc/{helper}/fd")).unwrap();
        let shown =
            descriptors.map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string());
        let (null, others): (Vec<_>, Vec<_>) = shown.partition(|to| to == "/dev/null");
        assert_eq!((null.len(), others.len()), (3, 1), "{others:?}");
        assert!(others[0].starts_with("socket:"), "{others:?}");
        reading.end();
        wait_until("the helper ends", || fs::metadata(format!("/proc/{helper}")).is_err());
    }
}

#[test]
#[ignore = "needs root"]
fn without_a_sandbox_a_process_keeps_what_it_has() {
    let reading = Reading::new(&["-n", "--no-sandbox", "-Z", "daemon"], has_lines);
    let status = &reading.threads()[0];
    assert_eq!([&status["Uid"], &status["NoNewPrivs"], &status["Seccomp"]], ["0 0 0 0", "0", "0"]);
    reading.end();
}

/// Runs capture where the kernel refuses a system call with `errno`.
fn where_refused(call: libc::c_long, errno: Errno, arguments: &[&str]) -> ! {
    let arch = env::consts::ARCH.try_into().unwrap();
    let refusal = SeccompAction::Errno(errno as u32);
    let filter =
        SeccompFilter::new([(call, Vec::new())].into(), SeccompAction::Allow, refusal, arch).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
    let text = |text: &OsStr| CString::new(text.as_bytes()).unwrap();
    let file = golden("walkthrough.pcap");
    let arguments = [OsStr::new(CAPTURE), OsStr::new("-r"), file.as_os_str()]
        .into_iter()
        .chain(arguments.iter().map(OsStr::new))
        .map(text);
    let arguments: Vec<CString> = arguments.collect();
    panic!("{:?}", execv(&text(OsStr::new(CAPTURE)), &arguments));
}

/// A run that cannot have a sandbox ends before it has looked at the file; one without Landlock goes on and says so.
#[test]
fn what_cannot_be_given_up_is_said() {
    if let Ok(task) = env::var(TASK) {
        match task.as_str() {
            "seccomp" => where_refused(libc::SYS_seccomp, Errno::EPERM, &["-n", "-c", "1"]),
            "seccomp, --no-sandbox" => {
                where_refused(libc::SYS_seccomp, Errno::EPERM, &["-n", "-c", "1", "--no-sandbox"])
            }
            "landlock" => where_refused(
                libc::SYS_landlock_create_ruleset,
                Errno::ENOSYS,
                &["-n", "-c", "1", "--log-level", "info"],
            ),
            other => panic!("no such task: {other}"),
        }
    }
    let run = |task: &str| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "what_cannot_be_given_up_is_said", "--nocapture", "--test-threads=1"]);
        let output = command.env(TASK, task).env("TZ", "GMT0").output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap().matches(" IP ").count();
        (output.status.code(), lines, String::from_utf8(output.stderr).unwrap())
    };
    let (code, lines, said) = run("seccomp");
    assert_eq!((code, lines), (Some(1), 0), "{said}");
    let sentence = "capture: cannot give up system calls before packets are read: Operation not permitted; add \
                    --no-sandbox to go on with all that this process may do\n";
    assert_eq!(said, sentence);
    let (code, lines, said) = run("seccomp, --no-sandbox");
    assert_eq!((code, lines), (Some(0), 1), "{said}");
    let (code, lines, said) = run("landlock");
    assert_eq!((code, lines), (Some(0), 1), "{said}");
    assert!(said.contains("no Landlock (this kernel has none, or has it turned off), seccomp\n"), "{said}");
}

#[test]
#[ignore = "needs root"]
fn a_user_that_is_none_is_said() {
    let file = golden("walkthrough.pcap");
    let output = Command::new(CAPTURE).arg("-r").arg(file).args(["-Z", "no-such-user"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected =
        "capture: -Z no-such-user: there is no such user in /etc/passwd; name another one, or leave out -Z\n";
    assert_eq!((output.stdout.len(), said.as_str()), (0, expected));
}

/// Signals end a run as before: none of them needs power.
#[test]
fn a_signal_still_ends_a_run() {
    let mut reading = Reading::new(&["-n"], has_lines);
    let child = nix::unistd::Pid::from_raw(reading.child.id().cast_signed());
    kill(child, Signal::SIGINT).unwrap();
    assert_eq!(reading.child.wait().unwrap().signal(), Some(libc::SIGINT));
}
