//! The figures of many traces.
//!
//! [`SetTally`] takes traces one by one, in any order and in any number of parts that are merged, and
//! [`SetTally::finish`] makes [`Stats`] of them. What model steps have in common is measured by [`StepFigures`]:
//! over the whole set, and over every [`Segment`] of it. What needs one time line for all traces (concurrency,
//! warm and cold calls, rates over time) goes by the [`timeline`].
//!
//! Invariants: figures of parts that are counts or sums add up to those of the whole exactly; nothing depends on
//! the order in which traces come.

mod calendar;
mod concurrency;
mod groups;
mod over_time;
mod segments;
mod series;
mod stats;
mod steps;
mod tally;
#[cfg(test)]
mod tests;
mod timeline;
mod tools;
mod warmth;
mod window;

pub use calendar::{Stretch, TimeUnit};
pub use concurrency::Concurrency;
pub use groups::{GroupBy, GroupTally, Groups, PHASE, UnknownGroup};
pub use over_time::{MetricOverTime, OverTime, OverTimeTally};
pub(crate) use segments::Size;
pub use segments::{KindFigures, Segment, Segments};
pub use series::{Series, TokenRates};
pub use stats::{LoopCounts, Sample, Stats, UnknownModel, stats};
pub use steps::{PricedSteps, StepFigures};
pub(crate) use steps::{StepSample, StepTally};
pub(crate) use tally::loops_per_usd;
pub use tally::{Detail, SetTally, TallyOptions};
pub use tools::ToolFigures;
pub use warmth::{WarmCold, Warmth};
pub use window::{Window, WindowBasis};
