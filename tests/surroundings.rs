//! Time and network around a replayed agent: the recorded pace, the recorded clock, blocked egress.

use crate::env::TestEnv;
use crate::lab::{Lab, Recorded};
use looptape_core::exchange::Outcome;
use looptape_proxy::tape_server::Speed;
use looptape_testkit::answer::Answer;
use looptape_testkit::raw_client::RawClient;
use looptape_testkit::upstream::ScriptedUpstream;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

const CHAT: &str = "/openai/v1/chat/completions";
const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}"#;

/// A stream of three events whose head came after 100 ms, its events after 200, 300 and 400 ms.
async fn paced() -> Recorded {
    let upstream = ScriptedUpstream::start().await.unwrap();
    upstream.push(Answer::event_stream(["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]));
    let lab = Lab::new();
    let recording = lab.record(&upstream.url()).await;
    let answer = RawClient::post_json(&format!("{}{CHAT}", recording.origin), BODY).await.unwrap();
    assert_eq!(answer.text(), "data: 1\n\ndata: 2\n\ndata: 3\n\n");
    recording.finish().await;
    let mut recorded = lab.recorded();
    let exchange = &mut recorded.exchanges[0];
    let Outcome::Answered(answer) = &mut exchange.outcome else { panic!("no answer") };
    answer.head_us = exchange.sent_us + 100_000;
    let body = answer.body.len() as u32 / 3;
    let chunk = |n: i64| looptape_core::exchange::Chunk {
        at_us: exchange.sent_us + 100_000 + n * 100_000,
        len: body,
    };
    answer.chunks = (1..=3).map(chunk).collect();
    answer.end_us = exchange.sent_us + 400_000;
    recorded
}

#[tokio::test]
async fn a_stream_comes_at_the_recorded_pace_or_a_multiple_of_it() {
    let recorded = paced().await;
    for (speed, least_ms) in
        [(Speed::Times(1.0), [100, 200, 300, 400]), (Speed::Times(4.0), [25, 50, 75, 100])]
    {
        let replaying = recorded.replay_at(speed).await;
        let mut client = RawClient::connect(&replaying.origin).await.unwrap();
        let sent = Instant::now();
        client.request("POST", CHAT, &[], BODY.as_bytes()).await.unwrap();
        client.head().await.unwrap();
        let mut came = vec![sent.elapsed()];
        while let Some(piece) = client.chunk().await.unwrap() {
            assert_eq!(piece.len(), "data: 1\n\n".len(), "pieces are the recorded ones");
            came.push(sent.elapsed());
        }
        let least = least_ms.map(Duration::from_millis);
        assert_eq!(came.len(), least.len());
        assert!(came.iter().zip(least).all(|(came, least)| *came >= least), "{speed:?}: {came:?}");
        assert!(replaying.finish().await.divergences.is_empty());
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_wait() {
    let mut recorded = paced().await;
    let Outcome::Answered(answer) = &mut recorded.exchanges[0].outcome else { panic!("no answer") };
    answer.chunks[2].at_us += 3_600_000_000;
    answer.end_us += 3_600_000_000;
    let replaying = recorded.replay_at(Speed::Times(1.0)).await;
    let mut client = RawClient::connect(&replaying.origin).await.unwrap();
    client.request("POST", CHAT, &[], BODY.as_bytes()).await.unwrap();
    client.head().await.unwrap();
    client.chunk().await.unwrap().unwrap();
    client.hang_up().unwrap();
    // Draining waits for answers under way: it would wait for an hour.
    assert_eq!(replaying.finish().await.served.total(), 1);
}

/// One call of 2024, as a browser's archive.
const HAR: &str = r#"{"log": {"version": "1.2", "creator": {"name": "Firefox", "version": "1"}, "entries": [
  {"startedDateTime": "2024-02-14T06:53:38.000+00:00", "time": 1500.5,
   "request": {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "headers": [],
     "postData": {"mimeType": "application/json", "text": "{\"model\":\"m\",\"messages\":[]}"}},
   "response": {"status": 200, "headers": [], "content": {"size": 2, "text": "{}"}}}
]}}"#;

fn with_a_call_of_2024() -> TestEnv {
    let env = TestEnv::new();
    fs::write(env.home().join("old.har"), HAR).unwrap();
    assert_eq!(env.looptape(&["import", "old.har"]).code, Some(0));
    env
}

#[test]
fn the_recorded_clock_shows_the_recorded_day_and_waits_last_as_long() {
    let env = with_a_call_of_2024();
    let program = "import datetime, subprocess, threading, time\n\
        print(datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M'), flush=True)\n\
        before = time.monotonic(); threading.Event().wait(0.05)\n\
        print(0.05 <= time.monotonic() - before < 20, flush=True)\n\
        subprocess.run(['date', '-u', '+%Y-%m-%d'], check=True)";
    let replay =
        ["replay", "last", "--allow-unused", "--clock", "recorded", "--report", "r.json", "--", "python3"];
    let ran = env.looptape(&[&replay[..], &["-c", program]].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "2024-02-14 06:53\nTrue\n2024-02-14\n"), "{ran:?}");
    let report: Value = serde_json::from_slice(&fs::read(env.home().join("r.json")).unwrap()).unwrap();
    assert_eq!(report["guarantees"]["clock"], "recorded");
    assert!(ran.stderr.contains("its wall clock was the recorded one"), "{}", ran.stderr);
}

#[test]
fn what_asks_for_another_host_is_refused_and_reported() {
    let env = with_a_call_of_2024();
    let program = "import urllib.request, urllib.error\n\
        for url in ['http://telemetry.example.com/x?key=1', 'https://api.openai.com/v1/models']:\n    \
            try: urllib.request.urlopen(url, timeout=20)\n    \
            except urllib.error.HTTPError as e: print(e.code, e.headers['x-looptape-divergence'])\n    \
            except OSError as e: print('403' in str(e))";
    let replay =
        ["replay", "last", "--allow-unused", "--block-egress", "--report", "r.json", "--", "python3"];
    let ran = env.looptape(&[&replay[..], &["-c", program]].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), "403 LIVE_EGRESS_BLOCKED\nTrue\n"), "{ran:?}");
    for host in ["telemetry.example.com:80", "api.openai.com:443"] {
        let said = format!("LIVE_EGRESS_BLOCKED: The agent tried to reach {host} past the replay");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
    let report: Value = serde_json::from_slice(&fs::read(env.home().join("r.json")).unwrap()).unwrap();
    assert_eq!(report["guarantees"]["egress"], "refused");
    assert_eq!(report["replay"]["verdict"], "diverged");
}
