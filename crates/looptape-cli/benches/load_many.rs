//! Many loops at once from one driver: does it begin them when they are due?
//!
//!     cargo bench -p looptape-cli --bench load_many                        # 2,000 at once, for a minute
//!     cargo bench -p looptape-cli --bench load_many -- loops=100 seconds=10
//!
//! The aim is that 99 of 100 loops begin less than 50 ms after they were due, with the twin on the same machine; if they
//! do not, or so many never ran at once, this ends with 1. Loops are those of agents: steps of about two seconds, six
//! seconds of tools between them.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use serde_json::Value;
use std::process::{Command, ExitCode, Stdio};

const MOST_LAG_MS: f64 = 50.0;

/// Of a loop: four steps of two seconds, three times six of tools.
const LOOP_S: f64 = 4.0 * 2.0 + 3.0 * 6.0;

fn main() -> ExitCode {
    let (loops, seconds) = (argument("loops", 2000), argument("seconds", 60));
    let home = tempfile::tempdir().unwrap();
    let scenario = home.path().join("scenario.toml");
    std::fs::write(&scenario, text(loops, seconds)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_looptape"));
    command.arg("load").arg(&scenario).args(["--json", "--no-record"]);
    command.env("HOME", home.path()).env("LOOPTAPE_DB", home.path().join("bench.db"));
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (total, client) = (&report["total"], &report["client"]);
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let p99 = number(&client["schedule_lag_ms"]["p99"]["value"]);
    let peak = number(&total["concurrency"]["loops_peak"]);
    println!(
        "{} loops, {} succeeded; at once {:.0} on average, {peak:.0} at most; {:.0} calls/s",
        total["loops"]["started"],
        total["loops"]["success"],
        number(&total["concurrency"]["loops_mean"]),
        number(&total["attempts"]) / number(&total["window_s"])
    );
    for (what, lag) in [("loops began", "schedule_lag_ms"), ("the client woke up", "wake_up_lag_ms")] {
        let lag = &client[lag];
        println!(
            "{what} late by {:.1} ms (p50), {:.1} ms (p99), {:.1} ms (most)",
            number(&lag["p50"]["value"]),
            number(&lag["p99"]["value"]),
            number(&lag["max"])
        );
    }
    let is_good = p99 < MOST_LAG_MS && peak >= f64::from(loops) * 0.95;
    println!(
        "{}",
        if is_good { "as wanted: p99 below 50 ms" } else { "MISSED: p99 below 50 ms with so many at once" }
    );
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Loops come at the rate at which so many run at once (Little's law), as soon as the first ones end.
fn text(loops: u32, seconds: u32) -> String {
    let rate = f64::from(loops) / LOOP_S;
    format!(
        "[traffic]\nsteps = 4\nsystem_tokens = 500\ninput_tokens = 200\nadded_tokens = 200\noutput_tokens = 41\ntool_ms = 6000\n\
         [[phase]]\nexecutor = \"ramping-arrival-rate\"\nstart_rate = {rate}\n\
         stages = [{{ duration = \"{LOOP_S}s\", target = {rate} }}, {{ duration = \"{seconds}s\", target = {rate} }}]\n\
         [twin]\nttft_ms = 1000\ntpot_ms = 25\nprefill_ms_per_1k = 0\n"
    )
}

fn argument(name: &str, usual: u32) -> u32 {
    let value = |word: String| word.strip_prefix(&format!("{name}=")).and_then(|value| value.parse().ok());
    std::env::args().find_map(value).unwrap_or(usual)
}
