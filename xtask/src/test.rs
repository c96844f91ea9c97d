//! `cargo xtask test`.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    ebpf, runner,
    workspace::{self, cargo, is_root},
};

/// Run all tests
///
/// cargo-nextest runs each test in a process of its own, names those that are slow, and ends those that hang.
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

    /// Arguments for cargo nextest run, such as `--package capture --test live loopback`
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
    runner::find()?;
    let tests = || -> Result<()> {
        // The committed object comes last, so that what is on the screen in the end is about what is shipped.
        if let Some(object) = other_object(ci)? {
            println!("tests against {}", object.display());
            run(arguments, as_root, Some(&object))?;
            println!("tests against the committed object");
        }
        run(arguments, as_root, None)
    };
    if arguments.arguments.is_empty() {
        // nextest does not run the examples in the documentation. rustdoc looks through one crate after the other for them,
        // and leaves a CPU to the compiler.
        thread::scope(|scope| {
            let examples = scope.spawn(examples);
            let tested = tests();
            let examined = examples.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            tested.and(examined)
        })?;
    } else {
        tests()?;
    }
    if !as_root { report_skipped(arguments) } else { Ok(()) }
}

/// Runs the examples in the documentation. What cargo says of them comes at once, when they have ended.
fn examples() -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--locked", "--doc"]);
    let output = command.output().with_context(|| format!("cannot run {}", workspace::shown(&command)))?;
    eprint!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    if !output.status.success() {
        bail!("`{}` failed: {}", workspace::shown(&command), output.status);
    }
    Ok(())
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
    let command = |more: &[&str]| {
        let mut command = nextest("run", more, arguments);
        // Most tests wait most of the time.
        let at_once = 3 * thread::available_parallelism().map_or(1, usize::from);
        command.env("NEXTEST_TEST_THREADS", at_once.to_string());
        if let Some(object) = object {
            command.env("CAPTURE_EBPF_OBJECT", object);
            if arguments.arguments.is_empty() {
                command.args(TESTS_OF_THE_OBJECT);
            }
        }
        command
    };
    let options = ["--no-fail-fast", "--run-ignored", if as_root { "all" } else { "default" }];
    if arguments.sudo && !is_root() {
        // Built first, as the user: then there is nothing left to do for root's cargo but to run.
        workspace::run(&mut command(&["--no-run"]))?;
        return workspace::run(&mut with_sudo(&command(&options))?);
    }
    workspace::run(&mut command(&options))
}

/// The command as root, in the user's environment: sudo keeps neither the search path nor, always, the home folder,
/// and cargo is in one and its downloads are in the other.
fn with_sudo(command: &Command) -> Result<Command> {
    let mut sudo = Command::new("sudo");
    sudo.current_dir(workspace::root()).args(["--preserve-env", "--", "env"]);
    for name in ["PATH", "HOME"] {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(env::var_os(name).with_context(|| format!("{name} is not set"))?);
        sudo.arg(setting);
    }
    for (name, value) in command.get_envs() {
        let mut setting = name.to_owned();
        setting.push("=");
        setting.push(value.unwrap_or_default());
        sudo.arg(setting);
    }
    sudo.arg(command.get_program()).args(command.get_args());
    Ok(sudo)
}

/// Tests that need root carry `#[ignore = "needs root"]`. Says which those are, as they did not run.
fn report_skipped(arguments: &Arguments) -> Result<()> {
    let options = ["--run-ignored=only", "--message-format=oneline", "--cargo-quiet"];
    let mut list = nextest("list", &options, arguments);
    let skipped = workspace::output(&mut list)?;
    if !skipped.is_empty() {
        eprintln!("\nSKIPPED, as they need root: {} tests", skipped.lines().count());
        skipped.lines().for_each(|name| eprintln!("  {name}"));
        eprintln!("`cargo xtask test --sudo` runs them.");
    }
    Ok(())
}

fn nextest(task: &str, options: &[&str], arguments: &Arguments) -> Command {
    let mut command = cargo();
    command.args(["nextest", task, "--locked"]).args(options).args(&arguments.arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_gets_the_users_environment_and_the_same_command() {
        let mut command = Command::new("/opt/cargo");
        command.args(["nextest", "run"]).env("CAPTURE_EBPF_OBJECT", "/tmp/object");
        let shown = workspace::shown(&with_sudo(&command).unwrap());
        let (path, home) = (env::var("PATH").unwrap(), env::var("HOME").unwrap());
        assert_eq!(
            shown,
            format!(
                "sudo --preserve-env -- env PATH={path} HOME={home} CAPTURE_EBPF_OBJECT=/tmp/object \
                 /opt/cargo nextest run"
            )
        );
    }
}
