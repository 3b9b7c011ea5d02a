//! Looking for a text in what was said: trace by trace, in the order of the list.
//!
//! Nothing is indexed, so that recording does nothing for it; of each request only what is new in it is read. Whoever asks
//! says when it is enough, and goes on later from where it ended.

use super::list::ListedTrace;
use looptape_core::composition::Mark;
use looptape_core::derive;
use looptape_core::facts::{CallFacts, CallKind};
use looptape_store::{ReadError, Reader, RecordedTrace, TraceFilter};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::HashSet;

/// Bytes that are shown before and after what was found.
const AROUND_BYTES: usize = 70;
/// Traces that are listed at a time.
const BATCH: u32 = 200;

/// A trace in which the text is.
#[derive(Clone, Debug, Serialize)]
pub struct FoundTrace {
    #[serde(flatten)]
    pub trace: ListedTrace,
    /// The first call that says it.
    pub call: u32,
    /// The step that the call belongs to.
    pub step: Option<u32>,
    pub excerpt: String,
}

/// What a stretch of the search came to.
#[derive(Clone, Debug, Serialize)]
pub struct Searched {
    pub found: Vec<FoundTrace>,
    /// Traces that were looked through to their end.
    pub looked_at: u32,
    /// From which offset to go on; null: that was all.
    pub next: Option<u32>,
    /// From which call of the trace there; null: from its beginning.
    pub next_call: Option<u32>,
}

impl Searched {
    /// Nothing is there.
    pub const NOTHING: Self = Self { found: Vec::new(), looked_at: 0, next: None, next_call: None };
}

/// What looking through a trace came to.
enum Looked {
    Found {
        call: u32,
        excerpt: String,
    },
    Nothing,
    /// It is enough; the text is not in what was looked at.
    Until {
        next_call: u32,
    },
}

/// Looks through the traces that pass, from the filter's offset and this call of the first one, until `is_enough` says so: it
/// is asked after every call. A trace that cannot be read is passed over: `verify` names what is damaged.
pub fn search(
    reader: &Reader,
    filter: &TraceFilter,
    text: &str,
    mut from_call: u32,
    is_enough: impl Fn(usize) -> bool,
) -> Result<Searched, ReadError> {
    let needle = Needle::of(text);
    let mut searched = Searched::NOTHING;
    loop {
        let offset = filter.offset + searched.looked_at;
        let batch = reader.traces(&TraceFilter { limit: Some(BATCH), offset, ..filter.clone() })?;
        let is_last = batch.len() < BATCH as usize;
        for row in batch {
            let so_far = searched.found.len();
            if let Ok(trace) = reader.load(row.clone()) {
                match needle.first_in(reader, &trace, std::mem::take(&mut from_call), || is_enough(so_far)) {
                    Ok(Looked::Until { next_call }) => {
                        searched.next = Some(filter.offset + searched.looked_at);
                        searched.next_call = Some(next_call);
                        return Ok(searched);
                    }
                    Ok(Looked::Found { call, excerpt }) => {
                        let step = step_of(&trace, call);
                        let trace = ListedTrace::of(reader, row)?;
                        searched.found.push(FoundTrace { trace, call, step, excerpt });
                    }
                    Ok(Looked::Nothing) | Err(_) => {}
                }
            }
            searched.looked_at += 1;
            if is_enough(searched.found.len()) {
                searched.next = Some(filter.offset + searched.looked_at);
                return Ok(searched);
            }
        }
        if is_last {
            return Ok(searched);
        }
    }
}

fn step_of(trace: &RecordedTrace, call: u32) -> Option<u32> {
    let assembly = trace.assemble();
    let mut steps = assembly.steps.iter();
    let step = steps.find(|step| step.calls().any(|made| trace.facts[made.0].seq == call));
    step.map(|step| step.number.0)
}

/// What is looked for, as it stands in JSON and as it is said; in lower case.
struct Needle {
    in_json: String,
    plain: String,
}

impl Needle {
    fn of(text: &str) -> Self {
        let json = serde_json::Value::from(text).to_string();
        let in_json = json[1..json.len() - 1].to_ascii_lowercase();
        Self { in_json, plain: text.to_ascii_lowercase() }
    }

    /// The first call from `from_call` on whose request or answer says it, and what stands around it there.
    fn first_in(
        &self,
        reader: &Reader,
        trace: &RecordedTrace,
        from_call: u32,
        is_enough: impl Fn() -> bool,
    ) -> Result<Looked, ReadError> {
        let seen = RefCell::new(HashSet::new());
        let mut last_rest = Vec::new();
        let mut has_looked = false;
        for facts in trace.facts.iter().filter(|facts| facts.seq >= from_call) {
            let CallKind::Llm(wire) = facts.kind else { continue };
            if has_looked && is_enough() {
                return Ok(Looked::Until { next_call: facts.seq });
            }
            has_looked = true;
            let member = wire.history().map_or("", |(member, _)| member);
            let is_known = |mark: Mark| seen.borrow().contains(&(wire, mark));
            let request = reader.request_parts(trace.row.key, facts.seq, member, &is_known)?;
            seen.borrow_mut().extend(request.new.iter().map(|(mark, _)| (wire, *mark)));
            let rest = (request.rest != last_rest).then_some(&request.rest[..]);
            let new = request.new.iter().map(|(_, stretch)| &stretch[..]);
            if let Some(excerpt) = new.chain(rest).find_map(|said| around(said, &self.in_json)) {
                return Ok(Looked::Found { call: facts.seq, excerpt: unescaped(excerpt) });
            }
            last_rest = request.rest.to_vec();
            if let Some(excerpt) = self.in_answer(reader, trace, facts)? {
                return Ok(Looked::Found { call: facts.seq, excerpt });
            }
        }
        Ok(Looked::Nothing)
    }

    fn in_answer(
        &self,
        reader: &Reader,
        trace: &RecordedTrace,
        facts: &CallFacts,
    ) -> Result<Option<String>, ReadError> {
        let outcome = reader.outcome(trace.row.key, facts.seq)?;
        let Some(answer) = derive::response_view(facts.kind, &outcome) else { return Ok(None) };
        let calls = answer.tool_calls.iter().map(|call| format!("{} {}", call.name, call.arguments));
        let said =
            [answer.text, answer.reasoning].into_iter().find_map(|text| around(text.as_bytes(), &self.plain));
        Ok(said.or_else(|| calls.into_iter().find_map(|call| around(call.as_bytes(), &self.in_json))))
    }
}

/// What stands around the first place of `needle` in a text.
fn around(text: &[u8], needle: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let at = memchr::memmem::find(&lower, needle.as_bytes())?;
    let (from, to) = (at.saturating_sub(AROUND_BYTES), (at + needle.len() + AROUND_BYTES).min(text.len()));
    let piece = String::from_utf8_lossy(&text[from..to]);
    Some(piece.trim_matches(char::REPLACEMENT_CHARACTER).to_owned())
}

/// A piece of JSON as it reads, where it is the inside of one string.
fn unescaped(piece: String) -> String {
    serde_json::from_str(&format!("\"{piece}\"")).unwrap_or(piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded_chat::record;

    /// All that is found in stretches of one call each, and how many stretches that took.
    fn call_by_call(reader: &Reader, text: &str) -> (Vec<(String, u32)>, usize) {
        let (mut filter, mut from_call, mut found) = (TraceFilter::default(), 0, Vec::new());
        for stretches in 1.. {
            let searched = search(reader, &filter, text, from_call, |_| true).unwrap();
            found.extend(searched.found.into_iter().map(|one| (one.trace.label, one.call)));
            let Some(next) = searched.next else { return (found, stretches) };
            (filter.offset, from_call) = (next, searched.next_call.unwrap_or(0));
        }
        unreachable!("it ends")
    }

    #[test]
    fn it_stops_within_a_trace_and_goes_on_there() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("t.db");
        record(&database, "older", 3);
        record(&database, "longer", 6);
        let reader = Reader::open(&database).unwrap();
        for (text, expected) in [
            ("question 5 of longer", vec![("longer", 4)]),
            ("answer 3", vec![("longer", 2), ("older", 2)]),
            ("question 1", vec![("longer", 0), ("older", 0)]),
            ("nobody said this", vec![]),
        ] {
            let expected: Vec<(String, u32)> =
                expected.into_iter().map(|(label, call)| (label.to_owned(), call)).collect();
            let whole = search(&reader, &TraceFilter::default(), text, 0, |_| false).unwrap();
            let at_once: Vec<_> = whole.found.into_iter().map(|one| (one.trace.label, one.call)).collect();
            assert_eq!(at_once, expected, "{text}");
            assert_eq!((whole.next, whole.next_call, whole.looked_at), (None, None, 2), "{text}");
            let (found, stretches) = call_by_call(&reader, text);
            assert_eq!(found, expected, "{text}, call by call");
            assert!(text != "nobody said this" || stretches >= 9, "a stretch is a call: {stretches}");
        }
    }

    #[test]
    fn what_stands_around() {
        let needle = Needle::of("Say \"Hé\"\n");
        let json = br#"{"content":"please say \"h\u00e9\"\n"}"#;
        assert_eq!(around(json, &needle.in_json), None, "other spellings of a character are other bytes");
        let json = "{\"content\":\"please SAY \\\"hé\\\"\\nnow\"}".as_bytes();
        assert!(around(json, &needle.in_json).is_some_and(|piece| piece.contains("please SAY")));
        let long = [&b"x".repeat(500)[..], b"here", &b"y".repeat(500)[..]].concat();
        assert_eq!(around(&long, "here").map(|piece| piece.len()), Some(4 + 2 * AROUND_BYTES));
        assert_eq!(unescaped("a \\\"b\\\"".to_owned()), "a \"b\"");
        assert_eq!(unescaped("cut\\".to_owned()), "cut\\");
    }
}
