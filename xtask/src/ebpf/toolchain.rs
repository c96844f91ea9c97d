//! The compiler, linker and tools that make the eBPF object.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    provenance::{PROFILE, Toolchain},
    workspace::{output, root},
};

/// What the programs are compiled for: eBPF, little-endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// The linker's version. It is pinned, as the object's bytes depend on it.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";

/// Names another linker than the one that `cargo xtask setup` built.
const OWN_LINKER: &str = "CAPTURE_BPF_LINKER";

/// Where Debian's rustc-web and cargo-web are. They are named by their paths: rustup's come first on most PATHs.
const DEBIAN: &str = "/usr/bin";

/// A toolchain on this machine.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) cargo: PathBuf,
    rustc: PathBuf,
    bpf_linker: PathBuf,
    pub(crate) llvm_strip: PathBuf,
    /// The folder of the sources that cargo has to compile `core` from, if it is not there compiled.
    pub(crate) core_to_build: Option<PathBuf>,
    /// What is recorded of it.
    pub(crate) record: Toolchain,
}

impl Installed {
    /// Looks for a toolchain: Debian's packages, or else rustup's nightly with its `rust-src`.
    ///
    /// # Errors
    /// Says what is missing, and what installs it.
    pub(crate) fn find() -> Result<Self> {
        Self::look().context("there is no eBPF toolchain (`cargo xtask setup` installs it)")
    }

    fn look() -> Result<Self> {
        let compiler = Compiler::debian().or_else(|debian| {
            Compiler::nightly()
                .with_context(|| format!("neither Debian's ({debian:#}) nor rustup's nightly will do"))
        })?;
        let llvm = compiler.llvm_major()?;
        let bpf_linker = find_bpf_linker(llvm)?;
        let (llvm_strip, strip_version) = find_llvm_strip(&compiler, llvm)?;
        let linker_version = output(Command::new(&bpf_linker).arg("--version"))?;
        let stripped_by = if strip_version == compiler.llvm {
            String::new()
        } else {
            format!(", stripped by {strip_version}")
        };
        let record = Toolchain {
            rustc: compiler.version.clone(),
            llvm: format!("{}{stripped_by}", compiler.llvm),
            bpf_linker: linker_version.trim().trim_start_matches("bpf-linker ").to_owned(),
            core: compiler.core(),
        };
        let core_to_build = compiler.build_core.then(|| compiler.sources());
        let Compiler { cargo, rustc, .. } = compiler;
        Ok(Self { cargo, rustc, bpf_linker, llvm_strip, core_to_build, record })
    }

    /// A command of this toolchain's cargo that compiles the package for [`TARGET`], and takes no settings from the
    /// user's environment. Its clippy is a cargo too, which runs the other.
    pub(crate) fn cargo(&self, tool: &str, subcommand: &str) -> Command {
        let mut command = Command::new(self.cargo.with_file_name(tool));
        command.current_dir(root()).args([subcommand, "--locked", "--target", TARGET, "--profile", PROFILE]);
        for variable in [
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "CARGO_BUILD_TARGET",
        ] {
            command.env_remove(variable);
        }
        command
            .env("CARGO", &self.cargo)
            .env("RUSTC", &self.rustc)
            .env("RUSTDOC", self.rustc.with_file_name("rustdoc"));
        command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.bpf_linker);
        // The target is not one that stable compilers admit to.
        command.env("RUSTC_BOOTSTRAP", "1");
        if self.core_to_build.is_some() {
            command.arg("-Zbuild-std=core");
        }
        command
    }
}

/// A compiler for [`TARGET`].
pub(crate) struct Compiler {
    cargo: PathBuf,
    rustc: PathBuf,
    sysroot: PathBuf,
    build_core: bool,
    /// As in `1.96.0 (ac68faa20 2026-05-25)`.
    version: String,
    /// As in `22.1.8`.
    llvm: String,
}

impl Compiler {
    /// Debian's rustc-web, which has a `core` for eBPF in a package of its own.
    pub(crate) fn debian() -> Result<Self> {
        let compiler = Self::new(Path::new(DEBIAN).join("cargo"), Path::new(DEBIAN).join("rustc"), false)?;
        let library = compiler.sysroot.join("lib/rustlib").join(TARGET);
        ensure!(library.exists(), "{} is missing: the package libstd-rust-web-dev-bpf", library.display());
        Ok(compiler)
    }

    /// rustup's nightly, which compiles `core` from its sources.
    fn nightly() -> Result<Self> {
        let which = |tool: &str| -> Result<PathBuf> {
            // rustup says on standard error what is missing; here that is no error yet.
            let mut command = Command::new("rustup");
            let found =
                command.args(["which", "--toolchain", "nightly", tool]).stderr(Stdio::null()).output();
            let found = found.ok().filter(|found| found.status.success()).context("it is not installed")?;
            let path = String::from_utf8(found.stdout)?;
            Ok(path.trim().into())
        };
        let compiler = Self::new(which("cargo")?, which("rustc")?, true)?;
        ensure!(compiler.sources().exists(), "it has no sources of `core`: the component rust-src");
        Ok(compiler)
    }

    fn new(cargo: PathBuf, rustc: PathBuf, build_core: bool) -> Result<Self> {
        for tool in [&cargo, &rustc, &cargo.with_file_name("cargo-clippy"), &rustc.with_file_name("rustdoc")]
        {
            ensure!(tool.exists(), "{} is missing", tool.display());
        }
        let verbose = output(Command::new(&rustc).arg("-vV"))?;
        let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let version = field("rustc ").with_context(|| format!("{} -vV names no version", rustc.display()))?;
        let llvm =
            field("LLVM version: ").with_context(|| format!("{} -vV names no LLVM", rustc.display()))?;
        let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?.trim().into();
        Ok(Self { cargo, rustc, sysroot, build_core, version, llvm })
    }

    /// The major version of the LLVM it writes bitcode for. The linker and the tools need the same.
    pub(crate) fn llvm_major(&self) -> Result<u32> {
        let major = self.llvm.split('.').next().unwrap_or_default();
        major.parse().with_context(|| format!("{} is not an LLVM version", self.llvm))
    }

    /// The sources of `core`. BTF quotes them, if they are there.
    fn sources(&self) -> PathBuf {
        if self.build_core {
            return self.sysroot.join("lib/rustlib/src/rust/library/core");
        }
        // The path that Debian's prebuilt library records, where the package rust-web-src puts them.
        let release = self.version.split(' ').next().unwrap_or_default();
        PathBuf::from(format!("/usr/src/rustc-{release}/library/core"))
    }

    fn core(&self) -> String {
        let made = if self.build_core { "built" } else { "prebuilt" };
        let quoted = if self.sources().exists() { "with" } else { "without" };
        format!("{made}, {quoted} sources")
    }
}

/// Where `cargo xtask setup` installs the linker: a folder of the project's own, shared by all checkouts.
pub(crate) fn linker_folder(llvm: u32) -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => env::home_dir().context("neither XDG_CACHE_HOME nor HOME is set")?.join(".cache"),
    };
    Ok(cache.join(format!("capture-xtask/bpf-linker-{BPF_LINKER_VERSION}-llvm-{llvm}")))
}

/// The linker that the environment names.
pub(crate) fn own_linker() -> Option<PathBuf> {
    env::var_os(OWN_LINKER).map(PathBuf::from)
}

fn find_bpf_linker(llvm: u32) -> Result<PathBuf> {
    if let Some(path) = own_linker() {
        return Ok(path);
    }
    let ours = linker_folder(llvm)?.join("bin/bpf-linker");
    match ours.exists().then_some(ours).or_else(|| on_path("bpf-linker")) {
        Some(path) => Ok(path),
        None => bail!("bpf-linker is missing"),
    }
}

fn find_llvm_strip(compiler: &Compiler, llvm: u32) -> Result<(PathBuf, String)> {
    let rustup = fs::read_dir(compiler.sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
    let candidates = [PathBuf::from(format!("/usr/lib/llvm-{llvm}/bin/llvm-strip"))]
        .into_iter()
        .chain(rustup.map(|host| host.path().join("bin/llvm-strip")))
        .chain(on_path(&format!("llvm-strip-{llvm}")))
        .chain(on_path("llvm-strip"));
    let path = candidates.into_iter().find(|path| path.exists()).context("llvm-strip is missing")?;
    let text = output(Command::new(&path).arg("--version"))?;
    let version = text.split_once("LLVM version ").and_then(|(_, rest)| rest.split_whitespace().next());
    let version =
        version.with_context(|| format!("{} --version names no version", path.display()))?.to_owned();
    Ok((path, version))
}

fn on_path(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.exists())
}
