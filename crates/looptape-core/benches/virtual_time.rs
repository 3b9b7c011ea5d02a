//! How fast virtual time passes: `cargo bench -p looptape-core --bench virtual_time [LOOPS]`.
//!
//! A million loops of ten steps (or as many as are named) on one core, as they are, with slots and a queue, and with
//! limits that refuse and clients that try again. What is counted is the whole of it: arrivals, plans, the twin,
//! retries, prices, the tally, the report. Peak memory is that of the process so far: it does not grow with the loops.

#![allow(clippy::disallowed_methods, reason = "a benchmark has a clock, and asks how much memory it took")]

use looptape_core::cost::PriceBook;
use looptape_core::load::{Material, simulate};
use looptape_core::scenario;
use std::ops::ControlFlow;
use std::time::Instant;

const ROWS: [(&str, &str); 3] = [
    ("as it is", ""),
    ("64 slots, a queue", "[twin]\nslots = 64\nqueue_max = 1000\n"),
    ("limits and retries", "[twin.limits]\ntpm = \"24M\"\nrpm = 9000\n"),
];

const AT_UNIX_US: i64 = 1_767_225_600_000_000;

fn main() {
    let loops: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    println!(
        "{:<20} {:>10} {:>12} {:>9} {:>12} {:>10}",
        "", "loops", "calls", "seconds", "µs a call", "peak MiB"
    );
    for (name, twin) in ROWS {
        let text = format!(
            "traffic.steps = 10\n[[phase]]\nexecutor = \"constant-arrival-rate\"\nrate = 20\nduration = \"{}s\"\n\
             arrival = \"poisson\"\n{twin}",
            loops / 20
        );
        let scenario = scenario::read(&text, &[]).expect("the scenario is right");
        let started = Instant::now();
        let run = simulate(&scenario, &Material::default(), &PriceBook::default(), AT_UNIX_US, &mut |_| {
            ControlFlow::Continue(())
        });
        let seconds = started.elapsed().as_secs_f64();
        let stats = run.expect("it runs").total.stats;
        let calls = stats.of_steps.attempts;
        let per_call = seconds * 1e6 / f64::from(calls);
        println!(
            "{name:<20} {:>10} {calls:>12} {seconds:>9.2} {per_call:>12.3} {:>10}",
            stats.loops.started,
            peak_mib()
        );
    }
}

/// The process's largest resident memory, where /proc tells.
fn peak_mib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.map_or("–".to_owned(), |kib| (kib / 1024).to_string())
}
