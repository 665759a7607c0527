//! What a question for planned steps is answered from: the orders that may be meant, and what stands around them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use clinic::apply::FindKey;
use clinic::ask::{Found, WorklistQuestion};
use clinic::exchange::{MapError, Reason};
use clinic::imaging::UID_SYSTEM;
use clinic::planned::PlannedQuery;
use clinic::search::{SearchKey, patient_ids};
use clinic::value::Ref;
use clinic::worklist::{Measure, PLACES, around_place, place};
use clinic::{Aggregate, Kind, Record};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::store::{ClinicQuery, Store, StoreError};

/// So many orders are looked at for one question: one that may mean more is to be narrowed, since a list that was cut is a
/// patient who is not examined.
const MOST_ORDERS: usize = 10_000;
/// So many orders are looked at sooner than patients are looked for by their name.
const FEW: usize = 200;
/// So many ids or keys are asked for at once.
const AT_ONCE: usize = 500;
/// So many patients are asked for by their name, before it is left to the format.
const MOST_NAMED: usize = 500;
/// How often merged patients are followed.
const MERGES: usize = 4;

/// Gathers it. `zone`: of the days that are asked for; `today`: there.
pub(super) async fn gather(
    store: &dyn Store,
    question: &WorklistQuestion,
    zone: &TimeZone,
    today: Date,
) -> Result<Found, MapError> {
    let found = collect(store, question, zone, today);
    found.await.map_err(|error| match error {
        Trouble::TooMany => {
            let what = "too many planned steps may be meant; ask for a day";
            MapError::new(Reason::DataType, None, what)
        }
        Trouble::Store(error) => super::ask::unavailable(&error),
    })
}

enum Trouble {
    TooMany,
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Trouble::Store(error)
    }
}

async fn collect(
    store: &dyn Store,
    question: &WorklistQuestion,
    zone: &TimeZone,
    today: Date,
) -> Result<Found, Trouble> {
    let orders = match question.order_keys() {
        Some(keys) => numbered(store, keys).await?,
        None => planned(store, question, zone, today).await?,
    };
    let around = around(store, &orders).await?;
    Ok(Found {
        records: orders.into_values().collect(),
        around,
        ..Found::default()
    })
}

/// The orders with the numbers that are asked for.
async fn numbered(store: &dyn Store, keys: Vec<Vec<String>>) -> Result<BTreeMap<Uuid, Record>, Trouble> {
    let query = ClinicQuery {
        kinds: vec![Kind::Order],
        keys,
        limit: MOST_ORDERS as u32,
        ..ClinicQuery::default()
    };
    let rows = store.search(&query).await?;
    if MOST_ORDERS <= rows.len() {
        return Err(Trouble::TooMany);
    }
    Ok(by_id(rows).collect())
}

/// The orders that are meant by day, station, modality and patient.
async fn planned(
    store: &dyn Store,
    question: &WorklistQuestion,
    zone: &TimeZone,
    today: Date,
) -> Result<BTreeMap<Uuid, Record>, Trouble> {
    let by_number = match &question.patient {
        Some(number) => {
            let key = FindKey::value(Kind::Patient, number).text;
            patients(store, key, MOST_ORDERS).await?.ok_or(Trouble::TooMany)?
        }
        None => HashSet::new(),
    };
    let mut query = PlannedQuery {
        question: question.clone(),
        patients: question.patient.is_some().then_some(by_number),
        zone: zone.clone(),
        today,
    };
    let mut ids = store.planned(query.clone()).await?;
    if FEW < ids.len()
        && query.patients.is_none()
        && let Some(key) = question.name_key()
        && let Some(named) = patients(store, key, MOST_NAMED).await?
    {
        query.patients = Some(named);
        ids = store.planned(query).await?;
    }
    if MOST_ORDERS < ids.len() {
        return Err(Trouble::TooMany);
    }
    read(store, Kind::Order, &ids.into_iter().collect()).await
}

/// The records of those who are found by a key; none: they are too many.
async fn patients(store: &dyn Store, key: String, most: usize) -> Result<Option<HashSet<Uuid>>, Trouble> {
    let query = ClinicQuery {
        kinds: vec![Kind::Patient],
        keys: vec![vec![key]],
        limit: most as u32,
        ..ClinicQuery::default()
    };
    let rows = store.search(&query).await?;
    if most <= rows.len() {
        return Ok(None);
    }
    let mut ids: HashSet<Uuid> = HashSet::new();
    for record in &rows {
        if let Aggregate::Patient(patient) = &record.aggregate {
            ids.extend(patient_ids(record.meta.id, patient));
            // Asked by a number of a record that was merged: the orders of the one that stays are meant too.
            ids.extend(replacing(record));
        }
    }
    Ok(Some(ids))
}

/// What the orders refer to, and the appointments that refer to them.
async fn around(
    store: &dyn Store,
    orders: &BTreeMap<Uuid, Record>,
) -> Result<BTreeMap<Uuid, Record>, Trouble> {
    let mut out: BTreeMap<Uuid, Record> = BTreeMap::new();
    let (mut patients, mut visits, mut people) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut services = BTreeSet::new();
    let mut note = |to: &Ref| {
        if let Ref::Id(kind, id) = to {
            match kind {
                Kind::Patient => patients.insert(*id),
                Kind::Encounter => visits.insert(*id),
                Kind::Practitioner => people.insert(*id),
                Kind::Clinic => services.insert(*id),
                _ => false,
            };
        }
    };
    for record in orders.values() {
        clinic::Refs::refs(&record.aggregate, &mut note);
    }
    let visits = read(store, Kind::Encounter, &visits).await?;
    let mut places: BTreeSet<Uuid> = BTreeSet::new();
    for record in visits.values() {
        if let Aggregate::Encounter(encounter) = &record.aggregate {
            let referring = encounter.participants.iter();
            let referring = referring.filter(|participant| participant.role.code() == Some("REF"));
            people.extend(referring.filter_map(|participant| participant.person.id()));
            places.extend(place(encounter));
        }
    }
    out.extend(visits);
    out.extend(read(store, Kind::Practitioner, &people).await?);
    out.extend(read(store, Kind::Clinic, &services).await?);
    for _ in 0..PLACES {
        let mut read_now = read(store, Kind::Room, &places).await?;
        places.retain(|id| !read_now.contains_key(id));
        read_now.extend(read(store, Kind::Site, &places).await?);
        places = read_now.values().filter_map(around_place).collect();
        out.extend(read_now);
    }
    let mut selves: BTreeSet<Uuid> = patients.clone();
    for _ in 0..MERGES {
        let read = read(store, Kind::Patient, &patients).await?;
        for record in read.values() {
            if let Aggregate::Patient(patient) = &record.aggregate {
                selves.extend(patient_ids(record.meta.id, patient));
            }
        }
        patients = read.values().filter_map(replacing).collect();
        patients.retain(|id| !out.contains_key(id));
        out.extend(read);
        if patients.is_empty() {
            break;
        }
    }
    for ids in chunks(&selves) {
        let query = ClinicQuery {
            kinds: vec![Kind::Allergy],
            patients: Some(ids),
            limit: MOST_ORDERS as u32,
            ..ClinicQuery::default()
        };
        out.extend(by_id(store.search(&query).await?));
    }
    let measures = selves
        .iter()
        .flat_map(|patient| Measure::ALL.map(|measure| measure.key(*patient)));
    let measures: Vec<SearchKey> = measures.collect();
    out.extend(by_id(store.newest(Kind::Observation, &measures).await?));
    let all: BTreeSet<Uuid> = orders.keys().copied().collect();
    for ids in chunks(&all) {
        let keys = ids
            .iter()
            .map(|id| FindKey::referring(Kind::Appointment, *id).text);
        let query = ClinicQuery {
            kinds: vec![Kind::Appointment],
            keys: vec![keys.collect()],
            limit: MOST_ORDERS as u32,
            ..ClinicQuery::default()
        };
        out.extend(by_id(store.search(&query).await?));
    }
    // A device that makes a study UID of its own says the accession number.
    let imaging = orders.values().filter_map(|record| match &record.aggregate {
        Aggregate::Order(order) => order.imaging.as_ref(),
        _ => None,
    });
    let studies = imaging.flat_map(|imaging| {
        let uid = imaging.study_uid.as_ref();
        let uid = uid.map(|uid| FindKey::system_value(Kind::ImagingStudy, UID_SYSTEM, uid).text);
        let number = imaging.accession.as_ref();
        uid.into_iter()
            .chain(number.map(|number| format!("accession|{number}")))
    });
    let studies: Vec<String> = studies.collect();
    for keys in studies.chunks(AT_ONCE) {
        let query = ClinicQuery {
            kinds: vec![Kind::ImagingStudy],
            keys: vec![keys.to_vec()],
            limit: MOST_ORDERS as u32,
            ..ClinicQuery::default()
        };
        out.extend(by_id(store.search(&query).await?));
    }
    Ok(out)
}

/// The record into which this patient was merged.
fn replacing(record: &Record) -> Option<Uuid> {
    let Aggregate::Patient(patient) = &record.aggregate else {
        return None;
    };
    patient.merged_into()
}

async fn read(
    store: &dyn Store,
    kind: Kind,
    ids: &BTreeSet<Uuid>,
) -> Result<BTreeMap<Uuid, Record>, Trouble> {
    let mut out = BTreeMap::new();
    for ids in chunks(ids) {
        let query = ClinicQuery {
            kinds: vec![kind],
            ids: Some(ids),
            limit: AT_ONCE as u32,
            ..ClinicQuery::default()
        };
        out.extend(by_id(store.search(&query).await?));
    }
    Ok(out)
}

fn chunks(ids: &BTreeSet<Uuid>) -> Vec<Vec<Uuid>> {
    let all: Vec<Uuid> = ids.iter().copied().collect();
    all.chunks(AT_ONCE).map(<[Uuid]>::to_vec).collect()
}

fn by_id(rows: Vec<Record>) -> impl Iterator<Item = (Uuid, Record)> {
    rows.into_iter().map(|record| (record.meta.id, record))
}
