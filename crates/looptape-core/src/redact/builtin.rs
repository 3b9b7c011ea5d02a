//! The built-in patterns: what keys and tokens look like.
//!
//! Written for few false positives: a false one costs byte-exactness. Ordinary ids (`call_…`, `toolu_…`,
//! `chatcmpl-…`, UUIDs, commit hashes) and base64 data must not match; the tests hold samples. So a
//! pattern asks for its vendor's prefix, starts only where a token starts, and where a form is loose
//! (`api_key=…`) its value must look like a key. Prefixes and lengths are the vendors' published formats,
//! with lengths taken as lower bounds.
//!
//! Expressions see raw bytes, JSON escapes included: `\n` before a key ends in a letter, which is why a
//! token's start is spelled out in [`TOKEN_START`] and no `\b` is used.

use super::likeness::Check;

/// What may come before a token: an escape sequence (JSON, percent, terminal colour), or a byte that
/// belongs to no token, or nothing.
const TOKEN_START: &str = r"(?:\\[nrtbfv]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}|\[[0-9;]{0,8}m|[^A-Za-z0-9_-]|^)";

/// The same for tokens without any `-` or `_`, which plain base64 could hold: not after `+` or `/`.
const OPAQUE_START: &str =
    r"(?:\\[nrtbfv]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}|\[[0-9;]{0,8}m|[^A-Za-z0-9_+/-]|^)";

/// How a pattern's expression is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// The whole expression is the secret; it starts where a token may start.
    Token(&'static str),
    /// The same, for tokens that base64 text could hold by chance.
    Opaque(&'static str),
    /// The group that matched is the secret, the rest its label.
    Labelled(&'static str),
}

/// A cheap expression without which a pattern cannot match. Kept free of counted repetitions that could
/// begin anywhere: they would blow up the automaton that joins all anchors.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    /// Where a token may start.
    AtStart(&'static str),
    Anywhere(&'static str),
}

impl Shape {
    pub(super) fn expression(self) -> String {
        match self {
            Self::Token(token) => format!("{TOKEN_START}({token})"),
            Self::Opaque(token) => format!("{OPAQUE_START}({token})"),
            Self::Labelled(whole) => whole.to_owned(),
        }
    }
}

impl Anchor {
    pub(super) fn expression(self) -> String {
        match self {
            Self::AtStart(head) => format!("{TOKEN_START}(?:{head})"),
            Self::Anywhere(anchor) => format!("(?:{anchor})"),
        }
    }
}

/// What a glance (`glance`) can tell that a pattern may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownBy {
    /// Its secret, with its prefix, is a long word; a label stands in the same or right before it.
    LongWord,
    /// Letters of its label, which the glance knows.
    Label,
    Nothing,
}

/// One built-in pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Builtin {
    /// By this name it is disabled.
    pub(super) name: &'static str,
    pub(super) anchor: Anchor,
    pub(super) shape: Shape,
    pub(super) check: Check,
    pub(super) known_by: KnownBy,
}

const fn token(name: &'static str, anchor: &'static str, expression: &'static str) -> Builtin {
    Builtin {
        name,
        anchor: Anchor::AtStart(anchor),
        shape: Shape::Token(expression),
        check: Check::Any,
        known_by: KnownBy::LongWord,
    }
}

const fn opaque(name: &'static str, anchor: &'static str, expression: &'static str) -> Builtin {
    Builtin {
        name,
        anchor: Anchor::AtStart(anchor),
        shape: Shape::Opaque(expression),
        check: Check::Whole,
        known_by: KnownBy::LongWord,
    }
}

const fn labelled(
    name: &'static str,
    anchor: &'static str,
    expression: &'static str,
    check: Check,
) -> Builtin {
    Builtin {
        name,
        anchor: Anchor::Anywhere(anchor),
        shape: Shape::Labelled(expression),
        check,
        known_by: KnownBy::LongWord,
    }
}

/// A pattern whose label the glance knows.
const fn by_label(builtin: Builtin) -> Builtin {
    Builtin { known_by: KnownBy::Label, ..builtin }
}

/// Keys and credentials: on by default.
pub(super) const SECRETS: &[Builtin] = &[
    // Model providers.
    token(
        "openai-key",
        "sk-(?:proj|svcacct|admin|None)-",
        r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{16,}",
    ),
    token("anthropic-key", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{16,}"),
    Builtin {
        name: "sk-key",
        anchor: Anchor::AtStart("sk-[A-Za-z0-9_-]{12}"),
        shape: Shape::Token(r"sk-[A-Za-z0-9_-]{16,}"),
        check: Check::KeyLike,
        known_by: KnownBy::LongWord,
    },
    token("openai-session", "sess-", r"sess-[A-Za-z0-9]{32,}"),
    opaque("google-key", "AIza[A-Za-z0-9_-]{8}", r"AIza[A-Za-z0-9_-]{35,}"),
    token("google-oauth", r"ya29\.", r"ya29\.[A-Za-z0-9_-]{30,}"),
    token("google-refresh", "1//0", r"1//0[A-Za-z0-9_-]{40,}"),
    token("google-client-secret", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28,}"),
    token("huggingface", "hf_[A-Za-z0-9]{8}", r"hf_[A-Za-z0-9]{34,}"),
    token("groq", "gsk_", r"gsk_[A-Za-z0-9]{40,}"),
    token("xai", "xai-", r"xai-[A-Za-z0-9]{40,}"),
    token("cerebras", "csk-", r"csk-[A-Za-z0-9]{40,}"),
    token("perplexity", "pplx-", r"pplx-[A-Za-z0-9]{40,}"),
    token("replicate", "r8_", r"r8_[A-Za-z0-9]{37,}"),
    token("nvidia", "nvapi-", r"nvapi-[A-Za-z0-9_-]{60,}"),
    token("fireworks", "fw_[A-Za-z0-9]{8}", r"fw_[A-Za-z0-9]{22,}"),
    token("tavily", "tvly-[A-Za-z0-9-]", r"tvly-[A-Za-z0-9-]{20,}"),
    token("pinecone", "pcsk_", r"pcsk_[A-Za-z0-9_]{40,}"),
    token("langsmith", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10,}"),
    // Clouds.
    opaque("aws-key-id", "A(?:KIA|SIA)", r"A(?:KIA|SIA)[A-Z0-9]{16}"),
    labelled(
        "aws-secret-key",
        r"(?i)secret_?(?:access_?)?key[\\\x22']*\s*[:=]",
        r#"(?i)secret_?(?:access_?)?key[\\"']*\s*[:=]\s*[\\"']*([A-Za-z0-9/+=]{40,})"#,
        Check::KeyLike,
    ),
    labelled(
        "aws-session-token",
        r"(?i)session_?token[\\\x22']*\s*[:=]",
        r#"(?i)session_?token[\\"']*\s*[:=]\s*[\\"']*([A-Za-z0-9/+=_-]{40,})"#,
        Check::KeyLike,
    ),
    labelled(
        "azure-account-key",
        "(?i)(?:account|access)key=",
        r"(?i)(?:account|access)key=([A-Za-z0-9/+=]{40,})",
        Check::KeyLike,
    ),
    labelled(
        "url-signature",
        "(?i)(?:sig|signature|security-token)=",
        r"(?i)[?&;](?:\w*amp;)?(?:sig|x-amz-signature|x-goog-signature|x-amz-security-token)=([A-Za-z0-9%/+=_-]{32,})",
        Check::Any,
    ),
    token("digitalocean", "do[opr]_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    opaque("databricks", "dapi[0-9a-f]{8}", r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    token("vault", r"hv[sbr]\.", r"hv[sbr]\.[A-Za-z0-9_-]{24,}"),
    token("doppler", r"dp\.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{40,}"),
    token("supabase", "sb(?:p|_secret)_", r"sb(?:p|_secret)_[A-Za-z0-9_-]{22,}"),
    // Code hosting and packages.
    token("github", "gh[opsur]_", r"gh[opsur]_[A-Za-z0-9]{36,}"),
    token("github-fine-grained", "github_pat_", r"github_pat_[A-Za-z0-9_]{50,}"),
    token("gitlab", "gl[a-z]{2,8}-", r"gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|imt)-[A-Za-z0-9_.-]{20,}"),
    token("npm", "npm_[A-Za-z0-9]{12}", r"npm_[A-Za-z0-9]{36,}"),
    token("pypi", "pypi-[A-Za-z0-9_-]{12}", r"pypi-[A-Za-z0-9_-]{50,}"),
    token("docker", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,}"),
    token("atlassian", "AT[A-Z]{2,3}3", r"AT(?:ATT|CTT|BBT)3[A-Za-z0-9_=-]{60,}"),
    // Services.
    token("slack", "xox[abceoprs][.-]", r"xox[abceoprs](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}"),
    token("slack-app", "xapp-", r"xapp-[A-Za-z0-9-]{20,}"),
    labelled(
        "slack-webhook",
        r"hooks\.slack\.com",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9_/+-]{30,})",
        Check::Any,
    ),
    labelled(
        "discord-webhook",
        "/api/webhooks/",
        r"/api/webhooks/[0-9]{15,22}/([A-Za-z0-9_-]{60,})",
        Check::Any,
    ),
    opaque("telegram-bot", "(?:bot)?[0-9]{8,10}:AA", r"(?:bot)?[0-9]{8,10}:AA[A-Za-z0-9_-]{32,}"),
    token("stripe", "[sr]k_(?:live|test)_", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    token("stripe-webhook", "whsec_", r"whsec_[A-Za-z0-9/+=]{24,}"),
    token("sendgrid", r"SG\.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{40,}"),
    opaque("twilio", "SK[0-9a-f]{8}", r"SK[0-9a-f]{32}"),
    token("mailgun", "key-[0-9a-f]{8}", r"key-[0-9a-f]{32}"),
    token("shopify", "shp(?:at|ca|pa|ss)_", r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32,}"),
    token("linear", "lin_(?:api|oauth)_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}"),
    token("notion", "(?:ntn|secret)_[A-Za-z0-9]{12}", r"(?:ntn_[A-Za-z0-9]{40,}|secret_[A-Za-z0-9]{43})"),
    opaque("airtable", r"pat[A-Za-z0-9]{14}\.", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"),
    token("sentry", "sntry[su]_", r"sntry[su]_[A-Za-z0-9_=/+-]{40,}"),
    token("grafana", "gl(?:sa|c)_", r"gl(?:sa|c)_[A-Za-z0-9_=/+-]{32,}"),
    token("posthog", "ph[xs]_", r"ph[xs]_[A-Za-z0-9]{40,}"),
    token("age", "AGE-SECRET", r"AGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    // Forms that any vendor may use.
    token("jwt", r"eyJ[A-Za-z0-9_-]{8}", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}"),
    by_label(labelled("private-key", "PRIVATE KEY", PRIVATE_KEY, Check::Any)),
    labelled(
        "bearer",
        "(?i)bearer[\\s\\\\%+]",
        r"(?i)bearer(?:\s|\\u0020|%20|\+)+([A-Za-z0-9_.~+/=-]{16,})",
        Check::KeyLike,
    ),
    labelled(
        "authorization",
        r"(?i)authorization[\\\x22']*\s*[:=]",
        r#"(?i)authorization[\\"']*\s*[:=]\s*[\\"']*(?:(?:basic|token|apikey|digest|key)\s+)?([A-Za-z0-9_.~+/=-]{20,})"#,
        Check::Random,
    ),
    labelled(
        "labelled-key",
        r"(?i)(?:(?:api|secret|private|access|encryption|signing)[_-]?key|secret|[^a-z_-]token|(?:access|auth|refresh|bearer|private|id|bot)[_-]?token)[\\\x22']*\s*(?:=>|:=|[:=])\s*[\\\x22']*[A-Za-z0-9_.~+/=-]{8}",
        r#"(?i)(?:api[_-]?key|secret[_-]?key|private[_-]?key|access[_-]?key|encryption[_-]?key|signing[_-]?key|[_-]secret|(?:access|auth|refresh|bearer|private|id|bot)[_-]?token|[^A-Za-z_-](?:secret|token))[\\"']*\s*(?:=>|:=|[:=])\s*[\\"']*([A-Za-z0-9_.~+/=-]{16,})"#,
        Check::Random,
    ),
    by_label(labelled(
        "password",
        r"(?i)(?:passw(?:or)?d|passphrase|pwd)[\\\x22']*\s*[:=]",
        r#"(?i)(?:passw(?:or)?d|passphrase|pwd)[\\"']*\s*(?:=>|:=|[:=])\s*[\\"']*([^\s"'\\<>{}()$,;&`\x00-\x1f]{8,128})"#,
        Check::Password,
    )),
    by_label(labelled(
        "url-password",
        r"://[^\s/:@\x22'\\<>?#]*:[^\s/@\x22'\\<>`]+@",
        r#"(?i)[a-z][a-z0-9+.-]{1,20}://[^\s/:@"'\\<>?#]{0,64}:([^\s/@"'\\<>`\x00-\x1f]{3,200})@[A-Za-z0-9\[]"#,
        Check::NoTemplate,
    )),
];

/// Data about people: opt-in.
pub(super) const PERSONAL: &[Builtin] = &[
    Builtin {
        name: "email",
        anchor: Anchor::Anywhere("@[A-Za-z0-9]"),
        shape: Shape::Token(
            r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}",
        ),
        check: Check::Any,
        known_by: KnownBy::Nothing,
    },
    Builtin {
        name: "phone",
        anchor: Anchor::Anywhere(r"\+[0-9(]|[0-9]-[0-9]{3}-|\) ?[0-9]{3}-"),
        shape: Shape::Opaque(
            r"(?:\+[1-9][0-9]{0,2}(?:[ .-]?\(?[0-9]{1,4}\)?){2,5}|\([2-9][0-9]{2}\) ?[0-9]{3}-[0-9]{4}|[2-9][0-9]{2}-[0-9]{3}-[0-9]{4})",
        ),
        check: Check::Phone,
        known_by: KnownBy::Nothing,
    },
    Builtin {
        name: "card",
        anchor: Anchor::Anywhere(r"[2-6][0-9]{3}[ -]?[0-9]{4}"),
        shape: Shape::Opaque(r"[2-6](?:[ -]?[0-9]){12,18}"),
        check: Check::Card,
        known_by: KnownBy::Nothing,
    },
];

/// What lies between the lines of a PEM block: line breaks, escaped or not, and line numbers as file
/// viewers put them. Never a bare quote: the block ends with its JSON string.
macro_rules! between_lines {
    () => {
        r#"(?:\\+[nrt]|[^"\\A-Za-z+/=-]){1,24}"#
    };
}

/// Header lines of older formats, then the full lines of base64.
macro_rules! key_lines {
    () => {
        concat!(
            "(?:",
            between_lines!(),
            r#"(?:Proc-Type|DEK-Info|Version|Comment|Hash): [^"\\\r\n]{0,100})*(?:"#,
            between_lines!(),
            "[A-Za-z0-9+/=]{20,})+"
        )
    };
}

/// The body of a private key, with or without its END line (a file read in part has none). A short last
/// line belongs to it only if END or padding shows that it is no word of the text after it.
const PRIVATE_KEY: &str = concat!(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:(",
    key_lines!(),
    between_lines!(),
    "[A-Za-z0-9+/=]{1,19})",
    between_lines!(),
    "-----END|(",
    key_lines!(),
    "(?:",
    between_lines!(),
    "[A-Za-z0-9+/]{1,18}=)?))",
);
