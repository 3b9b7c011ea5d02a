//! The certificate authority of one run: certificates for the hosts that a child's HTTP clients ask for.
//!
//! Its key is made for the run, kept in this process's memory, and gone with it; nothing but the certificate is
//! handed out. Whoever trusts that certificate trusts this process, so only the run's own child is told of it.
//! Certificates are valid at any time, because a replayed child's clock may show another year.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is spoken with clients, as an ordinary server would offer it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Makes certificates, one for each host that is asked for.
pub struct CertificateAuthority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// All hosts' key: it is known to nobody but this process.
    key: KeyPair,
    /// Held to look one up or put one in, never across an await.
    hosts: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority").finish_non_exhaustive()
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("the run's certificate authority cannot be made")]
    Authority(#[source] rcgen::Error),
    #[error("no certificate can be made for {host}")]
    Host { host: String, source: rcgen::Error },
    #[error("TLS cannot be spoken for {host}")]
    Tls { host: String, source: rustls::Error },
}

impl CertificateAuthority {
    /// A new one, with a key of its own.
    pub fn new() -> Result<Self, CertificateError> {
        let made = || {
            let mut params = CertificateParams::new(Vec::new())?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.distinguished_name.push(DnType::CommonName, "looptape, for one run");
            let own_key = KeyPair::generate()?;
            let certificate_pem = params.self_signed(&own_key)?.pem();
            let issuer = Issuer::new(params, own_key);
            Ok(Self { certificate_pem, issuer, key: KeyPair::generate()?, hosts: Mutex::default() })
        };
        made().map_err(CertificateError::Authority)
    }

    /// What the run's child has to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// How to be `host`, a name or an address without brackets.
    pub(crate) fn server(&self, host: &str) -> Result<Arc<ServerConfig>, CertificateError> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get(host) {
            return Ok(known.clone());
        }
        let made = Arc::new(self.config(host)?);
        hosts.insert(host.to_owned(), made.clone());
        Ok(made)
    }

    fn config(&self, host: &str) -> Result<ServerConfig, CertificateError> {
        let certificate = self
            .certificate(host)
            .map_err(|source| CertificateError::Host { host: host.to_owned(), source })?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let made = || {
            ServerConfig::builder_with_provider(crypto)
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)
        };
        let mut config = made().map_err(|source| CertificateError::Tls { host: host.to_owned(), source })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }

    fn certificate(&self, host: &str) -> Result<CertificateDer<'static>, rcgen::Error> {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        // Some clients check these strictly.
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, "looptape");
        Ok(params.signed_by(&self.key, &self.issuer)?.der().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_get_a_certificate_each_once() {
        let authority = CertificateAuthority::new().unwrap();
        for host in [
            "api.example.com",
            "127.0.0.1",
            "::1",
            "a-very-long-name-of-a-host.in-a-domain.that-is.longer-than.the-64-characters.of-a-common-name",
        ] {
            let first = authority.server(host).unwrap();
            assert!(Arc::ptr_eq(&first, &authority.server(host).unwrap()), "{host}");
        }
        assert!(matches!(authority.server("ü"), Err(CertificateError::Host { .. })));
        assert!(authority.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(!format!("{authority:?}").contains("PRIVATE"));
    }
}
