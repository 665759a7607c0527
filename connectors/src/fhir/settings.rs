//! What a channel file says about a FHIR destination.

use std::collections::BTreeMap;

use engine::connector::SettingsProblem;
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::client::Calling;
use crate::http::settings::{auth, headers, is_secure, url};
use crate::secrets::Auth;
use crate::tls::SenderTls;
use crate::values::{Problems, Table, default_from};

/// `fhir = { … }` of a destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationSettings {
    /// The server's base address: "https://portal.example/fhir".
    pub base: String,
    /// How a Bundle is sent.
    #[serde(default, rename = "as")]
    pub shape: Shape,
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
    /// How long sending and the answer of one request may take together: "30s".
    #[serde(default = "default_reply")]
    pub reply_timeout: String,
    /// Of an answer so much is read: "1 MB".
    #[serde(default = "default_answer")]
    pub max_answer: String,
}

/// How a Bundle is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Whole, to the base: the server takes all of it or nothing.
    #[default]
    Transaction,
    /// Each entry as a request of its own, for servers without transactions.
    Resources,
}

/// A destination's settings, checked.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Without a slash at the end.
    pub base: Url,
    /// How a Bundle is sent.
    pub shape: Shape,
    /// How the server is called.
    pub(crate) calling: Calling,
}

default_from! {
    default_connect = "10s";
    default_reply = "30s";
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
                "a base address has no query; write it up to the part before the resource type",
            );
        }
        let checked = Destination {
            shape: self.shape,
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
