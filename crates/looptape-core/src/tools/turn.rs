//! In which order answers are given to tools that run at once.
//!
//! Some agents tell the model of results in the order in which they came, so the order is part of the run: in a replay,
//! where no tool takes any time, it is that of the recording. A call waits for those of the same step whose results the
//! model was told of before its own; where that is not known, for those that ended before it. Calls that ran one after the
//! other wait for none.

use super::desk::RecordedTool;

/// When an answer is to be given, among those of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The recorded call whose answer it is.
    pub own: usize,
    /// Those whose answers are to be given before.
    pub after: Vec<usize>,
}

impl Turn {
    /// The turn of the call at `own` among `calls`.
    pub(super) fn of<'a>(own: usize, calls: impl Iterator<Item = &'a RecordedTool> + Clone) -> Self {
        let Some(call) = calls.clone().nth(own) else { return Self::default() };
        let is_before = |(at, other): &(usize, &RecordedTool)| *at != own && comes_before(other, call);
        Self { own, after: calls.enumerate().filter(is_before).map(|(at, _)| at).collect() }
    }
}

fn comes_before(other: &RecordedTool, call: &RecordedTool) -> bool {
    let is_told_before = other.told_at.zip(call.told_at).map(|(other, own)| other < own);
    let ran = other.ran_us.zip(call.ran_us);
    let ended_before = ran.map(|(other, own)| other.1 < own.1);
    let ran_at_once = ran.is_none_or(|(other, own)| other.0 < own.1 && own.0 < other.1);
    call.step.is_some()
        && other.step == call.step
        && ran_at_once
        && is_told_before.or(ended_before).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::super::AnswerFrom;
    use super::*;
    use serde_json::Value;

    fn call(step: u32, told_at: Option<usize>, ran_us: Option<(i64, i64)>) -> RecordedTool {
        RecordedTool {
            step: Some(step),
            sub: Some(1),
            name: "f".into(),
            call_id: None,
            arguments: Value::Null,
            end: None,
            from: AnswerFrom::Tool,
            told_by: None,
            told_at,
            ran_us,
        }
    }

    #[test]
    fn those_at_once_come_in_the_order_in_which_the_model_was_told() {
        let slow_first =
            [call(1, None, Some((0, 90))), call(1, None, Some((1, 50))), call(2, None, Some((2, 3)))];
        let none = Vec::<usize>::new;
        let after = |calls: &[RecordedTool], own| Turn::of(own, calls.iter()).after;
        assert_eq!([0, 1, 2].map(|own| after(&slow_first, own)), [vec![1], none(), none()]);
        let told_as_called = [call(1, Some(0), Some((0, 90))), call(1, Some(1), Some((1, 50)))];
        assert_eq!([0, 1].map(|own| after(&told_as_called, own)), [none(), vec![0]]);
        let told_alone = [call(1, Some(1), None), call(1, Some(0), None), call(1, None, None)];
        assert_eq!([0, 1, 2].map(|own| after(&told_alone, own)), [vec![1], none(), none()]);
        let one_after_the_other = [call(1, Some(1), Some((0, 40))), call(1, Some(0), Some((50, 90)))];
        assert_eq!([0, 1].map(|own| after(&one_after_the_other, own)), [none(), none()]);
    }
}
