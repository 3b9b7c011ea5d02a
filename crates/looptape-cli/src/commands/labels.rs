//! `--agent`, `--agent-version`, `--tag`: what the traces of a run are called.
//!
//! Flags beat `LOOPTAPE_AGENT`, `LOOPTAPE_AGENT_VERSION` and `LOOPTAPE_TAGS`, tag by tag.

use crate::exit::UsageError;
use looptape_core::labels::{Labels, Tag, parse_name};

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Labels")]
pub(super) struct LabelArgs {
    /// Name of the agent: runs of one agent are compared with one another
    #[arg(long, value_name = "NAME", env = "LOOPTAPE_AGENT", value_parser = parse_name)]
    agent: Option<String>,
    /// The agent's version: a release, a commit, a prompt's revision
    #[arg(long, value_name = "VERSION", env = "LOOPTAPE_AGENT_VERSION", value_parser = parse_name)]
    agent_version: Option<String>,
    /// A tag, KEY=VALUE or KEY; repeatable [env: LOOPTAPE_TAGS=KEY=VALUE,KEY=VALUE]
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = Tag::parse)]
    tags: Vec<Tag>,
}

impl LabelArgs {
    /// What flags and environment say.
    pub(super) fn labels(&self) -> anyhow::Result<Labels> {
        let (agent, agent_version) = (self.agent.clone(), self.agent_version.clone());
        let mut labels = Labels { agent, agent_version, ..Labels::default() };
        self.tags.iter().for_each(|tag| labels.add_tag(tag.clone()));
        let listed = std::env::var("LOOPTAPE_TAGS").unwrap_or_default();
        for tag in Tag::parse_list(&listed) {
            labels.add_tag(
                tag.map_err(|e| UsageError(format!("LOOPTAPE_TAGS=`{listed}`: a tag is wrong: {e}")))?,
            );
        }
        Ok(labels)
    }
}
