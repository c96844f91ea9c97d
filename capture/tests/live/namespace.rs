//! Network namespaces that live as long as a thread does.

use std::{
    path::Path,
    process::Command,
    sync::mpsc::{Sender, channel},
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, sched_getaffinity, sched_setaffinity, unshare},
    unistd::{Pid, gettid},
};

use crate::process::wait_until;

type Job = Box<dyn FnOnce() + Send>;

const NOTHING: Option<&str> = None;

/// Gives the calling thread mounts that no other process sees.
pub(crate) fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).expect("private mounts");
}

/// A network namespace of its own, with loopback up. It has no name: the kernel removes it, with everything in it,
/// when its thread and the processes started in it have ended.
pub(crate) struct Namespace {
    jobs: Sender<Job>,
    thread: Pid,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (jobs, queue) = channel::<Job>();
        let (ready, wait) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            ready.send(gettid()).expect("the test waits");
            for job in queue {
                job();
            }
        });
        let namespace = Self { jobs, thread: wait.recv().expect("the thread has started") };
        namespace.ip("link set lo up");
        namespace
    }

    /// Two namespaces joined by a veth pair: `veth0` (10.0.0.1, fd00::1) here and `veth1` (10.0.0.2, fd00::2) there.
    pub(crate) fn pair() -> (Self, Self) {
        let (here, there) = (Self::new(), Self::new());
        here.ip(&format!("link add veth0 type veth peer name veth1 netns {}", there.thread));
        for (namespace, device, number) in [(&here, "veth0", 1), (&there, "veth1", 2)] {
            // Without duplicate address detection an IPv6 address is usable at once.
            let path = format!("/proc/sys/net/ipv6/conf/{device}/accept_dad");
            namespace.run(move || std::fs::write(path, "0")).expect("sysctl");
            namespace.ip(&format!("addr add 10.0.0.{number}/24 dev {device}"));
            namespace.ip(&format!("addr add fd00::{number}/64 dev {device} nodad"));
            namespace.ip(&format!("link set {device} up"));
        }
        for (namespace, device) in [(&here, "veth0"), (&there, "veth1")] {
            wait_until("a link", || namespace.output(&format!("ip link show {device}")).contains("state UP"));
        }
        (here, there)
    }

    /// A bridge `br0` (10.0.0.3) with two stations, each in a namespace of its own: `veth0` (10.0.0.1) and `veth0`
    /// (10.0.0.2).
    pub(crate) fn bridge() -> (Self, [Self; 2]) {
        let bridge = Self::new();
        bridge.ip("link add br0 type bridge");
        bridge.ip("addr add 10.0.0.3/24 dev br0");
        bridge.ip("link set br0 up");
        let stations = [1, 2].map(|number| {
            let station = Self::new();
            let thread = bridge.thread;
            station.ip(&format!("link add veth0 type veth peer name port{number} netns {thread}"));
            station.ip(&format!("addr add 10.0.0.{number}/24 dev veth0"));
            station.ip("link set veth0 up");
            bridge.ip(&format!("link set port{number} master br0 up"));
            station
        });
        for number in [1, 2] {
            wait_until("a port", || {
                bridge.output(&format!("bridge link show dev port{number}")).contains("state forwarding")
            });
        }
        (bridge, stations)
    }

    /// Lets the namespace's processes see these files with other contents. What does not exist stays so.
    pub(crate) fn with_files_of_its_own<C>(&self, files: &[(&'static str, C)])
    where
        C: AsRef<[u8]> + Clone + Send + 'static,
    {
        let files = files.to_vec();
        self.run(move || {
            own_mounts();
            for (number, (path, text)) in files.into_iter().enumerate() {
                if Path::new(path).exists() {
                    let name = format!("file-{}-{number}", std::process::id());
                    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
                    std::fs::write(&own, text).expect("a file");
                    mount(Some(&own), path, NOTHING, MsFlags::MS_BIND, NOTHING).expect("a mount");
                    std::fs::remove_file(&own).expect("it is ours");
                }
            }
        });
    }

    /// Lets the namespace's processes see an empty folder.
    pub(crate) fn with_an_empty(&self, folder: &'static str) {
        self.run(move || {
            own_mounts();
            mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), NOTHING).expect("a mount");
        });
    }

    /// Runs `job` in the namespace, on the CPUs that the caller may use: its sockets, and the processes it starts, belong
    /// there.
    pub(crate) fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (done, result) = channel();
        let cpus = sched_getaffinity(Pid::from_raw(0)).expect("the caller's CPUs");
        let job = move || {
            sched_setaffinity(Pid::from_raw(0), &cpus).expect("the caller may use them");
            drop(done.send(job()));
        };
        self.jobs.send(Box::new(job)).expect("the namespace's thread runs");
        result.recv().expect("the job did not panic")
    }

    /// Runs a command line in the namespace and returns its output.
    pub(crate) fn output(&self, line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let output = self.run(move || Command::new(&words[0]).args(&words[1..]).output().expect("it starts"));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `ip` with these arguments.
    pub(crate) fn ip(&self, arguments: &str) {
        self.output(&format!("ip {arguments}"));
    }
}
