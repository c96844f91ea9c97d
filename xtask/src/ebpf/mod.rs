//! `cargo xtask build-ebpf`.

mod btf;
pub(crate) mod toolchain;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    provenance::{self, OBJECT, PACKAGE, PROFILE, PROVENANCE, Provenance, REBUILD, RUSTFLAGS},
    workspace::{self, Metadata, root},
};
use toolchain::{Installed, TARGET};

/// Build the programs in the kernel, or prove the committed object
///
/// Compiles capture-ebpf into capture/ebpf/capture.bpf.o, and records its sources and the toolchain next to it. Run
/// it, and commit the result, after every change of capture-ebpf or capture-common. `cargo xtask setup` installs the
/// toolchain.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; prove that the committed object is what the source gives
    ///
    /// Byte for byte if the toolchain is the one on record. Under another one the bytes may well differ: then this
    /// says so, and builds a second object, which `cargo xtask test` also runs the tests against.
    #[arg(long)]
    check: bool,

    /// Write the object to FILE and leave the committed one alone
    ///
    /// For packagers: `CAPTURE_EBPF_OBJECT=FILE cargo build --release` then embeds this object.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    output: Option<PathBuf>,
}

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    if arguments.check {
        return check();
    }
    let tools = Installed::find()?;
    let object = build(&tools)?;
    if let Some(output) = &arguments.output {
        write(output, &object)?;
        println!("{}: {} bytes", output.display(), object.len());
        return Ok(());
    }
    let provenance = Provenance {
        object: provenance::sha256(&object),
        source: provenance::source_hash(root())?,
        toolchain: tools.record,
    };
    write(&root().join(OBJECT), &object)?;
    write(&root().join(PROVENANCE), provenance.render().as_bytes())?;
    println!("{OBJECT}: {} bytes, sha256 {}", object.len(), provenance.object);
    Ok(())
}

/// Proves the committed object, see [`Arguments::check`].
fn check() -> Result<()> {
    let (committed, provenance) = provenance::verify(root())?;
    let tools = Installed::find()?;
    let built = build(&tools)?;
    if built == committed {
        println!("{OBJECT}: {} bytes, all as the source gives them", committed.len());
        return Ok(());
    }
    let path = other_object(&tools)?;
    write(&path, &built)?;
    let differ = built.iter().zip(&committed).filter(|(built, committed)| built != committed).count()
        + built.len().abs_diff(committed.len());
    if tools.record == provenance.toolchain {
        bail!(
            "{OBJECT} is not what the source gives: {differ} bytes differ from {}, which the toolchain on record \
             made of it. Rebuild it with `{REBUILD}`, and see what else went into it",
            path.display()
        );
    }
    println!(
        "{OBJECT} is not proved, as the toolchain here is not the one on record; {differ} bytes differ.\n  \
         on record: {}\n  here:      {}\n\
         `cargo xtask test` runs the tests against it and against {}.",
        provenance.toolchain,
        tools.record,
        path.display()
    );
    Ok(())
}

/// An object made by `tools`, if they are not what the committed object was made with and give other bytes.
pub(crate) fn build_other(tools: &Installed) -> Result<Option<PathBuf>> {
    let (committed, provenance) = provenance::verify(root())?;
    if tools.record == provenance.toolchain {
        return Ok(None);
    }
    let built = build(tools)?;
    if built == committed {
        return Ok(None);
    }
    let path = other_object(tools)?;
    write(&path, &built)?;
    Ok(Some(path))
}

/// Where an object is kept that is not the committed one.
fn other_object(tools: &Installed) -> Result<PathBuf> {
    Ok(Metadata::read(&tools.cargo)?.target.join("ebpf/other.bpf.o"))
}

/// clippy, over what is compiled for the kernel.
pub(crate) fn clippy(tools: &Installed) -> Result<Command> {
    let mut command = compile(tools, &Metadata::read(&tools.cargo)?, "cargo-clippy", "clippy")?;
    command.args(["--package=capture-common", "--", "--deny=warnings"]);
    Ok(command)
}

/// rustdoc, over the programs.
pub(crate) fn doc(tools: &Installed) -> Result<Command> {
    let mut command = compile(tools, &Metadata::read(&tools.cargo)?, "cargo", "rustdoc")?;
    command.args(["--bin", PACKAGE, "--", "--deny=warnings", "--document-private-items"]);
    Ok(command)
}

/// Compiles the programs and strips them of DWARF.
fn build(tools: &Installed) -> Result<Vec<u8>> {
    println!("building {PACKAGE} with {}", tools.record);
    let metadata = Metadata::read(&tools.cargo)?;
    // cargo does not know when the linker, LLVM or the sources of `core` have changed, so it has to link again.
    workspace::run(compile(tools, &metadata, "cargo", "clean")?.arg("--quiet"))?;
    workspace::run(&mut compile(tools, &metadata, "cargo", "build")?)?;

    let folder = metadata.target.join("ebpf");
    let linked = folder.join(TARGET).join(PROFILE).join(PACKAGE);
    let stripped = folder.join("stripped.bpf.o");
    // -g drops DWARF only: .BTF and .BTF.ext are not of its sections.
    workspace::run(Command::new(&tools.llvm_strip).arg("-g").arg("-o").arg(&stripped).arg(&linked))?;
    let object = fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))?;
    btf::check(&object).with_context(|| format!("{} is not fit to be loaded", stripped.display()))?;
    Ok(object)
}

/// A command of cargo's on the programs, in a target folder of its own: it would else wait for, and undo, the work of
/// the other compiler.
fn compile(tools: &Installed, metadata: &Metadata, tool: &str, subcommand: &str) -> Result<Command> {
    let mut command = tools.cargo(tool, subcommand);
    command.args(["--package", PACKAGE, "--target-dir"]).arg(metadata.target.join("ebpf"));
    command.env("CARGO_ENCODED_RUSTFLAGS", rustflags(tools, metadata)?);
    Ok(command)
}

/// The flags of the recipe, and those that keep the folders of this machine out of the object. The compiler records
/// source paths; seen from the top of the repository, of the registry and of `core` they are the same for everybody.
fn rustflags(tools: &Installed, metadata: &Metadata) -> Result<String> {
    let mut flags = RUSTFLAGS.map(str::to_owned).to_vec();
    let folders = metadata.registries.iter().map(|folder| (folder.as_path(), "registry"));
    let core = tools.core_to_build.iter().map(|folder| (folder.as_path(), "core"));
    for (folder, name) in folders.chain(core).chain([(root(), ".")]) {
        let folder = folder.to_str().with_context(|| format!("{} is not UTF-8", folder.display()))?;
        flags.push(format!("--remap-path-prefix={folder}={name}"));
    }
    // The separator that cargo expects.
    Ok(flags.join("\x1f"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    // Against the folder the command was typed in, as cargo runs us there.
    let path = env::current_dir()?.join(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
