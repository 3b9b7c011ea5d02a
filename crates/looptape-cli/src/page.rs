//! The page, as the proxy's listeners serve it.

use bytes::Bytes;
use http::{Request, Response};
use looptape_page::Page;
use looptape_proxy::pages::Pages;
use std::pin::Pin;

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
