//! The looptape over this process: where it listens, and whether it records or replays.
//!
//! It says so in the environment. Clients of MCP servers hand only a few variables on, so where they are missing the
//! processes above this one are asked for theirs (Linux only).

use crate::child::environment::Mode;
use anyhow::Context;
use looptape_core::TraceId;
use std::collections::HashMap;

/// How far up is looked.
const MOST_ANCESTORS: usize = 32;

#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) url: String,
    pub(crate) trace: TraceId,
    pub(crate) mode: Mode,
}

impl Gateway {
    /// `None` if nothing records or replays here.
    pub(crate) fn find() -> anyhow::Result<Option<Self>> {
        let own = |name: &str| std::env::var(name).ok();
        if own("LOOPTAPE_URL").is_some() {
            return Self::told(&own);
        }
        match above() {
            Some(told) => Self::told(&|name| told.get(name).cloned()),
            None => Ok(None),
        }
    }

    fn told(variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Option<Self>> {
        let Some(url) = variable("LOOPTAPE_URL").filter(|url| !url.is_empty()) else { return Ok(None) };
        let trace =
            variable("LOOPTAPE_TRACE").context("LOOPTAPE_URL is set, and LOOPTAPE_TRACE is not: set both")?;
        let trace = TraceId::parse(&trace).context("LOOPTAPE_TRACE")?;
        let mode = match variable("LOOPTAPE_MODE").as_deref() {
            None | Some("record") => Mode::Record,
            Some("replay") => Mode::Replay,
            Some(other) => anyhow::bail!("LOOPTAPE_MODE is `{other}`: it is `record` or `replay`"),
        };
        Ok(Some(Self { url, trace, mode }))
    }
}

/// The variables of the nearest process above this one that was told.
fn above() -> Option<HashMap<String, String>> {
    let mut pid = rustix::process::getppid()?.as_raw_pid();
    for _ in 0..MOST_ANCESTORS {
        let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let told: HashMap<String, String> = String::from_utf8_lossy(&variables)
            .split('\0')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(name, _)| name.starts_with("LOOPTAPE_"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if told.contains_key("LOOPTAPE_URL") {
            return Some(told);
        }
        pid = parent_of(pid)?;
    }
    None
}

/// The name in `stat` may hold anything, brackets too; what follows it may not.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    (parent > 1).then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_say_what_is_done() {
        let told = |pairs: &[(&str, &str)]| {
            let pairs: HashMap<String, String> =
                pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            Gateway::told(&|name| pairs.get(name).cloned())
        };
        assert!(told(&[]).unwrap().is_none());
        let all = [("LOOPTAPE_URL", "http://h"), ("LOOPTAPE_TRACE", "t"), ("LOOPTAPE_MODE", "replay")];
        assert_eq!(told(&all).unwrap().unwrap().mode, Mode::Replay);
        assert_eq!(told(&all[..2]).unwrap().unwrap().mode, Mode::Record);
        assert!(told(&all[..1]).is_err());
        assert!(told(&[all[0], all[1], ("LOOPTAPE_MODE", "x")]).is_err());
    }
}
