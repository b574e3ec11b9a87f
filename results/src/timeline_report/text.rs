//! A timeline as tables for people.

use super::TimelineReport;
use crate::numbers::{NOT_AVAILABLE, counted, grouped, percent, rate};
use crate::structure::Structure;
use crate::text_table::{TextTable, wrapped};
use strata_sim::{After, AfterBin, Estimate, Misses};

impl TimelineReport {
    /// Windows (at most `top`), what follows events, and how misses go with them.
    pub fn to_text(&self, top: Option<usize>) -> String {
        let timeline = &self.timeline;
        let mut out = self.report.head_text();
        let said = format!(
            "{} of {} instructions, from instruction {}",
            counted(timeline.windows.len() as u64, "window"),
            grouped(timeline.options.window),
            grouped(timeline.begin),
        );
        out.push_str(&wrapped("timeline", &said));
        let structures = self.structures();
        for table in [
            self.window_table(&structures, top),
            self.after_table(&structures),
            self.correlation_table(&structures),
        ] {
            out.push('\n');
            out.push_str(&table);
        }
        out.push('\n');
        out.push_str(&wrapped(
            "counting",
            "an execution's misses are where it begins; one over a boundary counts whole before it",
        ));
        let near = grouped(timeline.options.near);
        let bin = grouped(timeline.options.correlation_bin);
        out.push_str(&wrapped(
            "near",
            &format!(
                "lift: share of the misses within {near} instructions after an event over the \
                 share of the instructions there; r: Pearson, events and misses by {bin} \
                 instructions; ±: 95 % confidence by Student's t, events taken for independent"
            ),
        ));
        self.notes().iter().for_each(|note| out.push_str(&wrapped("note", note)));
        out.push_str(&self.report.remarks_text());
        out
    }

    fn window_table(&self, structures: &[Structure], top: Option<usize>) -> String {
        let kinds = &self.timeline.options.marks;
        let mut table = TextTable::new(0);
        let labels = structures.iter().map(|structure| format!("{}\nmisses", structure.label()));
        let marks = kinds.iter().map(|kind| kind.name().replacen('-', "\n", 1));
        let columns = ["instructions\nfrom", "\nto"].map(str::to_owned).into_iter();
        table.header(columns.chain(labels).chain(marks));
        let numbers = |misses: &Misses| {
            structures.iter().map(|s| grouped(s.misses(misses))).collect::<Vec<_>>()
        };
        let all = self.timeline.windows.len();
        let shown = top.unwrap_or(usize::MAX).min(all);
        for (window, _, marks) in self.windows().take(shown) {
            let count = |kind| marks.iter().filter(|mark| mark.kind == kind).count() as u64;
            let mut row = vec![grouped(window.from), grouped(window.to)];
            row.extend(numbers(&window.misses));
            row.extend(kinds.iter().map(|&kind| grouped(count(kind))));
            table.row(row);
        }
        table.rule();
        let mut row = vec!["all".to_owned(), grouped(self.timeline.instructions)];
        row.extend(numbers(&self.timeline.total()));
        row.extend(kinds.iter().map(|&kind| grouped(self.count(kind).0)));
        table.row(row);
        let mut out = table.to_string();
        if shown < all {
            let more = counted((all - shown) as u64, "window");
            out.push_str(&format!("({more} more; --top all shows them)\n"));
        }
        out
    }

    fn after_table(&self, structures: &[Structure]) -> String {
        let mut table = TextTable::new(2);
        let labels = structures.iter().map(|structure| format!("{}\nmisses", structure.label()));
        let names = ["after an event\n", "instructions\n", "\nevents"].map(str::to_owned);
        table.header(names.into_iter().chain(labels));
        for after in &self.timeline.after {
            let (Some(first), Some(last)) = (after.bins.first(), after.bins.last()) else {
                continue;
            };
            let mut row = |name: &str, place: String, cell: &dyn Fn(Structure) -> String| {
                let events = if name.is_empty() { String::new() } else { grouped(after.events) };
                let cells = structures.iter().map(|&structure| cell(structure));
                table.row([name.to_owned(), place, events].into_iter().chain(cells).collect());
            };
            let place = |bin: &AfterBin| format!("{} to {}", grouped(bin.from), grouped(bin.to));
            let mean = |bin: &AfterBin, s: Structure| estimate(&bin.misses[s as usize]);
            row(after.kind.name(), place(first), &|s| mean(first, s));
            if after.bins.len() > 1 {
                row("", place(last), &|s| mean(last, s));
            }
            row("", "anywhere".to_owned(), &|s| rate(Some(first.anywhere[s as usize])));
        }
        let mut out = table.to_string();
        let told = |after: &&After| after.overlapping > 0 || after.cut > 0;
        for after in self.timeline.after.iter().filter(told) {
            out.push_str(&wrapped(
                "",
                &format!(
                    "{}: another follows {} of them within {} instructions; {} too near the end \
                     left out",
                    after.kind,
                    grouped(after.overlapping),
                    grouped(self.timeline.options.after),
                    grouped(after.cut),
                ),
            ));
        }
        out
    }

    fn correlation_table(&self, structures: &[Structure]) -> String {
        let mut table = TextTable::new(1);
        let labels = structures.iter().flat_map(|structure| {
            [format!("{}\nlift", structure.label()), format!("{}\nr", structure.label())]
        });
        let names = ["near to\n", "\nevents", "instructions\n%"].map(str::to_owned);
        table.header(names.into_iter().chain(labels));
        for figures in &self.timeline.correlations {
            let instructions = percent(figures.near_instructions, self.timeline.instructions);
            let mut row =
                vec![figures.kind.name().to_owned(), grouped(figures.events), instructions];
            for structure in structures {
                row.push(rate(figures.lift[*structure as usize]));
                row.push(rate(figures.pearson[*structure as usize]));
            }
            table.row(row);
        }
        table.to_string()
    }
}

fn estimate(estimate: &Estimate) -> String {
    let half = estimate.half_width;
    let half = half.map_or_else(|| NOT_AVAILABLE.to_owned(), |half| rate(Some(half)));
    format!("{} ±{half}", rate(Some(estimate.mean)))
}
