use super::*;
use crate::TraceId;
use crate::assembly::TraceSpan;
use crate::cost::PriceBook;
use crate::derive;
use crate::exchange::{Answer, Ending, Outcome};
use crate::facts::CallFacts;
use crate::headers::RedactedHeaders;
use crate::metrics::Measured;
use crate::provider::Provider;
use crate::replay::{MaskKind, Masking};
use crate::text_diff::Change;
use crate::view::{CallContent, ToolResult, TraceMeta, TraceStatus, TraceView, trace_view};
use crate::wire::{Message, Part, Wire};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

/// One answer of a model, and what the tools that it asks for give back.
#[derive(Clone, Debug)]
struct Turn {
    text: &'static str,
    calls: Vec<(&'static str, Value, String)>,
}

/// One conversation.
#[derive(Clone, Debug)]
struct Talk {
    wire: Wire,
    model: &'static str,
    system: &'static str,
    question: String,
    parameters: Value,
    turns: Vec<Turn>,
    /// Stands in all ids, and moves the times.
    run: i64,
    input_tokens: u64,
}

fn talk(turns: Vec<Turn>) -> Talk {
    Talk {
        wire: Wire::OpenAiChat,
        model: "gpt-4o-mini",
        system: "Be brief.",
        question: "Oslo or Lisbon?".to_owned(),
        parameters: json!({"temperature": 0.5}),
        turns,
        run: 1,
        input_tokens: 100,
    }
}

fn asks(name: &'static str, city: &str, result: &str) -> Turn {
    Turn { text: "", calls: vec![(name, json!({"city": city}), result.to_owned())] }
}

fn says(text: &'static str) -> Turn {
    Turn { text, calls: Vec::new() }
}

fn weekend() -> Vec<Turn> {
    vec![
        asks("get_weather", "Oslo", "rain, 7 °C"),
        asks("get_weather", "Lisbon", "sunny, 24 °C"),
        asks("get_price", "Lisbon", "214 €"),
        says("Go to Lisbon."),
    ]
}

/// A recorded call: when it was sent, its request, its answer.
type Call = (i64, Value, Value);

impl Talk {
    fn id(&self, turn: usize, call: usize) -> String {
        format!("call_{}_{turn}_{call}", self.run)
    }

    fn calls(&self) -> Vec<Call> {
        let mut messages = match self.wire {
            Wire::AnthropicMessages => vec![json!({"role": "user", "content": self.question})],
            _ => vec![
                json!({"role": "system", "content": self.system}),
                json!({"role": "user", "content": self.question}),
            ],
        };
        let mut calls = Vec::new();
        for (number, turn) in self.turns.iter().enumerate() {
            let sent_us = number as i64 * (1_000_000 + self.run * 1000);
            calls.push((sent_us, self.request(&messages), self.answer(number, turn)));
            match self.wire {
                Wire::AnthropicMessages => self.echo_anthropic(number, turn, &mut messages),
                _ => self.echo_openai(number, turn, &mut messages),
            }
        }
        calls
    }

    fn request(&self, messages: &[Value]) -> Value {
        let mut body = match self.wire {
            Wire::AnthropicMessages => {
                json!({"model": self.model, "system": self.system, "messages": messages,
                "tools": [{"name": "get_weather", "input_schema": {}}], "metadata": {"user_id": self.run}})
            }
            _ => json!({"model": self.model, "messages": messages, "user": format!("u{}", self.run),
                "tools": [{"type": "function", "function": {"name": "get_weather"}}]}),
        };
        let members = self.parameters.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        body
    }

    fn answer(&self, number: usize, turn: &Turn) -> Value {
        let (input, output) = (self.input_tokens, 10);
        let has_calls = !turn.calls.is_empty();
        match self.wire {
            Wire::AnthropicMessages => json!({"id": format!("msg_{}", self.run), "type": "message",
                "role": "assistant", "model": self.model, "content": self.blocks(number, turn),
                "stop_reason": if has_calls { "tool_use" } else { "end_turn" },
                "usage": {"input_tokens": input, "output_tokens": output}}),
            _ => json!({"id": format!("r_{}", self.run), "model": self.model, "choices": [{"index": 0,
                "message": self.spoken(number, turn),
                "finish_reason": if has_calls { "tool_calls" } else { "stop" }}],
                "usage": {"prompt_tokens": input, "completion_tokens": output}}),
        }
    }

    fn spoken(&self, number: usize, turn: &Turn) -> Value {
        let call = |(at, (name, arguments, _)): (usize, &(&str, Value, String))| {
            json!({"id": self.id(number, at), "type": "function",
                "function": {"name": name, "arguments": arguments.to_string()}})
        };
        let calls: Vec<Value> = turn.calls.iter().enumerate().map(call).collect();
        let mut message = json!({"role": "assistant", "content": turn.text});
        if !calls.is_empty() {
            message["tool_calls"] = Value::from(calls);
        }
        message
    }

    fn blocks(&self, number: usize, turn: &Turn) -> Vec<Value> {
        let text = (!turn.text.is_empty()).then(|| json!({"type": "text", "text": turn.text}));
        let call = |(at, (name, arguments, _)): (usize, &(&str, Value, String))| json!({"type": "tool_use", "id": self.id(number, at), "name": name, "input": arguments});
        text.into_iter().chain(turn.calls.iter().enumerate().map(call)).collect()
    }

    fn echo_openai(&self, number: usize, turn: &Turn, messages: &mut Vec<Value>) {
        messages.push(self.spoken(number, turn));
        for (at, (_, _, result)) in turn.calls.iter().enumerate() {
            messages.push(json!({"role": "tool", "tool_call_id": self.id(number, at), "content": result}));
        }
        if turn.calls.is_empty() {
            messages.push(json!({"role": "user", "content": "Go on."}));
        }
    }

    fn echo_anthropic(&self, number: usize, turn: &Turn, messages: &mut Vec<Value>) {
        messages.push(json!({"role": "assistant", "content": self.blocks(number, turn)}));
        let result = |(at, (_, _, result)): (usize, &(&str, Value, String))| json!({"type": "tool_result", "tool_use_id": self.id(number, at), "content": result});
        let results: Vec<Value> = turn.calls.iter().enumerate().map(result).collect();
        let content = if results.is_empty() { json!("Go on.") } else { Value::from(results) };
        messages.push(json!({"role": "user", "content": content}));
    }
}

/// A recorded trace, read.
#[derive(Clone, Debug)]
struct Recorded {
    view: TraceView,
    steps: Vec<StepContent>,
}

impl Recorded {
    fn side(&self) -> Side<'_> {
        Side { view: &self.view, steps: &self.steps, plain: &[] }
    }
}

fn recorded(talk: &Talk) -> Recorded {
    recorded_calls(talk.wire, talk.calls())
}

fn recorded_calls(wire: Wire, mut calls: Vec<Call>) -> Recorded {
    calls.sort_by_key(|(sent_us, _, _)| *sent_us);
    let (provider, path) = match wire {
        Wire::AnthropicMessages => (Provider::ANTHROPIC, "/v1/messages"),
        _ => (Provider::OPENAI, "/v1/chat/completions"),
    };
    let headers = RedactedHeaders::default();
    let mut facts: Vec<CallFacts> = Vec::new();
    for (seq, (sent_us, request, answer)) in calls.iter().enumerate() {
        let body = Bytes::from(request.to_string());
        let mut request = derive::request(&provider, "POST", path, &headers, &body);
        (request.seq, request.sent_us) = (seq as u32, *sent_us);
        let outcome = Outcome::Answered(Answer {
            status: 200,
            headers: RedactedHeaders::default(),
            body: Bytes::from(answer.to_string()),
            chunks: Vec::new(),
            head_us: sent_us + 1000,
            end_us: sent_us + 500_000,
            ending: Ending::Complete,
        });
        facts.push(derive::call(&request, &outcome));
    }
    let decoded: Vec<_> = calls
        .iter()
        .map(|(_, request, answer)| {
            let answer = wire.decode_response(200, Some("application/json"), answer.to_string().as_bytes());
            (wire.decode_request(path, request), answer)
        })
        .collect();
    let measured = Measured::of(&facts, TraceSpan::closed(60_000_000), None, &PriceBook::listed());
    let content = |seq: u32| {
        let (request, answer) = &decoded[seq as usize];
        CallContent {
            text: Some(answer.text.clone()),
            tool_calls: answer.tool_calls.clone(),
            tool_results: results(derive::since_last_answer(&request.messages)),
            ..CallContent::default()
        }
    };
    let meta = TraceMeta {
        id: TraceId::parse("run").unwrap(),
        name: None,
        agent: None,
        agent_version: None,
        tags: Vec::new(),
        started_unix_us: None,
        status: TraceStatus::Complete,
        status_reasons: Vec::new(),
        parent: None,
    };
    let view = trace_view(meta, (&facts, &[]), &measured, content);
    let (mut reader, asked) = (RequestReader::default(), AskedCalls::of(&facts));
    let steps = measured.assembly.steps.iter().map(|step| {
        let at = step.final_call().0;
        let history = History::of(&facts, &measured.assembly, step);
        let body = calls[at].1.to_string();
        let request = StepRequest { wire, path, body: body.as_bytes(), is_whole: true, history };
        let request = reader.read(&request, &asked).expect("all of it is there");
        StepContent { request, answer: AnswerContent::of(Some(&decoded[at].1)) }
    });
    Recorded { steps: steps.collect(), view }
}

fn results(messages: &[Message]) -> Vec<ToolResult> {
    let parts = messages.iter().flat_map(|message| message.parts.clone());
    parts
        .filter_map(|part| match part {
            Part::ToolResult { call_id, name, content, is_error } => {
                Some(ToolResult { call_id, name, content, is_error })
            }
            _ => None,
        })
        .collect()
}

fn diff(a: &Talk, b: &Talk) -> TraceDiff {
    compare(recorded(a).side(), recorded(b).side(), &Options::default())
}

/// One line a pair and a difference.
fn shown(diff: &TraceDiff) -> String {
    let number = |head: &Option<StepHead>| {
        head.as_ref().and_then(|head| head.step).map_or("-".to_owned(), |step| step.0.to_string())
    };
    let mut out = String::new();
    for pair in &diff.steps {
        out.push_str(&format!("{}/{} {:?}\n", number(&pair.step.a), number(&pair.step.b), pair.change));
        for d in &pair.differences {
            let tolerated = if d.weight == Weight::Tolerated { " tolerated" } else { "" };
            out.push_str(&format!("  {} {}: {}{tolerated}\n", d.field, d.at, d.diff));
        }
    }
    out
}

#[test]
fn ids_and_times_are_no_difference() {
    let (a, b) = (talk(weekend()), Talk { run: 7, ..talk(weekend()) });
    let diff = diff(&a, &b);
    assert!(diff.same, "{}", shown(&diff));
    assert_eq!(diff.counts, Counts { same: 4, ..Counts::default() });
    assert!(diff.steps.iter().all(|pair| pair.differences.is_empty()));
}

#[test]
fn what_changed_is_told_where_it_changed() {
    let a = talk(weekend());
    let mut b = talk(weekend());
    b.turns[1].calls[0].2 = "cloudy, 24 °C".to_owned();
    b.turns[2] = asks("get_price", "Porto", "99 €");
    b.turns[3] = says("Go to Porto.");
    insta::assert_snapshot!(shown(&diff(&a, &b)), @r"
    1/1 Same
    2/2 Changed
      tool_results get_weather: [-sunny-]{+cloudy+}, 24 °C
    3/3 Changed
      tool_calls get_price /city: [-Lisbon-]{+Porto+}
      tool_results get_price: [-214-]{+99+} €
    4/4 Changed
      answer : Go to [-Lisbon.-]{+Porto.+}
    ");
    let first = diff(&a, &b).first.unwrap();
    assert_eq!((first.step.a.map(|n| n.0), first.fields), (Some(2), vec![Field::ToolResults]));
}

#[test]
fn volatile_values_are_tolerated_and_nothing_beside_them() {
    let told = |first: &str, second: &str| {
        let mut turns = weekend();
        turns[0].calls[0].2 = first.to_owned();
        turns[1].calls[0].2 = second.to_owned();
        recorded(&talk(turns))
    };
    let ids = ["3f0c1f6e-6a61-4bb5-8f0a-0c5a55f8b8f1", "9a0e8f55-2d3c-4f38-b7a1-9f6d55c0aa02"];
    let options = Options { masking: Some(Masking::default()), ..Options::default() };
    let diff = |a: [&str; 2], b: [&str; 2]| {
        let text = |id: &str| format!("order {id} is placed");
        let (a, b) = (told(&text(a[0]), &text(a[1])), told(&text(b[0]), &text(b[1])));
        compare(a.side(), b.side(), &options)
    };
    let renamed = diff([ids[0], ids[0]], [ids[1], ids[1]]);
    assert!(renamed.same && renamed.counts.tolerated == 2, "{}", shown(&renamed));
    assert_eq!(renamed.steps[0].differences[0].masks, [MaskKind::Uuid]);
    let mixed_up = diff([ids[0], ids[0]], [ids[1], "5a0e8f55-2d3c-4f38-b7a1-9f6d55c0aa02"]);
    assert_eq!((mixed_up.same, mixed_up.counts.changed), (false, 1), "{}", shown(&mixed_up));
    let other = told(&format!("order {} is lost", ids[1]), "sunny, 24 °C");
    let first = told(&format!("order {} is placed", ids[0]), "sunny, 24 °C");
    assert!(!compare(first.side(), other.side(), &options).same);
}

#[test]
fn openings_are_compared_once_and_in_full() {
    let a = talk(weekend()[..1].to_vec());
    let b = Talk {
        model: "gpt-4o",
        system: "Be very brief.",
        question: "Oslo or Rome?".to_owned(),
        parameters: json!({"temperature": 0.7, "seed": 1, "service_tier": "flex"}),
        input_tokens: 120,
        ..a.clone()
    };
    insta::assert_snapshot!(shown(&diff(&a, &b)), @r"
    1/1 Changed
      model : [-gpt-4o-mini-]{+gpt-4o+}
      model answered by: [-gpt-4o-mini-]{+gpt-4o+}
      system : Be {+very +}brief.
      parameters /seed: {+1+}
      parameters /temperature: [-0.5-]{+0.7+}
      parameters /service_tier: {+flex+} tolerated
      messages user: Oslo or [-Lisbon?-]{+Rome?+}
      usage uncached_input: [-100-]{+120+}
      usage input_total: [-100-]{+120+}
      cost : [-$0.000021-]{+$0.0004+}
    ");
}

#[test]
fn formats_are_compared_by_meaning() {
    let a = talk(weekend());
    let b = Talk { wire: Wire::AnthropicMessages, model: "claude-sonnet-4-5", run: 3, ..talk(weekend()) };
    let diff = diff(&a, &b);
    let mut fields: Vec<&str> =
        diff.steps.iter().flat_map(|p| &p.differences).map(|d| d.field.as_str()).collect();
    fields.sort_unstable();
    fields.dedup();
    assert_eq!(fields, ["cost", "format", "model", "provider"], "{}", shown(&diff));
    assert!(diff.notes[0].contains("anthropic.messages"), "{:?}", diff.notes);
}

#[test]
fn the_same_words_in_another_form_are_told() {
    let calls = talk(weekend()).calls();
    let mut others = calls.clone();
    others[0].1["messages"][1]["content"] = json!([{"type": "text", "text": "Oslo or Lisbon?"}]);
    let (a, b) = (recorded_calls(Wire::OpenAiChat, calls), recorded_calls(Wire::OpenAiChat, others));
    let diff = compare(a.side(), b.side(), &Options::default());
    let only = &diff.steps[0].differences[..];
    assert_eq!((only.len(), only[0].at.as_str()), (1, "written as /0/content"), "{}", shown(&diff));
}

#[test]
fn lanes_may_finish_in_any_order() {
    let lane = |question: &str, delay_us: i64, run: i64| -> Vec<Call> {
        let talk = Talk { question: question.to_owned(), run, ..talk(weekend()) };
        talk.calls().into_iter().map(|(sent_us, q, a)| (sent_us + delay_us, q, a)).collect()
    };
    let questions = ["first?", "second?", "third?"];
    let run = |delays: [i64; 3], run: i64| {
        let lanes = questions.iter().zip(delays);
        let calls =
            lanes.enumerate().flat_map(|(n, (question, delay))| lane(question, delay, run + n as i64));
        recorded_calls(Wire::OpenAiChat, calls.collect())
    };
    let (a, b) = (run([0, 10, 20], 1), run([300_000, 200_000, 100_000], 11));
    let diff = compare(a.side(), b.side(), &Options::default());
    assert!(diff.same && diff.counts.same == 12, "{}", shown(&diff));
    let lanes = |pair: &Pair| [&pair.step.a, &pair.step.b].map(|head| head.as_ref().unwrap().lane.unwrap().0);
    assert!(diff.steps.iter().any(|pair| lanes(pair)[0] != lanes(pair)[1]));
}

#[test]
fn only_some_fields_and_some_steps() {
    let a = talk(weekend());
    let mut b = Talk { input_tokens: 200, ..talk(weekend()) };
    b.turns[1].calls[0].2 = "hail".to_owned();
    let (side_a, side_b) = (recorded(&a), recorded(&b));
    let with = |only: &[Field]| {
        let only = Some(only.iter().copied().collect());
        compare(side_a.side(), side_b.side(), &Options { only, ..Options::default() })
    };
    assert!(with(&[Field::Answer, Field::Messages]).same);
    assert_eq!(with(&[Field::ToolResults]).counts.changed, 1);
    assert_eq!(with(&[Field::Usage]).counts.changed, 4);
    let of_steps = |first, last| with(&[Field::ToolResults]).of_steps(first, last);
    assert!(of_steps(3, 4).same && of_steps(3, 4).steps.len() == 2);
    assert!(!of_steps(1, 2).same);
}

fn turn() -> impl Strategy<Value = Turn> {
    let city = || prop::sample::select(vec!["Oslo", "Lisbon", "Rome"]);
    let tool = || prop::sample::select(vec!["get_weather", "get_price"]);
    let result = || prop::sample::select(vec!["rain", "sun", "hail", "12 €"]);
    prop_oneof![
        4 => prop::collection::vec((tool(), city(), result()), 1..3).prop_map(|calls| Turn {
            text: "",
            calls: calls.into_iter().map(|(t, c, r)| (t, json!({"city": c}), r.to_owned())).collect(),
        }),
        1 => prop::sample::select(vec!["Yes.", "No.", "Wait."]).prop_map(says),
    ]
}

fn any_talk() -> impl Strategy<Value = Talk> {
    let model = prop::sample::select(vec!["gpt-4o-mini", "gpt-4o"]);
    let system = prop::sample::select(vec!["Be brief.", "Be kind."]);
    (prop::collection::vec(turn(), 1..7), model, system, 1..5i64)
        .prop_map(|(turns, model, system, run)| Talk { model, system, run, ..talk(turns) })
}

/// A talk all of whose turns differ.
fn told_apart(turns: usize) -> Talk {
    let turn = |n| Turn { text: "", calls: vec![("look", json!({"at": n}), format!("found {n}"))] };
    talk((0..turns).map(turn).collect())
}

/// The comparison with its sides turned.
fn turned(pair: &Pair) -> Pair {
    let turn = |d: &Difference| Difference {
        value: Both::new(d.value.b.clone(), d.value.a.clone()),
        diff: d.diff.clone().turned(),
        ..d.clone()
    };
    Pair {
        change: match pair.change {
            PairChange::OnlyA => PairChange::OnlyB,
            PairChange::OnlyB => PairChange::OnlyA,
            other => other,
        },
        step: Both::new(pair.step.b.clone(), pair.step.a.clone()),
        differences: pair.differences.iter().map(turn).collect(),
        duration_ms: Both::new(pair.duration_ms.b, pair.duration_ms.a),
        ttft_ms: Both::new(pair.ttft_ms.b, pair.ttft_ms.a),
    }
}

fn by_number(diff: &TraceDiff, turn_them: impl Fn(&Pair) -> Pair) -> Vec<String> {
    let sorted = |differences: &[Difference]| -> Vec<String> {
        let mut all: Vec<String> = differences.iter().map(|d| format!("{d:?}")).collect();
        all.sort();
        all
    };
    let text = |pair: Pair| format!("{:?} {:?} {:?}", pair.change, pair.step, sorted(&pair.differences));
    let mut all: Vec<String> = diff.steps.iter().map(|pair| text(turn_them(pair))).collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_trace_is_the_same_as_itself(a in any_talk()) {
        let again = Talk { run: a.run + 1, ..a.clone() };
        let diff = diff(&a, &again);
        prop_assert!(diff.same, "{}", shown(&diff));
        prop_assert!(diff.steps.iter().all(|pair| pair.differences.is_empty()));
    }

    #[test]
    fn the_other_way_round_is_the_mirror(a in any_talk(), b in any_talk()) {
        let (there, back) = (diff(&a, &b), diff(&b, &a));
        prop_assert_eq!(by_number(&there, turned), by_number(&back, Pair::clone));
        prop_assert_eq!(there.same, back.same);
        prop_assert_eq!(there.delta.steps, -back.delta.steps);
    }

    #[test]
    fn every_step_is_there_once(a in any_talk(), b in any_talk()) {
        let diff = diff(&a, &b);
        let numbers = |side: fn(&Pair) -> &Option<StepHead>| {
            let mut all: Vec<u32> =
                diff.steps.iter().filter_map(|p| Some(side(p).as_ref()?.step?.0)).collect();
            all.sort_unstable();
            all
        };
        prop_assert_eq!(numbers(|p| &p.step.a), (1..=a.turns.len() as u32).collect::<Vec<_>>());
        prop_assert_eq!(numbers(|p| &p.step.b), (1..=b.turns.len() as u32).collect::<Vec<_>>());
    }

    #[test]
    fn a_missing_step_is_one_missing_step(turns in 2usize..9, at in 1usize..9) {
        prop_assume!(at < turns);
        let a = told_apart(turns);
        let mut b = a.clone();
        b.turns.remove(at);
        for (diff, alone) in [(diff(&a, &b), PairChange::OnlyA), (diff(&b, &a), PairChange::OnlyB)] {
            let missing: Vec<&Pair> = diff.steps.iter().filter(|p| p.change != PairChange::Same).collect();
            prop_assert_eq!(missing.len(), 1, "{}", shown(&diff));
            prop_assert_eq!(missing[0].change, alone);
            let head = missing[0].step.as_ref().either().and_then(|head| head.step);
            prop_assert_eq!(head.map(|n| n.0 as usize), Some(at + 1));
        }
    }
}

#[test]
fn a_cut_diff_marks_what_was_taken_out_and_put_in() {
    let a = talk(vec![says("Go to Lisbon.")]);
    let b = talk(vec![says("Go to Porto.")]);
    let diff = diff(&a, &b);
    let spans = &diff.steps[0].differences[0].diff.0;
    let changes: Vec<Change> = spans.iter().map(|span| span.change).collect();
    assert_eq!(changes, [Change::Same, Change::Removed, Change::Added]);
    assert_eq!(diff.steps[0].differences[0].value.b.as_deref(), Some("Go to Porto."));
}
