//! A page in one file: it opens from the disk, and asks nobody for anything.
//!
//! Invariants: the page's Content-Security-Policy lets exactly the scripts and styles run that are handed over here, by
//! their hashes, and nothing else: no other host, no form, no frame, no inline handler. Text reaches the page through
//! [`maud`], which escapes it, and data through a block of JSON that cannot end its element.
//!
//! What this does not do: choose what is in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A page and all that it needs.
#[derive(Debug)]
pub struct OneFile<'a> {
    pub title: &'a str,
    /// Constants of this program, never text of a recording.
    pub styles: &'a [&'a str],
    /// The same for scripts. They run in this order when the body is there.
    pub scripts: &'a [&'a str],
    /// Blocks of JSON that scripts read, by the id of their element.
    pub data: &'a [(&'a str, Value)],
    pub body: Markup,
}

impl OneFile<'_> {
    /// The file's text.
    pub fn text(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(self.policy());
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="referrer" content="no-referrer";
                    meta name="generator" content=(concat!("looptape ", env!("CARGO_PKG_VERSION")));
                    title { (self.title) }
                    @for style in self.styles { style { (raw(style)) } }
                }
                body {
                    (self.body)
                    @for (id, value) in self.data {
                        script type="application/json" id=(id) { (PreEscaped(json(value))) }
                    }
                    @for script in self.scripts { script { (raw(script)) } }
                }
            }
        };
        page.into_string() + "\n"
    }

    fn policy(&self) -> String {
        let hashes = |texts: &[&str]| match texts {
            [] => "'none'".to_owned(),
            texts => texts.iter().map(|text| hash(text)).collect::<Vec<_>>().join(" "),
        };
        format!(
            "default-src 'none'; script-src {}; style-src {}; img-src data:; base-uri 'none'; form-action 'none'",
            hashes(self.scripts),
            hashes(self.styles)
        )
    }
}

fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// A script or a style as it is: its hash is that of these bytes.
fn raw(text: &str) -> PreEscaped<&str> {
    debug_assert!(!text.contains("</script") && !text.contains("</style") && !text.contains("<!--"));
    PreEscaped(text)
}

/// JSON in which nothing is markup.
fn json(value: &Value) -> String {
    value.to_string().replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_that_is_said_becomes_markup() {
        let hostile = "</script><script>alert(1)</script><!-- & \" onload=x";
        let page = OneFile {
            title: hostile,
            styles: &["p { color: red }"],
            scripts: &["'use strict';"],
            data: &[("data", json!({ "said": hostile }))],
            body: html! { p title=(hostile) { (hostile) } },
        };
        let text = page.text();
        assert_eq!(text.matches("<script").count(), 2, "{text}");
        assert!(!text.contains("alert(1)</script>"), "{text}");
        let block =
            text.split("id=\"data\">").nth(1).and_then(|rest| rest.split("</script>").next()).unwrap();
        let read: Value = serde_json::from_str(block).unwrap();
        assert_eq!(read["said"], hostile);
    }

    #[test]
    fn the_policy_names_what_is_there_and_nothing_else() {
        let page = OneFile { title: "", styles: &["a"], scripts: &[], data: &[], body: html! {} };
        assert_eq!(
            page.policy(),
            "default-src 'none'; script-src 'none'; \
             style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='; img-src data:; base-uri 'none'; form-action 'none'"
        );
    }
}
