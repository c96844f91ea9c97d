//! Where and with what a run was made.

use std::{fs, process::Command};

use serde_json::{Value, json};

/// What numbers are worthless without.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    processor: String,
    cpus: usize,
    kernel: String,
    tcpdump: String,
    /// The load before the run (/proc/loadavg, one minute).
    load: String,
}

impl Machine {
    pub(super) fn new() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let version = Command::new("tcpdump").arg("--version").output();
        let version =
            version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        Self {
            processor: processor.map_or("an unknown processor", |(_, name)| name).to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            tcpdump: version.lines().take(2).collect::<Vec<_>>().join(", "),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    pub(super) fn describe(&self) -> String {
        let Self { processor, cpus, kernel, tcpdump, load } = self;
        format!("{cpus} CPUs ({processor}), Linux {kernel}, {tcpdump}, load {load} before the run")
    }

    pub(super) fn json(&self) -> Value {
        let Self { processor, cpus, kernel, tcpdump, load } = self;
        json!({ "processor": processor, "cpus": cpus, "kernel": kernel, "tcpdump": tcpdump, "load": load })
    }
}
