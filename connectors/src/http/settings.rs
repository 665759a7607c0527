//! What a channel file says about an HTTP end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use engine::connector::SettingsProblem;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::AnswerSettings;
use super::client::Calling;
use super::pattern::Pattern;
use crate::secrets::{Auth, Bearer};
use crate::tls::{ListenerTls, SenderTls};
use crate::values::{Allowed, Problems, Table, default_from};

/// `[source.http]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// The address and port to listen on: "127.0.0.1:8080". Channels that name the same one share it.
    pub listen: String,
    /// The path that this channel answers, whole: "/lab/results". {id} takes any segment, {rest...} whatever follows.
    #[serde(default = "default_path")]
    pub path: String,
    /// The methods that it answers.
    #[serde(default = "default_methods")]
    pub methods: Vec<String>,
    /// The longest body taken: "16 MB".
    #[serde(default = "default_body")]
    pub max_body: String,
    /// How long a request may take to arrive whole, and a connection may be silent: "30s".
    #[serde(default = "default_timeout")]
    pub timeout: String,
    /// How many connections are served at the same time; more are closed at once.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 65_536))]
    pub max_connections: usize,
    /// TLS: the certificate that is shown, and whose certificates callers must show.
    pub tls: Option<ListenerTls>,
    /// Who may call: addresses ("10.0.0.7") and networks ("10.0.0.0/24"). Empty: everybody who can reach the port.
    #[serde(default)]
    pub allow: Vec<String>,
    /// The token that callers must show. Beyond loopback this, `allow` or a `client_ca` is needed.
    pub auth: Option<Bearer>,
    /// Request headers that are kept with the message, beside those that are always kept. Secrets never are.
    #[serde(default)]
    pub keep_headers: Vec<String>,
    /// What callers are answered, where that is not the usual answer.
    #[serde(default)]
    pub answer: AnswerSettings,
}

/// A source's settings, checked.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whole, or with places.
    pub path: Pattern,
    /// At least one.
    pub methods: Vec<Method>,
    /// Bytes.
    pub max_body: usize,
    /// For a request to arrive.
    pub timeout: Duration,
    /// At the same time.
    pub max_connections: usize,
    /// How connections are secured.
    pub tls: Option<ListenerTls>,
    /// Who may call.
    pub allow: Allowed,
    /// The token.
    pub auth: Option<Bearer>,
    /// Kept with the message.
    pub keep_headers: Vec<HeaderName>,
    /// What callers are answered.
    pub answer: AnswerSettings,
}

/// `http = { … }` of a destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationSettings {
    /// Where to send: "https://erp.example/orders".
    pub url: String,
    /// POST, PUT or PATCH.
    #[serde(default = "default_method")]
    pub method: String,
    /// Headers that are sent with each message. Secrets belong into `auth`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Who we are.
    pub auth: Option<Auth>,
    /// How the far side's certificate is checked, and which one we show. Unless said: by the operating system's roots.
    pub tls: Option<SenderTls>,
    /// How long connecting may take: "10s".
    #[serde(default = "default_connect")]
    pub connect_timeout: String,
    /// How long sending and the answer may take together: "30s".
    #[serde(default = "default_timeout")]
    pub reply_timeout: String,
    /// The header that carries the number of the delivery, the same at each try. Empty: none.
    #[serde(default = "default_key")]
    pub idempotency_header: String,
    /// Of an answer so much is read: "1 MB".
    #[serde(default = "default_answer")]
    pub max_answer: String,
}

/// A destination's settings, checked.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Where to send.
    pub url: Url,
    /// How.
    pub method: Method,
    /// How the far side is called.
    pub(crate) calling: Calling,
    /// Carries the number of the delivery.
    pub idempotency_header: Option<HeaderName>,
}

default_from! {
    default_path = "/";
    default_body = "16 MB";
    default_timeout = "30s";
    default_connect = "10s";
    default_method = "POST";
    default_key = "Idempotency-Key";
    default_answer = "1 MB";
}

fn default_methods() -> Vec<String> {
    vec![default_method()]
}

fn default_connections() -> usize {
    256
}

/// These hold secrets; they are never kept with a message and never written in a channel file.
const SECRET_HEADERS: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
];

impl Table for SourceSettings {
    type Checked = Source;

    fn check(&self) -> Result<Source, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let checked = Source {
            listen: problems.address("listen", &self.listen),
            path: Pattern::parse(&self.path)
                .or_else(|what| {
                    problems.add("path", what);
                    // Never used: there is a problem.
                    Pattern::parse("/")
                })
                .map_err(|_| vec![])?,
            methods: self.methods(&mut problems),
            max_body: problems.size("max_body", &self.max_body, 64..=1 << 30),
            timeout: problems.duration("timeout", &self.timeout),
            max_connections: problems.count("max_connections", self.max_connections, 1..=65_536),
            tls: self.tls.clone(),
            allow: problems.allowed("allow", &self.allow),
            auth: self.auth.clone(),
            keep_headers: self.kept(&mut problems),
            answer: self.answer.clone(),
        };
        self.answer.check(&mut problems);
        if let Some(auth) = &self.auth {
            auth.check("auth", &mut problems);
        }
        if let Some(tls) = &self.tls {
            tls.check("tls", &mut problems);
        }
        let knows_callers =
            self.auth.is_some() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if !knows_callers && checked.allow.is_everybody() && !checked.listen.ip().is_loopback() {
            problems.add(
                "listen",
                "everybody in the network could send here; write `auth` or `allow`, or listen on 127.0.0.1",
            );
        }
        problems.into_result(checked)
    }
}

impl SourceSettings {
    fn methods(&self, problems: &mut Problems) -> Vec<Method> {
        if self.methods.is_empty() {
            problems.add("methods", "write at least one, such as [\"POST\"]");
        }
        let mut methods = Vec::new();
        for (at, name) in self.methods.iter().enumerate() {
            match method(name, &["POST", "PUT", "PATCH", "GET", "DELETE"]) {
                Ok(method) => methods.push(method),
                Err(what) => problems.add(&format!("methods[{at}]"), what),
            }
        }
        methods
    }

    fn kept(&self, problems: &mut Problems) -> Vec<HeaderName> {
        let mut kept = Vec::new();
        for (at, name) in self.keep_headers.iter().enumerate() {
            match header_name(name) {
                Ok(name) => kept.push(name),
                Err(what) => problems.add(&format!("keep_headers[{at}]"), what),
            }
        }
        kept
    }
}

impl Table for DestinationSettings {
    type Checked = Destination;

    fn check(&self) -> Result<Destination, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        let method = method(&self.method, &["POST", "PUT", "PATCH"]).unwrap_or_else(|what| {
            problems.add("method", what);
            Method::POST
        });
        let idempotency_header = match self.idempotency_header.as_str() {
            "" => None,
            name => header_name(name)
                .map_err(|what| problems.add("idempotency_header", what))
                .ok(),
        };
        let url = url("url", &self.url, &mut problems);
        let checked = Destination {
            method,
            calling: Calling {
                is_secure: is_secure("tls", self.tls.as_ref(), &url, &mut problems),
                headers: headers("headers", &self.headers, &mut problems),
                auth: auth("auth", self.auth.as_ref(), &mut problems),
                tls: self.tls.as_ref().and_then(SenderTls::table).unwrap_or_default(),
                connect_timeout: problems.duration("connect_timeout", &self.connect_timeout),
                reply_timeout: problems.duration("reply_timeout", &self.reply_timeout),
                max_answer: problems.size("max_answer", &self.max_answer, 1..=1 << 28),
            },
            url,
            idempotency_header,
        };
        problems.into_result(checked)
    }
}

pub(super) fn method(name: &str, known: &[&str]) -> Result<Method, String> {
    let wrong = || {
        format!(
            "{name:?} is no method known here; write one of {}",
            known.join(", ")
        )
    };
    if !known.contains(&name) {
        return Err(wrong());
    }
    name.parse().map_err(|_| wrong())
}

pub(super) fn header_name(name: &str) -> Result<HeaderName, String> {
    let header: HeaderName = name
        .parse()
        .map_err(|_| format!("{name:?} is no name of a header"))?;
    match SECRET_HEADERS.contains(&header.as_str()) {
        true => Err(format!(
            "{name} holds a secret; use `auth`, which reads it from the environment or a file"
        )),
        false => Ok(header),
    }
}

/// Who we are.
pub(crate) fn auth(path: &str, auth: Option<&Auth>, problems: &mut Problems) -> Option<Auth> {
    if let Some(auth) = auth {
        auth.check(path, problems);
    }
    auth.cloned()
}

/// Whether an address is called by TLS, which the address itself says; `tls` must not contradict it.
pub(crate) fn is_secure(path: &str, tls: Option<&SenderTls>, url: &Url, problems: &mut Problems) -> bool {
    let is_secure = url.scheme() == "https";
    if let Some(tls) = tls {
        tls.check(path, problems);
        match (is_secure, tls.table()) {
            (false, Some(_)) => {
                problems.add(path, "the address begins with http://; with TLS it is https://")
            }
            (true, None) => problems.add(
                path,
                "the address begins with https://, which is TLS; leave this out",
            ),
            (true, Some(_)) | (false, None) => {}
        }
    }
    is_secure
}

/// A table of headers.
pub(crate) fn headers(path: &str, table: &BTreeMap<String, String>, problems: &mut Problems) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in table {
        match (header_name(name), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                headers.insert(name, value);
            }
            (Err(what), _) => problems.add(&format!("{path}.{name}"), what),
            (_, Err(_)) => problems.add(&format!("{path}.{name}"), "a header's value is one line of ASCII"),
        }
    }
    headers
}

/// An http or https address without a user in it.
pub(crate) fn url(path: &str, text: &str, problems: &mut Problems) -> Url {
    let wrong =
        format!("{text:?} is no http or https address; write one such as \"https://erp.example/orders\"");
    match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            problems.add(
                path,
                "a user and a password belong into `auth`, not into the address",
            );
            url
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none() => {
            url
        }
        Ok(url) => {
            problems.add(path, wrong);
            url
        }
        Err(_) => {
            problems.add(path, wrong);
            // Never used: there is a problem.
            Url::parse("http://localhost/").unwrap_or_else(|_| unreachable!("a constant address"))
        }
    }
}
