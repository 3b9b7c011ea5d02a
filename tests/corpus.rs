//! Recordings that other projects publish, imported, read and replayed, against what an independent program
//! computed from the same files.

use crate::env::TestEnv;
use looptape_core::assembly::{Step, StepNumber};
use looptape_core::derive;
use looptape_core::exchange::{Exchange, Outcome};
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::import;
use looptape_core::lineage::Conversation;
use looptape_core::wire::{RequestView, ResponseView, Wire};
use looptape_store::{Reader, RecordedTrace, Selector};
use looptape_testkit::corpus::{Corpus, ExpectedCall, ExpectedInteraction, Recording, skipped};
use looptape_testkit::oracle;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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

    /// The traces of the recordings that hold HTTP.
    fn traces<'a>(&'a self, corpus: &'a Corpus) -> impl Iterator<Item = (Recording<'a>, &'a str)> {
        let of_http = corpus.recordings_where(|_, expected| expected.holds_http());
        of_http.map(|recording| {
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

/// Wire formats of model calls that are not decoded yet.
const NOT_DECODED_YET: &[&str] = &[];

/// Where the reference program is believed to be wrong: file, call, the field as the difference names it, and
/// why. The test fails if one of them is not a difference any more.
const ORACLE_ERRORS: &[(&str, u32, &str, &str)] = &[
    (
        "traceloop__openllmetry-js/packages/instrumentation-bedrock/recordings/Test-Cohere-with-AWS-Bedrock-Instrumentation_859624008/should-set-request-and-response-attributes-in-span-for-given-prompt-with-streaming-result_3091204960/recording.har",
        0,
        "text",
        "a frame's only event holds Cohere Command's `generations`, whose text the reference program does not look for",
    ),
    (
        "traceloop__openllmetry-js/packages/instrumentation-bedrock/recordings/Test-Cohere-with-AWS-Bedrock-Instrumentation_859624008/should-set-request-and-response-attributes-in-span-for-given-prompt-with-streaming-result_3091204960/recording.har",
        0,
        "finish_reason",
        "it stands beside that text, in `generations`",
    ),
    (
        "traceloop__openllmetry-js/packages/instrumentation-cohere/recordings/Test-Chat-with-Cohere-Instrumentation_1517473443/should-set-request-and-response-attributes-in-span-for-given-prompt-with-stream_606450421/recording.har",
        0,
        "finish_reason",
        "the last event states it beside its `response`, where the reference program looks",
    ),
];

/// The wire format of an expected model call, unless it is one that is not decoded yet.
fn decoded(expected: &ExpectedInteraction) -> Option<(Wire, &ExpectedCall)> {
    let call = expected.llm()?;
    let name = call.wire.as_deref().expect("a model call has a wire format");
    if NOT_DECODED_YET.contains(&name) {
        assert_eq!(Wire::parse(name), None, "{name} is decoded by now: take it off the list");
        return None;
    }
    let wire = Wire::parse(name).unwrap_or_else(|| panic!("the corpus holds an unknown wire format: {name}"));
    Some((wire, call))
}

#[test]
fn recordings_of_http_are_imported_and_everything_else_is_refused_with_a_reason() {
    let Some(corpus) = Corpus::from_env() else { return skipped("importing recordings") };
    let imported = Imported::new(&corpus);
    assert_eq!(imported.exit_code, Some(1), "some files are refused");
    let (mut traces, mut refusals) = (0, 0);
    for recording in corpus.recordings() {
        let (name, expected) = (recording.name, recording.expected);
        let row = &imported.rows[name];
        if !expected.holds_http() {
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
        let llm_calls = expected.calls.iter().filter(|call| decoded(call).is_some()).count() as u64;
        assert_eq!(row.llm_calls, llm_calls, "{name}: model calls");
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
    let (mut found, mut excused) = (Vec::new(), BTreeSet::new());
    let (mut calls, mut not_yet) = (0, 0);
    for (recording, id) in imported.traces(&corpus) {
        let (trace, exchanges) = load(&reader, id);
        assert_eq!(exchanges.len(), recording.expected.calls.len(), "{}", recording.name);
        for (n, (exchange, expected)) in exchanges.iter().zip(&recording.expected.calls).enumerate() {
            assert_eq!(trace.import_indices[n], Some(expected.idx), "{}", recording.name);
            let place = format!("{}, call {}", recording.name, expected.idx);
            let Outcome::Answered(answer) = &exchange.outcome else { panic!("{place} has no answer") };
            assert_eq!(
                (answer.status, exchange.method.as_str()),
                (expected.status, expected.method.as_str()),
                "{place}"
            );
            let Some((wire, call)) = decoded(expected) else {
                if trace.facts[n].kind != CallKind::Other {
                    found.push(format!(
                        "{place}: kind: got {:?}, expected no model call",
                        trace.facts[n].kind
                    ));
                }
                not_yet += u32::from(expected.llm().is_some());
                continue;
            };
            calls += 1;
            let (request, response) = match views(exchange, wire) {
                Ok(views) => views,
                Err(difference) => {
                    found.push(format!("{place}: {difference}"));
                    continue;
                }
            };
            let mut differences = oracle::differences(call, wire, &request, &response);
            differences.extend(facts_differences(&trace.facts[n], wire, &request, &response));
            for line in differences {
                match oracle_error(recording.name, expected.idx, &line) {
                    Some(error) => drop(excused.insert(error)),
                    None => found.push(format!("{place}: {line}")),
                }
            }
        }
    }
    assert!(calls > 0, "the corpus holds model calls");
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    let needless: Vec<_> = (0..ORACLE_ERRORS.len()).filter(|at| !excused.contains(at)).collect();
    assert!(
        needless.is_empty(),
        "no differences any more: {:?}",
        needless.iter().map(|&at| ORACLE_ERRORS[at])
    );
    summary(&format!("{calls} model calls decoded as expected, {not_yet} in formats not decoded yet"));
}

/// The place in the table of the error that explains a difference.
fn oracle_error(name: &str, idx: u32, line: &str) -> Option<usize> {
    let explains = |&(file, call, field, _): &(&str, u32, &str, &str)| {
        file == name && call == idx && line.split_once(": ").is_some_and(|(what, _)| what == field)
    };
    ORACLE_ERRORS.iter().position(explains)
}

fn views(exchange: &Exchange, wire: Wire) -> Result<(RequestView, ResponseView), String> {
    let request = derive::request(
        &exchange.provider,
        &exchange.method,
        &exchange.path,
        &exchange.request_headers,
        &exchange.request_body,
    );
    if request.kind != CallKind::Llm(wire) {
        let (method, path) = (&exchange.method, &exchange.path);
        return Err(format!("wire: got {:?}, expected {wire:?} ({method} {path})", request.kind));
    }
    let response =
        derive::response_view(request.kind, &exchange.outcome).expect("a model call with an answer");
    let body = derive::decode_body(&exchange.request_headers, &exchange.request_body, &[]).bytes;
    let view = wire.decode_request(&exchange.path, &serde_json::from_slice(&body).unwrap_or_default());
    // Facts are read piece by piece; the body as a whole must say the same.
    let whole = Conversation::of(wire, &view.messages).lineage();
    if request.lineage != whole {
        return Err(format!("lineage: {:?} piece by piece, {whole:?} as a whole", request.lineage));
    }
    Ok((view, response))
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

/// Where a request carries on from a call of the chain, and no step says so: file, the two calls, and why.
const UNLINKED: &[(&str, u32, u32, &str)] = &[
    (
        "pydantic__pydantic-ai/tests/models/cassettes/test_anthropic/test_anthropic_deferred_capability_without_tool_search_across_models[claude-fable-5].yaml",
        0,
        1,
        "the agent adds a turn of its own with a call that no model asked for, and its result",
    ),
    (
        "pydantic__pydantic-ai/tests/models/cassettes/test_deepseek/test_deepseek_deferred_capability_with_thinking.yaml",
        0,
        1,
        "the same",
    ),
];

#[test]
fn loops_carry_on_as_the_reference_program_chained_them() {
    let Some(corpus) = Corpus::from_env() else { return skipped("chaining recorded calls") };
    let imported = Imported::new(&corpus);
    let reader = imported.reader();
    let (mut links, mut unlinked) = (0, Vec::new());
    for (recording, id) in imported.traces(&corpus) {
        let (trace, _) = load(&reader, id);
        let assembly = trace.measure().assembly;
        let step_of = |call: u32| {
            let index = trace.import_indices.iter().position(|at| *at == Some(call));
            let index = index.unwrap_or_else(|| panic!("{}: no call {call}", recording.name));
            let holds = |step: &&Step| step.attempts.iter().any(|attempt| attempt.call.0 == index);
            assembly.steps.iter().find(holds).unwrap_or_else(|| panic!("{}: no step", recording.name)).number
        };
        for pair in recording.expected.loop_chain.windows(2) {
            let (from, to) = (step_of(pair[0]), step_of(pair[1]));
            let parent = |number: &StepNumber| assembly.steps[number.0 as usize - 1].parent;
            links += 1;
            if !std::iter::successors(Some(to), parent).any(|ancestor| ancestor == from) {
                unlinked.push((recording.name.to_owned(), pair[0], pair[1]));
            }
        }
    }
    assert!(links > 0, "the corpus holds loops");
    let known: Vec<_> = UNLINKED.iter().map(|&(name, from, to, _)| (name.to_owned(), from, to)).collect();
    assert_eq!(unlinked, known);
    summary(&format!("{links} calls carry on from another, {} of them unseen", unlinked.len()));
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
    let verified = imported.env.looptape(&["--db", db, "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let (mut calls, mut repeated) = (0, 0);
    for (recording, id) in imported.traces(&corpus) {
        let cassette = import::read(recording.name, &recording.bytes).expect("it was imported");
        for (interaction, exchange) in cassette.interactions.iter().zip(load(&reader, id).1) {
            let place = format!("{}, call {}", recording.name, interaction.index);
            let Outcome::Answered(answer) = &exchange.outcome else { panic!("{place} has no answer") };
            assert!(
                exchange.request_body == interaction.request_body,
                "{place}: another request body is stored"
            );
            assert!(answer.body == interaction.response_body, "{place}: another response body is stored");
        }
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

#[test]
fn every_imported_trace_is_listed_and_shown_with_the_times_that_its_file_states() {
    let Some(corpus) = Corpus::from_env() else { return skipped("showing recordings") };
    let imported = Imported::new(&corpus);
    let db = database(&imported.env);
    let db = db.to_str().expect("temporary folders are UTF-8");
    let run = |arguments: &[&str]| {
        let ran = imported.env.looptape(&[&["--db", db], arguments].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        ran.stdout
    };
    let listed: Vec<Value> = serde_json::from_str(&run(&["ls", "-n", "0", "--json"])).expect("an array");
    // Files with the same bytes are one trace.
    let ids: BTreeSet<&str> = imported.traces(&corpus).map(|(_, id)| id).collect();
    assert_eq!(listed.iter().map(|row| row["id"].as_str().expect("an id")).collect::<BTreeSet<_>>(), ids);
    assert_eq!(run(&["ls", "-n", "0"]).lines().count(), listed.len() + 1, "a header and a line for each");
    let mut timed = BTreeMap::new();
    for (recording, id) in imported.traces(&corpus) {
        let place = recording.name;
        assert!(run(&["show", id]).contains(&id[..8]), "{place}");
        let shown: Value = serde_json::from_str(&run(&["show", id, "--json", "--messages"])).expect("JSON");
        assert_eq!(shown["trace"]["status"], "complete", "{place}");
        let entries = shown["steps"].as_array().expect("an array");
        let of_calls = || entries.iter().filter(|entry| entry["kind"] != "tool");
        let attempts: usize = of_calls().map(|e| e["attempts"].as_array().expect("an array").len()).sum();
        assert_eq!(attempts, recording.expected.calls.len(), "{place}");
        assert!(of_calls().all(|e| e["import_index"].is_u64()), "{place}");
        let all_have = |field: &str| of_calls().all(|e| e[field].is_f64() || e[field].is_u64());
        let none_has = |field: &str| of_calls().all(|e| e[field].is_null());
        let is_single = attempts == of_calls().count();
        let (starts, durations) = match recording.expected.container.as_str() {
            "har-polly" => (true, true),
            "go-vcr-v2" => (false, true),
            "r-vcr" => (true, false),
            _ => (false, false),
        };
        assert!(if starts { all_have("started_ms") } else { none_has("started_ms") }, "{place}: {shown:#}");
        let known = if durations { !is_single || all_have("duration_ms") } else { none_has("duration_ms") };
        assert!(known, "{place}: {shown:#}");
        assert!(none_has("ttft_ms") && none_has("tpot_ms"), "{place}: no file says what happened in a call");
        let duration = &shown["trace"]["metrics"]["duration_ms"];
        assert_eq!(duration.is_null(), !(starts && durations), "{place}: {duration}");
        *timed.entry((starts, durations)).or_insert(0) += 1;
    }
    assert_eq!(timed.len(), 4, "the corpus holds every kind of timing: {timed:?}");
}
