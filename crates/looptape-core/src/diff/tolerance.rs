//! Which differences of texts are tolerated: those that a replay tolerates, over a whole comparison.
//!
//! An id that stands for another one stands for it everywhere: what were two things stay two.

use super::field::Field;
use crate::replay::{MaskKind, Masking};
use std::collections::HashMap;

/// What is tolerated, and which id was found to stand for which.
pub(super) struct Tolerance<'m> {
    /// `None` if nothing is.
    masking: Option<&'m Masking>,
    of_a: HashMap<(MaskKind, String), String>,
    of_b: HashMap<(MaskKind, String), String>,
}

impl<'m> Tolerance<'m> {
    pub(super) fn new(masking: Option<&'m Masking>) -> Self {
        Self { masking, of_a: HashMap::new(), of_b: HashMap::new() }
    }

    /// The kinds of values by which two texts differ, if that is tolerated; none if it is not.
    pub(super) fn kinds(&mut self, field: Field, a: &str, b: &str) -> Vec<MaskKind> {
        let applies = matches!(
            field,
            Field::System
                | Field::Messages
                | Field::Reasoning
                | Field::Answer
                | Field::ToolCalls
                | Field::ToolResults
        );
        let Some(masking) = self.masking.filter(|_| applies) else { return Vec::new() };
        let Some(values) = masking.stand_ins(a, b) else { return Vec::new() };
        let mut kinds = Vec::new();
        for value in values {
            if value.kind.is_identity() && !self.binds(value.kind, &value.recorded, &value.live) {
                return Vec::new();
            }
            kinds.push(value.kind);
        }
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    fn binds(&mut self, kind: MaskKind, a: &str, b: &str) -> bool {
        let of = |map: &mut HashMap<(MaskKind, String), String>, key: &str, value: &str| {
            map.entry((kind, key.to_owned())).or_insert_with(|| value.to_owned()) == value
        };
        of(&mut self.of_a, a, b) & of(&mut self.of_b, b, a)
    }
}
