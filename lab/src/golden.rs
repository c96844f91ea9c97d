//! The goldens: files of packets, and what tcpdump prints of them.
//!
//! `LIST` has one line for each, in four columns: its name, the file, the file with what is expected, and the flags
//! (before them perhaps `TZ=...`). Where tcpdump complains of the file, what it says is in a file next to the expected
//! one, with the extension `err`.

pub(crate) mod corpus;

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::oracle::Invocation;

/// One golden.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) expected: String,
    pub(crate) invocation: Invocation,
}

impl Entry {
    /// A golden with a file of its own.
    pub(crate) fn new(name: &str, invocation: Invocation) -> Self {
        Self::of_file(name, &format!("{name}.pcap"), invocation)
    }

    /// A difference between tcpdump and capture that was found once.
    pub(crate) fn of_difference(name: &str, invocation: Invocation) -> Self {
        Self::new(&format!("{KEPT}{name}"), invocation)
    }

    /// Whether this is such a difference, and does not come from the generator.
    pub(crate) fn is_kept(&self) -> bool {
        self.name.starts_with(KEPT)
    }

    /// A golden that shares its file with others.
    pub(crate) fn of_file(name: &str, file: &str, invocation: Invocation) -> Self {
        Self { name: name.into(), file: file.into(), expected: format!("{name}.out"), invocation }
    }

    /// The file with what tcpdump complains of.
    pub(crate) fn complaint(&self) -> PathBuf {
        Path::new(&self.expected).with_extension("err")
    }

    fn line(&self) -> String {
        format!("{} {} {} {}\n", self.name, self.file, self.expected, self.invocation)
    }
}

/// The list of the goldens in a folder.
pub(crate) struct List(pub(crate) Vec<Entry>);

const LIST: &str = "LIST";

/// What the names of kept differences begin with.
const KEPT: &str = "diff-";

impl List {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(LIST);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let entries = text.lines().map(|line| {
            let mut words = line.splitn(4, ' ');
            let mut word =
                || words.next().with_context(|| format!("{}: four columns, not `{line}`", path.display()));
            let (name, file, expected) = (word()?.into(), word()?.into(), word()?.into());
            Ok(Entry { name, file, expected, invocation: word()?.parse()? })
        });
        Ok(Self(entries.collect::<Result<_>>()?))
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut text = String::new();
        for entry in &self.0 {
            text.write_str(&entry.line())?;
        }
        fs::write(folder.join(LIST), text)?;
        Ok(())
    }

    /// Adds one to the list of a folder, which may have none yet.
    pub(crate) fn append(folder: &Path, entry: &Entry) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(folder.join(LIST))?;
        file.write_all(entry.line().as_bytes())?;
        Ok(())
    }
}
