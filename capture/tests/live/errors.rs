//! What is said when something is wrong: the object, the cause, the next step.

use crate::{
    namespace::Namespace,
    process::{Ended, Tracer},
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
    let ended = failing(&namespace, "");
    assert!(ended.stderr.contains("no interface to capture on"), "{}", ended.stderr);
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
        ended.stderr.contains(", generic) holds the slot; detach it, or use `--hook tc`"),
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
fn too_few_privileges_and_the_ones_that_are_enough() {
    let namespace = Namespace::new();
    let ended = Tracer::unprivileged(&namespace, "-all", "-i lo").end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("not permitted to load eBPF programs: run as root, or"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("`setcap cap_bpf,cap_net_admin,cap_perfmon+ep /"), "{}", ended.stderr);
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
        ("-i lo tcp port 80", "select with --port instead"),
        ("-c 0", "invalid packet count 0"),
        ("-s 262145", "invalid snapshot length 262145"),
        ("-B 0", "invalid buffer size 0 KiB"),
        ("--hook sideways", "invalid value 'sideways' for '--hook <HOOK>'"),
        ("-r x -i lo", "cannot be used with"),
    ] {
        let output = namespace(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
        assert!(stderr.contains(expected), "{arguments}: {stderr}");
    }
}

#[test]
#[ignore = "needs root"]
fn an_interface_that_goes_down_or_away_ends_the_capture() {
    let namespace = Namespace::new();
    namespace.ip("link add veth0 type veth peer name veth1");
    namespace.ip("link set veth0 up");
    let capture = Tracer::capture(&namespace, "-i veth0");
    // Leaving a bridge is no reason to end.
    namespace.ip("link add br0 type bridge");
    namespace.ip("link set veth0 master br0");
    namespace.ip("link set veth0 nomaster");
    namespace.ip("link set veth0 down");
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended
            .stderr
            .ends_with("0 packets dropped by kernel\ncapture: veth0 went down: the capture has ended\n")
    );
    namespace.ip("link set veth0 up");
    let capture = Tracer::capture(&namespace, "-i veth0");
    namespace.ip("link del veth0");
    let ended = capture.end();
    assert_eq!(ended.status.code(), Some(1));
    // The kernel takes an interface down before it removes it, and may announce both.
    assert!(ended.stderr.contains("capture: veth0 "), "{}", ended.stderr);
}
