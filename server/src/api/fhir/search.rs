//! Running a search: the store narrows, what it can't decide is decided on the opened rows.

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

/// One page, and what is seen in it.
pub async fn run(state: &State, question: &Question, base: &str) -> Result<(Json, Seen), Failure> {
    let mut seen = Seen::default();
    for condition in &question.conditions {
        if let Condition::Patients(ids) = condition {
            seen.patients.extend(ids);
        }
    }
    let Some(mut query) = narrowed(state, question).await? else {
        return Ok((page(question, base, vec![], None), seen));
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
    // `_count=0` asks only whether there is something; there is nowhere to go on to.
    let next = next.filter(|_| 0 < wanted);
    Ok((page(question, base, found, next), seen))
}

fn page(question: &Question, base: &str, found: Vec<Found>, next: Option<(Timestamp, Uuid)>) -> Json {
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
    searchset(base, found, &self_link, next.as_deref(), None)
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
                query.keys.push(
                    names
                        .iter()
                        .map(|asked| format!("{name}|{}", asked.text))
                        .collect(),
                );
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
        Condition::Ids(_)
        | Condition::Keys(_)
        | Condition::Statuses(_)
        | Condition::Patients(_)
        | Condition::Never => true,
    }
}
