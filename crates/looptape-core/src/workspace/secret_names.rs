//! Files that hold secrets by what they are called. Their contents are never looked at, let alone kept.
//!
//! Sources: what the tools that write these files document as the place of their keys and passwords. What is inside
//! other files is found by `redact`.

/// Names, in lower case.
const NAMES: &[&str] = &[
    ".dockercfg",
    ".env",
    ".envrc",
    ".git-credentials",
    ".htpasswd",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".vault-token",
    "_netrc",
    "application_default_credentials.json",
    "credentials",
    "credentials.json",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_rsa",
    "secrets.json",
    "secrets.toml",
    "secrets.yaml",
    "secrets.yml",
    "service-account.json",
    "service_account.json",
];

/// Endings, in lower case.
const ENDINGS: &[&str] = &[
    ".agekey",
    ".gpg",
    ".jks",
    ".kdbx",
    ".key",
    ".keystore",
    ".ovpn",
    ".p12",
    ".p8",
    ".pem",
    ".pfx",
    ".ppk",
    ".tfstate",
    ".tfvars",
];

/// Folders of nothing but such files.
const FOLDERS: &[&str] = &[".aws", ".azure", ".docker", ".gcloud", ".gnupg", ".kube", ".ssh"];

/// What follows `.env.` in an example that is meant to be shared.
const EXAMPLES: &[&str] = &["dist", "example", "sample", "schema", "template", "test"];

/// Whether a file or folder of this name holds secrets.
pub fn is_secret_by_name(name: &[u8], is_folder: bool) -> bool {
    let name = name.to_ascii_lowercase();
    let is = |known: &&str| known.as_bytes() == name;
    if is_folder {
        return FOLDERS.iter().any(is);
    }
    let of_environment = name.strip_prefix(b".env.");
    NAMES.iter().any(is)
        || ENDINGS.iter().any(|ending| name.ends_with(ending.as_bytes()))
        || of_environment.is_some_and(|rest| !EXAMPLES.iter().any(|example| example.as_bytes() == rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_by_its_name() {
        for name in
            [".env", ".env.production", "id_ed25519", "server.pem", "Tls.KEY", ".npmrc", "credentials"]
        {
            assert!(is_secret_by_name(name.as_bytes(), false), "{name}");
        }
        for name in [".env.example", "environment", "key.rs", "id_rsa.pub", "main.py", "pem", ".ssh"] {
            assert!(!is_secret_by_name(name.as_bytes(), false), "{name}");
        }
        assert!(is_secret_by_name(b".ssh", true));
        assert!(!is_secret_by_name(b"credentials", true));
    }
}
