//! How bytes are written down: as they are, or compressed.

use zstd::zstd_safe::CParameter;

pub(crate) const RAW: i64 = 0;
pub(crate) const ZSTD: i64 = 1;

/// While calls wait to be recorded.
const QUICK_LEVEL: i32 = 1;
/// When nobody waits.
const THOROUGH_LEVEL: i32 = 3;

/// In a hurry, shorter matches than this save little in text, and are most of the work.
const SHORTEST_QUICK_MATCH: u32 = 7;

/// Two compression contexts, kept for their allocations.
pub(crate) struct Encoder {
    quick: zstd::bulk::Compressor<'static>,
    thorough: zstd::bulk::Compressor<'static>,
}

impl Encoder {
    pub(crate) fn new() -> std::io::Result<Self> {
        let new = |level| {
            let mut compressor = zstd::bulk::Compressor::new(level)?;
            // The size is in the row and the digest is the checksum: no need to write them twice.
            compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
            std::io::Result::Ok(compressor)
        };
        let (mut quick, thorough) = (new(QUICK_LEVEL)?, new(THOROUGH_LEVEL)?);
        quick.set_parameter(CParameter::MinMatch(SHORTEST_QUICK_MATCH))?;
        Ok(Self { quick, thorough })
    }

    /// The compressed form of `contents`, soon.
    pub(crate) fn compress(&mut self, contents: &[u8]) -> Vec<u8> {
        self.quick.compress(contents).expect("the compressor makes room for its worst case")
    }

    /// The same, smaller and later.
    pub(crate) fn compress_well(&mut self, contents: &[u8]) -> Vec<u8> {
        self.thorough.compress(contents).expect("the compressor makes room for its worst case")
    }
}

/// Contents from this size on are worth compressing by themselves.
const WORTH_BYTES: usize = 512;

/// Something that stands alone: its codec, its size, and what is stored.
pub(crate) fn encode_alone(contents: Vec<u8>) -> (i64, usize, Vec<u8>) {
    let size = contents.len();
    let compressed = || zstd::bulk::compress(&contents, THOROUGH_LEVEL).ok();
    match (size >= WORTH_BYTES).then(compressed).flatten().filter(|stored| stored.len() < size) {
        Some(stored) => (ZSTD, size, stored),
        None => (RAW, size, contents),
    }
}

/// No content is longer. What says otherwise is damaged.
const MOST_BYTES: usize = 1 << 32;

/// The `size` bytes that `stored` stands for; `None` if they are damaged.
pub(crate) fn decode(codec: i64, size: usize, stored: &[u8]) -> Option<Vec<u8>> {
    let bytes = match codec {
        _ if size > MOST_BYTES => None,
        RAW => Some(stored.to_vec()),
        ZSTD => zstd::bulk::Decompressor::new().ok()?.decompress(stored, size).ok(),
        _ => None,
    };
    bytes.filter(|bytes| bytes.len() == size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let mut encoder = Encoder::new().unwrap();
        let noise: Vec<u8> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let words = "words and words ".repeat(100);
        for content in [&b""[..], b"short", words.as_bytes(), &noise] {
            for stored in [encoder.compress(content), encoder.compress_well(content)] {
                assert_eq!(decode(ZSTD, content.len(), &stored).as_deref(), Some(content));
            }
            assert_eq!(decode(RAW, content.len(), content).as_deref(), Some(content));
            let (codec, size, stored) = encode_alone(content.to_vec());
            assert_eq!(decode(codec, size, &stored).as_deref(), Some(content));
        }
        assert!(encoder.compress(words.as_bytes()).len() < 100);
    }

    #[test]
    fn damage_is_noticed() {
        assert_eq!(decode(ZSTD, 10, b"nonsense"), None);
        assert_eq!(decode(RAW, 3, b"ab"), None);
        assert_eq!(decode(9, 0, b""), None);
    }
}
