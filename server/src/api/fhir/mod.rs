//! The FHIR R4 interface: read and search. Every answer is FHIR, errors too.
//!
//! Absent: writing, history, includes, sorting. The CapabilityStatement claims what is here and nothing else.

mod beside;
mod query;
mod search;

pub(super) use query::pairs;

use axum::Router;
use axum::extract::{OriginalUri, Path, RawQuery, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
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
        .route("/metadata", get(metadata))
        .route("/{type}", get(search_type).post(refuse_write))
        .route("/{type}/_search", axum::routing::post(search_by_post))
        .route(
            "/{type}/{id}",
            get(read)
                .put(refuse_write)
                .delete(refuse_write)
                .patch(refuse_write),
        )
        .route("/{type}/{id}/_history/{version}", get(read_version))
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
        let code = match problem.status {
            StatusCode::UNAUTHORIZED => "login",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not-found",
            _ => "exception",
        };
        Failure::new(problem.status, code, problem.detail)
    }
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

async fn refuse_write() -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "not-supported",
        "this interface reads and searches; it does not write",
    )
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
    body: String,
) -> Result<Response, Failure> {
    acceptable(&headers, query.as_deref())?;
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
    let question = query::Question::read(fhir_type, kinds, parameters, query, state.zone(), strict)?;
    let (bundle, mut seen) = search::run(state, &question, &base(state, headers)).await?;
    seen.words = Some(format!("{fhir_type}?{query}"));
    journal::note(state.store(), asker, "search", seen).await?;
    Ok(fhir(StatusCode::OK, &bundle))
}
