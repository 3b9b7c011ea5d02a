//! Which tests are run.

use crate::exit::UsageError;
use crate::test_entry::Test;

/// Filters; together they narrow down.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Choice {
    /// Only tests whose names contain one of these texts [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only tests with this tag; repeatable: with one of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Leave out tests with this tag; repeatable
    #[arg(long = "skip-tag", value_name = "TAG")]
    skipped_tags: Vec<String>,
}

impl Choice {
    /// The chosen tests, in the order of the file. To choose none is a mistake: it would prove nothing.
    pub(super) fn of(&self, tests: Vec<Test>) -> Result<Vec<Test>, UsageError> {
        for name in &self.names {
            if !tests.iter().any(|test| test.name.contains(name.as_str())) {
                return Err(UsageError(format!(
                    "no test has `{name}` in its name; there are {}",
                    all(&tests)
                )));
            }
        }
        let known: Vec<&str> = tests.iter().flat_map(|test| &test.tags).map(String::as_str).collect();
        if let Some(unknown) = self.tags.iter().find(|tag| !known.contains(&tag.as_str())) {
            return Err(UsageError(format!(
                "no test has the tag `{unknown}`; `looptape test --list` shows them"
            )));
        }
        let names = all(&tests);
        let chosen: Vec<Test> = tests.into_iter().filter(|test| self.takes(test)).collect();
        if chosen.is_empty() {
            return Err(UsageError(format!("no test passes all of these filters; there are {names}")));
        }
        Ok(chosen)
    }

    fn takes(&self, test: &Test) -> bool {
        let by_name =
            self.names.is_empty() || self.names.iter().any(|name| test.name.contains(name.as_str()));
        let by_tag = self.tags.is_empty() || self.tags.iter().any(|tag| test.tags.contains(tag));
        by_name && by_tag && !self.skipped_tags.iter().any(|tag| test.tags.contains(tag))
    }
}

/// Names for a message, not too many.
fn all(tests: &[Test]) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<&str> = tests.iter().take(SHOWN).map(|test| test.name.as_str()).collect();
    if tests.len() > SHOWN {
        names.push("…");
    }
    names.join(", ")
}
