//! Inter-chunk latency: how evenly an answer flowed.
//!
//! The gaps are those between the pieces in which a streamed body came, from the piece that brought the first
//! output to the one that brought the last: what comes before is the time to the first token, and what comes
//! after is the protocol's end.

use super::Ms;
use crate::facts::CallFacts;

/// The gaps of one answer. `pieces_us` are the times of its pieces, ascending; without a stream there are no gaps.
pub(super) fn gaps(fact: &CallFacts, pieces_us: &[i64]) -> impl Iterator<Item = Ms> {
    let first = [fact.first_reasoning_us, fact.first_content_us, fact.first_tool_call_us];
    let output = first.into_iter().flatten().min().zip(fact.last_output_us).filter(|_| fact.stream);
    let (first, last) = output.unwrap_or((i64::MAX, i64::MIN));
    let from = pieces_us.partition_point(|at| *at < first);
    let to = pieces_us.partition_point(|at| *at <= last).max(from);
    pieces_us[from..to].windows(2).map(|pair| Ms::between(pair[0], pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::example::call;

    #[test]
    fn gaps_lie_between_the_first_output_and_the_last() {
        let mut fact = call(0, 0, 1000);
        (fact.stream, fact.first_content_us, fact.last_output_us) = (true, Some(300), Some(700));
        let pieces = [100, 300, 350, 700, 900];
        let us = |fact: &CallFacts| gaps(fact, &pieces).map(Ms::us).collect::<Vec<_>>();
        assert_eq!(us(&fact), [50, 350]);
        assert_eq!(gaps(&fact, &[]).count(), 0);
        fact.stream = false;
        assert_eq!(us(&fact), [0; 0]);
        (fact.stream, fact.last_output_us) = (true, None);
        assert_eq!(us(&fact), [0; 0]);
    }
}
