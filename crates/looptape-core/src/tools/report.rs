//! What a replay's tools came to.

use super::verdict::DenyCode;
use crate::replay::{Difference, MaskKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// How each call was answered, and how live results compare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolsReport {
    /// Calls answered from the recording.
    pub recorded: u32,
    /// Of these, those found by call id whose arguments were written otherwise.
    pub by_id_alone: u32,
    /// Calls that were found only with volatile values in their arguments masked.
    #[serde(default)]
    pub masked: u32,
    /// These values, in the order in which the calls came.
    #[serde(default)]
    pub masks: Vec<ToolMask>,
    /// Calls answered by `looptape.toml`.
    #[serde(rename = "static")]
    pub fixed: u32,
    /// Calls that ran.
    pub live: u32,
    /// Calls that were refused, in the order in which they came.
    pub denied: Vec<ToolRefusal>,
    /// By tool: what ran, compared with what was recorded.
    pub drift: BTreeMap<String, ToolDrift>,
    /// Calls answered from the recording that nobody asked about: the agent refused them by itself, because what
    /// earlier calls would have left behind is not there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_asked: u32,
    /// Agents whose hooks said that they ask before their tools run.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub agents: BTreeSet<String>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A volatile value in a call's arguments, tolerated at its own span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolMask {
    /// The recorded call's step; `None` where no step asked for it.
    pub step: Option<u32>,
    pub tool: String,
    pub kind: MaskKind,
    /// Both values, redacted, cut if they are long.
    pub recorded: String,
    pub live: String,
}

/// A call that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRefusal {
    pub code: DenyCode,
    pub tool: String,
    /// As one line of JSON, cut if it is long.
    pub arguments: String,
    /// The recorded call of the same tool that is most like it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<NearestTool>,
}

/// A recorded call that is like a refused one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestTool {
    /// `None` where no step asked for it.
    pub step: Option<u32>,
    pub difference: Difference,
}

/// What one tool gave live, compared with what it gave when it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolDrift {
    pub calls: u32,
    pub same: u32,
    pub different: u32,
    /// Calls that the recording does not hold: nothing to compare with.
    pub not_recorded: u32,
    /// The first difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<FirstDrift>,
}

/// Where a live result first differed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstDrift {
    pub step: Option<u32>,
    /// As one line of JSON, cut if it is long.
    pub arguments: String,
    pub difference: Difference,
}

impl ToolsReport {
    /// Whether nobody spoke of tools.
    pub fn is_empty(&self) -> bool {
        !self.has_calls() && self.agents.is_empty()
    }

    /// Whether any tool was called.
    pub fn has_calls(&self) -> bool {
        self.recorded + self.fixed + self.live > 0 || !self.denied.is_empty()
    }

    /// Whether a call was refused that the recording lacks: the run is another one.
    pub fn has_diverged(&self) -> bool {
        self.denied.iter().any(|refusal| refusal.code != DenyCode::Denied)
    }

    /// How many tools gave something else than when they were recorded.
    pub fn drifted(&self) -> usize {
        self.drift.values().filter(|drift| drift.different > 0).count()
    }

    /// The first line of a text: how many calls, and who answered.
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.recorded as usize, "answered from the recording"),
            (self.fixed as usize, "answered by looptape.toml"),
            (self.live as usize, "ran"),
            (self.denied.len(), "refused"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        format!("tool calls: {}", parts.join(", "))
    }
}

impl ToolDrift {
    /// Counts a call that ran; `difference` is `None` where nothing was recorded, `Some(None)` where it gave the same.
    pub(super) fn add(
        &mut self,
        difference: Option<Option<Difference>>,
        first: impl FnOnce(Difference) -> FirstDrift,
    ) {
        self.calls += 1;
        match difference {
            None => self.not_recorded += 1,
            Some(None) => self.same += 1,
            Some(Some(difference)) => {
                self.different += 1;
                self.first.get_or_insert_with(|| first(difference));
            }
        }
    }

    /// The same in words, without the difference itself.
    pub fn words(&self) -> String {
        let mut words = match self.different {
            0 => format!("{} of {} as recorded", self.same, self.calls),
            different => format!("{different} of {} gave something else than recorded", self.calls),
        };
        if self.not_recorded > 0 {
            let _ = write!(words, ", {} not recorded", self.not_recorded);
        }
        words
    }
}
