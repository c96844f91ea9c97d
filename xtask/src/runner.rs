//! The program that runs the tests: cargo-nextest.

use anyhow::{Result, bail};

use crate::workspace::{self, cargo};

/// The version that CI runs the tests with.
const VERSION: &str = "0.9.143";

/// Fails if it is not there.
pub(crate) fn find() -> Result<()> {
    let found = cargo().args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    if !found {
        bail!(
            "the tests run under cargo-nextest, which is not here. `cargo xtask setup` installs it, and so does \
             `cargo install --locked cargo-nextest@{VERSION}`. (`cargo test` alone runs them too, without a limit.)"
        );
    }
    Ok(())
}

/// Builds it into cargo's own folder, unless some version is there.
pub(crate) fn install() -> Result<()> {
    if find().is_ok() {
        return Ok(());
    }
    println!("building cargo-nextest {VERSION}");
    let mut command = cargo();
    command.args(["install", "--locked", &format!("cargo-nextest@{VERSION}")]);
    command.args(["--no-default-features", "--features=default-no-update"]);
    // It waits for tests: its own code need not be optimized, which is most of the time that it takes to build.
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    workspace::run(&mut command)
}
