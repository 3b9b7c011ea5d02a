//! Root or consequence: what a later divergence is recognised by as following from an earlier one.
//!
//! While requests arrive, earlier means that it arrived earlier. The report at the end goes by the recording:
//! it says the same whatever order concurrent requests arrived in.

use super::components::{Component, RequestKey};
use super::report::{DivergenceCode, Report};
use crate::digest::Digest;

/// What later divergences are recognised by as consequences.
#[derive(Debug)]
struct Cause {
    system: Digest,
    /// The diverged request's history, by its chain head and length.
    history: (usize, Digest),
    /// The changed component: a later request with the same change diverges for the same reason.
    changed: Option<(Component, Digest)>,
}

impl Cause {
    fn new(report: &Report, key: &RequestKey) -> Self {
        use Component::{Model, Parameters, System, Tools};
        let components = &key.components;
        let changed = match report.code {
            DivergenceCode::ModelDrift => Some(Model),
            DivergenceCode::SystemDrift => Some(System),
            DivergenceCode::ToolsDrift => Some(Tools),
            DivergenceCode::ParamDrift => Some(Parameters),
            _ => None,
        };
        // A rewritten history is one from its first changed message on; any other cause is the request as
        // a whole.
        let changed_message = match report.code {
            DivergenceCode::VolatileToolResult
            | DivergenceCode::HistoryRewrite
            | DivergenceCode::NeverRecorded => {
                report.nearest.as_ref().map(|nearest| nearest.common_messages + 1)
            }
            _ => None,
        };
        let messages = changed_message.unwrap_or(usize::MAX).min(components.history.len());
        let head = messages.checked_sub(1).map_or(Digest::of(b""), |last| components.history[last]);
        Self {
            system: components.system,
            history: (messages, head),
            changed: changed.map(|component| (component, components.get(component))),
        }
    }

    /// Whether a later diverged request shows the same change, or continues the diverged history.
    fn explains(&self, later: &RequestKey) -> bool {
        let components = &later.components;
        let same_change = self.changed.is_some_and(|(component, digest)| components.get(component) == digest);
        let (messages, head) = self.history;
        let continues = messages > 0
            && components.system == self.system
            && components.history.get(messages - 1) == Some(&head);
        same_change || continues
    }
}

/// A divergence with what its causes and consequences are recognised by.
#[derive(Debug)]
pub(super) struct Diverged {
    pub(super) report: Report,
    cause: Cause,
    key: RequestKey,
}

impl Diverged {
    /// A divergence of the request with this key, after those `before` it.
    pub(super) fn new(report: Report, key: &RequestKey, before: &[Self]) -> Self {
        let root = !before.iter().any(|earlier| earlier.cause.explains(key));
        let cause = Cause::new(&report, key);
        Self { report: Report { root, ..report }, cause, key: key.clone() }
    }
}

/// The reports in the order of the recording, each a root unless one before it explains it.
pub(super) fn by_recording(mut diverged: Vec<Diverged>) -> Vec<Report> {
    diverged.sort_by_cached_key(|diverged| diverged.report.tape_order());
    for at in 0..diverged.len() {
        let (before, rest) = diverged.split_at_mut(at);
        let Some(this) = rest.first_mut() else { break };
        this.report.root = !before.iter().any(|earlier| earlier.cause.explains(&this.key));
    }
    diverged.into_iter().map(|diverged| diverged.report).collect()
}
