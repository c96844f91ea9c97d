//! TCP traffic between two namespaces, or on the loopback of one.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, SockaddrStorage, bind,
        connect, sendto, setsockopt, shutdown, socket, sockopt,
    },
    unistd::Pid,
};

use test_support::packets::{
    ip::Addresses,
    link::{ETHERTYPE_IPV4, ethernet},
    tcp::{SYN, SegmentFields},
};

use crate::namespace::Namespace;

pub(crate) const PORT: u16 = 8888;
/// The source port of the marker; nothing else uses it.
const MARKER_PORT: u16 = 7;

/// A server in a namespace that treats one connection after the other with `serve`, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `connections` connections, each in a thread of its own.
    pub(crate) fn new(
        namespace: &Namespace,
        address: IpAddr,
        connections: usize,
        serve: impl Fn(TcpStream) + Send + Clone + 'static,
    ) -> Self {
        let address = SocketAddr::new(address, PORT);
        let listener = namespace.run(move || TcpListener::bind(address)).expect("the port is free");
        let thread = thread::spawn(move || {
            let serving: Vec<_> = (0..connections)
                .map(|_| {
                    let (stream, _) = listener.accept().expect("a connection");
                    let serve = serve.clone();
                    thread::spawn(move || serve(stream))
                })
                .collect();
            for thread in serving {
                thread.join().expect("the server did not panic");
            }
            // Closing would do, if no process that another test is just starting held a copy of the descriptor.
            shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both).expect("it listens");
        });
        Self { address, thread: Some(thread) }
    }

    /// Waits until all connections have been served and the port is closed.
    pub(crate) fn join(mut self) {
        self.thread.take().expect("joined once").join().expect("the server did not panic");
    }
}

/// Connects from a namespace.
pub(crate) fn client(namespace: &Namespace, address: SocketAddr) -> TcpStream {
    let stream = namespace.run(move || TcpStream::connect(address)).expect("the server listens");
    stream.set_nodelay(true).expect("TCP");
    stream
}

/// The walk-through's session: a line, an answer, the server closes, then the client.
pub(crate) fn nc_session(server: &Namespace, client_at: &Namespace, address: IpAddr) {
    let server = Server::new(server, address, 1, |mut stream| {
        let mut request = [0; 6];
        stream.read_exact(&mut request).expect("the request");
        stream.write_all(&[b'x'; 106]).expect("the answer");
    });
    let mut stream = client(client_at, server.address);
    stream.write_all(b"hello\n").expect("the request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer");
    assert_eq!(answer.len(), 106);
    drop(stream);
    server.join();
}

/// `length` bytes to the server, which counts them.
pub(crate) fn bulk(server: &Namespace, client_at: &Namespace, address: IpAddr, length: usize) {
    let server = Server::new(server, address, 1, move |mut stream| {
        let mut buffer = vec![0; 1 << 16];
        let mut received = 0;
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            received += count;
        }
        assert_eq!(received, length);
    });
    let mut stream = client(client_at, server.address);
    stream.write_all(&vec![b'b'; length]).expect("the server reads");
    drop(stream);
    server.join();
}

/// The client closes its direction, the server goes on sending, then closes.
pub(crate) fn half_close(server: &Namespace, client_at: &Namespace, address: IpAddr) {
    let server = Server::new(server, address, 1, |mut stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).expect("the request");
        stream.write_all(&request).expect("the answer");
    });
    let mut stream = client(client_at, server.address);
    stream.write_all(b"half").expect("the request");
    stream.shutdown(Shutdown::Write).expect("a half close");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer");
    assert_eq!(answer, b"half");
    drop(stream);
    server.join();
}

/// The client closes its direction when it has a part of the answer, and gets the rest.
pub(crate) fn half_close_within_the_answer(server: &Namespace, client_at: &Namespace, address: IpAddr) {
    let server = Server::new(server, address, 1, |mut stream| {
        let mut request = [0; 4];
        stream.read_exact(&mut request).expect("the request");
        stream.write_all(b"part").expect("the answer");
        assert_eq!(stream.read(&mut request).expect("the end"), 0);
        stream.write_all(b"rest").expect("the rest of the answer");
    });
    let mut stream = client(client_at, server.address);
    stream.write_all(b"half").expect("the request");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("a part of the answer");
    stream.shutdown(Shutdown::Write).expect("a half close");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the rest of the answer");
    assert_eq!((&answer, &rest[..]), (b"part", &b"rest"[..]));
    drop(stream);
    server.join();
}

/// The client closes its direction without a word, and gets a greeting.
pub(crate) fn half_close_at_once(server: &Namespace, client_at: &Namespace, address: IpAddr) {
    let server = Server::new(server, address, 1, |mut stream| {
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
        stream.write_all(b"hello").expect("the greeting");
    });
    let mut stream = client(client_at, server.address);
    stream.shutdown(Shutdown::Write).expect("a half close");
    let mut greeting = Vec::new();
    stream.read_to_end(&mut greeting).expect("the greeting");
    assert_eq!(greeting, b"hello");
    drop(stream);
    server.join();
}

/// The server answers and closes its direction, and the client goes on sending.
pub(crate) fn half_close_by_the_server(server: &Namespace, client_at: &Namespace, address: IpAddr) {
    let server = Server::new(server, address, 1, |mut stream| {
        let mut request = [0; 4];
        stream.read_exact(&mut request).expect("the request");
        stream.write_all(b"answer").expect("the answer");
        stream.shutdown(Shutdown::Write).expect("a half close");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the rest of what the client sends");
        assert_eq!(rest, b"rest");
    });
    let mut stream = client(client_at, server.address);
    stream.write_all(b"half").expect("the request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer");
    assert_eq!(answer, b"answer");
    stream.write_all(b"rest").expect("the rest");
    drop(stream);
    server.join();
}

/// The client resets the connection.
pub(crate) fn reset(server: &Namespace, client_at: &Namespace, address: IpAddr) {
    let server = Server::new(server, address, 1, |mut stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).expect_err("a reset");
    });
    let mut stream = client(client_at, server.address);
    stream.write_all(b"reset").expect("the request");
    setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).expect("SO_LINGER");
    drop(stream);
    server.join();
}

/// Many connections at once.
pub(crate) fn crowd(server: &Namespace, client_at: &Namespace, address: IpAddr, connections: usize) {
    let server = Server::new(server, address, connections, |mut stream| {
        let mut request = [0; 100];
        for _ in 0..20 {
            stream.read_exact(&mut request).expect("a request");
            stream.write_all(&request).expect("an answer");
        }
    });
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let mut stream = client(client_at, server.address);
            thread::spawn(move || {
                let mut answer = [0; 100];
                for _ in 0..20 {
                    stream.write_all(&[1; 100]).expect("a request");
                    stream.read_exact(&mut answer).expect("an answer");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("the client did not panic");
    }
    server.join();
}

/// A socket bound to a port, before it connects.
fn bound(namespace: &Namespace, address: SocketAddr) -> OwnedFd {
    namespace.run(move || {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(family, SockType::Stream, SockFlag::empty(), None).expect("a socket");
        setsockopt(&socket, sockopt::ReuseAddr, &true).expect("SO_REUSEADDR");
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address)).expect("the port is free");
        socket
    })
}

/// The last packets of a test: a SYN from [`MARKER_PORT`] to the closed port, and the RST that answers it. Returns
/// what only the RST's line contains, in every print mode.
pub(crate) fn marker(namespace: &Namespace, from: IpAddr, to: IpAddr) -> String {
    let socket = bound(namespace, SocketAddr::new(from, MARKER_PORT));
    let refused = connect(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(to, PORT)));
    refused.expect_err("the port is closed by now");
    format!("{to}.{PORT} > {from}.{MARKER_PORT}: ")
}

/// Like [`marker`], for an observer that sees only what comes to `to`.
pub(crate) fn marker_in(namespace: &Namespace, from: IpAddr, to: IpAddr) -> String {
    marker(namespace, from, to);
    format!("{from}.{MARKER_PORT} > {to}.{PORT}: ")
}

/// A connection over a veth pair during which the server's address vanishes, until its data has been sent again.
pub(crate) fn lossy(server_at: &Namespace, client_at: &Namespace, address: IpAddr) {
    outage(server_at, client_at, address, 1, 1);
}

/// The same, with so many segments that are lost, until so many have been sent again.
pub(crate) fn outage(
    server_at: &Namespace,
    client_at: &Namespace,
    address: IpAddr,
    segments: usize,
    retransmissions: u32,
) {
    let length = 4 + 4 * segments;
    let server = Server::new(server_at, address, 1, move |mut stream| {
        let mut request = vec![0; length];
        stream.read_exact(&mut request).expect("the request");
        stream.write_all(&request).expect("the answer");
    });
    let mut stream = client(client_at, server.address);
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.write_all(b"seen").expect("the connection stands");
    let prefix = if address.is_ipv4() { 24 } else { 64 };
    let neighbour = client_at.output(&format!("ip neigh show {address}"));
    let link_address =
        neighbour.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).expect("an address");
    client_at.ip(&format!("neigh replace {address} lladdr {link_address} dev veth0 nud permanent"));
    server_at.ip(&format!("addr del {address}/{prefix} dev veth1"));
    for _ in 0..segments {
        stream.write_all(b"lost").expect("the connection stands");
    }
    // `retrans:1/3`: one segment is under way again, three times was any.
    let retransmitted = || {
        let sockets = client_at.output("ss -tnoi");
        let total = sockets.split_once("retrans:").and_then(|(_, rest)| rest.split_once('/'));
        let total = total.and_then(|(_, rest)| rest.split_whitespace().next());
        total.is_some_and(|total| total.parse::<u32>().expect("a number") >= retransmissions)
    };
    crate::process::wait_until("retransmissions", retransmitted);
    server_at.ip(&format!("addr add {address}/{prefix} dev veth1 nodad"));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer");
    assert_eq!(answer, [&b"seen"[..], &b"lost".repeat(segments)].concat());
    drop(stream);
    server.join();
}

/// A TCP segment to the port over IPv4, of `length` bytes from the IP header on, in an Ethernet broadcast.
fn segment(tags: &[u16], length: u16) -> Vec<u8> {
    let tags: Vec<_> = tags.iter().map(|tag| (*tag, 0x6005)).collect();
    let header = ethernet([0xff; 6], [2, 0, 0, 0, 0, 1], &tags, ETHERTYPE_IPV4);
    let segment = SegmentFields {
        source: 1234,
        destination: PORT,
        sequence: 9,
        flags: SYN,
        window: 256,
        // Wrong, so that no one answers.
        checksum: Some(0),
        payload: vec![b'p'; usize::from(length) - 40],
        ..SegmentFields::default()
    };
    let addresses = Addresses::V4(Tun::PEER.octets(), Tun::ADDRESS.octets());
    [header, segment.packet(&addresses)].concat()
}

/// The SYN of [`marker`] without a link header, from 10.0.0.1 to 10.0.0.2.
pub(crate) fn marker_packet() -> Vec<u8> {
    let mut packet = segment(&[], 40).split_off(14);
    packet[20..22].copy_from_slice(&MARKER_PORT.to_be_bytes());
    packet
}

/// Tries to connect to an address from which no answer comes.
pub(crate) fn unanswered(namespace: &Namespace, address: IpAddr) {
    let address = SocketAddr::new(address, PORT);
    let attempt = namespace.run(move || TcpStream::connect_timeout(&address, Duration::from_millis(1)));
    attempt.expect_err("there is no answer");
}

/// A SYN after VLAN tags.
pub(crate) fn tagged(tags: &[u16]) -> Vec<u8> {
    segment(tags, 40)
}

/// A segment with an MD5 option and 10 bytes of data, in a packet that claims to have `missing` more.
pub(crate) fn signed(missing: u16) -> Vec<u8> {
    let mut frame = segment(&[], 70);
    frame[16..18].copy_from_slice(&(70 + missing).to_be_bytes());
    frame[46] = 0xa0;
    frame.splice(54..74, [1, 1, 19, 18].into_iter().chain(0..16));
    frame
}

/// A SYN with so much data that the IP packet has `length` bytes.
pub(crate) fn long_frame(length: u16) -> Vec<u8> {
    segment(&[], length)
}

/// Sends one frame again and again.
pub(crate) struct Sender {
    socket: OwnedFd,
    address: LinkAddr,
    frame: Vec<u8>,
}

impl Sender {
    pub(crate) fn new(namespace: &Namespace, interface: &'static str, frame: &[u8]) -> Self {
        let (socket, address) = namespace.run(move || {
            let socket =
                socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).expect("privileges");
            (socket, link_address(if_nametoindex(interface).expect("the interface exists")))
        });
        Self { socket, address, frame: frame.to_vec() }
    }

    pub(crate) fn send(&self) {
        self.send_also(&self.frame);
    }

    /// Sends another frame.
    pub(crate) fn send_also(&self, frame: &[u8]) {
        let sent = sendto(self.socket.as_raw_fd(), frame, &self.address, MsgFlags::empty());
        // A queue that is full says so: the frame was handed to it.
        assert!(sent == Ok(frame.len()) || sent == Err(Errno::ENOBUFS), "{sent:?}");
    }
}

/// The address of an interface for frames as they are. getifaddrs(3) has none where there is no link header.
fn link_address(interface: u32) -> LinkAddr {
    // SAFETY: `struct sockaddr_ll` is made of numbers.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = interface.cast_signed();
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: it points to a `struct sockaddr_ll` of that length.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }.expect("AF_PACKET")
}

/// Sends a frame as it is out of an interface.
pub(crate) fn raw_frame(namespace: &Namespace, interface: &'static str, frame: &[u8]) {
    Sender::new(namespace, interface, frame).send();
}

/// Sends `count` SYNs out of an interface as fast as it can.
pub(crate) fn flood(namespace: &Namespace, interface: &'static str, count: usize) {
    let sender = Sender::new(namespace, interface, &tagged(&[]));
    for _ in 0..count {
        sender.send();
    }
}

/// The source port of [`flood_from`].
pub(crate) fn flood_port(cpu: usize) -> u16 {
    2000 + cpu as u16
}

/// Like [`flood`], from one CPU and with packets that are numbered by their sequence numbers.
pub(crate) fn flood_from(namespace: &Namespace, interface: &'static str, cpu: usize, count: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).expect("a CPU's number");
    // On a machine with one CPU both floods come from it.
    let _one_cpu = sched_setaffinity(Pid::from_raw(0), &cpus);
    let mut sender = Sender::new(namespace, interface, &tagged(&[]));
    for number in 0..count as u32 {
        sender.frame[34..36].copy_from_slice(&flood_port(cpu).to_be_bytes());
        sender.frame[38..42].copy_from_slice(&number.to_be_bytes());
        sender.send();
    }
}

/// A tun device: a network interface without a link header whose other end is this.
pub(crate) struct Tun {
    device: File,
}

impl Tun {
    pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    /// Makes `tun0` in the namespace, with [`ADDRESS`](Self::ADDRESS).
    pub(crate) fn new(namespace: &Namespace) -> Self {
        Self::of_type(namespace, libc::ARPHRD_NONE)
    }

    /// The same, of another hardware type.
    pub(crate) fn of_type(namespace: &Namespace, hardware_type: u16) -> Self {
        let device = namespace.run(move || {
            let device = File::options().read(true).write(true).open("/dev/net/tun").expect("a tun device");
            // `struct ifreq`: the name, and flags in what follows it.
            let mut request = [0_u8; 40];
            request[..4].copy_from_slice(b"tun0");
            request[16..18].copy_from_slice(&((libc::IFF_TUN | libc::IFF_NO_PI) as u16).to_ne_bytes());
            // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, which is 40 bytes long.
            let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            // SAFETY: TUNSETLINK takes a number.
            let result = unsafe {
                libc::ioctl(device.as_raw_fd(), libc::TUNSETLINK, libc::c_ulong::from(hardware_type))
            };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            device
        });
        namespace.ip(&format!("addr add {}/24 dev tun0", Self::ADDRESS));
        namespace.ip("link set tun0 up");
        Self { device }
    }

    /// Sends an IP packet into the interface.
    pub(crate) fn send(&self, packet: &[u8]) {
        let mut device = &self.device;
        assert_eq!(device.write(packet).expect("the interface is up"), packet.len());
    }
}
