//! Puts the eBPF object where `capture` embeds it: `capture.bpf.o` in `OUT_DIR`.
//!
//! That is the committed object, if it is what the source in this repository gives, or the one that the environment
//! variable `CAPTURE_EBPF_OBJECT` names: for packagers who compile their own, and for the tests of a second toolchain.

#[path = "build/provenance.rs"]
mod provenance;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};

/// Names an object to embed instead of the committed one. It is not compared with the source.
const OWN_OBJECT: &str = "CAPTURE_EBPF_OBJECT";

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<()> {
    println!("cargo::rerun-if-env-changed={OWN_OBJECT}");
    let object = match env::var_os(OWN_OBJECT) {
        Some(path) => own_object(Path::new(&path))?,
        None => committed_object()?,
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?).join("capture.bpf.o");
    fs::write(&out, object).with_context(|| format!("cannot write {}", out.display()))
}

fn committed_object() -> Result<Vec<u8>> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?);
    let root = package.parent().context("the package is in the workspace's folder")?;
    let inputs = ["Cargo.toml", "Cargo.lock", provenance::OBJECT, provenance::PROVENANCE];
    for input in provenance::SOURCES.into_iter().chain(inputs) {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    Ok(provenance::verify(root)?.0)
}

fn own_object(path: &Path) -> Result<Vec<u8>> {
    println!("cargo::rerun-if-changed={}", path.display());
    ensure!(path.is_absolute(), "{OWN_OBJECT}: {} is not an absolute path", path.display());
    let object = fs::read(path).with_context(|| format!("{OWN_OBJECT}: cannot read {}", path.display()))?;
    // The first bytes of an ELF header: magic, 64 bits, little-endian; `e_machine` at offset 18: 247 is EM_BPF.
    let is_bpf = object.starts_with(b"\x7fELF\x02\x01") && object.get(18..20) == Some(&[247, 0]);
    ensure!(is_bpf, "{OWN_OBJECT}: {} is not a 64-bit little-endian eBPF ELF object", path.display());
    Ok(object)
}
