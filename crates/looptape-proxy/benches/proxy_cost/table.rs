//! Medians over the rounds, as a Markdown table.

use crate::load::Measured;
use crate::roles::Role;
use std::time::Duration;

/// Prints one scenario. `rounds` hold one measurement for each of `roles`; the first is the direct one.
pub(crate) fn print(scenario: &str, concurrency: usize, roles: &[Role], rounds: &[Vec<Measured>]) {
    println!("\n**{scenario}, concurrency {concurrency}** ({} rounds)\n", rounds.len());
    println!(
        "| target | calls/s | drained calls/s | CPU µs/call | of it writer | × bare hyper | p50 ms | p99 ms | first byte p50 ms | added p50 | added p99 | RSS MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let bare = roles.iter().position(|role| *role == Role::Bare).unwrap_or_default();
    for (at, role) in roles.iter().enumerate() {
        let median = |of: &dyn Fn(&Measured) -> f64| median(rounds.iter().map(|r| of(&r[at])));
        let added =
            |of: &dyn Fn(&Measured) -> f64| self::median(rounds.iter().map(|r| of(&r[at]) - of(&r[0])));
        let to_bare = self::median(rounds.iter().map(|r| cpu_us(&r[at]) / cpu_us(&r[bare])));
        let resident: Vec<u64> = rounds.iter().map(|r| r[at].resident_kib / 1024).collect();
        println!(
            "| {} | {:.0} | {:.0} | {:.1} | {:.1} | {to_bare:.2} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {}–{} |",
            role.name(),
            median(&|m| m.calls as f64 / m.elapsed.as_secs_f64()),
            median(&|m| m.calls as f64 / (m.elapsed + m.drain).as_secs_f64()),
            median(&cpu_us),
            median(&|m| m.cpu.writer_ns as f64 / 1e3 / m.calls as f64),
            median(&|m| at_share(&m.latencies, 0.5)),
            median(&|m| at_share(&m.latencies, 0.99)),
            median(&|m| at_share(&m.first_bytes, 0.5)),
            added(&|m| at_share(&m.first_bytes, 0.5)),
            added(&|m| at_share(&m.latencies, 0.99)),
            resident.first().unwrap_or(&0),
            resident.last().unwrap_or(&0),
        );
    }
}

fn cpu_us(measured: &Measured) -> f64 {
    (measured.cpu.proxy_ns + measured.cpu.writer_ns) as f64 / 1e3 / measured.calls as f64
}

/// Nearest rank, in ms.
fn at_share(sorted: &[Duration], share: f64) -> f64 {
    let rank = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
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
