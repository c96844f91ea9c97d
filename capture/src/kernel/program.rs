//! Programs that are loaded in the kernel, our own and those of others.

use std::{collections::HashMap, fmt};

use aya::{
    maps::MapInfo,
    programs::{ProgramInfo, loaded_programs},
};

/// A loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) id: u32,
    /// Its name and the hash of its instructions, as far as this process may know them: the kernel gives them to
    /// CAP_SYS_ADMIN only.
    pub(super) identity: Option<(String, u64)>,
    /// Whether it is one of capture's, of this process or of another.
    pub(super) is_of_capture: bool,
}

/// What the programs and some of their maps are called. Their instructions begin with the filter, so that the hash tells
/// captures with different filters apart.
const PROGRAMS: [&[u8]; 3] = [b"tc_ingress", b"tc_egress", b"xdp"];
const MAPS: [&[u8]; 2] = [b"RINGS", b"COUNTERS"];

/// Whether a program has a name of capture's, and maps with the names of capture's.
fn is_of_capture(info: &ProgramInfo) -> bool {
    if !PROGRAMS.contains(&info.name()) {
        return false;
    }
    let maps = info.map_ids().ok().flatten().unwrap_or_default();
    let maps: Vec<MapInfo> = maps.into_iter().filter_map(|id| MapInfo::from_id(id).ok()).collect();
    MAPS.iter().all(|name| maps.iter().any(|map| map.name() == *name))
}

impl Program {
    const fn unknown(id: u32) -> Self {
        Self { id, identity: None, is_of_capture: false }
    }

    /// The program with this id.
    pub(super) fn with_id(id: u32) -> Self {
        let mut programs = Programs::default();
        programs.learn(&[id]);
        programs.with_id(id)
    }
}

/// What is known of some programs. All that are loaded have to be looked through for one, so this remembers.
#[derive(Debug, Default)]
pub(super) struct Programs {
    known: HashMap<u32, Program>,
}

impl Programs {
    /// Finds out about the programs with these ids, and forgets all others.
    pub(super) fn learn(&mut self, ids: &[u32]) {
        let Self { known } = self;
        known.retain(|id, _| ids.contains(id));
        if ids.iter().all(|id| known.contains_key(id)) {
            return;
        }
        known.extend(ids.iter().map(|&id| (id, Program::unknown(id))));
        for info in loaded_programs().filter_map(Result::ok) {
            if let Some(program) = known.get_mut(&info.id()) {
                let name = String::from_utf8_lossy(info.name()).into_owned();
                program.identity = Some((name, info.tag()));
                program.is_of_capture = is_of_capture(&info);
            }
        }
    }

    /// The program with this id, as far as it is known.
    pub(super) fn with_id(&self, id: u32) -> Program {
        self.known.get(&id).cloned().unwrap_or(Program::unknown(id))
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
            identity: identity.map(|(name, tag)| (name.to_owned(), tag)),
            ..Program::unknown(7)
        };
        assert_eq!(program(Some(("drop", 1))).to_string(), "program drop (id 7)");
        assert_eq!(program(Some(("", 1))).to_string(), "program (id 7)");
        assert_eq!(program(None).with("native"), "program (id 7, native)");
        assert_eq!(program(Some(("drop", 1))).with("native"), "program drop (id 7, native)");
    }
}
