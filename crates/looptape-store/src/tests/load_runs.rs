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
    Maintenance::open(&lab.database).unwrap().prune(&retention).unwrap();
    let kept = lab.reader().load_runs(10).unwrap();
    assert_eq!(kept.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["new"]);
}

#[test]
fn a_damaged_report_is_said_to_be_one() {
    let lab = Lab::new();
    keep_load_run(&lab.database, &run("aa", LoadRunKind::Run, 10), "{}".to_owned()).unwrap();
    let database = rusqlite::Connection::open(&lab.database).unwrap();
    database.execute_batch("UPDATE load_runs SET size = 5").unwrap();
    assert_eq!(lab.reader().load_run("aa").unwrap_err().to_string(), "the report of load run aa is damaged");
}
