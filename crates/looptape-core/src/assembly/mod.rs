//! Assembly: from the calls of a trace to loops, lanes, steps, attempts and tool calls.
//!
//! A recorder sees HTTP exchanges. What a person wants to see is the agent's loop: which exchanges were
//! one step tried again, whose answer a request carries on from, which tools it asked for. Here that is
//! worked out, from [`CallFacts`] alone, in five passes, each in a file of its own: times ([`clock`]),
//! attempts of one step ([`attempts`]), parents ([`parents`]), tool calls ([`tools`]), loops and lanes
//! ([`loops`]).
//!
//! Invariants: every call belongs to exactly one [`Step`] or [`PlainCall`], as exactly one of its attempts;
//! steps are numbered 1, 2, 3 in the order in which they started; a parent's number is smaller than its
//! child's. The same facts always give the same assembly.
//!
//! What this does not do: read bodies, measure (see [`crate::metrics`]), or decide a replay.

mod attempts;
mod clock;
mod entries;
#[cfg(test)]
pub(crate) mod example;
mod loops;
mod measured;
mod parents;
#[cfg(test)]
mod tests;
mod tools;

use crate::facts::{CallFacts, CallKind};
use crate::tools::ToolFacts;
use serde::Serialize;

pub(crate) use clock::Clock;
pub use entries::Entry;

/// An index into the facts that were assembled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CallIndex(pub usize);

/// A model step's number in its trace: 1, 2, 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct StepNumber(pub u32);

/// A loop's number in its trace: 1, 2, 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct LoopNumber(pub u32);

/// A lane's number in its loop; 0 is the root's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Lane(pub u32);

/// What is known about a trace besides its calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSpan {
    /// Where the trace's time begins, on the clock of its calls; 0 for a recorded trace.
    pub started_us: i64,
    pub ending: TraceEnding,
    pub timing: Timing,
    /// The outcome that the child's exit code, a hook or a header stated.
    pub stated_outcome: Option<LoopOutcome>,
}

/// Whether more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEnding {
    /// Still being recorded, or its recorder was killed.
    Open,
    /// Somebody ended it: the child exited, a hook said so, the file was read to its end.
    Closed { at_us: i64 },
    /// The gateway closed it because nothing came for the idle time. `at_us` is the last thing that came.
    Idle { at_us: i64 },
}

/// What the times in the facts are worth. Imports state few times, or none; a call of theirs whose duration
/// is not stated ends when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    Measured,
    /// Imported: when each call started, and how long it took, to the ms. What happened inside is not known.
    Stated,
    /// Imported: when each call started, to the second at worst, and how long some of them took at most.
    StartsOnly,
    /// Imported: how long calls took. Only the order of their starts is known.
    DurationsOnly,
    /// Imported without times: only the order of the calls is known.
    OrderOnly,
}

impl Timing {
    /// The word under which it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Stated => "stated",
            Self::StartsOnly => "starts_only",
            Self::DurationsOnly => "durations_only",
            Self::OrderOnly => "order_only",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Measured, Self::Stated, Self::StartsOnly, Self::DurationsOnly, Self::OrderOnly]
            .into_iter()
            .find(|timing| timing.as_str() == word)
    }

    /// Whether it is known when the calls started.
    pub fn knows_starts(self) -> bool {
        matches!(self, Self::Measured | Self::Stated | Self::StartsOnly)
    }

    /// Whether it is known of every call when it ran.
    pub fn knows_intervals(self) -> bool {
        matches!(self, Self::Measured | Self::Stated)
    }

    /// The end of a call, as far as it tells how long the call took.
    pub fn known_end(self, fact: &CallFacts) -> Option<i64> {
        match self {
            Self::Measured => fact.end_us,
            Self::Stated | Self::StartsOnly | Self::DurationsOnly => {
                fact.end_us.filter(|end| *end > fact.sent_us)
            }
            Self::OrderOnly => None,
        }
    }
}

/// How a loop, or a trace, turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopOutcome {
    Success,
    Failure,
    Abandoned,
    Unknown,
}

impl LoopOutcome {
    /// The word of every output and input.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Success, Self::Failure, Self::Abandoned, Self::Unknown]
            .into_iter()
            .find(|o| o.as_str() == word)
    }
}

/// A trace, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Assembly {
    /// Model steps in the order in which they started: `steps[n - 1].number == n`.
    pub steps: Vec<Step>,
    /// Calls that are no model steps, in the order in which they started.
    pub others: Vec<PlainCall>,
    /// Loops in the order in which they started.
    pub loops: Vec<Loop>,
    /// Measured tool calls that no step asked for, in the order in which they started.
    pub loose: Vec<LooseTool>,
}

/// What was recorded of a trace: the facts of its calls in the order in which they started, and those of the tool
/// calls that were measured.
#[derive(Clone, Copy, Debug)]
pub struct Recording<'a> {
    pub facts: &'a [CallFacts],
    pub tools: &'a [ToolFacts],
}

impl<'a> From<&'a [CallFacts]> for Recording<'a> {
    fn from(facts: &'a [CallFacts]) -> Self {
        Self { facts, tools: &[] }
    }
}

impl<'a> From<&'a Vec<CallFacts>> for Recording<'a> {
    fn from(facts: &'a Vec<CallFacts>) -> Self {
        Self { facts, tools: &[] }
    }
}

impl<'a, const N: usize> From<&'a [CallFacts; N]> for Recording<'a> {
    fn from(facts: &'a [CallFacts; N]) -> Self {
        Self { facts, tools: &[] }
    }
}

/// One model call as the agent sees it: its attempts, and the tools that its answer asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub number: StepNumber,
    pub loop_number: LoopNumber,
    pub lane: Lane,
    /// The step that this one carries on from: whose answer its history echoes, or whose history it extends.
    pub parent: Option<StepNumber>,
    /// At least one.
    pub attempts: Vec<Attempt>,
    pub tools: Vec<ToolStep>,
}

/// A call that passed through without being a model step, with its attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainCall {
    /// The loop of the model step before it, if there was one.
    pub loop_number: Option<LoopNumber>,
    /// At least one.
    pub attempts: Vec<Attempt>,
}

/// One HTTP exchange of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub call: CallIndex,
    /// Set if this attempt repeats an earlier one.
    pub retry: Option<Retry>,
}

/// An attempt that repeats an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub layer: RetryLayer,
    /// Time between the end of the attempt before and the start of this one; `None` if either is unknown.
    pub backoff_us: Option<i64>,
}

/// Who tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryLayer {
    /// The provider's SDK, by its own count.
    Sdk,
    /// Whatever calls the SDK: the same request again with a count of 0, or with none.
    Framework,
    /// The gateway asked another upstream; the client saw nothing of it.
    Gateway,
}

/// A tool call that a step's answer asks for. If it was not measured its times are inferred: from the answer's end to
/// the request that carries the result, an upper bound of what the tool itself took.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolStep {
    /// 1 for the first call of the step's answer.
    pub sub: u32,
    pub call_id: Option<String>,
    pub name: String,
    /// The step whose request carries the result.
    pub answered_by: Option<StepNumber>,
    pub started_us: Option<i64>,
    pub ended_us: Option<i64>,
    /// The measured call that it is, by its place among those of the trace.
    pub measured: Option<usize>,
}

/// A tool call that was measured and that no step asked for: the agent's own code called it.
#[derive(Clone, Debug, PartialEq)]
pub struct LooseTool {
    /// The last model step that had been sent when it started.
    pub after: Option<StepNumber>,
    pub name: String,
    pub call_id: Option<String>,
    pub started_us: i64,
    /// `None`: its result never came.
    pub ended_us: Option<i64>,
    /// Its place among the measured calls of the trace.
    pub measured: usize,
}

/// One loop: a root call and everything that followed from it, sub-agents included.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    pub number: LoopNumber,
    /// The name that `x-looptape-loop` gave it.
    pub name: Option<String>,
    /// Its steps, in order; at least one.
    pub steps: Vec<StepNumber>,
    pub lanes: u32,
}

/// Assembles the calls of one trace. What was measured of its tools gives tool calls their times, and changes nothing
/// else: steps, loops and lanes are those of the model traffic.
pub fn assemble<'a>(recording: impl Into<Recording<'a>>, span: &TraceSpan) -> Assembly {
    let Recording { facts, tools: measured } = recording.into();
    let clock = Clock::new(facts, span.timing);
    let (mut steps, others): (Vec<_>, Vec<_>) = attempts::group(facts, &clock)
        .into_iter()
        .partition(|group| matches!(facts[group.first()].kind, CallKind::Llm(_)));
    for (index, step) in steps.iter_mut().enumerate() {
        step.number = number_at(index);
    }
    parents::link(facts, &clock, &mut steps);
    let tools = tools::infer(facts, &clock, &steps);
    let mut assembly = loops::place(facts, &clock, span, steps, others, tools);
    measured::link(&mut assembly, facts, measured);
    assembly
}

fn number_at(index: usize) -> StepNumber {
    StepNumber(u32::try_from(index + 1).unwrap_or(u32::MAX))
}

impl TraceSpan {
    /// A trace that began at 0 and was ended at `ended_us`.
    pub fn closed(ended_us: i64) -> Self {
        Self { ending: TraceEnding::Closed { at_us: ended_us }, ..Self::open() }
    }

    /// A trace that began at 0 and has no end.
    pub fn open() -> Self {
        Self { started_us: 0, ending: TraceEnding::Open, timing: Timing::Measured, stated_outcome: None }
    }

    /// A trace read from a file that holds no times.
    pub fn order_only() -> Self {
        Self {
            started_us: 0,
            ending: TraceEnding::Closed { at_us: 0 },
            timing: Timing::OrderOnly,
            stated_outcome: None,
        }
    }

    /// The same span with a stated outcome.
    pub fn with_outcome(self, outcome: LoopOutcome) -> Self {
        Self { stated_outcome: Some(outcome), ..self }
    }
}

impl Assembly {
    /// The step with this number.
    pub fn step(&self, number: StepNumber) -> Option<&Step> {
        self.steps.get(number.index()).filter(|step| step.number == number)
    }
}

impl Step {
    /// Its exchanges, in order.
    pub fn calls(&self) -> impl Iterator<Item = CallIndex> {
        self.attempts.iter().map(|attempt| attempt.call)
    }

    /// The attempt that started it.
    pub fn first_call(&self) -> CallIndex {
        self.attempts.first().expect("a step has at least one attempt").call
    }

    /// The attempt that decided how it ended.
    pub fn final_call(&self) -> CallIndex {
        self.attempts.last().expect("a step has at least one attempt").call
    }
}

impl PlainCall {
    /// The attempt that started it.
    pub fn first_call(&self) -> CallIndex {
        self.attempts.first().expect("a call has at least one attempt").call
    }

    /// The attempt that decided how it ended.
    pub fn final_call(&self) -> CallIndex {
        self.attempts.last().expect("a call has at least one attempt").call
    }
}

impl StepNumber {
    /// Its place in [`Assembly::steps`].
    pub fn index(self) -> usize {
        (self.0 as usize).saturating_sub(1)
    }
}

impl RetryLayer {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sdk => "sdk",
            Self::Framework => "framework",
            Self::Gateway => "gateway",
        }
    }
}
