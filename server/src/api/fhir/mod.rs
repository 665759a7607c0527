//! The FHIR R4 interface: read and search. Every answer is FHIR, errors too.
//!
//! Absent: writing, history, includes, sorting. The CapabilityStatement claims what is here and nothing else.

mod beside;
mod query;
mod search;

pub(super) use query::pairs;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, RawQuery, Request, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use engine::store::StoreError;
use mappings_fhir::json::Json;
use mappings_fhir::server::{SearchType, capability_statement, dicomweb_endpoint, operation_outcome};
use uuid::Uuid;

use super::auth::{Asker, Scope, Who};
use super::{Problem, State};
use crate::journal::{self, Seen};

/// What can be read, and what it can be searched by; a type without parameters can only be read.
const TYPES: &[SearchType] = &[
    SearchType {
        name: "Patient",
        parameters: &[
            ID,
            IDENTIFIER,
            UPDATED,
            ("family", "string"),
            ("given", "string"),
            ("name", "string"),
            ("birthdate", "date"),
        ],
    },
    SearchType {
        name: "Appointment",
        parameters: &[
            ID,
            IDENTIFIER,
            UPDATED,
            ("patient", "reference"),
            ("date", "date"),
            ("status", "token"),
        ],
    },
    SearchType {
        name: "Encounter",
        parameters: &[
            ID,
            IDENTIFIER,
            UPDATED,
            ("patient", "reference"),
            ("subject", "reference"),
            ("date", "date"),
            ("status", "token"),
        ],
    },
    SearchType {
        name: "Observation",
        parameters: &MEASURED,
    },
    SearchType {
        name: "DiagnosticReport",
        parameters: &MEASURED,
    },
    SearchType {
        name: "ServiceRequest",
        parameters: &[
            ID,
            IDENTIFIER,
            UPDATED,
            ("patient", "reference"),
            ("subject", "reference"),
            ("authored", "date"),
            ("status", "token"),
            ("code", "token"),
        ],
    },
    SearchType {
        name: "ImagingStudy",
        parameters: &[
            ID,
            IDENTIFIER,
            UPDATED,
            ("patient", "reference"),
            ("subject", "reference"),
            ("started", "date"),
            ("status", "token"),
            ("modality", "token"),
        ],
    },
    read_only("RelatedPerson"),
    read_only("Practitioner"),
    read_only("Organization"),
    read_only("Location"),
    read_only("HealthcareService"),
    read_only("Schedule"),
    read_only("Slot"),
    read_only("Condition"),
    read_only("AllergyIntolerance"),
    read_only("Procedure"),
    read_only("Coverage"),
    read_only("Specimen"),
    read_only("DocumentReference"),
    read_only("MedicationRequest"),
    read_only(ENDPOINT),
];

/// Where objects of studies are had. One of them, and no aggregate.
const ENDPOINT: &str = "Endpoint";

/// The longest answer of others that is read for what it says.
const LONGEST_PROBLEM: usize = 64 * 1024;

type Parameter = (&'static str, &'static str);

const ID: Parameter = ("_id", "token");
const IDENTIFIER: Parameter = ("identifier", "token");
const UPDATED: Parameter = ("_lastUpdated", "date");

/// What observations and reports are searched by.
const MEASURED: [Parameter; 8] = [
    ID,
    IDENTIFIER,
    UPDATED,
    ("patient", "reference"),
    ("subject", "reference"),
    ("date", "date"),
    ("status", "token"),
    ("code", "token"),
];

const fn read_only(name: &'static str) -> SearchType {
    SearchType {
        name,
        parameters: &[],
    }
}

/// The parameters of a type; none where it can't be searched.
fn parameters(fhir_type: &str) -> Option<&'static [Parameter]> {
    let of = TYPES.iter().find(|of| of.name == fhir_type)?;
    (!of.parameters.is_empty()).then_some(of.parameters)
}

/// Its routes.
pub fn routes() -> Router<State> {
    Router::new()
        .route("/metadata", get(metadata).fallback(only_read))
        .route("/{type}", get(search_type).fallback(only_read))
        .route(
            "/{type}/_search",
            axum::routing::post(search_by_post).fallback(only_searched),
        )
        .route("/{type}/{id}", get(read).fallback(only_read))
        .route(
            "/{type}/{id}/_history/{version}",
            get(read_version).fallback(only_read),
        )
        .fallback(|| async {
            Failure::new(
                StatusCode::NOT_FOUND,
                "not-found",
                "there is nothing at this address",
            )
        })
}

/// A FHIR answer that is an error.
pub struct Failure {
    status: StatusCode,
    code: &'static str,
    what: String,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, what: impl Into<String>) -> Self {
        Failure {
            status,
            code,
            what: what.into(),
        }
    }
    fn invalid(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", what)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = fhir(
            self.status,
            &operation_outcome("error", self.code, &self.what, None),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                header::HeaderValue::from_static("Bearer"),
            );
        }
        response
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "transient", error.to_string())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Failure::new(problem.status, code_of(problem.status), problem.detail)
    }
}

/// The code of issue-type for a status that others chose.
fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "login",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not-found",
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE => "not-supported",
        StatusCode::PAYLOAD_TOO_LARGE => "too-long",
        StatusCode::SERVICE_UNAVAILABLE => "transient",
        status if status.is_client_error() => "invalid",
        _ => "exception",
    }
}

/// Errors under `/fhir` that were made elsewhere, by the way to here or before it, are an OperationOutcome too.
pub async fn errors_are_outcomes(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_ours = path == "/fhir" || path.starts_with("/fhir/");
    let response = next.run(request).await;
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_fhir = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/fhir+json"));
    if !is_ours || !is_error || is_fhir {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, LONGEST_PROBLEM)
        .await
        .unwrap_or_default();
    let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    let what = detail.or(head.status.canonical_reason()).unwrap_or("error");
    let mut outcome = Failure::new(head.status, code_of(head.status), what).into_response();
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        head.headers.remove(name);
    }
    outcome.headers_mut().extend(head.headers);
    outcome
}

fn fhir(status: StatusCode, json: &Json) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/fhir+json; charset=utf-8")],
        json.to_bytes(),
    )
        .into_response()
}

/// Where the interface is, as the asker sees it.
fn base(state: &State, headers: &HeaderMap) -> String {
    format!("{}/fhir", origin(state, headers))
}

fn origin(state: &State, headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("{}://{host}", state.scheme())
}

/// Says no to an answer that could not be JSON.
fn acceptable(headers: &HeaderMap, query: Option<&str>) -> Result<(), Failure> {
    let is_json = |word: &str| {
        let word = word.split(';').next().unwrap_or_default().trim();
        matches!(
            word,
            "" | "*/*"
                | "application/*"
                | "application/fhir+json"
                | "application/json"
                | "text/json"
                | "json"
        )
    };
    let format = query.and_then(|query| {
        query::pairs(query)
            .into_iter()
            .find(|(name, _)| name == "_format")
    });
    let fits = match format {
        // A plus that was not encoded came as a space.
        Some((_, word)) => is_json(&word.replace(' ', "+")),
        None => headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_none_or(|accept| accept.split(',').any(is_json)),
    };
    if fits {
        return Ok(());
    }
    Err(Failure::new(
        StatusCode::NOT_ACCEPTABLE,
        "not-supported",
        "only application/fhir+json is written here",
    ))
}

async fn metadata(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    acceptable(&headers, query.as_deref())?;
    let date = (crate::world::real().now)().strftime("%Y-%m-%d").to_string();
    let statement = capability_statement(&base(&state, &headers), crate::VERSION, &date, TYPES);
    Ok(fhir(StatusCode::OK, &statement))
}

/// What is refused where only `GET` is taken.
async fn only_read() -> Response {
    not_allowed(
        "GET, HEAD",
        "this interface reads and searches; it does not write",
    )
}

/// What is refused where only a search is taken.
async fn only_searched() -> Response {
    not_allowed(
        "POST",
        "a search comes here by POST; GET /fhir/TYPE?… takes the same",
    )
}

/// 405, with what is allowed (RFC 9110 §15.5.6).
fn not_allowed(allowed: &'static str, what: &str) -> Response {
    let mut response = Failure::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", what).into_response();
    let allowed = header::HeaderValue::from_static(allowed);
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}

/// The aggregates behind a type, or 404.
fn known(fhir_type: &str) -> Result<&'static [clinic::Kind], Failure> {
    let kinds = mappings_fhir::kinds(fhir_type);
    if kinds.is_empty() {
        let what = "this type is not kept here; GET /fhir/metadata lists those that are";
        return Err(Failure::new(StatusCode::NOT_FOUND, "not-supported", what));
    }
    Ok(kinds)
}

async fn read(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((fhir_type, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    acceptable(&headers, query.as_deref())?;
    let asker = who.may(Scope::ClinicRead)?;
    let not_there = || Failure::new(StatusCode::NOT_FOUND, "not-found", "there is no such resource");
    if (fhir_type.as_str(), id.as_str()) == (ENDPOINT, beside::DICOMWEB) {
        let address = format!("{}{}", origin(&state, &headers), super::dicomweb::ROOT);
        return Ok(fhir(
            StatusCode::OK,
            &dicomweb_endpoint(beside::DICOMWEB, &address),
        ));
    }
    let id: Uuid = id.parse().map_err(|_| not_there())?;
    let mut found = None;
    for kind in known(&fhir_type)? {
        found = found.or(state.store().read(*kind, id).await?);
    }
    note_one(&state, asker, &fhir_type, id, found.as_ref()).await?;
    let record = found.ok_or_else(not_there)?;
    one(&state, &record).await
}

async fn read_version(
    Extract(state): Extract<State>,
    who: Who,
    Path((fhir_type, id, version)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    let asker = who.may(Scope::ClinicRead)?;
    let not_there = || Failure::new(StatusCode::NOT_FOUND, "not-found", "there is no such version");
    let id: Uuid = id.parse().map_err(|_| not_there())?;
    let version: u64 = version.parse().map_err(|_| not_there())?;
    let mut found = None;
    for kind in known(&fhir_type)? {
        found = found.or(state.store().read_version(*kind, id, version).await?);
    }
    note_one(&state, asker, &fhir_type, id, found.as_ref()).await?;
    let record = found.ok_or_else(not_there)?;
    one(&state, &record).await
}

/// Notes that one resource was read, or that it was asked for and is not there.
async fn note_one(
    state: &State,
    asker: Asker,
    fhir_type: &str,
    id: Uuid,
    found: Option<&clinic::Record>,
) -> Result<(), Failure> {
    let mut seen = Seen::default();
    match found {
        Some(record) => seen.record(record),
        None => seen.what.push(format!("{fhir_type}/{id}")),
    }
    Ok(journal::note(state.store(), asker, "read", seen).await?)
}

async fn one(state: &State, record: &clinic::Record) -> Result<Response, Failure> {
    let beside = beside::of(state, record, beside::Told::Alone).await?;
    let mut response = fhir(StatusCode::OK, &mappings_fhir::resource_with(record, &beside));
    let etag = format!("W/\"{}\"", record.meta.version);
    let modified = record
        .meta
        .updated_at
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    for (name, value) in [(header::ETAG, etag), (header::LAST_MODIFIED, modified)] {
        if let Ok(value) = header::HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

async fn search_type(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(fhir_type): Path<String>,
    OriginalUri(_): OriginalUri,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    acceptable(&headers, query.as_deref())?;
    run_search(
        &state,
        who,
        &headers,
        &fhir_type,
        query.as_deref().unwrap_or_default(),
    )
    .await
}

/// `POST Type/_search`: the words come in the body.
async fn search_by_post(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(fhir_type): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Failure> {
    acceptable(&headers, query.as_deref())?;
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let is_form = match kind {
        Some(kind) => kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"),
        None => body.is_empty(),
    };
    // What is not read would find everybody.
    if !is_form {
        let what = "the parameters of a search come as application/x-www-form-urlencoded";
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-supported",
            what,
        ));
    }
    let body = String::from_utf8(body.to_vec())
        .map_err(|_| Failure::invalid("the body is no application/x-www-form-urlencoded"))?;
    let words = [query.unwrap_or_default(), body]
        .into_iter()
        .filter(|part| !part.is_empty());
    run_search(
        &state,
        who,
        &headers,
        &fhir_type,
        &words.collect::<Vec<_>>().join("&"),
    )
    .await
}

async fn run_search(
    state: &State,
    who: Who,
    headers: &HeaderMap,
    fhir_type: &str,
    query: &str,
) -> Result<Response, Failure> {
    let asker = who.may(Scope::ClinicRead)?;
    let kinds = known(fhir_type)?;
    let Some(parameters) = parameters(fhir_type) else {
        let what = "this type can be read by its id and not searched; GET /fhir/metadata lists what can be";
        return Err(Failure::new(StatusCode::BAD_REQUEST, "not-supported", what));
    };
    let strict = headers
        .get("prefer")
        .and_then(|prefer| prefer.to_str().ok())
        .is_some_and(|prefer| prefer.replace(' ', "").contains("handling=strict"));
    let base = base(state, headers);
    let around = query::Around {
        zone: state.zone(),
        base: &base,
        strict,
    };
    let question = query::Question::read(fhir_type, kinds, parameters, around, query)?;
    let (bundle, mut seen) = search::run(state, &question, &base).await?;
    seen.words = Some(format!("{fhir_type}?{query}"));
    journal::note(state.store(), asker, "search", seen).await?;
    Ok(fhir(StatusCode::OK, &bundle))
}
