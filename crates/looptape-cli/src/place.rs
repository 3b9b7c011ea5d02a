//! Where the database is: `--db`, else `LOOPTAPE_DB`, else `.looptape/looptape.db` of the nearest project
//! folder, else the user's data folder.

use anyhow::Context;
use std::path::{Path, PathBuf};

/// Marks of a project's top folder.
const PROJECT_MARKS: &[&str] =
    &[".looptape", "looptape.toml", ".git", "Cargo.toml", "package.json", "pyproject.toml", "go.mod"];

/// The database that a command works on.
pub(crate) fn database(stated: Option<&Path>) -> anyhow::Result<PathBuf> {
    match stated {
        Some(path) => Ok(path.to_owned()),
        None => default_database(),
    }
}

fn default_database() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("the working folder cannot be read")?;
    if let Some(project) = nearest_project(&here) {
        return Ok(project.join(".looptape").join("looptape.db"));
    }
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".local").join("share")))
        .context("neither a project folder nor a home folder was found: name a database with --db FILE")?;
    Ok(data.join("looptape").join("looptape.db"))
}

/// The nearest folder at or above `from` that looks like a project; the home folder is not one.
pub(crate) fn nearest_project(from: &Path) -> Option<&Path> {
    let home = std::env::home_dir();
    from.ancestors()
        .filter(|folder| Some(*folder) != home.as_deref() && *folder != Path::new("/"))
        .find(|folder| PROJECT_MARKS.iter().any(|mark| folder.join(mark).exists()))
}

/// Makes the database's folder if it is looptape's own: readable by its owner only, and ignored by git.
pub(crate) fn prepare(database: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let Some(folder) = database.parent().filter(|f| f.file_name().is_some_and(|n| n == ".looptape")) else {
        return Ok(());
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| {
        format!("cannot create {}: choose another place with --db FILE", folder.display())
    })?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(&ignore, "# Recordings hold private conversations.\n*\n")
            .with_context(|| format!("cannot write {}", ignore.display()))?;
    }
    Ok(())
}
