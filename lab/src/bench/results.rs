//! What was measured: tables of samples, one column for each program, one line for each quantity.

use serde_json::{Value, json};

use super::tools::Tool;

/// The samples of one quantity for one program, one for each round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Samples(pub(super) Vec<f64>);

impl Samples {
    pub(super) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let upper = sorted.get(sorted.len() / 2)?;
        let lower = sorted.get((sorted.len() - 1) / 2)?;
        Some((lower + upper) / 2.0)
    }

    pub(super) fn least(&self) -> Option<f64> {
        self.0.iter().copied().min_by(f64::total_cmp)
    }

    pub(super) fn most(&self) -> Option<f64> {
        self.0.iter().copied().max_by(f64::total_cmp)
    }
}

/// A quantity that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Offered,
    Delivered,
    Lost,
    LosslessRate,
    LossyRate,
    LostThere,
    Rate,
    SenderCpu,
    SenderAdded,
    SenderTypical,
    TypicalAdded,
    DaemonCpu,
    DaemonUser,
    DaemonSystem,
    Memory,
    ProgramTime,
    WakeUps,
    MedianLatency,
    TailLatency,
    Throughput,
    CpuPerByte,
    ReadTime,
    ReadRate,
}

impl Quantity {
    /// Its name and unit.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Offered => "offered, packets",
            Self::Delivered => "delivered, lines",
            Self::Lost => "lost, %",
            Self::LosslessRate => "highest rate without loss, million packets/s",
            Self::LossyRate => "first rate with loss, million packets/s",
            Self::LostThere => "  lost there, %",
            Self::Rate => "rate, million packets/s",
            Self::SenderCpu => "sender, CPU ns/packet",
            Self::SenderAdded => "  added by the listener",
            Self::SenderTypical => "sender, ns/packet in its median call",
            Self::TypicalAdded => "  added by the listener",
            Self::DaemonCpu => "listener, CPU ns/line",
            Self::DaemonUser => "  in user mode, ns/line",
            Self::DaemonSystem => "  in the kernel, ns/line",
            Self::Memory => "resident besides rings, MiB",
            Self::ProgramTime => "BPF program, ns/packet",
            Self::WakeUps => "context switches/s",
            Self::MedianLatency => "latency p50, us",
            Self::TailLatency => "latency p99, us",
            Self::Throughput => "throughput, MB/s",
            Self::CpuPerByte => "the pair's CPU, ns/KiB",
            Self::ReadTime => "CPU, ns/packet",
            Self::ReadRate => "million lines/s of CPU",
        }
    }

    /// Whether its ratio to tcpdump's says something.
    fn has_ratio(self) -> bool {
        !matches!(self, Self::Offered | Self::Delivered | Self::Lost | Self::LostThere | Self::WakeUps)
    }
}

/// One program's results in one profile.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) tool: &'static str,
    pub(super) cells: Vec<(Quantity, Samples)>,
}

impl Column {
    pub(super) fn samples(&self, quantity: Quantity) -> Option<&Samples> {
        self.cells.iter().find(|(which, _)| *which == quantity).map(|(_, samples)| samples)
    }

    /// Adds a sample.
    pub(super) fn add(&mut self, quantity: Quantity, value: f64) {
        match self.cells.iter_mut().find(|(which, _)| *which == quantity) {
            Some((_, samples)) => samples.0.push(value),
            None => self.cells.push((quantity, Samples(vec![value]))),
        }
    }
}

/// The results of one profile.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The profile's name.
    pub(super) profile: &'static str,
    /// What was done.
    pub(super) title: String,
    pub(super) columns: Vec<Column>,
}

/// The program that the others are compared with.
pub(super) const REFERENCE: &str = Tool::TCPDUMP.name;

impl Table {
    pub(super) fn new(
        profile: &'static str,
        title: String,
        tools: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let columns = tools.into_iter().map(|tool| Column { tool, cells: Vec::new() }).collect();
        Self { profile, title, columns }
    }

    pub(super) fn samples(&self, tool: &str, quantity: Quantity) -> Option<&Samples> {
        self.columns.iter().find(|column| column.tool == tool)?.samples(quantity)
    }

    /// Adds a sample.
    pub(super) fn add(&mut self, tool: &str, quantity: Quantity, value: f64) {
        if let Some(column) = self.columns.iter_mut().find(|column| column.tool == tool) {
            column.add(quantity, value);
        }
    }

    /// The samples of what was measured most often.
    fn rounds(&self) -> usize {
        let cells = self.columns.iter().flat_map(|column| &column.cells);
        cells.map(|(_, samples)| samples.0.len()).max().unwrap_or(0)
    }

    /// The quantities, in the order in which they were first measured of the program that has most of them.
    fn quantities(&self) -> Vec<Quantity> {
        let fullest = self.columns.iter().max_by_key(|column| column.cells.len());
        fullest.map(|column| column.cells.iter().map(|(quantity, _)| *quantity).collect()).unwrap_or_default()
    }

    /// `median [least-most] ratio`.
    fn cell(&self, column: &Column, quantity: Quantity) -> String {
        let Some(samples) = column.samples(quantity) else { return "-".to_owned() };
        let (Some(median), Some(least), Some(most)) = (samples.median(), samples.least(), samples.most())
        else {
            return "-".to_owned();
        };
        let mut text = number(median);
        if least < most {
            text += &format!(" [{}-{}]", number(least), number(most));
        }
        let reference = self.samples(REFERENCE, quantity).and_then(Samples::median);
        if let Some(reference) = reference
            && quantity.has_ratio()
            && column.tool != REFERENCE
            && reference > 0.0
            && median > 0.0
        {
            text += &format!(" x{}", number(median / reference));
        }
        text
    }

    /// The table as Markdown, which is also readable as it is.
    pub(super) fn render(&self) -> String {
        let mut lines = vec![vec![String::new()]];
        lines[0].extend(self.columns.iter().map(|column| column.tool.to_owned()));
        for quantity in self.quantities() {
            let mut line = vec![quantity.label().to_owned()];
            line.extend(self.columns.iter().map(|column| self.cell(column, quantity)));
            lines.push(line);
        }
        let rounds = match self.rounds() {
            1 => "1 round".to_owned(),
            rounds => format!("{rounds} rounds"),
        };
        format!("### {}: {}; {rounds}\n\n{}", self.profile, self.title, markdown(&lines))
    }

    pub(super) fn json(&self) -> Value {
        let columns = self.columns.iter().map(|column| {
            let cells = column.cells.iter().map(|(quantity, samples)| {
                json!({ "quantity": quantity.label().trim(), "samples": samples.0, "median": samples.median() })
            });
            json!({ "tool": column.tool, "results": cells.collect::<Vec<_>>() })
        });
        json!({ "profile": self.profile, "title": self.title, "tools": columns.collect::<Vec<_>>() })
    }
}

/// Lines of cells, the first of them the heading, as a Markdown table with aligned columns.
pub(super) fn markdown(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, width) in widths.iter().enumerate() {
            let cell = line.get(column).map_or("", String::as_str);
            text += &format!("| {cell:width$} ");
        }
        text += "|\n";
        if number == 0 {
            widths.iter().for_each(|width| text += &format!("|{}", "-".repeat(width + 2)));
            text += "|\n";
        }
    }
    text
}

/// A number with three digits that count, or all before the point.
pub(super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        _ if value == value.round() => 0,
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let whole = text.len() - if decimals > 0 { decimals + 1 } else { 0 };
    if whole < 7 {
        return text;
    }
    // Thousands apart, from a million on.
    let (digits, sign) = text.strip_prefix('-').map_or((text.as_str(), ""), |digits| (digits, "-"));
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    format!("{sign}{}", groups.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers_of_samples() {
        assert_eq!(Samples(vec![3.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(Samples(vec![4.0, 1.0, 2.0, 3.0]).median(), Some(2.5));
        assert_eq!(Samples::default().median(), None);
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        let texts = [0.0, 0.1234, 1.5, 12.34, 123.4, 1234.5, 3_000_000.0, -12.34].map(number);
        assert_eq!(texts, ["0", "0.123", "1.50", "12.3", "123", "1234", "3 000 000", "-12.3"]);
    }

    #[test]
    fn a_table_shows_medians_spread_and_ratios() {
        let mut table = Table::new("null", "a title".to_owned(), ["tcpdump, TZ set", "capture"]);
        for (tcpdump, capture) in [(1000.0, 100.0), (1200.0, 110.0), (1100.0, 120.0)] {
            table.add("tcpdump, TZ set", Quantity::DaemonCpu, tcpdump);
            table.add("capture", Quantity::DaemonCpu, capture);
        }
        let expected = "\
### null: a title; 3 rounds

|                       | tcpdump, TZ set  | capture              |
|-----------------------|------------------|----------------------|
| listener, CPU ns/line | 1100 [1000-1200] | 110 [100-120] x0.100 |
";
        assert_eq!(table.render(), expected);
    }
}
