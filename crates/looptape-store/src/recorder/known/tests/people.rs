//! Clients that put every answer into other words, and others that began alike: whatever happens.

use super::rewording::{Call, Recorder, assistant, user};
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

/// Somebody whose words nobody else uses, but for the first ones.
#[derive(Default)]
struct Person {
    said: Vec<Value>,
    under_way: Option<Call>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Begins(usize),
    Ends(usize, End),
    /// Nothing is under way there, and there is no room.
    ClosedEarly(u64),
    /// Somebody else comes in the place of this one.
    Leaves(usize),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Answered,
    /// The same request is sent again.
    TriedAgain,
    /// The client says what the model could have said.
    MadeUp,
}

fn event() -> impl Strategy<Value = Event> {
    let end = prop_oneof![4 => Just(End::Answered), 1 => Just(End::TriedAgain), 1 => Just(End::MadeUp)];
    prop_oneof![
        6 => (0..3_usize).prop_map(Event::Begins),
        6 => (0..3_usize, end).prop_map(|(who, end)| Event::Ends(who, end)),
        1 => (1..8_u64).prop_map(Event::ClosedEarly),
        1 => (0..3_usize).prop_map(Event::Leaves),
    ]
}

proptest! {
    /// Whoever begins alike, and whatever becomes of it: no trace has calls of two.
    #[test]
    fn no_trace_is_of_two(events in prop::collection::vec(event(), 0..60)) {
        let mut recorder = Recorder::new();
        let mut people: HashMap<usize, Person> = HashMap::new();
        let (mut seats, mut next) = ([0, 1, 2], 3);
        let mut owners: HashMap<TraceNumber, usize> = HashMap::new();
        for (step, event) in events.into_iter().enumerate() {
            recorder.now += 1;
            match event {
                Event::Begins(seat) => {
                    let who = seats[seat];
                    let person = people.entry(who).or_default();
                    if person.said.is_empty() {
                        person.said.push(user("go"));
                    }
                    if person.under_way.is_none() {
                        let attempt = RequestFacts { retry_count: Some(0), ..request(json!(person.said)) };
                        let call = recorder.begin(&attempt);
                        prop_assert_eq!(*owners.entry(call.trace).or_insert(who), who);
                        person.under_way = Some(call);
                    }
                }
                Event::Ends(seat, end) => {
                    let who = seats[seat];
                    let Some(person) = people.get_mut(&who) else { continue };
                    let Some(call) = person.under_way.take() else { continue };
                    match end {
                        End::Answered => recorder.answer(&call, &format!("answer {step}")),
                        End::TriedAgain | End::MadeUp => recorder.fail(&call),
                    }
                    if !matches!(end, End::TriedAgain) {
                        person.said.push(assistant(&format!("{who} heard at {step}")));
                        person.said.push(user("on"));
                    }
                }
                Event::ClosedEarly(trace) => {
                    let is_busy = |p: &Person| p.under_way.as_ref().is_some_and(|c| c.trace == TraceNumber(trace));
                    if !people.values().any(is_busy) {
                        recorder.closed.insert(TraceNumber(trace));
                    }
                }
                Event::Leaves(seat) => {
                    seats[seat] = next;
                    next += 1;
                }
            }
        }
    }
}
