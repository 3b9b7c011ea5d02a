//! What a scripted upstream sends: head, pieces, waits, and an ending that may break the protocol.

use std::io::Write;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Holds an answer back until the test lets it go on. Clones are the same gate; each [`Gate::release`] lets
/// one wait pass, also one that comes later.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub fn release(&self) {
        self.0.add_permits(1);
    }

    pub(crate) async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// How the body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `content-length` of the pieces' sum.
    Length,
    /// `content-length` of this many bytes, whatever is sent.
    Promised(usize),
    /// One chunk a piece.
    Chunked,
    /// Neither header; the body ends with the connection.
    UntilClose,
}

/// What happens after the last piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The body ends properly and the connection stays open.
    KeepAlive,
    /// The body ends properly and the connection is closed.
    Close,
    /// The connection is closed (FIN) without the end that the framing promises.
    Cut,
    /// The connection is reset (RST).
    Reset,
}

/// One step of sending.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Bytes(Vec<u8>),
    Wait(Gate),
}

/// A content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Brotli,
    Zstd,
}

/// One scripted answer. Built from a constructor and refined by its methods, in sending order.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `None`: the connection ends before any head.
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) before_head: Vec<Gate>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) framing: Framing,
    pub(crate) ending: Ending,
}

impl Answer {
    /// A status without headers and body.
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            headers: Vec::new(),
            before_head: Vec::new(),
            pieces: Vec::new(),
            framing: Framing::Length,
            ending: Ending::KeepAlive,
        }
    }

    /// 200 with a JSON body of a stated length.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).header("content-type", "application/json").piece(body)
    }

    /// 200 with a chunked event stream, one chunk for each piece; further ones may follow.
    pub fn event_stream<T: Into<Vec<u8>>>(pieces: impl IntoIterator<Item = T>) -> Self {
        let stream = Self::status(200).header("content-type", "text/event-stream").chunked();
        pieces.into_iter().fold(stream, Self::piece)
    }

    /// The connection is closed without a response.
    pub fn no_response() -> Self {
        Self { status: None, ending: Ending::Cut, ..Self::status(0) }
    }

    /// The connection is reset without a response.
    pub fn no_response_reset() -> Self {
        Self { status: None, ending: Ending::Reset, ..Self::status(0) }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Appends bytes to the body: a chunk of its own if the body is chunked.
    pub fn piece(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.pieces.push(Piece::Bytes(bytes.into()));
        self
    }

    /// What follows is sent only when the gate is released.
    pub fn wait(mut self, gate: &Gate) -> Self {
        self.pieces.push(Piece::Wait(gate.clone()));
        self
    }

    /// Not even the head is sent until the gate is released.
    pub fn stalled(mut self, gate: &Gate) -> Self {
        self.before_head.push(gate.clone());
        self
    }

    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self.ending = Ending::Close;
        self
    }

    /// States a `content-length` that need not be true.
    pub fn promising(mut self, size_bytes: usize) -> Self {
        self.framing = Framing::Promised(size_bytes);
        self
    }

    /// Ends properly and closes the connection.
    pub fn then_close(mut self) -> Self {
        self.ending = Ending::Close;
        self
    }

    /// Closes the connection after the last piece, without the end that the framing promises.
    pub fn then_cut(mut self) -> Self {
        self.ending = Ending::Cut;
        self
    }

    /// Resets the connection after the last piece.
    pub fn then_reset(mut self) -> Self {
        self.ending = Ending::Reset;
        self
    }

    /// Compresses the body as one stream and names the encoding. The pieces keep their number where the
    /// compressed bytes allow it, not their content.
    pub fn encoded(mut self, encoding: Encoding) -> Self {
        let count = self.pieces.iter().filter(|p| matches!(p, Piece::Bytes(_))).count().max(1);
        let compressed = encoding.encode(&self.body());
        let mut parts = compressed.chunks(compressed.len().div_ceil(count).max(1));
        for piece in &mut self.pieces {
            if let Piece::Bytes(bytes) = piece {
                *bytes = parts.next().unwrap_or_default().to_vec();
            }
        }
        self.pieces.retain(|p| !matches!(p, Piece::Bytes(b) if b.is_empty()));
        self.header("content-encoding", encoding.name())
    }

    /// The body's bytes as they will be sent.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for piece in &self.pieces {
            if let Piece::Bytes(bytes) = piece {
                body.extend_from_slice(bytes);
            }
        }
        body
    }

    pub(crate) fn head(&self, status: u16) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match self.framing {
            Framing::Length => head += &format!("content-length: {}\r\n", self.body().len()),
            Framing::Promised(size_bytes) => head += &format!("content-length: {size_bytes}\r\n"),
            Framing::Chunked => head += "transfer-encoding: chunked\r\n",
            Framing::UntilClose => {}
        }
        if self.ending == Ending::Close {
            head += "connection: close\r\n";
        }
        (head + "\r\n").into_bytes()
    }
}

impl Encoding {
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    pub fn encode(self, plain: &[u8]) -> Vec<u8> {
        const TO_MEMORY: &str = "writing to memory does not fail";
        match self {
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain).expect(TO_MEMORY);
                encoder.finish().expect(TO_MEMORY)
            }
            Self::Brotli => {
                let mut compressed = Vec::new();
                let mut encoder = brotli::CompressorWriter::new(&mut compressed, 4096, 5, 22);
                encoder.write_all(plain).expect(TO_MEMORY);
                drop(encoder);
                compressed
            }
            Self::Zstd => zstd::encode_all(plain, 3).expect(TO_MEMORY),
        }
    }
}
