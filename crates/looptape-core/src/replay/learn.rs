//! Masks learned from two recordings of the same program.
//!
//! Each recording is replayed against the other; where a request diverges and all that differs looks
//! volatile, the masks that cure it are added and the replay starts anew. What is left at the end are masks
//! that are enough in both directions, and of which none can be left out. If anything else differs, other
//! steps, tools, words, there is nothing to learn, and the first such difference is returned.
//!
//! It is a search over pure replays: nothing is sent, nothing is written.

use super::components::{Endpoint, Normalise};
use super::masks::ConfiguredMask;
use super::masks::propose::Request;
use super::{
    Attempts, CallLabel, Completeness, Decision, EntryId, Holes, LiveRequest, MaskEntry, Masking, Options,
    RecordedCall, RecordedOutcome, Replayer, Report, Run, Summary, Tape, Verdict,
};

/// A recording to learn from.
#[derive(Debug)]
pub struct Recording {
    pub calls: Vec<RecordedCall>,
    pub run: Run,
}

/// What two recordings teach.
#[derive(Debug)]
pub enum Lesson {
    /// With these masks, beyond those that apply anyway, each recording replays against the other.
    Masks {
        masks: Vec<MaskEntry>,
        /// The second recording's requests against the first, and the other way round.
        checks: Box<[Summary; 2]>,
    },
    /// They differ in more than volatile values: this is the first of it.
    Differs(Box<Report>),
}

/// Rounds of adding masks. A program with more volatile places needs other help.
const MOST_ROUNDS: usize = 40;

/// Why one recording does not replay against the other.
enum Lack {
    /// These masks are missing.
    Masks(Vec<MaskEntry>, Box<Report>),
    /// No mask helps.
    Differs(Box<Report>),
}

/// Learns from two recordings. `settings` adds to a masking what the project's settings say already.
pub fn learn(
    recordings: [&Recording; 2],
    settings: &dyn Fn(Masking) -> Masking,
    normalise: Normalise,
) -> Lesson {
    let study = Study { recordings, settings, normalise };
    let mut masks: Vec<MaskEntry> = Vec::new();
    for _ in 0..MOST_ROUNDS {
        match study.both(&masks) {
            Ok(checks) => return Lesson::Masks { masks: study.without_the_needless(masks), checks },
            Err(Lack::Differs(report)) => return Lesson::Differs(report),
            Err(Lack::Masks(lacking, report)) => {
                let new: Vec<MaskEntry> = lacking.into_iter().filter(|mask| !masks.contains(mask)).collect();
                if new.is_empty() {
                    return Lesson::Differs(report);
                }
                masks.extend(new);
            }
        }
    }
    match study.both(&masks) {
        Ok(checks) => Lesson::Masks { masks, checks },
        Err(Lack::Masks(_, report) | Lack::Differs(report)) => Lesson::Differs(report),
    }
}

struct Study<'s> {
    recordings: [&'s Recording; 2],
    settings: &'s dyn Fn(Masking) -> Masking,
    normalise: Normalise,
}

impl Study<'_> {
    /// The second against the first, and the other way round.
    fn both(&self, masks: &[MaskEntry]) -> Result<Box<[Summary; 2]>, Lack> {
        let [first, second] = self.recordings;
        Ok(Box::new([self.replay(first, second, masks)?, self.replay(second, first, masks)?]))
    }

    fn without_the_needless(&self, mut masks: Vec<MaskEntry>) -> Vec<MaskEntry> {
        for at in (0..masks.len()).rev() {
            let mut fewer = masks.clone();
            fewer.remove(at);
            if self.both(&fewer).is_ok() {
                masks = fewer;
            }
        }
        masks
    }

    /// Replays the requests of one recording against the other, up to the first divergence.
    fn replay(&self, recorded: &Recording, live: &Recording, masks: &[MaskEntry]) -> Result<Summary, Lack> {
        let configured = masks.iter().filter_map(|mask| ConfiguredMask::try_from(mask).ok());
        let masking = (self.settings)(Masking::between(&recorded.run, &live.run)).with(configured);
        let tape = Tape::new(recorded.calls.iter().cloned(), Completeness::Complete, self.normalise);
        let options = Options { attempts: Attempts::Collapse, holes: Holes::Allow, ..Options::default() };
        let mut replayer =
            Replayer::new(tape.masked_by(masking), options).expect("holes are allowed, and no step is named");
        let mut serving: Vec<(usize, EntryId)> = Vec::new();
        for (starts, at) in events(&live.calls) {
            if !starts {
                serving.retain(|(call, entry)| {
                    if *call == at {
                        replayer.finished(*entry);
                    }
                    *call != at
                });
                continue;
            }
            let call = &live.calls[at];
            let body = call.body.read();
            let lineage = || call.lineage;
            let request = LiveRequest {
                wire: call.wire,
                method: &call.method,
                path: &call.path,
                body: &body,
                lineage: &lineage,
            };
            match replayer.next(&request) {
                Decision::Serve(served) => serving.push((at, served.entry)),
                Decision::SideCall(_) | Decision::Ask(_) => {}
                Decision::Diverged(report) => return Err(self.lack(&replayer, call, &body, report)),
            }
        }
        let mut summary = replayer.finish();
        match summary.verdict {
            Verdict::Replayed => Ok(summary),
            Verdict::Unused | Verdict::Diverged | Verdict::Forked => match summary.divergences.pop() {
                Some(report) => Err(Lack::Differs(Box::new(report))),
                None => Ok(summary),
            },
        }
    }

    fn lack(&self, replayer: &Replayer, call: &RecordedCall, body: &[u8], report: Box<Report>) -> Lack {
        let nearest = report.nearest.as_ref().map(|nearest| nearest.label);
        let endpoint = Endpoint::new(&call.method, &call.path);
        let body = (self.normalise)(body);
        let live = Request { wire: call.wire, endpoint: &endpoint, body: &body };
        let tape = replayer.tape();
        let is_nearest = |label: CallLabel| tape.ids().find(|&id| tape.label(id) == label);
        match nearest.and_then(is_nearest).and_then(|id| tape.proposed_masks(id, live)) {
            Some(masks) => Lack::Masks(masks, report),
            None => Lack::Differs(report),
        }
    }
}

/// Starts and ends in their order. Attempts that failed are left out: how often a provider failed is not the
/// program's doing.
fn events(calls: &[RecordedCall]) -> Vec<(bool, usize)> {
    let mut events: Vec<(i64, bool, usize)> = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        if matches!(call.outcome, RecordedOutcome::Answered { .. }) {
            events.push((call.sent_us, true, at));
            // At one instant ends come before starts, but no call ends before it started.
            events.push((call.end_us.unwrap_or(i64::MAX).max(call.sent_us + 1), false, at));
        }
    }
    events.sort_unstable();
    events.into_iter().map(|(_, starts, at)| (starts, at)).collect()
}
