//! One life as a swim-lane figure: a lane for each layer, bars for phases.
//!
//! Made by hand as SVG: hatches and numbered marks, which tell phases apart without colour, are
//! beyond the chart library.

use crate::numbers::{counted, grouped, percent};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use strata_sim::{Bar, LifeReport};
use strata_symbols::{DomainId, Layer};

/// Width of the picture, left and right edge of the lanes, in pixels.
const WIDTH: f64 = 1180.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 1160.0;
/// Height of a lane's bar, and from one lane to the next.
const BAR: f64 = 34.0;
const STEP: f64 = 48.0;
/// First lane.
const TOP: f64 = 118.0;
/// A bar is never thinner, so that every phase is seen.
const THINNEST: f64 = 1.5;
/// Marks of phases: diameter, and rows that they are spread over.
const MARK: f64 = 17.0;
const MARK_ROWS: usize = 2;

/// Colours that people with any colour vision tell apart (Okabe and Ito); neighbours differ in grey.
const COLOURS: [&str; 7] =
    ["#0072b2", "#f0e442", "#d55e00", "#56b4e9", "#009e73", "#e69f00", "#cc79a7"];

/// What others do.
const OTHERS: &str = "#e4e4e4";

/// Draws a life as SVG; `number` is its index, `called` says which it is, `source` of what.
pub fn life_figure(lives: &LifeReport, number: usize, called: &str, source: &str) -> String {
    let title = &lives.rules.title;
    titled_life_figure(lives, number, called, source, title)
}

/// The same under another title than that of the rules.
pub(crate) fn titled_life_figure(
    lives: &LifeReport,
    number: usize,
    called: &str,
    source: &str,
    title: &str,
) -> String {
    let life = &lives.lives[number];
    let bars = lives.bars(number);
    let elapsed = life.elapsed().max(1);
    let x = |at: u64| LEFT + (RIGHT - LEFT) * at as f64 / elapsed as f64;
    let lanes = lanes(&bars);
    let bottom = TOP + STEP * lanes.len() as f64;
    let phases = phases_of(lives, number);
    let legend_rows = (phases.len() + 1).div_ceil(2);
    let height = bottom + 66.0 + 23.0 * legend_rows as f64 + 14.0;

    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<defs>\n\
         <pattern id=\"hatch\" width=\"6\" height=\"6\" patternTransform=\"rotate(45)\" \
         patternUnits=\"userSpaceOnUse\"><rect width=\"2\" height=\"6\" fill=\"black\" \
         fill-opacity=\"0.55\"/></pattern>\n</defs>"
    );
    let title = format!("{title}: life {} of {}, {called}", number + 1, lives.lives.len());
    text(&mut svg, 20.0, 30.0, "font-size=\"19\"", &title);
    let mut facts = vec![source.to_owned()];
    if life.packets > 0 {
        facts.push(counted(life.packets, "packet"));
    }
    facts.push(counted(life.references, "grant"));
    facts.push(format!("{} instructions from first to last", grouped(life.elapsed())));
    let own = life.total().instructions;
    facts.push(format!("{} of them ({} %) for this life", grouped(own), percent(own, elapsed)));
    text(&mut svg, 20.0, 53.0, "fill=\"#444\"", &facts.join(" · "));

    for (i, layer) in lanes.iter().enumerate() {
        let y = TOP + STEP * i as f64;
        let style = "text-anchor=\"end\"";
        text(&mut svg, LEFT - 12.0, y + BAR / 2.0 + 5.0, style, &layer.to_string());
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{0}\" y2=\"{0}\" stroke=\"#bbb\"/>",
            y + BAR + 6.5
        );
    }
    for bar in &bars {
        let Some(lane) = lanes.iter().position(|&layer| layer == bar.layer) else { continue };
        let y = TOP + STEP * lane as f64;
        let (from, to) = (x(bar.from), x(bar.to));
        match bar.phase {
            None => rectangle(&mut svg, from, y + 8.0, to - from, BAR - 16.0, OTHERS),
            Some(phase) => swatch(&mut svg, phase, from, y, (to - from).max(THINNEST), BAR),
        }
    }
    marks(&mut svg, &bars, &phases, x);
    axis(&mut svg, elapsed, bottom, x);

    for (i, &(phase, instructions)) in phases.iter().enumerate() {
        let (column, row) = (i / legend_rows, i % legend_rows);
        let (x, y) = (40.0 + 570.0 * column as f64, bottom + 66.0 + 23.0 * row as f64);
        mark(&mut svg, phase, x - 8.0, y - 5.0);
        swatch(&mut svg, phase, x + 10.0, y - 12.0, 26.0, 15.0);
        let share = percent(instructions, own);
        let title = &lives.rules.phases[phase].title;
        let label = format!("{title}: {} ({share} %)", grouped(instructions));
        text(&mut svg, x + 44.0, y, "", &label);
    }
    let (column, row) = (phases.len() / legend_rows, phases.len() % legend_rows);
    let (x, y) = (40.0 + 570.0 * column as f64, bottom + 66.0 + 23.0 * row as f64);
    rectangle(&mut svg, x + 10.0, y - 10.0, 26.0, 11.0, OTHERS);
    let label = format!("other work meanwhile: {}", grouped(elapsed.saturating_sub(own)));
    text(&mut svg, x + 44.0, y, "", &label);
    svg.push_str("</svg>\n");
    svg
}

/// Layers from the guest's program down to the hypervisor and up to dom0, the order of a packet.
fn lanes(bars: &[Bar]) -> Vec<Layer> {
    let rank = |layer: Layer| match layer {
        Layer::User(DomainId(0)) => 4,
        Layer::Kernel(DomainId(0)) => 3,
        Layer::User(_) => 0,
        Layer::Kernel(_) => 1,
        Layer::Hypervisor => 2,
        Layer::Idle => 5,
        Layer::Unknown => 6,
    };
    let mut layers: Vec<Layer> = bars.iter().map(|bar| bar.layer).collect();
    layers.sort_by_key(|&layer| (rank(layer), layer));
    layers.dedup();
    layers
}

/// Phases that a life had, with their instructions.
fn phases_of(lives: &LifeReport, number: usize) -> Vec<(usize, u64)> {
    let mut phases: BTreeMap<usize, u64> = BTreeMap::new();
    for (&(phase, _), counters) in &lives.lives[number].cells {
        *phases.entry(usize::from(phase)).or_default() += counters.instructions;
    }
    phases.into_iter().collect()
}

/// Puts the number of each phase over its longest bar, in rows so that they do not overlap.
fn marks(svg: &mut String, bars: &[Bar], phases: &[(usize, u64)], x: impl Fn(u64) -> f64) {
    let middle = |phase: usize| {
        let own = bars.iter().filter(|bar| bar.phase == Some(phase));
        own.max_by_key(|bar| bar.to - bar.from).map(|bar| (x(bar.from) + x(bar.to)) / 2.0)
    };
    let mut wanted: Vec<(f64, usize)> = phases
        .iter()
        .filter_map(|&(phase, _)| middle(phase).map(|middle| (middle, phase)))
        .collect();
    wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut ends, mut places) = ([f64::MIN; MARK_ROWS], Vec::new());
    for (middle, phase) in wanted {
        let free = (0..MARK_ROWS).find(|&row| ends[row] + 1.0 <= middle - MARK / 2.0);
        let row = free.unwrap_or_else(|| {
            let earliest = |a: &usize, b: &usize| ends[*a].total_cmp(&ends[*b]);
            (0..MARK_ROWS).min_by(earliest).unwrap_or_default()
        });
        let at = middle.max(ends[row] + 1.0 + MARK / 2.0);
        ends[row] = at + MARK / 2.0;
        let y = TOP - 16.0 - (MARK + 2.0) * row as f64;
        places.push((phase, at, y));
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{middle:.1}\" y2=\"{:.1}\" stroke=\"#666\"/>",
            y + MARK / 2.0,
            TOP - 1.0
        );
    }
    // No line crosses a number.
    for (phase, at, y) in places {
        mark(svg, phase, at, y);
    }
}

fn axis(svg: &mut String, elapsed: u64, bottom: f64, x: impl Fn(u64) -> f64) {
    let step = tick(elapsed);
    for i in 0..=elapsed / step {
        let at = i * step;
        let _ = writeln!(
            svg,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{1}\" stroke=\"#ddd\" \
             stroke-dasharray=\"2 3\"/>",
            x(at),
            bottom
        );
        text(svg, x(at), bottom + 16.0, "text-anchor=\"middle\" font-size=\"12\"", &grouped(at));
    }
    let style = "text-anchor=\"middle\" fill=\"#444\"";
    text(svg, (LEFT + RIGHT) / 2.0, bottom + 36.0, style, "instructions since the life began");
}

/// Distance of ticks: 1, 2 or 5 times a power of ten, for five to ten of them.
fn tick(range: u64) -> u64 {
    let rough = (range / 8).max(1);
    let power = 10u64.pow(rough.ilog10());
    [1, 2, 5].map(|n| n * power).into_iter().find(|&step| step >= rough).unwrap_or(10 * power)
}

fn swatch(svg: &mut String, phase: usize, x: f64, y: f64, width: f64, height: f64) {
    rectangle(svg, x, y, width, height, COLOURS[phase % COLOURS.len()]);
    // The second time round the colours are hatched.
    if (phase / COLOURS.len()) % 2 == 1 {
        rectangle(svg, x, y, width, height, "url(#hatch)");
    }
}

fn mark(svg: &mut String, phase: usize, x: f64, y: f64) {
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{}\" fill=\"white\" stroke=\"black\"/>",
        MARK / 2.0 - 0.5
    );
    let number = (phase + 1).to_string();
    // Two digits are smaller, to stay within the circle.
    let size = if number.len() > 1 { 9.5 } else { 11.0 };
    let style = format!("text-anchor=\"middle\" font-size=\"{size}\" font-weight=\"bold\"");
    text(svg, x, y + size * 0.36, &style, &number);
}

fn rectangle(svg: &mut String, x: f64, y: f64, width: f64, height: f64, fill: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height}\" fill=\"{fill}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, style: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_neither_few_nor_many() {
        for range in [1, 9, 355_084, 1_000_000, 43_463_474] {
            let step = tick(range);
            assert!((1..=10).contains(&(range / step)), "{range} {step}");
            let mut lead = step;
            while lead >= 10 {
                assert_eq!(lead % 10, 0, "{step}");
                lead /= 10;
            }
            assert!([1, 2, 5].contains(&lead), "{step}");
        }
    }

    #[test]
    fn text_cannot_break_out_of_its_element() {
        let mut svg = String::new();
        text(&mut svg, 0.0, 0.0, "", "a < b & c > d");
        assert!(svg.contains("a &lt; b &amp; c &gt; d"));
    }
}
