//! A result from its JSON.

use super::{
    Gathering, NamedRows, Numbers, ResultFile, SCHEMA, is_aside, numbers_in, settings_of, text_of,
};
use crate::comparison::shape::{Repeats, RowsAt, Shape};
use crate::error::Error;
use serde_json::{Map, Value};
use std::path::Path;

/// Reads the JSON of a result.
pub(super) fn read(path: &Path, text: &str) -> Result<ResultFile, Error> {
    let no_result = |why: String| Error::NoResult { path: path.to_owned(), why };
    let value: Value = serde_json::from_str(text).map_err(|error| {
        no_result(match error.is_eof() {
            true => format!("the JSON ends at line {}, in the middle", error.line()),
            false => format!("this is no JSON: {error}"),
        })
    })?;
    let Value::Object(object) = value else {
        return Err(no_result("it holds a list where a result is one object".to_owned()));
    };
    match object.get("schema") {
        Some(schema) if schema.as_u64() == Some(SCHEMA) => {}
        Some(schema) => {
            return Err(Error::OtherSchema {
                path: path.to_owned(),
                found: schema.to_string(),
                known: SCHEMA,
            });
        }
        None => return Err(no_result("it has no key `schema`".to_owned())),
    }
    let Some(command) = command_of(&object) else {
        return Err(no_result("it does not say of which command it is".to_owned()));
    };
    if command == "compare" {
        return Err(no_result("it is a comparison already".to_owned()));
    }
    let shape = Shape::of(command);
    let tables = match shape {
        Some(shape) => tables_of(&object, shape).map_err(no_result)?,
        None => any_tables(&object),
    };
    let mut totals = Numbers::new();
    for (key, value) in &object {
        if !is_aside(key, shape) {
            numbers_in(key, value, &mut totals);
        }
    }
    let version = ["version", "strata"].iter().find_map(|key| object.get(*key)?.as_str());
    Ok(ResultFile {
        path: path.to_owned(),
        command: command.to_owned(),
        version: version.map(str::to_owned),
        settings: settings_of(&object, shape),
        totals,
        tables,
        left_out: object.get("others").and_then(|others| others["rows"].as_u64()).unwrap_or(0),
    })
}

/// The command, also of results that do not name it but have keys of their own.
fn command_of(object: &Map<String, Value>) -> Option<&str> {
    if let Some(command) = object.get("command") {
        return command.as_str();
    }
    let telling = [("by", "replay"), ("vcpu_list", "info"), ("findings", "check")];
    telling.iter().find(|(key, _)| object.contains_key(*key)).map(|&(_, command)| command)
}

fn tables_of(object: &Map<String, Value>, shape: &Shape) -> Result<Vec<NamedRows>, String> {
    let mut tables = Vec::new();
    for rows_at in shape.rows {
        let mut rows = Vec::new();
        let whole = Value::Object(object.clone());
        if lists_of(&whole, rows_at.lists, &mut Vec::new(), &mut rows)? {
            tables.push(gathered(rows_at, rows));
        }
    }
    match (tables.is_empty(), shape.rows.first()) {
        (true, Some(first)) => {
            Err(format!("a result of {} has a list `{}`", shape.command, first.lists[0].0))
        }
        _ => Ok(tables),
    }
}

/// A row with the rows that it is in, outermost first, each with the keys that name it.
type Nested<'v> = Vec<(&'v Map<String, Value>, &'static [&'static str])>;

/// All rows of lists within lists; whether the outermost list is there.
fn lists_of<'v>(
    within: &'v Value,
    lists: &[(&'static str, &'static [&'static str])],
    outer: &mut Nested<'v>,
    rows: &mut Vec<Nested<'v>>,
) -> Result<bool, String> {
    let [(place, key), inner @ ..] = lists else {
        rows.push(outer.clone());
        return Ok(true);
    };
    let list = match within.pointer(&format!("/{}", place.replace('.', "/"))) {
        None | Some(Value::Null) => return Ok(false),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(format!("`{place}` is no list")),
    };
    for (number, row) in list.iter().enumerate() {
        let Value::Object(object) = row else {
            return Err(format!("row {} of `{place}` is no object", number + 1));
        };
        outer.push((object, key));
        lists_of(row, inner, outer, rows)?;
        outer.pop();
    }
    Ok(true)
}

fn gathered(rows_at: &RowsAt, rows: Vec<Nested<'_>>) -> NamedRows {
    // Of the keys that can name a row, those that some row has.
    let mut key: Vec<(usize, &str)> = Vec::new();
    for (depth, (_, keys)) in rows_at.lists.iter().enumerate() {
        let is_there = |key: &&str| rows.iter().any(|row| row[depth].0.contains_key(*key));
        key.extend(keys.iter().copied().filter(is_there).map(|key| (depth, key)));
    }
    let mut gathering = Gathering::new(rows_at.repeats);
    for row in &rows {
        let part = |&(depth, key): &(usize, &str)| row[depth].0.get(key).unwrap_or(&Value::Null);
        let name = key.iter().map(|place| text_of(part(place))).collect();
        let Some((object, keys)) = row.last() else { continue };
        let mut numbers = Numbers::new();
        for (key, value) in object.iter().filter(|(key, _)| !keys.contains(&key.as_str())) {
            numbers_in(key, value, &mut numbers);
        }
        gathering.add(name, numbers);
    }
    NamedRows {
        name: rows_at.name.to_owned(),
        key: key.into_iter().map(|(_, key)| key.to_owned()).collect(),
        rows: gathering.rows,
    }
}

/// The lists of objects of a command that nothing is known of, named by what is text in their rows.
fn any_tables(object: &Map<String, Value>) -> Vec<NamedRows> {
    let is_text = |value: &Value| {
        value.is_string()
            || value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
            || value.as_object().is_some_and(|inside| inside.values().all(Value::is_string))
    };
    let mut tables = Vec::new();
    for (place, value) in object.iter().filter(|(key, _)| !is_aside(key, None)) {
        let Some(list) = value.as_array() else { continue };
        let rows: Vec<&Map<String, Value>> = list.iter().filter_map(Value::as_object).collect();
        if rows.is_empty() || rows.len() < list.len() {
            continue;
        }
        let named = |key: &&String| rows.iter().any(|row| row.get(*key).is_some_and(is_text));
        let all: std::collections::BTreeSet<&String> =
            rows.iter().flat_map(|row| row.keys()).collect();
        let key: Vec<&String> = all.into_iter().filter(named).collect();
        let mut gathering = Gathering::new(Repeats::Number);
        for (number, row) in rows.iter().enumerate() {
            let mut name: Vec<String> =
                key.iter().map(|key| text_of(row.get(*key).unwrap_or(&Value::Null))).collect();
            if key.is_empty() {
                name.push((number + 1).to_string());
            }
            let mut numbers = Numbers::new();
            for (name, value) in row.iter().filter(|(name, _)| !key.contains(name)) {
                numbers_in(name, value, &mut numbers);
            }
            gathering.add(name, numbers);
        }
        let key = match key.is_empty() {
            true => vec!["number".to_owned()],
            false => key.into_iter().cloned().collect(),
        };
        tables.push(NamedRows { name: place.clone(), key, rows: gathering.rows });
    }
    tables
}
