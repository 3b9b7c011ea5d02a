//! The questions of an address, read; what is wrong with them is said as every other failure.

use super::Failure;
use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use serde::de::DeserializeOwned;

/// What stands behind the `?`.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, shared: &S) -> Result<Self, Failure> {
        let read = Query::<T>::from_request_parts(parts, shared).await;
        read.map(|Query(asked)| Self(asked)).map_err(|error| Failure::Invalid(error.body_text()))
    }
}
