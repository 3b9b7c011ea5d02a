//! The store as a whole: what goes in comes out, through the same doors as everybody uses.

mod cassettes;
mod labels;
mod lists;
mod load_runs;
mod money;
mod pruning;
mod replays;
mod scan;
mod shared;
mod tools;
mod unnamed;
mod versions;

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

/// A trace that has ended, in a database of an older version: `t1`, with key 1.
fn record_one(old: &rusqlite::Connection) {
    old.execute_batch(
        "INSERT INTO recorders VALUES (1, 1, 1, 'boot', '0.1.0', 5);
         INSERT INTO traces (id, run, recorder, source, tags, command, started_unix_us, started_mono_us)
           VALUES ('t1', 1, 1, 'record', '{}', '[]', 10, 10);
         INSERT INTO trace_ends (trace, ended_us, idle) VALUES (1, 7, 0)",
    )
    .unwrap();
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
        body: Bytes::copy_from_slice(body).into(),
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

const PRICED_REQUEST: &[u8] = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
const PRICED_ANSWER: &[u8] = br#"{"object":"chat.completion","model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":1000000,"completion_tokens":0}}"#;

/// A loop as agents make them: a history that grows, a cache marker that moves, a secret in a tool's result,
/// a branch from the middle, other loops in between.
fn bodies_of_a_loop(salt: &str) -> Vec<Vec<u8>> {
    let mut messages: Vec<serde_json::Value> = Vec::new();
    let mut bodies = Vec::new();
    for step in 0..12 {
        let secret = if step == 4 { " key sk-proj-Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFi" } else { "" };
        let text = format!("{salt} step {step}{secret} {}", "words and words ".repeat(60 + step));
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

fn listed_usd(reader: &Reader) -> Option<f64> {
    let row = reader.find(&Selector::parse("t1")).unwrap();
    reader.ls_row(row).unwrap().cost_usd.map(|usd| usd.as_f64())
}

fn spent(dollars: f64) -> Change {
    Change { spent: Usd::from_f64(dollars).unwrap().units(), ..Change::default() }
}

fn counted(trace: &str, day: i64) -> Counted {
    Counted { trace: TraceId::parse(trace).ok(), day: Day::of_unix_us(day * 86_400_000_000) }
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
