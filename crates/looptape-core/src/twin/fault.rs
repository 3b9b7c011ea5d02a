//! What goes wrong, and when: by place (loop, step, attempt), by time, by chance.

use super::call::{CallPlace, Delivery};
use super::fault_text;
use super::place_range::PlaceRange;
use super::service::ServiceEnding;
use crate::draws::Draws;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A fault of a script: what happens to the calls that all its conditions name.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub kind: FaultKind,
    when: When,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// An error answer with this status.
    Status {
        status: u16,
        retry_after_us: Option<u64>,
    },
    /// Nothing comes for so long, then a 504.
    Timeout {
        after_us: u64,
    },
    /// The connection is closed without an answer.
    Drop,
    /// The first token comes so many times later, and so much later beyond that.
    Latency {
        factor: f64,
        extra_us: u64,
    },
    /// Tokens come so many times slower.
    Drip {
        factor: f64,
    },
    StreamError {
        after_tokens: u64,
    },
    Cut(CutAfter),
    Malformed,
    /// The account is used up: no retry cures it.
    NoQuota,
}

/// After how much an answer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutAfter {
    Bytes(u64),
    Tokens(u64),
}

/// Which calls: all conditions hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct When {
    loops: Option<PlaceRange>,
    steps: Option<PlaceRange>,
    attempts: Option<PlaceRange>,
    from_us: u64,
    until_us: Option<u64>,
    rate: Option<f64>,
}

/// Why what is written is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    #[error("`{0}` is no kind of fault: write a status such as 429 or 529, or one of {KINDS}")]
    Kind(String),
    #[error("`{word}` says nothing in the fault `{text}`: write for example {EXAMPLES}")]
    Word { word: String, text: String },
    #[error("{0}")]
    Figure(String),
}

const KINDS: &str = "timeout, drop, latency, drip, stream_error, cut, malformed, insufficient_quota";
const EXAMPLES: &str =
    "\"fail first 2 with 429\", \"outage 60s..120s\", \"529 at 5 %\", \"cut after 300 bytes\"";

impl Fault {
    /// From when until when no call is served, if that is what it does.
    pub fn outage_us(&self) -> Option<(u64, u64)> {
        let fails_all = match self.kind {
            FaultKind::Status { status, .. } => status >= 500,
            FaultKind::Timeout { .. } | FaultKind::Drop => true,
            _ => false,
        };
        let When { loops, steps, attempts, from_us, until_us, rate } = self.when;
        let is_everywhere = loops.is_none() && steps.is_none() && attempts.is_none() && rate.is_none();
        Some((from_us, until_us?)).filter(|_| fails_all && is_everywhere)
    }
}

/// What all faults together do to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Effects {
    pub(super) refusing: Option<Refusing>,
    pub(super) latency_factor: f64,
    pub(super) gap_factor: f64,
    pub(super) extra_us: u64,
    pub(super) ending: ServiceEnding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusing {
    Status { status: u16, after_us: u64, retry_after_us: Option<u64> },
    NoQuota,
    Drop,
}

/// Numbers drawn for faults start here; below are those for times.
const FIRST_DRAW: u64 = 16;

impl Effects {
    /// The first fault that refuses decides; latencies add up; the first that ends an answer early ends it.
    pub(super) fn of(faults: &[Fault], at_us: u64, place: CallPlace, draws: Draws) -> Self {
        let none = Self {
            refusing: None,
            latency_factor: 1.0,
            gap_factor: 1.0,
            extra_us: 0,
            ending: ServiceEnding::Complete,
        };
        let applies = |(number, fault): &(u64, &Fault)| {
            let rate = fault.when.rate.unwrap_or(1.0);
            fault.when.names(at_us, place) && draws.happens(FIRST_DRAW + number, rate)
        };
        (0..).zip(faults).filter(applies).fold(none, |effects, (_, fault)| effects.with(fault.kind))
    }

    /// An answer that is not streamed has no inside in which an error could come: it is the error.
    pub(super) fn as_sent(mut self, delivery: Delivery) -> Self {
        if let (Delivery::Whole, ServiceEnding::StreamError { .. }) = (delivery, self.ending) {
            self.refuse(Refusing::Status { status: 500, after_us: 0, retry_after_us: None });
        }
        self
    }

    fn with(mut self, kind: FaultKind) -> Self {
        match kind {
            FaultKind::Latency { factor, extra_us } => {
                self.latency_factor *= factor;
                self.extra_us = self.extra_us.saturating_add(extra_us);
            }
            FaultKind::Drip { factor } => self.gap_factor *= factor,
            FaultKind::Status { status, retry_after_us } => {
                self.refuse(Refusing::Status { status, after_us: 0, retry_after_us });
            }
            FaultKind::Timeout { after_us } => {
                self.refuse(Refusing::Status { status: 504, after_us, retry_after_us: None });
            }
            FaultKind::Drop => self.refuse(Refusing::Drop),
            FaultKind::NoQuota => self.refuse(Refusing::NoQuota),
            FaultKind::StreamError { after_tokens } => self.end(ServiceEnding::StreamError { after_tokens }),
            FaultKind::Cut(after) => self.end(ServiceEnding::Cut(after)),
            FaultKind::Malformed => self.end(ServiceEnding::Malformed),
        }
        self
    }

    fn refuse(&mut self, refusing: Refusing) {
        self.refusing = self.refusing.or(Some(refusing));
    }

    fn end(&mut self, ending: ServiceEnding) {
        if self.ending == ServiceEnding::Complete {
            self.ending = ending;
        }
    }
}

impl When {
    fn names(&self, at_us: u64, place: CallPlace) -> bool {
        let is_in = |range: Option<PlaceRange>, place| range.is_none_or(|range| range.contains(place));
        let is_time = at_us >= self.from_us && self.until_us.is_none_or(|until| at_us < until);
        is_time
            && is_in(self.loops, place.loop_no)
            && is_in(self.steps, u64::from(place.step))
            && is_in(self.attempts, u64::from(place.attempt))
    }
}

/// A fault as it is written in a table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    #[serde(deserialize_with = "word_or_number")]
    pub(super) kind: String,
    /// The first so many attempts of each step.
    pub(super) first: Option<u64>,
    pub(super) loops: Option<PlaceRange>,
    pub(super) steps: Option<PlaceRange>,
    pub(super) attempts: Option<PlaceRange>,
    pub(super) from_s: Option<f64>,
    pub(super) until_s: Option<f64>,
    pub(super) rate: Option<f64>,
    pub(super) factor: Option<f64>,
    pub(super) extra_ms: Option<f64>,
    pub(super) after_bytes: Option<u64>,
    pub(super) after_tokens: Option<u64>,
    pub(super) after_s: Option<f64>,
    pub(super) retry_after_s: Option<f64>,
}

impl Written {
    pub(super) fn fault(self) -> Result<Fault, FaultError> {
        Ok(Fault { kind: self.what()?, when: self.when()? })
    }

    fn what(&self) -> Result<FaultKind, FaultError> {
        let factor = |default| positive("factor", self.factor.unwrap_or(default));
        let kind = self.kind.replace('-', "_");
        Ok(match kind.as_str() {
            "drop" | "dropped" => FaultKind::Drop,
            "timeout" => {
                FaultKind::Timeout { after_us: micros("after_s", self.after_s.unwrap_or(60.0), 1e6)? }
            }
            "latency" => FaultKind::Latency {
                // A spike without figures is one of three times the usual.
                factor: factor(if self.extra_ms.is_some() { 1.0 } else { 3.0 })?,
                extra_us: micros("extra_ms", self.extra_ms.unwrap_or(0.0), 1e3)?,
            },
            "drip" => FaultKind::Drip { factor: factor(10.0)? },
            "stream_error" => FaultKind::StreamError { after_tokens: self.after_tokens.unwrap_or(5) },
            "cut" => FaultKind::Cut(match (self.after_bytes, self.after_tokens) {
                (Some(bytes), _) => CutAfter::Bytes(bytes),
                (None, tokens) => CutAfter::Tokens(tokens.unwrap_or(5)),
            }),
            "malformed" => FaultKind::Malformed,
            "insufficient_quota" => FaultKind::NoQuota,
            status => FaultKind::Status {
                status: status
                    .parse()
                    .ok()
                    .filter(|status| (400..600).contains(status))
                    .ok_or_else(|| FaultError::Kind(self.kind.clone()))?,
                retry_after_us: self
                    .retry_after_s
                    .map(|seconds| micros("retry_after_s", seconds, 1e6))
                    .transpose()?,
            },
        })
    }

    fn when(&self) -> Result<When, FaultError> {
        let time = |name, seconds: Option<f64>| seconds.map(|seconds| micros(name, seconds, 1e6)).transpose();
        let attempts = match (self.first, self.attempts) {
            (Some(0), _) => return Err(FaultError::Figure("`first` is 1 or more".into())),
            (Some(first), None) => Some(PlaceRange::first(first)),
            (Some(_), Some(_)) => {
                return Err(FaultError::Figure("write `first` or `attempts`, not both".into()));
            }
            (None, attempts) => attempts,
        };
        let (from_us, until_us) = (time("from_s", self.from_s)?.unwrap_or(0), time("until_s", self.until_s)?);
        if until_us.is_some_and(|until| until <= from_us) {
            return Err(FaultError::Figure("`until_s` is not after `from_s`".into()));
        }
        if let Some(rate) = self.rate.filter(|rate| !(0.0..=1.0).contains(rate)) {
            return Err(FaultError::Figure(format!("`rate` is between 0 and 1 (0.05 is 5 %), not {rate}")));
        }
        Ok(When { loops: self.loops, steps: self.steps, attempts, from_us, until_us, rate: self.rate })
    }
}

fn positive(name: &str, value: f64) -> Result<f64, FaultError> {
    let is_possible = value.is_finite() && value > 0.0;
    is_possible
        .then_some(value)
        .ok_or_else(|| FaultError::Figure(format!("`{name}` is above 0, not {value}")))
}

fn micros(name: &str, value: f64, unit_us: f64) -> Result<u64, FaultError> {
    let is_possible = value.is_finite() && value >= 0.0;
    is_possible
        .then_some((value * unit_us) as u64)
        .ok_or_else(|| FaultError::Figure(format!("`{name}` is 0 or more, not {value}")))
}

fn word_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Word;
    impl Visitor<'_> for Word {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a status such as 429, or one of {KINDS}")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
        fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
            Ok(value.to_string())
        }
        fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
            Ok(value.to_string())
        }
    }
    deserializer.deserialize_any(Word)
}

impl std::str::FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        fault_text::read(text)?.fault()
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;
        impl<'de> Visitor<'de> for TextOrTable {
            type Value = Fault;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a fault such as {EXAMPLES}, or a table with `kind`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Fault, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fault, A::Error> {
                let written = Written::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                written.fault().map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(TextOrTable)
    }
}
