//! Messages as they pass through a pipe: one a line.
//!
//! Nothing is lost: the pieces, one after the other, are the bytes that came. A line that gets too long is handed on
//! in pieces, so that no server can fill the memory.

use bytes::{Bytes, BytesMut};

/// Beyond this a line is handed on in pieces: no message is that long.
const LIMIT_BYTES: usize = 64 << 20;

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub struct Lines {
    open: BytesMut,
}

impl Lines {
    /// Takes what came; the lines that are whole now, each with its end.
    pub fn add(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        self.add_within(bytes, LIMIT_BYTES)
    }

    fn add_within(&mut self, mut bytes: &[u8], limit_bytes: usize) -> Vec<Bytes> {
        let mut whole = Vec::new();
        while !bytes.is_empty() {
            let room = limit_bytes.saturating_sub(self.open.len()).max(1);
            let line = memchr::memchr(b'\n', bytes).map(|end| end + 1);
            let take = line.unwrap_or(bytes.len()).min(room);
            self.open.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if line == Some(take) || self.open.len() >= limit_bytes {
                whole.push(self.open.split().freeze());
            }
        }
        whole
    }

    /// What came after the last line.
    pub fn rest(&mut self) -> Option<Bytes> {
        (!self.open.is_empty()).then(|| self.open.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_pieces_are_the_bytes(parts in prop::collection::vec("[a\n]{0,9}", 0..9), limit in 1usize..6) {
            let mut lines = Lines::default();
            let mut pieces: Vec<Bytes> =
                parts.iter().flat_map(|part| lines.add_within(part.as_bytes(), limit)).collect();
            prop_assert!(pieces.iter().all(|piece| piece.ends_with(b"\n") || piece.len() == limit));
            pieces.extend(lines.rest());
            prop_assert_eq!(pieces.concat(), parts.concat().into_bytes());
            prop_assert!(pieces.iter().all(|piece| memchr::memchr(b'\n', &piece[..piece.len() - 1]).is_none()));
        }
    }
}
