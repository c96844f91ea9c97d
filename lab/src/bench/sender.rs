//! The raw sender: whole frames through a packet socket that goes around the queueing discipline, as fast as a core
//! can.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use test_support::namespace::Namespace;

use super::{cpu, namespace::SENDER, results::Samples};
use crate::{
    frames::Frames,
    packet_socket::{self, BATCH, PacketSocket},
};

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flood {
    /// Frames, of all senders together.
    pub(super) packets: u64,
    /// Flows of each sender.
    pub(super) flows: u32,
    /// Destination port.
    pub(super) port: u16,
    /// How many CPUs send, from number 0 on.
    pub(super) senders: usize,
    /// Bytes of data in each.
    pub(super) data: usize,
    /// Frames per second and sender; as fast as possible if `None`.
    pub(super) rate: Option<u64>,
}

/// What sending cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Frames that the interface took.
    pub(super) packets: u64,
    /// From the first to the last.
    pub(super) wall: Duration,
    /// CPU time of the sending threads. All that the kernel does for a packet up to the receiving stack is in it, the
    /// taps and programs there too, except what a `ksoftirqd` took over.
    pub(super) cpu: Duration,
    /// Nanoseconds per frame in the system call that took the median time: what a frame costs its sender while no
    /// other thread is given the CPU. Not known of live XDP frames, which are one call.
    pub(super) typical: Option<f64>,
}

/// Sends from as many threads as there are senders, each on a CPU of its own.
pub(super) fn flood(namespace: &Namespace, flood: Flood) -> Result<Sent> {
    let Flood { packets, flows, port, senders, data, rate } = flood;
    let mut threads = Vec::new();
    for number in 0..senders {
        let socket = namespace.run(|| packet_socket::open(SENDER))?;
        let share = packets / senders as u64;
        threads.push(thread::Builder::new().name("sender".to_owned()).spawn(move || {
            cpu::pin(number)?;
            send(PacketSocket::new(socket), &mut Frames::new(number as u8, flows, port, data), share, rate)
        })?);
    }
    let mut total = Sent::default();
    let mut typical = Vec::new();
    for thread in threads {
        let sent: Sent = thread.join().map_err(|_| anyhow!("a sender panicked"))??;
        total.packets += sent.packets;
        total.wall = total.wall.max(sent.wall);
        total.cpu += sent.cpu;
        typical.extend(sent.typical);
    }
    total.typical = Samples(typical).median();
    Ok(total)
}

/// Sends `packets` frames.
fn send(mut socket: PacketSocket, frames: &mut Frames, packets: u64, rate: Option<u64>) -> Result<Sent> {
    let (start, cpu_start) = (Instant::now(), cpu::of_thread()?);
    let (mut sent, mut offered) = (0, 0);
    let mut batches = Vec::with_capacity(packets.div_ceil(BATCH as u64) as usize);
    while offered < packets {
        let batch = BATCH.min((packets - offered) as usize);
        let batch_start = Instant::now();
        sent += socket.send(batch, |buffer| buffer.extend_from_slice(frames.next()))?;
        batches.push(batch_start.elapsed().as_nanos() as f64 / batch as f64);
        offered += batch as u64;
        if let Some(rate) = rate {
            let due = start + Duration::from_nanos(offered * 1_000_000_000 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    let (wall, cpu) = (start.elapsed(), cpu::of_thread()? - cpu_start);
    Ok(Sent { packets: sent, wall, cpu, typical: Samples(batches).median() })
}
