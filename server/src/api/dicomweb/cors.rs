//! Viewers that are pages of a browser (PS3.18 §8.11.2, Fetch): those of the origins that `punte.toml` names may ask from there.
//! Nobody else's, unless they are from here.

use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::State;

/// The headers that a page may read.
const EXPOSED: &str = "content-location, content-type, warning, www-authenticate";
/// The headers that it may send.
const ALLOWED: &str = "accept, authorization, content-type";
/// How long a browser may remember that it may ask, in seconds.
const REMEMBERED: &str = "600";

/// Lets the pages of some origins ask.
pub async fn allow(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let Some(origin) = origin.filter(|origin| is_named(&state, origin)) else {
        return next.run(request).await;
    };
    let is_preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match is_preflight {
        true => StatusCode::NO_CONTENT.into_response(),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    say(headers, is_preflight);
    response
}

fn say(headers: &mut HeaderMap, is_preflight: bool) {
    let said = match is_preflight {
        true => vec![
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED),
        ],
        false => vec![(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)],
    };
    for (name, value) in said {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Whether `[http] origins` names it.
fn is_named(state: &State, origin: &HeaderValue) -> bool {
    let http = state.at_start().get("http");
    let origins = http.and_then(|http| http.get("origins")?.as_array());
    let mut origins = origins.into_iter().flatten().filter_map(toml::Value::as_str);
    origins.any(|named| named.as_bytes() == origin.as_bytes())
}
