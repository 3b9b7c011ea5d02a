//! Requests that the recording has no answer to: refused, or asked of a model.

use super::{Decision, Replayer};
use crate::captured;
use crate::replay::cause::Diverged;
use crate::replay::classify::{self, Missed};
use crate::replay::live::Live;
use crate::replay::options::OnMiss;
use crate::replay::provenance::WhyAsked;
use crate::replay::report::{DivergenceCode, Report};
use crate::replay::tape::EntryId;

impl Replayer {
    pub(super) fn missed(&mut self, live: &Live<'_>) -> Decision {
        let report = classify::classify(&self.tape, &self.missing(live), |id| self.is_unused(id));
        let is_beyond =
            report.code == DivergenceCode::NeverRecorded && captured::is_captured(live.request.path);
        let report = match live.is_a_tools() || is_beyond {
            true => report.blocked(),
            false => report,
        };
        self.diverge(live, report)
    }

    pub(super) fn missing<'l>(&self, live: &'l Live<'_>) -> Missed<'l> {
        let loosest = self.options.max_rung;
        Missed {
            wire: live.request.wire,
            endpoint: &live.endpoint,
            body: live.body_at(loosest),
            unmasked: &live.body,
            key: live.key_at(loosest),
            loosest,
            lineage: live.lineage(),
            shape: live.shape(),
        }
    }

    /// Whether what the recording does not hold follows from the fork: one was taken, or all that was to be
    /// served before it has been.
    pub(super) fn is_on_own_way(&self) -> bool {
        let is_to_come = |id: EntryId| self.is_left_over(id);
        self.has_forked || (self.fork.is_set() && !self.tape.ids().any(is_to_come))
    }

    /// The request lies behind the fork, or follows from what does.
    pub(super) fn go_own_way(&mut self) -> Decision {
        self.has_forked = true;
        self.asked += 1;
        Decision::Ask(WhyAsked::Fork)
    }

    /// The recording has no answer: the request is refused, or a model is asked. What a tool asks of the outside
    /// world is no model's business.
    pub(super) fn diverge(&mut self, live: &Live<'_>, report: Report) -> Decision {
        let report = self.note_report(live, report);
        match self.options.on_miss {
            OnMiss::Refuse => Decision::Diverged(report),
            OnMiss::Ask if live.is_a_tools() => Decision::Diverged(report),
            OnMiss::Ask => {
                self.asked += 1;
                Decision::Ask(WhyAsked::Missed(report.code))
            }
        }
    }

    fn note_report(&mut self, live: &Live<'_>, mut report: Report) -> Box<Report> {
        if let Some(&known) = self.reported.get(&live.exact) {
            let report = &mut self.diverged[known].report;
            report.requests += 1;
            return Box::new(report.clone());
        }
        report.endpoint = live.endpoint.to_string();
        let diverged = Diverged::new(report, live.key_at(self.options.max_rung), &self.diverged);
        let report = diverged.report.clone();
        self.reported.insert(live.exact, self.diverged.len());
        self.diverged.push(diverged);
        Box::new(report)
    }
}
