//! What each step changed in a workspace, as text.

use super::figures::plural;
use super::pruned::bytes as size;
use super::style::{Style, Tone};
use super::terminal_text::escape;
use crate::commands::{FileChange, FilesView, How, Side, StepChanges};
use looptape_core::workspace::TextChange;

/// Lines of one file's diff, unless one step is asked for.
const MOST_LINES: usize = 40;

/// How much of each diff is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Diffs {
    Cut,
    Whole,
}

/// The view as text, ending with a line break.
pub(crate) fn text(view: &FilesView, diffs: Diffs, style: Style) -> String {
    let mut out = Out { lines: Vec::new(), diffs, style, trace: &view.trace };
    out.head(view);
    if view.changes.iter().all(|step| step.files.is_empty()) {
        out.lines.push("no file changed".to_owned());
    }
    for step in view.changes.iter().filter(|step| !step.files.is_empty()) {
        out.step(step);
    }
    for look in &view.missing {
        let when = look.step.map_or("at the start or the end".to_owned(), |step| format!("at step {step}"));
        let line = format!("! the files could not be looked at {when}: {}", escape(&look.why));
        out.lines.push(style.paint(Tone::Warning, &line));
    }
    out.lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

struct Out<'a> {
    lines: Vec<String>,
    diffs: Diffs,
    style: Style,
    trace: &'a str,
}

impl Out<'_> {
    fn head(&mut self, view: &FilesView) {
        let first = &view.first;
        let files = plural(u32::try_from(first.files).unwrap_or(u32::MAX), "file", "files");
        self.lines.push(self.style.paint(Tone::Strong, &format!("trace {}", escape(&view.trace))));
        let held =
            format!("{} · {files}, {}{}", escape(&view.folder), size(first.bytes), first.left_out_text);
        self.lines.extend([self.style.paint(Tone::Quiet, &held), String::new()]);
    }

    fn step(&mut self, step: &StepChanges) {
        let title = step.step.map_or("before step 1".to_owned(), |step| format!("step {step}"));
        let count = plural(step.files.len() as u32, "file", "files");
        let mut line = format!("{}: {count} changed", self.style.paint(Tone::Strong, &title));
        if step.late {
            line.push_str(
                &self.style.paint(Tone::Warning, " (looked at late: the steps beside it may share in it)"),
            );
        }
        self.lines.push(line);
        step.files.iter().for_each(|file| self.file(step.step, file));
        self.lines.push(String::new());
    }

    fn file(&mut self, step: Option<u32>, file: &FileChange) {
        let (mark, tone) = match file.change {
            How::Added => ("A", Tone::Good),
            How::Removed => ("D", Tone::Bad),
            How::Changed => ("M", Tone::Warning),
        };
        let path = escape(&file.path);
        let note = note(file);
        let gap = if note.is_empty() { "" } else { "  " };
        self.lines.push(format!("  {} {path}{gap}{note}", self.style.paint(tone, mark)));
        if let Some(TextChange::Text { diff: Some(diff), .. }) = &file.text {
            self.diff(step, diff);
        }
    }

    fn diff(&mut self, step: Option<u32>, diff: &str) {
        let all: Vec<&str> = diff.lines().collect();
        let most = if self.diffs == Diffs::Whole { usize::MAX } else { MOST_LINES };
        for line in all.iter().take(most) {
            let tone = match line.as_bytes().first() {
                Some(b'+') => Tone::Good,
                Some(b'-') => Tone::Bad,
                Some(b'@') => Tone::Model,
                _ => Tone::Plain,
            };
            let line = line.split('\t').map(escape).collect::<Vec<_>>().join("    ");
            self.lines.push(format!("      {}", self.style.paint(tone, &line)));
        }
        if let Some(more) = all.len().checked_sub(most).filter(|more| *more > 0) {
            let short: String = self.trace.chars().take(8).collect();
            let more = plural(more as u32, "more line", "more lines");
            let all = match step {
                Some(step) => format!("looptape show {short} --files --step {step}"),
                None => format!("looptape show {short} --files --json"),
            };
            self.lines.push(format!("      … {more}: `{all}` has all"));
        }
    }
}

/// What there is to say behind a path.
fn note(file: &FileChange) -> String {
    let mut parts = Vec::new();
    match &file.text {
        Some(TextChange::Text { lines_added, lines_removed, .. }) => {
            let counts = [(*lines_added, '+'), (*lines_removed, '−')];
            let counts = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, sign)| format!("{sign}{n}"));
            parts.push(counts.collect::<Vec<_>>().join(" "));
        }
        Some(TextChange::Binary) => parts.push(format!("binary, {}", between(file, size_of))),
        None => {}
    }
    let is_file = |side: &Option<Side>| matches!(side, None | Some(Side::File { .. }));
    if !is_file(&file.before) || !is_file(&file.after) {
        parts.push(between(file, kind_of));
    }
    if let (Some(before), Some(after)) = (&file.before, &file.after)
        && mode_of(before) != mode_of(after)
    {
        parts.push(format!("mode {}", between(file, mode_of)));
    }
    let holds_secrets = |side: &Option<Side>| matches!(side, Some(Side::File { secrets: true, .. }));
    if holds_secrets(&file.before) || holds_secrets(&file.after) {
        parts.push("secrets replaced".to_owned());
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

/// `x → y` of what is said of both sides, or what is said of one.
fn between(file: &FileChange, say: fn(&Side) -> String) -> String {
    let said = |side: &Option<Side>| side.as_ref().map(say).unwrap_or_default();
    let (before, after) = (said(&file.before), said(&file.after));
    match (file.before.is_some(), file.after.is_some()) {
        (true, true) if before != after => format!("{before} → {after}"),
        (true, false) => before,
        _ => after,
    }
}

fn size_of(side: &Side) -> String {
    match side {
        Side::File { size_bytes, .. } => size(*size_bytes),
        Side::Link { .. } | Side::Folder { .. } | Side::LeftOut { .. } => String::new(),
    }
}

fn kind_of(side: &Side) -> String {
    match side {
        Side::File { .. } => "file".to_owned(),
        Side::Link { target } => format!("link to {}", escape(target)),
        Side::Folder { .. } => "empty folder".to_owned(),
        Side::LeftOut { because, size_bytes, .. } => match size_bytes {
            Some(bytes) => format!("left out, since {because}: {}", size(*bytes)),
            None => format!("left out, since {because}"),
        },
    }
}

fn mode_of(side: &Side) -> String {
    match side {
        Side::File { mode, .. } | Side::Folder { mode } => mode.clone(),
        Side::Link { .. } | Side::LeftOut { .. } => String::new(),
    }
}
