//! Which process records, and whether it still lives.

use rusqlite::{Connection, params};

/// A process, told apart from later ones with the same pid and from those of other boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pid: i64,
    start: i64,
    boot_id: String,
}

impl Process {
    pub(crate) fn current() -> Self {
        let pid = i64::from(std::process::id());
        Self { pid, start: start_of(pid).unwrap_or(0), boot_id: boot_id() }
    }

    /// One of another machine, or of another time: it does not run.
    pub(crate) fn elsewhere() -> Self {
        Self { pid: 0, start: 0, boot_id: "elsewhere".to_owned() }
    }

    /// Writes the recorder's row.
    pub(crate) fn register(&self, connection: &Connection, started_unix_us: i64) -> rusqlite::Result<i64> {
        connection
            .prepare_cached(
                "INSERT INTO recorders (pid, process_start, boot_id, version, started_unix_us) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![self.pid, self.start, self.boot_id, env!("CARGO_PKG_VERSION"), started_unix_us])?;
        Ok(connection.last_insert_rowid())
    }

    pub(crate) fn load(connection: &Connection, recorder: i64) -> rusqlite::Result<Self> {
        connection
            .prepare_cached("SELECT pid, process_start, boot_id FROM recorders WHERE key = ?1")?
            .query_row([recorder], |r| Ok(Self { pid: r.get(0)?, start: r.get(1)?, boot_id: r.get(2)? }))
    }

    /// Whether that very process still runs on this boot of this machine.
    pub(crate) fn is_alive(&self) -> bool {
        self.boot_id == boot_id() && start_of(self.pid) == Some(self.start)
    }
}

/// The kernel's id of this boot; empty where there is none.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}

/// When a process started, in clock ticks since boot; `None` if there is no such process. Without a
/// `/proc`, a process that exists counts as started at 0.
fn start_of(pid: i64) -> Option<i64> {
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The command name may hold anything; fields are counted after its closing parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let zombie = fields.first() == Some(&"Z");
        return if zombie { None } else { fields.get(19)?.parse().ok() };
    }
    if std::path::Path::new("/proc/self/stat").exists() {
        return None;
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    rustix::process::test_kill_process(pid).is_ok().then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_another_start_does_not() {
        let me = Process::current();
        assert!(me.is_alive());
        assert!(!Process { start: me.start + 1, ..me.clone() }.is_alive());
        assert!(!Process { boot_id: "other".into(), ..me }.is_alive());
    }
}
