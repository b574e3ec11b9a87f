//! A picture of a profile: which layer has what share of instructions and misses.

use crate::error::Error;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::collections::BTreeMap;
use strata_sim::{Counters, Profile};
use strata_symbols::Layer;

/// Size of the picture in pixels.
const SIZE: (u32, u32) = (960, 420);
/// Left edge, width and height of the bars, and the distance from one to the next, in pixels.
const LEFT: i32 = 190;
const WIDTH: f64 = 700.0;
const HEIGHT: i32 = 30;
const STEP: i32 = 46;
const TOP: i32 = 62;

/// Colours that people with any colour vision tell apart (Okabe and Ito), ordered so that
/// neighbours also differ in grey.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(240, 228, 66),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(120, 120, 120),
];

/// What a bar shows.
type Metric = (&'static str, fn(&Counters) -> u64);

const METRICS: [Metric; 6] = [
    ("instructions", |c| c.instructions),
    ("L1I misses", |c| c.l1i().misses),
    ("L1D misses", |c| c.l1d().misses),
    ("L2 misses", |c| c.l2().misses),
    ("ITLB misses", |c| c.itlb.misses),
    ("DTLB misses", |c| c.dtlb.misses),
];

/// Draws the shares of the layers as SVG; `title` says of what.
///
/// # Errors
/// Fails if the drawing library does, which it has no reason to.
pub fn layer_figure(profile: &Profile, title: &str) -> Result<String, Error> {
    let mut layers: BTreeMap<Layer, Counters> = BTreeMap::new();
    for row in &profile.rows {
        *layers.entry(row.function.layer).or_default() += &row.counters;
    }
    let mut svg = String::new();
    draw(&mut svg, &layers, &profile.total, title)
        .map_err(|error| Error::Format { format: "SVG", message: error.to_string() })?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    layers: &BTreeMap<Layer, Counters>,
    total: &Counters,
    title: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    area.draw(&Text::new(title.to_owned(), (20, 18), text(19)))?;
    for (i, (name, metric)) in METRICS.iter().enumerate() {
        let y = TOP + STEP * i as i32;
        let right = text(15).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(*name, (LEFT - 12, y + HEIGHT / 2), right))?;
        let all = metric(total);
        let mut from = LEFT;
        let mut sum = 0;
        for (layer, colour) in layers.iter().zip(COLOURS.iter().cycle()) {
            let count = metric(layer.1);
            sum += count;
            let to = LEFT + (WIDTH * sum as f64 / all.max(1) as f64).round() as i32;
            let bar = [(from, y), (to, y + HEIGHT)];
            area.draw(&Rectangle::new(bar, colour.filled()))?;
            area.draw(&Rectangle::new(bar, WHITE.stroke_width(1)))?;
            let share = 100.0 * count as f64 / all.max(1) as f64;
            if to - from >= 44 {
                let ink = if is_dark(*colour) { WHITE } else { BLACK };
                let style = ("sans-serif", 13)
                    .into_font()
                    .color(&ink)
                    .pos(Pos::new(HPos::Center, VPos::Center));
                let middle = ((from + to) / 2, y + HEIGHT / 2);
                area.draw(&Text::new(format!("{share:.0} %"), middle, style))?;
            }
            from = to;
        }
    }
    let mut x = LEFT;
    let y = TOP + STEP * METRICS.len() as i32 + 14;
    for (layer, colour) in layers.keys().zip(COLOURS.iter().cycle()) {
        let name = layer.to_string();
        area.draw(&Rectangle::new([(x, y), (x + 14, y + 14)], colour.filled()))?;
        area.draw(&Text::new(name.clone(), (x + 20, y), text(14)))?;
        x += 44 + 8 * name.len() as i32;
    }
    area.present()?;
    Ok(())
}

/// Whether white text is easier to read on it (luma of Rec. 601).
fn is_dark(colour: RGBColor) -> bool {
    let RGBColor(r, g, b) = colour;
    299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) < 135_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_is_written_on_blue_and_black_on_yellow() {
        assert!(is_dark(COLOURS[0]) && !is_dark(COLOURS[1]));
    }

    #[test]
    fn every_layer_and_metric_is_named_and_shares_are_those_of_the_counts() {
        let counters = |instructions| Counters { instructions, ..Counters::default() };
        let layers = [(Layer::Hypervisor, counters(30)), (Layer::Idle, counters(70))].into();
        let mut svg = String::new();
        draw(&mut svg, &layers, &counters(100), "a title").unwrap();
        for text in ["a title", "hypervisor", "idle", "DTLB misses", "30 %", "70 %"] {
            assert!(svg.contains(text), "no {text} in {svg}");
        }
    }
}
