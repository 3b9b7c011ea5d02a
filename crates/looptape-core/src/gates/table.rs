//! Conditions as they are written in a file: a table of metrics, each with one threshold or several.

use super::condition::{Gate, MaxRegression};
use super::scanner::ConditionError;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// `[gates]`, checked as it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GateTable(pub Vec<Gate>);

/// `[max_regression]`, checked as it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegressionTable(pub Vec<MaxRegression>);

impl<'de> Deserialize<'de> for GateTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByMetric(Gate::of_metric)).map(Self)
    }
}

impl<'de> Deserialize<'de> for RegressionTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByMetric(MaxRegression::of_metric)).map(Self)
    }
}

/// A table of conditions by their metrics; what reads one of them.
struct ByMetric<T>(fn(&str, &str) -> Result<T, ConditionError>);

/// The conditions of one metric. They are read where they stand, so that a mistake has the line that it is on.
struct OfMetric<'a, T> {
    metric: &'a str,
    read: fn(&str, &str) -> Result<T, ConditionError>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'de, T> Visitor<'de> for ByMetric<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of metrics")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(metric) = table.next_key::<String>()? {
            all.append(&mut table.next_value_seed(OfMetric { metric: &metric, read: self.0 })?);
        }
        Ok(all)
    }
}

impl<'de, T> DeserializeSeed<'de> for OfMetric<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        let texts = match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        };
        let read = |text: &String| (self.read)(self.metric, text).map_err(serde::de::Error::custom);
        texts.iter().map(read).collect()
    }
}
