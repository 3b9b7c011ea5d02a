//! Rebinding: live values in the places of recorded ones, in answers on their way to a client.
//!
//! A recorded answer names the ids and folders of the recorded run. Where it is known which live value
//! stands for such a value, the live one is written in its place, across the events of a stream too: the
//! whole value goes where the recorded one began, and the later pieces lose their part. It uses the search
//! that finds secrets, because the question is the same.
//!
//! Nothing changes inside signed blocks: thinking and its signature, encrypted reasoning, parts of Gemini
//! that carry a thought's signature. The provider would refuse them. Values shorter than
//! [`SHORTEST_BYTES`], and those inside longer words, stay as they are.

use super::bind::json_escaped;
use super::credentials::Credentials;
use super::findings::Pieces;
use super::json_strings::{last_key, string_values};
use super::stream::{documents, places_of};
use crate::derive::decode_body;
use crate::exchange::{Answer, Chunk};
use bytes::Bytes;
use std::ops::Range;

/// Shorter values are words of every text.
const SHORTEST_BYTES: usize = 6;

/// Members whose values are signed, or are signatures.
const SIGNED: &[&[u8]] = &[
    b"thinking",
    b"signature",
    b"encrypted_content",
    b"encrypted_index",
    b"thoughtSignature",
    b"thought_signature",
    b"data",
];

/// Which live value stands for a recorded one.
#[derive(Clone, Debug, Default)]
pub struct Rebinding {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    searched: Credentials,
}

/// An answer with live values in it.
#[derive(Debug)]
pub struct Rebound {
    pub answer: Answer,
    /// For each value that was replaced: its number among the pairs, and in how many places.
    pub places: Vec<(usize, u32)>,
}

impl Rebinding {
    /// Adds a pair; the first for a recorded value stands. Whether it can be looked for.
    pub fn add(&mut self, recorded: &str, live: &str) -> Option<usize> {
        if recorded.len() < SHORTEST_BYTES || self.pairs.iter().any(|(known, _)| known == recorded.as_bytes())
        {
            return None;
        }
        self.pairs.push((recorded.as_bytes().to_vec(), live.as_bytes().to_vec()));
        self.searched.add_exactly(recorded.as_bytes());
        Some(self.pairs.len() - 1)
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The answer with live values; `None` if it holds no recorded ones. A compressed one comes back
    /// decoded.
    pub fn apply(&self, answer: &Answer) -> Option<Rebound> {
        if self.is_empty() {
            return None;
        }
        let lens: Vec<u32> = answer.chunks.iter().map(|chunk| chunk.len).collect();
        let decoded = decode_body(&answer.headers, &answer.body, &lens);
        let found: Vec<(Pieces, usize)> = places_of(&self.searched, &decoded.bytes)
            .into_iter()
            .filter_map(|pieces| Some((self.pair_at(&decoded.bytes, &pieces)?, pieces)))
            .map(|(pair, pieces)| (pieces, pair))
            .collect();
        if found.is_empty() {
            return None;
        }
        let signed = signed_ranges(&decoded.bytes);
        let is_signed = |pieces: &Pieces| {
            pieces
                .iter()
                .any(|piece| signed.iter().any(|range| range.start <= piece.start && piece.start < range.end))
        };
        let mut cuts: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
        let mut places = vec![0u32; self.pairs.len()];
        for (pieces, pair) in found.iter().filter(|(pieces, _)| !is_signed(pieces)) {
            places[*pair] += 1;
            for (nth, piece) in pieces.iter().enumerate() {
                let put = if nth == 0 { json_escaped(&self.pairs[*pair].1) } else { Vec::new() };
                cuts.push((piece.clone(), put));
            }
        }
        if cuts.is_empty() {
            return None;
        }
        cuts.sort_by_key(|(range, _)| range.start);
        // Decoded bytes are available once an encoded piece has come.
        let ends = decoded.available_after.iter().copied().chain([decoded.bytes.len()]);
        let (body, ends) = replaced(&decoded.bytes, &cuts, ends.collect());
        let places = places.into_iter().enumerate().filter(|(_, places)| *places > 0).collect();
        Some(Rebound { answer: with_body(answer, body, &ends), places })
    }

    /// The pair whose recorded value stands in these pieces, as a word of its own.
    fn pair_at(&self, body: &[u8], pieces: &Pieces) -> Option<usize> {
        let value: Vec<u8> = pieces.iter().flat_map(|piece| &body[piece.clone()]).copied().collect();
        let pair = self.pairs.iter().position(|(recorded, _)| *recorded == value)?;
        let (first, last) = (pieces.first()?, pieces.last()?);
        let before = first.start.checked_sub(1).map(|at| body[at]);
        // The letter of an escape such as `\n` is no part of a word.
        let is_escape = first.start >= 2 && body[first.start - 2] == b'\\';
        let in_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let begins = !in_word(before) || is_escape || !value[0].is_ascii_alphanumeric();
        (begins && !in_word(body.get(last.end).copied())).then_some(pair)
    }
}

/// Where nothing may change.
fn signed_ranges(body: &[u8]) -> Vec<Range<usize>> {
    let mut documents = documents(body);
    if documents.is_empty() {
        documents.push(0..body.len());
    }
    let mut signed = Vec::new();
    for document in documents {
        let text = &body[document.clone()];
        let holds = |word: &[u8]| memchr::memmem::find(text, word).is_some();
        if holds(b"\"thoughtSignature\"") || holds(b"\"thought_signature\"") {
            signed.push(document);
            continue;
        }
        let strings = string_values(body, document);
        signed.extend(
            strings.into_iter().filter(|s| SIGNED.contains(&last_key(&s.channel))).map(|string| string.range),
        );
    }
    signed
}

/// The body with its cuts replaced, and where each of the former ends lies now.
fn replaced(body: &[u8], cuts: &[(Range<usize>, Vec<u8>)], ends: Vec<usize>) -> (Bytes, Vec<usize>) {
    let mut out = Vec::with_capacity(body.len());
    let mut kept = 0;
    let mut moved = Vec::with_capacity(ends.len());
    let mut ends = ends.into_iter().peekable();
    for (range, put) in cuts {
        while let Some(end) = ends.next_if(|&end| end <= range.start) {
            moved.push(out.len() + end - kept);
        }
        out.extend_from_slice(&body[kept..range.start]);
        // A piece that ended inside a value ends before the live one, which comes whole.
        while ends.next_if(|&end| end < range.end).is_some() {
            moved.push(out.len());
        }
        out.extend_from_slice(put);
        kept = range.end;
    }
    moved.extend(ends.map(|end| out.len() + end.saturating_sub(kept)));
    out.extend_from_slice(&body[kept.min(body.len())..]);
    (Bytes::from(out), moved)
}

fn with_body(answer: &Answer, body: Bytes, ends: &[usize]) -> Answer {
    let mut from = 0;
    let chunks = answer
        .chunks
        .iter()
        .zip(ends)
        .map(|(chunk, &end)| {
            let end = end.clamp(from, body.len());
            let len = u32::try_from(end - from).unwrap_or(u32::MAX);
            from = end;
            Chunk { at_us: chunk.at_us, len }
        })
        .collect();
    let headers = answer.headers.without(|name| matches!(name, "content-encoding" | "content-length"));
    Answer { headers, body, chunks, ..answer.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Ending;
    use crate::headers::RedactedHeaders;
    use proptest::prelude::*;

    fn answer(pieces: &[&str]) -> Answer {
        let chunk = |(nth, piece): (usize, &&str)| Chunk { at_us: nth as i64, len: piece.len() as u32 };
        Answer {
            status: 200,
            headers: RedactedHeaders::redact([("content-length", &b"9"[..]), ("x-a", b"b")]),
            body: Bytes::from(pieces.concat()),
            chunks: pieces.iter().enumerate().map(chunk).collect(),
            head_us: 0,
            end_us: 9,
            ending: Ending::Complete,
        }
    }

    fn rebinding() -> Rebinding {
        let mut rebinding = Rebinding::default();
        rebinding.add("run_8f3a0c1d", "run_\"77\"");
        rebinding.add("/home/alice/app", "/w");
        rebinding
    }

    fn pieces_of(answer: &Answer) -> Vec<String> {
        let mut at = 0;
        let piece = |chunk: &Chunk| {
            let from = at;
            at += chunk.len as usize;
            String::from_utf8(answer.body[from..at].to_vec()).unwrap()
        };
        answer.chunks.iter().map(piece).collect()
    }

    #[test]
    fn live_values_come_in_one_piece() {
        let recorded = answer(&[
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"is run_8f3a0c1d in /home\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"/alice/app or run_8f\"}}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"3a0c1d?\"}}]}\n\n",
        ]);
        let rebound = rebinding().apply(&recorded).expect("there are recorded values");
        assert_eq!(rebound.places, [(0, 2), (1, 1)]);
        assert_eq!(
            pieces_of(&rebound.answer),
            [
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"is run_\\\"77\\\" in /w\"}}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" or run_\\\"77\\\"\"}}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"?\"}}]}\n\n",
            ]
        );
        assert_eq!(rebound.answer.headers.iter().collect::<Vec<_>>(), [("x-a", "b")]);
    }

    #[test]
    fn signed_blocks_and_longer_words_stay() {
        for body in [
            r#"{"content":[{"type":"thinking","thinking":"run_8f3a0c1d","signature":"run_8f3a0c1d"}]}"#,
            r#"{"output":[{"type":"reasoning","encrypted_content":"run_8f3a0c1d"}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"run_8f3a0c1d","thoughtSignature":"x"}]}}]}"#,
            r#"{"text":"run_8f3a0c1d2 and /home/alice/app2 and xrun_8f3a0c1d"}"#,
            "data: {\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"run_8f3a0c1d\"}}\n\n",
        ] {
            assert!(rebinding().apply(&answer(&[body])).is_none(), "{body}");
        }
        let mixed = r#"{"content":[{"type":"thinking","thinking":"run_8f3a0c1d","signature":"s"},{"type":"text","text":"a\nrun_8f3a0c1d"}]}"#;
        let rebound = rebinding().apply(&answer(&[mixed])).expect("the text may change");
        assert_eq!(rebound.places, [(0, 1)]);
        assert!(pieces_of(&rebound.answer)[0].contains(r#""thinking":"run_8f3a0c1d""#));
        assert!(pieces_of(&rebound.answer)[0].contains(r#""text":"a\nrun_\"77\"""#));
    }

    #[test]
    fn short_values_are_not_looked_for() {
        let mut rebinding = Rebinding::default();
        assert_eq!(rebinding.add("4711", "4712"), None);
        assert!(rebinding.is_empty());
        assert!(rebinding.add("127.0.0.1:43121", "127.0.0.1:9").is_some());
        assert_eq!(rebinding.add("127.0.0.1:43121", "127.0.0.1:10"), None);
        assert!(rebinding.apply(&answer(&[r#"{"text":"at 127.0.0.1:43121."}"#])).is_some());
    }

    proptest! {
        /// However a text is cut into deltas and these into pieces, the client reads the live text.
        #[test]
        fn the_client_reads_the_live_text(words in prop::collection::vec(prop::sample::select(vec!["a ", "run_8f3a0c1d ", "/home/alice/app ", "é"]), 1..8), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6), breaks in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let said = words.concat();
            let letters: Vec<char> = said.chars().collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(letters.len() + 1)).chain([0, letters.len()]).collect();
            at.sort_unstable();
            let events: String = at.windows(2).map(|w| {
                let part: String = letters[w[0]..w[1]].iter().collect();
                format!("data: {}\n\n", serde_json::json!({"choices": [{"index": 0, "delta": {"content": part}}]}))
            }).collect();
            let mut ends: Vec<usize> = breaks.iter().map(|cut| cut.index(events.len() + 1)).chain([events.len()]).collect();
            ends.sort_unstable();
            let mut from = 0;
            let chunks = ends.iter().map(|&end| { let len = (end - from) as u32; from = end; Chunk { at_us: 0, len } }).collect();
            let recorded = Answer { body: Bytes::from(events), chunks, ..answer(&[]) };
            let live = rebinding().apply(&recorded).map_or(recorded, |rebound| rebound.answer);
            prop_assert_eq!(live.chunks.iter().map(|chunk| chunk.len as usize).sum::<usize>(), live.body.len());
            let text = String::from_utf8(live.body.to_vec()).unwrap();
            let read: String = text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|line| {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                event["choices"][0]["delta"]["content"].as_str().unwrap().to_owned()
            }).collect();
            prop_assert_eq!(read, said.replace("run_8f3a0c1d", "run_\"77\"").replace("/home/alice/app", "/w"));
        }
    }
}
