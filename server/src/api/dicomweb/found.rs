//! Studies and objects in the store, by their UIDs.

use clinic::apply::FindKey;
use clinic::imaging::{ImagingInstance, ImagingStudy, UID_SYSTEM};
use clinic::{Aggregate, Kind, Record};
use engine::store::ClinicQuery;

use super::super::{Problem, State};

/// So many are read at once.
const PAGE: u32 = 500;
/// The most objects of one study that are looked at.
const MOST: usize = 50_000;

/// A study as it stands.
pub struct Study {
    /// Its record.
    pub record: Record,
    /// What it is.
    pub study: Box<ImagingStudy>,
}

/// An object as it stands.
#[derive(Clone)]
pub struct Object {
    /// Its record.
    pub record: Record,
    /// What it is.
    pub object: Box<ImagingInstance>,
}

impl Study {
    /// A record as a study; none: it is none.
    pub fn of(record: Record) -> Option<Self> {
        let Aggregate::ImagingStudy(study) = &record.aggregate else {
            return None;
        };
        Some(Study {
            study: study.clone(),
            record,
        })
    }
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
        .and_then(Study::of)
        .ok_or_else(|| Problem::not_found("there is no such study"))
}

/// The objects of a study, in the order of series and number.
pub async fn objects(state: &State, study: &Study) -> Result<Vec<Object>, Problem> {
    let mut query = ClinicQuery {
        kinds: vec![Kind::ImagingInstance],
        keys: vec![vec![
            FindKey::referring(Kind::ImagingInstance, study.record.meta.id).text,
        ]],
        limit: PAGE,
        ..ClinicQuery::default()
    };
    let mut objects = vec![];
    loop {
        let page = state.store().search(&query).await?;
        let is_last = page.len() < PAGE as usize;
        query.after = page.last().map(|last| (last.meta.updated_at, last.meta.id));
        objects.extend(page.into_iter().filter_map(|record| {
            let Aggregate::ImagingInstance(object) = &record.aggregate else {
                return None;
            };
            Some(Object {
                object: object.clone(),
                record,
            })
        }));
        if is_last || MOST <= objects.len() {
            break;
        }
    }
    objects.sort_by(|a, b| {
        let place = |of: &Object| (of.object.series_uid.clone(), of.object.number, of.record.meta.id);
        place(a).cmp(&place(b))
    });
    Ok(objects)
}
