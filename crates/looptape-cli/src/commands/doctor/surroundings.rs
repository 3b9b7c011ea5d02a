//! What the environment says: base URLs, upstreams, proxies, keys.

use super::Finding;
use crate::child::environment;
use crate::commands::record;
use crate::config::Config;
use looptape_core::provider::{DEFAULT_UPSTREAMS, Provider};
use looptape_proxy::upstream::Upstream;

/// Looks a variable up; empty ones count as not set.
pub(super) type Variable<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Base-URL variables that are set.
pub(super) fn base_urls(variable: &Variable<'_>) -> Vec<Finding> {
    let set = environment::base_variables().filter_map(|(name, _)| Some((name, variable(name)?)));
    let mut findings: Vec<Finding> = set
        .map(|(name, value)| match Upstream::from_sdk_variable(&with_scheme(name, &value)) {
            Ok(upstream) => Finding::ok("base URL", format!("{name} leads to {}", upstream.url())),
            // The value is not shown: what makes it unusable may be a password.
            Err(_) => Finding::problem(
                "base URL",
                format!("{name} holds no usable URL"),
                format!("set {name} to a URL like https://host/v1 without credentials or query, or unset it"),
            ),
        })
        .collect();
    if variable("LOOPTAPE_URL").is_some() {
        let says = "this shell itself runs under looptape: its calls are recorded or replayed";
        findings.push(Finding::ok("base URL", says));
    }
    if findings.is_empty() {
        findings
            .push(Finding::ok("base URL", "no variable is set: calls go to the providers' own addresses"));
    }
    findings
}

/// Ollama's variable may be a bare host.
fn with_scheme(name: &str, value: &str) -> String {
    match name == "OLLAMA_HOST" && !value.contains("://") {
        true => format!("http://{value}"),
        false => value.to_owned(),
    }
}

/// Where each provider's calls would go.
pub(super) fn upstreams(config: &Config) -> Vec<Finding> {
    let upstreams = match record::upstreams(config, &[]) {
        Ok(upstreams) => upstreams,
        Err(error) => {
            let to_do = "correct the variable, or [upstreams] in looptape.toml";
            return vec![Finding::problem("upstreams", format!("{error:#}"), to_do)];
        }
    };
    let known = DEFAULT_UPSTREAMS.iter().filter_map(|(name, _)| Provider::parse(name));
    let mut providers: Vec<Provider> = known.chain(upstreams.stated_providers()).collect();
    providers.sort();
    providers.dedup();
    let (mut stated, mut public) = (Vec::new(), Vec::new());
    for provider in providers {
        let in_order: Vec<String> = upstreams.in_order(&provider).iter().map(Upstream::url).collect();
        match (in_order.is_empty(), upstreams.get(&provider)) {
            (false, _) => stated.push(format!("{provider} → {}", in_order.join(", then "))),
            (true, Some(_)) => public.push(provider.to_string()),
            (true, None) => {}
        }
    }
    let mut findings = Vec::new();
    if !stated.is_empty() {
        findings.push(Finding::ok("upstreams", stated.join(", ")));
    }
    findings.push(Finding::ok("upstreams", format!("at their public addresses: {}", public.join(", "))));
    findings
}

/// A proxy that would swallow calls to looptape.
pub(super) fn proxies(variable: &Variable<'_>) -> Vec<Finding> {
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let set: Vec<&str> = names.into_iter().filter(|name| variable(name).is_some()).collect();
    if set.is_empty() {
        return vec![Finding::ok("proxy", "none is set")];
    }
    let mut except = [variable("NO_PROXY"), variable("no_proxy")].into_iter().flatten();
    let spares_loopback = |hosts: String| hosts.split(',').any(|h| ["127.0.0.1", "*"].contains(&h.trim()));
    let names = set.join(", ");
    vec![match except.any(spares_loopback) {
        true => Finding::ok("proxy", format!("{names} is set, loopback is excepted")),
        false => Finding::warning(
            "proxy",
            format!("{names} is set and NO_PROXY does not except 127.0.0.1"),
            "`record` and `replay` except it for their child; for an agent pointed at `serve`, set NO_PROXY=127.0.0.1,localhost",
        ),
    }]
}

/// Keys by name.
pub(super) fn keys(variable: &Variable<'_>) -> Finding {
    let set: Vec<&str> = environment::key_variables().filter(|name| variable(name).is_some()).collect();
    match set.is_empty() {
        true => Finding::ok("keys", "none is set: replaying needs none, recording needs the provider's"),
        false => Finding::ok("keys", format!("set: {} (values are never stored)", set.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_proxy_without_exception_is_a_warning() {
        let level = |set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            proxies(&find)[0].level
        };
        assert_eq!(level(&[]), Level::Ok);
        assert_eq!(level(&[("HTTP_PROXY", "http://p:3128")]), Level::Warning);
        assert_eq!(level(&[("HTTP_PROXY", "http://p"), ("no_proxy", "x, 127.0.0.1")]), Level::Ok);
    }

    #[test]
    fn values_of_keys_and_passwords_are_not_shown() {
        let secret = |name: &str| {
            let value = if name.ends_with("_KEY") { "sk-hunter2" } else { "https://me:hunter2@host/v1" };
            Some(value.to_owned())
        };
        let findings = [base_urls(&secret), vec![keys(&secret)], proxies(&secret)].concat();
        let text = format!("{findings:?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("OPENAI_API_KEY") && text.contains("OPENAI_BASE_URL holds no usable URL"));
    }
}
