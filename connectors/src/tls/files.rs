//! Certificates and keys, read from PEM files. Errors name the setting and say what to do; they quote nothing of a file.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// A PEM file is short; the roots of an operating system are some 250 KB.
const LONGEST: u64 = 4 << 20;

/// What is wrong, at one of the settings `cert`, `key`, `client_ca`, `ca`.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) setting: &'static str,
    pub(super) what: String,
}

/// Certificates that others are checked by.
pub(super) struct Roots {
    pub(super) store: Arc<RootCertStore>,
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// From when to when a certificate is valid.
pub(super) struct Validity {
    pub(super) from: jiff::Timestamp,
    pub(super) to: jiff::Timestamp,
}

/// The one provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A certificate with those that lead to its root, and its key.
pub(super) fn identity(folder: &Path, cert: &str, key: &str) -> Result<Arc<CertifiedKey>, Vec<Fault>> {
    let chain = certificates(&folder.join(cert)).map_err(|what| Fault {
        setting: "cert",
        what,
    });
    let private = private_key(&folder.join(key)).map_err(|what| Fault { setting: "key", what });
    let (chain, private) = match (chain, private) {
        (Ok(chain), Ok(private)) => (chain, private),
        (chain, private) => return Err([chain.err(), private.err()].into_iter().flatten().collect()),
    };
    let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(|error| {
        vec![match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Fault {
                setting: "key",
                what: format!("{key} is not the key of the first certificate in {cert}"),
            },
            Error::InvalidCertificate(_) => Fault {
                setting: "cert",
                what: format!("the first certificate in {cert} can't be read"),
            },
            error => Fault {
                setting: "key",
                what: format!("the key in {key} can't be used ({error}); RSA from 2048 bits, ECDSA P-256, P-384, P-521 and Ed25519 can"),
            },
        }]
    })?;
    Ok(Arc::new(certified))
}

/// Certificates that others are checked by: at least one.
pub(super) fn roots(path: &Path) -> Result<Roots, String> {
    let certificates = certificates(path)?;
    let mut store = RootCertStore::empty();
    for (idx, certificate) in certificates.iter().enumerate() {
        store.add(certificate.clone()).map_err(|error| {
            format!(
                "certificate {} in {} can't be used: {error}",
                idx + 1,
                path.display()
            )
        })?;
    }
    Ok(Roots {
        store: Arc::new(store),
        certificates,
    })
}

/// The certificates of a file: at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{} is no PEM file: {error}", path.display()))?;
    if certificates.is_empty() {
        return Err(format!(
            "there is no certificate in {}: no line -----BEGIN CERTIFICATE-----",
            path.display()
        ));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    let has = |word: &[u8]| memchr::memmem::find(&text, word).is_some();
    if has(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err(format!(
            "the key in {0} has a password, which would have to lie beside it. Take it off (openssl pkey -in {0} -out new.key) and let only the owner read the file",
            path.display()
        ));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => format!(
            "there is no key in {}: no line -----BEGIN PRIVATE KEY-----",
            path.display()
        ),
        error => format!("{} is no PEM file: {error}", path.display()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if LONGEST < bytes.len() as u64 => {
            Err(format!("{} is too long for a PEM file", path.display()))
        }
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("there is no file {}", path.display()))
        }
        Err(error) => Err(format!("{} can't be read: {error}", path.display())),
    }
}

/// From when to when a certificate is valid; none where it can't be read.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let time = |time: x509_cert::time::Time| {
        jiff::Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok()
    };
    Some(Validity {
        from: time(validity.not_before)?,
        to: time(validity.not_after)?,
    })
}

/// Whom a certificate names, as one line.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate().subject().to_string())
}

/// Whom a certificate names, and who has signed it.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Option<(String, String)> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let signed = certificate.tbs_certificate();
    Some((signed.subject().to_string(), signed.issuer().to_string()))
}

/// The files that some settings name.
pub(super) fn paths(folder: &Path, files: &[Option<&str>]) -> Vec<PathBuf> {
    files.iter().flatten().map(|file| folder.join(file)).collect()
}
