//! The words that are not written here: CONTRIBUTING.md, "Language".

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{output, root};

/// Old or poetic words, and what is written instead. `nobody` is not among them: it is also a user.
const WORDS: &[(&str, &str)] = &[
    ("amiss", "wrong"),
    ("anew", "again"),
    ("beside", "next to"),
    ("hence", "therefore"),
    ("henceforth", "from now on"),
    ("hitherto", "so far"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("mends", "fixes"),
    ("thereby", "by this"),
    ("therein", "in it"),
    ("thereof", "of it"),
    ("unto", "to"),
    ("upon", "on"),
    ("whence", "from where"),
    ("whereby", "by which"),
    ("wherein", "in which"),
    ("whilst", "while"),
    ("whoever", "who"),
    ("whomever", "whom"),
];

/// Looks for them in all files that git knows.
pub(crate) fn check() -> Result<()> {
    let files = output(Command::new("git").current_dir(root()).args(["ls-files"]))?;
    let mut faults = Vec::new();
    for file in files.lines().filter(|file| is_text(file)) {
        let text = fs::read_to_string(root().join(file)).with_context(|| format!("cannot read {file}"))?;
        let found = unwanted(&text).map(|(line, word, instead)| {
            format!("{file}:{line}: `{word}` is not written here: write `{instead}`")
        });
        faults.extend(found);
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

/// Whether people read the file. The list itself has to be left out.
fn is_text(file: &str) -> bool {
    let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("md" | "rs" | "sh" | "toml")) && !file.ends_with("words.rs")
}

/// The unwanted words of a text, each with its line and what to write instead.
fn unwanted(text: &str) -> impl Iterator<Item = (usize, &str, &'static str)> {
    let words = text.lines().enumerate().flat_map(|(number, line)| {
        line.split(|letter: char| !letter.is_ascii_alphabetic()).map(move |word| (number + 1, word))
    });
    words.filter_map(|(line, word)| {
        let (_, instead) = WORDS.iter().find(|(unwanted, _)| word.eq_ignore_ascii_case(unwanted))?;
        Some((line, word, *instead))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_as_a_whole() {
        let text = "Besides the rings\nWhoever says `hence`; amended\nupon";
        let found: Vec<_> = unwanted(text).map(|(line, word, _)| (line, word)).collect();
        assert_eq!(found, [(2, "Whoever"), (2, "hence"), (3, "upon")]);
    }
}
