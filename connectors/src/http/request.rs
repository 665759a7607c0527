//! One request: which channel it is for, whether it may come in, its body, and the answer.

use std::net::SocketAddr;
use std::sync::OnceLock;

use bytes::Bytes;
use engine::body::{Body, BodyError};
use engine::connector::{Acknowledgement, Intake, Outcome, Stop};
use engine::message::Incoming;
use engine::store::StoreError;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming as Arriving};
use hyper::header::{
    ALLOW, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use super::answer::AnswerSettings;
use super::listener::{Routes, of_path};
use super::pattern::decoded;
use super::settings;
use crate::mllp::framing::KEPT;
use crate::secrets::Secret;
use crate::sockets::GRACE;

type Answer = Response<Full<Bytes>>;

/// The most parameters of a query that steps can ask for.
const MOST_PARAMETERS: usize = 200;

/// What a request says of itself that is worth keeping, none of it secret.
const KEPT_HEADERS: [&str; 6] = [
    "user-agent",
    "idempotency-key",
    "x-request-id",
    "x-correlation-id",
    "traceparent",
    "content-language",
];

/// One channel's part of a listener.
pub(super) struct Route {
    settings: settings::Source,
    token: Option<Secret>,
    intake: OnceLock<Intake>,
    closing: Stop,
    under_way: TaskTracker,
    span: Span,
}

impl Route {
    pub(super) fn new(settings: settings::Source, token: Option<Secret>) -> Self {
        Route {
            settings,
            token,
            intake: OnceLock::new(),
            closing: Stop::new(),
            under_way: TaskTracker::new(),
            span: Span::current(),
        }
    }

    pub(super) fn settings(&self) -> &settings::Source {
        &self.settings
    }

    /// From now on requests are taken.
    pub(super) fn open(&self, intake: Intake) {
        // A route is run once; a second intake would have nothing to say.
        let _ = self.intake.set(intake);
    }

    /// From now on callers are told to come again.
    pub(super) fn close(&self) {
        self.closing.cancel();
        self.under_way.close();
    }

    /// Waits for the requests under way.
    pub(super) async fn ended(&self) {
        self.under_way.wait().await;
    }
}

/// Who calls.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) peer: SocketAddr,
    /// Whom the caller's certificate names.
    pub(super) certificate: Option<String>,
}

/// Finds the channel and answers.
pub(super) async fn serve(request: Request<Arriving>, caller: Caller, routes: &Routes) -> Answer {
    let of_path = of_path(routes, request.uri().path());
    if of_path.is_empty() {
        return problem(StatusCode::NOT_FOUND, "No channel answers this path.");
    }
    let of_method = of_path
        .iter()
        .find(|route| route.settings.methods.contains(request.method()));
    let Some(route) = of_method else {
        let methods: Vec<&str> = of_path
            .iter()
            .flat_map(|route| &route.settings.methods)
            .map(Method::as_str)
            .collect();
        let mut answer = problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "No channel answers this method here.",
        );
        if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
            answer.headers_mut().insert(ALLOW, methods);
        }
        return answer;
    };
    let span = route.span.clone();
    route
        .under_way
        .track_future(route.answer(request, caller))
        .instrument(span)
        .await
}

/// Why a body was not read whole.
enum Broken {
    TooLong,
    Overdue,
    Dropped,
    Stopping,
    NotStored(StoreError),
}

impl Route {
    async fn answer(&self, mut arriving: Request<Arriving>, caller: Caller) -> Answer {
        let peer = caller.peer;
        let headers = arriving.headers();
        if !self.settings.allow.lets_in(peer.ip()) {
            return problem(StatusCode::FORBIDDEN, "This address may not send here.");
        }
        if !self.is_known(headers) {
            let mut answer = problem(StatusCode::UNAUTHORIZED, "The bearer token is missing or wrong.");
            answer
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return answer;
        }
        let Some(intake) = self.intake.get().filter(|_| !self.closing.is_cancelled()) else {
            return come_again("The channel is not running just now.");
        };
        if headers
            .get(CONTENT_ENCODING)
            .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Compressed bodies are not taken. Send it without Content-Encoding.",
            );
        }
        let declared = arriving.body().size_hint().lower();
        if headers.contains_key(EXPECT) && (self.settings.max_body as u64) < declared {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, &self.too_long());
        }
        let mut incoming = self.incoming(&arriving, caller);
        let arrived = self.body(arriving.body_mut(), intake).await;
        incoming.received_at = jiff::Timestamp::now();
        let (status, why) = match arrived {
            Ok(body) if body.length() == 0 && !matches!(*arriving.method(), Method::GET | Method::DELETE) => {
                return problem(StatusCode::BAD_REQUEST, "The body is empty; there is no message.");
            }
            Ok(body) => {
                incoming.body = body.bytes;
                incoming.big = body.big;
                let content_type = incoming.content_type.clone();
                return answer_of(
                    intake.accept(incoming).await,
                    &content_type,
                    &self.settings.answer,
                );
            }
            Err((broken, kept)) => {
                incoming.body = kept;
                match broken {
                    Broken::Stopping => return come_again("The channel is stopping."),
                    Broken::NotStored(error) => {
                        tracing::error!(%peer, %error, "A body could not be stored; its sender was told to send it again.");
                        return come_again(&format!("{error}. Send it again later."));
                    }
                    Broken::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, self.too_long()),
                    Broken::Overdue => {
                        let why = format!("The body did not arrive within {:?}.", self.settings.timeout);
                        (StatusCode::REQUEST_TIMEOUT, why)
                    }
                    Broken::Dropped => (
                        StatusCode::BAD_REQUEST,
                        "The request broke off before its body was whole.".to_owned(),
                    ),
                }
            }
        };
        let (length, status_code) = (incoming.body.len(), status.as_u16());
        if length == 0 {
            tracing::warn!(%peer, status = status_code, "A request could not be taken; nothing of it is kept.");
        } else {
            tracing::warn!(%peer, length, status = status_code, "A request could not be taken; what came is kept.");
            intake.reject(incoming, format!("HTTP: {why}")).await;
        }
        let mut answer = problem(status, &why);
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    fn too_long(&self) -> String {
        format!(
            "The body is over the limit of {} bytes. Raise `max_body` if such messages are to be taken.",
            self.settings.max_body
        )
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = headers
            .get(AUTHORIZATION)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        match shown.split_at_checked(7) {
            Some((scheme, shown)) => scheme.eq_ignore_ascii_case(b"bearer ") && token.is(shown.trim_ascii()),
            None => false,
        }
    }

    fn incoming(&self, request: &Request<Arriving>, caller: Caller) -> Incoming {
        let text = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let mut headers = vec![
            ("peer".to_owned(), caller.peer.to_string()),
            ("method".to_owned(), request.method().to_string()),
            ("path".to_owned(), request.uri().path().to_owned()),
        ];
        headers.extend(
            caller
                .certificate
                .map(|subject| ("certificate".to_owned(), subject)),
        );
        let places = self
            .settings
            .path
            .places(request.uri().path())
            .unwrap_or_default();
        headers.extend(
            places
                .into_iter()
                .map(|(name, value)| (format!("path:{name}"), value)),
        );
        if let Some(query) = request.uri().query() {
            headers.push(("query".to_owned(), query.to_owned()));
            for pair in query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .take(MOST_PARAMETERS)
            {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let [name, value] = [name, value].map(|text| decoded(&text.replace('+', " ")));
                headers.push((format!("query:{name}"), value));
            }
        }
        headers.extend(text("content-type").map(|value| ("content-type".to_owned(), value)));
        let named = self.settings.keep_headers.iter().map(|name| name.as_str());
        for name in KEPT_HEADERS.into_iter().chain(named) {
            headers.extend(text(name).map(|value| (name.to_owned(), value)));
        }
        Incoming {
            body: Bytes::new(),
            big: None,
            content_type: text("content-type").unwrap_or_else(|| "application/octet-stream".to_owned()),
            headers,
            received_at: jiff::Timestamp::now(),
            identity: None,
        }
    }

    /// The body; or why it is not whole, and its beginning. A long one lies in the store as it arrives.
    async fn body(&self, arriving: &mut Arriving, intake: &Intake) -> Result<Body, (Broken, Bytes)> {
        let mut deadline = Instant::now() + self.settings.timeout;
        let mut stopping = false;
        let mut body = intake.begin_body(self.settings.max_body as u64);
        let mut over = Bytes::new();
        let broken = loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled(), if !stopping => {
                    stopping = true;
                    deadline = deadline.min(Instant::now() + GRACE);
                }
                frame = arriving.frame() => match frame {
                    None => break None,
                    Some(Err(_)) => break Some(Broken::Dropped),
                    Some(Ok(frame)) => {
                        let Ok(data) = frame.into_data() else { continue };
                        match body.write(&data).await {
                            Ok(()) => {}
                            Err(BodyError::TooLong { .. }) => {
                                over = data;
                                break Some(Broken::TooLong);
                            }
                            Err(BodyError::Store(error)) => break Some(Broken::NotStored(error)),
                        }
                    }
                },
                () = tokio::time::sleep_until(deadline) => {
                    break Some(if stopping { Broken::Stopping } else { Broken::Overdue });
                }
            }
        };
        let Some(broken) = broken else {
            return body.finish().await.map_err(|error| match error {
                BodyError::TooLong { .. } => (Broken::TooLong, Bytes::new()),
                BodyError::Store(error) => (Broken::NotStored(error), Bytes::new()),
            });
        };
        // A sender hears the answer only once it has stopped sending.
        let heard_until = match broken {
            Broken::TooLong => Some(deadline.min(Instant::now() + GRACE)),
            Broken::NotStored(_) => Some(deadline),
            Broken::Overdue | Broken::Dropped | Broken::Stopping => None,
        };
        if let Some(until) = heard_until {
            let rest = async { while let Some(Ok(_)) = arriving.frame().await {} };
            let _ = timeout_at(until, rest).await;
        }
        // The piece that went over the limit may be the first.
        let kept = Some(body.beginning())
            .filter(|kept| !kept.is_empty())
            .unwrap_or(over);
        Err((broken, kept.slice(..kept.len().min(KEPT))))
    }
}

fn answer_of(acknowledgement: Acknowledgement, content_type: &str, shaped: &AnswerSettings) -> Answer {
    if let Some((status, content_type, body)) = shaped.to(&acknowledgement) {
        let mut answer = Response::new(Full::new(Bytes::from(body)));
        *answer.status_mut() = status;
        if let Ok(content_type) = HeaderValue::from_str(content_type)
            && status != StatusCode::NO_CONTENT
        {
            answer.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        if acknowledgement.outcome == Outcome::Unavailable {
            answer
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        return answer;
    }
    let note = acknowledgement.note.unwrap_or_default();
    let status = match acknowledgement.outcome {
        Outcome::Stored => StatusCode::OK,
        Outcome::Failed => StatusCode::UNPROCESSABLE_ENTITY,
        Outcome::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut answer = match (acknowledgement.frames.is_empty(), acknowledgement.outcome) {
        (true, Outcome::Stored) => Response::new(Full::default()),
        (true, Outcome::Failed | Outcome::Unavailable) => problem(status, &note),
        (false, _) => {
            let mut answer = Response::new(Full::new(Bytes::from(acknowledgement.frames.concat())));
            if let Ok(content_type) = HeaderValue::from_str(content_type) {
                answer.headers_mut().insert(CONTENT_TYPE, content_type);
            }
            answer
        }
    };
    *answer.status_mut() = status;
    if acknowledgement.outcome == Outcome::Unavailable {
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    answer
}

fn come_again(why: &str) -> Answer {
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, why);
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("5"));
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Answer {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    answer
}
