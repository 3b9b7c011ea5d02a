//! Configuration files for agents that take no base URL from the environment.
//!
//! They live in a private folder that goes with the run; the user's own files are linked or read, never
//! changed. The folder's path follows from the trace, because agents put it into their prompts: a replay
//! has to find it where the recording had it. It stands under the user's cache folder, because agents
//! refuse to trust configuration under a folder that others may write to.

use super::agent_hooks::{self, Agent};
use super::mcp_config::{self, Redirect, Servers};
use super::tool_hooks::AgentPlugins;
use looptape_core::Digest;
use looptape_core::mcp::ServerName;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Runs of one trace that may be under way at once and still have a path of their own.
const MOST_AT_ONCE: u32 = 8;

/// Where gemini-cli has its system settings if nothing says otherwise.
const GEMINI_SYSTEM_SETTINGS: &str = "/etc/gemini-cli/settings.json";

/// A run: the agent's command line, the run's base (`http://127.0.0.1:PORT/t/TRACE`) and its trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) command: &'a [OsString],
    pub(crate) base: &'a str,
    pub(crate) trace: &'a str,
    /// Where its MCP servers are led.
    pub(crate) mcp: &'a Redirect<'a>,
    /// What it is given so that it asks before its own tools run; `None` if it is to ask nobody.
    pub(crate) asks: Option<&'a AgentPlugins>,
}

/// What the run's agent gets beyond base-URL variables. The files go when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Variables that point to the files.
    pub(crate) variables: Vec<(String, String)>,
    /// Its command line, where that names files which others take the place of, or a plugin is added.
    pub(crate) command: Option<Vec<OsString>>,
    /// Coding agents on the command line that were given hooks.
    pub(crate) hooked: Vec<Agent>,
    _folder: Option<RunFolder>,
}

impl Overlay {
    /// Writes what the run's agent needs; most agents need nothing.
    pub(crate) fn prepare(run: Run<'_>, parent: &dyn Fn(&str) -> Option<String>) -> io::Result<Self> {
        let home = parent("HOME").map(PathBuf::from).or_else(std::env::home_dir);
        let codex = codex_own_home(run.command, home.as_deref(), parent);
        let gemini = uses_gemini(run.command, home.as_deref());
        let claude = ClaudeServers::of(run.command, home.as_deref());
        let mut overlay = Self::default();
        overlay.give_plugins(&run, home.as_deref(), parent);
        if codex.is_none() && !gemini && claude.is_none() {
            return Ok(overlay);
        }
        let variables = &mut overlay.variables;
        let folder = RunFolder::create(&cache(home.as_deref(), parent), run.trace)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        if let Some(codex) = codex {
            variables.push(("CODEX_HOME".into(), text(&codex_home(folder.path(), &codex, &run)?)));
        }
        if gemini {
            let own = gemini_system_settings(parent);
            let servers =
                home.as_deref().map(|home| mcp_config::gemini_servers(home, &working_folder(), &own));
            let file = gemini_settings(folder.path(), own, &servers.unwrap_or_default(), &run)?;
            variables.push(("GEMINI_CLI_SYSTEM_SETTINGS_PATH".into(), text(&file)));
        }
        if let Some(claude) = claude {
            let command = overlay.command.as_deref().unwrap_or(run.command);
            overlay.command = Some(claude.led(folder.path(), &Run { command, ..run })?);
        }
        overlay._folder = Some(folder);
        Ok(overlay)
    }

    /// Hooks that need no folder of the run, and what all of them need.
    fn give_plugins(&mut self, run: &Run<'_>, home: Option<&Path>, parent: &dyn Fn(&str) -> Option<String>) {
        const OPENCODE: &str = "OPENCODE_CONFIG_CONTENT";
        let Some(plugins) = run.asks else { return };
        let this = run.mcp.looptape.to_string_lossy().into_owned();
        self.variables.push((agent_hooks::VARIABLE.into(), this));
        if let Some(config) = agent_hooks::opencode_config(parent(OPENCODE).as_deref(), &plugins.opencode)
            && uses_opencode(run.command, home)
        {
            self.variables.push((OPENCODE.into(), config));
        }
        let named = [("codex", Agent::Codex), ("gemini", Agent::GeminiCli), ("opencode", Agent::OpenCode)];
        let on_it = named.iter().filter(|(word, _)| names(run.command, word));
        self.hooked.extend(on_it.map(|(_, agent)| *agent));
        if let Some(at) = mcp_config::claude_at(run.command) {
            self.command = Some(agent_hooks::claude_command(run.command, at, &plugins.claude_code));
            self.hooked.push(Agent::ClaudeCode);
        }
    }
}

fn uses_opencode(command: &[OsString], home: Option<&Path>) -> bool {
    let has = |folder: &str| home.is_some_and(|home| home.join(folder).join("opencode").exists());
    has(".config") || has(".local/share") || names(command, "opencode")
}

/// Where the MCP servers are that agents reach over HTTP: a recording forwards to them.
pub(crate) fn mcp_upstreams(
    command: &[OsString],
    parent: &dyn Fn(&str) -> Option<String>,
) -> Vec<(ServerName, String)> {
    let home = parent("HOME").map(PathBuf::from).or_else(std::env::home_dir);
    let home = home.as_deref();
    let mut tables = Vec::new();
    if let Some(codex) = codex_own_home(command, home, parent) {
        tables.push(codex_servers(&codex_config(&codex)));
    }
    if let Some(home) = home.filter(|_| uses_gemini(command, home)) {
        tables.push(mcp_config::gemini_servers(home, &working_folder(), &gemini_system_settings(parent)));
    }
    if let Some(claude) = ClaudeServers::of(command, home) {
        tables.extend(claude.flags.iter().map(|(_, table)| mcp_config::servers_in(table, "mcpServers")));
        tables.push(claude.configured);
    }
    tables.iter().flat_map(mcp_config::upstreams).collect()
}

fn working_folder() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

fn codex_own_home(
    command: &[OsString],
    home: Option<&Path>,
    parent: &dyn Fn(&str) -> Option<String>,
) -> Option<PathBuf> {
    let codex = parent("CODEX_HOME").map(PathBuf::from).or_else(|| Some(home?.join(".codex")));
    codex.filter(|folder| folder.exists() || names(command, "codex"))
}

fn uses_gemini(command: &[OsString], home: Option<&Path>) -> bool {
    home.is_some_and(|home| home.join(".gemini").exists()) || names(command, "gemini")
}

/// The MCP servers of a claude-code on the command line.
#[derive(Debug)]
struct ClaudeServers {
    at: usize,
    flags: Vec<(usize, serde_json::Value)>,
    configured: Servers,
}

impl ClaudeServers {
    /// `None` if there is no claude-code, or it has none.
    fn of(command: &[OsString], home: Option<&Path>) -> Option<Self> {
        let at = mcp_config::claude_at(command)?;
        let flags = mcp_config::claude_flags(command);
        let configured = match home.filter(|_| !mcp_config::claude_is_strict(command)) {
            Some(home) => mcp_config::claude_servers(home, &working_folder()),
            None => Servers::new(),
        };
        (!flags.is_empty() || !configured.is_empty()).then_some(Self { at, flags, configured })
    }

    /// The command line with files in which they are led here.
    fn led(&self, folder: &Path, run: &Run<'_>) -> io::Result<Vec<OsString>> {
        let write = |name: String, servers: &Servers| {
            let file = folder.join(name);
            let text = serde_json::json!({ "mcpServers": run.mcp.servers(servers) }).to_string();
            fs::write(&file, text).map(|()| file)
        };
        let mut in_places = Vec::new();
        for (nth, (at, table)) in self.flags.iter().enumerate() {
            let servers = mcp_config::servers_in(table, "mcpServers");
            in_places.push((*at, write(format!("claude-mcp-{nth}.json"), &servers)?));
        }
        let also = match self.configured.is_empty() {
            true => None,
            false => Some(write("claude-mcp.json".to_owned(), &self.configured)?),
        };
        Ok(mcp_config::claude_command(run.command, self.at, &in_places, also.as_deref()))
    }
}

/// Whether a word of the command line names the agent: `codex`, `npx @openai/codex`, `sh -c 'codex exec'`.
fn names(command: &[OsString], agent: &str) -> bool {
    command.iter().map(OsString::as_os_str).map(OsStr::to_string_lossy).any(|word| word.contains(agent))
}

/// The user's cache folder; one for temporary files if there is none.
pub(super) fn cache(home: Option<&Path>, parent: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let stated = parent("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    stated.or_else(|| Some(home?.join(".cache"))).unwrap_or_else(std::env::temp_dir)
}

/// Codex reads its base URL from `config.toml` only.
fn codex_home(folder: &Path, own_home: &Path, run: &Run<'_>) -> io::Result<PathBuf> {
    let home = folder.join("codex");
    fs::create_dir_all(&home)?;
    for entry in fs::read_dir(own_home).into_iter().flatten().flatten() {
        if entry.file_name() != "config.toml" {
            symlink(entry.path(), home.join(entry.file_name()))?;
        }
    }
    let mut config = codex_config(own_home);
    config.insert("openai_base_url".into(), format!("{}/openai/v1", run.base).into());
    let servers = codex_servers(&config);
    // What cannot be written as TOML stays as the user has it.
    if let Ok(led) = toml::Value::try_from(run.mcp.servers(&servers))
        && !servers.is_empty()
    {
        config.insert(CODEX_SERVERS.into(), led);
    }
    let file = home.join("config.toml");
    if run.asks.is_some() {
        agent_hooks::add_to_codex(&mut config, &file);
    }
    fs::write(file, config.to_string())?;
    Ok(home)
}

/// The table of codex' MCP servers.
const CODEX_SERVERS: &str = "mcp_servers";

fn codex_config(own_home: &Path) -> toml::Table {
    let own = fs::read_to_string(own_home.join("config.toml")).unwrap_or_default();
    own.parse().unwrap_or_default()
}

fn codex_servers(config: &toml::Table) -> Servers {
    let servers = config.get(CODEX_SERVERS).and_then(|servers| serde_json::to_value(servers).ok());
    servers.and_then(|servers| servers.as_object().cloned()).unwrap_or_default()
}

/// What an administrator set for gemini-cli, if it is plain JSON.
fn gemini_system_settings(parent: &dyn Fn(&str) -> Option<String>) -> serde_json::Value {
    let own = parent("GEMINI_CLI_SYSTEM_SETTINGS_PATH").unwrap_or_else(|| GEMINI_SYSTEM_SETTINGS.into());
    mcp_config::read_json(Path::new(&own))
}

/// gemini-cli honours its base URL only with key authentication. Settings that are there already stay, if
/// they are plain JSON.
fn gemini_settings(
    folder: &Path,
    mut settings: serde_json::Value,
    servers: &Servers,
    run: &Run<'_>,
) -> io::Result<PathBuf> {
    let file = folder.join("gemini-settings.json");
    if !settings["security"]["auth"].is_object() {
        let kept = settings["security"].take();
        let kept = if kept.is_object() { kept } else { serde_json::json!({}) };
        settings = if settings.is_object() { settings } else { serde_json::json!({}) };
        settings["security"] = kept;
        settings["security"]["auth"] = serde_json::json!({});
    }
    settings["security"]["auth"]["selectedType"] = "gemini-api-key".into();
    if !servers.is_empty() {
        settings["mcpServers"] = run.mcp.servers(servers).into();
    }
    if run.asks.is_some() {
        agent_hooks::add_to_gemini(&mut settings);
    }
    fs::write(&file, settings.to_string())?;
    Ok(file)
}

/// The run's private folder. Removed when dropped.
#[derive(Debug)]
enum RunFolder {
    /// Its path follows from the trace. The lock lasts as long as the run.
    OfTrace { path: PathBuf, lock: PathBuf, _locked: File },
    /// Where no cache folder can be written, or too many runs of one trace are under way.
    Somewhere(TempDir),
}

impl RunFolder {
    fn create(cache: &Path, trace: &str) -> io::Result<Self> {
        let parent = cache.join("looptape").join("runs");
        let of_trace = (1..=MOST_AT_ONCE).find_map(|nth| Self::lock(&parent, trace, nth));
        if let Some(folder) = of_trace {
            return Ok(folder);
        }
        let folder = tempfile::Builder::new().prefix("looptape-run-").tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700))?;
        Ok(Self::Somewhere(folder))
    }

    /// The `nth` folder of a trace; `None` if another run has it, or it cannot be made.
    fn lock(parent: &Path, trace: &str, nth: u32) -> Option<Self> {
        // An id may hold anything; its digest is a file name.
        let name = &Digest::of(trace.as_bytes()).to_string()[..16];
        let name = if nth == 1 { name.to_owned() } else { format!("{name}-{nth}") };
        let (path, lock) = (parent.join(&name), parent.join(format!("{name}.lock")));
        fs::create_dir_all(parent).ok()?;
        let locked = File::create(&lock).ok()?;
        match locked.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
        }
        // What a run left behind that was killed. Links in it are removed, not what they point to.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).ok()?;
        fs::set_permissions(&path, Permissions::from_mode(0o700)).ok()?;
        Some(Self::OfTrace { path, lock, _locked: locked })
    }

    fn path(&self) -> &Path {
        match self {
            Self::OfTrace { path, .. } => path,
            Self::Somewhere(folder) => folder.path(),
        }
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // A folder that stays is replaced by the next run of the trace.
        if let Self::OfTrace { path, lock, .. } = self {
            let _ = fs::remove_dir_all(path);
            let _ = fs::remove_file(lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::environment::Mode;

    fn redirect() -> Redirect<'static> {
        Redirect { mode: Mode::Record, origin: "http://p", trace: "1", looptape: "/bin/looptape".into() }
    }

    fn prepare(home: &Path, command: &[&str], trace: &str) -> Overlay {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let parent = |name: &str| (name == "HOME").then(|| home.to_string_lossy().into_owned());
        Overlay::prepare(
            Run { command: &command, base: "http://p/t/1", trace, mcp: &redirect(), asks: None },
            &parent,
        )
        .unwrap()
    }

    fn variable(overlay: &Overlay, name: &str) -> Option<PathBuf> {
        overlay.variables.iter().find(|(n, _)| n == name).map(|(_, value)| PathBuf::from(value))
    }

    #[test]
    fn codex_keeps_the_users_settings() {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join(".codex");
        fs::create_dir(&own).unwrap();
        let text = "model = \"m\"\n[profiles.x]\nmodel = \"y\"\n[mcp_servers.a]\ncommand = \"uvx\"\nargs = [\"s\"]\n";
        fs::write(own.join("config.toml"), text).unwrap();
        fs::write(own.join("auth.json"), "{}").unwrap();
        let overlay = prepare(home.path(), &["/usr/bin/codex"], "1");
        let folder = variable(&overlay, "CODEX_HOME").unwrap();
        let config: toml::Table = fs::read_to_string(folder.join("config.toml")).unwrap().parse().unwrap();
        assert_eq!(config["openai_base_url"].as_str(), Some("http://p/t/1/openai/v1"));
        assert_eq!(config["profiles"]["x"]["model"].as_str(), Some("y"));
        assert_eq!(config["mcp_servers"]["a"]["command"].as_str(), Some("/bin/looptape"));
        assert_eq!(config["mcp_servers"]["a"]["env"]["LOOPTAPE_MODE"].as_str(), Some("record"));
        assert!(folder.join("auth.json").exists());
        drop(overlay);
        assert!(!folder.exists(), "the folder goes with the run");
        assert!(fs::read_to_string(own.join("config.toml")).unwrap().starts_with("model = \"m\""));
        assert!(own.join("auth.json").exists(), "links are removed, not what they point to");
    }

    #[test]
    fn the_path_follows_from_the_trace_and_runs_at_once_do_not_share_it() {
        let home = tempfile::tempdir().unwrap();
        let folder = |overlay: &Overlay| variable(overlay, "CODEX_HOME").unwrap();
        let first = prepare(home.path(), &["codex"], "a");
        let path = folder(&first);
        let beside = prepare(home.path(), &["codex"], "a");
        assert_ne!(folder(&beside), path);
        assert_ne!(folder(&prepare(home.path(), &["codex"], "b")), path);
        drop((first, beside));
        fs::create_dir_all(path.join("left by a killed run")).unwrap();
        let again = prepare(home.path(), &["npx", "@openai/codex", "exec"], "a");
        assert_eq!(folder(&again), path);
        assert!(!path.join("left by a killed run").exists());
    }

    #[test]
    fn gemini_keeps_system_settings() {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join("system.json");
        let text = r#"{"telemetry":{"enabled":false},"security":{"folderTrust":{"enabled":true}}}"#;
        fs::write(&own, text).unwrap();
        let parent = |name: &str| match name {
            "HOME" => Some(home.path().to_string_lossy().into_owned()),
            "GEMINI_CLI_SYSTEM_SETTINGS_PATH" => Some(own.to_string_lossy().into_owned()),
            _ => None,
        };
        let command = [OsString::from("gemini")];
        let redirect = redirect();
        let run = Run { command: &command, base: "http://p", trace: "1", mcp: &redirect, asks: None };
        let overlay = Overlay::prepare(run, &parent).unwrap();
        let file = variable(&overlay, "GEMINI_CLI_SYSTEM_SETTINGS_PATH").unwrap();
        let settings: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(settings["security"]["auth"]["selectedType"], "gemini-api-key");
        assert_eq!(settings["security"]["folderTrust"]["enabled"], true);
        assert_eq!(settings["telemetry"]["enabled"], false);
    }

    #[test]
    fn other_agents_get_no_files() {
        let home = tempfile::tempdir().unwrap();
        let overlay = prepare(home.path(), &["python", "agent.py"], "1");
        assert!(overlay.variables.is_empty());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
