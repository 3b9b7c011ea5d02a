//! How to replay: how well a request must match, and what becomes of attempts, ambiguity and holes.

use serde::{Deserialize, Serialize};

/// How well a request matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// 0: the same bytes.
    Bytes,
    /// 1: the same JSON, transport and billing fields left out.
    Canonical,
    /// 2: the same after renaming round-trip ids.
    Renamed,
    /// 3: the same with volatile values masked.
    Masked,
    /// 4: the same but for a few words of the history.
    Near,
}

impl Rung {
    pub const ALL: [Self; 5] = [Self::Bytes, Self::Canonical, Self::Renamed, Self::Masked, Self::Near];

    /// The rung of this number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| rung.number() == number)
    }

    /// The number by which reports and `--max-rung` know it.
    pub fn number(self) -> u8 {
        match self {
            Self::Bytes => 0,
            Self::Canonical => 1,
            Self::Renamed => 2,
            Self::Masked => 3,
            Self::Near => 4,
        }
    }
}

/// What becomes of recorded attempts that failed and were tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attempts {
    /// Each is served as it was.
    #[default]
    Faithful,
    /// They are passed over: the last attempt's answer is served at once.
    Collapse,
}

/// What becomes of identical requests that overlap in time and have different answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ambiguous {
    /// Served by arrival, and counted.
    #[default]
    ByArrival,
    /// Refused.
    Fail,
}

/// What becomes of a recording with holes inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holes {
    #[default]
    Refuse,
    Allow,
}

/// What becomes of a request to which the recording has no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMiss {
    /// It is refused.
    #[default]
    Refuse,
    /// A model is asked.
    Ask,
}

/// From where on a replay goes its own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForkAt {
    /// It follows the recording to its end.
    #[default]
    Never,
    /// A model is asked from this step on, and the recording before it.
    Step(u32),
}

/// How many words of a history may differ at [`Rung::Near`]: inserted, left out or replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EditBudget {
    pub words: u32,
}

/// Whether served answers carry live values in the place of recorded ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rebind {
    /// The recorded bytes are served.
    #[default]
    Off,
    /// Where a masked id or folder differed, later answers name the live one.
    On,
}

/// How to replay.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub max_rung: Rung,
    /// What [`Rung::Near`] tolerates, if `max_rung` goes that far.
    pub near: EditBudget,
    pub attempts: Attempts,
    pub ambiguous: Ambiguous,
    pub holes: Holes,
    pub rebind: Rebind,
    pub on_miss: OnMiss,
    pub fork: ForkAt,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_rung: Rung::Masked,
            near: EditBudget::default(),
            attempts: Attempts::default(),
            ambiguous: Ambiguous::default(),
            holes: Holes::default(),
            rebind: Rebind::default(),
            on_miss: OnMiss::default(),
            fork: ForkAt::default(),
        }
    }
}
