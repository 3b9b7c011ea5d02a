//! The last headers of each provider: the next ones differ from them in a date and an id.
//!
//! Values that were searched for secrets and found clean are not searched again, and what is written down
//! is the difference. Memory only.

use super::scrub::Scrubber;
use crate::content::{Blob, ContentCache, Like, Recurrence};
use crate::ids::BlobId;
use foldhash::HashMap;
use looptape_core::headers::RedactedHeaders;
use looptape_core::provider::Provider;
use looptape_core::redact::{Credentials, Vault};
use rusqlite::Connection;

/// Requests' and answers' headers are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Request,
    Answer,
}

/// The last headers by provider and side.
#[derive(Default)]
pub(super) struct LastHeaders(HashMap<(Side, Provider), Last>);

struct Last {
    /// As they came, if nothing in them had to be replaced.
    clean: Option<RedactedHeaders>,
    searched_for: Credentials,
    stored: Option<(Blob, Vec<u8>)>,
}

impl LastHeaders {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Cleans headers: only values that are not those of the last ones are searched.
    pub(super) fn clean(
        &mut self,
        scrubber: &Scrubber,
        (side, provider): (Side, &Provider),
        vault: &mut Vault,
        known: &Credentials,
        headers: RedactedHeaders,
    ) -> RedactedHeaders {
        let last = self.0.entry((side, provider.clone())).or_insert_with(|| Last {
            clean: None,
            searched_for: Credentials::none(),
            stored: None,
        });
        let usable = last.searched_for.same_as(known);
        if usable && last.clean.as_ref() == Some(&headers) {
            return headers;
        }
        let clean = scrubber.headers(vault, known, &headers, last.clean.as_ref().filter(|_| usable));
        if !usable {
            last.searched_for = known.clone();
        }
        last.clean = (clean == headers).then_some(headers);
        clean
    }

    /// Stores headers.
    pub(super) fn put(
        &mut self,
        (side, provider): (Side, &Provider),
        connection: &Connection,
        cache: &mut ContentCache,
        headers: &RedactedHeaders,
    ) -> rusqlite::Result<BlobId> {
        let encoded = headers.encoded();
        let recurrence = match side {
            Side::Request => Recurrence::Likely,
            Side::Answer => Recurrence::Never,
        };
        let Some(last) = self.0.get_mut(&(side, provider.clone())) else {
            return cache.put_blob(connection, encoded, recurrence);
        };
        if let Some((blob, content)) = &last.stored
            && content == encoded
        {
            return Ok(blob.id);
        }
        let like = last.stored.as_ref().map(|(blob, content)| Like { blob: *blob, content: content.into() });
        let blob = cache.put(connection, encoded, like, recurrence)?;
        last.stored = Some((blob, encoded.to_vec()));
        Ok(blob.id)
    }
}
