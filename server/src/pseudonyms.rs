//! Whom a pseudonym stands for. The clinic keeps no list: it reckons the pseudonyms of those whom it knows.

use clinic::value::Ref;
use clinic::{Aggregate, Kind, Record};
use engine::store::{ClinicQuery, Store, StoreError};
use mappings::dicom::deid::Profile;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::auth::Asker;
use crate::journal::{self, Seen};

/// So many are looked at at once.
const PAGE: u32 = 500;

/// A question.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// As the step `deidentify` names it.
    pub project: String,
    /// A pseudonym, or the UID of a study.
    pub pseudonym: String,
    /// Why; written to the journal.
    pub reason: String,
}

/// What is told, once it stands in the journal. The inner error is about the question.
pub async fn told(
    store: &dyn Store,
    asker: Asker,
    asked: &Asked,
) -> Result<Result<Value, String>, StoreError> {
    for (name, word) in [
        ("project", &asked.project),
        ("pseudonym", &asked.pseudonym),
        ("reason", &asked.reason),
    ] {
        if word.trim().is_empty() {
            return Ok(Err(format!("{name} has to be said")));
        }
    }
    let secret = store.vault().project_secret(asked.project.trim());
    let profile = Profile::new(vec![], false, &secret);
    let found = whom(store, &profile, asked.pseudonym.trim()).await?;
    let mut seen = Seen {
        words: Some(format!("{} in {}", asked.pseudonym, asked.project)),
        ..Seen::default()
    };
    found.iter().for_each(|record| seen.record(record));
    let asker = Asker {
        purpose: Some(asked.reason.trim().to_owned()),
        ..asker
    };
    journal::note(store, asker, "reidentify", seen).await?;
    let patients: Vec<Value> = found.iter().filter_map(patient).collect();
    Ok(Ok(
        json!({ "project": asked.project, "pseudonym": asked.pseudonym, "patients": patients }),
    ))
}

fn patient(record: &Record) -> Option<Value> {
    let Aggregate::Patient(patient) = &record.aggregate else {
        return None;
    };
    Some(json!({
        "id": record.meta.id,
        "names": patient.names,
        "birth_date": patient.birth_date,
        "identifiers": patient.identifiers,
    }))
}

/// The patients that it stands for: one, or several records of one person.
async fn whom(store: &dyn Store, profile: &Profile, wanted: &str) -> Result<Vec<Record>, StoreError> {
    let is_of_study = |uid: &str| profile.uid(uid) == wanted || profile.pseudonym(uid) == wanted;
    let mut found = all(store, Kind::Patient, |record| match &record.aggregate {
        Aggregate::Patient(patient) => {
            let mut numbers = patient.identifiers.iter();
            // Who has no number of the clinic is known to devices by our own id.
            numbers.any(|number| profile.pseudonym(&number.value) == wanted)
                || profile.pseudonym(&record.meta.id.simple().to_string()) == wanted
        }
        _ => false,
    })
    .await?;
    if !found.is_empty() {
        return Ok(found);
    }
    // A study's UID; and an object without a patient's number is its study's.
    let studies = all(store, Kind::ImagingStudy, |record| match &record.aggregate {
        Aggregate::ImagingStudy(study) => study.uid().is_some_and(is_of_study),
        _ => false,
    })
    .await?;
    for study in studies {
        let Aggregate::ImagingStudy(study) = &study.aggregate else {
            continue;
        };
        let Some(id) = study.patient.as_ref().and_then(Ref::id) else {
            continue;
        };
        found.extend(store.read(Kind::Patient, id).await?);
    }
    Ok(found)
}

/// All of a kind for which this holds.
async fn all(
    store: &dyn Store,
    kind: Kind,
    holds: impl Fn(&Record) -> bool,
) -> Result<Vec<Record>, StoreError> {
    let mut query = ClinicQuery {
        kinds: vec![kind],
        limit: PAGE,
        ..ClinicQuery::default()
    };
    let mut found: Vec<Record> = vec![];
    loop {
        let page = store.search(&query).await?;
        let is_last = page.len() < PAGE as usize;
        query.after = page.last().map(|last| (last.meta.updated_at, last.meta.id));
        let is_new = |found: &[Record], id: Uuid| found.iter().all(|known| known.meta.id != id);
        for record in page {
            if holds(&record) && is_new(&found, record.meta.id) {
                found.push(record);
            }
        }
        if is_last {
            return Ok(found);
        }
    }
}
