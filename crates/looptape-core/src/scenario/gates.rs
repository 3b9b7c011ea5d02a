//! `[gates]` of a scenario: thresholds as everywhere, and which of them end a run early. As k6 has it, with its keys in
//! snake case: `{ threshold = "value<=0.05", abort_on_fail = true, delay_abort_eval = "30s" }`.

use super::duration::Span;
use crate::gates::{Gate, by_metric};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A gate that ends a run as soon as it fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbortingGate {
    pub gate: Gate,
    /// Before so long a time it is not asked: the first loops say little.
    pub delay_us: u64,
}

/// The gates of a scenario, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ScenarioGates {
    pub(super) gates: Vec<Gate>,
    pub(super) aborting: Vec<AbortingGate>,
}

/// One threshold, as it is written.
struct Written(WrittenTable);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTable {
    threshold: String,
    #[serde(default)]
    abort_on_fail: bool,
    delay_abort_eval: Option<Span>,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;
        impl<'de> Visitor<'de> for TextOrTable {
            type Value = Written;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a threshold such as \"p(95)<20000\", or { threshold, abort_on_fail, delay_abort_eval }",
                )
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
                let threshold = text.to_owned();
                Ok(Written(WrittenTable { threshold, abort_on_fail: false, delay_abort_eval: None }))
            }
            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Written, A::Error> {
                WrittenTable::deserialize(MapAccessDeserializer::new(table)).map(Written)
            }
        }
        deserializer.deserialize_any(TextOrTable)
    }
}

impl<'de> Deserialize<'de> for ScenarioGates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |metric: &str, Written(table): &Written| {
            let delay_us = table.delay_abort_eval.map_or(0, Span::us);
            Ok((Gate::of_metric(metric, &table.threshold)?, table.abort_on_fail.then_some(delay_us)))
        };
        let all: Vec<(Gate, Option<u64>)> = by_metric(deserializer, read)?;
        let aborting = |(gate, delay_us): &(Gate, Option<u64>)| {
            delay_us.map(|delay_us| AbortingGate { gate: *gate, delay_us })
        };
        Ok(Self {
            aborting: all.iter().filter_map(aborting).collect(),
            gates: all.into_iter().map(|(gate, _)| gate).collect(),
        })
    }
}
