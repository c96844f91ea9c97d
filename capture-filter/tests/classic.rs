//! Classic programs: their text next to that of the real tcpdump, and their verdicts in a real socket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "verdicts/expressions.rs"]
mod expressions;
#[path = "verdicts/packets.rs"]
mod packets;
mod support;

use std::{io::ErrorKind, process::Command};

use capture_filter::{
    classic::{self, Instruction, assemble},
    interpret::Frame,
    lower::{lower, lower_unoptimised},
    parse,
    target::{Link, Place, Target},
};
use socket2::{Domain, SockFilter, Socket, Type};
use support::SystemNames;
use test_support::{packets::byte_order::ByteOrder, packets::link, random::Random};

const SNAPLEN: u32 = 262_144;

/// What tcpdump prints of an expression's program for Ethernet.
fn printed(flag: &str, expression: &str) -> Option<String> {
    let output = Command::new("tcpdump").args(["-y", "EN10MB", flag, "--", expression]).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

fn instructions_of(numbers: &str) -> Vec<Instruction> {
    let instruction = |line: &str| {
        let mut numbers = line.split(' ').map(|number| number.parse::<u32>().unwrap());
        let mut next = || numbers.next().unwrap();
        Instruction { code: next() as u16, jt: next() as u8, jf: next() as u8, k: next() }
    };
    numbers.lines().skip(1).map(instruction).collect()
}

#[test]
fn programs_are_printed_as_tcpdump_prints_them() {
    let mut random = Random::new(3);
    let mut compared = 0;
    let special = [
        "inbound and ifindex 3",
        "tcp[-20] = 1",
        "ip[2:4] + 3000000000 = 1",
        "tcp or not tcp",
        "1 << ip[0] = 8",
    ];
    let special = special.into_iter().map(ToOwned::to_owned);
    let random = (0..60).map(|_| expressions::text(&expressions::expression(&mut random)));
    for expression in special.chain(random) {
        let Some(numbers) = printed("-ddd", &expression) else { continue };
        let instructions = instructions_of(&numbers);
        assert_eq!(classic::numbers(&instructions), numbers, "{expression}");
        assert_eq!(classic::listing(&instructions), printed("-d", &expression).unwrap(), "{expression}");
        assert_eq!(classic::c_array(&instructions), printed("-dd", &expression).unwrap(), "{expression}");
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}

/// Expressions whose programs are no longer than tcpdump's.
#[test]
fn programs_are_as_short_as_those_of_tcpdump() {
    let target = Target { link: Link::Ethernet, place: Place::Socket, only_tcp: false };
    for text in [
        "tcp",
        "tcp port 8888",
        "host 10.0.0.1 and tcp port 443",
        "host (10.0.0.1 or 10.0.0.2) and port (80 or 443)",
        "src net 192.168.0.0/16 and dst net 10.0.0.0/8",
        "ip6 host 2001:db8::1 and tcp port 443",
        "tcp[1000] = 0 or tcp",
        "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
        "not port 22",
    ] {
        let program = lower(&parse(text, &mut SystemNames).unwrap(), &target).unwrap();
        let ours = assemble(&program, SNAPLEN);
        let theirs = instructions_of(&printed("-ddd", text).unwrap());
        assert!(
            ours.len() <= theirs.len(),
            "{text}: {} instead of {}\n{}",
            ours.len(),
            theirs.len(),
            classic::listing(&ours)
        );
    }
}

/// A socket that a program filters, and its other end.
struct Filtered {
    sender: Socket,
    receiver: Socket,
}

impl Filtered {
    fn new(program: &[Instruction]) -> std::io::Result<Self> {
        let (sender, receiver) = Socket::pair(Domain::UNIX, Type::DGRAM, None)?;
        let filters: Vec<_> = program
            .iter()
            .map(|instruction| {
                SockFilter::new(instruction.code, instruction.jt, instruction.jf, instruction.k)
            })
            .collect();
        receiver.attach_filter(&filters)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { sender, receiver })
    }

    /// Whether a datagram arrives, which it does at once or never.
    fn passes(&self, data: &[u8]) -> bool {
        self.sender.send(data).unwrap();
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1];
        match self.receiver.recv(&mut buffer) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }
}

#[test]
fn a_real_socket_selects_what_the_interpreter_does() {
    let seed = 4;
    let mut random = Random::new(seed);
    let (mut verdicts, mut matches) = (0, 0);
    for number in 0..400 {
        let link = random.pick(&[Link::Ethernet, Link::Ethernet, Link::Raw]);
        let place = random.pick(&[Place::File, Place::Socket]);
        let target = Target { link, place, only_tcp: false };
        let expression = if random.one_in(5) {
            expressions::pairs(&mut random)
        } else {
            expressions::expression(&mut random)
        };
        let text = expressions::text(&expression);
        // A datagram has come in through no interface.
        if text.contains("ifindex") {
            continue;
        }
        let Ok(program) = lower(&expression, &target) else { continue };
        let plain = lower_unoptimised(&expression, &target).unwrap();
        for program in [program, plain] {
            let filtered = Filtered::new(&assemble(&program, SNAPLEN)).unwrap_or_else(|error| {
                panic!("{number}: {text}: {error}\n{}", classic::listing(&assemble(&program, SNAPLEN)))
            });
            for _ in 0..50 {
                let link = if link == Link::Raw { link::Link::Raw } else { link::Link::Ethernet };
                let mut data = packets::packet(&mut random, link, ByteOrder::Little);
                if random.one_in(10) {
                    data.truncate(random.between(1, data.len()));
                }
                let frame = Frame { data: &data, wire_len: data.len() as u32, ..Frame::default() };
                let expected = program.matches(&frame);
                assert_eq!(
                    filtered.passes(&data),
                    expected,
                    "{number}: {text:?} {target:?}: {data:02x?}\n{}",
                    classic::listing(&assemble(&program, SNAPLEN))
                );
                verdicts += 1;
                matches += u64::from(expected);
            }
        }
    }
    assert!(verdicts > 20_000 && matches > 5000, "{verdicts} {matches}");
}
