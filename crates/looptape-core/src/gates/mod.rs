//! Gates: what figures must hold for a run to pass.
//!
//! [`Gate`] is one threshold in k6's grammar (`loop_duration_ms: p(95)<20000`), [`MaxRegression`] one that takes its
//! limit from a [`Baseline`]. [`Conditions`] holds a set of them; judged against [`Observations`] they give a
//! [`GateReport`]: the one value that text, JSON, JUnit, Markdown and the page are made of.
//!
//! Invariants: a condition is checked in full (metric, aggregate, number) when it is read, before anything runs; what
//! is not known never passes; the report holds every condition, in the order in which they were given, with its figure
//! and its margin.
//!
//! What this does not do: compute metrics. [`crate::metrics`] does, and says by name where each is found.

mod aggregate;
mod baseline;
mod condition;
mod judge;
mod judged;
mod metric;
mod observations;
mod report;
mod scanner;
mod table;
#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, Comparison};
pub use baseline::{Baseline, BaselineError};
pub use condition::{Allowance, Gate, MaxRegression};
pub use judge::{Conditions, Regressions, UnknownFigures};
pub use judged::{Judged, WithGates};
pub use metric::{Metric, Unit};
pub use observations::{Observations, Summary};
pub use report::{GateReport, GateResult, GateVerdict};
pub use scanner::ConditionError;
pub(crate) use table::by_metric;
pub use table::{GateTable, RegressionTable};
