//! The same scenario in real and in virtual time. They have to agree within 5 % on loops per minute and on the p95 of a
//! loop; if they do not, this ends with 1.
//!
//!     cargo bench -p looptape-cli --bench real_against_virtual                        # 10 loops a second for two minutes
//!     cargo bench -p looptape-cli --bench real_against_virtual -- seconds=20 per_s=5  # to see that it runs
//!
//! Real time is the driver over HTTP against the twin's server, both on this machine; virtual time is the simulation.
//! What differs are the sockets, the clocks, and what this machine has to do besides.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use serde_json::Value;
use std::process::{Command, ExitCode, Stdio};

/// What is read from a report.
type Figure = fn(&Value) -> f64;

/// They may differ by so much.
const MOST: f64 = 0.05;

fn main() -> ExitCode {
    let (seconds, per_s) = (argument("seconds", 120), argument("per_s", 10));
    let home = tempfile::tempdir().unwrap();
    let scenario = home.path().join("scenario.toml");
    std::fs::write(&scenario, text(seconds, per_s)).unwrap();
    let run = |words: &[&str]| -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptape"));
        command.arg("load").arg(&scenario).args(["--json", "--no-record"]).args(words);
        command.env("HOME", home.path()).env("LOOPTAPE_DB", home.path().join("bench.db"));
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (real, simulated) = (run(&[]), run(&["--virtual"]));
    let loops = &real["total"]["loops"];
    println!(
        "{} loops of {per_s} a second for {seconds} s, {} of them failed",
        loops["started"], loops["failure"]
    );
    println!("{:<18} {:>10} {:>10} {:>7}", "", "real", "virtual", "ratio");
    let figures: [(&str, Figure); 3] = [
        ("loops/min", |report| report["total"]["loops_per_min"].as_f64().unwrap()),
        ("p95 of a loop, ms", |report| percentile(report, "loop_duration_ms", "p95")),
        ("p50 of a loop, ms", |report| percentile(report, "loop_duration_ms", "p50")),
    ];
    let mut is_within = true;
    for (name, figure) in figures {
        let (real, simulated) = (figure(&real), figure(&simulated));
        let ratio = real / simulated;
        let is_held = name != "p50 of a loop, ms";
        let verdict = match (is_held, (ratio - 1.0).abs() <= MOST) {
            (false, _) => "",
            (true, true) => "within 5 %",
            (true, false) => "MORE THAN 5 % APART",
        };
        is_within &= !verdict.starts_with("MORE");
        println!("{name:<18} {real:>10.1} {simulated:>10.1} {ratio:>7.3}  {verdict}");
    }
    for why in real["client"]["invalid_because"].as_array().unwrap() {
        println!("the client did not keep up: {why}");
    }
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Agents that use tools, refused now and then, tried again.
fn text(seconds: u32, per_s: u32) -> String {
    format!(
        "seed = 3\n[traffic]\nsteps = {{ uniform = [3, 6] }}\nsystem_tokens = 500\ninput_tokens = 200\n\
         added_tokens = {{ p50 = 100, p95 = 400 }}\noutput_tokens = {{ p50 = 40, p95 = 90 }}\n\
         tool_ms = {{ p50 = 150, p95 = 400 }}\n\
         [[phase]]\nexecutor = \"constant-arrival-rate\"\nrate = {per_s}\nduration = \"{seconds}s\"\narrival = \"poisson\"\n\
         [twin]\nttft_ms = {{ p50 = 200, p95 = 450 }}\ntpot_ms = {{ p50 = 5, p95 = 9 }}\nfaults = [\"529 at 2 %\"]\n"
    )
}

fn percentile(report: &Value, metric: &str, percentile: &str) -> f64 {
    report["total"][metric][percentile]["value"].as_f64().unwrap()
}

fn argument(name: &str, usual: u32) -> u32 {
    let value = |word: String| word.strip_prefix(&format!("{name}=")).and_then(|value| value.parse().ok());
    std::env::args().find_map(value).unwrap_or(usual)
}
