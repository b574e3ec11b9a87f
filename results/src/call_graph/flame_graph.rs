//! A flame graph: width is cost, height is depth, colour is the layer.

use super::{collapsed, name_of, weights};
use crate::error::Error;
use crate::layer_colour::{hex, layer_colour};
use crate::metric::Metric;
use inferno::flamegraph::color::{Color, PaletteMap};
use inferno::flamegraph::{self, Options, TextTruncateDirection};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use strata_cachemodel::Machine;
use strata_sim::{CallTree, Function, NodeId};
use strata_symbols::Layer;

/// Height of text in pixels, as the crate's default.
const FONT_SIZE: usize = 12;
/// Width of a letter at that height; the font has letters of one width.
const LETTER: usize = 8;
/// Grey of the bar under all others.
const GROUND: u8 = 235;
/// Where the legend stands: the line that the crate keeps for a subtitle.
const LEGEND_TOP: usize = 38;

/// Draws the tree as SVG with the crate's script for zooming and searching.
///
/// # Errors
/// [`Error::Format`] if it cannot be drawn, as when no path has any cost.
pub(super) fn write(
    tree: &CallTree,
    metric: Metric,
    machine: &Machine,
    title: &str,
) -> Result<String, Error> {
    let failed = |message: String| Error::Format { format: "SVG", message };
    let mut palette = PaletteMap::default();
    // The crate's own bar under all others would have a colour by chance.
    palette.insert("", Color::new(GROUND, GROUND, GROUND));
    let mut layers = BTreeSet::new();
    for node in tree.nodes() {
        let function = tree.function(node);
        let [red, green, blue] = layer_colour(function.layer);
        palette.insert(frame(function), Color::new(red, green, blue));
        layers.insert(function.layer);
    }
    let mut lines = lines(tree, &weights::own_costs(tree, metric, machine));
    // A flame chart is drawn as the lines come, from the last to the first; they come in the order
    // of the tree, so that it is a flame graph whose neighbours are those of one layer.
    lines.reverse();
    let mut options = Options::default();
    options.title = title.to_owned();
    options.subtitle = Some(" ".to_owned());
    options.count_name = metric.title();
    options.font_size = FONT_SIZE;
    options.flame_chart = true;
    options.palette_map = Some(&mut palette);
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.bgcolors = Some(flamegraph::color::BackgroundColor::Flat(Color::new(255, 255, 255)));
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
        .map_err(|error| failed(error.to_string()))?;
    let svg = String::from_utf8(svg).map_err(|error| failed(error.to_string()))?;
    let Some((head, tail)) = svg.rsplit_once("</svg>") else {
        return Err(failed("the drawing has no end".to_owned()));
    };
    Ok(format!("{head}{}</svg>{tail}", legend(&layers)))
}

/// The label of a frame: the function first, because boxes cut off its end.
fn frame(function: &Function) -> String {
    collapsed::plain(&format!("{} [{}]", name_of(function), function.layer))
}

/// A line for each path with a cost of its own, callees after their caller by layer and name.
fn lines(tree: &CallTree, costs: &[u64]) -> Vec<String> {
    let labels: Vec<String> = tree.functions().iter().map(frame).collect();
    let label = |id: NodeId| labels[tree[id].function.0 as usize].as_str();
    let (children, roots) = tree.children();
    let sorted = |nodes: &[NodeId]| {
        let mut nodes = nodes.to_vec();
        // The first is taken from the end.
        nodes.sort_by_key(|&id| Reverse((tree.function(&tree[id]).layer, label(id))));
        nodes
    };
    let mut lines = Vec::new();
    let mut open = sorted(&roots);
    while let Some(id) = open.pop() {
        let cost = costs[id.0 as usize];
        if cost > 0 {
            let mut frames: Vec<&str> = tree.frames(id).map(|(id, _)| label(id)).collect();
            frames.reverse();
            lines.push(format!("{} {cost}", frames.join(";")));
        }
        open.extend(sorted(&children[id.0 as usize]));
    }
    lines
}

/// A square and a name for each layer.
fn legend(layers: &BTreeSet<Layer>) -> String {
    let mut out = String::from("<g id=\"layers\">");
    let mut x = 10;
    for layer in layers {
        let (name, colour) = (layer.to_string(), hex(layer_colour(*layer)));
        let _ = write!(
            out,
            "<rect x=\"{x}\" y=\"{LEGEND_TOP}\" width=\"{FONT_SIZE}\" height=\"{FONT_SIZE}\" \
             fill=\"{colour}\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            x + FONT_SIZE + 4,
            LEGEND_TOP + FONT_SIZE - 2,
        );
        x += FONT_SIZE + 20 + LETTER * name.len();
    }
    out.push_str("</g>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_graph::sample;

    #[test]
    fn every_frame_has_the_colour_of_its_layer_and_its_cost_in_its_title() {
        let (tree, machine) = (sample::tree(), Machine::load("vee07").unwrap());
        let svg = write(&tree, Metric::Instructions, &machine, "a <title> & more").unwrap();
        assert!(svg.contains("a &lt;title&gt; &amp; more"));
        let mut frames = 0;
        for frame in svg.split("<g><title>").skip(1) {
            let name = frame.split("</title>").next().unwrap();
            let Some((_, tail)) = name.rsplit_once(" [") else { continue };
            let layer: Layer = tail.split(']').next().unwrap().parse().unwrap();
            let [red, green, blue] = layer_colour(layer);
            assert!(frame.contains(&format!("rgb({red},{green},{blue})")), "{name}: {frame:.300}");
            frames += 1;
        }
        // Two functions of one name on one path are one box.
        assert_eq!(frames, tree.nodes().len() - 1);
        assert!(svg.contains("do_grant_table_op [hypervisor] (5,000 instructions"));
        assert!(
            svg.contains("fib(unsigned int) &amp; &lt;more&gt; 8 [dom1-user] (166 instructions")
        );
        assert_eq!(svg, write(&tree, Metric::Instructions, &machine, "a <title> & more").unwrap());
        for layer in ["hypervisor", "dom0-kernel", "dom1-kernel", "dom1-user", "idle"] {
            assert!(svg.contains(&format!(">{layer}</text>")), "no {layer} in the legend");
        }
    }
}
