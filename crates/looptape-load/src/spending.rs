//! What a run may cost: a call that could exceed it is not sent.

use looptape_core::cost::Usd;
use looptape_core::load::Prices;
use looptape_core::usage::LeafTokens;

/// Spent and reserved dollars.
#[derive(Debug)]
pub(crate) struct Spending {
    max_usd: Option<Usd>,
    spent: Usd,
    reserved: Usd,
}

/// What is held back for a call under way.
#[derive(Clone, Copy, Debug)]
#[must_use = "a reservation is settled when the call has ended"]
pub(crate) struct Reserved(Usd);

impl Spending {
    pub(crate) fn new(max_usd: Option<Usd>) -> Self {
        Self { max_usd, spent: Usd::ZERO, reserved: Usd::ZERO }
    }

    pub(crate) fn spent(&self) -> Usd {
        self.spent
    }

    /// Holds back what a call costs at most, if there is a limit; `Err` is the limit that it would exceed.
    pub(crate) fn reserve(&mut self, at_most: impl FnOnce() -> Usd) -> Result<Reserved, Usd> {
        let Some(max_usd) = self.max_usd else { return Ok(Reserved(Usd::ZERO)) };
        let usd = at_most();
        if self.spent + self.reserved + usd > max_usd {
            return Err(max_usd);
        }
        self.reserved += usd;
        Ok(Reserved(usd))
    }

    /// The call has ended; `used` is `None` if it cost nothing.
    pub(crate) fn settle(
        &mut self,
        Reserved(usd): Reserved,
        prices: &Prices,
        model: usize,
        used: Option<&LeafTokens>,
    ) {
        self.reserved = self.reserved.saturating_sub(usd);
        let cost = used.and_then(|used| prices.cost(model, used)).map_or(Usd::ZERO, |leaves| leaves.total());
        self.spent += cost;
    }
}
