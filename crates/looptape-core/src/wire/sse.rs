//! Server-sent events: splits a whole body into its events.
//!
//! Follows the event-stream rules of the HTML standard: lines end in LF, CRLF or CR, a leading byte order
//! mark is skipped, comment lines are skipped, several `data` lines are joined by LF. Two things differ,
//! because recordings are read here and not live connections: an event that the body's end cut off is
//! reported, marked [`EventEnd::EndOfBody`], instead of dropped; and an event with a name but no data is
//! reported too.
//!
//! Every event knows its byte range, which is how output is given a time. Text is borrowed from the body
//! unless it has several data lines or is not UTF-8 (then it is read with replacement characters).
//! `id` and `retry` fields are not kept: no provider uses them.

use std::borrow::Cow;
use std::ops::Range;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The `event:` field; the last one if there are several.
    pub name: Option<Cow<'a, str>>,
    /// The `data:` fields, joined by LF; empty if there was none.
    pub data: Cow<'a, str>,
    /// Where the event is in the body: from its first line to the end of the blank line that ends it.
    pub range: Range<usize>,
    pub end: EventEnd,
}

/// What ended an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventEnd {
    BlankLine,
    /// The body ended first: its data may be cut short.
    EndOfBody,
}

/// The events of a body, in order.
pub fn events(body: &[u8]) -> Events<'_> {
    let position = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    Events { body, position }
}

/// Iterator of [`events`].
#[derive(Clone, Debug)]
pub struct Events<'a> {
    body: &'a [u8],
    position: usize,
}

impl<'a> Iterator for Events<'a> {
    type Item = SseEvent<'a>;

    fn next(&mut self) -> Option<SseEvent<'a>> {
        let mut fields = Fields::default();
        let mut start = self.position;
        while let Some(line) = self.take_line() {
            if !line.is_empty() {
                fields.read(line);
            } else if fields.is_empty() {
                start = self.position;
            } else {
                return Some(fields.into_event(start..self.position, EventEnd::BlankLine));
            }
        }
        (!fields.is_empty()).then(|| fields.into_event(start..self.position, EventEnd::EndOfBody))
    }
}

impl<'a> Events<'a> {
    /// The next line without its end; `None` at the end of the body.
    fn take_line(&mut self) -> Option<&'a [u8]> {
        let rest = self.body.get(self.position..).filter(|rest| !rest.is_empty())?;
        let Some(length) = memchr::memchr2(b'\n', b'\r', rest) else {
            self.position = self.body.len();
            return Some(rest);
        };
        let end_length = if rest[length..].starts_with(b"\r\n") { 2 } else { 1 };
        self.position += length + end_length;
        Some(&rest[..length])
    }
}

/// The fields of the event being read.
#[derive(Default)]
struct Fields<'a> {
    name: Option<Cow<'a, str>>,
    data: Option<Cow<'a, str>>,
}

impl<'a> Fields<'a> {
    fn read(&mut self, line: &'a [u8]) {
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = Some(String::from_utf8_lossy(value)),
            b"data" => self.add_data(String::from_utf8_lossy(value)),
            _ => {}
        }
    }

    fn add_data(&mut self, value: Cow<'a, str>) {
        match &mut self.data {
            None => self.data = Some(value),
            Some(data) => {
                let data = data.to_mut();
                data.push('\n');
                data.push_str(&value);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.name.is_none() && self.data.is_none()
    }

    fn into_event(self, range: Range<usize>, end: EventEnd) -> SseEvent<'a> {
        SseEvent { name: self.name, data: self.data.unwrap_or_default(), range, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Vec<(Option<String>, String, Range<usize>, EventEnd)> {
        events(body.as_bytes())
            .map(|e| (e.name.map(Cow::into_owned), e.data.into_owned(), e.range, e.end))
            .collect()
    }

    #[test]
    fn line_ends_are_lf_crlf_and_cr() {
        for line_end in ["\n", "\r\n", "\r"] {
            let body = ["event: a", "data: 1", "", "data: 2", "data:3", ""].join(line_end) + line_end;
            let first = body.find("data: 2").unwrap();
            assert_eq!(
                read(&body),
                [
                    (Some("a".into()), "1".into(), 0..first, EventEnd::BlankLine),
                    (None, "2\n3".into(), first..body.len(), EventEnd::BlankLine),
                ],
                "{line_end:?}"
            );
        }
    }

    #[test]
    fn comments_blank_lines_and_a_byte_order_mark_are_skipped() {
        let body = "\u{feff}: OPENROUTER PROCESSING\n\n\n: again\ndata: x\n\n: end\n\n";
        let start = body.find(": again").unwrap();
        assert_eq!(read(body), [(None, "x".into(), start..start + 17, EventEnd::BlankLine)]);
    }

    #[test]
    fn an_event_cut_off_by_the_end_is_reported_as_such() {
        assert_eq!(read("data: {\"a"), [(None, "{\"a".into(), 0..9, EventEnd::EndOfBody)]);
        assert_eq!(read("data: a\n"), [(None, "a".into(), 0..8, EventEnd::EndOfBody)]);
        assert_eq!(read("event: ping"), [(Some("ping".into()), String::new(), 0..11, EventEnd::EndOfBody)]);
        assert_eq!(read(""), []);
        assert_eq!(read(": only a comment\n"), []);
    }

    #[test]
    fn odd_fields() {
        assert_eq!(read("data\n\n"), [(None, String::new(), 0..6, EventEnd::BlankLine)]);
        assert_eq!(read("id: 7\nretry: 5\ndata:  x\n\n"), [(None, " x".into(), 0..25, EventEnd::BlankLine)]);
        assert_eq!(read("id: 7\n\n"), []);
    }

    #[test]
    fn single_data_lines_are_borrowed() {
        let event = events(b"data: {}\n\n").next().unwrap();
        assert!(matches!(event.data, Cow::Borrowed("{}")));
    }

    proptest! {
        #[test]
        fn written_events_are_read_back(
            written in proptest::collection::vec(("[a-z_.]{1,8}", "[^\r\n]{0,20}(\n[^\r\n]{0,20}){0,2}"), 0..6),
            line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        ) {
            let mut body = String::new();
            for (name, data) in &written {
                body += &format!("event: {name}{line_end}");
                for line in data.split('\n') {
                    body += &format!("data: {line}{line_end}");
                }
                body += line_end;
            }
            let got: Vec<_> = read(&body).into_iter().map(|(n, d, _, _)| (n.unwrap(), d)).collect();
            prop_assert_eq!(got, written);
        }

        #[test]
        fn ranges_ascend_and_stay_inside(body in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..200)) {
            let mut last = 0;
            for event in events(&body) {
                prop_assert!(event.range.start >= last && event.range.start < event.range.end);
                last = event.range.end;
            }
            prop_assert!(last <= body.len());
        }
    }
}
