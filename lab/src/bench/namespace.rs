//! The network of the measurements: two namespaces joined by a veth pair, which leave nothing behind.

use std::{
    process::Command,
    sync::mpsc::{Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{Pid, gettid},
};

type Job = Box<dyn FnOnce() + Send>;

/// The sending end of the pair, in [`Network::sender`].
pub(super) const SENDER: &str = "veth0";
/// The receiving end, in [`Network::receiver`], which is where both programs listen.
pub(super) const RECEIVER: &str = "veth1";

/// How long an interface may take to come up.
const UP: Duration = Duration::from_secs(10);

/// A network namespace of its own, with loopback up. It has no name: the kernel removes it, with everything in it,
/// when its thread and the processes and sockets made in it have ended.
pub(super) struct Namespace {
    jobs: Sender<Job>,
    thread: Pid,
}

impl Namespace {
    /// Makes one.
    pub(super) fn new() -> Result<Self> {
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
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `job` in the namespace: its sockets, and the processes it starts, belong there.
    pub(super) fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (done, result) = channel();
        let job = Box::new(move || drop(done.send(job())));
        self.jobs.send(job).map_err(|_| anyhow!("the namespace's thread has ended"))?;
        result.recv().context("a job in the namespace panicked")?
    }

    /// Runs `ip` with these arguments, and returns what it prints.
    pub(super) fn ip(&self, arguments: &str) -> Result<String> {
        let words: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        let output = self.run(move || Command::new("ip").args(words).output().context("cannot run ip"))?;
        if !output.status.success() {
            bail!("`ip {arguments}`: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Packets that an interface has received and handed to the stack (/proc/net/dev).
    pub(super) fn received(&self, interface: &'static str) -> Result<u64> {
        let table =
            self.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").map_err(anyhow::Error::from))?;
        // `veth1: bytes packets errs drop ...`
        let counters = table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
        let packets = counters.and_then(|counters| counters.split_whitespace().nth(1)?.parse().ok());
        packets.with_context(|| format!("/proc/net/dev has no count for {interface}"))
    }
}

/// The two namespaces.
pub(super) struct Network {
    pub(super) sender: Namespace,
    pub(super) receiver: Namespace,
}

impl Network {
    /// Makes the pair. The ends have addresses and no IPv6, so that the wire is silent until somebody sends.
    pub(super) fn new() -> Result<Self> {
        let (sender, receiver) = (Namespace::new()?, Namespace::new()?);
        sender.ip(&format!("link add {SENDER} type veth peer name {RECEIVER} netns {}", receiver.thread))?;
        for (namespace, device, number) in [(&sender, SENDER, 1), (&receiver, RECEIVER, 2)] {
            let path = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
            namespace.run(move || match std::fs::write(path, "1") {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            })?;
            namespace.ip(&format!("addr add 10.0.0.{number}/24 dev {device}"))?;
            namespace.ip(&format!("link set {device} up"))?;
        }
        let start = Instant::now();
        for (namespace, device) in [(&sender, SENDER), (&receiver, RECEIVER)] {
            while !namespace.ip(&format!("link show {device}"))?.contains("state UP") {
                if start.elapsed() > UP {
                    bail!("{device} does not come up");
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(Self { sender, receiver })
    }
}
