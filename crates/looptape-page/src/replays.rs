//! Replays that are started from the page.
//!
//! The page has no recorder and no client: whoever serves it hands in what runs a replay ([`RunsReplays`]). Here is
//! which of them run, how far each is, and what came of it. They live as long as the process; what they record stays.

use serde::Serialize;
use serde_json::Value;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A replay that somebody asks for: the recorded requests are sent again.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedReplay {
    /// What names the trace.
    pub trace: String,
    pub answers: Answers,
    /// 0: nothing waits; 1: as recorded.
    pub speed: f64,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    Recorded,
    /// The simulated provider, from this step on.
    Mocked {
        from: Option<u32>,
    },
    /// The provider, from this step on, for no more than this.
    Live {
        from: Option<u32>,
        model: Option<String>,
        max_usd: f64,
    },
}

/// What came of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// What `looptape replay --json` prints.
    pub report: Value,
}

/// Runs replays.
pub trait RunsReplays: Send + Sync + std::fmt::Debug {
    /// Runs one to its end, on this thread, or until it is told to stop. An error is in words.
    fn run(&self, wanted: &WantedReplay, progress: &Arc<Progress>) -> Result<Replayed, String>;
}

/// How far a replay is, and whether it is to stop.
#[derive(Debug)]
pub struct Progress {
    sent: AtomicU32,
    total: AtomicU32,
    /// The trace that it records.
    trace: Mutex<Option<String>>,
    stop: watch::Sender<bool>,
}

impl Default for Progress {
    fn default() -> Self {
        let (stop, _) = watch::channel(false);
        Self { sent: AtomicU32::new(0), total: AtomicU32::new(0), trace: Mutex::default(), stop }
    }
}

impl Progress {
    /// So many requests will be sent.
    pub fn begins(&self, total: usize) {
        self.total.store(u32::try_from(total).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// One of them was answered.
    pub fn one_answered(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// It is recorded as this trace.
    pub fn records(&self, trace: &str) {
        *locked(&self.trace) = Some(trace.to_owned());
    }

    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it is to stop.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender is here: it cannot go first.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

/// A replay of the page, as the API tells of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReplayState {
    id: u32,
    trace: String,
    /// recorded, mocked, live
    answers: &'static str,
    #[serde(flatten)]
    stage: Stage,
    /// Requests that were answered, of so many.
    answered: u32,
    total: u32,
    /// The trace that it records.
    records: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Stage {
    Running,
    Stopping,
    Done(Replayed),
    Failed { error: String },
}

/// Those that the page started.
#[derive(Debug)]
pub(crate) struct Replays {
    runner: Arc<dyn RunsReplays>,
    all: Mutex<Vec<Arc<One>>>,
}

#[derive(Debug)]
struct One {
    id: u32,
    wanted: WantedReplay,
    progress: Arc<Progress>,
    stage: Mutex<Stage>,
}

/// Replays that run at once.
const MOST_AT_ONCE: usize = 4;
/// Replays that are remembered.
const MOST_KNOWN: usize = 100;

/// So many run already.
#[derive(Debug, thiserror::Error)]
#[error("{MOST_AT_ONCE} replays run already: wait for one, or stop it")]
pub(crate) struct TooMany;

impl Replays {
    pub(crate) fn new(runner: Arc<dyn RunsReplays>) -> Self {
        Self { runner, all: Mutex::default() }
    }

    /// Starts one, on a thread of its own. Whoever asked may go away: it runs on.
    pub(crate) fn start(&self, wanted: WantedReplay) -> Result<ReplayState, TooMany> {
        let mut all = locked(&self.all);
        if all.iter().filter(|one| one.is_running()).count() >= MOST_AT_ONCE {
            return Err(TooMany);
        }
        if all.len() >= MOST_KNOWN
            && let Some(oldest) = all.iter().position(|one| !one.is_running())
        {
            all.remove(oldest);
        }
        let id = all.iter().map(|one| one.id).max().unwrap_or(0) + 1;
        let progress = Arc::new(Progress::default());
        let one = Arc::new(One { id, wanted, progress, stage: Mutex::new(Stage::Running) });
        all.push(one.clone());
        let (runner, running) = (self.runner.clone(), one.clone());
        std::thread::spawn(move || {
            let run = || runner.run(&running.wanted, &running.progress);
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            *locked(&running.stage) = match ran {
                Ok(Ok(replayed)) => Stage::Done(replayed),
                Ok(Err(error)) => Stage::Failed { error },
                Err(_) => Stage::Failed { error: "it broke off: this is a bug".to_owned() },
            };
        });
        Ok(one.state())
    }

    pub(crate) fn state(&self, id: u32) -> Option<ReplayState> {
        self.find(id).map(|one| one.state())
    }

    /// Asks one to stop; what it did until then is kept.
    pub(crate) fn stop(&self, id: u32) -> Option<ReplayState> {
        let one = self.find(id)?;
        one.progress.stop();
        let mut stage = locked(&one.stage);
        if matches!(*stage, Stage::Running) {
            *stage = Stage::Stopping;
        }
        drop(stage);
        Some(one.state())
    }

    fn find(&self, id: u32) -> Option<Arc<One>> {
        locked(&self.all).iter().find(|one| one.id == id).cloned()
    }
}

impl One {
    fn is_running(&self) -> bool {
        matches!(*locked(&self.stage), Stage::Running | Stage::Stopping)
    }

    fn state(&self) -> ReplayState {
        ReplayState {
            id: self.id,
            trace: self.wanted.trace.clone(),
            answers: match self.wanted.answers {
                Answers::Recorded => "recorded",
                Answers::Mocked { .. } => "mocked",
                Answers::Live { .. } => "live",
            },
            stage: locked(&self.stage).clone(),
            answered: self.progress.sent.load(Ordering::Relaxed),
            total: self.progress.total.load(Ordering::Relaxed),
            records: locked(&self.progress.trace).clone(),
        }
    }
}

/// What is behind these locks is whole at every moment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Runs until it is told to stop; where it is to fail, it does so at once.
    #[derive(Debug)]
    struct UntilStopped(Mutex<mpsc::Sender<()>>);

    impl RunsReplays for UntilStopped {
        fn run(&self, wanted: &WantedReplay, progress: &Arc<Progress>) -> Result<Replayed, String> {
            match wanted.trace.as_str() {
                "wrong" => Err("there is no trace `wrong`".to_owned()),
                "bug" => panic!("a bug"),
                _ => {
                    progress.begins(3);
                    progress.one_answered();
                    progress.records("child");
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    locked(&self.0).send(()).unwrap();
                    runtime.block_on(progress.stopped());
                    Ok(Replayed { report: Value::Null })
                }
            }
        }
    }

    fn wanted(trace: &str) -> WantedReplay {
        WantedReplay { trace: trace.to_owned(), answers: Answers::Recorded, speed: 0.0 }
    }

    fn ended(replays: &Replays, id: u32) -> Value {
        loop {
            let state = serde_json::to_value(replays.state(id).unwrap()).unwrap();
            if !["running", "stopping"].contains(&state["state"].as_str().unwrap()) {
                return state;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn they_run_are_watched_and_stopped_and_no_more_than_a_few_at_once() {
        let (sender, started) = mpsc::channel();
        let replays = Replays::new(Arc::new(UntilStopped(Mutex::new(sender))));
        let ids: Vec<u32> = (0..MOST_AT_ONCE).map(|_| replays.start(wanted("t")).unwrap().id).collect();
        (0..MOST_AT_ONCE).for_each(|_| started.recv().unwrap());
        assert!(replays.start(wanted("t")).is_err());
        let state = serde_json::to_value(replays.state(ids[0]).unwrap()).unwrap();
        assert_eq!(
            (&state["state"], &state["answered"], &state["total"], &state["records"]),
            (&"running".into(), &1.into(), &3.into(), &"child".into())
        );
        replays.stop(ids[0]).unwrap();
        assert_eq!(ended(&replays, ids[0])["state"], "done");
        let next = replays.start(wanted("wrong")).unwrap().id;
        assert_eq!(ended(&replays, next)["error"], "there is no trace `wrong`");
        let next = replays.start(wanted("bug")).unwrap().id;
        assert_eq!(ended(&replays, next)["error"], "it broke off: this is a bug");
        assert!(replays.state(99).is_none() && replays.stop(99).is_none());
        ids.iter().for_each(|id| drop(replays.stop(*id)));
    }
}
