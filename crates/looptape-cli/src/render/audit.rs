//! Why a run cost what it cost, as text.

mod ranked;
mod waterfall;

pub(crate) use ranked::text as ranked;

use super::figures::{count, duration, percent, plural};
use super::style::{Style, Tone};
use super::terminal_text::{cut, escape, fit, fit_right};
use looptape_core::audit::{
    Audit, BaselineSource, CacheMiss, CarriedMessage, Message, MissCause, PrefixChange, Repeat, Repeated,
    Supposing,
};
use looptape_core::composition::{Composition, Section};
use looptape_core::cost::{Usd, UsdDelta};
use looptape_page::reading::audit::Audited;

/// Rows of each list.
const MOST_ROWS: usize = 8;
/// Tools that are named in the line of tools.
const MOST_TOOLS: usize = 6;

/// What the run cost, why it cost more or less than another, where the money went, and what to look at.
/// Recorded text is escaped line by line.
pub(crate) fn text(audited: &Audited, style: Style) -> String {
    let audit = &audited.audit;
    let mut page = Page { style, out: String::new() };
    page.head(audit);
    page.compared(audit);
    page.carried(audit);
    page.cache(audit);
    page.retries(audit);
    page.repeats(audit);
    page.what_if(audit);
    page.notes(audited);
    page.findings(audit);
    page.out
}

struct Page {
    style: Style,
    out: String,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn quiet(&mut self, text: &str) {
        let painted = self.style.paint(Tone::Quiet, text);
        self.line(&painted);
    }

    fn title(&mut self, text: &str) {
        self.line("");
        let painted = self.style.paint(Tone::Strong, &cut(text, self.style.width));
        self.line(&painted);
    }

    /// A line that is cut where the terminal ends.
    fn row(&mut self, text: &str) {
        let text = cut(text, self.style.width);
        self.line(&text);
    }

    fn head(&mut self, audit: &Audit) {
        let title =
            self.style.paint(Tone::Strong, &format!("audit of trace {}", escape(audit.trace.as_str())));
        self.line(&title);
        let cost = cost(audit.cost_usd, audit.cost_at_least);
        let parts = [
            audit.agent.as_deref().map(escape),
            Some(cost),
            Some(plural(audit.steps, "step", "steps")),
            Some(escape(&audit.models.join(", "))).filter(|models| !models.is_empty()),
        ];
        self.line(&parts.into_iter().flatten().collect::<Vec<_>>().join(" · "));
        let other = audit.fees_usd + audit.other_calls_usd;
        if audit.cost_usd.is_some() {
            let beside = if other > Usd::ZERO { format!(" · beside tokens {other}") } else { String::new() };
            self.line(&format!("input {} · output {}{beside}", audit.input_usd, audit.output_usd));
        }
        let largest = audit.by_step.iter().filter_map(|step| Some((step.step, step.composition?)));
        if let Some((step, composition)) = largest.max_by_key(|(_, composition)| composition.input_tokens) {
            let shares = composition_words(&composition);
            self.row(&format!(
                "largest prompt: step {}, {} tokens: {shares}",
                step.0,
                count(composition.input_tokens)
            ));
        }
    }

    fn compared(&mut self, audit: &Audit) {
        let (Some(waterfall), Some(source)) = (&audit.waterfall, &audit.baseline) else { return };
        let than = baseline_words(source);
        let delta = waterfall.delta_usd;
        self.title(&match delta {
            UsdDelta::ZERO => format!("it cost as much as {than}"),
            more if more > UsdDelta::ZERO => format!("why it cost {} more than {than}", more.amount()),
            less => format!("why it cost {} less than {than}", less.amount()),
        });
        for line in waterfall::lines(waterfall, &baseline_name(source), self.style) {
            self.line(&line);
        }
        if audit.baseline_at_least || audit.cost_at_least {
            self.quiet("  not all costs are known: the difference is that of the known ones");
        }
    }

    fn carried(&mut self, audit: &Audit) {
        let carried = &audit.carried;
        if carried.input_usd == Usd::ZERO {
            return;
        }
        let tokenizers: Vec<&str> = audit.tokenizers.iter().map(|tokenizer| tokenizer.as_str()).collect();
        self.title(&format!("where the input went: {}", carried.input_usd));
        let by = tokenizers.join(", ");
        self.quiet(&format!(
            "  single messages are estimates (tokenizer {by}), scaled to the provider's counts"
        ));
        let whole = carried.input_usd.as_f64();
        let share = |usd: Usd| percent(usd.as_f64() / whole);
        let sections = carried
            .by_section
            .iter()
            .map(|of| format!("{} {} ({})", of.section.words(), of.usd, share(of.usd)));
        self.row(&format!("  by section  {}", sections.collect::<Vec<_>>().join(" · ")));
        if !carried.by_tool.is_empty() {
            let tool = |of: &looptape_core::audit::ToolCost| {
                let results = plural(of.results, "result", "results");
                format!("{} {} ({results})", escape(&of.tool), of.usd)
            };
            let tools = carried.by_tool.iter().take(MOST_TOOLS).map(tool);
            let more = carried.by_tool.len().saturating_sub(MOST_TOOLS);
            let more = if more > 0 { format!(" · {more} more") } else { String::new() };
            self.row(&format!("  by tool     {}{more}", tools.collect::<Vec<_>>().join(" · ")));
        }
        self.quiet("      cost  share   sent   tokens  message");
        for message in carried.messages.iter().take(MOST_ROWS) {
            let row = message_row(message);
            self.row(&row);
        }
        let shown: Usd = carried.messages.iter().take(MOST_ROWS).map(|message| message.usd).sum();
        let rest = carried.input_usd.saturating_sub(shown);
        if rest > Usd::ZERO {
            let more = carried.messages.len().saturating_sub(MOST_ROWS) + carried.more_messages;
            self.row(&format!(
                "{}                         {more} more messages",
                fit_right(&rest.to_string(), 10)
            ));
        }
    }

    fn cache(&mut self, audit: &Audit) {
        let cache = &audit.cache;
        if cache.reusable_tokens == 0 {
            return;
        }
        let read = cache.reusable_tokens.saturating_sub(cache.missed_tokens);
        let ratio = percent(read as f64 / cache.reusable_tokens as f64);
        let again = count(cache.reusable_tokens);
        self.title(&format!("cache: {ratio} of {again} tokens that had been sent before were read from it"));
        if cache.missed_tokens > 0 {
            self.row(&format!(
                "  the {} missed cost {} more than cache reads",
                count(cache.missed_tokens),
                cache.missed_usd
            ));
        }
        let mut misses: Vec<&CacheMiss> = cache.misses.iter().collect();
        misses.sort_by_key(|miss| std::cmp::Reverse(miss.usd));
        for miss in misses.into_iter().take(MOST_ROWS) {
            self.miss(miss);
        }
        let more = cache.misses.len().saturating_sub(MOST_ROWS);
        if more > 0 {
            self.quiet(&format!("  {} more", plural(more as u32, "step", "steps")));
        }
    }

    fn miss(&mut self, miss: &CacheMiss) {
        let usd = miss.usd.map_or("price unknown".to_owned(), |usd| usd.to_string());
        let cause = match &miss.cause {
            MissCause::PrefixChanged(change) => changed_words(change),
            MissCause::Expired { idle_ms } => {
                format!("{} after step {}: expired", duration(*idle_ms), miss.after.0)
            }
            MissCause::NotFound => format!("begins as step {} did, and was not read", miss.after.0),
        };
        let missed = count(miss.missed_tokens);
        self.row(&format!("  step {}: {missed} tokens, {usd}: {cause}", miss.step.0));
        if let MissCause::PrefixChanged(change) = &miss.cause
            && change.now.is_some()
        {
            self.row(&format!("    {}", escape(&one_line(&change.text.to_string()))));
        }
    }

    fn retries(&mut self, audit: &Audit) {
        let retries = &audit.retries;
        if retries.retries == 0 {
            return;
        }
        let usd = retries.wasted_usd.map_or("an unknown amount".to_owned(), |usd| usd.to_string());
        let lost = retries.wasted_ms.map_or(String::new(), |ms| format!(" and {}", duration(ms)));
        self.title(&format!("retries: {} for {usd}{lost}", retries.retries));
        for step in retries.steps.iter().take(MOST_ROWS) {
            let usd = step.wasted_usd.map_or("price unknown".to_owned(), |usd| usd.to_string());
            self.row(&format!(
                "  step {}: {} ({usd} before the last)",
                step.step.0,
                step.attempts.join(", ")
            ));
        }
    }

    fn repeats(&mut self, audit: &Audit) {
        if audit.repeats.is_empty() {
            return;
        }
        let usd: Usd = audit.repeats.iter().filter_map(|repeat| repeat.usd).sum();
        self.title(&format!("asked again: {usd}"));
        for repeat in audit.repeats.iter().take(MOST_ROWS) {
            self.row(&format!("  {}", repeat_words(repeat)));
        }
        let more = audit.repeats.len().saturating_sub(MOST_ROWS);
        if more > 0 {
            self.quiet(&format!("  {more} more"));
        }
    }

    fn what_if(&mut self, audit: &Audit) {
        if audit.what_if.is_empty() {
            return;
        }
        self.title("what if");
        for one in &audit.what_if {
            let usd = one.usd.map_or("price unknown".to_owned(), |usd| usd.to_string());
            let delta = one.delta_usd.map_or(String::new(), |delta| format!("({delta})"));
            let what = match &one.supposing {
                Supposing::OtherModel { model } => format!("at the prices of {}", escape(model)),
                Supposing::PerfectCache => "with a perfect cache".to_owned(),
                Supposing::WithoutResult { message } => format!("without {}", escape(&message.words())),
            };
            self.row(&format!("{}  {}  {what}", fit_right(&usd, 10), fit(&delta, 12)));
        }
    }

    fn notes(&mut self, audited: &Audited) {
        if !audited.notes.is_empty() {
            self.line("");
        }
        for note in &audited.notes {
            self.quiet(&format!("note: {}", escape(note)));
        }
    }

    fn findings(&mut self, audit: &Audit) {
        if audit.findings.is_empty() {
            return;
        }
        self.title("findings");
        for (number, finding) in (1..).zip(&audit.findings) {
            self.line(&format!("{number}. {}", escape(&finding.text)));
            if let Some(step) = finding.step {
                let show = format!("   looptape show {} --step {}", escape(audit.trace.as_str()), step.0);
                self.quiet(&show);
            }
        }
    }
}

/// Its sections that are there, each with its share.
pub(crate) fn composition_words(composition: &Composition) -> String {
    let whole = composition.input_tokens.max(1) as f64;
    let mut parts: Vec<(u64, Section)> =
        Section::ALL.map(|section| (composition.part(section), section)).to_vec();
    parts.retain(|(tokens, _)| *tokens > 0);
    parts.sort_by_key(|(tokens, _)| std::cmp::Reverse(*tokens));
    let part = |(tokens, section): &(u64, Section)| {
        format!("{} {} ({})", section.words(), count(*tokens), percent(*tokens as f64 / whole))
    };
    parts.iter().map(part).collect::<Vec<_>>().join(" · ")
}

fn message_row(message: &CarriedMessage) -> String {
    let share = message.share.map_or(String::new(), percent);
    let sent = format!("{} ×", message.times_sent);
    format!(
        "{}  {}  {}  {}  {}",
        fit_right(&message.usd.to_string(), 10),
        fit_right(&share, 5),
        fit_right(&sent, 5),
        fit_right(&count(message.tokens), 7),
        message_words(&message.message),
    )
}

fn message_words(message: &Message) -> String {
    let words = message.words();
    let words = words.strip_prefix("the ").unwrap_or(&words);
    format!("{}: {}", escape(words), escape(&message.beginning))
}

fn changed_words(change: &PrefixChange) -> String {
    let was = escape(&change.was.words());
    match &change.now {
        None => format!("the history was cut before {was}"),
        Some(_) => format!("{was} changed"),
    }
}

fn repeat_words(repeat: &Repeat) -> String {
    let usd = repeat.usd.map_or(String::new(), |usd| format!(": {usd}"));
    let (step, of) = (repeat.step.0, repeat.of.0);
    match &repeat.what {
        Repeated::Request => format!("step {step} sent the request of step {of} again{usd}"),
        Repeated::ToolCall { sub, tool, arguments, same_result } => {
            let result = match same_result {
                Some(true) => ", same result",
                Some(false) => ", another result",
                None => "",
            };
            format!("step {step}.{sub} {} {} as step {of}{result}{usd}", escape(tool), escape(arguments))
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn baseline_words(source: &BaselineSource) -> String {
    match source {
        BaselineSource::Trace { trace } => format!("trace {}", escape(trace)),
        BaselineSource::CohortMedian { agent, runs, .. } => {
            let of = agent.as_deref().map_or(String::new(), |agent| format!(" of {}", escape(agent)));
            format!("the median of {}{of}", plural(*runs, "other run", "other runs"))
        }
        BaselineSource::File { file, .. } => format!("the trace in {}", escape(file)),
        BaselineSource::FileMean { file, runs } => {
            format!("the mean of the {runs} traces in {}", escape(file))
        }
    }
}

fn baseline_name(source: &BaselineSource) -> String {
    match source {
        BaselineSource::Trace { trace } | BaselineSource::CohortMedian { trace, .. } => {
            cut(&escape(trace), 9)
        }
        BaselineSource::File { file, .. } | BaselineSource::FileMean { file, .. } => cut(&escape(file), 24),
    }
}

pub(super) fn cost(usd: Option<Usd>, at_least: bool) -> String {
    match (usd, at_least) {
        (None, _) => "cost unknown".to_owned(),
        (Some(usd), true) => format!("at least {usd}"),
        (Some(usd), false) => usd.to_string(),
    }
}
