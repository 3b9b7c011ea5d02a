use super::super::style::Color;
use super::super::terminal_text::width;
use super::*;
use looptape_core::TraceId;
use looptape_core::assembly::TraceSpan;
use looptape_core::cost::PriceBook;
use looptape_core::facts::{AskedTool, AttemptState, CallFacts, CallKind, Lineage};
use looptape_core::metrics::Measured;
use looptape_core::provider::Provider;
use looptape_core::usage::TokenUsage;
use looptape_core::view::{CallContent, ToolResult, TraceMeta, trace_view};
use looptape_core::wire::{ToolCall, Wire};
use serde_json::json;

const WIDE_PLAIN: Style = Style { color: Color::Off, width: 110 };

fn call(seq: u32, sent_ms: i64, took_ms: i64, history: (Option<i64>, i64)) -> CallFacts {
    let (parent, own) = history;
    CallFacts {
        seq,
        kind: CallKind::Llm(Wire::OpenAiChat),
        provider: Provider::OPENAI,
        endpoint: "POST /v1/chat/completions".to_owned(),
        model: Some("gpt-4o-mini".to_owned()),
        response_model: None,
        service_tier: None,
        stream: true,
        finish_reason: None,
        sent_us: sent_ms * 1000,
        head_us: None,
        first_event_us: None,
        first_reasoning_us: None,
        first_content_us: Some((sent_ms + took_ms / 2) * 1000),
        first_tool_call_us: None,
        last_output_us: Some((sent_ms + took_ms) * 1000),
        end_us: Some((sent_ms + took_ms) * 1000),
        status: Some(200),
        state: AttemptState::Complete,
        retry_count: Some(0),
        retry_after_ms: None,
        request_bytes: 900,
        response_bytes: 400,
        usage: TokenUsage {
            cache_read: Some(600),
            input_total: Some(1200),
            output_total: Some(80),
            ..TokenUsage::default()
        },
        stated_cost_usd: None,
        request_digest: own,
        lineage: Lineage {
            history: own,
            echo: parent.map(|p| p * 10),
            last_turn: None,
            answer_history: Some(own * 10),
            answer_turn: None,
            turns: 1,
        },
        response_id: None,
        previous_response_id: None,
        asks: Vec::new(),
        carries: Vec::new(),
        loop_hint: None,
        upstream: None,
    }
}

fn weather() -> Vec<CallFacts> {
    let ask =
        |id: &str| AskedTool { id: Some(id.to_owned()), name: "get_weather".to_owned(), arguments: None };
    let mut first = call(0, 0, 200, (None, 1));
    first.asks = vec![ask("a"), ask("b")];
    let mut refused = call(1, 260, 20, (Some(1), 2));
    (refused.status, refused.usage, refused.lineage.answer_history) =
        (Some(429), TokenUsage::default(), None);
    let mut second = call(2, 1280, 300, (Some(1), 2));
    second.retry_count = Some(1);
    for fact in [&mut refused, &mut second] {
        fact.carries = vec!["a".to_owned(), "b".to_owned()];
    }
    let mut models = call(3, 1600, 10, (None, 9));
    (models.kind, models.endpoint, models.usage) =
        (CallKind::Other, "GET /v1/models".to_owned(), TokenUsage::default());
    (models.stream, models.first_content_us) = (false, None);
    vec![first, refused, second, models]
}

fn content(seq: u32) -> CallContent {
    let asked = |id: &str, city: &str| ToolCall {
        id: Some(id.to_owned()),
        name: "get_weather".to_owned(),
        arguments: json!({ "city": city }),
    };
    let result = |id: &str, is_error| ToolResult {
        call_id: Some(id.to_owned()),
        name: None,
        content: json!("sunny"),
        is_error,
    };
    match seq {
        0 => CallContent {
            tool_calls: vec![asked("a", "東京"), asked("b", "Zürich")],
            ..CallContent::default()
        },
        2 => CallContent {
            text: Some("It is sunny.\n\u{1b}[2Jgone\u{202e}".to_owned()),
            tool_results: vec![result("a", false), result("b", true)],
            ..CallContent::default()
        },
        _ => CallContent::default(),
    }
}

fn view(facts: &[CallFacts], span: TraceSpan) -> TraceView {
    let started_unix_us = Some(1_793_491_200_000_000);
    let meta = TraceMeta {
        id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap(),
        name: None,
        agent: Some("weather\x1b]0;x\x07".to_owned()),
        agent_version: Some("1.4\x1b".to_owned()),
        tags: vec!["demo".to_owned()],
        started_unix_us,
        status: TraceStatus::Complete,
        status_reasons: Vec::new(),
        parent: None,
    };
    trace_view(meta, (facts, &[]), &Measured::of(facts, span, started_unix_us, &PriceBook::listed()), content)
}

#[test]
fn a_loop_with_tools_and_a_retry() {
    let text = timeline(&view(&weather(), TraceSpan::closed(1_700_000)), WIDE_PLAIN);
    insta::assert_snapshot!(text, @r#"
    trace 4bf92f3577b34da6a3ce929d0e0e4736
    weather\u{1b}]0;x\u{7} 1.4\u{1b} · complete, success · 1.70 s · $0.000366 · 2 steps · 2 tool calls · 1 retry (50 %)
    started 2026-11-01T00:00:00Z · #demo

      step                                       in cached    out       cost    TTFT     time 0             1.70 s
    ✓ 1     gpt-4o-mini → get_weather, get_…   1200   50 %     80  $0.000183  100 ms   200 ms ███
    ✓ 1.1     get_weather {"city":"東京"}                                              ≤60 ms   ░░
    ✗ 1.2     get_weather {"city":"Zürich"}                                            ≤60 ms   ░░
    ↻ 2#1   429 → sdk retry +1.00 s                                                     20 ms    ▓············
    ✓ 2     gpt-4o-mini "It is sunny.\n\u{1…   1200   50 %     80  $0.000183  150 ms   1.32 s                ████
    ✓ -     GET /v1/models                                                              10 ms                   ▪

    time: model 520 ms (31 %) · tools or overhead 1.18 s (69 %), of it in tools at most 60 ms
    lost to retries: 1.02 s
    "#);
}

#[test]
fn narrow_and_cut_off_and_unpriced() {
    let mut facts = weather();
    facts[2].state = AttemptState::UpstreamReset;
    facts[2].model = Some("house-model".to_owned());
    let text = timeline(&view(&facts, TraceSpan::closed(1_700_000)), Style { color: Color::Off, width: 70 });
    insta::assert_snapshot!(text, @r#"
    trace 4bf92f3577b34da6a3ce929d0e0e4736
    weather\u{1b}]0;x\u{7} 1.4\u{1b} · complete, failure · 1.70 s · at least $0.000183 · 2 steps · 2 tool calls · 1 retry (50 %)
    started 2026-11-01T00:00:00Z · #demo

      step                        in    out       cost     time
    ✓ 1     gpt-4o-mini → ge…   1200     80  $0.000183   200 ms ██
    ✓ 1.1     get_weather {"…                            ≤60 ms  ░
    ✗ 1.2     get_weather {"…                            ≤60 ms  ░
    ↻ 2#1   429 → sdk retry …                             20 ms  ▓······
    ✗ 2     house-model upst…   1200     80              1.32 s        ███
    ✓ -     GET /v1/models                                10 ms          ▪

    time: model 520 ms (31 %) · tools or overhead 1.18 s (69 %), of it in tools at most 60 ms
    lost to retries: 1.02 s
    cost unknown: step 2 (house-model): the price list does not have this model
    "#);
}

#[test]
fn an_import_without_times_has_no_bar() {
    let text = timeline(&view(&weather(), TraceSpan::order_only()), WIDE_PLAIN);
    assert!(!text.contains('█') && !text.contains("time:"), "{text}");
    assert!(text.contains("get_weather"));
}

#[test]
fn recorded_text_cannot_reach_the_terminal_raw() {
    for color in [Color::On, Color::Off] {
        let text = timeline(&view(&weather(), TraceSpan::closed(1_700_000)), Style { color, width: 200 });
        let ours = text.replace("\x1b[0m", "");
        let ours = ["1", "2", "31", "32", "33", "35", "36"]
            .iter()
            .fold(ours, |text, code| text.replace(&format!("\x1b[{code}m"), ""));
        assert!(!ours.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{ours:?}");
        assert!(ours.contains("\\u{1b}[2Jgone"));
    }
}

#[test]
fn lines_keep_to_the_width() {
    for columns in [64, 70, 95, 96, 120, 200] {
        let text = timeline(
            &view(&weather(), TraceSpan::closed(1_700_000)),
            Style { color: Color::Off, width: columns },
        );
        let table = text.lines().skip_while(|line| !line.starts_with("  step"));
        for line in table.take_while(|line| !line.is_empty()) {
            assert!(width(line) <= columns, "{columns}: {line}");
        }
    }
}

#[test]
fn an_empty_trace() {
    let text = timeline(&view(&[], TraceSpan::closed(0)), WIDE_PLAIN);
    assert!(text.contains("0 steps"), "{text}");
}
