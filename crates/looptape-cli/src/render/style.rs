//! Colours and width.

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    On,
    Off,
}

/// How to lay text out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) color: Color,
    /// Columns of the terminal.
    pub(crate) width: usize,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Quiet,
    Good,
    Warning,
    Bad,
    Model,
    Tool,
}

impl Style {
    /// `text` in the colour of its meaning. `text` must hold no recorded text that was not escaped.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Quiet => "2",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Model => "36",
            Tone::Tool => "35",
        };
        match self.color {
            Color::On if !text.trim().is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            Color::On | Color::Off => text.to_owned(),
        }
    }
}

/// Columns of the terminal that standard output goes to; 100 if it goes elsewhere.
pub(crate) fn stdout_width() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(100)
}
