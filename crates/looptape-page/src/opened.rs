//! The traces that were looked at last, kept open: the requests of one view are about the same trace.

use crate::reading::open_trace::OpenTrace;
use looptape_store::{ReadError, Reader, TraceKey, TraceRow};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// A trace of ten thousand steps takes some tens of megabytes.
const MOST: usize = 3;

#[derive(Debug, Default)]
pub(crate) struct Opened(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    key: TraceKey,
    /// Of a trace that has not ended: what it is true of. Of one that has ended nothing but its row changes.
    mark: Option<Option<i64>>,
    trace: Arc<OpenTrace>,
}

impl Opened {
    /// A trace as it is at `mark`.
    pub(crate) fn get(
        &self,
        reader: &Reader,
        row: TraceRow,
        mark: Option<i64>,
    ) -> Result<Arc<OpenTrace>, ReadError> {
        let mark = row.end.is_none().then_some(mark);
        let is_it = |kept: &Kept| kept.key == row.key && kept.mark == mark && *kept.trace.row() == row;
        if let Some(kept) = self.lock().iter().find(|kept| is_it(kept)) {
            return Ok(kept.trace.clone());
        }
        let key = row.key;
        let trace = Arc::new(OpenTrace::read(reader, row)?);
        let mut kept = self.lock();
        kept.retain(|kept| kept.key != key);
        kept.truncate(MOST - 1);
        kept.push_front(Kept { key, mark, trace: trace.clone() });
        Ok(trace)
    }

    // Held for a look, never while something is read.
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded_chat::record;
    use looptape_store::Selector;

    #[test]
    fn a_trace_is_kept_until_its_row_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("t.db");
        record(&database, "t", 2);
        let reader = Reader::open(&database).unwrap();
        let row = reader.find(&Selector::parse("t")).unwrap();
        let opened = Opened::default();
        let get = |row: &TraceRow, mark| opened.get(&reader, row.clone(), mark).unwrap();
        let first = get(&row, Some(1));
        assert!(
            Arc::ptr_eq(&first, &get(&row, Some(2))),
            "what others write does not matter to one that has ended"
        );
        let mut tagged = row;
        tagged.tags.insert("env".into(), "prod".into());
        let second = get(&tagged, Some(2));
        assert_eq!((first.row().tags.len(), second.row().tags.len()), (0, 1));
        assert!(Arc::ptr_eq(&second, &get(&tagged, Some(3))));
        tagged.end = None;
        let live = get(&tagged, Some(3));
        assert!(!Arc::ptr_eq(&live, &get(&tagged, Some(4))), "one that is being recorded goes on");
    }
}
