//! When a provider is down, and who stands in meanwhile: `[outage]` and `[failover]`.

use super::duration::Span;
use crate::failover::FailoverRules;
use crate::twin::TwinSpec;
use serde::Deserialize;

/// From when until when a provider is down, after the run's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutageWindow {
    pub from_us: u64,
    pub until_us: u64,
}

/// A second provider, which is asked where the first one fails, as by a gateway with two upstreams.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// By whose prices its calls are paid; `None`: the same provider's.
    pub provider: Option<String>,
    /// What it is asked in the place of the traffic's model.
    pub model: Option<String>,
    pub rules: FailoverRules,
    /// What it is like; `None`: like the first one, without its faults and limits.
    pub twin: Option<TwinSpec>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageWritten {
    from: Span,
    until: Span,
}

/// Checked where it stands.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "OutageWritten")]
pub(super) struct OutageEntry(pub(super) OutageWindow);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailoverEntry {
    provider: Option<String>,
    model: Option<String>,
    failures: Option<u32>,
    cooldown: Option<Span>,
    twin: Option<TwinSpec>,
}

impl TryFrom<OutageWritten> for OutageEntry {
    type Error = String;

    fn try_from(written: OutageWritten) -> Result<Self, String> {
        let window = OutageWindow { from_us: written.from.us(), until_us: written.until.us() };
        match window.from_us < window.until_us {
            true => Ok(Self(window)),
            false => Err("`until` is not after `from`".to_owned()),
        }
    }
}

impl FailoverEntry {
    pub(super) fn failover(self) -> Failover {
        let usual = FailoverRules::default();
        Failover {
            provider: self.provider,
            model: self.model,
            rules: FailoverRules {
                failures: self.failures.unwrap_or(usual.failures),
                rest_us: self.cooldown.map_or(usual.rest_us, Span::us),
            },
            twin: self.twin,
        }
    }
}
