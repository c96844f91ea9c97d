//! Expressions: those that have to work, and random ones.

use std::net::IpAddr;

use capture_filter::{
    ebpf::Hook,
    lower::lower,
    names::{Names, Service},
    parse,
    program::Program,
    target::{Link, Place, Target, Way},
};
use test_support::random::Random;

/// Those of daily work.
pub(crate) fn daily() -> Vec<&'static str> {
    let list = include_str!("../../../capture-filter/tests/acceptance.txt");
    list.lines().filter(|line| !line.starts_with('#')).collect()
}

/// As many ports as somebody may have in a list.
pub(crate) fn many_ports() -> String {
    let ports: Vec<String> = (0..100).map(|number| (1000 + 7 * number).to_string()).collect();
    format!("tcp port ({})", ports.join(" or "))
}

/// What an expression becomes at a hook, for frames with an Ethernet header.
pub(crate) fn compile(text: &str, hook: Hook, only_tcp: bool) -> Option<Program> {
    let place = match hook {
        Hook::Tc => Place::Tc(Way::Out),
        Hook::Xdp => Place::Xdp,
    };
    let target = Target { link: Link::Ethernet, place, only_tcp };
    lower(&parse(text, &mut FewNames).ok()?, &target).ok()
}

/// The names in the expressions.
struct FewNames;

impl Names for FewNames {
    fn host(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name {
            "localhost" => Ok(vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()]),
            _ => Err("no such host".to_owned()),
        }
    }

    fn service(&mut self, name: &str) -> Result<Service, String> {
        match name {
            "ssh" => Ok(Service { tcp: Some(22), udp: None }),
            "http" => Ok(Service { tcp: Some(80), udp: None }),
            _ => Err("no such service".to_owned()),
        }
    }

    fn protocol(&mut self, name: &str) -> Result<u32, String> {
        if name == "tcp" { Ok(6) } else { Err("no such protocol".to_owned()) }
    }

    fn network(&mut self, _: &str) -> Result<u32, String> {
        Err("no such network".to_owned())
    }

    fn ether(&mut self, _: &str) -> Result<[u8; 6], String> {
        Err("no such station".to_owned())
    }
}

/// An expression of several parts. Not every one is valid, nor possible.
pub(crate) fn random(random: &mut Random) -> String {
    if random.one_in(5) {
        return pairs(random);
    }
    let count = random.between(1, 5);
    let mut text = term(random);
    for _ in 1..count {
        let operator = random.pick(&["and", "or", "and", "or", "and not"]);
        let next = term(random);
        text = if random.one_in(3) {
            format!("({text}) {operator} {next}")
        } else {
            format!("{text} {operator} {next}")
        };
    }
    if random.one_in(6) { format!("not ({text})") } else { text }
}

/// Alternatives that begin with keys of one kind.
fn pairs(random: &mut Random) -> String {
    let [one, two] = [(); 2].map(|()| random.pick(&["", "src ", "dst "]));
    let count = random.between(4, 12);
    let pair = |_| {
        let host = format!("{one}host 10.0.0.{}", random.between(1, 9));
        let port = format!("{two}port {}", random.pick(&[80, 443, 22, 8080, 1024]));
        if random.one_in(9) { term(random) } else { format!("({host} and {port})") }
    };
    (0..count).map(pair).collect::<Vec<_>>().join(" or ")
}

fn term(random: &mut Random) -> String {
    let direction = random.pick(&["", "", "src ", "dst ", "src and dst "]);
    let port = random.pick(&["80", "443", "22", "8080", "1024"]);
    let address = random.pick(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    match random.below(13) {
        0 => random
            .pick(&["tcp", "ip", "ip6", "udp", "ip6 and tcp", "ether multicast", "broadcast"])
            .to_owned(),
        1..3 => format!("{}{direction}port {port}", random.pick(&["", "tcp ", "udp "])),
        3 => format!("{direction}portrange {port}-{}", random.pick(&["8080", "9000", "70"])),
        4..6 => format!("{direction}host {address}"),
        6 => format!("{direction}net {}", random.pick(&["10.0.0.0/31", "10", "10.0.0.2/31", "128.0.0.0/1"])),
        7 => random.pick(&["vlan", "vlan 100", "vlan 200", "inbound", "outbound", "ifindex 1"]).to_owned(),
        8 => format!("len {} {}", random.pick(&["<", "<=", "=", "!=", ">", ">="]), random.between(14, 160)),
        9 => format!("ether {direction}host 02:00:00:00:00:0{}", random.below(3)),
        _ => {
            let [left, right] = [(); 2].map(|()| arithmetic(random, 3));
            format!("{left} {} {right}", random.pick(&["<", "<=", "=", "!=", ">", ">="]))
        }
    }
}

fn arithmetic(random: &mut Random, depth: usize) -> String {
    let protocol = random.pick(&["ether", "ip", "ip6", "tcp", "udp", "tcp", "ip"]);
    let size = random.pick(&["", ":1", ":2", ":4"]);
    match random.below(if depth == 0 { 4 } else { 8 }) {
        0 => random.pick(&["0", "1", "2", "0x10", "20", "0x0800", "0xffffffff", "tcp-syn", "len"]).to_owned(),
        1 => random.below(100).to_string(),
        2 | 3 => format!("{protocol}[{}{size}]", random.below(24)),
        4 => format!("{protocol}[{} & 0x1f{size}]", arithmetic(random, depth - 1)),
        5 => format!("-{}", arithmetic(random, 0)),
        _ => {
            let operator = random.pick(&["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]);
            let [left, right] = [(); 2].map(|()| arithmetic(random, depth - 1));
            format!("({left} {operator} {right})")
        }
    }
}
