//! Request bodies of which only so much is taken.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// What is read of a body beyond its limit, and thrown away. Many clients read the answer only when they have sent all:
/// to one that is cut off before, the connection breaks, and why it was refused is lost.
const MOST_BEYOND_BYTES: usize = 64 << 20;

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    TooLarge,
    /// The client broke off.
    BrokenOff,
}

/// The body, if it has no more than `limit` bytes.
pub(crate) async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, NotRead> {
    let (mut kept, mut beyond) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| NotRead::BrokenOff)?.into_data().unwrap_or_default();
        if beyond == 0 && kept.len() + data.len() <= limit {
            kept.extend_from_slice(&data);
            continue;
        }
        kept = Vec::new();
        beyond += data.len();
        if beyond > MOST_BEYOND_BYTES {
            break;
        }
    }
    if beyond == 0 { Ok(kept.into()) } else { Err(NotRead::TooLarge) }
}
