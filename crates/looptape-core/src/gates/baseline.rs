//! The figures of an earlier run, to compare with: the `figures` of what `stats`, `test` and `replay` write as JSON.

use super::aggregate::Aggregate;
use super::metric::Metric;
use super::observations::Summary;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// An earlier run.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    figures: BTreeMap<String, Summary>,
    tests: BTreeSet<String>,
}

/// A text that is no baseline.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error("it is not valid JSON")]
    NotJson(#[from] serde_json::Error),
    #[error("it holds no `figures`: make it with `looptape stats --json` or `looptape test --json`")]
    NoFigures,
    #[error(
        "its format is {found}, and this looptape reads format {FORMAT}: take the looptape that wrote it"
    )]
    Format { found: u64 },
}

/// Of the reports that hold figures.
const FORMAT: u64 = 1;

#[derive(Deserialize)]
struct File {
    format: Option<u64>,
    figures: Option<BTreeMap<String, Summary>>,
    #[serde(default)]
    tests: Vec<TestName>,
}

#[derive(Deserialize)]
struct TestName {
    name: String,
}

impl Baseline {
    pub fn parse(text: &str) -> Result<Self, BaselineError> {
        let file: File = serde_json::from_str(text)?;
        match (file.format.unwrap_or(FORMAT), file.figures) {
            (FORMAT, Some(figures)) => {
                Ok(Self { figures, tests: file.tests.into_iter().map(|test| test.name).collect() })
            }
            (FORMAT, None) => Err(BaselineError::NoFigures),
            (found, _) => Err(BaselineError::Format { found }),
        }
    }

    /// The tests that it is of; none if it is not of tests.
    pub fn tests(&self) -> &BTreeSet<String> {
        &self.tests
    }

    /// A figure of it, or why there is none.
    pub(super) fn figure(&self, metric: Metric, aggregate: Aggregate) -> Result<f64, String> {
        let Some(summary) = self.figures.get(metric.name()) else {
            return Err(format!("the baseline does not know {metric}"));
        };
        let found = match aggregate {
            Aggregate::Value | Aggregate::Rate => summary.value.filter(|_| !summary.at_least),
            Aggregate::Count if metric.has_each() => Some((summary.count + summary.unknown) as f64),
            Aggregate::Count => summary.value.filter(|_| !summary.at_least),
            of_each => summary.of_each.get(&of_each.to_string()).copied(),
        };
        match found {
            Some(figure) => Ok(figure),
            None if summary.unknown > 0 || summary.at_least => {
                Err(format!("the baseline knows {metric} only in part"))
            }
            None => {
                Err(format!("the baseline has no `{aggregate}` of {metric}{}", of_each_in_words(summary)))
            }
        }
    }
}

fn of_each_in_words(summary: &Summary) -> String {
    let kept: Vec<&str> = summary.of_each.keys().map(String::as_str).collect();
    if kept.is_empty() { String::new() } else { format!("; it has {}", kept.join(", ")) }
}
