//! Hooks into the tools of agent frameworks and coding agents, in the child and in its own children: no code of the agent
//! changes.
//!
//! A `sitecustomize` on `PYTHONPATH`, a module that `NODE_OPTIONS` preloads, and plugins of agents that load such
//! ([`super::agent_hooks`]); which frameworks they know, and how they speak to looptape (`docs/tools.md`), is theirs. They are files (`hooks/`), which the binary carries and writes to a
//! folder under the user's cache that is named after what is in it: the same path in a recording and in its replay, shared
//! by runs, and made anew if anything in it is not as it should be.

use super::environment::{Mode, Variables, node_word};
use super::overlay::cache;
use anyhow::Context;
use looptape_core::Digest;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../../hooks/", $name)))),*] };
}

const FILES: &[(&str, &str)] = files![
    "claude-code/.claude-plugin/plugin.json",
    "claude-code/hooks/hooks.json",
    "node/endpoint.cjs",
    "node/forms.cjs",
    "node/frameworks.cjs",
    "node/hooks.cjs",
    "node/loader.mjs",
    "node/sources.cjs",
    "node/tool_call.cjs",
    "opencode/looptape.js",
    "python/looptape_hooks/__init__.py",
    "python/looptape_hooks/aider.py",
    "python/looptape_hooks/asking.py",
    "python/looptape_hooks/claude_agent_sdk.py",
    "python/looptape_hooks/endpoint.py",
    "python/looptape_hooks/forms.py",
    "python/looptape_hooks/langchain.py",
    "python/looptape_hooks/mini_swe_agent.py",
    "python/looptape_hooks/openai_agents.py",
    "python/looptape_hooks/pydantic_ai.py",
    "python/looptape_hooks/smolagents.py",
    "python/looptape_hooks/tool_call.py",
    "python/sitecustomize.py",
];

/// What becomes of the tools of agent frameworks in a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameworkTools {
    /// Measured in a recording, answered in a replay.
    Hooked,
    /// They run, and nobody sees it.
    LeftAlone,
}

/// The same as an option.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ToolHooksArgs {
    /// Leave the tools of agent frameworks and coding agents alone. Without this, function tools of LangChain, LangGraph,
    /// OpenAI Agents, pydantic-ai, smolagents and the Vercel AI SDK are measured in a recording, and in a replay their
    /// results come from it instead of from the functions; and so do those of the shells and edits of claude-code, codex,
    /// opencode, gemini-cli and mini-swe-agent
    #[arg(long, requires = "command")]
    no_tool_hooks: bool,
}

impl ToolHooksArgs {
    pub(crate) fn tools(self) -> FrameworkTools {
        if self.no_tool_hooks { FrameworkTools::LeftAlone } else { FrameworkTools::Hooked }
    }
}

/// The hooks, written down.
#[derive(Debug, Default)]
#[must_use = "the child's hooks are there as long as this lives"]
pub(crate) struct ToolHooks {
    /// For the child.
    pub(crate) variables: Variables,
    /// Where they are.
    folder: Option<PathBuf>,
    _own: Option<TempDir>,
}

/// Plugins of coding agents.
#[derive(Clone, Debug)]
pub(crate) struct AgentPlugins {
    pub(crate) claude_code: PathBuf,
    pub(crate) opencode: PathBuf,
}

impl ToolHooks {
    /// The hooks for a child. Where they cannot be written, a recording goes on without them; a replay would run the
    /// tools again, and does not.
    pub(crate) fn prepare(
        tools: FrameworkTools,
        mode: Mode,
        parent: &dyn Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        if tools == FrameworkTools::LeftAlone {
            return Ok(Self::default());
        }
        match (Self::written(parent), mode) {
            (Ok(hooks), _) => Ok(hooks),
            (Err(error), Mode::Record) => {
                anstream::eprintln!("looptape: tools are not measured: {error:#}");
                Ok(Self::default())
            }
            (Err(error), Mode::Replay) => Err(error.context(
                "the hooks that keep tools from running cannot be set up; with --no-tool-hooks the agent's tools run",
            )),
        }
    }

    fn written(parent: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let home = parent("HOME").map(PathBuf::from).or_else(std::env::home_dir);
        let shared = cache(home.as_deref(), parent).join("looptape").join("hooks").join(name());
        let (folder, own) = match shared_folder(&shared) {
            Ok(()) => (shared, None),
            // No cache folder can be written: a folder of this run alone.
            Err(_) => {
                let own = tempfile::Builder::new().prefix("looptape-hooks-").tempdir();
                let own = own.context("no folder can be made for the tool hooks")?;
                write(own.path()).with_context(|| format!("{} cannot be written", own.path().display()))?;
                (own.path().to_owned(), Some(own))
            }
        };
        let text = folder.to_str().context("the cache folder's path is no text: set XDG_CACHE_HOME")?;
        Ok(Self { variables: variables(text, parent), folder: Some(folder), _own: own })
    }

    /// What coding agents are given, if their tools are not left alone.
    pub(crate) fn for_agents(&self) -> Option<AgentPlugins> {
        let folder = self.folder.as_deref()?;
        Some(AgentPlugins {
            claude_code: folder.join("claude-code"),
            opencode: folder.join("opencode/looptape.js"),
        })
    }
}

fn variables(folder: &str, parent: &dyn Fn(&str) -> Option<String>) -> Variables {
    let before = |name: &str, own: String, separator: char| match parent(name).filter(|v| !v.is_empty()) {
        Some(others) => format!("{own}{separator}{others}"),
        None => own,
    };
    let preload = format!("--require {}", node_word(&format!("{folder}/node/hooks.cjs")));
    vec![
        ("PYTHONPATH".into(), before("PYTHONPATH", format!("{folder}/python"), ':')),
        ("NODE_OPTIONS".into(), before("NODE_OPTIONS", preload, ' ')),
    ]
}

/// A name that follows from the files.
fn name() -> String {
    let all: Vec<u8> =
        FILES.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()].concat()).collect();
    Digest::of(&all).to_string()[..16].to_owned()
}

/// Makes the folder what it should be. Others may do the same at the same time.
fn shared_folder(folder: &Path) -> io::Result<()> {
    let is_as_it_should = || {
        FILES
            .iter()
            .all(|(name, text)| fs::read(folder.join(name)).is_ok_and(|found| found == text.as_bytes()))
    };
    if is_as_it_should() {
        return Ok(());
    }
    let parent = folder.parent().expect("the folder was joined to its parent");
    fs::create_dir_all(parent)?;
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
    write(new.path())?;
    if fs::rename(new.path(), folder).is_err() {
        // Another run was faster, or what is there is damaged.
        if is_as_it_should() {
            return Ok(());
        }
        fs::remove_dir_all(folder)?;
        fs::rename(new.path(), folder)?;
    }
    Ok(())
}

fn write(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for (name, text) in FILES {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().expect("every file's name has a folder"))?;
        fs::write(file, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(home: &Path) -> Variables {
        let parent = |name: &str| match name {
            "HOME" => Some(home.to_string_lossy().into_owned()),
            "PYTHONPATH" => Some("/own".to_owned()),
            "NODE_OPTIONS" => Some("--enable-source-maps".to_owned()),
            _ => None,
        };
        ToolHooks::prepare(FrameworkTools::Hooked, Mode::Replay, &parent).unwrap().variables
    }

    #[test]
    fn the_files_are_shared_and_made_anew_when_damaged() {
        let home = tempfile::tempdir().unwrap();
        let first = prepare(home.path());
        let path = first[0].1.strip_suffix(":/own").unwrap();
        let file = Path::new(path).join("sitecustomize.py");
        let whole = fs::read(&file).unwrap();
        fs::write(&file, "import nothing").unwrap();
        assert_eq!(prepare(home.path()), first);
        assert_eq!(fs::read(&file).unwrap(), whole);
        let beside = fs::read_dir(home.path().join(".cache/looptape/hooks")).unwrap().count();
        assert_eq!(beside, 1, "nothing is left beside the folder");
    }

    #[test]
    fn what_the_user_has_there_stays() {
        let set = variables("/a b/hooks", &|name| (name == "NODE_OPTIONS").then(|| "--inspect".to_owned()));
        assert_eq!(
            set,
            [
                ("PYTHONPATH".to_owned(), "/a b/hooks/python".to_owned()),
                ("NODE_OPTIONS".to_owned(), "--require \"/a b/hooks/node/hooks.cjs\" --inspect".to_owned()),
            ]
        );
    }

    #[test]
    fn without_hooks_nothing_is_set() {
        let hooks = ToolHooks::prepare(FrameworkTools::LeftAlone, Mode::Replay, &|_| None).unwrap();
        assert!(hooks.variables.is_empty());
    }

    #[test]
    fn every_file_is_carried() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks");
        let mut found = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(at) = folders.pop() {
            for entry in fs::read_dir(at).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true if entry.file_name() == "__pycache__" => {}
                    true => folders.push(entry.path()),
                    false => {
                        found.push(entry.path().strip_prefix(&folder).unwrap().to_str().unwrap().to_owned())
                    }
                }
            }
        }
        found.sort();
        assert_eq!(found, FILES.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    }
}
