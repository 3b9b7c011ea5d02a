//! Loops that a model drove by itself.

use super::figures::Figures;
use super::run::DrivenRun;
use crate::replay::free_run::{FreeRunEnding, FreeRunReport};
use serde::Serialize;

/// What came of one run: its loops, by their number in the recording.
#[derive(Clone, Debug, Default)]
pub struct FreedLoops(pub Vec<(u32, FreeRunReport)>);

/// One loop in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FreeLoop {
    pub trace: String,
    pub run: u32,
    #[serde(rename = "loop")]
    pub number: u32,
    /// How it ended, in one line.
    pub what: String,
    #[serde(flatten)]
    pub report: FreeRunReport,
}

/// All runs.
#[derive(Clone, Debug, Serialize)]
pub struct FreeReport {
    #[serde(flatten)]
    pub figures: Figures,
    /// In order of traces, runs and loops.
    pub free_loops: Vec<FreeLoop>,
}

/// How a set of free runs turned out; the worse the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FreeOutcome {
    AsRecorded,
    /// Every loop ended because the model was done.
    Finished,
    /// Some loop was broken off or failed.
    Unfinished,
    Diverged,
}

impl FreeReport {
    /// Of these runs, whose `figures` are given.
    pub fn new(runs: &[DrivenRun<FreedLoops>], figures: Figures) -> Self {
        let of_run = |run: &DrivenRun<FreedLoops>| -> Vec<FreeLoop> {
            let line = |(number, report): &(u32, FreeRunReport)| FreeLoop {
                trace: run.trace.clone(),
                run: run.run,
                number: *number,
                what: report.ending.to_string(),
                report: report.clone(),
            };
            run.what.0.iter().map(line).collect()
        };
        Self { figures, free_loops: runs.iter().flat_map(of_run).collect() }
    }

    /// The worst of its loops; divergences that a server reported count as well.
    pub fn outcome(&self) -> FreeOutcome {
        let of_loop = |inner: &FreeLoop| match inner.report.ending {
            FreeRunEnding::AsRecorded => FreeOutcome::AsRecorded,
            FreeRunEnding::Finished => FreeOutcome::Finished,
            FreeRunEnding::StepLimit { .. } | FreeRunEnding::Interrupted | FreeRunEnding::Failed { .. } => {
                FreeOutcome::Unfinished
            }
            FreeRunEnding::Diverged { .. } => FreeOutcome::Diverged,
        };
        let worst = self.free_loops.iter().map(of_loop).max().unwrap_or(FreeOutcome::AsRecorded);
        if self.figures.divergences() > 0 { FreeOutcome::Diverged } else { worst }
    }
}
