//! `cargo xtask test`.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    ebpf,
    workspace::{self, cargo, is_root},
};

/// Run all tests
///
/// Many tests load the programs into the kernel and send packets through network namespaces of their own. They need
/// root, tcpdump, iproute2 and tzdata. Without root they are skipped, and named at the end; with the environment
/// variable CI=true that is an error.
///
/// If the eBPF toolchain here is another than the one that made the committed object, the tests run twice: also
/// against an object that it builds.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Build as you, and run the tests with sudo
    #[arg(long)]
    sudo: bool,

    /// Arguments for cargo test, such as `--package capture --test live`
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// The packages whose tests the object in the kernel is part of.
const TESTS_OF_THE_OBJECT: [&str; 2] = ["--package", "capture"];

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    let ci = env::var_os("CI").is_some_and(|value| value == "true");
    let as_root = is_root() || arguments.sudo;
    if ci && !as_root {
        bail!("CI=true, so no test may be skipped, and many need root: run `cargo xtask test` as root");
    }
    // The committed object comes last, so that what is on the screen in the end is about what is shipped.
    if let Some(object) = other_object(ci)? {
        println!("tests against {}", object.display());
        run(arguments, as_root, Some(&object))?;
        println!("tests against the committed object");
    }
    run(arguments, as_root, None)?;
    if !as_root { report_skipped(arguments) } else { Ok(()) }
}

/// An object that the toolchain here made, if that is not the one which made the committed object.
fn other_object(ci: bool) -> Result<Option<PathBuf>> {
    match ebpf::toolchain::Installed::find() {
        Ok(tools) => ebpf::build_other(&tools),
        Err(error) if ci => Err(error),
        Err(_) => {
            println!(
                "There is no eBPF toolchain here: the tests run against the committed object, which is not rebuilt."
            );
            Ok(None)
        }
    }
}

fn run(arguments: &Arguments, as_root: bool, object: Option<&Path>) -> Result<()> {
    let mut command = cargo_test(arguments);
    command.arg("--no-fail-fast");
    if let Some(object) = object {
        command.env("CAPTURE_EBPF_OBJECT", object);
        if arguments.arguments.is_empty() {
            command.args(TESTS_OF_THE_OBJECT);
        }
    }
    if arguments.sudo && !is_root() {
        command.args(["--config", "target.'cfg(all())'.runner = ['sudo', '--preserve-env', '--']"]);
    }
    if as_root {
        command.args(["--", "--include-ignored"]);
    }
    workspace::run(&mut command)
}

/// Tests that need root carry `#[ignore = "needs root"]`. Says which those are, as they did not run.
fn report_skipped(arguments: &Arguments) -> Result<()> {
    let mut command = cargo_test(arguments);
    command.args(["--quiet", "--", "--ignored", "--list", "--format=terse"]);
    let listed = workspace::output(&mut command)?;
    let skipped = skipped(&listed);
    if !skipped.is_empty() {
        eprintln!("\nSKIPPED, as they need root: {} tests", skipped.len());
        for name in &skipped {
            eprintln!("  {name}");
        }
        eprintln!("`cargo xtask test --sudo` runs them.");
    }
    Ok(())
}

/// The tests in what `--list --format=terse` prints, one `name: test` to a line.
fn skipped(listed: &str) -> Vec<&str> {
    listed.lines().filter_map(|line| line.strip_suffix(": test")).collect()
}

fn cargo_test(arguments: &Arguments) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked"]).args(&arguments.arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_tests_are_found_in_cargos_list() {
        let listed =
            "live::loopback: test\nlive::veth: test\n\nsrc/lib.rs - f (line 3): test\nbench: benchmark\n";
        assert_eq!(skipped(listed), ["live::loopback", "live::veth", "src/lib.rs - f (line 3)"]);
        assert!(skipped("\n").is_empty());
    }
}
