//! Hooks in coding agents, for the tools that they bring along: in a replay the agent asks before one runs.
//!
//! Each agent is given them in the way that it has for hooks, beside the user's own: a plugin on its command line
//! (claude-code), a table in the configuration that is laid over its own (codex, gemini-cli), a plugin that a variable
//! names (opencode). They are one program, [`crate::commands`]'s `agent-hook`, but for opencode's, whose plugins are
//! JavaScript. A recording needs none: the model traffic holds what the tools gave.
//!
//! Only tools that look at the world or change it are asked about. What an agent keeps for itself (plans, to-do lists,
//! sub-agents, skills) goes on as it is, or its next requests would be others.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::path::Path;

/// A coding agent with hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Agent {
    ClaudeCode,
    Codex,
    GeminiCli,
    /// Its hooks are not this program.
    #[value(skip)]
    OpenCode,
}

/// What becomes of a tool before which the agent asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnTool {
    /// It may change something, so it does not run unless the replay says so.
    Acts,
    /// It only reads: it does not run if its result is recorded, and may run if it is not.
    Reads,
    /// It runs, because the agent keeps books on what it read or started; the model is told what was recorded.
    KeepsBooks,
}

/// The variable that names this program to agents' hooks.
pub(crate) const VARIABLE: &str = "LOOPTAPE_AGENT_HOOK";

const CLAUDE_CODE: &[(&str, OwnTool)] = &[
    ("Bash", OwnTool::Acts),
    ("PowerShell", OwnTool::Acts),
    ("Edit", OwnTool::Acts),
    ("MultiEdit", OwnTool::Acts),
    ("Write", OwnTool::Acts),
    ("NotebookEdit", OwnTool::Acts),
    ("EnterWorktree", OwnTool::Acts),
    ("ExitWorktree", OwnTool::Acts),
    ("Glob", OwnTool::Reads),
    ("Grep", OwnTool::Reads),
    ("LS", OwnTool::Reads),
    ("LSP", OwnTool::Reads),
    ("WebFetch", OwnTool::Reads),
    ("Read", OwnTool::KeepsBooks),
    ("BashOutput", OwnTool::KeepsBooks),
    ("KillShell", OwnTool::KeepsBooks),
    ("TaskOutput", OwnTool::KeepsBooks),
    ("TaskStop", OwnTool::KeepsBooks),
];

/// As its hooks name them; the model knows `Bash` by one of several names.
const CODEX: &[(&str, OwnTool)] = &[("Bash", OwnTool::Acts), ("apply_patch", OwnTool::Acts)];
const CODEX_SHELLS: &[&str] =
    &["container.exec", "exec_command", "local_shell", "shell", "shell_command", "write_stdin"];

const GEMINI_CLI: &[(&str, OwnTool)] = &[
    ("run_shell_command", OwnTool::Acts),
    ("write_file", OwnTool::Acts),
    ("replace", OwnTool::Acts),
    ("save_memory", OwnTool::Acts),
    ("list_directory", OwnTool::Reads),
    ("glob", OwnTool::Reads),
    ("grep_search", OwnTool::Reads),
    ("search_file_content", OwnTool::Reads),
    ("read_many_files", OwnTool::Reads),
    ("read_file", OwnTool::KeepsBooks),
];

/// The plugin (`hooks/opencode`) has the same.
const OPENCODE: &[(&str, OwnTool)] = &[
    ("apply_patch", OwnTool::Acts),
    ("bash", OwnTool::Acts),
    ("edit", OwnTool::Acts),
    ("multiedit", OwnTool::Acts),
    ("patch", OwnTool::Acts),
    ("write", OwnTool::Acts),
];

impl Agent {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::GeminiCli => "gemini-cli",
            Self::OpenCode => "opencode",
        }
    }

    fn tools(self) -> &'static [(&'static str, OwnTool)] {
        match self {
            Self::ClaudeCode => CLAUDE_CODE,
            Self::Codex => CODEX,
            Self::GeminiCli => GEMINI_CLI,
            Self::OpenCode => OPENCODE,
        }
    }

    /// One that is not known may do anything.
    pub(crate) fn tool(self, name: &str) -> OwnTool {
        let known = self.tools().iter().find(|(tool, _)| *tool == name);
        known.map_or(OwnTool::Acts, |(_, tool)| *tool)
    }

    /// Tools of which none runs without a question, as the model knows them.
    pub(crate) fn asks_for(self) -> Vec<&'static str> {
        let shells = if self == Self::Codex { CODEX_SHELLS } else { &[] };
        self.tools().iter().map(|(name, _)| *name).chain(shells.iter().copied()).collect()
    }

    fn command(self) -> String {
        format!("\"${VARIABLE}\" {} {}", crate::commands::AGENT_HOOK, self.as_str())
    }

    /// A pattern of the tools that it asks about.
    fn matcher(self) -> String {
        let names: Vec<&str> = self.tools().iter().map(|(name, _)| *name).collect();
        format!("^({})$", names.join("|"))
    }
}

/// claude-code's command line with the plugin.
pub(crate) fn claude_command(command: &[OsString], program_at: usize, plugin: &Path) -> Vec<OsString> {
    let mut words = command.to_vec();
    let mut word = OsString::from("--plugin-dir=");
    word.push(plugin);
    words.insert(program_at + 1, word);
    words
}

/// Adds the hooks to gemini-cli's settings.
pub(crate) fn add_to_gemini(settings: &mut Value) {
    let hook = json!([{ "type": "command", "name": "looptape", "command": Agent::GeminiCli.command() }]);
    let ours = [
        ("SessionStart", json!({ "hooks": hook })),
        ("BeforeTool", json!({ "matcher": Agent::GeminiCli.matcher(), "hooks": hook })),
    ];
    for (event, group) in ours {
        match settings["hooks"][event].as_array_mut() {
            Some(groups) => groups.push(group),
            None => settings["hooks"][event] = json!([group]),
        }
    }
}

/// Adds the hooks to a configuration of codex that will be at `path`. codex runs only hooks that the user has looked at: it
/// keeps a digest of each, by its place, and these vouch for themselves.
pub(crate) fn add_to_codex(config: &mut toml::Table, path: &Path) {
    for (event, label, matcher) in [
        ("PreToolUse", "pre_tool_use", Some(Agent::Codex.matcher())),
        ("SessionStart", "session_start", None),
    ] {
        let command = Agent::Codex.command();
        let Some(hooks) = table_in(config, "hooks") else { return };
        let groups = hooks.entry(event).or_insert_with(|| toml::Value::Array(Vec::new()));
        let Some(groups) = groups.as_array_mut() else { return };
        let nth = groups.len();
        let mut hook = toml::Table::new();
        hook.insert("type".into(), "command".into());
        hook.insert("command".into(), command.clone().into());
        let mut group = toml::Table::new();
        group.extend(matcher.clone().map(|matcher| ("matcher".to_owned(), matcher.into())));
        group.insert("hooks".into(), vec![toml::Value::Table(hook)].into());
        groups.push(group.into());
        let key = format!("{}:{label}:{nth}:0", path.display());
        let Some(state) = table_in(hooks, "state").and_then(|state| table_in(state, &key)) else { return };
        state.insert("trusted_hash".into(), codex_digest(label, matcher.as_deref(), &command).into());
    }
}

fn table_in<'t>(table: &'t mut toml::Table, name: &str) -> Option<&'t mut toml::Table> {
    table.entry(name).or_insert_with(|| toml::Table::new().into()).as_table_mut()
}

/// codex's digest of a hook with no settings beside its command: of what it is, as JSON with sorted keys.
fn codex_digest(event: &str, matcher: Option<&str>, command: &str) -> String {
    const TIMEOUT_S: u32 = 600;
    let hook = json!({ "async": false, "command": command, "timeout": TIMEOUT_S, "type": "command" });
    let mut identity = json!({ "event_name": event, "hooks": [hook] });
    if let Some(matcher) = matcher {
        identity["matcher"] = matcher.into();
    }
    let digest = Sha256::digest(identity.to_string().as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// opencode's settings of this run, with the plugin; `None` if those that are there cannot be read.
pub(crate) fn opencode_config(before: Option<&str>, plugin: &Path) -> Option<String> {
    let before = before.map(str::trim).filter(|config| !config.is_empty());
    let mut config: Value = match before {
        Some(config) => serde_json::from_str(config).ok()?,
        None => json!({}),
    };
    let plugin = json!(url::Url::from_file_path(plugin).ok()?.as_str());
    let plugins = config.as_object_mut()?.entry("plugin").or_insert_with(|| json!([]));
    plugins.as_array_mut()?.push(plugin);
    Some(config.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hooks of claude-code's plugin.
    fn claude_hooks() -> Value {
        let hook = json!([{ "type": "command", "command": Agent::ClaudeCode.command() }]);
        json!({ "hooks": {
            // A hook at the session's start would keep the agent from naming its session.
            "UserPromptSubmit": [{ "hooks": hook }],
            "PreToolUse": [{ "matcher": Agent::ClaudeCode.matcher(), "hooks": hook }],
        } })
    }

    #[test]
    fn the_plugin_of_claude_code_has_these_hooks() {
        let file: Value =
            serde_json::from_str(include_str!("../../hooks/claude-code/hooks/hooks.json")).unwrap();
        assert_eq!(file, claude_hooks());
    }

    #[test]
    fn the_users_own_hooks_of_codex_stay_and_ours_are_vouched_for() {
        let own = "[[hooks.PreToolUse]]\n[[hooks.PreToolUse.hooks]]\ntype = \"command\"\ncommand = \"own\"\n";
        let mut config: toml::Table = own.parse().unwrap();
        add_to_codex(&mut config, Path::new("/run/config.toml"));
        let groups = config["hooks"]["PreToolUse"].as_array().unwrap();
        assert_eq!(groups[0]["hooks"][0]["command"].as_str(), Some("own"));
        assert_eq!(groups[1]["matcher"].as_str(), Some("^(Bash|apply_patch)$"));
        let state = config["hooks"]["state"].as_table().unwrap();
        assert_eq!(
            state.keys().collect::<Vec<_>>(),
            ["/run/config.toml:pre_tool_use:1:0", "/run/config.toml:session_start:0:0"]
        );
        let mut odd: toml::Table = "hooks = 1".parse().unwrap();
        add_to_codex(&mut odd, Path::new("/x"));
        assert_eq!(odd["hooks"].as_integer(), Some(1), "what is not understood is left alone");
    }

    /// Two digests that codex-cli 0.169 was seen to accept.
    #[test]
    fn codex_digests() {
        let command = "\"$LOOPTAPE_AGENT_HOOK\" x codex";
        let of_tools = codex_digest("pre_tool_use", Some("Bash|apply_patch"), command);
        insta::assert_snapshot!(of_tools, @"sha256:80076603afc8523f4a89d1b1facf7653f4991cd1bfb75332a6b662fe680205d2");
        insta::assert_snapshot!(codex_digest("session_start", None, command), @"sha256:7765661b4d43315610c6db72e1c76af8f4096fc33e730130195b11dca8c6d070");
    }

    #[test]
    fn settings_of_the_user_stay() {
        let mut settings = json!({ "hooks": { "BeforeTool": [{ "hooks": ["own"] }] }, "a": 1 });
        add_to_gemini(&mut settings);
        let groups = settings["hooks"]["BeforeTool"].as_array().unwrap();
        assert_eq!((groups.len(), &groups[0]["hooks"][0], &settings["a"]), (2, &json!("own"), &json!(1)));
        assert_eq!(settings["hooks"]["SessionStart"].as_array().unwrap().len(), 1);

        let plugin = Path::new("/a b/looptape.js");
        let with = |before| opencode_config(before, plugin);
        insta::assert_snapshot!(with(None).unwrap(), @r#"{"plugin":["file:///a%20b/looptape.js"]}"#);
        insta::assert_snapshot!(with(Some(r#"{"model":"m","plugin":["own"]}"#)).unwrap(), @r#"{"model":"m","plugin":["own","file:///a%20b/looptape.js"]}"#);
        assert_eq!((with(Some("{")), with(Some("[]"))), (None, None));
    }

    #[test]
    fn every_tool_is_matched_and_no_other() {
        assert_eq!(Agent::Codex.matcher(), "^(Bash|apply_patch)$");
        assert_eq!(Agent::ClaudeCode.tool("Read"), OwnTool::KeepsBooks);
        assert_eq!(Agent::ClaudeCode.tool("Unheard"), OwnTool::Acts);
        assert!(Agent::Codex.asks_for().contains(&"write_stdin"));
    }
}
