//! The place in a file at which something is read: what an error has to name.

use super::{Refused, document::Node};

/// One interaction.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) index: u32,
}

impl Place {
    /// The mapping under a key.
    pub(super) fn map<'a>(self, node: &'a Node, key: &str, field: &'static str) -> Result<&'a Node, Refused> {
        let value = node.get_some(key).ok_or_else(|| self.missing(field))?;
        if value.is_map() { Ok(value) } else { Err(self.wrong(field, "a mapping")) }
    }

    /// The text under a key.
    pub(super) fn text(self, node: &Node, key: &str, field: &'static str) -> Result<String, Refused> {
        let value = node.get_some(key).ok_or_else(|| self.missing(field))?;
        value.text().map(|t| t.into_owned()).ok_or_else(|| self.wrong(field, "text"))
    }

    /// A status code, alone or before its reason: `429`, `429 Too Many Requests`.
    pub(super) fn status_code(self, status: &Node, field: &'static str) -> Result<u16, Refused> {
        let text = status.text().unwrap_or_default();
        let digits = text.split_whitespace().next().unwrap_or_default();
        let code = digits.parse().ok().filter(|code| (100..1000).contains(code));
        code.ok_or_else(|| self.wrong(field, "an HTTP status code"))
    }

    pub(super) fn missing(self, field: &'static str) -> Refused {
        Refused::MissingField { interaction: self.index, field }
    }

    pub(super) fn wrong(self, field: &'static str, expected: &'static str) -> Refused {
        Refused::WrongShape { interaction: self.index, field, expected }
    }
}
