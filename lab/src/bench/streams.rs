//! Real TCP on loopback: what a request and its response, and a bulk transfer, feel of being watched.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{
    Bench, FEWER_ROUNDS, cpu,
    process::{Output, Process},
    quiet::percentile,
    results::{Quantity, Table},
    tools::Tool,
};
use crate::frames::PORT;

const TOOLS: [Tool; 4] = [Tool::NONE, Tool::UNSET, Tool::TCPDUMP, Tool::CAPTURE];

/// Bytes per write of the bulk transfer.
const CHUNK: usize = 128 * 1024;

/// A connection on the loopback interface of the receiving namespace: the client's end, and the server's.
fn connection(bench: &Bench) -> Result<(TcpStream, TcpStream)> {
    bench.namespaces.receiver.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
        let (server, _) = listener.accept()?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok((client, server))
    })
}

/// One byte there, one byte back, both ends on CPU 0, so that the other CPUs are the listener's.
pub(super) fn round_trips(bench: &Bench, profile: &'static str) -> Result<Table> {
    let count = if bench.quick { 500 } else { 50_000 };
    let title = format!("{count} requests and responses of one byte on loopback, both ends on one CPU");
    let mut table = Table::new(profile, title, TOOLS.map(|tool| tool.name));
    watched(bench, &mut table, |bench, table, tool| {
        let (client, server) = connection(bench)?;
        let server = thread::Builder::new().name("server".to_owned()).spawn(move || echo(server))?;
        let client = thread::Builder::new().name("client".to_owned()).spawn(move || ask(client, count))?;
        let mut latencies = client.join().map_err(|_| anyhow!("the client panicked"))??;
        server.join().map_err(|_| anyhow!("the server panicked"))??;
        latencies.sort();
        for (quantity, share) in [(Quantity::MedianLatency, 0.5), (Quantity::TailLatency, 0.99)] {
            let latency = percentile(&latencies, share).context("no round trip")?;
            table.add(tool.name, quantity, latency.as_nanos() as f64 / 1e3);
        }
        Ok(())
    })?;
    Ok(table)
}

fn echo(mut stream: TcpStream) -> Result<()> {
    cpu::pin(0)?;
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

fn ask(mut stream: TcpStream, count: usize) -> Result<Vec<Duration>> {
    cpu::pin(0)?;
    let mut latencies = Vec::with_capacity(count);
    let mut byte = [0];
    for _ in 0..count {
        let start = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}

/// As many bytes as fit through a connection, both ends on CPU 0.
pub(super) fn bulk(bench: &Bench, profile: &'static str) -> Result<Table> {
    let size: usize = if bench.quick { 16 << 20 } else { 1 << 30 };
    let title = format!("{} MiB through one connection on loopback, both ends on one CPU", size >> 20);
    let mut table = Table::new(profile, title, TOOLS.map(|tool| tool.name));
    watched(bench, &mut table, |bench, table, tool| {
        let (client, server) = connection(bench)?;
        let start = Instant::now();
        let server = thread::Builder::new().name("server".to_owned()).spawn(move || drain(server))?;
        let client = thread::Builder::new().name("client".to_owned()).spawn(move || pour(client, size))?;
        let client_cpu = client.join().map_err(|_| anyhow!("the client panicked"))??;
        let (arrived, server_cpu) = server.join().map_err(|_| anyhow!("the server panicked"))??;
        ensure!(arrived == size, "{arrived} bytes arrived of {size}");
        let rate = size as f64 / start.elapsed().as_secs_f64() / 1e6;
        table.add(tool.name, Quantity::Throughput, rate);
        let cpu = (client_cpu + server_cpu).as_nanos() as f64;
        table.add(tool.name, Quantity::CpuPerByte, cpu / (size as f64 / 1024.0));
        Ok(())
    })?;
    Ok(table)
}

fn pour(mut stream: TcpStream, size: usize) -> Result<Duration> {
    cpu::pin(0)?;
    let start = cpu::of_thread()?;
    let chunk = vec![0; CHUNK];
    for _ in 0..size / CHUNK {
        stream.write_all(&chunk)?;
    }
    Ok(cpu::of_thread()? - start)
}

fn drain(mut stream: TcpStream) -> Result<(usize, Duration)> {
    cpu::pin(0)?;
    let start = cpu::of_thread()?;
    let mut chunk = vec![0; CHUNK];
    let mut arrived = 0;
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok((arrived, cpu::of_thread()? - start)),
            length => arrived += length,
        }
    }
}

/// Runs `traffic` while each program listens in turn, and adds what it says of itself.
fn watched(
    bench: &Bench,
    table: &mut Table,
    traffic: impl Fn(&Bench, &mut Table, Tool) -> Result<()>,
) -> Result<()> {
    for round in 0..bench.rounds.min(FEWER_ROUNDS) {
        for tool in TOOLS {
            bench.progress(table.profile, round, tool);
            if !tool.listens() {
                traffic(bench, table, tool)?;
                continue;
            }
            let command = tool.listen(&bench.capture, "lo", "");
            let listener = Process::start(&bench.namespaces.receiver, bench.folder, &command, Output::Null)?;
            let before = listener.cpu()?;
            traffic(bench, table, tool)?;
            listener.settle(tool.quiet())?;
            let used = listener.cpu()?.since(&before).total.as_nanos() as f64;
            let ended = listener.interrupt()?;
            ensure!(ended.captured > 0, "{} printed nothing", tool.name);
            if tool.is_capture() {
                let accounted = ended.captured + ended.dropped + ended.unwritten;
                ensure!(
                    ended.received == accounted,
                    "{} does not account for every packet: {ended:?}",
                    tool.name
                );
            }
            // What tcpdump received is twice what there is on loopback: it sees each packet leave and arrive, and
            // libpcap throws one of the two away.
            let lost = ended.dropped as f64 / ended.received.max(1) as f64 * 100.0;
            table.add(tool.name, Quantity::Delivered, ended.captured as f64);
            table.add(tool.name, Quantity::Lost, lost);
            table.add(tool.name, Quantity::DaemonCpu, used / ended.captured as f64);
        }
    }
    Ok(())
}
