//! `cargo xtask run`.

use std::{env, ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::{Result, anyhow};

use crate::workspace::{self, cargo, is_root};

/// Build capture and run it, as root
///
/// Builds `capture` in release, as you, and then runs it: directly if you are root, and with sudo if not. It gets
/// everything that follows `--`; if nothing does, it traces port 8888 on the loopback interface. Its exit code is
/// that of this command, and Ctrl-C ends it as if it had been started by itself.
///
/// `cargo xtask run -- --help` shows what capture can do.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments for capture [default: --iface lo --port 8888]
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// As the alias `xtask` in .cargo/config.toml: progress is shown while something is built, and nothing else.
const QUIETLY: [&str; 5] =
    ["--quiet", "--config", "term.progress.when='always'", "--config", "term.progress.width=80"];

const DEFAULT: [&str; 4] = ["--iface", "lo", "--port", "8888"];

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--release", "--locked", "--package=capture", "--bin=capture"]);
    if has_been_built() {
        command.args(QUIETLY);
    }
    if !is_root() {
        command.args(["--config", "target.'cfg(all())'.runner = ['sudo', '--']"]);
    }
    command.arg("--").args(arguments.of_capture());
    // cargo replaces itself by what it runs too, so capture (or sudo, which passes signals on) takes our place: its
    // exit code, the terminal's signals and those sent to our process are its own.
    Err(anyhow!(command.exec()).context(format!("cannot run {}", workspace::shown(&command))))
}

/// Whether there is a binary, of this source or an older one. If not, cargo says in full what it builds and runs.
fn has_been_built() -> bool {
    // TARGET/debug/xtask is ourselves.
    let target = env::current_exe().ok().and_then(|xtask| Some(xtask.parent()?.parent()?.to_owned()));
    target.is_some_and(|target| target.join("release/capture").exists())
}

impl Arguments {
    fn of_capture(&self) -> Vec<OsString> {
        if self.arguments.is_empty() { DEFAULT.map(OsString::from).to_vec() } else { self.arguments.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn of_capture(typed: &[&str]) -> Vec<OsString> {
        let typed = ["cargo xtask", "run"].iter().chain(typed);
        match crate::Arguments::try_parse_from(typed).map(|parsed| parsed.task) {
            Ok(crate::Task::Run(arguments)) => arguments.of_capture(),
            Ok(_) => panic!("another task"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn everything_after_the_dashes_is_passed_on() {
        assert_eq!(of_capture(&["--", "--help"]), ["--help"]);
        assert_eq!(of_capture(&["--", "-i", "eth0", "--", "x"]), ["-i", "eth0", "--", "x"]);
    }

    #[test]
    fn nothing_after_the_dashes_is_the_walk_through() {
        assert_eq!(of_capture(&[]), DEFAULT);
        assert_eq!(of_capture(&["--"]), DEFAULT);
    }
}
