//! Options about how loosely a request may match, common to the verbs that replay.

use crate::config::Config;
use looptape_core::replay::{EditBudget, MaskKind, Options, Rebind, Rung};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MatchingArgs {
    /// Also serve a request whose history differs from a recorded one by at most N words inserted, left out
    /// or replaced; everything else must be the same
    #[arg(long, value_name = "N", conflicts_with = "max_rung", value_parser = clap::value_parser!(u32).range(1..=1000))]
    near: Option<u32>,
    /// Where a masked id or folder differs, name the live one in later answers, and list it
    #[arg(long)]
    rebind: bool,
    #[command(flatten)]
    masks: MaskArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MaskArgs {
    /// Do not mask this kind of volatile value; repeatable
    ///
    /// Kinds: uuid, ulid, id, address, date_time, epoch, temporary_path, host, port, pid, duration, harness;
    /// and, where they are the run's own, date, working_folder, home, user, host_name, kernel, time_zone, git.
    #[arg(long, value_name = "KIND")]
    no_mask: Vec<MaskKind>,
}

impl MatchingArgs {
    /// The options with near matches and rebinding, if they are wanted.
    pub(crate) fn options(&self, options: Options) -> Options {
        let rebind = if self.rebind { Rebind::On } else { Rebind::Off };
        let options = Options { rebind, ..options };
        match self.near {
            Some(words) => Options { max_rung: Rung::Near, near: EditBudget { words }, ..options },
            None => options,
        }
    }

    /// The settings with what the command line turns off.
    pub(crate) fn settings(&self, config: Config) -> Config {
        self.masks.settings(config)
    }
}

impl MaskArgs {
    /// The settings with what the command line turns off.
    pub(crate) fn settings(&self, mut config: Config) -> Config {
        config.masks.disable.extend(&self.no_mask);
        config
    }
}
