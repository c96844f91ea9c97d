//! When lines are written out.

use std::{fs::File, io::Read as _, net::IpAddr};

use nix::pty::openpty;

use crate::{namespace::Namespace, process::Tracer, traffic};

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[test]
#[ignore = "needs root"]
fn a_terminal_gets_each_line_at_once() {
    let namespace = Namespace::new();
    let terminal = openpty(None, None).expect("a pseudo-terminal");
    let capture = Tracer::capture_into(&namespace, "-t -i lo --port 8888", terminal.slave.into());
    let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    let mut screen = File::from(terminal.master);
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains(&marker) {
        let count = screen.read(&mut buffer).expect("it runs");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(capture.interrupt().status.success());
}

#[test]
#[ignore = "needs root"]
fn a_file_gets_lines_when_there_are_enough_or_with_l_at_once() {
    let namespace = Namespace::new();
    let buffered = Tracer::capture(&namespace, "-t -i lo --port 8888");
    let at_once = Tracer::capture(&namespace, "-t -l -i lo --port 8888");
    let marker = traffic::marker(&namespace, LOOPBACK, LOOPBACK);
    at_once.wait_for_stdout(&marker);
    assert_eq!(buffered.stdout(), "");
    let buffered = buffered.interrupt();
    assert_eq!(buffered.stdout, at_once.interrupt().stdout);
}
