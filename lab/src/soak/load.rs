//! What is sent to the interfaces of the long captures, changing and bounded.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use test_support::{namespace::Namespace, wait::within};

use super::PATIENCE;
use crate::{
    frames::{Frames, PORT},
    packet_socket::{self, BATCH, PacketSocket},
    random::Random,
};

/// How much comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Quiet,
    /// At an even rate.
    Steady,
    /// Many at once, again and again.
    Bursts,
    /// As fast as one core can send.
    Full,
    /// The same from two cores.
    Several,
    /// Real connections, one after the other.
    Connections,
}

/// All of them.
pub(super) const PATTERNS: &[Pattern] = &[
    Pattern::Quiet,
    Pattern::Steady,
    Pattern::Bursts,
    Pattern::Full,
    Pattern::Several,
    Pattern::Connections,
];

/// What a sender is to do.
#[derive(Clone, Copy, Debug)]
struct Order {
    frames: u64,
    /// How many at full speed, and how long it waits after them.
    burst: u64,
    pause: Duration,
    flows: u32,
    /// Bytes of data in each.
    data: usize,
}

/// Flows of each sender, at most.
const FLOWS: u32 = 5000;
/// The ports that connections come from. Each is a conversation that captures keep.
const CLIENT_PORTS: &str = "40000 40999";
/// Waits before it tries again to send where there is no interface.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(5);
/// How long a connection waits for an answer that does not come.
const ANSWER: Duration = Duration::from_millis(200);

/// What senders and the server share with the one who gives orders.
#[derive(Default)]
struct Shared {
    is_busy: AtomicBool,
    is_cancelled: AtomicBool,
    is_over: AtomicBool,
    sent: AtomicU64,
}

/// A thread that sends.
struct Worker {
    orders: Option<Sender<Order>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// All that send.
pub(super) struct Load {
    senders: Vec<Worker>,
    client: Worker,
    server: Worker,
}

impl Load {
    /// Sends out of these interfaces of the namespace `peer`, and has connections to the address of `server`.
    pub(super) fn new(
        peer: &Namespace,
        interfaces: &[&'static str],
        server: &Namespace,
        address: Ipv4Addr,
    ) -> Result<Self> {
        let address = SocketAddr::from((address, PORT));
        let range = peer.run(|| fs::write("/proc/sys/net/ipv4/ip_local_port_range", CLIENT_PORTS));
        range.context("cannot set the range of ports")?;
        let senders = interfaces.iter().enumerate().map(|(number, &interface)| {
            Worker::start(peer, move |orders, shared| send(interface, number as u8, &orders, &shared))
        });
        let senders = senders.collect::<Result<_>>()?;
        let listener = server.run(move || TcpListener::bind(address)).context("no server")?;
        listener.set_nonblocking(true)?;
        let server = Worker::start(server, move |_, shared| serve(&listener, &shared))?;
        let client = Worker::start(peer, move |orders, shared| connect(address, &orders, &shared))?;
        Ok(Self { senders, client, server })
    }

    /// Begins. Says how much it will be at most.
    pub(super) fn begin(&self, pattern: Pattern, random: &mut Random) -> Result<String> {
        let mut order = Order {
            frames: 0,
            burst: u64::MAX,
            pause: Duration::ZERO,
            flows: random.pick(&[1, 8, 300, FLOWS]),
            data: random.pick(&[0, 0, 100, 1400]),
        };
        // Packets with data are as many bytes.
        let share = if order.data > 1000 { 4 } else { 1 };
        let mut most = |least: usize, most: usize| (random.between(least, most) / share) as u64;
        let first = match pattern {
            Pattern::Quiet => return Ok("quiet".to_owned()),
            Pattern::Connections => {
                self.client.order(Order { frames: most(100, 400), ..order })?;
                return Ok("connections".to_owned());
            }
            Pattern::Steady => {
                let rate = most(500, 20_000);
                order.frames = rate * 10;
                order.burst = BATCH as u64;
                order.pause = Duration::from_nanos(1_000_000_000 * BATCH as u64 / rate);
                self.senders.iter().try_for_each(|sender| sender.order(order))?;
                return Ok(format!("{rate} packets/s to each interface"));
            }
            Pattern::Bursts => {
                order.frames = most(50_000, 150_000);
                order.burst = most(5_000, 20_000);
                order.pause = Duration::from_millis(100);
                format!("bursts of {}", order.burst)
            }
            Pattern::Full => {
                order.frames = most(100_000, 300_000);
                "full speed".to_owned()
            }
            Pattern::Several => {
                order.frames = most(50_000, 150_000);
                "full speed, two senders".to_owned()
            }
        };
        let senders = if pattern == Pattern::Several { 2 } else { 1 };
        let begin = random.below(self.senders.len());
        for number in 0..senders {
            self.senders[(begin + number) % self.senders.len()].order(order)?;
        }
        Ok(first)
    }

    /// Sends some packets of each flow that there will be, so that the tables of captures have their size.
    pub(super) fn send_all_flows(&self) -> Result<()> {
        let order = Order {
            frames: 4 * u64::from(FLOWS),
            burst: 1000,
            pause: BETWEEN_ATTEMPTS,
            flows: FLOWS,
            data: 0,
        };
        self.senders.iter().try_for_each(|sender| sender.order(order))?;
        self.wait()
    }

    /// Waits until nothing more is sent.
    fn wait(&self) -> Result<()> {
        within(PATIENCE, "the end of the load", || {
            let mut workers = self.senders.iter().chain([&self.client]);
            Ok(workers.all(|worker| !worker.shared.is_busy.load(Ordering::SeqCst)).then_some(()))
        })
    }

    /// Ends what has begun, and waits until nothing more is sent.
    pub(super) fn end(&self) -> Result<()> {
        let workers = self.senders.iter().chain([&self.client]);
        workers.for_each(|worker| worker.shared.is_cancelled.store(true, Ordering::SeqCst));
        self.wait()
    }

    /// Packets that were sent, and connections that were answered.
    pub(super) fn sent(&self) -> [u64; 2] {
        let sent = |worker: &Worker| worker.shared.sent.load(Ordering::Relaxed);
        [self.senders.iter().map(sent).sum(), sent(&self.server)]
    }
}

impl Worker {
    /// In the namespace, which lives as long as the thread does.
    fn start(
        namespace: &Namespace,
        work: impl FnOnce(Receiver<Order>, Arc<Shared>) + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (orders, queue) = channel();
        let own = Arc::clone(&shared);
        let spawn = move || thread::Builder::new().name("load".to_owned()).spawn(move || work(queue, own));
        let thread = namespace.run(spawn)?;
        Ok(Self { orders: Some(orders), shared, thread: Some(thread) })
    }

    fn order(&self, order: Order) -> Result<()> {
        self.shared.is_cancelled.store(false, Ordering::SeqCst);
        self.shared.is_busy.store(true, Ordering::SeqCst);
        let sent = self.orders.as_ref().map(|orders| orders.send(order));
        sent.and_then(Result::ok).ok_or_else(|| anyhow!("a sender has ended"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.is_cancelled.store(true, Ordering::SeqCst);
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Sends what is ordered. Where the interface goes, and where it is down, it tries again.
fn send(interface: &'static str, number: u8, orders: &Receiver<Order>, shared: &Shared) {
    for order in orders {
        let mut frames = Frames::new(number, order.flows, PORT, order.data);
        let mut socket = None;
        let (mut offered, mut in_burst) = (0, 0);
        while offered < order.frames && !shared.is_cancelled.load(Ordering::SeqCst) {
            let count = (BATCH as u64).min(order.frames - offered);
            let open = || packet_socket::open(interface).map(PacketSocket::new).ok();
            socket = socket.or_else(open);
            let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(frames.next());
            let sent = socket.as_mut().and_then(|socket| socket.send(count as usize, fill).ok());
            let Some(sent) = sent else {
                socket = None;
                thread::sleep(BETWEEN_ATTEMPTS);
                continue;
            };
            shared.sent.fetch_add(sent, Ordering::Relaxed);
            offered += count;
            in_burst += count;
            if in_burst >= order.burst {
                in_burst = 0;
                thread::sleep(order.pause);
            }
        }
        shared.is_busy.store(false, Ordering::SeqCst);
    }
}

/// Answers connections one after the other.
fn serve(listener: &TcpListener, shared: &Shared) {
    while !shared.is_over.load(Ordering::SeqCst) {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(BETWEEN_ATTEMPTS);
            continue;
        };
        let mut answer = || {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(ANSWER))?;
            let mut request = [0; 100];
            stream.read_exact(&mut request)?;
            stream.write_all(&request)
        };
        // A client may have given up.
        if answer().is_ok() {
            shared.sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Connects as often as is ordered.
fn connect(address: SocketAddr, orders: &Receiver<Order>, shared: &Shared) {
    for order in orders {
        for _ in 0..order.frames {
            if shared.is_cancelled.load(Ordering::SeqCst) {
                break;
            }
            let talk = || {
                let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
                stream.set_read_timeout(Some(ANSWER))?;
                stream.write_all(&[7; 100])?;
                stream.read_exact(&mut [0; 100])?;
                // The server closes first: its end waits for late packets, and the port is free at once.
                stream.read(&mut [0]).map(drop)
            };
            // Without a network there is no answer.
            let _answered: std::io::Result<()> = talk();
            thread::sleep(BETWEEN_ATTEMPTS);
        }
        shared.is_busy.store(false, Ordering::SeqCst);
    }
}
