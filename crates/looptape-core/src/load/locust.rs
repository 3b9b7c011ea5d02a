//! A run in the form of Locust: the CSV files that `locust --csv PREFIX` writes, with its headers, so that what reads
//! Locust's results reads these.
//!
//! A call is a request of type `POST` whose name is its wire format (`calls` where a command makes them); a loop is one of
//! type `LOOP`, whose name is its phase, and whose times are those of the loops that succeeded. `Aggregated` is all calls,
//! without the loops that they are part of.
//! What Locust measures and this does not (sizes of contents, when an error was seen first) is `N/A` or empty, not 0.

use super::report::{LoadFigures, LoadReport};
use super::series::LoadSeries;
use super::stretch::{KEPT, SpreadAt};
use crate::metrics::{Distribution, Percent};
use csv::{Terminator, Writer, WriterBuilder};

/// One of the files: what its name ends with, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub ending: &'static str,
    pub text: String,
}

const STATS: [&str; 11] = [
    "Type",
    "Name",
    "Request Count",
    "Failure Count",
    "Median Response Time",
    "Average Response Time",
    "Min Response Time",
    "Max Response Time",
    "Average Content Size",
    "Requests/s",
    "Failures/s",
];
const HISTORY: [&str; 6] = ["Timestamp", "User Count", "Type", "Name", "Requests/s", "Failures/s"];
const TOTALS: [&str; 7] = [
    "Total Request Count",
    "Total Failure Count",
    "Total Median Response Time",
    "Total Average Response Time",
    "Total Min Response Time",
    "Total Max Response Time",
    "Total Average Content Size",
];
const FAILURES: [&str; 6] = ["Method", "Name", "Error", "Occurrences", "First Seen", "Last Seen"];
const EXCEPTIONS: [&str; 4] = ["Count", "Message", "Traceback", "Nodes"];

/// As Locust writes it where there is nothing.
const NONE: &str = "N/A";

/// All files of a run that began at this time, in seconds.
pub fn files(report: &LoadReport, began_unix_s: u64) -> [File; 4] {
    let file = |ending, rows: Vec<Vec<String>>| File { ending, text: text(&rows) };
    [
        file("_stats.csv", stats(report)),
        file("_stats_history.csv", history(&report.series, began_unix_s)),
        file("_failures.csv", failures(report)),
        file("_exceptions.csv", vec![owned(&EXCEPTIONS)]),
    ]
}

fn owned(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|title| (*title).to_owned()).collect()
}

/// `50%`, `99.9%`, `100%`.
fn percentiles() -> impl Iterator<Item = String> {
    KEPT.iter().map(|percent| format!("{percent}%"))
}

fn text(rows: &[Vec<String>]) -> String {
    let mut writer: Writer<Vec<u8>> =
        WriterBuilder::new().terminator(Terminator::CRLF).flexible(true).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("memory takes all that is written");
    }
    let bytes = writer.into_inner().expect("memory takes all that is written");
    String::from_utf8(bytes).expect("rows of text make text")
}

fn stats(report: &LoadReport) -> Vec<Vec<String>> {
    let total = &report.total;
    let mut rows = vec![owned(&STATS).into_iter().chain(percentiles()).collect()];
    let calls = |kind: &str, name: &str| Row {
        kind: kind.to_owned(),
        name: name.to_owned(),
        requests: total.attempt_latency_ms.n() as u64,
        failures: u64::from(total.stats.errors.total()),
        took: &total.attempt_latency_ms,
        seconds: total.stats.window_s,
    };
    rows.push(calls("POST", asked(report)).cells());
    rows.extend(report.phases.iter().map(|phase| of_loops(&phase.name, &phase.figures).cells()));
    rows.push(calls("", "Aggregated").cells());
    rows
}

/// What the calls are called: a command's may be of any format.
fn asked(report: &LoadReport) -> &str {
    if report.command.is_some() { "calls" } else { report.wire }
}

/// A line of requests of one kind.
struct Row<'a> {
    kind: String,
    name: String,
    requests: u64,
    failures: u64,
    took: &'a Distribution,
    seconds: Option<f64>,
}

fn of_loops<'a>(phase: &str, figures: &'a LoadFigures) -> Row<'a> {
    Row {
        kind: "LOOP".to_owned(),
        name: phase.to_owned(),
        requests: u64::from(figures.stats.loops.completed),
        failures: u64::from(figures.stats.loops.failure),
        took: &figures.successful_loop_duration_ms,
        seconds: figures.stats.window_s,
    }
}

impl Row<'_> {
    fn cells(&self) -> Vec<String> {
        let took = self.took;
        let a_second = |n: u64| match self.seconds.filter(|seconds| *seconds > 0.0) {
            Some(seconds) => n as f64 / seconds,
            None => 0.0,
        };
        let percentile = |percent: &f64| {
            let at = Percent::new(*percent).and_then(|percent| took.percentile(percent));
            at.map_or(NONE.to_owned(), |at| whole(at.value))
        };
        let first = [
            self.kind.clone(),
            self.name.clone(),
            self.requests.to_string(),
            self.failures.to_string(),
            took.p50().map_or("0".to_owned(), |median| whole(median.value)),
            took.mean().unwrap_or(0.0).to_string(),
            took.min().unwrap_or(0.0).to_string(),
            took.max().unwrap_or(0.0).to_string(),
            NONE.to_owned(),
            a_second(self.requests).to_string(),
            a_second(self.failures).to_string(),
        ];
        first.into_iter().chain(KEPT.iter().map(percentile)).collect()
    }
}

/// Locust's percentiles are whole milliseconds.
fn whole(ms: f64) -> String {
    format!("{ms:.0}")
}

/// A line a stretch, at its end: rates are the stretch's, percentiles and totals from the start.
fn history(series: &LoadSeries, began_unix_s: u64) -> Vec<Vec<String>> {
    let titles = owned(&HISTORY).into_iter().chain(percentiles()).chain(owned(&TOTALS));
    let mut rows = vec![titles.collect::<Vec<String>>()];
    let mut failed = 0;
    for (at, all) in series.attempts_until.iter().enumerate() {
        failed += u64::from(series.failed_attempts[at]);
        let a_second = |n: u32| format!("{:.6}", f64::from(n) / series.bucket_s as f64);
        let first = [
            (began_unix_s + (at as u64 + 1) * series.bucket_s).to_string(),
            series.running[at].to_string(),
            String::new(),
            "Aggregated".to_owned(),
            a_second(series.attempts[at]),
            a_second(series.failed_attempts[at]),
        ];
        let percentile = |percent: &f64| all.percentile(*percent).map_or(NONE.to_owned(), whole);
        rows.push(first.into_iter().chain(KEPT.iter().map(percentile)).chain(totals(all, failed)).collect());
    }
    rows
}

fn totals(all: &SpreadAt, failed: u64) -> [String; 7] {
    let ms = |value: Option<f64>| value.unwrap_or(0.0).to_string();
    [
        all.n.to_string(),
        failed.to_string(),
        all.percentile(50.0).map_or("0".to_owned(), whole),
        ms(all.mean_ms),
        ms(all.least_ms),
        ms(all.largest_ms),
        NONE.to_owned(),
    ]
}

fn failures(report: &LoadReport) -> Vec<Vec<String>> {
    let row = |kind: &str, name: &str, error: &str, times: u32| {
        vec![
            kind.to_owned(),
            name.to_owned(),
            error.to_owned(),
            times.to_string(),
            String::new(),
            String::new(),
        ]
    };
    let mut rows = vec![owned(&FAILURES)];
    let errors = report.total.stats.errors.0.iter();
    rows.extend(errors.map(|(error, times)| row("POST", asked(report), error, *times)));
    let failed = report.phases.iter().filter(|phase| phase.figures.stats.loops.failure > 0);
    rows.extend(
        failed.map(|phase| row("LOOP", &phase.name, "the loop failed", phase.figures.stats.loops.failure)),
    );
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::PriceBook;
    use crate::load::{Material, simulate};
    use crate::scenario;
    use std::ops::ControlFlow;

    /// Two phases, the second of which fails at times.
    const SCENARIO: &str = "\
        [traffic]\nsteps = 2\n\
        [[phase]]\nname = 'first, quiet'\nexecutor = 'shared-iterations'\nvus = 2\niterations = 10\n\
        [[phase]]\nname = 'second'\nexecutor = 'shared-iterations'\nvus = 2\niterations = 10\n\
        [retry]\nmax = 0\n[twin]\nfaults = ['500 in loops 11..20 at 50 %']\n";

    fn run() -> (LoadReport, [File; 4]) {
        let scenario = scenario::read(SCENARIO, &[]).unwrap();
        let go_on = &mut |_| ControlFlow::Continue(());
        let report = simulate(&scenario, &Material::default(), &PriceBook::default(), 0, go_on).unwrap();
        let files = files(&report, 1_700_000_000);
        (report, files)
    }

    fn rows(file: &File) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(file.text.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn every_row_is_as_long_as_its_titles() {
        let (_, files) = run();
        assert_eq!(
            files.each_ref().map(|file| file.ending),
            ["_stats.csv", "_stats_history.csv", "_failures.csv", "_exceptions.csv"]
        );
        for file in &files {
            assert!(file.text.ends_with("\r\n"), "as Python's csv writes it");
            let rows = rows(file);
            assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{rows:?}");
        }
    }

    #[test]
    fn calls_and_loops_have_their_rows() {
        let (report, [stats, _, failures, _]) = run();
        let stats = rows(&stats);
        let names: Vec<(&str, &str)> =
            stats[1..].iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
        assert_eq!(
            names,
            [("POST", "openai.chat"), ("LOOP", "first, quiet"), ("LOOP", "second"), ("", "Aggregated")]
        );
        let attempts = report.total.stats.of_steps.attempts.to_string();
        let failed = report.total.stats.errors.total();
        assert!(failed > 0);
        assert_eq!((&stats[1][2], &stats[1][3]), (&attempts, &failed.to_string()));
        assert_eq!(stats[1][2..], stats[4][2..], "all calls are of one kind");
        assert_eq!((stats[2][2].as_str(), stats[2][3].as_str()), ("10", "0"));
        assert_eq!(stats[3][3], failed.to_string(), "without retries each failure is a loop");
        let failures = rows(&failures);
        assert_eq!(failures[1][..4], ["POST", "openai.chat", "http_500", failed.to_string().as_str()]);
        assert_eq!(failures[2][..4], ["LOOP", "second", "the loop failed", failed.to_string().as_str()]);
    }

    #[test]
    fn the_last_line_of_the_history_is_the_whole() {
        let (report, [stats, history, _, _]) = run();
        let (stats, history) = (rows(&stats), rows(&history));
        assert_eq!(history.len(), report.series.offered.len() + 1);
        assert_eq!(history[1][0], (1_700_000_000 + report.series.bucket_s).to_string());
        let last = history.last().unwrap();
        assert_eq!(last[17..19], stats[4][2..4], "requests and failures");
        let (mean, all): (f64, f64) = (last[20].parse().unwrap(), stats[4][5].parse().unwrap());
        assert!((mean / all - 1.0).abs() < 1e-9, "{mean} {all}");
    }
}
