//! What a channel file says about a DICOMweb destination.

use std::collections::BTreeMap;

use engine::connector::SettingsProblem;
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::http::client::Calling;
use crate::http::settings::{auth, headers, is_secure, url};
use crate::secrets::Auth;
use crate::tls::SenderTls;
use crate::values::{Problems, Table, default_from};

/// `dicomweb = { … }` of a destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationSettings {
    /// The archive's base address, below which `/studies` is: "https://pacs.example/dicom-web".
    pub base: String,
    /// Who we are.
    pub auth: Option<Auth>,
    /// How the server's certificate is checked, and which one we show. Unless said: by the operating system's roots.
    pub tls: Option<SenderTls>,
    /// Headers that are sent with each request. Secrets belong into `auth`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How long connecting may take: "10s".
    #[serde(default = "default_connect")]
    pub connect_timeout: String,
    /// How long sending an object and the answer may take together: "10m".
    #[serde(default = "default_reply")]
    pub reply_timeout: String,
    /// Of an answer so much is read: "1 MB".
    #[serde(default = "default_answer")]
    pub max_answer: String,
}

/// A destination's settings, checked.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Without a slash at the end.
    pub base: Url,
    /// How the server is called.
    pub(crate) calling: Calling,
}

default_from! {
    default_connect = "10s";
    default_reply = "10m";
    default_answer = "1 MB";
}

impl Table for DestinationSettings {
    type Checked = Destination;

    fn check(&self) -> Result<Destination, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let base = url("base", self.base.trim_end_matches('/'), &mut problems);
        if base.query().is_some() {
            problems.add(
                "base",
                "a base address has no query; write it up to the part before /studies",
            );
        }
        let checked = Destination {
            calling: Calling {
                is_secure: is_secure("tls", self.tls.as_ref(), &base, &mut problems),
                headers: headers("headers", &self.headers, &mut problems),
                auth: auth("auth", self.auth.as_ref(), &mut problems),
                tls: self.tls.as_ref().and_then(SenderTls::table).unwrap_or_default(),
                connect_timeout: problems.duration("connect_timeout", &self.connect_timeout),
                reply_timeout: problems.duration("reply_timeout", &self.reply_timeout),
                max_answer: problems.size("max_answer", &self.max_answer, 1024..=1 << 28),
            },
            base,
        };
        problems.into_result(checked)
    }
}
