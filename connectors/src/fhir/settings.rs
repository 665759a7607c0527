//! What a channel file says about a FHIR destination.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::connector::SettingsProblem;
use reqwest::Url;
use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::settings::{headers, url};
use crate::secrets::Auth;
use crate::values::{Problems, default_from};

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
    /// Who we are.
    pub auth: Option<Auth>,
    /// Sent with each request.
    pub headers: HeaderMap,
    /// For connecting.
    pub connect_timeout: Duration,
    /// For one request.
    pub reply_timeout: Duration,
    /// Bytes.
    pub max_answer: usize,
}

default_from! {
    default_connect = "10s";
    default_reply = "30s";
    default_answer = "1 MB";
}

impl DestinationSettings {
    /// All problems, or the settings in their own types.
    pub fn check(&self) -> Result<Destination, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let base = url("base", self.base.trim_end_matches('/'), &mut problems);
        if base.query().is_some() {
            problems.add(
                "base",
                "a base address has no query; write it up to the part before the resource type",
            );
        }
        if let Some(auth) = &self.auth {
            auth.check("auth", &mut problems);
        }
        let checked = Destination {
            base,
            shape: self.shape,
            auth: self.auth.clone(),
            headers: headers("headers", &self.headers, &mut problems),
            connect_timeout: problems.duration("connect_timeout", &self.connect_timeout),
            reply_timeout: problems.duration("reply_timeout", &self.reply_timeout),
            max_answer: problems.size("max_answer", &self.max_answer, 1024..=1 << 28),
        };
        problems.into_result(checked)
    }
}
