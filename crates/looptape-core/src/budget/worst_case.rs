//! The most that a call could cost, before it is sent.
//!
//! It is an upper bound: every byte of the request could be a token of input, none of it cached (written to a
//! cache, where the request marks what to keep), and the answer could be as long as the request allows. A request
//! that states no limit is taken to want [`PRESUMED_OUTPUT_TOKENS`].
//!
//! What this does not count: images that a request only names, what a provider keeps of earlier calls, and
//! searches that it makes for the model.

use crate::captured::CapturedUrl;
use crate::cost::{Billed, PriceBook, Unpriced, Usd};
use crate::provider::Provider;
use crate::usage::TokenUsage;
use crate::wire::{Wire, route};
use serde_json::Value;

/// Output tokens that are reserved for a request that states no limit.
pub const PRESUMED_OUTPUT_TOKENS: u64 = 16_384;

/// Where the bound of an answer's length comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputBound {
    /// The request allows no more.
    Stated,
    /// The request states no limit.
    Presumed,
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
        output: OutputBound,
    },
    Unknown {
        model: Option<String>,
        why: Unpriced,
    },
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
            priced((prospect, prices), model, &body, (0, OutputBound::Stated))
        }
        (None, _) if is_free(prospect.method, path) || is_a_tools(prospect.path) => WorstCase::Free,
        (_, _) => WorstCase::Unknown { model: None, why: Unpriced::NoModel },
    }
}

/// What providers do not bill: looking, deleting, counting, storing.
fn is_free(method: &str, path: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE")
        || ["/count_tokens", ":countTokens", "/files", "/cancel"].iter().any(|end| path.ends_with(end))
}

/// A captured call to a host that sells no models.
fn is_a_tools(path: &str) -> bool {
    CapturedUrl::parse(path).is_some_and(|url| !url.is_of_a_provider())
}

/// A call, and what it is priced by.
type Priceable<'a> = (&'a Prospect<'a>, &'a PriceBook);

fn of_model_call(call: Priceable<'_>, wire: Wire, path: &str, body: &Value) -> WorstCase {
    let view = wire.decode_request(path, body);
    let choices = body["n"].as_u64().or(body["generationConfig"]["candidateCount"].as_u64()).unwrap_or(1);
    let (output_tokens, output) = match view.max_output_tokens {
        Some(stated) => (stated, OutputBound::Stated),
        None => (PRESUMED_OUTPUT_TOKENS, OutputBound::Presumed),
    };
    priced(call, view.model, body, (output_tokens.saturating_mul(choices.max(1)), output))
}

fn priced(
    (prospect, prices): Priceable<'_>,
    model: Option<String>,
    body: &Value,
    (output_tokens, output): (u64, OutputBound),
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
            WorstCase::AtMost { usd, input_tokens, output_tokens, output }
        }
        Err(Unpriced::LocalModel) => WorstCase::Free,
        Err(why) => WorstCase::Unknown { model, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            WorstCase::AtMost { usd, input_tokens, output_tokens, .. } => (usd, input_tokens, output_tokens),
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
        let embedding = prospect(
            &Provider::OPENAI,
            "/v1/embeddings",
            r#"{"model":"text-embedding-3-small","input":"x"}"#,
        );
        assert_eq!(at_most(bound(&embedding)).2, 0);
    }
}
