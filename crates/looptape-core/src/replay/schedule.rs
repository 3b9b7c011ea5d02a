//! In which order recorded calls are sent again, without their times.
//!
//! A call that started after another had ended may depend on it; calls that ran side by side did not. So the
//! recorded starts and ends are walked through in their order: a start sends, an end waits. What was
//! concurrent stays so, and nothing is sent before what it may depend on.

/// When a call ran, on the trace's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedSpan {
    pub sent_us: i64,
    pub end_us: i64,
}

/// What to do next with the call at this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Send(usize),
    Await(usize),
}

/// The starts and ends of calls, in their order. At one instant ends come before starts, but no call ends
/// before it started.
pub fn turns(spans: &[RecordedSpan]) -> Vec<Turn> {
    let starts = spans.iter().enumerate().map(|(at, span)| (span.sent_us, 1, at, Turn::Send(at)));
    let end_us = |span: &RecordedSpan| span.end_us.max(span.sent_us.saturating_add(1));
    let ends = spans.iter().enumerate().map(|(at, span)| (end_us(span), 0, at, Turn::Await(at)));
    let mut turns: Vec<(i64, u8, usize, Turn)> = starts.chain(ends).collect();
    turns.sort_unstable_by_key(|&(time_us, kind, at, _)| (time_us, kind, at));
    turns.into_iter().map(|(.., turn)| turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(sent_us: i64, end_us: i64) -> RecordedSpan {
        RecordedSpan { sent_us, end_us }
    }

    #[test]
    fn what_was_concurrent_stays_so() {
        use Turn::{Await, Send};
        let spans = [span(0, 10), span(10, 20), span(12, 15), span(30, 30)];
        assert_eq!(
            turns(&spans),
            [Send(0), Await(0), Send(1), Send(2), Await(2), Await(1), Send(3), Await(3)]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_sent_before_what_it_may_depend_on(runs in prop::collection::vec((0i64..30, 0i64..8), 0..12)) {
            let spans: Vec<RecordedSpan> = runs.iter().map(|&(sent, long)| span(sent, sent + long)).collect();
            let turns = turns(&spans);
            prop_assert_eq!(turns.len(), 2 * spans.len());
            let place = |turn| turns.iter().position(|&t| t == turn).unwrap();
            for a in 0..spans.len() {
                prop_assert!(place(Turn::Send(a)) < place(Turn::Await(a)));
                for b in 0..spans.len() {
                    let had_ended = spans[a].end_us.max(spans[a].sent_us + 1) <= spans[b].sent_us;
                    prop_assert_eq!(place(Turn::Await(a)) < place(Turn::Send(b)), had_ended && a != b);
                }
            }
        }
    }
}
