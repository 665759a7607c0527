//! QIDO-RS (PS3.18 §10.6): studies, series and objects that match.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::extract::{Path, RawQuery, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clinic::apply::FindKey;
use clinic::people::{Patient, Practitioner};
use clinic::value::Ref;
use clinic::{Aggregate, Kind, Record};
use engine::store::ClinicQuery;
use mappings::dicom::charset::{Fallback, Set};
use mappings::dicom::dataset::DataSet;
use mappings::dicom::scan::Coding;
use mappings::dicom::write::{Out, Said};
use mappings::dicom::{found as entries, json, matching, names};
use serde_json::Value;
use uuid::Uuid;

use super::super::auth::{Scope, Who};
use super::super::{Problem, State};
use super::found::{self, Study};
use crate::journal::{self, Seen};

/// Answers unless the asker wants fewer, and the most.
const LIMIT: usize = 1_000;
/// So many studies are read at once.
const PAGE: u32 = 200;
/// The most studies that one search looks at.
const MAX_OPENED: usize = 20_000;
/// The most keys of a question.
const MAX_KEYS: usize = 50;

/// What is asked for.
struct Question {
    /// The keys, as a data set.
    keys: Vec<u8>,
    texts: BTreeMap<&'static str, Vec<String>>,
    limit: usize,
    offset: usize,
    is_fuzzy: bool,
    words: String,
}

/// The keys by which the store narrows.
const NARROWING: [&str; 4] = [
    "StudyInstanceUID",
    "AccessionNumber",
    "PatientID",
    "ModalitiesInStudy",
];

impl Question {
    fn read(query: Option<&str>) -> Result<Self, Problem> {
        let words = query.unwrap_or_default().to_owned();
        let mut question = Question {
            keys: vec![],
            texts: BTreeMap::new(),
            limit: LIMIT,
            offset: 0,
            is_fuzzy: false,
            words,
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
                _ => {
                    let Some(tag) = names::by_number(&name).or_else(|| names::by_keyword(&name)) else {
                        let what = format!(
                            "{name:?} is no attribute that is searched by; write its keyword or its number (00100020)"
                        );
                        return Err(Problem::bad_request(what));
                    };
                    let vr = names::vr(tag);
                    let list = |c| c == '\\' || (vr.to_string() == "UI" && c == ',');
                    let values: Vec<String> = value.split(list).map(str::to_owned).collect();
                    if let Some(keyword) = NARROWING.into_iter().find(|k| names::by_keyword(k) == Some(tag)) {
                        question.texts.insert(keyword, values.clone());
                    }
                    keys.set(tag, vr, Said::Texts(values));
                }
            }
        }
        question.keys = keys.written(Coding::EXPLICIT, Set::Utf8);
        Ok(question)
    }

    /// Whether an entry is meant.
    fn matches(&self, entry: &Out) -> bool {
        let keys = DataSet::read(&self.keys, Coding::EXPLICIT, Fallback::default());
        keys.is_ok_and(|keys| matching::matches(&keys, entry))
    }

    /// The one text of a key without wildcards; none: the store can't narrow by it.
    fn exact(&self, keyword: &str) -> Option<&str> {
        match self.texts.get(keyword).map(Vec::as_slice) {
            Some([text]) if !text.is_empty() && !text.contains(['*', '?']) => Some(text),
            Some(_) | None => None,
        }
    }

    /// The search of the studies; none: there can be none.
    async fn narrowed(&self, state: &State, study: Option<&str>) -> Result<Option<ClinicQuery>, Problem> {
        let mut query = ClinicQuery {
            kinds: vec![Kind::ImagingStudy],
            limit: PAGE,
            ..ClinicQuery::default()
        };
        let uids: Vec<&str> = match study {
            Some(study) => vec![study],
            None => self
                .texts
                .get("StudyInstanceUID")
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect(),
        };
        let is_plain = |uid: &&str| !uid.is_empty() && !uid.contains(['*', '?']);
        if !uids.is_empty() && uids.iter().all(is_plain) {
            let key =
                |uid: &str| FindKey::system_value(Kind::ImagingStudy, clinic::imaging::UID_SYSTEM, uid).text;
            query.keys.push(uids.into_iter().map(key).collect());
        }
        if let Some(accession) = self.exact("AccessionNumber") {
            query.keys.push(vec![format!("accession|{accession}")]);
        }
        if let Some(modality) = self.exact("ModalitiesInStudy") {
            query.keys.push(vec![format!("modality|{modality}")]);
        }
        if let Some(number) = self.exact("PatientID") {
            let patients = ClinicQuery {
                kinds: vec![Kind::Patient],
                keys: vec![vec![FindKey::value(Kind::Patient, number).text]],
                limit: PAGE,
                ..ClinicQuery::default()
            };
            let patients = state.store().search(&patients).await?;
            let ids: Vec<Uuid> = patients.iter().map(|record| record.meta.id).collect();
            if ids.is_empty() {
                return Ok(None);
            }
            query.patients = Some(ids);
        }
        Ok(Some(query))
    }
}

/// One answer, and whom it tells of.
struct Answers {
    entries: Vec<Out>,
    seen: Seen,
    /// Those that match and come before the first wanted.
    passed: usize,
}

impl Answers {
    /// Takes one that matches; false: there are enough.
    fn take(&mut self, question: &Question, entry: Out) -> bool {
        if self.passed < question.offset {
            self.passed += 1;
            return true;
        }
        if self.entries.len() < question.limit {
            self.entries.push(entry);
        }
        self.entries.len() < question.limit
    }
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Studies,
    Series,
    Instances,
}

/// The people that entries name, each read once.
#[derive(Default)]
struct People {
    patients: BTreeMap<Uuid, Option<Record>>,
    practitioners: BTreeMap<Uuid, Option<Record>>,
}

impl People {
    async fn of(
        &mut self,
        state: &State,
        study: &Study,
    ) -> Result<(Option<Box<Patient>>, Option<Box<Practitioner>>), Problem> {
        let mut patient = None;
        if let Some(id) = study.study.patient.as_ref().and_then(Ref::id) {
            if let Entry::Vacant(unknown) = self.patients.entry(id) {
                unknown.insert(state.store().read(Kind::Patient, id).await?);
            }
            if let Some(Some(Record {
                aggregate: Aggregate::Patient(found),
                ..
            })) = self.patients.get(&id)
            {
                patient = Some(found.clone());
            }
        }
        let mut referrer = None;
        if let Some(id) = study.study.referrer.as_ref().and_then(Ref::id) {
            if let Entry::Vacant(unknown) = self.practitioners.entry(id) {
                unknown.insert(state.store().read(Kind::Practitioner, id).await?);
            }
            if let Some(Some(Record {
                aggregate: Aggregate::Practitioner(found),
                ..
            })) = self.practitioners.get(&id)
            {
                referrer = Some(found.clone());
            }
        }
        Ok((patient, referrer))
    }
}

pub async fn studies(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    run(&state, who, &headers, query, Level::Studies, None, None).await
}

pub async fn all_series(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    run(&state, who, &headers, query, Level::Series, None, None).await
}

pub async fn all_instances(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    run(&state, who, &headers, query, Level::Instances, None, None).await
}

pub async fn series_of(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(study): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    run(&state, who, &headers, query, Level::Series, Some(study), None).await
}

pub async fn instances_of_study(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(study): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    run(&state, who, &headers, query, Level::Instances, Some(study), None).await
}

pub async fn instances_of_series(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    run(
        &state,
        who,
        &headers,
        query,
        Level::Instances,
        Some(study),
        Some(series),
    )
    .await
}

async fn run(
    state: &State,
    who: Who,
    headers: &HeaderMap,
    query: Option<String>,
    level: Level,
    study: Option<String>,
    series: Option<String>,
) -> Result<Response, Problem> {
    let asker = who.may(Scope::ClinicRead)?;
    super::takes_json(headers)?;
    let question = Question::read(query.as_deref())?;
    let base = super::base(state, headers);
    let mut answers = Answers {
        entries: vec![],
        seen: Seen::default(),
        passed: 0,
    };
    let mut people = People::default();
    if let Some(mut query) = question.narrowed(state, study.as_deref()).await? {
        let mut opened = 0;
        'all: loop {
            let page = state.store().search(&query).await?;
            opened += page.len();
            let is_last = page.len() < PAGE as usize || MAX_OPENED <= opened;
            query.after = page.last().map(|last| (last.meta.updated_at, last.meta.id));
            for one in page.into_iter().filter_map(Study::of) {
                let scope = (level, series.as_deref());
                if !of_study(state, &question, &base, &mut people, &mut answers, &one, scope).await? {
                    break 'all;
                }
            }
            if is_last {
                break;
            }
        }
    }
    let mut seen = answers.seen;
    let path = match level {
        Level::Studies => "studies",
        Level::Series => "series",
        Level::Instances => "instances",
    };
    seen.words = Some(format!("{path}?{}", question.words));
    journal::note(state.store(), asker, "search", seen).await?;
    let list = answers
        .entries
        .iter()
        .map(|entry| Value::Object(json::of_out(entry)));
    let mut response = super::json(StatusCode::OK, &Value::Array(list.collect())).into_response();
    if question.is_fuzzy {
        // PS3.18 §8.3.4.2: who does not do it says so.
        let warning = HeaderValue::from_static(
            "299 punte \"The fuzzymatching parameter is not supported. Only literal matching has been performed.\"",
        );
        response.headers_mut().insert(header::WARNING, warning);
    }
    Ok(response)
}

/// What of one study matches. False: there is enough.
async fn of_study(
    state: &State,
    question: &Question,
    base: &str,
    people: &mut People,
    answers: &mut Answers,
    study: &Study,
    (level, series): (Level, Option<&str>),
) -> Result<bool, Problem> {
    let Some(uid) = study.study.uid() else {
        return Ok(true);
    };
    let address = format!("{base}/studies/{uid}");
    let (patient, referrer) = people.of(state, study).await?;
    let mut entry = entries::study(
        &study.study,
        patient.as_deref(),
        referrer.as_deref(),
        state.zone(),
    );
    if !question.matches(&entry) {
        return Ok(true);
    }
    if level == Level::Studies {
        let count = found::objects(state, study).await?.len();
        entry.text("NumberOfStudyRelatedInstances", &count.to_string());
        entry.text("RetrieveURL", &address);
        answers.seen.record(&study.record);
        return Ok(answers.take(question, entry));
    }
    let objects = found::objects(state, study).await?;
    for one in &study.study.series {
        if series.is_some_and(|series| series != one.uid) {
            continue;
        }
        let of_series: Vec<_> = objects
            .iter()
            .filter(|object| object.object.series_uid.as_deref() == Some(&one.uid))
            .collect();
        let address = format!("{address}/series/{}", one.uid);
        let mut entry = entries::series(&study.study, one, of_series.len(), state.zone());
        if !question.matches(&entry) {
            continue;
        }
        if level == Level::Series {
            entry.text("RetrieveURL", &address);
            answers.seen.record(&study.record);
            if !answers.take(question, entry) {
                return Ok(false);
            }
            continue;
        }
        for object in of_series {
            let mut entry = entries::object(&study.study, &object.object);
            if !question.matches(&entry) {
                continue;
            }
            let uid = object.object.uid().unwrap_or_default();
            entry.text("RetrieveURL", &format!("{address}/instances/{uid}"));
            answers.seen.record(&study.record);
            if !answers.take(question, entry) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
