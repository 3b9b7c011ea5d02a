//! `[alerts]` of looptape.toml, and telling what comes of it: a line each, and a webhook if one is named.

use crate::config::{Config, parse_duration};
use anyhow::{Context, ensure};
use looptape_core::alerts::{Alert, Rules};
use looptape_core::cost::Usd;
use looptape_proxy::telemetry::{Told, Webhook};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::mpsc;

/// What rates are taken over, unless the file says otherwise.
const WINDOW: Duration = Duration::from_secs(300);

/// Alerts that may wait for the webhook.
const MOST_WAITING: usize = 64;

/// `[alerts]` as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AlertsConfig {
    window: Option<String>,
    webhook: Option<String>,
    token_rate: Option<f64>,
    ttft: Option<f64>,
    tpot: Option<f64>,
    cost_per_hour: Option<f64>,
    trace_cost: Option<f64>,
    context: Option<f64>,
    tool_failures: Option<f64>,
    retry_rate: Option<f64>,
}

/// Checked: what is watched for, and who is told.
#[derive(Debug)]
pub(super) struct Alerting {
    pub(super) rules: Rules,
    pub(super) window: Duration,
    webhook: Option<Webhook>,
}

impl Alerting {
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        config.alerts.read().map_err(|error| config.not_valid(error))
    }

    /// Tells alerts as they come, for as long as it is polled.
    pub(super) async fn tell(self, mut alerts: mpsc::Receiver<Alert>) {
        let (post, posts) = mpsc::channel(MOST_WAITING);
        let has_webhook = self.webhook.is_some();
        let posting = async {
            if let Some(webhook) = &self.webhook {
                post_all(webhook, posts).await;
            }
        };
        let telling = async {
            while let Some(alert) = alerts.recv().await {
                // A gateway's log is read for these: they are printed even with --quiet.
                anstream::eprintln!("looptape: alert: {alert}");
                if has_webhook && post.try_send(alert).is_err() {
                    anstream::eprintln!(
                        "looptape: too many alerts wait for the webhook: this one was not posted"
                    );
                }
            }
        };
        tokio::join!(telling, posting);
    }
}

async fn post_all(webhook: &Webhook, mut alerts: mpsc::Receiver<Alert>) {
    while let Some(alert) = alerts.recv().await {
        if let Told::Failed(why) = webhook.post(&alert).await {
            anstream::eprintln!("looptape: the alert {} was not posted: {why}", alert.rule.as_str());
        }
    }
}

impl AlertsConfig {
    fn read(&self) -> anyhow::Result<Alerting> {
        let window = match self.window.as_deref() {
            None => WINDOW,
            Some(text) => {
                let seconds = parse_duration(text).map_err(|e| anyhow::anyhow!("[alerts] window: {e}"))?;
                ensure!(seconds > 0, "[alerts] window = \"{text}\": rates need a time to be taken over");
                Duration::from_secs(seconds)
            }
        };
        let rules = Rules {
            token_rate: factor("token_rate", self.token_rate)?,
            ttft: factor("ttft", self.ttft)?,
            tpot: factor("tpot", self.tpot)?,
            cost_per_hour: usd("cost_per_hour", self.cost_per_hour)?,
            trace_cost: usd("trace_cost", self.trace_cost)?,
            context: share("context", self.context)?,
            tool_failures: share("tool_failures", self.tool_failures)?,
            retry_rate: share("retry_rate", self.retry_rate)?,
        };
        let webhook = self.webhook.as_deref().map(Webhook::new).transpose().context("[alerts] webhook")?;
        Ok(Alerting { rules, window, webhook })
    }
}

fn factor(name: &str, value: Option<f64>) -> anyhow::Result<Option<f64>> {
    let is_right = value.is_none_or(|value| value.is_finite() && value > 1.0);
    ensure!(is_right, "[alerts] {name} is how many times what is usual: write a number above 1, such as 2.0");
    Ok(value)
}

fn share(name: &str, value: Option<f64>) -> anyhow::Result<Option<f64>> {
    let is_right = value.is_none_or(|value| (0.0..=1.0).contains(&value));
    ensure!(is_right, "[alerts] {name} is a share: write a number from 0 to 1, such as 0.75");
    Ok(value)
}

fn usd(name: &str, value: Option<f64>) -> anyhow::Result<Option<Usd>> {
    let amount = |value: f64| {
        Usd::from_f64(value).with_context(|| format!("[alerts] {name} is an amount of US dollars"))
    };
    value.map(amount).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Alerting, String> {
        let config: AlertsConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        config.read().map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn rules_are_checked() {
        let all = read(
            "window = \"90s\"\nwebhook = \"http://127.0.0.1:1/x\"\nttft = 2.0\ncontext = 0.75\ntrace_cost = 5\n",
        );
        let all = all.unwrap();
        assert_eq!((all.window.as_secs(), all.rules.context, all.webhook.is_some()), (90, Some(0.75), true));
        let none = read("").unwrap();
        assert_eq!((none.rules, none.window), (Rules::default(), WINDOW));
        for (text, said) in [
            ("ttft = 1.0", "above 1"),
            ("context = 75", "from 0 to 1"),
            ("trace_cost = -1", "US dollars"),
            ("window = \"0s\"", "rates need a time"),
            ("window = \"soon\"", "not a duration"),
            ("webhook = \"ftp://x\"", "no address for a webhook"),
            ("webhook = \"/hook\"", "no address for a webhook"),
            ("contexts = 0.5", "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
