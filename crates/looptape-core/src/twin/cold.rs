//! Cold start: what was idle has to be loaded again, and everybody who comes meanwhile waits for it.

use super::spec::ColdStart;

#[derive(Clone, Debug)]
pub(super) struct Warmth {
    spec: ColdStart,
    /// The end of the last service; `None` before the first.
    active_until_us: Option<u64>,
    warm_from_us: u64,
}

impl Warmth {
    pub(super) fn new(spec: ColdStart) -> Self {
        Self { spec, active_until_us: None, warm_from_us: 0 }
    }

    /// How long a call that starts at `at_us` waits until all is loaded; it begins the loading if nobody has.
    pub(super) fn wait_us(&mut self, at_us: u64) -> u64 {
        let idle_us = (self.spec.idle_s * 1e6) as u64;
        let is_cold = self.active_until_us.is_none_or(|until| at_us.saturating_sub(until) >= idle_us);
        if is_cold {
            self.warm_from_us = at_us.saturating_add((self.spec.extra_ms * 1e3) as u64);
        }
        self.warm_from_us.saturating_sub(at_us)
    }

    pub(super) fn active_until(&mut self, until_us: u64) {
        self.active_until_us = self.active_until_us.max(Some(until_us));
    }
}
