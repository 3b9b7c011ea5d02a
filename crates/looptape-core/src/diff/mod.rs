//! Two traces, compared: which step stands for which, and what of it differs.
//!
//! - `content`: what requests and answers say, in a form in which formats can be compared.
//! - `side`, `align`, `plan`: which step of one trace stands for which step of the other.
//! - `step`, `values`, `field`, `tolerance`: two steps, field by field.
//! - `compare`, `report`: the whole, and the value that text and JSON are made of.
//!
//! Invariants: a trace compared with itself has no difference; the comparison the other way round has the same
//! pairs, turned; a step that one side does not have is told as such and moves no other. Times are shown and
//! never a difference. What is unknown on one side is not compared.
//!
//! What this does not do: read bodies from a database, lay out text, or decide a replay.

mod align;
mod compare;
mod content;
mod field;
mod plan;
mod report;
mod side;
mod step;
#[cfg(test)]
mod tests;
mod tolerance;
mod values;

pub use compare::{Options, compare};
pub use content::{
    AnswerContent, AskedCalls, History, PlainContent, RequestContent, RequestReader, StepContent, StepRequest,
};
pub use field::Field;
pub use report::{
    Both, Counts, Delta, Difference, FORMAT, FirstDifference, Only, Pair, PairChange, SideHead, StepHead,
    TraceDiff, Weight,
};
pub use side::Side;
