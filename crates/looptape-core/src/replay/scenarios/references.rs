//! Requests that point at stored things: polls, follow-ups by id, uploads.

use super::*;
use crate::digest::Digest;
use bytes::Bytes;

/// A call that is no model call; its answer is told by a word.
fn plain(seq: u32, method: &str, path: &str, body: &str, answer: &str) -> RecordedCall {
    RecordedCall {
        label: CallLabel { seq, step: None, lane: 0 },
        wire: None,
        method: method.to_owned(),
        path: path.to_owned(),
        body: Bytes::copy_from_slice(body.as_bytes()).into(),
        lineage: Lineage::default(),
        sent_us: i64::from(seq) * 10,
        end_us: Some(i64::from(seq) * 10 + 5),
        outcome: RecordedOutcome::Answered { content: Digest::of(answer.as_bytes()) },
    }
}

fn replayer_of(calls: Vec<RecordedCall>) -> Replayer {
    Replayer::new(Tape::new(calls, Completeness::Complete, verbatim), Options::default()).unwrap()
}

fn ask_plain(
    replayer: &mut Replayer,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u32, Rung), DivergenceCode> {
    let lineage = Lineage::default;
    let request = LiveRequest { wire: None, method, path, body: body.as_bytes(), lineage: &lineage };
    match replayer.next(&request) {
        Decision::Serve(served) => {
            replayer.finished(served.entry);
            Ok((served.label.seq, served.rung))
        }
        Decision::Diverged(report) => Err(report.code),
        other => panic!("{other:?}"),
    }
}

fn two_batches() -> Replayer {
    replayer_of(vec![
        plain(0, "GET", "/v1/batches/batch_A1", "", "A is in progress"),
        plain(1, "GET", "/v1/batches/batch_B1", "", "B is in progress"),
        plain(2, "GET", "/v1/batches/batch_A1", "", "A is done"),
        plain(3, "GET", "/v1/batches/batch_B1", "", "B is done"),
    ])
}

#[test]
fn an_id_of_the_recording_stands_for_itself_alone() {
    let mut replayer = two_batches();
    let mut get = |id: &str| ask_plain(&mut replayer, "GET", &format!("/v1/batches/{id}"), "");
    assert_eq!(get("batch_B1"), Ok((1, Rung::Bytes)));
    assert_eq!(get("batch_B1"), Ok((3, Rung::Bytes)));
    assert_eq!(get("batch_B1"), Err(DivergenceCode::Exhausted), "never the other batch's");
    assert_eq!(get("batch_A1"), Ok((0, Rung::Bytes)));
}

#[test]
fn another_id_in_the_place_of_a_recorded_one_stays_with_it() {
    let mut replayer = two_batches();
    let mut get = |id: &str| ask_plain(&mut replayer, "GET", &format!("/v1/batches/{id}"), "");
    assert_eq!(get("batch_X9"), Err(DivergenceCode::Ambiguous), "it may be either");
    let mut replayer = two_batches();
    let mut get = |id: &str| ask_plain(&mut replayer, "GET", &format!("/v1/batches/{id}"), "");
    assert_eq!([get("batch_B1"), get("batch_B1")], [Ok((1, Rung::Bytes)), Ok((3, Rung::Bytes))]);
    assert_eq!([get("batch_X9"), get("batch_X9")], [Ok((0, Rung::Renamed)), Ok((2, Rung::Renamed))]);
    assert_eq!(get("batch_Y9"), Err(DivergenceCode::Exhausted), "what X stands for is taken");
}

#[test]
fn a_file_of_another_run_is_the_recorded_one() {
    let batch = |file: &str| format!(r#"{{"input_file_id":"{file}","endpoint":"/v1/responses"}}"#);
    let mut replayer = replayer_of(vec![
        plain(0, "POST", "/v1/batches", &batch("file-a"), "of a"),
        plain(1, "POST", "/v1/batches", &batch("file-b"), "of b"),
    ]);
    let mut ask = |file: &str| ask_plain(&mut replayer, "POST", "/v1/batches", &batch(file));
    assert_eq!(ask("file-x"), Err(DivergenceCode::Ambiguous), "it may be either");
    assert_eq!(ask("file-b"), Ok((1, Rung::Bytes)));
    assert_eq!(ask("file-x"), Ok((0, Rung::Renamed)));
    assert_eq!(ask("file-b"), Err(DivergenceCode::Exhausted));
}

#[test]
fn equal_follow_ups_are_told_apart_by_what_they_follow() {
    let follow_up = |id: &str, day: &str| {
        let text = format!("It is 2026-11-{day}T10:00:00Z. Go on.");
        json!({"model": "m", "previous_response_id": id, "input": [{"role": "user", "content": text}]})
            .to_string()
    };
    let recorded = |seq, id, answer| RecordedCall {
        wire: Some(Wire::OpenAiResponses),
        ..plain(seq, "POST", "/v1/responses", &follow_up(id, "21"), answer)
    };
    let mut replayer = replayer_of(vec![recorded(0, "resp_a", "of a"), recorded(1, "resp_b", "of b")]);
    for (id, seq) in [("resp_b", 1), ("resp_a", 0)] {
        let lineage = Lineage::default;
        let body = follow_up(id, "22");
        let request = LiveRequest {
            wire: Some(Wire::OpenAiResponses),
            method: "POST",
            path: "/v1/responses",
            body: body.as_bytes(),
            lineage: &lineage,
        };
        let Decision::Serve(served) = replayer.next(&request) else { panic!("{id} has an answer") };
        assert_eq!((served.label.seq, served.rung), (seq, Rung::Masked));
    }
}

#[test]
fn an_upload_matches_whatever_its_boundary() {
    let upload = |boundary: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data\r\n\r\nx\r\n--{boundary}--\r\n")
    };
    let mut replayer = replayer_of(vec![plain(0, "POST", "/v1/files", &upload("one"), "file-1")]);
    assert_eq!(ask_plain(&mut replayer, "POST", "/v1/files", &upload("two")), Ok((0, Rung::Renamed)));
    assert!(ask_plain(&mut replayer, "POST", "/v1/files", "--two\r\n\r\ny\r\n--two--\r\n").is_err());
}
