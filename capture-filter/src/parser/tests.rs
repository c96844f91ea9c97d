//! What expressions say. Whether tcpdump takes and refuses the same is compared with the real one: tests/oracle.rs.

use core::net::IpAddr;

use super::*;
use crate::{
    expression::{Arithmetic, ArithmeticStep, Direction, Ipv4Scope, Transports},
    names::Service,
};

/// Some names.
struct Book;

impl Names for Book {
    fn host(&mut self, name: &str) -> Result<Vec<IpAddr>, String> {
        match name {
            "both" => Ok(["10.0.0.1", "10.0.0.1", "::1"].map(|address| address.parse().unwrap()).into()),
            "old" => Ok(vec!["10.0.0.2".parse().unwrap()]),
            _ => Err("Name or service not known".into()),
        }
    }

    fn service(&mut self, name: &str) -> Result<Service, String> {
        match name {
            "http" => Ok(Service { tcp: Some(80), udp: None }),
            "domain" => Ok(Service { tcp: Some(53), udp: Some(53) }),
            "tftp" => Ok(Service { tcp: None, udp: Some(69) }),
            _ => Err("no such service".into()),
        }
    }

    fn protocol(&mut self, name: &str) -> Result<u32, String> {
        if name == "tcp" { Ok(6) } else { Err("no such protocol".into()) }
    }

    fn network(&mut self, name: &str) -> Result<u32, String> {
        match name {
            "loopback" => Ok(127),
            "default" => Ok(0),
            _ => Err("no such network".into()),
        }
    }

    fn ether(&mut self, name: &str) -> Result<[u8; 6], String> {
        if name == "gate" { Ok([2, 0, 0, 0, 0, 1]) } else { Err("no such station".into()) }
    }
}

/// The steps of an expression, without their places.
fn steps(text: &str) -> Vec<StepKind> {
    match parse(text, &mut Book) {
        Ok(expression) => expression.steps.into_iter().map(|step| step.kind).collect(),
        Err(error) => panic!("{}", error.render(text)),
    }
}

fn refused(text: &str) -> Error {
    match parse(text, &mut Book) {
        Ok(expression) => panic!("{text} is taken: {expression:?}"),
        Err(error) => error,
    }
}

/// The one primitive of an expression.
fn primitive(text: &str) -> Primitive {
    let mut steps = steps(text);
    match (steps.pop(), steps.is_empty()) {
        (Some(StepKind::Primitive(primitive)), true) => primitive,
        _ => panic!("{text} has more than one step"),
    }
}

fn tcp_port(port: u16, direction: Direction) -> Primitive {
    let transports = Transports { tcp: true, udp: false, sctp: false };
    Primitive::Port { transports, direction, low: port, high: port }
}

#[test]
fn nothing_but_blanks_is_everything() {
    for text in ["", " ", "\t\r\n "] {
        assert_eq!(parse(text, &mut Book), Ok(Expression::default()));
    }
}

#[test]
fn one_says_the_same_as_another() {
    let pairs = [
        ("port (80 or 443)", "port 80 or port 443"),
        ("port not 80", "not port 80"),
        ("src (10.0.0.1 or 10.0.0.2)", "src 10.0.0.1 or src host 10.0.0.2"),
        ("not port 80 or 443", "(not port 80) or port 443"),
        ("port 80 or not host 1.2.3.4 or 443", "port 80 or not host 1.2.3.4 or host 443"),
        ("host 1.2.3.4 or (port 80) or 443", "host 1.2.3.4 or port 80 or host 443"),
        ("port 80 or (host 1.2.3.4) or 443", "port 80 or host 1.2.3.4 or port 443"),
        ("port 80 or ip proto 6 or 17", "port 80 or ip proto 6 or ip proto 17"),
        ("src host 10.0.0.1 and port 80 or 443", "(src host 10.0.0.1 and port 80) or port 443"),
        ("host 10.0.0.1 or 10.0.0.2 and port 80", "(host 10.0.0.1 or host 10.0.0.2) and port 80"),
        ("tcp or udp and port 443", "(tcp or udp) and port 443"),
        ("port 80 && ! 443 || tcp", "port 80 and not port 443 or tcp"),
        ("port 0x50", "port 80"),
        ("port 0120", "port 80"),
        ("port \\80", "port 80"),
        ("port tcp-syn", "port 2"),
        ("portrange 90-80", "portrange 80-90"),
        ("portrange 80-80", "port 80"),
        ("portrange 1-2-3", "portrange 1-2"),
        ("tcp portrange tftp-80", "tcp portrange 69-80"),
        ("port domain", "port 53"),
        ("tcp port domain", "tcp port 53"),
        ("port http", "tcp port 80"),
        ("port tftp", "udp port 69"),
        ("src 80", "src host 0.0.0.80"),
        ("host 10.1", "net 10.1.0.0/16"),
        ("net 10", "net 10.0.0.0/8"),
        ("net 10.0/16", "net 10.0.0.0 mask 255.255.0.0"),
        ("net 256", "net 1.0.0.0/16"),
        ("net 0", "host 0.0.0.0"),
        ("net loopback", "net 127.0.0.0/8"),
        ("net 10.0.0.0", "host 10.0.0.0"),
        ("net 192.168 mask 255.255", "net 192.168.0.0/16"),
        ("host 012.0.0.1", "host 12.0.0.1"),
        ("host ::1/128", "host ::1"),
        ("host both", "host 10.0.0.1 or host ::1"),
        ("ip host both", "ip host 10.0.0.1"),
        ("not host both", "not (host 10.0.0.1 or ::1)"),
        ("ether host gate", "ether host 02:00:00:00:00:01"),
        ("src && dst host old", "dst and src 10.0.0.2"),
        ("link src 2:0:0:0:0:1", "ether src 020000000001"),
        ("ether proto \\ip", "ip"),
        ("proto \\tcp", "tcp"),
        ("vlan (100)", "vlan 0x64"),
        ("less 54", "len <= 54"),
        ("greater 54", "length >= 54"),
        ("tcp[tcpflags] == tcp-syn", "tcp[13:1]=2"),
        ("(len + 1) * 2 > 5", "((len + 1) * 2) > 5"),
        ("2 * 3 % 4 + 1 = 6", "2 * (3 % (4 + 1)) = 6"),
        ("1 << 3 ^ 1 = 4", "1 << (3 ^ 1) = 4"),
        ("- 5 % 3 = 2", "- (5 % 3) = 2"),
        ("- 5 * 3 = 2", "(- 5) * 3 = 2"),
        ("5 - 3 - 1 = 1", "(5 - 3) - 1 = 1"),
        ("1 | 2 & 4 << 1 + 3 * 2 = 1", "1 | (2 & (4 << (1 + (3 * 2)))) = 1"),
        ("port 80 and (443) > len", "port 80 and 443 > len"),
    ];
    for (one, other) in pairs {
        assert_eq!(steps(one), steps(other), "{one}, {other}");
    }
}

#[test]
fn primitives_hold_what_was_read() {
    assert_eq!(primitive("tcp dst port 22"), tcp_port(22, Direction::Destination));
    assert_eq!(primitive("tcp src and dst port http"), tcp_port(80, Direction::Both));
    let ipv4 = |scope, direction, address, mask| Primitive::Ipv4 { scope, direction, address, mask };
    assert_eq!(
        primitive("arp src net 10.1"),
        ipv4(Ipv4Scope::Arp, Direction::Source, 0x0a01_0000, 0xffff_0000)
    );
    assert_eq!(primitive("host 1.2.3.4"), ipv4(Ipv4Scope::Any, Direction::Either, 0x0102_0304, u32::MAX));
    assert_eq!(primitive("net 0.0.0.0/0"), ipv4(Ipv4Scope::Any, Direction::Either, 0, 0));
    let ipv6 =
        Primitive::Ipv6 { direction: Direction::Either, address: 0x2001_0db8 << 96, mask: u128::MAX << 96 };
    assert_eq!(primitive("ip6 net 2001:db8::/32"), ipv6);
    let load = |protocol, size| ArithmeticStep::Load { protocol, size };
    let left = vec![
        ArithmeticStep::Number(12),
        load(crate::expression::IndexProtocol::Tcp, crate::expression::Size::Byte),
        ArithmeticStep::Number(2),
        ArithmeticStep::Binary(Operator::ShiftRight),
        load(crate::expression::IndexProtocol::Tcp, crate::expression::Size::Word),
    ];
    let relation = Primitive::Relation {
        left: Arithmetic { steps: left },
        operator: crate::expression::RelationOperator::NotEqual,
        right: Arithmetic { steps: vec![ArithmeticStep::Number(0)] },
    };
    assert_eq!(primitive("tcp[tcp[12:1] >> 2:4] != 0"), relation);
}

#[test]
fn steps_know_their_text() {
    let text = "not src host 10.0.0.1 && (tcp[0] + 1) = 2";
    let expression = parse(text, &mut Book).unwrap();
    let spans: Vec<_> = expression.steps.into_iter().map(|step| &text[step.span]).collect();
    assert_eq!(spans, ["10.0.0.1", "not", "(tcp[0] + 1) = 2", "&&"]);
}

#[test]
fn errors_name_the_word_and_what_to_write() {
    let rows = [
        ("10.0.0.1", "10.0.0.1: a qualifier", "write `host 10.0.0.1`"),
        ("tcp 80", "80: `and` or `or` is missing", "write `tcp port 80`"),
        ("tcp host 10.0.0.1", "tcp host: `tcp` does not qualify hosts", "write `tcp and host 10.0.0.1`"),
        ("tcp src 80", "tcp src: ", "write `tcp src port 80`"),
        ("ip port 80", "ip port: `ip` does not qualify ports", "write `ip and port 80`"),
        ("net 10.0.0.1/8", "10.0.0.1/8: the address has bits", "write `net 10.0.0.0/8`"),
        ("port 70000", "port 70000: ports go up to 65535", ""),
        ("port 70000 and (", "port 70000: ports go up to 65535", ""),
        ("(port 80) or 443", "443: `port` holds only inside", "repeat it: `port 443`"),
        (
            "tcp port 80 or udp or 443",
            "443: `tcp port` no longer holds after `udp`",
            "repeat it: `tcp port 443`",
        ),
        ("ip[0:3] = 1", "3: 1, 2 or 4 bytes", ""),
        ("(tcp", "`(`: this parenthesis is not closed", ""),
        ("tcp[(1 = 2", "`=`: an operator or a closing", ""),
        ("tcp[13", "`[`: this bracket is not closed", ""),
        ("80,443", "80: a qualifier", "write `port 80`"),
        ("port 80,443", "`,`: this character", "write `or`"),
        ("TCP", "TCP: ", "keywords are in lower case: `tcp`"),
        ("tcp AND udp", "AND: ", "`and`"),
        ("tcp.port eq 80", "tcp.port: ", "display filter of Wireshark; write `tcp port 80`"),
        ("ip.addr == 10.0.0.1", "ip.addr: ", "write `host 10.0.0.1`"),
        ("80and", "80and: ", "is a blank missing? `80 and`"),
        ("arpand", "arpand: ", "is a blank missing? `arp and`"),
        ("port 80and", "port 80and: no such service", "is a blank missing? `80 and`"),
        ("tcp and dest 10.0.0.1", "dest: ", "write `dst`"),
        ("port 1-1024", "port 1-1024: no such service", "write `portrange 1-1024`"),
        ("host 10.0.0.0/24", "10.0.0.0/24: only networks", "write `net 10.0.0.0/24`"),
        ("host 10.0.0.1:80", "`:`: ", "write `host 10.0.0.1 and port 80`"),
        ("host 10.0.0.1/24", "10.0.0.1/24: only networks", "write `net 10.0.0.0/24`"),
        ("host fe80::1%eth0", "`%`: ", "leave out the zone: `fe80::1`"),
        ("host [::1]", "`[`: ", "write the address without brackets: `::1`"),
        ("net 10/8", "`/`: ", "`10.0.0.0/8`"),
        ("from 10.0.0.1", "from: ", "write `src`"),
        ("src == 10.0.0.1", "`==`: ", "leave out `==`"),
        ("tcp port != 22", "`!=`: ", "`not port 22`"),
        ("host 10.0.0.1 not port 22", "not: ", "write `and not`"),
        ("tcp-syn", "tcp-syn: ", "write `tcp[tcpflags] & tcp-syn != 0`"),
        ("tcp[tcpflags] = syn", "syn: ", "`tcp[tcpflags] & tcp-syn != 0`"),
        ("tcp[tcpflags]", "end of the expression: ", "the shell ends it at `&`"),
        ("port 80 443", "443: ", "`80 or 443`"),
        ("proto tcp", "tcp: a protocol", "write `tcp` alone, or `\\tcp`"),
        ("port SSH", "port SSH: no such service", "try `ssh`"),
        ("tcp[flags] = 2", "flags: ", "write `tcpflags`"),
        ("tcp & port 80", "`&`: ", "write `and`"),
        ("host nowhere", "host nowhere: Name or service not known", ""),
        ("ip6 host old", "host old: it has no IPv6 address", ""),
        ("arp host both", "both: `arp` has no IPv6 addresses", ""),
        ("tcp port tftp", "tftp: this service is one of UDP", ""),
        ("net default", "network default: its number is 0", ""),
        ("ip protochain 6", "protochain: capture does not follow chains", ""),
        ("tcp or mpls 5", "mpls: capture does not look into", ""),
        ("geneve and tcp", "geneve: capture does not look into", ""),
        ("pppoes", "pppoes: capture does not look into", ""),
        ("llc", "llc: capture prints TCP, and no TCP packet", ""),
        ("isis or tcp", "isis: capture prints TCP, and no TCP packet", ""),
        ("sio 3", "sio: capture does not capture SS7", ""),
        ("rnr 1", "rnr: only logs of BSD's packet filter", ""),
        ("type mgt", "type: capture does not capture 802.11", ""),
        ("vpi 5", "vpi: capture does not capture ATM", ""),
        ("gateway x", "gateway: tcpdump refuses", ""),
        ("vlan 5000", "vlan 5000: identifiers of VLANs go up to 4095", ""),
    ];
    for (text, message, hint) in rows {
        let error = refused(text);
        let said = error.to_string();
        assert!(said.trim_start_matches('`').starts_with(message.trim_start_matches('`')), "{text}: {said}");
        let given = error.hint.clone().unwrap_or_default();
        assert!(given.contains(hint), "{text}: {given}");
        assert_eq!(given.is_empty(), hint.is_empty(), "{text}: {given}");
        assert!(text.get(error.span).is_some(), "{text}");
    }
}

#[test]
fn what_is_said_of_a_text_is_harmless() {
    for text in
        ["tcp\rhost&", "tcp\rport 80\tor udp or\u{b}443", "(src\rport 80) or 443", "tcp\rsrc\nhost 1.2.3.4"]
    {
        let error = refused(text);
        let said = error.render(text).replace('\n', "");
        assert!(!said.contains(char::is_control), "{said:?}");
        assert!(!error.cause.contains(char::is_control), "{error:?}");
    }
}

#[test]
fn no_text_needs_much_of_the_stack_or_of_time() {
    const SIZE: usize = 64 * 1024;
    let nested = |open: &str, inner: &str, close: &str| {
        let times = (SIZE - inner.len()) / (open.len() + close.len());
        open.repeat(times) + inner + &close.repeat(times)
    };
    for text in [
        nested("(", "tcp", ")"),
        nested("(", "len", ")") + " > 5",
        nested("not ", "tcp", ""),
        nested("!(", "tcp", ")"),
        nested("tcp[", "0", "]") + " = 5",
        "port ".to_owned() + &nested("(", "80", ")"),
        "port 80 or ".to_owned() + &nested("(", "22", ")"),
        "port 80 or ".to_owned() + &nested("(", "22", ")") + " > 5",
        "port 80 or ".to_owned() + &nested("(not ", "22", ")"),
        "tcp".to_owned() + &nested(" or tcp", "", ""),
        "port 1".to_owned() + &nested(" or 1", "", ""),
        "len = ".to_owned() + &nested("- ", "5", ""),
        "len = 5".to_owned() + &nested(" % 5", "", ""),
        "len = 5".to_owned() + &nested(" + 5", "", ""),
        nested("(tcp or ", "tcp", ")"),
    ] {
        steps(&text);
    }
    for text in [
        nested("(", "", ""),
        nested("tcp[", "", ""),
        nested("\\", "", ""),
        nested("::", "", ""),
        nested("a.", "", ""),
    ] {
        refused(&text).render(&text);
    }
}
