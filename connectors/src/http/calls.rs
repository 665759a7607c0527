//! What scripts call by HTTP: a base address that the channel grants, and nothing beyond it.
//!
//! ```toml
//! [http.insurer]
//! base    = "https://insurer.example/api"
//! methods = ["GET", "POST"]                    # GET alone unless said
//! auth    = { bearer_env = "INSURER_TOKEN" }
//! ```
//!
//! A script says a path below the base; one that leads out of it is refused before anything is sent. No redirect is
//! followed. Who we are is added here: no script sees a secret.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::call::{CallAnswer, CallError, CallRequest, Calls, FarSide};
use engine::connector::{ConnectorError, Looked, SendError, SettingsProblem, Surroundings};
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Caller, Calling};
use super::settings::{auth, header_name, headers, is_secure, method, url};
use crate::secrets::Auth;
use crate::tls::{SenderTls, look_at_destination};
use crate::values::{Problems, Table, checked, default_from, problems, read, schema_of};

/// The methods that a channel may grant.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The largest body that a script sends, in bytes.
const MAX_BODY: usize = 16 << 20;

/// What of an answer's headers a script gets: so many, of so many letters.
const MAX_HEADERS: usize = 100;
const MAX_HEADER: usize = 8 << 10;

/// These are said by the connection, not by a script.
const OWN_HEADERS: [&str; 8] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
];

/// `[http.NAME]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantSettings {
    /// The address below which scripts may call: "https://insurer.example/api".
    pub base: String,
    /// The methods that they may use: GET, POST, PUT, PATCH, DELETE.
    #[serde(default = "default_methods")]
    pub methods: Vec<String>,
    /// Headers that are sent with each call. Secrets belong into `auth`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Who we are. Scripts don't see it.
    pub auth: Option<Auth>,
    /// How the far side's certificate is checked, and which one we show. Unless said: by the operating system's roots.
    pub tls: Option<SenderTls>,
    /// How long connecting may take: "10s". The limit of the script's time holds beside it.
    #[serde(default = "default_connect")]
    pub connect_timeout: String,
    /// How long a call may take: "30s". The limit of the script's time holds beside it.
    #[serde(default = "default_timeout")]
    pub reply_timeout: String,
    /// The longest answer: "1 MB".
    #[serde(default = "default_answer")]
    pub max_answer: String,
}

default_from! {
    default_timeout = "30s";
    default_connect = "10s";
    default_answer = "1 MB";
}

fn default_methods() -> Vec<String> {
    vec!["GET".to_owned()]
}

/// A grant, checked.
#[derive(Clone, Debug)]
pub struct Grant {
    base: Url,
    methods: Vec<Method>,
    calling: Calling,
}

impl Table for GrantSettings {
    type Checked = Grant;

    fn check(&self) -> Result<Grant, Vec<SettingsProblem>> {
        let mut problems = Problems::default();
        if self.methods.is_empty() {
            problems.add("methods", "write at least one, such as [\"GET\"]");
        }
        let mut methods = Vec::new();
        for (at, name) in self.methods.iter().enumerate() {
            match method(name, &METHODS) {
                Ok(method) => methods.push(method),
                Err(what) => problems.add(&format!("methods[{at}]"), what),
            }
        }
        let base = url("base", &self.base, &mut problems);
        if base.query().is_some() {
            problems.add("base", "a base has no query; a script says it with its path");
        }
        let checked = Grant {
            methods,
            calling: Calling {
                is_secure: is_secure("tls", self.tls.as_ref(), &base, &mut problems),
                headers: headers("headers", &self.headers, &mut problems),
                auth: auth("auth", self.auth.as_ref(), &mut problems),
                tls: self.tls.as_ref().and_then(SenderTls::table).unwrap_or_default(),
                connect_timeout: problems.duration("connect_timeout", &self.connect_timeout),
                reply_timeout: problems.duration("reply_timeout", &self.reply_timeout),
                max_answer: problems.size("max_answer", &self.max_answer, 1..=16 << 20),
            },
            base,
        };
        problems.into_result(checked)
    }
}

/// The calls of scripts.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpCalls;

#[async_trait]
impl Calls for HttpCalls {
    fn schema(&self) -> Value {
        schema_of::<GrantSettings>()
    }

    fn check(&self, settings: &Value) -> Vec<SettingsProblem> {
        problems::<GrantSettings>(settings)
    }

    fn look_at(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        match read::<GrantSettings>(settings) {
            Ok(grant) => look_at_destination(grant.calling.tls(), surroundings),
            Err(_) => Looked::default(),
        }
    }

    async fn open(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn FarSide>, ConnectorError> {
        let grant = checked::<GrantSettings>(settings)?;
        let caller = Caller::open(&grant.calling, surroundings).await?;
        Ok(Arc::new(Granted { grant, caller }))
    }
}

struct Granted {
    grant: Grant,
    caller: Caller,
}

#[async_trait]
impl FarSide for Granted {
    async fn call(&self, request: &CallRequest, within: Duration) -> Result<CallAnswer, CallError> {
        let request = self.grant.request(request).map_err(CallError::not_sent)?;
        let client = self.caller.client().await.map_err(CallError::of)?;
        let mut built = client
            .request(request.method, request.url)
            .timeout(within.min(self.grant.calling.reply_timeout))
            .body(request.body);
        for (name, value) in request.headers {
            built = built.header(name, value);
        }
        self.caller.call(built).await.map_err(CallError::of)
    }
}

/// What is known of a call without an answer.
trait Of {
    fn of(error: SendError) -> CallError;
}

impl Of for CallError {
    fn of(error: SendError) -> CallError {
        match error {
            SendError::Retry { why, .. } | SendError::Refused { why } => CallError::not_sent(why),
            SendError::Unsure { why } => CallError { why, is_sent: true },
            SendError::BrokenOff { why, is_sent } => CallError { why, is_sent },
        }
    }
}

/// A request that the channel allows.
#[derive(Debug)]
struct Allowed {
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: bytes::Bytes,
}

impl Grant {
    fn request(&self, request: &CallRequest) -> Result<Allowed, String> {
        let method = self
            .methods
            .iter()
            .find(|method| method.as_str() == request.method);
        let method = method.ok_or_else(|| {
            let granted: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
            format!(
                "the channel does not grant this method (it grants {}); write it there: methods",
                granted.join(", ")
            )
        })?;
        if MAX_BODY < request.body.len() {
            let most = engine::channel::size::show(MAX_BODY as u64);
            return Err(format!("the body is too long; {most} are the most"));
        }
        let header = |(name, value): &(String, String)| {
            let name = header_name(name)?;
            if OWN_HEADERS.contains(&name.as_str()) {
                return Err(format!("{name} is said by the connection; leave it out"));
            }
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("the value of the header {name} is no line of ASCII"))?;
            Ok((name, value))
        };
        Ok(Allowed {
            method: method.clone(),
            url: self.below(&request.path)?,
            headers: request
                .headers
                .iter()
                .map(header)
                .collect::<Result<_, String>>()?,
            body: request.body.clone(),
        })
    }

    /// The address of a path below the base; none leads out of it.
    fn below(&self, path: &str) -> Result<Url, String> {
        let out = || "the path leads out of the base that the channel grants".to_owned();
        let base = self.base.as_str().trim_end_matches('/');
        let text = match path.trim_start_matches('/') {
            "" => self.base.as_str().to_owned(),
            rest if rest.starts_with('?') => format!("{}{rest}", self.base),
            rest => format!("{base}/{rest}"),
        };
        let url = Url::parse(&text).map_err(|_| "the path makes no address".to_owned())?;
        let is_same_place = url.scheme() == self.base.scheme()
            && url.host() == self.base.host()
            && url.port_or_known_default() == self.base.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none();
        let rest = url.path().strip_prefix(self.base.path().trim_end_matches('/'));
        let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !is_same_place || !is_below || url.fragment().is_some() || climbs(url.path()) {
            return Err(out());
        }
        Ok(url)
    }
}

/// Whether a server that undoes `%2f` (once or more often) could read a way up into a path.
fn climbs(path: &str) -> bool {
    let mut text = path.to_ascii_lowercase();
    for _ in 0..4 {
        let parts = || text.split(['/', '\\']);
        if parts().any(|part| part == "..") {
            return true;
        }
        let undone = text
            .replace("%2e", ".")
            .replace("%2f", "/")
            .replace("%5c", "\\")
            .replace("%25", "%");
        if undone == text {
            return false;
        }
        text = undone;
    }
    true
}

/// The headers of an answer, as a script gets them.
pub(super) fn told(headers: &hyper::HeaderMap) -> Vec<(String, String)> {
    let told = headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok().filter(|value| value.len() <= MAX_HEADER)?;
        // Who we are to the far side is its and our matter.
        (name.as_str() != "set-cookie").then(|| (name.as_str().to_owned(), value.to_owned()))
    });
    told.take(MAX_HEADERS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grant(base: &str) -> Grant {
        let settings = serde_json::json!({ "base": base, "methods": ["GET", "POST"] });
        read::<GrantSettings>(&settings).expect("a grant")
    }

    fn below(base: &str, path: &str) -> Result<String, String> {
        grant(base).below(path).map(|url| url.to_string())
    }

    #[test]
    fn a_path_stays_below_its_base() {
        for (base, path, url) in [
            (
                "https://a.example/api",
                "patients/7",
                "https://a.example/api/patients/7",
            ),
            (
                "https://a.example/api/",
                "/patients?x=1",
                "https://a.example/api/patients?x=1",
            ),
            ("https://a.example/api", "", "https://a.example/api"),
            (
                "https://a.example/api",
                "?x=../..",
                "https://a.example/api?x=../..",
            ),
            ("https://a.example", "a/./b", "https://a.example/a/b"),
            (
                "https://a.example/api",
                "x@evil.example/",
                "https://a.example/api/x@evil.example/",
            ),
            (
                "https://a.example/api",
                "//evil.example/",
                "https://a.example/api/evil.example/",
            ),
            (
                "https://a.example/api",
                "a..b/..c",
                "https://a.example/api/a..b/..c",
            ),
            ("https://a.example/api", "x%2Fy", "https://a.example/api/x%2Fy"),
        ] {
            assert_eq!(below(base, path).as_deref(), Ok(url), "{base} {path}");
        }
        for path in [
            "../admin",
            "a/../../admin",
            "%2e%2e/admin",
            "a/..%2f..%2fadmin",
            "a/..%5c..%5cadmin",
            "%252e%252e%252fadmin",
            "..\\admin",
            "a#b",
        ] {
            assert!(below("https://a.example/api", path).is_err(), "{path}");
        }
        // Another name that begins like it is not below it.
        assert!(below("https://a.example/api", "../api2/x").is_err());
    }

    #[test]
    fn only_what_is_granted_is_sent() {
        let request = |method: &str, header: &str| CallRequest {
            to: "a".into(),
            method: method.into(),
            path: "x".into(),
            headers: vec![(header.into(), "v".into())],
            body: bytes::Bytes::new(),
        };
        let grant = grant("https://a.example/api");
        assert!(grant.request(&request("GET", "Accept")).is_ok());
        for (method, header) in [
            ("DELETE", "Accept"),
            ("get", "Accept"),
            ("GET", "Authorization"),
            ("GET", "Cookie"),
            ("GET", "Host"),
            ("GET", "Content-Length"),
            ("GET", "a b"),
        ] {
            assert!(
                grant.request(&request(method, header)).is_err(),
                "{method} {header}"
            );
        }
        let mut odd = request("GET", "Accept");
        odd.headers[0].1 = "a\r\nHost: evil.example".into();
        assert!(grant.request(&odd).is_err());
    }

    proptest! {
        #[test]
        fn no_path_leads_elsewhere(path in "(\\.\\.|/|\\\\|%2e|%2f|%5c|%25|:|@|#|\\?|evil\\.example|a|ș|\t|\n){0,12}") {
            if let Ok(url) = grant("https://a.example:8443/api/v1").below(&path) {
                prop_assert_eq!(url.host_str(), Some("a.example"));
                prop_assert_eq!(url.port(), Some(8443));
                prop_assert!(url.path() == "/api/v1" || url.path().starts_with("/api/v1/"));
                prop_assert!(!url.path().split('/').any(|part| part == ".."));
            }
        }
    }
}
