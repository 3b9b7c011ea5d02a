//! Which models were called, and what they used.

use super::{ReadError, Reader};
use serde::Serialize;

/// A model at a provider, as calls named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelInUse {
    pub provider: String,
    /// The name in the requests.
    pub called: Option<String>,
    /// The name in the answers.
    pub answered: Option<String>,
    /// Calls that a provider answered or that were sent to one.
    pub calls: u64,
    /// As far as answers reported it.
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
}

impl ModelInUse {
    /// Input and output together.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.unwrap_or(0).saturating_add(self.output_tokens.unwrap_or(0))
    }
}

impl Reader {
    /// Every model that was called. What replays served from recordings is left out.
    pub fn models_in_use(&self) -> Result<Vec<ModelInUse>, ReadError> {
        let mut statement = self.connection().prepare_cached(
            "SELECT provider, model, response_model, count(*), sum(input_total), sum(output_total) \
             FROM calls LEFT JOIN replay_calls r USING (trace, seq) \
             WHERE wire IS NOT NULL AND (r.source IS NULL OR r.source = 'live') \
             GROUP BY provider, model, response_model ORDER BY provider, model, response_model",
        )?;
        let tokens = |sum: Option<i64>| sum.and_then(|sum| u64::try_from(sum).ok());
        let model = |row: &rusqlite::Row<'_>| {
            Ok(ModelInUse {
                provider: row.get(0)?,
                called: row.get(1)?,
                answered: row.get(2)?,
                calls: row.get::<_, i64>(3)?.unsigned_abs(),
                input_tokens: tokens(row.get(4)?),
                output_tokens: tokens(row.get(5)?),
            })
        };
        Ok(statement.query_map([], model)?.collect::<Result<_, _>>()?)
    }
}
