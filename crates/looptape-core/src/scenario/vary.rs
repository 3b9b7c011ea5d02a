//! Values of a scenario set to others: `limits.tpm=30k`, `retry.max=0`, and all combinations of several.
//!
//! A key is a path of names with dots. Its first name may be left out where it is `twin`; `phase.rate` means every
//! phase, `phase.peak.rate` the one of that name, `phase.2.rate` the second.

use super::error::{in_words, nearest};
use super::{ScenarioError, Written};
use toml::{Table, Value};

/// One value of a scenario, in the place of what is written there.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub key: String,
    /// As it was given.
    pub written: String,
    value: Value,
}

/// Several values for one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Variation {
    pub key: String,
    /// Not empty.
    pub settings: Vec<Setting>,
}

/// The names at the top of a scenario.
const TOP: [&str; 10] =
    ["name", "seed", "traffic", "phase", "retry", "twin", "outage", "failover", "gates", "budget"];

impl Setting {
    pub fn new(key: &str, written: &str) -> Self {
        let written = written.trim();
        let value = toml::from_str::<Table>(&format!("value = {written}"))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(written.to_owned()));
        Self { key: key.trim().to_owned(), written: written.to_owned(), value }
    }
}

impl Variation {
    /// Reads `KEY=V1,V2`. Commas inside of brackets and braces part nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, values) = text.split_once('=').ok_or_else(|| format!("`{text}`: write KEY=VALUE,VALUE"))?;
        let key = key.trim();
        let values: Vec<&str> = parted(values).into_iter().map(str::trim).filter(|v| !v.is_empty()).collect();
        if key.is_empty() || values.is_empty() {
            return Err(format!("`{text}`: write KEY=VALUE,VALUE, for example retry.max=0,2,5"));
        }
        let settings = values.iter().map(|value| Setting::new(key, value)).collect();
        Ok(Self { key: key.to_owned(), settings })
    }

    /// Every combination of one value for each key; the last key changes fastest.
    pub fn combinations(variations: &[Self]) -> Vec<Vec<Setting>> {
        let mut all = vec![Vec::new()];
        for variation in variations {
            let longer = |settings: &Vec<Setting>| {
                let settings = settings.clone();
                variation.settings.iter().map(move |setting| {
                    let mut longer = settings.clone();
                    longer.push(setting.clone());
                    longer
                })
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }
}

fn parted(values: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in values.char_indices() {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&values[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&values[start..]);
    parts
}

/// The scenario of a text with these values.
pub(super) fn with(text: &str, settings: &[Setting]) -> Result<Written, ScenarioError> {
    let mut table: Table = toml::from_str(text).map_err(|error| ScenarioError::of_toml(text, &error))?;
    for setting in settings {
        set(&mut table, setting).map_err(|why| wrong(setting, &why))?;
        // One by one, so that a mistake is named with the key that it is in.
        read(&table).map_err(|why| wrong(setting, &why))?;
    }
    read(&table).map_err(ScenarioError::Setting)
}

fn wrong(setting: &Setting, why: &str) -> ScenarioError {
    ScenarioError::Setting(format!("{}={}: {why}", setting.key, setting.written))
}

/// By way of text, which reads what a table of values does not (`toml::Spanned`, for one).
fn read(table: &Table) -> Result<Written, String> {
    let text = toml::to_string(table).map_err(|error| error.to_string())?;
    toml::from_str(&text).map_err(|error: toml::de::Error| in_words(error.message()))
}

fn set(table: &mut Table, setting: &Setting) -> Result<(), String> {
    let names: Vec<&str> = setting.key.split('.').collect();
    let first = names.first().copied().unwrap_or_default();
    let in_twin = !TOP.contains(&first);
    match (in_twin, names.as_slice()) {
        (true, [_]) if nearest(first, &TOP).is_some() => {
            let near = nearest(first, &TOP).unwrap_or_default();
            Err(format!("there is no `{first}` in a scenario: did you mean `{near}`?"))
        }
        (true, names) => put(sub_table(table, "twin")?, names, &setting.value),
        (false, ["phase", rest @ ..]) => set_phases(table, rest, &setting.value),
        (false, names) => put(table, names, &setting.value),
    }
}

fn set_phases(table: &mut Table, rest: &[&str], value: &Value) -> Result<(), String> {
    let phases = table.get_mut("phase").and_then(Value::as_array_mut);
    let phases = phases.ok_or("the scenario has no [[phase]] of its own")?;
    let is_named = |at: usize, phase: &Value, name: &str| {
        phase.get("name").and_then(Value::as_str) == Some(name) || name == (at + 1).to_string()
    };
    let (first, below) = rest.split_first().ok_or("say which value of the phases: phase.rate")?;
    let some_is_named = phases.iter().enumerate().any(|(at, phase)| is_named(at, phase, first));
    let names = if some_is_named && !below.is_empty() { below } else { rest };
    for (at, phase) in phases.iter_mut().enumerate() {
        let is_meant = !some_is_named || below.is_empty() || is_named(at, phase, first);
        if let (true, Some(phase)) = (is_meant, phase.as_table_mut()) {
            put(phase, names, value)?;
        }
    }
    Ok(())
}

fn put(table: &mut Table, names: &[&str], value: &Value) -> Result<(), String> {
    match names {
        [] => Err("the key is empty".to_owned()),
        [last] => {
            table.insert((*last).to_owned(), value.clone());
            Ok(())
        }
        [first, rest @ ..] => put(sub_table(table, first)?, rest, value),
    }
}

fn sub_table<'a>(table: &'a mut Table, name: &str) -> Result<&'a mut Table, String> {
    let entry = table.entry(name.to_owned()).or_insert_with(|| Value::Table(Table::new()));
    entry.as_table_mut().ok_or_else(|| format!("`{name}` is no table"))
}
