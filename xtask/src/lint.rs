//! `cargo xtask lint`.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    ebpf,
    workspace::{self, cargo},
};

/// Check formatting, lints and documentation, of the programs in the kernel too
///
/// rustfmt, clippy with warnings as errors, and rustdoc with private items: once for the host, and once for eBPF,
/// which needs the toolchain that `cargo xtask setup` installs. It goes on after a failure, so that one run shows all
/// faults. `cargo fmt --all` fixes the formatting.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn perform(_: &Arguments) -> Result<()> {
    let tools = ebpf::toolchain::Installed::find()?;
    let mut fmt = cargo();
    fmt.args(["fmt", "--all", "--check"]);
    let mut clippy = cargo();
    clippy.args(["clippy", "--locked", "--all-targets", "--", "--deny=warnings"]);
    let mut doc = cargo();
    doc.args(["doc", "--locked", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny=warnings");
    let steps = [
        ("formatting", fmt),
        ("clippy", clippy),
        ("documentation", doc),
        ("clippy for eBPF", ebpf::clippy(&tools)?),
        ("documentation for eBPF", ebpf::doc(&tools)?),
    ];
    let failed: Vec<&str> = steps.into_iter().filter_map(|(name, command)| fails(name, command)).collect();
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    println!("lint: all clean");
    Ok(())
}

fn fails(name: &'static str, mut command: Command) -> Option<&'static str> {
    println!("lint: {name}");
    let error = workspace::run(&mut command).err()?;
    eprintln!("xtask: {error:#}");
    Some(name)
}
