//! One program or filter of a chain, and what it is called.

use super::super::{filter::Filter, interface::printable, program::Programs};

/// How many programs a sentence names; the others are counted.
const NAMED: usize = 4;

/// One program or filter of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// In an XDP slot, with its mode.
    Xdp(u32, &'static str),
    /// At TCX.
    Tcx(u32),
    /// Of a clsact qdisc.
    Filter(Filter),
}

impl Member {
    /// `None` for priorities and for the hash tables of u32, which hold filters and are none.
    pub(super) fn of_filter(filter: Filter) -> Option<Self> {
        let is_filter = match filter.kind.as_str() {
            "u32" => filter.handle & 0xfff != 0,
            _ => filter.handle != 0,
        };
        is_filter.then_some(Self::Filter(filter))
    }

    /// The id of the program, unless it is none.
    pub(super) fn id(&self) -> Option<u32> {
        match self {
            Self::Xdp(id, _) | Self::Tcx(id) => Some(*id),
            Self::Filter(filter) => filter.program.as_ref().map(|program| program.id),
        }
    }

    /// Whether the program is another capture's, as far as this process may know it: one with the hash `tag`, or with
    /// the names of capture's.
    pub(super) fn is_of_capture(&self, tag: u64, programs: &Programs) -> bool {
        let known = self.id().map(|id| programs.with_id(id));
        let has_tag = match self {
            Self::Filter(filter) => filter.program.as_ref().is_some_and(|program| program.tag == tag),
            _ => known
                .as_ref()
                .and_then(|program| program.identity.as_ref())
                .is_some_and(|known| known.1 == tag),
        };
        has_tag || known.is_some_and(|program| program.is_of_capture)
    }

    fn describe(&self, programs: &Programs) -> String {
        let Filter { kind, priority, handle, program, .. } = match self {
            Self::Xdp(id, mode) => return format!("XDP {}", programs.with_id(*id).with(mode)),
            Self::Tcx(id) => return programs.with_id(*id).to_string(),
            Self::Filter(filter) => filter,
        };
        // As `tc filter show` has it.
        let handle = match (kind.as_str(), handle >> 20, handle >> 12 & 0xff, handle & 0xfff) {
            ("u32", table, 0, node) => format!("{table:x}::{node:x}"),
            ("u32", table, bucket, node) => format!("{table:x}:{bucket:x}:{node:x}"),
            _ => format!("{handle:#x}"),
        };
        let program = match program {
            Some(program) => format!(" {} (id {})", printable(&program.name), program.id),
            None => String::new(),
        };
        format!("the filter pref {priority} {} handle {handle}{program}", printable(kind))
    }
}

/// Names some, and counts the others.
pub(super) fn list(members: &[&Member], programs: &Programs) -> String {
    let named: Vec<String> = members.iter().take(NAMED).map(|member| member.describe(programs)).collect();
    let named = named.join(", ");
    match members.len() {
        0..=NAMED => named,
        count => format!("{named} and {} more", count - NAMED),
    }
}
