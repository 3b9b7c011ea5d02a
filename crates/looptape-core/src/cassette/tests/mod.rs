//! Cassettes as a whole: what goes in comes out, what people see of it, and what is refused.

mod hostile;
mod round_trip;

use super::*;
use crate::TraceId;
use crate::assembly::{LoopOutcome, Timing};
use crate::exchange::{Answer, Chunk, Ending, Exchange, Outcome};
use crate::headers::RedactedHeaders;
use crate::labels::Labels;
use crate::provider::Provider;
use crate::replay::Environment;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn headers(pairs: &[(&str, &str)]) -> RedactedHeaders {
    RedactedHeaders::redact(pairs.iter().map(|(name, value)| (*name, value.as_bytes())))
}

const STARTED_UNIX_US: i64 = 1_795_751_506_743_003;

fn trace() -> TapedTrace {
    TapedTrace {
        id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        source: "record".into(),
        name: None,
        labels: Labels {
            agent: Some("refund.py".into()),
            agent_version: None,
            tags: BTreeMap::from([("env".into(), "ci".into())]),
        },
        command: vec!["python".into(), "refund.py".into()],
        parent: None,
        started_unix_us: STARTED_UNIX_US,
        timing: Timing::Measured,
        happened_unix_us: None,
        byte_exact: true,
        environment: Some(Environment {
            working_folder: Some("/srv/agents/refund".into()),
            ..Environment::default()
        }),
        end: Some(TapedEnd {
            ended_us: 2_000_000,
            idle: false,
            exit_code: Some(0),
            aborted: None,
            outcome: Some(LoopOutcome::Success),
        }),
        gaps: BTreeMap::new(),
    }
}

fn call(seq: u32, body: &Value, events: &[String]) -> TapedCall {
    let sent_us = i64::from(seq) * 900_000;
    let lens: Vec<u32> = events.iter().map(|event| event.len() as u32).collect();
    let chunks = (1..).zip(lens).map(|(n, len)| Chunk { at_us: sent_us + 130_000 + n * 20_000, len });
    let answer = Answer {
        status: 200,
        headers: headers(&[
            ("content-type", "text/event-stream"),
            ("date", "Sun, 22 Nov 2026 03:51:46 GMT"),
            ("x-request-id", &format!("req_{seq}")),
        ]),
        body: Bytes::from(events.concat()),
        chunks: chunks.collect(),
        head_us: sent_us + 130_000,
        end_us: sent_us + 800_000,
        ending: Ending::Complete,
    };
    TapedCall {
        exchange: Exchange {
            seq,
            sent_us,
            sent_unix_us: STARTED_UNIX_US + sent_us + 3,
            provider: Provider::OPENAI,
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            request_headers: headers(&[("authorization", "Bearer x"), ("user-agent", "OpenAI/Python 2.3")]),
            request_body: Bytes::from(serde_json::to_vec(body).unwrap()),
            outcome: Outcome::Answered(answer),
        },
        loop_hint: None,
        import_index: None,
        provenance: None,
        upstream: None,
    }
}

fn event(id: &str, created: i64, delta: &str) -> String {
    let event = json!({"id": id, "object": "chat.completion.chunk", "created": created,
        "choices": [{"index": 0, "delta": {"content": delta}}]});
    format!("data: {event}\n\n")
}

/// Two calls of a loop, as one run makes them.
fn calls(salt: &str, at: i64) -> Vec<TapedCall> {
    let id = format!("chatcmpl-{salt}8f3a0c1d2e4b5a69");
    let tool = format!("call_{salt}9pw1qnScqSBvVRrYtJmEXQGl");
    let system = json!({"role": "system", "content": "You refund orders.\nBe brief.\n"});
    let user = json!({"role": "user", "content": format!("Refund order 17 in /srv/agents/refund, request {salt}0af7651916cd43dd8448eb211c80319c.")});
    let asked = json!({"role": "assistant", "tool_calls": [{"id": tool, "type": "function",
        "function": {"name": "refund", "arguments": "{\"order\":17}"}}]});
    let result = json!({"role": "tool", "tool_call_id": tool, "content": "refunded"});
    let tools =
        json!([{"type": "function", "function": {"name": "refund", "description": "Refunds an order."}}]);
    let body = |messages: Value| json!({"model": "gpt-4o-mini", "messages": messages, "tools": tools, "stream": true, "stop": ["END"]});
    vec![
        call(
            0,
            &body(json!([system, user])),
            &[event(&id, at, "Let"), event(&id, at, " me"), "data: [DONE]\n\n".into()],
        ),
        call(1, &body(json!([system, user, asked, result])), &[event(&format!("{id}2"), at + 1, "Done.")]),
    ]
}

fn written(trace: &TapedTrace, calls: &[TapedCall]) -> Files {
    let mut writer = Writer::new(trace.clone());
    calls.iter().for_each(|call| writer.add(call));
    writer.finish()
}

fn text<'f>(files: &'f Files, name: &str) -> &'f str {
    let file = &files[&FileName::parse(name).unwrap_or_else(|| panic!("{name}"))];
    std::str::from_utf8(file).unwrap()
}

fn read(files: Files) -> Result<(TapedTrace, Vec<TapedCall>), CassetteError> {
    let cassette = Cassette::open(files)?;
    let calls = cassette.calls().collect::<Result<_, _>>()?;
    Ok((cassette.trace().clone(), calls))
}

#[test]
fn what_people_review() {
    let files = written(&trace(), &calls("a", 1_795_751_507));
    let names: Vec<&str> = files.keys().map(FileName::as_str).collect();
    insta::assert_snapshot!(names.join("\n"), @r#"
    .gitattributes
    calls/0001.json
    calls/0001.sse
    calls/0002.json
    calls/0002.sse
    checksums.txt
    content/45035e15262f2b71aace2118517f54a6.json
    content/541ea4f961b94cd95706bd05a86a13fe.json
    content/7723f43f2d3bce4b4a8939ec81023aa4.json
    content/b8ea39308bfe29589a7f306052e8a30d.json
    content/fd7d08296d1ca68ef47f38b9ddf86c6d.json
    manifest.json
    timings.json
    "#);
    insta::assert_snapshot!(text(&files, "manifest.json"), @r#"
    {
      "calls": 2,
      "format": "looptape cassette",
      "root": "f84210894a89a78b97c4162eaf1b87f0634f4f4a309f90e7791ef4791e0e37ec",
      "trace": {
        "agent": "refund.py",
        "byte_exact": true,
        "command": [
          "python",
          "refund.py"
        ],
        "end": {
          "exit_code": 0,
          "idle": false,
          "outcome": "success"
        },
        "environment": {
          "git": null,
          "home": null,
          "host": null,
          "kernel": null,
          "local_date": null,
          "temporary_folder": null,
          "user": null,
          "working_folder": "/srv/agents/refund"
        },
        "id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "name": null,
        "source": "record",
        "started": "2026-11-27T03:51:46.743003Z",
        "tags": {
          "env": "ci"
        },
        "timing": "measured"
      },
      "values": {
        "0001.date": "Sun, 22 Nov 2026 03:51:46 GMT",
        "0001.epoch": "1795751507",
        "0001.id": "a0af7651916cd43dd8448eb211c80319c",
        "0001.id.2": "a8f3a0c1d2e4b5a69",
        "0001.x-request-id": "req_0",
        "0002.date": "Sun, 22 Nov 2026 03:51:46 GMT",
        "0002.epoch": "1795751508",
        "0002.id": "a9pw1qnScqSBvVRrYtJmEXQGl",
        "0002.id.2": "a8f3a0c1d2e4b5a692",
        "0002.x-request-id": "req_1",
        "working_folder": "/srv/agents/refund"
      },
      "version": 1,
      "written_by": "looptape 0.1.0"
    }
    "#);
    insta::assert_snapshot!(text(&files, "calls/0001.json"), @r#"
    {
      "call": 1,
      "provider": "openai",
      "request": {
        "body": {
          "by_reference": [
            "messages",
            "tools"
          ],
          "json": {
            "model": "gpt-4o-mini",
            "messages": [
              "45035e15262f2b71aace2118517f54a6",
              "541ea4f961b94cd95706bd05a86a13fe"
            ],
            "tools": [
              "b8ea39308bfe29589a7f306052e8a30d"
            ],
            "stream": true,
            "stop": [
              "END"
            ]
          },
          "style": "compact"
        },
        "headers": [
          "authorization: [redacted]",
          "user-agent: OpenAI/Python 2.3"
        ],
        "method": "POST",
        "path": "/v1/chat/completions"
      },
      "response": {
        "body": {
          "file": "0001.sse"
        },
        "ending": "complete",
        "headers": [
          "content-type: text/event-stream",
          "date: ⟦0001.date⟧",
          "x-request-id: ⟦0001.x-request-id⟧"
        ],
        "status": 200
      }
    }
    "#);
    insta::assert_snapshot!(text(&files, "calls/0001.sse"), @r#"
    data: {"id":"chatcmpl-⟦0001.id.2⟧","object":"chat.completion.chunk","created":⟦0001.epoch⟧,"choices":[{"index":0,"delta":{"content":"Let"}}]}

    data: {"id":"chatcmpl-⟦0001.id.2⟧","object":"chat.completion.chunk","created":⟦0001.epoch⟧,"choices":[{"index":0,"delta":{"content":" me"}}]}

    data: [DONE]
    "#);
    insta::assert_snapshot!(text(&files, "calls/0002.json"), @r#"
    {
      "call": 2,
      "provider": "openai",
      "request": {
        "body": {
          "by_reference": [
            "messages",
            "tools"
          ],
          "json": {
            "model": "gpt-4o-mini",
            "messages": {
              "call": 1,
              "then": [
                "fd7d08296d1ca68ef47f38b9ddf86c6d",
                "7723f43f2d3bce4b4a8939ec81023aa4"
              ]
            },
            "tools": {
              "call": 1
            },
            "stream": true,
            "stop": [
              "END"
            ]
          },
          "style": "compact"
        },
        "headers": [
          "authorization: [redacted]",
          "user-agent: OpenAI/Python 2.3"
        ],
        "method": "POST",
        "path": "/v1/chat/completions"
      },
      "response": {
        "body": {
          "file": "0002.sse"
        },
        "ending": "complete",
        "headers": [
          "content-type: text/event-stream",
          "date: ⟦0002.date⟧",
          "x-request-id: ⟦0002.x-request-id⟧"
        ],
        "status": 200
      }
    }
    "#);
    insta::assert_snapshot!(text(&files, "timings.json"), @r#"
    {
      "calls": [
        {"call":1,"chunks":[[147,20000],[147,20000],[14,20000]],"drift_us":3,"end_us":800000,"head_us":130000,"sent_us":0},
        {"call":2,"chunks":[[150,20000]],"drift_us":3,"end_us":1700000,"head_us":1030000,"sent_us":900000}
      ],
      "ended_us": 2000000
    }
    "#);
    let contents = files.iter().filter(|(name, _)| name.is_content());
    let contents: Vec<&str> = contents.map(|(_, file)| std::str::from_utf8(file).unwrap()).collect();
    insta::assert_snapshot!(contents.concat(), @r#"
    {
      "role": "system",
      "content": {
        "$lines": [
          "You refund orders.",
          "Be brief.",
          ""
        ]
      }
    }
    {
      "role": "user",
      "content": "Refund order 17 in ⟦working_folder⟧, request ⟦0001.id⟧."
    }
    {
      "role": "tool",
      "tool_call_id": "call_⟦0002.id⟧",
      "content": "refunded"
    }
    {
      "type": "function",
      "function": {
        "name": "refund",
        "description": "Refunds an order."
      }
    }
    {
      "role": "assistant",
      "tool_calls": [
        {
          "id": "call_⟦0002.id⟧",
          "type": "function",
          "function": {
            "name": "refund",
            "arguments": "{\"order\":17}"
          }
        }
      ]
    }
    "#);
}

#[test]
fn a_second_recording_differs_in_few_files() {
    let first = written(&trace(), &calls("a", 1_795_751_507));
    let later = TapedTrace { started_unix_us: STARTED_UNIX_US + 3_600_000_000, ..trace() };
    let mut again = calls("b", 1_795_755_107);
    again[1].exchange.sent_us += 77;
    let second = written(&later, &again);
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&first), names(&second), "no file comes or goes");
    let changed = first.iter().filter(|(name, file)| second[*name] != **file);
    let changed: Vec<&str> = changed.map(|(name, _)| name.as_str()).collect();
    assert_eq!(changed, ["checksums.txt", "manifest.json", "timings.json"]);
}

/// A message that changes is one new content, and one line where it first stands.
#[test]
fn a_changed_prompt_is_one_line() {
    let first = written(&trace(), &calls("a", 1_795_751_507));
    let mut other = calls("a", 1_795_751_507);
    for call in &mut other {
        let body = String::from_utf8(call.exchange.request_body.to_vec()).unwrap();
        call.exchange.request_body = Bytes::from(body.replace("Be brief.", "Be kind."));
    }
    let second = written(&trace(), &other);
    assert_eq!(text(&first, "calls/0002.json"), text(&second, "calls/0002.json"));
    let lines = |files| text(files, "calls/0001.json").lines().map(str::to_owned).collect::<Vec<_>>();
    let differ = lines(&first).iter().zip(&lines(&second)).filter(|(a, b)| a != b).count();
    assert_eq!(differ, 1);
}

#[test]
fn one_file_and_many_are_the_same() {
    let files = written(&trace(), &calls("a", 1_795_751_507));
    let archive = pack(&files, &trace().id);
    assert!(is_archive(&archive));
    assert_eq!(archive, pack(&files, &trace().id));
    assert_eq!(unpack(&archive).unwrap(), files);
}
