//! When the files of a recorded run were looked at, by step.

use looptape_core::Digest;
use looptape_core::workspace::SnapshotAt;
use looptape_store::{Reader, RecordedTrace, RecordedWorkspace, Snapshot};

/// The files of a run, by step.
#[derive(Debug)]
pub(crate) struct RecordedFiles {
    pub(crate) workspace: RecordedWorkspace,
    /// In order: before the program started, when each step asked, after it had ended.
    pub(crate) looks: Vec<Look>,
    /// How many steps the run has.
    pub(crate) steps: usize,
}

/// A look at the files.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) of: LookOf,
    /// What was seen, or why nothing was.
    pub(crate) root: Result<Digest, String>,
    /// The answer was on its way already: what came of it may be in it.
    pub(crate) is_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookOf {
    Start,
    Step(u32),
    End,
}

impl RecordedFiles {
    /// Fails with what to do if the run's files were not kept.
    pub(crate) fn of(reader: &Reader, trace: &RecordedTrace) -> anyhow::Result<Self> {
        let Some(workspace) = reader.workspace(trace.row.key)? else {
            anyhow::bail!(
                "the files of trace {} were not kept: `looptape record --workspace DIR -- CMD…` keeps those of a run",
                trace.row.label()
            )
        };
        let assembly = trace.assemble();
        let steps = assembly.steps.iter().filter_map(|step| {
            // Its attempts are the same question: the first look shows what was there when it was asked.
            let mut seqs = step.attempts.iter().map(|attempt| trace.facts[attempt.call.0].seq);
            let snapshot = seqs.find_map(|seq| workspace.at(SnapshotAt::Call(seq)))?;
            Some(Look::of(LookOf::Step(step.number.0), snapshot, trace))
        });
        let end_of = |of, at| workspace.at(at).map(|snapshot| Look::of(of, snapshot, trace));
        let start = end_of(LookOf::Start, SnapshotAt::Start);
        let end = end_of(LookOf::End, SnapshotAt::End);
        let looks = start.into_iter().chain(steps).chain(end).collect();
        let steps = assembly.steps.len();
        Ok(Self { workspace, looks, steps })
    }

    pub(crate) fn look(&self, of: LookOf) -> Option<&Look> {
        self.looks.iter().find(|look| look.of == of)
    }
}

impl Look {
    fn of(of: LookOf, snapshot: &Snapshot, trace: &RecordedTrace) -> Self {
        Self { of, root: snapshot.root.clone(), is_late: is_late(trace, snapshot) }
    }
}

fn is_late(trace: &RecordedTrace, snapshot: &Snapshot) -> bool {
    let SnapshotAt::Call(seq) = snapshot.at else { return false };
    let facts = trace.facts.iter().find(|facts| facts.seq == seq);
    let answered_us = facts.and_then(|facts| facts.first_event_us.or(facts.end_us));
    answered_us.is_some_and(|answered_us| snapshot.taken_us > answered_us)
}
