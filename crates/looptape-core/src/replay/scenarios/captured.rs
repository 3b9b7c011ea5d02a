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
