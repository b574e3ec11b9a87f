//! Figure 6: the life of a packet.

use super::data::FigureData;
use super::{DrawnFigure, FigureSource};
use crate::error::Error;
use crate::life_figure::titled_life_figure;
use crate::numbers::{counted, grouped, percent};
use crate::result_table::{Cell, Column};
use strata_sim::{Life, LifeReport};

/// The four parts of the paper's figure, and the phases of the bundled rules that are of each.
const PARTS: [(&str, &str, &[&str]); 4] = [
    ("a", "the guest's stack", &["socket", "tcp"]),
    ("b", "grants and the event to dom0", &["grant", "notify"]),
    ("c", "the switch to dom0", &["switch"]),
    ("d", "dom0", &["receive", "map", "bridge", "driver", "sent", "unmap", "answer"]),
];

/// The paper's letter for a phase; empty for what comes after it.
fn part_of(phase: &str) -> &'static str {
    PARTS.iter().find(|(_, _, phases)| phases.contains(&phase)).map_or("", |(part, _, _)| part)
}

pub(super) fn figure(
    source: &FigureSource<'_>,
    lives: &LifeReport,
    number: usize,
) -> Result<DrawnFigure, Error> {
    let life = &lives.lives[number];
    let mut columns = Column::counts(["from", "to"]);
    columns.extend(Column::texts(["layer", "phase", "title", "part_of_figure"]));
    let rows = lives.bars(number).into_iter().map(|bar| {
        let phase = bar.phase.map(|phase| &lives.rules.phases[phase]);
        vec![
            bar.from.into(),
            bar.to.into(),
            bar.layer.to_string().into(),
            Cell::text(phase.map(|phase| phase.name.as_str())),
            Cell::text(phase.map(|phase| phase.title.as_str())),
            Cell::text(phase.map(|phase| part_of(&phase.name)).filter(|part| !part.is_empty())),
        ]
    });
    let data = FigureData::new(source.report, columns, rows.collect());
    let title = format!("{}: {}", source.figure, lives.rules.title);
    let scenario = source.report.provenance.title();
    let svg = titled_life_figure(lives, number, "the median", scenario, &title);
    Ok(DrawnFigure { svg, data, findings: findings(lives, life) })
}

/// Instructions of a life in the phases of a part.
fn instructions_of(lives: &LifeReport, life: &Life, phases: &[&str]) -> u64 {
    let of = life.cells.iter().filter(|((phase, _), _)| {
        phases.contains(&lives.rules.phases[usize::from(*phase)].name.as_str())
    });
    of.map(|(_, counters)| counters.instructions).sum()
}

fn findings(lives: &LifeReport, life: &Life) -> Vec<String> {
    let own = life.total().instructions;
    let mut text = format!(
        "The median of {} whole lives is a batch of {}: {} instructions for it, in {} from its first \
         to its last",
        grouped(lives.whole().count() as u64),
        counted(life.packets, "packet"),
        grouped(own),
        grouped(life.elapsed()),
    );
    let parts = PARTS
        .iter()
        .map(|&(part, name, phases)| (part, name, instructions_of(lives, life, phases)));
    let shares: Vec<String> = parts
        .filter(|&(_, _, instructions)| instructions > 0)
        .map(|(part, name, instructions)| {
            format!("{name} ({part}) {} %", percent(instructions, own))
        })
        .collect();
    if !shares.is_empty() {
        text.push_str(&format!("; of those for it, {}", shares.join(", ")));
    }
    text.push('.');
    let costliest = lives.phases.iter().zip(&lives.rules.phases);
    let most = costliest.max_by_key(|(total, _)| total.counters.instructions);
    let whole: u64 = lives.phases.iter().map(|total| total.counters.instructions).sum();
    let dear = most.map(|(total, phase)| {
        format!(
            "Over all lives the dearest phase is “{}” with {} % of the instructions.",
            phase.title,
            percent(total.counters.instructions, whole)
        )
    });
    std::iter::once(text).chain(dear).collect()
}
