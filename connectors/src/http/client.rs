//! One HTTP exchange with a far side, and what is known after it. Used by `http` and `fhir` destinations.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clinic::exchange::Response;
use engine::call::CallAnswer;
use engine::channel::ask::is_address;
use engine::connector::{ConnectorError, SendError, Surroundings};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use rustls::ClientConfig;

use crate::secrets::{Auth, Credentials};
use crate::tls::{self, Secured, SenderTable};

/// How a far side is called: what `http` and `fhir` destinations have in common.
#[derive(Clone, Debug)]
pub struct Calling {
    /// By https.
    pub(crate) is_secure: bool,
    /// Sent with each request.
    pub(crate) headers: HeaderMap,
    /// Who we are.
    pub(crate) auth: Option<Auth>,
    /// How the far side's certificate is checked, and which one we show.
    pub(crate) tls: SenderTable,
    /// For connecting.
    pub(crate) connect_timeout: Duration,
    /// For sending and the answer.
    pub(crate) reply_timeout: Duration,
    /// Bytes.
    pub(crate) max_answer: usize,
}

impl Calling {
    /// How the connection is secured; none: it is not.
    pub(crate) fn tls(&self) -> Option<&SenderTable> {
        self.is_secure.then_some(&self.tls)
    }

    /// Connects to where an address leads, and says nothing there.
    pub(crate) async fn reach(&self, url: &Url) -> Result<(), ConnectorError> {
        let port = url.port_or_known_default().unwrap_or(80);
        let host = url.host_str().unwrap_or_default();
        crate::sockets::connect(&format!("{host}:{port}"), self.connect_timeout)
            .await
            .map(drop)
            .map_err(ConnectorError::new)
    }
}

/// A client that sends to one place.
pub(crate) struct Caller {
    calling: Calling,
    credentials: Option<Credentials>,
    secured: Option<Secured>,
    current: Mutex<Current>,
}

/// The client of now, and the TLS settings that it was made with.
struct Current {
    client: Client,
    config: Option<Arc<ClientConfig>>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// More than `max_answer` came; the rest was not read.
    pub(crate) is_cut: bool,
}

impl Caller {
    /// Reads secrets and certificates. Does not connect yet.
    pub(crate) async fn open(calling: &Calling, surroundings: &Surroundings) -> Result<Self, ConnectorError> {
        let credentials = match &calling.auth {
            Some(auth) => Some(auth.resolve(surroundings).await?),
            None => None,
        };
        let secured = match calling.tls() {
            Some(tls) => Some(Secured::open(tls, &surroundings.folder)?),
            None => None,
        };
        let config = match &secured {
            Some(secured) => Some(secured.config().await),
            None => None,
        };
        let client = client(calling, config.as_deref()).map_err(ConnectorError::new)?;
        Ok(Caller {
            calling: calling.clone(),
            credentials,
            secured,
            current: Mutex::new(Current { client, config }),
        })
    }

    /// The client, made anew where certificates have changed: connections that were open stay with the old one.
    pub(crate) async fn client(&self) -> Result<Client, SendError> {
        let Some(secured) = &self.secured else {
            return Ok(self.lock().client.clone());
        };
        let config = secured.config().await;
        let mut current = self.lock();
        if !current
            .config
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &config))
        {
            current.client =
                client(&self.calling, Some(&config)).map_err(|why| SendError::Retry { why, after: None })?;
            current.config = Some(config);
        }
        Ok(current.client.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows who we are.
    pub(crate) fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            None => request,
            Some(Credentials::Bearer(token)) => request.bearer_auth(token.reveal()),
            Some(Credentials::Basic { user, password }) => request.basic_auth(user, Some(password.reveal())),
        }
    }

    /// Sends what a script asks, and reads the answer whole, whatever its status.
    pub(super) async fn call(&self, request: RequestBuilder) -> Result<CallAnswer, SendError> {
        let mut answer = self.signed(request).send().await.map_err(failed)?;
        let status = answer.status();
        let headers = super::calls::told(answer.headers());
        let mut body = Vec::new();
        let broken = |why: String| SendError::Unsure { why };
        while let Some(chunk) = answer.chunk().await.map_err(|error| {
            broken(format!(
                "The answer {status} broke off: {}.",
                chain(&error.without_url())
            ))
        })? {
            if self.calling.max_answer < body.len() + chunk.len() {
                let most = engine::channel::size::show(self.calling.max_answer as u64);
                return Err(broken(format!(
                    "The answer {status} is longer than {most} (max_answer)."
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(CallAnswer {
            status: status.as_u16(),
            headers,
            body: body.into(),
        })
    }

    /// Sends and reads the answer. Every answer is handed back, whatever its status, for the format to judge; only one
    /// that says when to come again (429 or 503 with Retry-After) is a matter of the transport.
    pub(crate) async fn exchange(&self, request: RequestBuilder) -> Result<Answer, SendError> {
        let mut answer = self.signed(request).send().await.map_err(failed)?;
        let status = answer.status();
        let may_come_again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if let Some(after) = retry_after(answer.headers())
            && may_come_again
        {
            return Err(SendError::Retry {
                why: format!(
                    "The far side answered {status} and asks to come again in {} s.",
                    after.as_secs()
                ),
                after: Some(after),
            });
        }
        let text = |name| {
            answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let (content_type, location) = (text(CONTENT_TYPE), text(LOCATION));
        let mut body = Vec::new();
        let mut is_cut = false;
        loop {
            match answer.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    let room = self.calling.max_answer - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if room < chunk.len() {
                        tracing::debug!(
                            limit = self.calling.max_answer,
                            "An answer over the limit was cut."
                        );
                        is_cut = true;
                        break;
                    }
                }
                // A refusal is one also without its text. What a success says may matter.
                Err(_) if !status.is_success() => break,
                Err(error) => {
                    return Err(SendError::Unsure {
                        why: format!("The answer {status} broke off: {}.", chain(&error)),
                    });
                }
            }
        }
        Ok(Answer {
            response: Response {
                status: Some(status.as_u16()),
                content_type,
                location,
                body,
            },
            is_cut,
        })
    }
}

impl Caller {
    /// Asks and reads the answer; one that is cut is none, since what it says is not known.
    pub(crate) async fn question(&self, request: RequestBuilder) -> Result<Response, SendError> {
        let answer = self.exchange(request).await?;
        if answer.is_cut {
            let why = format!(
                "The answer has more than {} bytes. Ask for less, or raise `max_answer`.",
                self.calling.max_answer
            );
            return Err(SendError::Refused { why });
        }
        Ok(answer.response)
    }
}

/// The longest address that is asked, as most servers take it.
const LONGEST_ADDRESS: usize = 8_000;

/// An address below `base`, as a question names it: `/patients/7`, `?id=7`. The error says why it is none.
pub(crate) fn below(base: &Url, question: &str) -> Result<Url, String> {
    if LONGEST_ADDRESS < question.len() {
        return Err(format!("an address has at most {LONGEST_ADDRESS} bytes"));
    }
    if question.contains(|letter: char| letter.is_control() || letter == '#') {
        return Err("an address is one line, without `#`".to_owned());
    }
    if !is_address(question) {
        return Err("an address begins with `/` or `?`".to_owned());
    }
    if base.query().is_some() {
        return Err(
            "the destination's address has a query already; take it out, and ask by all of it".to_owned(),
        );
    }
    let root = base.as_str().trim_end_matches('/');
    // `|` between system and value: some servers refuse it bare.
    let text = format!("{root}{}", question.replace('|', "%7C"));
    let url = Url::parse(&text).map_err(|_| "this is no address".to_owned())?;
    // Some servers undo these before they look at the path.
    let undone = url
        .path()
        .to_ascii_lowercase()
        .replace("%2f", "/")
        .replace("%2e", ".")
        .replace("%5c", "/");
    let leads_up = undone.split('/').any(|part| part == "..");
    let is_below = !leads_up
        && url.origin() == base.origin()
        && url.path().starts_with(base.path().trim_end_matches('/'))
        && url.username().is_empty();
    match is_below {
        true => Ok(url),
        false => Err("the address leads away from that of the destination".to_owned()),
    }
}

fn client(calling: &Calling, config: Option<&ClientConfig>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .connect_timeout(calling.connect_timeout)
        .timeout(calling.reply_timeout)
        .default_headers(calling.headers.clone())
        // A message is for the address that the channel names, with its secret, and for no other.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_keepalive(Duration::from_secs(60))
        // Many servers close after 5 s of silence; a request that meets the close would have no answer.
        .pool_idle_timeout(Duration::from_secs(3))
        .user_agent("punte");
    if let Some(config) = config {
        let mut config = config.clone();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        builder = builder.tls_backend_preconfigured(config);
    }
    builder
        .build()
        .map_err(|error| format!("The HTTP client can't be made: {}.", chain(&error)))
}

/// What is known after a request that has no answer.
fn failed(error: reqwest::Error) -> SendError {
    let why = |what: &str, error: &reqwest::Error| format!("{what}: {}.", chain(error));
    let error = error.without_url();
    if let Some(why) = tls::refused_by_peer(&error) {
        let why = format!("The message was not taken: {why}.");
        return SendError::Retry { why, after: None };
    }
    if error.is_connect() {
        return SendError::Retry {
            why: why("The far side can't be reached", &error),
            after: None,
        };
    }
    if error.is_builder() {
        return SendError::Refused {
            why: why("The message can't be sent by HTTP", &error),
        };
    }
    if error.is_timeout() {
        return SendError::Unsure {
            why: "No answer in time.".to_owned(),
        };
    }
    SendError::Unsure {
        why: why("The connection ended before the answer came", &error),
    }
}

/// Retry-After in seconds; dates are left to the channel's own pauses. A day is the longest that is believed.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(86_400)))
}

/// An error with its causes; reqwest says the useful part last.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_stays_below_its_destination() {
        let base = Url::parse("https://x.example/api").unwrap();
        let below = |question: &str| below(&base, question).map(String::from);
        assert_eq!(
            below("/patients/7").as_deref(),
            Ok("https://x.example/api/patients/7")
        );
        assert_eq!(
            below("?id=a|b c").as_deref(),
            Ok("https://x.example/api?id=a%7Cb%20c")
        );
        for wrong in [
            "/../secret",
            "/a/../../b",
            "/a/..%2F..%2Fb",
            "@evil.example/",
            "/a#b",
            "/a\nb",
            &"/a".repeat(5_000),
        ] {
            assert!(below(wrong).is_err(), "{wrong}");
        }
    }
}
