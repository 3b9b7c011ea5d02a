//! How a shim and looptape speak to each other: frames, one after the other, in the bodies of one request and its
//! answer.
//!
//! A frame is a kind (one byte), a time (µs of CLOCK_MONOTONIC, eight bytes), a length (four bytes) and so many bytes;
//! numbers are little-endian. Both ends are of one looptape: the form may change with its version.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use looptape_core::mcp::session::ServerEnd;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The client wrote this.
    Client(Bytes),
    /// The server wrote this, or is to.
    Server(Bytes),
    /// The client closed the conversation, or wants the server to end.
    ClientClosed,
    /// The server ended.
    ServerEnded(ServerEnd),
    /// So many bytes passed that could not be told in time.
    Lost(u64),
    /// In a replay: the server itself is to be told this, and started if it does not run.
    Ask(Bytes),
    /// In a replay: the server itself wrote this.
    Told(Bytes),
    /// In a replay: the server itself does not run, or no longer; why.
    Gone(String),
}

/// What cannot be a frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("what the MCP shim sent cannot be read: both must be of one looptape")]
pub struct NotAFrame;

const HEAD_BYTES: usize = 13;
const LAST_KIND: u8 = 7;
/// No frame is longer: shims read pieces of 64 KiB, and whole lines come back.
const LIMIT_BYTES: usize = 256 << 20;

impl Frame {
    /// The frame's bytes.
    pub fn encode(&self, at_us: i64) -> Bytes {
        let (kind, payload): (u8, Bytes) = match self {
            Self::Client(bytes) => (0, bytes.clone()),
            Self::Server(bytes) => (1, bytes.clone()),
            Self::ClientClosed => (2, Bytes::new()),
            Self::ServerEnded(end) => (3, end.to_string().into()),
            Self::Lost(bytes) => (4, bytes.to_string().into()),
            Self::Ask(bytes) => (5, bytes.clone()),
            Self::Told(bytes) => (6, bytes.clone()),
            Self::Gone(why) => (7, why.clone().into()),
        };
        let mut frame = BytesMut::with_capacity(HEAD_BYTES + payload.len());
        frame.put_u8(kind);
        frame.put_i64_le(at_us);
        frame.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        frame.extend_from_slice(&payload);
        frame.freeze()
    }

    fn decode(kind: u8, payload: Bytes) -> Result<Self, NotAFrame> {
        let text = || std::str::from_utf8(&payload).map_err(|_| NotAFrame);
        match kind {
            0 => Ok(Self::Client(payload)),
            1 => Ok(Self::Server(payload)),
            2 => Ok(Self::ClientClosed),
            3 => ServerEnd::parse(text()?).map(Self::ServerEnded).ok_or(NotAFrame),
            4 => text()?.parse().map(Self::Lost).map_err(|_| NotAFrame),
            5 => Ok(Self::Ask(payload)),
            6 => Ok(Self::Told(payload)),
            7 => Ok(Self::Gone(text()?.to_owned())),
            _ => Err(NotAFrame),
        }
    }
}

/// Reads frames out of the pieces of a body.
#[derive(Debug, Default)]
pub struct Frames(BytesMut);

impl Frames {
    /// Takes a piece; the frames that are whole now, with their times.
    pub fn add(&mut self, piece: &[u8]) -> Result<Vec<(i64, Frame)>, NotAFrame> {
        self.0.extend_from_slice(piece);
        let mut whole = Vec::new();
        while let Some(mut head) = self.0.get(..HEAD_BYTES) {
            let (kind, at_us, length) = (head.get_u8(), head.get_i64_le(), head.get_u32_le() as usize);
            if kind > LAST_KIND || length > LIMIT_BYTES {
                return Err(NotAFrame);
            }
            if self.0.len() < HEAD_BYTES + length {
                break;
            }
            self.0.advance(HEAD_BYTES);
            whole.push((at_us, Frame::decode(kind, self.0.split_to(length).freeze())?));
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whatever_the_pieces() {
        let frames = vec![
            (1, Frame::Client(Bytes::from_static(b"{}\n"))),
            (-2, Frame::Server(Bytes::new())),
            (3, Frame::Lost(7)),
            (4, Frame::ServerEnded(ServerEnd::Signal(9))),
            (5, Frame::Ask(Bytes::from_static(b"a\n"))),
            (6, Frame::Told(Bytes::from_static(b"b\n"))),
            (7, Frame::Gone("it ended (exit code 1)".into())),
            (i64::MAX, Frame::ClientClosed),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(|(at, frame)| frame.encode(*at)).collect();
        for size in [1, 5, bytes.len()] {
            let mut reader = Frames::default();
            let read: Vec<_> = bytes.chunks(size).flat_map(|piece| reader.add(piece).unwrap()).collect();
            assert_eq!(read, frames);
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bad in [&[9u8; 13][..], b"GET / HTTP/1.1\r\n", &[3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'x']] {
            assert_eq!(Frames::default().add(bad), Err(NotAFrame));
        }
    }
}
