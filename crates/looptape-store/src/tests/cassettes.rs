//! From the database to files and back, and the files on a disk.

use super::*;
use crate::cassettes::{is_cassette, read, write_file, write_folder};
use looptape_core::assembly::LoopOutcome;
use looptape_core::cassette::{Cassette, Files, TapedCall, TapedEnd, TapedParent, TapedTrace, Writer};
use looptape_core::exchange::{Answer, Exchange};
use looptape_core::labels::Labels;
use looptape_core::replay::{DivergenceCode, Provenance, WhyRefused};
use std::collections::BTreeMap;
use std::io::Write;

impl Lab {
    fn export(&self, name: &str) -> Files {
        self.reader().cassette(&self.find(name).unwrap(), Surroundings::Kept, |_, _| {}).unwrap()
    }

    fn restore(&self, files: Files) -> TraceRow {
        let cassette = Cassette::open(files).unwrap();
        let mut key = None;
        self.record(|recorder| key = Some(recorder.restore(cassette).unwrap()));
        self.reader().row(key.unwrap()).unwrap()
    }
}

/// Everything that a reader says of a trace, but for its row's key and what follows from where it lies.
fn told(lab: &Lab, row: &TraceRow) -> String {
    let reader = lab.reader();
    let trace = reader.load(row.clone()).unwrap();
    let exchanges: Vec<Exchange> =
        reader.seqs(row.key).unwrap().iter().map(|seq| reader.exchange(row.key, *seq).unwrap()).collect();
    let TraceRow { key: _, run: _, superseded: _, .. } = row;
    let row = TraceRow { key: TraceKey(0), run: 1, superseded: false, ..row.clone() };
    let listed = reader.ls_row(trace.row.clone()).unwrap();
    let (facts, indices, provenance) = (&trace.facts, &trace.import_indices, &trace.provenance);
    let environment = reader.environment(trace.row.key).unwrap();
    format!("{row:#?}{exchanges:#?}{facts:#?}{indices:?}{provenance:?}{environment:?}{listed:?}")
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn answered_with(headers: &[(&str, &[u8])], pieces: &[&[u8]], ending: Ending) -> CallEnd {
    let CallEnd::Answered { status, head_mono_us, end_mono_us, body, chunks, cut, .. } = answered(pieces)
    else {
        panic!()
    };
    let headers = RedactedHeaders::redact(headers.iter().copied());
    CallEnd::Answered { status, headers, head_mono_us, end_mono_us, body, chunks, ending, cut }
}

/// A recording with every kind of call.
fn every_kind(recorder: &Recorder) {
    let mut spec = TraceSpec::new(id("t1"), Source::Record, Moment::now());
    spec.labels = Labels {
        agent: Some("agent.py".into()),
        agent_version: Some("1.2".into()),
        tags: BTreeMap::from([("env".into(), "ci".into()), ("nightly".into(), String::new())]),
    };
    spec.command = vec!["python".into(), "agent.py".into()];
    recorder.open_trace(spec);
    let environment = Environment {
        working_folder: Some("/srv/agents".into()),
        local_date: LocalDate::new(2026, 11, 22),
        ..Environment::default()
    };
    recorder.describe_environment(id("t1"), environment);
    for body in bodies_of_a_loop("red") {
        call(recorder, "t1", &body);
    }
    let bodies: [&[u8]; 5] = [b"", b"no json", b"\xff\xfe\x00", b"{\"a\":1e-05}", b"[1, 2]"];
    for body in bodies {
        call(recorder, "t1", body);
    }
    let start = |body: &[u8]| recorder.begin(begin("t1", body));
    let stream: [(&str, &[u8]); 2] =
        [("content-type", b"text/event-stream"), ("date", b"Sun, 22 Nov 2026 03:51:46 GMT")];
    let events: [&[u8]; 3] = [
        b"data: {\"id\":\"chatcmpl-0af7651916cd43dd8448eb211c80319c\"}\n\n",
        b"data: {\"te",
        b"xt\":\"\xc3\xa9\"}\n\n",
    ];
    start(b"{\"stream\":true}").finish(answered_with(&stream, &events, Ending::Complete));
    start(b"{}").finish(answered_with(
        &stream,
        &events[..2],
        Ending::UpstreamReset { error: "reset".into() },
    ));
    start(b"{}").finish(answered_with(&stream, &events[..1], Ending::ClientGone));
    let gzipped = gzip(b"{\"answer\":\"compressed\"}");
    start(b"{}").finish(answered_with(
        &[("content-encoding", b"gzip")],
        &[&gzipped[..9], &gzipped[9..]],
        Ending::Complete,
    ));
    start(b"{}").finish(answered_with(
        &[("content-type", b"image/png")],
        &[b"\x89PNG\r\n\x1a\n\x00"],
        Ending::Complete,
    ));
    let unreachable = Ending::UpstreamUnreachable { error: "refused".into() };
    start(b"{}").finish(CallEnd::NoResponse { at_mono_us: Moment::now().mono_us, ending: unreachable });
    drop(start(b"{\"gone\":true}"));
    let lacking = start(b"{}");
    lacking.lacks("a piece was dropped");
    lacking.lacks("a piece was dropped");
    lacking.finish(answered(&[b"{}"]));
    recorder
        .begin(BeginCall { loop_hint: Some("refunds".into()), import_index: Some(7), ..begin("t1", b"{}") })
        .finish(answered(&[]));
    std::mem::forget(start(b"{\"in\":\"flight\"}"));
}

#[test]
fn every_kind_of_call_survives_the_way_out_and_in() {
    let (here, there) = (Lab::new(), Lab::new());
    here.record(|recorder| {
        every_kind(recorder);
        recorder.close_trace(id("t1"), Moment::now(), Some(3), Some("interrupted".into()));
    });
    let files = here.export("t1");
    let restored = there.restore(files.clone());
    assert_eq!(told(&there, &restored), told(&here, &here.find("t1").unwrap()));
    assert_eq!(there.export("t1"), files);
    assert!(there.reader().verify(|_, _| {}).unwrap().damage.is_empty());
    assert!(files.values().all(|file| !String::from_utf8_lossy(file).contains("sk-proj-Zm9v")));
}

#[test]
fn a_replay_and_what_falls_silent_survive_too() {
    let (here, there) = (Lab::new(), Lab::new());
    here.record(|r| call(r, "t1", b"{}"));
    let recorded = here.find("t1").unwrap();
    here.record(|r| {
        open_replay(r, "child", recorded.key);
        let of = RecordedCallRef { trace: recorded.key, seq: 0 };
        let at_us = Moment::now().mono_us;
        let chunks = vec![Chunk { at_us: at_us + 1, len: 5 }, Chunk { at_us: at_us + 2, len: 2 }];
        r.repeat(repeated("child", of)).finish_as_recorded(RepeatedEnd {
            head_mono_us: at_us,
            end_mono_us: at_us + 9,
            chunks,
        });
        let own = r.begin(begin("child", b"{\"model\":\"other\"}"));
        own.came_from(Provenance::Refused(WhyRefused::Diverged(DivergenceCode::ModelDrift)));
        own.finish(answered(&[b"no"]));
        // Opened by its call, and silent when the recorder ends.
        call(r, "silent", b"{}");
    });
    for name in ["child", "silent"] {
        let files = here.export(name);
        let restored = there.restore(files.clone());
        assert_eq!(told(&there, &restored), told(&here, &here.find(name).unwrap()), "{name}");
        assert_eq!(there.export(name), files);
    }
    let child = there.find("child").unwrap();
    assert_eq!(child.parent, Some(("t1".to_owned(), "replay".to_owned())), "though t1 is not there");
}

fn taped(name: &str) -> TapedTrace {
    TapedTrace {
        id: id(name),
        source: "serve".into(),
        name: None,
        labels: Labels::default(),
        command: Vec::new(),
        parent: Some(TapedParent { trace: id("parent"), why: "fork".into() }),
        started_unix_us: 1_795_751_506_743_003,
        timing: Timing::Stated,
        happened_unix_us: Some(1_790_000_000_000_000),
        byte_exact: false,
        environment: None,
        end: None,
        gaps: BTreeMap::from([("calls were lost".to_owned(), 2)]),
    }
}

/// A trace that nobody closed is one that was cut off, also while its restorer runs.
#[test]
fn a_trace_without_an_end_was_cut_off() {
    let lab = Lab::new();
    let cassette = Cassette::open(Writer::new(taped("t1")).finish()).unwrap();
    lab.record(|recorder| {
        recorder.restore(cassette.clone()).unwrap();
        let status = lab.find("t1").unwrap().status;
        assert!(matches!(&status, TraceStatus::Aborted(reasons) if reasons.len() == 2), "{status:?}");
    });
    let row = lab.find("t1").unwrap();
    assert_eq!(row.end, None);
    assert_eq!((row.source.as_str(), row.timing, row.byte_exact), ("serve", Timing::Stated, false));
    assert_eq!(lab.reader().find_taped(&cassette).unwrap().map(|found| found.key), Some(row.key));
}

/// A live trace of the same id goes on as if nothing had been.
#[test]
fn a_live_trace_of_the_same_id_is_left_alone() {
    let lab = Lab::new();
    let mut writer = Writer::new(TapedTrace {
        end: Some(TapedEnd {
            ended_us: 9,
            idle: true,
            exit_code: None,
            aborted: None,
            outcome: Some(LoopOutcome::Success),
        }),
        ..taped("t1")
    });
    (0..3).for_each(|seq| writer.add(&taped_call(seq * 2, b"{}", Outcome::InFlight)));
    let cassette = Cassette::open(writer.finish()).unwrap();
    lab.record(|recorder| {
        recorder.open_trace(TraceSpec::new(id("t1"), Source::Record, Moment::now()));
        call(recorder, "t1", b"{\"before\":1}");
        recorder.restore(cassette.clone()).unwrap();
        call(recorder, "t1", b"{\"after\":1}");
        recorder.close_trace(id("t1"), Moment::now(), Some(0), None);
    });
    let (live, restored) = (lab.find("t1#1").unwrap(), lab.find("t1#2").unwrap());
    assert_eq!((lab.reader().seqs(live.key).unwrap(), &live.status), (vec![0, 1], &TraceStatus::Complete));
    assert_eq!(lab.reader().seqs(restored.key).unwrap(), [0, 2, 4]);
    let end = restored.end.clone().unwrap();
    assert_eq!((end.ended_us, end.idle, end.outcome), (9, true, Some(LoopOutcome::Success)));
    assert_eq!(lab.reader().find_taped(&cassette).unwrap().map(|found| found.key), Some(restored.key));
}

#[test]
fn secrets_that_somebody_wrote_into_a_cassette_are_not_stored() {
    let lab = Lab::new();
    let mut writer = Writer::new(taped("t1"));
    writer.add(&taped_call(0, b"{\"key\":\"sk-proj-Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFi\"}", Outcome::InFlight));
    let row = lab.restore(writer.finish());
    let body = lab.reader().exchange(row.key, 0).unwrap().request_body;
    assert_eq!(body, &b"{\"key\":\"[[looptape:secret:1]]\"}"[..]);
}

fn taped_call(seq: u32, body: &[u8], outcome: Outcome) -> TapedCall {
    let exchange = Exchange {
        seq,
        sent_us: i64::from(seq) * 10,
        sent_unix_us: 1_795_751_506_743_003 + i64::from(seq),
        provider: Provider::OPENAI,
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        request_headers: RedactedHeaders::redact([("content-type", &b"application/json"[..])]),
        request_body: Bytes::copy_from_slice(body),
        outcome,
    };
    TapedCall { exchange, loop_hint: None, import_index: None, provenance: None, upstream: None }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let pieces = prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), 0..1000i64), 0..5);
    let answer =
        (100..999u16, pieces, 0..50i64, any::<bool>()).prop_map(|(status, pieces, head_us, complete)| {
            let mut at_us = head_us;
            let chunks = pieces.iter().map(|(piece, since)| {
                at_us += since;
                Chunk { at_us, len: piece.len() as u32 }
            });
            let chunks = chunks.collect();
            let body = Bytes::from(pieces.into_iter().flat_map(|(piece, _)| piece).collect::<Vec<u8>>());
            let ending = if complete { Ending::Complete } else { Ending::ClientGone };
            let headers = RedactedHeaders::redact([("date", &b"Sun, 22 Nov 2026 03:51:46 GMT"[..])]);
            Outcome::Answered(Answer { status, headers, body, chunks, head_us, end_us: at_us + 1, ending })
        });
    prop_oneof![
        Just(Outcome::InFlight),
        Just(Outcome::NoResponse { end_us: 7, ending: Ending::UpstreamReset { error: "reset".into() } }),
        answer,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever a cassette holds, the database gives the same cassette again.
    #[test]
    fn a_database_loses_nothing(
        calls in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), prop::option::of("[a-z]{0,9}"), outcome()), 0..6),
        hole in 1..4u32,
    ) {
        let lab = Lab::new();
        let mut writer = Writer::new(taped("t1"));
        for ((body, text, outcome), seq) in calls.into_iter().zip((0..).step_by(hole as usize)) {
            let body = text.map_or(body, |text| format!("{{\"messages\": [{{\"content\": \"{text}\"}}, 1]}}").into_bytes());
            writer.add(&taped_call(seq, &body, outcome));
        }
        let files = writer.finish();
        lab.restore(files.clone());
        prop_assert_eq!(lab.export("t1"), files);
    }
}

/// A cassette of every kind of call, as version 1 wrote it: what it holds is what it held, for ever.
#[test]
fn version_1_is_read_for_ever() {
    const ROOT: &str = "818a536075dd79d5d8bfc0f0a1970c611b30d0281acc3aa4cc5b494552c1c7e4";
    const HELD: &str = "4c997ed1d54708ae0cd359d4f7ebb7bdedfe2fff231da098136b0097f756d4a9";
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests");
    for path in [place.join("version-1"), place.join("version-1.looptape")] {
        let cassette = read(&path).unwrap();
        let mut digest = Digest::of(b"");
        for call in cassette.calls().map(|call| call.unwrap()) {
            let exchange = &call.exchange;
            let (headers, times) =
                (exchange.request_headers.encoded().to_vec(), [exchange.sent_us, exchange.sent_unix_us]);
            let mut parts =
                vec![exchange.method.as_bytes().to_vec(), exchange.path.as_bytes().to_vec(), headers];
            parts.extend([exchange.request_body.to_vec(), format!("{times:?}").into_bytes()]);
            if let Outcome::Answered(answer) = &exchange.outcome {
                let chunks: Vec<_> = answer.chunks.iter().map(|chunk| (chunk.at_us, chunk.len)).collect();
                let times = (answer.status, answer.head_us, answer.end_us, chunks);
                parts.extend([
                    answer.headers.encoded().to_vec(),
                    answer.body.to_vec(),
                    format!("{times:?}").into_bytes(),
                ]);
            }
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            digest = digest.chain(Digest::of_parts(&parts));
        }
        let found = (cassette.len(), cassette.root(), digest.to_hex());
        let expected = (27, ROOT.to_owned(), HELD.to_owned());
        assert_eq!(found, expected, "{}", path.display());
        let lab = Lab::new();
        let row = lab.restore(cassette.into_files());
        assert_eq!((row.labels().agent.as_deref(), row.end.unwrap().exit_code), (Some("agent.py"), Some(3)));
    }
}

#[test]
fn folders_and_files_are_replaced_whole_and_hold_nothing_else() {
    let lab = Lab::new();
    lab.record(every_kind);
    let files = lab.export("t1");
    let place = tempfile::tempdir().unwrap();
    let (folder, file) = (place.path().join("a/b/refund"), place.path().join("c/refund.looptape"));
    for _ in 0..2 {
        write_folder(&files, &folder).unwrap();
        write_file(&files, &id("t1"), &file).unwrap();
    }
    for path in [&folder, &file] {
        assert!(is_cassette(path), "{}", path.display());
        assert_eq!(read(path).unwrap().into_files(), files);
    }
    let beside = |path: &Path| std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!((beside(&folder), beside(&file)), (1, 1), "nothing is left behind");
    assert!(!is_cassette(place.path()) && !is_cassette(&place.path().join("none")));

    std::fs::write(folder.join("notes.md"), "mine").unwrap();
    let said = write_folder(&files, &folder).unwrap_err().to_string();
    assert!(said.contains("holds notes.md, which is no part of a cassette"), "{said}");
    assert_eq!(read(&folder).unwrap().into_files(), files, "what is no part of it is not read either");
    assert!(write_folder(&files, &file).unwrap_err().to_string().contains("is a file"));
    assert!(write_file(&files, &id("t1"), &folder).unwrap_err().to_string().contains("is a folder"));
}

#[test]
fn links_and_pipes_are_not_followed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("k");
    write_folder(&Writer::new(taped("t1")).finish(), &folder).unwrap();
    let secret = place.path().join("secret");
    std::fs::write(&secret, "{}").unwrap();
    std::os::unix::fs::symlink(&secret, folder.join("calls/0001.json")).unwrap();
    let said = read(&folder).unwrap_err().to_string();
    assert!(said.contains("calls/0001.json is a symbolic link"), "{said}");
    std::fs::remove_file(folder.join("calls/0001.json")).unwrap();
    std::fs::remove_dir(folder.join("content")).unwrap();
    std::os::unix::fs::symlink(place.path(), folder.join("content")).unwrap();
    assert!(read(&folder).unwrap_err().to_string().contains("content is a symbolic link"));
    let giant = place.path().join("giant.looptape");
    std::fs::File::create(&giant).unwrap().set_len(2 << 30).unwrap();
    assert!(read(&giant).unwrap_err().to_string().contains("too large"));
    let pipe = place.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(!is_cassette(&pipe) && read(&pipe).unwrap_err().to_string().contains("no regular file"));
}
