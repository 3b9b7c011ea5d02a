//! What a comparison of two traces found: one value, from which text and JSON are made.
//!
//! Invariants: `format` is raised when a field changes its meaning or goes; adding one does not. Unknown
//! figures are null. The comparison the other way round has the same pairs with their sides turned.

use super::field::Field;
use crate::assembly::{Lane, LoopNumber, StepNumber};
use crate::cost::Usd;
use crate::metrics::Ms;
use crate::replay::MaskKind;
use crate::text_diff::InlineDiff;
use crate::trace_id::TraceId;
use crate::view::TraceStatus;
use serde::Serialize;

/// Version of the JSON of `diff`.
pub const FORMAT: u32 = 1;

/// Something of each side; `None` where a side has none, or it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Both<T> {
    pub a: Option<T>,
    pub b: Option<T>,
}

/// Two traces, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceDiff {
    pub format: u32,
    /// Whether nothing differs but times and what is tolerated.
    pub same: bool,
    pub first: Option<FirstDifference>,
    pub counts: Counts,
    /// The fields and steps that were compared; `None` for all.
    pub only: Only,
    pub a: SideHead,
    pub b: SideHead,
    /// The second side's figure less the first one's.
    pub delta: Delta,
    /// What a reader should know about the comparison.
    pub notes: Vec<String>,
    /// Model steps, in the order of the first trace; those of the second alone where they belong.
    pub steps: Vec<Pair>,
    /// Calls that are no model steps.
    pub plain_calls: Vec<Pair>,
}

/// What a comparison was narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Only {
    pub fields: Option<Vec<Field>>,
    /// The first and the last.
    pub steps: Option<[u32; 2]>,
}

/// Where two runs part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FirstDifference {
    pub change: PairChange,
    /// The step's number on each side; of a plain call, none.
    #[serde(flatten)]
    pub step: Both<StepNumber>,
    pub fields: Vec<Field>,
}

/// How many steps there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub same: u32,
    /// Equal but for values that are tolerated; counted among `same` too.
    pub tolerated: u32,
    pub changed: u32,
    pub only_a: u32,
    pub only_b: u32,
}

/// One trace as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SideHead {
    pub trace: TraceId,
    pub name: Option<String>,
    pub agent: Option<String>,
    pub status: TraceStatus,
    pub steps: u32,
    pub tool_calls: u32,
    pub attempts: u32,
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub cost_usd: Option<Usd>,
    pub cost_at_least: bool,
    pub duration_ms: Option<Ms>,
}

/// Differences of figures; null where either side's is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Delta {
    pub steps: i64,
    pub tool_calls: i64,
    pub attempts: i64,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub cost_usd: Option<f64>,
    /// Of the first side's cost.
    pub cost_ratio: Option<f64>,
    pub duration_ms: Option<Ms>,
}

/// How two steps stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PairChange {
    Same,
    Changed,
    OnlyA,
    OnlyB,
}

/// A step of one trace and the one that stands for it in the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    pub change: PairChange,
    #[serde(flatten)]
    pub step: Both<StepHead>,
    /// What differs, in the order in which a step goes.
    pub differences: Vec<Difference>,
    /// Shown, and never a difference.
    pub duration_ms: Both<Ms>,
    pub ttft_ms: Both<Ms>,
}

/// Which step it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepHead {
    /// `None` for a call that is no model step.
    pub step: Option<StepNumber>,
    #[serde(rename = "loop")]
    pub loop_number: Option<LoopNumber>,
    pub lane: Option<Lane>,
    /// What it did, in a few words.
    pub gist: String,
}

/// One thing that differs between two steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub field: Field,
    /// What inside the field: a parameter's JSON pointer, a tool's name. Empty for the field as a whole.
    pub at: String,
    /// The value of each side, as far as it is shown.
    #[serde(flatten)]
    pub value: Both<String>,
    pub diff: InlineDiff,
    pub weight: Weight,
    /// The kinds of values by which it is tolerated, if it is.
    pub masks: Vec<MaskKind>,
}

/// Whether a difference counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    Counts,
    /// Only values that replay tolerates too: those that change from run to run, and how it is paid for.
    Tolerated,
}

impl<T> Both<T> {
    pub fn new(a: Option<T>, b: Option<T>) -> Self {
        Self { a, b }
    }

    pub fn as_ref(&self) -> Both<&T> {
        Both { a: self.a.as_ref(), b: self.b.as_ref() }
    }

    /// What is known of either side, the first side's before the second's.
    pub fn either(self) -> Option<T> {
        self.a.or(self.b)
    }
}

impl Pair {
    /// Whether something in it counts as a difference.
    pub fn differs(&self) -> bool {
        self.change != PairChange::Same
    }
}

impl TraceDiff {
    /// Pairs whose step has one of these numbers, on either side; plain calls have none.
    pub fn of_steps(mut self, first: u32, last: u32) -> Self {
        let within = |head: &StepHead| head.step.is_some_and(|n| (first..=last).contains(&n.0));
        self.steps.retain(|pair| [&pair.step.a, &pair.step.b].into_iter().flatten().any(within));
        self.plain_calls.clear();
        self.only.steps = Some([first, last]);
        self.counts = Counts::of(&self.steps);
        self.first = FirstDifference::of(self.steps.iter());
        self.same = self.first.is_none();
        self
    }
}

impl Counts {
    pub(super) fn of(pairs: &[Pair]) -> Self {
        let mut counts = Self::default();
        for pair in pairs {
            match pair.change {
                PairChange::Same => counts.same += 1,
                PairChange::Changed => counts.changed += 1,
                PairChange::OnlyA => counts.only_a += 1,
                PairChange::OnlyB => counts.only_b += 1,
            }
            let tolerated = pair.change == PairChange::Same && !pair.differences.is_empty();
            counts.tolerated += u32::from(tolerated);
        }
        counts
    }
}

impl FirstDifference {
    pub(super) fn of<'p>(mut pairs: impl Iterator<Item = &'p Pair>) -> Option<Self> {
        let pair = pairs.find(|pair| pair.differs())?;
        let number = |head: &Option<StepHead>| head.as_ref().and_then(|head| head.step);
        let counted = pair.differences.iter().filter(|d| d.weight == Weight::Counts);
        let mut fields: Vec<Field> = counted.map(|d| d.field).collect();
        fields.dedup();
        Some(Self {
            change: pair.change,
            step: Both::new(number(&pair.step.a), number(&pair.step.b)),
            fields,
        })
    }
}
