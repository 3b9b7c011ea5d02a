//! Which recorded calls are of an MCP server: those of a provider `mcp-NAME`.

use crate::provider::Provider;
use serde::{Deserialize, Serialize};
use std::fmt;

const PREFIX: &str = "mcp-";

/// What a server is called: letters, digits, `-` and `_`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerName(String);

/// Whether a call of this provider is a message to an MCP server.
pub fn is_mcp(provider: &Provider) -> bool {
    provider.as_str().starts_with(PREFIX)
}

/// Whoever measures a tool call in a server's place says so by this and the server's name.
const VIA: &str = "mcp:";

/// Whether a tool call was measured in the place of an MCP server.
pub(crate) fn is_via(via: &str) -> bool {
    via.starts_with(VIA)
}

impl ServerName {
    /// A provider's name has 40 characters at most.
    const MOST_CHARS: usize = 40 - PREFIX.len();

    /// From what people call it: other characters become `_`, and what is too long is cut. `None` if nothing is left.
    pub fn parse(name: &str) -> Option<Self> {
        let fit = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
        let name: String = name.trim().chars().take(Self::MOST_CHARS).map(fit).collect();
        let has_letters = name.bytes().any(|b| b.is_ascii_alphanumeric());
        has_letters.then(|| Self(name.to_ascii_lowercase()))
    }

    /// The server that a call of this provider is for.
    pub fn of(provider: &Provider) -> Option<Self> {
        provider.as_str().strip_prefix(PREFIX).and_then(Self::parse)
    }

    /// By what a command line starts: the first word that is neither a way to start programs nor an option. A
    /// package is known without its scope and version, a file without its folder and ending.
    pub fn of_command<'a>(command: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        const STARTERS: &[&str] = &[
            "bash", "bunx", "bun", "deno", "docker", "exec", "node", "npm", "npx", "pipx", "pnpm", "python",
            "python3", "run", "sh", "uv", "uvx", "x",
        ];
        let name = |word: &'a str| {
            let last = word.rsplit('/').next().unwrap_or(word);
            let bare = last.split_once('@').map_or(last, |(before, _)| before);
            let endings = [".py", ".js", ".mjs", ".cjs", ".ts", ".exe"];
            endings.iter().find_map(|ending| bare.strip_suffix(ending)).unwrap_or(bare)
        };
        command
            .into_iter()
            .filter(|word| !word.starts_with('-'))
            .map(name)
            .find(|name| !name.is_empty() && !STARTERS.contains(name))
            .and_then(Self::parse)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Who measured a tool call in this server's place.
    pub fn via(&self) -> String {
        format!("{VIA}{}", self.0)
    }

    /// The provider under which its messages are recorded.
    pub fn provider(&self) -> Provider {
        Provider::parse(&format!("{PREFIX}{}", self.0)).expect("a server's name is part of a provider's")
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fit_for_providers_and_come_back() {
        for (said, name) in [("everything", "everything"), ("My Files!", "my_files_"), ("a.b/c", "a_b_c")] {
            let server = ServerName::parse(said).unwrap();
            assert_eq!(server.as_str(), name);
            assert!(is_mcp(&server.provider()));
            assert_eq!(ServerName::of(&server.provider()), Some(server));
        }
        assert_eq!(ServerName::parse(" "), None);
        assert_eq!(ServerName::parse("--"), None);
        assert_eq!(ServerName::of(&Provider::OPENAI), None);
        let long = ServerName::parse(&"x".repeat(99)).unwrap();
        assert_eq!(ServerName::of(&long.provider()), Some(long));
    }

    #[test]
    fn commands_name_their_servers() {
        for (command, name) in [
            ("npx -y @modelcontextprotocol/server-everything@2025.1 stdio", "server-everything"),
            ("python -m mcp_server_time --local-timezone UTC", "mcp_server_time"),
            ("uvx mcp-server-git", "mcp-server-git"),
            ("node dist/index.js", "index"),
            ("/opt/venv/bin/python3 /srv/tools.py", "tools"),
            ("docker run -i --rm mcp/fetch", "fetch"),
        ] {
            assert_eq!(ServerName::of_command(command.split(' ')).unwrap().as_str(), name, "{command}");
        }
        assert_eq!(ServerName::of_command(["node"]), None);
    }
}
