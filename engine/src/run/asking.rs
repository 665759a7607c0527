//! Questions that go out: a destination is asked, by a `lookup` step, by a worker that does not know what became of what
//! it sent, or by the API, on the connector that its deliveries go by. It is recorded with what was answered, and never
//! queued.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use clinic::exchange::{Judgement, Keys, MapError, Reason, Response};
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::World;
use super::lane::is_same;
use crate::actor::Actor;
use crate::channel::{Channel, Destination as Settings, End};
use crate::connector::{About, Connectors, Destination, Outgoing, SendError, Surroundings};
use crate::format::{Answered, Format, Formats};
use crate::message::{ASKED, By, Failure, Incoming, MessageDetail, MessageState, NewMessage, Notes, Origin};
use crate::store::{Access, AccessOutcome, Asked, Commit, MessageFilter, Store, StoreError};

/// Questions that one destination is asked at once; the others wait for their turn, within their time.
const AT_ONCE: usize = 8;
/// Questions that are asked for one message.
pub(super) const MOST: usize = 64;
/// How long after a message its questions are looked for, and among how many.
const ASKED_WITHIN: Duration = Duration::from_secs(600);
const MOST_RECORDS: u32 = 1_000;
/// Of an answer the store keeps so much.
const KEPT: usize = 64 * 1024;
/// Of a question so many letters stand in the journal.
const WORDS: usize = 1_000;
/// The header of a question that says which step has asked.
const ASKED_BY: &str = "asked:by";
/// How the name of a question ends that a worker asks, of what is unsure.
pub(super) const ON_UNSURE: &str = ".on_unsure";

/// A question, as it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which step asks: `step[1].lookup`, `destination[0].on_unsure`; empty: the API.
    pub step: String,
    /// Which destination.
    pub destination: String,
    /// Its bytes.
    pub body: Bytes,
    /// How long it may take.
    pub within: Duration,
}

/// What destinations have answered to the questions for one message: kept, so that a re-run never asks again.
#[derive(Default)]
pub struct Answers {
    known: Mutex<Vec<(Question, Answered)>>,
    /// The number and the time of each step's question: the same in a re-run.
    stamps: Mutex<HashMap<String, (Uuid, Timestamp)>>,
    /// What destinations would answer, where nobody is asked.
    recorded: Vec<Recorded>,
    /// Nobody is asked: what is not known is noted, and the message goes on without.
    only_rehearses: bool,
    open: Mutex<Vec<Question>>,
}

/// What a destination has answered once.
struct Recorded {
    destination: String,
    /// To this question; none: to any.
    question: Option<Bytes>,
    /// None: nothing was found.
    response: Option<Response>,
}

/// Why an accepted answer brought nothing, as it is recorded.
const NOTHING: &str = "nothing was found";

/// What is known of a question.
pub(super) enum Known {
    /// It was answered.
    Answer(Answered),
    /// It is to be asked.
    Asks,
    /// It would be asked.
    WouldAsk,
}

impl Answers {
    /// Where nobody is asked; these are what destinations answer, by their names.
    pub fn recorded(recorded: BTreeMap<String, Response>) -> Self {
        let recorded = recorded.into_iter().map(|(destination, response)| Recorded {
            destination,
            question: None,
            response: Some(response),
        });
        Answers {
            recorded: recorded.collect(),
            only_rehearses: true,
            ..Answers::default()
        }
    }

    /// Where nobody is asked; what was answered to the same questions for this message stands in their records.
    pub async fn of_message(store: &dyn Store, detail: &MessageDetail) -> Result<Self, StoreError> {
        let from = detail.row.received_at;
        let filter = MessageFilter {
            channel: Some(detail.row.channel.clone()),
            state: Some(MessageState::Answered),
            since: Some(from),
            until: Some(from.saturating_add(ASKED_WITHIN).unwrap_or(from)),
            limit: MOST_RECORDS,
            ..MessageFilter::default()
        };
        let mut answers = Answers::none();
        for row in store.messages(&filter).await? {
            let is_for_it = |origin: &Origin| origin.by == By::Ask && origin.message == detail.row.id;
            if !row.origin.as_ref().is_some_and(is_for_it) {
                continue;
            }
            let Some(record) = store.message(row.id).await? else {
                continue;
            };
            // What a worker asked was no step's question.
            let by = record.headers.iter().find(|(name, _)| name == ASKED_BY);
            if by.is_some_and(|(_, step)| step.ends_with(ON_UNSURE)) {
                continue;
            }
            let asked = record.deliveries.into_iter().next();
            let attempt = asked.and_then(|mut asked| Some((asked.row.destination, asked.attempts.pop()?)));
            let Some((destination, attempt)) = attempt else {
                continue;
            };
            let response = match attempt.why.as_deref() {
                Some(NOTHING) => None,
                Some(_) | None => match attempt.response {
                    // What was cut says nothing.
                    Some(body) if body.len() < KEPT => Some(Response {
                        body: body.to_vec(),
                        ..Response::default()
                    }),
                    Some(_) | None => continue,
                },
            };
            answers.recorded.push(Recorded {
                destination,
                question: Some(record.body),
                response,
            });
        }
        Ok(answers)
    }

    /// Where nobody is asked.
    pub fn none() -> Self {
        Self::recorded(BTreeMap::new())
    }

    /// The questions that were not asked, since nobody is.
    pub fn not_asked(&self) -> Vec<Question> {
        lock(&self.open).clone()
    }

    /// The questions that have an answer, in their order.
    pub fn asked(&self) -> Vec<Question> {
        lock(&self.known)
            .iter()
            .map(|(question, _)| question.clone())
            .collect()
    }

    /// Keeps an answer.
    pub fn keep(&self, question: Question, answered: Answered) {
        lock(&self.open).retain(|open| *open != question);
        lock(&self.known).push((question, answered));
    }

    pub(super) fn stamp(&self, step: &str, world: &World) -> (Uuid, Timestamp) {
        let fresh = || ((world.new_id)(), (world.now)());
        *lock(&self.stamps).entry(step.to_owned()).or_insert_with(fresh)
    }

    /// What is known of a question to a destination of this format.
    pub(super) fn of(&self, question: &Question, format: &dyn Format) -> Known {
        let known = lock(&self.known)
            .iter()
            .find(|(known, _)| known == question)
            .map(|(_, answered)| answered.clone());
        if let Some(answered) = known {
            return Known::Answer(answered);
        }
        if !self.only_rehearses {
            return Known::Asks;
        }
        let recorded = self.recorded.iter().find(|recorded| {
            let to_it = recorded.question.as_ref();
            recorded.destination == question.destination && to_it.is_none_or(|to| *to == question.body)
        });
        match recorded {
            Some(Recorded { response, .. }) => {
                let response = response.as_ref();
                let answered = response.map_or(Answered::Nothing, |response| {
                    format.answered(&question.body, response)
                });
                self.keep(question.clone(), answered.clone());
                Known::Answer(answered)
            }
            None => {
                let mut open = lock(&self.open);
                if !open.contains(question) {
                    open.push(question.clone());
                }
                Known::WouldAsk
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A destination that can be asked: the opened connector that its deliveries go by.
pub struct Askable {
    channel: String,
    name: String,
    end: End,
    format: Arc<dyn Format>,
    destination: Arc<dyn Destination>,
    turns: Semaphore,
}

/// What was heard from a destination.
pub struct Heard {
    /// What it means.
    pub answered: Answered,
    /// As it came; none: nothing came.
    pub response: Option<Response>,
}

impl Askable {
    pub(super) fn new(
        channel: &str,
        settings: &Settings,
        format: Arc<dyn Format>,
        destination: Arc<dyn Destination>,
    ) -> Self {
        Askable {
            channel: channel.to_owned(),
            name: settings.name.clone(),
            end: settings.end.clone(),
            format,
            destination,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Opens a destination of a channel only to ask it, for those who have no engine.
    pub async fn open(
        channel: &Channel,
        name: &str,
        connectors: &Connectors,
        formats: &Formats,
    ) -> Result<Self, String> {
        let settings = channel
            .destinations
            .iter()
            .find(|destination| destination.name == name);
        let settings = settings.ok_or_else(|| format!("the channel has no destination {name:?}"))?;
        let end = &settings.end;
        let connector = connectors
            .get(&end.connector)
            .ok_or_else(|| format!("there is no connector {:?} in this program", end.connector))?;
        let format = formats
            .open(&end.format, &end.format_settings)
            .ok_or_else(|| format!("there is no format {:?} in this program", end.format))?;
        let surroundings = Surroundings {
            folder: channel.file.parent().map(Into::into).unwrap_or_default(),
            ..Surroundings::default()
        };
        let destination = connector
            .open_destination(&end.settings, &surroundings)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Self::new(&channel.id, settings, format, destination))
    }

    /// The format of its answers.
    pub(super) fn format(&self) -> &dyn Format {
        self.format.as_ref()
    }

    /// Asks, and reads the answer. Whatever happens, it ends in time.
    pub async fn ask(&self, id: Uuid, question: &Question) -> Heard {
        let outgoing = Outgoing {
            delivery: 0,
            body: question.body.clone(),
            big: None,
            content_type: self.format.content_type().to_owned(),
            about: About {
                message: id,
                channel: self.channel.clone(),
                ..About::default()
            },
        };
        let format = self.format.clone();
        let asked = question.body.clone();
        let mine = move |candidate: &[u8]| format.answers(&asked, candidate);
        let exchange = async {
            // It is never closed.
            let _turn = self.turns.acquire().await;
            self.destination.query(&outgoing, &mine).await
        };
        let came = tokio::time::timeout(question.within, AssertUnwindSafe(exchange).catch_unwind()).await;
        let not = |judgement| Heard {
            answered: Answered::Not(judgement),
            response: None,
        };
        match came {
            Ok(Ok(Ok(response))) => Heard {
                answered: self.format.answered(&question.body, &response),
                response: Some(response),
            },
            Ok(Ok(Err(SendError::Retry { why, .. }))) => not(Judgement::Retry { why }),
            Ok(Ok(Err(SendError::Refused { why }))) => not(Judgement::Refused { why }),
            Ok(Ok(Err(SendError::Unsure { why } | SendError::BrokenOff { why, .. }))) => {
                not(Judgement::Unsure { why })
            }
            Ok(Err(_)) => not(Judgement::Unsure {
                why: "the connector panicked; please report it".into(),
            }),
            Err(_) => not(Judgement::Unsure {
                why: format!(
                    "no answer within {}",
                    crate::channel::duration::show(question.within)
                ),
            }),
        }
    }
}

/// Those of all channels, by channel and destination.
#[derive(Default)]
pub(super) struct Askables {
    open: RwLock<BTreeMap<(String, String), Arc<Askable>>>,
}

impl Askables {
    pub(super) fn put(&self, askable: Askable) {
        let key = (askable.channel.clone(), askable.name.clone());
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(key, Arc::new(askable));
    }

    /// Keeps those that are still wanted.
    pub(super) fn retain(&self, is_wanted: impl Fn(&str, &str) -> bool) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(channel, name), _| is_wanted(channel, name));
    }

    /// Whether there is one with this end.
    pub(super) fn runs(&self, channel: &str, settings: &Settings) -> bool {
        self.get(channel, &settings.name)
            .is_some_and(|askable| is_same(&askable.end, &settings.end))
    }

    pub(super) fn has(&self, channel: &str, name: &str) -> bool {
        self.get(channel, name).is_some()
    }

    pub(super) fn get(&self, channel: &str, name: &str) -> Option<Arc<Askable>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&(channel.to_owned(), name.to_owned())).cloned()
    }
}

/// Who asks, and for whom.
pub(super) struct Asking<'a> {
    pub store: &'a dyn Store,
    pub world: &'a World,
    pub askables: &'a Askables,
    /// By a destination of this channel.
    pub channel: &'a str,
    pub actor: Actor,
    pub purpose: Option<String>,
    /// The message that is asked for.
    pub message: Option<Uuid>,
    /// Whom it is about, as far as it is known before.
    pub patients: &'a [String],
}

/// A question that was asked, and its record.
pub struct Told {
    /// The message that records it.
    pub id: Uuid,
    /// What was heard.
    pub heard: Heard,
}

impl Asking<'_> {
    /// Asks, writes down what was asked and what was answered, and notes in the journal who was told of whom. Without the
    /// record there is no answer.
    pub(super) async fn ask(&self, question: &Question) -> Result<Told, StoreError> {
        let id = (self.world.new_id)();
        let received_at = (self.world.now)();
        let askable = self.askables.get(self.channel, &question.destination);
        let heard = match &askable {
            Some(askable) => askable.ask(id, question).await,
            None => Heard {
                answered: Answered::Not(Judgement::Retry {
                    why: "it stands still: a person has stopped it (punte channels)".into(),
                }),
                response: None,
            },
        };
        self.count(question, &heard.answered);
        let keys = self.keys(askable.as_deref(), question, &heard.answered);
        let identifiers = keys.patients.clone();
        self.store
            .commit(self.record(id, received_at, question, &heard, keys))
            .await?;
        let is_found = matches!(heard.answered, Answered::Found(_));
        let access = Access {
            at: received_at,
            actor: self.actor.clone(),
            action: "ask".to_owned(),
            what: vec![
                format!("destination/{}/{}", self.channel, question.destination),
                format!("message/{id}"),
            ],
            patients: vec![],
            identifiers,
            outcome: match is_found {
                true => AccessOutcome::Shown,
                false => AccessOutcome::Nothing,
            },
            words: Some(words(&question.body)),
            purpose: self.purpose.clone(),
        };
        self.store.accessed(access).await?;
        Ok(Told { id, heard })
    }

    /// By what the record is found: its number, and whom it is about.
    fn keys(&self, askable: Option<&Askable>, question: &Question, answered: &Answered) -> Keys {
        let Some(askable) = askable else {
            return Keys::default();
        };
        let of_question = askable.format.keys(&question.body);
        let mut patients = self.patients.to_vec();
        patients.extend(of_question.patients);
        if let Answered::Found(found) = answered {
            patients.extend(askable.format.keys(found).patients);
        }
        patients.sort();
        patients.dedup();
        Keys {
            control_id: of_question.control_id,
            message_type: of_question.message_type,
            patients,
            ..Keys::default()
        }
    }

    fn record(
        &self,
        id: Uuid,
        received_at: Timestamp,
        question: &Question,
        heard: &Heard,
        keys: Keys,
    ) -> Commit {
        let failure = failed(&question.destination, &heard.answered).map(|error| {
            let step = match question.step.as_str() {
                "" => "ask",
                step => step,
            };
            Failure::of(step, error)
        });
        let mut headers = self.actor.headers();
        headers.push((ASKED.to_owned(), question.destination.clone()));
        if !question.step.is_empty() {
            headers.push((ASKED_BY.to_owned(), question.step.clone()));
        }
        let (verdict, why) = verdict(&heard.answered);
        let message = NewMessage {
            id,
            replay_of: None,
            channel: self.channel.to_owned(),
            incoming: Incoming {
                body: question.body.clone(),
                big: None,
                content_type: "text/plain".to_owned(),
                headers,
                received_at,
                identity: None,
            },
            keys,
            state: match failure {
                None => MessageState::Answered,
                Some(_) => MessageState::Failed,
            },
            failure,
            candidates: vec![],
            origin: self.message.map(|message| Origin {
                by: By::Ask,
                message,
                delivery: 0,
                number: 1,
                of: 1,
                trace: vec![],
            }),
            resolutions: vec![],
            notes: Notes::default(),
        };
        Commit {
            message,
            again: None,
            applied: None,
            deliveries: vec![],
            dedup: None,
            made_by: None,
            counters: vec![],
            asked: Some(Asked {
                destination: question.destination.clone(),
                at: (self.world.now)(),
                verdict,
                why,
                response: heard
                    .response
                    .as_ref()
                    .map(|response| Bytes::copy_from_slice(&response.body)),
            }),
        }
    }

    /// The one place for the log line and the number of a question.
    fn count(&self, question: &Question, answered: &Answered) {
        let destination = &question.destination;
        let outcome = match answered {
            Answered::Found(_) => "found",
            Answered::Nothing => "nothing",
            Answered::Several(_) => "several",
            Answered::Not(_) => "failed",
        };
        metrics::counter!("punte_questions_total", "channel" => self.channel.to_owned(), "destination" => destination.clone(), "outcome" => outcome)
            .increment(1);
        if let Answered::Not(_) = answered {
            let why = verdict(answered).1.unwrap_or_default();
            tracing::warn!(channel = self.channel, %destination, why, "A question was not answered.");
        }
    }
}

/// What of a question stands in the journal.
pub(super) fn words(question: &[u8]) -> String {
    String::from_utf8_lossy(question).chars().take(WORDS).collect()
}

/// Why several say nothing.
pub(super) fn several(destination: &str, count: usize) -> String {
    format!("{destination} has found {count}, and which one is meant can't be known. Ask by more")
}

fn verdict(answered: &Answered) -> (&'static str, Option<String>) {
    match answered {
        Answered::Found(_) => ("accepted", None),
        Answered::Nothing => ("accepted", Some(NOTHING.into())),
        Answered::Several(count) => ("accepted", Some(format!("{count} were found"))),
        Answered::Not(Judgement::Refused { why }) => ("refused", Some(why.clone())),
        Answered::Not(Judgement::Retry { why }) => ("retry", Some(why.clone())),
        Answered::Not(Judgement::Unsure { why }) => ("unsure", Some(why.clone())),
        Answered::Not(Judgement::Accepted | Judgement::Pending { .. }) => ("unsure", None),
    }
}

/// Why there is no answer that can be believed; none: there is one.
pub(super) fn failed(destination: &str, answered: &Answered) -> Option<MapError> {
    let what = match answered {
        Answered::Found(_) | Answered::Nothing | Answered::Several(_) => return None,
        Answered::Not(Judgement::Refused { why }) => format!("{destination} refused the question: {why}"),
        Answered::Not(Judgement::Retry { why }) => format!("{destination} could not be asked: {why}"),
        Answered::Not(Judgement::Unsure { why }) => {
            format!("{destination} gave no answer that can be believed: {why}")
        }
        Answered::Not(Judgement::Accepted | Judgement::Pending { .. }) => {
            format!("{destination} gave no answer")
        }
    };
    Some(MapError::new(Reason::Internal, None, what))
}
