//! Two recorded traces, compared step by step.

use super::sides::ReadTrace;
use looptape_core::diff::{self, Options, RequestReader, TraceDiff};
use looptape_core::replay::{MaskKind, Masking, Run};
use looptape_store::{FindError, ReadError, Reader, Selector, TraceRow};

/// Compares two traces; values of these kinds are not tolerated. What else is comes from the runs themselves.
pub fn compare(
    reader: &Reader,
    (a, b): (TraceRow, TraceRow),
    options: Options,
    not_masked: impl IntoIterator<Item = MaskKind>,
) -> Result<TraceDiff, ReadError> {
    let masking = Masking::between(&run_of(reader, &a)?, &run_of(reader, &b)?).without(not_masked);
    let mut requests = RequestReader::default();
    let a = ReadTrace::new(reader, a, &mut requests)?;
    let b = ReadTrace::new(reader, b, &mut requests)?;
    Ok(diff::compare(a.side(), b.side(), &Options { masking: Some(masking), ..options }))
}

/// The trace that this one was made from, if it was made from one.
pub fn recording_of(reader: &Reader, row: &TraceRow) -> Result<Option<TraceRow>, FindError> {
    row.parent.as_ref().map(|(parent, _)| reader.find(&Selector::parse(parent))).transpose()
}

/// What is a run's own, and may differ from the other's.
fn run_of(reader: &Reader, row: &TraceRow) -> Result<Run, ReadError> {
    Ok(Run { environment: reader.environment(row.key)?, started_unix_us: row.happened_unix_us() })
}
