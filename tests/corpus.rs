//! Recordings that other projects publish, imported, read and replayed, against what an independent program
//! computed from the same files.

use crate::env::TestEnv;
use looptape_core::derive;
use looptape_core::exchange::{Exchange, Outcome};
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::wire::{RequestView, ResponseView, Wire};
use looptape_store::{Reader, RecordedTrace, Selector};
use looptape_testkit::corpus::{Corpus, ExpectedCall, ExpectedCassette, Recording, skipped};
use looptape_testkit::oracle;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// What `import --json` says of a file.
struct Row {
    trace: Option<String>,
    llm_calls: u64,
    other_calls: u64,
    byte_exact: Option<bool>,
    refused: Option<String>,
}

/// A place where the whole corpus was imported by one command.
struct Imported {
    env: TestEnv,
    exit_code: Option<i32>,
    /// By the name of the file in the corpus.
    rows: BTreeMap<String, Row>,
}

impl Imported {
    fn new(corpus: &Corpus) -> Self {
        let env = TestEnv::new();
        let files: Vec<(String, String)> = corpus
            .recordings()
            .map(|r| (r.name.to_owned(), r.path.into_os_string().into_string().expect("paths are UTF-8")))
            .collect();
        let db = database(&env);
        let mut arguments =
            vec!["--db", db.to_str().expect("temporary folders are UTF-8"), "import", "--json"];
        arguments.extend(files.iter().map(|(_, path)| path.as_str()));
        let ran = env.looptape(&arguments);
        let printed: Vec<Value> =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
        assert_eq!(printed.len(), files.len(), "one entry for each file");
        let rows = files.into_iter().zip(printed).map(|((name, path), entry)| (name, Row::of(&entry, &path)));
        Self { rows: rows.collect(), exit_code: ran.code, env }
    }

    /// The traces of the vcrpy recordings.
    fn traces<'a>(&'a self, corpus: &'a Corpus) -> impl Iterator<Item = (Recording<'a>, &'a str)> {
        let vcrpy = corpus.recordings_where(|_, expected| expected.is_vcrpy());
        vcrpy.map(|recording| {
            let trace = self.rows[recording.name].trace.as_deref();
            let trace = trace.unwrap_or_else(|| panic!("{} was not imported", recording.name));
            (recording, trace)
        })
    }

    fn reader(&self) -> Reader {
        Reader::open(&database(&self.env)).expect("the import made a database")
    }
}

impl Row {
    fn of(entry: &Value, path: &str) -> Self {
        assert_eq!(entry["file"], path);
        let traces = entry["traces"].as_array().expect("an array of ids");
        assert!(traces.len() <= 1, "{path}");
        Self {
            trace: traces.first().map(|id| id.as_str().expect("an id").to_owned()),
            llm_calls: entry["llm_calls"].as_u64().expect("a number"),
            other_calls: entry["other_calls"].as_u64().expect("a number"),
            byte_exact: entry["byte_exact"].as_bool(),
            refused: entry["refused"].as_str().map(str::to_owned),
        }
    }
}

fn database(env: &TestEnv) -> PathBuf {
    env.home().join("corpus.db")
}

fn load(reader: &Reader, id: &str) -> (RecordedTrace, Vec<Exchange>) {
    let row = reader.find(&Selector::Id { prefix: id.to_owned(), run: None }).expect("the trace is there");
    let trace = reader.load(row).expect("the trace can be read");
    let exchange =
        |facts: &CallFacts| reader.exchange(trace.row.key, facts.seq).expect("the call can be read");
    let exchanges = trace.facts.iter().map(exchange).collect();
    (trace, exchanges)
}

/// Printed past the test harness, which keeps what tests that pass print.
fn summary(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "corpus: {line}");
}

/// Model calls in formats that are read so far.
fn known_llm_calls(expected: &ExpectedCassette) -> u64 {
    let known = |call: &&ExpectedCall| call.wire.as_deref().is_some_and(|wire| Wire::parse(wire).is_some());
    expected.calls.iter().filter_map(|call| call.llm()).filter(known).count() as u64
}

#[test]
fn vcrpy_recordings_are_imported_and_everything_else_is_refused_with_a_reason() {
    let Some(corpus) = Corpus::from_env() else { return skipped("importing recordings") };
    let imported = Imported::new(&corpus);
    assert_eq!(imported.exit_code, Some(1), "some files are refused");
    let (mut traces, mut refusals) = (0, 0);
    for recording in corpus.recordings() {
        let (name, expected) = (recording.name, recording.expected);
        let row = &imported.rows[name];
        if !expected.is_vcrpy() {
            assert_eq!(
                (&row.trace, row.llm_calls, row.other_calls, row.byte_exact),
                (&None, 0, 0, None),
                "{name}"
            );
            let reason = row.refused.as_deref().unwrap_or_else(|| panic!("{name} was imported"));
            assert!(reason.len() > 20, "{name}: {reason}");
            refusals += 1;
            continue;
        }
        assert_eq!(row.refused, None, "{name}");
        assert!(row.trace.is_some(), "{name}");
        assert_eq!(row.llm_calls, known_llm_calls(expected), "{name}: model calls");
        assert_eq!(row.llm_calls + row.other_calls, u64::from(expected.interactions), "{name}: calls");
        let is_parsed = |note: &String| note.ends_with("-parsed_body");
        let exact = !expected.calls.iter().any(|call| call.notes.iter().any(is_parsed));
        assert_eq!(row.byte_exact, Some(exact), "{name}");
        traces += 1;
    }
    assert!(traces > 0 && refusals > 0, "the corpus holds both");
    summary(&format!("{traces} recordings imported, {refusals} files refused"));
}

#[test]
fn stored_calls_say_what_the_reference_program_read() {
    let Some(corpus) = Corpus::from_env() else { return skipped("decoding recorded calls") };
    let imported = Imported::new(&corpus);
    let reader = imported.reader();
    let mut found = Vec::new();
    let mut calls = 0;
    for (recording, id) in imported.traces(&corpus) {
        let (trace, exchanges) = load(&reader, id);
        assert_eq!(exchanges.len(), recording.expected.calls.len(), "{}", recording.name);
        for (n, (exchange, expected)) in exchanges.iter().zip(&recording.expected.calls).enumerate() {
            assert_eq!(trace.import_indices[n], Some(expected.idx), "{}", recording.name);
            let Outcome::Answered(answer) = &exchange.outcome else { panic!("imports have answers") };
            assert_eq!(
                (answer.status, exchange.method.as_str()),
                (expected.status, expected.method.as_str())
            );
            let Some((wire, call)) = expected.llm().and_then(|c| Some((Wire::parse(c.wire.as_deref()?)?, c)))
            else {
                assert_eq!(trace.facts[n].kind, CallKind::Other, "{}, call {}", recording.name, expected.idx);
                continue;
            };
            calls += 1;
            let (request, response) = views(exchange, wire);
            let mut differences = oracle::differences(call, wire, &request, &response);
            differences.extend(facts_differences(&trace.facts[n], wire, &request, &response));
            let place = |line| format!("{}, call {}: {line}", recording.name, expected.idx);
            found.extend(differences.into_iter().map(place));
        }
    }
    assert!(calls > 0, "the corpus holds model calls");
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    summary(&format!("{calls} model calls decoded as expected"));
}

fn views(exchange: &Exchange, wire: Wire) -> (RequestView, ResponseView) {
    let request = derive::request(
        &exchange.provider,
        &exchange.method,
        &exchange.path,
        &exchange.request_headers,
        &exchange.request_body,
    );
    assert_eq!(request.kind, CallKind::Llm(wire), "{} {}", exchange.method, exchange.path);
    let response =
        derive::response_view(request.kind, &exchange.outcome).expect("a model call with an answer");
    (request.view, response)
}

/// Stored facts are what the bytes say.
fn facts_differences(
    facts: &CallFacts,
    wire: Wire,
    request: &RequestView,
    response: &ResponseView,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, same: bool| {
        if !same {
            found.push(format!("stored {what} is not the decoded one"));
        }
    };
    compare("kind", facts.kind == CallKind::Llm(wire));
    compare("model", facts.model == request.model);
    compare("response model", facts.response_model == response.response_model);
    compare("finish reason", facts.finish_reason == response.finish_reason);
    compare("usage", facts.usage == response.usage);
    compare("tool calls", facts.asks.iter().map(|a| &a.name).eq(response.tool_calls.iter().map(|c| &c.name)));
    found
}

#[test]
fn every_imported_trace_is_whole_and_replays_itself() {
    let Some(corpus) = Corpus::from_env() else { return skipped("replaying recordings") };
    let imported = Imported::new(&corpus);
    let reader = imported.reader();
    let db = database(&imported.env);
    let db = db.to_str().expect("temporary folders are UTF-8");
    let report = reader.verify(|_, _| {}).expect("the database can be read");
    assert_eq!(report.damage, []);
    let (mut calls, mut repeated) = (0, 0);
    for (recording, id) in imported.traces(&corpus) {
        let ran = imported.env.looptape(&["--db", db, "replay", id, "--max-rung", "0", "--json"]);
        let place = recording.name;
        let check: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{place}: {e}: {ran:?}"));
        assert_eq!(ran.code, Some(0), "{place}: {check:#}");
        assert_eq!(check["identical"], recording.expected.interactions, "{place}: {check:#}");
        assert_eq!(
            (&check["unanswered"], &check["differences"]),
            (&0.into(), &Value::Array(vec![])),
            "{place}"
        );
        calls += recording.expected.interactions;
        repeated += recording.expected.repeated_identical_requests;
    }
    assert!(repeated > 0, "the corpus holds identical requests with answers of their own");
    summary(&format!("{calls} calls replayed bit for bit, {repeated} of them identical to an earlier one"));
}
