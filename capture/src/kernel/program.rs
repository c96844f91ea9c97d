//! Programs that are loaded in the kernel, our own and those of others.

use std::fmt;

use aya::programs::loaded_programs;

/// A loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) id: u32,
    /// Its name and the hash of its instructions, as far as this process may know them: the kernel gives them to
    /// CAP_SYS_ADMIN only.
    pub(super) identity: Option<(String, u64)>,
}

impl Program {
    /// The program with this id.
    pub(super) fn with_id(id: u32) -> Self {
        let info = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
        let identity = info.map(|info| (String::from_utf8_lossy(info.name()).into_owned(), info.tag()));
        Self { id, identity }
    }
}

impl Program {
    /// Its name and id, with `detail` if that is not empty.
    pub(super) fn with(&self, detail: &str) -> String {
        let detail = if detail.is_empty() { String::new() } else { format!(", {detail}") };
        match &self.identity {
            Some((name, _)) if !name.is_empty() => format!("program {name} (id {}{detail})", self.id),
            _ => format!("program (id {}{detail})", self.id),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.with(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_a_name_is_called_by_its_id() {
        let program = |identity: Option<(&str, u64)>| Program {
            id: 7,
            identity: identity.map(|(name, tag)| (name.to_owned(), tag)),
        };
        assert_eq!(program(Some(("drop", 1))).to_string(), "program drop (id 7)");
        assert_eq!(program(Some(("", 1))).to_string(), "program (id 7)");
        assert_eq!(program(None).with("native"), "program (id 7, native)");
        assert_eq!(program(Some(("drop", 1))).with("native"), "program drop (id 7, native)");
    }
}
