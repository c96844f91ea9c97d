//! What reading packets needs, and when it stops needing it.

use std::{
    fs,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use super::{error::RunError, paths::is_named, standard::say, time_zone::time_zone};
use crate::{
    config::Config,
    output::{files::Rotation, pcapng::operating_system},
    resolve::end_with_parent,
    sandbox::{self, Confined, Needs, Sandbox, SandboxError, SandboxOptions},
};

/// How a run gives up what it may do, step by step. Without a sandbox all of them do nothing.
#[derive(Debug)]
pub(super) struct Confinement<'a> {
    options: &'a SandboxOptions,
    sandbox: Option<Sandbox>,
    needs: Needs,
    /// What the helper needs that opens the files, if there is to be one.
    of_files: Option<Needs>,
    unsealed: Option<Confined>,
    /// What is read, in words.
    read: &'static str,
}

impl<'a> Confinement<'a> {
    /// What the outputs of a run need.
    ///
    /// # Errors
    ///
    /// When `-Z` names no user.
    pub(super) fn new(config: &'a Config) -> Result<Self, RunError> {
        let (needs, of_files) = needs(config);
        let read = if needs.live { "packets are" } else { "the file is" };
        let confinement = Self::with(&config.sandbox, needs, read)?;
        Ok(Self { of_files, ..confinement })
    }

    /// What the helper gives up that opens the files, if there is to be one: first all but system calls, then these. It
    /// says what is left, in words.
    #[expect(clippy::type_complexity, reason = "each step is a function")]
    pub(super) fn of_files(
        &self,
    ) -> Option<impl FnOnce() -> Result<Box<dyn FnOnce() -> Result<String, String>>, String>> {
        let (sandbox, needs) = (self.sandbox.as_ref(), self.of_files.clone()?);
        let words = |error: SandboxError| error.to_string();
        Some(move || {
            let confined = sandbox.map(|sandbox| sandbox.confine(needs)).transpose().map_err(words)?;
            let seal = move || match confined {
                Some(confined) => confined.seal().map(|sealed| sealed.to_string()).map_err(words),
                None => Ok(String::new()),
            };
            Ok(Box::new(seal) as Box<dyn FnOnce() -> Result<String, String>>)
        })
    }

    /// What the helper gives up that asks for names. Returns what is left, in words.
    ///
    /// # Errors
    ///
    /// When the system refuses it, in words.
    pub(super) fn of_names(&self) -> Result<String, String> {
        let words = |error: SandboxError| error.to_string();
        let needs = Needs { names: true, ..Needs::default() };
        let confined =
            self.sandbox.as_ref().map(|sandbox| sandbox.confine(needs)).transpose().map_err(words)?;
        end_with_parent().map_err(|error| format!("the helper process, which asks for names: {error}"))?;
        let sealed = confined.map(Confined::seal).transpose().map_err(words)?;
        Ok(sealed.map_or_else(String::new, |sealed| sealed.to_string()))
    }

    /// What the helper of a live capture gives up. It `enters` network namespaces, or not. Returns what is left, in words.
    ///
    /// # Errors
    ///
    /// When the system refuses it.
    pub(super) fn helper(&self, enters: bool) -> Result<String, SandboxError> {
        let sealed = self.options.is_wanted.then(|| sandbox::confine_helper(enters)).transpose()?;
        Ok(sealed.map_or_else(String::new, |sealed| sealed.to_string()))
    }

    fn with(options: &'a SandboxOptions, needs: Needs, read: &'static str) -> Result<Self, RunError> {
        let sandbox = options.is_wanted.then(|| Sandbox::new(options)).transpose()?;
        Ok(Self { options, sandbox, needs, of_files: None, unsealed: None, read })
    }

    /// Before threads are started and the file is parsed.
    pub(super) fn begin(&mut self) -> Result<(), RunError> {
        // Headers of files have it.
        let _read_now = operating_system();
        // Files are named by it.
        let _read_now = time_zone();
        self.confine()
    }

    /// Whether what the sandbox consists of is to be said.
    pub(super) fn is_reported(&self) -> bool {
        self.options.is_reported
    }

    /// When threads have been started.
    pub(super) fn seal(&mut self, mut say: impl FnMut(&str)) -> Result<(), RunError> {
        let Some(unsealed) = self.unsealed.take() else { return Ok(()) };
        let sealed = unsealed.seal()?;
        if let Some(reason) = sealed.stays_root() {
            say(&format!(
                "capture: note: {} read as root without capabilities, because {reason}\n",
                self.read
            ));
        }
        if self.options.is_reported {
            say(&format!("capture: {} read with: {sealed}\n", self.read));
        }
        Ok(())
    }

    fn confine(&mut self) -> Result<(), RunError> {
        let confined = self.sandbox.as_ref().map(|sandbox| sandbox.confine(self.needs.clone()));
        self.unsealed = confined.transpose()?;
        Ok(())
    }
}

/// Confines a run that only looks at the beginning of a file, and prints.
///
/// # Errors
///
/// When there is no sandbox.
pub(super) fn without_outputs(config: &Config) -> Result<(), RunError> {
    let mut confinement = Confinement::with(&config.sandbox, Needs::default(), "the file is")?;
    confinement.begin()?;
    confinement.seal(say)
}

/// What a run needs while it reads; and what the helper needs, where there is to be one because files are opened when that
/// is not possible any more.
fn needs(config: &Config) -> (Needs, Option<Needs>) {
    let is_live = config.source.is_live();
    let names = config.resolve && config.outputs.text;
    let mut opens_later = false;
    let mut folders = Vec::new();
    let mut programs = false;
    for output in config.outputs.others.iter().filter(|output| is_named(&output.path)) {
        let rotates = output.rules.rotation != Rotation::None;
        programs |= output.command.is_some();
        // A pipe is opened when it has a reader.
        opens_later |= rotates || output.command.is_some() || is_pipe(&output.path);
        folders.push(folder(&output.path, rotates));
    }
    let needs = Needs { asks: names, live: is_live, ..Needs::default() };
    // What is live opens its outputs before it gives up anything. The outputs of a file need to know its header, and what
    // looks at that has nothing any more.
    if folders.is_empty() || is_live && !opens_later {
        return (needs, None);
    }
    let of_files = Needs { folders, programs, serves: true, opens_once: !opens_later, ..Needs::default() };
    (Needs { asks: true, ..needs }, Some(of_files))
}

fn is_pipe(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// The directory that has the files that `path` names: with a pattern in the names of directories, that above them.
fn folder(path: &Path, is_pattern: bool) -> PathBuf {
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    if !is_pattern {
        return parent.to_owned();
    }
    let constant = |part: &std::path::Component<'_>| !part.as_os_str().as_encoded_bytes().contains(&b'%');
    let above: PathBuf = parent.components().take_while(constant).collect();
    if above == Path::new("") { PathBuf::from(".") } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_begins_below_its_directory() {
        for (path, is_pattern, expected) in [
            ("x", false, "."),
            ("x%H", true, "."),
            ("a/b/x", true, "a/b"),
            ("/a/b%/x", false, "/a/b%"),
            ("/a/%Y/%m/x%H", true, "/a"),
            ("%Y/x", true, "."),
            ("/x", true, "/"),
            ("/%Y/x", true, "/"),
        ] {
            assert_eq!(folder(Path::new(path), is_pattern), Path::new(expected), "{path}");
        }
    }
}
