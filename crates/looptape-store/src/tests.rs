//! The store as a whole: what goes in comes out, through the same doors as everybody uses.

mod labels;
mod lists;
mod scan;

use crate::*;
use bytes::Bytes;
use looptape_core::assembly::Timing;
use looptape_core::budget::{Change, Counted, Day};
use looptape_core::cost::{PriceBook, Usd};
use looptape_core::exchange::{Chunk, Ending, Outcome};
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Patterns};
use looptape_core::replay::{Environment, LocalDate};
use looptape_core::{Digest, TraceId};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

mod cassettes;
mod load_runs;
mod tools;

pub(crate) struct Lab {
    _folder: TempDir,
    pub(crate) database: PathBuf,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { database: folder.path().join("t.db"), _folder: folder }
    }

    pub(crate) fn record(&self, work: impl FnOnce(&Recorder)) -> RecorderReport {
        let options = RecorderOptions::new(self.database.clone(), Arc::new(Patterns::builtin()));
        let (recorder, thread) = Recorder::start(options).unwrap();
        work(&recorder);
        drop(recorder);
        thread.finish()
    }

    /// An empty database as that version made it.
    pub(crate) fn of_version(&self, version: usize) -> rusqlite::Connection {
        let migrations = [
            include_str!("../../../migrations/0001_traces.sql"),
            include_str!("../../../migrations/0002_import_times.sql"),
            include_str!("../../../migrations/0003_trace_environment.sql"),
            include_str!("../../../migrations/0004_packs.sql"),
            include_str!("../../../migrations/0005_replays.sql"),
            include_str!("../../../migrations/0006_recurring_content.sql"),
            include_str!("../../../migrations/0007_price_books.sql"),
            include_str!("../../../migrations/0008_agent_versions.sql"),
            include_str!("../../../migrations/0009_spending.sql"),
            include_str!("../../../migrations/0010_parent_elsewhere.sql"),
            include_str!("../../../migrations/0011_calls.sql"),
            include_str!("../../../migrations/0012_bundles.sql"),
            include_str!("../../../migrations/0013_workspace_snapshots.sql"),
            include_str!("../../../migrations/0014_tool_calls.sql"),
            include_str!("../../../migrations/0015_upstreams.sql"),
        ];
        let old = rusqlite::Connection::open(&self.database).unwrap();
        old.execute_batch(&migrations[..version].concat()).unwrap();
        old.pragma_update(None, "user_version", version as i64).unwrap();
        old
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.database).unwrap()
    }

    pub(crate) fn find(&self, name: &str) -> Result<TraceRow, FindError> {
        self.reader().find(&Selector::parse(name))
    }
}

fn id(text: &str) -> TraceId {
    TraceId::parse(text).unwrap()
}

fn begin(trace: &str, body: &[u8]) -> BeginCall {
    BeginCall {
        hint: TraceHint::Named(id(trace)),
        at: Moment::now(),
        provider: Provider::OPENAI,
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        headers: RedactedHeaders::redact([("content-type", &b"application/json"[..])]),
        body: Bytes::copy_from_slice(body),
        loop_hint: None,
        import_index: None,
        labels: Labels::default(),
        credentials: Credentials::none(),
    }
}

fn answered(pieces: &[&[u8]]) -> CallEnd {
    let now = Moment::mono_us_now();
    CallEnd::Answered {
        status: 200,
        headers: RedactedHeaders::redact([("x-request-id", &b"r1"[..])]),
        head_mono_us: now,
        end_mono_us: now + 10,
        body: pieces.iter().map(|p| Bytes::copy_from_slice(p)).collect(),
        chunks: pieces.iter().map(|p| Chunk { at_us: now + 5, len: p.len() as u32 }).collect(),
        ending: Ending::Complete,
        cut: None,
    }
}

fn call(recorder: &Recorder, trace: &str, body: &[u8]) {
    recorder.begin(begin(trace, body)).finish(answered(&[b"{\"a\":", b"1}"]));
}

#[test]
fn what_goes_in_comes_out() {
    let lab = Lab::new();
    let report = lab.record(|r| call(r, "t1", b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}"));
    assert_eq!((report.calls, report.gaps.len()), (1, 0));
    let reader = lab.reader();
    let row = reader.find(&Selector::parse("t1")).unwrap();
    assert_eq!(row.status, TraceStatus::Complete);
    let exchange = reader.exchange(row.key, 0).unwrap();
    assert_eq!(&exchange.request_body[..], b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}");
    let Outcome::Answered(answer) = &exchange.outcome else { panic!("{:?}", exchange.outcome) };
    assert_eq!(&answer.body[..], b"{\"a\":1}");
    assert_eq!(answer.chunks.iter().map(|c| c.len).collect::<Vec<_>>(), [5, 2]);
    assert_eq!(answer.headers.get("x-request-id"), Some("r1"));
    assert!(reader.verify(|_, _| {}).unwrap().damage.is_empty());
}

#[test]
fn a_call_that_never_ended_is_in_flight_and_its_trace_incomplete() {
    let lab = Lab::new();
    lab.record(|r| std::mem::forget(r.begin(begin("t1", b"{}"))));
    let row = lab.find("t1").unwrap();
    assert!(matches!(&row.status, TraceStatus::Incomplete(reasons) if reasons[0].contains("had not ended")));
    let exchange = lab.reader().exchange(row.key, 0).unwrap();
    assert!(matches!(exchange.outcome, Outcome::InFlight));
    assert_eq!(lab.reader().load(row).unwrap().facts.len(), 1);
}

#[test]
fn a_dropped_ticket_is_a_client_that_went_away() {
    let lab = Lab::new();
    lab.record(|r| drop(r.begin(begin("t1", b"{}"))));
    let row = lab.find("t1").unwrap();
    let outcome = lab.reader().exchange(row.key, 0).unwrap().outcome;
    assert!(matches!(outcome, Outcome::NoResponse { ending: Ending::ClientGone, .. }), "{outcome:?}");
}

#[test]
fn a_full_queue_costs_calls_and_says_so() {
    let lab = Lab::new();
    let mut options = RecorderOptions::new(lab.database.clone(), Arc::new(Patterns::builtin()));
    options.queue_bytes = 1;
    let (recorder, thread) = Recorder::start(options).unwrap();
    recorder.open_trace(TraceSpec::new(id("t1"), Source::Record, Moment::now()));
    // One event is always taken; while the writer is busy with it the rest find the queue full.
    let (entered, wait_entered) = std::sync::mpsc::channel();
    let (release, wait_release) = std::sync::mpsc::channel::<()>();
    recorder.prune(Retention::default(), move |_| {
        entered.send(()).unwrap();
        wait_release.recv().unwrap();
    });
    wait_entered.recv().unwrap();
    (0..5).for_each(|_| call(&recorder, "t1", b"{}"));
    release.send(()).unwrap();
    recorder.close_trace(id("t1"), Moment::now(), Some(0), None);
    drop(recorder);
    let report = thread.finish();
    assert!(report.gaps.keys().any(|reason| reason.contains("queue was full")), "{report:?}");
    let status = lab.find("t1").unwrap().status;
    let said = status.reasons().iter().any(|reason| reason.contains("queue was full"));
    assert!(said && matches!(status, TraceStatus::Incomplete(_)), "{status:?}");
}

/// A loop as agents make them: a history that grows, a cache marker that moves, a secret in a tool's result,
/// a branch from the middle, other loops in between.
fn bodies_of_a_loop(salt: &str) -> Vec<Vec<u8>> {
    let mut messages: Vec<serde_json::Value> = Vec::new();
    let mut bodies = Vec::new();
    for step in 0..12 {
        let secret = if step == 4 { " key sk-proj-Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFi" } else { "" };
        let text = format!("{salt} step {step}{secret} {}", "words and words ".repeat(20 + step));
        messages.push(serde_json::json!({"role": if step % 2 == 0 { "user" } else { "assistant" },
            "content": [{"type": "text", "text": text}]}));
        if step == 8 {
            messages.truncate(5);
        }
        let mut marked = messages.clone();
        marked.last_mut().unwrap()["content"][0]["cache_control"] = serde_json::json!({"type": "ephemeral"});
        let body = serde_json::json!({"model": "m", "max_tokens": 10 + step / 6, "messages": marked,
            "tools": [{"name": "look", "description": "d".repeat(300)}]});
        bodies.push(serde_json::to_vec(&body).unwrap());
    }
    bodies
}

#[test]
fn what_a_loop_shares_changes_nothing_in_what_is_kept() {
    let (together, alone) = (Lab::new(), Lab::new());
    let loops: Vec<Vec<Vec<u8>>> = ["red", "blue"].map(bodies_of_a_loop).into();
    together.record(|r| {
        for step in 0..loops[0].len() {
            loops.iter().enumerate().for_each(|(n, bodies)| call(r, &format!("t{n}"), &bodies[step]));
        }
    });
    // A recorder for each call remembers nothing of the one before.
    for (n, bodies) in loops.iter().enumerate() {
        bodies.iter().enumerate().for_each(|(step, body)| {
            alone.record(|r| call(r, &format!("t{n}-{step}"), body));
        });
    }
    for (n, bodies) in loops.iter().enumerate() {
        let row = together.find(&format!("t{n}")).unwrap();
        let facts = together.reader().load(row.clone()).unwrap().facts;
        for (step, sent) in bodies.iter().enumerate() {
            let seq = step as u32;
            let exchange = together.reader().exchange(row.key, seq).unwrap();
            let other = alone.find(&format!("t{n}-{step}")).unwrap();
            assert_eq!(exchange.request_body, alone.reader().exchange(other.key, 0).unwrap().request_body);
            let is_secret = String::from_utf8_lossy(sent).contains("Zm9vYmFy");
            assert_eq!(exchange.request_body == *sent, !is_secret, "loop {n} step {step}");
            let fact = &facts[step];
            let by_itself = &alone.reader().load(other).unwrap().facts[0];
            assert_eq!(fact.lineage, by_itself.lineage);
            assert_eq!(fact.request_digest, by_itself.request_digest);
        }
    }
    for lab in [together, alone] {
        assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
        let bytes = std::fs::read(&lab.database).unwrap();
        assert!(!bytes.windows(8).any(|w| w == b"Zm9vYmFy"), "a secret reached the disk");
    }
}

/// A placeholder's text, written by a client, is not what looptape puts in place of a secret: it is
/// replaced itself, also where an equal piece was stored before.
#[test]
fn a_placeholder_that_a_client_writes_is_looked_at_every_time() {
    let lab = Lab::new();
    let body = |text: &str, more: u32| {
        let messages: Vec<String> = (0..more).map(|n| format!("\"message {n}\"")).collect();
        format!("{{\"messages\":[\"{text} {}\",{}]}}", "w".repeat(600), messages.join(",")).into_bytes()
    };
    let secret = "sk-proj-Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFi";
    lab.record(|r| call(r, "t", &body(secret, 3)));
    let row = lab.find("t").unwrap();
    let stored = lab.reader().exchange(row.key, 0).unwrap().request_body;
    lab.record(|r| {
        call(r, "u", &body(secret, 3));
        call(r, "u", &body(secret, 4));
        call(r, "u", &stored);
    });
    let row = lab.find("u").unwrap();
    let read = |seq| lab.reader().exchange(row.key, seq).unwrap().request_body;
    assert_ne!(read(2), read(0), "it is another secret than the one before");
}

#[test]
fn traces_are_found_by_prefix_position_and_run() {
    let lab = Lab::new();
    for trace in ["abc1", "abd2", "job", "job"] {
        lab.record(|r| call(r, trace, b"{}"));
    }
    assert_eq!(lab.find("abc").unwrap().id, id("abc1"));
    assert_eq!((lab.find("job").unwrap().run, lab.find("job#1").unwrap().run), (2, 1));
    assert_eq!(lab.find("job#1").unwrap().label(), "job#1");
    assert_eq!(lab.find("last").unwrap().run, 2);
    assert_eq!(lab.find("last~3").unwrap().id, id("abc1"));
    assert!(lab.find("ab").unwrap_err().to_string().contains("abc1, abd2"));
    assert!(lab.find("abx").unwrap_err().to_string().contains("Nearest: "));
    assert!(lab.find("last~9").unwrap_err().to_string().contains("of such traces there are 4"));
    assert!(matches!(lab.find("zz"), Err(FindError::Unknown { .. })));
}

/// Memory is bounded: of conversations that nobody named, the single calls that are silent for longest go.
#[test]
fn only_so_many_traces_without_a_name_wait() {
    let lab = Lab::new();
    let mut options = RecorderOptions::new(lab.database.clone(), Arc::new(Patterns::builtin()));
    options.most_unnamed = 2;
    let (recorder, thread) = Recorder::start(options).unwrap();
    let unnamed = |text: &str| {
        let body = format!("{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}");
        BeginCall { hint: TraceHint::Lineage, ..begin("unused", body.as_bytes()) }
    };
    call(&recorder, "named", b"{}");
    (0..5).for_each(|n| recorder.begin(unnamed(&format!("question {n}"))).finish(answered(&[b"{}"])));
    recorder.flush();
    let ended = |reader: &Reader| {
        let rows = reader.traces(&TraceFilter::default()).unwrap();
        let mut rows: Vec<_> =
            rows.into_iter().map(|row| (row.key, row.id.clone(), row.end.is_some())).collect();
        rows.sort_by_key(|(key, ..)| key.0);
        rows
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while ended(&lab.reader()).iter().filter(|(.., ended)| *ended).count() < 3 {
        assert!(std::time::Instant::now() < deadline, "{:?}", ended(&lab.reader()));
        // The writer looks once a second, when something happens or not.
        std::thread::yield_now();
    }
    let states: Vec<bool> = ended(&lab.reader()).into_iter().map(|(.., ended)| ended).collect();
    assert_eq!(states, [false, true, true, true, false, false]);
    drop(recorder);
    assert_eq!(thread.finish().calls, 6);
}

/// Whoever reads does not wait for whoever writes, however long a transaction takes.
#[test]
fn reading_needs_no_write_lock() {
    let lab = Lab::new();
    lab.record(|r| call(r, "t", b"{}"));
    let writer = rusqlite::Connection::open(&lab.database).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; UPDATE settings SET value = value").unwrap();
    assert_eq!(lab.find("t").unwrap().id, id("t"));
    writer.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn pruning_keeps_what_others_share() {
    let lab = Lab::new();
    let shared = "x".repeat(3000);
    let body = |tail: &str| format!("{{\"messages\":[\"{shared}\",\"{tail}\"]}}").into_bytes();
    lab.record(|r| call(r, "old", &body("one")));
    let between = Moment::now().unix_us;
    lab.record(|r| call(r, "new", &body("two")));
    let mut maintenance = Maintenance::open(&lab.database).unwrap();
    let retention = Retention { started_before_unix_us: Some(between), max_bytes: None };
    assert_eq!(maintenance.foresee(&retention).unwrap().traces, ["old"]);
    assert_eq!(maintenance.prune(&retention).unwrap().traces, ["old"]);
    assert!(matches!(lab.find("old"), Err(FindError::Unknown { .. })));
    let row = lab.find("new").unwrap();
    assert_eq!(lab.reader().exchange(row.key, 0).unwrap().request_body, body("two"));
    let verified = lab.reader().verify(|_, _| {}).unwrap();
    assert_eq!((verified.damage, verified.exchanges), (vec![], 1));
    // A recorder that goes on after pruning must not refer to what is gone.
    lab.record(|r| call(r, "next", &body("one")));
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
}

#[test]
fn pruning_while_recording_voids_remembered_ids() {
    let lab = Lab::new();
    let body = |n: u32| format!("{{\"messages\":[\"{}\",{n}]}}", "y".repeat(2000)).into_bytes();
    lab.record(|r| call(r, "gone", &body(1)));
    lab.record(|r| {
        call(r, "kept", &body(1));
        r.flush();
        let all = Retention { started_before_unix_us: Some(i64::MAX), max_bytes: None };
        assert_eq!(Maintenance::open(&lab.database).unwrap().prune(&all).unwrap().traces, ["gone"]);
        call(r, "kept", &body(2));
    });
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
    let row = lab.find("kept").unwrap();
    assert_eq!(lab.reader().exchange(row.key, 1).unwrap().request_body, body(2));
}

#[test]
fn size_limits_take_the_oldest_first() {
    let lab = Lab::new();
    for n in 0..8u32 {
        let noise: String = (0..80_000u32)
            .map(|i| char::from(33 + (Digest::of(&(n * 100_000 + i).to_le_bytes()).0[0] % 90)))
            .collect();
        lab.record(|r| call(r, &format!("t{n}"), noise.as_bytes()));
    }
    let retention = Retention { started_before_unix_us: None, max_bytes: Some(800_000) };
    let report = Maintenance::open(&lab.database).unwrap().prune(&retention).unwrap();
    assert!(!report.traces.is_empty() && report.traces.len() < 8 && report.traces[0] == "t0", "{report:?}");
    assert!(report.bytes_after <= 800_000 && report.bytes_after < report.bytes_before, "{report:?}");
    assert!(lab.find("t7").is_ok());
}

#[test]
fn damage_is_found_and_named() {
    let lab = Lab::new();
    lab.record(|r| call(r, "t1", format!("{{\"messages\":[\"{}\"]}}", "z".repeat(500)).as_bytes()));
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    // Written anew, uncompressed: so that it is the contents that are damaged.
    raw.execute("UPDATE bundles SET codec = 0, data = zeroblob(size)", []).unwrap();
    let report = lab.reader().verify(|_, _| {}).unwrap();
    assert!(report.damage.iter().any(|d| matches!(d, Damage::Blob { .. })), "{report:?}");
    raw.execute("UPDATE bundles SET codec = 1", []).unwrap();
    let report = lab.reader().verify(|_, _| {}).unwrap();
    assert!(report.damage.iter().any(|d| matches!(d, Damage::Bundle { .. })), "{report:?}");
    assert!(
        report.damage.iter().any(|d| matches!(d, Damage::Exchange { trace, seq: 0, .. } if trace == "t1"))
    );
    let row = lab.find("t1").unwrap();
    assert!(matches!(lab.reader().exchange(row.key, 0), Err(ReadError::Damaged { seq: 0, .. })));
}

fn open_error(path: &Path) -> String {
    Reader::open(path).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn wrong_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    assert!(open_error(&file("none.db")).contains("record something first"));
    std::fs::write(file("text.db"), "this is no database, whatever its name says; it is long enough")
        .unwrap();
    assert!(open_error(&file("text.db")).contains("is not a looptape database"));
    std::fs::write(file("short.db"), "x").unwrap();
    assert!(open_error(&file("short.db")).contains("is not a looptape database"));
    assert_eq!(std::fs::read(file("short.db")).unwrap(), b"x");
    let other = rusqlite::Connection::open(file("other.db")).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(open_error(&file("other.db")).contains("other tables"));
    let lab = Lab::new();
    lab.record(|r| call(r, "t1", b"{}"));
    rusqlite::Connection::open(&lab.database).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let newer = open_error(&lab.database);
    assert!(newer.contains("newer looptape") && newer.contains("99"), "{newer}");
    let options = RecorderOptions::new(lab.database.clone(), Arc::new(Patterns::builtin()));
    assert!(matches!(Recorder::start(options), Err(OpenError::Newer { .. })));
}

/// Version 1 as it was released, with a trace that was recorded and one that was imported.
#[test]
fn a_database_of_version_1_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../../migrations/0001_traces.sql")).unwrap();
    old.execute_batch(
        "INSERT INTO recorders VALUES (1, 1, 1, 'boot', '0.1.0', 5);
         INSERT INTO traces (id, run, recorder, source, tags, command, started_unix_us, started_mono_us)
           VALUES ('recorded', 1, 1, 'record', '{}', '[]', 10, 10), ('imported', 1, 1, 'import', '{}', '[]', 20, 20);
         INSERT INTO trace_ends (trace, ended_us, idle) VALUES (1, 7, 0), (2, 7, 0);
         PRAGMA user_version = 1",
    )
    .unwrap();
    drop(old);
    let reader = Reader::open(&path).unwrap();
    let rows = reader.traces(&TraceFilter::default()).unwrap();
    let got: Vec<_> = rows.iter().map(|row| (row.id.as_str(), row.timing, row.happened_unix_us())).collect();
    assert_eq!(got, [("imported", Timing::OrderOnly, None), ("recorded", Timing::Measured, Some(10))]);
    assert!(rows.iter().all(|row| row.parent.is_none()));
}

/// A version 2 database keeps its content, and ids that were given out before are not given out again.
#[test]
fn content_of_version_2_is_kept() {
    let lab = Lab::new();
    let old = rusqlite::Connection::open(&lab.database).unwrap();
    old.execute_batch(include_str!("../../../migrations/0001_traces.sql")).unwrap();
    old.execute_batch(include_str!("../../../migrations/0002_import_times.sql")).unwrap();
    let mut put =
        old.prepare("INSERT INTO blobs (digest, codec, size, data) VALUES (?1, 0, ?2, ?3)").unwrap();
    for content in [&b"{\"messages\":[]}"[..], b"\"hello\"", b"gone", b"gone too"] {
        put.execute(rusqlite::params![&Digest::of(content).0[..], content.len() as i64, content]).unwrap();
    }
    drop(put);
    old.execute_batch(
        "INSERT INTO nodes (parent, blob) VALUES (0, 2), (1, 3);
         DELETE FROM blobs WHERE id > 2;
         DELETE FROM nodes WHERE id > 1;
         PRAGMA user_version = 2",
    )
    .unwrap();
    drop(old);
    lab.record(|r| call(r, "t", b"{\"messages\":[\"hello\",\"again\"]}"));
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
    let row = lab.find("t").unwrap();
    let exchange = lab.reader().exchange(row.key, 0).unwrap();
    assert_eq!(exchange.request_body, &b"{\"messages\":[\"hello\",\"again\"]}"[..]);
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    let of = |sql| raw.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!((of("SELECT count(*) FROM blobs"), of("SELECT count(*) FROM nodes")), (2, 1));
    assert_eq!(of("SELECT min(id) FROM bundles"), 5, "the ids to 4 were given out before");
    assert!(of("SELECT value FROM settings WHERE name = 'last_blob'") > 5);
}

/// A trace that ends is summed up from memory or, if it is long, from its rows: nobody can tell.
#[test]
fn what_lists_show_is_what_the_calls_say() {
    let lab = Lab::new();
    let lengths = [("short", 3), ("long", 70)];
    lab.record(|recorder| {
        for (name, calls) in lengths {
            for n in 0..calls {
                let body = format!(r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"{n}"}}]}}"#);
                let answer = format!(
                    r#"{{"id":"c{n}","model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant",
                    "content":"{n}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1{n},"completion_tokens":2,
                    "prompt_tokens_details":{{"audio_tokens":{}}}}}}}"#,
                    n % 2
                );
                recorder.begin(begin(name, body.as_bytes())).finish(answered(&[answer.as_bytes()]));
            }
        }
    });
    let reader = lab.reader();
    for (name, calls) in lengths {
        let row = lab.find(name).unwrap();
        let kept = reader.ls_row(row.clone()).unwrap();
        let trace = reader.load(row.clone()).unwrap();
        assert_eq!((trace.facts.len(), kept.attempts), (calls, calls as u32));
        let made = looptape_core::view::ls_row(row.meta(), &trace.measure().metrics);
        assert_eq!(format!("{kept:?}"), format!("{made:?}"));
    }
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    let uncompressed = "SELECT count(*) FROM bundles WHERE codec = 0";
    assert_eq!(raw.query_row(uncompressed, [], |r| r.get::<_, i64>(0)).unwrap(), 0, "the recorder tidied up");
}

/// A call that looptape of schema 6 recorded, with an answer in a pack and facts, and one that never ended.
#[test]
fn calls_of_version_6_are_kept() {
    let lab = Lab::new();
    let old = rusqlite::Connection::open(&lab.database).unwrap();
    for migration in [
        include_str!("../../../migrations/0001_traces.sql"),
        include_str!("../../../migrations/0002_import_times.sql"),
        include_str!("../../../migrations/0003_trace_environment.sql"),
        include_str!("../../../migrations/0004_packs.sql"),
        include_str!("../../../migrations/0005_replays.sql"),
        include_str!("../../../migrations/0006_recurring_content.sql"),
    ] {
        old.execute_batch(migration).unwrap();
    }
    let contents =
        [&b"accept\0*/*\0"[..], b"\x01\x0d{\"messages\":[]}", b"\"hello\"", b"{\"answer\":\"good day\"}"];
    let mut put = old
        .prepare("INSERT INTO blobs (digest, codec, size, pack, place) VALUES (?1, 3, ?2, 9, ?3)")
        .unwrap();
    let mut pack = Vec::new();
    for content in contents {
        let row = rusqlite::params![&Digest::of(content).0[..], content.len() as i64, pack.len() as i64];
        put.execute(row).unwrap();
        pack.extend_from_slice(content);
    }
    drop(put);
    let packed = zstd::bulk::compress(&pack, 1).unwrap();
    let sql = "INSERT INTO packs (id, size, data) VALUES (9, ?1, ?2)";
    old.execute(sql, rusqlite::params![pack.len() as i64, packed]).unwrap();
    let body = b"{\"messages\":[\"hello\"]}";
    old.execute_batch(
        "INSERT INTO nodes (id, parent, blob) VALUES (8, 0, 3);
         UPDATE settings SET value = 9 WHERE name = 'last_blob';
         INSERT INTO recorders VALUES (1, 1, 1, 'boot', '0.1.0', 5);
         INSERT INTO traces (id, run, recorder, source, tags, command, started_unix_us, started_mono_us)
           VALUES ('old', 1, 1, 'record', '{}', '[]', 10, 10), ('replay', 1, 1, 'replay', '{}', '[]', 20, 20);
         INSERT INTO trace_ends (trace, ended_us, idle) VALUES (1, 7, 0)",
    )
    .unwrap();
    let exchange = "INSERT INTO exchanges VALUES (?1, ?2, 3, 13, 'openai', 'POST', '/v1/chat/completions', NULL, \
                    NULL, 1, 2, x'08', ?3, ?4)";
    for (trace, seq) in [(1, 0), (1, 1), (2, 0)] {
        let row = rusqlite::params![trace, seq, &Digest::of(body).0[..], body.len() as i64];
        old.execute(exchange, row).unwrap();
    }
    old.execute_batch(
        "INSERT INTO answers VALUES (1, 0, 6, 'complete', NULL, 200, 4, 1, 4, x'1501');
         INSERT INTO facts (trace, seq, derivation, stream, state, response_bytes, request_digest, history, turns,
                            model) VALUES (1, 0, 0, 0, 'complete', 21, 5, 6, 1, 'of old');
         INSERT INTO replay_calls VALUES (2, 0, 'cached', 0, 1, NULL);
         PRAGMA user_version = 6",
    )
    .unwrap();
    drop(old);

    let reader = lab.reader();
    assert!(reader.verify(|_, _| {}).unwrap().damage.is_empty());
    let row = lab.find("old").unwrap();
    let exchange = reader.exchange(row.key, 0).unwrap();
    assert_eq!(exchange.request_body, &body[..]);
    let Outcome::Answered(answer) = exchange.outcome else { panic!("it was answered") };
    assert_eq!(answer.body, contents[3]);
    assert!(matches!(reader.exchange(row.key, 1).unwrap().outcome, Outcome::InFlight));
    let of_model = TraceFilter { model: Some("of old".into()), ..TraceFilter::default() };
    assert_eq!(reader.traces(&of_model).unwrap().len(), 1);
    assert_eq!(reader.load(row.clone()).unwrap().facts.len(), 2);
    let replay = lab.find("replay").unwrap();
    assert_eq!(reader.load(replay).unwrap().provenance.len(), 1);

    // The same message in a new trace is found where it is; deleting the old trace takes the rest away.
    lab.record(|r| call(r, "new", body));
    let mut maintenance = Maintenance::open(&lab.database).unwrap();
    maintenance.remove(&row).unwrap();
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    let left: Vec<i64> = raw
        .prepare("SELECT id FROM blobs ORDER BY id")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(left, [1, 2, 3], "headers, skeleton and message of the replay and the new trace");
    let new = lab.find("new").unwrap();
    assert_eq!(lab.reader().exchange(new.key, 0).unwrap().request_body, &body[..]);
}

#[test]
fn where_a_run_took_place_is_kept_without_secrets() {
    let lab = Lab::new();
    let environment = Environment {
        user: Some("alice".into()),
        host: Some("sk-ant-api03-0123456789abcdefghijABCDEFGHIJ0123456789".into()),
        local_date: LocalDate::new(2026, 11, 22),
        ..Environment::default()
    };
    let id = TraceId::parse("placed").unwrap();
    lab.record(|recorder| {
        recorder.open_trace(TraceSpec::new(id.clone(), Source::Record, Moment::now()));
        recorder.describe_environment(id.clone(), Environment::default());
        recorder.describe_environment(id.clone(), environment.clone());
        recorder.open_trace(TraceSpec::new(
            TraceId::parse("elsewhere").unwrap(),
            Source::Record,
            Moment::now(),
        ));
    });
    let reader = Reader::open(&lab.database).unwrap();
    let found = |name: &str| {
        let row = reader.find(&Selector::parse(name)).unwrap();
        reader.environment(row.key).unwrap()
    };
    let kept = found("placed").expect("it was said");
    assert_eq!((kept.user.as_deref(), kept.local_date), (Some("alice"), environment.local_date));
    assert!(kept.host.is_some_and(|host| host.contains("[[looptape:secret:")));
    assert_eq!(found("elsewhere"), None);
}

#[test]
fn files_belong_to_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.record(|r| {
        call(r, "t1", b"{}");
        r.flush();
        for suffix in ["", "-wal", "-shm"] {
            let mut name = lab.database.clone().into_os_string();
            name.push(suffix);
            let mode = std::fs::metadata(PathBuf::from(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{suffix}");
        }
    });
}

#[test]
fn two_recorders_write_one_database() {
    let lab = Lab::new();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let lab = &lab;
            scope.spawn(move || {
                let report = lab.record(|r| {
                    (0..200).for_each(|n| {
                        call(
                            r,
                            &format!("w{writer}"),
                            format!("{{\"messages\":[\"common\",{n}]}}").as_bytes(),
                        )
                    });
                });
                assert_eq!((report.calls, report.gaps.len()), (200, 0));
            });
        }
    });
    for writer in 0..2 {
        let row = lab.find(&format!("w{writer}")).unwrap();
        assert_eq!(row.status, TraceStatus::Complete);
        assert_eq!(lab.reader().seqs(row.key).unwrap(), (0..200).collect::<Vec<u32>>());
    }
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
}

/// Bodies as agents send them: a growing history, sometimes with a piece changed, sometimes no JSON.
fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let message = prop_oneof!["[a-z ]{0,40}", "[a-z ]{300,400}"];
    let step = (prop::collection::vec(message, 0..4), any::<bool>(), any::<u8>());
    prop::collection::vec(step, 1..8).prop_map(|steps| {
        let mut history: Vec<String> = Vec::new();
        let body = |(new, mark, odd): (Vec<String>, bool, u8)| {
            history.extend(new);
            let mut shown = history.clone();
            if let (true, Some(last)) = (mark, shown.last_mut()) {
                last.push_str(" marked");
            }
            let mut body =
                serde_json::to_vec(&serde_json::json!({ "model": "m", "messages": shown })).unwrap();
            if odd < 20 {
                body.truncate(usize::from(odd));
            }
            body
        };
        steps.into_iter().map(body).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_body_comes_back(bodies in bodies()) {
        let lab = Lab::new();
        lab.record(|r| bodies.iter().for_each(|b| call(r, "t", b)));
        let row = lab.find("t").unwrap();
        for (seq, body) in bodies.iter().enumerate() {
            let exchange = lab.reader().exchange(row.key, seq as u32).unwrap();
            prop_assert_eq!(&exchange.request_body[..], &body[..]);
        }
        let damage = lab.reader().verify(|_, _| {}).unwrap().damage;
        prop_assert!(damage.is_empty(), "{:?}", damage);
    }
}

/// A request with credentials of its own headers, as a replay repeats it.
fn repeated(trace: &str, of: RecordedCallRef) -> RepeatedCall {
    RepeatedCall {
        trace: id(trace),
        of,
        at: Moment::now(),
        provider: Provider::OPENAI,
        headers: RedactedHeaders::redact([
            ("authorization", &b"Bearer sk-dummy"[..]),
            ("x-stainless-retry-count", &b"1"[..]),
        ]),
        credentials: Credentials::none(),
    }
}

fn open_replay(recorder: &Recorder, name: &str, of: TraceKey) {
    let mut spec = TraceSpec::new(id(name), Source::Replay, Moment::now());
    spec.parent = Some((of, "replay".to_owned()));
    recorder.open_trace(spec);
}

/// One call by reference, one whose answer broke off, one of its own; the recording stays as it was.
#[test]
fn a_replay_is_a_trace_of_its_own() {
    use looptape_core::replay::{AnswerSource, DivergenceCode, Provenance, Rung, WhyRefused};
    let lab = Lab::new();
    let body = b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    lab.record(|r| call(r, "t1", body));
    let recorded = lab.find("t1").unwrap();
    let before = format!("{:?}", lab.reader().exchange(recorded.key, 0).unwrap());
    let of = RecordedCallRef { trace: recorded.key, seq: 0 };
    let report = lab.record(|r| {
        open_replay(r, "child", recorded.key);
        let at_us = Moment::mono_us_now();
        r.repeat(repeated("child", of)).finish_as_recorded(RepeatedEnd {
            head_mono_us: at_us,
            end_mono_us: at_us + 9,
            chunks: vec![Chunk { at_us: at_us + 1, len: 5 }, Chunk { at_us: at_us + 2, len: 2 }],
        });
        let CallEnd::Answered { status, headers, head_mono_us, end_mono_us, cut, .. } = answered(&[]) else {
            panic!()
        };
        r.repeat(repeated("child", of)).finish(CallEnd::Answered {
            status,
            headers,
            head_mono_us,
            end_mono_us,
            cut,
            body: vec![Bytes::from_static(b"{\"a\":")],
            chunks: vec![Chunk { at_us: head_mono_us, len: 5 }],
            ending: Ending::ClientGone,
        });
        let own = r.begin(begin("child", b"{\"model\":\"other\"}"));
        own.came_from(Provenance::Refused(WhyRefused::Diverged(DivergenceCode::ModelDrift)));
        own.finish(answered(&[b"no"]));
        r.repeat(repeated("child", RecordedCallRef { seq: 7, ..of })).finish(answered(&[]));
        r.close_trace(id("child"), Moment::now(), Some(0), None);
    });
    assert_eq!(report.calls, 3);
    let reader = lab.reader();
    let child = reader.load(reader.find(&Selector::parse("child")).unwrap()).unwrap();
    assert_eq!(child.row.parent, Some(("t1".to_owned(), "replay".to_owned())));
    assert!(child.row.is_replay());
    let gone = child.row.status.reasons();
    assert!(gone.len() == 1 && gone[0].contains("is gone"), "{gone:?}");
    let cached = Provenance::Cached { recorded_seq: 0, rung: Rung::Bytes };
    let refused = Provenance::Refused(WhyRefused::Diverged(DivergenceCode::ModelDrift));
    assert_eq!(child.provenance, [(0, cached), (1, cached), (2, refused)].into());

    let exchange = |seq| reader.exchange(child.row.key, seq).unwrap();
    let first = exchange(0);
    assert_eq!(
        (&first.request_body[..], first.request_headers.get("x-stainless-retry-count")),
        (&body[..], Some("1"))
    );
    assert_eq!(first.request_headers.get("authorization"), Some(looptape_core::headers::REDACTED));
    let Outcome::Answered(answer) = &first.outcome else { panic!("{first:?}") };
    assert_eq!(
        (&answer.body[..], answer.chunks.len(), answer.end_us - answer.head_us),
        (&b"{\"a\":1}"[..], 2, 9)
    );
    let Outcome::Answered(cut) = exchange(1).outcome else { panic!("no answer") };
    assert_eq!((&cut.body[..], cut.ending), (&b"{\"a\":"[..], Ending::ClientGone));
    assert_eq!(&exchange(2).request_body[..], b"{\"model\":\"other\"}");

    // What was copied of the facts is what would be derived of the bytes.
    let derived = |seq: usize| {
        let e = exchange(seq as u32);
        let mut request = looptape_core::derive::request(
            &e.provider,
            &e.method,
            &e.path,
            &e.request_headers,
            &e.request_body,
        );
        (request.seq, request.sent_us) = (e.seq, e.sent_us);
        looptape_core::derive::call(&request, &e.outcome)
    };
    assert_eq!(child.facts[0], derived(0));
    assert_eq!(child.facts[0].retry_count, Some(1));
    assert_eq!(child.facts[1], derived(1));
    assert_eq!(child.provenance[&0].source(), AnswerSource::Cached);
    assert_eq!(child.measure().metrics.cost_usd.map(|usd| usd.as_f64()), Some(0.0), "nothing was spent");

    assert_eq!(format!("{:?}", reader.exchange(recorded.key, 0).unwrap()), before);
    assert!(reader.verify(|_, _| {}).unwrap().damage.is_empty());
}

/// A replay is not what `last` means, and lists leave it out unless asked.
#[test]
fn recordings_and_replays_are_told_apart() {
    let lab = Lab::new();
    lab.record(|r| call(r, "t1", b"{}"));
    assert!(matches!(lab.find("last-replay"), Err(FindError::NoReplay)));
    let key = lab.find("last").unwrap().key;
    for name in ["r1", "r2"] {
        lab.record(|r| open_replay(r, name, key));
    }
    let name = |selector: &str| lab.find(selector).map(|row| row.id.to_string()).map_err(|e| e.to_string());
    assert_eq!(name("last"), Ok("t1".to_owned()));
    assert!(name("last~1").unwrap_err().contains("of such traces there is one"));
    assert_eq!((name("last-replay"), name("last-replay~1")), (Ok("r2".to_owned()), Ok("r1".to_owned())));
    let listed = |origin| {
        let rows = lab.reader().traces(&TraceFilter { origin, ..TraceFilter::default() }).unwrap();
        rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(TraceOrigin::Recordings), ["t1"]);
    assert_eq!(listed(TraceOrigin::Replays), ["r2", "r1"]);
    assert_eq!(listed(TraceOrigin::All), ["r2", "r1", "t1"]);
}

const PRICED_REQUEST: &[u8] = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
const PRICED_ANSWER: &[u8] = br#"{"object":"chat.completion","model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":1000000,"completion_tokens":0}}"#;

fn listed_usd(reader: &Reader) -> Option<f64> {
    let row = reader.find(&Selector::parse("t1")).unwrap();
    reader.ls_row(row).unwrap().cost_usd.map(|usd| usd.as_f64())
}

fn dollar_book() -> PriceBook {
    let entry = serde_json::json!({"model": "gpt-4o*", "input": 1.0, "output": 2.0});
    PriceBook::with(&[serde_json::from_value(entry).unwrap()]).unwrap()
}

/// A list shows what a trace costs at the prices of today's configuration, whatever it was summed up by.
#[test]
fn a_cost_is_made_anew_at_other_prices() {
    let lab = Lab::new();
    lab.record(|r| r.begin(begin("t1", PRICED_REQUEST)).finish(answered(&[PRICED_ANSWER])));
    assert_eq!(listed_usd(&lab.reader()), Some(0.15));
    let own = lab.reader().priced_by(dollar_book());
    assert_eq!(listed_usd(&own), Some(1.0));
    assert_eq!(listed_usd(&own.another().unwrap()), Some(1.0), "another reader has the same prices");
    let trace = own.load(own.find(&Selector::parse("t1")).unwrap()).unwrap();
    assert_eq!(trace.measure().metrics.cost_usd.map(|usd| usd.as_f64()), Some(1.0));
    // Summed up by that book, it is not made anew: the kept figure is the one that is read.
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    raw.execute("UPDATE trace_facts SET prices = ?1, cost_usd = 7", [dollar_book().version()]).unwrap();
    assert_eq!((listed_usd(&own), listed_usd(&lab.reader())), (Some(7.0), Some(0.15)));
}

#[test]
fn the_recorder_sums_up_by_its_prices() {
    let lab = Lab::new();
    let mut options = RecorderOptions::new(lab.database.clone(), Arc::new(Patterns::builtin()));
    options.prices = dollar_book();
    let (recorder, thread) = Recorder::start(options).unwrap();
    recorder.begin(begin("t1", PRICED_REQUEST)).finish(answered(&[PRICED_ANSWER]));
    drop(recorder);
    thread.finish();
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    let kept: (f64, String) = raw
        .query_row("SELECT cost_usd, prices FROM trace_facts", [], |r| Ok((r.get(0)?, r.get(1)?)))
        .unwrap();
    assert_eq!(kept, (1.0, dollar_book().version().to_owned()));
}

/// Costs that version 6 kept do not say by which prices they were made.
#[test]
fn costs_of_version_6_are_made_anew() {
    let lab = Lab::new();
    let old = lab.of_version(6);
    old.execute_batch(
        "INSERT INTO recorders VALUES (1, 1, 1, 'boot', '0.1.0', 5);
         INSERT INTO traces (id, run, recorder, source, tags, command, started_unix_us, started_mono_us)
           VALUES ('t1', 1, 1, 'record', '{}', '[]', 10, 10);
         INSERT INTO trace_ends (trace, ended_us, idle) VALUES (1, 7, 0);",
    )
    .unwrap();
    old.execute(
        "INSERT INTO trace_facts VALUES (1, ?1, 1, 1, 0, 1, 0, 7, 99.0, 0)",
        [looptape_core::facts::DERIVATION],
    )
    .unwrap();
    drop(old);
    assert_eq!(listed_usd(&lab.reader()), None, "it has no calls");
}

#[test]
fn models_in_use_are_those_that_were_called() {
    let lab = Lab::new();
    lab.record(|r| {
        r.begin(begin("t1", PRICED_REQUEST)).finish(answered(&[PRICED_ANSWER]));
        r.begin(begin("t2", PRICED_REQUEST)).finish(answered(&[PRICED_ANSWER]));
        r.begin(begin("t2", br#"{"model":"nobody-knows","messages":[]}"#)).finish(answered(&[b"{}"]));
    });
    let t1 = lab.find("t1").unwrap().key;
    lab.record(|r| {
        open_replay(r, "child", t1);
        let at = Moment::now().mono_us;
        r.repeat(repeated("child", RecordedCallRef { trace: t1, seq: 0 })).finish_as_recorded(RepeatedEnd {
            head_mono_us: at,
            end_mono_us: at,
            chunks: Vec::new(),
        });
    });
    let models = lab.reader().models_in_use().unwrap();
    let got: Vec<_> = models.iter().map(|m| (m.called.as_deref(), m.calls, m.input_tokens)).collect();
    assert_eq!(got, [(Some("gpt-4o-mini"), 2, Some(2_000_000)), (Some("nobody-knows"), 1, None)]);
}

fn spent(dollars: f64) -> Change {
    Change { spent: Usd::from_f64(dollars).unwrap().units(), ..Change::default() }
}

fn counted(trace: &str, day: i64) -> Counted {
    Counted { trace: TraceId::parse(trace).ok(), day: Day::of_unix_us(day * 86_400_000_000) }
}

/// What was spent is on disk however it came there: beside a call, alone, by several, after a failure.
#[test]
fn what_is_spent_is_kept_by_day_and_trace() {
    let lab = Lab::new();
    let (one, other) = (Spender::new(), Spender::new());
    let (today, yesterday) = (counted("t1", 1), counted("t1", 0));
    lab.record(|r| {
        r.note_spending(one, [(today.clone(), spent(0.5)), (yesterday.clone(), spent(1.0))].into());
        r.note_spending(one, [(today.clone(), spent(0.25))].into());
        call(r, "t1", b"{}");
        r.flush();
        r.note_spending(other, [(today.clone(), spent(2.0)), (counted("t2", 1), spent(4.0))].into());
    });
    let reader = lab.reader();
    let usd = |spent: Result<Usd, ReadError>| spent.unwrap().as_f64();
    let nobody = Spender::new();
    assert_eq!(usd(reader.spent_on(today.day, nobody)), 6.75);
    assert_eq!((usd(reader.spent_on(today.day, one)), usd(reader.spent_on(today.day, other))), (6.0, 0.75));
    assert_eq!(usd(reader.spent_by(&id("t1"), nobody)), 3.75, "the recorder ended, the trace did not");
    lab.record(|r| {
        r.open_trace(TraceSpec::new(id("t1"), Source::Record, Moment::now()));
        r.note_spending(one, [(today.clone(), spent(0.125))].into());
        r.close_trace(id("t1"), Moment::now(), Some(0), None);
    });
    assert_eq!(usd(reader.spent_by(&id("t1"), nobody)), 0.0, "it is over");
    assert_eq!(usd(reader.spent_on(today.day, nobody)), 6.875);
    let before = Retention { started_before_unix_us: Some(86_400_000_000), max_bytes: None };
    Maintenance::open(&lab.database).unwrap().prune(&before).unwrap();
    assert_eq!(
        (usd(reader.spent_on(yesterday.day, nobody)), usd(reader.spent_on(today.day, nobody))),
        (0.0, 6.875)
    );
}

/// A database of before there were budgets has spent nothing, and takes them.
#[test]
fn version_8_gets_books() {
    let lab = Lab::new();
    drop(lab.of_version(8));
    assert_eq!(lab.reader().spent_on(counted("t1", 1).day, Spender::new()).unwrap(), Usd::ZERO);
    lab.record(|r| r.note_spending(Spender::new(), [(counted("t1", 1), spent(1.0))].into()));
    assert_eq!(lab.reader().spent_on(counted("t1", 1).day, Spender::new()).unwrap().as_f64(), 1.0);
}
