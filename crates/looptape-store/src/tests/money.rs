//! Costs that lists show, and what was spent.

use super::*;

fn dollar_book() -> PriceBook {
    let entry = serde_json::json!({"model": "gpt-4o*", "input": 1.0, "output": 2.0});
    PriceBook::with(&[serde_json::from_value(entry).unwrap()]).unwrap()
}

/// A list shows what a trace costs at the prices of today's configuration, whatever it was summed up by.
#[test]
fn a_cost_is_made_anew_at_other_prices() {
    let lab = Lab::new();
    lab.record(|r| r.begin(begin("t1", PRICED_REQUEST)).finish(answered(&[PRICED_ANSWER])));
    assert_eq!(listed_usd(&lab.reader()), Some(0.15));
    let own = lab.reader().priced_by(dollar_book());
    assert_eq!(listed_usd(&own), Some(1.0));
    assert_eq!(listed_usd(&own.another().unwrap()), Some(1.0), "another reader has the same prices");
    let trace = own.load(own.find(&Selector::parse("t1")).unwrap()).unwrap();
    assert_eq!(trace.measure().metrics.cost_usd.map(|usd| usd.as_f64()), Some(1.0));
    // Summed up by that book, it is not made anew: the kept figure is the one that is read.
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    raw.execute("UPDATE trace_facts SET prices = ?1, cost_usd = 7", [dollar_book().version()]).unwrap();
    assert_eq!((listed_usd(&own), listed_usd(&lab.reader())), (Some(7.0), Some(0.15)));
}

#[test]
fn the_recorder_sums_up_by_its_prices() {
    let lab = Lab::new();
    let mut options = RecorderOptions::new(lab.database.clone(), Arc::new(Patterns::builtin()));
    options.prices = dollar_book();
    let (recorder, thread) = Recorder::start(options).unwrap();
    recorder.begin(begin("t1", PRICED_REQUEST)).finish(answered(&[PRICED_ANSWER]));
    drop(recorder);
    thread.finish();
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    let kept: (f64, String) = raw
        .query_row("SELECT cost_usd, prices FROM trace_facts", [], |r| Ok((r.get(0)?, r.get(1)?)))
        .unwrap();
    assert_eq!(kept, (1.0, dollar_book().version().to_owned()));
}

/// What was spent is on disk however it came there: beside a call, alone, by several, after a failure.
#[test]
fn what_is_spent_is_kept_by_day_and_trace() {
    let lab = Lab::new();
    let (one, other) = (Spender::new(), Spender::new());
    let (today, yesterday) = (counted("t1", 1), counted("t1", 0));
    lab.record(|r| {
        r.note_spending(one, [(today.clone(), spent(0.5)), (yesterday.clone(), spent(1.0))].into());
        r.note_spending(one, [(today.clone(), spent(0.25))].into());
        call(r, "t1", b"{}");
        r.flush();
        r.note_spending(other, [(today.clone(), spent(2.0)), (counted("t2", 1), spent(4.0))].into());
    });
    let reader = lab.reader();
    let usd = |spent: Result<Usd, ReadError>| spent.unwrap().as_f64();
    let nobody = Spender::new();
    assert_eq!(usd(reader.spent_on(today.day, nobody)), 6.75);
    assert_eq!((usd(reader.spent_on(today.day, one)), usd(reader.spent_on(today.day, other))), (6.0, 0.75));
    assert_eq!(usd(reader.spent_by(&id("t1"), nobody)), 3.75, "the recorder ended, the trace did not");
    lab.record(|r| {
        r.open_trace(TraceSpec::new(id("t1"), Source::Record, Moment::now()));
        r.note_spending(one, [(today.clone(), spent(0.125))].into());
        r.close_trace(id("t1"), Moment::now(), Some(0), None);
    });
    assert_eq!(usd(reader.spent_by(&id("t1"), nobody)), 0.0, "it is over");
    assert_eq!(usd(reader.spent_on(today.day, nobody)), 6.875);
    let before = Retention { started_before_unix_us: Some(86_400_000_000), max_bytes: None };
    Maintenance::open(&lab.database).unwrap().prune(&before).unwrap();
    assert_eq!(
        (usd(reader.spent_on(yesterday.day, nobody)), usd(reader.spent_on(today.day, nobody))),
        (0.0, 6.875)
    );
}
