//! Scenarios that are there already: to be run as they are, or as a beginning.

use super::ScenarioError;

/// A scenario of the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    /// In a few words.
    pub what: &'static str,
    pub text: &'static str,
}

macro_rules! preset {
    ($name:literal, $what:literal) => {
        Preset { name: $name, what: $what, text: include_str!(concat!("presets/", $name, ".toml")) }
    };
}

/// All presets.
pub const PRESETS: &[Preset] = &[
    preset!("baseline", "a loop a second for ten minutes"),
    preset!("ramp", "from nothing to four loops a second in ten minutes"),
    preset!("spike-x3", "three times the usual rate for two minutes"),
    preset!("spike-x5", "five times the usual rate for two minutes"),
    preset!("spike-x10", "ten times the usual rate for two minutes"),
    preset!("sustained-peak", "three times the usual rate for half an hour"),
    preset!("burst", "200 loops at one instant, three times"),
    preset!("outage", "the provider is down for a minute"),
    preset!("warm-cold", "bursts after silence, against a provider that cools down"),
    preset!("context-ladder", "loops that begin with 1K, 10K and 100K tokens"),
    preset!("rate-limit-probe", "a rising rate without retries, to see which limit answers first"),
];

/// The text of a preset.
pub fn preset(name: &str) -> Result<&'static str, ScenarioError> {
    let found = PRESETS.iter().find(|preset| preset.name == name);
    found.map(|preset| preset.text).ok_or_else(|| ScenarioError::NoPreset { name: name.to_owned() })
}
