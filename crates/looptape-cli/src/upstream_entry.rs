//! `[upstreams]` and `[failover]` of `looptape.toml`: where providers' calls go, and when they go elsewhere.

use crate::config::parse_duration;
use anyhow::Context;
use looptape_core::failover::FailoverRules;
use looptape_core::provider::Provider;
use looptape_proxy::upstream::{Failover, Upstream, UpstreamError};
use looptape_proxy::upstream_keys::OwnKey;
use serde::Deserialize;
use std::time::Duration;

/// A provider's upstreams, in the order in which they are asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a base URL, a table like { url = \"https://…\", key_env = \"BACKUP_KEY\" }, or a list of these"
)]
pub(crate) enum UpstreamEntries {
    /// First: a list of two texts could be read as a table's two values.
    InOrder(Vec<UpstreamEntry>),
    One(UpstreamEntry),
}

/// One of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a base URL, or a table like { url = \"https://…\", key_env = \"BACKUP_KEY\" }"
)]
pub(crate) enum UpstreamEntry {
    Url(String),
    Table(UpstreamTable),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamTable {
    url: String,
    /// The variable that holds its key, which takes the place of the client's.
    key_env: Option<String>,
}

/// `[failover]`: when the next of several upstreams is asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FailoverConfig {
    /// Failures in a row after which an upstream is passed over for a while.
    failures: Option<u32>,
    /// For how long at first: `30s`, `5m`, …
    cooldown: Option<String>,
    /// How long an upstream may take until it begins to answer, if there is another one.
    answer_within: Option<String>,
}

impl UpstreamEntries {
    /// The upstreams, named as in the file.
    pub(crate) fn upstreams(
        &self,
        name: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> anyhow::Result<(Provider, Vec<Upstream>)> {
        let provider = Provider::parse(name).ok_or_else(|| UpstreamError::Name { name: name.to_owned() })?;
        let entries = match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::InOrder(entries) => entries,
        };
        anyhow::ensure!(!entries.is_empty(), "{name} = [] names no upstream: write a base URL");
        let upstreams = entries.iter().map(|entry| entry.upstream(name, environment));
        Ok((provider, upstreams.collect::<anyhow::Result<_>>()?))
    }
}

impl UpstreamEntry {
    fn upstream(&self, name: &str, environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Upstream> {
        let (url, key_env) = match self {
            Self::Url(url) => (url, None),
            Self::Table(table) => (&table.url, table.key_env.as_deref()),
        };
        let upstream = Upstream::stated(url)?;
        let Some(variable) = key_env else { return Ok(upstream) };
        let key = environment(variable).and_then(|key| OwnKey::new(&key));
        let key = key.with_context(|| {
            format!("the key of {name} at {url} is to be in {variable}, which is not set: set it, or leave key_env out")
        })?;
        Ok(upstream.with_key(key))
    }
}

impl FailoverConfig {
    pub(crate) fn failover(&self) -> anyhow::Result<Failover> {
        let seconds = |name: &str, text: &Option<String>| {
            let text = text.as_deref();
            text.map(parse_duration).transpose().map_err(|e| anyhow::anyhow!("[failover] {name}: {e}"))
        };
        let mut rules = FailoverRules::default();
        if let Some(failures) = self.failures {
            anyhow::ensure!(failures > 0, "[failover] failures = 0: write 1 or more");
            rules.failures = failures;
        }
        if let Some(cooldown_s) = seconds("cooldown", &self.cooldown)? {
            rules.rest_us = cooldown_s.saturating_mul(1_000_000);
        }
        let answer_within = seconds("answer_within", &self.answer_within)?.map(Duration::from_secs);
        anyhow::ensure!(
            answer_within != Some(Duration::ZERO),
            "[failover] answer_within = 0: write 1s or more"
        );
        Ok(Failover { rules, answer_within })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn upstreams(text: &str) -> Result<Vec<String>, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let environment = |name: &str| (name == "BACKUP_KEY").then(|| "sk-backup".to_owned());
        let mut all = Vec::new();
        for (name, entries) in &config.upstreams {
            let (_, upstreams) =
                entries.upstreams(name, &environment).map_err(|error| format!("{error:#}"))?;
            all.extend(upstreams.iter().map(Upstream::url));
        }
        Ok(all)
    }

    #[test]
    fn one_or_several_with_keys_of_their_own() {
        assert_eq!(upstreams("upstreams.openai = 'http://a/v1'"), Ok(vec!["http://a/v1".to_owned()]));
        let several = "[upstreams]\nopenai = ['http://a', { url = 'http://b', key_env = 'BACKUP_KEY' }]";
        assert_eq!(upstreams(several), Ok(vec!["http://a".to_owned(), "http://b".to_owned()]));
        let plain = "upstreams.openai = ['http://a', 'http://b']";
        assert_eq!(upstreams(plain), upstreams(several));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            "upstreams.openai = []",
            "upstreams.openai = 7",
            "upstreams.openai = { url = 'http://a', key = 'sk-…' }",
            "upstreams.openai = { url = 'http://a', key_env = 'NO_SUCH_KEY' }",
            "upstreams.openai = ['http://a', 'b']",
        ];
        let errors: Vec<String> = wrong.iter().map(|text| upstreams(text).unwrap_err()).collect();
        insta::assert_snapshot!(errors.join("\n"), @r#"
        openai = [] names no upstream: write a base URL
        expected a base URL, a table like { url = "https://…", key_env = "BACKUP_KEY" }, or a list of these
        expected a base URL, a table like { url = "https://…", key_env = "BACKUP_KEY" }, or a list of these
        the key of openai at http://a is to be in NO_SUCH_KEY, which is not set: set it, or leave key_env out
        `b` cannot be an upstream (relative URL without a base): write a URL like https://api.openai.com or http://127.0.0.1:8000/v1
        "#);
    }

    #[test]
    fn when_to_fail_over() {
        let failover = |text: &str| {
            let config: Config = toml::from_str(text).unwrap();
            config.failover.failover().map_err(|error| error.to_string())
        };
        let stated = failover("[failover]\nfailures = 2\ncooldown = '1m'\nanswer_within = '20s'").unwrap();
        assert_eq!(stated.rules, FailoverRules { failures: 2, rest_us: 60_000_000 });
        assert_eq!(stated.answer_within, Some(Duration::from_secs(20)));
        assert_eq!(failover("").unwrap(), Failover::default());
        assert!(failover("failover.failures = 0").unwrap_err().contains("1 or more"));
        assert!(failover("failover.cooldown = 'soon'").unwrap_err().contains("[failover] cooldown"));
    }
}
