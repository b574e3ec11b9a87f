//! Draws what a sweep costs, from the CSV of `cli/benches/sweep_against_replay.sh` on standard
//! input, into a folder: `sweep-cost-points` and `sweep-cost-length`, each as SVG and CSV.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::stdin;
use std::path::PathBuf;
use strata_results::{Axis, ChartFile, ChartSource, Labels, LineChart, Panel, Scale, Series};

/// A measurement: number of points or instructions, CPU seconds of the sweep and of one replay.
struct Cost {
    at: f64,
    sweep: f64,
    replay: f64,
}

fn read() -> Result<BTreeMap<String, Vec<Cost>>, Box<dyn Error>> {
    let mut costs: BTreeMap<String, Vec<Cost>> = BTreeMap::new();
    for record in csv::Reader::from_reader(stdin()).deserialize() {
        let (over, at, sweep, replay) = record?;
        costs.entry(over).or_default().push(Cost { at, sweep, replay });
    }
    Ok(costs)
}

fn line(name: &str, costs: &[Cost], of: impl Fn(&Cost) -> f64) -> Series {
    Series::line(name, costs.iter().map(|cost| (cost.at, of(cost))).collect())
}

fn seconds(scale: Scale) -> Axis {
    Axis { scale, ..Axis::linear("CPU time", "s, one core") }
}

fn chart(title: &str, x: Axis, panel: Panel) -> LineChart {
    LineChart {
        title: title.to_owned(),
        subtitle: "medians of five, by turns".to_owned(),
        x,
        panels: vec![panel],
        lanes: Vec::new(),
        source: ChartSource { machine: "vee07".to_owned(), trace_hash: None },
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: sweep_cost FOLDER < CSV")?);
    let costs = read()?;
    let of = |over: &str| costs.get(over).ok_or_else(|| format!("no rows over {over}"));
    let write = |stem: &str, chart: &LineChart| -> Result<(), Box<dyn Error>> {
        let path = folder.join(stem).with_extension("svg");
        let file: ChartFile = path.to_str().ok_or("the folder's name is no text")?.parse()?;
        Ok(file.write(chart, true)?)
    };

    let points = of("points")?;
    let panel = Panel {
        y: seconds(Scale::Log10),
        series: vec![
            line("sweep", points, |cost| cost.sweep),
            line("as many replays (number × one replay)", points, |cost| cost.at * cost.replay),
        ],
    };
    let x = Axis::doubling("points of the sweep", "", Labels::Number);
    write("sweep-cost-points", &chart("Cost of a sweep over its points", x, panel))?;

    let length = of("instructions")?;
    let panel = Panel {
        y: seconds(Scale::Linear),
        series: vec![
            line("sweep of 196 points", length, |cost| cost.sweep),
            line("one replay", length, |cost| cost.replay),
        ],
    };
    let x = Axis::linear("instructions replayed", "");
    write("sweep-cost-length", &chart("Cost of a sweep over the trace's length", x, panel))
}
