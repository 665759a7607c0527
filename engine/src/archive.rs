//! The images that are kept: one search over studies, series and objects for all who ask (C-FIND, QIDO-RS, retrieval).
//!
//! The store narrows by keys: study UID, accession number, modality, the patient's number or name, the day. What is left
//! is opened study by study, and who asks says of each whether it is meant, before anything else of it is read. So the
//! cost of a question grows with the studies that its keys leave; the objects of a study are counted by their keys, and
//! opened only where they are asked for themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use clinic::apply::FindKey;
use clinic::archive::{ArchiveQuestion, Kept, KeptStudy, Referenced};
use clinic::imaging::{ImagingInstance, UID_SYSTEM};
use clinic::search::patient_ids;
use clinic::value::Ref;
use clinic::{Aggregate, Kind, Record};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::anew::{Anew, AnewError};
use crate::body::{LONGEST_HEAD, StoredBody};
use crate::format::{Format, Reads};
use crate::room;
use crate::store::{ClinicQuery, Store, StoreError, TimeRange};

/// So many studies are read at once.
const PAGE: u32 = 200;
/// So many objects are read at once.
const OBJECTS: u32 = 500;
/// The most studies that one question opens. More are not cut: the question is to be narrowed.
const MOST_STUDIES: usize = 20_000;
/// The most objects of one study.
const MOST_OBJECTS: usize = 50_000;
/// So many patients are asked for, by their number or name. More of a name are left to who asks; a number that so many
/// have says nothing.
const MOST_PATIENTS: u32 = 500;
/// So many records of people are read with a page of studies, those that were merged with them too.
const MOST_SELVES: usize = 2_000;
/// The most merges, one behind the other, that lead to the record of a patient that stays.
const MOST_MERGED: usize = 32;
/// So many UIDs are asked for at once.
const MOST_UIDS: usize = 400;

/// A question can't be answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SearchError {
    /// More may be meant than are looked at.
    #[error("too many studies may be meant. Ask by more: a number, a day, a longer name")]
    TooMany,
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a study is meant, as far as it, its patient and who sent them say.
pub type Takes<'t> = dyn Fn(&KeptStudy) -> bool + Send + Sync + 't;

/// A search that goes on.
pub struct Search<'s> {
    store: &'s dyn Store,
    question: &'s ArchiveQuestion,
    /// Which studies; none: there are no more.
    query: Option<ClinicQuery>,
    page: VecDeque<KeptStudy>,
    opened: usize,
    /// The objects that were asked for by their UIDs, by their study.
    named: Option<BTreeMap<Uuid, Vec<Record>>>,
}

impl<'s> Search<'s> {
    /// Begins one. `zone`: of the days that are asked for.
    pub async fn new(
        store: &'s dyn Store,
        question: &'s ArchiveQuestion,
        zone: &TimeZone,
    ) -> Result<Self, SearchError> {
        let mut search = Search {
            store,
            question,
            query: None,
            page: VecDeque::new(),
            opened: 0,
            named: None,
        };
        search.query = search.narrowed(zone).await?;
        Ok(search)
    }

    async fn narrowed(&mut self, zone: &TimeZone) -> Result<Option<ClinicQuery>, SearchError> {
        let question = self.question;
        let lists = [&question.studies, &question.modalities];
        if lists.into_iter().any(|list| MOST_UIDS < list.len()) {
            return Err(SearchError::TooMany);
        }
        let mut query = ClinicQuery {
            kinds: vec![Kind::ImagingStudy],
            keys: question.study_keys(),
            limit: PAGE,
            ..ClinicQuery::default()
        };
        if question.from.is_some() || question.to.is_some() {
            let midnight = |day: Date| zone.to_timestamp(day.at(0, 0, 0, 0)).ok();
            // A day more on either side: a study may have been made in another zone.
            let from = question.from.and_then(|day| day.yesterday().ok());
            let to = question.to.and_then(|day| day.tomorrow().ok()?.tomorrow().ok());
            query.date_overlaps = vec![TimeRange {
                from: from.and_then(midnight),
                to: to.and_then(midnight),
            }];
        }
        if let Some(key) = question.patient_key() {
            let by_number = question.patient.is_some();
            match self.patients(key).await? {
                Some(patients) if patients.is_empty() => return Ok(None),
                Some(patients) => query.patients = Some(patients),
                None if by_number => return Err(SearchError::TooMany),
                None => {}
            }
        }
        if !question.objects.is_empty() {
            let named = self.named_objects().await?;
            if named.is_empty() {
                return Ok(None);
            }
            query.ids = Some(named.keys().copied().take(MOST_UIDS).collect());
            self.named = Some(named);
        }
        Ok(Some(query))
    }

    /// The records of those who have this number or name, with those that were merged; none: they are too many.
    async fn patients(&self, key: String) -> Result<Option<Vec<Uuid>>, StoreError> {
        let query = ClinicQuery {
            kinds: vec![Kind::Patient],
            keys: vec![vec![key]],
            limit: MOST_PATIENTS,
            ..ClinicQuery::default()
        };
        let rows = self.store.search(&query).await?;
        if MOST_PATIENTS as usize <= rows.len() {
            return Ok(None);
        }
        let found = rows.into_iter().map(|record| record.meta.id).collect();
        let ids: BTreeSet<Uuid> = self.people(found).await?.into_keys().collect();
        Ok((ids.len() < MOST_PATIENTS as usize).then(|| ids.into_iter().collect()))
    }

    /// These records of people, with all that were merged with them.
    async fn people(&self, mut wanted: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, Record>, StoreError> {
        let mut people: BTreeMap<Uuid, Record> = BTreeMap::new();
        while !wanted.is_empty() && people.len() < MOST_SELVES {
            people.extend(self.read(Kind::Patient, wanted).await?);
            let others = people.values().flat_map(|record| match &record.aggregate {
                Aggregate::Patient(patient) => patient_ids(record.meta.id, patient)
                    .into_iter()
                    .chain(patient.merged_into())
                    .collect(),
                _ => vec![],
            });
            wanted = others.filter(|id| !people.contains_key(id)).collect();
        }
        Ok(people)
    }

    /// The objects that are asked for by their UIDs, by their study.
    async fn named_objects(&self) -> Result<BTreeMap<Uuid, Vec<Record>>, StoreError> {
        let mut named: BTreeMap<Uuid, Vec<Record>> = BTreeMap::new();
        for uids in self.question.objects.chunks(MOST_UIDS) {
            for record in by_uids(self.store, uids).await? {
                if let Some(study) = instance(&record).and_then(|object| object.study.as_ref()?.id()) {
                    named.entry(study).or_default().push(record);
                }
            }
        }
        Ok(named)
    }

    /// The next study that is meant; none: there are no more.
    pub async fn next(&mut self, takes: &Takes<'_>) -> Result<Option<KeptStudy>, SearchError> {
        loop {
            while let Some(mut kept) = self.page.pop_front() {
                if !takes(&kept) {
                    continue;
                }
                self.fill(&mut kept).await?;
                return Ok(Some(kept));
            }
            if !self.turn().await? {
                return Ok(None);
            }
        }
    }

    /// Reads the next page of studies, with whose they are and who sent them. False: there is none.
    async fn turn(&mut self) -> Result<bool, SearchError> {
        let Some(query) = &mut self.query else {
            return Ok(false);
        };
        if MOST_STUDIES <= self.opened {
            return Err(SearchError::TooMany);
        }
        let rows = self.store.search(query).await?;
        self.opened += rows.len();
        query.after = rows.last().map(|last| (last.meta.updated_at, last.meta.id));
        if rows.len() < PAGE as usize {
            self.query = None;
        }
        let mut page: Vec<KeptStudy> = rows.into_iter().filter_map(KeptStudy::of).collect();
        let of = |pick: fn(&KeptStudy) -> Option<Uuid>| page.iter().filter_map(pick).collect::<BTreeSet<_>>();
        let people = self.people(of(patient)).await?;
        let mut selves: BTreeMap<Uuid, Vec<&Record>> = BTreeMap::new();
        for record in people.values() {
            selves
                .entry(survivor(&people, record.meta.id))
                .or_default()
                .push(record);
        }
        let referrers = self.read(Kind::Practitioner, of(referrer)).await?;
        for kept in &mut page {
            let own = patient(kept).map(|id| survivor(&people, id));
            let selves = own.and_then(|own| selves.get(&own)).into_iter().flatten();
            for record in selves.copied().cloned() {
                match Some(record.meta.id) == own {
                    true => kept.patient = Some(record),
                    false => kept.merged.push(record),
                }
            }
            kept.referrer = referrer(kept).and_then(|id| referrers.get(&id).cloned());
        }
        self.page = page.into();
        Ok(true)
    }

    /// What is asked for beside the study itself.
    async fn fill(&self, kept: &mut KeptStudy) -> Result<(), StoreError> {
        let id = kept.study.meta.id;
        if self.question.counts {
            kept.count = Some(self.store.count(&objects_of(id)).await?);
        }
        if self.question.with_orders {
            let orders = kept.study().map(|study| study.orders.iter().filter_map(Ref::id));
            let orders = self
                .read(Kind::Order, orders.into_iter().flatten().collect())
                .await?;
            kept.orders = orders.into_values().collect();
        }
        if self.question.with_objects {
            kept.objects = match &self.named {
                Some(named) => {
                    let mut objects = named.get(&id).cloned().unwrap_or_default();
                    in_order(&mut objects);
                    objects
                }
                None => objects(self.store, id).await?,
            };
            let may_be =
                |record: &Record| instance(record).is_some_and(|object| self.question.may_be(object));
            kept.objects.retain(may_be);
        }
        Ok(())
    }

    async fn read(&self, kind: Kind, ids: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, Record>, StoreError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let query = ClinicQuery {
            kinds: vec![kind],
            limit: u32::try_from(ids.len()).unwrap_or(u32::MAX),
            ids: Some(ids.into_iter().collect()),
            ..ClinicQuery::default()
        };
        let rows = self.store.search(&query).await?;
        Ok(rows.into_iter().map(|record| (record.meta.id, record)).collect())
    }
}

/// The record that stays of a patient.
fn survivor(people: &BTreeMap<Uuid, Record>, mut id: Uuid) -> Uuid {
    for _ in 0..people.len() {
        let Some(Aggregate::Patient(patient)) = people.get(&id).map(|record| &record.aggregate) else {
            break;
        };
        match patient.merged_into().filter(|other| people.contains_key(other)) {
            Some(other) => id = other,
            None => break,
        }
    }
    id
}

fn patient(kept: &KeptStudy) -> Option<Uuid> {
    kept.study()?.patient.as_ref()?.id()
}

fn referrer(kept: &KeptStudy) -> Option<Uuid> {
    kept.study()?.referrer.as_ref()?.id()
}

fn instance(record: &Record) -> Option<&ImagingInstance> {
    match &record.aggregate {
        Aggregate::ImagingInstance(object) => Some(object),
        _ => None,
    }
}

fn objects_of(study: Uuid) -> ClinicQuery {
    ClinicQuery {
        kinds: vec![Kind::ImagingInstance],
        keys: vec![vec![FindKey::referring(Kind::ImagingInstance, study).text]],
        limit: OBJECTS,
        ..ClinicQuery::default()
    }
}

/// The objects with these UIDs, at most 400 of them.
async fn by_uids(store: &dyn Store, uids: &[String]) -> Result<Vec<Record>, StoreError> {
    let key = |uid: &String| FindKey::system_value(Kind::ImagingInstance, UID_SYSTEM, uid).text;
    let query = ClinicQuery {
        kinds: vec![Kind::ImagingInstance],
        keys: vec![uids.iter().map(key).collect()],
        limit: OBJECTS,
        ..ClinicQuery::default()
    };
    store.search(&query).await
}

/// The objects of a study, by series and number.
pub async fn objects(store: &dyn Store, study: Uuid) -> Result<Vec<Record>, StoreError> {
    let mut query = objects_of(study);
    let mut objects = vec![];
    loop {
        let page = store.search(&query).await?;
        let is_last = page.len() < OBJECTS as usize;
        query.after = page.last().map(|last| (last.meta.updated_at, last.meta.id));
        objects.extend(page.into_iter().filter(|record| instance(record).is_some()));
        if is_last || MOST_OBJECTS <= objects.len() {
            break;
        }
    }
    in_order(&mut objects);
    Ok(objects)
}

fn in_order(objects: &mut [Record]) {
    objects.sort_by_cached_key(|record| {
        let object = instance(record);
        let series = object.and_then(|object| object.series_uid.clone());
        (series, object.and_then(|object| object.number), record.meta.id)
    });
}

/// An object that is kept, and where its bytes lie.
#[derive(Clone)]
pub struct KeptObject {
    record: Record,
    patient: Option<Arc<Record>>,
    store: Arc<dyn Store>,
    format: Arc<dyn Format>,
}

impl KeptObject {
    /// A record of an object of this patient; none: it is none.
    pub fn of(
        record: Record,
        patient: Option<Arc<Record>>,
        store: Arc<dyn Store>,
        format: Arc<dyn Format>,
    ) -> Option<Self> {
        instance(&record).is_some().then_some(KeptObject {
            record,
            patient,
            store,
            format,
        })
    }

    /// What it is.
    fn object(&self) -> Option<&ImagingInstance> {
        instance(&self.record)
    }

    /// Its UID.
    pub fn uid(&self) -> &str {
        self.object().and_then(ImagingInstance::uid).unwrap_or_default()
    }

    /// The UID of its class.
    pub fn class(&self) -> &str {
        let class = self.object().and_then(|object| object.sop_class.as_deref());
        class.unwrap_or_default()
    }

    /// The UID of the transfer syntax that it lies in.
    pub fn syntax(&self) -> &str {
        let syntax = self.object().and_then(|object| object.transfer_syntax.as_deref());
        syntax.unwrap_or_default()
    }

    /// Its bytes, as they came, but under the patient whose it is; none: they were taken out. `is_it`: whether a message that
    /// begins like this has it.
    pub async fn body(&self, is_it: &IsIt<'_>) -> Result<Option<ObjectBody>, StoreError> {
        given(
            &*self.store,
            &self.record,
            self.patient.as_deref(),
            &*self.format,
            is_it,
        )
        .await
    }

    /// Its bytes written anew, in another transfer syntax.
    pub async fn anew(&self, found: ObjectBody, to: &str) -> Result<Anew, AnewError> {
        let ObjectBody { body, beginning, .. } = found;
        let is_enough = |beginning: &[u8]| !matches!(self.format.reads(beginning), Reads::More);
        let beginning = reaching(&body, beginning, &is_enough).await?;
        let (format, to, length) = (self.format.clone(), to.to_owned(), body.length());
        Anew::begin(body, move |file| format.rewritten(&beginning, file, length, &to)).await
    }
}

/// The bytes of an object as it is given: as they came, but under this patient, where it names somebody else. None: they were taken
/// out.
pub async fn given(
    store: &dyn Store,
    object: &Record,
    patient: Option<&Record>,
    format: &dyn Format,
    is_it: &IsIt<'_>,
) -> Result<Option<ObjectBody>, StoreError> {
    let found = body(store, object, is_it).await?;
    let (found, patient) = match (found, patient) {
        (Some(found), Some(patient)) => (found, patient),
        (found, _) => return Ok(found),
    };
    let ObjectBody {
        message,
        mut body,
        beginning,
    } = found;
    let is_enough = |beginning: &[u8]| !matches!(format.reads(beginning), Reads::More);
    let mut beginning = reaching(&body, beginning, &is_enough).await?;
    let changed = format.reconciled(&beginning, patient);
    let changed =
        changed.map_err(|error| StoreError::Unavailable(format!("an object can't be given: {error}")))?;
    if let Some(changed) = changed.map(Bytes::from) {
        body = body.with_beginning(changed.clone(), beginning.len() as u64);
        beginning = changed;
    }
    Ok(Some(ObjectBody {
        message,
        body,
        beginning,
    }))
}

/// The patient of a study: the record that stays of them.
pub async fn patient_of(store: &dyn Store, study: &Record) -> Result<Option<Record>, StoreError> {
    let mut next = study.aggregate.patient().and_then(Ref::id);
    for _ in 0..MOST_MERGED {
        let Some(id) = next else { break };
        let query = ClinicQuery {
            kinds: vec![Kind::Patient],
            ids: Some(vec![id]),
            limit: 1,
            ..ClinicQuery::default()
        };
        let Some(record) = store.search(&query).await?.pop() else {
            break;
        };
        let Aggregate::Patient(patient) = &record.aggregate else {
            break;
        };
        match patient.merged_into() {
            Some(survivor) => next = Some(survivor),
            None => return Ok(Some(record)),
        }
    }
    Ok(None)
}

/// As much of the beginning of an object as is enough, or all of it, with the room that it takes. `beginning`: what of it was
/// read already.
pub async fn reaching(
    body: &StoredBody,
    mut beginning: Bytes,
    is_enough: &(dyn Fn(&[u8]) -> bool + Send + Sync),
) -> Result<Bytes, StoreError> {
    loop {
        let has = beginning.len();
        if body.length() <= has as u64 || is_enough(&beginning) {
            return Ok(beginning);
        }
        if LONGEST_HEAD <= has as u64 {
            let what = "an object says too much before its pixels";
            return Err(StoreError::Unavailable(what.into()));
        }
        let length = usize::try_from(body.length()).unwrap_or(usize::MAX);
        let most = length.min(4 * has.max(room::SMALL));
        // What was read so far is let go before more is read: nobody waits for room that it has itself.
        drop(std::mem::take(&mut beginning));
        let place = room::going_out().take(most).await;
        let mut bytes = BytesMut::with_capacity(most);
        let mut pieces = body.pieces(0);
        while bytes.len() < most
            && let Some(piece) = pieces.next().await?
        {
            bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
        }
        beginning = place.hold(bytes.freeze());
    }
}

/// The bytes of an object.
pub struct ObjectBody {
    /// The message that brought them.
    pub message: Uuid,
    /// All of them, where they lie.
    pub body: StoredBody,
    /// Their first piece, which was read already.
    pub beginning: Bytes,
}

/// Whether a message that begins like this has the object that is looked for.
pub type IsIt<'i> = dyn Fn(&[u8]) -> bool + Send + Sync + 'i;

/// The bytes of an object: those of the message that made it. None: they were taken out.
async fn body(
    store: &dyn Store,
    object: &Record,
    is_it: &IsIt<'_>,
) -> Result<Option<ObjectBody>, StoreError> {
    if let Some(found) = body_of(store, object.meta.source.message(), is_it).await? {
        return Ok(Some(found));
    }
    // Something else has written it since.
    let history = store.history(Kind::ImagingInstance, object.meta.id).await?;
    for version in history.iter().rev() {
        if let Some(found) = body_of(store, version.meta.source.message(), is_it).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

async fn body_of(
    store: &dyn Store,
    message: Option<Uuid>,
    is_it: &IsIt<'_>,
) -> Result<Option<ObjectBody>, StoreError> {
    let Some(message) = message else {
        return Ok(None);
    };
    let Some(body) = store.stored_body(message).await? else {
        return Ok(None);
    };
    let beginning = body.pieces(0).next().await?.unwrap_or_default();
    Ok(is_it(&beginning).then_some(ObjectBody {
        message,
        body,
        beginning,
    }))
}

/// Whether each of these objects is kept, with its bytes. `names`: the UID of the object that a message that begins like
/// this has.
pub async fn kept(
    store: &dyn Store,
    referenced: &[Referenced],
    names: &(dyn Fn(&[u8]) -> Option<String> + Send + Sync),
) -> Result<Vec<Kept>, StoreError> {
    let mut known: BTreeMap<String, Record> = BTreeMap::new();
    let uids: BTreeSet<String> = referenced.iter().map(|object| object.instance.clone()).collect();
    let uids: Vec<String> = uids.into_iter().collect();
    for uids in uids.chunks(MOST_UIDS) {
        for record in by_uids(store, uids).await? {
            if let Some(uid) = instance(&record).and_then(ImagingInstance::uid) {
                known.insert(uid.to_owned(), record);
            }
        }
    }
    let (mut all, mut here) = (Vec::with_capacity(referenced.len()), vec![]);
    for object in referenced {
        let Some(record) = known.get(&object.instance) else {
            all.push(Kept::Missing);
            continue;
        };
        let class = instance(record).and_then(|found| found.sop_class.as_deref());
        if class != Some(&object.class) {
            all.push(Kept::OfOtherClass);
            continue;
        }
        let is_it = |head: &[u8]| names(head).as_deref() == Some(&object.instance);
        all.push(match body(store, record, &is_it).await? {
            Some(found) => {
                here.push(found.message);
                Kept::Here
            }
            None => Kept::Missing,
        });
    }
    if !store.keep_for_good(&here).await? {
        let what = "the bytes of an object were taken out while they were looked at";
        return Err(StoreError::Unavailable(what.into()));
    }
    Ok(all)
}
