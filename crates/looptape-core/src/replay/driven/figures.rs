//! Many runs in figures.

use super::run::{Coverage, DrivenRun};
use crate::cost::Usd;
use crate::metrics::{self, Distribution, Ms, Sample, Stats, TraceMetrics, Window};
use crate::replay::report::DivergenceCode;
use crate::replay::summary::Summary;
use serde::Serialize;

/// What the runs cost, and would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct DrivenMoney {
    /// What the recordings of these runs cost; `None` if that is not known.
    pub recorded_usd: Option<Usd>,
    pub spent_usd: Option<Usd>,
    pub saved_usd: Option<Usd>,
    /// Whether some of these may be larger.
    #[serde(rename = "money_at_least")]
    pub at_least: bool,
}

/// One run in a report.
#[derive(Clone, Debug, Serialize)]
pub struct RunLine {
    pub trace: String,
    pub run: u32,
    pub child: Option<String>,
    pub coverage: Coverage,
    pub loops: u32,
    pub steps: u32,
    pub duration_ms: Option<Ms>,
    pub cost_usd: Option<Usd>,
    pub replay: Option<Summary>,
    /// All that was measured of it, and of its recording.
    #[serde(skip)]
    pub metrics: TraceMetrics,
    #[serde(skip)]
    pub recorded: TraceMetrics,
}

/// A trace that could not be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedTrace {
    pub trace: String,
    pub why: String,
}

/// The figures of all runs.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub format: u32,
    pub traces: usize,
    pub coverage: Coverage,
    /// Loops that came to their end.
    pub loops: u32,
    pub steps: u32,
    pub elapsed_ms: Ms,
    /// From the first request to the last answer.
    pub loops_per_min: Option<f64>,
    pub steps_per_loop: Distribution,
    pub retry_rate: Option<f64>,
    #[serde(flatten)]
    pub money: DrivenMoney,
    pub stats: Stats,
    pub runs: Vec<RunLine>,
    pub refused: Vec<RefusedTrace>,
}

impl Figures {
    /// Sums runs up. They are given in order of traces and runs; `window` is the time that they took.
    pub fn of<T>(
        runs: &[DrivenRun<T>],
        refused: Vec<RefusedTrace>,
        window: Window,
        money: DrivenMoney,
    ) -> Self {
        let samples: Vec<Sample<'_>> = runs
            .iter()
            .map(|run| Sample {
                started_unix_us: Some(run.started_unix_us),
                phase: None,
                metrics: &run.metrics,
            })
            .collect();
        let stats = metrics::stats(&samples, Some(window));
        let interrupted = runs.iter().any(|run| run.coverage == Coverage::Interrupted);
        let loops = runs.iter().map(DrivenRun::ended_loops).sum();
        let minutes = window.seconds() / 60.0;
        let mut traces: Vec<&str> = runs.iter().map(|run| run.trace.as_str()).collect();
        traces.sort_unstable();
        traces.dedup();
        Self {
            format: 1,
            traces: traces.len(),
            coverage: if interrupted { Coverage::Interrupted } else { Coverage::Whole },
            loops,
            steps: stats.of_steps.steps,
            elapsed_ms: Ms::between(window.start_unix_us, window.end_unix_us),
            loops_per_min: (minutes > 0.0).then(|| f64::from(loops) / minutes),
            steps_per_loop: stats.steps_per_loop.clone(),
            retry_rate: stats.of_steps.retry_rate,
            money,
            stats,
            runs: runs.iter().map(line).collect(),
            refused,
        }
    }

    /// Divergences that the servers reported, recordings left unused not counted.
    pub fn divergences(&self) -> usize {
        let reports = self.runs.iter().filter_map(|run| run.replay.as_ref()).flat_map(|r| &r.divergences);
        reports.filter(|report| report.code != DivergenceCode::UnusedRecording).count()
    }
}

fn line<T>(run: &DrivenRun<T>) -> RunLine {
    RunLine {
        trace: run.trace.clone(),
        run: run.run,
        child: run.child.clone(),
        coverage: run.coverage,
        loops: run.ended_loops(),
        steps: run.metrics.steps,
        duration_ms: run.metrics.time.duration_ms,
        cost_usd: run.metrics.cost_usd,
        replay: run.replay.clone(),
        metrics: run.metrics.clone(),
        recorded: run.recorded.clone(),
    }
}
