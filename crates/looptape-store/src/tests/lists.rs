//! Lists: what they are filtered by, in which order they come.

use super::*;
use looptape_core::assembly::LoopOutcome;

/// What version 15 summed up says nothing of outcomes and models: both are made anew for lists, and filters go by what is known.
#[test]
fn lists_of_version_15_are_made_anew() {
    let lab = Lab::new();
    let old = lab.of_version(15);
    record_one(&old);
    old.execute("UPDATE trace_ends SET exit_code = 1", []).unwrap();
    let summed_up = "INSERT INTO trace_facts VALUES (1, ?1, 9, 9, 0, 9, 0, 7, 99.0, 0, ?2)";
    let prices = looptape_core::cost::PriceBook::listed();
    old.execute(summed_up, rusqlite::params![looptape_core::facts::DERIVATION, prices.version()]).unwrap();
    drop(old);
    let reader = lab.reader();
    let filter = |outcome| TraceFilter { outcome: Some(outcome), ..TraceFilter::default() };
    assert_eq!(reader.traces(&filter(LoopOutcome::Success)).unwrap().len(), 0);
    let found = reader.traces(&filter(LoopOutcome::Failure)).unwrap();
    let row = reader.ls_row(found.into_iter().next().unwrap()).unwrap();
    assert_eq!((row.steps, row.outcome, row.models.len()), (0, LoopOutcome::Failure, 0));
}

/// Version 17 did not know what a request extends whose last answer was put into other words.
#[test]
fn loops_of_version_17_are_put_together_anew() {
    let lab = Lab::new();
    lab.record(|r| {
        r.begin(begin("t1", br#"{"model":"m","messages":[{"role":"user","content":"go"}]}"#))
            .finish(answered(&[br#"{"choices":[{"message":{"role":"assistant","content":"gone"}}]}"#]));
        let next = br#"{"model":"m","messages":[{"role":"user","content":"go"},
            {"role":"assistant","content":"I went"},{"role":"user","content":"on"}]}"#;
        r.begin(begin("t1", next)).finish(answered(&[b"{}"]));
    });
    let loops = || {
        let reader = lab.reader();
        let row = reader.traces(&TraceFilter::default()).unwrap().remove(0);
        reader.load(row).unwrap().measure().metrics.loops
    };
    assert_eq!(loops(), 1);
    let old = rusqlite::Connection::open(&lab.database).unwrap();
    old.execute_batch("ALTER TABLE calls DROP COLUMN before_turn; PRAGMA user_version = 17").unwrap();
    assert_eq!(loops(), 2, "as version 17 derived them");
    old.execute_batch("UPDATE calls SET derivation = derivation - 1").unwrap();
    assert_eq!(loops(), 1, "derived anew");
}

#[test]
fn lists_are_filtered_and_ordered() {
    let lab = Lab::new();
    lab.record(|recorder| {
        for (name, calls, exit) in [("one", 1, 0), ("three", 3, 1), ("two_50%", 2, 0)] {
            let id = TraceId::parse(&name.replace('%', "-")).unwrap();
            let mut spec = TraceSpec::new(id.clone(), Source::Record, Moment::now());
            spec.command = vec!["agent".to_owned(), format!("--task={name}")];
            spec.labels.agent = Some("counting".to_owned());
            recorder.open_trace(spec);
            for _ in 0..calls {
                recorder.begin(begin(id.as_str(), PRICED_REQUEST)).finish(answered(&[PRICED_ANSWER]));
            }
            recorder.close_trace(id, Moment::now(), Some(exit), None);
        }
        recorder.open_trace(TraceSpec::new(TraceId::parse("open").unwrap(), Source::Record, Moment::now()));
    });
    let reader = lab.reader();
    let listed = |filter: TraceFilter| -> Vec<String> {
        reader.traces(&filter).unwrap().iter().map(|row| row.id.to_string()).collect()
    };
    let order = |by, direction| TraceFilter { order: TraceOrder { by, direction }, ..TraceFilter::default() };
    assert_eq!(listed(order(OrderBy::Start, Direction::Down)), ["open", "two_50-", "three", "one"]);
    assert_eq!(listed(order(OrderBy::Start, Direction::Up)), ["one", "three", "two_50-", "open"]);
    for by in [OrderBy::Steps, OrderBy::Cost] {
        assert_eq!(listed(order(by, Direction::Down)), ["three", "two_50-", "one", "open"], "{by:?}");
        let mut upwards = listed(order(by, Direction::Up));
        // Whether one without a call has a figure of 0 or none is the figure's business.
        upwards.retain(|id| id != "open");
        assert_eq!(upwards, ["one", "two_50-", "three"], "{by:?}");
        let page = TraceFilter { limit: Some(2), offset: 1, ..order(by, Direction::Down) };
        assert_eq!(listed(page), ["two_50-", "one"], "{by:?}");
    }
    let text = |text: &str| TraceFilter { text: Some(text.to_owned()), ..TraceFilter::default() };
    assert_eq!(listed(text("TASK=t")), ["two_50-", "three"]);
    assert_eq!(listed(text("50%")), ["two_50-"], "a sign of LIKE means itself");
    assert_eq!(listed(text("!")).len(), 0);
    let failed = TraceFilter { outcome: Some(LoopOutcome::Failure), ..TraceFilter::default() };
    assert_eq!(listed(failed), ["three"]);
    let model = |name: &str| TraceFilter { model: Some(name.to_owned()), ..TraceFilter::default() };
    assert_eq!(listed(model("gpt-4o-mini")).len(), 3);
    assert_eq!(listed(model("gpt-4o")).len(), 0, "names are whole");
    let costs = reader.costs_of_agent("counting", 2).unwrap();
    assert_eq!(costs.iter().map(|run| run.usd.is_some()).collect::<Vec<_>>(), [true, true]);
}
