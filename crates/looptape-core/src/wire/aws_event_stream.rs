//! Amazon event streams (`application/vnd.amazon.eventstream`): splits a body into its frames.
//!
//! A frame is a prelude (its length, the length of its headers, a checksum of both), headers, a payload and
//! a checksum of all before it. Checksums help to find frames, they refuse none: a recording whose payloads
//! were edited has lost them, and lengths with them. So a frame ends where it says if its checksum holds or
//! another frame begins there, else where the next frame with a sound prelude begins.
//!
//! Frames cut off by the body's end are given with the payload that came; it will not parse, which is the
//! reader's business. Only text headers are read: Bedrock sends no others that matter.

use flate2::Crc;

/// Length of a frame, length of its headers, and a checksum of these eight bytes.
const PRELUDE_LEN: usize = 12;
const CHECKSUM_LEN: usize = 4;
/// The type of a header whose value is text.
const TEXT: u8 = 7;

/// One frame of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    headers: &'a [u8],
    pub(super) payload: &'a [u8],
    /// Exclusive end in the body.
    pub(super) end: usize,
}

impl<'a> Frame<'a> {
    /// The value of a text header.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        let mut headers = Headers { rest: self.headers };
        let (_, value) = headers.find(|(known, _)| *known == name.as_bytes())?;
        std::str::from_utf8(value?).ok()
    }
}

/// Whether a body begins with a frame.
pub(super) fn begins_frame(body: &[u8]) -> bool {
    Prelude::read(body).is_some()
}

/// The frames of a body, in order.
pub(super) fn frames(body: &[u8]) -> Frames<'_> {
    Frames { body, position: 0 }
}

/// Iterator of [`frames`].
#[derive(Clone, Debug)]
pub(super) struct Frames<'a> {
    body: &'a [u8],
    position: usize,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let start = self.position;
        let prelude = Prelude::read(&self.body[start..])?;
        let end = self.end_of_frame(start, &prelude);
        let headers_end = start + PRELUDE_LEN + prelude.headers_len;
        self.position = end;
        Some(Frame {
            headers: &self.body[start + PRELUDE_LEN..headers_end],
            payload: self.body.get(headers_end..end - CHECKSUM_LEN).unwrap_or_default(),
            end,
        })
    }
}

impl Frames<'_> {
    fn end_of_frame(&self, start: usize, prelude: &Prelude) -> usize {
        let stated = start + prelude.frame_len;
        let is_sound = |frame: &[u8]| {
            let (content, checksum) = frame.split_at(frame.len() - CHECKSUM_LEN);
            crc32(content).to_be_bytes() == checksum
        };
        let another_begins = || stated == self.body.len() || begins_frame(&self.body[stated..]);
        if self.body.get(start..stated).is_some_and(|frame| is_sound(frame) || another_begins()) {
            return stated;
        }
        let headers_end = start + PRELUDE_LEN + prelude.headers_len;
        let mut later = headers_end + CHECKSUM_LEN..self.body.len();
        later.find(|&at| Prelude::is_sound(&self.body[at..])).unwrap_or(self.body.len())
    }
}

/// What a frame says of itself first.
#[derive(Debug)]
struct Prelude {
    frame_len: usize,
    headers_len: usize,
}

impl Prelude {
    /// Reads a prelude whose headers are all there. One without a valid checksum counts if its headers do.
    fn read(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (frame_len, headers_len) = (number(0)? as usize, number(4)? as usize);
        let headers = bytes.get(PRELUDE_LEN..PRELUDE_LEN.checked_add(headers_len)?)?;
        let fits = PRELUDE_LEN + headers_len + CHECKSUM_LEN <= frame_len.min(bytes.len());
        let counts = || Self::is_sound(bytes) || Headers::are_plausible(headers);
        (fits && counts()).then_some(Self { frame_len, headers_len })
    }

    fn is_sound(bytes: &[u8]) -> bool {
        bytes.len() >= PRELUDE_LEN && crc32(&bytes[..8]).to_be_bytes() == bytes[8..PRELUDE_LEN]
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The headers of a frame: names, and values where they are text. Ends early where they cannot be read.
struct Headers<'a> {
    rest: &'a [u8],
}

impl Headers<'_> {
    /// Whether these are headers as event streams have them: all readable, the first name with its colon.
    fn are_plausible(bytes: &[u8]) -> bool {
        let mut headers = Headers { rest: bytes };
        headers.next().is_some_and(|(name, _)| name.starts_with(b":")) && {
            headers.by_ref().for_each(drop);
            headers.rest.is_empty()
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let (&name_len, rest) = self.rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
        let (&kind, rest) = rest.split_first()?;
        let (value_len, rest) = match kind {
            0 | 1 => (0, rest),
            2 => (1, rest),
            3 => (2, rest),
            4 => (4, rest),
            5 | 8 => (8, rest),
            6 | TEXT => {
                let (len, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*len)), rest)
            }
            9 => (16, rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(value_len)?;
        self.rest = rest;
        Some((name, (kind == TEXT).then_some(value)))
    }
}

/// Writes a frame with text headers, for tests.
#[cfg(test)]
pub(super) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(name.len() as u8);
        block.extend(name.as_bytes());
        block.push(TEXT);
        block.extend((value.len() as u16).to_be_bytes());
        block.extend(value.as_bytes());
    }
    let frame_len = PRELUDE_LEN + block.len() + payload.len() + CHECKSUM_LEN;
    let mut bytes = [(frame_len as u32).to_be_bytes(), (block.len() as u32).to_be_bytes()].concat();
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes.extend(block);
    bytes.extend(payload);
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(kind: &str, payload: &str) -> Vec<u8> {
        frame(&[(":event-type", kind), (":message-type", "event")], payload.as_bytes())
    }

    fn read(body: &[u8]) -> Vec<(&str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        frames(body).map(|f| (f.header(":event-type").unwrap_or_default(), text(f.payload))).collect()
    }

    #[test]
    fn frames_are_split_with_their_ends() {
        let (first, second) = (event("a", "{\"n\":1}"), event("bb", ""));
        let body = [first.clone(), second].concat();
        assert!(begins_frame(&body));
        assert_eq!(read(&body), [("a", "{\"n\":1}"), ("bb", "")]);
        assert_eq!(frames(&body).map(|f| f.end).collect::<Vec<_>>(), [first.len(), body.len()]);
        assert_eq!(frames(&body).next().unwrap().header(":content-type"), None);
    }

    #[test]
    fn wrong_checksums_refuse_nothing() {
        let mut body = [event("a", "one"), event("b", "two")].concat();
        let second = body.len() / 2;
        for at in [8, second - 1, second + 8, body.len() - 1] {
            body[at] ^= 0xff;
        }
        assert_eq!(read(&body), [("a", "one"), ("b", "two")]);
    }

    #[test]
    fn payloads_whose_length_changed_end_where_the_next_frame_begins() {
        for replacement in ["{longer than it was}", "{}"] {
            let edited = |kind| {
                let written = event(kind, "{a secret}");
                let at = written.windows(10).position(|w| w == b"{a secret}").unwrap();
                [&written[..at], replacement.as_bytes(), &written[at + 10..]].concat()
            };
            let body = [edited("a"), event("b", "two"), edited("c")].concat();
            assert_eq!(read(&body), [("a", replacement), ("b", "two"), ("c", replacement)]);
        }
    }

    #[test]
    fn headers_of_every_type_are_passed_over() {
        let mut block = Vec::new();
        for (kind, value) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (8, 8), (9, 16)] {
            block.extend([1, b'x', kind]);
            block.extend(vec![0; value]);
        }
        block.extend([1, b'y', 6, 0, 1, 9, 1, b'z', TEXT, 0, 2, b'o', b'k']);
        let found = Frame { headers: &block, payload: b"", end: 0 };
        assert_eq!((found.header("z"), found.header("y"), found.header("none")), (Some("ok"), None, None));
    }

    #[test]
    fn other_bodies_hold_no_frames() {
        for body in [&b""[..], b"{}", b"data: {}\n\n", &[0; 40], &[0, 0, 0, 16]] {
            assert!(!begins_frame(body), "{body:?}");
            assert_eq!(frames(body).count(), 0);
        }
    }

    proptest! {
        #[test]
        fn written_frames_are_read_back_and_cut_ones_do_no_harm(
            written in prop::collection::vec(("[a-z]{1,9}", "[ -~]{0,30}"), 1..6), cut in 0.0..1.0f64) {
            let body: Vec<u8> = written.iter().flat_map(|(kind, payload)| event(kind, payload)).collect();
            let expected: Vec<_> = written.iter().map(|(k, p)| (k.as_str(), p.as_str())).collect();
            prop_assert_eq!(read(&body), expected.clone());
            let cut_body = &body[..(body.len() as f64 * cut) as usize];
            let whole = read(cut_body);
            let whole = &whole[..whole.len().saturating_sub(1)];
            prop_assert_eq!(whole, &expected[..whole.len()]);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0..60u8) {
            let body = [&[0, 0, 0, len, 0, 0, 0, 4][..], &bytes].concat();
            for frame in frames(&body) {
                prop_assert!(frame.end <= body.len());
            }
        }
    }
}
