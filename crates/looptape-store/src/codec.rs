//! How content is written down: as it is, compressed, as a splice of another blob, or in a pack (`packs`).

use looptape_core::chain::Splice;
use zstd::zstd_safe::CParameter;

pub(crate) const RAW: i64 = 0;
pub(crate) const ZSTD: i64 = 1;
pub(crate) const SPLICE: i64 = 2;
pub(crate) const PACKED: i64 = 3;

/// What is compressed is short: higher levels pay little for their time.
const LEVEL: i32 = 1;

const SHORTEST_MATCH: u32 = 7;

/// Content below this many bytes gains nothing from compression.
pub(crate) const SMALLEST_WORTH: usize = 64;

/// One compression context, kept for its allocations.
pub(crate) struct Encoder(zstd::bulk::Compressor<'static>);

impl Encoder {
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        // The size is in the row and the digest is the checksum: no need to write them twice.
        compressor.set_parameter(CParameter::ContentSizeFlag(false))?;
        // Shorter matches than this save little in text, and are most of the work.
        compressor.set_parameter(CParameter::MinMatch(SHORTEST_MATCH))?;
        Ok(Self(compressor))
    }

    /// The codec and the stored bytes of `content`.
    pub(crate) fn encode(&mut self, content: &[u8]) -> (i64, Option<Vec<u8>>) {
        if content.len() >= SMALLEST_WORTH
            && let Ok(packed) = self.0.compress(content)
            && packed.len() < content.len()
        {
            return (ZSTD, Some(packed));
        }
        (RAW, None)
    }

    /// The compressed form of a pack's contents.
    pub(crate) fn compress(&mut self, contents: &[u8]) -> Vec<u8> {
        self.0.compress(contents).expect("the compressor makes room for its worst case")
    }
}

/// Content from its stored bytes, unless it is in a pack. `base` is asked for only by splices.
pub(crate) fn decode<E>(
    codec: i64,
    size: usize,
    data: &[u8],
    base: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Option<Vec<u8>>, E> {
    let content = match codec {
        RAW => Some(data.to_vec()),
        ZSTD => unpack(data, size),
        SPLICE => match Splice::decode(data) {
            Some(splice) => splice.apply(&base()?),
            None => None,
        },
        _ => None,
    };
    Ok(content.filter(|c| c.len() == size))
}

pub(crate) fn unpack(data: &[u8], size: usize) -> Option<Vec<u8>> {
    zstd::bulk::Decompressor::new().ok()?.decompress(data, size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(content: &[u8]) -> usize {
        let (codec, packed) = Encoder::new().unwrap().encode(content);
        let stored = packed.as_deref().unwrap_or(content);
        let back = decode::<()>(codec, content.len(), stored, || Err(())).unwrap().unwrap();
        assert_eq!(back, content);
        stored.len()
    }

    #[test]
    fn round_trips() {
        assert_eq!(round_trip(b""), 0);
        assert_eq!(round_trip(b"short"), 5);
        assert!(round_trip("words and words ".repeat(100).as_bytes()) < 100);
        let noise: Vec<u8> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert!(round_trip(&noise) <= 1000);
    }

    #[test]
    fn damage_is_noticed() {
        assert_eq!(decode::<()>(ZSTD, 10, b"nonsense", || Err(())), Ok(None));
        assert_eq!(decode::<()>(RAW, 3, b"ab", || Err(())), Ok(None));
        assert_eq!(decode::<()>(9, 0, b"", || Err(())), Ok(None));
    }
}
