//! Recorded requests sent again, every answer compared with the recorded one.

use super::figures::Figures;
use super::run::DrivenRun;
use crate::replay::answers::{AnswerClass, AnswerDiff};
use crate::replay::tape::CallLabel;
use serde::Serialize;
use std::collections::BTreeMap;

/// What came of one run.
#[derive(Clone, Debug, Default)]
pub struct ResentCalls {
    /// Calls that were sent, in recorded order.
    pub calls: Vec<DrivenCall>,
    /// Recorded calls without an end: there is nothing to compare with.
    pub unanswered: usize,
    /// Recorded calls that this source is not asked: other calls than a model's, attempts that were tried
    /// again.
    pub not_sent: usize,
}

/// When an answer counts as the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    /// Bit for bit: of a recording.
    Bytes,
    /// If an agent would do the same: of a model.
    Meaning,
}

/// A call that was sent again.
#[derive(Clone, Debug, PartialEq)]
pub struct DrivenCall {
    pub label: CallLabel,
    /// How its answer compares with the recorded one.
    pub answer: AnswerDiff,
}

/// An answer that was not the recorded one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub trace: String,
    pub run: u32,
    #[serde(flatten)]
    pub label: CallLabel,
    /// In one line.
    pub what: String,
    #[serde(flatten)]
    pub answer: AnswerDiff,
}

/// All runs.
#[derive(Clone, Debug, Serialize)]
pub struct ResentReport {
    #[serde(flatten)]
    pub figures: Figures,
    pub exactness: Exactness,
    /// Calls that were sent, and compared.
    pub calls: usize,
    /// Answers that were the recorded ones, bit for bit.
    pub identical: usize,
    /// Answers on which an agent would do the same, the identical ones included.
    pub same: usize,
    pub unanswered: usize,
    pub not_sent: usize,
    /// How many answers there are of each class.
    pub classes: BTreeMap<AnswerClass, usize>,
    /// Every answer that was another; the worst first, then in order of traces, runs and calls.
    pub differences: Vec<Finding>,
}

impl ResentReport {
    /// Of these runs, whose `figures` are given.
    pub fn new(runs: &[DrivenRun<ResentCalls>], figures: Figures, exactness: Exactness) -> Self {
        let answers = || runs.iter().flat_map(|run| &run.what.calls).map(|call| &call.answer);
        let mut classes = BTreeMap::new();
        for answer in answers() {
            *classes.entry(answer.class).or_insert(0) += 1;
        }
        Self {
            figures,
            exactness,
            calls: answers().count(),
            identical: classes.get(&AnswerClass::SameBytes).copied().unwrap_or(0),
            same: answers().filter(|answer| answer.class.is_same()).count(),
            unanswered: runs.iter().map(|run| run.what.unanswered).sum(),
            not_sent: runs.iter().map(|run| run.what.not_sent).sum(),
            classes,
            differences: findings(runs, exactness),
        }
    }

    /// Whether every answer was the recorded one.
    pub fn is_as_recorded(&self) -> bool {
        self.differences.is_empty() && self.figures.divergences() == 0
    }

    /// Whether there were calls, and none of them brought a proper answer where one was recorded.
    pub fn nothing_worked(&self) -> bool {
        let failed = |class: &AnswerClass| matches!(class, AnswerClass::Error | AnswerClass::OtherError);
        self.calls > 0 && self.classes.keys().all(failed)
    }
}

fn findings(runs: &[DrivenRun<ResentCalls>], exactness: Exactness) -> Vec<Finding> {
    let is_recorded = |class: AnswerClass| match exactness {
        Exactness::Bytes => class == AnswerClass::SameBytes,
        Exactness::Meaning => class.is_same(),
    };
    let of_run = |run: &DrivenRun<ResentCalls>| -> Vec<Finding> {
        let others = run.what.calls.iter().filter(|call| !is_recorded(call.answer.class));
        let finding = |call: &DrivenCall| Finding {
            trace: run.trace.clone(),
            run: run.run,
            label: call.label,
            what: call.answer.to_string(),
            answer: call.answer.clone(),
        };
        others.map(finding).collect()
    };
    let mut findings: Vec<Finding> = runs.iter().flat_map(of_run).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.answer.class));
    findings
}
