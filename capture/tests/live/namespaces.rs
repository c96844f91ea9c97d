//! `--netns` and `--container`: interfaces inside other network namespaces.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::Mode,
    unistd::mkfifo,
};
use tempfile::TempDir;

use crate::{
    crowds::tcx_links,
    namespace::Namespace,
    process::{Tracer, wait_until},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

/// The words of the lines, in an order of their own.
fn words(text: &str) -> Vec<Vec<&str>> {
    let mut lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<_>| !words.is_empty())
        .collect();
    lines.sort_unstable();
    lines
}

/// With one interface in one namespace, the lines are those of a tcpdump inside it.
#[test]
#[ignore = "needs root"]
fn one_interface_is_as_from_inside() {
    let (outside, (here, there)) = (Namespace::new(), Namespace::pair());
    for flags in ["-t", "-t -e", "-t -x", "-t -y LINUX_SLL2"] {
        let tcpdump_flags = if flags.contains("SLL2") { "-t -i any" } else { &format!("{flags} -i veth0") };
        let tcpdump = Tracer::tcpdump(&here, &format!("-n {tcpdump_flags} tcp port 8888"));
        let arguments = format!("-l {flags} --netns {} -i veth0 port 8888", here.thread());
        let capture = Tracer::capture(&outside, &arguments);
        traffic::nc_session(&there, &here, TWO);
        let marker = traffic::marker_in(&there, TWO, ONE);
        let [capture, tcpdump] = [capture, tcpdump].map(|tracer| {
            tracer.wait_for_stdout(&marker);
            tracer.interrupt()
        });
        let expected = if flags.contains("SLL2") {
            tcpdump.stdout.replace("veth0 ", &format!("{}/veth0 ", here.thread()))
        } else {
            tcpdump.stdout
        };
        assert_eq!(words(&capture.stdout), words(&expected), "{flags}");
        assert!(
            capture.stderr.contains(&format!("listening on {}/veth0, ", here.thread())),
            "{}",
            capture.stderr
        );
    }
}

/// The same indices and names in two namespaces are different interfaces.
#[test]
#[ignore = "needs root"]
fn packets_of_several_namespaces_have_their_names() {
    let (outside, (here, there)) = (Namespace::new(), Namespace::pair());
    let names = [here.thread(), there.thread()];
    let folder = TempDir::new().expect("a directory");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (pcapng, json) = (file("x.pcapng"), file("x.json"));
    let tcpdumps = [&here, &there].map(|inside| Tracer::tcpdump(inside, "-n -t -S -i any tcp port 8888"));
    let arguments = format!(
        "-t -S -l --netns {} --netns {} port 8888 -w {pcapng} --print --json={json}",
        names[0], names[1]
    );
    let capture = Tracer::capture(&outside, &arguments);
    traffic::nc_session(&there, &here, TWO);
    traffic::marker(&there, LOOPBACK, LOOPBACK);
    let marker = traffic::marker(&here, LOOPBACK, LOOPBACK);
    let tcpdumps = tcpdumps.map(|tcpdump| {
        tcpdump.wait_for_stdout(&marker);
        tcpdump.interrupt()
    });
    let mut expected = String::new();
    for (tcpdump, name) in tcpdumps.iter().zip(&names) {
        tcpdump.stdout.lines().filter(|line| !line.is_empty()).for_each(|line| {
            expected.push_str(&format!("{name}/{line}\n"));
        });
    }
    let count = words(&expected).len();
    wait_until("all lines", || capture.stdout().lines().count() >= count);
    let capture = capture.interrupt();
    assert!(capture.status.success(), "{}", capture.stderr);
    assert_eq!(words(&capture.stdout), words(&expected));
    let interfaces =
        names.iter().flat_map(|name| ["lo", "veth0", "veth1"].map(|device| format!("{name}/{device}")));
    let interfaces: Vec<String> = interfaces.filter(|name| expected.contains(&format!("{name} "))).collect();
    assert_eq!(interfaces.len(), 4, "{expected}");
    let json = fs::read_to_string(&json).expect("a file");
    let read = Tracer::program(&outside, "tshark", &format!("-r {pcapng} -T fields -e frame.interface_name"));
    let read = read.end().stdout;
    for interface in interfaces {
        assert!(json.contains(&format!("\"{interface}\"")), "{interface}: {json}");
        assert!(read.lines().any(|line| line == interface), "{interface}: {read}");
    }
}

/// What comes and goes inside is followed, and a namespace stays although the process is gone that led to it.
#[test]
#[ignore = "needs root"]
fn interfaces_inside_are_followed() {
    let (outside, inside) = (Namespace::new(), Namespace::new());
    let mut process = sleep(&inside);
    let number = process.id();
    let capture = Tracer::capture(&outside, &format!("-t -l --netns {number} port 8888"));
    process.kill().expect("a process");
    process.wait().expect("a process");
    for round in 1..=3 {
        inside.ip("link add e0 type veth peer name e1");
        inside.ip("link set e0 up");
        inside.ip("link set e1 up");
        wait_until("a line of e1", || {
            traffic::raw_frame(&inside, "e0", &traffic::tagged(&[]));
            capture.stdout().matches(&format!("{number}/e1 B   IP ")).count() >= round
        });
        // Loopback has one program, each other interface two.
        wait_until("programs at both", || tcx_links(&capture) == 5);
        inside.ip("link del e0");
        wait_until("the end of e0 and e1", || tcx_links(&capture) == 1);
    }
    let marker = traffic::marker(&inside, LOOPBACK, LOOPBACK);
    capture.wait_for_stdout(&marker);
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
    let note = format!("capture: note: in network namespace {number}: e0 disappeared\n");
    assert!(ended.stderr.contains(&note), "{}", ended.stderr);
    let remark = format!("\nin network namespace {number}: 6 interfaces disappeared during the capture\n");
    assert!(ended.stderr.contains(&remark), "{}", ended.stderr);
    assert_eq!(ended.count("captured"), ended.count("received by filter"));
}

fn sleep(namespace: &Namespace) -> Child {
    namespace.run(|| {
        Command::new("sleep").arg("60").stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a process")
    })
}

/// Without TCX, filters are removed from within the namespace, also when the capture is killed.
#[test]
#[ignore = "needs root"]
fn filters_inside_are_removed() {
    let (outside, (here, _there)) = (Namespace::new(), Namespace::pair());
    let filters =
        || ["ingress", "egress"].map(|side| here.output(&format!("tc filter show dev veth0 {side}")));
    for kill in [false, true] {
        let capture = Tracer::without_tcx(&outside, &format!("--netns {} -i veth0 -i lo", here.thread()));
        capture.wait_for_stderr("listening on");
        assert!(filters().iter().all(|filters| filters.contains("bpf")), "{:?}", filters());
        if kill {
            capture.signal(nix::sys::signal::Signal::SIGKILL);
            drop(capture.end());
        } else {
            assert!(capture.interrupt().status.success());
        }
        wait_until("no filter", || filters() == ["", ""]);
    }
}

/// A name of ip-netns(8), and what is said where there is none.
#[test]
#[ignore = "needs root"]
fn a_namespace_has_a_name() {
    let outside = Namespace::new();
    let name = format!("capture-test-{}", std::process::id());
    outside.ip(&format!("netns add {name}"));
    outside.ip(&format!("-netns {name} link set lo up"));
    let capture = Tracer::capture(&outside, &format!("--netns {name} -i lo"));
    assert!(capture.stderr().contains(&format!("listening on {name}/lo, ")), "{}", capture.stderr());
    assert!(capture.interrupt().status.success());
    let failing = |arguments: &str| Tracer::capture_failing(&outside, arguments).stderr;
    let missing = failing("--netns no-such -i lo");
    assert!(
        missing.starts_with("capture: no network namespace no-such: No such file or directory (have: "),
        "{missing}"
    );
    assert!(missing.contains(&name), "{missing}");
    let listed =
        Tracer::program(&outside, env!("CARGO_BIN_EXE_capture"), &format!("-D --netns {name}")).end();
    assert_eq!(listed.stdout, format!("1.{name}/lo [Up, Running, Loopback]\n"));
    // A named pipe has no writer.
    let folder = TempDir::new().expect("a directory");
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    for path in [pipe.to_str().expect("a path"), "/etc/passwd", "/proc/self/ns/mnt"] {
        let refused = failing(&format!("--netns {path} -i lo"));
        assert!(refused.starts_with(&format!("capture: {path} is not a network namespace; ")), "{refused}");
    }
    let missing = failing(&format!("--netns {name} -i e9"));
    assert!(missing.starts_with(&format!("capture: in network namespace {name}: ")), "{missing}");
    assert!(missing.contains("e9") && missing.contains("(have: lo)"), "{missing}");
    outside.ip(&format!("netns del {name}"));
}

/// Two with the same short name are two in each output.
#[test]
#[ignore = "needs root"]
fn namespaces_of_one_name_are_told_apart() {
    let (outside, (here, there)) = (Namespace::new(), Namespace::pair());
    let folder = TempDir::new().expect("a directory");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let paths = [(&here, at("x")), (&there, at("y"))].map(|(namespace, parent)| {
        fs::create_dir(&parent).expect("a directory");
        let path = format!("{parent}/web");
        symlink(format!("/proc/{}/ns/net", namespace.thread()), &path).expect("a link");
        path
    });
    let (pcapng, json) = (at("x.pcapng"), at("x.json"));
    let arguments = format!(
        "-t -l --netns {} --netns {} -i lo port 8888 -w {pcapng} --print --json={json}",
        paths[0], paths[1]
    );
    let capture = Tracer::capture(&outside, &arguments);
    for namespace in [&here, &there] {
        let marker = traffic::marker(namespace, LOOPBACK, LOOPBACK);
        capture.wait_for_stdout(&marker);
    }
    let ended = capture.interrupt();
    let long = format!("{}/lo", paths[1]);
    assert!(ended.stderr.contains(&format!("listening on web/lo, {long}, ")), "{}", ended.stderr);
    let json = fs::read_to_string(&json).expect("a file");
    let read = Tracer::program(&outside, "tshark", &format!("-r {pcapng} -T fields -e frame.interface_name"));
    let read = read.end().stdout;
    for interface in ["web/lo", &long] {
        let begins = |line: &str| line.starts_with(&format!("{interface} In  IP "));
        assert!(ended.stdout.lines().any(begins), "{interface}: {}", ended.stdout);
        assert!(json.contains(&format!("\"{interface}\"")), "{interface}: {json}");
        assert!(read.lines().any(|line| line == interface), "{interface}: {read}");
    }
}

/// One that is down in one of several namespaces is an error, as it is in one; and waited for with `--wait`.
#[test]
#[ignore = "needs root"]
fn one_that_is_down_in_one_of_several_namespaces() {
    let (outside, namespaces) = (Namespace::new(), [Namespace::new(), Namespace::new()]);
    let names = namespaces.each_ref().map(Namespace::thread);
    namespaces[1].ip("link set lo down");
    let arguments = format!("-l --netns {} --netns {} -i lo", names[0], names[1]);
    let refused = Tracer::capture_failing(&outside, &arguments).stderr;
    let expected = format!(
        "capture: in network namespace {}: cannot capture on lo: the interface is down (bring it up with ",
        names[1]
    );
    assert!(refused.starts_with(&expected), "{refused}");
    let capture = Tracer::capture(&outside, &format!("{arguments} --wait"));
    namespaces[1].ip("link set lo up");
    wait_until("a program at both", || tcx_links(&capture) == 2);
    assert!(capture.interrupt().status.success());
}

/// Cgroups of this test's own, with processes in them.
struct Cgroups {
    folder: TempDir,
    processes: Vec<(Child, PathBuf)>,
}

impl Cgroups {
    fn new() -> Self {
        let folder = TempDir::new().expect("a directory");
        mount(Some("none"), folder.path(), Some("cgroup2"), MsFlags::empty(), None::<&str>).expect("cgroups");
        Self { folder, processes: Vec::new() }
    }

    /// Starts a process in a cgroup. Returns its number.
    fn start(&mut self, namespace: &Namespace, cgroup: &str) -> u32 {
        let path = self.folder.path().join(cgroup);
        let _made = fs::create_dir(&path);
        let process = sleep(namespace);
        let number = process.id();
        fs::write(path.join("cgroup.procs"), number.to_string()).expect("a process moves");
        self.processes.push((process, path));
        number
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for (process, _) in &mut self.processes {
            process.kill().expect("a process");
            process.wait().expect("a process");
        }
        for (_, path) in &self.processes {
            wait_until("an empty cgroup", || !path.exists() || fs::remove_dir(path).is_ok());
        }
        umount2(self.folder.path(), MntFlags::MNT_DETACH).expect("a mount");
    }
}

/// A container is found by the cgroup of its processes.
#[test]
#[ignore = "needs root"]
fn a_container_is_a_namespace() {
    const ID: &str = "c0ffee000000c0ffee000000c0ffee000000c0ffee000000c0ffee000000c0ff";
    let (outside, inside) = (Namespace::new(), Namespace::new());
    let mut cgroups = Cgroups::new();
    cgroups.start(&inside, &format!("docker-{ID}.scope"));
    let short = ID.get(..12).expect("letters");
    let capture = Tracer::capture(&outside, &format!("-t -l --container {short} port 8888"));
    let marker = traffic::marker(&inside, LOOPBACK, LOOPBACK);
    capture.wait_for_stdout(&marker);
    let ended = capture.interrupt();
    assert!(ended.stdout.starts_with(&format!("{short}/lo In  IP ")), "{}", ended.stdout);
    let missing = Tracer::capture_failing(&outside, "--container c0ffee111111").stderr;
    assert!(
        missing.starts_with("capture: no container c0ffee111111: no process is in a cgroup"),
        "{missing}"
    );
}

/// podman and CRI-O start a process for each container, before those of the container and outside of it.
#[test]
#[ignore = "needs root"]
fn what_runs_a_container_is_not_in_it() {
    for (runtime, id) in [("libpod", "c0ffee222222"), ("crio", "c0ffee333333")] {
        let id = &format!("{id:0<64}");
        let (outside, machine, inside) = (Namespace::new(), Namespace::new(), Namespace::new());
        let mut cgroups = Cgroups::new();
        let monitor = format!("{runtime}-conmon-{id}.scope");
        let container = format!("{runtime}-{id}.scope");
        cgroups.start(&machine, &monitor);
        // One that its cgroup does not tell from those of the container.
        cgroups.start(&outside, &container);
        let first = cgroups.start(&inside, &container);
        let capture = Tracer::capture(&outside, &format!("-l --container {id} -i lo"));
        let marker = traffic::marker(&inside, LOOPBACK, LOOPBACK);
        capture.wait_for_stdout(&marker);
        assert!(capture.interrupt().status.success());
        let other = Namespace::new();
        let second = cgroups.start(&other, &container);
        let refused = Tracer::capture_failing(&outside, &format!("--container {id} -i lo")).stderr;
        let (low, high) = (first.min(second), first.max(second));
        let expected = format!(
            "capture: container {id}: its processes {low} and {high} are in different network namespaces; name the one \
             that is meant with --netns PID\n"
        );
        assert_eq!(refused, expected);
    }
}
