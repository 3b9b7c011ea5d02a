//! Whether the masked values of two requests may stand for each other.
//!
//! - An id stands for one thing: what was one id is one, what were two are two. A live request may still
//!   hold recorded ids, because recorded answers brought them; an id that is the same on both sides stands
//!   for itself.
//! - What is the run's own must be the same thing of each run: the folder it works in, its day.
//! - An epoch time must be near its own run's clock.
//! - Date-times and durations differ freely.

use super::MaskedSpan;
use super::kind::MaskKind;
use super::own::OwnValues;
use std::collections::{HashMap, HashSet};

/// Two values that stand for each other, and differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) pointer: String,
    pub(crate) kind: MaskKind,
    pub(crate) recorded: String,
    pub(crate) live: String,
}

/// Two values that stand at the same place and cannot stand for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::replay) struct Mismatch {
    pub(in crate::replay) pointer: String,
    pub(in crate::replay) recorded: String,
    pub(in crate::replay) live: String,
}

type Value<'s> = (MaskKind, &'s [u8]);

pub(super) fn pairs(
    own: &OwnValues,
    recorded: &[MaskedSpan],
    live: &[MaskedSpan],
) -> Result<Vec<Pair>, Box<Mismatch>> {
    let mut identities = Identities::of(recorded, live);
    let mut pairs = Vec::new();
    for (recorded, live) in recorded.iter().zip(live).filter(|(recorded, live)| recorded.text != live.text) {
        let kind = correspond(own, &mut identities, recorded, live);
        let text = |span: &MaskedSpan| String::from_utf8_lossy(&span.text).into_owned();
        let (pointer, recorded, live) = (live.pointer.clone(), text(recorded), text(live));
        match kind {
            Some(kind) => pairs.push(Pair { pointer, kind, recorded, live }),
            None => return Err(Box::new(Mismatch { pointer, recorded, live })),
        }
    }
    Ok(pairs)
}

/// The kind of two values that may stand for each other.
fn correspond<'s>(
    own: &OwnValues,
    identities: &mut Identities<'s>,
    recorded: &'s MaskedSpan,
    live: &'s MaskedSpan,
) -> Option<MaskKind> {
    if recorded.kind.is_environment() {
        let text = |span: &'s MaskedSpan| std::str::from_utf8(&span.text).ok();
        return own.correspond(text(recorded)?, text(live)?);
    }
    let may = match recorded.kind {
        MaskKind::Epoch => own.correspond_in_time(&recorded.text, &live.text),
        kind if kind.is_identity() => identities.bind((kind, &recorded.text), (kind, &live.text)),
        _ => true,
    };
    may.then_some(recorded.kind)
}

/// Which recorded id each live id stands for.
struct Identities<'s> {
    live_of: HashMap<Value<'s>, Value<'s>>,
    recorded_of: HashMap<Value<'s>, Value<'s>>,
    /// Ids that stand for themselves somewhere.
    unchanged: HashSet<Value<'s>>,
}

impl<'s> Identities<'s> {
    fn of(recorded: &'s [MaskedSpan], live: &'s [MaskedSpan]) -> Self {
        let unchanged = recorded
            .iter()
            .zip(live)
            .filter(|(recorded, live)| recorded.text == live.text)
            .map(|(recorded, _)| (recorded.kind, recorded.text.as_slice()))
            .collect();
        Self { live_of: HashMap::new(), recorded_of: HashMap::new(), unchanged }
    }

    /// Notes that one stands for the other; whether nothing speaks against it.
    fn bind(&mut self, recorded: Value<'s>, live: Value<'s>) -> bool {
        *self.live_of.entry(recorded).or_insert(live) == live
            && *self.recorded_of.entry(live).or_insert(recorded) == recorded
            && !self.unchanged.contains(&live)
    }
}
