//! Reading a result that an earlier run wrote, as JSON or CSV.

use super::number::Number;
use super::shape::{ASIDE, HEAD, Repeats, Shape, is_additive, metric_name};
use crate::error::Error;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

mod from_csv;
mod from_json;

/// Version of the layout of JSON that can be read.
const SCHEMA: u64 = 1;

/// Numbers by name.
pub(crate) type Numbers = BTreeMap<String, Number>;

/// Rows of one kind, by what they are called.
#[derive(Debug, Default)]
pub(crate) struct NamedRows {
    /// What a row is.
    pub(crate) name: String,
    /// What the parts of a row's name are called.
    pub(crate) key: Vec<String>,
    /// The rows.
    pub(crate) rows: BTreeMap<Vec<String>, Numbers>,
}

/// A result that an earlier run wrote.
#[derive(Debug)]
pub struct ResultFile {
    /// The file as the user named it.
    pub(crate) path: PathBuf,
    /// The command that it is a result of.
    pub(crate) command: String,
    /// Version of the program that wrote it.
    pub(crate) version: Option<String>,
    /// How it came about: machine, trace and the like, with the machine's parameters one by one.
    pub(crate) settings: BTreeMap<String, String>,
    /// Of the whole.
    pub(crate) totals: Numbers,
    /// By row.
    pub(crate) tables: Vec<NamedRows>,
    /// How many rows `--top` left out.
    pub(crate) left_out: u64,
}

impl ResultFile {
    /// Reads a result.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if the system refuses; [`Error::NoResult`] for what no command of this
    /// program wrote, or not whole; [`Error::OtherSchema`] for one of another layout.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let no_result = |why: String| Error::NoResult { path: path.to_owned(), why };
        let text = String::from_utf8(bytes).map_err(|error| {
            no_result(format!("byte {} is no text", error.utf8_error().valid_up_to()))
        })?;
        match text.trim_start().chars().next() {
            None => Err(no_result("it is empty".to_owned())),
            Some('{' | '[') => from_json::read(path, &text),
            Some(_) => from_csv::read(path, &text),
        }
    }

    /// The rows of this name.
    pub(crate) fn table(&self, name: &str) -> Option<&NamedRows> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// A setting by its name.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// All numbers that rows have, and totals.
    pub(crate) fn metrics(&self) -> BTreeSet<&str> {
        let rows = self.tables.iter().flat_map(|table| table.rows.values());
        rows.chain([&self.totals]).flat_map(Numbers::keys).map(String::as_str).collect()
    }
}

/// Puts rows under their names, and rows of one name together.
struct Gathering {
    repeats: Repeats,
    rows: BTreeMap<Vec<String>, Numbers>,
    /// How often each name came.
    times: BTreeMap<Vec<String>, u64>,
}

impl Gathering {
    fn new(repeats: Repeats) -> Self {
        Gathering { repeats, rows: BTreeMap::new(), times: BTreeMap::new() }
    }

    fn add(&mut self, mut name: Vec<String>, mut numbers: Numbers) {
        let times = self.times.entry(name.clone()).or_default();
        *times += 1;
        match self.repeats {
            Repeats::Number if *times > 1 => {
                if let Some(last) = name.last_mut() {
                    *last = format!("{last} #{times}");
                }
            }
            Repeats::Number | Repeats::Sum => {}
            Repeats::Count(what) => {
                // A sum of what cannot be added would depend on how many rows there are.
                numbers.retain(|metric, _| is_additive(metric));
                numbers.insert(what.to_owned(), Number::Whole(1));
            }
        }
        let Some(sum) = self.rows.get_mut(&name) else {
            self.rows.insert(name, numbers);
            return;
        };
        sum.retain(|metric, _| is_additive(metric));
        for (metric, number) in numbers {
            if is_additive(&metric) {
                let sum = sum.entry(metric).or_insert(Number::Whole(0));
                *sum = sum.plus(number);
            }
        }
    }
}

/// Puts all numbers in `value`, which is at `path`, under their names. Lists are left out.
fn numbers_in(path: &str, value: &Value, out: &mut Numbers) {
    match value {
        Value::Object(inside) => {
            for (key, value) in inside {
                let path = if path.is_empty() { key.clone() } else { format!("{path}_{key}") };
                numbers_in(&path, value, out);
            }
        }
        other => {
            if let Some(number) = Number::of(other) {
                out.insert(metric_name(path), number);
            }
        }
    }
}

/// A name or setting as text: lists and objects in a line.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Array(list) if list.is_empty() => "–".to_owned(),
        Value::Object(inside) if inside.is_empty() => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text_of).collect::<Vec<_>>().join(";"),
        Value::Object(inside) => {
            let pairs = inside.iter().map(|(key, value)| format!("{key}={}", text_of(value)));
            pairs.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// Settings in `value`, one by one, by their names with dots between.
fn settings_in(name: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(inside) if !inside.is_empty() => {
            for (key, value) in inside {
                settings_in(&format!("{name}.{key}"), value, out);
            }
        }
        other => {
            out.insert(name.to_owned(), text_of(other));
        }
    }
}

/// The settings of a result, of the keys that its command has for them.
fn settings_of(object: &Map<String, Value>, shape: Option<&Shape>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let more = shape.map_or(&[][..], |shape| shape.settings);
    for key in HEAD.iter().chain(more) {
        if let Some(value) = object.get(*key) {
            settings_in(key, value, &mut settings);
        }
    }
    // The file names it; what it is follows.
    if let Some(name) = settings.remove("machine.name") {
        settings.insert("machine".to_owned(), name);
    }
    for told_twice in ["machine.semantics", "machine.event-delivery", "machine.description"] {
        settings.remove(told_twice);
    }
    settings
}

/// Whether a key at the top is no result.
fn is_aside(key: &str, shape: Option<&Shape>) -> bool {
    HEAD.contains(&key)
        || ASIDE.contains(&key)
        || shape.is_some_and(|shape| shape.settings.contains(&key))
}
