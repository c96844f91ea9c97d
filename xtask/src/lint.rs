//! `cargo xtask lint`.

use anyhow::{Result, bail};

use crate::{
    ebpf, words,
    workspace::{self, cargo},
};

/// Check formatting, lints, documentation and words, of the programs in the kernel too
///
/// rustfmt, clippy with warnings as errors, and rustdoc with private items: once for the host, and once for eBPF,
/// which needs the toolchain that `cargo xtask setup` installs. Then the words that CONTRIBUTING.md rules out. It goes on after a failure, so that one run shows all
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
    let mut failed: Vec<&str> = steps
        .into_iter()
        .filter_map(|(name, mut command)| fails(name, || workspace::run(&mut command)))
        .collect();
    failed.extend(fails("words", words::check));
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    println!("lint: all clean");
    Ok(())
}

fn fails(name: &'static str, check: impl FnOnce() -> Result<()>) -> Option<&'static str> {
    println!("lint: {name}");
    let error = check().err()?;
    eprintln!("xtask: {error:#}");
    Some(name)
}
