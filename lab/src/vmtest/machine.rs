//! A virtual machine.

use std::{
    fmt, fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

const QEMU: &str = "qemu-system-x86_64";

/// What the kernel is to do: to print only what matters, to end the machine when it panics, not to spend an emulator's
/// time on what protects from neighbours, and to begin with two of its CPUs. The checks that need all of them switch the
/// others on: emulated CPUs that share a real one wait for each other's locks. Every process of a program is to have it at
/// the same addresses: the emulator translates the instructions again for each address, and capture started four times as
/// slowly.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 mitigations=off norandmaps maxcpus=2";

/// Fails if there is no emulator.
pub(super) fn check() -> Result<()> {
    let version = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status();
    version.map(drop).context("cannot run qemu-system-x86_64; on Debian: apt-get install qemu-system-x86")
}

/// What runs the machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    Kvm,
    Emulation,
}

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It turned itself off, or its kernel panicked.
    Off,
    /// It did not end in time.
    Killed(Duration),
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("ended"),
            Self::Killed(_) => formatter.write_str("killed, as it did not end in time,"),
        }
    }
}

/// A machine with 8 processors that has no disk and no network.
pub(super) struct Machine {
    pub(super) kernel: PathBuf,
    pub(super) disk: PathBuf,
    /// What its kernel and its processes print.
    pub(super) console: PathBuf,
    /// What its first process reports.
    pub(super) report: PathBuf,
}

impl Machine {
    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// When the emulator cannot be run.
    pub(super) fn run(&self, accelerator: Accelerator, limit: Duration, checks: &[String]) -> Result<Ended> {
        for file in [&self.console, &self.report] {
            fs::write(file, "")?;
        }
        // Ended in whatever way, this process takes the machine with it.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", QEMU, "-machine", "q35", "-smp", "8", "-m", "1024", "-accel"]);
        qemu.arg(if accelerator == Accelerator::Kvm { "kvm" } else { "tcg" });
        qemu.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.disk);
        // The kernel gives what it does not know to its first process, in its environment.
        let chosen =
            if checks.is_empty() { String::new() } else { format!(" \"CHECKS={}\"", checks.join(" ")) };
        qemu.args(["-append", &format!("{KERNEL_ARGUMENTS}{chosen}")]);
        for file in [&self.console, &self.report] {
            qemu.arg("-serial").arg(format!("file:{}", file.display()));
        }
        let mut child = qemu.stdin(Stdio::null()).spawn().with_context(|| format!("cannot run {QEMU}"))?;
        let start = Instant::now();
        loop {
            if child.try_wait()?.is_some() {
                return Ok(Ended::Off);
            }
            if start.elapsed() > limit {
                child.kill()?;
                child.wait()?;
                return Ok(Ended::Killed(limit));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}
