//! Ids for traces that nobody named.
//!
//! They are random, so that a few digits tell them apart. But those of the same moment begin with the same digits: in the
//! index they lie side by side, where otherwise each would be another page to be written.

use super::event::Moment;
use looptape_core::TraceId;

/// What counts as the same moment.
const MOMENT_US: i64 = 100_000;
/// So many bytes are the same then, two digits each.
const SAME_BYTES: usize = 3;

/// So much randomness is taken from the system at once: asking for it costs more than all else about an id.
const RANDOM_BYTES: usize = 1024;
const ID_BYTES: usize = 16;

/// The beginning of the latest ids, and what the next are made of.
#[derive(Debug, Default)]
pub(super) struct UnnamedIds {
    latest: Option<(i64, [u8; SAME_BYTES])>,
    random: Vec<u8>,
}

impl UnnamedIds {
    /// A new id for a trace that begins then.
    pub(super) fn next(&mut self, at: Moment) -> TraceId {
        let mut bytes = self.random();
        let moment = at.mono_us / MOMENT_US;
        match self.latest {
            Some((of, same)) if of == moment => bytes[..SAME_BYTES].copy_from_slice(&same),
            _ => {
                let (same, _) = bytes.split_first_chunk().expect("an id is longer than its beginning");
                self.latest = Some((moment, *same));
            }
        }
        TraceId::from_random(bytes)
    }

    fn random(&mut self) -> [u8; ID_BYTES] {
        if self.random.is_empty() {
            self.random.resize(RANDOM_BYTES, 0);
            getrandom::fill(&mut self.random).expect("the system has randomness");
        }
        let (_, taken) =
            self.random.split_last_chunk().expect("whole ids are taken, as many as were put there");
        let taken: [u8; ID_BYTES] = *taken;
        self.random.truncate(self.random.len() - ID_BYTES);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_moment_lie_side_by_side() {
        let mut ids = UnnamedIds::default();
        let mut next = |mono_us| ids.next(Moment { unix_us: 0, mono_us });
        let (a, b, later) = (next(1), next(MOMENT_US - 1), next(MOMENT_US));
        assert_ne!(a, b);
        assert_eq!(a.as_str()[..2 * SAME_BYTES], b.as_str()[..2 * SAME_BYTES]);
        let many: std::collections::HashSet<_> = (0..3 * RANDOM_BYTES).map(|_| next(1)).collect();
        assert_eq!(many.len(), 3 * RANDOM_BYTES, "each is another one");
        assert_ne!(b.as_str()[..2 * SAME_BYTES], later.as_str()[..2 * SAME_BYTES]);
    }
}
