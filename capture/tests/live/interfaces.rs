//! Which interface is captured on, and what is believed of it.

use std::{net::IpAddr, os::fd::AsRawFd as _};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket,
};

use crate::{
    namespace::Namespace,
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
