//! `cargo xtask bench`.

mod frames;
mod namespace;
mod process;
mod sender;

use std::time::Duration;

use anyhow::Result;

/// Measure capture beside tcpdump
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, default_value_t = 3_000_000)]
    packets: u64,
    #[arg(long)]
    rate: Option<u64>,
    #[arg(long, default_value_t = 8)]
    flows: u32,
    #[arg(long, default_value_t = 1)]
    senders: usize,
    #[arg(long)]
    unmatched: bool,
    #[arg(long)]
    row: Option<String>,
}

pub(crate) fn perform(a: &Arguments) -> Result<()> {
    let network = namespace::Network::new()?;
    let folder = tempfile::tempdir()?;
    let base = sender::Flood { packets: a.packets, flows: a.flows, port: if a.unmatched {9999} else {8888}, senders: a.senders, rate: a.rate };
    let rows: Vec<(&str, &str)> = vec![
        ("none", ""),
        ("tcpdump", "tcpdump -n -i veth1 tcp port 8888"),
        ("tcpdump tuned", "tcpdump -n -i veth1 -B 65536 -s 128 tcp port 8888"),
        ("tcpdump huge", "tcpdump -n -i veth1 -B 1048576 -s 128 tcp port 8888"),
        ("capture", "target/release/capture -i veth1 --port 8888"),
        ("capture xdp", "target/release/capture -i veth1 --port 8888 --hook xdp-native"),
    ];
    for _ in 0..a.rounds {
        for (name, line) in &rows {
            if a.row.as_deref().is_some_and(|row| row != *name) { continue; }
            let command: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let process = if line.is_empty() { None } else {
                Some(process::Process::start(&network.receiver, folder.path(), &command, process::Output::Null)?) };
            let before = network.receiver.received("veth1")?;
            let c0 = process.as_ref().map(|p| p.cpu()).transpose()?.unwrap_or_default();
            let sent = sender::flood(&network.sender, base)?;
            if let Some(p) = &process { p.settle(Duration::from_millis(1200))?; }
            let c1 = process.as_ref().map(|p| p.cpu()).transpose()?.unwrap_or_default();
            let arrived = network.receiver.received("veth1")? - before;
            let ended = match process { Some(p) => p.interrupt()?, None => Default::default() };
            let cpu = c1.total - c0.total;
            println!("{name:15} sent {} arrived {arrived} in {:?} {:.2} Mpps; sender cpu/pkt {:.0} ns wall/pkt {:.0} | captured {} received {} dropped {} unwritten {} | cpu/pkt {:.0} ns u/s {}/{}",
                sent.packets, sent.wall, sent.packets as f64/sent.wall.as_secs_f64()/1e6,
                sent.cpu.as_nanos() as f64/sent.packets as f64, sent.wall.as_nanos() as f64/sent.packets as f64,
                ended.captured, ended.received, ended.dropped, ended.unwritten,
                cpu.as_nanos() as f64/ended.captured.max(1) as f64, c1.user_ticks-c0.user_ticks, c1.system_ticks-c0.system_ticks);
        }
    }
    Ok(())
}
