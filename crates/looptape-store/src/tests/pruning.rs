//! What is deleted, what stays, and how damage is found.

use super::*;

#[test]
fn pruning_keeps_what_others_share() {
    let lab = Lab::new();
    let shared = "x".repeat(3000);
    let body = |tail: &str| format!("{{\"messages\":[\"{shared}\",\"{tail}\"]}}").into_bytes();
    lab.record(|r| call(r, "old", &body("one")));
    let between = Moment::now().unix_us;
    lab.record(|r| call(r, "new", &body("two")));
    let mut maintenance = Maintenance::open(&lab.database).unwrap();
    let retention = Retention { started_before_unix_us: Some(between), max_bytes: None };
    assert_eq!(maintenance.foresee(&retention).unwrap().traces, ["old"]);
    assert_eq!(maintenance.prune(&retention).unwrap().traces, ["old"]);
    assert!(matches!(lab.find("old"), Err(FindError::Unknown { .. })));
    let row = lab.find("new").unwrap();
    assert_eq!(lab.reader().exchange(row.key, 0).unwrap().request_body, body("two"));
    let verified = lab.reader().verify(|_, _| {}).unwrap();
    assert_eq!((verified.damage, verified.exchanges), (vec![], 1));
    // A recorder that goes on after pruning must not refer to what is gone.
    lab.record(|r| call(r, "next", &body("one")));
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
}

#[test]
fn pruning_while_recording_voids_remembered_ids() {
    let lab = Lab::new();
    let body = |n: u32| format!("{{\"messages\":[\"{}\",{n}]}}", "y".repeat(2000)).into_bytes();
    lab.record(|r| call(r, "gone", &body(1)));
    lab.record(|r| {
        call(r, "kept", &body(1));
        r.flush();
        let all = Retention { started_before_unix_us: Some(i64::MAX), max_bytes: None };
        assert_eq!(Maintenance::open(&lab.database).unwrap().prune(&all).unwrap().traces, ["gone"]);
        call(r, "kept", &body(2));
    });
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
    let row = lab.find("kept").unwrap();
    assert_eq!(lab.reader().exchange(row.key, 1).unwrap().request_body, body(2));
}

#[test]
fn size_limits_take_the_oldest_first() {
    let lab = Lab::new();
    for n in 0..8u32 {
        let noise: String = (0..80_000u32)
            .map(|i| char::from(33 + (Digest::of(&(n * 100_000 + i).to_le_bytes()).0[0] % 90)))
            .collect();
        lab.record(|r| call(r, &format!("t{n}"), noise.as_bytes()));
    }
    let retention = Retention { started_before_unix_us: None, max_bytes: Some(800_000) };
    let report = Maintenance::open(&lab.database).unwrap().prune(&retention).unwrap();
    assert!(!report.traces.is_empty() && report.traces.len() < 8 && report.traces[0] == "t0", "{report:?}");
    assert!(report.bytes_after <= 800_000 && report.bytes_after < report.bytes_before, "{report:?}");
    assert!(lab.find("t7").is_ok());
}

#[test]
fn damage_is_found_and_named() {
    let lab = Lab::new();
    lab.record(|r| call(r, "t1", format!("{{\"messages\":[\"{}\"]}}", "z".repeat(500)).as_bytes()));
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    // Written anew, uncompressed: so that it is the contents that are damaged.
    raw.execute("UPDATE bundles SET codec = 0, data = zeroblob(size)", []).unwrap();
    let report = lab.reader().verify(|_, _| {}).unwrap();
    assert!(report.damage.iter().any(|d| matches!(d, Damage::Blob { .. })), "{report:?}");
    raw.execute("UPDATE bundles SET codec = 1", []).unwrap();
    let report = lab.reader().verify(|_, _| {}).unwrap();
    assert!(report.damage.iter().any(|d| matches!(d, Damage::Bundle { .. })), "{report:?}");
    assert!(
        report.damage.iter().any(|d| matches!(d, Damage::Exchange { trace, seq: 0, .. } if trace == "t1"))
    );
    let row = lab.find("t1").unwrap();
    assert!(matches!(lab.reader().exchange(row.key, 0), Err(ReadError::Damaged { seq: 0, .. })));
}

/// Replays and the loops of load runs are no recordings to lists, and recorded all the same.
#[test]
fn whatever_was_recorded_is_verified() {
    let lab = Lab::new();
    lab.record(|r| {
        for (name, source) in [("t1", Source::Record), ("t2", Source::Load), ("t3", Source::Replay)] {
            r.open_trace(TraceSpec::new(id(name), source, Moment::now()));
            call(r, name, br#"{"messages":["hi"]}"#);
        }
    });
    let report = lab.reader().verify(|_, _| {}).unwrap();
    assert_eq!((report.traces, report.exchanges, report.damage.len()), (3, 3, 0));
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    raw.execute("UPDATE calls SET request_blake3 = zeroblob(32)", []).unwrap();
    let report = lab.reader().verify(|_, _| {}).unwrap();
    let damaged =
        |name| report.damage.iter().any(|d| matches!(d, Damage::Exchange { trace, .. } if trace == name));
    assert!(["t1", "t2", "t3"].into_iter().all(damaged), "{report:?}");
}
