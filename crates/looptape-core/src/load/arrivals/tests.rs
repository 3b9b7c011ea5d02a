use super::*;
use crate::scenario;
use proptest::prelude::*;

const S: u64 = 1_000_000;

fn arrivals(text: &str) -> Arrivals {
    let scenario = scenario::read(text, &[]).unwrap();
    Arrivals::new(&scenario.phases, Arc::from([]), scenario.seed)
}

/// Runs all phases with loops that each take `took_us`; the starts, dropped ones apart, and when it was all over.
fn run(arrivals: &mut Arrivals, took_us: u64, think_us: u64) -> (Vec<Start>, u64, u64) {
    let (mut starts, mut dropped, mut now_us) = (Vec::new(), 0, 0);
    let mut running: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    loop {
        let end_us = running.peek().map(|Reverse((at_us, _))| *at_us);
        match (end_us, arrivals.next_us()) {
            (None, None) => return (starts, dropped, now_us),
            (Some(end_us), due) if due.is_none_or(|due| end_us <= due) => {
                let Some(Reverse((_, place))) = running.pop() else { continue };
                now_us = end_us;
                arrivals.ended(starts[place], end_us, think_us);
            }
            (_, Some(due_us)) => {
                now_us = due_us;
                match arrivals.take(due_us) {
                    Some(Due::Loop(start)) => {
                        running.push(Reverse((due_us + took_us, starts.len())));
                        starts.push(start);
                    }
                    Some(Due::Dropped { .. }) => dropped += 1,
                    _ => {}
                }
            }
            (Some(_), None) => unreachable!("what runs comes first"),
        }
    }
}

fn times(starts: &[Start]) -> Vec<f64> {
    starts.iter().map(|start| start.at_us as f64 / 1e6).collect()
}

#[test]
fn a_constant_rate_comes_evenly_and_drops_what_does_not_fit() {
    let text = "phase = [{ executor = \"constant-arrival-rate\", rate = 2, duration = \"3s\" }]";
    let (starts, dropped, _) = run(&mut arrivals(text), S, 0);
    assert_eq!((times(&starts), dropped), (vec![0.0, 0.5, 1.0, 1.5, 2.0, 2.5], 0));
    let few = text.replace("\"3s\"", "\"3s\", max_vus = 1");
    let (starts, dropped, _) = run(&mut arrivals(&few), S * 3 / 4, 0);
    assert_eq!((times(&starts), dropped), (vec![0.0, 1.0, 2.0], 3));
}

#[test]
fn users_start_again_when_their_loop_has_ended() {
    let text = "phase = [{ executor = \"constant-vus\", vus = 2, duration = \"5s\" }]";
    let (starts, _, over_us) = run(&mut arrivals(text), 2 * S, 0);
    assert_eq!(times(&starts), [0.0, 0.0, 2.0, 2.0, 4.0, 4.0]);
    assert_eq!(over_us, 6 * S, "loops are let run to their end");
    let (starts, _, _) = run(&mut arrivals(text), 2 * S, S);
    assert_eq!(times(&starts), [0.0, 0.0, 3.0, 3.0]);
}

#[test]
fn users_ramp_up_and_down() {
    let text = "phase = [{ executor = \"ramping-vus\", start_vus = 0, stages = [
        { duration = \"2s\", target = 2 }, { duration = \"2s\", target = 2 }, { duration = \"2s\", target = 0 }] }]";
    let (starts, _, _) = run(&mut arrivals(text), S, 0);
    assert_eq!(times(&starts), [1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0]);
}

#[test]
fn iterations_are_shared_or_each_users_own() {
    let shared = "phase = [{ executor = \"shared-iterations\", vus = 3, iterations = 7 }]";
    let (starts, _, over_us) = run(&mut arrivals(shared), 2 * S, 0);
    assert_eq!((times(&starts), over_us), (vec![0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 4.0], 600 * S));
    let own =
        "phase = [{ executor = \"per-vu-iterations\", vus = 2, iterations = 2, max_duration = \"9s\" }]";
    let mut own = arrivals(own);
    assert_eq!(times(&run(&mut own, 2 * S, 0).0), [0.0, 0.0, 2.0, 2.0]);
    assert_eq!(own.cut_us(0), Some(9 * S));
}

#[test]
fn phases_follow_each_other_or_begin_at_their_time() {
    let text = "
        [[phase]]
        executor = \"shared-iterations\"
        iterations = 1
        [[phase]]
        executor = \"constant-arrival-rate\"
        rate = 1
        duration = \"2s\"
        [[phase]]
        start_time = \"1s\"
        executor = \"per-vu-iterations\"
    ";
    let (starts, _, _) = run(&mut arrivals(text), 3 * S, 0);
    let begun: Vec<(usize, f64)> =
        starts.iter().map(|start| (start.phase, start.at_us as f64 / 1e6)).collect();
    assert_eq!(begun, [(0, 0.0), (2, 1.0), (1, 3.0), (1, 4.0)]);
}

#[test]
fn a_file_says_when() {
    let mut phase = vec![Phase::of_file_times()];
    phase.push(Phase { name: None, ..Phase::usual() });
    let mut arrivals = Arrivals::new(&phase[..1], Arc::from([0, 5, 5, 9]), 1);
    let (starts, _, _) = run(&mut arrivals, S, 0);
    assert_eq!(starts.iter().map(|start| start.at_us).collect::<Vec<_>>(), [0, 5, 5, 9]);
    let mut none = Arrivals::new(&phase, Arc::from([]), 1);
    assert!(run(&mut none, S, 0).0.iter().all(|start| start.phase == 1), "the next phase begins");
}

#[test]
fn independent_users_come_with_exponential_gaps() {
    let text = "phase = [{ executor = \"constant-arrival-rate\", rate = 10, duration = \"2000s\", arrival = \"poisson\" }]";
    let (starts, _, _) = run(&mut arrivals(text), 1, 0);
    let n = starts.len() as f64;
    assert!((n - 20_000.0).abs() < 4.0 * 20_000_f64.sqrt(), "{n}");
    let gaps: Vec<f64> = times(&starts).windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = gaps.iter().sum::<f64>() / n;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / n;
    // Of an exponential distribution the standard deviation is the mean.
    assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{} {mean}", variance.sqrt());
}

proptest! {
    /// Whatever becomes of loops, open arrivals come when they come.
    #[test]
    fn open_arrivals_do_not_depend_on_the_loops(took_a in 1u64..100 * S, took_b in 1u64..100 * S) {
        let text = "phase = [{ executor = \"ramping-arrival-rate\", start_rate = 3, arrival = \"poisson\",
                               stages = [{ duration = \"20s\", target = 9 }] }]";
        let (a, b) = (run(&mut arrivals(text), took_a, 0).0, run(&mut arrivals(text), took_b, 0).0);
        prop_assert_eq!(a, b);
    }

    #[test]
    fn never_more_loops_than_users(vus in 1u32..9, took in 1u64..3 * S, think in 0u64..2 * S) {
        let text = format!("phase = [{{ executor = \"constant-vus\", vus = {vus}, duration = \"20s\" }}]");
        let (starts, _, _) = run(&mut arrivals(&text), took, think);
        for start in &starts {
            let at_once = starts.iter().filter(|o| o.at_us <= start.at_us && start.at_us < o.at_us + took).count();
            prop_assert!(at_once <= vus as usize);
        }
    }
}
