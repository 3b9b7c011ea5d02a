//! From where on a replay goes its own way: the calls of a tape that lie behind a step.
//!
//! A step lies behind the fork if its number is that of the fork or a higher one, whatever its lane. A call
//! that is no step does if it was made after the first attempt of the fork's step.

use super::options::ForkAt;
use super::tape::{EntryId, Tape};

/// A step that the recording does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told())]
pub struct NoSuchStep {
    pub step: u32,
    /// The recording's last step; 0 if it has none.
    pub last: u32,
}

impl NoSuchStep {
    fn told(self) -> String {
        match self.last {
            0 => format!("there is no step {}: the recording holds no model call", self.step),
            1 => format!("there is no step {}: the recording has one step", self.step),
            last => format!("there is no step {}: the recording has steps 1 to {last}", self.step),
        }
    }
}

/// Which calls of one tape lie behind a fork.
#[derive(Clone, Copy, Debug)]
pub(super) enum ForkPoint {
    Never,
    At { step: u32, sent_us: i64 },
}

impl ForkPoint {
    pub(super) fn find(tape: &Tape, fork: ForkAt) -> Result<Self, NoSuchStep> {
        let ForkAt::Step(step) = fork else { return Ok(Self::Never) };
        let calls = || tape.ids().map(|id| &tape.entry(id).call);
        let first = calls().filter(|call| call.label.step == Some(step)).map(|call| call.sent_us).min();
        match first {
            Some(sent_us) => Ok(Self::At { step, sent_us }),
            None => {
                let last = calls().filter_map(|call| call.label.step).max().unwrap_or(0);
                Err(NoSuchStep { step, last })
            }
        }
    }

    pub(super) fn is_set(self) -> bool {
        matches!(self, Self::At { .. })
    }

    /// Whether the recorded answer of a call is not to be served any more.
    pub(super) fn is_before(self, tape: &Tape, id: EntryId) -> bool {
        let Self::At { step, sent_us } = self else { return false };
        let call = &tape.entry(id).call;
        match call.label.step {
            Some(number) => number >= step,
            None => call.sent_us >= sent_us,
        }
    }
}
