use super::*;
use crate::assembly::TraceSpan;
use crate::assembly::example::{Example, call};
use crate::cost::PriceBook;
use crate::facts::CallFacts;
use crate::metrics::Measured;
use serde_json::json;

fn meta() -> TraceMeta {
    TraceMeta {
        id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        name: None,
        agent: Some("weather".to_owned()),
        agent_version: Some("1.4".to_owned()),
        tags: vec!["team=a".to_owned()],
        started_unix_us: Some(1_793_491_200_000_000),
        status: TraceStatus::Complete,
        status_reasons: Vec::new(),
        parent: None,
    }
}

fn facts() -> Vec<CallFacts> {
    let mut first = call(0, 10, 100).history(1).used(1000, 0, 100).asks(&["a", "b"]);
    (first.stream, first.first_content_us, first.last_output_us) = (true, Some(50_500), Some(109_000));
    let mut refused = call(1, 150, 10).after(1, 2).carries(&["a", "b"]).failed(429);
    refused.retry_after_ms = Some(500);
    vec![
        first,
        refused,
        call(2, 660, 100).after(1, 2).carries(&["a", "b"]).retries(Some(1)).used(1200, 1000, 50),
        call(3, 700, 5).plain(),
    ]
}

fn content(seq: u32) -> CallContent {
    let asked = |id: &str| ToolCall {
        id: Some(id.to_owned()),
        name: format!("tool_{id}"),
        arguments: json!({"of": id}),
    };
    let result = |id: &str, is_error| ToolResult {
        call_id: Some(id.to_owned()),
        name: None,
        content: json!(format!("result of {id}")),
        is_error,
    };
    match seq {
        0 => CallContent { tool_calls: vec![asked("a"), asked("b")], ..CallContent::default() },
        2 => CallContent {
            text: Some("done".to_owned()),
            tool_results: vec![result("b", true), result("a", false)],
            ..CallContent::default()
        },
        _ => CallContent::default(),
    }
}

fn shown(span: TraceSpan) -> Value {
    let facts = facts();
    let measured = Measured::of(&facts, span, meta().started_unix_us, &PriceBook::listed());
    serde_json::to_value(trace_view(meta(), (&facts, &[]), &measured, content)).unwrap()
}

#[test]
fn the_contract() {
    let view = shown(TraceSpan::closed(800_000));
    assert_eq!(view["format"], 1);
    let head: Vec<&str> = view["trace"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        head,
        [
            "id",
            "name",
            "agent",
            "agent_version",
            "tags",
            "started_at",
            "status",
            "status_reasons",
            "parent",
            "metrics"
        ]
    );
    assert_eq!(view["trace"]["started_at"], "2026-11-01T00:00:00Z");
    assert_eq!(view["trace"]["status"], "complete");
    let labels: Vec<Value> = view["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| json!([e["step"], e["sub"], e["kind"], e["started_ms"], e["duration_ms"]]))
        .collect();
    assert_eq!(
        Value::from(labels),
        json!([
            [1, null, "llm", 10.0, 100.0],
            [1, 1, "tool", 110.0, 40.0],
            [1, 2, "tool", 110.0, 40.0],
            [2, null, "llm", 150.0, 610.0],
            [null, null, "other", 700.0, 5.0]
        ])
    );
}

#[test]
fn a_captured_call_stands_below_the_step_whose_tool_made_it() {
    let captured = |at_ms: i64| {
        let endpoint = "GET https://api.example.com/v1/x".to_owned();
        CallFacts { endpoint, ..call(0, at_ms, 5).plain() }
    };
    let mut facts = facts();
    facts.splice(1..1, [captured(120)]);
    facts.push(captured(770));
    (0..).zip(&mut facts).for_each(|(seq, fact)| fact.seq = seq);
    let span = TraceSpan::closed(800_000);
    let measured = Measured::of(&facts, span, None, &PriceBook::listed());
    let view = trace_view(meta(), (&facts, &[]), &measured, |_| CallContent::default());
    let of_calls = view.steps.iter().filter(|entry| entry.kind == EntryKind::Other);
    let parents: Vec<Option<u32>> = of_calls.map(|entry| entry.parent_step.map(|step| step.0)).collect();
    assert_eq!(
        parents,
        [Some(1), None, None],
        "embeddings are not captured, and the last belongs to no tool"
    );
}

#[test]
fn a_model_step() {
    let view = shown(TraceSpan::closed(800_000));
    let mut step = view["steps"][3].clone();
    step["usage"].take();
    insta::assert_snapshot!(serde_json::to_string_pretty(&step).unwrap(), @r#"
    {
      "step": 2,
      "sub": null,
      "kind": "llm",
      "loop": 1,
      "lane": 0,
      "parent_step": 1,
      "provider": "openai",
      "wire": "openai.chat",
      "endpoint": "POST /v1/chat/completions",
      "model": "gpt-4o-mini",
      "response_model": "gpt-4o-mini-2024-07-18",
      "stream": false,
      "import_index": null,
      "started_ms": 150.0,
      "duration_ms": 610.0,
      "ttft_ms": null,
      "tpot_ms": null,
      "finish_reason": "stop",
      "text": "done",
      "tool_calls": [],
      "usage": null,
      "cost": {
        "usd": 0.000135,
        "price_source": "genai-prices (openai/gpt-4o-mini)",
        "price_version": "genai-prices 0.2.1",
        "at_least": false
      },
      "tool": null,
      "attempts": [
        {
          "attempt": 1,
          "call": 1,
          "status": 429,
          "state": "complete",
          "retry_layer": null,
          "retry_after_ms": 500,
          "backoff_ms": null,
          "started_ms": 150.0,
          "duration_ms": 10.0,
          "request_bytes": 1000,
          "response_bytes": 500
        },
        {
          "attempt": 2,
          "call": 2,
          "status": 200,
          "state": "complete",
          "retry_layer": "sdk",
          "retry_after_ms": null,
          "backoff_ms": 500.0,
          "started_ms": 660.0,
          "duration_ms": 100.0,
          "request_bytes": 1000,
          "response_bytes": 500
        }
      ]
    }
    "#);
    assert_eq!(view["steps"][0]["ttft_ms"], 40.5);
    assert_eq!(view["steps"][0]["usage"]["uncached_input"], 1000);
}

#[test]
fn tool_calls_find_their_arguments_and_results() {
    let view = shown(TraceSpan::closed(800_000));
    assert_eq!(
        view["steps"][1]["tool"],
        json!({"name": "tool_a", "call_id": "a", "arguments": {"of": "a"}, "result": "result of a",
               "outcome": "ok", "source": "inferred"})
    );
    assert_eq!(view["steps"][2]["tool"]["outcome"], "error");
    let unanswered = Measured::of(&facts()[..1], TraceSpan::closed(800_000), None, &PriceBook::listed());
    let view = trace_view(meta(), (&facts()[..1], &[]), &unanswered, content);
    let tool = view.steps[1].tool.as_ref().unwrap();
    assert_eq!((&tool.result, tool.outcome), (&None, None));
    assert_eq!(view.steps[1].duration_ms, None);
}

#[test]
fn results_without_ids_are_found_by_name_and_place() {
    let mut facts = facts();
    for ask in &mut facts[0].asks {
        (ask.id, ask.name) = (None, "get_weather".to_owned());
    }
    for fact in &mut facts[1..3] {
        fact.carries = vec!["get_weather".to_owned(), "get_weather".to_owned()];
    }
    let measured = Measured::of(&facts, TraceSpan::closed(800_000), None, &PriceBook::listed());
    let by_name = |seq| {
        let mut content = content(seq);
        for result in &mut content.tool_results {
            (result.call_id, result.name) = (None, Some("get_weather".to_owned()));
        }
        content
    };
    let view = trace_view(meta(), (&facts, &[]), &measured, by_name);
    let results: Vec<_> = view.steps.iter().filter_map(|e| e.tool.as_ref()?.result.clone()).collect();
    assert_eq!(results, [json!("result of b"), json!("result of a")]);
}

#[test]
fn imports_have_order_but_no_times() {
    let view = shown(TraceSpan::order_only());
    for entry in view["steps"].as_array().unwrap() {
        assert_eq!(
            (&entry["started_ms"], &entry["duration_ms"], &entry["ttft_ms"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
    assert_eq!(view["trace"]["metrics"]["duration_ms"], Value::Null);
}

#[test]
fn a_row_of_a_list() {
    let measured =
        Measured::of(&facts(), TraceSpan::closed(800_000), meta().started_unix_us, &PriceBook::listed());
    insta::assert_snapshot!(serde_json::to_string(&ls_row(meta(), &measured.metrics)).unwrap(), @r#"{"id":"4bf92f3577b34da6a3ce929d0e0e4736","name":null,"agent":"weather","agent_version":"1.4","started_at":"2026-11-01T00:00:00Z","status":"complete","outcome":"success","models":["gpt-4o-mini"],"steps":2,"llm_calls":3,"tool_calls":2,"attempts":3,"retry_rate":0.5,"duration_ms":800.0,"cost_usd":0.000345,"cost_at_least":false,"tags":["team=a"]}"#);
}
