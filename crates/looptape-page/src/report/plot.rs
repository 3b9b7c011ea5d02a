//! Plots as values: curves over an axis, and bars side by side.

use super::{Table, Unit};
use serde::Serialize;
use serde_json::{Value, json};

/// Lines over one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    pub title: String,
    /// What has to be known to read it.
    pub note: Option<String>,
    pub x: Axis,
    pub y: Axis,
    /// Ascending.
    pub xs: Vec<f64>,
    /// Each has as many values as there are `xs`.
    pub lines: Vec<Line>,
    pub marks: Vec<Mark>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Axis {
    pub label: String,
    pub unit: Unit,
    /// Whether each step of it is a factor.
    pub is_log: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    pub ink: Ink,
    pub shape: Shape,
    /// `None`: there is nothing; infinite: it lies beyond all that can be drawn.
    pub values: Vec<Option<f64>>,
}

/// What a line stands for: its colour and its dashes follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ink {
    /// What others are held against.
    Reference,
    First,
    Second,
    Third,
    Good,
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    Line,
    /// A line with a point at each value.
    Points,
    /// A value holds from its place to the next one; the area below is filled.
    Steps,
}

/// A place on the axis that has a name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    pub at: f64,
    pub label: String,
}

/// Values side by side, each with a bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    pub title: String,
    pub note: Option<String>,
    pub unit: Unit,
    pub bars: Vec<Bar>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    pub name: String,
    /// `None`: it is not known; infinite: it is longer than any other.
    pub value: Option<f64>,
    pub ink: Ink,
}

impl Axis {
    pub fn time() -> Self {
        Self { label: "since the start".to_owned(), unit: Unit::Time, is_log: false }
    }

    pub fn of(label: &str, unit: Unit) -> Self {
        Self { label: label.to_owned(), unit, is_log: false }
    }

    #[must_use]
    pub fn log(self) -> Self {
        Self { is_log: true, ..self }
    }
}

impl Line {
    pub fn new(name: &str, ink: Ink, values: Vec<Option<f64>>) -> Self {
        Self { name: name.to_owned(), ink, shape: Shape::Line, values }
    }

    #[must_use]
    pub fn shaped(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }
}

impl Curves {
    /// Whether there is anything to be seen.
    pub fn shows_something(&self) -> bool {
        let values = || self.lines.iter().flat_map(|line| &line.values).flatten();
        self.xs.len() > 1 && values().any(|value| *value != 0.0 && value.is_finite())
    }

    /// What the script draws. What is infinite is a gap.
    pub(super) fn drawn(&self) -> Value {
        let finite = |value: &Option<f64>| value.filter(|value| value.is_finite()).map(short);
        let line = |line: &Line| {
            json!({
                "name": line.name,
                "ink": line.ink,
                "shape": line.shape,
                "values": line.values.iter().map(finite).collect::<Vec<_>>(),
            })
        };
        json!({
            "x": self.x,
            "y": self.y,
            "xs": self.xs,
            "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
            "marks": self.marks,
        })
    }

    pub(super) fn table(&self) -> Table {
        let titles = std::iter::once(&self.x.label).chain(self.lines.iter().map(|line| &line.name));
        let row = |(at, x): (usize, &f64)| {
            let cell = |line: &Line| match line.values.get(at).copied().flatten() {
                Some(value) => self.y.unit.written(value),
                None => "–".to_owned(),
            };
            std::iter::once(self.x.unit.written(*x)).chain(self.lines.iter().map(cell)).collect()
        };
        Table {
            caption: self.title.clone(),
            words: 0,
            titles: titles.cloned().collect(),
            rows: self.xs.iter().enumerate().map(row).collect(),
        }
    }
}

/// Six digits are more than a picture shows.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

impl Bars {
    /// How long a bar is, as a part of the longest.
    pub(super) fn share(&self, value: f64) -> f64 {
        let finite = self.bars.iter().filter_map(|bar| bar.value).filter(|value| value.is_finite());
        let most = finite.fold(0.0, f64::max);
        match value {
            endless if endless.is_infinite() => 1.0,
            value if most > 0.0 => (value / most).clamp(0.0, 1.0),
            _ => 0.0,
        }
    }
}
