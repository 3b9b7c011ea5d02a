//! `looptape import`: what it makes of a cassette, and what it says of files that are none.

use crate::env::{Ran, TestEnv};
use looptape_core::exchange::{Exchange, Outcome};
use looptape_core::redact::Patterns;
use looptape_core::{Digest, TraceId};
use looptape_store::{Moment, Reader, Recorder, RecorderOptions, Selector, Source, TraceSpec, TraceStatus};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DB: &str = "looptape.db";
const SECRET: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

/// Two identical requests with answers of their own, then one to a host that nobody knows, with what
/// recorders leave behind: stale headers, credentials, a path that was never encoded.
const CASSETTE: &str = r#"
version: 1
interactions:
- request:
    method: POST
    uri: https://api.openai.com/v1/chat/completions
    headers: {authorization: [Bearer sk-not-a-real-key-1234567890], host: [api.openai.com], origin: [https://example.com]}
    body: &ask '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"again"}]}'
  response:
    status: {code: 200, message: OK}
    headers: {content-type: [application/json], content-encoding: [gzip], content-length: ['7']}
    body: {string: '{"model":"gpt-4o-mini-2024","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"one"}}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}'}
- request: {method: POST, uri: https://api.openai.com/v1/chat/completions, headers: {}, body: *ask}
  response:
    status: {code: 429, message: Too Many Requests}
    headers: {retry-after: ['20']}
    body: {string: '{"error":{"message":"slow down"}}'}
- request: {method: POST, uri: https://api.openai.com/v1/chat/completions, headers: {}, body: *ask}
  response:
    status: {code: 200, message: OK}
    headers: {}
    body: {string: '{"model":"gpt-4o-mini-2024","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"two"}}]}'}
- request: {method: GET, uri: 'http://{intern}:8080/notes/a b/ü?key=abc&q={x}', headers: {}, body: null}
  response:
    status: {code: 200, message: OK}
    headers: {transfer-encoding: [chunked]}
    body: {string: 'token ghp_0123456789abcdefghijABCDEFGHIJ012345 of mine'}
"#;

/// A body that the file holds as a structure.
const PARSED: &str = r#"
interactions:
- request:
    method: POST
    uri: https://api.anthropic.com/v1/messages
    headers: {content-length: ['1']}
    parsed_body: {model: claude-sonnet-4-5, max_tokens: 10, messages: [{role: user, content: hi}]}
  response:
    status: {code: 200, message: OK}
    headers: {}
    parsed_body: {type: message, model: claude-sonnet-4-5, content: [{type: text, text: hello}], stop_reason: end_turn}
version: 1
"#;

fn write(env: &TestEnv, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = env.home().join(name);
    fs::create_dir_all(path.parent().expect("it is below the home folder")).expect("folders can be made");
    fs::write(&path, content).expect("files can be written");
    path
}

fn import(env: &TestEnv, arguments: &[&str]) -> Ran {
    env.looptape(&[&["--db", DB, "import"], arguments].concat())
}

fn entries(ran: &Ran) -> Vec<Value> {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

/// The only entry's reason.
fn refusal(env: &TestEnv, file: &str) -> String {
    let ran = import(env, &["--json", file]);
    let entries = entries(&ran);
    let [entry] = entries.as_slice() else { panic!("{ran:?}") };
    let reason = entry["refused"].as_str().unwrap_or_else(|| panic!("{file} was imported: {ran:?}"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(entry["traces"], json!([]));
    assert!(ran.stderr.contains(file) && ran.stderr.contains(reason), "the message names the file: {ran:?}");
    reason.to_owned()
}

fn exchanges(env: &TestEnv, id: &str) -> Vec<Exchange> {
    let reader = Reader::open(&env.home().join(DB)).expect("there is a database");
    let row = reader.find(&Selector::Id { prefix: id.to_owned(), run: None }).expect("the trace is there");
    assert_eq!(row.status, TraceStatus::Complete);
    let trace = reader.load(row).expect("it can be read");
    let exchange = |seq| reader.exchange(trace.row.key, seq).expect("the call can be read");
    trace.facts.iter().map(|facts| exchange(facts.seq)).collect()
}

#[test]
fn a_cassette_becomes_a_trace_that_replays_itself() {
    let env = TestEnv::new();
    write(&env, "refund agent.yaml", CASSETTE);
    let ran = import(&env, &["--json", "refund agent.yaml"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let id = entries(&ran)[0]["traces"][0].as_str().expect("an id").to_owned();
    assert_eq!(
        entries(&ran),
        [json!({"file": "refund agent.yaml", "traces": [id], "llm_calls": 3, "other_calls": 1,
                "byte_exact": true, "already_imported": false, "missing": [], "refused": null})]
    );
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");

    let reader = Reader::open(&env.home().join(DB)).expect("there is a database");
    let row = reader.find(&Selector::Last(0)).expect("the trace is there");
    assert_eq!((row.id.as_str(), row.source.as_str(), row.byte_exact), (id.as_str(), "import", true));
    assert_eq!(
        (row.name.as_deref(), row.agent.as_deref()),
        (Some("refund agent.yaml"), Some("refund agent"))
    );
    assert_eq!(row.tags.get("container").map(String::as_str), Some("vcrpy"));
    let metrics = reader.load(row).expect("it can be read").measure().metrics;
    assert_eq!(metrics.time.duration_ms, None, "an import holds no times");

    let ran = env.looptape(&["--db", DB, "replay", &id, "--max-rung", "0", "--json"]);
    let check: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    assert_eq!((ran.code, &check["identical"]), (Some(0), &json!(4)), "{check:#}");
}

#[test]
fn stored_calls_hold_no_secret_and_no_stale_header() {
    let env = TestEnv::new();
    let path = write(&env, "cassettes/a.yaml", CASSETTE);
    let ran = import(&env, &["--json", path.to_str().expect("UTF-8")]);
    let id = entries(&ran)[0]["traces"][0].as_str().expect("an id").to_owned();
    let exchanges = exchanges(&env, &id);
    let providers: Vec<&str> = exchanges.iter().map(|e| e.provider.as_str()).collect();
    assert_eq!(providers, ["openai", "openai", "openai", "intern-8080"]);
    assert_eq!(exchanges[3].path, "/notes/a%20b/%C3%BC?key=[redacted]&q=%7Bx%7D");

    let request: Vec<_> = exchanges[0].request_headers.iter().collect();
    assert_eq!(request, [("authorization", "[redacted]"), ("origin", "https://example.com")]);
    let Outcome::Answered(answer) = &exchanges[0].outcome else { panic!("an import has answers") };
    assert_eq!(answer.headers.iter().collect::<Vec<_>>(), [("content-type", "application/json")]);
    let Outcome::Answered(answer) = &exchanges[3].outcome else { panic!("an import has answers") };
    assert!(answer.headers.is_empty() && !answer.body.is_empty());

    for entry in fs::read_dir(env.home()).expect("it can be read") {
        let file = entry.expect("it can be read").path();
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DB)) {
            let bytes = fs::read(&file).expect("it can be read");
            for secret in [SECRET, "sk-not-a-real-key-1234567890"] {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} in {}", file.display());
            }
        }
    }
}

#[test]
fn the_same_bytes_are_imported_once() {
    let env = TestEnv::new();
    write(&env, "a.yaml", CASSETTE);
    write(&env, "copy.yaml", CASSETTE);
    write(&env, "other.yaml", format!("{CASSETTE}\n# another file"));
    let first = entries(&import(&env, &["--json", "a.yaml", "copy.yaml", "other.yaml"]));
    assert_eq!(first[0]["traces"], first[1]["traces"]);
    assert_ne!(first[0]["traces"], first[2]["traces"]);
    let already: Vec<&Value> = first.iter().map(|entry| &entry["already_imported"]).collect();
    assert_eq!(already, [false, true, false]);

    let again = import(&env, &["a.yaml"]);
    assert_eq!(again.code, Some(0));
    let id = first[0]["traces"][0].as_str().expect("an id");
    assert_eq!(again.stdout, format!("a.yaml: trace {id}, 3 model calls, 1 other call, already imported\n"));
    let reader = Reader::open(&env.home().join(DB)).expect("there is a database");
    assert_eq!(reader.traces(&Default::default()).expect("it can be read").len(), 2);
}

#[test]
fn bodies_that_were_parsed_are_said_to_be_written_anew() {
    let env = TestEnv::new();
    write(&env, "p.yaml", PARSED);
    let ran = import(&env, &["p.yaml"]);
    assert!(ran.stdout.contains("1 model call, bodies written anew"), "{ran:?}");
    let again = import(&env, &["--json", "p.yaml"]);
    assert_eq!((&entries(&again)[0]["byte_exact"], ran.code), (&json!(false), Some(0)));
    let id = entries(&again)[0]["traces"][0].as_str().expect("an id").to_owned();
    assert_eq!(env.looptape(&["--db", DB, "replay", &id]).code, Some(0));
}

/// A browser's archive: a call that failed, then the same again with an answer.
const HAR: &str = r#"{"log": {"version": "1.2", "creator": {"name": "Firefox", "version": "1"}, "entries": [
  {"startedDateTime": "2024-02-14T06:53:38.000+00:00", "time": 1500.5, "timings": {"wait": 1000, "receive": 500.5},
   "request": {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "headers": [],
     "postData": {"mimeType": "application/json", "text": "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"}},
   "response": {"status": 200, "headers": [{"name": "content-encoding", "value": "br"}], "content": {"size": 99,
     "text": "{\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"one\"}}]}"}}},
  {"startedDateTime": "2024-02-14T06:53:37.000+00:00", "time": 250,
   "request": {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "headers": [],
     "postData": {"mimeType": "application/json", "text": "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"}},
   "response": {"status": 0, "headers": [], "content": {}}}
]}}"#;

#[test]
fn an_archive_keeps_its_times_and_a_call_without_an_answer_is_a_failed_attempt() {
    let env = TestEnv::new();
    write(&env, "browser.har", HAR);
    let ran = import(&env, &["--json", "browser.har"]);
    assert_eq!((ran.code, &entries(&ran)[0]["byte_exact"]), (Some(0), &json!(true)), "{ran:?}");
    assert_eq!(entries(&import(&env, &["--json", "browser.har"]))[0]["already_imported"], true);
    let shown = env.looptape(&["--db", DB, "show", "last", "--json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(shown["trace"]["started_at"], "2024-02-14T06:53:37Z");
    assert_eq!(shown["trace"]["metrics"]["duration_ms"], json!(2500.5));
    let [step] = shown["steps"].as_array().expect("an array").as_slice() else { panic!("{shown:#}") };
    assert_eq!(
        (&step["import_index"], &step["started_ms"], &step["duration_ms"]),
        (&json!(0), &json!(0.0), &json!(2500.5))
    );
    let attempts = step["attempts"].as_array().expect("an array");
    let of = |field: &str| attempts.iter().map(|a| a[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("status"), [Value::Null, json!(200)]);
    assert_eq!(of("started_ms"), [json!(0.0), json!(1000.0)]);
    assert_eq!(of("duration_ms"), [json!(250.0), json!(1500.5)]);
    let ran = env.looptape(&["--db", DB, "replay", "last", "--max-rung", "0", "--json"]);
    let check: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    assert_eq!((ran.code, &check["identical"]), (Some(0), &json!(2)), "{check:#}");
}

#[test]
fn what_an_interrupted_import_left_is_replaced() {
    let env = TestEnv::new();
    write(&env, "a.yaml", CASSETTE);
    let id = TraceId::of_content(Digest::of(CASSETTE.as_bytes()));
    let database = env.home().join(DB);
    let options = RecorderOptions::new(database.clone(), Arc::new(Patterns::builtin()));
    let (recorder, thread) = Recorder::start(options).expect("a database can be made");
    recorder.open_trace(TraceSpec::new(id.clone(), Source::Import, Moment::now()));
    drop(recorder);
    thread.finish();
    let traces =
        || Reader::open(&database).expect("it is there").traces(&Default::default()).expect("it can be read");
    assert_eq!(traces().len(), 1, "an import that broke off");

    let again = &entries(&import(&env, &["--json", "a.yaml"]))[0];
    assert_eq!((&again["traces"], &again["already_imported"]), (&json!([id]), &json!(false)), "{again:#}");
    let runs: Vec<u32> = traces().iter().map(|row| row.run).collect();
    assert_eq!(runs, [1], "nothing of the first import is left");
    assert_eq!(exchanges(&env, id.as_str()).len(), 4);
    assert_eq!(env.looptape(&["--db", DB, "verify"]).code, Some(0));
}

#[test]
fn folders_are_searched_and_what_is_refused_holds_up_nothing() {
    let env = TestEnv::new();
    write(&env, "tests/cassettes/b/agent.yml", CASSETTE);
    write(&env, "tests/cassettes/a/cut.yaml", &CASSETTE[..CASSETTE.len() / 2]);
    write(&env, "tests/cassettes/package.json", r#"{"name": "no recording"}"#);
    write(&env, "tests/cassettes/README.md", "no recording");
    let ran = import(&env, &["--json", "tests", "missing.yaml"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let got: Vec<(String, bool)> = entries(&ran)
        .iter()
        .map(|e| (e["file"].as_str().expect("a path").to_owned(), e["refused"].is_null()))
        .collect();
    let expected = [
        ("tests/cassettes/a/cut.yaml", false),
        ("tests/cassettes/b/agent.yml", true),
        ("missing.yaml", false),
    ];
    assert_eq!(got, expected.map(|(file, imported)| (file.to_owned(), imported)));
    assert!(ran.stderr.contains("1 file imported, 2 refused, 1 passed over"), "{ran:?}");
}

#[test]
fn bad_input_is_named() {
    let env = TestEnv::new();
    write(&env, "empty.yaml", "");
    write(&env, "cut.yaml", &CASSETTE[..CASSETTE.len() / 2]);
    write(&env, "binary.yaml", b"interactions:\n- \x80\x81");
    write(&env, "settings.json", "{\"a\": 1}");
    write(&env, "har.har", r#"{"log": {"entries": [{"request": {}}]}}"#);
    let bomb: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1)).collect();
    let request = "{method: POST, uri: 'https://h/', parsed_body: *a29}";
    write(
        &env,
        "bomb.yaml",
        format!("a0: &a0 [x]\n{bomb}interactions:\n- request: {request}\n  response: {{status: 200}}\n"),
    );
    write(&env, "lists.yaml", "- ".repeat(1_000_000));
    write(&env, "run.traj", r#"{"trajectory": [], "history": []}"#);
    write(&env, "cut.httprr", "httprr trace v1\n100 100\nPOST https://h/ HTTP/1.1\r\n");
    write(&env, "newer.httprr", "httprr trace v2\n");
    write(
        &env,
        "disk.yml",
        "http_interactions:\n- request: {method: get, uri: u}\n  response: {status: 200, body: {on_disk: f}}\n",
    );
    write(&env, "notes/README.md", "no recording");
    fs::File::create(env.home().join("huge.yaml"))
        .and_then(|file| file.set_len(300 << 20))
        .expect("a sparse file can be made");
    for (file, reason) in [
        ("missing.yaml", "there is no such file"),
        ("empty.yaml/inside.yaml", "the file cannot be read: Not a directory"),
        ("notes", "the folder holds no recordings"),
        ("huge.yaml", "the file has 314572800 bytes, the limit is 268435456"),
        ("empty.yaml", "the file is empty"),
        ("binary.yaml", "not text"),
        ("settings.json", "not a recording in a format known here"),
        ("bomb.yaml", "anchors or nesting make the document far larger than the file"),
        ("lists.yaml", "more than 128 levels deep"),
        ("run.traj", "SWE-agent trajectory: holds no HTTP"),
        ("cut.httprr", "not a whole httprr trace, at byte 16: the request is longer than the file"),
        ("newer.httprr", "httprr trace of version 2: only version 1 can be read"),
        ("disk.yml", "interaction 0 (counted from 0): `response.body` is kept in another file"),
        ("har.har", "interaction 0 (counted from 0) has no `request.method`"),
    ] {
        let got = refusal(&env, file);
        assert!(got.contains(reason), "{file}: {got}");
    }
    assert!(refusal(&env, "cut.yaml").contains("line "), "a cut file is refused with its place");
    assert!(!env.home().join(DB).exists(), "refused files make no database");
}

#[test]
fn a_database_that_cannot_be_used_ends_the_import() {
    let env = TestEnv::new();
    write(&env, "a.yaml", CASSETTE);
    write(&env, DB, "this is no database, though it is long enough to be taken for one at first sight");
    let ran = import(&env, &["a.yaml"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("is not a looptape database") && ran.stdout.is_empty(), "{ran:?}");
    let kept = fs::read_to_string(Path::new(env.home()).join(DB)).expect("it is there");
    assert!(kept.starts_with("this is no database"));
}
