use super::*;
use crate::{
    names::{Names, NoNames, Service},
    parse,
};

/// Two names.
struct Book;

impl Names for Book {
    fn host(&mut self, _: &str) -> Result<Vec<core::net::IpAddr>, String> {
        Ok(["127.0.0.1", "::1"].map(|address| address.parse().unwrap()).into())
    }

    fn service(&mut self, _: &str) -> Result<Service, String> {
        Ok(Service { tcp: Some(22), udp: None })
    }

    fn protocol(&mut self, _: &str) -> Result<u32, String> {
        Ok(6)
    }

    fn network(&mut self, name: &str) -> Result<u32, String> {
        NoNames.network(name)
    }

    fn ether(&mut self, name: &str) -> Result<[u8; 6], String> {
        NoNames.ether(name)
    }
}

fn explained(text: &str) -> String {
    let sentence = explain(&parse(text, &mut Book).unwrap(), text);
    let that = sentence.strip_prefix("TCP packets that ").unwrap_or(&sentence);
    that.strip_suffix('.').unwrap().to_owned()
}

#[test]
fn an_expression_becomes_a_sentence() {
    let rows = [
        ("", "All TCP packets"),
        ("tcp", "All TCP packets"),
        ("tcp port 80", "come from or go to port 80"),
        ("tcp port (80 or 443)", "come from or go to port 80 or 443"),
        ("port 80 or 443 or 8080", "come from or go to port 80, 443 or 8080"),
        ("tcp portrange 8000-8100", "come from or go to ports 8000 to 8100"),
        ("tcp dst port 22", "go to port 22"),
        ("src and dst port 80", "both come from and go to port 80"),
        ("udp port 53", "come from or go to UDP port 53"),
        ("dst 10.0.0.1 and src 10.0.0.2", "go to host 10.0.0.1 and come from host 10.0.0.2"),
        (
            "host 10.0.0.1 and not port 22",
            "come from or go to host 10.0.0.1, and neither come from nor go to port 22",
        ),
        ("net 172.16.0.0 mask 255.240.0.0", "come from or go to network 172.16.0.0/12"),
        ("net 10.0.0.1 mask 255.0.0.255", "come from or go to network 10.0.0.1 mask 255.0.0.255"),
        ("ip6 net 2001:db8::/32 and tcp", "come from or go to network 2001:db8::/32"),
        ("ip6 and tcp", "are IPv6"),
        ("ip proto \\tcp", "are IPv4"),
        ("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "are IPv4 with FIN or SYN set"),
        ("tcp[13] == 2", "are IPv4 with only SYN set"),
        ("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", "are IPv4 with SYN set and ACK not set"),
        ("tcp[tcpflags] & (tcp-syn|tcp-ack) == 0", "are IPv4 without SYN or ACK set"),
        ("not tcp[13] & 2 != 0", "are not IPv4 with SYN set"),
        ("tcp[13] & 2 = 1", "satisfy `tcp[13] & 2 = 1`"),
        ("not ip[2:2] > 576", "do not satisfy `ip[2:2] > 576`"),
        ("greater 1000", "are at least 1000 bytes long"),
        ("tcp and len <= 60", "are at most 60 bytes long"),
        ("not len = 60", "are not exactly 60 bytes long"),
        ("not (host 10.0.0.1 or host 10.0.0.2)", "neither come from nor go to host 10.0.0.1 or 10.0.0.2"),
        (
            "not (tcp port 80 and host 10.0.0.1)",
            "neither come from nor go to port 80, or neither come from nor go to host 10.0.0.1",
        ),
        ("ether src 02:00:00:00:00:01 and tcp", "come from Ethernet station 02:00:00:00:00:01"),
        ("vlan 100 and dst port 80", "have a VLAN tag with identifier 100 and go to port 80"),
        ("vlan and vlan 5", "have a VLAN tag and have a VLAN tag with identifier 5 behind another one"),
        ("tcp or (vlan and tcp)", "are untagged TCP or (have a VLAN tag and are TCP behind the tag)"),
        ("outbound and dst port 80", "leave by the interface and go to port 80"),
        (
            "src host localhost and dst port ssh",
            "come from host 127.0.0.1 (localhost) or ::1 (localhost), and go to port 22",
        ),
        (
            "src host 1.2.3.4 and (dst port 80 or less 100)",
            "come from host 1.2.3.4, and (go to port 80 or are at most 100 bytes long)",
        ),
    ];
    for (text, sentence) in rows {
        assert_eq!(explained(text), sentence, "{text}");
    }
}

#[test]
fn no_sentence_is_endless() {
    let text = "tcp port 1".to_owned() + &" or 1".repeat(5000);
    assert_eq!(explained(&text), "5001 tests select, too many for a sentence");
    let text = "(tcp or ".repeat(5000) + "(vlan and ip[len] = 5 or tcp)" + &" and tcp)".repeat(5000);
    assert_eq!(explained(&text), "10003 tests select, too many for a sentence");
    assert_eq!(kinds(&text), [WarningKind::VlanShift, WarningKind::ShortPackets, WarningKind::Precedence]);
    assert_eq!(explained(&("not ".repeat(16_000) + "port 1")), "come from or go to port 1");
    assert_eq!(explained(&("not ".repeat(16_001) + "port 1")), "neither come from nor go to port 1");
    let text = format!("len > {}5", "- ".repeat(5000));
    assert!(explained(&text).len() < 200);
}

/// The kinds of warnings, but for the notes that most expressions have.
fn kinds(text: &str) -> Vec<WarningKind> {
    let found = warnings(&parse(text, &mut Book).unwrap(), text);
    for warning in &found {
        assert!(text.get(warning.span.clone()).is_some_and(|part| !part.is_empty()), "{text}: {warning:?}");
        warning.render(text);
    }
    let notes = [WarningKind::Tagged, WarningKind::OtherTransports];
    found.into_iter().map(|warning| warning.kind).filter(|kind| !notes.contains(kind)).collect()
}

#[test]
fn mistakes_are_found() {
    use WarningKind::{Ipv4Only, Negation, Precedence, ShortPackets, VlanShift};

    let rows: [(&str, &[WarningKind]); _] = [
        ("port 80", &[]),
        ("port 80 and vlan", &[VlanShift]),
        ("vlan and port 80", &[]),
        ("port 80 or (vlan and port 80)", &[]),
        ("(vlan and port 80) or port 80", &[VlanShift]),
        ("vlan 100 or vlan 200", &[VlanShift]),
        ("not vlan and tcp", &[VlanShift]),
        ("vlan and port 53 or 54", &[VlanShift]),
        ("ether broadcast and vlan", &[]),
        ("tcp[13] = 2", &[Ipv4Only]),
        ("ip6 and tcp[13] = 2", &[Ipv4Only]),
        ("ip6[53] = 2 and ip[2:2] > 5", &[]),
        ("host 10.0.0.1 or 10.0.0.2 and port 80", &[Precedence]),
        ("host (10.0.0.1 or 10.0.0.2) and port 80", &[]),
        ("(port 80 or port 443) and tcp", &[]),
        ("port 80 or (port 443) and tcp", &[Precedence]),
        ("port 80 and tcp or port 443", &[]),
        ("host localhost and tcp", &[]),
        ("not port 80 or 443", &[Negation]),
        ("not port 80 and 443", &[Negation]),
        ("not port 80 or port 443", &[]),
        ("not port (80 or 443)", &[]),
        ("ether[1000] = 0 or tcp", &[ShortPackets]),
        ("tcp or ether[1000] = 0", &[]),
        ("ip[19] = 0 or tcp", &[]),
        ("ip[19:2] = 0 or tcp", &[ShortPackets]),
    ];
    for (text, expected) in rows {
        assert_eq!(kinds(text), expected, "{text}");
    }
}

#[test]
fn what_most_expressions_need_to_know_is_said_once() {
    let said = |text: &str| {
        let found = warnings(&parse(text, &mut Book).unwrap(), text);
        found
            .into_iter()
            .map(|warning| (warning.kind, text[warning.span].to_owned(), warning.hint))
            .collect::<Vec<_>>()
    };
    let tagged = |text: &str, hint: &str| (WarningKind::Tagged, text.to_owned(), hint.to_owned());
    assert_eq!(
        said("tcp port 80 "),
        [tagged("tcp port 80", "for both kinds write `tcp port 80 or (vlan and (tcp port 80))`")]
    );
    assert_eq!(
        said("not tcp port 22"),
        [tagged("not tcp port 22", "for tagged frames write `vlan and (not tcp port 22)`")]
    );
    let port = |text: &str| (WarningKind::OtherTransports, text.to_owned(), String::new());
    assert_eq!(said("vlan and port (53 or 54)"), [port("53")]);
    assert_eq!(said("ether broadcast"), []);
    assert_eq!(said("len > 5"), []);
    let lines: Vec<_> = warnings(&parse("port 53", &mut Book).unwrap(), "port 53")
        .iter()
        .map(|warning| warning.render("port 53"))
        .collect();
    assert_eq!(
        lines,
        [
            "note: a port without `tcp` is one of UDP and SCTP, too; capture prints only TCP",
            "note: a VLAN tag in the bytes of a frame hides IP and TCP from this; for both kinds write `port 53 or \
             (vlan and (port 53))`",
        ]
    );
}
