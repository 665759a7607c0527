//! What a question for planned steps is answered from: the orders that may be meant, and what stands around them.

use std::collections::{BTreeMap, BTreeSet};

use clinic::apply::FindKey;
use clinic::ask::{Found, WorklistQuestion};
use clinic::exchange::{MapError, Reason};
use clinic::imaging::UID_SYSTEM;
use clinic::people::LinkKind;
use clinic::search::patient_ids;
use clinic::value::Ref;
use clinic::{Aggregate, Kind, Record};
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::store::{ClinicQuery, Store, StoreError, TimeRange};

/// So many orders are looked at for one question: one that may mean more is to be narrowed, since a list that was cut is a
/// patient who is not examined.
const MOST_ORDERS: usize = 10_000;
/// So many ids or keys are asked for at once.
const AT_ONCE: usize = 500;
/// So many patients are asked for by their name, before it is left to the format.
const MOST_NAMED: usize = 500;
/// How often merged patients are followed.
const MERGES: usize = 4;

/// Gathers it. `zone`: of the days that are asked for.
pub(super) async fn gather(
    store: &dyn Store,
    question: &WorklistQuestion,
    zone: &TimeZone,
) -> Result<Found, MapError> {
    let found = collect(store, question, zone);
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

async fn collect(store: &dyn Store, question: &WorklistQuestion, zone: &TimeZone) -> Result<Found, Trouble> {
    let patients = match patients(store, question).await? {
        Some(patients) if patients.is_empty() => return Ok(Found::default()),
        patients => patients,
    };
    let mut orders: BTreeMap<Uuid, Record> = BTreeMap::new();
    let chunks = match &patients {
        Some(patients) => patients.chunks(AT_ONCE).map(|ids| Some(ids.to_vec())).collect(),
        None => vec![None],
    };
    for patients in chunks {
        let query = ClinicQuery {
            kinds: vec![Kind::Order],
            keys: question.order_keys(),
            patients,
            limit: MOST_ORDERS as u32,
            ..ClinicQuery::default()
        };
        orders.extend(by_id(store.search(&query).await?));
        if MOST_ORDERS <= orders.len() {
            return Err(Trouble::TooMany);
        }
    }
    orders.extend(booked(store, question, zone).await?);
    orders.retain(|_, record| match &record.aggregate {
        Aggregate::Order(order) => question.may_be(order),
        _ => false,
    });
    if let Some(patients) = &patients {
        orders.retain(|_, record| {
            let patient = record.aggregate.patient().and_then(Ref::id);
            patient.is_some_and(|patient| patients.contains(&patient))
        });
    }
    let around = around(store, &orders).await?;
    Ok(Found {
        records: orders.into_values().collect(),
        around,
    })
}

/// The records of those who are asked for by number or name; none: by neither.
async fn patients(store: &dyn Store, question: &WorklistQuestion) -> Result<Option<Vec<Uuid>>, Trouble> {
    let (key, most) = match (&question.patient, question.name_key()) {
        (Some(number), _) => (FindKey::value(Kind::Patient, number).text, MOST_ORDERS),
        (None, Some(key)) => (key, MOST_NAMED),
        (None, None) => return Ok(None),
    };
    let query = ClinicQuery {
        kinds: vec![Kind::Patient],
        keys: vec![vec![key]],
        limit: most as u32,
        ..ClinicQuery::default()
    };
    let rows = store.search(&query).await?;
    if most <= rows.len() {
        return match question.patient {
            Some(_) => Err(Trouble::TooMany),
            None => Ok(None),
        };
    }
    let mut ids: BTreeSet<Uuid> = BTreeSet::new();
    for record in &rows {
        if let Aggregate::Patient(patient) = &record.aggregate {
            ids.extend(patient_ids(record.meta.id, patient));
            // Asked by a number of a record that was merged: the orders of the one that stays are meant too.
            ids.extend(replacing(record));
        }
    }
    Ok(Some(ids.into_iter().collect()))
}

/// The orders whose appointments lie on the days that are asked for, wherever the orders themselves lie.
async fn booked(
    store: &dyn Store,
    question: &WorklistQuestion,
    zone: &TimeZone,
) -> Result<BTreeMap<Uuid, Record>, Trouble> {
    if question.accession.is_some() || question.study.is_some() {
        return Ok(BTreeMap::new());
    }
    let (Some(from), Some(to)) = (question.from, question.to) else {
        return Ok(BTreeMap::new());
    };
    let midnight = |day: jiff::civil::Date| zone.to_timestamp(day.at(0, 0, 0, 0)).ok();
    let query = ClinicQuery {
        kinds: vec![Kind::Appointment],
        keys: vec![vec!["appointment|orders".to_owned()]],
        date_overlaps: vec![TimeRange {
            from: midnight(from),
            to: to.tomorrow().ok().and_then(midnight),
        }],
        limit: MOST_ORDERS as u32,
        ..ClinicQuery::default()
    };
    let rows = store.search(&query).await?;
    if MOST_ORDERS <= rows.len() {
        return Err(Trouble::TooMany);
    }
    let mut ids: BTreeSet<Uuid> = BTreeSet::new();
    for record in &rows {
        if let Aggregate::Appointment(appointment) = &record.aggregate {
            ids.extend(appointment.orders.iter().filter_map(Ref::id));
        }
    }
    let live = vec![vec![format!("imaging|{}", clinic::search::LIVE)]];
    read(store, Kind::Order, &ids, live).await
}

/// What the orders refer to, and the appointments that refer to them.
async fn around(
    store: &dyn Store,
    orders: &BTreeMap<Uuid, Record>,
) -> Result<BTreeMap<Uuid, Record>, Trouble> {
    let mut out: BTreeMap<Uuid, Record> = BTreeMap::new();
    let (mut patients, mut visits, mut people) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut note = |to: &Ref| {
        if let Ref::Id(kind, id) = to {
            match kind {
                Kind::Patient => patients.insert(*id),
                Kind::Encounter => visits.insert(*id),
                Kind::Practitioner => people.insert(*id),
                _ => false,
            };
        }
    };
    for record in orders.values() {
        clinic::Refs::refs(&record.aggregate, &mut note);
    }
    let visits = read(store, Kind::Encounter, &visits, vec![]).await?;
    for record in visits.values() {
        if let Aggregate::Encounter(encounter) = &record.aggregate {
            let referring = encounter.participants.iter();
            let referring = referring.filter(|participant| participant.role.code() == Some("REF"));
            people.extend(referring.filter_map(|participant| participant.person.id()));
        }
    }
    out.extend(visits);
    out.extend(read(store, Kind::Practitioner, &people, vec![]).await?);
    for ids in chunks(&patients) {
        let query = ClinicQuery {
            kinds: vec![Kind::Allergy],
            patients: Some(ids),
            limit: MOST_ORDERS as u32,
            ..ClinicQuery::default()
        };
        out.extend(by_id(store.search(&query).await?));
    }
    for _ in 0..MERGES {
        let read = read(store, Kind::Patient, &patients, vec![]).await?;
        patients = read.values().filter_map(replacing).collect();
        patients.retain(|id| !out.contains_key(id));
        out.extend(read);
        if patients.is_empty() {
            break;
        }
    }
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
    let study = |record: &Record| match &record.aggregate {
        Aggregate::Order(order) => order.imaging.as_ref()?.study_uid.clone(),
        _ => None,
    };
    let studies: Vec<String> = orders.values().filter_map(study).collect();
    for uids in studies.chunks(AT_ONCE) {
        let keys = uids
            .iter()
            .map(|uid| FindKey::system_value(Kind::ImagingStudy, UID_SYSTEM, uid).text);
        let query = ClinicQuery {
            kinds: vec![Kind::ImagingStudy],
            keys: vec![keys.collect()],
            limit: AT_ONCE as u32,
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
    let replaced = patient
        .links
        .iter()
        .find(|link| link.kind == LinkKind::ReplacedBy);
    replaced.and_then(|link| link.other.id())
}

async fn read(
    store: &dyn Store,
    kind: Kind,
    ids: &BTreeSet<Uuid>,
    keys: Vec<Vec<String>>,
) -> Result<BTreeMap<Uuid, Record>, Trouble> {
    let mut out = BTreeMap::new();
    for ids in chunks(ids) {
        let query = ClinicQuery {
            kinds: vec![kind],
            ids: Some(ids),
            keys: keys.clone(),
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
