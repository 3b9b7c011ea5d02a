//! Where this process runs: what agents write into prompts of the machine, the folder and the day.
//!
//! [`capture`] reads files and variables only and takes well under a millisecond. What `git status` says
//! takes a process of its own: it is asked for in the background, and nobody waits for long.
//!
//! Nothing here can fail: what cannot be found out is left open.

use looptape_core::replay::{Environment, GitState, LocalDate};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Beyond this a status is no line of a prompt.
const STATUS_BYTES: usize = 16 << 10;

/// How long git may take.
const STATUS_TIME: Duration = Duration::from_secs(2);

/// The surroundings of this process, all but the status of its repository.
pub(crate) fn capture() -> Environment {
    let temporary_folder = std::env::var("TMPDIR").ok().filter(|value| !value.is_empty());
    of_program(std::env::current_dir().ok(), temporary_folder)
}

/// The surroundings of a program that works in `folder` and has this folder for temporary files.
pub(crate) fn of_program(folder: Option<PathBuf>, temporary_folder: Option<String>) -> Environment {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let now = jiff::Zoned::now();
    let today = now.date();
    let text = |path: &Path| path.to_str().map(str::to_owned);
    Environment {
        local_date: LocalDate::new(today.year(), today.month(), today.day()),
        working_folder: folder.as_deref().and_then(text),
        home: std::env::home_dir().as_deref().and_then(text),
        temporary_folder,
        user: variable("USER").or_else(|| variable("LOGNAME")).or_else(name_of_user),
        host: system_name("hostname", "-n"),
        kernel: system_name("osrelease", "-r"),
        time_zone: now.time_zone().iana_name().map(str::to_owned),
        git: folder.as_deref().and_then(git_state),
    }
}

/// The status of the repository around the working folder, when git has said it.
#[derive(Debug)]
pub(crate) struct PendingStatus(mpsc::Receiver<Option<String>>);

impl PendingStatus {
    /// Asks git, if there is a repository.
    pub(crate) fn of(environment: &Environment) -> Option<Self> {
        environment.git.as_ref()?;
        let folder = environment.working_folder.clone()?;
        let (told, status) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("looptape-git-status".into())
            .spawn(move || {
                // Nobody may be waiting any more.
                let _ = told.send(git_status(&folder));
            })
            .ok()?;
        Some(Self(status))
    }

    /// The environment with the status, if it comes within `wait`.
    pub(crate) fn added_to(self, environment: &Environment, wait: Duration) -> Option<Environment> {
        let status = self.0.recv_timeout(wait).ok()??;
        let git = GitState { status: Some(status), ..environment.git.clone()? };
        Some(Environment { git: Some(git), ..environment.clone() })
    }
}

/// `/proc` knows the names of a Linux system; elsewhere `uname` is asked.
fn system_name(file: &str, flag: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(file))
        .ok()
        .or_else(|| String::from_utf8(Command::new("uname").arg(flag).output().ok()?.stdout).ok())?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

fn name_of_user() -> Option<String> {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, own_id) = (fields.next()?, fields.nth(1)?);
        (own_id == id).then(|| name.to_owned())
    })
}

/// Commit and branch, from the repository's own files.
fn git_state(folder: &Path) -> Option<GitState> {
    let repository = folder.ancestors().find_map(git_folder)?;
    let head = std::fs::read_to_string(repository.join("HEAD")).ok()?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else {
        return Some(GitState { head: Some(head.trim().to_owned()), ..GitState::default() });
    };
    let branch = reference.strip_prefix("refs/heads/").map(str::to_owned);
    Some(GitState { head: commit_of(&repository, reference), branch, status: None })
}

/// The `.git` folder at `folder`; a worktree's is a file that names it.
fn git_folder(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let text = std::fs::read_to_string(&git).ok()?;
    Some(folder.join(text.trim().strip_prefix("gitdir: ")?))
}

fn commit_of(repository: &Path, reference: &str) -> Option<String> {
    // What worktrees share lies in the main repository.
    let shared = std::fs::read_to_string(repository.join("commondir"))
        .map_or_else(|_| repository.to_owned(), |path| repository.join(path.trim()));
    let loose = [repository, shared.as_path()]
        .into_iter()
        .find_map(|folder| std::fs::read_to_string(folder.join(reference)).ok());
    let packed = || {
        let refs = std::fs::read_to_string(shared.join("packed-refs")).ok()?;
        let line = refs.lines().find(|line| line.ends_with(&format!(" {reference}")))?;
        line.split(' ').next().map(str::to_owned)
    };
    loose.map(|commit| commit.trim().to_owned()).or_else(packed)
}

fn git_status(folder: &str) -> Option<String> {
    let mut git = Command::new("git")
        .args(["status", "--short"])
        .current_dir(folder)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut output = git.stdout.take()?;
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        let mut start = std::io::Read::take(&mut output, STATUS_BYTES as u64 + 1);
        let _ = std::io::Read::read_to_string(&mut start, &mut text);
        text
    });
    let started = Instant::now();
    while !reading.is_finished() {
        if started.elapsed() > STATUS_TIME {
            let _ = git.kill();
            let _ = git.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let text = reading.join().ok()?;
    // A long status is cut short, so git may be waiting to write the rest.
    let _ = git.kill();
    let _ = git.wait();
    let text = text.trim().to_owned();
    (text.len() <= STATUS_BYTES && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read_without_git() {
        let folder = tempfile::tempdir().unwrap();
        let commit = "0af7651916cd43dd8448eb211c80319c00000000";
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(".git/HEAD", "ref: refs/heads/topic/a\n");
        write("deep/down/x", "");
        let state = || git_state(&folder.path().join("deep/down")).unwrap();
        assert_eq!((state().branch.as_deref(), state().head), (Some("topic/a"), None));
        write(".git/packed-refs", &format!("# pack-refs\n{commit} refs/heads/topic/a\n"));
        assert_eq!(state().head.as_deref(), Some(commit));
        let other = commit.replace('0', "1");
        write(".git/refs/heads/topic/a", &format!("{other}\n"));
        assert_eq!(state().head, Some(other));
        write(".git/HEAD", commit);
        assert_eq!((state().branch, state().head.as_deref()), (None, Some(commit)));
        // A worktree.
        write("tree/.git", "gitdir: ../.git/worktrees/tree\n");
        write(".git/worktrees/tree/HEAD", "ref: refs/heads/topic/a\n");
        write(".git/worktrees/tree/commondir", "../..\n");
        let tree = git_state(&folder.path().join("tree")).unwrap();
        assert_eq!((tree.branch.as_deref(), tree.head), (Some("topic/a"), Some(commit.replace('0', "1"))));
    }

    #[test]
    fn every_system_has_names() {
        let environment = capture();
        assert!(
            environment.host.is_some() && environment.kernel.is_some() && environment.local_date.is_some()
        );
        assert!(environment.working_folder.is_some_and(|folder| folder.starts_with('/')));
    }
}
