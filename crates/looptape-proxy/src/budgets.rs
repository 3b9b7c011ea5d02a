//! A budget that calls on any number of connections draw on, and the books that outlive the process.
//!
//! What a call could cost at most is reserved before it is sent, and settled by the usage that its answer reports.
//! An answer that is broken off, or says nothing of usage, counts as what was reserved for it. What changes is
//! handed to the recorder, which writes it down with its next batch; what earlier runs and other processes spent
//! is read from the database, so a restart forgets nothing, and processes that share a database share its limits
//! but for the last second.
//!
//! What this does not do: send or refuse anything; whoever sends calls asks first.

use crate::observed::SeenAnswer;
use bytes::Bytes;
use looptape_core::TraceId;
use looptape_core::budget::{
    self, Account, Budget, Counted, Day, Exhausted, Limits, OverBudget, Prospect, Reservation, Scope,
    Settlement, Spending, UnpricedCalls, WorstCase,
};
use looptape_core::cost::{PriceBook, Usd};
use looptape_core::derive::{self, RequestFacts};
use looptape_core::exchange::{Answer, Ending, Outcome};
use looptape_core::headers::RedactedHeaders;
use looptape_store::{Moment, OpenError, ReadError, Reader, Recorder, Spender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How old a figure of what others spent on a day may be.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a call may wait for reservations that are in its way.
const SETTLEMENT_WAIT: Duration = Duration::from_millis(500);

/// A budget. A clone is the same one.
#[derive(Clone, Debug)]
pub struct SharedBudget(Arc<Shared>);

/// The mutexes are std ones: held for one sum or one query, never across an await.
#[derive(Debug)]
struct Shared {
    prices: PriceBook,
    limits: Limits,
    spender: Spender,
    budget: Mutex<Budget>,
    books: Mutex<Option<Recorder>>,
    /// What others spent; `None` where only this run counts.
    elsewhere: Option<Mutex<Elsewhere>>,
    /// Told of each settlement.
    settled: Notify,
}

#[derive(Debug)]
struct Elsewhere {
    reader: Reader,
    looked: Option<(Day, Instant)>,
}

impl SharedBudget {
    /// A budget to which counts what `reader`'s database says was spent before, or is spent by others.
    pub fn continuing(limits: Limits, unpriced: UnpricedCalls, reader: &Reader) -> Result<Self, OpenError> {
        let elsewhere = Elsewhere { reader: reader.another()?, looked: None };
        Ok(Self::new(limits, unpriced, reader.prices().clone(), Some(elsewhere)))
    }

    /// A budget of one run, to which nothing else counts.
    pub fn of_this_run(limits: Limits, unpriced: UnpricedCalls, prices: PriceBook) -> Self {
        Self::new(limits, unpriced, prices, None)
    }

    fn new(limits: Limits, unpriced: UnpricedCalls, prices: PriceBook, elsewhere: Option<Elsewhere>) -> Self {
        Self(Arc::new(Shared {
            prices,
            limits,
            spender: Spender::new(),
            budget: Mutex::new(Budget::new(limits, unpriced)),
            books: Mutex::default(),
            elsewhere: elsewhere.map(Mutex::new),
            settled: Notify::new(),
        }))
    }

    /// From now on `recorder` writes down what is spent.
    pub fn kept_by(&self, recorder: Recorder) {
        *lock(&self.0.books) = Some(recorder);
        self.keep();
    }

    /// What this process spent so far.
    pub fn spending(&self) -> Spending {
        lock(&self.0.budget).spending()
    }

    /// The first limit on more than one trace because of which a call was refused.
    pub fn exhausted(&self) -> Option<Exhausted> {
        lock(&self.0.budget).exhausted()
    }

    pub fn unpriced(&self) -> UnpricedCalls {
        lock(&self.0.budget).unpriced()
    }

    /// What counts against a limit.
    pub fn account(&self, scope: &Scope) -> Account {
        lock(&self.0.budget).account(scope)
    }

    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// By which calls are priced.
    pub fn prices(&self) -> &PriceBook {
        &self.0.prices
    }

    /// A trace is over: another run of the same name begins anew.
    pub fn forget(&self, trace: &TraceId) {
        if self.0.limits.trace_usd.is_some() {
            lock(&self.0.budget).forget(&Scope::Trace(trace.clone()));
        }
    }

    /// Holds back what a call could cost, or says why it must not be sent.
    pub async fn admit(&self, prospect: &Prospect<'_>, trace: Option<TraceId>) -> Result<Held, OverBudget> {
        let most = budget::worst_case(prospect, &self.0.prices);
        let counted = Counted { trace, day: Day::of_unix_us(prospect.at_unix_us) };
        self.look_elsewhere(&counted).await;
        let reservation = self.reserve(&most, &counted).await?;
        Ok(self.held(reservation))
    }

    /// The same for a call of which it is known what it could cost, and that waits for no other one.
    pub async fn admit_at_once(&self, most: &WorstCase, counted: &Counted) -> Result<Held, OverBudget> {
        self.look_elsewhere(counted).await;
        let reserved = lock(&self.0.budget).reserve(most, counted);
        Ok(self.held(reserved.inspect_err(|why| self.refused(why))?))
    }

    fn held(&self, reservation: Reservation) -> Held {
        self.keep();
        Held { budget: self.clone(), reservation, settlement: Settlement::AtLeast(Usd::ZERO) }
    }

    fn refused(&self, why: &OverBudget) {
        lock(&self.0.budget).count_refusal(why);
    }

    /// A client that has its answer may call again before the answer's end has been seen here. So a call that
    /// only reservations are in the way of waits a moment for one to be settled.
    async fn reserve(&self, most: &WorstCase, counted: &Counted) -> Result<Reservation, OverBudget> {
        let until = tokio::time::Instant::now() + SETTLEMENT_WAIT;
        loop {
            let settled = self.0.settled.notified();
            let reserved = lock(&self.0.budget).reserve(most, counted);
            let waits =
                matches!(&reserved, Err(OverBudget::TooMuch(over)) if over.fits_without_reservations());
            if !waits || tokio::time::timeout_at(until, settled).await.is_err() {
                return reserved.inspect_err(|why| self.refused(why));
            }
        }
    }

    /// Brings up to date what others spent, where it counts and is not known.
    async fn look_elsewhere(&self, counted: &Counted) {
        let Some(elsewhere) = &self.0.elsewhere else { return };
        if !self.0.limits.outlive_the_run() {
            return;
        }
        let trace = counted.trace.clone().filter(|trace| {
            let is_known = lock(&self.0.budget).knows(&Scope::Trace(trace.clone()));
            self.0.limits.trace_usd.is_some() && !is_known
        });
        let day_is_old = self.0.limits.day_usd.is_some() && lock(elsewhere).is_old(counted.day);
        if trace.is_none() && !day_is_old {
            return;
        }
        let (shared, day) = (self.0.clone(), day_is_old.then_some(counted.day));
        // A figure that cannot be read stays what it was: the agent's run goes on within what is known.
        let looked = tokio::task::spawn_blocking(move || shared.look(day, trace)).await;
        if let Ok(Err(error)) = looked {
            tracing::warn!(%error, "what was spent before cannot be read");
        }
    }

    /// Hands what has changed to the recorder.
    fn keep(&self) {
        if !self.0.limits.outlive_the_run() {
            return;
        }
        if let Some(recorder) = &*lock(&self.0.books) {
            recorder.note_spending(self.0.spender, lock(&self.0.budget).take_changes());
        }
    }

    fn settle(&self, reservation: Reservation, settlement: Settlement) {
        lock(&self.0.budget).settle(reservation, settlement);
        self.keep();
        self.0.settled.notify_waiters();
    }
}

impl Shared {
    fn look(&self, day: Option<Day>, trace: Option<TraceId>) -> Result<(), ReadError> {
        let Some(elsewhere) = &self.elsewhere else { return Ok(()) };
        let mut elsewhere = lock(elsewhere);
        if let Some(day) = day {
            let spent = elsewhere.reader.spent_on(day, self.spender)?;
            elsewhere.looked = Some((day, Instant::now()));
            lock(&self.budget).set_elsewhere(Scope::Day(day), spent);
        }
        if let Some(trace) = trace {
            let spent = elsewhere.reader.spent_by(&trace, self.spender)?;
            lock(&self.budget).set_elsewhere(Scope::Trace(trace), spent);
        }
        Ok(())
    }
}

impl Elsewhere {
    fn is_old(&self, day: Day) -> bool {
        self.looked.is_none_or(|(of, at)| of != day || at.elapsed() > LOOK_AGAIN)
    }
}

/// What is held back for a call. Dropping it settles it.
#[derive(Debug)]
#[must_use = "dropping it says that the call may have cost what was reserved"]
pub struct Held {
    budget: SharedBudget,
    reservation: Reservation,
    settlement: Settlement,
}

/// What is known of an answer when it is over.
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: RedactedHeaders,
    pub(crate) body: Bytes,
    pub(crate) ending: Ending,
}

impl From<SeenAnswer> for Seen {
    fn from(seen: SeenAnswer) -> Self {
        let SeenAnswer { status, headers, body, ending, .. } = seen;
        Self { status, headers, body: body.to_bytes(), ending }
    }
}

impl Held {
    /// The call had this answer.
    pub(crate) fn answered(mut self, request: &RequestFacts, seen: Seen) {
        let Seen { status, headers, body, ending } = seen;
        let (head_us, end_us, chunks) = (0, 0, Vec::new());
        let outcome = Outcome::Answered(Answer { status, headers, body, chunks, head_us, end_us, ending });
        let call = derive::call(request, &outcome);
        self.settlement = (&self.budget.prices().cost(&call, Some(Moment::now().unix_us))).into();
    }

    /// The call is over, and came to this.
    pub fn settle(mut self, settlement: Settlement) {
        self.settlement = settlement;
    }

    /// There was no answer. What may have been computed for a connection that broke is not known; nothing was for
    /// one that was never made.
    pub(crate) fn unanswered(mut self, was_connected: bool) {
        if !was_connected {
            self.settlement = Settlement::Nothing;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.settle(self.reservation, self.settlement);
    }
}

/// A panic while it is held is a bug that must not take other calls with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
