//! An agent's files, looked at while it waits for a model.
//!
//! The look begins when the agent asks, and goes on while the model thinks. The answer's head is held back until the
//! look is over, so that nothing that comes of the answer is in it; mostly that is long before. It is never held
//! back for longer than [`LONGEST_WAIT`]: a snapshot that comes later is kept with its time, which says so.

use looptape_store::CallTicket;
use looptape_store::workspace::Snapshots;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long an answer waits for a look at the files.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Whoever looks.
#[derive(Clone, Debug)]
pub(crate) struct FilesAtCalls(Snapshots);

/// A look that has begun. If the client goes away, it goes on.
#[derive(Debug)]
pub(crate) struct Look(oneshot::Receiver<()>);

impl FilesAtCalls {
    pub(crate) fn new(snapshots: Snapshots) -> Self {
        Self(snapshots)
    }

    /// Begins to look at the files for a call that has begun.
    pub(crate) fn look(&self, call: &CallTicket) -> Look {
        let (tell, told) = oneshot::channel();
        self.0.take(call.awaits_files(), move |_| {
            // Whoever waited may have gone.
            let _ = tell.send(());
        });
        Look(told)
    }
}

impl Look {
    /// Waits until the files were looked at, or for as long as an answer may wait.
    pub(crate) async fn seen(self) {
        let _ = tokio::time::timeout(LONGEST_WAIT, self.0).await;
    }
}
