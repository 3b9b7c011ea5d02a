//! The calls of a trace without their bytes: what tells requests and answers apart, in one pass over the rows.

use super::load::ending;
use super::{ReadError, Reader};
use crate::ids::{BlobId, TraceKey};
use looptape_core::Digest;
use looptape_core::exchange::Ending;
use looptape_core::provider::Provider;
use rusqlite::Row;

/// A call without its bytes.
#[derive(Clone, Debug)]
pub struct CallOutline {
    /// Order in which the calls of the trace started, from 0.
    pub seq: u32,
    pub sent_us: i64,
    pub provider: Provider,
    pub method: String,
    /// Path and query as the provider knows them, redacted.
    pub path: String,
    /// Of the request body as it is stored.
    pub request: Digest,
    pub request_bytes: u64,
    /// `None` while it is in flight.
    pub end: Option<OutlineEnd>,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct OutlineEnd {
    pub ending: Ending,
    /// Status, and digest of the body; `None` if no response head came.
    pub answer: Option<(u16, Digest)>,
}

impl Reader {
    /// The outlines of a trace's calls, in start order, without those of which no client saw an answer because another
    /// upstream was asked instead.
    pub fn outlines(&self, trace: TraceKey) -> Result<Vec<CallOutline>, ReadError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, sent_us, provider, method, path, request_blake3, request_size, ending, error, status, body \
             FROM calls WHERE trace = ?1 AND superseded IS NULL ORDER BY seq",
        )?;
        let mut rows = statement.query([trace.0])?;
        let mut outlines = Vec::new();
        while let Some(row) = rows.next()? {
            outlines.push(self.outline(row)?);
        }
        Ok(outlines)
    }

    fn outline(&self, row: &Row<'_>) -> Result<CallOutline, ReadError> {
        let seq = row.get(0)?;
        let damaged = |what| ReadError::Damaged { seq, what };
        let digest = |bytes: Vec<u8>, what| bytes.try_into().map(Digest).map_err(|_| damaged(what));
        let provider: String = row.get(2)?;
        let end = match row.get::<_, Option<String>>(7)? {
            None => None,
            Some(word) => {
                let answer = match row.get::<_, Option<u16>>(9)? {
                    None => None,
                    Some(status) => {
                        let body = self.digest_of(BlobId(row.get(10)?))?;
                        Some((status, body.ok_or(damaged("response body"))?))
                    }
                };
                Some(OutlineEnd { ending: ending(&word, row.get(8)?).ok_or(damaged("ending"))?, answer })
            }
        };
        Ok(CallOutline {
            seq,
            sent_us: row.get(1)?,
            provider: Provider::parse(&provider).ok_or(damaged("provider"))?,
            method: row.get(3)?,
            path: row.get(4)?,
            request: digest(row.get(5)?, "request digest")?,
            request_bytes: row.get::<_, i64>(6)?.unsigned_abs(),
            end,
        })
    }
}
