//! Which provider a URL's host belongs to.
//!
//! Known hosts get the names under which providers are known everywhere else (upstreams, prices); any
//! other host gives a name of its own, so that calls to two unknown hosts stay apart.

use crate::provider::Provider;

/// Hosts, each with everything below it, and their provider.
const HOSTS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gemini"),
    ("aiplatform.googleapis.com", "gemini"),
    ("openai.azure.com", "azure"),
    ("cognitiveservices.azure.com", "azure"),
    ("services.ai.azure.com", "azure"),
    ("azure-api.net", "azure"),
    ("api.cerebras.ai", "cerebras"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
    ("api.deepseek.com", "deepseek"),
    ("api.fireworks.ai", "fireworks"),
    ("api.githubcopilot.com", "github-copilot"),
    ("api.groq.com", "groq"),
    ("api.hyperbolic.xyz", "hyperbolic"),
    ("api.inference.crusoecloud.com", "crusoe"),
    ("api.mistral.ai", "mistral"),
    ("api.moonshot.ai", "moonshot"),
    ("api.moonshot.cn", "moonshot"),
    ("api.novita.ai", "novita"),
    ("api.perplexity.ai", "perplexity"),
    ("api.sambanova.ai", "sambanova"),
    ("api.together.ai", "together"),
    ("api.together.xyz", "together"),
    ("api.voyageai.com", "voyageai"),
    ("api.writer.com", "writer"),
    ("api.x.ai", "xai"),
    ("api.z.ai", "zai"),
    ("integrate.api.nvidia.com", "nvidia"),
    ("open.bigmodel.cn", "zhipuai"),
    ("openrouter.ai", "openrouter"),
    ("router.huggingface.co", "huggingface"),
    ("snowflakecomputing.com", "snowflake"),
];

/// Where Ollama listens unless told otherwise.
const OLLAMA_PORT: &str = "11434";

/// The longest name that [`Provider`] accepts.
const MAX_NAME_LEN: usize = 40;

/// The provider behind `host` (with its port, if the URL names one).
pub fn of_host(host: &str) -> Provider {
    // The port that nobody has to write tells no hosts apart.
    let named = host.strip_suffix(":443").unwrap_or(host);
    let own = || Provider::parse(&own_name(&named.to_ascii_lowercase()));
    known(host).or_else(own).expect("a name of its own is made of letters, digits and dashes")
}

/// The same, if the host is known to be a model provider's.
pub fn known(host: &str) -> Option<Provider> {
    let host = host.to_ascii_lowercase();
    let (name, port) = split_port(&host);
    let known = HOSTS.iter().find(|(known, _)| is_at_or_below(name, known)).map(|(_, provider)| *provider);
    let known = known.or_else(|| is_bedrock(name).then_some("bedrock"));
    known.or_else(|| (port == Some(OLLAMA_PORT)).then_some("ollama")).and_then(Provider::parse)
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    }
}

/// `us-central1-aiplatform.googleapis.com` has its region before a dash.
fn is_at_or_below(name: &str, known: &str) -> bool {
    name.trim_end_matches('.')
        .strip_suffix(known)
        .is_some_and(|before| before.is_empty() || before.ends_with('.') || before.ends_with('-'))
}

fn is_bedrock(name: &str) -> bool {
    name.starts_with("bedrock") && is_at_or_below(name, "amazonaws.com")
}

/// The host with every run of other characters as one dash. Never a single letter: those begin paths of
/// looptape's own.
fn own_name(host: &str) -> String {
    let words: Vec<&str> =
        host.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let name = words.join("-");
    match name.len() {
        0 => "unknown".to_owned(),
        1 => format!("host-{name}"),
        len => name[..len.min(MAX_NAME_LEN)].trim_end_matches('-').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hosts() {
        for (host, expected) in [
            ("api.openai.com", "openai"),
            ("API.OpenAI.com:443", "openai"),
            ("api.anthropic.com", "anthropic"),
            ("generativelanguage.googleapis.com", "gemini"),
            ("aiplatform.googleapis.com", "gemini"),
            ("us-central1-aiplatform.googleapis.com", "gemini"),
            ("eu.api.groq.com", "groq"),
            ("my-resource.openai.azure.com", "azure"),
            ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock"),
            ("openrouter.ai", "openrouter"),
            ("api.writer.com", "writer"),
            ("api.x.ai", "xai"),
            ("localhost:11434", "ollama"),
            ("api.mistral.ai.", "mistral"),
        ] {
            assert_eq!(of_host(host).as_str(), expected, "{host}");
            assert!(known(host).is_some(), "{host}");
        }
    }

    #[test]
    fn other_hosts_have_names_of_their_own() {
        for (host, expected) in [
            ("oauth2.googleapis.com", "oauth2-googleapis-com"),
            ("notapi.openai.com.example", "notapi-openai-com-example"),
            ("evilapi.openai.com", "evilapi-openai-com"),
            ("LocalHost:8080", "localhost-8080"),
            ("llm.example.com:443", "llm-example-com"),
            ("[::1]:80", "1-80"),
            ("{scrubbed}", "scrubbed"),
            ("", "unknown"),
            ("ü", "unknown"),
            ("t", "host-t"),
            ("s3.amazonaws.com", "s3-amazonaws-com"),
            (
                "a-very-long-name-of-a-host.in-a-domain.that-is.long-too",
                "a-very-long-name-of-a-host-in-a-domain-t",
            ),
        ] {
            assert_eq!(of_host(host).as_str(), expected, "{host}");
            assert_eq!(known(host), None, "{host}");
        }
    }
}
