//! SIGKILL, at any moment from the start on: nothing of the capture is left in the kernel (Linux 6.6), and no process.

use std::{collections::BTreeSet, fs, os::unix::process::ExitStatusExt as _};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use test_support::{
    bpf::{self, Object},
    random::Random,
};

use crate::{
    namespace::Namespace,
    neighbours::tcx_programs,
    process::{Tracer, wait_until},
};

/// Moments of each command line, besides the last ones.
const MOMENTS: usize = 6;

/// When a capture is stopped, to be killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// As soon as it has so many programs, maps and links.
    Holds(usize),
    /// As soon as it has so many processes.
    Processes(usize),
    /// When it listens.
    Listens,
}

/// The processes of a capture, and the programs, maps and links that they have, or had when they were looked at.
#[derive(Debug, Default)]
struct Family {
    processes: Vec<Pid>,
    held: BTreeSet<(Object, u32)>,
}

impl Family {
    fn look(&mut self, first: Pid) {
        self.processes = vec![first];
        let mut place = 0;
        while let Some(process) = self.processes.get(place) {
            let children =
                fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
            let children = children.split_whitespace().filter_map(|child| child.parse().ok());
            self.processes.extend(children.map(Pid::from_raw));
            place += 1;
        }
        let numbers = self.processes.iter().map(|process| process.as_raw().cast_unsigned());
        self.held.extend(numbers.flat_map(bpf::held_by));
    }

    /// Stops all of them, so that nothing changes any more.
    fn stop(&mut self, first: Pid) {
        loop {
            for process in self.processes.clone() {
                kill(process, Signal::SIGSTOP).expect("it runs");
                wait_until("it has stopped", || states(process).iter().all(|state| *state == 'T'));
            }
            let before = self.processes.clone();
            self.look(first);
            if self.processes == before {
                return;
            }
        }
    }

    /// Waits until nothing is left.
    fn is_gone(&mut self) {
        self.processes.retain(|process| !is_gone(*process));
        self.held.retain(|(object, id)| bpf::exists(*object, *id).expect("the kernel says it"));
    }
}

/// What the threads of a process do (proc_pid_stat(5)).
fn states(process: Pid) -> Vec<char> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let state = |path: std::path::PathBuf| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    };
    tasks.filter_map(|task| state(task.path())).collect()
}

fn is_gone(process: Pid) -> bool {
    states(process).iter().all(|state| matches!(state, 'Z' | 'X'))
}

#[test]
#[ignore = "needs root"]
fn nothing_is_left_whenever_it_is_killed() {
    let (here, there) = Namespace::pair();
    for number in 0..4 {
        here.ip(&format!("link add a{number} type veth peer name b{number}"));
        here.ip(&format!("link set a{number} up"));
        here.ip(&format!("link set b{number} up"));
    }
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("x").display().to_string();
    let namespaces = [&here, &there].map(|namespace| format!("--netns {}", namespace.thread())).join(" ");
    let mut random = Random::new(4);
    for arguments in [
        "-i veth0".to_owned(),
        "-i any".to_owned(),
        "-i veth0 --hook xdp-native".to_owned(),
        format!("-i veth0 -i lo -w {file} -C 1"),
        namespaces,
    ] {
        let start = || Tracer::program(&here, env!("CARGO_BIN_EXE_capture"), &arguments);
        let capture = start();
        capture.wait_for_stderr("listening on");
        let mut all = Family::default();
        all.look(capture.pid());
        assert!(capture.interrupt().status.success(), "{arguments}");
        for object in Object::ALL {
            assert!(all.held.iter().any(|(held, _)| *held == object), "{arguments}: {all:?}");
        }
        let mut moments: Vec<Moment> =
            (0..MOMENTS).map(|_| Moment::Holds(random.below(all.held.len()))).collect();
        moments.extend((2..=all.processes.len()).map(Moment::Processes));
        // The one that the user knows, and another one.
        moments.extend([Moment::Listens; 2]);
        for (number, moment) in moments.into_iter().enumerate() {
            let capture = start();
            let mut family = Family::default();
            wait_until("the moment", || {
                family.look(capture.pid());
                match moment {
                    Moment::Holds(count) => family.held.len() >= count,
                    Moment::Processes(count) => family.processes.len() >= count,
                    Moment::Listens => capture.stderr().contains("listening on"),
                }
            });
            family.stop(capture.pid());
            let (first, others) = family.processes.split_first().expect("it runs");
            let kills_other = number % 2 == 1 && !others.is_empty();
            let killed = if kills_other { random.pick(others) } else { *first };
            let had = format!("`{arguments}`, {moment:?}, {killed} of {family:?}");
            kill(killed, Signal::SIGKILL).expect("it has stopped");
            for process in family.processes.iter().filter(|process| **process != killed) {
                kill(*process, Signal::SIGCONT).expect("it has stopped");
            }
            let ended = capture.end();
            if kills_other {
                assert_eq!(ended.status.code(), Some(1), "{had}: {}", ended.stderr);
                assert!(ended.stderr.contains("capture: "), "{had}");
            } else {
                assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32), "{had}");
            }
            wait_until(&format!("the end of {had}"), || {
                family.is_gone();
                family.processes.is_empty() && family.held.is_empty()
            });
            assert_eq!(tcx_programs(&here, "veth0").len(), 0, "{had}");
        }
    }
}
