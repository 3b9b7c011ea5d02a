use super::*;
use crate::{LoadRunKind, LoadRunRow, keep_load_run};

fn run(id: &str, kind: LoadRunKind, started_unix_us: i64) -> LoadRunRow {
    LoadRunRow { id: id.into(), kind, scenario: Some("peak".into()), started_unix_us }
}

/// A database from before there were any has none, takes some, and gives back what it was given.
#[test]
fn load_runs_are_kept_in_a_database_of_version_15() {
    let lab = Lab::new();
    drop(lab.of_version(15));
    assert!(lab.reader().load_runs(10).unwrap().is_empty());
    let (first, second) = (run("aa01", LoadRunKind::Run, 10), run("aa02", LoadRunKind::Capacity, 20));
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(100_000));
    keep_load_run(&lab.database, &first, long.clone()).unwrap();
    keep_load_run(&lab.database, &second, "{}".to_owned()).unwrap();
    let reader = lab.reader();
    assert_eq!(reader.load_runs(10).unwrap(), [second.clone(), first.clone()]);
    assert_eq!(reader.load_runs(1).unwrap().len(), 1);
    assert_eq!(reader.load_run("aa01").unwrap(), Some((first, long)));
    assert_eq!(reader.load_run("aa").unwrap(), Some((second.clone(), "{}".to_owned())), "the latest");
    assert_eq!(reader.load_run("a%").unwrap(), None);
    assert!(keep_load_run(&lab.database, &second, "{}".to_owned()).is_err(), "no run is replaced");
}

#[test]
fn load_runs_go_with_the_traces_of_their_time() {
    let lab = Lab::new();
    keep_load_run(&lab.database, &run("old", LoadRunKind::Vary, 10), "{}".to_owned()).unwrap();
    keep_load_run(&lab.database, &run("new", LoadRunKind::Run, 30), "{}".to_owned()).unwrap();
    let retention = Retention { started_before_unix_us: Some(20), max_bytes: None };
    let mut maintenance = Maintenance::open(&lab.database).unwrap();
    for report in [maintenance.foresee(&retention).unwrap(), maintenance.prune(&retention).unwrap()] {
        assert_eq!((report.load_runs, report.traces), (vec!["old".to_owned()], Vec::new()));
    }
    assert_eq!(ids(&lab), ["new"]);
}

fn ids(lab: &Lab) -> Vec<String> {
    lab.reader().load_runs(10).unwrap().into_iter().map(|row| row.id).collect()
}

/// A report of half a megabyte or so that does not compress well.
fn big_report(seed: u32) -> String {
    let words = (0..8000).map(|n: u32| Digest::of(&[seed, n].map(u32::to_le_bytes).concat()).to_hex());
    serde_json::json!(words.collect::<Vec<_>>()).to_string()
}

#[test]
fn the_oldest_go_where_a_database_is_too_large_whatever_they_are() {
    let lab = Lab::new();
    lab.record(|recorder| call(recorder, "trace", b"{}"));
    for (id, at) in [("first", 10), ("second", 20), ("third", 30)] {
        keep_load_run(&lab.database, &run(id, LoadRunKind::Run, at.into()), big_report(at)).unwrap();
    }
    let mut maintenance = Maintenance::open(&lab.database).unwrap();
    let size = maintenance.prune(&Retention::default()).unwrap().bytes_before;
    let retention = Retention { started_before_unix_us: None, max_bytes: Some(size - 100_000) };
    let foreseen = maintenance.foresee(&retention).unwrap();
    assert_eq!(ids(&lab).len(), 3, "what is foreseen is not done");
    let report = maintenance.prune(&retention).unwrap();
    assert_eq!((&report.load_runs, &report.traces), (&vec!["first".to_owned()], &Vec::new()));
    assert_eq!(report.load_runs, foreseen.load_runs);
    assert!(report.bytes_after <= size - 100_000, "its pages are given back: {report:?}");
    let nothing = Retention { started_before_unix_us: None, max_bytes: Some(1) };
    let report = maintenance.prune(&nothing).unwrap();
    assert_eq!(
        (report.load_runs, report.traces),
        (vec!["second".into(), "third".into()], vec!["trace".into()]),
        "the rest"
    );
    assert!(ids(&lab).is_empty());
}

#[test]
fn a_damaged_report_is_said_to_be_one() {
    let lab = Lab::new();
    keep_load_run(&lab.database, &run("aa", LoadRunKind::Run, 10), "{}".to_owned()).unwrap();
    let database = rusqlite::Connection::open(&lab.database).unwrap();
    database.execute_batch("UPDATE load_runs SET size = 5").unwrap();
    assert_eq!(lab.reader().load_run("aa").unwrap_err().to_string(), "the report of load run aa is damaged");
    keep_load_run(&lab.database, &run("bb", LoadRunKind::Run, 20), "{}".to_owned()).unwrap();
    keep_load_run(&lab.database, &run("cc", LoadRunKind::Run, 30), "no JSON".to_owned()).unwrap();
    let report = lab.reader().verify(|_, _| {}).unwrap();
    assert_eq!(report.load_runs, 3);
    let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
    assert_eq!(damage, ["load run cc: its report cannot be read", "load run aa: its report cannot be read"]);
}
