//! `cargo lab bless`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    golden::{Entry, List, corpus},
    oracle::{self, complaint},
    packets::file::link_of,
    workspace,
};

/// Rewrite the expected output of goldens from the real tcpdump
///
/// Without names, that of all goldens. What is expected is never written by hand, and never taken from capture.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The names of goldens, as in the list
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Rewrite the files of packets and their lines in the list too, where they come from the generator
    #[arg(long)]
    generate: bool,
    /// The folder of the goldens
    #[arg(long, default_value = "capture/tests/golden", value_name = "DIR")]
    folder: PathBuf,
}

pub(crate) fn perform(arguments: &Arguments) -> Result<()> {
    oracle::check()?;
    let folder = workspace::root().join(&arguments.folder);
    if arguments.generate {
        generate(&folder)?;
    }
    let list = List::read(&folder)?;
    let unknown = arguments.names.iter().find(|name| list.0.iter().all(|entry| entry.name != **name));
    if let Some(unknown) = unknown {
        bail!("no golden is called {unknown}; see {}", folder.join("LIST").display());
    }
    let mut changed = 0;
    for entry in &list.0 {
        if arguments.names.is_empty() || arguments.names.contains(&entry.name) {
            changed += usize::from(bless(&folder, entry)?);
        }
    }
    println!("{} goldens, {changed} changed", list.0.len());
    Ok(())
}

/// Writes the files of the generator, and their lines before those of the differences that were kept.
fn generate(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let corpus = corpus::corpus()?;
    for (name, bytes) in &corpus.files {
        write(&folder.join(name), bytes)?;
    }
    let mut list = List(corpus.entries);
    if folder.join("LIST").exists() {
        list.0.extend(List::read(folder)?.0.into_iter().filter(Entry::is_kept));
    }
    list.write(folder)
}

fn bless(folder: &Path, entry: &Entry) -> Result<bool> {
    let file = folder.join(&entry.file);
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let output = entry.invocation.tcpdump(&file, link_of(&bytes)).output().context("cannot run tcpdump")?;
    let mut changed = write(&folder.join(&entry.expected), &output.stdout)?;
    let complained = folder.join(entry.complaint());
    let complaint = complaint(&output);
    if !complaint.is_empty() {
        changed |= write(&complained, format!("{complaint}\n").as_bytes())?;
    } else if complained.exists() {
        fs::remove_file(&complained)?;
        changed = true;
    }
    if changed {
        println!("{}", entry.name);
    }
    Ok(changed)
}

/// Writes a file if that changes it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    fs::write(path, bytes)?;
    Ok(true)
}
