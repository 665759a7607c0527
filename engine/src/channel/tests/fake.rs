//! A format whose messages are lines `PATH=value`, and connectors that only have settings.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use clinic::exchange::{Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::{Applied, ChangeSet};
use serde_json::Value;

use crate::channel::{OnUnsure, duration};
use crate::connector::{
    Asks, Connector, ConnectorError, Connectors, Destination, SettingsProblem, Source, Surroundings,
};
use crate::format::{Format, Formats, Replies, SetOp, Settings};
use crate::script::{Call, Returned, Said, Script, ScriptFailed, ScriptProblem, Scripts, Wanted};

pub(super) struct Lines {
    pub(super) name: &'static str,
}

impl Lines {
    fn lines(message: &[u8]) -> impl Iterator<Item = (&str, &str)> {
        std::str::from_utf8(message)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split_once('='))
    }
}

impl Format for Lines {
    fn name(&self) -> &'static str {
        self.name
    }

    fn content_type(&self) -> &'static str {
        "text/plain"
    }

    fn keys(&self, _: &[u8]) -> Keys {
        Keys::default()
    }

    fn has_processing_ids(&self) -> bool {
        self.name == "hl7v2"
    }

    fn snapshots(&self) -> &'static [&'static str] {
        &["PID-3", "NK1"]
    }

    fn has_bare_numbers(&self) -> bool {
        self.name == "hl7v2"
    }

    fn inspect(&self, _: &[u8]) -> Result<(), MapError> {
        Ok(())
    }

    fn decode(&self, _: &[u8], _: &Settings) -> Result<ChangeSet, MapError> {
        Err(MapError::new(
            Reason::UnsupportedType,
            None,
            "the fake reads nothing",
        ))
    }

    fn encode(&self, _: &ChangeSet, _: &Applied, _: &Settings, _: &Stamp) -> Result<Vec<u8>, MapError> {
        Err(MapError::new(
            Reason::UnsupportedType,
            None,
            "the fake writes nothing",
        ))
    }

    fn replies(&self, _: &[u8], _: Verdict<'_>, _: &Stamp) -> Replies {
        Replies::default()
    }

    fn is_answer_to(&self, _: &[u8], _: &[u8]) -> bool {
        true
    }

    fn check_address(&self) -> Result<(), String> {
        match self.name {
            "hl7v2" => Err("an address is no question".to_owned()),
            _ => Ok(()),
        }
    }

    fn judge(&self, _: &[u8], _: &Response) -> Judgement {
        Judgement::Accepted
    }

    fn values(&self, message: &[u8], path: &str) -> Result<Vec<String>, MapError> {
        Ok(Lines::lines(message)
            .filter(|(at, _)| *at == path)
            .map(|(_, value)| value.to_owned())
            .collect())
    }

    fn check_path(&self, path: &str) -> Result<(), String> {
        let is_right = match self.name {
            "hl7v2" => path.split_once('-').is_some_and(|(segment, field)| {
                segment.len() == 3
                    && segment
                        .bytes()
                        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
                    && !field.is_empty()
                    && field
                        .split('.')
                        .all(|part| part.parse::<u16>().is_ok_and(|number| number != 0))
            }),
            _ => path.starts_with("$."),
        };
        if is_right {
            Ok(())
        } else {
            Err(format!("no path of {}", self.name))
        }
    }

    fn set<'a>(&self, message: &'a [u8], ops: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        let mut out = String::new();
        for (at, value) in Lines::lines(message) {
            match ops.iter().find(|(path, _)| path == at) {
                Some((_, SetOp::Assign(text))) => out.push_str(&format!("{at}={text}\n")),
                Some(_) | None => out.push_str(&format!("{at}={value}\n")),
            }
        }
        Ok(Cow::Owned(out.into_bytes()))
    }
}

/// Scripts that are right where they are named so.
#[derive(Debug)]
pub(super) struct Named;

impl Scripts for Named {
    fn check(
        &self,
        wanted: &Wanted<'_>,
        _: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Arc<dyn Script>, Vec<ScriptProblem>> {
        match wanted.file {
            "right.js" => Ok(Arc::new(Named)),
            "syntax.js" => Err(vec![ScriptProblem {
                place: Some((wanted.folder.join("lib/other.js"), 3, 7)),
                what: "SyntaxError: no such thing".to_owned(),
            }]),
            _ => Err(vec![ScriptProblem {
                place: None,
                what: format!("there is no file {}", wanted.folder.join(wanted.file).display()),
            }]),
        }
    }
}

impl Script for Named {
    fn file(&self) -> &str {
        "right.js"
    }

    fn run(&self, _: &Call<'_>) -> Result<Returned, ScriptFailed> {
        Ok(Returned {
            said: Said::Kept,
            changes: None,
            console: vec![],
            counted: Default::default(),
            cached: vec![],
        })
    }
}

pub(super) fn formats() -> Formats {
    Formats::default()
        .with(Lines { name: "hl7v2" })
        .with(Lines { name: "fhir-r4" })
}

/// Settings of the MLLP source.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the schema is used")]
struct MllpSource {
    /// The address to listen on, as `127.0.0.1:2575`.
    listen: String,
    /// The longest frame.
    max_frame: Option<String>,
}

/// Settings of the MLLP destination.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the schema is used")]
struct MllpDestination {
    /// The address to connect to.
    connect: String,
    /// How long an answer is waited for.
    reply_timeout: Option<String>,
    /// How the connection is secured.
    tls: Option<Tls>,
    /// How many connections.
    connections: Option<u8>,
}

/// How a connection is secured.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the schema is used")]
struct Tls {
    /// Who signs the other side's certificate.
    ca: Option<String>,
    /// The key.
    key_file: Option<String>,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the schema is used")]
struct Http {
    /// The address to listen on.
    listen: String,
    /// The path.
    #[serde(default = "slash")]
    path: String,
}

fn slash() -> String {
    "/".to_owned()
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the schema is used")]
struct HttpDestination {
    /// Where to send to.
    url: String,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the schema is used")]
struct Fhir {
    /// The base of the server.
    base: String,
    /// As what it is sent.
    #[serde(rename = "as", default)]
    shape: Option<Shape>,
    /// Who we are.
    auth: Option<Auth>,
}

/// As what it is sent.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Shape {
    /// One transaction.
    Transaction,
    /// A message.
    Message,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the schema is used")]
struct Auth {
    /// The variable with the token.
    bearer_env: Option<String>,
}

struct Fake {
    name: &'static str,
    format: Option<&'static str>,
    source: Option<schemars::Schema>,
    destination: Option<schemars::Schema>,
}

#[async_trait]
impl Connector for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn format(&self) -> Option<&'static str> {
        self.format
    }

    fn source_schema(&self) -> Option<Value> {
        self.source.clone().map(Into::into)
    }

    fn destination_schema(&self) -> Option<Value> {
        self.destination.clone().map(Into::into)
    }

    fn check_source(&self, settings: &Value) -> Vec<SettingsProblem> {
        let listen = settings["listen"].as_str().unwrap_or_default();
        let mut problems = Vec::new();
        if listen.parse::<std::net::SocketAddr>().is_err() {
            problems.push(SettingsProblem {
                path: "listen".to_owned(),
                what: "no address; write it as \"127.0.0.1:2575\"".to_owned(),
            });
        }
        if let Some(Err(what)) = settings["max_frame"].as_str().map(crate::channel::size::parse) {
            problems.push(SettingsProblem {
                path: "max_frame".to_owned(),
                what,
            });
        }
        problems
    }

    fn check_destination(&self, settings: &Value) -> Vec<SettingsProblem> {
        match settings["reply_timeout"].as_str().map(duration::parse) {
            Some(Err(what)) => vec![SettingsProblem {
                path: "reply_timeout".to_owned(),
                what,
            }],
            Some(Ok(_)) | None => Vec::new(),
        }
    }

    async fn open_source(&self, _: &Value, _: &Surroundings) -> Result<Box<dyn Source>, ConnectorError> {
        Err(ConnectorError::new("a fake does not open"))
    }

    async fn open_destination(
        &self,
        _: &Value,
        _: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        Err(ConnectorError::new("a fake does not open"))
    }

    fn asks(&self) -> Option<Asks> {
        match self.name {
            "fhir" => Some(Asks::Address),
            "http" => Some(Asks::Either),
            _ => Some(Asks::Message),
        }
    }

    fn check_question(&self, question: &str) -> Result<(), String> {
        match self.name == "fhir" && question.starts_with('/') {
            true => Err("begins with no type".to_owned()),
            false => Ok(()),
        }
    }

    fn on_unsure(&self) -> OnUnsure {
        if self.name == "http" {
            OnUnsure::Hold
        } else {
            OnUnsure::Repeat
        }
    }
}

pub(super) fn connectors() -> Connectors {
    Connectors::default()
        .with(Fake {
            name: "mllp",
            format: Some("hl7v2"),
            source: Some(schemars::schema_for!(MllpSource)),
            destination: Some(schemars::schema_for!(MllpDestination)),
        })
        .with(Fake {
            name: "http",
            format: None,
            source: Some(schemars::schema_for!(Http)),
            destination: Some(schemars::schema_for!(HttpDestination)),
        })
        .with(Fake {
            name: "fhir",
            format: Some("fhir-r4"),
            source: None,
            destination: Some(schemars::schema_for!(Fhir)),
        })
}
