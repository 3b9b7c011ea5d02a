//! A sweep line over intervals: how much of a span had a model call in flight, a tool running, both, neither.
//!
//! Whole microseconds throughout, so the four parts sum to the span exactly.

use super::Ms;

/// From `start_us` to `end_us`; empty if it ends before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start_us: i64,
    pub(super) end_us: i64,
}

/// The four parts of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) model_only: Ms,
    pub(super) tool_only: Ms,
    pub(super) both: Ms,
    pub(super) neither: Ms,
}

/// Splits `span`; whatever reaches beyond it is cut off.
pub(super) fn split(span: Interval, model: &[Interval], tool: &[Interval]) -> Split {
    let inside = |interval: &Interval| Interval {
        start_us: interval.start_us.max(span.start_us),
        end_us: interval.end_us.min(span.end_us),
    };
    // (time, change in model calls in flight, change in tools running)
    let mut edges: Vec<(i64, i32, i32)> = Vec::with_capacity(2 * (model.len() + tool.len()) + 2);
    for (intervals, kind) in [(model, (1, 0)), (tool, (0, 1))] {
        for interval in intervals.iter().map(inside).filter(|i| i.start_us < i.end_us) {
            edges.push((interval.start_us, kind.0, kind.1));
            edges.push((interval.end_us, -kind.0, -kind.1));
        }
    }
    edges.push((span.end_us.max(span.start_us), 0, 0));
    edges.sort_unstable();

    let mut parts = Split::default();
    let (mut now, mut models, mut tools) = (span.start_us, 0, 0);
    for (time, model_change, tool_change) in edges {
        let part = match (models > 0, tools > 0) {
            (true, false) => &mut parts.model_only,
            (false, true) => &mut parts.tool_only,
            (true, true) => &mut parts.both,
            (false, false) => &mut parts.neither,
        };
        *part = *part + Ms::from_us(time - now);
        now = time;
        models += model_change;
        tools += tool_change;
    }
    parts
}

impl Split {
    #[cfg(test)]
    fn total(self) -> Ms {
        self.model_only + self.tool_only + self.both + self.neither
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval(start_us: i64, end_us: i64) -> Interval {
        Interval { start_us, end_us }
    }

    #[test]
    fn by_hand() {
        let model = [interval(10, 30), interval(20, 40), interval(90, 200)];
        let tool = [interval(35, 60)];
        let parts = split(interval(0, 100), &model, &tool);
        let us = |ms: Ms| ms.us();
        assert_eq!(
            [us(parts.model_only), us(parts.tool_only), us(parts.both), us(parts.neither)],
            [25 + 10, 20, 5, 10 + 30]
        );
    }

    fn intervals() -> impl Strategy<Value = Vec<Interval>> {
        proptest::collection::vec((-50i64..150, -20i64..80), 0..12)
            .prop_map(|v| v.into_iter().map(|(start, len)| interval(start, start + len)).collect())
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_span_and_match_counting(length in 0i64..100, model in intervals(), tool in intervals()) {
            let parts = split(interval(0, length), &model, &tool);
            prop_assert_eq!(parts.total(), Ms::from_us(length));
            let covers = |set: &[Interval], t: i64| set.iter().any(|i| i.start_us <= t && t < i.end_us);
            let count = |m: bool, w: bool| {
                (0..length).filter(|t| covers(&model, *t) == m && covers(&tool, *t) == w).count() as i64
            };
            prop_assert_eq!(parts.model_only.us(), count(true, false));
            prop_assert_eq!(parts.tool_only.us(), count(false, true));
            prop_assert_eq!(parts.both.us(), count(true, true));
            prop_assert_eq!(parts.neither.us(), count(false, false));
        }
    }
}
