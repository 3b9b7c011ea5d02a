//! Which traces a command works on: the filters that `ls` and `stats` share.

use crate::config::parse_duration;
use crate::exit::UsageError;
use clap::ValueEnum;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use looptape_core::view::TraceStatus;
use looptape_store::{TagFilter, TraceFilter, TraceOrigin};

/// Filters; together they narrow down.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Selection {
    /// Only this agent's
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only those of this version of their agent
    #[arg(long, value_name = "VERSION")]
    agent_version: Option<String>,
    /// Only those in which a call asked for, or was answered by, this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only those that started since: 30m, 2d, 2026-11-01, 2026-11-01T08:00
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those with this tag, KEY=VALUE, or KEY whatever its value; repeatable
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = TagFilter::parse)]
    tags: Vec<TagFilter>,
    /// Only those with this status
    #[arg(long, value_enum)]
    status: Option<StatusArg>,
    /// Replays too; they are left out otherwise
    #[arg(long)]
    replays: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StatusArg {
    Complete,
    Incomplete,
    Aborted,
    Recording,
}

impl Selection {
    /// As a filter, at this time.
    pub(super) fn filter(&self, now_unix_us: i64) -> anyhow::Result<TraceFilter> {
        let since = self.since.as_deref().map(|text| since(text, now_unix_us, &TimeZone::system()));
        Ok(TraceFilter {
            since_unix_us: since.transpose().map_err(UsageError)?,
            agent: self.agent.clone(),
            agent_version: self.agent_version.clone(),
            model: self.model.clone(),
            tags: self.tags.clone(),
            status: self.status.map(|status| match status {
                StatusArg::Complete => TraceStatus::Complete,
                StatusArg::Incomplete => TraceStatus::Incomplete,
                StatusArg::Aborted => TraceStatus::Aborted,
                StatusArg::Recording => TraceStatus::Recording,
            }),
            origin: if self.replays { TraceOrigin::All } else { TraceOrigin::Recordings },
            ..TraceFilter::default()
        })
    }

    /// From `--filter KEY=VALUE`, where a command has other meanings for the options.
    pub(super) fn of_filters(filters: &[String]) -> Result<Self, UsageError> {
        let mut selection = Self {
            agent: None,
            agent_version: None,
            model: None,
            since: None,
            tags: Vec::new(),
            status: None,
            replays: false,
        };
        for filter in filters {
            let wrong = || {
                let keys = "agent=NAME, agent-version=VERSION, model=NAME, since=TIME, tag=KEY=VALUE, status=complete";
                UsageError(format!("--filter: `{filter}` is no filter: write one of {keys}"))
            };
            let (key, value) = filter.split_once('=').ok_or_else(wrong)?;
            let value = value.to_owned();
            match key {
                "agent" => selection.agent = Some(value),
                "agent-version" => selection.agent_version = Some(value),
                "model" => selection.model = Some(value),
                "since" => selection.since = Some(value),
                "tag" => selection.tags.push(TagFilter::parse(&value).map_err(|_| wrong())?),
                "status" => selection.status = Some(StatusArg::from_str(&value, true).map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        Ok(selection)
    }

    /// Whether anything is asked for at all.
    pub(super) fn is_empty(&self) -> bool {
        let Self { agent, agent_version, model, since, tags, status, replays: _ } = self;
        agent.is_none()
            && agent_version.is_none()
            && model.is_none()
            && since.is_none()
            && tags.is_empty()
            && status.is_none()
    }
}

/// A time span before now, a day, or an instant; days and times without a zone are local.
fn since(text: &str, now_unix_us: i64, zone: &TimeZone) -> Result<i64, String> {
    if let Ok(seconds) = parse_duration(text) {
        let us = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1_000_000));
        return us.map(|us| now_unix_us.saturating_sub(us)).ok_or_else(|| format!("`{text}` is too long"));
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.as_microsecond());
    }
    let local = text.parse::<DateTime>().or_else(|_| text.parse::<civil::Date>().map(|d| d.at(0, 0, 0, 0)));
    let zoned = local.ok().and_then(|local| local.to_zoned(zone.clone()).ok());
    zoned.map(|zoned| zoned.timestamp().as_microsecond()).ok_or_else(|| {
        format!("--since: `{text}` is not a time: write 30m, 12h, 2d, 2026-11-01 or 2026-11-01T08:00")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use looptape_core::labels::Tag;

    #[test]
    fn filters_say_what_the_options_say() {
        let filters = |filters: &[&str]| {
            let filters: Vec<String> = filters.iter().map(|&filter| filter.to_owned()).collect();
            Selection::of_filters(&filters).and_then(|s| s.filter(0).map_err(|e| UsageError(e.to_string())))
        };
        let all = filters(&["agent=a=b", "model=m", "since=1970-01-03T00:00:00Z", "tag=env=x", "tag=y"]);
        let all = all.unwrap();
        assert_eq!((all.agent.as_deref(), all.model.as_deref()), (Some("a=b"), Some("m")));
        assert_eq!(all.since_unix_us, Some(2 * 86_400_000_000));
        let tag = Tag { key: "env".into(), value: "x".into() };
        assert_eq!(all.tags, [TagFilter::Value(tag), TagFilter::Key("y".into())]);
        assert_eq!(filters(&["status=aborted"]).unwrap().status, Some(TraceStatus::Aborted));
        for wrong in ["agent", "colour=red", "tag==x", "status=blue", "since=yesterday"] {
            assert!(filters(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_days_and_instants() {
        let day_us = 86_400_000_000;
        let now = Timestamp::UNIX_EPOCH.as_microsecond() + 100 * day_us;
        let at = |text: &str| since(text, now, &TimeZone::UTC);
        assert_eq!(at("2d"), Ok(now - 2 * day_us));
        assert_eq!(at("1970-01-03"), Ok(2 * day_us));
        assert_eq!(at("1970-01-03T12:00"), Ok(2 * day_us + day_us / 2));
        assert_eq!(at("1970-01-03T02:00:00+02:00"), Ok(2 * day_us));
        assert!(at("yesterday").unwrap_err().contains("2026-11-01"));
    }
}
