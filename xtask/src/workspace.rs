//! The workspace, and the commands run in it.

use std::{
    env,
    ffi::OsString,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The top of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// What cargo says of the workspace and its dependencies.
pub struct Metadata {
    /// The target folder.
    pub target: PathBuf,
    /// The folders that the sources of the dependencies are in, such as one below `~/.cargo/registry/src`.
    pub registries: Vec<PathBuf>,
}

impl Metadata {
    /// Asks `cargo`. Downloads what is not there yet; never changes `Cargo.lock`.
    pub fn read(cargo: &Path) -> Result<Self> {
        let mut command = Command::new(cargo);
        command.current_dir(root()).args(["metadata", "--format-version=1", "--locked"]);
        let metadata: serde_json::Value = serde_json::from_str(&output(&mut command)?)?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
        let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
        let mut registries: Vec<PathBuf> = packages
            .iter()
            .filter(|package| !package["source"].is_null())
            .filter_map(|package| Path::new(package["manifest_path"].as_str()?).ancestors().nth(2))
            .map(Path::to_owned)
            .collect();
        registries.sort();
        registries.dedup();
        Ok(Self { target: target.into(), registries })
    }
}

/// Builds the daemon as it is shipped, and gives its path.
pub fn build_release() -> Result<PathBuf> {
    run(cargo().args(["build", "--release", "--locked", "--package=capture", "--bin=capture"]))?;
    Ok(Metadata::read(Path::new(cargo().get_program()))?.target.join("release/capture"))
}

/// Whether we run as root.
pub fn is_root() -> bool {
    // The owner of /proc/self is the effective user.
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Runs a command; what it prints is seen.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs a command and takes what it prints on its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that is not UTF-8", shown(command)))
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
