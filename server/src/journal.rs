//! What is noted of each read of patient data, before what was read is shown.

use std::collections::BTreeSet;

use clinic::apply::FindKey;
use clinic::search::{columns, patient_ids};
use clinic::{Aggregate, Kind, Record};
use engine::actor::Actor;
use engine::channel::Channel;
use engine::format::Formats;
use engine::message::{MessageDetail, MessageState, Wrote};
use engine::store::{Access, AccessFilter, AccessOutcome, ClinicQuery, JournalHead, Store, StoreError};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::auth::Asker;
use crate::views::{self, Wrong};

/// What was read, as it is noted.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// `Patient/…`, `message/…`.
    pub what: Vec<String>,
    /// Whom it is about.
    pub patients: BTreeSet<Uuid>,
    /// Whom it is about, by identifiers of a message.
    pub identifiers: Vec<String>,
    /// The words of a search.
    pub words: Option<String>,
    /// That something is shown.
    pub is_shown: bool,
}

impl Seen {
    /// A record that is shown.
    pub fn record(&mut self, record: &Record) {
        let id = record.meta.id;
        self.is_shown = true;
        self.what
            .push(format!("{}/{id}", record.aggregate.kind().as_str()));
        self.patients.extend(patient_of(record));
    }
}

/// Whom a record is about.
fn patient_of(record: &Record) -> Option<Uuid> {
    match &record.aggregate {
        Aggregate::Patient(_) => Some(record.meta.id),
        other => columns(other, &TimeZone::UTC).patient,
    }
}

/// The owner of the folder, at the command line.
pub fn owner() -> Asker {
    let user = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).ok();
    Asker {
        actor: Actor {
            key: Some("local".to_owned()),
            user: user.filter(|user| !user.is_empty()),
            channel: None,
            peer: None,
        },
        scopes: vec![],
        purpose: None,
    }
}

/// Hands the read to the store's writer: before what was read is shown, and without waiting until it is on disk.
pub async fn note(store: &dyn Store, asker: Asker, action: &str, seen: Seen) -> Result<(), StoreError> {
    let outcome = match seen.is_shown {
        true => AccessOutcome::Shown,
        false => AccessOutcome::Nothing,
    };
    store.accessed(access(asker, action, seen, outcome)).await
}

fn access(asker: Asker, action: &str, seen: Seen, outcome: AccessOutcome) -> Access {
    Access {
        at: (crate::world::real().now)(),
        actor: asker.actor,
        action: action.to_owned(),
        what: seen.what,
        patients: seen.patients.into_iter().collect(),
        identifiers: seen.identifiers,
        outcome,
        words: seen.words.map(|words| words.chars().take(1000).collect()),
        purpose: asker.purpose,
    }
}

/// Notes a change set that came by the write door: whom it is about, and what came of it. Its answer tells of them, too:
/// which of those that are there was meant, or who may be.
pub async fn note_write(
    store: &dyn Store,
    asker: Asker,
    channels: &(dyn Fn(&str) -> Option<Channel> + Send + Sync),
    formats: &Formats,
    detail: &MessageDetail,
) -> Result<(), StoreError> {
    let mut seen = of_message(store, channels, formats, detail.row.id, Some(detail)).await?;
    for (kind, id) in detail.notes.ids.values() {
        if let Some(record) = store.read(*kind, *id).await? {
            seen.patients.extend(patient_of(&record));
        }
    }
    let wrote = detail.wrote.iter();
    seen.what
        .extend(wrote.map(|wrote| format!("{}/{}", wrote.kind.as_str(), wrote.id)));
    let outcome = match detail.row.state {
        MessageState::Routed if !detail.wrote.is_empty() => AccessOutcome::Written,
        MessageState::Routed | MessageState::Parked => AccessOutcome::Shown,
        MessageState::Filtered | MessageState::Failed | MessageState::Answered => AccessOutcome::Nothing,
    };
    store.accessed(access(asker, "write", seen, outcome)).await
}

/// A message by its id or a piece of it, and what is noted of its being read. None: there is no such message.
pub async fn message(
    store: &dyn Store,
    channels: &(dyn Fn(&str) -> Option<Channel> + Send + Sync),
    formats: &Formats,
    id: &str,
) -> anyhow::Result<(Seen, Option<MessageDetail>)> {
    let Some(id) = views::find(store, id).await? else {
        return Ok((Seen::default(), None));
    };
    let detail = store.message(id).await?;
    let seen = of_message(store, channels, formats, id, detail.as_ref()).await?;
    Ok((seen, detail))
}

/// Whom a message is about: by what it wrote, and by the identifiers in it. `detail`: what is stored under that id.
async fn of_message(
    store: &dyn Store,
    channels: &(dyn Fn(&str) -> Option<Channel> + Send + Sync),
    formats: &Formats,
    id: Uuid,
    detail: Option<&MessageDetail>,
) -> Result<Seen, StoreError> {
    let mut seen = Seen {
        what: vec![format!("message/{id}")],
        ..Seen::default()
    };
    let Some(detail) = detail else {
        return Ok(seen);
    };
    seen.is_shown = true;
    for Wrote {
        kind, id, version, ..
    } in &detail.wrote
    {
        if let Some(record) = store.read_version(*kind, *id, *version).await? {
            seen.patients.extend(patient_of(&record));
        }
    }
    let candidates = detail.row.candidates.iter();
    let candidates = candidates.filter(|candidate| candidate.kind == Kind::Patient);
    seen.patients.extend(candidates.map(|candidate| candidate.id));
    let format = channels(&detail.row.channel).and_then(|channel| formats.get(&channel.source.format));
    if let Some(format) = format {
        seen.identifiers = format.keys(&detail.body).patients;
    }
    Ok(seen)
}

/// The same of several messages.
pub async fn messages(
    store: &dyn Store,
    channels: &(dyn Fn(&str) -> Option<Channel> + Send + Sync),
    formats: &Formats,
    ids: &[Uuid],
) -> Result<Seen, StoreError> {
    let mut all = Seen::default();
    for id in ids {
        let detail = store.message(*id).await?;
        let seen = of_message(store, channels, formats, *id, detail.as_ref()).await?;
        all.what.extend(seen.what);
        all.patients.extend(seen.patients);
        all.identifiers.extend(seen.identifiers);
        all.is_shown |= seen.is_shown;
    }
    all.identifiers.sort();
    all.identifiers.dedup();
    Ok(all)
}

/// Whom a listing of messages is about: the patients that it shows as candidates, and the one that it was asked for.
fn listing(shown: &Value, key: &str, words: &views::ListWords) -> Seen {
    let rows = shown[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let what = rows
        .iter()
        .filter_map(|row| Some(format!("message/{}", row["id"].as_str()?)));
    Seen {
        what: what.collect(),
        patients: rows.iter().flat_map(patients_of).collect(),
        identifiers: words.patient.iter().cloned().collect(),
        words: None,
        is_shown: !rows.is_empty(),
    }
}

/// Notes a listing of messages, where it tells something about a patient.
pub async fn note_listing(
    store: &dyn Store,
    asker: Asker,
    action: &str,
    shown: &Value,
    words: &views::ListWords,
) -> Result<(), StoreError> {
    let seen = listing(shown, action, words);
    let is_asked = words.patient.is_some() || words.visit.is_some() || words.order.is_some();
    if is_asked || !seen.patients.is_empty() {
        note(store, asker, action, seen).await?;
    }
    Ok(())
}

/// Notes a message that was tried, where it shows whom it would be about.
pub async fn note_try(
    store: &dyn Store,
    asker: Asker,
    channel: &str,
    shown: &Value,
) -> Result<(), StoreError> {
    let seen = Seen {
        what: vec![format!("channel/{channel}")],
        patients: patients_of(shown).collect(),
        is_shown: true,
        ..Seen::default()
    };
    note(store, asker, "try", seen).await
}

/// The patients among the candidates of a message that is shown.
fn patients_of(shown: &Value) -> impl Iterator<Item = Uuid> {
    let candidates = shown["candidates"].as_array().into_iter().flatten();
    candidates
        .filter(|candidate| candidate["kind"] == Kind::Patient.as_str())
        .filter_map(|candidate| candidate["id"].as_str()?.parse().ok())
}

/// The words of a listing of the journal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalWords {
    /// About this patient: an id of the clinic, or an identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// Since this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Until this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Before this row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Who read what, newest first, and what is noted of this reading itself.
pub async fn list(
    store: &dyn Store,
    words: &JournalWords,
    now: jiff::Timestamp,
) -> anyhow::Result<Result<(Value, Seen), Wrong>> {
    let moment = |word: &Option<String>| word.as_deref().map(|word| views::moment(word, now)).transpose();
    let (since, until) = match (moment(&words.since), moment(&words.until)) {
        (Ok(since), Ok(until)) => (since, until),
        (Err(wrong), _) | (_, Err(wrong)) => return Ok(Err(wrong)),
    };
    let mut seen = Seen::default();
    let mut about = vec![];
    if let Some(patient) = &words.patient {
        let (chart, numbers) = chart(store, patient).await?;
        about.push(patient.clone());
        about.extend(numbers);
        about.extend(chart.iter().map(Uuid::to_string));
        seen.patients.extend(chart);
        seen.identifiers.push(patient.clone());
    }
    let filter = AccessFilter {
        about,
        since,
        until,
        before: words.before,
        limit: words.limit.unwrap_or(100).clamp(1, 1000),
    };
    let rows = store.journal(&filter).await?;
    seen.is_shown = !rows.is_empty();
    let next = match rows.len() == filter.limit as usize {
        true => rows.last().map(|row| row.nr),
        false => None,
    };
    Ok(Ok((json!({ "journal": rows, "next": next }), seen)))
}

/// All ids under which a patient is kept, and the numbers that the patient has: what was read may have been asked for by
/// any of them. Found by id or by identifier (`value`, or `system|value`).
async fn chart(store: &dyn Store, patient: &str) -> Result<(Vec<Uuid>, Vec<String>), StoreError> {
    let mut to_ask = match patient.parse::<Uuid>() {
        Ok(id) => vec![id],
        Err(_) => {
            let key = match patient.split_once('|') {
                Some((system, value)) => FindKey::system_value(Kind::Patient, system, value),
                None => FindKey::value(Kind::Patient, patient.split('^').next().unwrap_or_default()),
            };
            let query = ClinicQuery {
                kinds: vec![Kind::Patient],
                keys: vec![vec![key.text]],
                limit: 100,
                ..ClinicQuery::default()
            };
            let found = store.search(&query).await?;
            found.into_iter().map(|record| record.meta.id).collect()
        }
    };
    let (mut all, mut numbers) = (vec![], vec![]);
    while let Some(id) = to_ask.pop() {
        if all.contains(&id) || 100 < all.len() {
            continue;
        }
        all.push(id);
        if let Some(record) = store.read(Kind::Patient, id).await?
            && let Aggregate::Patient(patient) = &record.aggregate
        {
            to_ask.extend(patient_ids(id, patient));
            numbers.extend(patient.identifiers.iter().map(|number| number.value.clone()));
        }
    }
    numbers.truncate(100);
    Ok((all, numbers))
}

/// Whether the journal is as it was written, also against a head from the log.
pub async fn verify(store: &dyn Store, head: Option<&str>) -> anyhow::Result<Result<Value, Wrong>> {
    let head: Option<JournalHead> = match head.map(str::parse).transpose() {
        Ok(head) => head,
        Err(what) => return Ok(Err(Wrong(what))),
    };
    Ok(Ok(json!({ "journal": store.verify_journal(head).await? })))
}
