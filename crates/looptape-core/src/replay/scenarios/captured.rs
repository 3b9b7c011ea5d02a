//! Calls that were captured on their way to a host: told apart by it, answered from the recording or refused.

use super::tapes::*;
use super::*;

const WEATHER: &str = "https://api.weather.test/v1/oslo?units=c";
const MODEL: &str = "https://api.mistral.ai/v1/chat/completions";

/// A call of a tool, answered.
fn tool(at: i64, method: &str, path: &str, body: &str, answer: &str) -> RecordedCall {
    RecordedCall {
        method: method.to_owned(),
        path: path.to_owned(),
        body: bytes::Bytes::from(body.to_owned()).into(),
        outcome: RecordedOutcome::Answered { content: crate::Digest::of(answer.as_bytes()) },
        ..recorded_at(at, Some(at + 5))
    }
}

fn replayer_of(calls: Vec<RecordedCall>, options: Options) -> Replayer {
    let numbered = calls
        .into_iter()
        .zip(0..)
        .map(|(call, seq)| RecordedCall { label: CallLabel { seq, ..call.label }, ..call });
    let tape = Tape::new(numbered, Completeness::Complete, verbatim);
    Replayer::new(tape, options).expect("complete")
}

fn ask_of(replayer: &mut Replayer, wire: Option<Wire>, (method, path, body): (&str, &str, &str)) -> Decision {
    let lineage = Lineage::default;
    replayer.next(&LiveRequest { wire, method, path, body: body.as_bytes(), lineage: &lineage })
}

fn seq(decision: Decision) -> u32 {
    let Decision::Serve(served) = decision else { panic!("an answer: {decision:?}") };
    served.label.seq
}

fn blocked(decision: Decision) -> Report {
    let Decision::Diverged(report) = decision else { panic!("a refusal: {decision:?}") };
    assert_eq!(report.code, DivergenceCode::LiveEgressBlocked);
    *report
}

#[test]
fn the_host_and_the_body_count() {
    let mut replayer = replayer_of(
        vec![
            tool(0, "GET", WEATHER, "", "rain"),
            tool(10, "GET", "https://other.test/v1/oslo?units=c", "", "other"),
            tool(20, "POST", "https://mail.test/send", r#"{"to":"a"}"#, "sent"),
        ],
        Options::default(),
    );
    let mut ask = |method, path, body| ask_of(&mut replayer, None, (method, path, body));
    assert_eq!(seq(ask("GET", "https://other.test/v1/oslo?units=c", "")), 1);
    assert_eq!(seq(ask("GET", WEATHER, "")), 0);
    let report = blocked(ask("POST", "https://mail.test/send", r#"{"to":"b"}"#));
    assert_eq!(report.difference.map(|difference| difference.pointer).as_deref(), Some("/to"));
    assert!(
        report.message.ends_with("It would have gone past the replay, and was refused."),
        "{}",
        report.message
    );
    let report = blocked(ask("GET", "https://elsewhere.test/?key=x", ""));
    assert_eq!(report.endpoint, "GET https://elsewhere.test/");
    let Decision::Diverged(again) = ask("GET", WEATHER, "") else { panic!("it was recorded once") };
    assert_eq!(again.code, DivergenceCode::Exhausted);
    assert_eq!(replayer.finish().verdict, Verdict::Diverged);
}

/// Whatever a model is asked, a tool's call never is a model's, and a fork does not change that.
#[test]
fn nobody_is_asked_in_the_place_of_a_host() {
    let calls = || {
        let [first, second, ..] = &three_steps()[..] else { unreachable!("there are three") };
        let mut calls: Vec<RecordedCall> = recorded_calls(&[first.clone(), second.clone()]).collect();
        calls.insert(1, tool(7, "GET", WEATHER, "", "rain"));
        calls
    };
    let options = Options { on_miss: OnMiss::Ask, fork: ForkAt::Step(1), ..Options::default() };
    let mut replayer = replayer_of(calls(), options);
    let first = three_steps()[0].body.to_string();
    let asked = ask_of(&mut replayer, Some(Wire::OpenAiChat), ("POST", CHAT, &first));
    assert_eq!(asked, Decision::Ask(WhyAsked::Fork));
    assert_eq!(
        seq(ask_of(&mut replayer, None, ("GET", WEATHER, ""))),
        1,
        "the recording answers tools behind a fork too"
    );
    blocked(ask_of(&mut replayer, None, ("GET", "https://elsewhere.test/", "")));
    assert_eq!(replayer.finish().verdict, Verdict::Diverged, "something was refused");
}

#[test]
fn a_providers_calls_match_whether_captured_or_led_by_a_base_url() {
    let body = chat(&["u:hi"]);
    let one = |path: &str| {
        let mut calls: Vec<RecordedCall> = recorded_calls(&[call(0, body.clone(), "one")]).collect();
        calls[0].path = path.to_owned();
        calls
    };
    for (recorded, live) in [(MODEL, CHAT), (CHAT, MODEL), (MODEL, MODEL)] {
        let mut replayer = replayer_of(one(recorded), Options::default());
        let text = body.to_string();
        assert_eq!(seq(ask_of(&mut replayer, Some(Wire::OpenAiChat), ("POST", live, &text))), 0);
        let other = with(body.clone(), "temperature", json!(1)).to_string();
        let decision = ask_of(&mut replayer, Some(Wire::OpenAiChat), ("POST", live, &other));
        let Decision::Diverged(report) = decision else { panic!("{decision:?}") };
        assert_eq!(report.code, DivergenceCode::ParamDrift, "a model call says what drifted");
    }
    let mut replayer = replayer_of(one(CHAT), Options::default());
    let elsewhere = "https://llm.example.com/v1/chat/completions";
    blocked(ask_of(&mut replayer, Some(Wire::OpenAiChat), ("POST", elsewhere, &body.to_string())));
}

const RUN: &str = "8f14e45f-ceea-467f-a5e0-01b2c3d4e5f6";
const LATER_RUN: &str = "0cc175b9-c0f1-46b6-8319-9c7ad1e2f3a4";
const THIRD_RUN: &str = "b026324c-6904-4b2a-9cb4-b88d6d61c81f";

/// What a tool's call is answered with where `recorded` were, and at which rung; or why it is refused.
fn asked(
    recorded: &[(&str, &str)],
    options: Options,
    (path, body): (&str, &str),
) -> Result<(u32, Rung), DivergenceCode> {
    let calls =
        recorded.iter().zip(0..).map(|((path, body), at)| tool(at * 10, "POST", path, body, &at.to_string()));
    match ask_of(&mut replayer_of(calls.collect(), options), None, ("POST", path, body)) {
        Decision::Serve(served) => Ok((served.label.seq, served.rung)),
        Decision::Diverged(report) => Err(report.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rungs_of_what_tools_ask() {
    let url = |run: &str, at: &str| format!("https://h.test/runs/{run}?at={at}&q=rain");
    let (then, now) = ("2026-01-01T10%3A00%3A00Z", "2026-11-29T08%3A30%3A00Z");
    let body = |run: &str, n: u32| format!(r#"{{"run":"{run}","n":{n}}}"#);
    let (recorded, later) = (url(RUN, then), url(LATER_RUN, now));
    let one = [(recorded.as_str(), body(RUN, 1))];
    let one = [(one[0].0, one[0].1.as_str())];
    let ask = |path: &str, body: &str| asked(&one, Options::default(), (path, body));
    let blocked = Err(DivergenceCode::LiveEgressBlocked);

    assert_eq!(ask(&recorded, &body(RUN, 1)), Ok((0, Rung::Bytes)));
    assert_eq!(ask(&recorded, &format!(r#"{{ "n": 1.0, "run": "{RUN}" }}"#)), Ok((0, Rung::Canonical)));
    assert_eq!(ask(&later, &body(LATER_RUN, 1)), Ok((0, Rung::Masked)));
    assert_eq!(ask(&later, &body(LATER_RUN, 2)), blocked, "a number beside it counts");
    assert_eq!(ask(&later.replace("rain", "snow"), &body(LATER_RUN, 1)), blocked, "and so does a word");
    assert_eq!(ask(&later, &body(THIRD_RUN, 1)), blocked, "one id stays one");
    assert_eq!(ask(&later.replace("h.test", "g.test"), &body(LATER_RUN, 1)), blocked);
    let strict = Options { max_rung: Rung::Renamed, ..Options::default() };
    assert_eq!(asked(&one, strict, (&later, &body(LATER_RUN, 1))), blocked, "--max-rung gates it");
}

#[test]
fn forms_and_texts_have_masks_too() {
    for (recorded, live, expected) in [
        ("run=RUN&to=a%40b.c", "run=LATER&to=a%40b.c", Ok((0, Rung::Masked))),
        ("run=RUN&to=a%40b.c", "run=LATER&to=z%40b.c", Err(DivergenceCode::LiveEgressBlocked)),
        ("<run id='RUN'/>", "<run id='LATER'/>", Ok((0, Rung::Masked))),
        ("\0RUN", "\0LATER", Err(DivergenceCode::LiveEgressBlocked)),
    ] {
        let [recorded, live] =
            [recorded, live].map(|body| body.replace("RUN", RUN).replace("LATER", LATER_RUN));
        let path = "https://h.test/x";
        assert_eq!(asked(&[(path, &recorded)], Options::default(), (path, &live)), expected, "{recorded}");
    }
}

/// What other services call an id is not known: a number is a number, and a name is what it says.
#[test]
fn ids_without_a_shape_of_their_own_count() {
    for (recorded, live) in [
        (("https://h.test/items/A7", ""), ("https://h.test/items/A8", "")),
        (("https://h.test/", r#"{"file_id":"a"}"#), ("https://h.test/", r#"{"file_id":"b"}"#)),
    ] {
        assert_eq!(asked(&[recorded], Options::default(), live), Err(DivergenceCode::LiveEgressBlocked));
    }
}

#[test]
fn several_that_differ_in_ids_alone_are_ambiguous_and_in_times_alone_come_in_order() {
    let of_run = |run: &str| format!("https://h.test/runs/{run}");
    let runs = [of_run(RUN), of_run(LATER_RUN)];
    let recorded: Vec<(&str, &str)> = runs.iter().map(|path| (path.as_str(), "")).collect();
    let third = of_run(THIRD_RUN);
    assert_eq!(asked(&recorded, Options::default(), (&third, "")), Err(DivergenceCode::Ambiguous));
    assert_eq!(asked(&recorded, Options::default(), (&runs[1], "")), Ok((1, Rung::Bytes)));

    let since = |hour: u32| format!("https://h.test/news?since=2026-01-01T{hour:02}:00:00Z");
    let calls = (1..=3).map(|hour| tool(i64::from(hour) * 10, "GET", &since(hour), "", &hour.to_string()));
    let mut replayer = replayer_of(calls.collect(), Options::default());
    let asked: Vec<u32> =
        (11..=13).map(|hour| seq(ask_of(&mut replayer, None, ("GET", &since(hour), "")))).collect();
    assert_eq!(asked, [0, 1, 2]);
    assert_eq!(blocked_code(ask_of(&mut replayer, None, ("GET", &since(14), ""))), DivergenceCode::Exhausted);
    let summary = replayer.finish();
    assert_eq!((summary.served.masked, summary.masks.len()), (3, 3));
    assert_eq!(summary.masks[0].pointer, "?since");
}

fn blocked_code(decision: Decision) -> DivergenceCode {
    let Decision::Diverged(report) = decision else { panic!("a refusal: {decision:?}") };
    report.code
}

#[test]
fn what_a_tool_asked_that_did_not_run_is_not_missed() {
    let calls = || vec![tool(0, "GET", WEATHER, "", "rain"), tool(100, "GET", "https://h.test/", "", "x")];
    let mut replayer = replayer_of(calls(), Options::default());
    assert_eq!(seq(ask_of(&mut replayer, None, ("GET", WEATHER, ""))), 0);
    replayer.leave_out(|at_us| at_us >= 100);
    let summary = replayer.finish();
    assert_eq!((summary.verdict, summary.calls_of_tools), (Verdict::Replayed, 1));
    assert!(render_text(&summary).contains("1 captured call was not made"));
    let mut replayer = replayer_of(calls(), Options::default());
    assert_eq!(seq(ask_of(&mut replayer, None, ("GET", WEATHER, ""))), 0);
    replayer.leave_out(|_| false);
    assert_eq!(replayer.finish().verdict, Verdict::Unused);
}

#[test]
fn a_refused_url_names_the_nearest_one() {
    let calls = vec![tool(0, "GET", WEATHER, "", "rain")];
    let mut replayer = replayer_of(calls, Options::default());
    let report = blocked(ask_of(&mut replayer, None, ("GET", &WEATHER.replace("oslo", "lisbon"), "")));
    let diff = report.difference.map(|difference| difference.diff.to_string());
    assert_eq!(diff.as_deref(), Some("GET https://api.weather.test/v1/[-oslo?units-]{+lisbon?units+}=c"));
}
