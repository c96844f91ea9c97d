//! `cargo xtask setup`.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    ebpf::toolchain::{self, BPF_LINKER_VERSION, Compiler, Installed},
    runner,
    workspace::{self, cargo, is_root},
};

/// Install what test, build-ebpf and lint need besides stable Rust
///
/// Building and running capture needs none of it: the compiled programs are committed.
///
/// cargo-nextest, which runs the tests, is built into cargo's own folder. On Debian this task then installs, with apt,
/// a Rust compiler that knows eBPF, under /usr/bin: rustup's comes before it on the PATH and stays the one in use. Then
/// it builds the linker, bpf-linker, into ~/.cache/capture-xtask. It asks for root through sudo, for apt only, and
/// removes no package. It leaves alone what is installed already, so that you can run it again at any time. On other
/// systems it changes nothing and prints what to install.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install nothing: say which toolchain is there, or what is missing, and fail if anything is
    #[arg(long)]
    check: bool,
}

/// Debian's compiler, its cargo and clippy, and `core` for eBPF. The compiler follows Firefox's needs through the
/// security updates of a stable Debian, so its version moves.
const DEBIAN_RUST: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-clippy", "libstd-rust-web-dev-bpf"];

const ELSEWHERE: &str = "\
This is not a Debian system with the package libstd-rust-web-dev-bpf (Debian 12 has it). Install by hand:

  1. rustup's nightly, which compiles `core` for eBPF from its sources:
       rustup toolchain install nightly --component rust-src,clippy,llvm-tools
  2. LLVM's development files, of the major version that `rustc +nightly -vV` names (NN below)
  3. bpf-linker, made for the same LLVM:
       LLVM_PREFIX=/usr/lib/llvm-NN cargo install bpf-linker --version VERSION --locked \\
         --no-default-features --features llvm-NN

`cargo xtask setup --check` says what is missing. The object that another toolchain makes than the one recorded
in capture/ebpf/provenance.toml differs in its bytes: commit one only if the tests pass with it.";

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    if arguments.check {
        runner::find()?;
    } else {
        runner::install()?;
        if apt_has(DEBIAN_RUST[3]) {
            install()?;
        } else if Installed::find().is_err() {
            bail!("{}", ELSEWHERE.replace("VERSION", BPF_LINKER_VERSION));
        }
    }
    println!("eBPF toolchain: {}", Installed::find()?.record);
    Ok(())
}

fn install() -> Result<()> {
    if Compiler::debian().is_err() {
        apt_install(&DEBIAN_RUST)?;
    }
    // The linker has to read the bitcode of just this compiler.
    let llvm = Compiler::debian()?.llvm_major()?;
    let prefix = format!("/usr/lib/llvm-{llvm}");
    if !["bin/llvm-strip", "bin/llvm-config"].iter().all(|tool| Path::new(&prefix).join(tool).exists()) {
        apt_install(&[&format!("llvm-{llvm}"), &format!("llvm-{llvm}-dev")])?;
    }
    let folder = toolchain::linker_folder(llvm)?;
    if toolchain::own_linker().is_none() && !folder.join("bin/bpf-linker").exists() {
        println!("building bpf-linker {BPF_LINKER_VERSION} for LLVM {llvm} into {}", folder.display());
        // cargo warns of a folder that is not on the PATH; this one need not be there.
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(env::split_paths(&path).chain([folder.join("bin")]))?;
        let feature = format!("llvm-{llvm}");
        let mut command = cargo();
        command.args(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked"]);
        command.args(["--no-default-features", "--features", &feature, "--root"]).arg(&folder);
        // Nearly all of its work is LLVM's, so that its own code need not be optimized: half the time to build.
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        command.env("LLVM_PREFIX", &prefix).env("PATH", path);
        workspace::run(&mut command)
            .with_context(|| format!("bpf-linker {BPF_LINKER_VERSION} could not be built for LLVM {llvm}"))?;
    }
    Ok(())
}

/// Whether apt is there and could install `package`.
fn apt_has(package: &str) -> bool {
    if !Path::new("/usr/bin/apt-get").exists() {
        return false;
    }
    let known = || {
        Command::new("apt-cache").args(["show", package]).output().is_ok_and(|shown| shown.status.success())
    };
    // A fresh system, such as a container's, has no lists of packages yet.
    known() || (is_debian() && apt(&["update"]).is_ok() && known())
}

fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "ID=debian")
}

fn apt_install(packages: &[&str]) -> Result<()> {
    apt(&["update"])?;
    println!("installing {}", packages.join(" "));
    // rustc-web takes the place of Debian's older rustc: where somebody has that one, apt shall refuse.
    let mut arguments = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    arguments.extend(packages);
    apt(&arguments)
}

/// Runs apt-get as root. Mirrors fail now and then: it tries each file three times more.
fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = if is_root() { Command::new("apt-get") } else { Command::new("sudo") };
    if !is_root() {
        command.arg("apt-get");
    }
    command
        .args(["-o", "Acquire::Retries=3", "-o", "APT::Update::Error-Mode=any", "--quiet"])
        .args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    workspace::run(&mut command)
}
