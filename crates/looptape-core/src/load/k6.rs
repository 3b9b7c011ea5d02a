//! A run in the words of k6: its summary, as `handleSummary()` gets it and as `--summary-export` writes it, so that what
//! reads k6's results reads these.
//!
//! Metrics that mean the same have k6's names: HTTP exchanges (`http_reqs`, `http_req_failed`, `http_req_duration`), loops as
//! iterations, loops at once as virtual users, and one check, that a loop succeeded. All others are custom metrics with the
//! names that they have here. Gates are thresholds.
//!
//! What k6 measures and this does not (bytes, connections) is left out, not 0. k6 knows no value without an end: what is
//! longer than any other is [`f64::MAX`].

use super::report::{LoadFigures, LoadReport};
use crate::gates::{GateReport, GateVerdict};
use crate::metrics::{Distribution, Figure, METRICS, Percent, select};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The figures of a trend, as k6 calls them.
const TRENDS: [&str; 7] = ["avg", "min", "med", "max", "p(90)", "p(95)", "p(99)"];

/// What of k6's kinds a metric is, with its figures.
#[derive(Clone, Debug)]
enum Metric {
    Counter {
        count: f64,
        rate: f64,
    },
    Gauge {
        value: f64,
        min: f64,
        max: f64,
    },
    Rate {
        rate: f64,
        passes: u32,
        fails: u32,
    },
    Trend {
        contains: &'static str,
        values: [f64; TRENDS.len()],
    },
    /// A threshold asks for it, and nothing is known of it.
    Unknown,
}

/// What k6's `handleSummary()` gets.
pub fn summary(report: &LoadReport, gates: &GateReport) -> Value {
    let thresholds = thresholds(gates);
    let metric = |(name, metric): (&str, Metric)| {
        let (kind, contains, values) = metric.parts();
        let mut of = json!({ "type": kind, "contains": contains, "values": values });
        if let Some(held) = thresholds.get(name) {
            let held = held.iter().map(|(expression, ok)| ((*expression).to_owned(), json!({ "ok": ok })));
            of["thresholds"] = Value::Object(held.collect());
        }
        (name.to_owned(), of)
    };
    let metrics: Map<String, Value> = metrics(report, &thresholds).into_iter().map(metric).collect();
    let length_ms = report.total.stats.window_s.unwrap_or(0.0) * 1000.0;
    json!({
        "root_group": group(json!([check(&report.total)]), json!([])),
        "options": { "summaryTrendStats": TRENDS, "summaryTimeUnit": "", "noColor": true },
        "state": { "isStdOutTTY": false, "isStdErrTTY": false, "testRunDurationMs": length_ms },
        "metrics": metrics,
    })
}

/// What `k6 run --summary-export` writes.
pub fn export(report: &LoadReport, gates: &GateReport) -> Value {
    let thresholds = thresholds(gates);
    let metric = |(name, metric): (&str, Metric)| {
        let (_, _, mut values) = metric.parts();
        // It calls the share of a rate its value, and says of a threshold whether it was crossed.
        if let Metric::Rate { rate, .. } = metric {
            values.remove("rate");
            values.insert("value".to_owned(), json!(rate));
        }
        if let Some(held) = thresholds.get(name) {
            let crossed = held.iter().map(|(expression, ok)| ((*expression).to_owned(), json!(!ok)));
            values.insert("thresholds".to_owned(), Value::Object(crossed.collect()));
        }
        (name.to_owned(), Value::Object(values))
    };
    let metrics: Map<String, Value> = metrics(report, &thresholds).into_iter().map(metric).collect();
    json!({
        "root_group": group(json!({ CHECK: check(&report.total) }), json!({})),
        "metrics": metrics,
    })
}

const CHECK: &str = "loop succeeded";

/// Ids are the MD5 of paths.
fn group(checks: Value, groups: Value) -> Value {
    json!({ "name": "", "path": "", "id": "d41d8cd98f00b204e9800998ecf8427e", "groups": groups, "checks": checks })
}

fn check(total: &LoadFigures) -> Value {
    let loops = &total.stats.loops;
    json!({
        "name": CHECK,
        "path": "::loop succeeded",
        "id": "3f2ea4d8e01b498e87fde897a0586158",
        "passes": loops.success,
        "fails": loops.failure,
    })
}

/// Expressions by metric, and whether they hold.
fn thresholds(gates: &GateReport) -> BTreeMap<&'static str, Vec<(&str, bool)>> {
    let mut by_metric: BTreeMap<&'static str, Vec<(&str, bool)>> = BTreeMap::new();
    for gate in &gates.gates {
        let expression = gate.gate.split_once(": ").map_or(gate.gate.as_str(), |(_, expression)| expression);
        let ok = matches!(gate.verdict, GateVerdict::Passed | GateVerdict::UnknownAccepted);
        by_metric.entry(gate.metric).or_default().push((expression, ok));
    }
    by_metric
}

fn metrics(
    report: &LoadReport,
    thresholds: &BTreeMap<&'static str, Vec<(&str, bool)>>,
) -> Vec<(&'static str, Metric)> {
    let mut all = of_k6(report);
    all.extend(own(report));
    let missing: Vec<&'static str> =
        thresholds.keys().filter(|name| all.iter().all(|(known, _)| known != *name)).copied().collect();
    all.extend(missing.into_iter().map(|name| (name, Metric::Unknown)));
    all
}

/// Those that mean the same as k6's.
fn of_k6(report: &LoadReport) -> Vec<(&'static str, Metric)> {
    let (stats, loops) = (&report.total.stats, &report.total.stats.loops);
    let seconds = stats.window_s.filter(|seconds| *seconds > 0.0);
    let counter = |count: u32| Metric::Counter {
        count: f64::from(count),
        rate: seconds.map_or(0.0, |seconds| f64::from(count) / seconds),
    };
    let attempts = u32::try_from(report.total.attempt_latency_ms.n()).unwrap_or(u32::MAX);
    let mut metrics = vec![
        ("http_reqs", counter(attempts)),
        ("http_req_failed", rate(stats.errors.total(), attempts)),
        ("iterations", counter(loops.completed)),
        ("checks", rate(loops.success, loops.success + loops.failure)),
    ];
    metrics.extend(loops.dropped.filter(|n| *n > 0).map(|n| ("dropped_iterations", counter(n))));
    let trends = [
        ("http_req_duration", &report.total.attempt_latency_ms),
        ("iteration_duration", &report.total.successful_loop_duration_ms),
    ];
    metrics.extend(trends.into_iter().filter_map(|(name, of)| Some((name, trend(of, "time")?))));
    if let Some(at_once) = stats.concurrency {
        let running = &report.series.running;
        let at = |n: Option<u32>| f64::from(n.unwrap_or(0));
        let (last, least) = (at(running.last().copied()), at(running.iter().min().copied()));
        let most = f64::from(at_once.loops_peak);
        metrics.push(("vus", Metric::Gauge { value: last, min: least, max: most }));
        metrics.push(("vus_max", Metric::Gauge { value: most, min: most, max: most }));
    }
    metrics
}

/// All that gates know, by its own name: a trend where there are many values, else a gauge.
fn own(report: &LoadReport) -> impl Iterator<Item = (&'static str, Metric)> {
    METRICS.iter().filter_map(|metric| {
        let reading = select(&report.total.stats, metric.name)?;
        let contains = if metric.name.ends_with("_ms") { "time" } else { "default" };
        let spread = reading.distribution.and_then(|spread| trend(spread, contains));
        let whole = || match reading.figure? {
            Figure::Known(value) | Figure::AtLeast(value) => {
                Some(Metric::Gauge { value, min: value, max: value })
            }
            Figure::Unknown => None,
        };
        Some((metric.name, spread.or_else(whole)?))
    })
}

fn rate(passes: u32, all: u32) -> Metric {
    let rate = if all == 0 { 0.0 } else { f64::from(passes) / f64::from(all) };
    Metric::Rate { rate, passes, fails: all.saturating_sub(passes) }
}

fn trend(of: &Distribution, contains: &'static str) -> Option<Metric> {
    let percentile = |percent: f64| of.percentile(Percent::new(percent)?).map(|percentile| percentile.value);
    let values = [
        of.mean(),
        of.min(),
        percentile(50.0),
        of.max(),
        percentile(90.0),
        percentile(95.0),
        percentile(99.0),
    ];
    (of.n() > 0).then(|| Metric::Trend { contains, values: values.map(|value| finite(value.unwrap_or(0.0))) })
}

fn finite(value: f64) -> f64 {
    if value.is_infinite() { f64::MAX } else { value }
}

impl Metric {
    /// Type, what is in it, and its figures.
    fn parts(&self) -> (&'static str, &'static str, Map<String, Value>) {
        let figures = |figures: &[(&str, Value)]| -> Map<String, Value> {
            figures.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        match self {
            Self::Counter { count, rate } => {
                ("counter", "default", figures(&[("count", json!(count)), ("rate", json!(rate))]))
            }
            Self::Gauge { value, min, max } => (
                "gauge",
                "default",
                figures(&[
                    ("value", json!(finite(*value))),
                    ("min", json!(finite(*min))),
                    ("max", json!(finite(*max))),
                ]),
            ),
            Self::Rate { rate, passes, fails } => (
                "rate",
                "default",
                figures(&[("rate", json!(rate)), ("passes", json!(passes)), ("fails", json!(fails))]),
            ),
            Self::Trend { contains, values } => {
                let named: Vec<(&str, Value)> =
                    TRENDS.iter().zip(values).map(|(name, value)| (*name, json!(value))).collect();
                ("trend", contains, figures(&named))
            }
            Self::Unknown => ("gauge", "default", Map::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::PriceBook;
    use crate::gates::{Conditions, Observations};
    use crate::load::{Material, simulate};
    use crate::scenario;
    use std::ops::ControlFlow;

    fn run(text: &str, gates: &[&str]) -> (LoadReport, GateReport) {
        let scenario = scenario::read(text, &[]).unwrap();
        let go_on = &mut |_| ControlFlow::Continue(());
        let report = simulate(&scenario, &Material::default(), &PriceBook::default(), 0, go_on).unwrap();
        let gates = gates.iter().map(|gate| gate.parse().unwrap()).collect();
        let judged = Conditions { gates, ..Conditions::default() }
            .judge(&Observations::of(report.total.stats.clone()));
        (report, judged)
    }

    const QUIET: &str = "[[phase]]\nexecutor = 'shared-iterations'\nvus = 2\niterations = 20\n";

    #[test]
    fn what_means_the_same_has_its_names_and_gates_are_thresholds() {
        let (report, gates) = run(QUIET, &["loop_duration_ms: p(95)<1", "retry_rate: value<=0.1"]);
        let summary = summary(&report, &gates);
        let of = |name: &str| &summary["metrics"][name];
        let attempts = report.total.stats.of_steps.attempts;
        assert_eq!(of("http_reqs")["values"]["count"], f64::from(attempts));
        assert_eq!(
            of("http_req_failed"),
            &json!({
                "type": "rate", "contains": "default", "values": { "rate": 0.0, "passes": 0, "fails": attempts }
            })
        );
        assert_eq!(of("iterations")["values"]["count"], 20.0);
        assert_eq!(of("checks")["values"]["rate"], 1.0);
        assert_eq!(of("vus_max")["values"]["value"], 2.0);
        let duration = of("loop_duration_ms");
        assert_eq!((&duration["type"], &duration["contains"]), (&json!("trend"), &json!("time")));
        assert_eq!(duration["thresholds"], json!({ "p(95)<1": { "ok": false } }));
        assert_eq!(duration["values"]["p(95)"], report.total.stats.loop_duration_ms.p95().unwrap().value);
        assert_eq!(of("retry_rate")["thresholds"], json!({ "value<=0.1": { "ok": true } }));
        assert_eq!(summary["root_group"]["checks"][0]["passes"], 20);
        assert_eq!(summary["metrics"].get("data_sent"), None, "what is not measured is not there");
    }

    #[test]
    fn the_export_is_flat_and_says_what_was_crossed() {
        let (report, gates) = run(QUIET, &["loop_duration_ms: p(95)<1", "score: avg>0.5"]);
        let export = export(&report, &gates);
        let of = |name: &str| &export["metrics"][name];
        assert_eq!(of("loop_duration_ms")["thresholds"], json!({ "p(95)<1": true }));
        assert_eq!(of("http_req_failed")["value"], 0.0);
        assert!(of("http_reqs")["rate"].as_f64().unwrap() > 0.0);
        assert_eq!(of("score"), &json!({ "thresholds": { "avg>0.5": true } }), "nobody scored");
        assert_eq!(export["root_group"]["checks"][CHECK]["passes"], 20);
        assert_eq!(export["root_group"]["groups"], json!({}));
    }

    #[test]
    fn what_has_no_end_is_the_largest_number() {
        let failing = format!("{QUIET}[retry]\nmax = 0\n[twin]\nfaults = ['500 at 50 %']\n");
        let (report, gates) = run(&failing, &[]);
        let summary = summary(&report, &gates);
        assert_eq!(summary["metrics"]["loop_duration_ms"]["values"]["max"], f64::MAX);
        assert_eq!(summary["metrics"]["checks"]["values"]["fails"], report.total.stats.loops.failure);
        assert!(summary["metrics"]["http_req_failed"]["values"]["passes"].as_u64() > Some(0));
    }
}
