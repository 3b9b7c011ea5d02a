//! Conditions as they are written in a file: a table of metrics, each with one threshold or several.

use super::condition::{Gate, MaxRegression};
use super::scanner::ConditionError;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// `[gates]`, checked as it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GateTable(pub Vec<Gate>);

/// `[max_regression]`, checked as it is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegressionTable(pub Vec<MaxRegression>);

impl<'de> Deserialize<'de> for GateTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        by_metric(deserializer, |metric, text: &String| Gate::of_metric(metric, text)).map(Self)
    }
}

impl<'de> Deserialize<'de> for RegressionTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        by_metric(deserializer, |metric, text: &String| MaxRegression::of_metric(metric, text)).map(Self)
    }
}

/// What reads one condition of a metric, from how it is written.
type ReadOne<W, T> = fn(&str, &W) -> Result<T, ConditionError>;

/// Reads a table of conditions by their metrics, each with one condition or several.
pub(crate) fn by_metric<'de, W: DeserializeOwned, T, D: Deserializer<'de>>(
    deserializer: D,
    read: ReadOne<W, T>,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_map(ByMetric(read))
}

struct ByMetric<W, T>(ReadOne<W, T>);

/// The conditions of one metric. They are read where they stand, so that a mistake has the line that it is on.
struct OfMetric<'a, W, T> {
    metric: &'a str,
    read: ReadOne<W, T>,
    written: PhantomData<W>,
}

/// One condition, or a list of them. What is wrong with one is said by what reads it.
struct OneOrMany<W>(Vec<W>);

impl<'de, W: DeserializeOwned> Deserialize<'de> for OneOrMany<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyWritten(PhantomData))
    }
}

struct OneOrManyWritten<W>(PhantomData<W>);

impl<'de, W: DeserializeOwned> Visitor<'de> for OneOrManyWritten<W> {
    type Value = OneOrMany<W>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a condition in quotes, or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OneOrMany<W>, E> {
        W::deserialize(text.into_deserializer()).map(|one| OneOrMany(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany<W>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<OneOrMany<W>, A::Error> {
        W::deserialize(MapAccessDeserializer::new(table)).map(|one| OneOrMany(vec![one]))
    }
}

impl<'de, W: DeserializeOwned, T> Visitor<'de> for ByMetric<W, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of metrics")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(metric) = table.next_key::<String>()? {
            let of_metric = OfMetric { metric: &metric, read: self.0, written: PhantomData };
            all.append(&mut table.next_value_seed(of_metric)?);
        }
        Ok(all)
    }
}

impl<'de, W: DeserializeOwned, T> DeserializeSeed<'de> for OfMetric<'_, W, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        let OneOrMany(written) = OneOrMany::deserialize(deserializer)?;
        let read = |one: &W| (self.read)(self.metric, one).map_err(serde::de::Error::custom);
        written.iter().map(read).collect()
    }
}
