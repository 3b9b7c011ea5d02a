//! Configuration files for agents that take no base URL from the environment.
//!
//! They live in a private folder that goes with the run; the user's own files are linked or read, never
//! changed. The folder's path follows from the trace, because agents put it into their prompts: a replay
//! has to find it where the recording had it. It stands under the user's cache folder, because agents
//! refuse to trust configuration under a folder that others may write to.

use looptape_core::Digest;
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
}

/// What the run's agent gets beyond base-URL variables. The files go when it is dropped.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// Variables that point to the files.
    pub(crate) variables: Vec<(String, String)>,
    _folder: Option<RunFolder>,
}

impl Overlay {
    /// Writes what the run's agent needs; most agents need nothing.
    pub(crate) fn prepare(run: Run<'_>, parent: &dyn Fn(&str) -> Option<String>) -> io::Result<Self> {
        let home = parent("HOME").map(PathBuf::from).or_else(std::env::home_dir);
        let codex = parent("CODEX_HOME").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".codex")));
        let codex = codex.filter(|folder| folder.exists() || names(run.command, "codex"));
        let gemini = home.as_ref().is_some_and(|home| home.join(".gemini").exists());
        let gemini = gemini || names(run.command, "gemini");
        let mut variables = Vec::new();
        if codex.is_none() && !gemini {
            return Ok(Self { variables, _folder: None });
        }
        let folder = RunFolder::create(&cache(home.as_deref(), parent), run.trace)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        if let Some(codex) = codex {
            variables.push(("CODEX_HOME".into(), text(&codex_home(folder.path(), &codex, run.base)?)));
        }
        if gemini {
            let own = parent("GEMINI_CLI_SYSTEM_SETTINGS_PATH");
            let own = own.unwrap_or_else(|| GEMINI_SYSTEM_SETTINGS.into());
            let file = gemini_settings(folder.path(), Path::new(&own))?;
            variables.push(("GEMINI_CLI_SYSTEM_SETTINGS_PATH".into(), text(&file)));
        }
        Ok(Self { variables, _folder: Some(folder) })
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
fn codex_home(folder: &Path, own_home: &Path, base: &str) -> io::Result<PathBuf> {
    let home = folder.join("codex");
    fs::create_dir_all(&home)?;
    for entry in fs::read_dir(own_home).into_iter().flatten().flatten() {
        if entry.file_name() != "config.toml" {
            symlink(entry.path(), home.join(entry.file_name()))?;
        }
    }
    let own = fs::read_to_string(own_home.join("config.toml")).unwrap_or_default();
    let mut config: toml::Table = own.parse().unwrap_or_default();
    config.insert("openai_base_url".into(), format!("{base}/openai/v1").into());
    fs::write(home.join("config.toml"), config.to_string())?;
    Ok(home)
}

/// gemini-cli honours its base URL only with key authentication. Settings that are there already stay, if
/// they are plain JSON.
fn gemini_settings(folder: &Path, own: &Path) -> io::Result<PathBuf> {
    let file = folder.join("gemini-settings.json");
    let own = fs::read(own).unwrap_or_default();
    let mut settings: serde_json::Value = serde_json::from_slice(&own).unwrap_or_default();
    if !settings["security"]["auth"].is_object() {
        let kept = settings["security"].take();
        let kept = if kept.is_object() { kept } else { serde_json::json!({}) };
        settings = if settings.is_object() { settings } else { serde_json::json!({}) };
        settings["security"] = kept;
        settings["security"]["auth"] = serde_json::json!({});
    }
    settings["security"]["auth"]["selectedType"] = "gemini-api-key".into();
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

    fn prepare(home: &Path, command: &[&str], trace: &str) -> Overlay {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let parent = |name: &str| (name == "HOME").then(|| home.to_string_lossy().into_owned());
        Overlay::prepare(Run { command: &command, base: "http://p/t/1", trace }, &parent).unwrap()
    }

    fn variable(overlay: &Overlay, name: &str) -> Option<PathBuf> {
        overlay.variables.iter().find(|(n, _)| n == name).map(|(_, value)| PathBuf::from(value))
    }

    #[test]
    fn codex_keeps_the_users_settings() {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join(".codex");
        fs::create_dir(&own).unwrap();
        fs::write(own.join("config.toml"), "model = \"m\"\n[profiles.x]\nmodel = \"y\"\n").unwrap();
        fs::write(own.join("auth.json"), "{}").unwrap();
        let overlay = prepare(home.path(), &["/usr/bin/codex"], "1");
        let folder = variable(&overlay, "CODEX_HOME").unwrap();
        let config: toml::Table = fs::read_to_string(folder.join("config.toml")).unwrap().parse().unwrap();
        assert_eq!(config["openai_base_url"].as_str(), Some("http://p/t/1/openai/v1"));
        assert_eq!(config["profiles"]["x"]["model"].as_str(), Some("y"));
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
        let run = Run { command: &command, base: "http://p", trace: "1" };
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
