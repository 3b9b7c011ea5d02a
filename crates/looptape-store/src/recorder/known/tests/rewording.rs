//! Clients that put every answer into other words, and others that began alike: case by case.

use super::super::remembered::REMEMBERED;
use super::*;
use std::collections::{HashMap, HashSet};

const MINUTE: i64 = 60_000_000;

/// A recorder's traces, as far as placing calls wants them.
pub(super) struct Recorder {
    known: KnownCalls,
    last: u64,
    named: HashMap<&'static str, TraceNumber>,
    pub(super) closed: HashSet<TraceNumber>,
    pub(super) now: i64,
}

/// A call under way.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) trace: TraceNumber,
    placed: Option<Placed>,
    request: RequestFacts,
}

impl Recorder {
    pub(super) fn new() -> Self {
        let (named, closed) = (HashMap::new(), HashSet::new());
        Self { known: known(), last: 0, named, closed, now: 0 }
    }

    /// A call without a name begins.
    pub(super) fn begin(&mut self, request: &RequestFacts) -> Call {
        let closed = &self.closed;
        let found = self.known.place(request, self.now, |number| !closed.contains(&number));
        let (trace, placed) =
            found.map_or_else(|| (self.open(), None), |(trace, placed)| (trace, Some(placed)));
        let is_unnamed = !self.named.values().any(|named| *named == trace);
        self.known.begun(request, Begun { trace, is_unnamed, placed, at_mono_us: self.now });
        Call { trace, placed, request: request.clone() }
    }

    fn begin_named(&mut self, name: &'static str, request: &RequestFacts) -> Call {
        let trace = match self.named.get(name) {
            Some(trace) => *trace,
            None => self.open(),
        };
        self.named.insert(name, trace);
        self.known.begun(request, Begun { trace, is_unnamed: false, placed: None, at_mono_us: self.now });
        Call { trace, placed: None, request: request.clone() }
    }

    fn open(&mut self) -> TraceNumber {
        self.last += 1;
        TraceNumber(self.last)
    }

    pub(super) fn answer(&mut self, call: &Call, said: &str) {
        answer_with(&mut self.known, call.trace, &call.request, &assistant(said));
    }

    pub(super) fn fail(&mut self, call: &Call) {
        self.known.failed(call.trace, &call.request, call.placed);
    }

    /// A call, answered; its trace.
    fn ask(&mut self, messages: Value) -> TraceNumber {
        let call = self.begin(&request(messages));
        self.answer(&call, "As you wish.  ");
        call.trace
    }
}

pub(super) fn assistant(said: &str) -> Value {
    json!({"role": "assistant", "content": said})
}

pub(super) fn user(said: &str) -> Value {
    json!({"role": "user", "content": said})
}

/// What a client says that has heard this in answer to its first words, and goes on.
fn after(heard: &str, goes_on: &str) -> Value {
    json!([user("go"), assistant(heard), user(goes_on)])
}

#[test]
fn a_loop_whose_client_rewords_every_answer_is_one_trace() {
    let mut recorder = Recorder::new();
    let mut messages = vec![user("go")];
    let first = recorder.ask(json!(messages));
    for step in 0..5 {
        messages.extend([assistant(&format!("step {step}, as I would say it")), user("and on")]);
        assert_eq!(recorder.ask(json!(messages)), first, "step {step}");
    }
}

#[test]
fn two_who_began_alike_are_never_joined() {
    let mut recorder = Recorder::new();
    let (a, b) = (recorder.ask(root()), recorder.ask(root()));
    let (a2, b2) = (recorder.ask(after("A heard", "on")), recorder.ask(after("B heard", "on")));
    assert_eq!(HashSet::from([a, b, a2, b2]).len(), 4);
    // From here on they differ.
    let third = |heard| json!([user("go"), assistant(heard), user("on"), assistant("or so"), user("and on")]);
    assert_eq!([recorder.ask(third("A heard")), recorder.ask(third("B heard"))], [a2, b2]);
}

#[test]
fn the_second_is_not_known_by_the_first_having_gone_on() {
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    assert_eq!(recorder.ask(after("reworded", "on")), first);
    let second = recorder.ask(root());
    assert_ne!(first, second);
    let next = recorder.ask(after("reworded too", "on"));
    assert!(next != first && next != second, "the first may have come back");
}

#[test]
fn an_answer_that_was_carried_on_from_is_taken() {
    for echo in ["As you wish.  ", "reworded"] {
        let mut recorder = Recorder::new();
        let first = recorder.ask(root());
        assert_eq!(recorder.ask(after(echo, "on")), first);
        assert_ne!(recorder.ask(after("another one's words", "on")), first, "after {echo:?}");
    }
}

#[test]
fn whoever_asked_the_same_counts_before_the_answer_too() {
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    let other = recorder.begin(&request(root()));
    assert_ne!(recorder.ask(after("reworded", "on")), first, "a request under way");
    recorder.answer(&other, "As you wish.");

    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    let other = recorder.begin(&request(root()));
    recorder.fail(&other);
    assert_ne!(recorder.ask(after("Sorry, no answer.", "on")), first, "one that failed");
}

#[test]
fn nobody_carries_on_from_what_was_not_answered() {
    let mut recorder = Recorder::new();
    let call = recorder.begin(&request(root()));
    assert_ne!(recorder.ask(after("made up", "on")), call.trace, "under way");

    let mut recorder = Recorder::new();
    let call = recorder.begin(&request(root()));
    recorder.fail(&call);
    assert_ne!(recorder.ask(after("made up", "on")), call.trace, "failed");
}

#[test]
fn an_answer_that_came_after_failures_is_the_only_one() {
    let mut recorder = Recorder::new();
    let call = recorder.begin(&request(root()));
    recorder.fail(&call);
    let again = recorder.begin(&request(root()));
    assert_eq!((again.trace, again.placed), (call.trace, Some(Placed::TriesAgain)));
    recorder.answer(&again, "at last");
    assert_eq!(recorder.ask(after("reworded", "on")), call.trace);
}

#[test]
fn an_answer_that_came_twice_is_not_the_only_one() {
    let mut recorder = Recorder::new();
    let call = recorder.begin_named("job", &request(root()));
    recorder.named.clear();
    recorder
        .known
        .begun(&call.request, Begun { trace: call.trace, is_unnamed: true, placed: None, at_mono_us: 0 });
    (0..2).for_each(|n| recorder.answer(&call, &n.to_string()));
    assert_ne!(recorder.ask(after("reworded", "on")), call.trace);
}

#[test]
fn a_request_that_failed_leaves_the_answer_free() {
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    let next = request(after("reworded", "on"));
    for _ in 0..3 {
        let call = recorder.begin(&next);
        assert_eq!((call.trace, call.placed), (first, Some(Placed::Extends)));
        recorder.fail(&call);
    }
    let call = recorder.begin(&next);
    assert_eq!(call.trace, first);
    recorder.answer(&call, "well");
    assert_ne!(recorder.begin(&next).trace, first, "another's");
}

#[test]
fn a_failed_echo_leaves_it_free_too() {
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    let echo = recorder.begin(&request(after("As you wish.  ", "on")));
    assert_eq!(echo.trace, first);
    recorder.fail(&echo);
    assert_eq!(recorder.ask(after("reworded", "on")), first);
}

/// An attempt that had to open a trace is followed there, though the way to the other trace is free by then.
#[test]
fn a_retry_goes_where_the_failed_attempt_went() {
    let mut recorder = Recorder::new();
    let (_, b) = (recorder.ask(root()), recorder.begin(&request(root())));
    let next = request(after("reworded", "on"));
    let call = recorder.begin(&next);
    recorder.fail(&call);
    recorder.closed.insert(b.trace);
    recorder.now += 11 * MINUTE;
    let again = recorder.begin(&next);
    assert_eq!((again.trace, again.placed), (call.trace, Some(Placed::TriesAgain)));
}

#[test]
fn ended_traces_are_not_joined() {
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    recorder.closed.insert(first);
    recorder.now += 11 * MINUTE;
    let second = recorder.ask(root());
    assert_eq!(recorder.ask(after("reworded", "on")), second, "the first is over");
}

/// Under load traces are closed early: whose they were may still go on, until they would be over anyway.
#[test]
fn a_trace_that_was_closed_early_still_counts() {
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    recorder.closed.insert(first);
    recorder.now += 9 * MINUTE;
    let second = recorder.ask(root());
    assert_ne!(recorder.ask(after("reworded", "on")), second);

    // One that has gone on goes on from there.
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    assert_eq!(recorder.ask(after("reworded", "on")), first);
    recorder.closed.insert(first);
    let second = recorder.ask(root());
    assert_eq!(recorder.ask(after("reworded too", "on")), second);
}

#[test]
fn named_traces_get_no_calls_this_way_but_count() {
    let mut recorder = Recorder::new();
    let call = recorder.begin_named("job", &request(root()));
    recorder.answer(&call, "as you wish");
    assert_ne!(recorder.ask(after("reworded", "on")), call.trace);
    let unnamed = recorder.ask(root());
    let next = recorder.ask(after("reworded too", "on"));
    assert!(next != unnamed && next != call.trace);

    // Whoever names a trace does not come back without its name.
    let mut recorder = Recorder::new();
    let call = recorder.begin_named("job", &request(root()));
    recorder.answer(&call, "as you wish");
    recorder.closed.insert(call.trace);
    let unnamed = recorder.ask(root());
    assert_eq!(recorder.ask(after("reworded", "on")), unnamed);
}

#[test]
fn an_echo_of_an_ended_trace_is_not_another_ones_rewording() {
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    recorder.closed.insert(first);
    recorder.now += 11 * MINUTE;
    let call = recorder.begin(&request(root()));
    recorder.answer(&call, "another answer");
    assert_ne!(recorder.ask(after("As you wish.  ", "on")), call.trace);
    assert_eq!(recorder.ask(after("reworded", "on")), call.trace);
}

fn response(input: Value, previous: Option<&str>) -> RequestFacts {
    let body = json!({"model": "m", "input": input, "previous_response_id": previous}).to_string();
    let headers = RedactedHeaders::default();
    derive::request(&Provider::OPENAI, "POST", "/v1/responses", &headers, &Bytes::from(body))
}

#[test]
fn what_follows_a_named_response_is_no_beginning() {
    let mut recorder = Recorder::new();
    let answer = |recorder: &mut Recorder, call: &Call, id: &str| {
        let said = json!({"id": id, "type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": "hm"}]});
        answer_with(&mut recorder.known, call.trace, &call.request, &said);
    };
    let first = recorder.begin(&response(json!("begin"), None));
    answer(&mut recorder, &first, "resp_1");
    let second = recorder.begin(&response(json!("go"), Some("resp_1")));
    assert_eq!(second.trace, first.trace);
    answer(&mut recorder, &second, "resp_2");
    // "go" was not the first that was said there, and "begin" has been carried on from by its id.
    for input in [after("reworded", "on"), json!([user("begin"), assistant("reworded"), user("on")])] {
        assert_ne!(recorder.begin(&response(input, None)).trace, first.trace);
    }
    // An id that nobody knows leads nowhere, whatever is said beside it.
    let other = recorder.begin(&response(json!("go"), None));
    answer(&mut recorder, &other, "resp_3");
    assert_ne!(recorder.begin(&response(after("reworded", "on"), Some("resp_9"))).trace, other.trace);
    assert_eq!(recorder.begin(&response(after("reworded", "on"), None)).trace, other.trace);
}

#[test]
fn nothing_before_the_first_answer_is_no_sign() {
    let mut recorder = Recorder::new();
    let empty = recorder.ask(json!([{"role": "system", "content": "be brief"}]));
    let greeting = json!([assistant("Hello, how can I help?"), user("on")]);
    let greeted = recorder.ask(greeting.clone());
    assert_ne!(greeted, empty);
    assert_ne!(recorder.ask(greeting), greeted);
}

/// The answers in a prompt are made up: nobody asked for them. The first question is a beginning all the same.
#[test]
fn examples_in_a_prompt_were_not_asked() {
    let mut recorder = Recorder::new();
    let examples = [user("2+2"), assistant("4"), user("3+3"), assistant("6")];
    let ask = |said: &[Value]| json!([&examples[..], said].concat());
    let first = recorder.ask(ask(&[user("1+1")]));
    let second = recorder.ask(ask(&[user("5+5")]));
    assert_ne!(first, second);
    assert_eq!(recorder.ask(ask(&[user("1+1"), assistant("two"), user("and on")])), first);
    assert_eq!(recorder.ask(ask(&[user("5+5"), assistant("ten"), user("and on")])), second);
}

/// A prompt ends with how the answer is to begin: no question follows it.
#[test]
fn a_prefilled_answer_is_no_rewording() {
    let mut recorder = Recorder::new();
    let asked = recorder.ask(root());
    assert_ne!(recorder.ask(json!([user("go"), assistant("{")])), asked);
    assert_eq!(recorder.ask(after("reworded", "on")), asked);
}

#[test]
fn a_loop_keeps_its_model() {
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    let next = request(after("reworded", "on"));
    let other = RequestFacts { model: Some("another".into()), ..next.clone() };
    assert_ne!(recorder.begin(&other).trace, first);
    assert_eq!(recorder.begin(&next).trace, first);
}

/// A batch that was rolled back forgets its calls: their ends never come here.
#[test]
fn a_call_that_was_not_recorded_still_asked() {
    let mut recorder = Recorder::new();
    let lost = recorder.begin(&request(root()));
    assert_ne!(recorder.ask(after("reworded", "on")), lost.trace);
    let first = recorder.ask(root());
    assert_ne!(recorder.ask(after("reworded too", "on")), first);
}

#[test]
fn a_call_of_which_nothing_is_known_may_have_asked_the_same() {
    let mut recorder = Recorder::new();
    let first = recorder.ask(root());
    recorder.known.lost_one();
    assert_ne!(recorder.ask(after("reworded", "on")), first);
}

#[test]
fn of_several_one_that_is_remembered_is_not_the_only_one() {
    let mut recorder = Recorder::new();
    let (first, second) = (recorder.ask(root()), recorder.ask(root()));
    let mut other = request(root());
    for history in 1..REMEMBERED {
        other.lineage.history = history as i64;
        let trace = recorder.open();
        recorder.known.begun(&other, Begun { trace, is_unnamed: true, placed: None, at_mono_us: 0 });
    }
    let next = recorder.ask(after("reworded", "on"));
    assert!(next != first && next != second);
}
