use super::super::style::Color;
use super::super::terminal_text::width;
use super::*;
use looptape_core::TraceId;
use looptape_core::assembly::{Recording, TraceSpan};
use looptape_core::cost::PriceBook;
use looptape_core::facts::{AskedTool, AttemptState, CallFacts, CallKind, Lineage};
use looptape_core::metrics::Measured;
use looptape_core::provider::Provider;
use looptape_core::tools::{MeasuredTool, ToolFacts, ToolOutcome, ToolSource};
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
            before_turn: None,
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
    with_tools(facts, &[], span, content)
}

fn with_tools(
    facts: &[CallFacts],
    tools: &[MeasuredTool],
    span: TraceSpan,
    content: impl Fn(u32) -> CallContent,
) -> TraceView {
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
    let tool_facts: Vec<ToolFacts> = tools.iter().map(|tool| tool.facts.clone()).collect();
    let recording = Recording { facts, tools: &tool_facts };
    let measured = Measured::of(recording, span, started_unix_us, &PriceBook::listed());
    trace_view(meta, (facts, tools), &measured, content)
}

#[test]
fn a_loop_with_tools_and_a_retry() {
    let text = timeline(&view(&weather(), TraceSpan::closed(1_700_000)), WIDE_PLAIN);
    insta::assert_snapshot!(text, @r#"
    trace 4bf92f3577b34da6a3ce929d0e0e4736
    weather\u{1b}]0;x\u{7} 1.4\u{1b} · complete, success · 1.70 s · $0.000366 · 2 steps · 2 tool calls · 1 retry (50 %)
    started 2026-11-01T00:00:00Z · #demo

      step                                         in cached    out       cost    TTFT     time 0           1.70 s
    ✓ 1     ●     gpt-4o-mini → get_weather, …   1200   50 %     80  $0.000183  100 ms   200 ms ███
    ✓ 1.1   ├─○   get_weather {"city":"東京"}                                            ≤60 ms   ░
    ✗ 1.2   ├─│─○ get_weather {"city":"Zürich…                                           ≤60 ms   ░
    ↻ 2#1   ×─┴─╯ 429 → sdk retry +1.00 s                                                 20 ms   ▓···········
    ✓ 2     ●     gpt-4o-mini "It is sunny.\n…   1200   50 %     80  $0.000183  150 ms   1.32 s              ████
    ✓ -     ▪     GET /v1/models                                                          10 ms                 ▪▪

    lanes ran at the same time: ├─ begins one, ─╯ goes on with what came of it
    ● █ model  ○ ▒ tool (░ at most)  ▪ other call  × ▓ failed attempt
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
    insta::assert_snapshot!(text, @r"
    trace 4bf92f3577b34da6a3ce929d0e0e4736
    weather\u{1b}]0;x\u{7} 1.4\u{1b} · complete, failure · 1.70 s · at least $0.000183 · 2 steps · 2 tool calls · 1 retry (50 %)
    started 2026-11-01T00:00:00Z · #demo

      step                          in    out       cost     time
    ✓ 1     ●     gpt-4o-mini …   1200     80  $0.000183   200 ms █
    ✓ 1.1   ├─○   get_weather …                            ≤60 ms ░░
    ✗ 1.2   ├─│─○ get_weather …                            ≤60 ms ░░
    ↻ 2#1   ×─┴─╯ 429 → sdk re…                             20 ms  ▓·····
    ✗ 2     ●     house-model …   1200     80              1.32 s       ██
    ✓ -     ▪     GET /v1/mode…                             10 ms        ▪

    lanes ran at the same time: ├─ begins one, ─╯ goes on with what came of it
    ● █ model  ○ ▒ tool (░ at most)  ▪ other call  × ▓ failed attempt
    time: model 520 ms (31 %) · tools or overhead 1.18 s (69 %), of it in tools at most 60 ms
    lost to retries: 1.02 s
    cost unknown: step 2 (house-model): the price list does not have this model
    ");
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

/// A call that asks for tools by `asks`, and carries the results of `carries`.
fn turn(fact: CallFacts, asks: &[&str], carries: &[&str]) -> CallFacts {
    let ask = |id: &&str| {
        let name = id.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        AskedTool { id: Some((*id).to_owned()), name, arguments: None }
    };
    let carries = carries.iter().map(|id| (*id).to_owned()).collect();
    CallFacts { asks: asks.iter().map(ask).collect(), carries, ..fact }
}

fn measured(id: &str, (start_ms, end_ms): (i64, i64)) -> MeasuredTool {
    let facts = ToolFacts {
        seq: 0,
        name: id.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
        call_id: Some(id.to_owned()),
        arguments_digest: 7,
        via: None,
        source: ToolSource::Measured,
        started_us: start_ms * 1000,
        ended_us: Some(end_ms * 1000),
        outcome: Some(ToolOutcome::Ok),
    };
    MeasuredTool { facts, arguments: json!({"of": id}), end: None }
}

/// The lines of the table and what is said about its lanes.
fn table(facts: &[CallFacts], tools: &[MeasuredTool], end_ms: i64, columns: usize) -> String {
    let shown = with_tools(facts, tools, TraceSpan::closed(end_ms * 1000), |_| CallContent::default());
    let text = timeline(&shown, Style { color: Color::Off, width: columns });
    let lines: Vec<&str> = text.lines().skip(4).filter(|line| !line.starts_with("time:")).collect();
    for line in lines.iter().take_while(|line| !line.is_empty()) {
        assert!(width(line) <= columns, "{columns}: {line}");
    }
    lines.join("\n")
}

#[test]
fn tools_at_once() {
    let facts = [
        turn(call(0, 0, 200, (None, 1)), &["search1", "search2", "fetch1"], &[]),
        turn(call(1, 900, 300, (Some(1), 2)), &["fetch2"], &["search1", "search2", "fetch1"]),
        turn(call(2, 1300, 300, (Some(2), 3)), &[], &["fetch2"]),
    ];
    let tools = [
        measured("search1", (210, 500)),
        measured("search2", (215, 880)),
        measured("fetch1", (400, 600)),
        measured("fetch2", (1210, 1290)),
    ];
    insta::assert_snapshot!(table(&facts, &tools, 1600, 100), @r#"
      step                                             in    out       cost     time 0            1.60 s
    ✓ 1     ●       gpt-4o-mini                      1200     80  $0.000183   200 ms ███
    ✓ 1.1   ├─○     search {"of":"search1"}                                   290 ms   ▒▒▒▒
    ✓ 1.2   ├─│─○   search {"of":"search2"}                                   665 ms   ▒▒▒▒▒▒▒▒▒
    ✓ 1.3   ├─│─│─○ fetch {"of":"fetch1"}                                     200 ms     ▒▒▒▒
    ✓ 2     ●─┴─┴─╯ gpt-4o-mini                      1200     80  $0.000183   300 ms           █████
    ✓ 2.1   ○       fetch {"of":"fetch2"}                                      80 ms               ▒▒
    ✓ 3     ●       gpt-4o-mini                      1200     80  $0.000183   300 ms                ████

    lanes ran at the same time: ├─ begins one, ─╯ goes on with what came of it
    ● █ model  ○ ▒ tool (░ at most)  ▪ other call  × ▓ failed attempt
    "#);
    insta::assert_snapshot!(table(&facts, &tools, 1600, 80), @r#"
      step                                 in    out       cost     time
    ✓ 1     ●       gpt-4o-mini          1200     80  $0.000183   200 ms ██
    ✓ 1.1   ├─○     search {"of":"sea…                            290 ms  ▒▒▒
    ✓ 1.2   ├─│─○   search {"of":"sea…                            665 ms  ▒▒▒▒▒▒
    ✓ 1.3   ├─│─│─○ fetch {"of":"fetc…                            200 ms   ▒▒▒
    ✓ 2     ●─┴─┴─╯ gpt-4o-mini          1200     80  $0.000183   300 ms       ███
    ✓ 2.1   ○       fetch {"of":"fetc…                             80 ms         ▒
    ✓ 3     ●       gpt-4o-mini          1200     80  $0.000183   300 ms         ███

    lanes ran at the same time: ├─ begins one, ─╯ goes on with what came of it
    ● █ model  ○ ▒ tool (░ at most)  ▪ other call  × ▓ failed attempt
    "#);
}

/// One or two tools that are agents themselves; those call tools of their own, and one is refused first.
fn agents_in_tools(agents: usize) -> (Vec<CallFacts>, Vec<MeasuredTool>) {
    let asks = &["research1", "research2"][..agents];
    let mut refused = call(0, 700, 50, (Some(20), 21));
    (refused.status, refused.lineage.answer_history) = (Some(429), None);
    refused.usage = TokenUsage::default();
    let mut again = call(0, 1000, 300, (Some(20), 21));
    again.retry_count = Some(1);
    let first = vec![
        turn(call(0, 220, 300, (None, 20)), &["search1"], &[]),
        turn(refused, &[], &["search1"]),
        turn(again, &[], &["search1"]),
    ];
    let second = vec![
        turn(call(0, 230, 350, (None, 30)), &["search2"], &[]),
        turn(call(0, 800, 700, (Some(30), 31)), &[], &["search2"]),
    ];
    let own =
        [turn(call(0, 0, 200, (None, 1)), asks, &[]), turn(call(0, 1700, 300, (Some(1), 2)), &[], asks)];
    let mut facts: Vec<CallFacts> =
        own.into_iter().chain([first, second].into_iter().take(agents).flatten()).collect();
    facts.sort_by_key(|fact| fact.sent_us);
    (0..).zip(&mut facts).for_each(|(seq, fact)| fact.seq = seq);
    let tools = [
        [measured("research1", (205, 1350)), measured("search1", (530, 690))],
        [measured("research2", (210, 1600)), measured("search2", (590, 640))],
    ];
    (facts, tools.into_iter().take(agents).flatten().collect())
}

#[test]
fn an_agent_inside_a_tool_with_a_retry() {
    let (facts, tools) = agents_in_tools(1);
    insta::assert_snapshot!(table(&facts, &tools, 2000, 100), @r#"
      step                                  in cached    out       cost    TTFT     time 0        2.00 s
    ✓ 1     ●   gpt-4o-mini               1200   50 %     80  $0.000183  100 ms   200 ms ██
    ✓ 1.1   ├─○ research {"of":"resear…                                           1.15 s  ▒▒▒▒▒▒▒▒▒▒
    ✓ 2     │ ● gpt-4o-mini               1200   50 %     80  $0.000183  150 ms   300 ms  ███
    ✓ 2.1   │ ○ search {"of":"search1"}                                           160 ms    ▒▒▒
    ↻ 3#1   │ × 429 → sdk retry +250 ms                                            50 ms      ▓··
    ✓ 3     │ ● gpt-4o-mini               1200   50 %     80  $0.000183  150 ms   600 ms        ███
    ✓ 4     ●─╯ gpt-4o-mini               1200   50 %     80  $0.000183  150 ms   300 ms             ███

    lanes ran at the same time: ├─ begins one, ─╯ goes on with what came of it
    ● █ model  ○ ▒ tool (░ at most)  ▪ other call  × ▓ failed attempt
    lost to retries: 300 ms
    "#);
}

#[test]
fn two_agents_at_once() {
    let (facts, tools) = agents_in_tools(2);
    insta::assert_snapshot!(table(&facts, &tools, 2000, 100), @r#"
      step                                            in    out       cost     time 0             2.00 s
    ✓ 1     ●     gpt-4o-mini                       1200     80  $0.000183   200 ms ██
    ✓ 1.1   ├─○   research {"of":"research1"}                                1.15 s   ▒▒▒▒▒▒▒▒▒▒▒▒
    ✓ 1.2   ├─│─○ research {"of":"research2"}                                1.39 s   ▒▒▒▒▒▒▒▒▒▒▒▒▒▒
    ✓ 2     │ ● │ gpt-4o-mini                       1200     80  $0.000183   300 ms   ████
    ✓ 3     │ │ ● gpt-4o-mini                       1200     80  $0.000183   350 ms   ████
    ✓ 2.1   │ ○ │ search {"of":"search1"}                                    160 ms      ▒▒
    ✓ 3.1   │ │ ○ search {"of":"search2"}                                     50 ms      ▒▒
    ↻ 4#1   │ × │ 429 → sdk retry +250 ms                                     50 ms        ▓··
    ✓ 4     │ ● │ gpt-4o-mini                       1200     80  $0.000183   600 ms           ███
    ✓ 5     │ │ ● gpt-4o-mini                       1200     80  $0.000183   700 ms         ███████
    ✓ 6     ●─┴─╯ gpt-4o-mini                       1200     80  $0.000183   300 ms                  ███

    lanes ran at the same time: ├─ begins one, ─╯ goes on with what came of it
    ● █ model  ○ ▒ tool (░ at most)  ▪ other call  × ▓ failed attempt
    lost to retries: 300 ms
    "#);
    insta::assert_snapshot!(table(&facts, &tools, 2000, 80), @r#"
      step                                in    out       cost     time 0     2.00 s
    ✓ 1     ●     gpt-4o-mini           1200     80  $0.000183   200 ms ██
    ✓ 1.1   ├─○   research {"of":"re…                            1.15 s  ▒▒▒▒▒▒▒▒
    ✓ 1.2   ├─│─○ research {"of":"re…                            1.39 s  ▒▒▒▒▒▒▒▒▒
    ✓ 2     │ ● │ gpt-4o-mini           1200     80  $0.000183   300 ms  ███
    ✓ 3     │ │ ● gpt-4o-mini           1200     80  $0.000183   350 ms  ███
    ✓ 2.1   │ ○ │ search {"of":"sear…                            160 ms    ▒▒
    ✓ 3.1   │ │ ○ search {"of":"sear…                             50 ms    ▒
    ↻ 4#1   │ × │ 429 → sdk retry +2…                             50 ms     ▓·
    ✓ 4     │ ● │ gpt-4o-mini           1200     80  $0.000183   600 ms       ██
    ✓ 5     │ │ ● gpt-4o-mini           1200     80  $0.000183   700 ms     █████
    ✓ 6     ●─┴─╯ gpt-4o-mini           1200     80  $0.000183   300 ms           ██

    lanes ran at the same time: ├─ begins one, ─╯ goes on with what came of it
    ● █ model  ○ ▒ tool (░ at most)  ▪ other call  × ▓ failed attempt
    lost to retries: 300 ms
    "#);
    insta::assert_snapshot!(crate::render::ascii::ascii(&table(&facts, &tools, 2000, 80)), @r#"
      step                                in    out       cost     time 0     2.00 s
    + 1     *     gpt-4o-mini           1200     80  $0.000183   200 ms ##
    + 1.1   |-o   research {"of":"re~                            1.15 s  ========
    + 1.2   |-|-o research {"of":"re~                            1.39 s  =========
    + 2     | * | gpt-4o-mini           1200     80  $0.000183   300 ms  ###
    + 3     | | * gpt-4o-mini           1200     80  $0.000183   350 ms  ###
    + 2.1   | o | search {"of":"sear~                            160 ms    ==
    + 3.1   | | o search {"of":"sear~                             50 ms    =
    ~ 4#1   | x | 429 - sdk retry +2~                             50 ms     !.
    + 4     | * | gpt-4o-mini           1200     80  $0.000183   600 ms       ##
    + 5     | | * gpt-4o-mini           1200     80  $0.000183   700 ms     #####
    + 6     *---' gpt-4o-mini           1200     80  $0.000183   300 ms           ##

    lanes ran at the same time: |- begins one, -' goes on with what came of it
    * # model  o = tool (: at most)  . other call  x ! failed attempt
    lost to retries: 300 ms
    "#);
}

#[test]
fn thirty_at_once_share_the_last_column() {
    let ids: Vec<String> = (1..=30).map(|nth| format!("fetch{nth}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let facts =
        [turn(call(0, 0, 200, (None, 1)), &ids, &[]), turn(call(1, 900, 300, (Some(1), 2)), &[], &ids)];
    let tools: Vec<MeasuredTool> =
        ids.iter().zip(0..).map(|(id, nth)| measured(id, (205 + nth, 600 + 10 * nth))).collect();
    insta::assert_snapshot!(table(&facts, &tools, 1200, 100), @r#"
      step                                                 in    out       cost     time 0        1.20 s
    ✓ 1     ●                 gpt-4o-mini                1200     80  $0.000183   200 ms ███
    ✓ 1.1   ├─○               fetch {"of":"fetch1"}                               395 ms   ▒▒▒▒▒▒
    ✓ 1.2   ├─│─○             fetch {"of":"fetch2"}                               404 ms   ▒▒▒▒▒▒
    ✓ 1.3   ├─│─│─○           fetch {"of":"fetch3"}                               413 ms   ▒▒▒▒▒▒
    ✓ 1.4   ├─│─│─│─○         fetch {"of":"fetch4"}                               422 ms   ▒▒▒▒▒▒
    ✓ 1.5   ├─│─│─│─│─○       fetch {"of":"fetch5"}                               431 ms   ▒▒▒▒▒▒
    ✓ 1.6   ├─│─│─│─│─│─○     fetch {"of":"fetch6"}                               440 ms   ▒▒▒▒▒▒▒
    ✓ 1.7   ├─│─│─│─│─│─│─○   fetch {"of":"fetch7"}                               449 ms   ▒▒▒▒▒▒▒
    ✓ 1.8   ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch8"}                               458 ms   ▒▒▒▒▒▒▒
    ✓ 1.9   ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch9"}                               467 ms   ▒▒▒▒▒▒▒
    ✓ 1.10  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch10"}                              476 ms   ▒▒▒▒▒▒▒
    ✓ 1.11  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch11"}                              485 ms   ▒▒▒▒▒▒▒
    ✓ 1.12  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch12"}                              494 ms   ▒▒▒▒▒▒▒
    ✓ 1.13  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch13"}                              503 ms   ▒▒▒▒▒▒▒
    ✓ 1.14  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch14"}                              512 ms   ▒▒▒▒▒▒▒▒
    ✓ 1.15  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch15"}                              521 ms   ▒▒▒▒▒▒▒▒
    ✓ 1.16  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch16"}                              530 ms   ▒▒▒▒▒▒▒▒
    ✓ 1.17  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch17"}                              539 ms   ▒▒▒▒▒▒▒▒
    ✓ 1.18  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch18"}                              548 ms   ▒▒▒▒▒▒▒▒
    ✓ 1.19  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch19"}                              557 ms   ▒▒▒▒▒▒▒▒
    ✓ 1.20  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch20"}                              566 ms   ▒▒▒▒▒▒▒▒
    ✓ 1.21  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch21"}                              575 ms   ▒▒▒▒▒▒▒▒
    ✓ 1.22  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch22"}                              584 ms   ▒▒▒▒▒▒▒▒▒
    ✓ 1.23  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch23"}                              593 ms   ▒▒▒▒▒▒▒▒▒
    ✓ 1.24  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch24"}                              602 ms   ▒▒▒▒▒▒▒▒▒
    ✓ 1.25  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch25"}                              611 ms   ▒▒▒▒▒▒▒▒▒
    ✓ 1.26  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch26"}                              620 ms   ▒▒▒▒▒▒▒▒▒
    ✓ 1.27  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch27"}                              629 ms   ▒▒▒▒▒▒▒▒▒
    ✓ 1.28  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch28"}                              638 ms   ▒▒▒▒▒▒▒▒▒
    ✓ 1.29  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch29"}                              647 ms   ▒▒▒▒▒▒▒▒▒
    ✓ 1.30  ├─│─│─│─│─│─│─│─○ fetch {"of":"fetch30"}                              656 ms   ▒▒▒▒▒▒▒▒▒▒
    ✓ 2     ●─┴─┴─┴─┴─┴─┴─┴─╯ gpt-4o-mini                1200     80  $0.000183   300 ms            ████

    lanes ran at the same time: ├─ begins one, ─╯ goes on with what came of it
    ● █ model  ○ ▒ tool (░ at most)  ▪ other call  × ▓ failed attempt
    the last column holds 23 lanes: there is no room to draw them apart
    "#);
}
