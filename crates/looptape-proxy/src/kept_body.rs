//! What is kept of an answer's body while it passes.
//!
//! It is copied: a piece that passes is a part of the buffer that its connection reads into. However short, it would
//! keep all of that in memory, and have the connection take another one for its next read.

use bytes::Bytes;

/// Memory is taken in pieces up to this size.
const PIECE_BYTES: usize = 1 << 20;
/// Memory that an announced length is believed for, before any of it is there.
const BELIEVED_BYTES: u64 = 64 << 10;

#[derive(Debug, Default)]
pub(crate) struct KeptBody {
    full: Vec<Bytes>,
    last: Vec<u8>,
}

impl KeptBody {
    /// `announced` is how long it will be, if that is known.
    pub(crate) fn new(announced: Option<u64>) -> Self {
        let believed = announced.unwrap_or(0).min(BELIEVED_BYTES) as usize;
        Self { full: Vec::new(), last: Vec::with_capacity(believed) }
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        if self.last.len() + data.len() > PIECE_BYTES && !self.last.is_empty() {
            self.full.push(std::mem::take(&mut self.last).into());
        }
        self.last.extend_from_slice(data);
    }

    /// A copy in one piece.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut whole = self.full.concat();
        whole.extend_from_slice(&self.last);
        whole.into()
    }

    pub(crate) fn into_pieces(mut self) -> Vec<Bytes> {
        if !self.last.is_empty() {
            // It waits to be written: what it does not need is given back.
            self.full.push(self.last.into_boxed_slice().into());
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_kept_in_pieces_of_a_megabyte() {
        let mut kept = KeptBody::new(None);
        assert!(kept.to_bytes().is_empty());
        let data: Vec<u8> = (0..3 * PIECE_BYTES).map(|n| (n % 251) as u8).collect();
        data.chunks(PIECE_BYTES / 3).for_each(|piece| kept.push(piece));
        assert_eq!(kept.to_bytes(), data);
        let pieces = kept.into_pieces();
        assert_eq!(pieces.concat(), data);
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
        assert!(KeptBody::new(Some(u64::MAX)).into_pieces().is_empty());
    }
}
