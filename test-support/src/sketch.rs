//! TCP segments for tests of connections, sketched in one line each.

use std::net::{IpAddr, SocketAddr};

use crate::packets::{ip::Addresses, tcp::SegmentFields};

/// [`Who::Client`].
pub const CLIENT: Who = Who::Client;
/// [`Who::Server`].
pub const SERVER: Who = Who::Server;

/// The ends of the one connection that most tests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// 10.0.0.1.41234.
    Client,
    /// 10.0.0.2.8888.
    Server,
}

impl Who {
    /// Address and port.
    pub fn endpoint(self) -> SocketAddr {
        match self {
            Self::Client => ([10, 0, 0, 1], 41234).into(),
            Self::Server => ([10, 0, 0, 2], 8888).into(),
        }
    }
}

/// A segment to be.
#[derive(Clone, Copy, Debug)]
pub struct Sketch {
    /// Nanoseconds since the test's beginning.
    pub time: i64,
    /// Who sends it.
    pub from: Who,
    /// Source and destination.
    pub endpoints: [SocketAddr; 2],
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    data_len: usize,
    tsval: Option<u32>,
    scale: Option<u8>,
}

/// A segment at a time in milliseconds, with flags as tcpdump prints them. Its time stamp is its time.
pub fn at(milliseconds: i64, from: Who, flags: &str, seq: u32, ack: u32) -> Sketch {
    let endpoints = match from {
        Who::Client => [CLIENT, SERVER],
        Who::Server => [SERVER, CLIENT],
    };
    let flag = |flag: char| 1 << "FSRP.UEW".find(flag).expect("a flag as tcpdump prints it");
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
    /// With so many bytes of data.
    pub fn data(self, data_len: usize) -> Self {
        Self { data_len, ..self }
    }

    /// With this in the window field.
    pub fn win(self, window: u16) -> Self {
        Self { window, ..self }
    }

    /// With a window scale option.
    pub fn scale(self, scale: u8) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// With this TSval.
    pub fn ts(self, tsval: u32) -> Self {
        Self { tsval: Some(tsval), ..self }
    }

    /// Without a timestamps option.
    pub fn no_ts(self) -> Self {
        Self { tsval: None, ..self }
    }

    /// The same between other ends.
    pub fn between(self, endpoints: [SocketAddr; 2]) -> Self {
        Self { endpoints, ..self }
    }

    /// The same, `milliseconds` later; the time stamp stays.
    pub fn delayed(self, milliseconds: i64) -> Self {
        Self { time: self.time + milliseconds * 1_000_000, ..self }
    }

    /// The same with later sequence numbers on both sides.
    pub fn jump(self, numbers: u32) -> Self {
        Self { seq: self.seq.wrapping_add(numbers), ack: self.ack.wrapping_add(numbers), ..self }
    }

    /// In an IPv4 or IPv6 packet, as the endpoints are.
    pub fn ip(&self) -> Vec<u8> {
        let [source, destination] = self.endpoints;
        let mut options = Vec::new();
        if let Some(tsval) = self.tsval {
            options.extend([1, 1, 8, 10]);
            options.extend([tsval.to_be_bytes(), [0; 4]].concat());
        }
        options.extend(self.scale.iter().flat_map(|scale| [1, 3, 3, *scale]));
        let segment = SegmentFields {
            source: source.port(),
            destination: destination.port(),
            sequence: self.seq,
            acknowledgment: self.ack,
            flags: self.flags,
            window: self.window,
            options,
            payload: vec![b'x'; self.data_len],
            ..SegmentFields::default()
        };
        segment.packet(&Addresses::between(source.ip(), destination.ip()))
    }

    /// In an IPv4 packet, which the endpoints must allow.
    pub fn ipv4(&self) -> Vec<u8> {
        assert!(self.endpoints[0].is_ipv4());
        self.ip()
    }

    /// In an IPv6 packet.
    pub fn ipv6(&self) -> Vec<u8> {
        Self { endpoints: self.endpoints.map(to_ipv6), ..*self }.ip()
    }
}

/// The same endpoint with an IPv6 address that ends in its IPv4 address.
pub fn to_ipv6(endpoint: SocketAddr) -> SocketAddr {
    let IpAddr::V4(address) = endpoint.ip() else { return endpoint };
    (address.to_ipv6_compatible(), endpoint.port()).into()
}

/// The same with the addresses of the two ends exchanged.
pub fn exchange_addresses(sketch: Sketch) -> Sketch {
    let [from, to] = sketch.endpoints;
    sketch.between([(to.ip(), from.port()).into(), (from.ip(), to.port()).into()])
}

/// The client's numbers pass 2^32 within their first bytes, the server's 2^31; the clocks pass 2^32.
pub fn wrap(sketch: Sketch) -> Sketch {
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
