//! One HTTP exchange with a far side, and what is known after it. Used by `http` and `fhir` destinations.

use std::error::Error;
use std::time::Duration;

use clinic::exchange::Response;
use engine::connector::{ConnectorError, SendError};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, StatusCode};

use crate::secrets::Credentials;

/// A client that sends to one place.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) max_answer: usize,
}

/// An answer, with what `fhir` needs beside it.
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) location: Option<String>,
    /// More than `max_answer` came; the rest was not read.
    pub(crate) is_cut: bool,
}

impl Caller {
    pub(crate) fn new(
        connect_timeout: Duration,
        reply_timeout: Duration,
        headers: HeaderMap,
        credentials: Option<Credentials>,
        max_answer: usize,
    ) -> Result<Self, ConnectorError> {
        let client = Client::builder()
            .connect_timeout(connect_timeout)
            .timeout(reply_timeout)
            .default_headers(headers)
            // A message is for the address that the channel names, with its secret, and for no other.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_keepalive(Duration::from_secs(60))
            // Many servers close after 5 s of silence; a request that meets the close would have no answer.
            .pool_idle_timeout(Duration::from_secs(3))
            .user_agent("punte")
            .build()
            .map_err(|error| {
                ConnectorError::new(format!("The HTTP client can't be made: {}", chain(&error)))
            })?;
        Ok(Caller {
            client,
            credentials,
            max_answer,
        })
    }

    /// Shows who we are.
    pub(crate) fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            None => request,
            Some(Credentials::Bearer(token)) => request.bearer_auth(token.reveal()),
            Some(Credentials::Basic { user, password }) => request.basic_auth(user, Some(password.reveal())),
        }
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
                    let room = self.max_answer - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if room < chunk.len() {
                        tracing::debug!(limit = self.max_answer, "An answer over the limit was cut.");
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
                body,
            },
            location,
            is_cut,
        })
    }
}

/// What is known after a request that has no answer.
fn failed(error: reqwest::Error) -> SendError {
    let why = |what: &str, error: &reqwest::Error| format!("{what}: {}.", chain(error));
    let error = error.without_url();
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
