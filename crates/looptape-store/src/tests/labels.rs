//! Agents, versions and tags, and the cohorts that are made of them.

use super::{Lab, answered, begin, id};
use crate::{
    Moment, Reader, Recorder, RecorderOptions, Source, TagFilter, TraceFilter, TraceHint, TraceRow, TraceSpec,
};
use looptape_core::labels::{Labels, Tag};
use looptape_core::redact::Patterns;
use std::sync::Arc;

fn labels(agent: Option<&str>, version: Option<&str>, tags: &[&str]) -> Labels {
    let (agent, agent_version) = (agent.map(str::to_owned), version.map(str::to_owned));
    let mut labels = Labels { agent, agent_version, ..Labels::default() };
    tags.iter().for_each(|tag| labels.add_tag(Tag::parse(tag).unwrap()));
    labels
}

fn run(recorder: &Recorder, name: &str, labels: Labels) {
    let mut spec = TraceSpec::new(id(name), Source::Record, Moment::now());
    spec.labels = labels;
    spec.program = Some("python".to_owned());
    recorder.open_trace(spec);
}

fn end(recorder: &Recorder, name: &str) {
    recorder.close_trace(id(name), Moment::now(), Some(0), None);
}

fn says(recorder: &Recorder, hint: TraceHint, labels: Labels) {
    let mut call = begin("unused", b"{}");
    (call.hint, call.labels) = (hint, labels);
    recorder.begin(call).finish(answered(&[b"{}"]));
}

fn names(rows: &[TraceRow]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

#[test]
fn a_cohort_is_the_newest_runs_of_the_same_agent() {
    let lab = Lab::new();
    lab.record(|r| {
        for (name, agent, version, tags) in [
            ("a1", Some("a"), "1", &["env=x"][..]),
            ("b1", Some("b"), "1", &["env=x"]),
            ("a2", Some("a"), "2", &["env=\"y\"", "nightly"]),
            ("a3", Some("a"), "2", &["env=x"]),
            ("anybody", None, "2", &[]),
        ] {
            run(r, name, labels(agent, Some(version), tags));
            end(r, name);
        }
        run(r, "open", labels(Some("a"), Some("2"), &["env=x"]));
        r.flush();
        let reader = lab.reader();
        let of = lab.find("a3").unwrap();
        let cohort = of.labels().cohort().unwrap();
        let members = |cohort, n| reader.cohort(&cohort, of.key, n).unwrap();
        assert_eq!(names(&members(cohort.clone(), 10)), ["a2", "a1"], "neither itself nor what goes on");
        assert_eq!(names(&members(cohort.clone(), 1)), ["a2"]);
        assert_eq!(names(&members(cohort.clone().of_version("1"), 10)), ["a1"]);
        let odd = Tag::parse("env=\"y\"").unwrap();
        assert_eq!(names(&members(cohort.with_tag(odd), 10)), ["a2"]);
        assert_eq!(lab.find("anybody").unwrap().labels().cohort().map(|c| c.agent), Some("python".into()));
    });
    let filtered = |tags: &[&str], version: Option<&str>| {
        let tags = tags.iter().map(|tag| TagFilter::parse(tag).unwrap()).collect();
        let agent_version = version.map(str::to_owned);
        let filter = TraceFilter { tags, agent_version, ..TraceFilter::default() };
        names(&lab.reader().traces(&filter).unwrap()).len()
    };
    assert_eq!(
        [filtered(&["env=x"], None), filtered(&["env"], None), filtered(&["nightly="], None)],
        [4, 5, 1]
    );
    assert_eq!([filtered(&["env", "nightly"], Some("2")), filtered(&["en"], None)], [1, 0]);
}

#[test]
fn calls_add_what_their_run_left_open() {
    let lab = Lab::new();
    lab.record(|r| {
        run(r, "t", labels(None, None, &["env=x"]));
        says(r, TraceHint::Named(id("t")), labels(Some("refund"), Some("1.4"), &["env=y", "team=z"]));
        says(
            r,
            TraceHint::Named(id("t")),
            labels(Some("other"), None, &["key=sk-proj-abcdefghijklmnopqrstuvwxyz012345"]),
        );
        run(r, "silent", Labels::default());
        says(r, TraceHint::Named(id("silent")), Labels::default());
    });
    let row = lab.find("t").unwrap();
    assert_eq!((row.agent.as_deref(), row.agent_version.as_deref()), (Some("refund"), Some("1.4")));
    let tag = |key| row.tags.get(key).map(String::as_str);
    assert_eq!((tag("env"), tag("team")), (Some("x"), Some("z")));
    assert!(!tag("key").unwrap().contains("abcdefgh"), "{row:?}");
    assert_eq!(lab.find("silent").unwrap().agent.as_deref(), Some("python"));
}

#[test]
fn a_gateway_labels_the_traces_that_calls_open() {
    let lab = Lab::new();
    let mut options = RecorderOptions::new(lab.database.clone(), Arc::new(Patterns::builtin()));
    options.labels = labels(Some("shared"), Some("7"), &["env=prod"]);
    let (recorder, thread) = Recorder::start(options).unwrap();
    says(&recorder, TraceHint::Named(id("a")), Labels::default());
    says(&recorder, TraceHint::Named(id("b")), labels(Some("own"), None, &["env=test"]));
    drop(recorder);
    thread.finish();
    let of = |name| {
        let row = lab.find(name).unwrap();
        (row.agent.unwrap(), row.agent_version.unwrap(), row.tags["env"].clone())
    };
    assert_eq!(of("a"), ("shared".into(), "7".into(), "prod".into()));
    assert_eq!(of("b"), ("own".into(), "7".into(), "test".into()));
}

/// Version 7 as it was, with a trace in it.
#[test]
fn a_database_of_version_7_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    for migration in [
        include_str!("../../../../migrations/0001_traces.sql"),
        include_str!("../../../../migrations/0002_import_times.sql"),
        include_str!("../../../../migrations/0003_trace_environment.sql"),
        include_str!("../../../../migrations/0004_packs.sql"),
        include_str!("../../../../migrations/0005_replays.sql"),
        include_str!("../../../../migrations/0006_recurring_content.sql"),
        include_str!("../../../../migrations/0007_price_books.sql"),
    ] {
        old.execute_batch(migration).unwrap();
    }
    old.execute_batch(
        "INSERT INTO recorders VALUES (1, 1, 1, 'boot', '0.1.0', 5);
         INSERT INTO traces (id, run, recorder, source, agent, tags, command, started_unix_us, started_mono_us)
           VALUES ('old', 1, 1, 'record', 'a', '{\"env\":\"x\"}', '[]', 10, 10);
         INSERT INTO trace_ends (trace, ended_us, idle) VALUES (1, 7, 0);
         PRAGMA user_version = 7",
    )
    .unwrap();
    drop(old);
    let rows = Reader::open(&path).unwrap().traces(&TraceFilter::default()).unwrap();
    assert_eq!(rows[0].labels(), labels(Some("a"), None, &["env=x"]));
}
