//! What a killed recorder, a full disk, a lock or a lost database leave behind: an agent that noticed
//! nothing, everything that was recorded before, and a trace that says what it lacks.

use crate::env::{Ran, TestEnv};
use crate::lab::{Lab, through_shell};
use looptape_core::exchange::Outcome;
use looptape_store::{Durability, Reader, RecordedTrace, Selector, TraceStatus};
use looptape_testkit::answer::{Answer, Gate};
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::{ReceivedRequest, ScriptedUpstream};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

const CHAT: &str = "/openai/v1/chat/completions";

/// Asks `count` times with a growing number and a filler, and says after each answer that it has it.
const AGENT: &str = r#"
import json, os, random, sys, urllib.request
base, count, filler = os.environ["OPENAI_BASE_URL"], int(sys.argv[1]), int(sys.argv[2])
noise = random.Random(os.environ["LOOPTAPE_TRACE"] if filler > 0 else 0)
for n in range(count):
    text = f"question {n} " + "".join(noise.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=filler))
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(base + "/chat/completions", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = b""
        while b"[DONE]" not in answer:
            answer += response.read1(65536)
    print("answered", n, flush=True)
    for action in sys.argv[3:]:
        if action == f"remove-after-{n}":
            folder = os.path.dirname(os.environ["DATABASE"])
            for name in os.listdir(folder):
                os.remove(os.path.join(folder, name))
            os.rmdir(folder)
sys.exit(7)
"#;

fn streamed(n: usize) -> Answer {
    Answer::event_stream([
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"answer {n}\"}}}}]}}\n\n"),
        "data: [DONE]\n\n".to_owned(),
    ])
}

fn number(request: &ReceivedRequest) -> usize {
    number_in(&request.body)
}

fn number_in(body: &[u8]) -> usize {
    let body = String::from_utf8_lossy(body);
    let rest = &body[body.find("question ").unwrap() + 9..];
    rest[..rest.find(' ').unwrap()].parse().unwrap()
}

/// A place with the agent in it.
fn place(upstream: &ScriptedUpstream) -> TestEnv {
    let mut env = TestEnv::new();
    std::fs::write(env.home().join("agent.py"), AGENT).unwrap();
    env.set("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()));
    env.set("DATABASE", env.database().to_str().unwrap());
    env
}

fn loaded(reader: &Reader, name: &str) -> RecordedTrace {
    reader.load(reader.find(&Selector::parse(name)).unwrap()).unwrap()
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Reads the agent's lines until it has `answers` of them.
fn answers(child: &mut Child, answers: usize) -> BufReader<std::process::ChildStdout> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    for n in 0..answers {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, format!("answered {n}\n"));
    }
    lines
}

/// Kills the recorder only; its agent notices that the connection is gone.
fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn finished(command: Command) -> Ran {
    tokio::task::spawn_blocking(move || {
        let mut command = command;
        Ran::from(command.output().unwrap())
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_recorder_leaves_a_prefix_that_replays() {
    let never = Gate::closed();
    let upstream = ScriptedUpstream::answering(move |request| match number(request) {
        3 => Answer::event_stream(["data: {}\n\n"]).wait(&never),
        n => streamed(n),
    })
    .await
    .unwrap();
    let env = place(&upstream);
    let arguments =
        ["record", "--trace", "killed", "--durability", "strict", "--", "python3", "agent.py", "5", "0"];
    let mut child = spawn(env.command(&arguments));
    let _lines = answers(&mut child, 3);
    upstream.wait_for_requests(4).await;
    let reader = Reader::open(&env.database()).unwrap();
    wait_until("the fourth call has its row", || loaded(&reader, "killed").facts.len() == 4);
    assert_eq!(loaded(&reader, "killed").row.status, TraceStatus::Recording);
    kill(&mut child);

    let trace = loaded(&reader, "killed");
    assert!(matches!(&trace.row.status, TraceStatus::Aborted(r) if r.len() == 1), "{:?}", trace.row.status);
    for n in 0..3 {
        let exchange = reader.exchange(trace.row.key, n).unwrap();
        assert_eq!(crate::lab::answer(&exchange).body, streamed(n as usize).body());
    }
    assert!(matches!(reader.exchange(trace.row.key, 3).unwrap().outcome, Outcome::InFlight));

    let count = upstream.requests().len();
    let prefix = finished(env.command(&["replay", "killed", "--", "python3", "agent.py", "3", "0"])).await;
    assert_eq!(prefix.code, Some(7), "the agent's own code: {prefix:?}");
    let past = finished(env.command(&["replay", "killed", "--", "python3", "agent.py", "5", "0"])).await;
    assert_eq!(past.code, Some(3), "{past:?}");
    assert!(past.stderr.contains("INCOMPLETE_RECORDING"), "{past:?}");
    assert_eq!(past.stdout, "answered 0\nanswered 1\nanswered 2\n");
    assert_eq!(upstream.requests().len(), count);
}

/// Whenever it is killed, what the client has is on disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_loses_nothing_that_the_client_has() {
    let upstream = ScriptedUpstream::answering(|request| streamed(number(request))).await.unwrap();
    for killed_after in [1, 2, 5, 9] {
        let env = place(&upstream);
        let arguments = ["record", "--durability", "strict", "--", "python3", "agent.py", "100000", "0"];
        let mut child = spawn(env.command(&arguments));
        let mut lines = answers(&mut child, killed_after);
        kill(&mut child);
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        let had = killed_after + rest.lines().filter(|l| l.starts_with("answered")).count();
        let reader = Reader::open(&env.database()).unwrap();
        let trace = loaded(&reader, "last");
        let complete = trace.facts.iter().filter(|f| f.state.as_str() == "complete").count();
        assert!(complete >= had, "the client had {had} answers, {complete} are on disk");
        for facts in &trace.facts {
            reader.exchange(trace.row.key, facts.seq).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_recorders_share_a_database() {
    let upstream = ScriptedUpstream::answering(|request| streamed(number(request))).await.unwrap();
    let env = place(&upstream);
    let one = |id: &'static str| {
        finished(env.command(&["record", "--trace", id, "--", "python3", "agent.py", "40", "2000"]))
    };
    let (a, b, c) = tokio::join!(one("one"), one("two"), one("three"));
    let reader = Reader::open(&env.database()).unwrap();
    for (id, ran) in [("one", a), ("two", b), ("three", c)] {
        assert_eq!(ran.code, Some(7), "{ran:?}");
        let trace = loaded(&reader, id);
        assert_eq!(trace.row.status, TraceStatus::Complete, "{id}: {ran:?}");
        assert_eq!(trace.facts.len(), 40);
        for n in 0..40 {
            let exchange = reader.exchange(trace.row.key, n).unwrap();
            assert_eq!(crate::lab::answer(&exchange).body, streamed(n as usize).body());
        }
    }
}

/// A process that holds the database's write lock until it is dropped.
struct Lock(Child);

impl Lock {
    fn take(database: &Path) -> Self {
        const HOLD: &str = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)\nc.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()\n";
        let mut child = Command::new("python3")
            .args(["-c", HOLD])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn ask(origin: &str, n: usize, size: usize) -> String {
    let body = format!(r#"{{"messages":[{{"role":"user","content":"question {n} {}"}}]}}"#, "x".repeat(size));
    RawClient::post_json(&format!("{origin}{CHAT}"), &body).await.unwrap().text()
}

#[tokio::test]
async fn a_full_queue_costs_the_recording_and_nobody_else() {
    let upstream = ScriptedUpstream::answering(|request| streamed(number(request))).await.unwrap();
    let lab = Lab::new();
    let recording = lab.record_as(&upstream.url(), |options| options.queue_bytes = 20_000).await;
    assert_eq!(ask(&recording.origin, 0, 10).await.as_bytes(), streamed(0).body());
    recording.recorder().flush();
    let lock = Lock::take(&lab.database());
    let started = Instant::now();
    for n in 1..12 {
        assert_eq!(ask(&recording.origin, n, 5_000).await.as_bytes(), streamed(n).body());
    }
    assert!(started.elapsed() < Duration::from_secs(10), "the agent waited for the recorder");
    drop(lock);
    let report = recording.finish().await;
    assert!(report.gaps.keys().any(|reason| reason.contains("queue was full")), "{report:?}");
    let recorded = lab.recorded();
    let TraceStatus::Incomplete(reasons) = &recorded.row.status else { panic!("{:?}", recorded.row.status) };
    assert!(reasons.iter().any(|reason| reason.contains("queue was full")), "{reasons:?}");
    assert!((1..12).contains(&recorded.exchanges.len()), "{}", recorded.exchanges.len());
    assert_eq!(crate::lab::answer(&recorded.exchanges[0]).body, streamed(0).body());
}

/// Calls of a gateway carry no id, so nobody knows which trace lacks the dropped one: all say so.
#[tokio::test]
async fn a_dropped_call_without_an_id_is_missing_from_every_open_trace() {
    let upstream = ScriptedUpstream::answering(|request| streamed(number(request))).await.unwrap();
    let lab = Lab::new();
    let gateway = lab.serve(&upstream.url(), |options| options.queue_bytes = 20_000).await;
    ask(&gateway.origin, 0, 10).await;
    gateway.recorder().flush();
    let lock = Lock::take(&lab.database());
    for n in 1..12 {
        ask(&gateway.origin, n, 5_000).await;
    }
    drop(lock);
    gateway.finish().await;
    let reader = Reader::open(&lab.database()).unwrap();
    let rows = reader.traces(&looptape_store::TraceFilter::default()).unwrap();
    assert!(!rows.is_empty());
    let first = rows.last().unwrap();
    assert!(
        matches!(&first.status, TraceStatus::Incomplete(r) if r[0].contains("queue was full")),
        "{:?}",
        first.status
    );
}

#[tokio::test]
async fn a_database_that_stays_locked() {
    for durability in [Durability::Relaxed, Durability::Strict] {
        let upstream = ScriptedUpstream::answering(|request| streamed(number(request))).await.unwrap();
        let lab = Lab::new();
        let recording = lab
            .record_as(&upstream.url(), |options| {
                options.durability = durability;
                options.lock_wait = Duration::from_millis(100);
            })
            .await;
        ask(&recording.origin, 0, 10).await;
        recording.recorder().flush();
        let lock = Lock::take(&lab.database());
        let started = Instant::now();
        assert_eq!(ask(&recording.origin, 1, 10).await.as_bytes(), streamed(1).body());
        assert!(started.elapsed() < Duration::from_secs(5), "{durability:?}: the agent waited for the lock");
        recording.recorder().flush();
        drop(lock);
        assert_eq!(ask(&recording.origin, 2, 10).await.as_bytes(), streamed(2).body());
        recording.finish().await;
        let recorded = lab.recorded();
        let TraceStatus::Incomplete(reasons) = &recorded.row.status else {
            panic!("{:?}", recorded.row.status)
        };
        assert!(reasons.iter().any(|reason| reason.contains("locked")), "{reasons:?}");
        let kept: Vec<_> = recorded.exchanges.iter().map(|e| crate::lab::answer(e).body.to_vec()).collect();
        assert_eq!(kept, [streamed(0).body(), streamed(2).body()], "{durability:?}");
    }
}

/// A limit on file sizes stands in for a full disk: writes fail from some point on, for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up() {
    let upstream = ScriptedUpstream::answering(|request| streamed(number(request))).await.unwrap();
    for durability in ["relaxed", "strict"] {
        let env = place(&upstream);
        let arguments = [
            "record",
            "--trace",
            "full",
            "--durability",
            durability,
            "--",
            "python3",
            "agent.py",
            "40",
            "100000",
        ];
        let command = through_shell("trap '' XFSZ; ulimit -f 2000", &env.command(&arguments));
        let ran = finished(command).await;
        assert_eq!(ran.code, Some(7), "{ran:?}");
        assert_eq!(ran.stdout.lines().count(), 40, "{ran:?}");
        assert_eq!(ran.trace(), "full");
        assert!(ran.stderr.contains("incomplete"), "{ran:?}");
        let reader = Reader::open(&env.database()).unwrap();
        let trace = loaded(&reader, "full");
        assert!(
            matches!(trace.row.status, TraceStatus::Incomplete(_) | TraceStatus::Aborted(_)),
            "{:?}",
            trace.row.status
        );
        assert!((1..40).contains(&trace.facts.len()), "{} of 40", trace.facts.len());
        if let TraceStatus::Incomplete(reasons) = &trace.row.status {
            let replay = |more: &[&str]| env.command(&[&["replay", "full"], more, &["--", "true"]].concat());
            let refused = finished(replay(&[])).await;
            assert_eq!(refused.code, Some(1), "{refused:?}");
            assert!(refused.stderr.contains("the recording has holes"), "{refused:?}");
            assert!(reasons.iter().all(|reason| refused.stderr.contains(reason)), "{reasons:?}: {refused:?}");
            let allowed = finished(replay(&["--allow-incomplete", "--allow-unused"])).await;
            assert_eq!(allowed.code, Some(0), "{allowed:?}");
        }
        for facts in &trace.facts {
            let exchange = reader.exchange(trace.row.key, facts.seq).unwrap();
            if let Outcome::Answered(answer) = &exchange.outcome {
                let asked = number_in(&exchange.request_body);
                assert_eq!(answer.body, streamed(asked).body(), "what is there is what passed");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_removed() {
    let upstream = ScriptedUpstream::answering(|request| streamed(number(request))).await.unwrap();
    let env = place(&upstream);
    let arguments = ["record", "--trace", "gone", "--", "python3", "agent.py", "6", "10", "remove-after-2"];
    let ran = finished(env.command(&arguments)).await;
    assert_eq!(ran.code, Some(7), "the agent's own code: {ran:?}");
    assert_eq!(ran.stdout.lines().count(), 6, "{ran:?}");
    assert_eq!(ran.trace(), "gone");
    assert!(ran.stderr.contains("looptape.db"), "the loss is named: {ran:?}");
}

/// What can be known before the agent starts is said before it starts.
#[test]
fn a_place_that_cannot_hold_a_database() {
    let env = TestEnv::new();
    std::fs::write(env.home().join("file"), "").unwrap();
    let started = Instant::now();
    for db in ["file/looptape.db", "/proc/looptape.db"] {
        let ran = env.looptape(&["--db", db, "record", "--", "touch", "ran"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(db) && ran.stderr.contains("--db"), "{ran:?}");
        assert!(!env.home().join("ran").exists(), "the agent ran unrecorded");
    }
    assert!(started.elapsed() < PATIENCE);
}

/// Waits until `holds` says so.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}
