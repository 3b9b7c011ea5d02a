//! Content encodings: a body as it passed, decoded, with the place of every piece kept.
//!
//! Recordings lie about their encoding: many keep a `content-encoding` header over text that was stored
//! decoded. So the bytes decide first (gzip and zstd have magic numbers), the header second, and a header
//! whose decoder fails over a body that is plain text is not believed.
//!
//! Decoding never fails. A body that was cut short or damaged yields what could be decoded, and the output
//! is bounded by a limit, so that a small hostile body cannot fill the memory. Checksums are not verified.

mod decompressors;

use bytes::Bytes;
use decompressors::{Brotli, Decompressor, Gzip, Inflate, Zstd};

/// A bound that no real answer reaches: 256 MiB.
pub const DEFAULT_LIMIT_BYTES: usize = 256 << 20;

/// More encodings than anybody stacks; a header that names more is cut here.
const MAX_STACKED: usize = 4;

/// How much is decoded at a time.
const STEP_BYTES: usize = 16 << 10;

/// How much of a body is looked at to see whether it is text.
const TEXT_PROBE_BYTES: usize = 4096;

/// A body without its content encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedBody {
    pub bytes: Bytes,
    /// For each piece of the encoded body, how many decoded bytes were there once it had arrived.
    pub available_after: Vec<usize>,
    pub end: DecodeEnd,
}

/// How decoding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeEnd {
    /// The body was whole, or not encoded.
    Whole,
    /// The encoded data was cut short or damaged: `bytes` is what came before.
    Broken,
    /// Decoding stopped at the limit.
    OverLimit,
}

impl DecodedBody {
    /// The index of the piece whose arrival made the first `length` decoded bytes available. With the
    /// exclusive end of an event as `length`, the piece that completed it.
    pub fn piece_completing(&self, length: usize) -> Option<usize> {
        let index = self.available_after.partition_point(|&available| available < length);
        (index < self.available_after.len()).then_some(index)
    }
}

/// Decodes a body. `encoding` is the `content-encoding` header; `piece_lens` are the lengths of the pieces
/// in which the encoded body arrived (none if that is not known).
pub fn decode(encoding: Option<&str>, body: &Bytes, piece_lens: &[u32], limit_bytes: usize) -> DecodedBody {
    let mut decoded = DecodedBody {
        bytes: body.clone(),
        available_after: piece_ends(piece_lens, body.len()),
        end: DecodeEnd::Whole,
    };
    for named in named_codings(encoding) {
        if decoded.end == DecodeEnd::Whole {
            decoded = decode_layer(named, decoded, limit_bytes);
        }
    }
    decoded
}

/// Where each piece ends in the body. The last one ends with the body, whatever the lengths say.
fn piece_ends(piece_lens: &[u32], body_len: usize) -> Vec<usize> {
    let mut ends: Vec<usize> = piece_lens
        .iter()
        .scan(0usize, |end, &len| {
            *end = end.saturating_add(len as usize).min(body_len);
            Some(*end)
        })
        .collect();
    if let Some(last) = ends.last_mut() {
        *last = body_len;
    }
    ends
}

/// Decodes a body while it passes, for those who only want to look at it.
pub struct StreamDecoder {
    coding: Coding,
    /// `None` until the first bytes have come, and once the data turned out to be damaged.
    decoder: Option<Box<dyn Decompressor + Send + Sync>>,
    is_damaged: bool,
}

impl std::fmt::Debug for StreamDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamDecoder").field("coding", &self.coding).finish_non_exhaustive()
    }
}

impl StreamDecoder {
    /// For a body with this `content-encoding`; `None` if it names none that is known, or several.
    pub fn for_encoding(encoding: &str) -> Option<Self> {
        Some(Self { coding: Coding::parse(encoding)?, decoder: None, is_damaged: false })
    }

    /// What `piece` adds to the decoded body. Nothing after damage.
    pub fn decode(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.is_damaged || piece.is_empty() {
            return Vec::new();
        }
        let coding = self.coding;
        let decoder = self.decoder.get_or_insert_with(|| match coding {
            Coding::Gzip => Box::new(Gzip::default()),
            Coding::Deflate => Box::new(Inflate::for_data(piece)),
            Coding::Brotli => Box::new(Brotli::new()),
            Coding::Zstd => Box::new(Zstd::default()),
        });
        let mut output = Output {
            bytes: Vec::new(),
            limit_bytes: DEFAULT_LIMIT_BYTES,
            end: DecodeEnd::Broken,
            buffer: vec![0; STEP_BYTES],
        };
        self.is_damaged = output.feed(decoder.as_mut(), piece).is_err();
        output.bytes
    }
}

/// A compression format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    fn parse(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn by_magic(body: &[u8]) -> Option<Self> {
        if body.starts_with(b"\x1f\x8b\x08") {
            Some(Self::Gzip)
        } else if body.starts_with(b"\x28\xb5\x2f\xfd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// Whether data in this format always begins with a magic number.
    fn has_magic(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd)
    }
}

/// The layers to take off, outermost first. Without a header there may be one that only the bytes show.
fn named_codings(encoding: Option<&str>) -> Vec<Option<Coding>> {
    let names = encoding.unwrap_or_default().rsplit(',');
    let named: Vec<_> = names.filter_map(Coding::parse).take(MAX_STACKED).map(Some).collect();
    if named.is_empty() { vec![None] } else { named }
}

/// Takes one layer off, if there is one.
fn decode_layer(named: Option<Coding>, encoded: DecodedBody, limit_bytes: usize) -> DecodedBody {
    let by_magic = Coding::by_magic(&encoded.bytes);
    let Some(coding) = by_magic.or(named.filter(|coding| !coding.has_magic())) else {
        return encoded;
    };
    let decoded = decompress(coding, &encoded, limit_bytes);
    let header_is_stale =
        by_magic.is_none() && decoded.end == DecodeEnd::Broken && looks_like_text(&encoded.bytes);
    if header_is_stale { encoded } else { decoded }
}

/// Whether a body that its decoder refuses is simply not encoded.
fn looks_like_text(body: &[u8]) -> bool {
    let probe = &body[..body.len().min(TEXT_PROBE_BYTES)];
    let valid = match std::str::from_utf8(probe) {
        Ok(_) => true,
        // A character may be cut at the end of the probe, but not of the body.
        Err(error) => error.error_len().is_none() && probe.len() < body.len(),
    };
    valid && !probe.iter().any(|b| b.is_ascii_control() && !b.is_ascii_whitespace())
}

fn decompress(coding: Coding, encoded: &DecodedBody, limit_bytes: usize) -> DecodedBody {
    match coding {
        Coding::Gzip => run(&mut Gzip::default(), encoded, limit_bytes),
        Coding::Deflate => run(&mut Inflate::for_data(&encoded.bytes), encoded, limit_bytes),
        Coding::Brotli => run(&mut Brotli::new(), encoded, limit_bytes),
        Coding::Zstd => run(&mut Zstd::default(), encoded, limit_bytes),
    }
}

/// Feeds a decompressor piece by piece and notes what each piece made available.
fn run(decoder: &mut impl Decompressor, encoded: &DecodedBody, limit_bytes: usize) -> DecodedBody {
    let mut output =
        Output { bytes: Vec::new(), limit_bytes, end: DecodeEnd::Broken, buffer: vec![0; STEP_BYTES] };
    let mut fed = 0;
    let mut available_after = Vec::with_capacity(encoded.available_after.len());
    let whole_body = [encoded.bytes.len()];
    let pieces = if encoded.available_after.is_empty() { &whole_body[..] } else { &encoded.available_after };
    let mut stopped = false;
    for &end in pieces {
        stopped = stopped || output.feed(decoder, &encoded.bytes[fed..end]).is_err();
        fed = end;
        available_after.push(output.bytes.len());
    }
    available_after.truncate(encoded.available_after.len());
    DecodedBody { bytes: output.bytes.into(), available_after, end: output.end }
}

struct Output {
    bytes: Vec<u8>,
    limit_bytes: usize,
    /// How decoding would have ended if nothing more came.
    end: DecodeEnd,
    /// Room for one step.
    buffer: Vec<u8>,
}

/// Decoding cannot go on; [`Output::end`] says why.
struct Stopped;

impl Output {
    fn feed(&mut self, decoder: &mut (impl Decompressor + ?Sized), mut input: &[u8]) -> Result<(), Stopped> {
        loop {
            let Ok(step) = decoder.step(input, &mut self.buffer) else {
                self.end = DecodeEnd::Broken;
                return Err(Stopped);
            };
            input = &input[step.read..];
            self.end = if step.at_end { DecodeEnd::Whole } else { DecodeEnd::Broken };
            self.take(step.written)?;
            if step.written < self.buffer.len() && (input.is_empty() || step.read == 0 && step.written == 0) {
                return Ok(());
            }
        }
    }

    /// Takes what a step has left in the buffer.
    fn take(&mut self, written: usize) -> Result<(), Stopped> {
        let decoded = &self.buffer[..written];
        let room = self.limit_bytes.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&decoded[..decoded.len().min(room)]);
        if decoded.len() <= room {
            return Ok(());
        }
        self.end = DecodeEnd::OverLimit;
        Err(Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write};
    use proptest::prelude::*;
    use std::io::Write;

    const CODINGS: &[&str] = &["gzip", "zlib", "deflate", "br", "zstd", "identity"];

    /// A writer that encodes; each flush makes everything written so far decodable.
    fn encode_pieces(coding: &str, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut encoded: Vec<Vec<u8>> = Vec::new();
        let mut seen = 0;
        macro_rules! drive {
            ($writer:expr, $finish:expr) => {{
                let mut writer = $writer;
                for piece in pieces {
                    writer.write_all(piece).unwrap();
                    writer.flush().unwrap();
                    encoded.push(writer.get_ref()[seen..].to_vec());
                    seen = writer.get_ref().len();
                }
                let all: Vec<u8> = $finish(writer);
                encoded.push(all[seen..].to_vec());
            }};
        }
        let level = Compression::default();
        match coding {
            "gzip" => {
                drive!(write::GzEncoder::new(Vec::new(), level), |w: write::GzEncoder<_>| w
                    .finish()
                    .unwrap());
            }
            "zlib" => {
                drive!(write::ZlibEncoder::new(Vec::new(), level), |w: write::ZlibEncoder<_>| w
                    .finish()
                    .unwrap());
            }
            "deflate" => {
                drive!(write::DeflateEncoder::new(Vec::new(), level), |w: write::DeflateEncoder<_>| w
                    .finish()
                    .unwrap());
            }
            "br" => {
                drive!(
                    brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20),
                    |w: brotli::CompressorWriter<_>| w.into_inner()
                );
            }
            "zstd" => {
                drive!(
                    zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap(),
                    |w: zstd::stream::write::Encoder<'_, _>| w.finish().unwrap()
                );
            }
            _ => encoded = pieces.iter().map(|p| p.to_vec()).collect(),
        }
        encoded
    }

    fn encode(coding: &str, plain: &[u8]) -> Bytes {
        encode_pieces(coding, &[plain]).concat().into()
    }

    fn header(coding: &str) -> &str {
        if coding == "zlib" { "deflate" } else { coding }
    }

    fn decode_whole(encoding: Option<&str>, body: &Bytes) -> (Bytes, DecodeEnd) {
        let decoded = decode(encoding, body, &[], DEFAULT_LIMIT_BYTES);
        assert!(decoded.available_after.is_empty());
        (decoded.bytes, decoded.end)
    }

    #[test]
    fn a_stream_decodes_as_its_whole() {
        let text = b"data: one\n\ndata: two\n\ndata: [DONE]\n\n".repeat(50);
        let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text).unwrap();
        let encoded = encoder.finish().unwrap();
        for size in [1, 2, 7, 1000] {
            let mut decoder = StreamDecoder::for_encoding("GZIP").unwrap();
            let decoded: Vec<u8> = encoded.chunks(size).flat_map(|piece| decoder.decode(piece)).collect();
            assert_eq!(decoded, text);
        }
        let mut damaged = StreamDecoder::for_encoding("gzip").unwrap();
        assert_eq!((damaged.decode(b"no gzip"), damaged.decode(&encoded)), (vec![], vec![]));
        assert!(StreamDecoder::for_encoding("gzip, br").is_none());
    }

    #[test]
    fn stacked_encodings_come_off_in_reverse() {
        let body = encode("br", &encode("gzip", b"{\"ok\":true}"));
        assert_eq!(decode_whole(Some("gzip, br"), &body), ("{\"ok\":true}".into(), DecodeEnd::Whole));
        let body = encode("zstd", &encode("zlib", b"{}"));
        assert_eq!(decode_whole(Some("Deflate,  ZSTD"), &body), ("{}".into(), DecodeEnd::Whole));
    }

    #[test]
    fn stale_headers_are_not_believed() {
        for plain in ["{\"ok\":true}", "data: {}\n\n", "", "x^ äöü", "[1]"] {
            for stale in ["gzip", "br", "deflate", "zstd", "gzip, br", "nonsense"] {
                let got = decode_whole(Some(stale), &plain.into());
                assert_eq!(got.0, plain, "{stale} over {plain:?}");
            }
        }
        let gzipped = encode("gzip", b"{}");
        for header in [None, Some("br"), Some("identity"), Some("zstd")] {
            assert_eq!(decode_whole(header, &gzipped), ("{}".into(), DecodeEnd::Whole), "{header:?}");
        }
    }

    #[test]
    fn gzip_members_and_optional_header_fields() {
        let mut writer = flate2::GzBuilder::new()
            .filename("f")
            .comment("c")
            .extra("xyz")
            .write(Vec::new(), Compression::fast());
        writer.write_all(b"one ").unwrap();
        let mut body = writer.finish().unwrap();
        body.extend_from_slice(&encode("gzip", b"two"));
        for piece in [1, 3, 1000] {
            let lens = vec![piece; body.len().div_ceil(piece as usize)];
            let decoded = decode(None, &body.clone().into(), &lens, 100);
            assert_eq!((decoded.bytes, decoded.end), ("one two".into(), DecodeEnd::Whole));
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0u8; 4 << 20];
        for coding in ["gzip", "zlib", "deflate", "br", "zstd"] {
            let body = encode(coding, &zeros);
            assert!(body.len() < 10_000);
            let decoded = decode(Some(header(coding)), &body, &[10, 1_000_000], 100_000);
            assert_eq!((decoded.bytes.len(), decoded.end), (100_000, DecodeEnd::OverLimit), "{coding}");
            assert_eq!(decoded.available_after.last(), Some(&100_000));
        }
    }

    #[test]
    fn each_piece_makes_its_own_bytes_available() {
        let pieces: &[&[u8]] = &[b"data: 1\n\n", b"data: 22\n\n", b"data: 333\n\n"];
        for coding in CODINGS {
            let encoded = encode_pieces(coding, pieces);
            let lens: Vec<u32> = encoded.iter().map(|p| p.len() as u32).collect();
            let decoded = decode(Some(header(coding)), &encoded.concat().into(), &lens, 1000);
            assert_eq!(decoded.bytes, pieces.concat(), "{coding}");
            assert_eq!(decoded.available_after[..3], [9, 19, 30], "{coding}");
            let completing = [1, 9, 10, 19, 20, 30, 31].map(|n| decoded.piece_completing(n));
            assert_eq!(completing, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), None], "{coding}");
        }
    }

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(proptest::sample::select(b"abc {}\":\n".to_vec()), 1..3000)
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(plain in texts(), coding in proptest::sample::select(CODINGS),
                                       piece in 1..700u32) {
            let body = encode(coding, &plain);
            let lens = vec![piece; body.len().div_ceil(piece as usize)];
            let decoded = decode(Some(header(coding)), &body, &lens, DEFAULT_LIMIT_BYTES);
            prop_assert_eq!(decoded.end, DecodeEnd::Whole);
            prop_assert_eq!(&decoded.bytes[..], &plain[..]);
            prop_assert_eq!(decoded.available_after.len(), lens.len());
            prop_assert_eq!(decoded.available_after.last(), Some(&plain.len()));
            prop_assert!(decoded.available_after.is_sorted());
        }

        #[test]
        fn a_body_cut_short_decodes_as_far_as_it_goes(
            plain in texts(), coding in proptest::sample::select(&CODINGS[..5]), keep in 0.0..1.0f64) {
            let body = encode(coding, &plain);
            let cut = (body.len() as f64 * keep) as usize;
            let decoded = decode(Some(header(coding)), &body.slice(..cut), &[], DEFAULT_LIMIT_BYTES);
            if decoded.end == DecodeEnd::Broken {
                prop_assert!(plain.starts_with(&decoded.bytes));
            }
        }

        #[test]
        fn anything_else_is_survived(
            magic in proptest::sample::select(vec![&b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x78\x9c"]),
            rest in proptest::collection::vec(any::<u8>(), 0..300),
            encoding in proptest::option::of(proptest::sample::select(vec!["gzip", "br", "deflate", "zstd", "br,br"])),
            lens in proptest::collection::vec(0..50u32, 0..10),
        ) {
            let body = Bytes::from([magic, &rest].concat());
            let decoded = decode(encoding, &body, &lens, 10_000);
            prop_assert_eq!(decoded.available_after.len(), lens.len());
            prop_assert!(decoded.available_after.is_sorted());
            prop_assert!(decoded.available_after.iter().all(|&n| n <= decoded.bytes.len()));
            prop_assert!(decoded.bytes.len() <= 10_000.max(body.len()));
        }
    }
}
