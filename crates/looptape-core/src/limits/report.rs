//! What is known of an account's limits, as JSON has it.

use super::{Basis, FittedAccount, FittedLimit, LimitRange};
use serde::Serialize;
use std::collections::BTreeMap;

/// One account: a provider and a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountReport {
    account: String,
    calls: u64,
    refused: u64,
    limits: BTreeMap<&'static str, LimitReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct LimitReport {
    limit: u64,
    basis: &'static str,
    headers: u64,
    refusals: u64,
    others: u64,
    figures: u64,
    figures_that_fit: u64,
    range: Option<LimitRange>,
}

impl From<&FittedAccount> for AccountReport {
    fn from(account: &FittedAccount) -> Self {
        let limits = account.limits.iter().map(|fitted| (fitted.which.as_str(), LimitReport::from(fitted)));
        Self {
            account: account.account.clone(),
            calls: account.calls,
            refused: account.refused,
            limits: limits.collect(),
        }
    }
}

impl From<&FittedLimit> for LimitReport {
    fn from(fitted: &FittedLimit) -> Self {
        let FittedLimit { limit, range, .. } = *fitted;
        match fitted.basis {
            Basis::Stated { headers, refusals, others, figures, figures_that_fit } => {
                Self { limit, basis: "stated", headers, refusals, others, figures, figures_that_fit, range }
            }
            Basis::Inferred { refusals } => Self {
                limit,
                basis: "inferred",
                headers: 0,
                refusals,
                others: 0,
                figures: 0,
                figures_that_fit: 0,
                range,
            },
        }
    }
}
