//! What a free run came to.

use crate::replay::answers::AnswerDiff;
use crate::replay::difference::Difference;
use serde::Serialize;
use std::fmt;

/// The result of one loop that ran freely.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FreeRunReport {
    #[serde(flatten)]
    pub ending: FreeRunEnding,
    /// Answers that the run got.
    pub steps: u32,
    pub recorded_steps: u32,
    /// Tool calls that were answered from the recording.
    pub tool_calls: u32,
    /// The first answer that was not the recorded one.
    pub left: Option<LeftRecording>,
    /// Recorded conversations (of sub-agents, mostly) that were not begun, because the run had left the
    /// recording before.
    pub not_begun: u32,
}

/// How a loop ended; the worse the later.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "ending", rename_all = "snake_case")]
pub enum FreeRunEnding {
    /// Every answer was the recorded one, and the run ended where the recording does.
    AsRecorded,
    /// The model stopped asking for tools.
    Finished,
    /// The model went on asking for tools.
    StepLimit { max_steps: u32 },
    /// Not every request was answered: the run was interrupted.
    Interrupted,
    /// A call brought no proper answer.
    Failed { what: String },
    /// The model asked for what the recording does not hold.
    Diverged { calls: Vec<UnknownCall> },
}

/// Where a run went another way than the recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftRecording {
    /// The recorded step whose answer is another now.
    pub step: u32,
    /// `None` where the recording holds no answer to compare with.
    pub answer: Option<AnswerDiff>,
}

/// A tool call that the recording cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnknownCall {
    /// The answer of this run that asks for it, from 1.
    pub step: u32,
    pub tool: String,
    /// As one line of JSON.
    pub arguments: String,
    /// How often the recording holds this very call. If it does, each of its results has been given.
    pub recorded_times: usize,
    /// The recorded call of the same tool that is most like it.
    pub nearest: Option<NearestCall>,
    /// The tools whose results the recording holds.
    pub recorded_tools: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearestCall {
    pub step: u32,
    pub arguments: String,
    /// `None` if it is the same call.
    pub difference: Option<Difference>,
}

impl FreeRunEnding {
    pub fn is_divergence(&self) -> bool {
        matches!(self, Self::Diverged { .. })
    }

    fn rank(&self) -> u8 {
        match self {
            Self::AsRecorded => 0,
            Self::Finished => 1,
            Self::StepLimit { .. } => 2,
            Self::Interrupted => 3,
            Self::Failed { .. } => 4,
            Self::Diverged { .. } => 5,
        }
    }

    /// Of the endings of two conversations of one loop, the worse.
    pub(super) fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }
}

impl fmt::Display for FreeRunEnding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsRecorded => f.write_str("as recorded"),
            Self::Finished => f.write_str("finished"),
            Self::StepLimit { max_steps } => {
                write!(f, "stopped after {max_steps} steps: raise --max-steps to go on")
            }
            Self::Interrupted => f.write_str("interrupted"),
            Self::Failed { what } => write!(f, "failed: {what}"),
            Self::Diverged { calls } => {
                f.write_str("diverged")?;
                calls.iter().try_for_each(|call| write!(f, ": {call}"))
            }
        }
    }
}

impl fmt::Display for UnknownCall {
    /// One sentence: what was asked for, and what the recording holds instead.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, tool, arguments, recorded_times, nearest, recorded_tools } = self;
        write!(f, "answer {step} asks for {tool}({arguments}), ")?;
        match (recorded_times, nearest) {
            (1.., _) => write!(f, "which the recording answers {recorded_times} times only"),
            (0, Some(NearestCall { step, difference: Some(difference), .. })) => {
                write!(f, "which the recording does not hold; nearest is step {step}")?;
                match difference.pointer.as_str() {
                    "" => write!(f, ": {}", difference.diff),
                    pointer => write!(f, ", which differs at {pointer}: {}", difference.diff),
                }
            }
            _ if recorded_tools.is_empty() => f.write_str("and the recording holds no tool results"),
            _ => write!(
                f,
                "a tool of which the recording holds no result; it has {}",
                recorded_tools.join(", ")
            ),
        }
    }
}
