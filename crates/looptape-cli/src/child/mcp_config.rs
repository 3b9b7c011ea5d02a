//! MCP servers in agents' configurations, led here: a stdio server gets the shim in front of its command, an HTTP
//! server an address of looptape's own.
//!
//! Whoever reads a configuration gives its table of servers, by name; everything else in an entry stays. What agents
//! would not start by themselves is not started: entries keep their own switches, and servers that a project brings
//! along are taken only where the user has allowed them.

use super::environment::Mode;
use looptape_core::mcp::ServerName;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use url::Url;

/// A table of servers, by name.
pub(crate) type Servers = Map<String, Value>;

/// Where the servers of a run are led.
#[derive(Clone, Debug)]
pub(crate) struct Redirect<'a> {
    pub(crate) mode: Mode,
    /// `http://127.0.0.1:PORT`
    pub(crate) origin: &'a str,
    pub(crate) trace: &'a str,
    /// This program.
    pub(crate) looptape: PathBuf,
}

impl Redirect<'_> {
    /// Leads all of them here.
    pub(crate) fn servers(&self, servers: &Servers) -> Servers {
        let names = names(servers);
        let led = |(key, entry): (&String, &Value)| {
            let led = names.get(key).and_then(|name| self.entry(name, entry));
            (key.clone(), led.unwrap_or_else(|| entry.clone()))
        };
        servers.iter().map(led).collect()
    }

    /// `None` if it cannot be led here.
    fn entry(&self, name: &ServerName, entry: &Value) -> Option<Value> {
        let mut entry = entry.as_object()?.clone();
        if let Some(command) = entry.get("command").and_then(Value::as_str) {
            let given = entry.get("args").and_then(Value::as_array).cloned().unwrap_or_default();
            if !is_shim(command, &given) {
                let mut args =
                    vec![json!("mcp"), json!("--name"), json!(name.as_str()), json!("--"), json!(command)];
                args.extend(given);
                entry.insert("command".into(), json!(self.looptape.to_string_lossy()));
                entry.insert("args".into(), args.into());
            }
            let env = entry.entry("env").or_insert_with(|| json!({}));
            let mode = if self.mode == Mode::Record { "record" } else { "replay" };
            for (variable, value) in
                [("LOOPTAPE_URL", self.origin), ("LOOPTAPE_TRACE", self.trace), ("LOOPTAPE_MODE", mode)]
            {
                env.as_object_mut()?.insert(variable.to_owned(), json!(value));
            }
            return Some(entry.into());
        }
        let (key, url) = http_url(&entry)?;
        let path = &url[url::Position::BeforePath..];
        let here = format!("{}/t/{}/{}{path}", self.origin, self.trace, name.provider());
        entry.insert(key.to_owned(), json!(here));
        Some(entry.into())
    }
}

/// Where the HTTP servers among these are: what a recording forwards to.
pub(crate) fn upstreams(servers: &Servers) -> Vec<(ServerName, String)> {
    let names = names(servers);
    let upstream = |(key, entry): (&String, &Value)| {
        let (_, url) = http_url(entry.as_object()?)?;
        Some((names.get(key)?.clone(), url[..url::Position::BeforePath].to_owned()))
    };
    servers.iter().filter_map(upstream).collect()
}

/// What looptape calls them: no two the same.
fn names(servers: &Servers) -> BTreeMap<String, ServerName> {
    let mut names: BTreeMap<String, ServerName> = BTreeMap::new();
    for key in servers.keys() {
        let is_free = |name: &ServerName| !names.values().any(|taken| taken == name);
        let numbered = (2..100).filter_map(|nth| ServerName::parse(&format!("{nth}-{key}")));
        let name = ServerName::parse(key).into_iter().chain(numbered).find(is_free);
        if let Some(name) = name {
            names.insert(key.clone(), name);
        }
    }
    names
}

fn is_shim(command: &str, args: &[Value]) -> bool {
    let is_looptape = Path::new(command).file_stem().is_some_and(|stem| stem == "looptape");
    is_looptape && args.first().and_then(Value::as_str) == Some("mcp")
}

/// The address of a server that speaks streamable HTTP, and the member that it stands in. The older form, two requests
/// and a stream, names an address of its own in that stream, which would lead past looptape.
fn http_url(entry: &Map<String, Value>) -> Option<(&'static str, Url)> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let key = match (text("httpUrl"), text("url"), text("type")) {
        (Some(_), ..) => "httpUrl",
        (None, Some(url), kind) if kind != Some("sse") && !url.trim_end_matches('/').ends_with("/sse") => {
            "url"
        }
        _ => return None,
    };
    let url = Url::parse(text(key)?).ok()?;
    matches!(url.scheme(), "http" | "https").then_some((key, url))
}

/// The member `key` of a configuration in JSON, as a table of servers.
pub(crate) fn servers_in(configuration: &Value, key: &str) -> Servers {
    configuration.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
}

pub(crate) fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The servers that claude-code would start, besides those that its command line names: the user's, the project's as
/// far as the user approved them, the user's for this folder; later ones take the place of earlier ones.
pub(crate) fn claude_servers(home: &Path, folder: &Path) -> Servers {
    let own = read_json(&home.join(".claude.json"));
    let of_folder = &own["projects"][folder.to_string_lossy().as_ref()];
    let mut all = servers_in(&own, "mcpServers");
    let settings = [
        of_folder.clone(),
        read_json(&home.join(".claude/settings.json")),
        read_json(&folder.join(".claude/settings.local.json")),
    ];
    let is_listed = |list: &str, name: &str| {
        settings.iter().any(|s| s[list].as_array().is_some_and(|names| names.iter().any(|n| n == name)))
    };
    let all_are = settings.iter().any(|settings| settings["enableAllProjectMcpServers"] == true);
    let of_project = servers_in(&read_json(&folder.join(".mcp.json")), "mcpServers");
    all.extend(of_project.into_iter().filter(|(name, _)| {
        (all_are || is_listed("enabledMcpjsonServers", name)) && !is_listed("disabledMcpjsonServers", name)
    }));
    all.extend(servers_in(of_folder, "mcpServers"));
    all
}

const CLAUDE_FLAG: &str = "--mcp-config";

/// The configurations on claude-code's command line, each a file or JSON, with the places where they stand.
pub(crate) fn claude_flags(command: &[OsString]) -> Vec<(usize, Value)> {
    let mut found = Vec::new();
    let mut in_flag = false;
    for (at, word) in command.iter().enumerate() {
        let word = word.to_string_lossy();
        if let Some(value) = word.strip_prefix(CLAUDE_FLAG).and_then(|rest| rest.strip_prefix('=')) {
            found.push((at, configuration(value)));
        } else if word == CLAUDE_FLAG {
            in_flag = true;
        } else if word.starts_with('-') {
            in_flag = false;
        } else if in_flag {
            found.push((at, configuration(&word)));
        }
    }
    // What cannot be read as a configuration is the prompt, or claude-code's to complain about.
    found.retain(|(_, configuration)| configuration["mcpServers"].is_object());
    found
}

fn configuration(value: &str) -> Value {
    match value.trim_start().starts_with('{') {
        true => serde_json::from_str(value).unwrap_or_default(),
        false => read_json(Path::new(value)),
    }
}

/// The command line with other configurations in the same places, and one more file in front.
pub(crate) fn claude_command(
    command: &[OsString],
    program_at: usize,
    in_places: &[(usize, PathBuf)],
    also: Option<&Path>,
) -> Vec<OsString> {
    let mut words = command.to_vec();
    for (at, file) in in_places {
        let is_joined = words[*at].to_string_lossy().starts_with(CLAUDE_FLAG);
        words[*at] = if is_joined { joined(file) } else { file.into() };
    }
    if let Some(file) = also {
        // Joined, or the flag would take the words after it for files too.
        words.insert(program_at + 1, joined(file));
    }
    words
}

fn joined(file: &Path) -> OsString {
    let mut word = OsString::from(format!("{CLAUDE_FLAG}="));
    word.push(file);
    word
}

/// Where claude-code stands on a command line that starts a conversation with it.
pub(crate) fn claude_at(command: &[OsString]) -> Option<usize> {
    /// Its other uses.
    const SUBCOMMANDS: &[&str] = &[
        "agents",
        "auth",
        "config",
        "doctor",
        "gateway",
        "install",
        "mcp",
        "plugin",
        "plugins",
        "project",
        "setup-token",
        "update",
        "upgrade",
    ];
    let is_claude = |word: &OsString| {
        let word = word.to_string_lossy();
        let name = word.rsplit('/').next().unwrap_or_default();
        name == "claude" || word.starts_with("@anthropic-ai/claude-code")
    };
    let at = command.iter().take(8).position(is_claude)?;
    let next = command.get(at + 1).map(|word| word.to_string_lossy().into_owned());
    (!next.is_some_and(|word| SUBCOMMANDS.contains(&word.as_str()))).then_some(at)
}

/// Whether claude-code was told to look nowhere but on its command line.
pub(crate) fn claude_is_strict(command: &[OsString]) -> bool {
    command.iter().any(|word| word == "--strict-mcp-config")
}

/// The servers that gemini-cli would start: the user's, and the project's where folders need no trust.
pub(crate) fn gemini_servers(home: &Path, folder: &Path, system: &Value) -> Servers {
    let own = read_json(&home.join(".gemini/settings.json"));
    let wants_trust = [&own, system].iter().any(|s| s["security"]["folderTrust"]["enabled"] == true);
    let mut all = servers_in(&own, "mcpServers");
    if !wants_trust {
        all.extend(servers_in(&read_json(&folder.join(".gemini/settings.json")), "mcpServers"));
    }
    all.extend(servers_in(system, "mcpServers"));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect() -> Redirect<'static> {
        Redirect {
            mode: Mode::Replay,
            origin: "http://127.0.0.1:7",
            trace: "t1",
            looptape: "/bin/looptape".into(),
        }
    }

    fn servers(value: Value) -> Servers {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn servers_are_led_here_and_keep_the_rest() {
        let before = servers(json!({
            "files": { "command": "uvx", "args": ["files", "/srv"], "env": { "A": "b" }, "timeout": 5 },
            "web": { "type": "http", "url": "https://mcp.example.com:8443/v2/mcp?x=1", "headers": { "Authorization": "Bearer x" } },
            "Web": { "httpUrl": "http://10.0.0.1/mcp" },
            "old": { "type": "sse", "url": "https://example.com/sse" },
            "mine": { "command": "/usr/bin/looptape", "args": ["mcp", "--", "x"] },
            "odd": 5,
        }));
        let led = Value::from(redirect().servers(&before));
        let expected = json!({
            "files": {
                "command": "/bin/looptape",
                "args": ["mcp", "--name", "files", "--", "uvx", "files", "/srv"],
                "env": {
                    "A": "b", "LOOPTAPE_URL": "http://127.0.0.1:7", "LOOPTAPE_TRACE": "t1", "LOOPTAPE_MODE": "replay",
                },
                "timeout": 5,
            },
            "web": {
                "type": "http",
                "url": "http://127.0.0.1:7/t/t1/mcp-web/v2/mcp?x=1",
                "headers": { "Authorization": "Bearer x" },
            },
            "Web": { "httpUrl": "http://127.0.0.1:7/t/t1/mcp-2-web/mcp" },
            "old": { "type": "sse", "url": "https://example.com/sse" },
            "mine": {
                "command": "/usr/bin/looptape",
                "args": ["mcp", "--", "x"],
                "env": { "LOOPTAPE_URL": "http://127.0.0.1:7", "LOOPTAPE_TRACE": "t1", "LOOPTAPE_MODE": "replay" },
            },
            "odd": 5,
        });
        assert_eq!(led, expected);
        let upstreams: Vec<String> =
            upstreams(&before).iter().map(|(name, url)| format!("{name} {url}")).collect();
        assert_eq!(upstreams, ["web https://mcp.example.com:8443", "2-web http://10.0.0.1"]);
    }

    #[test]
    fn claudes_command_line_keeps_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("servers.json");
        std::fs::write(&file, r#"{"mcpServers":{"a":{"command":"x"}}}"#).unwrap();
        let inline = r#"{"mcpServers":{"b":{"command":"y"}}}"#;
        let words =
            ["npx", "claude", "-p", "--mcp-config", file.to_str().unwrap(), inline, "--model", "m", "say hi"];
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        assert_eq!(claude_at(&words), Some(1));
        let places: Vec<usize> = claude_flags(&words).iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [4, 5]);
        let changed =
            claude_command(&words, 1, &[(4, "/o/1".into()), (5, "/o/2".into())], Some(Path::new("/o/3")));
        let changed: Vec<String> = changed.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(
            changed,
            [
                "npx",
                "claude",
                "--mcp-config=/o/3",
                "-p",
                "--mcp-config",
                "/o/1",
                "/o/2",
                "--model",
                "m",
                "say hi"
            ]
        );
        let others = ["claude", "mcp", "list"].map(OsString::from);
        assert_eq!(claude_at(&others), None);
        assert_eq!(claude_at(&["python", "agent.py"].map(OsString::from)), None);
    }

    #[test]
    fn a_projects_servers_need_the_users_word() {
        let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |at: &Path, text: String| {
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, text).unwrap();
        };
        let names = || claude_servers(home.path(), folder.path()).keys().cloned().collect::<Vec<_>>();
        write(
            &folder.path().join(".mcp.json"),
            r#"{"mcpServers":{"p":{"command":"x"},"q":{"command":"x"}}}"#.into(),
        );
        assert_eq!(names(), Vec::<String>::new());
        let own = json!({ "mcpServers": { "u": {} }, "projects": { folder.path().to_str().unwrap(): {
            "mcpServers": { "l": {} }, "enabledMcpjsonServers": ["p"] } } });
        write(&home.path().join(".claude.json"), own.to_string());
        assert_eq!(names(), ["u", "p", "l"]);
        write(&home.path().join(".gemini/settings.json"), json!({ "mcpServers": { "g": {} } }).to_string());
        write(&folder.path().join(".gemini/settings.json"), json!({ "mcpServers": { "h": {} } }).to_string());
        let gemini = |system: Value| gemini_servers(home.path(), folder.path(), &system).len();
        assert_eq!(gemini(json!({})), 2);
        assert_eq!(gemini(json!({ "security": { "folderTrust": { "enabled": true } } })), 1);
    }
}
