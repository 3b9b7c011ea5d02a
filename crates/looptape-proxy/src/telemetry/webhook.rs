//! Alerts on their way to a webhook: one at a time, bounded in number and time, and never in a call's way.

use crate::upstream_client::{SetupError, UpstreamClient};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::Either;
use looptape_core::alerts::{Alert, Rule};
use serde_json::json;
use std::time::Duration;

/// How long a webhook may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where alerts are posted.
#[derive(Debug)]
pub struct Webhook {
    client: UpstreamClient,
    uri: Uri,
}

/// Why there is no webhook.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("`{url}` is no address for a webhook: write http://… or https://…")]
    Url { url: String },
    #[error(transparent)]
    Client(#[from] SetupError),
}

/// What came of posting an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Taken,
    /// In words.
    Failed(String),
}

impl Webhook {
    pub fn new(url: &str) -> Result<Self, WebhookError> {
        let wrong = || WebhookError::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http || uri.host().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        Ok(Self { client: UpstreamClient::new()?, uri })
    }

    /// Posts an alert as JSON. It is tried once.
    pub async fn post(&self, alert: &Alert) -> Told {
        let mut request = Request::new(Either::Left(body(alert).into()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match tokio::time::timeout(PATIENCE, self.client.send(request)).await {
            Ok(Ok(response)) if response.status().is_success() => Told::Taken,
            Ok(Ok(response)) => Told::Failed(format!("the webhook answered {}", response.status())),
            Ok(Err(error)) => Told::Failed(format!("the webhook cannot be reached: {error}")),
            Err(_) => Told::Failed(format!("the webhook did not answer within {} s", PATIENCE.as_secs())),
        }
    }
}

fn body(alert: &Alert) -> Bytes {
    let unit = match alert.rule {
        Rule::TokenRate => "tokens/min",
        Rule::Ttft | Rule::Tpot => "ms",
        Rule::CostPerHour | Rule::TraceCost => "usd",
        Rule::Context | Rule::ToolFailures | Rule::RetryRate => "ratio",
    };
    let mut json = serde_json::to_value(alert).expect("an alert is texts and numbers");
    json["unit"] = json!(unit);
    json["message"] = json!(alert.to_string());
    json["source"] = json!("looptape");
    Bytes::from(json.to_string())
}
