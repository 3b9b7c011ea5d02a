//! The page, as the proxy's listeners serve it.

use crate::config::Config;
use bytes::Bytes;
use http::{Request, Response};
use looptape_core::gates::Conditions;
use looptape_page::{Page, Rules};
use looptape_proxy::pages::Pages;
use std::pin::Pin;

/// What the configuration says of what is shown.
pub(crate) fn rules(config: &Config) -> anyhow::Result<Rules> {
    let conditions = Conditions { gates: config.gates.0.clone(), ..Conditions::default() };
    Ok(Rules { prices: config.price_book()?, conditions, not_masked: config.masks.disable.clone() })
}

/// A page behind a listener of the proxy.
#[derive(Debug)]
pub(crate) struct ServedPage(Page);

impl ServedPage {
    pub(crate) fn new(page: Page) -> Self {
        Self(page)
    }
}

impl Pages for ServedPage {
    fn answer(
        &self,
        request: Request<looptape_proxy::pages::Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>> {
        Box::pin(self.0.answer(request))
    }
}
