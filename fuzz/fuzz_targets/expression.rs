//! Any text as an expression, and any bytes as a frame: no panic, bounded time and memory. What is printed is harmless,
//! the shortened program says what the other one says, and each back end gives instructions or a reason.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use capture_filter::{
    classic,
    ebpf::{self, EbpfOptions, Hook},
    explain::{explain, warnings},
    interpret::Frame,
    lower::{lower, lower_unoptimised},
    names::{Names, Service},
    parse,
    target::{ByteOrder, Link, Place, Target, Way},
};
use libfuzzer_sys::fuzz_target;

/// Names that mean something if they are not long, so that the code behind them is reached.
struct ShortNames;

impl ShortNames {
    fn found<T>(name: &str, value: T) -> Result<T, String> {
        if name.len() < 8 { Ok(value) } else { Err("no such name".into()) }
    }
}

impl Names for ShortNames {
    fn host(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        Self::found(name, addresses.into_iter().cycle().skip(name.len()).take(name.len() % 4).collect())
    }

    fn service(&mut self, name: &str) -> Result<Service, String> {
        let port = name.len() as u16;
        let service = match port % 3 {
            0 => Service { tcp: Some(port), udp: None },
            1 => Service { tcp: None, udp: Some(port) },
            _ => Service { tcp: Some(port), udp: Some(port) },
        };
        Self::found(name, service)
    }

    fn protocol(&mut self, name: &str) -> Result<u32, String> {
        Self::found(name, 6)
    }

    fn network(&mut self, name: &str) -> Result<u32, String> {
        Self::found(name, name.len() as u32 - 1)
    }

    fn ether(&mut self, name: &str) -> Result<[u8; 6], String> {
        Self::found(name, [2, 0, 0, 0, 0, 1])
    }
}

fn target(choice: u8) -> Target {
    const LINKS: [Link; 8] = [
        Link::Ethernet,
        Link::Raw,
        Link::Ipv4,
        Link::Ipv6,
        Link::Null(ByteOrder::Little),
        Link::Loop,
        Link::LinuxSll,
        Link::LinuxSll2,
    ];
    const PLACES: [Place; 4] = [Place::File, Place::Tc(Way::In), Place::Xdp, Place::Socket];
    Target {
        link: LINKS[usize::from(choice & 7)],
        place: PLACES[usize::from(choice >> 3 & 3)],
        only_tcp: false,
    }
}

/// What operands are refused for.
const OPERANDS: [&str; 3] = ["it divides by 0", "it takes the remainder of a division by 0", "it shifts by "];

/// Nothing in it but printable ASCII, newlines and the sign that something is left out.
fn is_harmless(text: &str) -> bool {
    text.chars().all(|character| matches!(character, ' '..='~' | '\n' | '…'))
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let (text, data) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(text) = std::str::from_utf8(text) else { return };
    let expression = match parse(text, &mut ShortNames) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(text.get(error.span.clone()).is_some(), "{error:?}");
            assert!(is_harmless(&error.render(text)), "{error:?}");
            return;
        }
    };
    assert!(expression.steps.iter().all(|step| text.get(step.span.clone()).is_some()));
    assert!(is_harmless(&explain(&expression, text)));
    assert!(warnings(&expression, text).iter().all(|warning| is_harmless(&warning.render(text))));

    let target = target(*choice);
    let (program, plain) = match (lower(&expression, &target), lower_unoptimised(&expression, &target)) {
        (Ok(program), Ok(plain)) => (program, plain),
        (Err(_), Err(_)) => return,
        // That an operand is always 0 or too large can be known only when what is written has been made shorter.
        (Err(error), Ok(_)) if OPERANDS.iter().any(|refused| error.message.starts_with(refused)) => return,
        (program, plain) => panic!("one is refused: {program:?}, {plain:?}"),
    };
    let tag = (choice & 64 != 0).then_some(100);
    let frame = Frame { data, wire_len: data.len() as u32, ifindex: 1, tag };
    // Where bytes are missing, it may be left out to look for them.
    if let Some(verdict) = plain.evaluate(&frame) {
        assert_eq!(program.matches(&frame), verdict, "{text}");
    }
    for program in [&program, &plain] {
        classic::assemble(program, 262_144);
        for (hook, helpers_only) in [(Hook::Tc, false), (Hook::Tc, true), (Hook::Xdp, false)] {
            let _ = ebpf::assemble(program, &EbpfOptions { hook, helpers_only });
        }
    }
});
