//! Replays that are started from the page.
//!
//! The page has no recorder and no client: whoever serves it hands in what runs a replay ([`RunsReplays`]). Here is
//! which of them run, how far each is, and what came of it. They live as long as the process, whose end tells them to
//! stop and waits for them ([`Replays::finish`]); what they record stays.

use serde::Serialize;
use serde_json::Value;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
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
    /// Who stops it, in words; `None` while nobody does.
    stop: watch::Sender<Option<&'static str>>,
}

impl Default for Progress {
    fn default() -> Self {
        let (stop, _) = watch::channel(None);
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

    /// Tells it to stop, and why, for its trace. Who says so first is believed.
    pub fn stop(&self, why: &'static str) {
        self.stop.send_if_modified(|stop| stop.is_none() && stop.replace(why).is_none());
    }

    /// Waits until it is to stop.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender is here: it cannot go first.
        let _ = stop.wait_for(Option::is_some).await;
    }

    /// Why it was told to stop, if it was.
    pub fn stopped_because(&self) -> Option<&'static str> {
        *self.stop.borrow()
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

impl Stage {
    fn is_running(&self) -> bool {
        matches!(self, Self::Running | Self::Stopping)
    }
}

/// Those that the page started.
#[derive(Debug)]
pub(crate) struct Replays {
    runner: Arc<dyn RunsReplays>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    all: Vec<Arc<One>>,
    /// The page ends: nothing starts any more.
    is_ending: bool,
}

#[derive(Debug)]
struct One {
    id: u32,
    wanted: WantedReplay,
    progress: Arc<Progress>,
    stage: watch::Sender<Stage>,
}

/// Replays that run at once.
const MOST_AT_ONCE: usize = 4;
/// Replays that are remembered.
const MOST_KNOWN: usize = 100;

/// Why a replay was stopped, as its trace says it.
const BY_THE_PAGE: &str = "stopped from the page";
const WITH_THE_PAGE: &str = "stopped because the page that started it was ended";

/// Why none starts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error("{MOST_AT_ONCE} replays run already: wait for one, or stop it")]
    TooMany,
    #[error("this page is being ended")]
    Ending,
}

impl Replays {
    pub(crate) fn new(runner: Arc<dyn RunsReplays>) -> Self {
        Self { runner, known: Mutex::default() }
    }

    /// Starts one, on a thread of its own. Whoever asked may go away: it runs on.
    pub(crate) fn start(&self, wanted: WantedReplay) -> Result<ReplayState, NotStarted> {
        let mut known = locked(&self.known);
        if known.is_ending {
            return Err(NotStarted::Ending);
        }
        let all = &mut known.all;
        if all.iter().filter(|one| one.is_running()).count() >= MOST_AT_ONCE {
            return Err(NotStarted::TooMany);
        }
        if all.len() >= MOST_KNOWN
            && let Some(oldest) = all.iter().position(|one| !one.is_running())
        {
            all.remove(oldest);
        }
        let id = all.iter().map(|one| one.id).max().unwrap_or(0) + 1;
        let progress = Arc::new(Progress::default());
        let one = Arc::new(One { id, wanted, progress, stage: watch::Sender::new(Stage::Running) });
        all.push(one.clone());
        let (runner, running) = (self.runner.clone(), one.clone());
        std::thread::spawn(move || {
            let run = || runner.run(&running.wanted, &running.progress);
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            running.stage.send_replace(match ran {
                Ok(Ok(replayed)) => Stage::Done(replayed),
                Ok(Err(error)) => Stage::Failed { error },
                Err(_) => Stage::Failed { error: "it broke off: this is a bug".to_owned() },
            });
        });
        Ok(one.state())
    }

    pub(crate) fn state(&self, id: u32) -> Option<ReplayState> {
        self.find(id).map(|one| one.state())
    }

    /// Asks one to stop; what it did until then is kept.
    pub(crate) fn stop(&self, id: u32) -> Option<ReplayState> {
        let one = self.find(id)?;
        one.stop(BY_THE_PAGE);
        Some(one.state())
    }

    /// Starts no more, asks those that run to stop, and waits until each has written down how it ended, for no longer
    /// than `limit`. How many did not.
    pub(crate) async fn finish(&self, limit: Duration) -> usize {
        let running: Vec<Arc<One>> = {
            let mut known = locked(&self.known);
            known.is_ending = true;
            known.all.iter().filter(|one| one.is_running()).cloned().collect()
        };
        running.iter().for_each(|one| one.stop(WITH_THE_PAGE));
        let all_end = async {
            for one in &running {
                one.ends().await;
            }
        };
        match tokio::time::timeout(limit, all_end).await {
            Ok(()) => 0,
            Err(_) => running.iter().filter(|one| one.is_running()).count(),
        }
    }

    fn find(&self, id: u32) -> Option<Arc<One>> {
        locked(&self.known).all.iter().find(|one| one.id == id).cloned()
    }
}

impl One {
    fn is_running(&self) -> bool {
        self.stage.borrow().is_running()
    }

    fn stop(&self, why: &'static str) {
        self.progress.stop(why);
        self.stage.send_if_modified(|stage| {
            let runs = matches!(stage, Stage::Running);
            if runs {
                *stage = Stage::Stopping;
            }
            runs
        });
    }

    /// Waits until it runs no more.
    async fn ends(&self) {
        // The sender is here: it cannot go first.
        let _ = self.stage.subscribe().wait_for(|stage| !stage.is_running()).await;
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
            stage: self.stage.borrow().clone(),
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
                    Ok(Replayed { report: progress.stopped_because().into() })
                }
            }
        }
    }

    fn wanted(trace: &str) -> WantedReplay {
        WantedReplay { trace: trace.to_owned(), answers: Answers::Recorded, speed: 0.0 }
    }

    async fn ended(replays: &Replays, id: u32) -> Value {
        replays.find(id).unwrap().ends().await;
        serde_json::to_value(replays.state(id).unwrap()).unwrap()
    }

    /// So many that run, and what tells when they do.
    fn running(n: usize) -> (Replays, Vec<u32>) {
        let (sender, started) = mpsc::channel();
        let replays = Replays::new(Arc::new(UntilStopped(Mutex::new(sender))));
        let ids = (0..n).map(|_| replays.start(wanted("t")).unwrap().id).collect();
        (0..n).for_each(|_| started.recv().unwrap());
        (replays, ids)
    }

    #[tokio::test]
    async fn they_run_are_watched_and_stopped_and_no_more_than_a_few_at_once() {
        let (replays, ids) = running(MOST_AT_ONCE);
        assert!(matches!(replays.start(wanted("t")), Err(NotStarted::TooMany)));
        let state = serde_json::to_value(replays.state(ids[0]).unwrap()).unwrap();
        assert_eq!(
            (&state["state"], &state["answered"], &state["total"], &state["records"]),
            (&"running".into(), &1.into(), &3.into(), &"child".into())
        );
        replays.stop(ids[0]).unwrap();
        let stopped = ended(&replays, ids[0]).await;
        assert_eq!((&stopped["state"], &stopped["report"]), (&"done".into(), &BY_THE_PAGE.into()));
        let next = replays.start(wanted("wrong")).unwrap().id;
        assert_eq!(ended(&replays, next).await["error"], "there is no trace `wrong`");
        let next = replays.start(wanted("bug")).unwrap().id;
        assert_eq!(ended(&replays, next).await["error"], "it broke off: this is a bug");
        assert!(replays.state(99).is_none() && replays.stop(99).is_none());
        ids.iter().for_each(|id| drop(replays.stop(*id)));
    }

    #[tokio::test]
    async fn they_end_with_the_page_and_none_starts_after_it() {
        let (replays, ids) = running(2);
        replays.stop(ids[0]).unwrap();
        assert_eq!(replays.finish(Duration::from_secs(60)).await, 0);
        for (id, why) in ids.iter().zip([BY_THE_PAGE, WITH_THE_PAGE]) {
            assert_eq!(ended(&replays, *id).await["report"], why, "who stopped it first is believed");
        }
        assert!(matches!(replays.start(wanted("t")), Err(NotStarted::Ending)));
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_not_waited_for() {
        let (sender, started) = mpsc::channel();
        let replays = Replays::new(Arc::new(Deaf(Mutex::new(sender))));
        replays.start(wanted("t")).unwrap();
        started.recv().unwrap();
        assert_eq!(replays.finish(Duration::from_millis(1)).await, 1);
    }

    /// Hears nothing.
    #[derive(Debug)]
    struct Deaf(Mutex<mpsc::Sender<()>>);

    impl RunsReplays for Deaf {
        fn run(&self, _: &WantedReplay, _: &Arc<Progress>) -> Result<Replayed, String> {
            locked(&self.0).send(()).unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}
