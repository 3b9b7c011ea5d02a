//! Many traces in one pass.
//!
//! Reading trace by trace asks the database once for each. Where most of a stretch of traces is wanted, its calls
//! are read one after the other as they lie, and those of traces that are not wanted are passed over.

use super::load::{Calls, calls_sql};
use super::{ReadError, Reader, RecordedTrace, TraceRow, replayed};
use crate::ids::TraceKey;
use looptape_core::metrics::Measured;
use looptape_core::tools::ToolFacts;
use std::collections::HashMap;
use std::panic::resume_unwind;

/// A trace with the times of its answers' pieces.
#[derive(Clone, Debug)]
pub struct ScannedTrace {
    pub trace: RecordedTrace,
    /// Of each call, in the order of the facts: when the pieces of its body came, µs on the trace's clock.
    pub pieces_us: Vec<Vec<i64>>,
}

/// Below this many traces for each, threads are not worth their start.
const TRACES_PER_THREAD: usize = 500;

/// Wanted traces whose keys are this close are read in one stretch.
const NEAR: i64 = 16;

impl ScannedTrace {
    /// Assembles, prices and measures the trace, gaps between pieces included.
    pub fn measure(&self) -> Measured {
        let mut measured = self.trace.measure();
        measured.metrics.add_pieces(&self.trace.facts, &measured.assembly, &self.pieces_us);
        measured
    }
}

impl Reader {
    /// Loads traces with the times of their pieces, in the order of their keys, and hands them over one by one.
    pub fn scan(
        &self,
        mut rows: Vec<TraceRow>,
        mut visit: impl FnMut(ScannedTrace),
    ) -> Result<(), ReadError> {
        rows.sort_by_key(|row| row.key);
        let mut rest = rows.into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut stretch = vec![first];
            while let Some(next) = rest.next_if(|next| next.key.0 - stretch[stretch.len() - 1].key.0 <= NEAR)
            {
                stretch.push(next);
            }
            self.scan_stretch(stretch, &mut visit)?;
        }
        Ok(())
    }

    fn scan_stretch(
        &self,
        stretch: Vec<TraceRow>,
        visit: &mut impl FnMut(ScannedTrace),
    ) -> Result<(), ReadError> {
        let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { return Ok(()) };
        let mut statement = self.connection.prepare_cached(&calls_sql("trace BETWEEN ?1 AND ?2"))?;
        let mut found = statement.query([first.key.0, last.key.0])?;
        let mut tools = super::tools::facts_between(&self.connection, first.key, last.key)?;
        let mut waiting = stretch.into_iter();
        let mut open: Option<(TraceRow, Calls)> = waiting.next().map(|row| (row, Calls::default()));
        while let (Some(row), Some((of, _))) = (found.next()?, &open) {
            let trace = Calls::trace_of(row)?;
            if trace < of.key {
                continue;
            }
            while open.as_ref().is_some_and(|(of, _)| of.key < trace) {
                let next = waiting.next().map(|row| (row, Calls::default()));
                self.hand_over(std::mem::replace(&mut open, next), &mut tools, visit)?;
            }
            if let Some((of, calls)) = open.as_mut().filter(|(of, _)| of.key == trace) {
                calls.add(self, of.key, row)?;
                calls.add_pieces(row)?;
            }
        }
        drop(found);
        self.hand_over(open, &mut tools, visit)?;
        waiting.try_for_each(|row| self.hand_over(Some((row, Calls::default())), &mut tools, visit))
    }

    fn hand_over(
        &self,
        whole: Option<(TraceRow, Calls)>,
        tools: &mut HashMap<TraceKey, Vec<ToolFacts>>,
        visit: &mut impl FnMut(ScannedTrace),
    ) -> Result<(), ReadError> {
        let Some((row, calls)) = whole else { return Ok(()) };
        let provenance = replayed::provenances(&self.connection, &row)?;
        let Calls { facts, import_indices, pieces_us } = calls;
        let tools = tools.remove(&row.key).unwrap_or_default();
        let prices = self.prices().clone();
        visit(ScannedTrace {
            trace: RecordedTrace { row, facts, tools, import_indices, provenance, prices },
            pieces_us,
        });
        Ok(())
    }

    /// Loads many traces as [`Reader::scan`] does, on all cores if there are many: each part of them is folded into
    /// a value of its own, in the order of the traces.
    pub fn fold<T: Send>(
        &self,
        rows: Vec<TraceRow>,
        new: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, ScannedTrace) + Sync,
    ) -> Result<Vec<T>, ReadError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.fold_on(cores.min(rows.len() / TRACES_PER_THREAD).max(1), rows, new, add)
    }

    pub(crate) fn fold_on<T: Send>(
        &self,
        threads: usize,
        mut rows: Vec<TraceRow>,
        new: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, ScannedTrace) + Sync,
    ) -> Result<Vec<T>, ReadError> {
        rows.sort_by_key(|row| row.key);
        // A reader that cannot be opened once more is no reason to fail: this one reads its part too.
        let readers: Vec<Reader> = (1..threads).map_while(|_| self.another().ok()).collect();
        let part_size = rows.len().div_ceil(readers.len() + 1).max(1);
        let part = |reader: &Reader, rows: Vec<TraceRow>| -> Result<T, ReadError> {
            let mut folded = new();
            reader.scan(rows, |scanned| add(&mut folded, scanned))?;
            Ok(folded)
        };
        std::thread::scope(|scope| {
            let part = &part;
            let mut running = Vec::with_capacity(readers.len());
            let own = rows.split_off(rows.len().saturating_sub(part_size));
            for reader in readers.into_iter().rev() {
                let rows = rows.split_off(rows.len().saturating_sub(part_size));
                running.push(scope.spawn(move || part(&reader, rows)));
            }
            let own = part(self, own)?;
            let ended = running
                .into_iter()
                .rev()
                .map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
            ended.chain([Ok(own)]).collect()
        })
    }

    /// The same of one trace.
    pub fn load_with_pieces(&self, row: TraceRow) -> Result<ScannedTrace, ReadError> {
        let mut scanned = None;
        self.scan(vec![row], |trace| scanned = Some(trace))?;
        Ok(scanned.expect("each row is handed over once"))
    }
}
