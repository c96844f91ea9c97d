//! Which interface is captured on, and what is believed of it.

use std::{net::IpAddr, os::fd::AsRawFd as _, process::Command, sync::Arc};

use capture::{
    kernel::{
        Capture, CaptureError, CaptureOptions, Change, DirectionFilter, Hook, Interface, Interfaces, Kind,
        LogLevel, Losses, Named, NamespaceArgument, NetworkNamespace, Notice, Place, StartError, Started,
    },
    messages::Messages,
};
use nix::sys::{
    signal::Signal,
    socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket},
};

use tokio::runtime::Runtime;

use crate::{
    namespace::Namespace,
    neighbours::tcx_programs,
    oracle::{Point, side_by_side},
    process::{Tracer, wait_until},
    traffic,
};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const RTMGRP_LINK: u32 = 1;

/// The port id of the socket that listens to announcements of links, and how many bytes wait there to be read
/// (net/netlink/af_netlink.c, `netlink_native_seq_show`).
fn listener(namespace: &Namespace) -> (u32, usize) {
    let table = namespace.output("cat /proc/thread-self/net/netlink");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut listeners = rows.filter(|row| row[1] == "0" && row[3] == "00000001");
    let row = listeners.next().expect("capture listens");
    assert_eq!(listeners.next(), None, "nothing else does");
    (row[2].parse().expect("a port id"), row[4].parse().expect("a length"))
}

/// Says that link `index` is gone, to a port or to the members of groups.
fn forge(namespace: &Namespace, index: u32, to: NetlinkAddr) -> nix::Result<usize> {
    let header = [32, u32::from(libc::RTM_DELLINK), 0, 0].map(u32::to_ne_bytes).concat();
    let link = [0, index, 0, 0].map(u32::to_ne_bytes).concat();
    namespace.run(move || {
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), protocol)?;
        sendto(socket.as_raw_fd(), &[header, link].concat(), &to, MsgFlags::empty())
    })
}

/// A container's root can send to any port in its network namespace, and to its multicast groups.
#[test]
#[ignore = "needs root"]
fn only_the_kernel_says_that_an_interface_is_gone() {
    let namespace = Namespace::new();
    let capture = Tracer::capture(&namespace, "-l -i lo");
    let (port, _) = listener(&namespace);
    let alone = forge(&namespace, 1, NetlinkAddr::new(port, 0));
    assert_eq!(alone, Err(nix::errno::Errno::ECONNREFUSED), "the socket is connected to the kernel");
    forge(&namespace, 1, NetlinkAddr::new(0, RTMGRP_LINK)).expect("it is sent");
    wait_until("the reading of what was forged", || listener(&namespace).1 == 0);
    let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    capture.wait_for_stdout(&marker);
    let ended = capture.interrupt();
    assert!(ended.status.success(), "{}", ended.stderr);
}

/// What each program answers to a value of `-i`: the name it listens on, or none.
fn listened_on(namespace: &Namespace, interface: &str) -> [Option<String>; 2] {
    ["tcpdump", env!("CARGO_BIN_EXE_capture")].map(|program| {
        let tracer = Tracer::program(namespace, program, &format!("-i {interface}"));
        wait_until("an answer", || {
            let stderr = tracer.stderr();
            stderr.contains("listening on") || stderr.contains(": ") && tracer.has_ended()
        });
        let stderr = tracer.stderr();
        let (_, listening) = stderr.split_once("listening on ")?;
        Some(listening.split_once(',').expect("the name ends").0.to_owned())
    })
}

#[test]
#[ignore = "needs root"]
fn an_interface_has_several_names() {
    let namespace = Namespace::new();
    namespace.ip("link add e0 type veth peer name e1");
    namespace.ip("link set e0 up");
    namespace.ip("link property add dev e0 altname enp3s0f0np0");
    namespace.ip("addr add 10.9.0.77/24 dev e0 label e0:1");
    // Of a label tcpdump and the kernel read only what is before the colon.
    for name in ["enp3s0f0np0", "e0:1", "e0:2", "e0:"] {
        let [tcpdump, capture] = listened_on(&namespace, name);
        assert_eq!(tcpdump.as_deref(), Some(name));
        assert_eq!(capture, Some(format!("{name} (e0)")));
    }
    for name in ["e9", "e9:1", ":", ":e0", "99", "0", "enp3s0f0np"] {
        assert_eq!(listened_on(&namespace, name), [None, None], "{name}");
    }
    // tcpdump cuts a name after 15 bytes.
    let long = "x".repeat(127);
    namespace.ip(&format!("link property add dev e0 altname {long}"));
    assert_eq!(listened_on(&namespace, &long), [None, Some(format!("{long} (e0)"))]);
    // A number in the list of -D, unless an interface is called so.
    let listed = Tracer::capture_failing(&namespace, "-D").stdout;
    assert!(listed.starts_with("1.lo [Up, Running, Loopback]\n2.e1\n3.e0 [Up]\n"), "{listed}");
    assert_eq!(listened_on(&namespace, "3")[1].as_deref(), Some("e0"));
    namespace.ip("link property add dev lo altname 3");
    assert_eq!(listened_on(&namespace, "3"), [Some("3".to_owned()), Some("3 (lo)".to_owned())]);
}

#[test]
#[ignore = "needs root"]
fn on_a_bridge_others_are_heard_unless_p_is_given() {
    let [one, two, bridge] = [1, 2, 3].map(|number| IpAddr::from([10, 0, 0, number]));
    let (middle, [first, second]) = Namespace::bridge();
    for (flag, hook, others) in
        [("", "tc", true), ("-p", "tc", false), ("", "xdp-generic", true), ("-p", "xdp-generic", false)]
    {
        let mut point = Point::whole(&middle, "br0", &format!("-t {flag}"));
        point.capture.push_str(&format!(" --hook {hook}"));
        if hook != "tc" {
            point.tcpdump = format!("-Q in {}", point.tcpdump);
        }
        let ended = side_by_side(
            &[point],
            || traffic::nc_session(&second, &first, two),
            || traffic::marker_in(&first, one, bridge),
        );
        let (capture, tcpdump) = &ended[0];
        assert_eq!(capture.lines(), tcpdump.lines(), "{flag} {hook}");
        let heard = capture.lines().iter().filter(|line| line.contains("10.0.0.2.8888")).count();
        assert!(if others { heard >= 10 } else { heard == 0 }, "{flag} {hook}: {}", capture.stdout);
    }
}

fn promiscuity(namespace: &Namespace, interface: &str) -> String {
    let shown = namespace.output(&format!("ip -d link show {interface}"));
    let (_, count) = shown.split_once(" promiscuity ").expect("a count");
    count.split(' ').next().expect("a number").to_owned()
}

#[test]
#[ignore = "needs root"]
fn promiscuous_mode_ends_with_the_process() {
    let (here, _there) = Namespace::pair();
    for last in [Signal::SIGKILL, Signal::SIGINT] {
        let captures = [(); 2].map(|()| Tracer::capture(&here, "-i veth0"));
        assert_eq!(promiscuity(&here, "veth0"), "2");
        for capture in captures {
            capture.signal(last);
            assert_eq!(capture.end().status.success(), last == Signal::SIGINT);
        }
        wait_until("the end of promiscuous mode", || promiscuity(&here, "veth0") == "0");
    }
    for (arguments, interface) in [("-i veth0 -p", "veth0"), ("-i lo", "lo")] {
        let capture = Tracer::capture(&here, arguments);
        assert_eq!(promiscuity(&here, interface), "0");
        assert!(capture.interrupt().status.success());
    }
}

#[test]
#[ignore = "needs root"]
fn without_cap_net_raw_a_capture_says_what_it_sees_and_goes_on() {
    let (here, there) = Namespace::pair();
    let [one, two] = [1, 2].map(|number| IpAddr::from([10, 0, 0, number]));
    let sentence = "capture: warning: veth0 is not in promiscuous mode, which needs a packet socket and the capability \
                    cap_net_raw (Operation not permitted): packets between other machines may be missing; grant the \
                    capability, or give -p\n";
    for (capabilities, flag, expected) in
        [("", "", sentence), ("", "-p", ""), (",+net_raw", "", ""), (",+net_raw", "-p", "")]
    {
        let capabilities = format!("-all,+bpf,+net_admin,+perfmon{capabilities}");
        let capture = Tracer::unprivileged(&here, &capabilities, &format!("-t -l -i veth0 {flag}"));
        capture.wait_for_stderr("listening on veth0");
        let before = capture.stderr();
        assert!(before.starts_with(&format!("{expected}capture: listening on veth0")), "{before}");
        let marker = traffic::marker(&there, two, one);
        capture.wait_for_stdout(&marker);
        assert!(capture.interrupt().status.success());
    }
}

#[test]
#[ignore = "needs root"]
fn among_800_interfaces_messages_stay_short() {
    let namespace = Namespace::new();
    let pairs: String =
        (0..400).map(|number| format!("link add veth{number} type veth peer name peer{number}\n")).collect();
    let batch = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("800-interfaces");
    std::fs::write(&batch, pairs).expect("a file");
    namespace.ip(&format!("-batch {}", batch.display()));
    std::fs::remove_file(&batch).expect("it is ours");
    for (arguments, begins) in [
        ("-i vteh77", "capture: cannot attach to vteh77: no such interface (have: veth77, veth177, "),
        ("--hook xdp", "capture: no interface to capture on: all but loopback are down (have: lo, "),
    ] {
        let ended = Tracer::capture_failing(&namespace, arguments);
        assert!(ended.stderr.starts_with(begins), "{}", ended.stderr);
        assert!(ended.stderr.contains(" and 791 more, which `capture -D` lists)"), "{}", ended.stderr);
        assert!(ended.stderr.len() < 320, "{}", ended.stderr);
    }
    let listed = Tracer::capture_failing(&namespace, "-D").stdout;
    assert_eq!(listed.lines().count(), 801);
    // The last one, by its name and by its number.
    namespace.ip("link set veth399 up");
    let line = listed.lines().find(|line| line.ends_with(".veth399")).expect("it is listed");
    let (number, _) = line.split_once('.').expect("a number");
    for interface in ["veth399", number] {
        assert_eq!(listened_on(&namespace, interface)[1].as_deref(), Some("veth399"));
    }
}

/// Runs `ip` in the calling thread's network namespace.
fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().expect("it starts");
    assert!(status.success(), "ip {arguments}");
}

/// An interface that was found as `e0`, and is called `e1` by now: what was `e1` has taken its name.
fn renamed_since() -> Interface {
    let interface = Interface::find("e0").expect("it exists");
    for (from, to) in [("e0", "between"), ("e1", "e0"), ("between", "e1")] {
        // Before Linux 6.2 an interface that is up keeps its name.
        ip(&format!("link set {from} down"));
        ip(&format!("link set {from} name {to}"));
        ip(&format!("link set {to} up"));
    }
    interface
}

fn two_interfaces() -> Namespace {
    let namespace = Namespace::new();
    for name in ["e0", "e1"] {
        namespace.ip(&format!("link add {name} type veth peer name {name}peer"));
        namespace.ip(&format!("link set {name} up"));
        namespace.ip(&format!("link set {name}peer up"));
    }
    namespace
}

/// A capture of the thread's namespace, and the runtime that it waits in.
fn capture_of(interfaces: Interfaces<'_>, hook: Hook) -> (Runtime, Capture) {
    capture_in(&[Place { namespace: None, interfaces }], hook)
}

/// A capture of these places, and the runtime that it waits in.
fn capture_in(places: &[Place<'_>], hook: Hook) -> (Runtime, Capture) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let started = start(places, hook).expect("it starts");
    let guard = runtime.enter();
    let capture = started.listen().expect("it listens");
    drop(guard);
    (runtime, capture)
}

fn start(places: &[Place<'_>], hook: Hook) -> Result<Started, StartError> {
    let messages = Messages::new(std::io::stderr());
    let options = CaptureOptions {
        places,
        hook,
        direction: DirectionFilter::Both,
        promiscuous: true,
        kinds: &[Kind { link_type: capture_packet::LinkType::Ethernet, filter: None }],
        snaplen: 0,
        buffer_size: 1 << 20,
        log_level: LogLevel::Off,
        messages: &messages,
    };
    Started::new(&options, || Ok(()))
}

/// What was lost is asked for once a second while packets come. What the helper has said of interfaces by then comes with the
/// answer, and on a silent wire nothing else would have it taken in.
#[test]
#[ignore = "needs root"]
fn what_came_with_an_answer_ends_the_wait() {
    for is_one in [true, false] {
        let namespace = two_interfaces();
        let (runtime, mut capture) = namespace.run(move || {
            let interface = Interface::find("e0").expect("there is one");
            let name = [Named::found(&interface, true)];
            let interfaces =
                if is_one { Interfaces::One(&interface) } else { Interfaces::Named(name.as_slice()) };
            let (runtime, mut capture) = capture_of(interfaces, Hook::Tc);
            capture.refresh();
            let (_, _) = (capture.changes(), capture.notices());
            (runtime, capture)
        });
        namespace.ip("link del e0");
        // The helper has taken it in before it answers.
        wait_until("the reading of what was announced", || listener(&namespace).1 == 0);
        namespace.run(move || {
            assert!(capture.losses().all(|losses| *losses == Losses::default()));
            let waited = runtime.block_on(async {
                tokio::time::timeout(std::time::Duration::from_secs(60), capture.wait(true)).await
            });
            waited.expect("it does not wait for a packet").expect("the helper speaks");
            if is_one {
                assert!(capture.lost().is_some());
            } else {
                assert!(!capture.notices().is_empty());
            }
        });
    }
}

/// Between the look-up and each later step another may take an interface's name.
#[test]
#[ignore = "needs root"]
fn the_interface_that_was_found_is_traced_and_watched_whatever_it_is_called() {
    for hook in [Hook::Tc, Hook::XdpGeneric] {
        let namespace = two_interfaces();
        let (runtime, capture) = namespace.run(move || capture_of(Interfaces::One(&renamed_since()), hook));
        let programs = if hook == Hook::Tc { 2 } else { 0 };
        assert_eq!(["e0", "e1"].map(|name| tcx_programs(&namespace, name).len()), [0, programs]);
        let xdp = ["e0", "e1"].map(|name| namespace.output(&format!("ip link show {name}")).contains(" xdp"));
        assert_eq!(xdp, [false, hook != Hook::Tc]);
        assert_eq!(["e0", "e1"].map(|name| promiscuity(&namespace, name)), ["0", "1"]);
        namespace.ip("link del e0");
        namespace.ip("link del e1");
        let lost = namespace.run(move || {
            let mut capture = capture;
            runtime.block_on(capture.wait(true)).expect("the helper speaks");
            capture.refresh();
            capture.lost()
        });
        assert!(matches!(&lost, Some(CaptureError::Lost(why)) if why.contains("disappeared")), "{lost:?}");
    }
}

/// The texts of what has been noticed.
fn notices(capture: &mut Capture) -> Vec<String> {
    capture.refresh();
    let text = |notice| match notice {
        Notice::Note(text) | Notice::Warning(text) => text,
    };
    capture.notices().into_iter().map(text).collect()
}

/// `e0` next to loopback, and alone, if it is waited for.
fn next_to_loopback(e0: &Interface, is_awaited: bool) -> Vec<Named> {
    let lo = (!is_awaited).then(|| Interface::find("lo").expect("it exists"));
    lo.iter().chain([e0]).map(|interface| Named::found(interface, is_awaited)).collect()
}

/// The same where there are several, and where it is waited for.
#[test]
#[ignore = "needs root"]
fn the_interface_that_was_found_by_one_of_several_names_is_traced() {
    for (hook, is_awaited) in
        [(Hook::Tc, false), (Hook::Tc, true), (Hook::XdpGeneric, false), (Hook::XdpGeneric, true)]
    {
        let namespace = two_interfaces();
        let (_runtime, mut capture) = namespace.run(move || {
            let names = next_to_loopback(&renamed_since(), is_awaited);
            capture_of(Interfaces::Named(&names), hook)
        });
        let programs = if hook == Hook::Tc { 2 } else { 0 };
        // The one that has its name is attached to as well, as soon as something is announced of it.
        assert_eq!(tcx_programs(&namespace, "e1").len(), programs);
        assert_eq!(namespace.output("ip link show e1").contains(" xdp"), hook != Hook::Tc);
        assert_eq!(promiscuity(&namespace, "e1"), "1");
        let listed: Vec<_> = capture
            .changes()
            .into_iter()
            .filter_map(|change| match change {
                Change::Listed(listed) => listed.name,
                _ => None,
            })
            .collect();
        assert_eq!(listed, if is_awaited { vec!["e1"] } else { vec!["lo", "e1"] });
        let said = namespace.run(move || notices(&mut capture));
        let note = "e0 is called e1 now: it is captured all the same";
        assert!(said.iter().any(|text| text == note), "{said:?}");
    }
}

/// The same in several network namespaces.
#[test]
#[ignore = "needs root"]
fn the_interfaces_that_were_found_in_several_namespaces_are_traced() {
    let (outside, namespaces) = (Namespace::new(), [two_interfaces(), two_interfaces()]);
    let found = namespaces.each_ref().map(|namespace| {
        let interface = namespace.run(renamed_since);
        let argument = NamespaceArgument::of_name(namespace.thread().into());
        let inside = NetworkNamespace::find(&argument).expect("it is there");
        (Arc::new(inside), [Named::found(&interface, false)])
    });
    let _capture = outside.run(move || {
        let places = found.each_ref().map(|(namespace, names)| Place {
            namespace: Some(Arc::clone(namespace)),
            interfaces: Interfaces::Named(names),
        });
        capture_in(&places, Hook::Tc)
    });
    for namespace in &namespaces {
        assert_eq!(tcx_programs(namespace, "e1").len(), 2);
    }
}

/// Between the look-up and the attachment it may go, go down, and come again as another one.
#[test]
#[ignore = "needs root"]
fn one_that_is_gone_since_is_an_error_unless_it_is_waited_for() {
    static AGAIN: [&str; 3] = ["link del e0", "link add e0 type veth peer name e0peer", "link set e0 up"];
    for (changes, error) in [
        (&AGAIN[..1], "cannot attach to e0: no such interface (have: "),
        (&["link set e0 down"], "cannot capture on e0: the interface is down (bring it up with "),
        (&AGAIN[..], "e0 disappeared: the capture has ended"),
    ] {
        for is_awaited in [false, true] {
            let namespace = two_interfaces();
            let begun = namespace.run(move || {
                let names = next_to_loopback(&Interface::find("e0").expect("it exists"), is_awaited);
                changes.iter().for_each(|change| ip(change));
                if is_awaited {
                    return Some(capture_of(Interfaces::Named(&names), Hook::Tc));
                }
                let place = Place { namespace: None, interfaces: Interfaces::Named(&names) };
                let refused = start(&[place], Hook::Tc).expect_err("it is not there").to_string();
                assert!(refused.starts_with(error), "{refused}");
                None
            });
            assert_eq!(tcx_programs(&namespace, "lo").len(), 0);
            let Some((_runtime, _capture)) = begun else { continue };
            if changes.len() == 1 {
                if error.contains("no such interface") {
                    AGAIN[1..].iter().for_each(|change| namespace.ip(change));
                } else {
                    namespace.ip("link set e0 up");
                }
            }
            wait_until("programs at the one with the name", || tcx_programs(&namespace, "e0").len() == 2);
        }
    }
}

/// Containers and chroots may have none.
#[test]
#[ignore = "needs root"]
fn sys_is_not_needed() {
    let (here, there) = Namespace::pair();
    here.with_an_empty("/sys");
    assert_eq!(here.output("ls /sys"), "");
    let [one, two] = [1, 2].map(|number| IpAddr::from([10, 0, 0, number]));
    let listed = Tracer::capture_failing(&here, "-D");
    assert!(listed.stdout.ends_with(".veth0 [Up, Running]\n"), "{}", listed.stderr);
    for hook in ["tc", "tc --log-level debug", "xdp", "xdp-native", "xdp-generic"] {
        let capture = Tracer::capture(&here, &format!("-l -i veth0 --hook {hook}"));
        traffic::nc_session(&here, &there, one);
        let marker = traffic::marker_in(&there, two, one);
        capture.wait_for_stdout(&marker);
        let ended = capture.interrupt();
        assert!(ended.status.success(), "{hook}: {}", ended.stderr);
        let received = ended.count("received by filter");
        assert_eq!(received, ended.count("captured"));
        assert!(received >= 5, "{hook}: {}", ended.stderr);
        assert!(!ended.stderr.contains("/sys"), "{hook}: {}", ended.stderr);
    }
}
