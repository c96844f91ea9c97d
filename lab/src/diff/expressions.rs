//! `cargo lab diff --expressions N`: the tests of capture-filter that compare random expressions with the real tcpdump, for
//! longer. They need the crate, on which `lab` does not depend.

use anyhow::Result;

use crate::workspace::{cargo, run};

/// Runs them with so many expressions.
pub(super) fn compare(expressions: u64, seed: u64) -> Result<()> {
    let mut command = cargo();
    command
        .env("EXPRESSIONS", expressions.to_string())
        .env("SEED", seed.to_string())
        .args([
            "test",
            "--release",
            "--locked",
            "--package",
            "capture-filter",
            "--test",
            "oracle",
            "--test",
            "verdicts",
        ])
        .args([
            "--",
            "--nocapture",
            "random_expressions_are_refused_by_both_or_by_neither",
            "verdicts_are_those_of_tcpdump",
        ]);
    run(&mut command)
}
