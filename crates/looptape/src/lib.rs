//! Says to looptape what an agent's tools do, and where its loops begin and end.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let agent = async {
//!     let city = "Oslo";
//!     let weather: String =
//!         looptape::tool("get_weather", &serde_json::json!({ "city": city }))
//!             .reads_only()
//!             .run(|| async { Ok::<_, std::io::Error>("rain".to_owned()) })
//!             .await?;
//!     Ok(weather)
//! };
//! let weather: Result<String, looptape::ToolFailure<std::io::Error>> =
//!     looptape::Loop::new("weekend").run(agent).await;
//! # Ok(()) }
//! ```
//!
//! Under `looptape record` a tool's calls are recorded: arguments, result or error, time. Under `looptape replay` they
//! are answered from the recording, and the closure does not run. Without looptape (no `LOOPTAPE_URL`) nothing here does
//! anything. Recording never harms the agent: what cannot be sent is dropped. The protocol is in `docs/tools.md`.
//!
//! What this does not do: find tools by itself, or send anything to anybody but the looptape that runs the program.

mod connection;
mod loops;
mod middleware;
mod tool;

pub use connection::is_active;
pub use loops::{Loop, headers};
pub use middleware::InLoop;
pub use tool::{RecordedFailure, Tool, ToolFailure, tool};
