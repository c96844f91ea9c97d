//! Network namespaces that live as long as a thread does.

use std::{
    path::Path,
    process::Command,
    sync::mpsc::{Sender, channel},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, sched_getaffinity, sched_setaffinity, unshare},
    unistd::{Pid, gettid},
};

use crate::wait::{NEVER, wait_until, within};

type Job = Box<dyn FnOnce() + Send>;

const NOTHING: Option<&str> = None;

/// Gives the calling thread mounts that no other process sees.
pub fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).expect("private mounts");
}

/// A network namespace of its own, with loopback up. It has no name: the kernel removes it, with everything in it,
/// when its thread and the processes started in it have ended.
pub struct Namespace {
    jobs: Sender<Job>,
    thread: Pid,
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Namespace {
    /// Makes one.
    ///
    /// # Panics
    /// If that fails, as every function here that returns no `Result`.
    pub fn new() -> Self {
        Self::make().expect("a network namespace")
    }

    /// Makes one.
    pub fn make() -> Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let (ready, wait) = channel();
        thread::Builder::new().name("namespace".to_owned()).spawn(move || {
            // The caller sees the error, unless it has gone.
            let _gone = ready.send(unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid()));
            for job in queue {
                job();
            }
        })?;
        let thread = wait.recv().context("the namespace's thread has ended")?;
        let thread = thread.context("cannot make a network namespace: root is needed (CAP_SYS_ADMIN)")?;
        let namespace = Self { jobs, thread };
        namespace.try_output("ip link set lo up")?;
        Ok(namespace)
    }

    /// What other namespaces can name it by: the id of its thread.
    pub fn thread(&self) -> String {
        self.thread.to_string()
    }

    /// Two namespaces joined by a veth pair: `veth0` (10.0.0.1, fd00::1) here and `veth1` (10.0.0.2, fd00::2) there.
    pub fn pair() -> (Self, Self) {
        // Without duplicate address detection an IPv6 address is usable at once.
        let pair = Self::joined("accept_dad", "0").expect("a pair");
        for (namespace, device, number) in [(&pair.0, "veth0", 1), (&pair.1, "veth1", 2)] {
            namespace.ip(&format!("addr add fd00::{number}/64 dev {device} nodad"));
        }
        pair
    }

    /// The same without IPv6, so that the wire is silent until something sends.
    pub fn silent_pair() -> Result<(Self, Self)> {
        Self::joined("disable_ipv6", "1")
    }

    /// A pair whose ends are up, with a setting of IPv6, where the kernel has IPv6.
    fn joined(setting: &str, value: &'static str) -> Result<(Self, Self)> {
        let (here, there) = (Self::make()?, Self::make()?);
        here.try_output(&format!("ip link add veth0 type veth peer name veth1 netns {}", there.thread))?;
        let ends = [(&here, "veth0", 1), (&there, "veth1", 2)];
        for (namespace, device, number) in ends {
            let path = format!("/proc/sys/net/ipv6/conf/{device}/{setting}");
            namespace.run(move || match std::fs::write(path, value) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            })?;
            namespace.try_output(&format!("ip addr add 10.0.0.{number}/24 dev {device}"))?;
            namespace.try_output(&format!("ip link set {device} up"))?;
        }
        for (namespace, device, _) in ends {
            within(NEVER, &format!("a link of {device}"), || {
                let link = namespace.try_output(&format!("ip link show {device}"))?;
                Ok(link.contains("state UP").then_some(()))
            })?;
        }
        Ok((here, there))
    }

    /// A bridge `br0` (10.0.0.3) with two stations, each in a namespace of its own: `veth0` (10.0.0.1) and `veth0`
    /// (10.0.0.2).
    pub fn bridge() -> (Self, [Self; 2]) {
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
    pub fn with_files_of_its_own<C>(&self, files: &[(&'static str, C)])
    where
        C: AsRef<[u8]> + Clone + Send + 'static,
    {
        let files = files.to_vec();
        self.run(move || {
            own_mounts();
            for (number, (path, text)) in files.into_iter().enumerate() {
                if Path::new(path).exists() {
                    let name = format!("file-{}-{number}", std::process::id());
                    let own = std::env::temp_dir().join(name);
                    std::fs::write(&own, text).expect("a file");
                    mount(Some(&own), path, NOTHING, MsFlags::MS_BIND, NOTHING).expect("a mount");
                    std::fs::remove_file(&own).expect("it is ours");
                }
            }
        });
    }

    /// Lets the namespace's processes see an empty folder.
    pub fn with_an_empty(&self, folder: &'static str) {
        self.run(move || {
            own_mounts();
            mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), NOTHING).expect("a mount");
        });
    }

    /// Runs `job` in the namespace, on the CPUs that the caller may use: its sockets, and the processes it starts, belong
    /// there.
    pub fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
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
    pub fn output(&self, line: &str) -> String {
        self.try_output(line).expect("it goes well")
    }

    /// Runs a command line in the namespace and returns its output.
    pub fn try_output(&self, line: &str) -> Result<String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let output = self.run(move || Command::new(&words[0]).args(&words[1..]).output());
        let output = output.with_context(|| format!("cannot run `{line}`"))?;
        ensure!(output.status.success(), "`{line}`: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs `ip` with these arguments.
    pub fn ip(&self, arguments: &str) {
        self.output(&format!("ip {arguments}"));
    }
}
