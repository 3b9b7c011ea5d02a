//! Reading many traces in one pass is reading them one by one.

use super::{Lab, begin, call, id};
use crate::{Moment, ScannedTrace, Source, TraceFilter, TraceRow, TraceSpec};

/// Traces whose calls are interleaved; one without calls, one with a call that never ended, and a gap of keys.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.record(|r| {
        for n in 0..40 {
            r.open_trace(TraceSpec::new(id(&format!("t{n}")), Source::Record, Moment::now()));
        }
        for round in 0..3 {
            for n in (0..40).filter(|n| n % 5 != 3) {
                let body = format!(
                    "{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"{round}\"}}]}}"
                );
                call(r, &format!("t{n}"), body.as_bytes());
            }
        }
        std::mem::forget(r.begin(begin("t7", b"{}")));
    });
    // What an older version derived is derived anew.
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    raw.execute_batch(OLDER_FACTS).unwrap();
    lab
}

const OLDER_FACTS: &str =
    "UPDATE calls SET derivation = 0 WHERE trace = (SELECT key FROM traces WHERE id = 't9')";

#[test]
fn one_pass_reads_what_reading_one_by_one_reads() {
    let lab = lab();
    let reader = lab.reader();
    let all = reader.traces(&TraceFilter::default()).unwrap();
    let numbers = |row: &TraceRow| row.id.as_str()[1..].parse::<usize>().unwrap();
    let wanted: [fn(usize) -> bool; 5] =
        [|_| true, |n| n % 2 == 0, |n| n == 3, |n| [0, 1, 38, 39].contains(&n), |_| false];
    for is_wanted in wanted {
        let rows: Vec<TraceRow> = all.iter().filter(|row| is_wanted(numbers(row))).cloned().collect();
        let mut found = Vec::new();
        reader.scan(rows.clone(), |scanned| found.push(scanned)).unwrap();
        assert_eq!(found.len(), rows.len());
        assert!(found.windows(2).all(|pair| pair[0].trace.row.key < pair[1].trace.row.key));
        for scanned in &found {
            let alone = reader.load(scanned.trace.row.clone()).unwrap();
            assert_eq!(scanned.trace.facts, alone.facts, "{}", alone.row.id);
            assert_eq!(scanned.pieces_us.len(), alone.facts.len());
        }
        let expected: Vec<_> = found.iter().map(|scanned| scanned.trace.row.key).collect();
        for threads in [1, 2, 3, 7] {
            let add = |keys: &mut Vec<_>, scanned: ScannedTrace| keys.push(scanned.trace.row.key);
            let folded = reader.fold_on(threads, rows.clone(), Vec::new, add).unwrap();
            assert_eq!(folded.into_iter().flatten().collect::<Vec<_>>(), expected, "{threads} threads");
        }
    }
    let of_7 = reader.load_with_pieces(lab.find("t7").unwrap()).unwrap();
    assert_eq!(of_7.pieces_us.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 0]);
}
