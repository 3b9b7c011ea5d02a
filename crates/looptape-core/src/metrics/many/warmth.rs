//! Warm against cold: what the first calls after a silence cost in time.
//!
//! A call is cold if no call to the same model at the same provider was under way, or had ended, within the idle
//! time before it; so the first call of each model is cold, as far as these traces know. A loop is cold if its
//! first call is. Warm and cold parts add up to the whole.

use super::super::distribution::{Distribution, Sampler, Scale};
use super::timeline::{ModelIndex, Timeline};
use super::window::Window;
use crate::assembly::LoopOutcome;
use serde::Serialize;
use std::collections::HashMap;

/// Figures of both kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WarmCold {
    /// The silence after which a call is cold.
    pub idle_s: f64,
    pub warm: Warmth,
    pub cold: Warmth,
}

/// Figures of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Warmth {
    /// HTTP calls of model steps.
    pub calls: u32,
    pub ttft_ms: Distribution,
    /// Loops with an end.
    pub loops: u32,
    pub loops_per_min: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Warm,
    Cold,
}

pub(super) fn of(timeline: &Timeline, window: Window, idle_us: i64) -> WarmCold {
    let kinds = kinds(timeline, idle_us);
    let loops = loop_kinds(timeline, &kinds);
    let figures = |kind: Kind| {
        let mut ttft = Sampler::new(Scale::Ms);
        let of_kind = || timeline.calls.iter().zip(&kinds).filter(|(_, of)| **of == kind);
        of_kind().filter_map(|(call, _)| call.ttft_ms).for_each(|ms| ttft.add_ms(ms));
        let is_completed = |place: usize| timeline.loops[place].outcome != LoopOutcome::Unknown;
        let completed = (0..loops.len()).filter(|place| loops[*place] == Some(kind) && is_completed(*place));
        let completed = u32::try_from(completed.count()).unwrap_or(u32::MAX);
        Warmth {
            calls: u32::try_from(of_kind().count()).unwrap_or(u32::MAX),
            ttft_ms: ttft.finish(),
            loops: completed,
            loops_per_min: window.per_min(completed),
        }
    };
    WarmCold { idle_s: idle_us as f64 / 1e6, warm: figures(Kind::Warm), cold: figures(Kind::Cold) }
}

/// The kind of each call.
fn kinds(timeline: &Timeline, idle_us: i64) -> Vec<Kind> {
    let mut order: Vec<usize> = (0..timeline.calls.len()).collect();
    order.sort_by_key(|place| timeline.calls[*place].during.start_us);
    let mut last_end: HashMap<ModelIndex, i64> = HashMap::new();
    let mut kinds = vec![Kind::Warm; timeline.calls.len()];
    for place in order {
        let call = &timeline.calls[place];
        let before = last_end.entry(call.model).or_insert(i64::MIN);
        if call.during.start_us.saturating_sub(*before) >= idle_us {
            kinds[place] = Kind::Cold;
        }
        *before = (*before).max(call.during.end_us);
    }
    kinds
}

/// The kind of each loop's first call.
fn loop_kinds(timeline: &Timeline, kinds: &[Kind]) -> Vec<Option<Kind>> {
    let mut first: Vec<Option<(i64, Kind)>> = vec![None; timeline.loops.len()];
    for (call, kind) in timeline.calls.iter().zip(kinds) {
        let Some(place) = call.of_loop else { continue };
        let start = call.during.start_us;
        if first[place].is_none_or(|(earliest, _)| start < earliest) {
            first[place] = Some((start, *kind));
        }
    }
    first.into_iter().map(|first| first.map(|(_, kind)| kind)).collect()
}
