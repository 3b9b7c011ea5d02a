//! Replays are traces of their own.

use super::*;

/// One call by reference, one whose answer broke off, one of its own; the recording stays as it was.
#[test]
fn a_replay_is_a_trace_of_its_own() {
    use looptape_core::replay::{AnswerSource, DivergenceCode, Provenance, Rung, WhyRefused};
    let lab = Lab::new();
    let body = b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    lab.record(|r| call(r, "t1", body));
    let recorded = lab.find("t1").unwrap();
    let before = format!("{:?}", lab.reader().exchange(recorded.key, 0).unwrap());
    let of = RecordedCallRef { trace: recorded.key, seq: 0 };
    let report = lab.record(|r| {
        open_replay(r, "child", recorded.key);
        let at_us = Moment::mono_us_now();
        r.repeat(repeated("child", of)).finish_as_recorded(RepeatedEnd {
            head_mono_us: at_us,
            end_mono_us: at_us + 9,
            chunks: vec![Chunk { at_us: at_us + 1, len: 5 }, Chunk { at_us: at_us + 2, len: 2 }],
        });
        let CallEnd::Answered { status, headers, head_mono_us, end_mono_us, cut, .. } = answered(&[]) else {
            panic!()
        };
        r.repeat(repeated("child", of)).finish(CallEnd::Answered {
            status,
            headers,
            head_mono_us,
            end_mono_us,
            cut,
            body: vec![Bytes::from_static(b"{\"a\":")],
            chunks: vec![Chunk { at_us: head_mono_us, len: 5 }],
            ending: Ending::ClientGone,
        });
        let own = r.begin(begin("child", b"{\"model\":\"other\"}"));
        own.came_from(Provenance::Refused(WhyRefused::Diverged(DivergenceCode::ModelDrift)));
        own.finish(answered(&[b"no"]));
        r.repeat(repeated("child", RecordedCallRef { seq: 7, ..of })).finish(answered(&[]));
        r.close_trace(id("child"), Moment::now(), Some(0), None);
    });
    assert_eq!(report.calls, 3);
    let reader = lab.reader();
    let child = reader.load(reader.find(&Selector::parse("child")).unwrap()).unwrap();
    assert_eq!(child.row.parent, Some(("t1".to_owned(), "replay".to_owned())));
    assert!(child.row.is_replay());
    let gone = child.row.status.reasons();
    assert!(gone.len() == 1 && gone[0].contains("is gone"), "{gone:?}");
    let cached = Provenance::Cached { recorded_seq: 0, rung: Rung::Bytes };
    let refused = Provenance::Refused(WhyRefused::Diverged(DivergenceCode::ModelDrift));
    assert_eq!(child.provenance, [(0, cached), (1, cached), (2, refused)].into());

    let exchange = |seq| reader.exchange(child.row.key, seq).unwrap();
    let first = exchange(0);
    assert_eq!(
        (&first.request_body[..], first.request_headers.get("x-stainless-retry-count")),
        (&body[..], Some("1"))
    );
    assert_eq!(first.request_headers.get("authorization"), Some(looptape_core::headers::REDACTED));
    let Outcome::Answered(answer) = &first.outcome else { panic!("{first:?}") };
    assert_eq!(
        (&answer.body[..], answer.chunks.len(), answer.end_us - answer.head_us),
        (&b"{\"a\":1}"[..], 2, 9)
    );
    let Outcome::Answered(cut) = exchange(1).outcome else { panic!("no answer") };
    assert_eq!((&cut.body[..], cut.ending), (&b"{\"a\":"[..], Ending::ClientGone));
    assert_eq!(&exchange(2).request_body[..], b"{\"model\":\"other\"}");

    // What was copied of the facts is what would be derived of the bytes.
    let derived = |seq: usize| {
        let e = exchange(seq as u32);
        let mut request = looptape_core::derive::request(
            &e.provider,
            &e.method,
            &e.path,
            &e.request_headers,
            &e.request_body,
        );
        (request.seq, request.sent_us) = (e.seq, e.sent_us);
        looptape_core::derive::call(&request, &e.outcome)
    };
    assert_eq!(child.facts[0], derived(0));
    assert_eq!(child.facts[0].retry_count, Some(1));
    assert_eq!(child.facts[1], derived(1));
    assert_eq!(child.provenance[&0].source(), AnswerSource::Cached);
    assert_eq!(child.measure().metrics.cost_usd.map(|usd| usd.as_f64()), Some(0.0), "nothing was spent");

    assert_eq!(format!("{:?}", reader.exchange(recorded.key, 0).unwrap()), before);
    assert!(reader.verify(|_, _| {}).unwrap().damage.is_empty());
}

/// A replay is not what `last` means, and lists leave it out unless asked.
#[test]
fn recordings_and_replays_are_told_apart() {
    let lab = Lab::new();
    lab.record(|r| call(r, "t1", b"{}"));
    assert!(matches!(lab.find("last-replay"), Err(FindError::NoReplay)));
    let key = lab.find("last").unwrap().key;
    for name in ["r1", "r2"] {
        lab.record(|r| open_replay(r, name, key));
    }
    let name = |selector: &str| lab.find(selector).map(|row| row.id.to_string()).map_err(|e| e.to_string());
    assert_eq!(name("last"), Ok("t1".to_owned()));
    assert!(name("last~1").unwrap_err().contains("of such traces there is one"));
    assert_eq!((name("last-replay"), name("last-replay~1")), (Ok("r2".to_owned()), Ok("r1".to_owned())));
    let listed = |origin| {
        let rows = lab.reader().traces(&TraceFilter { origin, ..TraceFilter::default() }).unwrap();
        rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(TraceOrigin::Recordings), ["t1"]);
    assert_eq!(listed(TraceOrigin::Replays), ["r2", "r1"]);
    assert_eq!(listed(TraceOrigin::All), ["r2", "r1", "t1"]);
}

#[test]
fn models_in_use_are_those_that_were_called() {
    let lab = Lab::new();
    lab.record(|r| {
        r.begin(begin("t1", PRICED_REQUEST)).finish(answered(&[PRICED_ANSWER]));
        r.begin(begin("t2", PRICED_REQUEST)).finish(answered(&[PRICED_ANSWER]));
        r.begin(begin("t2", br#"{"model":"nobody-knows","messages":[]}"#)).finish(answered(&[b"{}"]));
    });
    let t1 = lab.find("t1").unwrap().key;
    lab.record(|r| {
        open_replay(r, "child", t1);
        let at = Moment::now().mono_us;
        r.repeat(repeated("child", RecordedCallRef { trace: t1, seq: 0 })).finish_as_recorded(RepeatedEnd {
            head_mono_us: at,
            end_mono_us: at,
            chunks: Vec::new(),
        });
    });
    let models = lab.reader().models_in_use().unwrap();
    let got: Vec<_> = models.iter().map(|m| (m.called.as_deref(), m.calls, m.input_tokens)).collect();
    assert_eq!(got, [(Some("gpt-4o-mini"), 2, Some(2_000_000)), (Some("nobody-knows"), 1, None)]);
}
