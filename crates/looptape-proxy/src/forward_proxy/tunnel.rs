//! What is spoken through a tunnel: TLS, HTTP in the clear, or something else.
//!
//! The first byte tells them apart. Where the client waits for the server to speak first, it is something else.

use super::{Captures, Connection, ProxyUser, Target};
use crate::certificates::CertificateAuthority;
use crate::reply::{Abort, Body};
use crate::server::{Draining, Handler, serve};
use http::{Request, Response};
use hyper::body::Incoming;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, Chain, Join, ReadHalf, WriteHalf, join, split};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// A connection whose first bytes were read, and are read again.
pub type Opaque = Join<Chain<Cursor<Vec<u8>>, ReadHalf<Connection>>, WriteHalf<Connection>>;

/// How long a client is waited for that may be waiting itself.
const SILENCE: Duration = Duration::from_secs(1);

/// A client's first bytes, as far as they are looked at.
const FIRST_BYTES: usize = 1 << 10;

/// The record type with which TLS begins.
const TLS_HANDSHAKE: u8 = 22;

/// A tunnel that ends here.
pub(super) struct Tunnel<H> {
    pub(super) inner: Arc<H>,
    pub(super) authority: Arc<CertificateAuthority>,
    pub(super) target: Target,
    /// Who asked for it.
    pub(super) user: Option<ProxyUser>,
    pub(super) draining: Draining,
}

impl<H: Captures> Tunnel<H> {
    pub(super) async fn serve(self, mut connection: Connection) {
        let mut first = Vec::with_capacity(FIRST_BYTES);
        let is_closed = match timeout(SILENCE, connection.read_buf(&mut first)).await {
            Ok(read) => !matches!(read, Ok(1..)),
            Err(_silent) => false,
        };
        if is_closed {
            return;
        }
        let begins_with = first.first().copied();
        let (read, write) = split(connection);
        let connection = join(Cursor::new(first).chain(read), write);
        match begins_with {
            Some(TLS_HANDSHAKE) => self.serve_tls(connection).await,
            // Methods are written in capitals.
            Some(b'A'..=b'Z') => {
                let target = self.target.in_the_clear();
                let at_target = AtTarget { inner: self.inner, target, user: self.user };
                serve(connection, Arc::new(at_target), self.draining).await;
            }
            _ => self.inner.opaque(connection, &self.target).await,
        }
    }

    async fn serve_tls(self, connection: Opaque) {
        let Self { inner, authority, target, user, draining } = self;
        let accepted = match authority.server(target.name()) {
            Ok(config) => TlsAcceptor::from(config).accept(connection).await,
            Err(error) => Err(std::io::Error::other(error)),
        };
        match accepted {
            Ok(stream) => serve(stream, Arc::new(AtTarget { inner, target, user }), draining).await,
            Err(error) => inner.distrusted(&target, &error),
        }
    }
}

/// Requests that come through a tunnel.
struct AtTarget<H> {
    inner: Arc<H>,
    target: Target,
    user: Option<ProxyUser>,
}

impl<H: Captures> Handler for AtTarget<H> {
    async fn handle(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Abort> {
        if let Some(user) = &self.user {
            request.extensions_mut().insert(user.clone());
        }
        self.inner.captured(request, &self.target).await
    }
}
