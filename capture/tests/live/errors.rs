//! What is said when something is wrong: the object, the cause, the next step.

use std::os::unix::{ffi::OsStrExt as _, process::CommandExt as _};

use test_support::packets::{Packet, file::pcap, link::Link};

use crate::{
    namespace::Namespace,
    process::{Ended, Tracer, wait_until},
    traffic,
};

fn failing(namespace: &Namespace, arguments: &str) -> Ended {
    let ended = Tracer::capture_failing(namespace, arguments);
    assert_eq!(ended.stdout, "", "{arguments}");
    ended
}

#[test]
#[ignore = "needs root"]
fn no_such_interface() {
    let ended = failing(&Namespace::new(), "-i eth9");
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr, "capture: cannot attach to eth9: no such interface (have: lo)\n");
}

/// Not only when the interface has come.
#[test]
#[ignore = "needs root"]
fn a_wrong_user_is_refused_before_an_interface_is_waited_for() {
    let ended = failing(&Namespace::new(), "-i eth9 --wait -Z nouser");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.starts_with("capture: -Z nouser: there is no such user in "), "{}", ended.stderr);
}

#[test]
#[ignore = "needs root"]
fn interfaces_are_listed_by_their_indices() {
    let (namespace, _there) = Namespace::pair();
    let capture = Tracer::capture_failing(&namespace, "-D").stdout;
    assert_eq!(capture, "1.lo [Up, Running, Loopback]\n2.veth0 [Up, Running]\n");
    // tcpdump lists loopback after the others, and more than interfaces.
    let tcpdump = namespace.output("tcpdump -D");
    assert!(tcpdump.starts_with("1.veth0 [Up, Running, Connected]\n2.any "), "{tcpdump}");
}

/// An interface can have almost any name.
#[test]
#[ignore = "needs root"]
fn names_of_interfaces_do_not_control_a_terminal() {
    let namespace = Namespace::new();
    namespace.ip("link add a\u{1b}[31mZ index 77 type veth peer name b\u{202e}x index 78");
    let listed = Tracer::capture_failing(&namespace, "-D");
    assert_eq!(listed.stdout, "1.lo [Up, Running, Loopback]\n2.a?[31mZ\n3.b???x\n");
    let ended = failing(&namespace, "-i \u{9b}31m");
    let expected = "capture: cannot attach to ??31m: no such interface (have: lo, a?[31mZ, b???x)\n";
    assert_eq!(ended.stderr, expected);
    for interface in ["2", "a\u{1b}[31mZ"] {
        let ended = failing(&namespace, &format!("-i {interface}"));
        assert!(
            ended.stderr.starts_with("capture: cannot capture on a?[31mZ: the interface is down"),
            "{}",
            ended.stderr
        );
    }
    namespace.ip("link set a\u{1b}[31mZ up");
    let ended = Tracer::capture(&namespace, "-i 2").interrupt();
    assert!(ended.stderr.starts_with("capture: listening on a?[31mZ, "), "{}", ended.stderr);
    // No name has to be text.
    let found = namespace.run(|| {
        let ip = |arguments: &[&[u8]]| {
            let arguments = arguments.iter().map(|argument| std::ffi::OsStr::from_bytes(argument));
            let status = std::process::Command::new("ip").args(arguments).status();
            assert!(status.expect("it starts").success());
        };
        ip(&[b"link", b"set", b"dev", "b\u{202e}x".as_bytes(), b"name", b"c\xff"]);
        ip(&[b"link", b"set", b"dev", b"c\xff", b"up"]);
        capture::kernel::Interface::find(std::ffi::OsStr::from_bytes(b"c\xff")).expect("it exists")
    });
    assert_eq!((found.index, found.to_string().as_str()), (78, "c???"));
    let ended = Tracer::capture(&namespace, "-i 3").interrupt();
    assert!(ended.stderr.starts_with("capture: listening on c???, "), "{}", ended.stderr);
    // A "cooked" frame names the interface by its index, and tcpdump prints the name of the one that is here.
    let cooked = [&[8, 0, 0, 0, 0, 0, 0, 77][..], &[0; 12], &traffic::tagged(&[])[14..]].concat();
    let file = pcap(Link::Sll2.number(), [Packet::whole(0, 0, cooked)]);
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("names-of-interfaces.pcap");
    std::fs::write(&path, file).expect("a file");
    let ended = Tracer::capture_failing(&namespace, &format!("-t -r {}", path.display()));
    assert!(ended.stdout.starts_with("a?[31mZ In  IP 10.0.0.1.1234 > "), "{}", ended.stdout);
    assert!(ended.stderr.ends_with("\nWarning: interface names might be incorrect\n"), "{}", ended.stderr);
}

/// A file needs no privileges, and no file needs a name that is text.
#[test]
#[ignore = "needs root"]
fn anybody_may_read_a_file() {
    /// Of no account that owns files.
    const UNPRIVILEGED: u32 = 65534;
    // Where the process may not look, there might be the executable and the file.
    let folder = std::env::temp_dir().join(format!("capture-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (program, file) = (folder.join("capture"), folder.join(std::ffi::OsStr::from_bytes(b"a\xff.pcap")));
    std::fs::copy(env!("CARGO_BIN_EXE_capture"), &program).expect("a copy");
    std::fs::copy(golden.join("walkthrough.pcap"), &file).expect("a copy");
    let mut command = std::process::Command::new(&program);
    command.env("TZ", "GMT0").arg("-r").arg(&file).uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    let output = command.output().expect("it starts");
    std::fs::remove_dir_all(&folder).expect("it is ours");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, std::fs::read(golden.join("walkthrough.out")).expect("a golden"));
}

#[test]
#[ignore = "needs root"]
fn the_default_is_an_interface_with_a_carrier() {
    let namespace = Namespace::new();
    namespace.ip("link add silent type veth peer name off");
    namespace.ip("link set silent up");
    let default = |namespace: &Namespace| {
        let [capture, tcpdump] =
            [Tracer::capture, Tracer::tcpdump].map(|start| start(namespace, "").interrupt());
        let name = |ended: &Ended| {
            let (_, after) = ended.stderr.split_once("listening on ").expect("it listens");
            after.split_once(',').expect("a name").0.to_owned()
        };
        [name(&capture), name(&tcpdump)]
    };
    assert_eq!(default(&namespace), ["any", "any"]);
    namespace.ip("link add spoken type veth peer name for");
    namespace.ip("link set spoken up");
    namespace.ip("link set for up");
    wait_until("a carrier", || namespace.output("ip link show spoken").contains("state UP"));
    let [capture, tcpdump] = default(&namespace);
    assert_eq!(capture, tcpdump);
    assert_ne!(capture, "silent");
}

#[test]
#[ignore = "needs root"]
fn an_interface_that_is_down() {
    let namespace = Namespace::new();
    namespace.ip("link set lo down");
    let ended = failing(&namespace, "-i lo");
    assert_eq!(ended.status.code(), Some(1));
    let expected =
        "capture: cannot capture on lo: the interface is down (bring it up with `ip link set lo up`)\n";
    assert_eq!(ended.stderr, expected);
}

#[test]
#[ignore = "needs root"]
fn a_taken_xdp_slot() {
    let namespace = Namespace::new();
    let holder = Tracer::capture(&namespace, "-i lo --hook xdp-generic");
    let ended = failing(&namespace, "-i lo --hook xdp-generic");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("cannot attach XDP to lo: program xdp (id "), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(", generic) is attached there; detach it, or use `--hook tc`"),
        "{}",
        ended.stderr
    );
    assert!(holder.interrupt().status.success());
}

#[test]
#[ignore = "needs root"]
fn native_xdp_where_the_driver_has_none() {
    let ended = failing(&Namespace::new(), "-i lo --hook xdp-native");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("cannot attach xdp-native to lo: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("`--hook xdp-generic` works with every driver"), "{}", ended.stderr);
}

#[test]
#[ignore = "needs root"]
fn three_capabilities_are_enough() {
    let namespace = Namespace::new();
    for hook in ["tc", "xdp-generic"] {
        let arguments = format!("-i lo --hook {hook}");
        let capture = Tracer::unprivileged(&namespace, "-all,+bpf,+net_admin,+perfmon", &arguments);
        capture.wait_for_stderr("listening on lo");
        assert!(capture.interrupt().status.success());
    }
}

#[test]
fn a_wrong_command_line() {
    let namespace = |arguments: &str| {
        let words = arguments.split_whitespace();
        std::process::Command::new(env!("CARGO_BIN_EXE_capture")).args(words).output().expect("it starts")
    };
    for (arguments, expected) in [
        ("--port http", "`http` is not a port: give a number from 0 to 65535, a range such as 8000-8100"),
        ("--port 80-70", "the range `80-70` runs backwards: write 70-80"),
        ("--port ,", "a port is missing: give a number from 0 to 65535"),
        ("-i lo tcp port 70000", "port 70000: ports go up to 65535\n  tcp port 70000\n           ^~~~~\n"),
        ("-c -1", "invalid packet count -1: -c takes 1 or more"),
        ("-r x -s 262145", "invalid snapshot length 262145"),
        ("-B 0", "invalid buffer size 0: "),
        ("--hook sideways", "invalid value sideways: --hook <HOOK> takes auto, tc, xdp, "),
        ("-n --resolve", "-n asks for numbers and --resolve for names"),
        ("-i lo --count", "name one with -r"),
        ("-w - --print", "two outputs go to standard output: give one of them a file of its own"),
    ] {
        let output = namespace(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
        assert!(stderr.contains(expected), "{arguments}: {stderr}");
    }
}

#[test]
#[ignore = "needs root"]
fn an_interface_that_goes_away_ends_the_capture() {
    let namespace = Namespace::new();
    namespace.ip("link add veth0 type veth peer name veth1");
    namespace.ip("link set veth0 up");
    let capture = Tracer::capture(&namespace, "-i veth0");
    // Leaving a bridge is no reason to end.
    namespace.ip("link add br0 type bridge");
    namespace.ip("link set veth0 master br0");
    namespace.ip("link set veth0 nomaster");
    // What is announced of a link with many names is long.
    for number in 0..80 {
        namespace.ip(&format!("link property add dev veth0 altname {}{number}", "x".repeat(118)));
    }
    namespace.ip("link del veth0");
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1));
    let last = "0 packets dropped by kernel\ncapture: veth0 disappeared: the capture has ended\n";
    assert!(ended.stderr.ends_with(last), "{}", ended.stderr);
}

/// The reader of the output has gone as well, which shows at the last write and is no failure.
#[test]
#[ignore = "needs root"]
fn an_interface_that_goes_away_is_an_error_without_a_reader() {
    let (here, there) = Namespace::pair();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let capture = Tracer::capture_into(&there, "-i veth1 --port 8888", writer.into());
    traffic::flood(&here, "veth0", 3);
    drop(reader);
    there.ip("link del veth1");
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert_eq!(ended.count("not written: the output was blocked, closed or full"), 3);
    let last = "\ncapture: veth1 disappeared: the capture has ended\n";
    assert!(ended.stderr.ends_with(last), "{}", ended.stderr);
}
