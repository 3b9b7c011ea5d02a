//! What is a run's own: the values of its environment and its clock, of both sides at once.
//!
//! Both sides are searched for the values of both. So a text that is the same on both sides is read the
//! same, whoever's value stands in it: a recorded answer brings the recorded folder into the live history.
//! Whether two values may stand for each other is asked afterwards ([`OwnValues::correspond`]), and there
//! each side has its own only.

use super::kind::MaskKind;
use super::moments;
use super::places::Part;
use crate::replay::environment::{Aspect, Environment, Texts};

/// Shorter values are found in paths and behind labels only: they are words of every text.
const SHORTEST_WORD: usize = 4;

/// One side of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// `None` where it is not known: an import, an old recording.
    pub environment: Option<Environment>,
    /// When it started, µs since 1970.
    pub started_unix_us: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct OwnValues {
    recorded: Side,
    live: Side,
    /// Both sides' values by their first byte, the longest first.
    values: Vec<Value>,
    /// Where those with each first byte stand among `values`.
    by_first_byte: Option<Box<[std::ops::Range<usize>; 256]>>,
    temporary_folders: Vec<String>,
}

#[derive(Debug, Default)]
struct Side {
    texts: Texts,
    started_unix_us: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    text: String,
    aspect: Aspect,
}

impl OwnValues {
    /// Environments count only if both are known: a value can only stand for its counterpart.
    pub(super) fn new(recorded: &Run, live: &Run) -> Self {
        let both = recorded.environment.as_ref().zip(live.environment.as_ref());
        let side = |run: &Run, environment: Option<&Environment>| Side {
            texts: environment.map(Environment::texts).unwrap_or_default(),
            started_unix_us: run.started_unix_us,
        };
        let mut own = Self {
            recorded: side(recorded, both.map(|(recorded, _)| recorded)),
            live: side(live, both.map(|(_, live)| live)),
            ..Self::default()
        };
        own.index();
        let folder = |run: &Run| run.environment.as_ref().and_then(|e| e.temporary_folder.clone());
        own.temporary_folders = [recorded, live].into_iter().filter_map(folder).collect();
        own.temporary_folders.retain(|folder| folder.len() > 1);
        own.temporary_folders
            .iter_mut()
            .for_each(|folder| folder.truncate(folder.trim_end_matches('/').len()));
        own.temporary_folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
        own
    }

    fn index(&mut self) {
        let mut values: Vec<Value> = Vec::new();
        for (text, aspects) in self.recorded.texts.iter().chain(&self.live.texts) {
            let Some(&aspect) = aspects.iter().min() else { continue };
            let known = values.iter_mut().find(|value| value.text == *text);
            match known {
                Some(value) => value.aspect = value.aspect.min(aspect),
                None => values.push(Value { text: text.clone(), aspect }),
            }
        }
        let first = |value: &Value| value.text.as_bytes().first().copied();
        values.sort_by(|a, b| (first(a), b.text.len(), &a.text).cmp(&(first(b), a.text.len(), &b.text)));
        let place = |byte: usize| {
            let start = values.partition_point(|value| first(value).is_some_and(|f| usize::from(f) < byte));
            start..values.partition_point(|value| first(value).is_some_and(|f| usize::from(f) <= byte))
        };
        self.by_first_byte = (!values.is_empty()).then(|| Box::new(std::array::from_fn(place)));
        self.values = values;
    }

    pub(super) fn temporary_folders(&self) -> &[String] {
        &self.temporary_folders
    }

    /// The longest own value that stands at `at`, within its boundaries.
    pub(super) fn starting_at(&self, text: &[u8], at: usize) -> Option<Part> {
        let place = self.by_first_byte.as_ref()?[usize::from(text[at])].clone();
        let values = &self.values[place];
        let found = values
            .iter()
            .find(|value| text[at..].starts_with(value.text.as_bytes()) && stands_alone(value, text, at))?;
        Some((at..at + found.text.len(), kind_of(found.aspect)))
    }

    /// Whether the recorded run's clock or the live one's was near this moment.
    pub(super) fn is_near_a_clock(&self, unix_us: i64) -> bool {
        self.recorded.is_near(unix_us) || self.live.is_near(unix_us)
    }

    /// Whether a recorded text and a live one are the same thing of their own runs, and what.
    pub(super) fn correspond(&self, recorded: &str, live: &str) -> Option<MaskKind> {
        let (recorded, live) = (self.recorded.texts.get(recorded)?, self.live.texts.get(live)?);
        recorded.iter().copied().filter(|aspect| live.contains(aspect)).min().map(kind_of)
    }

    /// Whether both epoch times are near their own run's clock.
    pub(super) fn correspond_in_time(&self, recorded: &[u8], live: &[u8]) -> bool {
        let unix_us = |text: &[u8]| {
            let whole = text.split(|&byte| byte == b'.').next().unwrap_or_default();
            moments::epoch_unix_us(whole)
        };
        let (recorded, live) = (unix_us(recorded), unix_us(live));
        recorded.is_some_and(|us| self.recorded.is_near(us)) && live.is_some_and(|us| self.live.is_near(us))
    }
}

impl Side {
    fn is_near(&self, unix_us: i64) -> bool {
        self.started_unix_us
            .is_some_and(|start| start.abs_diff(unix_us) <= moments::NEAR_S.unsigned_abs() * 1_000_000)
    }
}

fn kind_of(aspect: Aspect) -> MaskKind {
    match aspect {
        Aspect::Date { .. } | Aspect::Month { .. } => MaskKind::Date,
        Aspect::WorkingFolder | Aspect::WorkingFolderName | Aspect::WorkingFolderBase => {
            MaskKind::WorkingFolder
        }
        Aspect::Home => MaskKind::Home,
        Aspect::User => MaskKind::User,
        Aspect::Host => MaskKind::HostName,
        Aspect::Kernel => MaskKind::Kernel,
        Aspect::TimeZone => MaskKind::TimeZone,
        Aspect::GitHead { .. } | Aspect::GitBranch | Aspect::GitStatus => MaskKind::Git,
    }
}

/// Whether a value at `at` is a word or a path of its own, not part of a longer one.
fn stands_alone(value: &Value, text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| text[before]);
    let after = text.get(at + value.text.len()).copied();
    let next = text.get(at + value.text.len() + 1).copied();
    let in_word =
        |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_') || b >= 0x80);
    let ends = match after {
        Some(b'-') => matches!(value.aspect, Aspect::GitStatus | Aspect::Date { .. }) && !in_word(next),
        Some(b'.') => !in_word(next),
        after => !in_word(after),
    };
    let begins = if value.text.starts_with('/') {
        let is_url = text[..at].ends_with(b"://");
        is_url || !(in_word(before) || matches!(before, Some(b'.' | b'-' | b'~' | b'/')))
    } else {
        !(in_word(before)
            || before == Some(b'-')
            || (before == Some(b'.') && at > 1 && in_word(Some(text[at - 2]))))
    };
    // The month of some other day is a part of that day: `3 November 2026`.
    if matches!(value.aspect, Aspect::Month { .. }) && follows_a_day(&text[..at]) {
        return false;
    }
    if value.aspect == Aspect::WorkingFolderBase {
        return ends && is_in_path(before, after);
    }
    begins
        && ends
        && (value.text.len() >= SHORTEST_WORD
            || is_in_path(before, after)
            || is_labelled(value.aspect, text, at))
}

/// Whether a number stands before: `3 `, `3. `, `3rd of `.
fn follows_a_day(before: &[u8]) -> bool {
    let before = before.strip_suffix(b" ").unwrap_or(before);
    let before = before.strip_suffix(b" of").unwrap_or(before);
    let ending = |before: &[u8]| {
        [&b"."[..], b"st", b"nd", b"rd", b"th"]
            .iter()
            .find_map(|end| before.strip_suffix(*end).map(<[u8]>::len))
    };
    let before = &before[..ending(before).unwrap_or(before.len())];
    before.last().is_some_and(u8::is_ascii_digit)
}

/// A folder's name in a path: `/ai/`, or `/ai` at the end.
fn is_in_path(before: Option<u8>, after: Option<u8>) -> bool {
    before == Some(b'/') && after.is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

/// `user: ai`, `USER=ai`.
fn is_labelled(aspect: Aspect, text: &[u8], at: usize) -> bool {
    let labels: &[&str] = match aspect {
        Aspect::User => &["user", "username", "login", "logname", "whoami", "owner"],
        Aspect::Host => &["host", "hostname", "machine", "node"],
        Aspect::GitBranch => &["branch"],
        _ => return false,
    };
    let separators = text[..at]
        .iter()
        .rev()
        .take(4)
        .take_while(|byte| matches!(byte, b' ' | b':' | b'=' | b'"' | b'\''))
        .count();
    let before = &text[..at - separators];
    let length = before.iter().rev().take(16).take_while(|byte| byte.is_ascii_alphabetic()).count();
    let word = &before[before.len() - length..];
    separators > 0 && labels.iter().any(|label| word.eq_ignore_ascii_case(label.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::environment::{GitState, LocalDate};

    fn run(folder: &str, home: &str, user: &str, day: i8) -> Run {
        Run {
            environment: Some(Environment {
                local_date: LocalDate::new(2026, 11, day),
                working_folder: Some(folder.into()),
                home: Some(home.into()),
                user: Some(user.into()),
                git: Some(GitState {
                    head: Some(
                        format!("{user:0<4}")
                            .bytes()
                            .cycle()
                            .take(40)
                            .map(|b| format!("{:x}", b % 16))
                            .collect(),
                    ),
                    branch: Some(format!("branch-of-{user}")),
                    status: None,
                }),
                ..Environment::default()
            }),
            started_unix_us: Some(1_795_337_814_000_000 + i64::from(day) * 86_400_000_000),
        }
    }

    fn found<'t>(own: &OwnValues, text: &'t str) -> Vec<(&'t str, MaskKind)> {
        (0..text.len())
            .filter_map(|at| own.starting_at(text.as_bytes(), at))
            .map(|(range, kind)| (&text[range], kind))
            .collect()
    }

    #[test]
    fn values_stand_alone() {
        let own = OwnValues::new(
            &run("/home/alice/app", "/home/alice", "alice", 22),
            &run("/w", "/root", "ai", 23),
        );
        for (text, expected) in [
            (
                "cd /home/alice/app && ls",
                vec![
                    ("/home/alice/app", MaskKind::WorkingFolder),
                    ("alice", MaskKind::User),
                    ("app", MaskKind::WorkingFolder),
                ],
            ),
            ("in /home/alice/app2", vec![("/home/alice", MaskKind::Home), ("alice", MaskKind::User)]),
            ("file:///home/alice.", vec![("/home/alice", MaskKind::Home), ("alice", MaskKind::User)]),
            ("/mnt/home/bob", vec![]),
            ("malice and alice-2", vec![]),
            ("hi alice!", vec![("alice", MaskKind::User)]),
            ("ai is short", vec![]),
            ("user: ai", vec![("ai", MaskKind::User)]),
            ("/home/ai/x", vec![("ai", MaskKind::User)]),
            ("on 2026-11-22, then", vec![("2026-11-22", MaskKind::Date)]),
            (
                "on Sunday, November 22, 2026",
                vec![("Sunday, November 22, 2026", MaskKind::Date), ("November 22, 2026", MaskKind::Date)],
            ),
            ("it is November 2026.", vec![("November 2026", MaskKind::Date)]),
            ("on 3 November 2026, or the 3rd of November 2026", vec![]),
            ("on 2026-11-25", vec![]),
            ("on branch-of-alice", vec![("branch-of-alice", MaskKind::Git)]),
        ] {
            assert_eq!(found(&own, text), expected, "{text}");
        }
    }

    #[test]
    fn each_side_has_its_own() {
        let own =
            OwnValues::new(&run("/home/alice", "/home/alice", "alice", 20), &run("/w", "/root", "ai", 23));
        for (recorded, live, kind) in [
            ("/home/alice", "/w", Some(MaskKind::WorkingFolder)),
            ("/home/alice", "/root", Some(MaskKind::Home)),
            ("alice", "ai", Some(MaskKind::User)),
            ("2026-11-20", "2026-11-23", Some(MaskKind::Date)),
            ("2026-11-21", "2026-11-23", Some(MaskKind::Date)),
            ("November 2026", "November 2026", Some(MaskKind::Date)),
            ("2026-11-20", "Nov 23, 2026", None),
            ("2026-11-23", "2026-11-20", None),
            ("/w", "/home/alice", None),
            ("alice", "/root", None),
        ] {
            assert_eq!(own.correspond(recorded, live), kind, "{recorded} {live}");
        }
        let seconds = |day: i64| (1_795_337_814 + day * 86_400).to_string();
        let near = |recorded: i64, live: i64| {
            own.correspond_in_time(seconds(recorded).as_bytes(), seconds(live).as_bytes())
        };
        assert!(near(20, 23) && near(21, 24));
        assert!(!near(23, 23) && !near(20, 20));
    }

    #[test]
    fn one_unknown_environment_says_nothing() {
        let unknown = Run::default();
        let own = OwnValues::new(&unknown, &run("/w", "/root", "alice", 22));
        assert_eq!(found(&own, "alice in /root"), []);
    }
}
