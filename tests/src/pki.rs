//! Certificates made for a test, as PEM files in a folder.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// Somebody who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate, with what is special about it.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Whom it names.
    pub name: &'a str,
    /// It ended in 2021.
    pub expired: bool,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Result<Authority, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key)?;
        Ok(Authority {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Writes its own certificate.
    pub fn write(&self, folder: &Path, file: &str) -> std::io::Result<()> {
        std::fs::write(folder.join(file), &self.pem)
    }

    /// Signs a certificate and writes it and its key: `NAME.pem` and `NAME.key`.
    pub fn sign(
        &self,
        folder: &Path,
        file: &str,
        wanted: Wanted<'_>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let key = KeyPair::generate()?;
        let mut params = params(wanted)?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
        std::fs::write(folder.join(format!("{file}.pem")), certificate.pem())?;
        Ok(())
    }
}

/// Writes a certificate that nobody but itself has signed, and its key.
pub fn self_signed(folder: &Path, file: &str, wanted: Wanted<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let key = KeyPair::generate()?;
    let mut params = params(wanted)?;
    // As `openssl req -x509` makes them.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
    std::fs::write(
        folder.join(format!("{file}.pem")),
        params.self_signed(&key)?.pem(),
    )?;
    Ok(())
}

fn params(wanted: Wanted<'_>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![wanted.name.to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, wanted.name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = if wanted.expired {
        date_time_ymd(2021, 1, 1)
    } else {
        date_time_ymd(2090, 1, 1)
    };
    Ok(params)
}

/// A valid one of this name.
pub fn valid(name: &str) -> Wanted<'_> {
    Wanted { name, expired: false }
}

/// One of this name that has expired.
pub fn expired(name: &str) -> Wanted<'_> {
    Wanted { name, expired: true }
}
