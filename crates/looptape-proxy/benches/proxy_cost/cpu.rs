//! CPU time and memory of another process, from `/proc`.
//!
//! A thread's time comes from its `schedstat`, in ns; the clock ticks of `stat` are too coarse for a round.
//! Threads are told apart by name: looptape's writer has one, all others are the proxy's.

use crate::Failure;
use std::fs;
use std::time::{Duration, Instant};

/// Time that a process has spent on a CPU.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) proxy_ns: u64,
    pub(crate) writer_ns: u64,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let mut cpu = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            let schedstat = fs::read_to_string(task.join("schedstat"))?;
            let ns: u64 = schedstat.split(' ').next().unwrap_or_default().parse()?;
            // The kernel keeps 15 bytes of a name.
            match fs::read_to_string(task.join("comm"))?.starts_with("looptape-writ") {
                true => cpu.writer_ns += ns,
                false => cpu.proxy_ns += ns,
            }
        }
        Ok(cpu)
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { proxy_ns: self.proxy_ns - before.proxy_ns, writer_ns: self.writer_ns - before.writer_ns }
    }
}

/// Waits until a process has nothing left to do, and says how long that took.
pub(crate) async fn settle(pid: u32) -> Result<Duration, Failure> {
    const STEP: Duration = Duration::from_millis(20);
    const QUIET_STEPS: u32 = 10;
    let started = Instant::now();
    let (mut before, mut quiet, mut busy_until) = (Cpu::of(pid)?, 0, started);
    while quiet < QUIET_STEPS {
        tokio::time::sleep(STEP).await;
        let now = Cpu::of(pid)?;
        let spent = now.since(before);
        before = now;
        if spent.proxy_ns + spent.writer_ns < 1_000_000 {
            quiet += 1;
        } else {
            quiet = 0;
            busy_until = Instant::now();
        }
    }
    Ok(busy_until - started)
}

/// Memory that a process holds, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
