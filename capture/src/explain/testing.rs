//! Packets for tests, sketched in one line each, and the comments that they give.

use std::net::IpAddr;

use bytes::BytesMut;
use capture_packet::{LinkType, Packet, Timestamp};

use super::{Explainer, segment::Endpoint};

pub(super) const CLIENT: Who = Who::Client;
pub(super) const SERVER: Who = Who::Server;

/// 2023-11-14 22:13:20 UTC.
const SECOND: i64 = 1_700_000_000;

/// The ends of the one connection that most tests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Client,
    Server,
}

impl Who {
    pub(super) fn endpoint(self) -> Endpoint {
        match self {
            Self::Client => Endpoint { address: [10, 0, 0, 1].into(), port: 41234 },
            Self::Server => Endpoint { address: [10, 0, 0, 2].into(), port: 8888 },
        }
    }
}

/// A segment to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sketch {
    /// Nanoseconds since [`SECOND`].
    pub(super) time: i64,
    pub(super) from: Who,
    /// Source and destination.
    pub(super) endpoints: [Endpoint; 2],
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    data_len: usize,
    tsval: Option<u32>,
    scale: Option<u8>,
}

/// A segment at a time in milliseconds, with flags as tcpdump prints them. Its time stamp is its time.
pub(super) fn at(milliseconds: i64, from: Who, flags: &str, seq: u32, ack: u32) -> Sketch {
    let endpoints = match from {
        Who::Client => [CLIENT, SERVER],
        Who::Server => [SERVER, CLIENT],
    };
    let flag = |flag: char| 1 << "FSRP.UEW".find(flag).unwrap();
    Sketch {
        time: milliseconds * 1_000_000,
        from,
        endpoints: endpoints.map(Who::endpoint),
        flags: flags.chars().map(flag).sum(),
        seq,
        ack,
        window: 500,
        data_len: 0,
        tsval: Some(milliseconds as u32),
        scale: None,
    }
}

impl Sketch {
    pub(super) fn data(self, data_len: usize) -> Self {
        Self { data_len, ..self }
    }

    pub(super) fn win(self, window: u16) -> Self {
        Self { window, ..self }
    }

    pub(super) fn scale(self, scale: u8) -> Self {
        Self { scale: Some(scale), ..self }
    }

    pub(super) fn ts(self, tsval: u32) -> Self {
        Self { tsval: Some(tsval), ..self }
    }

    pub(super) fn no_ts(self) -> Self {
        Self { tsval: None, ..self }
    }

    /// The same between other ends.
    pub(super) fn between(self, endpoints: [Endpoint; 2]) -> Self {
        Self { endpoints, ..self }
    }

    /// The same, `milliseconds` later; the time stamp stays.
    pub(super) fn delayed(self, milliseconds: i64) -> Self {
        Self { time: self.time + milliseconds * 1_000_000, ..self }
    }

    /// The same with later sequence numbers on both sides.
    pub(super) fn jump(self, numbers: u32) -> Self {
        Self { seq: self.seq.wrapping_add(numbers), ack: self.ack.wrapping_add(numbers), ..self }
    }

    fn tcp(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if let Some(tsval) = self.tsval {
            options.extend([1, 1, 8, 10]);
            options.extend([tsval.to_be_bytes(), [0; 4]].concat());
        }
        options.extend(self.scale.iter().flat_map(|scale| [1, 3, 3, *scale]));
        let mut bytes = self.endpoints.map(|endpoint| endpoint.port.to_be_bytes()).concat();
        bytes.extend([self.seq.to_be_bytes(), self.ack.to_be_bytes()].concat());
        bytes.extend([(5 + options.len() as u8 / 4) << 4, self.flags]);
        bytes.extend([self.window.to_be_bytes(), [0; 2], [0; 2]].concat());
        bytes.extend(options);
        bytes.resize(bytes.len() + self.data_len, b'x');
        bytes
    }

    /// In an IPv4 or IPv6 packet, as the endpoints are.
    pub(super) fn ip(&self) -> Vec<u8> {
        let tcp = self.tcp();
        let mut addresses = Vec::new();
        for endpoint in self.endpoints {
            match endpoint.address {
                IpAddr::V4(address) => addresses.extend(address.octets()),
                IpAddr::V6(address) => addresses.extend(address.octets()),
            }
        }
        let header = if self.endpoints[0].address.is_ipv4() {
            let [l1, l0] = (20 + tcp.len() as u16).to_be_bytes();
            vec![0x45, 0, l1, l0, 0, 0, 0x40, 0, 64, 6, 0, 0]
        } else {
            let [l1, l0] = (tcp.len() as u16).to_be_bytes();
            vec![0x60, 0, 0, 0, l1, l0, 6, 64]
        };
        [header, addresses, tcp].concat()
    }

    pub(super) fn ipv4(&self) -> Vec<u8> {
        assert!(self.endpoints[0].address.is_ipv4());
        self.ip()
    }

    pub(super) fn ipv6(&self) -> Vec<u8> {
        Self { endpoints: self.endpoints.map(to_ipv6), ..*self }.ip()
    }
}

fn to_ipv6(endpoint: Endpoint) -> Endpoint {
    let IpAddr::V4(address) = endpoint.address else { return endpoint };
    Endpoint { address: address.to_ipv6_compatible().into(), ..endpoint }
}

pub(super) fn ethernet_frame(tags: &[u16], body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    tags.iter().for_each(|tag| frame.extend([tag.to_be_bytes(), [0, 5]].concat()));
    frame.extend(if body[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    frame.extend(body);
    frame
}

/// A whole packet, `time` nanoseconds after [`SECOND`].
pub(super) fn packet(link_type: LinkType, time: i64, data: &[u8]) -> Packet<'_> {
    let time = Timestamp {
        seconds: if time == 0 { 0 } else { SECOND + time.div_euclid(1_000_000_000) },
        nanoseconds: time.rem_euclid(1_000_000_000),
    };
    Packet::new(time, link_type, data.len() as u32, data)
}

/// The comments on `sketches`, each with the time in milliseconds of the packet it stands before, or `end`, and
/// without the two ends, which are looked at here. Where a comment names the client, it says `CLIENT` here.
pub(super) fn comments(sketches: &[Sketch], limit: usize) -> Vec<String> {
    let mut explainer = Explainer::new(limit);
    let mut comments = Vec::new();
    for sketch in sketches {
        let frame = sketch.ip();
        let mut out = BytesMut::new();
        explainer.explain(&packet(LinkType::Raw, sketch.time + 1, &frame), &mut out);
        let [from, to] = sketch.endpoints;
        let client = if sketch.from == CLIENT { from } else { to };
        for line in str::from_utf8(&out).unwrap().lines() {
            let text = line.strip_prefix(&format!("// {from} > {to}: "));
            // The comment on silence comes with a packet of any connection.
            let silence = || line.contains("no answer to its SYN").then(|| line.split_once(": ").unwrap().1);
            let text = text.or_else(silence).unwrap_or_else(|| panic!("{line} is about another connection"));
            let text = text.replace(&format!(" {client}"), " CLIENT");
            comments.push(format!("{} {text}", sketch.time / 1_000_000));
        }
    }
    let mut out = BytesMut::new();
    explainer.finish(&mut out);
    for line in str::from_utf8(&out).unwrap().lines() {
        let text = line.strip_prefix("// ").unwrap();
        comments.push(format!("end {}", text.split_once(": ").map_or(text, |(_, text)| text)));
    }
    comments
}

/// Holds the comments on a story against `expected`, as [`comments`] gives them; and again with every packet captured
/// twice, over IPv6, with the addresses the other way round, and with sequence numbers that wrap.
#[track_caller]
pub(super) fn assert_story(sketches: &[Sketch], expected: &[&str]) {
    let change = |change: &dyn Fn(Sketch) -> Sketch| sketches.iter().map(|sketch| change(*sketch)).collect();
    let twice = sketches.iter().flat_map(|sketch| [*sketch, Sketch { time: sketch.time + 3_000, ..*sketch }]);
    let variants: [(&str, Vec<Sketch>); 5] = [
        ("as it is", sketches.to_vec()),
        ("twice", twice.collect()),
        ("IPv6", change(&|sketch| Sketch { endpoints: sketch.endpoints.map(to_ipv6), ..sketch })),
        ("addresses exchanged", change(&exchange_addresses)),
        ("wrapped", change(&wrap)),
    ];
    for (name, variant) in variants {
        assert_eq!(comments(&variant, 100), expected, "{name}");
    }
}

/// [`assert_story`], and the same without timestamps options.
#[track_caller]
pub(super) fn assert_story_without_timestamps_too(sketches: &[Sketch], expected: &[&str]) {
    assert_story(sketches, expected);
    let without: Vec<Sketch> = sketches.iter().map(|sketch| sketch.no_ts()).collect();
    assert_story(&without, expected);
}

/// Holds the comments of an explainer that remembers only `limit` connections against `expected`.
#[track_caller]
pub(super) fn assert_story_with_limit(limit: usize, sketches: &[Sketch], expected: &[&str]) {
    assert_eq!(comments(sketches, limit), expected);
}

fn exchange_addresses(sketch: Sketch) -> Sketch {
    let [from, to] = sketch.endpoints;
    let endpoints = [Endpoint { address: to.address, ..from }, Endpoint { address: from.address, ..to }];
    Sketch { endpoints, ..sketch }
}

/// The client's numbers pass 2^32 within their first bytes, the server's 2^31; the clocks pass 2^32.
fn wrap(sketch: Sketch) -> Sketch {
    let (client, server) = (u32::MAX - 2, (1 << 31) - 3);
    let (seq, ack) = match sketch.from {
        Who::Client => (client, server),
        Who::Server => (server, client),
    };
    Sketch {
        seq: sketch.seq.wrapping_add(seq),
        ack: sketch.ack.wrapping_add(ack),
        tsval: sketch.tsval.map(|tsval| tsval.wrapping_add(u32::MAX - 5)),
        ..sketch
    }
}
