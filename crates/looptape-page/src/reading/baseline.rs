//! What a run is compared with: another trace, or the median of its agent's runs.

use super::audit::pricing;
use looptape_core::audit::{Baseline, BaselineSource, Bills, Quantities};
use looptape_core::cost::Usd;
use looptape_store::{ReadError, Reader, RecordedTrace, TraceRow};

/// Among how many of the latest runs the median is taken, where nobody says.
pub const LATEST_RUNS: u32 = 50;

/// A trace that somebody named; `None` if its cost is not known.
pub fn named(reader: &Reader, row: TraceRow) -> Result<Option<Baseline>, ReadError> {
    let source = BaselineSource::Trace { trace: row.label() };
    let (baseline, is_priced) = of_trace(reader, row, source)?;
    Ok(is_priced.then_some(baseline))
}

/// The run of median cost among the latest of the same agent; or else why there is none.
pub fn median(
    reader: &Reader,
    trace: &RecordedTrace,
    last: u32,
) -> Result<Result<Baseline, String>, ReadError> {
    let Some(cohort) = trace.row.labels().cohort() else {
        return Ok(Err(
            "compared with no other run: nobody named the agent (`record --agent NAME`), so it is \
            not known which runs are alike; --baseline TRACE compares with one"
                .to_owned(),
        ));
    };
    let rows = reader.cohort(&cohort, trace.row.key, last)?;
    let mut priced: Vec<(Usd, TraceRow)> = Vec::with_capacity(rows.len());
    // The trace may be a copy of one that is there.
    for row in rows.into_iter().filter(|row| row.id != trace.row.id || row.run != trace.row.run) {
        let listed = reader.ls_row(row.clone())?;
        priced.extend(listed.cost_usd.filter(|_| !listed.cost_at_least).map(|usd| (usd, row)));
    }
    let runs = u32::try_from(priced.len()).unwrap_or(u32::MAX);
    // One that really was: of an even number the cheaper of the two in the middle.
    let middle = priced.len().saturating_sub(1) / 2;
    priced.sort_by_key(|(usd, row)| (*usd, row.key));
    let Some((_, row)) = priced.into_iter().nth(middle) else {
        return Ok(Err(format!("compared with no other run: there is no other priced run of {cohort}")));
    };
    let agent = Some(cohort.agent);
    let source = BaselineSource::CohortMedian { trace: row.label(), agent, runs };
    Ok(Ok(of_trace(reader, row, source)?.0))
}

/// A trace as a baseline, and whether any of its cost is known.
fn of_trace(reader: &Reader, row: TraceRow, source: BaselineSource) -> Result<(Baseline, bool), ReadError> {
    let trace = reader.load(row)?;
    let measured = trace.measure();
    let bills = Bills::of(&trace.facts, &measured, &pricing(reader, &trace));
    let quantities = Quantities::of(&bills, measured.metrics.steps);
    let at_least = measured.metrics.cost_at_least;
    Ok((Baseline { source, quantities, at_least }, measured.metrics.cost_usd.is_some()))
}
