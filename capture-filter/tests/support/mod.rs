//! What the tests of the filter language share: names as this machine resolves them, and the real tcpdump.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses another part of it")]

use std::{
    fs,
    net::{IpAddr, ToSocketAddrs as _},
    process::{Command, Stdio},
};

use capture_filter::names::{Names, Service};
use test_support::oracle::complaint;

/// Names from the files in /etc, and hosts from the system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemNames;

/// The lines of a file in /etc, as words, without comments. None if there is no such file.
fn lines(file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let words = lines.map(|line| line.split_ascii_whitespace().map(Into::into).collect::<Vec<String>>());
    words.filter(|words| words.len() >= 2).collect()
}

/// Whether a line is about a name: its first word, or an alias, which stands after the number.
fn is_named(words: &[String], name: &str) -> bool {
    words.iter().enumerate().any(|(index, word)| index != 1 && word == name)
}

fn not_found() -> String {
    "no such name".into()
}

impl Names for SystemNames {
    fn host(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
        Ok(found.map(|address| address.ip()).collect())
    }

    fn service(&mut self, name: &str) -> Result<Service, String> {
        let mut service = Service::default();
        for words in lines("/etc/services").into_iter().filter(|words| is_named(words, name)) {
            match words[1].split_once('/').and_then(|(port, of)| Some((port.parse().ok()?, of))) {
                Some((port, "tcp")) => _ = service.tcp.get_or_insert(port),
                Some((port, "udp")) => _ = service.udp.get_or_insert(port),
                _ => {}
            }
        }
        if service == Service::default() { Err(not_found()) } else { Ok(service) }
    }

    fn protocol(&mut self, name: &str) -> Result<u32, String> {
        let line = lines("/etc/protocols").into_iter().find(|words| is_named(words, name));
        line.and_then(|words| words[1].parse().ok()).ok_or_else(not_found)
    }

    fn network(&mut self, name: &str) -> Result<u32, String> {
        let line = lines("/etc/networks").into_iter().find(|words| is_named(words, name));
        let address = line.and_then(|words| words[1].parse::<std::net::Ipv4Addr>().ok());
        address.map(std::net::Ipv4Addr::to_bits).ok_or_else(not_found)
    }

    fn ether(&mut self, _: &str) -> Result<[u8; 6], String> {
        Err(not_found())
    }
}

/// What tcpdump says of an expression for Ethernet: nothing if it takes it.
///
/// Its optimiser refuses expressions that it proves empty; with `optimise` off, only what it cannot read is refused.
pub(crate) fn tcpdump_refuses(expression: &str, optimise: bool) -> Option<String> {
    let mut command = Command::new("tcpdump");
    command.args(["-y", "EN10MB", "-d"]).env("LC_ALL", "C").stdin(Stdio::null());
    if !optimise {
        command.arg("-O");
    }
    let output = command.args(["--", expression]).output().expect("tcpdump starts");
    let complaint = complaint(&output);
    (!output.status.success()).then_some(complaint)
}
