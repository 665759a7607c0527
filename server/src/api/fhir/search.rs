//! Running a search: the store narrows, what it can't decide is decided on the opened rows.

use axum::http::StatusCode;
use clinic::search::{DatePrefix, DateQuery, columns, patient_ids};
use clinic::{Aggregate, Kind, Record};
use engine::store::{ClinicQuery, TimeRange};
use jiff::Timestamp;
use mappings_fhir::json::Json;
use mappings_fhir::server::{Found, searchset};
use uuid::Uuid;

use super::beside::{self, Told};
use super::query::{Condition, Question, encoded, place_text};
use super::{Failure, State};
use crate::journal::Seen;

/// The most rows that one page opens: a search that finds little among many goes on at the next link.
const MAX_OPENED: usize = 5_000;
/// The most rows that are opened to count those that match, where the store can't tell by itself.
const MAX_COUNTED: usize = 20_000;
/// Rows of one look into the store while they are counted.
const AT_ONCE: u32 = 1_000;

/// One page, and what is seen in it.
pub async fn run(state: &State, question: &Question, base: &str) -> Result<(Json, Seen), Failure> {
    let mut seen = Seen::default();
    for condition in &question.conditions {
        if let Condition::Patients(ids) = condition {
            seen.patients.extend(ids);
        }
    }
    let narrowed = narrowed(state, question).await?;
    if question.count == 0 {
        let total = match narrowed {
            Some(query) => counted(state, question, query).await?,
            None => 0,
        };
        return Ok((page(question, base, vec![], None, Some(total)), seen));
    }
    let Some(mut query) = narrowed else {
        return Ok((page(question, base, vec![], None, None), seen));
    };
    let wanted = question.count as usize;
    let (mut found, mut opened) = (vec![], 0);
    let mut next = None;
    query.after = question.after;
    query.limit = question.count.clamp(1, 200) + 1;
    loop {
        let rows = state.store().search(&query).await?;
        let last_page = rows.len() < query.limit as usize;
        opened += rows.len();
        for record in rows {
            let place = (record.meta.updated_at, record.meta.id);
            if !question
                .conditions
                .iter()
                .all(|condition| holds(condition, &record, state))
            {
                query.after = Some(place);
                continue;
            }
            if wanted <= found.len() {
                next = query.after;
                break;
            }
            query.after = Some(place);
            seen.record(&record);
            let beside = beside::of(state, &record, Told::Listed).await?;
            found.push(Found {
                resource: mappings_fhir::resource_with(&record, &beside),
                mode: "match",
            });
        }
        if last_page || next.is_some() {
            break;
        }
        if MAX_OPENED <= opened {
            next = query.after;
            break;
        }
    }
    Ok((page(question, base, found, next, None), seen))
}

/// How many match: exactly, or it is refused.
async fn counted(state: &State, question: &Question, mut query: ClinicQuery) -> Result<u32, Failure> {
    if question.conditions.iter().all(is_decided_by_the_store) {
        let count = state.store().count(&query).await?;
        return Ok(u32::try_from(count).unwrap_or(u32::MAX));
    }
    query.limit = AT_ONCE;
    let (mut total, mut opened) = (0, 0);
    loop {
        let rows = state.store().search(&query).await?;
        opened += rows.len();
        query.after = rows.last().map(|record| (record.meta.updated_at, record.meta.id));
        let is_last = rows.len() < AT_ONCE as usize;
        let holds = |record: &&Record| {
            question
                .conditions
                .iter()
                .all(|asked| holds(asked, record, state))
        };
        total += rows.iter().filter(holds).count();
        if is_last {
            return Ok(u32::try_from(total).unwrap_or(u32::MAX));
        }
        if MAX_COUNTED <= opened {
            let what = "these are too many to be counted; narrow the search, or follow the pages";
            return Err(Failure::new(StatusCode::BAD_REQUEST, "too-costly", what));
        }
    }
}

/// Whether the rows need not be opened for a condition.
fn is_decided_by_the_store(condition: &Condition) -> bool {
    match condition {
        Condition::Ids(_) | Condition::Keys(_) | Condition::Statuses(_) | Condition::Patients(_) => true,
        Condition::Names(_, names) => names.iter().all(|name| !name.finish),
        Condition::Bare(_) | Condition::Dates(_) | Condition::Updated(_) | Condition::Never => false,
    }
}

/// `total` only where that was asked.
fn page(
    question: &Question,
    base: &str,
    found: Vec<Found>,
    next: Option<(Timestamp, Uuid)>,
    total: Option<u32>,
) -> Json {
    let mut words: Vec<String> = question
        .used
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    let link = |words: &[String]| {
        let query = if words.is_empty() {
            String::new()
        } else {
            format!("?{}", words.join("&"))
        };
        format!("{base}/{}{query}", question.fhir_type)
    };
    let mut own = words.clone();
    own.extend(
        question
            .after
            .map(|after| format!("_after={}", place_text(after))),
    );
    let self_link = link(&own);
    let next = next.map(|after| {
        words.push(format!("_after={}", place_text(after)));
        link(&words)
    });
    searchset(base, found, &self_link, next.as_deref(), total)
}

/// What the store can narrow by itself. None: nothing can match.
async fn narrowed(state: &State, question: &Question) -> Result<Option<ClinicQuery>, Failure> {
    let mut query = ClinicQuery {
        kinds: question.kinds.to_vec(),
        ..ClinicQuery::default()
    };
    for condition in &question.conditions {
        match condition {
            Condition::Ids(ids) => query.ids = Some(both(query.ids.take(), ids.clone())),
            Condition::Keys(keys) => query.keys.push(keys.clone()),
            Condition::Names(name, names) => {
                // One that is too short for a key is looked for in all rows.
                let keys: Option<Vec<String>> = names
                    .iter()
                    .map(|asked| Some(format!("{name}|{}", asked.key.as_deref()?)))
                    .collect();
                query.keys.extend(keys);
            }
            // One range is narrowed by the store; of several any will do, which the rows decide.
            Condition::Dates(dates) => {
                if let [date] = dates.as_slice() {
                    query.date_overlaps.extend(overlap(date));
                }
            }
            Condition::Updated(dates) => {
                if let [date] = dates.as_slice() {
                    query.updated.extend(overlap(date));
                }
            }
            Condition::Statuses(statuses) => {
                query.statuses = Some(both(query.statuses.take(), statuses.clone()));
            }
            Condition::Patients(ids) => {
                let mut all = vec![];
                for id in ids {
                    all.extend(chart(state, *id).await?);
                }
                query.patients = Some(both(query.patients.take(), all));
            }
            Condition::Bare(_) => {}
            Condition::Never => return Ok(None),
        }
    }
    let empty = query.ids.as_ref().is_some_and(Vec::is_empty)
        || query.patients.as_ref().is_some_and(Vec::is_empty)
        || query.statuses.as_ref().is_some_and(Vec::is_empty)
        || query.keys.iter().any(Vec::is_empty);
    Ok((!empty).then_some(query))
}

/// All ids under which the chart of a patient is kept: that of the record, and of those merged into it, and into them.
async fn chart(state: &State, id: Uuid) -> Result<Vec<Uuid>, Failure> {
    let (mut all, mut to_ask) = (vec![], vec![id]);
    while let Some(id) = to_ask.pop() {
        if all.contains(&id) || 100 < all.len() {
            continue;
        }
        all.push(id);
        if let Some(Record {
            aggregate: Aggregate::Patient(patient),
            ..
        }) = state.store().read(Kind::Patient, id).await?
        {
            to_ask.extend(patient_ids(id, &patient));
        }
    }
    Ok(all)
}

/// Both conditions must hold.
fn both<T: PartialEq>(before: Option<Vec<T>>, mut now: Vec<T>) -> Vec<T> {
    if let Some(before) = before {
        now.retain(|value| before.contains(value));
    }
    now
}

/// A range that every match overlaps.
fn overlap(date: &DateQuery) -> Option<TimeRange> {
    let range = |from, to| Some(TimeRange { from, to });
    match date.prefix {
        DatePrefix::Eq => range(Some(date.from), Some(date.to)),
        DatePrefix::Ge => range(Some(date.from), None),
        DatePrefix::Gt | DatePrefix::Sa => range(Some(date.to), None),
        DatePrefix::Le => range(None, Some(date.to)),
        DatePrefix::Lt | DatePrefix::Eb => range(None, Some(date.from)),
        DatePrefix::Ne => None,
    }
}

/// Whether a row that the store found is one that was asked for.
fn holds(condition: &Condition, record: &Record, state: &State) -> bool {
    match condition {
        Condition::Names(name, asked) => {
            let names = match &record.aggregate {
                Aggregate::Patient(patient) => &patient.names,
                _ => return false,
            };
            asked.iter().any(|asked| asked.matches(names, name))
        }
        Condition::Dates(dates) => {
            let columns = columns(&record.aggregate, state.zone());
            dates
                .iter()
                .any(|date| date.matches(columns.date_from, columns.date_to))
        }
        Condition::Updated(dates) => {
            let at = record.meta.updated_at;
            let end = at.checked_add(jiff::SignedDuration::from_micros(1)).ok();
            dates.iter().any(|date| date.matches(Some(at), end))
        }
        Condition::Bare(asked) => asked.iter().any(|asked| {
            let of_record = record.aggregate.identifiers();
            of_record.iter().any(|id| match asked.split_once('|') {
                Some(("", value)) => id.system.is_none() && id.value == value,
                // What has a system is found by its key alone.
                Some((_, value)) => id.value == value || id.value == value.trim_start_matches("urn:oid:"),
                None => id.value == *asked || id.value == asked.trim_start_matches("urn:oid:"),
            })
        }),
        Condition::Ids(_)
        | Condition::Keys(_)
        | Condition::Statuses(_)
        | Condition::Patients(_)
        | Condition::Never => true,
    }
}
