//! Opening the database: owner-only files, pragmas outside transactions, migrations inside one.
//!
//! A database from a newer looptape is refused; nothing is ever downgraded. One that cannot be written can be
//! read all the same.

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::{M, Migrations};
use std::{
    cmp::Ordering,
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// Append-only: a landed migration never changes.
const MIGRATIONS: &[M<'_>] = &[
    M::up(include_str!("../../../migrations/0001_traces.sql")),
    M::up(include_str!("../../../migrations/0002_import_times.sql")),
    M::up(include_str!("../../../migrations/0003_trace_environment.sql")),
    M::up(include_str!("../../../migrations/0004_packs.sql")),
    M::up(include_str!("../../../migrations/0005_replays.sql")),
    M::up(include_str!("../../../migrations/0006_recurring_content.sql")),
    M::up(include_str!("../../../migrations/0007_price_books.sql")),
    M::up(include_str!("../../../migrations/0008_agent_versions.sql")),
    M::up(include_str!("../../../migrations/0009_spending.sql")),
    M::up(include_str!("../../../migrations/0010_parent_elsewhere.sql")),
    M::up(include_str!("../../../migrations/0011_calls.sql")),
    M::up(include_str!("../../../migrations/0012_bundles.sql")),
    M::up(include_str!("../../../migrations/0013_workspace_snapshots.sql")),
    M::up(include_str!("../../../migrations/0014_tool_calls.sql")),
    M::up(include_str!("../../../migrations/0015_upstreams.sql")),
    M::up(include_str!("../../../migrations/0016_load_runs.sql")),
    M::up(include_str!("../../../migrations/0017_list_facts.sql")),
    M::up(include_str!("../../../migrations/0018_before_turn.sql")),
];

/// Of a database that is made. A transaction writes many pages that follow each other, and each is a system call of its
/// own, twice. One that exists keeps what it has.
const PAGE_BYTES: i64 = 16 << 10;

/// When the log has so much, it is copied to its place: seldom, since a page that is written many times is copied
/// once.
const LOG_BYTES: i64 = 16 << 20;

/// How long a connection waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "there is no recording database at {path}: record something first (`looptape record -- CMD…`), or name another file with --db"
    )]
    Missing { path: PathBuf },
    #[error("cannot create {path}: {source}. Choose another place with --db FILE or LOOPTAPE_DB")]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "{path} was written by a newer looptape (schema {found}, this one knows {known}): update looptape, or use another --db"
    )]
    Newer { path: PathBuf, found: i64, known: usize },
    #[error(
        "{path} was written by an older looptape (schema {found}, this one knows {known}) and cannot be upgraded, since it cannot be written: make it writable once, or copy it"
    )]
    OlderAndReadOnly { path: PathBuf, found: i64, known: usize },
    #[error("{path} is not a looptape database: {detail}. Name another file with --db")]
    NotADatabase { path: PathBuf, detail: String },
    #[error("cannot open {path}: {source}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

/// Creates `path` readable by its owner only, its folder too if that does not exist yet.
pub fn open_private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty() && !p.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Opens for writing, creating what is missing.
pub(crate) fn open_to_write(path: &Path, synchronous: &str) -> Result<Connection, OpenError> {
    open_private(path).map_err(|source| OpenError::Create { path: path.into(), source })?;
    let mut connection = connect(path)?;
    let _turn = Turn::to_change(&connection, path);
    set_up(&connection, synchronous).map_err(|e| not_a_database(path, e))?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens for reading. The file must exist; it is brought to the newest schema if need be.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing { path: path.into() });
    }
    let mut connection = connect(path)?;
    let _turn = Turn::to_change(&connection, path);
    match set_up(&connection, "NORMAL") {
        Ok(()) => migrate(&mut connection, path)?,
        Err(error) if cannot_be_written(&error) => connection = open_read_only(path)?,
        Err(error) => return Err(not_a_database(path, error)),
    }
    connection.pragma_update(None, "query_only", true).map_err(|e| not_a_database(path, e))?;
    Ok(connection)
}

/// While it lives, nobody else makes or upgrades a database of this folder: where two set a
/// journal mode, or begin to write after they have read, SQLite fails for one of them instead of waiting.
#[must_use]
#[derive(Debug)]
struct Turn {
    _folder: fs::File,
}

impl Turn {
    /// `None` where nothing is to be changed, or where the folder cannot be locked.
    fn to_change(connection: &Connection, path: &Path) -> Option<Self> {
        if is_current(connection).unwrap_or(false) {
            return None;
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::File::open(folder).ok()?;
        folder.lock().ok()?;
        Some(Self { _folder: folder })
    }
}

/// Whether opening changes nothing in the file.
fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let schema: i64 = connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let journal: String = connection.query_row("PRAGMA journal_mode", [], |r| r.get(0))?;
    Ok(schema == MIGRATIONS.len() as i64 && journal == "wal")
}

fn cannot_be_written(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied))
}

/// Opens what cannot be written: it has to be of the newest schema already.
fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    let connection = connect_read_only(path)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|e| not_a_database(path, e))?;
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(|e| not_a_database(path, e))?;
    let (path, known) = (path.to_owned(), MIGRATIONS.len());
    match found.cmp(&(known as i64)) {
        Ordering::Greater => Err(OpenError::Newer { path, found, known }),
        Ordering::Less => Err(OpenError::OlderAndReadOnly { path, found, known }),
        Ordering::Equal => Ok(connection),
    }
}

/// A write-ahead log wants a file beside the database. Where that is not there and cannot be made, nobody
/// writes either, and what lies in the database itself is all there is.
fn connect_read_only(path: &Path) -> Result<Connection, OpenError> {
    let fail = |source| OpenError::Sqlite { path: path.into(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    match connection.query_row("PRAGMA user_version", [], |r| r.get::<_, i64>(0)) {
        Err(error) if cannot_be_written(&error) && log_bytes(path) == 0 => {
            let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let uri = format!("file:{path}?immutable=1");
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(fail)
        }
        _ => Ok(connection),
    }
}

fn log_bytes(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).map_or(0, |file| file.len())
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    // SQLite takes a file that is too short to be one for an empty database, and would write over it.
    let length = fs::metadata(path).map_or(0, |file| file.len());
    if (1..100).contains(&length) {
        let detail = "it is too short to be one".to_owned();
        return Err(OpenError::NotADatabase { path: path.into(), detail });
    }
    let connection =
        Connection::open(path).map_err(|source| OpenError::Sqlite { path: path.into(), source })?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|e| not_a_database(path, e))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn set_up(connection: &Connection, synchronous: &str) -> rusqlite::Result<()> {
    // Both take effect on an empty file only, but the write lock on any.
    if !has_tables(connection)? {
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        // Lets pruning give pages back.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    let page_bytes: i64 = connection.query_row("PRAGMA page_size", [], |r| r.get(0))?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_BYTES / page_bytes.max(1))?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(|e| not_a_database(path, e))?;
    let known = MIGRATIONS.len();
    if found > known as i64 {
        return Err(OpenError::Newer { path: path.into(), found, known });
    }
    if found == known as i64 {
        return Ok(());
    }
    if found == 0 && has_tables(connection).map_err(|e| not_a_database(path, e))? {
        // Two processes may create the same database at once; the second finds it made.
        let now: i64 = connection
            .query_row("PRAGMA user_version", [], |r| r.get(0))
            .map_err(|e| not_a_database(path, e))?;
        if now == 0 {
            let detail = "it is an SQLite file with other tables".to_owned();
            return Err(OpenError::NotADatabase { path: path.into(), detail });
        }
    }
    Migrations::from_slice(MIGRATIONS).to_latest(connection).or_else(|e| {
        let now: i64 = connection.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap_or(0);
        if now == known as i64 {
            return Ok(());
        }
        Err(OpenError::NotADatabase { path: path.into(), detail: e.to_string() })
    })
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |r| r.get(0))
}

fn not_a_database(path: &Path, error: rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            OpenError::NotADatabase { path: path.into(), detail: error.to_string() }
        }
        _ => OpenError::Sqlite { path: path.into(), source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Whoever comes while a database is made waits for whoever makes it.
    #[test]
    fn a_database_that_is_being_made_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        open_private(&path).unwrap();
        let maker = connect(&path).unwrap();
        let turn = Turn::to_change(&maker, &path).expect("there is something to be made");
        let (told, opened) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| told.send(open_to_write(&path, "NORMAL").map(drop)));
            let early = opened.recv_timeout(Duration::from_millis(200));
            drop(turn);
            assert!(early.is_err(), "it waits: {early:?}");
            opened.recv().unwrap().unwrap();
        });
    }

    #[test]
    fn nobody_waits_for_a_database_that_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let connection = open_to_write(&path, "NORMAL").unwrap();
        assert!(Turn::to_change(&connection, &path).is_none());
    }
}
