//! As whom a client asks its proxy: the user and password of the proxy's URL (`http://USER:PASSWORD@host:port`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, header};

/// Goes with each captured request, in its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUser {
    pub name: String,
    pub password: String,
}

impl ProxyUser {
    /// What a request to a proxy says; `None` if it says nothing, or nothing that can be read.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let said = headers.get(header::PROXY_AUTHORIZATION)?.to_str().ok()?;
        let (scheme, credentials) = said.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(BASE64_STANDARD.decode(credentials.trim()).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        Some(Self { name: name.to_owned(), password: password.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::PROXY_AUTHORIZATION, value.parse().unwrap());
            ProxyUser::of(&headers).map(|user| (user.name, user.password))
        };
        assert_eq!(of("Basic dHJhY2U6eA=="), Some(("trace".to_owned(), "x".to_owned())));
        for unreadable in ["Basic", "Bearer dHJhY2U6eA==", "Basic !", "Basic dHJhY2U="] {
            assert_eq!(of(unreadable), None, "{unreadable}");
        }
    }
}
