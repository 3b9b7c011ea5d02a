//! Databases of other versions, and files that are none.

use super::*;

fn open_error(path: &Path) -> String {
    Reader::open(path).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn wrong_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    assert!(open_error(&file("none.db")).contains("record something first"));
    std::fs::write(file("text.db"), "this is no database, whatever its name says; it is long enough")
        .unwrap();
    assert!(open_error(&file("text.db")).contains("is not a looptape database"));
    std::fs::write(file("short.db"), "x").unwrap();
    assert!(open_error(&file("short.db")).contains("is not a looptape database"));
    assert_eq!(std::fs::read(file("short.db")).unwrap(), b"x");
    let other = rusqlite::Connection::open(file("other.db")).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(open_error(&file("other.db")).contains("other tables"));
    let lab = Lab::new();
    lab.record(|r| call(r, "t1", b"{}"));
    rusqlite::Connection::open(&lab.database).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let newer = open_error(&lab.database);
    assert!(newer.contains("newer looptape") && newer.contains("99"), "{newer}");
    let options = RecorderOptions::new(lab.database.clone(), Arc::new(Patterns::builtin()));
    assert!(matches!(Recorder::start(options), Err(OpenError::Newer { .. })));
}

/// Version 1 as it was released, with a trace that was recorded and one that was imported.
#[test]
fn a_database_of_version_1_is_upgraded() {
    let lab = Lab::new();
    let old = lab.of_version(1);
    old.execute_batch(
        "INSERT INTO recorders VALUES (1, 1, 1, 'boot', '0.1.0', 5);
         INSERT INTO traces (id, run, recorder, source, tags, command, started_unix_us, started_mono_us)
           VALUES ('recorded', 1, 1, 'record', '{}', '[]', 10, 10), ('imported', 1, 1, 'import', '{}', '[]', 20, 20);
         INSERT INTO trace_ends (trace, ended_us, idle) VALUES (1, 7, 0), (2, 7, 0)",
    )
    .unwrap();
    drop(old);
    let reader = lab.reader();
    let rows = reader.traces(&TraceFilter::default()).unwrap();
    let got: Vec<_> = rows.iter().map(|row| (row.id.as_str(), row.timing, row.happened_unix_us())).collect();
    assert_eq!(got, [("imported", Timing::OrderOnly, None), ("recorded", Timing::Measured, Some(10))]);
    assert!(rows.iter().all(|row| row.parent.is_none()));
}

/// A version 2 database keeps its content, and ids that were given out before are not given out again.
#[test]
fn content_of_version_2_is_kept() {
    let lab = Lab::new();
    let old = lab.of_version(2);
    let mut put =
        old.prepare("INSERT INTO blobs (digest, codec, size, data) VALUES (?1, 0, ?2, ?3)").unwrap();
    for content in [&b"{\"messages\":[]}"[..], b"\"hello\"", b"gone", b"gone too"] {
        put.execute(rusqlite::params![&Digest::of(content).0[..], content.len() as i64, content]).unwrap();
    }
    drop(put);
    old.execute_batch(
        "INSERT INTO nodes (parent, blob) VALUES (0, 2), (1, 3);
         DELETE FROM blobs WHERE id > 2;
         DELETE FROM nodes WHERE id > 1",
    )
    .unwrap();
    drop(old);
    lab.record(|r| call(r, "t", b"{\"messages\":[\"hello\",\"again\"]}"));
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
    let row = lab.find("t").unwrap();
    let exchange = lab.reader().exchange(row.key, 0).unwrap();
    assert_eq!(exchange.request_body, &b"{\"messages\":[\"hello\",\"again\"]}"[..]);
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    let of = |sql| raw.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!((of("SELECT count(*) FROM blobs"), of("SELECT count(*) FROM nodes")), (2, 1));
    assert_eq!(of("SELECT min(id) FROM bundles"), 5, "the ids to 4 were given out before");
    assert!(of("SELECT value FROM settings WHERE name = 'last_blob'") > 5);
}

/// A call that looptape of schema 6 recorded, with an answer in a pack and facts, and one that never ended.
#[test]
fn calls_of_version_6_are_kept() {
    let lab = Lab::new();
    let old = lab.of_version(6);
    let contents =
        [&b"accept\0*/*\0"[..], b"\x01\x0d{\"messages\":[]}", b"\"hello\"", b"{\"answer\":\"good day\"}"];
    let mut put = old
        .prepare("INSERT INTO blobs (digest, codec, size, pack, place) VALUES (?1, 3, ?2, 9, ?3)")
        .unwrap();
    let mut pack = Vec::new();
    for content in contents {
        let row = rusqlite::params![&Digest::of(content).0[..], content.len() as i64, pack.len() as i64];
        put.execute(row).unwrap();
        pack.extend_from_slice(content);
    }
    drop(put);
    let packed = zstd::bulk::compress(&pack, 1).unwrap();
    let sql = "INSERT INTO packs (id, size, data) VALUES (9, ?1, ?2)";
    old.execute(sql, rusqlite::params![pack.len() as i64, packed]).unwrap();
    let body = b"{\"messages\":[\"hello\"]}";
    old.execute_batch(
        "INSERT INTO nodes (id, parent, blob) VALUES (8, 0, 3);
         UPDATE settings SET value = 9 WHERE name = 'last_blob';
         INSERT INTO recorders VALUES (1, 1, 1, 'boot', '0.1.0', 5);
         INSERT INTO traces (id, run, recorder, source, tags, command, started_unix_us, started_mono_us)
           VALUES ('old', 1, 1, 'record', '{}', '[]', 10, 10), ('replay', 1, 1, 'replay', '{}', '[]', 20, 20);
         INSERT INTO trace_ends (trace, ended_us, idle) VALUES (1, 7, 0)",
    )
    .unwrap();
    let exchange = "INSERT INTO exchanges VALUES (?1, ?2, 3, 13, 'openai', 'POST', '/v1/chat/completions', NULL, \
                    NULL, 1, 2, x'08', ?3, ?4)";
    for (trace, seq) in [(1, 0), (1, 1), (2, 0)] {
        let row = rusqlite::params![trace, seq, &Digest::of(body).0[..], body.len() as i64];
        old.execute(exchange, row).unwrap();
    }
    old.execute_batch(
        "INSERT INTO answers VALUES (1, 0, 6, 'complete', NULL, 200, 4, 1, 4, x'1501');
         INSERT INTO facts (trace, seq, derivation, stream, state, response_bytes, request_digest, history, turns,
                            model) VALUES (1, 0, 0, 0, 'complete', 21, 5, 6, 1, 'of old');
         INSERT INTO replay_calls VALUES (2, 0, 'cached', 0, 1, NULL)",
    )
    .unwrap();
    drop(old);

    let reader = lab.reader();
    assert!(reader.verify(|_, _| {}).unwrap().damage.is_empty());
    let row = lab.find("old").unwrap();
    let exchange = reader.exchange(row.key, 0).unwrap();
    assert_eq!(exchange.request_body, &body[..]);
    let Outcome::Answered(answer) = exchange.outcome else { panic!("it was answered") };
    assert_eq!(answer.body, contents[3]);
    assert!(matches!(reader.exchange(row.key, 1).unwrap().outcome, Outcome::InFlight));
    let of_model = TraceFilter { model: Some("of old".into()), ..TraceFilter::default() };
    assert_eq!(reader.traces(&of_model).unwrap().len(), 1);
    assert_eq!(reader.load(row.clone()).unwrap().facts.len(), 2);
    let replay = lab.find("replay").unwrap();
    assert_eq!(reader.load(replay).unwrap().provenance.len(), 1);

    // The same message in a new trace is found where it is; deleting the old trace takes the rest away.
    lab.record(|r| call(r, "new", body));
    let mut maintenance = Maintenance::open(&lab.database).unwrap();
    maintenance.remove(&row).unwrap();
    assert!(lab.reader().verify(|_, _| {}).unwrap().damage.is_empty());
    let raw = rusqlite::Connection::open(&lab.database).unwrap();
    let left: Vec<i64> = raw
        .prepare("SELECT id FROM blobs ORDER BY id")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(left, [1, 2, 3], "headers, skeleton and message of the replay and the new trace");
    let new = lab.find("new").unwrap();
    assert_eq!(lab.reader().exchange(new.key, 0).unwrap().request_body, &body[..]);
}

/// Costs that version 6 kept do not say by which prices they were made.
#[test]
fn costs_of_version_6_are_made_anew() {
    let lab = Lab::new();
    let old = lab.of_version(6);
    record_one(&old);
    old.execute(
        "INSERT INTO trace_facts VALUES (1, ?1, 1, 1, 0, 1, 0, 7, 99.0, 0)",
        [looptape_core::facts::DERIVATION],
    )
    .unwrap();
    drop(old);
    assert_eq!(listed_usd(&lab.reader()), None, "it has no calls");
}

/// A database of before there were budgets has spent nothing, and takes them.
#[test]
fn version_8_gets_books() {
    let lab = Lab::new();
    drop(lab.of_version(8));
    assert_eq!(lab.reader().spent_on(counted("t1", 1).day, Spender::new()).unwrap(), Usd::ZERO);
    lab.record(|r| r.note_spending(Spender::new(), [(counted("t1", 1), spent(1.0))].into()));
    assert_eq!(lab.reader().spent_on(counted("t1", 1).day, Spender::new()).unwrap().as_f64(), 1.0);
}
