//! A result from its CSV, in which each row carries where it comes from.

use super::{Gathering, NamedRows, Numbers, ResultFile};
use crate::comparison::number::Number;
use crate::comparison::shape::{ASIDE, HEAD, Repeats, Shape, is_additive, metric_name};
use crate::error::Error;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads the CSV of a result.
pub(super) fn read(path: &Path, text: &str) -> Result<ResultFile, Error> {
    let no_result = |why: String| Error::NoResult { path: path.to_owned(), why };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| no_result(error.to_string()))?;
    let titles = header.clone();
    let header: Vec<String> = titles.iter().map(metric_name).collect();
    let column = |name: &str| header.iter().position(|column| column == name);
    let Some(command_column) = column("command") else {
        return Err(no_result("it is no JSON, and as CSV it has no column `command`".to_owned()));
    };
    let records: Vec<csv::StringRecord> = reader
        .records()
        .collect::<Result<_, _>>()
        .map_err(|error| no_result(format!("the CSV is damaged: {error}")))?;
    let Some(first) = records.first() else {
        return Err(no_result("it has a header and no rows".to_owned()));
    };
    let command = first[command_column].to_owned();
    if command == "compare" {
        return Err(no_result("it is a comparison already".to_owned()));
    }
    let Some(shape) = Shape::of(&command) else {
        return Err(no_result(format!(
            "what its columns mean is not known of {command}; compare its JSON"
        )));
    };
    let all_there = |names: &&[&str]| names.iter().map(|name| column(name)).collect();
    let is_set = shape.csv_names.is_empty();
    let named: Option<Vec<usize>> = match is_set {
        true => column("instructions").map(|end| (0..end).collect()),
        false => shape.csv_names.iter().find_map(all_there),
    };
    let Some(names) = named else {
        let wanted = shape.csv_names.iter().map(|names| names.join(", ")).collect::<Vec<_>>();
        return Err(no_result(format!(
            "a result of {command} has columns {}",
            if is_set { "instructions and before".to_owned() } else { wanted.join(" or ") }
        )));
    };
    let is_result = |place: &usize| {
        let name = header[*place].as_str();
        !names.contains(place)
            && !HEAD.contains(&name)
            && !ASIDE.contains(&name)
            && name != "address"
    };
    let results: Vec<usize> = (0..header.len()).filter(is_result).collect();
    let repeats = shape.rows.first().map_or(Repeats::Sum, |rows| rows.repeats);
    let mut gathering = Gathering::new(repeats);
    let mut totals = Numbers::new();
    let mut left_out = 0;
    for record in &records {
        let mut numbers = Numbers::new();
        for &place in &results {
            if let Some(number) = Number::parse(&record[place]) {
                let name = header[place].as_str();
                let bare = shape.without_unit(name).map_or(name, |(bare, _)| bare);
                numbers.insert(bare.to_owned(), number);
            }
        }
        let summed = |metric: &str| shape.csv_sums && is_additive(metric);
        for (metric, &number) in numbers.iter().filter(|(metric, _)| summed(metric)) {
            let total = totals.entry(metric.clone()).or_insert(Number::Whole(0));
            *total = total.plus(number);
        }
        let name = match is_set {
            true => vec![set_text(names.iter().map(|&place| (&titles[place], &record[place])))],
            false => names.iter().map(|&place| part(&record[place])).collect(),
        };
        match name.first().and_then(|name| name.strip_prefix("(others: ")?.strip_suffix(')')) {
            Some(others) => left_out = others.parse().unwrap_or(0),
            None => gathering.add(name, numbers),
        }
    }
    let table = NamedRows {
        name: match shape.rows {
            [only] => only.name,
            _ => "rows",
        }
        .to_owned(),
        key: match is_set {
            true => vec!["set".to_owned()],
            false => names.iter().map(|&place| header[place].clone()).collect(),
        },
        rows: gathering.rows,
    };
    let mut settings = settings(&header, first, shape);
    if let Some((_, unit)) = header.iter().find_map(|name| shape.without_unit(name)) {
        settings.insert("unit".to_owned(), unit.to_owned());
    }
    if is_set {
        // The machine is that of the first point.
        names
            .iter()
            .for_each(|&place| drop(settings.remove(&format!("machine.{}", &titles[place]))));
    }
    Ok(ResultFile {
        path: path.to_owned(),
        command,
        version: column("version").map(|place| first[place].to_owned()),
        settings,
        totals,
        tables: vec![table],
        left_out,
    })
}

/// A part of a row's name as JSON would have it.
fn part(field: &str) -> String {
    if field.is_empty() { "–".to_owned() } else { field.to_owned() }
}

/// A point's parameters as JSON would have them.
fn set_text<'r>(pairs: impl Iterator<Item = (&'r str, &'r str)>) -> String {
    let mut pairs: Vec<(&str, &str)> = pairs.collect();
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}

fn settings(
    header: &[String],
    record: &csv::StringRecord,
    shape: &Shape,
) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (name, field) in header.iter().zip(record) {
        if name == "machine_parameters" {
            let pairs = field.split(' ').filter_map(|pair| pair.split_once('='));
            settings.extend(
                pairs
                    .filter(|(key, _)| !matches!(*key, "semantics" | "event-delivery"))
                    .map(|(key, value)| (format!("machine.{key}"), value.to_owned())),
            );
        } else if HEAD.contains(&name.as_str()) || shape.settings.contains(&name.as_str()) {
            settings.insert(name.clone(), part(field));
        }
    }
    settings
}
