//! Waiting for a condition.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// A condition that has not come true after this long never will.
pub const NEVER: Duration = Duration::from_secs(30);

const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// Waits until `condition` holds.
///
/// # Panics
/// If it never does.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    within(NEVER, what, || Ok(condition().then_some(()))).expect("what is waited for comes");
}

/// What `look` finds, within `limit`.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}
