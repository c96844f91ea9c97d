//! The committed eBPF object: where it is, what it is made from, and the record of how it was made.
//!
//! Two programs share this file, so that they cannot disagree: `capture`'s build script, which refuses an object that
//! is older than its source, and `cargo xtask build-ebpf`, which makes the object and proves it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

/// The object `capture` embeds, from the top of the repository.
pub(crate) const OBJECT: &str = "capture/ebpf/capture.bpf.o";

/// The record of how [`OBJECT`] was built, in the same folder.
pub(crate) const PROVENANCE: &str = "capture/ebpf/provenance.toml";

/// The command that rebuilds both.
pub(crate) const REBUILD: &str = "cargo xtask build-ebpf";

/// The package the object is built from.
pub(crate) const PACKAGE: &str = "capture-ebpf";

/// The cargo profile it is built with, in the workspace's `Cargo.toml`.
pub(crate) const PROFILE: &str = "ebpf";

/// The compiler flags that decide what is in the object, besides the paths that are remapped.
///
/// * `--btf`: the linker writes BTF, which the verifier's log takes function names and source lines from.
/// * `bpf_target_arch`: aya's bindings come in one flavour per architecture (`struct pt_regs`), and take that of the
///   machine that compiles if none is named. Packet programs use nothing of it, so one name for all makes one object
///   for all.
pub(crate) const RUSTFLAGS: [&str; 2] = ["-Clink-arg=--btf", "--cfg=bpf_target_arch=\"x86_64\""];

/// The folders whose Rust files and manifests the object is made from, besides the workspace's manifest and lock file.
pub(crate) const SOURCES: [&str; 2] = ["capture-ebpf", "capture-common"];

/// SHA-256, as lower-case hexadecimal digits, of everything of this repository that decides what is in the object:
/// the source files, the exact versions of all dependencies, the profile, the edition, our version and the flags.
///
/// Our version and that of every dependency, even of a macro's, go into the hash that the compiler puts into symbol
/// names, and so into the object.
///
/// # Errors
/// A file cannot be read, or a manifest does not have the form it should.
pub(crate) fn source_hash(root: &Path) -> Result<String> {
    let mut digest = Fields(Sha256::new());
    for folder in SOURCES {
        for file in source_files(&root.join(folder))? {
            let name = file.strip_prefix(root)?.to_str().context("a source file's name is not UTF-8")?;
            digest.field(name, &read(&file)?);
        }
    }
    for (package, checksum) in dependencies(&read_toml(&root.join("Cargo.lock"))?)? {
        digest.field(&package, checksum.as_bytes());
    }
    let manifest = read_toml(&root.join("Cargo.toml"))?;
    for (section, key) in [("profile", "release"), ("profile", PROFILE), ("workspace", "package")] {
        let table =
            manifest.get(section).and_then(|section| section.get(key)).and_then(|table| table.as_table());
        let mut table = table.with_context(|| format!("Cargo.toml has no [{section}.{key}]"))?.clone();
        // The other keys of a package (licence ...) are not given to the compiler.
        table.retain(|key, _| section == "profile" || key == "edition" || key == "version");
        digest.field(&format!("{section}.{key}"), table.to_string().as_bytes());
    }
    for flag in RUSTFLAGS {
        digest.field("rustflag", flag.as_bytes());
    }
    Ok(hex(&digest.0.finalize()))
}

/// SHA-256 of `bytes`, as lower-case hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The compiler and linker an object was made with. Two equal toolchains give equal objects for equal sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// `rustc --version`, without the name.
    pub(crate) rustc: String,
    /// Version of the LLVM that made the machine code, and of the `llvm-strip` that removed the DWARF.
    pub(crate) llvm: String,
    /// `bpf-linker --version`, without the name.
    pub(crate) bpf_linker: String,
    /// How `core` came: `prebuilt`, or `built` from its sources together with the programs; and whether its sources
    /// were there to take the lines from that BTF quotes.
    pub(crate) core: String,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rustc, llvm, bpf_linker, core } = self;
        write!(f, "rustc {rustc}, LLVM {llvm}, bpf-linker {bpf_linker}, core {core}")
    }
}

/// The record of how an object was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provenance {
    /// SHA-256 of the object.
    pub(crate) object: String,
    /// [`source_hash`] at the time.
    pub(crate) source: String,
    /// What it was made with.
    pub(crate) toolchain: Toolchain,
}

impl Provenance {
    /// The text of the file. Its last line is the SHA-256 of all lines above it, so that an edit does not go unseen.
    pub(crate) fn render(&self) -> String {
        let Self { object, source, toolchain: Toolchain { rustc, llvm, bpf_linker, core } } = self;
        let text = format!(
            "# How capture.bpf.o was made. Written by `{REBUILD}`, not by hand: `seal` is the SHA-256 of the lines above.\n\
             object = {object:?}\n\
             source = {source:?}\n\
             rustc = {rustc:?}\n\
             llvm = {llvm:?}\n\
             bpf-linker = {bpf_linker:?}\n\
             core = {core:?}\n"
        );
        let seal = sha256(text.as_bytes());
        format!("{text}seal = {seal:?}\n")
    }

    /// # Errors
    /// The text is not what [`Provenance::render`] wrote.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let table: Table = text.parse()?;
        let value = |key: &str| -> Result<String> {
            let value = table.get(key).with_context(|| format!("`{key}` is missing"))?;
            Ok(value.as_str().with_context(|| format!("`{key}` is not a string"))?.to_owned())
        };
        let parsed = Self {
            object: value("object")?,
            source: value("source")?,
            toolchain: Toolchain {
                rustc: value("rustc")?,
                llvm: value("llvm")?,
                bpf_linker: value("bpf-linker")?,
                core: value("core")?,
            },
        };
        ensure!(parsed.render() == text, "its text is not what its `seal` was made over");
        Ok(parsed)
    }
}

/// Reads the committed object and its provenance, and checks that they belong together and to the source as it is.
///
/// # Errors
/// Says which of the three does not fit, and the command that fixes it.
pub(crate) fn verify(root: &Path) -> Result<(Vec<u8>, Provenance)> {
    for file in [OBJECT, PROVENANCE] {
        ensure!(root.join(file).exists(), "there is no {file}: restore it, or make it with `{REBUILD}`");
    }
    let object = read(&root.join(OBJECT))?;
    let text = read(&root.join(PROVENANCE))?;
    let provenance = String::from_utf8(text)
        .map_err(anyhow::Error::from)
        .and_then(|text| Provenance::parse(&text))
        .with_context(|| {
            format!("{PROVENANCE} was changed by hand: restore it, or rebuild it with `{REBUILD}`")
        })?;
    if sha256(&object) != provenance.object {
        bail!(
            "{OBJECT} is not the object that {PROVENANCE} describes: restore it, or rebuild both with `{REBUILD}`"
        );
    }
    if source_hash(root)? != provenance.source {
        bail!(
            "{OBJECT} is older than its source ({} and what they depend on): rebuild it with `{REBUILD}` \
             (`cargo xtask setup` installs what that needs)",
            SOURCES.join(", ")
        );
    }
    Ok((object, provenance))
}

/// A digest over named fields, each with its length, so that no two different sequences look the same.
struct Fields(Sha256);

impl Fields {
    fn field(&mut self, name: &str, content: &[u8]) {
        for part in [name.as_bytes(), content] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }
}

/// The Rust files and manifests below `folder`, sorted by path.
fn source_files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "toml") {
                files.insert(path);
            }
        }
    }
    Ok(files)
}

/// What [`PACKAGE`] depends on, directly or not, as `name version`, each with its checksum.
fn dependencies(lock: &Table) -> Result<BTreeMap<String, String>> {
    let packages = lock.get("package").and_then(Value::as_array).context("Cargo.lock has no packages")?;
    let text = |package: &Value, key: &str| package.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let mut found = BTreeMap::new();
    let mut wanted = vec![PACKAGE.to_owned()];
    while let Some(wish) = wanted.pop() {
        // "name", or "name version" where the lock has several versions.
        let (name, version) =
            wish.split_once(' ').map_or((wish.as_str(), None), |(name, version)| (name, Some(version)));
        for package in packages {
            if text(package, "name") != name
                || version.is_some_and(|version| text(package, "version") != version)
            {
                continue;
            }
            let identity = format!("{name} {}", text(package, "version"));
            if found.insert(identity, text(package, "checksum")).is_none() {
                let dependencies =
                    package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
                wanted.extend(dependencies.filter_map(|value| value.as_str().map(str::to_owned)));
            }
        }
    }
    ensure!(!found.is_empty(), "Cargo.lock does not have {PACKAGE}");
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_toml(path: &Path) -> Result<Table> {
    let text = String::from_utf8(read(path)?).with_context(|| format!("{} is not UTF-8", path.display()))?;
    text.parse().with_context(|| format!("{} is not TOML", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        Provenance {
            object: sha256(b"object"),
            source: sha256(b"source"),
            toolchain: Toolchain {
                rustc: "1.96.0 (ac68faa20 2026-05-25)".into(),
                llvm: "22.1.8".into(),
                bpf_linker: "0.13.0".into(),
                core: "prebuilt".into(),
            },
        }
    }

    #[test]
    fn provenance_reads_what_it_wrote() {
        assert_eq!(Provenance::parse(&provenance().render()).unwrap(), provenance());
    }

    #[test]
    fn every_changed_byte_of_the_provenance_is_refused() {
        let text = provenance().render().into_bytes();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(Provenance::parse(&changed).is_err(), "byte {at} changed unseen:\n{changed}");
        }
    }

    /// A repository in miniature, as [`verify`] needs it.
    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (name, text) in [
            ("capture-ebpf/Cargo.toml", "[package]"),
            ("capture-ebpf/src/main.rs", "fn main() {}"),
            ("capture-common/src/lib.rs", "//! Shared."),
            (
                "Cargo.toml",
                "[workspace.package]\nedition = \"2024\"\nversion = \"1\"\nlicence = \"MIT\"\n\
                 [profile.release]\n[profile.ebpf]\ndebug = 2\n",
            ),
            (
                "Cargo.lock",
                "[[package]]\nname = \"capture-ebpf\"\nversion = \"1\"\ndependencies = [\"aya-ebpf\"]\n\
                 [[package]]\nname = \"aya-ebpf\"\nversion = \"0.2.1\"\nchecksum = \"ab\"\n\
                 dependencies = [\"syn 2.0\"]\n\
                 [[package]]\nname = \"syn\"\nversion = \"2.0\"\n\
                 [[package]]\nname = \"syn\"\nversion = \"1.9\"\n",
            ),
            (OBJECT, "object"),
        ] {
            write(root, name, text);
        }
        let provenance = Provenance { source: source_hash(root).unwrap(), ..provenance() };
        write(root, PROVENANCE, &provenance.render());
        folder
    }

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn replace(root: &Path, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(root.join(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        write(root, name, &text.replace(from, to));
    }

    #[test]
    fn object_of_this_source_is_accepted() {
        let folder = repository();
        assert_eq!(verify(folder.path()).unwrap().0, b"object");
    }

    #[test]
    fn whatever_decides_the_object_makes_it_stale() {
        for (name, from, to) in [
            ("capture-ebpf/src/main.rs", "main", "other"),
            ("capture-ebpf/Cargo.toml", "package", "lib"),
            ("capture-common/src/lib.rs", "Shared", "Parted"),
            ("Cargo.toml", "debug = 2", "debug = 1"),
            ("Cargo.toml", "2024", "2021"),
            ("Cargo.toml", "version = \"1\"", "version = \"2\""),
            ("Cargo.lock", "version = \"2.0\"", "version = \"2.1\""),
            ("Cargo.lock", "0.2.1", "0.2.2"),
            ("Cargo.lock", "\"ab\"", "\"ac\""),
        ] {
            let folder = repository();
            replace(folder.path(), name, from, to);
            let error = format!("{:#}", verify(folder.path()).unwrap_err());
            assert!(error.contains("older than its source") && error.contains(REBUILD), "{name}: {error}");
        }
    }

    #[test]
    fn new_renamed_and_removed_sources_make_it_stale() {
        let folder = repository();
        write(folder.path(), "capture-ebpf/src/new.rs", "");
        assert!(verify(folder.path()).is_err(), "new file");

        let folder = repository();
        let source = folder.path().join("capture-common/src/lib.rs");
        fs::rename(&source, source.with_file_name("other.rs")).unwrap();
        assert!(verify(folder.path()).is_err(), "renamed file");
        fs::rename(source.with_file_name("other.rs"), &source).unwrap();
        assert!(verify(folder.path()).is_ok());
        fs::remove_file(&source).unwrap();
        assert!(verify(folder.path()).is_err(), "removed file");
    }

    #[test]
    fn what_leaves_no_trace_in_the_object_does_not_make_it_stale() {
        let folder = repository();
        replace(folder.path(), "Cargo.toml", "licence = \"MIT\"", "licence = \"none\"");
        replace(folder.path(), "Cargo.lock", "version = \"1.9\"", "version = \"1.10\"");
        write(folder.path(), "capture-ebpf/README.md", "Read me.");
        verify(folder.path()).unwrap();
    }

    #[test]
    fn missing_or_foreign_object_and_edited_provenance_are_refused() {
        let folder = repository();
        write(folder.path(), OBJECT, "objecT");
        let error = verify(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not the object") && error.contains(REBUILD), "{error}");

        let folder = repository();
        fs::remove_file(folder.path().join(OBJECT)).unwrap();
        let error = verify(folder.path()).unwrap_err().to_string();
        assert!(error.contains("there is no") && error.contains(REBUILD), "{error}");

        let folder = repository();
        replace(folder.path(), PROVENANCE, "22.1.8", "22.1.9");
        let error = format!("{:#}", verify(folder.path()).unwrap_err());
        assert!(error.contains("changed by hand") && error.contains(REBUILD), "{error}");
    }
}
