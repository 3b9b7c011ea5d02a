//! Reading a condition piece by piece, with the column of whatever is wrong.

use std::fmt;

/// A condition that cannot be read: where, why, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConditionError {
    /// The whole text.
    pub text: String,
    /// Of the first character that is wrong, from 1.
    pub column: usize,
    pub message: String,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, column, message } = self;
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let line: String = text.chars().map(shown).collect();
        write!(f, "column {column}: {message}\n    {line}\n    {:>column$}", "^")
    }
}

/// What is left of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes the characters that pass.
    pub(super) fn take_while(&mut self, passes: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !passes(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// Takes a text, if it is next.
    pub(super) fn take(&mut self, wanted: &str) -> bool {
        let is_next = self.rest().starts_with(wanted);
        self.at += if is_next { wanted.len() } else { 0 };
        is_next
    }

    /// Takes a finite number.
    pub(super) fn number(&mut self, wanted: &str) -> Result<f64, ConditionError> {
        let start = *self;
        let digits =
            self.take_while(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-' | '_'));
        let number = digits.replace('_', "").parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| start.wrong(format!("{wanted}, not {}", start.found())))
    }

    /// Nothing but blanks may be left.
    pub(super) fn end(mut self, hint: &str) -> Result<(), ConditionError> {
        self.skip_blanks();
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.wrong(format!("nothing may follow here: {hint}")))
        }
    }

    /// What is next, for a message.
    pub(super) fn found(&self) -> String {
        match self.rest().trim_end() {
            "" => "the end".to_owned(),
            rest => format!("`{}`", rest.chars().take(20).collect::<String>().escape_debug()),
        }
    }

    /// An error at this place.
    pub(super) fn wrong(&self, message: String) -> ConditionError {
        let column = self.text[..self.at].chars().count() + 1;
        ConditionError { text: self.text.to_owned(), column, message }
    }
}
