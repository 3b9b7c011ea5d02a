use super::*;

fn curves() -> Curves {
    Curves {
        title: "Loop duration".to_owned(),
        note: Some("gaps: nothing ended".to_owned()),
        x: Axis::time(),
        y: Axis::of("duration", Unit::Duration),
        xs: vec![0.0, 60.0, 120.0],
        lines: vec![Line::new("p95", Ink::First, vec![Some(1_234.567_891), None, Some(f64::INFINITY)])],
        marks: vec![Mark { at: 60.0, label: "<b>spike</b>".to_owned() }],
    }
}

fn report() -> Report {
    let bars = Bars {
        title: "Rates".to_owned(),
        note: None,
        unit: Unit::Rate,
        bars: [("half", Some(5.0)), ("most", Some(10.0)), ("never", Some(f64::INFINITY)), ("unknown", None)]
            .map(|(name, value)| Bar { name: name.to_owned(), value, ink: Ink::First })
            .into(),
    };
    Report {
        title: "A <run> & its report".to_owned(),
        notices: vec![Notice { tone: Tone::Bad, text: "INVALID: \"late\"".to_owned() }],
        sections: vec![
            Section::open("Over time", vec![Block::Curves(curves()), Block::Bars(bars)]),
            Section::closed("Source", vec![Block::Source("a < b\n".to_owned())]),
        ],
        ..Report::default()
    }
}

#[test]
fn a_plot_and_its_table_have_the_same_numbers() {
    let table = curves().table();
    assert_eq!(table.titles, ["since the start", "p95"]);
    assert_eq!(table.rows, [["0:00", "1.23 s"], ["1:00", "–"], ["2:00", "∞"]]);
    let drawn = curves().drawn();
    assert_eq!(drawn["lines"][0]["values"], json!([1234.57, null, null]));
    assert!(curves().shows_something());
    let nothing = Curves { lines: vec![Line::new("p95", Ink::First, vec![Some(0.0); 3])], ..curves() };
    assert!(!nothing.shows_something());
}

#[test]
fn everything_is_in_the_file_and_nothing_of_it_is_markup() {
    let text = report().text();
    for there in [
        "<title>A &lt;run&gt; &amp; its report</title>",
        "INVALID: &quot;late&quot;",
        "data-plot=\"0\"",
        "a &lt; b\n",
        "\\u003cb\\u003espike",
        "<details class=\"section\">",
    ] {
        assert!(text.contains(there), "{there} is not in {text}");
    }
    let elsewhere = text.replace("https://github.com/leeoniya/uPlot", "");
    assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "a host is named");
    assert!(!text.contains("style=\"") && !text.contains(" onclick"), "the policy would forbid it");
}

#[test]
fn bars_are_parts_of_the_longest() {
    let text = report().text();
    for width in ["width=\"50.0%\"", "class=\"first\" width=\"100.0%\"", "class=\"endless\" width=\"100.0%\""]
    {
        assert!(text.contains(width), "{width}");
    }
}
