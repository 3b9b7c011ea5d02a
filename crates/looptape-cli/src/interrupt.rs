//! Ctrl-C, for commands that tell what they have done until then.

use crate::exit::Exit;
use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sets `stop` at the first Ctrl-C; children under way hear it themselves. The second ends this process.
pub(crate) fn heed_ctrl_c(stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime cannot be started")?;
    let listen = move || {
        runtime.block_on(async {
            for times in 0.. {
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
                stop.store(true, Ordering::Relaxed);
                if times > 0 {
                    std::process::exit(i32::from(Exit::Interrupted.code()));
                }
            }
        });
    };
    std::thread::Builder::new()
        .name("looptape-ctrl-c".into())
        .spawn(listen)
        .context("a thread cannot be started")?;
    Ok(())
}
