//! The mock provider: what it says, served by a twin.
//!
//! A request goes through it in four steps, so that a server holds its lock for the short ones only: it is heard
//! ([`MockProvider::hear`]), placed in its loop ([`MockDesk::place`]), an answer is thought of
//! ([`MockProvider::think`]), the twin decides what happens to it ([`MockDesk::decide`]), and it is written down
//! ([`MockProvider::write`]). The desk remembers, the provider does not change.
//!
//! Invariants: the same requests at the same times get the same bytes. With a seed, times in bodies are those of a
//! fixed day; only the figures of limits still follow from when requests come.

use super::conversation::Conversation;
use super::places::{Arrival, Placed, Places};
use super::reply::{self, Ids, Reply, Tokens};
use super::says::{Said, SayingPlace, Says, Wish};
use super::script::Pace;
use super::{Endpoint, Framing, SimRequest, SimResponse, SimTime, errors, render, served};
use crate::draws::Draws;
use crate::limits::{Limited, Standing, Standings};
use crate::twin::{Ask, Delivery, Refusal, RefusalWhy, Service, ServiceEnding, Twin, TwinSpec, Verdict};
use serde_json::Value;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What does not change while it serves.
#[derive(Clone, Debug)]
pub struct MockProvider {
    says: Says,
    draws: Draws,
    time: SimTime,
    clock: MockClock,
}

/// Where times in bodies come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MockClock {
    /// The wall clock.
    Real,
    /// The same time always: that of [`SEEDED_UNIX_S`].
    Fixed,
}

/// What a seeded mock takes for now: 2025-01-01T00:00:00Z.
pub const SEEDED_UNIX_S: i64 = 1_735_689_600;
const SEEDED_DATE: &str = "Wed, 01 Jan 2025 00:00:00 GMT";

/// What it remembers of the calls it was asked.
#[derive(Clone, Debug)]
pub struct MockDesk {
    twin: Twin,
    places: Places,
}

/// A request that was understood.
#[derive(Clone, Debug)]
pub struct Heard {
    body: Value,
    conversation: Conversation,
    arrival: Arrival,
    wish: Wish,
}

/// What a client says of itself, beside its request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client<'a> {
    /// How often its SDK says that it tried already.
    pub retries: Option<u32>,
    /// What answer it wants, where it does not say so in its newest message: `output_tokens=150, tool_calls=1`.
    pub wish: Option<&'a str>,
}

/// The header that it says it in.
pub const WISH_HEADER: &str = "x-looptape-wish";

/// A request with its place.
#[derive(Clone, Copy, Debug)]
pub struct AtPlace(Placed);

/// An answer before it is known whether it may be given.
#[derive(Clone, Debug)]
pub struct Thought {
    said: Said,
    placed: Placed,
}

/// What happens to it.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    verdict: Verdict,
    standings: Standings,
    asked_us: u64,
}

/// What the server does.
#[derive(Clone, Debug, PartialEq)]
pub struct MockAnswer {
    pub sent: MockSent,
    pub kind: MockKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum MockSent {
    Answer(SimResponse),
    /// The connection is closed.
    Closed,
}

/// What it was, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MockKind {
    Served {
        input_tokens: u64,
        cached_tokens: u64,
        output_tokens: u64,
    },
    /// Served, but broken by a fault.
    Broken {
        input_tokens: u64,
        cached_tokens: u64,
        output_tokens: u64,
    },
    Limited(Limited),
    Overloaded,
    NoQuota,
    /// A refusal that a fault asks for.
    Failed {
        status: u16,
    },
    Dropped,
    /// No request for a model.
    NotUnderstood {
        status: u16,
    },
}

impl MockProvider {
    pub fn new(says: Says, seed: u64, time: SimTime, clock: MockClock) -> Self {
        Self { says, draws: Draws::new(seed), time, clock }
    }

    /// Reads a request; `Err` is the answer to what cannot be read.
    pub fn hear(&self, request: &SimRequest<'_>, client: Client<'_>) -> Result<Heard, MockAnswer> {
        let not_understood = |response: SimResponse| MockAnswer {
            kind: MockKind::NotUnderstood { status: response.status },
            sent: MockSent::Answer(self.dated(response)),
        };
        let endpoint =
            Endpoint::of(request.path).ok_or_else(|| not_understood(errors::not_found(request.path)))?;
        if request.method != "POST" {
            return Err(not_understood(errors::wrong_method(endpoint.format, request.method)));
        }
        let body = endpoint.body(request.body).map_err(not_understood)?;
        let conversation = Conversation::read(&endpoint, &body);
        let arrival = Arrival {
            request: xxh3_64_with_seed(request.body, xxh3_64(request.path.as_bytes())),
            opening: conversation.opening,
            step: u32::try_from(conversation.model_turns).unwrap_or(u32::MAX).saturating_add(1),
            retries: client.retries,
        };
        let wish = client.wish.map_or_else(|| Wish::of(endpoint.format, &body), Wish::read);
        Ok(Heard { body, conversation, arrival, wish })
    }

    /// What there is to say.
    pub fn think(&self, heard: &Heard, request: &SimRequest<'_>, at: AtPlace) -> Thought {
        let AtPlace(placed) = at;
        let place = SayingPlace {
            in_loop: self.draws.at(heard.arrival.opening),
            in_step: self.draws.at(placed.place.loop_key).at(u64::from(placed.place.step)),
            step: placed.place.step,
        };
        let request = SimRequest { occurrence: placed.occurrence, ..*request };
        let said = self.says.answer(&heard.conversation, (&heard.body, &heard.wish), &request, place);
        Thought { said, placed }
    }

    /// Writes down what was decided, each piece with its time after the request.
    pub fn write(
        &self,
        heard: &Heard,
        request: &SimRequest<'_>,
        thought: Thought,
        decided: &Decided,
    ) -> MockAnswer {
        let request = SimRequest {
            occurrence: thought.placed.occurrence,
            unix_s: match self.clock {
                MockClock::Real => request.unix_s,
                MockClock::Fixed => SEEDED_UNIX_S,
            },
            ..*request
        };
        let (response, kind) = match decided.verdict {
            Verdict::Served(service) => self.served(heard, &request, thought.said, decided, &service),
            Verdict::Refused(refusal) => self.refused(heard, &request, decided, &refusal),
            Verdict::Dropped { .. } => return MockAnswer { sent: MockSent::Closed, kind: MockKind::Dropped },
        };
        MockAnswer { sent: MockSent::Answer(self.dated(response)), kind }
    }

    /// With the fixed day, where that is the clock; else a server states its own.
    fn dated(&self, mut response: SimResponse) -> SimResponse {
        if self.clock == MockClock::Fixed {
            response.headers.push(("date", SEEDED_DATE.to_owned()));
        }
        response
    }

    fn served(
        &self,
        heard: &Heard,
        request: &SimRequest<'_>,
        said: Said,
        decided: &Decided,
        service: &Service,
    ) -> (SimResponse, MockKind) {
        let reply = Reply {
            ids: Ids::of(request),
            unix_s: request.unix_s,
            calls: reply::calls(&said.turn),
            text: said.turn.text,
            finish: said.finish,
            tokens: Tokens {
                input: service.input.total(),
                cache_read: service.input.cache_read,
                cache_write: service.input.cache_write,
                output: said.output_tokens,
                thoughts: 0,
            },
            standings: self.stated(decided.standings),
            pace: Pace { first_us: 0, between_us: 0 },
        };
        let response = render(&reply, &heard.conversation, &heard.body);
        let format = heard.conversation.format;
        let response = served::serve(response, format, service, decided.asked_us, self.time);
        (response, MockKind::of_service(service))
    }

    fn refused(
        &self,
        heard: &Heard,
        request: &SimRequest<'_>,
        decided: &Decided,
        refusal: &Refusal,
    ) -> (SimResponse, MockKind) {
        let refused = errors::Refused {
            format: heard.conversation.format,
            model: &heard.conversation.model,
            ids: Ids::of(request),
            standings: self.stated(decided.standings),
            unix_s: request.unix_s,
        };
        let mut response = refused.answer(&self.in_real_time(*refusal));
        if let Some(first) = response.chunks.first_mut() {
            first.delay_us = self.time.pass(refusal.at_us.saturating_sub(decided.asked_us));
        }
        (response, MockKind::of_refusal(refusal))
    }

    /// Waits as the client's clock has them.
    fn in_real_time(&self, mut refusal: Refusal) -> Refusal {
        match &mut refusal.why {
            RefusalWhy::Limit(blocked) => blocked.wait_us = blocked.wait_us.map(|us| self.time.stated(us)),
            RefusalWhy::Fault { retry_after_us, .. } => {
                *retry_after_us = retry_after_us.map(|us| self.time.stated(us));
            }
            RefusalWhy::Overloaded | RefusalWhy::NoQuota => {}
        }
        refusal
    }

    fn stated(&self, standings: Standings) -> Standings {
        let stated = |standing: Option<Standing>| {
            standing.map(|standing| Standing { reset_us: self.time.stated(standing.reset_us), ..standing })
        };
        Standings {
            requests: stated(standings.requests),
            tokens: stated(standings.tokens),
            input_tokens: stated(standings.input_tokens),
            output_tokens: stated(standings.output_tokens),
        }
    }
}

impl MockDesk {
    pub fn new(spec: TwinSpec, seed: u64) -> Self {
        Self { twin: Twin::new(spec, seed), places: Places::new() }
    }

    pub fn place(&mut self, heard: &Heard) -> AtPlace {
        AtPlace(self.places.arrive(&heard.arrival))
    }

    /// `at_us`: since the start, in the twin's time; it never goes back from one call to the next.
    pub fn decide(&mut self, heard: &Heard, thought: &Thought, at_us: u64) -> Decided {
        let conversation = &heard.conversation;
        let verdict = self.twin.ask(&Ask {
            at_us,
            place: thought.placed.place,
            prompt: &conversation.prompt,
            caching: conversation.caching,
            max_output_tokens: conversation.max_output_tokens,
            output_tokens: thought.said.output_tokens,
            delivery: match conversation.framing {
                Framing::Whole | Framing::BodyDecides => Delivery::Whole,
                Framing::Events | Framing::Array => Delivery::Streamed,
            },
        });
        if matches!(verdict, Verdict::Served(_)) {
            self.places.served(heard.arrival.request);
        }
        Decided { verdict, standings: self.twin.standings(at_us), asked_us: at_us }
    }
}

impl MockKind {
    fn of_service(service: &Service) -> Self {
        let (input_tokens, cached_tokens) = (service.input.total(), service.input.cache_read);
        let output_tokens = service.output_tokens;
        match service.ending {
            ServiceEnding::Complete => Self::Served { input_tokens, cached_tokens, output_tokens },
            _ => Self::Broken { input_tokens, cached_tokens, output_tokens },
        }
    }

    fn of_refusal(refusal: &Refusal) -> Self {
        match refusal.why {
            RefusalWhy::Limit(blocked) => Self::Limited(blocked.which),
            RefusalWhy::Overloaded => Self::Overloaded,
            RefusalWhy::NoQuota => Self::NoQuota,
            RefusalWhy::Fault { status, .. } => Self::Failed { status },
        }
    }
}
