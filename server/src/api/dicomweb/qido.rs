//! QIDO-RS (PS3.18 §10.6): studies, series and objects that match.
//!
//! | addresses | what is told one by one |
//! |---|---|
//! | `/studies` | studies |
//! | `/series`, `/studies/{study}/series` | series |
//! | `/instances`, `/studies/{study}/instances`, `/studies/{study}/series/{series}/instances` | objects |
//!
//! Keys are names or numbers of attributes, through sequences with a dot: `ProcedureCodeSequence.CodeValue`.

use std::collections::HashMap;

use axum::extract::{Path, RawQuery, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clinic::archive::{ArchiveQuestion, KeptStudy, Level};
use engine::archive::{Search, SearchError};
use jiff::tz::TimeZone;
use mappings::dicom::charset::{Fallback, Set};
use mappings::dicom::dataset::DataSet;
use mappings::dicom::scan::Coding;
use mappings::dicom::write::{Out, Said};
use mappings::dicom::{archive, json, names};
use serde_json::Value;

use super::super::auth::{Scope, Who};
use super::super::{Problem, State};
use crate::journal::{self, Seen};

/// Answers unless the asker wants fewer, and the most.
const LIMIT: usize = 1_000;
/// The most keys of a question.
const MAX_KEYS: usize = 50;
const STUDY: &str = "StudyInstanceUID";
const SERIES: &str = "SeriesInstanceUID";
const OBJECT: &str = "SOPInstanceUID";

/// What is asked for.
struct Question {
    /// The keys, as a data set.
    keys: Vec<u8>,
    level: Level,
    limit: usize,
    offset: usize,
    is_fuzzy: bool,
    words: String,
}

impl Question {
    /// By the query of the address, and by what stands in its path.
    fn read(level: Level, path: &HashMap<String, String>, query: Option<&str>) -> Result<Self, Problem> {
        let mut question = Question {
            keys: vec![],
            level,
            limit: LIMIT,
            offset: 0,
            is_fuzzy: false,
            words: query.unwrap_or_default().to_owned(),
        };
        let mut keys = Out::default();
        let pairs = super::super::fhir::pairs(&question.words);
        if MAX_KEYS < pairs.len() {
            return Err(Problem::bad_request(format!(
                "a search has at most {MAX_KEYS} keys"
            )));
        }
        let number = |name: &str, value: &str| {
            let number: Result<usize, _> = value.parse();
            number.map_err(|_| Problem::bad_request(format!("{name} is no number")))
        };
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => question.limit = number("limit", &value)?.min(LIMIT),
                "offset" => question.offset = number("offset", &value)?,
                "fuzzymatching" => question.is_fuzzy = value == "true",
                // What is known is always told.
                "includefield" => {}
                // PS3.18 §8.3.3.1: as the header. A plus that was not encoded came as a space.
                "accept" => {
                    if !super::is_json_taken(&value.replace(' ', "+")) {
                        return Err(Problem::new(
                            StatusCode::NOT_ACCEPTABLE,
                            "only application/dicom+json is written here",
                        ));
                    }
                }
                // What is no day would find everything.
                _ if !archive::can_be_asked(&name, &value) => {
                    return Err(Problem::bad_request(format!(
                        "{name}: a day (20260501), a time (0830) or a range of them (20260501-20260531) is wanted"
                    )));
                }
                _ if archive::add_key(&mut keys, &name, &value) => {}
                _ => {
                    return Err(Problem::bad_request(format!(
                        "{name:?} is no attribute that is searched by; write its keyword or its number (00100020), \
                         those in a sequence after it and a dot"
                    )));
                }
            }
        }
        for (name, keyword) in [("study", STUDY), ("series", SERIES)] {
            if let Some(uid) = path.get(name) {
                keys.text(keyword, uid);
            }
        }
        question.keys = keys.written(Coding::EXPLICIT, Set::Utf8);
        Ok(question)
    }

    /// What is to be looked for.
    fn narrowing(&self) -> Result<ArchiveQuestion, Problem> {
        let narrowing = archive::narrowing(&self.keys()?, self.level);
        // What tells how much there is always comes along, and of a series what it was made for.
        Ok(ArchiveQuestion {
            counts: self.level == Level::Studies,
            with_objects: self.level != Level::Studies,
            with_orders: narrowing.with_orders || self.level != Level::Studies,
            ..narrowing
        })
    }

    fn keys(&self) -> Result<DataSet<'_>, Problem> {
        let keys = DataSet::read(&self.keys, Coding::EXPLICIT, Fallback::default());
        keys.map_err(|error| Problem::bad_request(error.to_string()))
    }

    /// Whether a study can be meant.
    fn takes(&self, kept: &KeptStudy, zone: &TimeZone) -> bool {
        self.keys().is_ok_and(|keys| archive::takes(&keys, kept, zone))
    }
}

pub async fn studies(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(path): Path<HashMap<String, String>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    run(&state, who, &headers, Level::Studies, &path, query).await
}

pub async fn series(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(path): Path<HashMap<String, String>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    run(&state, who, &headers, Level::Series, &path, query).await
}

pub async fn instances(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(path): Path<HashMap<String, String>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    run(&state, who, &headers, Level::Objects, &path, query).await
}

async fn run(
    state: &State,
    who: Who,
    headers: &HeaderMap,
    level: Level,
    path: &HashMap<String, String>,
    query: Option<String>,
) -> Result<Response, Problem> {
    let asker = who.may(Scope::ClinicRead)?;
    super::takes_json(headers)?;
    let question = Question::read(level, path, query.as_deref())?;
    let base = super::base(state, headers);
    let mut seen = Seen::default();
    let entries = found(state, &question, &mut seen).await?;
    seen.words = Some(words(&question, path));
    journal::note(state.store(), asker, "search", seen).await?;
    let keys = question.keys()?;
    let in_vain = entries
        .first()
        .is_some_and(|entry| archive::is_asked_in_vain(&keys, entry));
    let list = entries.into_iter().map(|mut entry| {
        entry.text("RetrieveURL", &address(&base, level, &entry));
        Value::Object(json::of_out(&entry))
    });
    let mut response = super::json(StatusCode::OK, &Value::Array(list.collect())).into_response();
    if question.is_fuzzy {
        // PS3.18 §8.3.4.2: who does not do it says so.
        let warning = HeaderValue::from_static(
            "299 punte \"The fuzzymatching parameter is not supported. Only literal matching has been performed.\"",
        );
        response.headers_mut().insert(header::WARNING, warning);
    }
    if in_vain {
        let warning = HeaderValue::from_static(
            "299 punte \"Some of the attributes are not known here: they narrowed nothing.\"",
        );
        response.headers_mut().append(header::WARNING, warning);
    }
    Ok(response)
}

/// The answers from the first wanted to the last.
async fn found(state: &State, question: &Question, seen: &mut Seen) -> Result<Vec<Out>, Problem> {
    let narrowing = question.narrowing()?;
    let (store, zone) = (state.store(), state.zone());
    let takes = |kept: &KeptStudy| question.takes(kept, zone);
    let mut search = Search::new(store, &narrowing, zone).await.map_err(problem)?;
    let (mut entries, mut passed) = (vec![], 0);
    while entries.len() < question.limit {
        let Some(kept) = search.next(&takes).await.map_err(problem)? else {
            break;
        };
        let mut of_study = archive::entries(&question.keys()?, question.level, &kept, zone);
        let passes = of_study.len().min(question.offset - passed);
        passed += passes;
        of_study.drain(..passes);
        of_study.truncate(question.limit - entries.len());
        if !of_study.is_empty() {
            seen.record(&kept.study);
        }
        entries.append(&mut of_study);
    }
    Ok(entries)
}

fn problem(error: SearchError) -> Problem {
    match error {
        // PS3.18 §10.6.3.2: the search was too broad.
        SearchError::TooMany => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        SearchError::Store(error) => error.into(),
    }
}

/// What was asked, for the journal.
fn words(question: &Question, path: &HashMap<String, String>) -> String {
    let mut words = String::new();
    for (name, of) in [("studies", "study"), ("series", "series")] {
        if let Some(uid) = path.get(of) {
            words.push_str(&format!("{name}/{uid}/"));
        }
    }
    let what = match question.level {
        Level::Patients | Level::Studies => "studies",
        Level::Series => "series",
        Level::Objects => "instances",
    };
    format!("{words}{what}?{}", question.words)
}

/// Where something is fetched.
fn address(base: &str, level: Level, entry: &Out) -> String {
    let uid = |keyword| match names::by_keyword(keyword).and_then(|tag| entry.get(tag)) {
        Some(Said::Texts(texts)) => texts.first().map_or("", String::as_str),
        Some(Said::Number(_) | Said::Bytes(_) | Said::Items(_)) | None => "",
    };
    let mut address = format!("{base}/studies/{}", uid(STUDY));
    if matches!(level, Level::Series | Level::Objects) {
        address.push_str(&format!("/series/{}", uid(SERIES)));
    }
    if level == Level::Objects {
        address.push_str(&format!("/instances/{}", uid(OBJECT)));
    }
    address
}
