//! Tests, several at once; what came of them is told in the order in which they were chosen.

use super::run::{Bench, OneRun};
use crate::interrupt::heed_ctrl_c;
use crate::session::{now_unix_us, progress};
use crate::test_entry::Test;
use crate::test_report::{Recorded, TestResult, TestVerdict};
use anyhow::Context;
use looptape_core::metrics::Ms;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// How tests are run.
#[derive(Debug)]
pub(super) struct SideBySide<'a> {
    pub(super) bench: Bench<'a>,
    pub(super) jobs: NonZeroUsize,
    pub(super) first_failure: FirstFailure,
    /// Recordings from before are stale.
    pub(super) oldest_unix_us: Option<i64>,
}

/// What the first failure does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstFailure {
    ChangesNothing,
    EndsTheRun,
}

impl SideBySide<'_> {
    /// Runs all tests. Each result is told as soon as those before it are.
    pub(super) fn run(
        &self,
        tests: &[Test],
        mut tell: impl FnMut(&TestResult) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<TestResult>> {
        let (next, stop) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        heed_ctrl_c(stop.clone())?;
        let bar = progress(self.bench.global, tests.len() as u64, "tests");
        let (sender, results) = mpsc::channel();
        let mut by_place: Vec<Option<TestResult>> = tests.iter().map(|_| None).collect();
        let mut told = 0;
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.get().min(tests.len()) {
                let sender = sender.clone();
                scope.spawn(|| self.work(tests, &next, &stop, sender));
            }
            drop(sender);
            for (place, result) in results {
                bar.inc(1);
                by_place[place] = Some(result);
                while let Some(Some(result)) = by_place.get(told) {
                    bar.suspend(|| tell(result))?;
                    told += 1;
                }
            }
            anyhow::Ok(())
        })?;
        bar.finish_and_clear();
        let all: Option<Vec<TestResult>> = by_place.into_iter().collect();
        all.context("a test was lost: this is a bug")
    }

    fn work(
        &self,
        tests: &[Test],
        next: &AtomicUsize,
        stop: &AtomicBool,
        sender: mpsc::Sender<(usize, TestResult)>,
    ) {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(test) = tests.get(place) else { return };
            let result = match stop.load(Ordering::Relaxed) {
                true => TestResult::without_run(test, TestVerdict::NotRun, again(test)),
                false => self.one(test),
            };
            let ends = result.verdict == TestVerdict::Interrupted
                || (result.verdict.is_failure() && self.first_failure == FirstFailure::EndsTheRun);
            stop.fetch_or(ends, Ordering::Relaxed);
            if sender.send((place, result)).is_err() {
                return;
            }
        }
    }

    /// A test with its retries.
    fn one(&self, test: &Test) -> TestResult {
        let started = Instant::now();
        let mut runs = 0;
        let OneRun { verdict, ran, recorded_unix_us } = loop {
            runs += 1;
            let run = self.bench.run(test);
            let is_final = run.verdict == TestVerdict::Passed || run.verdict == TestVerdict::Interrupted;
            if is_final || runs > test.retries {
                break run;
            }
        };
        let age_us = recorded_unix_us.map(|recorded| now_unix_us().saturating_sub(recorded));
        TestResult {
            runs,
            duration_ms: Ms::from_us(i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX)),
            recorded: match self.bench.recordings.get(test.recording.path()) {
                Some(Ok(recorded)) => *recorded,
                Some(Err(_)) | None => Recorded::Before,
            },
            age_days: age_us.map(|us| us as f64 / 86_400e6),
            stale: recorded_unix_us
                .zip(self.oldest_unix_us)
                .is_some_and(|(recorded, oldest)| recorded < oldest),
            ran,
            ..TestResult::without_run(test, verdict, again(test))
        }
    }
}

/// A command that does the same by hand.
fn again(test: &Test) -> String {
    format!("looptape test {}", quoted(&test.name))
}

fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if name.chars().all(is_plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}
