//! `looptape test`: the `[[test]]` entries of `looptape.toml`, replayed, judged and reported.

mod choice;
mod place;
mod record;
mod run;
mod side_by_side;

use super::gates::{Configured, GateArgs, observations};
use super::report_files::TestReportArgs;
use crate::config::{Config, parse_duration};
use crate::exit::{Exit, UsageError};
use crate::render;
use crate::session::{Global, now_unix_us, print, print_json, style};
use crate::test_entry::Test;
use crate::test_report::{self, Counts, TestReport, TestResult};
use choice::Choice;
use looptape_core::gates::{Conditions, GateReport, Regressions};
use looptape_core::metrics::Ms;
use record::{Interrupted, RecordArgs};
use run::Bench;
use side_by_side::{FirstFailure, SideBySide};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Instant;

/// Run the tests of looptape.toml: replays, gates, a baseline
///
/// Each [[test]] names a recording (a cassette or a trace) and, mostly, an agent's command. The agent runs
/// against the recording with no network, no key and no cost; the test fails if it asks for something else, if it
/// fails itself, if no call was made at all, or if a gate fails. Tests run side by side, each with a database, a
/// port and a folder for temporary files of its own; results are told in the order of the file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  looptape test                                 all of them
  looptape test refund                          those with `refund` in their name
  looptape test --tag smoke --jobs 8
  looptape test --list
  looptape test --record-missing --max-usd 0.20 record what has no cassette yet, then run all
  looptape test refund --update                 record this one again
  looptape test --junit looptape.xml --max-age 30d
  looptape test --gate 'cost_usd: max<0.10' --gate 'retry_rate: value<=0.05'
  looptape test --json > main.json              on the main branch; then, on another:
  looptape test --baseline main.json --max-regression cost_usd=2% --max-regression score=2%

In looptape.toml:
  [[test]]
  cassette = \"cassettes/refund\"
  command = [\"python3\", \"agent.py\"]
  gates = [\"steps_per_loop: max<=12\"]

Exit codes, strongest first: 130 interrupted; 3 a run diverged; 1 a test failed in another way; 4 recorded calls were
left unused; 99 a gate failed; 0 all passed.")]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Print which tests these are, and run none
    #[arg(long)]
    list: bool,
    /// How many run at once [default: one for each processor]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Start no more tests once one has failed
    #[arg(long)]
    fail_fast: bool,
    /// Warn of recordings older than this: 90d, 12w
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    max_age: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    recording: RecordArgs,
    #[command(flatten)]
    gates: GateArgs,
    #[command(flatten)]
    reports: TestReportArgs,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let config = Config::load()?;
    let conditions = args.gates.conditions(&config, Configured::Counted)?;
    let tests = args.choice.of(tests(&config)?)?;
    if args.list {
        return list(args, &tests);
    }
    let recordings = match args.recording.record(global, &config, &tests) {
        Err(error) if error.is::<Interrupted>() => {
            anstream::eprintln!("looptape: {error:#}");
            return Ok(Exit::Interrupted);
        }
        recordings => recordings?,
    };
    let started = Instant::now();
    let bench = Bench { global, config: &config, conditions: &conditions, recordings: &recordings };
    let side_by_side = SideBySide {
        bench,
        jobs: args.jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN),
        first_failure: if args.fail_fast { FirstFailure::EndsTheRun } else { FirstFailure::ChangesNothing },
        oldest_unix_us: args
            .max_age
            .map(|seconds| now_unix_us() - i64::try_from(seconds).unwrap_or(0) * 1_000_000),
    };
    let results = side_by_side.run(&tests, |result| {
        if args.json { Ok(()) } else { print(&render::tested::result(result, style())) }
    })?;
    let elapsed = Ms::from_us(i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX));
    let (exit, report) = report(&conditions, results, elapsed);
    match args.json {
        true => print_json(&report)?,
        false => print(&render::tested::closing(&report, style()))?,
    }
    args.reports.write(&report)?;
    Ok(exit)
}

fn tests(config: &Config) -> anyhow::Result<Vec<Test>> {
    let tests = config.tests()?;
    if tests.is_empty() {
        let place =
            config.path.as_ref().map_or("a looptape.toml".to_owned(), |path| path.display().to_string());
        let say = format!(
            "there are no tests: write into {place}\n\n    [[test]]\n    cassette = \"cassettes/refund\"\n    \
             command = [\"python3\", \"agent.py\"]\n\n`looptape test --help` says more"
        );
        return Err(UsageError(say).into());
    }
    Ok(tests)
}

fn list(args: &Args, tests: &[Test]) -> anyhow::Result<Exit> {
    match args.json {
        true => print_json(&render::tested::Listed::all(tests))?,
        false => print(&render::tested::list(tests))?,
    }
    Ok(Exit::Success)
}

/// What all of it comes to.
fn report(conditions: &Conditions, tests: Vec<TestResult>, elapsed_ms: Ms) -> (Exit, TestReport) {
    let metrics = || tests.iter().flat_map(|test| &test.ran.metrics);
    let spent = tests.iter().filter_map(|test| test.ran.spent);
    let spent = spent.reduce(|(a, a_more), (b, b_more)| (a + b, a_more || b_more));
    let scores = tests.iter().filter(|test| test.runs > 0).map(|test| test.ran.score);
    let observations = observations(metrics(), scores, spent);
    // Of a run that was broken off nothing can be said.
    let is_whole = tests.iter().all(|test| test.runs > 0);
    let gates = if is_whole { conditions.judge(&observations) } else { GateReport::default() };
    let exit = test_report::exit(&tests, &gates);
    let report = TestReport {
        format: 1,
        exit_code: exit.code(),
        counts: Counts::of(&tests),
        elapsed_ms,
        gates,
        figures: observations.summaries(),
        notes: notes(conditions.regressions.as_ref(), &tests),
        tests,
    };
    (exit, report)
}

/// A baseline of other tests is no measure.
fn notes(regressions: Option<&Regressions>, tests: &[TestResult]) -> Vec<String> {
    let Some(Regressions { baseline, .. }) = regressions else { return Vec::new() };
    let (before, now) =
        (baseline.tests(), tests.iter().map(|test| test.name.clone()).collect::<BTreeSet<_>>());
    let only_in = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.difference(other).map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let (new, gone) = (only_in(&now, before), only_in(before, &now));
    let mut notes = Vec::new();
    if !before.is_empty() && !new.is_empty() {
        notes.push(format!("not in the baseline: {new}"));
    }
    if !gone.is_empty() {
        notes.push(format!("only in the baseline: {gone}"));
    }
    notes
}
