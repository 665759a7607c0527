//! What a channel file says about TLS.

use std::path::Path;

use rustls_pki_types::ServerName;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::Problems;

/// `tls = { … }` of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// The certificate, and those that lead to its root: a PEM file, beside the channel file unless its path is absolute.
    pub cert: String,
    /// Its private key: a PEM file without a password.
    pub key: String,
    /// A PEM file: callers must show a certificate that one of these has signed.
    pub client_ca: Option<String>,
}

/// `tls` of a sender: `true` is the table with nothing in it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SenderTls {
    /// TLS by the roots that the operating system trusts; false: none.
    Switch(bool),
    /// TLS by a table.
    Table(SenderTable),
}

/// `tls = { … }` of a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SenderTable {
    /// A PEM file: one of these must have signed the far side's certificate, or be it. Unless said: the roots that the
    /// operating system trusts.
    pub ca: Option<String>,
    /// The certificate that is shown where the far side asks for one: a PEM file.
    pub cert: Option<String>,
    /// Its private key: a PEM file without a password.
    pub key: Option<String>,
    /// The name that the far side's certificate has, where it is not the one that is connected to.
    pub name: Option<String>,
}

impl ListenerTls {
    pub(crate) fn check(&self, path: &str, problems: &mut Problems) {
        let files = [
            ("cert", Some(&self.cert)),
            ("key", Some(&self.key)),
            ("client_ca", self.client_ca.as_ref()),
        ];
        check_files(path, &files, problems);
    }
}

impl SenderTls {
    /// The table; none: no TLS.
    pub(crate) fn table(&self) -> Option<SenderTable> {
        match self {
            SenderTls::Switch(false) => None,
            SenderTls::Switch(true) => Some(SenderTable::default()),
            SenderTls::Table(table) => Some(table.clone()),
        }
    }

    pub(crate) fn check(&self, path: &str, problems: &mut Problems) {
        let SenderTls::Table(table) = self else { return };
        let files = [
            ("ca", table.ca.as_ref()),
            ("cert", table.cert.as_ref()),
            ("key", table.key.as_ref()),
        ];
        check_files(path, &files, problems);
        match (&table.cert, &table.key) {
            (Some(_), None) => problems.add(
                &format!("{path}.cert"),
                "a certificate needs its key; write `key`",
            ),
            (None, Some(_)) => problems.add(
                &format!("{path}.key"),
                "a key needs its certificate; write `cert`",
            ),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let Some(name) = &table.name
            && ServerName::try_from(name.as_str()).is_err()
        {
            problems.add(
                &format!("{path}.name"),
                format!("{name:?} is no name of a host; write it as the certificate has it, such as \"ris.example\""),
            );
        }
    }
}

fn check_files(path: &str, files: &[(&str, Option<&String>)], problems: &mut Problems) {
    for (key, file) in files {
        if file.is_some_and(|file| Path::new(file).file_name().is_none()) {
            problems.add(&format!("{path}.{key}"), "write the name of a PEM file");
        }
    }
}
