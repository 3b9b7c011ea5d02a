//! One round of calls against one server.
//!
//! A closed loop: each slot has one connection that it keeps, and sends its next call when the last one has
//! been answered. Slots start at different loops and steps, so that the mix of sizes is steady.

use crate::Failure;
use crate::cpu::Cpu;
use crate::loops::{Call, Loops, connect, send};
use crate::roles::Target;
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) loops: &'a Loops,
    pub(crate) concurrency: usize,
    pub(crate) round: Duration,
}

/// What one round came to.
pub(crate) struct Measured {
    pub(crate) calls: u64,
    /// Replies that were not the recorded ones.
    pub(crate) wrong: u64,
    elapsed: Duration,
    cpu_ns: u64,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Measured {
    fn calls_per_s(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }

    fn latency_ms(&self, share: f64) -> f64 {
        let rank = ((self.latencies.len() as f64 * share).ceil() as usize).max(1);
        self.latencies.get(rank - 1).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

impl Load<'_> {
    pub(crate) async fn run(self, target: &Target) -> Result<Measured, Failure> {
        let calls: Vec<Call> = self.loops.loops.iter().flatten().cloned().collect();
        let before = Cpu::of(target.pid())?;
        let started = Instant::now();
        let slots: Vec<_> = (0..self.concurrency)
            .map(|slot| {
                let (address, calls) = (target.address().to_owned(), calls.clone());
                let first = slot * calls.len() / self.concurrency;
                let round = self.round;
                tokio::task::spawn_local(
                    async move { slot_of(&address, &calls, first, started, round).await },
                )
            })
            .collect();
        let (mut latencies, mut wrong) = (Vec::new(), 0);
        for slot in slots {
            let (timings, wrong_replies) = slot.await??;
            latencies.extend(timings);
            wrong += wrong_replies;
        }
        let elapsed = started.elapsed();
        let cpu = Cpu::of(target.pid())?.since(before);
        latencies.sort_unstable();
        let cpu_ns = cpu.proxy_ns + cpu.writer_ns;
        Ok(Measured { calls: latencies.len() as u64, wrong, elapsed, cpu_ns, latencies })
    }
}

async fn slot_of(
    address: &str,
    calls: &[Call],
    first: usize,
    started: Instant,
    round: Duration,
) -> Result<(Vec<Duration>, u64), Failure> {
    let mut connection = connect(address).await?;
    let (mut timings, mut wrong) = (Vec::new(), 0);
    for call in calls.iter().cycle().skip(first) {
        if started.elapsed() >= round {
            break;
        }
        let sent = Instant::now();
        let reply = send(&mut connection, address, call.request.clone()).await?;
        timings.push(sent.elapsed());
        wrong += u64::from(reply != call.reply);
    }
    Ok((timings, wrong))
}

/// Prints one scenario. `rounds` hold one measurement for each of `targets`; the first is the bare one.
pub(crate) fn print(scenario: &str, recorded: usize, targets: &[Target], rounds: &[Vec<Measured>]) {
    for (at, target) in targets.iter().enumerate() {
        let median_of = |of: &dyn Fn(&Measured) -> f64| median(rounds.iter().map(|r| of(&r[at])));
        let to_bare = median(rounds.iter().map(|r| r[at].calls_per_s() / r[0].calls_per_s()));
        println!(
            "| {scenario} | {recorded} | {} | {:.0} | {to_bare:.2} | {:.1} | {:.3} | {:.3} | {} |",
            target.name(),
            median_of(&Measured::calls_per_s),
            median_of(&|m| m.cpu_ns as f64 / 1e3 / m.calls as f64),
            median_of(&|m| m.latency_ms(0.5)),
            median_of(&|m| m.latency_ms(0.99)),
            rounds.iter().map(|r| r[at].wrong).sum::<u64>(),
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
