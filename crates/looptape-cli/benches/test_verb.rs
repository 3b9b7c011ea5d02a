//! `looptape test` over many cassettes: wall time, and the processor time of it, on this machine.
//!
//!     cargo bench -p looptape-cli --bench test_verb                   # 100 tests of 5 steps
//!     cargo bench -p looptape-cli --bench test_verb -- tests=20 jobs=4 rounds=3
//!
//! It needs python3 and nothing else. A scripted upstream answers while the cassettes are recorded
//! (`--record-missing`), and is gone afterwards. The agent is Python's standard library alone, so most of the time is
//! Python's start: the last line says how long so many starts of it take by themselves, as many at once.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use looptape_testkit::answer::Answer;
use looptape_testkit::upstream::ScriptedUpstream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const AGENT: &str = r#"
import json, os, sys, urllib.request

base, key, topic = os.environ["OPENAI_BASE_URL"], os.environ.get("OPENAI_API_KEY", "none"), sys.argv[1]
history = [{"role": "user", "content": f"Collect five facts about {topic}. " + "Take your time. " * 50}]
for step in range(5):
    body = json.dumps({"model": "gpt-4o-mini", "messages": history}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(base.rstrip("/") + "/chat/completions", body, headers)
    with urllib.request.urlopen(request) as response:
        history.append(json.load(response)["choices"][0]["message"])
    history.append({"role": "user", "content": f"And fact {step + 2}?"})
print(len(history))
"#;

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,
"message":{"role":"assistant","content":"Here is one of them, in a sentence of usual length."},"finish_reason":"stop"}],
"usage":{"prompt_tokens":120,"completion_tokens":12,"total_tokens":132}}"#;

struct Asked {
    tests: usize,
    jobs: usize,
    rounds: usize,
}

fn main() {
    let asked = asked();
    let project = tempfile::tempdir().unwrap();
    write_project(project.path(), asked.tests);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let upstream = runtime.block_on(ScriptedUpstream::answering(|_| Answer::json(ANSWER))).unwrap();
    let upstream = format!("openai={}", upstream.url());
    let recording = run(project.path(), &["test", "--record-missing", "--upstream", &upstream, "--quiet"]);
    println!(
        "recorded {} cassettes of 5 steps, and ran them once, in {:.1} s",
        asked.tests,
        recording.as_secs_f64()
    );
    drop(runtime);
    let jobs = asked.jobs.to_string();
    let mut best = Duration::MAX;
    for round in 1..=asked.rounds {
        let before = children_s();
        let took = run(project.path(), &["test", "--jobs", &jobs]);
        let cpu_s = children_s() - before;
        let each_ms = cpu_s * 1000.0 / asked.tests as f64;
        println!(
            "round {round}: {:.1} s, {cpu_s:.1} s of processor time, {each_ms:.0} ms a test",
            took.as_secs_f64()
        );
        best = best.min(took);
    }
    let (before, started) = (children_s(), Instant::now());
    start_python(asked.tests, asked.jobs);
    let (took, cpu_s) = (started.elapsed().as_secs_f64(), children_s() - before);
    println!("python alone, started {} times: {took:.1} s, {cpu_s:.1} s of processor time", asked.tests);
    println!("best: {} tests in {:.1} s with {} jobs", asked.tests, best.as_secs_f64(), asked.jobs);
}

fn asked() -> Asked {
    let mut asked =
        Asked { tests: 100, jobs: std::thread::available_parallelism().map_or(2, usize::from), rounds: 3 };
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("tests", n)) => asked.tests = n.parse().unwrap(),
            Some(("jobs", n)) => asked.jobs = n.parse().unwrap(),
            Some(("rounds", n)) => asked.rounds = n.parse().unwrap(),
            // What cargo itself passes.
            _ => {}
        }
    }
    asked
}

fn write_project(folder: &Path, tests: usize) {
    std::fs::write(folder.join("agent.py"), AGENT).unwrap();
    let entry = |n: usize| {
        format!(
            "[[test]]\ncassette = \"cassettes/topic-{n}\"\ncommand = [\"python3\", \"agent.py\", \"topic {n}\"]\n"
        )
    };
    std::fs::write(folder.join("looptape.toml"), (0..tests).map(entry).collect::<String>()).unwrap();
}

/// Runs looptape to its end, in the project.
fn run(folder: &Path, arguments: &[&str]) -> Duration {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_looptape"))
        .args(arguments)
        .current_dir(folder)
        .env("LOOPTAPE_DB", folder.join("looptape.db"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let took = started.elapsed();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    took
}

/// What the agent imports, and nothing else, so many at once.
fn start_python(times: usize, at_once: usize) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < times {
                    let python =
                        Command::new("python3").args(["-c", "import json, os, sys, urllib.request"]).status();
                    assert!(python.unwrap().success());
                }
            });
        }
    });
}

/// The processor time of all children that have ended, and of theirs.
fn children_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // cutime and cstime, in hundredths of a second on Linux.
    (ticks(13) + ticks(14)) / 100.0
}
