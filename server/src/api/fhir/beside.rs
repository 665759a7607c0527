//! What a resource tells beside its own aggregate: the objects of a study, the studies of a report's orders.

use clinic::apply::FindKey;
use clinic::diagnostics::Result as Report;
use clinic::imaging::UID_SYSTEM;
use clinic::value::Ref;
use clinic::{Aggregate, Kind, Record};
use engine::store::{ClinicQuery, StoreError};
use mappings_fhir::Beside;
use uuid::Uuid;

use super::State;

/// The most objects of a study that are told; how many there are is told all the same.
const MOST: u32 = 1_000;

/// The id of the Endpoint of our DICOMweb.
pub const DICOMWEB: &str = "dicomweb";

/// Which resource is told, and where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// One, with all that belongs to it.
    Alone,
    /// One of many: objects are counted only.
    Listed,
}

/// What stands beside a record.
pub async fn of(state: &State, record: &Record, told: Told) -> Result<Beside, StoreError> {
    let mut beside = Beside::default();
    if let Aggregate::ImagingStudy(_) = &record.aggregate {
        let key = FindKey::referring(Kind::ImagingInstance, record.meta.id);
        beside.count = u32::try_from(state.store().snapshot()?.find(&key).map_err(damaged)?.len()).ok();
        beside.endpoint = beside.count.is_some_and(|count| 0 < count).then_some(DICOMWEB);
        if told == Told::Alone {
            let query = ClinicQuery {
                kinds: vec![Kind::ImagingInstance],
                keys: vec![vec![key.text]],
                limit: MOST,
                ..ClinicQuery::default()
            };
            beside.objects = state.store().search(&query).await?;
        }
    }
    if let Aggregate::Result(report) = &record.aggregate {
        beside.studies = studies(state, report).await?;
    }
    Ok(beside)
}

/// The studies of the orders of a report: by the study UID that an order has, else by its accession number.
async fn studies(state: &State, report: &Report) -> Result<Vec<Uuid>, StoreError> {
    let mut out = vec![];
    for id in report.orders.iter().filter_map(Ref::id) {
        let order = state.store().read(Kind::Order, id).await?;
        let Some(Aggregate::Order(order)) = order.map(|record| record.aggregate) else {
            continue;
        };
        let Some(imaging) = &order.imaging else { continue };
        let uid = imaging.study_uid.as_deref();
        let by_uid = uid.map(|uid| FindKey::system_value(Kind::ImagingStudy, UID_SYSTEM, uid).text);
        let by_number = imaging
            .accession
            .as_deref()
            .map(|number| format!("accession|{number}"));
        let query = ClinicQuery {
            kinds: vec![Kind::ImagingStudy],
            keys: vec![by_uid.into_iter().chain(by_number).collect()],
            limit: 20,
            ..ClinicQuery::default()
        };
        for record in state.store().search(&query).await? {
            let is_of = match &record.aggregate {
                Aggregate::ImagingStudy(study) => study.orders.iter().any(|order| order.id() == Some(id)),
                _ => false,
            };
            if is_of && !out.contains(&record.meta.id) {
                out.push(record.meta.id);
            }
        }
    }
    Ok(out)
}

fn damaged(error: clinic::apply::SnapshotError) -> StoreError {
    StoreError::Damaged(error.to_string())
}
