//! The decompressors, behind one step function: each is fed what there is and writes what fits, and none
//! holds back output that its input already allows, so that every decoded byte has the arrival time of the
//! piece that brought it.

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::Operation;

/// One step of a decompressor: how much it read and wrote, and whether the data may end here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    pub(super) at_end: bool,
}

/// The data is not what it should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damaged;

/// One that is fed as much as there is and writes as much as fits.
pub(super) trait Decompressor {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damaged>;
}

/// Deflate data, bare or in a zlib frame.
pub(super) struct Inflate {
    state: Decompress,
    at_end: bool,
}

impl Inflate {
    /// `deflate` means zlib by the standard and bare deflate data by habit; the first bytes tell.
    pub(super) fn for_data(body: &[u8]) -> Self {
        let is_zlib = matches!(body, [method, flags, ..]
            if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0);
        Self { state: Decompress::new(is_zlib), at_end: false }
    }

    fn raw() -> Self {
        Self { state: Decompress::new(false), at_end: false }
    }
}

impl Decompressor for Inflate {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damaged> {
        if self.at_end {
            return Ok(Step { read: 0, written: 0, at_end: true });
        }
        let (read, written) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(input, output, FlushDecompress::None).map_err(|_| Damaged)?;
        self.at_end = status == Status::StreamEnd;
        Ok(Step {
            read: (self.state.total_in() - read) as usize,
            written: (self.state.total_out() - written) as usize,
            at_end: self.at_end,
        })
    }
}

/// Gzip members, one after the other.
#[derive(Default)]
pub(super) struct Gzip {
    part: GzipPart,
}

enum GzipPart {
    /// The header as far as it has come.
    Header(Vec<u8>),
    Data(Inflate),
    /// How many bytes of checksum and length are still to come.
    Trailer(usize),
}

const GZIP_TRAILER_BYTES: usize = 8;
/// Longer headers exist only to do harm; the optional extra field alone may have 64 KiB.
const GZIP_MAX_HEADER_BYTES: usize = 128 << 10;
/// How much is looked at to find a header's end; a little, since a body may have very many members.
const GZIP_HEADER_STEP_BYTES: usize = 256;

impl Default for GzipPart {
    fn default() -> Self {
        Self::Header(Vec::new())
    }
}

impl Decompressor for Gzip {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damaged> {
        match &mut self.part {
            GzipPart::Header(header) => {
                let had = header.len();
                header.extend_from_slice(&input[..input.len().min(GZIP_HEADER_STEP_BYTES)]);
                let Some(length) = gzip_header_length(header)? else {
                    return Ok(Step { read: header.len() - had, written: 0, at_end: false });
                };
                self.part = GzipPart::Data(Inflate::raw());
                Ok(Step { read: length - had, written: 0, at_end: false })
            }
            GzipPart::Data(inflate) => {
                let step = inflate.step(input, output)?;
                if step.at_end {
                    self.part = GzipPart::Trailer(GZIP_TRAILER_BYTES);
                }
                Ok(Step { at_end: false, ..step })
            }
            GzipPart::Trailer(0) if input.is_empty() => Ok(Step { read: 0, written: 0, at_end: true }),
            GzipPart::Trailer(0) => {
                self.part = GzipPart::default();
                self.step(input, output)
            }
            GzipPart::Trailer(missing) => {
                let read = input.len().min(*missing);
                *missing -= read;
                Ok(Step { read, written: 0, at_end: *missing == 0 })
            }
        }
    }
}

/// The length of a gzip header (RFC 1952, section 2.3), `None` if it has not come whole.
fn gzip_header_length(bytes: &[u8]) -> Result<Option<usize>, Damaged> {
    const CHECKSUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let magic = b"\x1f\x8b\x08";
    if !magic.starts_with(&bytes[..bytes.len().min(magic.len())]) || bytes.len() > GZIP_MAX_HEADER_BYTES {
        return Err(Damaged);
    }
    let Some(&flags) = bytes.get(3) else { return Ok(None) };
    let mut length = 10;
    if flags & EXTRA != 0 {
        let Some(&[low, high]) = bytes.get(length..length + 2) else { return Ok(None) };
        length += 2 + usize::from(u16::from_le_bytes([low, high]));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = bytes.get(length..).and_then(|rest| memchr::memchr(0, rest));
            let Some(end) = end else { return Ok(None) };
            length += end + 1;
        }
    }
    if flags & CHECKSUM != 0 {
        length += 2;
    }
    Ok((length <= bytes.len()).then_some(length))
}

pub(super) struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    at_end: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self { state: Box::new(BrotliState::new(alloc(), alloc(), alloc())), at_end: false }
    }
}

impl Decompressor for Brotli {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damaged> {
        if self.at_end {
            return Ok(Step { read: 0, written: 0, at_end: true });
        }
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written, mut total) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            output,
            &mut total,
            &mut self.state,
        );
        if matches!(result, BrotliResult::ResultFailure) {
            return Err(Damaged);
        }
        self.at_end = matches!(result, BrotliResult::ResultSuccess);
        Ok(Step { read, written, at_end: self.at_end })
    }
}

/// Zstandard frames, one after the other.
#[derive(Default)]
pub(super) struct Zstd {
    /// `None` until there is input.
    decoder: Option<zstd::stream::raw::Decoder<'static>>,
    at_end: bool,
}

impl Decompressor for Zstd {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Damaged> {
        // Asked again without input, the decoder would expect another frame.
        if self.at_end && input.is_empty() {
            return Ok(Step { read: 0, written: 0, at_end: true });
        }
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(zstd::stream::raw::Decoder::new().map_err(|_| Damaged)?),
        };
        let status = decoder.run_on_buffers(input, output).map_err(|_| Damaged)?;
        self.at_end = status.remaining == 0;
        Ok(Step { read: status.bytes_read, written: status.bytes_written, at_end: self.at_end })
    }
}
