//! The database: where it is, who may read it, whether it is whole, what was recorded last.

use super::Finding;
use crate::render::figures::plural;
use crate::render::pruned::bytes;
use crate::render::terminal_text::escape;
use crate::session::Global;
use looptape_page::reading::usage_gap;
use looptape_store::{OpenError, Reader, TraceFilter, TraceRow, TraceStatus};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How many of the newest traces are looked at.
const RECENT: u32 = 20;
/// Of those that are not whole, how many are named.
const NAMED: usize = 5;

const LOW_SPACE_BYTES: u64 = 1_000_000_000;
const NO_SPACE_BYTES: u64 = 100_000_000;

pub(super) fn check(global: &Global) -> Vec<Finding> {
    let path = match global.database() {
        Ok(path) => path,
        Err(error) => {
            return vec![Finding::problem("database", format!("{error:#}"), "name one with --db FILE")];
        }
    };
    let mut findings: Vec<Finding> = space(&path).into_iter().collect();
    if !path.exists() {
        let says = format!("none yet; the first recording makes {}", path.display());
        findings.insert(0, Finding::ok("database", says));
        return findings;
    }
    let size = std::fs::metadata(&path).map_or(0, |file| file.len());
    findings.insert(0, Finding::ok("database", format!("{} ({})", path.display(), bytes(size))));
    // Before it is opened: opening for reading does not change modes, but it may make side files.
    findings.extend(permissions(&path));
    match Reader::open(&path) {
        Ok(reader) => findings.extend(contents(&reader)),
        Err(error) => findings.push(not_opened(&error)),
    }
    findings
}

fn not_opened(error: &OpenError) -> Finding {
    let to_do = match error {
        OpenError::Newer { .. } => "update looptape, or use another --db",
        OpenError::NotADatabase { .. } => {
            "name another file with --db; if this one was damaged, restore it from a backup"
        }
        _ => "see that you may read and write the file and its folder, or name another with --db",
    };
    Finding::problem("database", error.to_string(), to_do)
}

/// Only the owner may read recordings.
fn permissions(path: &Path) -> Option<Finding> {
    let side = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    let open = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|m| m.permissions().mode() & 0o077 != 0);
    let files = [path.to_owned(), side("-wal"), side("-shm")];
    let open: Vec<String> = files.iter().filter(|f| open(f)).map(|f| f.display().to_string()).collect();
    Some(match open.is_empty() {
        true => Finding::ok("permissions", "only you can read the recordings"),
        false => Finding::problem(
            "permissions",
            format!("others may read {}", open.join(", ")),
            format!("chmod 600 {}", open.join(" ")),
        ),
    })
}

/// Room on the disk that holds the database, or will.
fn space(path: &Path) -> Option<Finding> {
    let absolute = std::path::absolute(path).ok()?;
    let folder = absolute.ancestors().skip(1).find(|folder| folder.is_dir())?;
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let says = format!("{} free at {}", bytes(free), folder.display());
    let to_do = "make room (`looptape prune --max-size 1GB`), or name another place with --db";
    Some(match free {
        0..NO_SPACE_BYTES => Finding::problem("disk", says, to_do),
        NO_SPACE_BYTES..LOW_SPACE_BYTES => Finding::warning("disk", says, to_do),
        _ => Finding::ok("disk", says),
    })
}

fn contents(reader: &Reader) -> Vec<Finding> {
    let unreadable = |error: looptape_store::ReadError| {
        Finding::problem("database", error.to_string(), "run `looptape verify` to see what is damaged")
    };
    let mut findings = Vec::new();
    match reader.schema_version() {
        Ok(version) => findings.push(Finding::ok("schema", format!("version {version}, the newest"))),
        Err(error) => findings.push(unreadable(error)),
    }
    match reader.check_file() {
        Ok(damage) if damage.is_empty() => findings.push(Finding::ok(
            "integrity",
            "the file is whole (`looptape verify` checks every recording in it)",
        )),
        Ok(damage) => {
            let says: Vec<String> = damage.iter().map(|damage| escape(&damage.to_string())).collect();
            let to_do = "run `looptape verify` to see which traces are hit, and record elsewhere with --db";
            findings.push(Finding::problem("integrity", says.join("; "), to_do));
        }
        Err(error) => findings.push(unreadable(error)),
    }
    match reader.traces(&TraceFilter { limit: Some(RECENT), ..TraceFilter::default() }) {
        Ok(rows) => findings.extend(recent(reader, &rows)),
        Err(error) => findings.push(unreadable(error)),
    }
    findings
}

fn recent(reader: &Reader, rows: &[TraceRow]) -> Vec<Finding> {
    if rows.is_empty() {
        return vec![Finding::ok("recordings", "none yet")];
    }
    let whole = |row: &&TraceRow| matches!(row.status, TraceStatus::Complete | TraceStatus::Recording);
    let broken: Vec<&TraceRow> = rows.iter().filter(|row| !whole(row)).collect();
    let of = format!("{} of the newest {}", rows.len() - broken.len(), rows.len());
    let mut findings = vec![Finding::ok("recordings", format!("{of} are complete"))];
    for row in broken.iter().take(NAMED) {
        let reasons: Vec<String> = row.status.reasons().iter().map(|why| escape(why)).collect();
        let says = format!("{} is {}: {}", escape(&row.label()), row.status.as_str(), reasons.join("; "));
        let to_do = "its beginning can be replayed; record the run again for all of it";
        findings.push(Finding::warning("recordings", says, to_do));
    }
    findings.extend(silent(reader, rows));
    findings
}

/// Streamed calls whose usage nobody asked for.
fn silent(reader: &Reader, rows: &[TraceRow]) -> Option<Finding> {
    let mut calls = 0;
    let mut traces = Vec::new();
    for row in rows {
        let found = reader.load(row.clone()).and_then(|trace| usage_gap::calls(reader, &trace));
        let found = found.map_or(0, |found| found.len());
        if found > 0 {
            calls += found;
            traces.push(escape(&row.label()));
        }
    }
    traces.truncate(NAMED);
    let says = format!(
        "{} without usage, so without cost, in {}",
        plural(calls as u32, "streamed call", "streamed calls"),
        traces.join(", ")
    );
    (calls > 0).then(|| Finding::warning("usage", says, usage_gap::REMEDY))
}
