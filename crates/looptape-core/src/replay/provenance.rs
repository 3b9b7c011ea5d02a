//! Where the answer to a replayed call came from.
//!
//! Kept beside every call of the trace that a replay leaves, so that nobody takes a recorded answer for a
//! new one, or a simulated one for a model's. The words are a contract.

use super::options::Rung;
use super::report::DivergenceCode;
use serde::Serialize;

/// Where an answer came from, and why from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The recording: the answer of its call `recorded_seq`.
    Cached { recorded_seq: u32, rung: Rung },
    /// A model.
    Asked { model: ModelKind, why: WhyAsked },
    /// Nobody: the request was refused.
    Refused(WhyRefused),
    /// Nobody: an optional call that was not recorded got its neutral answer.
    SideCall,
}

/// Who can be asked where the recording has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// The provider.
    Live,
    /// The simulated provider.
    Mock,
}

/// Why a model was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyAsked {
    /// The call lies behind the step from which the replay goes its own way.
    Fork,
    /// The recording has no answer to it.
    Missed(DivergenceCode),
}

/// Why nobody was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyRefused {
    /// The recording has no answer to it, and nothing else was to be asked.
    Diverged(DivergenceCode),
    /// It could have cost more than was left.
    OverBudget,
    /// A model was to be asked, and could not be: the request refers to what only the recorded run's provider
    /// has, or nobody knows where its provider is.
    CannotAsk,
}

/// The five sources, as `show` and the database call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerSource {
    Cached,
    Live,
    Mock,
    Refused,
    SideCall,
}

impl ModelKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Mock => "mock",
        }
    }
}

impl AnswerSource {
    const ALL: [Self; 5] = [Self::Cached, Self::Live, Self::Mock, Self::Refused, Self::SideCall];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Live => "live",
            Self::Mock => "mock",
            Self::Refused => "refused",
            Self::SideCall => "side_call",
        }
    }
}

const FORK: &str = "FORK";
const OVER_BUDGET: &str = "OVER_BUDGET";
const CANNOT_ASK: &str = "CANNOT_ASK";

impl Provenance {
    pub fn source(&self) -> AnswerSource {
        match self {
            Self::Cached { .. } => AnswerSource::Cached,
            Self::Asked { model: ModelKind::Live, .. } => AnswerSource::Live,
            Self::Asked { model: ModelKind::Mock, .. } => AnswerSource::Mock,
            Self::Refused(_) => AnswerSource::Refused,
            Self::SideCall => AnswerSource::SideCall,
        }
    }

    /// The recorded call whose answer was served, and how well the request matched it.
    pub fn recorded(&self) -> Option<(u32, Rung)> {
        match *self {
            Self::Cached { recorded_seq, rung } => Some((recorded_seq, rung)),
            Self::Asked { .. } | Self::Refused(_) | Self::SideCall => None,
        }
    }

    /// Why the answer is not from the recording: a divergence code, `FORK`, `OVER_BUDGET`, `CANNOT_ASK`.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Cached { .. } | Self::SideCall => None,
            Self::Asked { why: WhyAsked::Fork, .. } => Some(FORK),
            Self::Asked { why: WhyAsked::Missed(code), .. } | Self::Refused(WhyRefused::Diverged(code)) => {
                Some(code.as_str())
            }
            Self::Refused(WhyRefused::OverBudget) => Some(OVER_BUDGET),
            Self::Refused(WhyRefused::CannotAsk) => Some(CANNOT_ASK),
        }
    }

    /// Put together again from its words; `None` if they are not of this version.
    pub fn parse(source: &str, recorded: Option<(u32, Rung)>, reason: Option<&str>) -> Option<Self> {
        let why_asked = || match reason? {
            FORK => Some(WhyAsked::Fork),
            code => DivergenceCode::parse(code).map(WhyAsked::Missed),
        };
        let asked = |model| Some(Self::Asked { model, why: why_asked()? });
        match AnswerSource::ALL.into_iter().find(|known| known.as_str() == source)? {
            AnswerSource::Cached => recorded.map(|(recorded_seq, rung)| Self::Cached { recorded_seq, rung }),
            AnswerSource::Live => asked(ModelKind::Live),
            AnswerSource::Mock => asked(ModelKind::Mock),
            AnswerSource::SideCall => Some(Self::SideCall),
            AnswerSource::Refused => Some(Self::Refused(match reason? {
                OVER_BUDGET => WhyRefused::OverBudget,
                CANNOT_ASK => WhyRefused::CannotAsk,
                code => WhyRefused::Diverged(DivergenceCode::parse(code)?),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        let codes = || DivergenceCode::ALL.into_iter();
        let asked = |model| {
            let missed = codes().map(move |code| Provenance::Asked { model, why: WhyAsked::Missed(code) });
            missed.chain([Provenance::Asked { model, why: WhyAsked::Fork }])
        };
        let all = Rung::ALL
            .into_iter()
            .map(|rung| Provenance::Cached { recorded_seq: 7, rung })
            .chain(asked(ModelKind::Live))
            .chain(asked(ModelKind::Mock))
            .chain(codes().map(|code| Provenance::Refused(WhyRefused::Diverged(code))))
            .chain([WhyRefused::OverBudget, WhyRefused::CannotAsk].map(Provenance::Refused))
            .chain([Provenance::SideCall]);
        for known in all {
            let read = Provenance::parse(known.source().as_str(), known.recorded(), known.reason());
            assert_eq!(read, Some(known));
        }
        assert_eq!(Provenance::parse("guessed", None, None), None);
        assert_eq!(Provenance::parse("live", None, Some("SOMETHING_NEW")), None);
    }
}
