//! JSON lines.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Tally;

/// The accounts in JSON lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Objects {
    /// The sum of all losses that were told.
    pub(crate) lost: Lost,
    /// The last line of a capture that ended in order.
    pub(crate) summary: Option<Summary>,
}

/// Packets that are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) by_kernel: u64,
    pub(crate) by_interface: u64,
    pub(crate) by_output: u64,
}

/// The summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) received: u64,
    pub(crate) read: u64,
    pub(crate) lost: Lost,
}

/// Takes a line.
pub(super) fn take(line: &[u8], tally: &mut Tally) -> Result<()> {
    let objects = tally.objects.get_or_insert_default();
    ensure!(objects.summary.is_none(), "a line after the summary");
    // Those that there are most of.
    if line.starts_with(b"{\"type\":\"packet\",") {
        ensure!(line.ends_with(b"}"), "half a line");
        tally.packets += 1;
        return Ok(());
    }
    let object: Value = serde_json::from_slice(line).context("a line that is no JSON")?;
    match object["type"].as_str() {
        Some("loss") => {
            let Lost { by_kernel, by_interface, by_output } = lost(&object)?;
            objects.lost.by_kernel += by_kernel;
            objects.lost.by_interface += by_interface;
            objects.lost.by_output += by_output;
        }
        Some("summary") => {
            let [received, read] = ["received", "read"].map(|key| number(&object, key));
            objects.summary = Some(Summary { received: received?, read: read?, lost: lost(&object)? });
        }
        Some("capture" | "interface" | "event" | "forgotten") => {}
        other => bail!("an object of type {other:?}"),
    }
    Ok(())
}

fn lost(object: &Value) -> Result<Lost> {
    let [by_kernel, by_interface, by_output] =
        ["dropped_by_kernel", "dropped_by_interface", "dropped_by_output"].map(|key| number(object, key));
    Ok(Lost { by_kernel: by_kernel?, by_interface: by_interface?, by_output: by_output? })
}

/// A number, which is a string where it is large (docs/json.md).
fn number(object: &Value, key: &str) -> Result<u64> {
    let value = &object[key];
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.with_context(|| format!("no number {key} in {object}"))
}
