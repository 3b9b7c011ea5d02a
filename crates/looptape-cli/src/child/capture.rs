//! Captured egress: what a run's child needs so that its HTTP clients come to the forward proxy and trust it.
//!
//! The certificate authority's key stays in this process's memory. The run's private folder holds its certificate,
//! beside those that are trusted anyway, and a script for older Node versions; it goes with the run.

use super::environment::{self, Variables};
use anyhow::Context;
use looptape_proxy::certificates::CertificateAuthority;
use looptape_proxy::forward_proxy::Beyond;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Whether a run's calls to other hosts are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Egress {
    /// They go where they go, unseen.
    Unseen,
    /// They come by, and are recorded.
    Captured,
}

/// Variables that name a file of certificates in the place of those that are trusted: OpenSSL, Python, Rust and
/// Go; requests and pip; curl; git; botocore; cargo; Deno; gRPC; httplib2.
const IN_PLACE: &[&str] = &[
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
];

/// Node's, which names more beside those that are trusted.
const BESIDE: &str = "NODE_EXTRA_CA_CERTS";

/// For Node versions whose clients heed no proxy variables.
const NODE_SCRIPT: &str = include_str!("../../preload/env_proxy.cjs");

/// What captures one run's egress.
#[derive(Debug)]
#[must_use = "the run's private folder goes with it"]
pub(crate) struct Capture {
    authority: Arc<CertificateAuthority>,
    folder: TempDir,
    node_options: String,
}

impl Capture {
    /// Makes the authority and the folder. `parent` is the environment that the child gets otherwise.
    pub(crate) fn prepare(parent: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let authority = Arc::new(CertificateAuthority::new()?);
        let mut folder = tempfile::Builder::new();
        let folder = folder.prefix("looptape-egress-").permissions(Permissions::from_mode(0o700)).tempdir();
        let folder = folder.context("no private folder can be made for the run's certificates")?;
        let own = authority.certificate_pem();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
            Ok::<PathBuf, anyhow::Error>(file)
        };
        write(ALL, &[own, &trusted(parent)].concat())?;
        write(MORE, &[own, &of_file(parent, BESIDE)].concat())?;
        let script = write("env_proxy.cjs", NODE_SCRIPT)?;
        let node_options = environment::with_node_script(parent("NODE_OPTIONS").as_deref(), &script);
        Ok(Self { authority, folder, node_options })
    }

    /// What becomes of calls to other hosts.
    pub(crate) fn beyond(&self) -> Beyond {
        Beyond::Captured(self.authority.clone())
    }

    /// For the child of a listener at `origin`.
    pub(crate) fn variables(&self, origin: &str) -> Variables {
        let path = |name: &str| self.folder.path().join(name).to_string_lossy().into_owned();
        let mut set = environment::through_proxy(origin);
        set.extend(IN_PLACE.iter().map(|name| ((*name).to_owned(), path(ALL))));
        set.push((BESIDE.to_owned(), path(MORE)));
        set.push(("NODE_OPTIONS".to_owned(), self.node_options.clone()));
        set
    }
}

const ALL: &str = "certificates.pem";
const MORE: &str = "certificate.pem";

/// What is trusted anyway: the system's certificates, or those that `SSL_CERT_FILE` names, and the files of the
/// other variables. A child needs them for what goes past the proxy.
fn trusted(parent: &dyn Fn(&str) -> Option<String>) -> String {
    let of_system = rustls_native_certs::load_native_certs().certs;
    let of_system =
        of_system.iter().map(|certificate| pem::encode(&pem::Pem::new("CERTIFICATE", certificate.as_ref())));
    let of_files = IN_PLACE.iter().filter(|name| **name != "SSL_CERT_FILE").map(|name| of_file(parent, name));
    of_system.chain(of_files).collect()
}

fn of_file(parent: &dyn Fn(&str) -> Option<String>, variable: &str) -> String {
    let text =
        parent(variable).and_then(|path| fs::read_to_string(Path::new(&path)).ok()).unwrap_or_default();
    if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_holds_no_key_and_goes_with_the_run() {
        let own = tempfile::NamedTempFile::new().unwrap();
        fs::write(own.path(), "of the company").unwrap();
        let parent = |name: &str| match name {
            "NODE_EXTRA_CA_CERTS" | "AWS_CA_BUNDLE" => Some(own.path().to_string_lossy().into_owned()),
            "NODE_OPTIONS" => Some("--no-warnings".to_owned()),
            _ => None,
        };
        let capture = Capture::prepare(&parent).unwrap();
        let folder = capture.folder.path().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let variables = capture.variables("http://127.0.0.1:9");
        let get = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap();
        assert_eq!(get("HTTPS_PROXY"), "http://127.0.0.1:9");
        for name in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
            let text = fs::read_to_string(get(name)).unwrap();
            assert!(
                text.starts_with("-----BEGIN CERTIFICATE-----") && text.ends_with("of the company\n"),
                "{name}"
            );
        }
        assert!(get("NODE_OPTIONS").starts_with("--no-warnings --require="));
        for entry in fs::read_dir(&folder).unwrap() {
            assert!(!fs::read_to_string(entry.unwrap().path()).unwrap().contains("PRIVATE KEY"));
        }
        drop(capture);
        assert!(!folder.exists());
    }
}
