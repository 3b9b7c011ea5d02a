//! What the child finds in its environment: base URLs that lead to looptape, and ids.
//!
//! Pure: the parent's environment and the proxy's address in, variables out. Each variable is one that
//! real SDKs or agents were seen to read; `docs`: `OPENAI_BASE_URL` openai-python and -node,
//! `ANTHROPIC_BASE_URL` anthropic SDKs, `GOOGLE_GEMINI_BASE_URL` google-genai, `*_API_BASE` litellm.

use looptape_core::provider::Provider;
use looptape_core::redact::Credentials;
use looptape_proxy::upstream::{Upstream, UpstreamError, Upstreams};
use looptape_proxy::upstream_keys::DUMMY_KEY;
use std::path::Path;

/// A base-URL variable: its name, its provider, and what follows the provider's prefix by default.
struct BaseVariable {
    name: &'static str,
    provider: &'static str,
    suffix: &'static str,
}

const fn base(name: &'static str, provider: &'static str, suffix: &'static str) -> BaseVariable {
    BaseVariable { name, provider, suffix }
}

const BASE_VARIABLES: &[BaseVariable] = &[
    base("OPENAI_BASE_URL", "openai", "/v1"),
    base("OPENAI_API_BASE", "openai", "/v1"),
    base("ANTHROPIC_BASE_URL", "anthropic", ""),
    base("ANTHROPIC_API_BASE", "anthropic", ""),
    base("GOOGLE_GEMINI_BASE_URL", "gemini", ""),
    base("GEMINI_API_BASE", "gemini", "/v1beta"),
    base("OLLAMA_HOST", "ollama", ""),
    base("OLLAMA_API_BASE", "ollama", ""),
    base("GROQ_BASE_URL", "groq", ""),
    base("GROQ_API_BASE", "groq", "/openai/v1"),
    base("CO_API_URL", "cohere", ""),
    base("OPENROUTER_API_BASE", "openrouter", "/api/v1"),
    base("DEEPSEEK_API_BASE", "deepseek", ""),
];

/// Beats `OPENAI_BASE_URL` where it is set, so it is redirected only then.
const AZURE: BaseVariable = base("AZURE_OPENAI_ENDPOINT", "azure", "");

/// Keys that a replayed child gets as dummies, whatever it had: some SDKs do not start without one, and a
/// base URL fixed in code must not be able to spend money.
const KEYS: &[&str] = &["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"];

/// The same, but only where the parent has one.
const KEYS_IF_SET: &[&str] = &[
    "AI21_API_KEY",
    "AI_GATEWAY_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANYSCALE_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_AI_API_KEY",
    "AZURE_API_KEY",
    "AZURE_OPENAI_AD_TOKEN",
    "AZURE_OPENAI_API_KEY",
    "CEREBRAS_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CODEX_API_KEY",
    "COHERE_API_KEY",
    "CO_API_KEY",
    "DASHSCOPE_API_KEY",
    "DATABRICKS_TOKEN",
    "DEEPINFRA_API_KEY",
    "DEEPSEEK_API_KEY",
    "FIREWORKS_API_KEY",
    "GOOGLE_GENERATIVE_AI_API_KEY",
    "GROQ_API_KEY",
    "HF_TOKEN",
    "HUGGINGFACE_API_KEY",
    "HUGGING_FACE_HUB_TOKEN",
    "JINA_API_KEY",
    "LITELLM_API_KEY",
    "MISTRAL_API_KEY",
    "MOONSHOT_API_KEY",
    "NVIDIA_API_KEY",
    "NVIDIA_NIM_API_KEY",
    "OLLAMA_API_KEY",
    "OPENAI_ADMIN_KEY",
    "OPENROUTER_API_KEY",
    "PERPLEXITYAI_API_KEY",
    "PERPLEXITY_API_KEY",
    "REPLICATE_API_TOKEN",
    "SAMBANOVA_API_KEY",
    "TOGETHERAI_API_KEY",
    "TOGETHER_API_KEY",
    "VOYAGE_API_KEY",
    "WATSONX_API_KEY",
    "XAI_API_KEY",
    "ZAI_API_KEY",
];

/// What to set so that the best-known SDKs reach a looptape at `origin`.
pub(crate) fn base_urls(origin: &str) -> Variables {
    const BEST_KNOWN: &[&str] = &["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"];
    let known = BASE_VARIABLES.iter().filter(|variable| BEST_KNOWN.contains(&variable.name));
    known.map(|v| (v.name.to_owned(), format!("{origin}/{}{}", v.provider, v.suffix))).collect()
}

/// Whether the child is recorded or replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Record,
    Replay,
}

/// Variables to set.
pub(crate) type Variables = Vec<(String, String)>;

/// The child's variables for a proxy at `origin` (`http://127.0.0.1:PORT`) and a trace.
pub(crate) fn variables(
    mode: Mode,
    origin: &str,
    trace: &str,
    parent: &dyn Fn(&str) -> Option<String>,
) -> Variables {
    let run = format!("{origin}/t/{trace}");
    let mut set: Variables = Vec::new();
    let azure = parent(AZURE.name).is_some().then_some(&AZURE);
    for variable in BASE_VARIABLES.iter().chain(azure) {
        let suffix = match mode {
            Mode::Record => mirrored_suffix(variable, parent),
            Mode::Replay => None,
        };
        let suffix = suffix.unwrap_or_else(|| variable.suffix.to_owned());
        set.push((variable.name.into(), format!("{run}/{}{suffix}", variable.provider)));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        set.push((name.into(), with_loopback(parent(name).as_deref())));
    }
    set.push(("LOOPTAPE_TRACE".into(), trace.into()));
    set.push(("LOOPTAPE_URL".into(), origin.into()));
    match mode {
        Mode::Record => set.push(("LOOPTAPE_MODE".into(), "record".into())),
        Mode::Replay => {
            set.push(("LOOPTAPE_MODE".into(), "replay".into()));
            set.extend(replay_only(parent));
        }
    }
    set
}

fn replay_only(parent: &dyn Fn(&str) -> Option<String>) -> Variables {
    let mut set = without_keys(parent);
    // Both would fetch from or send to hosts that a replay has no business with.
    set.push(("LITELLM_LOCAL_MODEL_COST_MAP".into(), "True".into()));
    set.push(("OPENAI_AGENTS_DISABLE_TRACING".into(), "1".into()));
    set
}

/// Dummies in the place of all keys: what asks nobody but this machine needs none.
pub(crate) fn without_keys(parent: &dyn Fn(&str) -> Option<String>) -> Variables {
    // Google's SDKs read either, and complain about both.
    let is_one_too_many =
        |name: &str| name == "GOOGLE_API_KEY" && parent(name).is_none() && parent("GEMINI_API_KEY").is_some();
    let dummies = KEYS
        .iter()
        .copied()
        .filter(|name| !is_one_too_many(name))
        .chain(KEYS_IF_SET.iter().copied().filter(|name| parent(name).is_some()));
    dummies.map(|name| (name.to_owned(), DUMMY_KEY.to_owned())).collect()
}

/// Points HTTP clients at a proxy at `origin`, for every host but this one.
pub(crate) fn through_proxy(origin: &str) -> Variables {
    const PROXIES: &[&str] =
        &["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let mut set: Variables = PROXIES.iter().map(|name| ((*name).to_owned(), origin.to_owned())).collect();
    for name in ["NO_PROXY", "no_proxy"] {
        set.push((name.to_owned(), "127.0.0.1,localhost,::1".to_owned()));
    }
    // Node's own fetch looks at these variables only if it is told to.
    set.push(("NODE_USE_ENV_PROXY".to_owned(), "1".to_owned()));
    set
}

/// `NODE_OPTIONS` with a script that is loaded before the program.
pub(crate) fn with_node_script(before: Option<&str>, script: &Path) -> String {
    let before = before.map(str::trim).filter(|options| !options.is_empty());
    before.map_or(String::new(), |options| format!("{options} "))
        + "--require="
        + &node_word(&script.to_string_lossy())
}

/// One word of `NODE_OPTIONS`: Node reads quotes and backslashes as a shell would.
pub(crate) fn node_word(path: &str) -> String {
    if path.contains([' ', '"', '\\']) {
        format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        path.to_owned()
    }
}

/// Keys for providers to which no base URL leads: their clients do not start without one either.
pub(crate) fn dummy_keys<'a>(providers: impl IntoIterator<Item = &'a Provider>) -> Variables {
    let dummy = |name: &str| (name.to_owned(), DUMMY_KEY.to_owned());
    providers.into_iter().flat_map(|provider| keys_of(provider.as_str())).map(dummy).collect()
}

fn keys_of(provider: &str) -> Vec<&'static str> {
    match provider {
        "bedrock" => vec!["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
        "cohere" => vec!["CO_API_KEY", "COHERE_API_KEY"],
        "gemini" => vec!["GOOGLE_GENERATIVE_AI_API_KEY"],
        other => {
            let named = format!("{}_API_KEY", other.to_ascii_uppercase().replace('-', "_"));
            KEYS_IF_SET.iter().copied().filter(|name| *name == named).collect()
        }
    }
}

/// This process's environment, as far as it is text: values that are none cannot be in a body either.
pub(crate) fn texts() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)))
}

/// Values of the environment that are secrets by their names: an agent that prints one must not bring it
/// into the recording.
pub(crate) fn secrets(environment: impl IntoIterator<Item = (String, String)>) -> Credentials {
    const ENDINGS: &[&str] = &["_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_PASSWD", "_CREDENTIALS", "_AUTH"];
    let mut known = Credentials::none();
    for (name, value) in environment {
        let name = name.to_ascii_uppercase();
        if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            known.add(value.as_bytes());
        }
    }
    known
}

/// Every base-URL variable, with its provider.
pub(crate) fn base_variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    BASE_VARIABLES.iter().chain([&AZURE]).map(|variable| (variable.name, variable.provider))
}

/// Every variable that may hold a provider's key.
pub(crate) fn key_variables() -> impl Iterator<Item = &'static str> {
    KEYS.iter().chain(KEYS_IF_SET).copied()
}

/// Where the child would have gone: base URLs in the parent's environment become upstreams, unless one was
/// stated for that provider.
pub(crate) fn upstreams(
    stated: &mut Upstreams,
    parent: &dyn Fn(&str) -> Option<String>,
) -> Result<(), (String, UpstreamError)> {
    for variable in BASE_VARIABLES.iter().chain([&AZURE]) {
        let provider = Provider::parse(variable.provider).expect("the table's names are valid");
        if stated.stated(&provider).is_some() {
            continue;
        }
        if let Some(url) = base_url(variable, parent) {
            let upstream = Upstream::from_sdk_variable(&url).map_err(|e| (variable.name.to_owned(), e))?;
            stated.set(provider, upstream);
        }
    }
    Ok(())
}

fn base_url(variable: &BaseVariable, parent: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let value = parent(variable.name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())?;
    Some(match variable.provider {
        // Ollama takes `host`, `host:port` and `0.0.0.0` too.
        "ollama" if !value.contains("://") => {
            let host = value.replacen("0.0.0.0", "127.0.0.1", 1);
            let port = if host.contains(':') { "" } else { ":11434" };
            format!("http://{host}{port}")
        }
        _ => value,
    })
}

/// The same version suffix that the parent's base URL has, so that the SDK appends what it would have
/// appended; `None` if the parent has none.
fn mirrored_suffix(variable: &BaseVariable, parent: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let url = base_url(variable, parent)?;
    let last = url.trim_end_matches('/').rsplit('/').next()?;
    let upstream = Upstream::from_sdk_variable(&url).ok()?;
    Some(if upstream.has_version() { format!("/{last}") } else { String::new() })
}

/// `NO_PROXY` with loopback in it: a proxy in the environment must not swallow calls to looptape.
fn with_loopback(before: Option<&str>) -> String {
    let mut hosts: Vec<&str> =
        before.unwrap_or_default().split(',').map(str::trim).filter(|h| !h.is_empty()).collect();
    for host in ["127.0.0.1", "localhost"] {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(set: &Variables, name: &str) -> Option<String> {
        set.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
    }

    #[test]
    fn a_plain_parent() {
        let set = variables(Mode::Record, "http://127.0.0.1:7", "abc", &|_| None);
        assert_eq!(get(&set, "OPENAI_BASE_URL").unwrap(), "http://127.0.0.1:7/t/abc/openai/v1");
        assert_eq!(get(&set, "ANTHROPIC_BASE_URL").unwrap(), "http://127.0.0.1:7/t/abc/anthropic");
        assert_eq!(get(&set, "NO_PROXY").unwrap(), "127.0.0.1,localhost");
        assert_eq!(get(&set, "AZURE_OPENAI_ENDPOINT"), None);
        assert_eq!(get(&set, "OPENAI_API_KEY"), None);
    }

    #[test]
    fn base_urls_of_the_parent_are_the_upstreams() {
        let parent = |name: &str| match name {
            "OPENAI_BASE_URL" => Some("http://gw/llm/v1".to_owned()),
            "ANTHROPIC_BASE_URL" => Some("http://gw/anthropic/v1/".to_owned()),
            "GOOGLE_GEMINI_BASE_URL" => Some("http://gw".to_owned()),
            "OLLAMA_HOST" => Some("0.0.0.0".to_owned()),
            _ => None,
        };
        let set = variables(Mode::Record, "http://p", "t", &parent);
        let mut up = Upstreams::default();
        upstreams(&mut up, &parent).unwrap();
        let reach = |provider: &str, variable: &str, sdk_path: &str| {
            let base = get(&set, variable).unwrap();
            let path = base.strip_prefix(&format!("http://p/t/t/{provider}")).unwrap().to_owned() + sdk_path;
            up.get(&Provider::parse(provider).unwrap()).unwrap().join(&path).unwrap().to_string()
        };
        assert_eq!(
            reach("openai", "OPENAI_BASE_URL", "/chat/completions"),
            "http://gw/llm/v1/chat/completions"
        );
        assert_eq!(reach("anthropic", "ANTHROPIC_BASE_URL", "/messages"), "http://gw/anthropic/v1/messages");
        assert_eq!(
            reach("gemini", "GOOGLE_GEMINI_BASE_URL", "/v1beta/models/m:generateContent"),
            "http://gw/v1beta/models/m:generateContent"
        );
        assert_eq!(reach("ollama", "OLLAMA_HOST", "/api/chat"), "http://127.0.0.1:11434/api/chat");
        assert_eq!(
            reach("groq", "GROQ_API_BASE", "/chat/completions"),
            "https://api.groq.com/openai/v1/chat/completions"
        );
    }

    #[test]
    fn a_replay_has_no_keys() {
        let parent = |name: &str| (name.ends_with("_KEY")).then(|| "sk-real".to_owned());
        let set = variables(Mode::Replay, "http://p", "t", &parent);
        for name in ["OPENAI_API_KEY", "GROQ_API_KEY", "ANTHROPIC_API_KEY"] {
            assert_eq!(get(&set, name).as_deref(), Some(DUMMY_KEY));
        }
        assert!(set.iter().all(|(_, v)| !v.contains("sk-real")));
        for name in key_variables() {
            let has_it = |asked: &str| (asked == name).then(|| "sk-real".to_owned());
            let set = variables(Mode::Replay, "http://p", "t", &has_it);
            assert_eq!(get(&set, name).as_deref(), Some(DUMMY_KEY), "{name}");
        }
    }

    #[test]
    fn providers_without_a_base_url_have_dummy_keys_too() {
        let keys = |provider: &str| dummy_keys(&[Provider::parse(provider).unwrap()]).len();
        for (provider, known) in [("mistral", 1), ("bedrock", 2), ("gemini", 1), ("api-weather-test", 0)] {
            assert_eq!(keys(provider), known, "{provider}");
        }
    }

    #[test]
    fn node_options_are_added_to() {
        let with = |before: Option<&str>, script: &str| with_node_script(before, Path::new(script));
        assert_eq!(with(None, "/tmp/a.cjs"), "--require=/tmp/a.cjs");
        assert_eq!(with(Some(" --no-warnings "), "/a b/c.cjs"), r#"--no-warnings --require="/a b/c.cjs""#);
    }

    #[test]
    fn a_proxy_leaves_this_machine_alone() {
        let set = through_proxy("http://127.0.0.1:9");
        for name in ["https_proxy", "HTTP_PROXY", "ALL_PROXY"] {
            assert_eq!(get(&set, name).unwrap(), "http://127.0.0.1:9");
        }
        assert_eq!(get(&set, "NO_PROXY").unwrap(), "127.0.0.1,localhost,::1");
    }
}
