//! A trace as a comparison needs it: of each request its opening and its end, so that a trace of a thousand
//! steps costs what its steps added. What is damaged is an error that names it.

use super::trace_view::{Contents, Messages};
use looptape_core::derive;
use looptape_core::diff::{
    AnswerContent, AskedCalls, History, PlainContent, RequestContent, RequestReader, Side, StepContent,
    StepRequest,
};
use looptape_core::exchange::Outcome;
use looptape_core::facts::{CallFacts, CallKind};
use looptape_core::metrics::Measured;
use looptape_core::view::TraceView;
use looptape_core::wire::Wire;
use looptape_store::{ReadError, Reader, RecordedTrace, TraceRow};

/// Of a history at least so many elements are read at its end, and of longer tails this times as many.
const FIRST_ELEMENTS: usize = 8;
const GROWTH: usize = 8;

/// A trace, read.
pub(super) struct ReadTrace {
    view: TraceView,
    steps: Vec<StepContent>,
    plain: Vec<PlainContent>,
}

impl ReadTrace {
    pub(super) fn new(
        reader: &Reader,
        row: TraceRow,
        requests: &mut RequestReader,
    ) -> Result<Self, ReadError> {
        let trace = reader.load(row)?;
        let measured = trace.measure();
        let view = Contents::new(reader, &trace, Messages::LeftOut).view(&measured, |_| true);
        let mut bodies = Bodies { reader, trace: &trace, asked: AskedCalls::of(&trace.facts), requests };
        let steps = bodies.steps(&measured)?;
        let plain = bodies.plain(&measured)?;
        Ok(Self { view, steps, plain })
    }

    pub(super) fn side(&self) -> Side<'_> {
        Side { view: &self.view, steps: &self.steps, plain: &self.plain }
    }
}

struct Bodies<'a> {
    reader: &'a Reader,
    trace: &'a RecordedTrace,
    asked: AskedCalls,
    requests: &'a mut RequestReader,
}

impl Bodies<'_> {
    fn steps(&mut self, measured: &Measured) -> Result<Vec<StepContent>, ReadError> {
        let mut steps = Vec::with_capacity(measured.assembly.steps.len());
        for step in &measured.assembly.steps {
            let facts = &self.trace.facts[step.final_call().0];
            let CallKind::Llm(wire) = facts.kind else { continue };
            let history = History::of(&self.trace.facts, &measured.assembly, step);
            let request = self.request(wire, facts, history)?;
            let outcome = self.reader.outcome(self.trace.row.key, facts.seq)?;
            let answer = AnswerContent::of(derive::response_view(facts.kind, &outcome).as_ref());
            steps.push(StepContent { request, answer });
        }
        Ok(steps)
    }

    fn request(
        &mut self,
        wire: Wire,
        facts: &CallFacts,
        history: History,
    ) -> Result<RequestContent, ReadError> {
        let path = facts.endpoint.split_once(' ').map_or("", |(_, path)| path);
        let mut elements = match (history, wire.history()) {
            (History::Extends, Some(_)) => FIRST_ELEMENTS.max(facts.carries.len() + 2),
            _ => usize::MAX,
        };
        let member = wire.history().map_or("", |(member, _)| member);
        loop {
            let (headers, body) =
                self.reader.request_ends(self.trace.row.key, facts.seq, member, elements)?;
            let decoded = derive::decode_body(&headers, &body.body, &[]);
            let request = StepRequest { wire, path, body: &decoded.bytes, is_whole: body.is_whole, history };
            if let Some(content) = self.requests.read(&request, &self.asked) {
                return Ok(content);
            }
            elements = elements.saturating_mul(GROWTH);
        }
    }

    fn plain(&self, measured: &Measured) -> Result<Vec<PlainContent>, ReadError> {
        let content = |call: usize| {
            let exchange = self.reader.exchange(self.trace.row.key, self.trace.facts[call].seq)?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let request = derive::decode_body(&exchange.request_headers, &exchange.request_body, &[]);
            let answer = match &exchange.outcome {
                Outcome::Answered(answer) => {
                    text(&derive::decode_body(&answer.headers, &answer.body, &[]).bytes)
                }
                Outcome::InFlight | Outcome::NoResponse { .. } => String::new(),
            };
            Ok(PlainContent { request: text(&request.bytes), answer })
        };
        measured.assembly.others.iter().map(|other| content(other.final_call().0)).collect()
    }
}
