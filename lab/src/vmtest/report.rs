//! What the machines report, and the table that is made of it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{
    archive::Kernel,
    machine::{Ended, Machine},
};

/// The checks in guest/, and what the table calls them.
const CHECKS: [(&str, &str); 14] = [
    ("tc_lines", "tc"),
    ("xdp_generic", "XDP generic"),
    ("xdp_native", "XDP native"),
    ("options_tc", "options at tc"),
    ("options_xdp", "options at XDP"),
    ("counters", "counters, with 8 CPUs at work"),
    ("killed", "SIGKILL leaves"),
    ("cpu_offline", "a CPU goes and comes"),
    ("ingress_qdisc", "with an `ingress` qdisc"),
    ("filters_tc", "expressions at tc"),
    ("filters_xdp", "expressions at XDP"),
    ("several", "`any`, and two namespaces"),
    ("power", "who reads packets has nothing but"),
    ("kinds", "kinds of interfaces"),
];

/// Lines of the console that are shown of what failed.
const CONSOLE_TAIL: usize = 60;

/// The names of the checks.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|(name, _)| *name)
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With what the table says.
    Passed(String),
    /// With what is wrong.
    Failed(String),
    /// The machine ended before it did.
    Unfinished,
    NotPerformed,
}

/// What a machine reported.
#[derive(Debug)]
pub(super) struct Report {
    outcomes: Vec<(&'static str, Outcome)>,
    /// Whether its first process began.
    booted: bool,
    /// Whether its first process came to its end.
    done: bool,
    ended: Ended,
    /// What the console printed.
    console: String,
    /// Where that is.
    path: PathBuf,
}

impl Report {
    /// Reads what a machine left.
    ///
    /// # Errors
    ///
    /// When it left nothing.
    pub(super) fn read(machine: &Machine, ended: Ended) -> Result<Self> {
        let console = String::from_utf8_lossy(&fs::read(&machine.console)?).replace('\r', "");
        let report = fs::read(&machine.report)?;
        Ok(Self::new(&String::from_utf8_lossy(&report), ended, console, &machine.console))
    }

    fn new(report: &str, ended: Ended, console: String, path: &Path) -> Self {
        let outcome = |check: &str| {
            let mut outcome = Outcome::NotPerformed;
            for line in report.lines() {
                let mut words = line.trim_end().splitn(3, ' ');
                let (Some(event), Some(name)) = (words.next(), words.next()) else { continue };
                let detail = words.next().unwrap_or_default().to_owned();
                match event {
                    "check" if name == check => outcome = Outcome::Unfinished,
                    "pass" if name == check => outcome = Outcome::Passed(detail),
                    "fail" if name == check => outcome = Outcome::Failed(detail),
                    _ => {}
                }
            }
            outcome
        };
        let outcomes = names().map(|name| (name, outcome(name))).collect();
        let done = report.lines().any(|line| line.trim_end() == "done");
        let booted = report.lines().any(|line| line.starts_with("kernel "));
        Self { outcomes, booted, done, ended, console, path: path.to_owned() }
    }

    /// Whether the kernel ended before the machine's first process said its name, and so before anything was checked.
    pub(super) fn is_of_a_failed_boot(&self) -> bool {
        !self.booted && matches!(self.ended, Ended::Off)
    }

    /// What the console printed of a check: the end of it.
    fn console_of(&self, check: &str) -> String {
        let begin = self.console.find(&format!("=== {check} ")).unwrap_or(0);
        let section = &self.console[begin..];
        tail(section.split_once("\n=== ").map_or(section, |(section, _)| section))
    }
}

/// The last lines.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(CONSOLE_TAIL)..].join("\n")
}

/// A kernel and what its machine reported.
pub(super) struct Row<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) report: Result<Report>,
}

impl Row<'_> {
    /// Prints what failed, and says how many checks did; a machine that did not come to its end counts too. Only the
    /// checks in `wanted` had to be performed; all if it is empty.
    pub(super) fn complain(&self, wanted: &[String]) -> usize {
        let release = &self.kernel.release;
        let report = match &self.report {
            Ok(report) => report,
            Err(error) => {
                eprintln!("vmtest: {release}: {error:#}");
                return 1;
            }
        };
        let mut failed = 0;
        for (name, outcome) in &report.outcomes {
            let reason = match outcome {
                Outcome::Passed(_) => continue,
                Outcome::Failed(reason) => reason,
                Outcome::Unfinished => "it did not end",
                Outcome::NotPerformed if wanted.is_empty() || wanted.iter().any(|check| check == name) => {
                    "it was not performed"
                }
                Outcome::NotPerformed => continue,
            };
            failed += 1;
            eprintln!("\nvmtest: {release}: {name} failed: {reason}");
            if *outcome != Outcome::NotPerformed {
                eprintln!("{}", report.console_of(name));
            }
        }
        if !report.done {
            failed += 1;
            let how = match report.ended {
                Ended::Off => "ended before all checks had".to_owned(),
                Ended::Killed(limit) => format!("did not end within {} s", limit.as_secs()),
            };
            eprintln!("\nvmtest: {release}: the machine {how}; the last that it printed:");
            eprintln!("{}", tail(&report.console));
        }
        if failed > 0 {
            eprintln!("vmtest: {release}: all that it printed: {}", report.path.display());
        }
        failed
    }
}

/// The outcomes, one row for each kernel, as Markdown.
pub(super) fn table(rows: &[Row<'_>]) -> String {
    let performed = |name: &str| {
        rows.iter().filter_map(|row| row.report.as_ref().ok()).any(|report| {
            report.outcomes.iter().any(|(check, outcome)| *check == name && *outcome != Outcome::NotPerformed)
        })
    };
    let columns: Vec<_> = CHECKS.iter().filter(|(name, _)| performed(name)).collect();
    let mut table = String::from("| kernel | Debian's version |");
    for (_, heading) in &columns {
        let _infallible = write!(table, " {heading} |");
    }
    let _infallible = writeln!(table, "\n|---|---|{}", "---|".repeat(columns.len()));
    for Row { kernel, report } in rows {
        let _infallible = write!(table, "| {} | {} ({}) |", kernel.series, kernel.version, kernel.suite);
        for (name, _) in &columns {
            let outcome = report.as_ref().ok().and_then(|report| {
                report.outcomes.iter().find(|(check, _)| check == name).map(|(_, outcome)| outcome)
            });
            let cell = match outcome {
                Some(Outcome::Passed(detail)) => detail,
                _ => "**failed**",
            };
            let _infallible = write!(table, " {cell} |");
        }
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CONSOLE: &str =
        "boot\n=== tc_lines (1 s)\nfine\n=== killed (2 s)\nbad\nworse\n=== cpu_offline (3 s)\nx\n";

    fn report(text: &str) -> Report {
        Report::new(text, Ended::Off, CONSOLE.to_owned(), Path::new("console"))
    }

    fn row<'a>(kernel: &'a Kernel, text: &str) -> Row<'a> {
        Row { kernel, report: Ok(report(text)) }
    }

    fn kernel() -> Kernel {
        Kernel {
            series: "6.1".parse().unwrap(),
            release: "6.1.0".to_owned(),
            version: "6.1.9-1".to_owned(),
            suite: "bookworm".to_owned(),
        }
    }

    #[test]
    fn the_guest_performs_the_checks_of_the_table() {
        let checks = concat!(
            include_str!("guest/checks.sh"),
            include_str!("guest/counters.sh"),
            include_str!("guest/filters.sh"),
            include_str!("guest/power.sh"),
            include_str!("guest/kinds.sh")
        );
        let (_, list) = checks.split_once("\nALL_CHECKS=\"").unwrap();
        let list: Vec<&str> = list.split_once('"').unwrap().0.split_whitespace().collect();
        assert_eq!(list, names().collect::<Vec<_>>());
        for name in list {
            assert!(checks.contains(&format!("\n{name}() {{\n")), "{name}");
        }
    }

    #[test]
    fn a_machine_whose_kernel_did_not_start_a_process_has_not_booted() {
        assert!(report("").is_of_a_failed_boot());
        assert!(!report("kernel 6.1.0\r\n").is_of_a_failed_boot());
        let limit = Duration::from_secs(1);
        assert!(
            !Report::new("", Ended::Killed(limit), String::new(), Path::new("console")).is_of_a_failed_boot()
        );
    }

    #[test]
    fn a_check_that_failed_or_did_not_end_or_was_not_performed_is_a_failure() {
        let kernel = kernel();
        let mut all: String = names().map(|name| format!("check {name}\r\npass {name} fine\r\n")).collect();
        all.push_str("done\r\n");
        assert_eq!(row(&kernel, &all).complain(&[]), 0);
        assert_eq!(row(&kernel, &all.replace("pass killed fine", "fail killed x y")).complain(&[]), 1);
        assert_eq!(row(&kernel, &all.replace("pass killed fine\r\n", "")).complain(&[]), 1);
        assert_eq!(row(&kernel, &all.replace("check killed\r\npass killed fine\r\n", "")).complain(&[]), 1);
        assert_eq!(row(&kernel, &all.replace("done\r\n", "")).complain(&[]), 1);
        let one = "check killed\npass killed fine\ndone\n";
        assert_eq!(row(&kernel, one).complain(&["killed".to_owned()]), 0);
        assert_eq!(row(&kernel, one).complain(&["tc_lines".to_owned()]), 1);
    }

    #[test]
    fn the_console_is_shown_from_where_the_check_begins() {
        let report = report("");
        assert_eq!(report.console_of("killed"), "=== killed (2 s)\nbad\nworse");
        assert_eq!(report.console_of("cpu_offline"), "=== cpu_offline (3 s)\nx");
        assert!(tail(&report.console).starts_with("boot"));
    }

    #[test]
    fn a_machine_that_printed_nothing_failed() {
        let kernel = kernel();
        let killed = Ended::Killed(Duration::from_secs(1));
        let silent = Report::new("", killed, String::new(), Path::new("console"));
        assert_eq!(Row { kernel: &kernel, report: Ok(silent) }.complain(&["killed".to_owned()]), 2);
        let begun = Report::new("check killed\n", killed, String::new(), Path::new("console"));
        assert_eq!(Row { kernel: &kernel, report: Ok(begun) }.complain(&["killed".to_owned()]), 2);
    }

    #[test]
    fn the_table_has_what_was_performed() {
        let kernel = kernel();
        let rows = [row(&kernel, "check killed\npass killed nothing\ncheck tc_lines\nfail tc_lines x\n")];
        let expected = "| kernel | Debian's version | tc | SIGKILL leaves |\n|---|---|---|---|\n\
                        | 6.1 | 6.1.9-1 (bookworm) | **failed** | nothing |\n";
        assert_eq!(table(&rows), expected);
    }
}
