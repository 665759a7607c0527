//! Studies and objects in the store, by their UIDs.

use std::sync::Arc;

use clinic::apply::FindKey;
use clinic::imaging::{ImagingInstance, UID_SYSTEM};
use clinic::{Aggregate, Kind, Record};
use engine::archive;
use engine::store::ClinicQuery;

use super::super::{Problem, State};

/// A study as it stands.
pub struct Study {
    /// Its record.
    pub record: Record,
}

/// An object as it stands.
#[derive(Clone)]
pub struct Object {
    /// Its record.
    pub record: Record,
    /// What it is.
    pub object: Box<ImagingInstance>,
    /// Whose it is.
    pub patient: Option<Arc<Record>>,
}

/// The study with this UID, or 404.
pub async fn study(state: &State, uid: &str) -> Result<Study, Problem> {
    let query = ClinicQuery {
        kinds: vec![Kind::ImagingStudy],
        keys: vec![vec![
            FindKey::system_value(Kind::ImagingStudy, UID_SYSTEM, uid).text,
        ]],
        limit: 1,
        ..ClinicQuery::default()
    };
    let found = state.store().search(&query).await?.into_iter().next();
    found
        .map(|record| Study { record })
        .ok_or_else(|| Problem::not_found("there is no such study"))
}

/// The objects of a study, in the order of series and number.
pub async fn objects(state: &State, study: &Study) -> Result<Vec<Object>, Problem> {
    let objects = archive::objects(state.store(), study.record.meta.id).await?;
    let patient = archive::patient_of(state.store(), &study.record).await?;
    let patient = patient.map(Arc::new);
    let object = |record: Record| {
        let Aggregate::ImagingInstance(object) = &record.aggregate else {
            return None;
        };
        Some(Object {
            object: object.clone(),
            patient: patient.clone(),
            record,
        })
    };
    Ok(objects.into_iter().filter_map(object).collect())
}
