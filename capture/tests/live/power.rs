//! The two processes of a capture: what each holds, and that each ends with the other.

use std::{collections::BTreeMap, fs, os::fd::AsRawFd as _};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    namespace::Namespace,
    neighbours::tcx_programs,
    process::{Tracer, wait_until},
    traffic,
};

/// The uid of `nobody` and of `daemon` on Debian.
const NOBODY: u32 = 65534;
const DAEMON: u32 = 1;
/// CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_BPF.
const OF_HELPER: u64 = 1 << 12 | 1 << 13 | 1 << 21 | 1 << 39;

/// The fields of a status file of /proc; nothing of a process that is gone.
fn status(path: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().replace('\t', " "))).collect()
}

fn threads(process: Pid) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let path = |task: fs::DirEntry| format!("{}/status", task.path().display());
    tasks.map(|task| status(&path(task.expect("a thread")))).collect()
}

fn has(status: &BTreeMap<String, String>, set: &str) -> u64 {
    u64::from_str_radix(&status[set], 16).expect("a set of capabilities")
}

fn is_gone(process: Pid) -> bool {
    status(&format!("/proc/{process}/status")).get("State").is_none_or(|state| state.starts_with('Z'))
}

fn end(process: Pid) {
    kill(process, Signal::SIGKILL).expect("a process");
}

/// The helper that opens files has no rings, and none of the capabilities of the other one, which has no end of its sockets.
fn is_of_files_alone(capture: &Tracer) {
    let files = capture.child("capture-files");
    let of_files = status(&format!("/proc/{files}/status"));
    assert_eq!(has(&of_files, "CapEff") & OF_HELPER, 0, "{of_files:?}");
    assert_eq!(of_files["NoNewPrivs"], "1");
    let descriptors = |process: Pid| -> Vec<String> {
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("a process");
        let to =
            |entry: fs::DirEntry| fs::read_link(entry.path()).expect("a descriptor").display().to_string();
        descriptors.map(|entry| to(entry.expect("a descriptor"))).collect()
    };
    assert!(!descriptors(files).iter().any(|to| to.contains("bpf")), "{:?}", descriptors(files));
    let sockets = |process| descriptors(process).iter().filter(|to| to.starts_with("socket:")).count();
    // One for the output, and one for its own end.
    assert_eq!(sockets(files), 2, "{:?}", descriptors(files));
    let maps = fs::read_to_string(format!("/proc/{files}/maps")).expect("a process");
    assert!(!maps.contains("bpf"), "{maps}");
}

#[test]
#[ignore = "needs root"]
fn who_reads_packets_holds_nothing() {
    let (here, _there) = Namespace::pair();
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("x").display().to_string();
    for (arguments, uid, has_files) in [
        ("-i veth0".to_owned(), NOBODY, false),
        ("-i veth0 -Z daemon".to_owned(), DAEMON, false),
        ("-i veth0 -Z root".to_owned(), 0, false),
        ("-i veth0 --hook xdp-native".to_owned(), NOBODY, false),
        ("-i any".to_owned(), NOBODY, false),
        ("-i veth0 --resolve".to_owned(), NOBODY, false),
        ("-i veth0 --log-level trace".to_owned(), NOBODY, false),
        (format!("-i veth0 -w {file} --print --json={file}.json"), NOBODY, false),
        (format!("-i veth0 -w {file} --print --resolve"), NOBODY, false),
        (format!("-i veth0 -w {file} -C 1"), NOBODY, true),
        (format!("-i veth0 -w {file} -G 9 -Z daemon"), DAEMON, true),
        (format!("-i veth0 -w {file} -z true"), NOBODY, true),
    ] {
        let capture = Tracer::capture(&here, &arguments);
        let all = threads(capture.pid());
        assert!(all.len() > 2, "{arguments}: {} threads", all.len());
        for thread in all {
            let ids = vec![uid.to_string(); 4].join(" ");
            assert_eq!([&thread["Uid"], &thread["Gid"]], [&ids, &ids], "{arguments}: {thread:?}");
            let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| has(&thread, set));
            assert_eq!(sets, [0; 5], "{arguments}: {thread:?}");
            assert_eq!([&thread["NoNewPrivs"], &thread["Seccomp"]], ["1", "2"], "{arguments}: {thread:?}");
        }
        let helper = status(&format!("/proc/{}/status", capture.helper()));
        let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| has(&helper, set));
        assert_eq!(sets, [0, OF_HELPER, OF_HELPER, 0, 0], "{arguments}: {helper:?}");
        assert_eq!(helper["NoNewPrivs"], "1");
        if has_files {
            is_of_files_alone(&capture);
        }
        let ended = capture.interrupt();
        assert!(ended.status.success(), "{arguments}: {}", ended.stderr);
    }
}

/// And still captures, which shows that nothing is missing.
#[test]
#[ignore = "needs root"]
fn what_it_holds_is_said_and_kept_on_demand() {
    let (here, there) = Namespace::pair();
    let [one, two] = [1, 2].map(|number| std::net::IpAddr::from([10, 0, 0, number]));
    let capture = Tracer::capture(&here, "-l -i veth0 --log-level info");
    capture.wait_for_stdout(&traffic::marker_in(&there, two, one));
    let said = capture.interrupt().stderr;
    let sentence = "\ncapture: packets are read with: user 65534 (nobody), no capabilities, no_new_privs, Landlock (ABI ";
    assert!(said.contains(sentence), "{said}");
    let sentence = "\ncapture: programs are attached with: user 0, CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_ADMIN CAP_BPF, \
                    no_new_privs, Landlock (ABI ";
    assert!(said.contains(sentence), "{said}");
    let capture = Tracer::capture(&here, "-l -i veth0 --no-sandbox");
    for process in [capture.pid(), capture.helper()] {
        let status = status(&format!("/proc/{process}/status"));
        assert_eq!([&status["Uid"], &status["NoNewPrivs"], &status["Seccomp"]], ["0 0 0 0", "0", "0"]);
    }
    capture.wait_for_stdout(&traffic::marker_in(&there, two, one));
    assert!(capture.interrupt().status.success());
}

/// Without the capabilities for another user, root stays root, in a container as a rule. That is no error.
#[test]
#[ignore = "needs root"]
fn root_that_stays_root_is_said() {
    let here = Namespace::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/walkthrough.pcap");
    let because = "read as root without capabilities, because this process cannot become nobody: Operation not permitted; \
                   give it";
    for (lost, missing) in [("-setuid", "CAP_SETUID"), ("-setuid,-setgid", "CAP_SETGID and CAP_SETUID")] {
        let expected = |what: &str| {
            format!("capture: note: {what} {because} {missing}, or start capture as another user\n")
        };
        let capture = Tracer::unprivileged(&here, lost, "-i lo");
        capture.wait_for_stderr(&expected("packets are"));
        let ended = capture.interrupt();
        assert!(ended.status.success(), "{}", ended.stderr);
        let ended = Tracer::unprivileged(&here, lost, &format!("-n -r {file}")).end();
        assert!(ended.status.success(), "{}", ended.stderr);
        assert!(ended.stderr.starts_with(&expected("the file is")), "{}", ended.stderr);
        assert!(!ended.stdout.is_empty());
        // It is to stay root.
        let ended = Tracer::unprivileged(&here, lost, &format!("-n -r {file} -Z root")).end();
        assert!(!ended.stderr.contains("note: "), "{}", ended.stderr);
    }
}

/// However one of them ends, the other one ends, and nothing is left attached.
#[test]
#[ignore = "needs root"]
fn each_process_ends_with_the_other() {
    let (here, _there) = Namespace::pair();
    let attached = || tcx_programs(&here, "veth0").len();
    for kills_helper in [false, true] {
        for arguments in ["-i veth0", "-i any"] {
            let capture = Tracer::capture(&here, arguments);
            assert_eq!(attached(), 2);
            let (process, helper) = (capture.pid(), capture.helper());
            end(if kills_helper { helper } else { process });
            let ended = capture.end();
            wait_until("the helper ends", || is_gone(helper));
            wait_until("the programs are detached", || attached() == 0);
            if kills_helper {
                assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
                let sentence = "capture: lost the helper process that keeps the programs attached: it has ended; \
                                the capture has ended: start it again\n";
                assert!(ended.stderr.ends_with(sentence), "{}", ended.stderr);
                assert!(ended.stderr.contains(" packets captured\n"), "{}", ended.stderr);
            }
        }
    }
}

/// The same of the helper that opens files. What does not go to files goes on without it.
#[test]
#[ignore = "needs root"]
fn the_helper_that_opens_files_ends_with_the_capture() {
    let (here, there) = Namespace::pair();
    let [one, two] = [1, 2].map(|number| std::net::IpAddr::from([10, 0, 0, number]));
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("x").display().to_string();
    let arguments = format!("-l -i veth0 -w {file} -C 1");
    let sentence = format!(
        "capture: cannot write to {file}: lost the helper process that opens the files: it has ended; start capture again\n"
    );

    let capture = Tracer::capture(&here, &arguments);
    let (files, helper) = (capture.child("capture-files"), capture.helper());
    end(capture.pid());
    drop(capture.end());
    wait_until("both end", || is_gone(files) && is_gone(helper));

    let capture = Tracer::capture(&here, &arguments);
    let (files, helper) = (capture.child("capture-files"), capture.helper());
    end(files);
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&sentence), "{}", ended.stderr);
    wait_until("the other ends", || is_gone(helper));

    let capture = Tracer::capture(&here, &format!("{arguments} --print"));
    end(capture.child("capture-files"));
    capture.wait_for_stderr(sentence.trim_end());
    capture.wait_for_stdout(&traffic::marker_in(&there, two, one));
    assert_eq!(capture.interrupt().status.code(), Some(1));
}

/// Where nothing but the helper would remove them: filters of clsact outlive a process.
#[test]
#[ignore = "needs root"]
fn a_helper_that_loses_its_capture_removes_the_filters() {
    let (here, _there) = Namespace::pair();
    let filters =
        || ["ingress", "egress"].map(|side| here.output(&format!("tc filter show dev veth0 {side}")));
    let capture = Tracer::without_tcx(&here, "-i veth0");
    capture.wait_for_stderr("listening on");
    assert!(filters().iter().all(|filters| filters.contains("bpf")), "{:?}", filters());
    let (process, helper) = (capture.pid(), capture.helper());
    end(process);
    drop(capture.end());
    wait_until("the helper ends", || is_gone(helper));
    assert_eq!(filters(), ["", ""]);
}

/// Who reads standard error sees its end when the capture ends, also where the helper takes seconds longer to detach.
#[test]
#[ignore = "needs root"]
fn the_helper_has_no_standard_error() {
    let (here, _there) = Namespace::pair();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let pipe = fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).expect("a pipe");
    let capture = Tracer::capture_with_stderr(&here, "-i veth0", writer);
    let helper = capture.helper();
    wait_until("the programs are attached", || tcx_programs(&here, "veth0").len() == 2);
    wait_until("the helper has given up the pipe", || {
        let entries = fs::read_dir(format!("/proc/{helper}/fd")).expect("it runs").flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).all(|to| to != pipe)
    });
    assert!(capture.interrupt().status.success());
}

/// The keys of a terminal signal both processes.
#[test]
#[ignore = "needs root"]
fn the_helper_hears_no_signals() {
    let (here, _there) = Namespace::pair();
    let capture = Tracer::capture(&here, "-i veth0");
    let helper = capture.helper();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1] {
        kill(helper, signal).expect("a process");
    }
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(!ended.stderr.contains("helper"), "{}", ended.stderr);
}

/// Where filters outlive their helper, the next capture removes them, or --cleanup; those of live captures and of others stay.
#[test]
#[ignore = "needs root"]
fn what_a_killed_capture_leaves_is_removed() {
    let (here, there) = Namespace::pair();
    let [one, two] = [1, 2].map(|number| std::net::IpAddr::from([10, 0, 0, number]));
    let filters = || {
        let sides =
            ["ingress", "egress"].map(|side| here.output(&format!("tc filter show dev veth0 {side}")));
        sides.map(|filters| filters.matches(" handle ").count())
    };
    let start = |arguments: &str| {
        let capture = Tracer::without_tcx(&here, &format!("-l -i veth0 {arguments}"));
        capture.wait_for_stderr("listening on");
        capture
    };
    let alive = start("-s 100");
    here.run(|| {
        let add = "filter add dev veth0 egress prio 7 protocol all bpf bytecode";
        let status = std::process::Command::new("tc").args(add.split(' ')).arg("1,6 0 0 0,").status();
        assert!(status.expect("tc").success());
    });
    assert_eq!(filters(), [1, 2]);
    let killed = || {
        let capture = start("");
        let helper = capture.helper();
        end(helper);
        assert_eq!(capture.end().status.code(), Some(1));
        // Its sockets are closed one after the other; what the capture waited for is one of them.
        wait_until("the helper ends", || is_gone(helper));
        assert_eq!(filters(), [2, 3]);
    };
    killed();
    let clean_up = || Tracer::program(&here, env!("CARGO_BIN_EXE_capture"), "--cleanup").end();
    let ended = clean_up();
    assert!(ended.status.success());
    let removed = "capture: removed 2 filters from veth0, left there by a capture that was killed\n";
    assert_eq!(ended.stderr, removed);
    assert_eq!(filters(), [1, 2]);
    let nothing = "capture: no filter of a capture that was killed is on any interface in";
    let in_this = "this network namespace; to look into another one, add --netns";
    assert_eq!(clean_up().stderr, format!("{nothing} {in_this}\n"));
    let [one_name, two_names] = [vec![here.thread()], vec![here.thread(), there.thread()]].map(|names| {
        let arguments: String = names.iter().map(|name| format!("--netns {name} ")).collect();
        let program = env!("CARGO_BIN_EXE_capture");
        Tracer::program(&there, program, &format!("--cleanup {arguments}")).end().stderr
    });
    assert_eq!(one_name, format!("{nothing} network namespace {}\n", here.thread()));
    let both = format!("{}, {}", here.thread(), there.thread());
    assert_eq!(two_names, format!("{nothing} the network namespaces {both}\n"));
    killed();
    let next = start("port 8888");
    assert_eq!(filters(), [2, 3]);
    let marker = traffic::marker_in(&there, two, one);
    for capture in [alive, next] {
        capture.wait_for_stdout(&marker);
        let ended = capture.interrupt();
        assert!(ended.status.success(), "{}", ended.stderr);
        let note = removed.replace("capture: ", "capture: note: ");
        assert_eq!(ended.stderr.contains(&note), !ended.stderr.contains("length 100"), "{}", ended.stderr);
    }
    assert_eq!(filters(), [0, 1]);
}
