use super::*;
use crate::assembly::TraceSpan;
use crate::assembly::example::{Example, call};
use crate::cost::{PriceBook, Usd};
use crate::metrics::{Measured, Sample, TraceMetrics, stats};
use proptest::prelude::*;

fn trace(steps: &[(i64, u64)]) -> TraceMetrics {
    let step = |(seq, (took_ms, input)): (usize, &(i64, u64))| {
        let (seq, history) = (seq as u32, seq as i64 + 1);
        let call = call(seq, i64::from(seq) * 100_000, *took_ms);
        let call = if seq == 0 { call.history(1) } else { call.after(history - 1, history) };
        call.used(*input, 0, 10)
    };
    let facts: Vec<_> = steps.iter().enumerate().map(step).collect();
    Measured::of(&facts, TraceSpan::closed(10_000_000_000), None, &PriceBook::listed()).metrics
}

fn observed(traces: &[TraceMetrics]) -> Observations {
    let samples: Vec<Sample<'_>> =
        traces.iter().map(|metrics| Sample { started_unix_us: None, phase: None, metrics }).collect();
    Observations::of(stats(&samples, None))
}

fn judge(gates: &[&str], observations: &Observations) -> GateReport {
    let gates = gates.iter().map(|gate| gate.parse().unwrap()).collect();
    Conditions { gates, ..Conditions::default() }.judge(observations)
}

fn verdict(gate: &str, observations: &Observations) -> GateVerdict {
    judge(&[gate], observations).gates[0].verdict
}

fn error(text: &str) -> String {
    text.parse::<Gate>().unwrap_err().to_string()
}

#[test]
fn every_figure_has_a_verdict_and_a_margin() {
    let loops = [trace(&[(100, 1000), (300, 2000)]), trace(&[(200, 1000)])];
    let report = judge(
        &[
            "step_latency_ms: max<300",
            "step_latency_ms: p(95)<=300",
            "step_latency_ms: med==200",
            "step_latency_ms: avg>=150",
            "step_latency_ms: min>150",
            "step_latency_ms: count==3",
            "steps_per_loop: max<=2",
            "steps: count!=3",
            "retry_rate: rate<0.05",
        ],
        &observed(&loops),
    );
    let told: Vec<_> = report
        .gates
        .iter()
        .map(|gate| (gate.figure.unwrap(), gate.margin, gate.verdict == GateVerdict::Passed))
        .collect();
    assert_eq!(
        told,
        [
            (300.0, Some(0.0), false),
            (300.0, Some(0.0), true),
            (200.0, None, true),
            (200.0, Some(50.0), true),
            (100.0, Some(-50.0), false),
            (3.0, None, true),
            (2.0, Some(0.0), true),
            (3.0, None, false),
            (0.0, Some(0.05), true),
        ]
    );
    assert!(!report.passed && report.failures().count() == 3);
    assert_eq!((report.gates[1].n, report.gates[1].certified), (Some(3), Some(false)));
}

#[test]
fn what_is_not_known_never_passes() {
    let nothing = observed(&[]);
    for gate in [
        "cost_usd: max<1",
        "cost_usd: max>0",
        "retry_rate: value<=1",
        "loop_duration_ms: p(95)<1",
        "score: avg>=0",
    ] {
        let report = judge(&[gate], &nothing);
        assert_eq!(report.gates[0].verdict, GateVerdict::Unknown, "{gate}");
        assert!(!report.passed && report.gates[0].why.is_some(), "{gate}");
    }
    let accepted = Conditions {
        gates: vec!["cost_usd: max<1".parse().unwrap()],
        unknown: UnknownFigures::Accept,
        ..Conditions::default()
    };
    let report = accepted.judge(&nothing);
    assert!(report.passed && report.gates[0].verdict == GateVerdict::UnknownAccepted);
}

#[test]
fn a_lower_bound_fails_what_it_is_beyond_and_passes_only_what_is_certain() {
    let known = trace(&[(100, 1000)]);
    let mut bound = known.clone();
    bound.by_loop[0].cost_at_least = true;
    let observed = observed(&[known.clone(), bound]);
    let cost = known.by_loop[0].cost_usd.unwrap().as_f64();
    let at = |gate: String| verdict(&gate, &observed);
    assert_eq!(at(format!("cost_usd: max<{}", cost * 2.0)), GateVerdict::Unknown, "it may be larger");
    assert_eq!(at(format!("cost_usd: max<{}", cost / 2.0)), GateVerdict::Failed, "it is too large already");
    assert_eq!(at(format!("cost_usd: max>{}", cost / 2.0)), GateVerdict::Passed);
    assert_eq!(at(format!("cost_usd: max>{}", cost * 2.0)), GateVerdict::Unknown);
    assert_eq!(at("cost_usd: p(50)<1".to_owned()), GateVerdict::Unknown);
    let report = judge(&["cost_usd: max<1"], &observed);
    assert!(
        report.gates[0].at_least && report.gates[0].why.as_deref() == Some("1 of 2 values are not known")
    );
}

#[test]
fn one_loop_whose_time_is_not_known_is_enough_not_to_pass() {
    let mut running = trace(&[(100, 1000)]);
    running.by_loop[0].duration_ms = None;
    running.by_step[0].step_latency_ms = None;
    let observed = observed(&[trace(&[(100, 1000)]), running]);
    for gate in ["loop_duration_ms: p(95)<20000", "loop_duration_ms: max<20000", "step_latency_ms: avg<20000"]
    {
        let report = judge(&[gate], &observed);
        assert_eq!(report.gates[0].verdict, GateVerdict::Unknown, "{gate}");
        assert_eq!(report.gates[0].why.as_deref(), Some("1 of 2 values are not known"), "{gate}");
    }
    assert_eq!(
        verdict("loop_duration_ms: max<50", &observed),
        GateVerdict::Failed,
        "the other is too long already"
    );
}

#[test]
fn mistakes_have_a_column_and_a_remedy() {
    insta::assert_snapshot!(error("loop_duration: p(95)<20000"), @r"
    column 1: there is no metric `loop_duration`; nearest: loop_duration_ms
        loop_duration: p(95)<20000
        ^
    ");
    insta::assert_snapshot!(error("loop_duration_ms: p95<20000"), @r"
    column 19: a percentile is written p(95)
        loop_duration_ms: p95<20000
                          ^
    ");
    insta::assert_snapshot!(error("retry_rate: value<=5%"), @r"
    column 21: nothing may follow here: retry_rate is compared with a share, such as 0.05 for 5 %
        retry_rate: value<=5%
                            ^
    ");
    for (text, expected) in [
        ("", "column 1: expected the name of a metric, not the end"),
        ("cost_usd", "column 9: expected `:` after the metric, as in `cost_usd: avg<1`"),
        (
            "cost_usd: mean<1",
            "column 11: expected avg, min, max, med, p(95), count, rate or value, not `mean<1`",
        ),
        ("cost_usd: p(101)<1", "column 13: a percentile is a number from 0 to 100"),
        ("cost_usd: p(95<1", "column 15: expected `)`"),
        ("cost_usd: max=1", "column 14: expected <, <=, >, >=, == or !=, not `=1`; equality is written =="),
        ("cost_usd: max<$1", "column 15: expected a number of US dollars, such as 0.10, not `$1`"),
        ("cost_usd: max<nan", "column 15: expected"),
        ("cost_usd: max<1e999", "column 15: expected"),
        ("loops_per_min: p(95)<1", "column 16: loops_per_min has no `p(95)`; it has count, value"),
        ("größe: max<1", "column 1"),
    ] {
        let error = error(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    let regression = |text: &str| text.parse::<MaxRegression>().unwrap_err().to_string();
    assert!(regression("cost=2%").contains("nearest: cost_usd"));
    assert!(regression("cost_usd<2%").contains("column 9: expected `=`"));
    assert!(regression("cost_usd=-2%").contains("not negative"));
    assert!(regression("cost_usd=2 percent").contains("nothing may follow"));
}

fn baseline(observations: &Observations) -> Baseline {
    let file =
        serde_json::json!({ "format": 1, "figures": observations.summaries(), "tests": [{ "name": "a" }] });
    Baseline::parse(&file.to_string()).unwrap()
}

fn regressions(allowed: &[&str], before: &Observations, now: &Observations) -> GateReport {
    let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
    let regressions = Some(Regressions { baseline: baseline(before), allowed });
    Conditions { regressions, ..Conditions::default() }.judge(now)
}

#[test]
fn a_regression_knows_which_way_is_worse() {
    let run = |score| observed(&[trace(&[(100, 1000)])]).scored([Some(score)]);
    let passes =
        |allowed: &str, before: f64, now: f64| regressions(&[allowed], &run(before), &run(now)).passed;
    assert!(passes("score=2%", 0.90, 0.95), "better is never worse");
    assert!(passes("score=2%", 0.90, 0.882), "exactly as much worse as it may be");
    assert!(!passes("score=2%", 0.90, 0.88));
    assert!(passes("score=0.05", 0.90, 0.86) && !passes("score=0.05", 0.90, 0.84));
    let cost = |tokens| observed(&[trace(&[(100, tokens)])]);
    assert!(regressions(&["cost_usd=2%"], &cost(1_000_000), &cost(1_010_000)).passed);
    assert!(!regressions(&["cost_usd=2%"], &cost(1_000_000), &cost(1_030_000)).passed);
    let report = regressions(&["cost_usd=2%"], &cost(1_000_000), &cost(1_030_000));
    let gate = &report.gates[0];
    assert_eq!(gate.gate, "cost_usd: avg ≤ 2 % worse than the baseline");
    assert!(gate.limit.unwrap() > gate.baseline.unwrap() && gate.margin.unwrap() < 0.0);
    // From nothing, anything is worse by any percentage.
    assert!(!regressions(&["retries: count=50%"], &cost(1), &retried()).passed);
    assert!(regressions(&["retries: count=1"], &cost(1), &retried()).passed);
}

fn retried() -> Observations {
    let facts = vec![
        call(0, 0, 10).history(1).failed(429),
        call(1, 100, 10).history(1).retries(Some(1)).used(10, 0, 1),
    ];
    let metrics = Measured::of(&facts, TraceSpan::closed(1_000_000), None, &PriceBook::listed()).metrics;
    assert_eq!(metrics.retries, 1);
    observed(&[metrics])
}

#[test]
fn a_baseline_that_does_not_know_fails() {
    let run = observed(&[trace(&[(100, 1000)])]);
    let nothing = observed(&[]);
    let why = |allowed: &str, before: &Observations| {
        let report = regressions(&[allowed], before, &run);
        assert!(!report.passed, "{allowed}");
        report.gates[0].why.clone().unwrap()
    };
    assert_eq!(why("score=2%", &run), "the baseline does not know score");
    assert!(
        why("step_latency_ms: p(97)=2%", &run).contains("it has avg, max, med, min, p(90), p(95), p(99)")
    );
    assert_eq!(why("cost_usd=2%", &nothing), "the baseline does not know cost_usd");
    for (text, expected) in [
        ("no json", "not valid JSON"),
        ("{}", "holds no `figures`"),
        ("{\"format\": 2, \"figures\": {}}", "format is 2"),
        ("[]", "not valid JSON"),
    ] {
        let error = Baseline::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn scores_and_bills_come_from_outside() {
    let run = observed(&[trace(&[(100, 1000)])]).billed(Usd::from_f64(0.25).unwrap(), false);
    assert_eq!(verdict("spent_usd: value<=0.25", &run), GateVerdict::Passed);
    let scored = run.clone().scored([Some(0.5), Some(1.0)]);
    assert_eq!(verdict("score: value==0.75", &scored), GateVerdict::Passed);
    assert_eq!(verdict("score: min>=0.5", &scored), GateVerdict::Passed);
    let one_missing = run.scored([Some(1.0), None]);
    let report = judge(&["score: min>=0.5"], &one_missing);
    assert_eq!(report.gates[0].why.as_deref(), Some("1 of 2 values are not known"));
}

#[test]
fn every_metric_can_be_asked_for_what_it_says_it_has() {
    let run = observed(&[trace(&[(100, 1000)]), trace(&[(50, 10), (60, 20)])]).scored([Some(0.5)]);
    for metric in Metric::all() {
        let gate = format!("{metric}: {}>=0", metric.usual_aggregate());
        let gate: Gate = gate.parse().unwrap();
        assert_eq!(gate.metric, metric);
        for aggregate in metric.aggregates().split(", ") {
            let text = format!("{metric}: {aggregate}>=0");
            let gate: Gate = text.parse().unwrap();
            assert_eq!(gate.to_string(), text);
            let report = Conditions { gates: vec![gate], ..Conditions::default() }.judge(&run);
            assert_ne!(report.gates[0].verdict, GateVerdict::Failed, "{text}: nothing is below 0");
        }
    }
}

fn gates() -> impl Strategy<Value = Gate> {
    let metrics: Vec<Metric> = Metric::all().collect();
    let comparisons = ["<", "<=", ">", ">=", "==", "!="];
    (0..metrics.len(), 0..8usize, 0..comparisons.len(), -1e6..1e6f64).prop_map(
        move |(metric, of, comparison, limit)| {
            let metric = metrics[metric];
            let aggregates = metric.aggregates();
            let aggregates: Vec<&str> = aggregates.split(", ").collect();
            let aggregate = aggregates[of % aggregates.len()];
            format!("{metric}: {aggregate}{}{limit}", comparisons[comparison]).parse().unwrap()
        },
    )
}

proptest! {
    #[test]
    fn a_gate_reads_back_from_its_own_text(gate in gates()) {
        prop_assert_eq!(gate.to_string().parse::<Gate>().unwrap(), gate);
    }

    /// Blanks between the parts change nothing.
    #[test]
    fn blanks_change_nothing(gate in gates(), blanks in "[ \t]{0,3}") {
        let Gate { metric, aggregate, comparison, limit } = gate;
        let text = format!("{blanks}{metric}{blanks}:{blanks}{aggregate}{blanks}{comparison}{blanks}{limit}{blanks}");
        prop_assert_eq!(text.parse::<Gate>().unwrap(), gate);
    }

    /// Whatever is written: a gate, or an error whose column lies in the text or just behind it.
    #[test]
    fn any_text_is_read_or_refused_at_a_column(text in "[a-z_:<>=!()0-9.% äß]{0,40}") {
        if let Err(error) = text.parse::<Gate>() {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.column));
        }
    }

    #[test]
    fn margin_and_verdict_agree(gate in gates(), durations in proptest::collection::vec(1i64..5000, 1..6)) {
        let steps: Vec<(i64, u64)> = durations.iter().map(|ms| (*ms, 100)).collect();
        let result = Conditions { gates: vec![gate], ..Conditions::default() }.judge(&observed(&[trace(&steps)])).gates.remove(0);
        if let Some(margin) = result.margin.filter(|margin| *margin != 0.0) {
            prop_assert_eq!(margin > 0.0, result.verdict == GateVerdict::Passed, "{:?}", result);
        }
    }
}
