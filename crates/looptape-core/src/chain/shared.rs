//! What a body has in common with an earlier one.
//!
//! Most requests of a loop are the one before and a tail. Pieces are compared byte for byte at their
//! places, which costs next to nothing beside reading them; whatever was learned about an equal piece
//! holds for the new one.
//!
//! What a difference means is not looked at here.

use super::{Cut, CutOf, Parted, Split};
use std::ops::Range;

/// Which pieces of a body are those of an earlier body, cut by cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    pub cuts: Vec<SharedCut>,
    /// Whether everything outside the cuts is the same too.
    same_skeleton: bool,
}

/// What one cut shares with the cut of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedCut {
    /// The number of the earlier body's cut; `None` if it has none of that name.
    pub of: Option<usize>,
    /// For each piece, whether the earlier cut has the same at its place.
    pub equal: Vec<bool>,
}

impl SharedCut {
    /// How many pieces are equal before the first that is not.
    pub fn leading(&self) -> usize {
        self.equal.iter().take_while(|equal| **equal).count()
    }
}

impl Shared {
    /// Nothing in common.
    pub fn none(split: &Split) -> Self {
        let nothing = |cut: &Cut| SharedCut { of: None, equal: vec![false; cut.pieces.len()] };
        Self { cuts: split.cuts.iter().map(nothing).collect(), same_skeleton: false }
    }

    /// Compares `new` with `old`, of which the first `prefix` bytes are known to be the same.
    pub fn between(old: (Parted<'_>, &Split), new: (&[u8], &Split), prefix: usize) -> Self {
        let cuts = new.1.cuts.iter().map(|cut| {
            let name = &new.0[cut.name.clone()];
            let of = old.1.cuts.iter().position(|o| o.of == cut.of && *old.0.get(o.name.clone()) == *name);
            let before = of.map_or(&[][..], |of| &old.1.cuts[of].pieces);
            let equal = |(at, piece): (usize, &Range<usize>)| {
                before.get(at).is_some_and(|b| {
                    (b == piece && b.end <= prefix) || *old.0.get(b.clone()) == new.0[piece.clone()]
                })
            };
            SharedCut { of, equal: cut.pieces.iter().enumerate().map(equal).collect() }
        });
        Self { cuts: cuts.collect(), same_skeleton: old.1.skeleton == new.1.skeleton }
    }

    /// Whether everything outside the cuts is the same.
    pub fn has_same_skeleton(&self) -> bool {
        self.same_skeleton
    }

    /// Takes back what was said of pieces to which `holds(cut, piece)`, numbers in the earlier body, does
    /// not apply.
    pub fn retain(&mut self, holds: impl Fn(usize, usize) -> bool) {
        for cut in &mut self.cuts {
            let Some(of) = cut.of else { continue };
            for (at, equal) in cut.equal.iter_mut().enumerate().filter(|(_, equal)| **equal) {
                *equal = holds(of, at);
            }
        }
    }

    /// The parts of the body that have to be searched for what stands in them, ascending and apart. What
    /// lies between two of them are whole elements of arrays. A long string counts as known only if all
    /// around it is known too, because its name may say what it is.
    pub fn fresh(&self, split: &Split, length: usize) -> Vec<Range<usize>> {
        let mut fresh: Vec<Range<usize>> = Vec::new();
        let mut from = 0;
        for (cut, shared) in split.cuts.iter().zip(&self.cuts) {
            if cut.of == CutOf::Text && !self.same_skeleton {
                continue;
            }
            for (piece, _) in cut.pieces.iter().zip(&shared.equal).filter(|(_, equal)| **equal) {
                if piece.start > from {
                    fresh.push(from..piece.start);
                }
                from = piece.end;
            }
        }
        if length > from {
            fresh.push(from..length);
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::super::split;
    use super::*;

    fn fresh<'b>(old: &str, new: &'b str) -> Vec<&'b str> {
        let (a, b) = (split(old.as_bytes()), split(new.as_bytes()));
        let shared = Shared::between((old.as_bytes().into(), &a), (new.as_bytes(), &b), 0);
        shared.fresh(&b, new.len()).into_iter().map(|r| &new[r]).collect()
    }

    #[test]
    fn a_tail_is_fresh() {
        let old = r#"{"m":[1,2],"tools":[9]}"#;
        assert_eq!(fresh(old, r#"{"m":[1,2,3],"tools":[9]}"#), [r#"{"m":["#, r#",3],"tools":["#, "]}"]);
        assert_eq!(fresh(old, r#"{"m":[1,7,3],"tools":[9]}"#), [r#"{"m":["#, r#",7,3],"tools":["#, "]}"]);
        assert_eq!(fresh(old, r#"{"n":[1,2]}"#), [r#"{"n":[1,2]}"#]);
        assert_eq!(fresh(old, "x"), ["x"]);
    }

    #[test]
    fn a_long_string_is_known_by_its_surroundings() {
        let long = "word ".repeat(80);
        let body = |name: &str, n: u32| format!(r#"{{"{name}":"{long}","n":{n}}}"#);
        assert_eq!(fresh(&body("system", 1), &body("system", 1)), [r#"{"system":""#, r#"","n":1}"#]);
        assert_eq!(fresh(&body("system", 1), &body("system", 2)), [body("system", 2)]);
    }

    #[test]
    fn what_is_equal_at_its_place_counts_wherever_it_stands() {
        let (old, new) = (r#"{"m":[1,2,3]}"#, r#"{"a":[5],"m":[1,9,3,4]}"#);
        let (a, b) = (split(old.as_bytes()), split(new.as_bytes()));
        let mut shared = Shared::between((old.as_bytes().into(), &a), (new.as_bytes(), &b), 0);
        assert_eq!(shared.cuts[1], SharedCut { of: Some(0), equal: vec![true, false, true, false] });
        assert_eq!((shared.cuts[0].leading(), shared.cuts[1].leading()), (0, 1));
        shared.retain(|cut, piece| (cut, piece) != (0, 0));
        assert_eq!(shared.cuts[1].leading(), 0);
    }
}
