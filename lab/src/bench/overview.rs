//! The few numbers that README has: a row for each claim.

use super::{
    budgets::Results,
    results::{Quantity, Table, markdown, number},
    tools::Tool,
};

const COLUMNS: [Tool; 3] = [Tool::UNSET, Tool::TCPDUMP, Tool::CAPTURE];

/// A row: what it says, where its numbers are from, and how they are written.
struct Row {
    label: String,
    profile: &'static str,
    quantity: Quantity,
    /// Whether the number of a program that lost packets says nothing.
    lossless: bool,
    write: fn(f64) -> String,
}

/// The table, of the rows whose profiles were run.
pub(super) fn render(tables: &[Table]) -> String {
    let results = Results(tables);
    let mut lines =
        vec![std::iter::once("").chain(COLUMNS.map(|tool| tool.name)).map(str::to_owned).collect()];
    for row in rows(&results) {
        let cells = COLUMNS.map(|tool| row.cell(&results, tool));
        if cells.iter().any(Option::is_some) {
            let cells = cells.map(|cell| cell.unwrap_or("-".to_owned()));
            lines.push([row.label].into_iter().chain(cells).collect::<Vec<_>>());
        }
    }
    markdown(&lines)
}

fn rows(results: &Results<'_>) -> Vec<Row> {
    let row = |label: &str, profile, quantity, write| Row {
        label: label.to_owned(),
        profile,
        quantity,
        lossless: false,
        write,
    };
    let lossless = |row| Row { lossless: true, ..row };
    // Each program slows the sender down in its own way.
    let rates = |profile| {
        let mut rates = COLUMNS.map(|tool| results.median(profile, tool, Quantity::Rate).unwrap_or(0.0));
        rates.sort_by(f64::total_cmp);
        format!("{:.1} to {:.1} million a second", rates[0], rates[COLUMNS.len() - 1])
    };
    let per_cent = |value| format!("{} %", number(value));
    let nanoseconds = |value| format!("{} ns", number(value));
    vec![
        row(&format!("lost at {}, text to /dev/null", rates("null")), "null", Quantity::Lost, per_cent),
        row(&format!("lost at {}, two senders", rates("senders")), "senders", Quantity::Lost, per_cent),
        row("highest rate tried without loss", "rates", Quantity::LosslessRate, |rate| {
            format!("{} million a second", number(rate))
        }),
        lossless(row(
            "CPU for a line, where none is lost (0.25 million a second)",
            "paced",
            Quantity::DaemonCpu,
            nanoseconds,
        )),
        lossless(row(
            "added to a packet in its own context, where none is lost",
            "null",
            Quantity::TypicalAdded,
            nanoseconds,
        )),
        row("added to a packet to another port", "unmatched", Quantity::SenderAdded, nanoseconds),
        row("printing a file (`-r`), 8 flows", "read", Quantity::ReadRate, million_lines),
        row("printing a file, a million flows", "read-flows", Quantity::ReadRate, million_lines),
        row(
            "from packet to line on a quiet wire, through a pipe with `-l`, p99",
            "latency",
            Quantity::TailLatency,
            |microseconds| format!("{} ms", number(microseconds / 1e3)),
        ),
    ]
}

fn million_lines(rate: f64) -> String {
    format!("{} million lines/s", number(rate))
}

impl Row {
    fn cell(&self, results: &Results<'_>, tool: Tool) -> Option<String> {
        let lost = self.lossless && !results.lossless(self.profile, tool.name);
        let value = if !lost {
            results.median(self.profile, tool, self.quantity)
        } else if tool == Tool::TCPDUMP {
            // With a larger buffer it may have lost none.
            results.best_tcpdump(self.profile, self.quantity).map(|(_, best)| best)
        } else {
            None
        };
        value.map(self.write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_that_lost_packets_took_is_left_out() {
        let mut table = Table::new("null", String::new(), COLUMNS.map(|tool| tool.name));
        for (tool, lost, added) in
            [(Tool::UNSET, 80.0, 50.0), (Tool::TCPDUMP, 0.0, 300.0), (Tool::CAPTURE, 0.0, 150.0)]
        {
            table.add(tool.name, Quantity::Lost, lost);
            table.add(tool.name, Quantity::TypicalAdded, added);
        }
        let text = render(&[table]);
        let row = text.lines().find(|line| line.starts_with("| added to a packet in its own")).unwrap();
        let cells: Vec<_> = row.split('|').skip(2).map(str::trim).collect();
        assert_eq!(cells, ["-", "300 ns", "150 ns", ""]);
    }
}
