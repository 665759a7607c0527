//! Questions that come in: answered now from the clinic as it stands, recorded, never queued.

use std::sync::Arc;
use std::time::Duration;

use clinic::archive::{ArchiveQuestion, KeptStudy};
use clinic::ask::{Found, PatientQuestion, Question};
use clinic::exchange::{MapError, Reason, Stamp};
use clinic::{Aggregate, Kind, Record};
use jiff::tz::TimeZone;

use super::asking::words;
use super::door::Door;
use super::gather::gather;
use crate::actor::Actor;
use crate::archive::{KeptObject, Search, SearchError};
use crate::connector::{Acknowledgement, Outcome};
use crate::format::Answers;
use crate::message::{Failure, Incoming, MessageState, NewMessage, Notes};
use crate::store::{Access, AccessOutcome, ClinicQuery, Commit, StoreError};

/// How long a search may take.
const WITHIN: Duration = Duration::from_secs(5);
/// How many rows are opened for one question: one that fits more people is to be narrowed.
const OPENED: u32 = 1_000;
/// The most studies, and the most objects, that are told at once. More are not cut: the question is to be narrowed.
const MOST_FOUND: usize = 50_000;

/// Answers a question, and writes down that it was asked. Without the record there is no answer: who was told of whom
/// can be looked up for every answer that left.
pub(super) async fn answer(door: &Door, incoming: Incoming) -> Acknowledgement {
    answered(door, incoming).await.0
}

/// The objects that are asked for. That they were, and of whom they are, is written down as for an answer.
pub(super) async fn fetch(door: &Door, incoming: Incoming) -> Result<Vec<KeptObject>, Acknowledgement> {
    let (acknowledgement, found) = answered(door, incoming).await;
    let Some(found) = found else {
        return Err(acknowledgement);
    };
    let objects = found.studies.into_iter().flat_map(|kept| {
        let patient = kept.patient.map(Arc::new);
        let objects = kept.objects.into_iter();
        objects.map(move |record| (record, patient.clone()))
    });
    let kept = |(record, patient)| KeptObject::of(record, patient, door.store.clone(), door.format.clone());
    Ok(objects.filter_map(kept).collect())
}

/// What the asker is told, and what was found; none: nothing may be told.
async fn answered(door: &Door, incoming: Incoming) -> (Acknowledgement, Option<Found>) {
    let body = incoming.body.clone();
    let actor = actor(door, &incoming);
    let found = match door.format.question(&body) {
        Some(Ok(question)) => find(door, &body, &question).await,
        Some(Err(error)) => Err(error),
        None => Err(MapError::new(Reason::UnsupportedType, None, "is no question")),
    };
    let id = (door.world.new_id)();
    let now = (door.world.now)();
    let recorded = record(door, id, incoming, found.as_ref().err()).await;
    let found = match (found, recorded) {
        (found, Ok(())) => found,
        (_, Err(error)) => Err(unavailable(&error)),
    };
    let outcome = match &found {
        Ok(_) => Outcome::Stored,
        Err(error) if error.reason == Reason::Internal => Outcome::Unavailable,
        Err(_) => Outcome::Failed,
    };
    let settings = &door.channel.source.format_settings;
    let stamp = Stamp { now, id };
    let nothing = Found::default();
    let answers = door.format.answer(&body, found.as_ref(), settings, &stamp);
    let of = found.as_ref().unwrap_or(&nothing);
    if let Err(error) = note(door, actor, &stamp, &body, of, &answers).await {
        tracing::error!(channel = %door.channel.id, %error, "An answer could not be noted in the journal, and was not given.");
        return (unavailable_answer(door, &body, &stamp, &error), None);
    }
    let acknowledgement = Acknowledgement {
        frames: answers.frames,
        outcome,
        message: (outcome != Outcome::Unavailable).then_some(id),
        state: match outcome {
            Outcome::Stored => Some(MessageState::Answered),
            Outcome::Failed => Some(MessageState::Failed),
            Outcome::Unavailable => None,
        },
        place: found
            .as_ref()
            .err()
            .and_then(|error| error.place.as_ref())
            .map(ToString::to_string),
        note: found.as_ref().err().map(ToString::to_string),
    };
    (acknowledgement, found.ok())
}

/// Notes in the journal who is told of whom, before the answer leaves: those whose numbers stand in it.
async fn note(
    door: &Door,
    actor: Actor,
    stamp: &Stamp,
    question: &[u8],
    found: &Found,
    answers: &Answers,
) -> Result<(), StoreError> {
    let frames = answers.frames.iter();
    let mut identifiers: Vec<String> = match answers.told {
        Some(_) => vec![],
        None => frames
            .flat_map(|frame| door.format.keys(frame).patients)
            .collect(),
    };
    let is_told = |record: &&Record| match &answers.told {
        Some(told) => told.contains(&record.meta.id),
        None => {
            let numbers = record.aggregate.identifiers();
            numbers.iter().any(|number| identifiers.contains(&number.value))
        }
    };
    let patients: Vec<_> = found
        .patients()
        .filter(is_told)
        .map(|record| record.meta.id)
        .collect();
    if let Some(Ok(asked)) = door.format.question(question) {
        identifiers.extend(asked.number().map(str::to_owned));
    }
    identifiers.sort();
    identifiers.dedup();
    let access = Access {
        at: stamp.now,
        actor,
        action: "ask".to_owned(),
        what: vec![format!("message/{}", stamp.id)],
        outcome: match patients.is_empty() {
            true => AccessOutcome::Nothing,
            false => AccessOutcome::Shown,
        },
        patients,
        identifiers,
        words: Some(words(question)),
        purpose: None,
    };
    door.store.accessed(access).await
}

/// Who asks: by which channel, from where.
fn actor(door: &Door, incoming: &Incoming) -> Actor {
    let peer = incoming.header("peer");
    let certificate = incoming.header("certificate");
    let peer = match (peer, certificate) {
        (Some(peer), Some(subject)) => Some(format!("{peer} ({subject})")),
        (peer, subject) => peer.or(subject).map(str::to_owned),
    };
    Actor {
        channel: Some(door.channel.id.clone()),
        peer,
        ..Actor::default()
    }
}

/// Nobody is told anything.
fn unavailable_answer(door: &Door, question: &[u8], stamp: &Stamp, error: &StoreError) -> Acknowledgement {
    let error = unavailable(error);
    let settings = &door.channel.source.format_settings;
    Acknowledgement {
        frames: door.format.answer(question, Err(&error), settings, stamp).frames,
        outcome: Outcome::Unavailable,
        note: Some(error.to_string()),
        ..Acknowledgement::default()
    }
}

/// What is asked for, within the time that an answer may take.
async fn find(door: &Door, asked: &[u8], question: &Question) -> Result<Found, MapError> {
    let finding = async {
        match question {
            Question::Archive(question) => images(door, asked, question).await,
            Question::Patients(question) => patients(door, question).await,
            Question::Worklist(question) => {
                let zone = zone(door);
                let today = zone.to_datetime((door.world.now)()).date();
                gather(&*door.store, question, &zone, today).await
            }
        }
    };
    tokio::time::timeout(WITHIN, finding).await.unwrap_or_else(|_| {
        let what = format!(
            "the search took longer than {} s. Ask again later.",
            WITHIN.as_secs()
        );
        Err(MapError::new(Reason::Internal, None, what))
    })
}

/// Of the days that are asked for.
fn zone(door: &Door) -> TimeZone {
    let zone = door.channel.source.format_settings.zone.as_deref();
    TimeZone::get(zone.unwrap_or("Europe/Bucharest")).unwrap_or(TimeZone::UTC)
}

/// The studies that are asked for, the newest changes last.
async fn images(door: &Door, asked: &[u8], question: &ArchiveQuestion) -> Result<Found, MapError> {
    let takes = |kept: &KeptStudy| door.format.takes(asked, kept);
    let gathering = async {
        let mut search = Search::new(&*door.store, question, &zone(door)).await?;
        let mut found = Found::default();
        let mut objects = 0;
        while let Some(kept) = search.next(&takes).await? {
            objects += kept.objects.len();
            found.studies.push(kept);
            if MOST_FOUND < found.studies.len() || MOST_FOUND < objects {
                return Err(SearchError::TooMany);
            }
        }
        Ok(found)
    };
    gathering.await.map_err(|error| match error {
        SearchError::TooMany => MapError::new(Reason::DataType, None, error.to_string()),
        SearchError::Store(error) => unavailable(&error),
    })
}

/// Who is asked for, the newest changes last.
async fn patients(door: &Door, question: &PatientQuestion) -> Result<Found, MapError> {
    let query = ClinicQuery {
        kinds: vec![Kind::Patient],
        keys: question.keys().into_iter().map(|key| vec![key]).collect(),
        limit: OPENED,
        ..ClinicQuery::default()
    };
    let rows = door
        .store
        .search(&query)
        .await
        .map_err(|error| unavailable(&error))?;
    if rows.len() == OPENED as usize {
        let what = "Too many people may be meant. Ask by more: a number, the birth date, a longer name.";
        return Err(MapError::new(Reason::DataType, None, what));
    }
    let is_asked = |record: &Record| match &record.aggregate {
        Aggregate::Patient(patient) => question.matches(patient),
        _ => false,
    };
    Ok(Found {
        records: rows.into_iter().filter(is_asked).collect(),
        ..Found::default()
    })
}

async fn record(
    door: &Door,
    id: uuid::Uuid,
    incoming: Incoming,
    error: Option<&MapError>,
) -> Result<(), StoreError> {
    let state = match error {
        None => MessageState::Answered,
        Some(_) => MessageState::Failed,
    };
    let keys = door.format.keys(&incoming.body);
    let message = NewMessage {
        id,
        replay_of: None,
        channel: door.channel.id.clone(),
        incoming,
        keys,
        state,
        failure: error.map(|error| Failure::of("source.questions", error.clone())),
        candidates: vec![],
        origin: None,
        resolutions: vec![],
        notes: Notes::default(),
    };
    // The same question again is answered again: it changes nothing, and the clinic may have changed.
    let commit = Commit {
        counters: vec![],
        message,
        again: None,
        applied: None,
        deliveries: vec![],
        dedup: None,
        made_by: None,
        asked: None,
    };
    door.store.commit(commit).await?;
    door.count(state);
    Ok(())
}

pub(super) fn unavailable(error: &StoreError) -> MapError {
    MapError::new(Reason::Internal, None, format!("{error}. Ask again later."))
}
