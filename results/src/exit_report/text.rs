//! The tables for people.

use super::{ExitResult, by_name, coverage_lines, isa_name, window_name};
use crate::numbers::{counted, counted_as, fine_percent, grouped, grouped_if, share_percent};
use crate::text_table::{TextTable, wrapped};
use strata_exits::{By, Distribution, Row, RunState};

impl ExitResult {
    /// Rows (at most `top`), vCPUs, run states, entries of paravirtualized guests, coverage.
    pub fn to_text(&self, top: Option<usize>) -> String {
        let report = &self.report;
        let isa = isa_name(report.isa).map_or(String::new(), |isa| format!(", {isa}"));
        let mut out = wrapped(
            "trace",
            &format!(
                "{}, {}{isa}, {} {} from first to last event",
                self.source,
                self.format,
                grouped(self.elapsed()),
                report.unit.name()
            ),
        );
        out.push_str(&wrapped("window", &self.window_text()));
        if let Some(phases) = &self.phases {
            out.push_str(&format!("\n{}", phases.to_text(report.unit.name())));
        }
        for table in [
            self.row_table(top),
            self.bin_table(top),
            self.vcpu_table(),
            self.run_state_table(),
            self.paravirtual_table(),
        ]
        .into_iter()
        .flatten()
        {
            out.push('\n');
            out.push_str(&table);
        }
        out.push('\n');
        let unmatched = &report.unmatched;
        out.push_str(&wrapped(
            "unmatched",
            &format!(
                "{} without entry ({} followed by another exit, {} open at the end, {} cut by lost \
                 records, {} with a clock that goes backwards), {} without exit",
                counted(unmatched.all_exits(), "exit"),
                grouped(unmatched.exits),
                grouped(unmatched.at_end),
                grouped(unmatched.lost),
                grouped(unmatched.backwards),
                counted_as(unmatched.entries, "entry", "entries"),
            ),
        ));
        for line in coverage_lines(&report.coverage) {
            out.push_str(&wrapped("read", &line));
        }
        if report.unknown_reasons > 0 {
            let exits = counted(report.unknown_reasons, "exit");
            out.push_str(&wrapped("unknown", &format!("{exits} with a reason that has no name")));
        }
        self.notes().iter().for_each(|note| out.push_str(&wrapped("note", note)));
        out
    }

    fn window_text(&self) -> String {
        let options = &self.report.options;
        let waiting = match (options.exclude_waiting, self.report.has_run_states) {
            (true, _) => "waiting for events and for a CPU left out",
            (false, true) => "waiting for events and for a CPU included",
            (false, false) => "waiting not told apart",
        };
        format!("{}, {waiting}", window_name(options.window))
    }

    fn row_table(&self, top: Option<usize>) -> Option<String> {
        let report = &self.report;
        if report.total.durations.count() == 0 {
            return None;
        }
        let mut table = TextTable::new(1);
        let unit = report.unit.name();
        let title = match report.options.by {
            By::Reason => "exit reason",
            by => by_name(by),
        };
        let begin = [(title, ""), ("exits", ""), ("of all", "%")];
        let end = [("of all", "%"), ("waiting", "%")];
        table.header(header(&[&begin[..], &duration_titles(unit), &end].concat()));
        let shown = top.unwrap_or(usize::MAX).min(report.rows.len());
        for row in &report.rows[..shown] {
            table.row(self.cells(&row.name, row));
            if row.parts.len() > 1 || !row.parts.is_empty() && report.options.by == By::Port {
                for part in &row.parts {
                    table.row(self.cells(&format!("  {}", part.name), part));
                }
            }
        }
        table.rule();
        let all = Row {
            key: strata_exits::Key::Others,
            name: "all exits".to_owned(),
            sums: report.total.clone(),
            parts: Vec::new(),
        };
        table.row(self.cells("all exits", &all));
        let mut out = table.to_string();
        if shown < report.rows.len() {
            let more = counted((report.rows.len() - shown) as u64, "row");
            out.push_str(&format!("({more} more; --top all shows them)\n"));
        }
        if report.without_key > 0 {
            let exits = counted(report.without_key, "exit");
            out.push_str(&format!("({exits} without {})\n", by_name(report.options.by)));
        }
        Some(out)
    }

    fn cells(&self, name: &str, row: &Row) -> Vec<String> {
        let durations = &row.sums.durations;
        let shares = self.shares(row);
        let waiting = self.waiting(row.sums.blocked + row.sums.preempted);
        let whole = match self.report.options.exclude_waiting {
            true => durations.total() + row.sums.blocked + row.sums.preempted,
            false => durations.total(),
        };
        let waiting = waiting.and_then(|waiting| share_percent(waiting, whole));
        let mut cells =
            vec![name.to_owned(), grouped(durations.count()), fine_percent(shares.count)];
        cells.extend(duration_cells(durations));
        cells.extend([fine_percent(shares.time), fine_percent(waiting)]);
        cells
    }

    /// Table 7 of the Xen/VT paper: shares of a row's exits by duration.
    fn bin_table(&self, top: Option<usize>) -> Option<String> {
        let edges = &self.report.options.edges;
        if edges.is_empty() || self.report.rows.is_empty() {
            return None;
        }
        let mut table = TextTable::new(1);
        let mut header = vec!["% of exits".to_owned()];
        header.push(format!("< {}", grouped(edges[0])));
        header.extend(edges.windows(2).map(|e| format!("{} …", grouped(e[0]))));
        header.push(format!(">= {}", grouped(edges[edges.len() - 1])));
        header.push("mean".to_owned());
        table.header(header);
        let mut line = |name: String, row: &Row| {
            let durations = &row.sums.durations;
            let bins = row.sums.bins.iter();
            let shares = bins.map(|&count| fine_percent(share_percent(count, durations.count())));
            table.row(
                std::iter::once(name)
                    .chain(shares)
                    .chain(std::iter::once(mean(durations)))
                    .collect(),
            );
        };
        for row in self.report.rows.iter().take(top.unwrap_or(usize::MAX)) {
            line(row.name.clone(), row);
            if self.report.options.by == By::Port {
                row.parts.iter().for_each(|part| line(format!("  {}", part.name), part));
            }
        }
        Some(table.to_string())
    }

    fn vcpu_table(&self) -> Option<String> {
        let rows: Vec<_> = self.report.vcpus.iter().filter(|row| row.times.exits > 0).collect();
        if rows.is_empty() {
            return None;
        }
        let mut table = TextTable::new(1);
        let unit = self.report.unit.name();
        let times = ["in the guest", "handling", "blocked", "preempted"].map(|name| (name, unit));
        table.header(header(&[&[("vCPU", ""), ("exits", "")][..], &times].concat()));
        for row in rows {
            let times = &row.times;
            let handling = times.outside.saturating_sub(times.blocked + times.preempted);
            table.row(vec![
                row.name.to_string(),
                grouped(times.exits),
                grouped(times.guest),
                grouped(handling),
                grouped_if(self.waiting(times.blocked)),
                grouped_if(self.waiting(times.preempted)),
            ]);
        }
        Some(table.to_string())
    }

    fn run_state_table(&self) -> Option<String> {
        if self.report.vcpus.iter().all(|row| row.run_states.is_empty()) {
            return None;
        }
        let mut table = TextTable::new(2);
        let unit = self.report.unit.name();
        let begin = [("vCPU", ""), ("state", ""), ("stays", "")];
        let end = [("of the time", "%")];
        table.header(header(&[&begin[..], &duration_titles(unit), &end].concat()));
        for row in &self.report.vcpus {
            for state in RunState::ALL {
                let stays = row.run_states.stays(state);
                if stays.count() == 0 {
                    continue;
                }
                let names = [row.name.to_string(), state.name().to_owned()];
                let mut cells: Vec<String> = names.into();
                cells.push(grouped(stays.count()));
                cells.extend(duration_cells(stays));
                cells.push(fine_percent(share_percent(stays.total(), self.elapsed())));
                table.row(cells);
            }
        }
        Some(table.to_string())
    }

    fn paravirtual_table(&self) -> Option<String> {
        if self.report.paravirtual.is_empty() {
            return None;
        }
        let mut table = TextTable::new(3);
        table.header(["vCPU", "entry", "name", "number", "count", "time"].map(str::to_owned));
        for row in &self.report.paravirtual {
            table.row(vec![
                row.vcpu.map_or_else(|| "unknown".to_owned(), |vcpu| vcpu.to_string()),
                row.entry.class().to_owned(),
                row.entry.name().unwrap_or("without a name").to_owned(),
                row.entry.number().to_string(),
                grouped(row.count),
                "not available".to_owned(),
            ]);
        }
        Some(table.to_string())
    }
}

/// Titles with a second line for their units, if they have any.
fn header<'t>(titles: &'t [(&'t str, &'t str)]) -> impl Iterator<Item = String> + 't {
    titles.iter().map(|(title, unit)| format!("{title}\n{unit}"))
}

/// Titles of [`duration_cells`].
fn duration_titles(unit: &str) -> [(&'static str, &str); 6] {
    [("mean", unit), ("median", ""), ("p95", ""), ("p99", ""), ("max", ""), ("total", unit)]
}

fn duration_cells(durations: &Distribution) -> [String; 6] {
    [
        mean(durations),
        grouped_if(durations.percentile(0.5)),
        grouped_if(durations.percentile(0.95)),
        grouped_if(durations.percentile(0.99)),
        grouped_if(durations.maximum()),
        grouped(durations.total()),
    ]
}

fn mean(durations: &Distribution) -> String {
    grouped_if(durations.mean().map(|mean| mean.round() as u64))
}
