//! Serves the simulated provider until its standard input ends, and prints its address: for trying a
//! client by hand. `demo` as the argument plays the demo's script with its 429, `shell` a task for coding
//! agents, `research` one whose context grows, anything else the plain tool loop.

use looptape_core::simulated::Script;
use looptape_proxy::simulated_server::SimulatedServer;
use std::io::Read;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let script = match std::env::args().nth(1).as_deref() {
        Some("demo") => Script::demo(),
        Some("shell") => Script::shell_task(),
        Some("research") => Script::research(),
        _ => Script::tool_loop(),
    };
    let (url, server) = SimulatedServer::start(script).await?;
    println!("{url}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    eprintln!("calls: {}", server.stop().await);
    Ok(())
}
