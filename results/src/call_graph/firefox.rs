//! The Firefox Profiler's processed format.
//!
//! One thread with a sample for each path, weighted by its own cost; each frame has its layer for
//! category, so that the profiler colours and filters by it. There is no time: a sample lies where
//! the costs of the paths first visited before it end, a unit of cost being a microsecond.

use super::{label_of, weights};
use crate::error::Error;
use crate::metric::Metric;
use fxprof_processed_profile::{
    CategoryColor, CategoryHandle, CpuDelta, Frame, FrameFlags, FrameInfo, Profile,
    ReferenceTimestamp, SamplingInterval, StackHandle, Timestamp,
};
use std::collections::BTreeMap;
use strata_cachemodel::Machine;
use strata_sim::CallTree;
use strata_symbols::{DomainId, Layer};

/// Nanoseconds on the time axis for a unit of cost.
const UNIT_NANOS: u64 = 1000;

/// The tree as a profile.
///
/// # Errors
/// [`Error::Format`] if it cannot be written.
pub(super) fn write(
    tree: &CallTree,
    metric: Metric,
    machine: &Machine,
    source: &str,
) -> Result<String, Error> {
    let start = ReferenceTimestamp::from_millis_since_unix_epoch(0.0);
    let interval = SamplingInterval::from_nanos(UNIT_NANOS);
    let mut profile = Profile::new(&format!("strata {source}"), start, interval);
    profile.set_symbolicated(true);
    let zero = Timestamp::from_nanos_since_reference(0);
    let process = profile.add_process(source, 1, zero);
    let thread = profile.add_thread(process, 1, zero, true);
    profile.set_thread_name(thread, &metric.title());
    let layers: std::collections::BTreeSet<Layer> =
        tree.nodes().iter().map(|node| tree.function(node).layer).collect();
    let categories: BTreeMap<Layer, CategoryHandle> = layers
        .into_iter()
        .map(|layer| (layer, profile.add_category(&layer.to_string(), colour(layer))))
        .collect();
    let mut stacks: Vec<StackHandle> = Vec::with_capacity(tree.nodes().len());
    let mut position = 0u64;
    for (node, cost) in tree.nodes().iter().zip(weights::own_costs(tree, metric, machine)) {
        let function = tree.function(node);
        let label = profile.intern_string(&label_of(function));
        let info = FrameInfo {
            frame: Frame::Label(label),
            category_pair: categories[&function.layer].into(),
            flags: FrameFlags::empty(),
        };
        let frame = profile.intern_frame(thread, info);
        let caller = node.caller.map(|caller| stacks[caller.0 as usize]);
        let stack = profile.intern_stack(thread, caller, frame);
        stacks.push(stack);
        // A sample's weight has 32 bits.
        let mut left = cost;
        while left > 0 {
            let weight = i32::try_from(left).unwrap_or(i32::MAX);
            let step = u64::from(weight.unsigned_abs());
            position += step;
            left -= step;
            let at = Timestamp::from_nanos_since_reference(position.saturating_mul(UNIT_NANOS));
            let busy = CpuDelta::from_nanos(step.saturating_mul(UNIT_NANOS));
            profile.add_sample(thread, at, Some(stack), busy, weight);
        }
    }
    let mut text = serde_json::to_string(&profile)
        .map_err(|error| Error::Format { format: "Firefox profile", message: error.to_string() })?;
    text.push('\n');
    Ok(text)
}

/// The nearest to the layer's colour elsewhere of those that the profiler knows.
fn colour(layer: Layer) -> CategoryColor {
    const KERNELS: [CategoryColor; 5] = [
        CategoryColor::Blue,
        CategoryColor::Green,
        CategoryColor::Yellow,
        CategoryColor::Magenta,
        CategoryColor::Brown,
    ];
    const PROGRAMS: [CategoryColor; 5] = [
        CategoryColor::LightBlue,
        CategoryColor::LightGreen,
        CategoryColor::Orange,
        CategoryColor::Purple,
        CategoryColor::LightRed,
    ];
    let of = |colours: [CategoryColor; 5], domain: DomainId| {
        colours[usize::from(domain.0) % colours.len()]
    };
    match layer {
        Layer::Hypervisor => CategoryColor::Red,
        Layer::Kernel(domain) => of(KERNELS, domain),
        Layer::User(domain) => of(PROGRAMS, domain),
        Layer::Idle => CategoryColor::Gray,
        Layer::Unknown => CategoryColor::DarkGray,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_graph::sample;
    use serde_json::Value;

    /// Frames, categories and weight of each sample, the outermost frame first.
    fn samples(text: &str) -> Vec<(Vec<(String, String)>, i64)> {
        let profile: Value = serde_json::from_str(text).unwrap();
        let thread = &profile["threads"][0];
        let strings = [&profile["shared"]["stringArray"], &thread["stringArray"]]
            .into_iter()
            .find(|strings| strings.is_array())
            .unwrap();
        let index = |value: &Value| value.as_u64().map(|number| number as usize);
        let (stacks, frames) = (&thread["stackTable"], &thread["frameTable"]);
        let column = &thread["samples"];
        let list =
            column["stack"].as_array().unwrap().iter().zip(column["weight"].as_array().unwrap());
        let walk = |stack: &Value| {
            let mut path = Vec::new();
            let mut next = index(stack);
            while let Some(stack) = next {
                let frame = index(&stacks["frame"][stack]).unwrap();
                let function = index(&frames["func"][frame]).unwrap();
                let name = index(&thread["funcTable"]["name"][function]).unwrap();
                let category = index(&frames["category"][frame]).unwrap();
                let category = &profile["meta"]["categories"][category]["name"];
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                path.push((text(&strings[name]), text(category)));
                next = index(&stacks["prefix"][stack]);
            }
            path.reverse();
            path
        };
        list.map(|(stack, weight)| (walk(stack), weight.as_i64().unwrap())).collect()
    }

    #[test]
    fn samples_are_the_paths_with_their_costs_and_layers_are_categories() {
        let (tree, machine) = (sample::tree(), Machine::load("vee07").unwrap());
        let text = write(&tree, Metric::Instructions, &machine, "sample").unwrap();
        let samples = samples(&text);
        assert_eq!(samples.len(), tree.nodes().len());
        for ((frames, weight), (id, node)) in samples.iter().zip(tree.iter()) {
            assert_eq!(*weight as u64, node.exclusive.instructions);
            let mut expected: Vec<_> = tree
                .frames(id)
                .map(|(_, node)| tree.function(node))
                .map(|function| (label_of(function), function.layer.to_string()))
                .collect();
            expected.reverse();
            assert_eq!(*frames, expected);
        }
    }
}
