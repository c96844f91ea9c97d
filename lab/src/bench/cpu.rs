//! CPU time: of a process, of the calling thread, of the kernel's softirq threads; and which CPU to run on.

use std::{fs, iter::Sum, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// CPU time that a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cpu {
    /// All of it, to the nanosecond (the process's CPU clock).
    pub(super) total: Duration,
    /// How it divides, as the timer's ticks saw it (/proc/PID/stat): far coarser.
    user_ticks: u64,
    system_ticks: u64,
}

/// Of a hundredth of a second each.
const ENOUGH_TICKS: u64 = 10;

impl Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            total: sum.total + one.total,
            user_ticks: sum.user_ticks + one.user_ticks,
            system_ticks: sum.system_ticks + one.system_ticks,
        })
    }
}

impl Cpu {
    /// What the threads of a process have used so far.
    pub(super) fn of(process: u32) -> Result<Self> {
        let total = of_process(process)?;
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // After the name, which is in parentheses and may contain anything: fields 3 and on (proc_pid_stat(5)).
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |number: usize| fields.get(number - 3).and_then(|field| field.parse().ok());
        let (user_ticks, system_ticks) =
            ticks(14).zip(ticks(15)).context("/proc/PID/stat is not understood")?;
        Ok(Self { total, user_ticks, system_ticks })
    }

    /// What was used since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            total: self.total.saturating_sub(before.total),
            user_ticks: self.user_ticks - before.user_ticks,
            system_ticks: self.system_ticks - before.system_ticks,
        }
    }

    /// User and system time: the total, divided as the ticks are. `None` if there were too few of them to say.
    pub(super) fn split(&self) -> Option<(Duration, Duration)> {
        let ticks = self.user_ticks + self.system_ticks;
        (ticks >= ENOUGH_TICKS).then(|| {
            let user = self.total.mul_f64(self.user_ticks as f64 / ticks as f64);
            (user, self.total.saturating_sub(user))
        })
    }
}

/// CPU time of the calling thread.
pub(super) fn of_thread() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// CPU time of the `ksoftirqd` threads so far: what the kernel did for packets on no process's account. Zero where they
/// are not visible.
pub(super) fn of_softirq_threads() -> Result<Duration> {
    let mut total = Duration::ZERO;
    for process in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let softirq = |name: String| name.starts_with("ksoftirqd/");
        if fs::read_to_string(process.path().join("comm")).is_ok_and(softirq)
            && let Some(number) = process.file_name().to_str().and_then(|number| number.parse().ok())
        {
            total += of_process(number)?;
        }
    }
    Ok(total)
}

/// CPU time of a process, with all its threads, to the nanosecond.
fn of_process(process: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(process as i32))?;
    Ok(clock_gettime(clock)?.into())
}

/// Keeps the calling thread on one CPU.
pub(super) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_cpu_time_grows_and_divides() {
        let before = Cpu::of(std::process::id()).unwrap();
        let mut cpu = before;
        while cpu.since(&before).split().is_none() {
            cpu = Cpu::of(std::process::id()).unwrap();
        }
        let used = cpu.since(&before);
        let (user, system) = used.split().unwrap();
        assert!(used.total > Duration::ZERO);
        assert_eq!(user + system, used.total);
    }
}
