//! The columns of figures.

use crate::render::figures::{count, duration, percent};
use looptape_core::view::{EntryView, ToolKnown};

pub(super) const NARROW_FIGURES: &[Column] = &[Column::Input, Column::Output, Column::Cost, Column::Time];
pub(super) const WIDE_FIGURES: &[Column] =
    &[Column::Input, Column::Cached, Column::Output, Column::Cost, Column::Ttft, Column::Time];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Input,
    Cached,
    Output,
    Cost,
    Ttft,
    Time,
}

impl Column {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Input => "in",
            Self::Cached => "cached",
            Self::Output => "out",
            Self::Cost => "cost",
            Self::Ttft => "TTFT",
            Self::Time => "time",
        }
    }

    pub(super) fn width(self) -> usize {
        match self {
            Self::Input | Self::Output | Self::Cached => 6,
            Self::Ttft => 7,
            Self::Cost => 10,
            Self::Time => 8,
        }
    }

    pub(super) fn figure(self, entry: &EntryView) -> String {
        let usage = entry.usage.as_ref();
        let figure = match self {
            Self::Input => usage.and_then(|u| u.input_total).map(count),
            Self::Cached => usage
                .and_then(|u| u.cache_read.zip(u.input_total))
                .filter(|(read, total)| *read > 0 && *total > 0)
                .map(|(read, total)| percent(read as f64 / total as f64)),
            Self::Output => usage.and_then(|u| u.output_total).map(count),
            Self::Cost => entry.cost.as_ref().map(|cost| match cost.at_least {
                true => format!("≥{}", cost.usd),
                false => cost.usd.to_string(),
            }),
            Self::Ttft => entry.ttft_ms.map(duration),
            Self::Time => entry.duration_ms.map(|time| match &entry.tool {
                Some(tool) if tool.source == ToolKnown::Inferred => format!("≤{}", duration(time)),
                _ => duration(time),
            }),
        };
        figure.unwrap_or_default()
    }
}
