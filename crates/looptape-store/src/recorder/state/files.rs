//! What is told of the agent's files, for the trace that they belong to.

use super::State;
use crate::recorder::files::{self, FilesEvent, Place};
use rusqlite::Connection;

impl State {
    pub(super) fn files(&mut self, connection: &Connection, event: FilesEvent) -> rusqlite::Result<()> {
        match event {
            FilesEvent::Awaited { call } => self.files.await_files(call, &self.calls, &self.traces),
            FilesEvent::Contents { generation, contents } => {
                self.files.put_contents(connection, &mut self.cache, generation, &contents)?;
            }
            FilesEvent::Folder { trace, folder } => {
                let Some(number) = self.traces.of_id(&trace) else { return Ok(()) };
                let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
                let Some(trace) = self.traces.get_mut(number) else { return Ok(()) };
                let scrub = (&self.intake.scrubber, &mut trace.vault);
                files::store_folder(connection, key, scrub, folder)?;
            }
            FilesEvent::Snapshot { of, generation, taken_mono_us, root } => {
                let (key, at, started_mono_us) = match self.files.place(&of) {
                    Place::Known { key, at, started_mono_us } => (key, at, started_mono_us),
                    Place::Nowhere => return Ok(()),
                    Place::Of { id, at } => {
                        let Some(number) = self.traces.of_id(&id) else { return Ok(()) };
                        let Some(key) = self.ensure_row(connection, number)? else { return Ok(()) };
                        let Some(trace) = self.traces.get(number) else { return Ok(()) };
                        (key, at, trace.spec.started.mono_us)
                    }
                };
                let place = (key, at, taken_mono_us - started_mono_us);
                self.files.store(connection, place, generation, &root)?;
            }
        }
        Ok(())
    }
}
