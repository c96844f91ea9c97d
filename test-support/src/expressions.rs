//! Random expressions of pcap-filter(7), over the whole grammar as far as it is about Ethernet and IP.
//!
//! Most are valid for tcpdump. They name few addresses and ports, so that packets between these match some: those of
//! [`ADDRESSES`] and [`PORTS`].

use crate::random::Random;

/// The IPv4 addresses that are named most often.
pub const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.0.0.2", "192.168.1.5", "172.16.3.4"];

/// The IPv6 addresses that are named most often.
pub const ADDRESSES_V6: [&str; 3] = ["2001:db8::1", "2001:db8::2", "fe80::1"];

/// The Ethernet addresses that are named most often.
pub const STATIONS: [&str; 3] = ["02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"];

/// The ports that are named most often.
pub const PORTS: [u16; 7] = [80, 443, 22, 53, 1234, 8080, 8888];

/// A random expression: mostly valid, about one in eight broken by a word. `inbound`, `outbound` and `ifindex`, which
/// tcpdump refuses for files of Ethernet frames, are left out.
pub fn generate(random: &mut Random) -> String {
    let text = valid(random, false);
    if random.one_in(8) { broken(random, &text) } else { text }
}

/// A random expression that is valid but for what it says: tcpdump may prove it empty, and a name may be unknown.
/// `interface` asks for `inbound`, `outbound` and `ifindex`, too.
pub fn valid(random: &mut Random, interface: bool) -> String {
    let mut generator = Generator { random, text: String::new(), in_force: None, interface };
    let depth = generator.random.below(4);
    generator.expression(depth);
    generator.text
}

/// An expression with one of its words left out, doubled, replaced or moved.
pub fn broken(random: &mut Random, text: &str) -> String {
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('[', " [ ").replace(']', " ] ");
    let mut words: Vec<&str> = spaced.split_ascii_whitespace().collect();
    if words.is_empty() {
        return text.to_owned();
    }
    let at = random.below(words.len());
    match random.below(5) {
        0 => _ = words.remove(at),
        1 => words.insert(at, words[at]),
        2 => words[at] = random.pick(WORDS),
        3 => words.insert(at, random.pick(WORDS)),
        _ => {
            let other = random.below(words.len());
            words.swap(at, other);
        }
    }
    words.join(" ")
}

/// Words that stand where they should not.
const WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "(",
    ")",
    "[",
    "]",
    ":",
    "=",
    "!=",
    "+",
    "-",
    "/",
    "%",
    "&",
    "|",
    "tcp",
    "udp",
    "ip",
    "ip6",
    "arp",
    "ether",
    "host",
    "net",
    "port",
    "portrange",
    "src",
    "dst",
    "proto",
    "vlan",
    "len",
    "less",
    "mask",
    "10",
    "80",
    "0",
    "4294967295",
    "4294967296",
    "70000",
    "080",
    "0x50",
    "0x",
    "10.0.0.1",
    "10.1",
    "10.0.0.256",
    "1.2.3.4.5",
    "::1",
    "2001:db8::/32",
    "02:00:00:00:00:01",
    "1:2:3",
    "TCP",
    "http",
    "\\tcp",
    "tcp-syn",
    "80-90",
    "80,443",
    "$",
    "broadcast",
    "multicast",
    "<<",
    ">=",
    "&&",
    "||",
    "!",
    "_",
    ".",
    "eq",
    "5-1",
    "gateway",
];

/// What identifiers are where qualifiers are in force.
#[derive(Clone, Copy, PartialEq)]
enum Item {
    Port,
    TcpPort,
    UdpPort,
    Range,
    Host,
    Host4,
    Host6,
    Net,
    Net6,
    Station,
    Protocol,
    EtherType,
}

struct Generator<'r> {
    random: &'r mut Random,
    text: String,
    in_force: Option<Item>,
    interface: bool,
}

impl Generator<'_> {
    /// Adds a word, with a blank before it where one may be needed.
    fn word(&mut self, word: &str) {
        let glues = self.text.is_empty() || self.text.ends_with(['(', '!', '[']);
        if !glues || self.random.one_in(20) {
            self.text.push_str(if self.random.one_in(30) { "\t" } else { " " });
        }
        self.text.push_str(word);
    }

    fn one_of(&mut self, words: &[&str]) {
        let word = self.random.pick(words);
        self.word(word);
    }

    /// Adds text that ends in something which needs no blank after it.
    fn glue(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn operator(&mut self) {
        self.one_of(&["and", "or", "and", "or", "and", "or", "&&", "||"]);
    }

    fn expression(&mut self, depth: usize) {
        self.term(depth);
        for _ in 0..self.random.below(3) {
            self.operator();
            match self.in_force {
                Some(item) if self.random.one_in(3) => self.item(item, depth.min(2), false),
                _ => self.term(depth),
            }
        }
    }

    fn term(&mut self, depth: usize) {
        while self.random.one_in(6) {
            self.one_of(&["not", "!"]);
        }
        if depth > 0 && self.random.one_in(3) {
            let saved = self.in_force;
            self.word("(");
            self.expression(depth - 1);
            self.glue(")");
            self.in_force = saved;
        } else if self.random.one_in(4) {
            self.relation();
        } else {
            self.primitive();
        }
    }

    /// Adds identifiers: one, or several in parentheses.
    fn item(&mut self, item: Item, depth: usize, is_first: bool) {
        while self.random.one_in(10) {
            self.one_of(&["not", "!"]);
        }
        // A group may not begin with another one.
        if depth > 0 && !is_first && self.random.one_in(3) {
            self.word("(");
            self.item(item, depth - 1, true);
            for _ in 0..self.random.below(3) {
                self.operator();
                self.item(item, depth - 1, false);
            }
            self.glue(")");
        } else {
            let text = self.identifier(item);
            self.word(&text);
        }
    }

    fn primitive(&mut self) {
        match self.random.below(20) {
            0..=3 => self.alone(),
            4 => self.one_of(&["broadcast", "multicast", "ip broadcast", "ip multicast", "ip6 multicast"]),
            5 => self.one_of(&["ether broadcast", "ether multicast", "link multicast"]),
            6 => self.vlan(),
            7 => {
                self.one_of(&["less", "greater"]);
                let number = self.number(1600);
                self.word(&number);
            }
            8 if self.interface => self.one_of(&["inbound", "outbound", "ifindex 1", "ifindex 0x2"]),
            _ => return self.qualified(),
        }
        self.in_force = None;
    }

    fn alone(&mut self) {
        self.one_of(&[
            "tcp", "tcp", "tcp", "udp", "sctp", "ip", "ip", "ip6", "ip6", "arp", "rarp", "icmp", "icmp6",
            "igmp", "igrp", "pim", "vrrp", "carp", "ah", "esp",
        ]);
    }

    fn vlan(&mut self) {
        self.word("vlan");
        if self.random.one_in(2) {
            let number = self.random.pick(&["100", "200", "0", "4095", "0x64", "(100)", "5"]);
            self.word(number);
        }
    }

    /// Adds qualifiers and what they qualify.
    fn qualified(&mut self) {
        let direction = self.random.pick(&["", "", "src", "dst", "src or dst", "src and dst", "dst || src"]);
        let (protocol, kind, item) = match self.random.below(24) {
            0..=3 => ("", "port", Item::Port),
            4..=6 => ("tcp", "port", Item::TcpPort),
            7 => (self.random.pick(&["udp", "sctp"]), "port", Item::UdpPort),
            8 | 9 => (self.random.pick(&["", "tcp", "udp", "sctp"]), "portrange", Item::Range),
            10..=13 => ("", "host", Item::Host),
            14 => (self.random.pick(&["ip", "arp", "rarp"]), "host", Item::Host4),
            15 => ("ip6", "host", Item::Host6),
            16 | 17 => ("", "net", Item::Net),
            18 => (self.random.pick(&["ip", "arp", "ip"]), "net", Item::Net),
            19 => (self.random.pick(&["", "ip6"]), "net", Item::Net6),
            20 | 21 => (self.random.pick(&["ether", "link", "wlan"]), "host", Item::Station),
            22 => (self.random.pick(&["", "ip", "ip6"]), "proto", Item::Protocol),
            _ => ("ether", "proto", Item::EtherType),
        };
        if !protocol.is_empty() {
            self.word(protocol);
        }
        let has_direction = !direction.is_empty() && kind != "proto";
        if has_direction {
            self.word(direction);
        }
        // After a direction, a host is meant without its word.
        if !(has_direction && kind == "host" && self.random.one_in(2)) {
            self.word(kind);
        }
        self.in_force = Some(item);
        self.item(item, 1, false);
    }

    fn identifier(&mut self, item: Item) -> String {
        let random = &mut *self.random;
        match item {
            Item::Port => match random.below(12) {
                0 => random.pick(&["http", "https", "ssh", "domain", "tftp", "\\http"]).into(),
                1 => random.pick(&["0x50", "0120", "\\80", "tcp-syn", "0", "65535"]).into(),
                2 => random.u16().to_string(),
                _ => random.pick(&PORTS).to_string(),
            },
            Item::TcpPort | Item::UdpPort if random.one_in(8) => {
                random.pick(&["domain", "https", "443"]).into()
            }
            Item::TcpPort | Item::UdpPort => random.pick(&PORTS).to_string(),
            Item::Range => match random.below(6) {
                0 => random.pick(&["ssh-http", "22-http", "1-2-3", "80", "domain-90", "0-65535"]).into(),
                1 => format!("{}-{}", random.u16(), random.u16()),
                _ => format!("{}-{}", random.pick(&PORTS), random.pick(&PORTS)),
            },
            Item::Host => match random.below(12) {
                0 => random.pick(&["localhost", "10", "10.1", "10.0.0", "0", "\\10.0.0.1", "::1/128"]).into(),
                1..=3 => random.pick(&ADDRESSES_V6).into(),
                _ => random.pick(&ADDRESSES).into(),
            },
            Item::Host4 => random.pick(&ADDRESSES).into(),
            Item::Host6 => random.pick(&ADDRESSES_V6).into(),
            Item::Net => match random.below(5) {
                0 => random
                    .pick(&["10", "192.168", "172.16.3", "10.0/16", "0.0.0.0/0", "0", "loopback"])
                    .into(),
                1 => {
                    let masks =
                        ["10.0.0.0 mask 255.0.0.0", "192.168 mask 255.255", "10.0.0.1 mask 255.0.255.255"];
                    random.pick(&masks).into()
                }
                _ => network(random),
            },
            Item::Net6 => {
                random.pick(&["2001:db8::/32", "::/0", "fe80::/10", "2001:db8::1", "2001:db8::/126"]).into()
            }
            Item::Station => match random.below(6) {
                0 => random.pick(&["020000000001", "0200.0000.0001", "2-0-0-0-0-2", "2.0.0.0.0.2"]).into(),
                _ => random.pick(&STATIONS).into(),
            },
            Item::Protocol => {
                random.pick(&["6", "\\tcp", "17", "\\udp", "132", "1", "58", "0x6", "300", "44"]).into()
            }
            Item::EtherType => {
                let types =
                    ["\\ip", "\\ip6", "\\arp", "0x800", "0x86dd", "0x8100", "0x806", "loopback", "1501"];
                random.pick(&types).into()
            }
        }
    }

    fn relation(&mut self) {
        let depth = self.random.below(4);
        self.arithmetic(depth);
        self.one_of(&["=", "==", "!=", "<", "<=", ">", ">="]);
        let depth = self.random.below(2);
        self.arithmetic(depth);
        self.in_force = None;
    }

    fn arithmetic(&mut self, depth: usize) {
        if depth == 0 || self.random.one_in(3) {
            return self.value(depth);
        }
        match self.random.below(8) {
            0 => {
                self.word("-");
                self.value(depth - 1);
            }
            1 | 2 => {
                self.word("(");
                self.arithmetic(depth - 1);
                self.glue(")");
            }
            _ => {
                self.arithmetic(depth - 1);
                self.one_of(&["+", "-", "*", "/", "%", "&", "&", "|", "^", "<<", ">>"]);
                self.arithmetic(depth - 1);
            }
        }
    }

    fn value(&mut self, depth: usize) {
        match self.random.below(8) {
            0 => self.one_of(&["len", "length"]),
            1 | 2 => {
                let number = self.number(260);
                self.word(&number);
            }
            3 => self.one_of(&[
                "tcp-syn",
                "tcp-ack",
                "tcp-fin",
                "tcp-push",
                "0",
                "0xffffffff",
                "31",
                "32",
                "1",
            ]),
            _ => {
                self.one_of(&[
                    "tcp", "tcp", "tcp", "ip", "ip", "ip6", "ip6", "ether", "udp", "sctp", "icmp", "icmp6",
                    "arp", "rarp", "igmp",
                ]);
                self.glue("[");
                match self.random.below(8) {
                    0 if depth > 0 => self.arithmetic(depth - 1),
                    1 => self.one_of(&["tcpflags", "icmptype", "- 1", "len", "1000"]),
                    _ => {
                        let number = self.number(40);
                        self.word(&number);
                    }
                }
                let size = self.random.pick(&["", "", ":1", ":2", ":4", ":2"]);
                self.glue(size);
                self.glue("]");
            }
        }
    }

    fn number(&mut self, end: usize) -> String {
        let number = self.random.below(end);
        match self.random.below(8) {
            0 => format!("{number:#x}"),
            1 => format!("0{number:o}"),
            _ => number.to_string(),
        }
    }
}

/// A network whose address has no bits outside of its prefix.
fn network(random: &mut Random) -> String {
    let address: std::net::Ipv4Addr = random.pick(&ADDRESSES).parse().expect("an address");
    let length = random.below(33) as u32;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    format!("{}/{length}", std::net::Ipv4Addr::from_bits(address.to_bits() & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_expressions() {
        let expressions = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| generate(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(expressions(1), expressions(1));
        assert_ne!(expressions(1), expressions(2));
    }
}
