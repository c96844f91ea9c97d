//! The budgets: what the project promises, as ratios and bounds within one run.

use serde_json::{Value, json};

use super::{
    results::{Quantity, Samples, Table, markdown, number},
    tools::Tool,
    unmatched::EMPTY,
};

/// A promise, and what was measured.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    name: &'static str,
    /// At most this, or with [`at_least`](Self::at_least) at least.
    bound: f64,
    at_least: bool,
    /// `None` where the profile that it needs was not run, or was not fit for it.
    measured: Option<f64>,
    /// What the measurement does not tell by itself.
    note: Option<String>,
}

impl Budget {
    fn met(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(if self.at_least { measured >= self.bound } else { measured <= self.bound })
    }
}

/// The results, to be asked.
pub(super) struct Results<'a>(pub(super) &'a [Table]);

impl Results<'_> {
    fn table(&self, profile: &str) -> Option<&Table> {
        self.0.iter().find(|table| table.profile == profile)
    }

    fn samples(&self, profile: &str, tool: &str, quantity: Quantity) -> Option<&Samples> {
        self.table(profile)?.samples(tool, quantity)
    }

    pub(super) fn median(&self, profile: &str, tool: Tool, quantity: Quantity) -> Option<f64> {
        self.samples(profile, tool.name, quantity)?.median()
    }

    fn most(&self, profile: &str, tool: &str, quantity: Quantity) -> Option<f64> {
        self.samples(profile, tool, quantity)?.most()
    }

    /// Whether a program lost nothing in any round; files lose nothing.
    pub(super) fn lossless(&self, profile: &str, tool: &str) -> bool {
        self.most(profile, tool, Quantity::Lost).is_none_or(|lost| lost == 0.0)
    }

    /// The least of a quantity among the tcpdumps of a profile that lost nothing, and which one that is.
    pub(super) fn best_tcpdump(&self, profile: &str, quantity: Quantity) -> Option<(&'static str, f64)> {
        let tcpdumps =
            self.table(profile)?.columns.iter().filter(|column| column.tool.starts_with("tcpdump"));
        let lossless = tcpdumps.filter(|column| self.lossless(profile, column.tool));
        let measured = lossless.filter_map(|column| Some((column.tool, column.samples(quantity)?.median()?)));
        measured.min_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// The largest loss of `capture` in a profile that offered what the budget asks for.
    fn loss(&self, profile: &str) -> Option<f64> {
        self.loss_of(profile, Tool::CAPTURE)
    }

    fn loss_of(&self, profile: &str, capture: Tool) -> Option<f64> {
        const PACKETS: f64 = 3e6;
        const ROUNDS: usize = 3;
        let capture = capture.name;
        let offered = self.samples(profile, capture, Quantity::Offered)?;
        let enough = offered.0.len() >= ROUNDS && offered.least()? >= PACKETS;
        enough.then(|| self.most(profile, capture, Quantity::Lost)).flatten()
    }
}

/// All budgets, with what these results say of each. Those that compare judge by the best tcpdump of the profile.
pub(super) fn evaluate(tables: &[Table]) -> Vec<Budget> {
    let results = Results(tables);
    let at_most = |name, bound, measured| Budget { name, bound, at_least: false, measured, note: None };
    let capture = Tool::CAPTURE;
    let to_tcpdump_of = |name, bound, profile, capture: Tool, quantity| {
        let ours =
            results.median(profile, capture, quantity).filter(|_| results.lossless(profile, capture.name));
        // Where noise is larger than what is measured, nothing follows.
        let both = ours
            .zip(results.best_tcpdump(profile, quantity))
            .filter(|&(ours, (_, theirs))| ours > 0.0 && theirs > 0.0);
        Budget {
            name,
            bound,
            at_least: false,
            measured: both.map(|(ours, (_, theirs))| ours / theirs),
            note: both
                .map(|(ours, (tool, theirs))| format!("{} ns; {tool}: {} ns", number(ours), number(theirs))),
        }
    };
    let to_tcpdump = |name, bound, profile, quantity| to_tcpdump_of(name, bound, profile, capture, quantity);
    let headers = Tool::PCAPNG_HEADERS;
    let read = to_tcpdump("-r, times as fast as tcpdump, 8 flows", 11.0, "read", Quantity::ReadTime);
    let few = results.median("read", capture, Quantity::ReadTime);
    let many = results.median("read-flows", capture, Quantity::ReadTime);
    let memory = ["null", "file", "pipe", "paced", "senders"]
        .iter()
        .filter_map(|profile| results.most(profile, capture.name, Quantity::Memory))
        .max_by(f64::total_cmp);
    let unmatched = results.median("unmatched", capture, Quantity::ProgramTime);
    let empty = results.samples("unmatched", EMPTY, Quantity::ProgramTime).and_then(Samples::median);

    vec![
        at_most("lost, %, of 3 million or more, 3 runs or more: to /dev/null", 0.0, results.loss("null")),
        at_most("lost, %, of 3 million or more, 3 runs or more: to a file", 0.0, results.loss("file")),
        at_most("lost, %, the same: -w, pcap, 66 bytes", 0.0, results.loss("write-66")),
        at_most("lost, %, the same: -w, pcap, 1514 bytes", 0.0, results.loss("write-1514")),
        at_most("lost, %, the same: -w, pcapng, headers", 0.0, results.loss_of("write-headers", headers)),
        to_tcpdump(
            "CPU per packet of -w, pcap, 66 bytes, to tcpdump's",
            1.0,
            "write-66",
            Quantity::DaemonCpu,
        ),
        to_tcpdump(
            "CPU per packet of -w, pcap, 1514 bytes, to tcpdump's",
            1.0,
            "write-1514",
            Quantity::DaemonCpu,
        ),
        to_tcpdump_of(
            "CPU per packet of -w, pcapng, headers, to tcpdump's",
            1.0,
            "write-headers",
            headers,
            Quantity::DaemonCpu,
        ),
        to_tcpdump("CPU per line, to a lossless tcpdump's", 1.0 / 8.0, "paced", Quantity::DaemonCpu),
        Budget { at_least: true, measured: read.measured.map(f64::recip), ..read },
        at_most("-r, time at a million flows to that at 8", 1.5, many.zip(few).map(|(many, few)| many / few)),
        to_tcpdump(
            "added per matched packet, to what a lossless tcpdump adds",
            0.6,
            "null",
            // The CPU time of all calls has in it what else the machine did to that CPU.
            Quantity::TypicalAdded,
        ),
        Budget {
            name: "added per unmatched packet, ns of BPF run time (TC)",
            bound: 15.0,
            at_least: false,
            measured: unmatched.zip(empty).map(|(unmatched, empty)| unmatched - empty),
            note: unmatched.zip(empty).map(|(unmatched, empty)| {
                format!("{} as the kernel counts, {} of an empty program", number(unmatched), number(empty))
            }),
        },
        at_most("resident besides rings, MiB", 16.0, memory),
        at_most(
            "wake-ups per second on a silent wire (one look at other programs in 10 s)",
            0.1,
            results.most("silence", capture.name, Quantity::WakeUps),
        ),
        at_most(
            "packet to line on a quiet wire, p99 in us",
            3000.0,
            results.median("latency", capture, Quantity::TailLatency),
        ),
    ]
}

/// The budgets as a table.
pub(super) fn render(budgets: &[Budget]) -> String {
    let heading = ["budget", "bound", "measured", ""].map(str::to_owned).to_vec();
    let lines = budgets.iter().map(|budget| {
        let sign = if budget.at_least { ">=" } else { "<=" };
        let note = budget.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        vec![
            budget.name.to_owned(),
            format!("{sign} {}", number(budget.bound)),
            budget.measured.map_or("-".to_owned(), number) + &note,
            match budget.met() {
                Some(true) => "met",
                Some(false) => "NOT MET",
                None => "not measured",
            }
            .to_owned(),
        ]
    });
    markdown(&[heading].into_iter().chain(lines).collect::<Vec<_>>())
}

pub(super) fn json(budgets: &[Budget]) -> Value {
    let budgets = budgets.iter().map(|budget| {
        let bound = if budget.at_least { "least" } else { "most" };
        json!({
            "name": budget.name, bound: budget.bound, "measured": budget.measured, "met": budget.met(),
            "note": budget.note,
        })
    });
    budgets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(profile: &'static str, samples: &[(Tool, Quantity, &[f64])]) -> Table {
        let tools = [Tool::UNSET, Tool::TCPDUMP, Tool::LOSSLESS, Tool::CAPTURE];
        let mut table = Table::new(profile, String::new(), tools.map(|tool| tool.name));
        for (tool, quantity, values) in samples {
            values.iter().for_each(|value| table.add(tool.name, *quantity, *value));
        }
        table
    }

    fn met(tables: &[Table], name: &str) -> Option<bool> {
        evaluate(tables).iter().find(|budget| budget.name.starts_with(name)).unwrap().met()
    }

    #[test]
    fn a_single_lost_packet_in_one_run_breaks_the_promise() {
        let flood = |lost: &[f64], offered: f64| {
            let offered = vec![offered; lost.len()];
            [table(
                "null",
                &[(Tool::CAPTURE, Quantity::Lost, lost), (Tool::CAPTURE, Quantity::Offered, &offered)],
            )]
        };
        assert_eq!(met(&flood(&[0.0, 0.0, 0.0], 3e6), "lost, %"), Some(true));
        assert_eq!(met(&flood(&[0.0, 0.0, 1e-5], 3e6), "lost, %"), Some(false));
        assert_eq!(met(&flood(&[0.0, 0.0], 3e6), "lost, %"), None);
        assert_eq!(met(&flood(&[0.0, 0.0, 0.0], 2e6), "lost, %"), None);
        assert_eq!(met(&[], "lost, %"), None);
    }

    #[test]
    fn cpu_is_compared_only_where_tcpdump_loses_nothing() {
        let paced = |lost: &[f64]| {
            [table(
                "paced",
                &[
                    (Tool::TCPDUMP, Quantity::Lost, lost),
                    (Tool::TCPDUMP, Quantity::DaemonCpu, &[800.0]),
                    (Tool::CAPTURE, Quantity::Lost, &[0.0]),
                    (Tool::CAPTURE, Quantity::DaemonCpu, &[99.0]),
                ],
            )]
        };
        assert_eq!(met(&paced(&[0.0]), "CPU per line"), Some(true));
        assert_eq!(met(&paced(&[0.0, 0.1]), "CPU per line"), None);
    }

    #[test]
    fn the_best_lossless_tcpdump_is_the_measure() {
        let null = |best: f64| {
            [table(
                "null",
                &[
                    // It keeps next to nothing: what it adds does not count.
                    (Tool::UNSET, Quantity::Lost, &[80.0]),
                    (Tool::UNSET, Quantity::TypicalAdded, &[50.0]),
                    (Tool::TCPDUMP, Quantity::Lost, &[0.0]),
                    (Tool::TCPDUMP, Quantity::TypicalAdded, &[best]),
                    (Tool::LOSSLESS, Quantity::Lost, &[0.0]),
                    (Tool::LOSSLESS, Quantity::TypicalAdded, &[400.0]),
                    (Tool::CAPTURE, Quantity::Lost, &[0.0]),
                    (Tool::CAPTURE, Quantity::TypicalAdded, &[180.0]),
                ],
            )]
        };
        assert_eq!(met(&null(300.0), "added per matched"), Some(true));
        assert_eq!(met(&null(299.0), "added per matched"), Some(false));
        assert_eq!(met(&null(500.0), "added per matched"), Some(true));
        assert_eq!(met(&null(-1.0), "added per matched"), None);
    }

    #[test]
    fn speed_has_a_lower_bound() {
        let read = |capture: f64| {
            [table(
                "read",
                &[
                    (Tool::UNSET, Quantity::ReadTime, &[2400.0]),
                    (Tool::TCPDUMP, Quantity::ReadTime, &[1100.0]),
                    (Tool::CAPTURE, Quantity::ReadTime, &[capture]),
                ],
            )]
        };
        assert_eq!(met(&read(100.0), "-r, times"), Some(true));
        assert_eq!(met(&read(101.0), "-r, times"), Some(false));
    }
}
