//! Where a run took place: what agents write into prompts of the machine, the folder and the day.
//!
//! Each run has its own, the recording as well as the replay. A value in a request is tolerated only if it
//! is exactly what the run's own environment says, on both sides: "the folder I work in" may differ, any
//! other folder may not.
//!
//! Invariants: nothing is guessed; what could not be found out is `None` and masks nothing. The values come
//! from the caller, already redacted. It does not look at any machine itself.

use jiff::civil::Date;
use jiff::{ToSpan, fmt::strtime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;

/// What a run's surroundings were called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// The day on which the run started, where it ran.
    pub local_date: Option<LocalDate>,
    pub working_folder: Option<String>,
    pub home: Option<String>,
    /// The folder for temporary files, if it is not one that every machine has.
    pub temporary_folder: Option<String>,
    pub user: Option<String>,
    pub host: Option<String>,
    /// The kernel's release, as `uname -r` says it.
    pub kernel: Option<String>,
    /// As the time zone database calls it: `Europe/Oslo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    pub git: Option<GitState>,
}

/// The state of the repository that holds the working folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitState {
    /// The commit, 40 hex digits (64 in a repository with SHA-256).
    pub head: Option<String>,
    pub branch: Option<String>,
    /// What `git status --short` prints, without the blanks around it.
    pub status: Option<String>,
}

/// A day of the civil calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalDate(Date);

impl LocalDate {
    /// `None` for a day that the calendar does not have.
    pub fn new(year: i16, month: i8, day: i8) -> Option<Self> {
        Date::new(year, month, day).ok().map(Self)
    }
}

impl Serialize for LocalDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LocalDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Which value of an environment a text is. Two runs' texts correspond if they are the same aspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Aspect {
    /// A day, in one of the forms in which days are written.
    Date {
        form: usize,
    },
    /// A day's month and year, in one of the forms in which they are written.
    Month {
        form: usize,
    },
    WorkingFolder,
    /// The working folder as the name of a folder: `-home-alice-app`.
    WorkingFolderName,
    Home,
    User,
    Host,
    Kernel,
    TimeZone,
    /// The commit, abbreviated to so many digits or whole.
    GitHead {
        digits: usize,
    },
    GitBranch,
    GitStatus,
    /// The working folder's own name, within a path. The last: what is anything else as well, is that.
    WorkingFolderBase,
}

/// The texts of an environment, each with what it may be: a home folder may be the working folder too.
pub(super) type Texts = HashMap<String, Vec<Aspect>>;

/// git abbreviates to at least so many digits.
const SHORTEST_COMMIT: usize = 7;
/// The longest abbreviation that tools print.
const LONGEST_ABBREVIATION: usize = 16;

impl Environment {
    pub(super) fn texts(&self) -> Texts {
        let mut texts = Texts::new();
        let mut add = |aspect: Aspect, text: &str| {
            if !text.is_empty() {
                texts.entry(text.to_owned()).or_default().push(aspect);
            }
        };
        for (aspect, path) in [(Aspect::WorkingFolder, &self.working_folder), (Aspect::Home, &self.home)] {
            // A root folder is a part of every path: it says nothing about the run.
            if let Some(path) = path.as_deref().map(|path| path.trim_end_matches('/')) {
                add(aspect, path);
            }
        }
        if let Some(folder) = self.working_folder.as_deref().filter(|folder| folder.len() > 1) {
            // Observed: claude-code keeps what it knows of a project under such a name.
            let name = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
            add(Aspect::WorkingFolderName, &folder.chars().map(name).collect::<String>());
            // Observed: gemini-cli keeps what it knows of a project under that name.
            add(
                Aspect::WorkingFolderBase,
                folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default(),
            );
        }
        for (aspect, word) in [
            (Aspect::User, &self.user),
            (Aspect::Host, &self.host),
            (Aspect::Kernel, &self.kernel),
            (Aspect::TimeZone, &self.time_zone),
        ] {
            add(aspect, word.as_deref().unwrap_or_default());
        }
        if let Some(git) = &self.git {
            add(Aspect::GitBranch, git.branch.as_deref().unwrap_or_default());
            add(Aspect::GitStatus, git.status.as_deref().unwrap_or_default());
            let head = git.head.as_deref().unwrap_or_default();
            let is_commit = head.len() >= 40 && head.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_commit {
                let lengths = (SHORTEST_COMMIT..=LONGEST_ABBREVIATION).chain([head.len()]);
                lengths.for_each(|digits| add(Aspect::GitHead { digits }, &head[..digits]));
            }
        }
        if let Some(LocalDate(date)) = self.local_date {
            // A run may go on past midnight.
            for day in [Some(date), date.checked_add(1.day()).ok()].into_iter().flatten() {
                for (form, text) in written(day).iter().enumerate() {
                    add(Aspect::Date { form }, text);
                }
                for (form, pattern) in MONTHS.iter().enumerate() {
                    add(Aspect::Month { form }, &in_form(day, pattern));
                }
            }
        }
        texts
    }
}

/// Forms of a day that no weekday stands before.
const NUMBERS: &[&str] = &[
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%-m/%-d/%Y",
    "%-d.%-m.%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%m/%d/%y",
];

/// Forms before which a weekday may stand. `%o` is the day with its ordinal ending.
const WORDS: &[&str] = &[
    "%B %-d, %Y",
    "%b %-d, %Y",
    "%B %o, %Y",
    "%B %o %Y",
    "%B %-d %Y",
    "%b %-d %Y",
    "%b %d %Y",
    "%b %d, %Y",
    "%-d %B %Y",
    "%-d %b %Y",
    "%d %b %Y",
    "%d %B %Y",
    "%o %B %Y",
    "%o of %B %Y",
    "%d-%b-%Y",
    "%-d. %B %Y",
    "%Y-%m-%d",
    "%Y %b %-d",
    "%B %-d",
    "%b %-d",
    "%-d %B",
];

/// Forms of a day's month. Observed: claude-code tells its search tool which month it is.
const MONTHS: &[&str] = &["%B %Y", "%b %Y", "%B, %Y"];

const WEEKDAYS: &[&str] = &["%A, ", "%A ", "%a, ", "%a "];

/// All forms of a day, in an order that is the same for every day.
fn written(day: Date) -> Vec<String> {
    let bare = NUMBERS.iter().chain(WORDS).map(|form| (*form).to_owned());
    let with_weekday =
        WEEKDAYS.iter().flat_map(|weekday| WORDS.iter().map(move |form| format!("{weekday}{form}")));
    bare.chain(with_weekday).map(|form| in_form(day, &form)).collect()
}

fn in_form(day: Date, form: &str) -> String {
    let form = form.replace("%o", &ordinal(day.day()));
    strtime::format(&form, day).unwrap_or_default()
}

fn ordinal(day: i8) -> String {
    let ending = match day {
        11..=13 => "th",
        _ => match day % 10 {
            1 => "st",
            2 => "nd",
            3 => "rd",
            _ => "th",
        },
    };
    format!("{day}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_in_many_ways() {
        let forms = written(Date::constant(2026, 11, 22));
        for form in [
            "2026-11-22",
            "11/22/2026",
            "22/11/2026",
            "22.11.2026",
            "20261122",
            "Nov 22, 2026",
            "November 22, 2026",
            "November 22nd, 2026",
            "22 November 2026",
            "Sunday, November 22, 2026",
            "Sun Nov 22 2026",
            "Sun, 22 Nov 2026",
            "Sunday, 22 November 2026",
            "Sunday 2026-11-22",
        ] {
            assert!(forms.iter().any(|known| known == form), "{form}");
        }
        assert!(forms.iter().all(|form| !form.is_empty()));
        let other = written(Date::constant(2026, 1, 3));
        assert_eq!(forms.len(), other.len());
        assert!(other.iter().any(|form| form == "January 3rd, 2026"));
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30].map(ordinal).join(" "),
            "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 23rd 30th"
        );
    }

    #[test]
    fn the_day_after_counts_too() {
        let environment = Environment { local_date: LocalDate::new(2026, 12, 31), ..Environment::default() };
        let texts = environment.texts();
        let form = |text: &str| texts.get(text).cloned();
        assert!(form("2026-12-31").is_some());
        assert_eq!(form("2026-12-31"), form("2027-01-01"));
        assert_eq!(form("2027-01-02"), None);
        assert!(form("December 2026").is_some());
        assert_eq!(form("December 2026"), form("January 2027"));
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let environment = Environment {
            working_folder: Some("/".into()),
            home: Some("/home/alice/".into()),
            user: Some(String::new()),
            git: Some(GitState { head: Some("not a commit".into()), ..GitState::default() }),
            ..Environment::default()
        };
        assert_eq!(environment.texts().keys().collect::<Vec<_>>(), ["/home/alice"]);
    }

    #[test]
    fn survives_being_stored() {
        let environment = Environment {
            local_date: LocalDate::new(2026, 11, 22),
            user: Some("alice".into()),
            git: Some(GitState { branch: Some("main".into()), ..GitState::default() }),
            ..Environment::default()
        };
        let text = serde_json::to_string(&environment).unwrap();
        assert_eq!(serde_json::from_str::<Environment>(&text).unwrap(), environment);
        assert!(text.contains("\"2026-11-22\""), "{text}");
        assert_eq!(serde_json::from_str::<Environment>("{}").unwrap(), Environment::default());
    }
}
