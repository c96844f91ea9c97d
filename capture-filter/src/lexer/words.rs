//! The words that mean something. Each is reserved: without a backslash none is the name of a host.

use super::TokenKind;

/// A reserved word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Protocol(Protocol),
    Type(Type),
    Source,
    Destination,
    Proto,
    Mask,
    Vlan,
    Less,
    Greater,
    Length,
    Inbound,
    Outbound,
    IfIndex,
    Broadcast,
    Multicast,
    Refused(Refusal),
}

/// A protocol that qualifies, or stands alone, or has bytes to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Ether,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
    Igmp,
    Igrp,
    Pim,
    Vrrp,
    Carp,
    Ah,
    Esp,
}

/// What an identifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Host,
    Net,
    Port,
    PortRange,
}

/// Why a word of pcap-filter(7) is refused, whatever follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It needs a loop, which the kernel does not run.
    Chain,
    /// It is about 802.11 frames.
    Wireless,
    /// It is about ATM.
    Atm,
    /// It is about SS7's signalling, MTP2 and MTP3.
    Signalling,
    /// It is about the packet filter of BSD.
    PacketFilter,
    /// It is about a tunnel that moves all offsets.
    Tunnel,
    /// It is about LLC frames, or a protocol next to IP.
    OtherProtocol,
    /// tcpdump refuses it, too.
    Gateway,
}

/// A reserved word or a constant.
pub(super) fn word(word: &str) -> Option<TokenKind<'_>> {
    Some(match word {
        "and" => TokenKind::And,
        "or" => TokenKind::Or,
        "not" => TokenKind::Not,
        _ => match keyword(word) {
            Some(keyword) => TokenKind::Keyword(keyword),
            None => TokenKind::Number(constant(word)?),
        },
    })
}

/// A reserved word other than `and`, `or`, `not`.
pub(crate) fn keyword(word: &str) -> Option<Keyword> {
    use Keyword::Refused;

    Some(match word {
        "host" => Keyword::Type(Type::Host),
        "net" => Keyword::Type(Type::Net),
        "port" => Keyword::Type(Type::Port),
        "portrange" => Keyword::Type(Type::PortRange),
        "src" => Keyword::Source,
        "dst" => Keyword::Destination,
        "proto" => Keyword::Proto,
        "mask" => Keyword::Mask,
        "vlan" => Keyword::Vlan,
        "less" => Keyword::Less,
        "greater" => Keyword::Greater,
        "len" | "length" => Keyword::Length,
        "inbound" => Keyword::Inbound,
        "outbound" => Keyword::Outbound,
        "ifindex" => Keyword::IfIndex,
        "broadcast" => Keyword::Broadcast,
        "multicast" => Keyword::Multicast,
        "gateway" => Refused(Refusal::Gateway),
        "protochain" => Refused(Refusal::Chain),
        "type" | "subtype" | "dir" | "direction" | "addr1" | "addr2" | "addr3" | "addr4" | "ra" | "ta"
        | "radio" => Refused(Refusal::Wireless),
        "lane" | "vpi" | "vci" | "oam" | "oamf4" | "oamf4ec" | "oamf4sc" | "metac" | "bcc" | "sc"
        | "ilmic" | "connectmsg" | "metaconnect" => Refused(Refusal::Atm),
        "sio" | "opc" | "dpc" | "sls" | "hsio" | "hopc" | "hdpc" | "hsls" | "fisu" | "lssu" | "lsu"
        | "msu" | "hfisu" | "hlssu" | "hmsu" => Refused(Refusal::Signalling),
        "on" | "ifname" | "rnr" | "rulenum" | "srnr" | "subrulenum" | "ruleset" | "rset" | "reason"
        | "action" => Refused(Refusal::PacketFilter),
        "mpls" | "pppoed" | "pppoes" | "geneve" => Refused(Refusal::Tunnel),
        "llc" | "iso" | "clnp" | "esis" | "es-is" | "isis" | "is-is" | "stp" | "netbeui" | "ipx"
        | "atalk" | "aarp" | "decnet" | "lat" | "moprc" | "mopdl" | "sca" | "l1" | "l2" | "iih" | "lsp"
        | "snp" | "csnp" | "psnp" | "byte" => Refused(Refusal::OtherProtocol),
        _ => Keyword::Protocol(protocol(word)?),
    })
}

fn protocol(word: &str) -> Option<Protocol> {
    Some(match word {
        "ether" | "link" | "fddi" | "tr" | "wlan" | "ppp" | "slip" => Protocol::Ether,
        "ip" => Protocol::Ip,
        "ip6" => Protocol::Ip6,
        "arp" => Protocol::Arp,
        "rarp" => Protocol::Rarp,
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        "icmp" => Protocol::Icmp,
        "icmp6" => Protocol::Icmp6,
        "igmp" => Protocol::Igmp,
        "igrp" => Protocol::Igrp,
        "pim" => Protocol::Pim,
        "vrrp" => Protocol::Vrrp,
        "carp" => Protocol::Carp,
        "ah" => Protocol::Ah,
        "esp" => Protocol::Esp,
        _ => return None,
    })
}

impl Refusal {
    /// The reason.
    pub(crate) fn cause(self) -> &'static str {
        match self {
            Self::Chain => {
                "capture does not follow chains of IPv6 extension headers: the kernel runs no filter with such a loop"
            }
            Self::Wireless => "capture does not capture 802.11 frames",
            Self::Atm => "capture does not capture ATM cells",
            Self::Signalling => "capture does not capture SS7 signalling (MTP2, MTP3)",
            Self::PacketFilter => {
                "only logs of BSD's packet filter have this, and capture does not read them"
            }
            Self::Tunnel => "capture does not look into MPLS, PPPoE and Geneve",
            Self::OtherProtocol => "capture prints TCP, and no TCP packet is of this protocol",
            Self::Gateway => "tcpdump refuses `gateway`, too: write `ether host MAC and not host NAME`",
        }
    }
}

/// The constants of pcap-filter(7): offsets of fields, and values of them.
fn constant(word: &str) -> Option<u32> {
    // None of them is found by a word without one of these beginnings.
    if !word.starts_with("tcp") && !word.starts_with("icmp") {
        return None;
    }
    CONSTANTS.iter().find_map(|(name, number)| (*name == word).then_some(*number))
}

const CONSTANTS: &[(&str, u32)] = &[
    ("tcpflags", 13),
    ("tcp-fin", 1),
    ("tcp-syn", 2),
    ("tcp-rst", 4),
    ("tcp-push", 8),
    ("tcp-ack", 16),
    ("tcp-urg", 32),
    ("tcp-ece", 64),
    ("tcp-cwr", 128),
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
    ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146),
    ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148),
    ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
];
