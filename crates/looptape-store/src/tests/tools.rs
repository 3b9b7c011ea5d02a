//! Tool calls that somebody reports: stored, cleaned, linked, and carried by cassettes.

use super::{Lab, answered, begin, id};
use crate::{Moment, Recorder, Selector, Source, Surroundings, ToolReport, TraceSpec};
use looptape_core::cassette::Cassette;
use looptape_core::labels::Labels;
use looptape_core::redact::Credentials;
use looptape_core::tools::{ToolMessage, ToolOutcome, ToolSource};
use serde_json::{Value, json};

fn says(recorder: &Recorder, trace: &str, message: Value) {
    recorder.tool(ToolReport {
        trace: id(trace),
        at: Moment::now(),
        message: ToolMessage::parse(message.to_string().as_bytes()).unwrap(),
        source: ToolSource::Measured,
        labels: Labels::default(),
        known: Credentials::none(),
    });
}

fn run(recorder: &Recorder, trace: &str) {
    recorder.open_trace(TraceSpec::new(id(trace), Source::Record, Moment::now()));
    recorder.begin(begin(trace, b"{\"messages\":[]}")).finish(answered(&[b"{}"]));
    let long = "long ".repeat(1000);
    says(recorder, trace, json!({"phase": "started", "name": "search", "run": "1", "arguments": {"q": "x"}}));
    says(
        recorder,
        trace,
        json!({"phase": "ended", "name": "search", "run": "1", "arguments": {"q": "x"}, "call_id": "c1",
            "outcome": "ok", "result": {"key": "sk-proj-Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFi", "text": long}, "form": "model",
            "duration_us": 0}),
    );
    says(recorder, trace, json!({"phase": "started", "name": "hangs", "run": "2"}));
    says(
        recorder,
        trace,
        json!({"phase": "ended", "name": "mail", "outcome": "timeout", "error": {"message": "no"}, "via": "mcp:post"}),
    );
    recorder.close_trace(id(trace), Moment::now(), Some(0), None);
}

#[test]
fn reports_become_calls() {
    let lab = Lab::new();
    lab.record(|recorder| run(recorder, "t"));
    let (reader, row) = (lab.reader(), lab.find("t").unwrap());
    let tools = reader.measured_tools(row.key).unwrap();
    let facts: Vec<_> = tools.iter().map(|tool| (tool.facts.name.as_str(), tool.facts.outcome)).collect();
    assert_eq!(
        facts,
        [("search", Some(ToolOutcome::Ok)), ("hangs", None), ("mail", Some(ToolOutcome::Timeout))]
    );
    let search = &tools[0];
    let shown = search.end.as_ref().unwrap().shown().unwrap();
    assert_eq!(shown["key"], "[[looptape:secret:1]]", "no secret is stored");
    assert_eq!(shown["text"], "long ".repeat(1000));
    assert!(
        search.facts.ended_us.is_some() && tools[1].facts.ended_us.is_none(),
        "what never ended has no end"
    );
    assert_eq!(tools[2].facts.via.as_deref(), Some("mcp:post"));
    let trace = reader.load(row).unwrap();
    assert_eq!(trace.tools, tools.iter().map(|tool| tool.facts.clone()).collect::<Vec<_>>());
    let (metrics, listed) = (trace.measure().metrics, reader.ls_row(trace.row.clone()).unwrap());
    assert_eq!((metrics.tool_calls, listed.tool_calls, metrics.steps), (3, 3, 1));
    let mut scanned = Vec::new();
    reader.scan(vec![trace.row], |scanned_trace| scanned.push(scanned_trace.trace.tools)).unwrap();
    assert_eq!(scanned, [trace.tools]);
}

/// A gateway may hear of a tool before it hears of a model call.
#[test]
fn a_report_opens_its_trace() {
    let lab = Lab::new();
    lab.record(|recorder| {
        says(recorder, "alone", json!({"phase": "ended", "name": "f", "outcome": "null"}));
    });
    let row = lab.find("alone").unwrap();
    assert_eq!((row.source.as_str(), lab.reader().measured_tools(row.key).unwrap().len()), ("serve", 1));
}

#[test]
fn cassettes_carry_them() {
    let (here, there) = (Lab::new(), Lab::new());
    here.record(|recorder| run(recorder, "t"));
    let files = |lab: &Lab| {
        let reader = lab.reader();
        let row = reader.find(&Selector::parse("t")).unwrap();
        reader.cassette(&row, Surroundings::Kept, |_, _| {}).unwrap()
    };
    let cassette = Cassette::open(files(&here)).unwrap();
    assert_eq!(cassette.tools().len(), 3);
    there.record(|recorder| {
        recorder.restore(cassette.clone()).unwrap();
    });
    let tools = |lab: &Lab| lab.reader().measured_tools(lab.find("t").unwrap().key).unwrap();
    assert_eq!(tools(&there), tools(&here));
    assert_eq!(files(&there), files(&here));
}

/// A database from before tools were measured.
#[test]
fn a_database_without_tool_calls_is_upgraded() {
    let lab = Lab::new();
    lab.of_version(12)
        .execute_batch(
            "INSERT INTO recorders VALUES (1, 1, 1, 'boot', '0.1.0', 5);
             INSERT INTO traces (id, run, recorder, source, tags, command, started_unix_us, started_mono_us)
               VALUES ('old', 1, 1, 'record', '{}', '[]', 10, 10);
             INSERT INTO trace_ends (trace, ended_us, idle) VALUES (1, 7, 0)",
        )
        .unwrap();
    let old = lab.find("old").unwrap();
    assert_eq!(lab.reader().measured_tools(old.key).unwrap(), []);
    lab.record(|recorder| run(recorder, "t"));
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
}

#[test]
fn a_damaged_call_is_named() {
    let lab = Lab::new();
    lab.record(|recorder| run(recorder, "t"));
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    raw.execute("UPDATE tool_calls SET said = x'00' WHERE seq = 0", []).unwrap();
    drop(raw);
    let damage = lab.reader().verify(|_, _| {}).unwrap().damage;
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(damage[0].to_string().contains("measured tool call 0"), "{}", damage[0]);
}
