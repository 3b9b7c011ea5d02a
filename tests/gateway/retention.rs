//! What a gateway deletes on its own.

use super::agent::{chat, send};
use super::process::{Gateway, Recordings, command, eventually, refused};
use crate::env::TestEnv;
use bytes::Bytes;
use looptape_core::TraceId;
use looptape_core::exchange::Ending;
use looptape_core::headers::RedactedHeaders;
use looptape_core::labels::Labels;
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Patterns, RedactConfig};
use looptape_store::{BeginCall, CallEnd, Moment, Recorder, RecorderOptions, Source, TraceHint, TraceSpec};
use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use std::sync::Arc;

const DAY_US: i64 = 86_400_000_000;

/// Records traces of one call each: id, age in days, size of the request.
fn record(recordings: &Recordings, traces: &[(&str, i64, usize)]) {
    let patterns = Arc::new(Patterns::new(&RedactConfig::default()).expect("the built-in patterns"));
    let options = RecorderOptions::new(recordings.path.clone(), patterns);
    let (recorder, thread) = Recorder::start(options).expect("the database can be made");
    for (n, (id, age_days, size_bytes)) in traces.iter().enumerate() {
        let id = TraceId::parse(id).expect("an id");
        let now = Moment::now();
        let at = Moment { unix_us: now.unix_us - age_days * DAY_US, ..now };
        recorder.open_trace(TraceSpec::new(id.clone(), Source::Record, at));
        let ticket = recorder.begin(BeginCall {
            hint: TraceHint::Named(id.clone()),
            at,
            provider: Provider::OPENAI,
            method: "POST".into(),
            path: "/v1/other".into(),
            headers: RedactedHeaders::default(),
            body: noise(n, *size_bytes).into(),
            loop_hint: None,
            import_index: None,
            labels: Labels::default(),
            credentials: Credentials::default(),
        });
        ticket.finish(CallEnd::NoResponse { at_mono_us: at.mono_us, ending: Ending::ClientGone });
        recorder.close_trace(id, at, None, None);
    }
    assert!(thread.finish().gaps.is_empty());
}

/// Bytes that do not compress.
fn noise(seed: usize, size_bytes: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_add(seed as u64);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..size_bytes).map(|_| next()).collect::<Vec<u8>>().into()
}

fn ids(recordings: &Recordings) -> Vec<String> {
    recordings.all().into_iter().map(|row| row.id.to_string()).collect()
}

async fn upstream() -> ScriptedUpstream {
    ScriptedUpstream::answering(|_| Answer::json("{}")).await.expect("the upstream starts")
}

#[tokio::test]
async fn old_traces_go_when_it_starts() {
    let env = TestEnv::new();
    let recordings = Recordings::of(&env);
    record(&recordings, &[("ancient", 40, 10), ("old", 31, 10), ("young", 29, 10)]);
    let upstream = upstream().await;
    let mut gateway = Gateway::start(&env, &upstream.url(), &["--max-age", "30d"]).await;
    gateway.line("looptape: 2 old traces deleted").await;
    assert_eq!(ids(&recordings), ["young"]);
    // It records as before.
    let path = "/t/new/openai/v1/chat/completions";
    assert_eq!(send(&gateway.url, path, &[], &chat("hi")).await.head.status, 200);
    gateway.stop().await;
    assert_eq!(ids(&recordings), ["young", "new"]);
}

#[tokio::test]
async fn the_oldest_go_while_there_is_too_much() {
    let env = TestEnv::new();
    let recordings = Recordings::of(&env);
    const MEBIBYTE: usize = 1 << 20;
    record(&recordings, &[("a", 4, MEBIBYTE), ("b", 3, MEBIBYTE), ("c", 2, MEBIBYTE), ("d", 1, MEBIBYTE)]);
    let size = || std::fs::metadata(&recordings.path).expect("the database is there").len();
    assert!(size() > 4 << 20);
    let command = in_project(&env, "max_size = \"2900KiB\"\nmax_age = \"1w\"");
    let mut gateway = Gateway::spawn(&env, command).await;
    gateway.line("looptape: 2 old traces deleted").await;
    assert_eq!(ids(&recordings), ["c", "d"]);
    eventually("the file has shrunk", || (size() < 3 << 20).then_some(())).await;
    gateway.stop().await;
}

#[tokio::test]
async fn bad_limits_are_named() {
    let env = TestEnv::new();
    let (code, said) = refused(in_project(&env, "max_age = \"soon\"")).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("[retention] max_age") && said.contains("soon"), "{said}");
}

/// A gateway that is started in a project with this retention.
fn in_project(env: &TestEnv, retention: &str) -> std::process::Command {
    let project = env.home().join("project");
    std::fs::create_dir(&project).expect("the folder is writable");
    std::fs::write(project.join("looptape.toml"), format!("[retention]\n{retention}\n"))
        .expect("the folder is writable");
    let mut command = command(env, &[]);
    command.current_dir(project);
    command
}
