//! What calls under budgets have cost.

use super::{ReadError, Reader};
use crate::recorder::Spender;
use looptape_core::TraceId;
use looptape_core::budget::Day;
use looptape_core::cost::Usd;
use rusqlite::Params;

/// Spent, perhaps spent, or held back. What a process that was killed held back stays so: nobody knows what became
/// of those calls.
const GONE: &str = "SELECT coalesce(sum(spent + unaccounted + held), 0) FROM spending";

impl Reader {
    /// What others than `but` have spent on a day.
    pub fn spent_on(&self, day: Day, but: Spender) -> Result<Usd, ReadError> {
        self.spent(&format!("{GONE} WHERE day = ?1 AND spender <> ?2"), (day.number(), but.0))
    }

    /// What others than `but` have spent in a trace that is not over.
    pub fn spent_by(&self, trace: &TraceId, but: Spender) -> Result<Usd, ReadError> {
        let sql = format!("{GONE} WHERE trace = ?1 AND closed_unix_us = 0 AND spender <> ?2");
        self.spent(&sql, (trace.as_str(), but.0))
    }

    fn spent(&self, sql: &str, parameters: impl Params) -> Result<Usd, ReadError> {
        let units = self.connection().prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?;
        Ok(Usd::from_units(units))
    }
}
