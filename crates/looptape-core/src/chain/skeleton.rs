//! What remains of a body when its cuts are taken out, and putting them back.

use crate::varint;

/// A body without the content of its cuts: literal bytes, and the offsets where the cuts belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeleton {
    literal: Vec<u8>,
    /// Ascending offsets into `literal`.
    cuts: Vec<usize>,
}

/// Why a stored skeleton cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkeletonError {
    #[error("the skeleton's table of cuts is damaged")]
    Damaged,
    #[error("the skeleton has {cuts} cuts, but {given} were given")]
    WrongCuts { cuts: usize, given: usize },
}

impl Skeleton {
    pub(super) fn new(literal: Vec<u8>, cuts: Vec<usize>) -> Self {
        Self { literal, cuts }
    }

    /// The body with its cuts left out: arrays are empty there, and long strings.
    pub fn literal(&self) -> &[u8] {
        &self.literal
    }

    /// How many cuts the body has.
    pub fn cuts(&self) -> usize {
        self.cuts.len()
    }

    /// The name of the member in which a cut was made, as it was written; `None` if there is no such cut.
    pub fn member(&self, cut: usize) -> Option<&[u8]> {
        let before = self.literal.get(..*self.cuts.get(cut)?)?;
        let opening = before.trim_ascii_end().strip_suffix(b"[").or_else(|| before.strip_suffix(b"\""))?;
        let name = opening.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"")?;
        let start = memchr::memrchr(b'"', name)?;
        Some(&name[start + 1..])
    }

    /// The body: literal bytes with the content of each cut put back.
    pub fn join<'a>(
        &self,
        contents: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<Vec<u8>, SkeletonError> {
        if contents.len() != self.cuts.len() {
            return Err(SkeletonError::WrongCuts { cuts: self.cuts.len(), given: contents.len() });
        }
        let mut body = Vec::with_capacity(self.literal.len() * 2);
        let mut from = 0;
        for (&cut, content) in self.cuts.iter().zip(contents) {
            body.extend_from_slice(&self.literal[from..cut]);
            body.extend_from_slice(content);
            from = cut;
        }
        body.extend_from_slice(&self.literal[from..]);
        Ok(body)
    }

    /// The stored form: number of cuts, the distance of each from the one before, the literal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.literal.len() + 8);
        varint::write(&mut out, self.cuts.len() as u64);
        let mut from = 0;
        for &cut in &self.cuts {
            varint::write(&mut out, (cut - from) as u64);
            from = cut;
        }
        out.extend_from_slice(&self.literal);
        out
    }

    /// Reads [`Skeleton::encode`]'s form.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, SkeletonError> {
        let count = varint::read(&mut bytes).ok_or(SkeletonError::Damaged)?;
        let mut cuts = Vec::new();
        let mut at = 0usize;
        for _ in 0..count {
            let step = varint::read(&mut bytes).ok_or(SkeletonError::Damaged)?;
            at = usize::try_from(step).ok().and_then(|s| at.checked_add(s)).ok_or(SkeletonError::Damaged)?;
            cuts.push(at);
        }
        if at > bytes.len() {
            return Err(SkeletonError::Damaged);
        }
        Ok(Self { literal: bytes.to_vec(), cuts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_know_their_members() {
        let text = "x".repeat(300);
        let body = format!(r#"{{"model":"m","tools" : [ 1,2],"system":"{text}","messages":[{{"a":1}}]}}"#);
        let split = crate::chain::split(body.as_bytes());
        for (at, cut) in split.cuts.iter().enumerate() {
            assert_eq!(split.skeleton.member(at), Some(&body.as_bytes()[cut.name.clone()]));
        }
        assert_eq!((split.cuts.len(), split.skeleton.member(3)), (3, None));
    }

    #[test]
    fn stored_form_round_trip() {
        let s = Skeleton::new(b"{\"a\":[],\"b\":[]}".to_vec(), vec![6, 13]);
        assert_eq!(Skeleton::decode(&s.encode()), Ok(s.clone()));
        assert_eq!(s.join([&b"1"[..], b"2"].into_iter()).unwrap(), b"{\"a\":[1],\"b\":[2]}");
        assert_eq!(s.join([&b"1"[..]].into_iter()), Err(SkeletonError::WrongCuts { cuts: 2, given: 1 }));
        assert_eq!(Skeleton::decode(&[2, 200, 1]), Err(SkeletonError::Damaged));
        assert_eq!(Skeleton::decode(&[]), Err(SkeletonError::Damaged));
    }
}
