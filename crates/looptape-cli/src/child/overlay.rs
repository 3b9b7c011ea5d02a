//! Configuration files for agents that take no base URL from the environment.
//!
//! They live in a private folder that goes with the run; the user's own files are linked, never changed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The run's private folder. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Overlay {
    folder: TempDir,
}

impl Overlay {
    pub(crate) fn new() -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("looptape-run-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        Ok(Self { folder })
    }

    /// Variables for `command`, with the files that they point to. `base` is the run's prefix
    /// (`http://127.0.0.1:PORT/t/TRACE`).
    pub(crate) fn variables(
        &self,
        command: &str,
        base: &str,
        parent: &dyn Fn(&str) -> Option<String>,
    ) -> std::io::Result<Vec<(String, String)>> {
        let mut set = Vec::new();
        let home =
            parent("CODEX_HOME").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".codex")));
        let program =
            Path::new(command).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(home) = home.filter(|h| h.exists() || program.starts_with("codex")) {
            let folder = self.codex(&home, base)?;
            set.push(("CODEX_HOME".into(), folder.to_string_lossy().into_owned()));
        }
        if program.starts_with("gemini") {
            let file = self.gemini()?;
            set.push(("GEMINI_CLI_SYSTEM_SETTINGS_PATH".into(), file.to_string_lossy().into_owned()));
        }
        Ok(set)
    }

    /// Codex reads its base URL from `config.toml` only.
    fn codex(&self, home: &Path, base: &str) -> std::io::Result<PathBuf> {
        let folder = self.folder.path().join("codex");
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(home).into_iter().flatten().flatten() {
            if entry.file_name() != "config.toml" {
                symlink(entry.path(), folder.join(entry.file_name()))?;
            }
        }
        let own = fs::read_to_string(home.join("config.toml")).unwrap_or_default();
        let mut config: toml::Table = own.parse().unwrap_or_default();
        config.insert("openai_base_url".into(), format!("{base}/openai/v1").into());
        fs::write(folder.join("config.toml"), config.to_string())?;
        Ok(folder)
    }

    /// gemini-cli honours its base URL only with key authentication.
    fn gemini(&self) -> std::io::Result<PathBuf> {
        let file = self.folder.path().join("gemini-settings.json");
        fs::write(&file, r#"{"security":{"auth":{"selectedType":"gemini-api-key"}}}"#)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codex_keeps_the_users_settings() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("config.toml"), "model = \"m\"\n[profiles.x]\nmodel = \"y\"\n").unwrap();
        fs::write(home.path().join("auth.json"), "{}").unwrap();
        let overlay = Overlay::new().unwrap();
        let parent = |name: &str| (name == "CODEX_HOME").then(|| home.path().to_string_lossy().into_owned());
        let set = overlay.variables("/usr/bin/codex", "http://p/t/1", &parent).unwrap();
        let folder = PathBuf::from(&set[0].1);
        let config: toml::Table = fs::read_to_string(folder.join("config.toml")).unwrap().parse().unwrap();
        assert_eq!(config["openai_base_url"].as_str(), Some("http://p/t/1/openai/v1"));
        assert_eq!(config["profiles"]["x"]["model"].as_str(), Some("y"));
        assert!(folder.join("auth.json").exists());
        assert_eq!(
            fs::read_to_string(home.path().join("config.toml")).unwrap().lines().next(),
            Some("model = \"m\"")
        );
    }
}
