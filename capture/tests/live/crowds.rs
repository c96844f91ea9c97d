//! Many interfaces: hundreds that come and go, and five hundred that are there.

use std::{fs, net::IpAddr};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    namespace::Namespace,
    process::{Tracer, wait_until},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// What a process holds of what interfaces cost: descriptors, and resident memory in KiB.
fn held(capture: &Tracer) -> (usize, usize) {
    let of = |process| {
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count();
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let (_, resident) = status.split_once("RssAnon:").expect("a line");
        let resident: usize = resident.split_whitespace().next().expect("a number").parse().expect("KiB");
        (descriptors, resident)
    };
    let (reader, helper) = (of(capture.pid()), of(capture.helper()));
    (reader.0 + helper.0, reader.1 + helper.1)
}

#[test]
#[ignore = "needs root"]
fn a_hundred_come_and_go() {
    const MANY: usize = 50;
    let namespace = Namespace::new();
    let folder = TempDir::new().expect("a folder");
    let batch = |name: &str, line: &dyn Fn(usize) -> String| {
        let path = folder.path().join(name);
        fs::write(&path, (0..MANY).map(line).collect::<String>()).expect("a file");
        namespace.ip(&format!("-batch {}", path.display()));
    };
    let capture = Tracer::capture(&namespace, "-t -l -i any --port 8888");
    let programs = || tcx_links(&capture);
    let before = held(&capture).0;
    let mut resident = Vec::new();
    for round in 0..3 {
        batch("add", &|number| format!("link add r{round}a{number} type veth peer name r{round}b{number}\n"));
        batch("up", &|number| format!("link set r{round}a{number} up\nlink set r{round}b{number} up\n"));
        // Loopback has one program, each other interface two.
        wait_until("all to be attached to", || programs() == 1 + 2 * 2 * MANY);
        resident.push(held(&capture).1);
        batch("del", &|number| format!("link del r{round}a{number}\n"));
        wait_until("all to be gone", || programs() == 1);
        wait_until("no more descriptors than before", || held(&capture).0 == before);
    }
    let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    capture.wait_for_stdout(&marker);
    let notes = capture.stderr().matches(" disappeared\n").count();
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stderr.contains("300 interfaces disappeared during the capture\n"), "{}", ended.stderr);
    assert!((1..=20).contains(&notes), "{notes} notes");
    assert!(resident.iter().all(|resident| *resident < 24 << 10), "{resident:?} KiB");
    assert!(resident[2] < resident[1] + 2048, "{resident:?} KiB");
}

/// Packets of the interfaces that are attached to are read while the others are being attached to. At the end all programs are
/// switched off at once and the summary comes, before the links are closed one by one, for which the process that prints does
/// not wait longer than a second: the helper goes on.
#[test]
#[ignore = "needs root"]
fn five_hundred_interfaces() {
    const PAIRS: usize = 250;
    // Loopback has one program, each other interface two.
    const LINKS: usize = 1 + 2 * 2 * PAIRS;
    let namespace = Namespace::new();
    let folder = TempDir::new().expect("a folder");
    let batch = folder.path().join("add");
    let add = |number| format!("link add a{number} type veth peer name b{number}\n");
    let up = |number| format!("link set a{number} up\nlink set b{number} up\n");
    let lines: String = (0..PAIRS).map(add).chain((0..PAIRS).map(up)).collect();
    fs::write(&batch, lines).expect("a file");
    namespace.ip(&format!("-batch {}", batch.display()));

    let capture = Tracer::capture(&namespace, "-t -l -i any --port 8888");
    let helper = capture.helper();
    wait_until("the first of them", || links_of(helper) > 1);
    kill(helper, Signal::SIGSTOP).expect("it attaches");
    wait_until("it has stopped", || state_of(helper) == Some('T'));
    let links = links_of(helper);
    assert!(links < LINKS, "{links}");
    capture.wait_for_stdout(&traffic::marker(&namespace, LOOPBACK, LOOPBACK));
    kill(helper, Signal::SIGCONT).expect("it attaches");
    for some in (links..LINKS).step_by(100).chain([LINKS]) {
        wait_until("more of them", || links_of(helper) >= some);
    }
    assert_eq!(links_of(helper), LINKS);
    wait_until("a line of the last one", || {
        traffic::raw_frame(&namespace, "a249", &traffic::tagged(&[]));
        capture.stdout().contains("a249  Out IP ")
    });
    let (_, resident) = held(&capture);
    assert!(resident < 40 << 10, "{resident} KiB");

    capture.signal(Signal::SIGINT);
    capture.wait_for_stderr("packets captured\n");
    // It takes longer than a second, so that it is not through yet. It is held up for as long as the other process is there.
    kill(helper, Signal::SIGSTOP).expect("it detaches");
    wait_until("it has stopped", || state_of(helper) == Some('T'));
    assert!(links_of(helper) > 0);
    let ended = capture.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.count("captured"), ended.count("received by filter"));
    kill(helper, Signal::SIGCONT).expect("it detaches");
    let mut left = links_of(helper);
    while left > 0 {
        wait_until("fewer of them", || {
            let before = left;
            left = links_of(helper);
            left < before
        });
    }
    wait_until("the helper ends", || state_of(helper).is_none_or(|state| state == 'Z'));
}

/// What a process does (proc_pid_stat(5)); nothing, if it is gone.
fn state_of(process: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// How many TCX links a capture has open.
pub(crate) fn tcx_links(capture: &Tracer) -> usize {
    links_of(capture.helper())
}

/// How many its helper has open.
fn links_of(helper: Pid) -> usize {
    let Ok(entries) = fs::read_dir(format!("/proc/{helper}/fdinfo")) else { return 0 };
    let is_link = |text: &String| text.contains("link_type:\ttcx");
    entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok()).filter(is_link).count()
}
