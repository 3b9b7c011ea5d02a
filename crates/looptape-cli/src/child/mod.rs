//! The program that is recorded or replayed: its environment and its process.

pub(crate) mod agent_hooks;
pub(crate) mod capture;
pub(crate) mod claude_code;
pub(crate) mod environment;
pub(crate) mod mcp_config;
pub(crate) mod overlay;
pub(crate) mod process;
pub(crate) mod recorded_clock;
pub(crate) mod sandbox;
pub(crate) mod stage;
pub(crate) mod surroundings;
pub(crate) mod tool_hooks;
