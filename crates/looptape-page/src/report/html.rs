//! A report as elements.

use super::{Bar, Bars, Block, Curves, Fold, Ink, KeyFigure, Notice, Report, Section, Table, Tone};
use maud::{Markup, html};

pub(super) fn body(report: &Report) -> Markup {
    let mut plots = 0..;
    let sections: Vec<Markup> = report.sections.iter().map(|one| section(one, &mut plots)).collect();
    html! {
        a.skip href="#report" { "Skip to the report" }
        header {
            h1 { (report.title) }
            @for line in &report.lead { p.lead { (line) } }
        }
        main #report {
            @for notice in &report.notices { (self::notice(notice)) }
            @if !report.figures.is_empty() {
                dl.figures { @for figure in &report.figures { (key_figure(figure)) } }
            }
            @for section in sections { (section) }
        }
        footer { p { "Made by looptape " (env!("CARGO_PKG_VERSION")) ". This file asks no other host for anything." } }
    }
}

fn notice(notice: &Notice) -> Markup {
    let (class, word) = match notice.tone {
        Tone::Good => ("good", "✓"),
        Tone::Warning => ("warning", "!"),
        Tone::Bad => ("bad", "✗"),
    };
    html! { p.notice .(class) role="status" { span.mark aria-hidden="true" { (word) } " " (notice.text) } }
}

fn key_figure(figure: &KeyFigure) -> Markup {
    html! {
        div {
            dt { (figure.name) }
            dd { strong { (figure.value) } @if !figure.note.is_empty() { span { (figure.note) } } }
        }
    }
}

fn section(section: &Section, plots: &mut impl Iterator<Item = usize>) -> Markup {
    let blocks: Vec<Markup> = section.blocks.iter().map(|one| block(one, plots)).collect();
    let blocks = html! { div.blocks { @for block in blocks { (block) } } };
    html! {
        @match section.fold {
            Fold::Open => section { h2 { (section.heading) } (blocks) },
            Fold::Closed => details.section { summary { h2 { (section.heading) } } (blocks) },
        }
    }
}

fn block(block: &Block, plots: &mut impl Iterator<Item = usize>) -> Markup {
    match block {
        Block::Text(text) => html! { p.text { (text) } },
        Block::Source(text) => html! { pre tabindex="0" { code { (text) } } },
        Block::Table(one) => html! { figure.wide { figcaption { (one.caption) } (table(one)) } },
        Block::Bars(one) => bars(one),
        Block::Curves(one) => curves(one, plots.next().unwrap_or_default()),
    }
}

/// A place for the plot, which a script fills, and its table.
fn curves(curves: &Curves, plot: usize) -> Markup {
    html! {
        figure {
            figcaption { (curves.title) @if let Some(note) = &curves.note { small { (note) } } }
            div.plot data-plot=(plot) role="img" aria-label={ (curves.title) ": its table follows" } {}
            details { summary { "Table" } (table(&curves.table())) }
        }
    }
}

fn table(table: &Table) -> Markup {
    let class = |at: usize| if at < table.words { "word" } else { "number" };
    html! {
        div.scroll tabindex="0" role="region" aria-label=(table.caption) {
            table {
                thead { tr {
                    @for (at, title) in table.titles.iter().enumerate() {
                        // A heading that says nothing is none.
                        @if title.is_empty() { td {} } @else { th scope="col" class=(class(at)) { (title) } }
                    }
                } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (at, cell) in row.iter().enumerate() {
                                @if at == 0 { th scope="row" class=(class(at)) { (cell) } }
                                @else { td class=(class(at)) { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The table is the plot: each value has its bar beside it.
fn bars(bars: &Bars) -> Markup {
    html! {
        figure {
            figcaption { (bars.title) @if let Some(note) = &bars.note { small { (note) } } }
            div.scroll tabindex="0" role="region" aria-label=(bars.title) {
                table.bars { tbody {
                    @for bar in &bars.bars {
                        tr {
                            th scope="row" class="word" { (bar.name) }
                            td.number { (bar.value.map_or("–".to_owned(), |value| bars.unit.written(value))) }
                            td.bar { (drawn(bars, bar)) }
                        }
                    }
                } }
            }
        }
    }
}

fn drawn(bars: &Bars, bar: &Bar) -> Markup {
    let Some(value) = bar.value else { return html! {} };
    let class = match bar.ink {
        _ if value.is_infinite() => "endless",
        Ink::Reference => "reference",
        Ink::First => "first",
        Ink::Second => "second",
        Ink::Third => "third",
        Ink::Good => "good",
        Ink::Bad => "bad",
    };
    let width = format!("{:.1}%", bars.share(value) * 100.0);
    html! { svg aria-hidden="true" focusable="false" { rect class=(class) width=(width) height="100%" rx="2" {} } }
}
