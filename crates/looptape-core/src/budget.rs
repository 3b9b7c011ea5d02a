//! A budget: how much calls may cost, counted before they are sent.
//!
//! A call is let through only if the most that it could cost still fits. That amount is reserved until it is
//! known what the call really cost. The most is an upper bound: every byte of the request could be a token of
//! input, none of it cached (written to a cache, where the request marks what to keep), and the answer could
//! be as long as the request allows. A request that states no limit is taken to want [`PRESUMED_OUTPUT_TOKENS`];
//! images that a request only names, and what a provider keeps of earlier calls, are not counted.
//!
//! A call of which no price is known cannot be bounded: it is refused, unless it was said that such calls may
//! pass. Money is counted, not time; nothing here knows what a provider really bills.

use crate::cost::{Billed, PriceBook, Unpriced, Usd};
use crate::provider::Provider;
use crate::usage::TokenUsage;
use crate::wire::{Wire, route};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Output tokens that are reserved for a request that states no limit.
pub const PRESUMED_OUTPUT_TOKENS: u64 = 16_384;

/// What becomes of calls of which no price is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnpricedCalls {
    #[default]
    Refused,
    /// They pass, and are not counted.
    Allowed,
}

/// A call that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Prospect<'a> {
    pub provider: &'a Provider,
    pub method: &'a str,
    /// Path and query as the provider knows them.
    pub path: &'a str,
    /// Without content encoding.
    pub body: &'a [u8],
    pub at_unix_us: i64,
}

/// The most that a call could cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorstCase {
    /// It is not billed by tokens: it fetches or deletes something, counts, or runs on this machine.
    Free,
    AtMost {
        usd: Usd,
        input_tokens: u64,
        output_tokens: u64,
    },
    Unknown {
        model: Option<String>,
        why: Unpriced,
    },
}

/// An amount that is held back for a call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reservation(u64);

/// What a call turned out to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Exactly(Usd),
    /// Part of its usage is missing, or all of it: what was reserved for the rest counts as spent.
    AtLeast(Usd),
    /// It was not billed.
    Nothing,
}

/// Why a call is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    #[error(
        "this call could cost up to {needed} ({input_tokens} tokens of input and {output_tokens} of output at most), and {left} of the budget of {limit} is left. Raise --max-usd, or ask for less output"
    )]
    TooMuch { needed: Usd, left: Usd, limit: Usd, input_tokens: u64, output_tokens: u64 },
    #[error(
        "what this call could cost is not known ({}), so it cannot be held to the budget. --allow-unpriced sends such calls all the same", unpriced(model.as_deref(), *why)
    )]
    Unpriced { model: Option<String>, why: Unpriced },
}

fn unpriced(model: Option<&str>, why: Unpriced) -> String {
    match (model, why) {
        (Some(model), Unpriced::AmbiguousModel) => {
            format!("several providers offer {model} at different prices")
        }
        (Some(model), Unpriced::UnknownModel) => format!("the price list does not have {model}"),
        (Some(model), _) => format!("{model} has no price by tokens here"),
        (None, _) => "it names no model".to_owned(),
    }
}

/// What came of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spending {
    pub limit_usd: Usd,
    /// What is known to have been spent.
    pub spent_usd: Usd,
    /// What may have been spent beyond that: calls whose usage was not reported in full.
    pub unaccounted_usd: Usd,
    /// Calls that were sent.
    pub calls: u32,
    /// Of those, the ones of which no price is known.
    pub unpriced_calls: u32,
    /// Calls that were not sent.
    pub refused_calls: u32,
}

/// A limit, and what has been spent and reserved of it.
#[derive(Debug)]
pub struct Budget {
    unpriced: UnpricedCalls,
    spending: Spending,
    reserved: BTreeMap<Reservation, Usd>,
    last: u64,
}

impl Budget {
    pub fn new(limit_usd: Usd, unpriced: UnpricedCalls) -> Self {
        let spending = Spending { limit_usd, ..Spending::default() };
        Self { unpriced, spending, reserved: BTreeMap::new(), last: 0 }
    }

    /// Holds back what a call could cost, or says why it must not be sent.
    pub fn reserve(&mut self, most: &WorstCase) -> Result<Reservation, OverBudget> {
        let usd = match most {
            WorstCase::Free => Usd::ZERO,
            WorstCase::AtMost { usd, input_tokens, output_tokens } => {
                let (limit, gone) = (self.spending.limit_usd, self.gone());
                if gone + *usd > limit {
                    self.spending.refused_calls += 1;
                    let (input_tokens, output_tokens) = (*input_tokens, *output_tokens);
                    let left = limit.saturating_sub(gone);
                    return Err(OverBudget::TooMuch {
                        needed: *usd,
                        left,
                        limit,
                        input_tokens,
                        output_tokens,
                    });
                }
                *usd
            }
            WorstCase::Unknown { model, why } => {
                if self.unpriced == UnpricedCalls::Refused {
                    self.spending.refused_calls += 1;
                    return Err(OverBudget::Unpriced { model: model.clone(), why: *why });
                }
                self.spending.unpriced_calls += 1;
                Usd::ZERO
            }
        };
        self.spending.calls += 1;
        self.last += 1;
        let reservation = Reservation(self.last);
        self.reserved.insert(reservation, usd);
        Ok(reservation)
    }

    /// A call is over. Only the first word about it counts.
    pub fn settle(&mut self, reservation: Reservation, settlement: Settlement) {
        let Some(reserved) = self.reserved.remove(&reservation) else { return };
        match settlement {
            Settlement::Nothing => {}
            Settlement::Exactly(usd) => self.spending.spent_usd += usd,
            Settlement::AtLeast(usd) => {
                self.spending.spent_usd += usd;
                self.spending.unaccounted_usd += reserved.saturating_sub(usd);
            }
        }
    }

    /// What was spent so far. Calls under way count as if they cost the most they can.
    pub fn spending(&self) -> Spending {
        let under_way: Usd = self.reserved.values().copied().sum();
        Spending { unaccounted_usd: self.spending.unaccounted_usd + under_way, ..self.spending }
    }

    /// Spent, perhaps spent, or held back.
    fn gone(&self) -> Usd {
        let spending = self.spending();
        spending.spent_usd + spending.unaccounted_usd
    }
}

/// The most that a call could cost.
pub fn worst_case(prospect: &Prospect<'_>, prices: &PriceBook) -> WorstCase {
    let path = prospect.path.split('?').next().unwrap_or_default();
    let wire = route::identify(prospect.provider, prospect.method, prospect.path);
    let body: Option<Value> = serde_json::from_slice(prospect.body).ok();
    let is_embedding = ["/embeddings", "/embed", ":embedContent", ":batchEmbedContents"];
    let is_embedding = is_embedding.iter().any(|end| path.ends_with(end));
    match (wire, body) {
        (Some(wire), Some(body)) => of_model_call((prospect, prices), wire, path, &body),
        (None, Some(body)) if is_embedding => {
            let model = body["model"].as_str().map(str::to_owned);
            priced((prospect, prices), model, &body, 0)
        }
        (None, _) if is_free(prospect.method, path) => WorstCase::Free,
        (_, _) => WorstCase::Unknown { model: None, why: Unpriced::NoModel },
    }
}

/// What providers do not bill: looking, deleting, counting, storing.
fn is_free(method: &str, path: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE")
        || ["/count_tokens", ":countTokens", "/files", "/cancel"].iter().any(|end| path.ends_with(end))
}

/// A call, and what it is priced by.
type Priceable<'a> = (&'a Prospect<'a>, &'a PriceBook);

fn of_model_call(call: Priceable<'_>, wire: Wire, path: &str, body: &Value) -> WorstCase {
    let view = wire.decode_request(path, body);
    let choices = body["n"].as_u64().or(body["generationConfig"]["candidateCount"].as_u64()).unwrap_or(1);
    let output_tokens =
        view.max_output_tokens.unwrap_or(PRESUMED_OUTPUT_TOKENS).saturating_mul(choices.max(1));
    priced(call, view.model, body, output_tokens)
}

fn priced(
    (prospect, prices): Priceable<'_>,
    model: Option<String>,
    body: &Value,
    output_tokens: u64,
) -> WorstCase {
    let input_tokens = prospect.body.len() as u64;
    let uncached = TokenUsage {
        uncached_input: Some(input_tokens),
        output_visible: Some(output_tokens),
        input_total: Some(input_tokens),
        output_total: Some(output_tokens),
        ..TokenUsage::default()
    };
    let mut usages = vec![uncached.clone()];
    if memchr::memmem::find(prospect.body, b"cache_control").is_some() {
        usages.push(TokenUsage { uncached_input: None, cache_write_1h: Some(input_tokens), ..uncached });
    }
    let tier = body["service_tier"].as_str();
    let price = |usage: &TokenUsage| {
        prices.price(&Billed {
            provider: prospect.provider.as_str(),
            model: model.as_deref(),
            response_model: None,
            usage,
            service_tier: tier,
            at_unix_us: Some(prospect.at_unix_us),
            stated_usd: None,
        })
    };
    let prices: Result<Vec<Usd>, Unpriced> = usages.iter().map(|usage| Ok(price(usage)?.usd())).collect();
    match prices {
        Ok(prices) => {
            let usd = prices.into_iter().max().unwrap_or(Usd::ZERO);
            WorstCase::AtMost { usd, input_tokens, output_tokens }
        }
        Err(Unpriced::LocalModel) => WorstCase::Free,
        Err(why) => WorstCase::Unknown { model, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_793_491_200_000_000;

    fn usd(dollars: f64) -> Usd {
        Usd::from_f64(dollars).unwrap()
    }

    fn prospect<'a>(provider: &'a Provider, path: &'a str, body: &'a str) -> Prospect<'a> {
        Prospect { provider, method: "POST", path, body: body.as_bytes(), at_unix_us: NOW }
    }

    fn bound(prospect: &Prospect<'_>) -> WorstCase {
        worst_case(prospect, &PriceBook::listed())
    }

    fn chat(body: &str) -> WorstCase {
        bound(&prospect(&Provider::OPENAI, "/v1/chat/completions", body))
    }

    fn at_most(most: WorstCase) -> (Usd, u64, u64) {
        match most {
            WorstCase::AtMost { usd, input_tokens, output_tokens } => (usd, input_tokens, output_tokens),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_byte_may_be_a_token_and_every_answer_as_long_as_allowed() {
        let body = r#"{"model":"gpt-4o","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}"#;
        let (most, input, output) = at_most(chat(body));
        assert_eq!((input, output), (body.len() as u64, 100));
        assert_eq!(most, usd(body.len() as f64 * 2.5e-6 + 100.0 * 10e-6));
        let unstated = r#"{"model":"gpt-4o","messages":[]}"#;
        assert_eq!(at_most(chat(unstated)).2, PRESUMED_OUTPUT_TOKENS);
        assert_eq!(at_most(chat(r#"{"model":"gpt-4o","n":3,"max_tokens":10,"messages":[]}"#)).2, 30);
    }

    #[test]
    fn marked_caches_are_written_for_an_hour() {
        let body = |mark: &str| {
            format!(
                r#"{{"model":"claude-sonnet-4-5","max_tokens":1,"messages":[],"{mark}":{{"type":"ephemeral"}}}}"#
            )
        };
        let cost = |body: &str| at_most(bound(&prospect(&Provider::ANTHROPIC, "/v1/messages", body))).0;
        let (plain, marked) = (body("other_control"), body("cache_control"));
        assert_eq!(plain.len(), marked.len());
        assert!(cost(&marked) > cost(&plain));
    }

    #[test]
    fn what_is_free_and_what_is_unknown() {
        let of = |method, path| {
            let body = b"{}";
            bound(&Prospect { provider: &Provider::OPENAI, method, path, body, at_unix_us: NOW })
        };
        assert_eq!(of("GET", "/v1/models"), WorstCase::Free);
        assert_eq!(of("POST", "/v1/messages/count_tokens?beta=true"), WorstCase::Free);
        assert!(matches!(of("POST", "/v1/images/generations"), WorstCase::Unknown { .. }));
        let ollama = Provider::parse("ollama").unwrap();
        assert_eq!(bound(&prospect(&ollama, "/api/chat", r#"{"model":"llama3"}"#)), WorstCase::Free);
        let unknown = chat(r#"{"model":"no-such-model","messages":[]}"#);
        assert!(
            matches!(&unknown, WorstCase::Unknown { model: Some(m), why: Unpriced::UnknownModel } if m == "no-such-model")
        );
        let said = Budget::new(usd(1.0), UnpricedCalls::Refused).reserve(&unknown).unwrap_err().to_string();
        assert!(said.contains("no-such-model") && said.contains("--allow-unpriced"), "{said}");
        assert!(Budget::new(usd(1.0), UnpricedCalls::Allowed).reserve(&unknown).is_ok());
        let embedding = prospect(
            &Provider::OPENAI,
            "/v1/embeddings",
            r#"{"model":"text-embedding-3-small","input":"x"}"#,
        );
        assert_eq!(at_most(bound(&embedding)).2, 0);
    }

    #[test]
    fn what_is_held_back_is_given_back() {
        let most = |dollars: f64| WorstCase::AtMost { usd: usd(dollars), input_tokens: 1, output_tokens: 1 };
        let mut budget = Budget::new(usd(1.0), UnpricedCalls::Refused);
        let first = budget.reserve(&most(0.6)).unwrap();
        let refused = budget.reserve(&most(0.6)).unwrap_err();
        assert_eq!(
            refused,
            OverBudget::TooMuch {
                needed: usd(0.6),
                left: usd(0.4),
                limit: usd(1.0),
                input_tokens: 1,
                output_tokens: 1
            }
        );
        budget.settle(first, Settlement::Exactly(usd(0.1)));
        budget.settle(first, Settlement::Exactly(usd(0.5)));
        let second = budget.reserve(&most(0.6)).unwrap();
        budget.settle(second, Settlement::AtLeast(usd(0.2)));
        let third = budget.reserve(&most(0.3)).unwrap();
        budget.settle(third, Settlement::Nothing);
        let expected = Spending {
            limit_usd: usd(1.0),
            spent_usd: usd(0.3),
            unaccounted_usd: usd(0.4),
            calls: 3,
            unpriced_calls: 0,
            refused_calls: 1,
        };
        assert_eq!(budget.spending(), expected);
    }

    proptest! {
        /// Whatever order calls come and end in: as long as none costs more than its worst case, the limit holds.
        #[test]
        fn the_limit_holds(calls in prop::collection::vec((0u32..500, 0u32..=100, any::<bool>()), 0..40)) {
            let limit = usd(1.0);
            let mut budget = Budget::new(limit, UnpricedCalls::Refused);
            let mut open = Vec::new();
            for (cents, share, ends) in calls {
                let most = f64::from(cents) / 1000.0;
                let worst = WorstCase::AtMost { usd: usd(most), input_tokens: 0, output_tokens: 0 };
                if let Ok(reservation) = budget.reserve(&worst) {
                    open.push((reservation, usd(most * f64::from(share) / 100.0)));
                }
                if ends && let Some((reservation, cost)) = open.pop() {
                    budget.settle(reservation, Settlement::Exactly(cost));
                }
                let spending = budget.spending();
                prop_assert!(spending.spent_usd + spending.unaccounted_usd <= limit);
            }
        }
    }
}
