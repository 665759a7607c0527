//! The door of one channel: what its source hands in is run, committed, and only then acknowledged.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use clinic::apply::Snapshot;
use clinic::exchange::{Keys, MapError, Reason, Stamp, Verdict};
use jiff::Timestamp;
use uuid::Uuid;

use super::World;
use super::pipeline::{Outcome, Pipeline};
use super::worker::Bell;
use crate::channel::Channel;
use crate::connector::{Accept, Acknowledgement, ConnectorError, Outcome as Taken};
use crate::format::{Format, Formats};
use crate::message::{Failure, Incoming, MessageState, NewMessage, Origin};
use crate::store::{Commit, Committed, MadeBy, MessageFilter, Repeat, Store, StoreError};

/// How often a message is run on a fresh snapshot before the writer runs it itself.
const RERUNS: u32 = 5;
/// How many messages are looked through at once for the newest number, and how often.
const NEWEST_PAGE: u32 = 20;
const NEWEST_PAGES: u32 = 50;

/// The door of one channel.
pub(super) struct Door {
    pub channel: Arc<Channel>,
    pub formats: Formats,
    pub format: Arc<dyn Format>,
    pub store: Arc<dyn Store>,
    pub world: World,
    /// Wakes the worker of each destination.
    pub bells: HashMap<String, Arc<Bell>>,
}

/// What became of one message.
pub(super) enum Settled {
    /// Stored, now or before.
    Stored {
        id: Uuid,
        state: MessageState,
        failure: Option<Failure>,
        received_at: jiff::Timestamp,
    },
    /// Not stored.
    Not(StoreError),
    /// Not stored, since the delivery that was to make it is over.
    Over,
}

/// What comes in from another channel.
pub(super) struct Handed {
    pub incoming: Incoming,
    pub origin: Origin,
    /// The delivery that makes it.
    pub made_by: MadeBy,
    /// What came before with the same control id and content is the same message.
    pub is_known_again: bool,
}

#[async_trait]
impl Accept for Door {
    async fn accept(&self, incoming: Incoming) -> Acknowledgement {
        let body = incoming.body.clone();
        let settled = self.inspect_and_settle(self.case(incoming)).await;
        match self.answered_by_destination(&body, &settled).await {
            Some(answer) => answer,
            None => self.acknowledge(&body, settled),
        }
    }

    async fn reject(&self, kept: Incoming, why: String) -> Acknowledgement {
        let body = kept.body.clone();
        let failure = Failure {
            step: "source".into(),
            reason: Reason::Sequence,
            place: None,
            why,
        };
        let settled = self.keep(self.case(kept), failure).await;
        self.acknowledge(&body, settled)
    }

    async fn newest(&self, beginning: &str) -> Result<Option<String>, ConnectorError> {
        let mut filter = MessageFilter {
            channel: Some(self.channel.id.clone()),
            limit: NEWEST_PAGE,
            ..MessageFilter::default()
        };
        for _ in 0..NEWEST_PAGES {
            let rows = self.store.messages(&filter).await;
            let rows = rows.map_err(|error| ConnectorError::new(error.to_string()))?;
            let Some(last) = rows.last() else { break };
            filter.before = Some(last.seq);
            let mut numbers = rows.into_iter().filter_map(|row| row.control_id);
            if let Some(number) = numbers.find(|number| number.starts_with(beginning)) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}

impl Door {
    /// Takes a stored message again, as new: to all destinations or some.
    pub async fn replay(&self, of: Uuid, incoming: Incoming, only: Option<Vec<String>>) -> Settled {
        let case = Case {
            replay_of: Some(of),
            only,
            ..self.case(incoming)
        };
        self.settle(case).await
    }

    /// Takes what another channel hands in. Where it is stored, the delivery that made it has been written too.
    pub async fn take(&self, handed: Handed) -> Settled {
        let case = Case {
            origin: Some(handed.origin),
            made_by: Some(handed.made_by),
            is_known_again: handed.is_known_again,
            ..self.case(handed.incoming)
        };
        self.inspect_and_settle(case).await
    }

    /// A message from outside, as it is committed unless something else is said.
    fn case(&self, mut incoming: Incoming) -> Case {
        // As exact as it is stored, so that the answer to a repeat is that of the first to the letter.
        incoming.received_at = Timestamp::from_microsecond(incoming.received_at.as_microsecond())
            .unwrap_or(incoming.received_at);
        let keys = self.keys(&incoming);
        Case {
            id: (self.world.new_id)(),
            again: None,
            replay_of: None,
            keys,
            incoming,
            only: None,
            origin: None,
            made_by: None,
            is_known_again: true,
        }
    }

    async fn inspect_and_settle(&self, case: Case) -> Settled {
        match self.format.inspect(&case.incoming.body) {
            Err(error) => self.keep(case, failure("source", &error)).await,
            Ok(()) => self.settle(case).await,
        }
    }

    /// What the sender is told. The same message is told the same each time: the stamp is that of the first.
    fn acknowledge(&self, body: &[u8], settled: Settled) -> Acknowledgement {
        let state = match &settled {
            Settled::Stored { state, .. } => Some(*state),
            Settled::Over | Settled::Not(_) => None,
        };
        let (id, at, outcome, error) = match settled {
            Settled::Stored {
                id,
                received_at,
                state: MessageState::Failed,
                failure,
            } => {
                let error = failure.map_or_else(
                    || MapError::new(Reason::Internal, None, "the message could not be processed"),
                    |f| MapError {
                        reason: f.reason,
                        place: f.place,
                        what: f.why,
                    },
                );
                (id, received_at, Taken::Failed, Some(error))
            }
            Settled::Stored { id, received_at, .. } => (id, received_at, Taken::Stored, None),
            Settled::Over => self.unavailable("the delivery that makes it is over".into()),
            Settled::Not(error) => self.unavailable(format!("{error}. Send it again later.")),
        };
        let verdict = error.as_ref().map_or(Verdict::Accepted, Verdict::Refused);
        let frames = self.format.replies(body, verdict, &Stamp { now: at, id }).frames;
        Acknowledgement {
            frames,
            outcome,
            place: error
                .as_ref()
                .and_then(|error| error.place.as_ref())
                .map(ToString::to_string),
            note: error.map(|e| e.to_string()),
            message: state.is_some().then_some(id),
            state,
        }
    }

    /// What is told of a message that is not stored.
    fn unavailable(&self, why: String) -> (Uuid, Timestamp, Taken, Option<MapError>) {
        let error = MapError::new(Reason::Internal, None, why);
        (
            (self.world.new_id)(),
            (self.world.now)(),
            Taken::Unavailable,
            Some(error),
        )
    }

    /// What the message says of itself, and what the channel finds in it.
    fn keys(&self, incoming: &Incoming) -> Keys {
        let mut keys = self
            .channel
            .keys
            .of(self.format.as_ref(), &incoming.body, &incoming.headers);
        // The number of the sender counts; what the transport knows it by only where there is none.
        keys.control_id = keys.control_id.or_else(|| incoming.identity.clone());
        keys
    }

    /// Stores something that can't be processed, with the reason.
    async fn keep(&self, case: Case, failure: Failure) -> Settled {
        // No dedup: what can't be read has no key to be trusted.
        let case = Case {
            is_known_again: false,
            ..case
        };
        let outcome = Outcome {
            state: Some(MessageState::Failed),
            failure: Some(failure.clone()),
            ..Outcome::default()
        };
        match self.store.commit(self.unit(&case, outcome)).await {
            Ok(Committed::Over) => Settled::Over,
            Ok(
                Committed::Stored { .. }
                | Committed::Repeat(_)
                | Committed::Moved
                | Committed::Conflict { .. },
            ) => {
                self.count(MessageState::Failed);
                Settled::Stored {
                    id: case.id,
                    state: MessageState::Failed,
                    failure: Some(failure),
                    received_at: case.incoming.received_at,
                }
            }
            Err(error) => self.refused(error),
        }
    }

    /// Runs the steps and commits, again where something has moved.
    async fn settle(&self, mut case: Case) -> Settled {
        // At most twice: once as new, and once more where it failed before.
        loop {
            match self.commit(case.clone()).await {
                Ok(Done::Stored(settled)) => return settled,
                Ok(Done::Repeat(repeat)) if repeat.state == MessageState::Failed && case.again.is_none() => {
                    case.id = repeat.id;
                    case.again = Some(repeat.seq);
                }
                Ok(Done::Repeat(repeat)) => {
                    metrics::counter!("punte_repeats_total", "channel" => self.channel.id.clone())
                        .increment(1);
                    return Settled::Stored {
                        id: repeat.id,
                        state: repeat.state,
                        failure: repeat.failure,
                        received_at: repeat.received_at,
                    };
                }
                Err(error) => return self.refused(error),
            }
        }
    }

    async fn commit(&self, case: Case) -> Result<Done, StoreError> {
        let received_at = case.incoming.received_at;
        let id = case.id;
        let pipeline = Pipeline::new(
            self.channel.clone(),
            self.formats.clone(),
            self.world.clone(),
            id,
            &case.incoming,
            case.only.clone(),
        );
        let mut runs = 0;
        let (committed, ran) = loop {
            let outcome = {
                let snapshot = self.store.snapshot()?;
                pipeline
                    .finish(snapshot.as_ref())
                    .map_err(|e| StoreError::Unavailable(e.to_string()))?
            };
            let ran = Ran::of(&outcome);
            let committed = self.store.commit(self.unit(&case, outcome)).await?;
            if !matches!(committed, Committed::Moved) {
                break (committed, ran);
            }
            runs += 1;
            metrics::counter!("punte_reruns_total", "channel" => self.channel.id.clone()).increment(1);
            if RERUNS <= runs {
                break self.commit_exclusively(pipeline, &case).await?;
            }
        };
        match committed {
            Committed::Stored { .. } => {
                for destination in &ran.destinations {
                    if let Some(bell) = self.bells.get(destination) {
                        match case.again {
                            Some(_) => bell.ring_for_an_old_one(),
                            None => bell.ring(),
                        }
                    }
                }
                self.count(ran.state);
                Ok(Done::Stored(Settled::Stored {
                    id,
                    state: ran.state,
                    failure: ran.failure,
                    received_at,
                }))
            }
            Committed::Repeat(repeat) => Ok(Done::Repeat(repeat)),
            Committed::Conflict { what } => {
                let failure = Failure {
                    step: "apply".into(),
                    reason: Reason::Duplicate,
                    place: None,
                    why: what,
                };
                let outcome = Outcome {
                    state: Some(MessageState::Failed),
                    failure: Some(failure),
                    ..Outcome::default()
                };
                match self.store.commit(self.unit(&case, outcome.clone())).await? {
                    Committed::Repeat(repeat) => Ok(Done::Repeat(repeat)),
                    Committed::Over => Ok(Done::Stored(Settled::Over)),
                    Committed::Stored { .. } | Committed::Moved | Committed::Conflict { .. } => {
                        self.count(MessageState::Failed);
                        Ok(Done::Stored(Settled::Stored {
                            id,
                            state: MessageState::Failed,
                            failure: outcome.failure,
                            received_at,
                        }))
                    }
                }
            }
            Committed::Over => Ok(Done::Stored(Settled::Over)),
            Committed::Moved => Err(StoreError::Unavailable(
                "what the message speaks of keeps changing".into(),
            )),
        }
    }

    /// The writer runs the steps itself, so that nothing can move meanwhile.
    async fn commit_exclusively(
        &self,
        pipeline: Pipeline,
        case: &Case,
    ) -> Result<(Committed, Ran), StoreError> {
        let seen = Arc::new(std::sync::Mutex::new(Ran::of(&Outcome::default())));
        let shared = seen.clone();
        let (case, channel) = (case.clone(), self.channel.clone());
        let work = Box::new(move |snapshot: &dyn Snapshot| {
            let outcome = pipeline.finish(snapshot)?;
            if let Ok(mut slot) = shared.lock() {
                *slot = Ran::of(&outcome);
            }
            Ok(unit(&channel, &case, outcome))
        });
        let committed = self.store.commit_exclusively(work).await?;
        let ran = match seen.lock() {
            Ok(slot) => slot.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        Ok((committed, ran))
    }

    fn unit(&self, case: &Case, outcome: Outcome) -> Commit {
        unit(&self.channel, case, outcome)
    }

    fn refused(&self, error: StoreError) -> Settled {
        tracing::error!(channel = %self.channel.id, %error, "A message could not be stored; its sender was told to send it again.");
        metrics::counter!("punte_not_stored_total", "channel" => self.channel.id.clone()).increment(1);
        Settled::Not(error)
    }

    fn count(&self, state: MessageState) {
        metrics::counter!("punte_messages_total", "channel" => self.channel.id.clone(), "outcome" => state.as_str())
            .increment(1);
    }
}

/// What is told of an outcome after its commit; the rest of it has gone to the store.
#[derive(Clone)]
struct Ran {
    state: MessageState,
    failure: Option<Failure>,
    /// Whose workers are to be woken.
    destinations: Vec<String>,
}

impl Ran {
    fn of(outcome: &Outcome) -> Self {
        Ran {
            state: outcome.state(),
            failure: outcome.failure.clone(),
            destinations: outcome.deliveries.iter().map(|d| d.destination.clone()).collect(),
        }
    }
}

/// One message to be committed.
#[derive(Clone)]
struct Case {
    id: Uuid,
    again: Option<i64>,
    replay_of: Option<Uuid>,
    incoming: Incoming,
    keys: Keys,
    only: Option<Vec<String>>,
    origin: Option<Origin>,
    made_by: Option<MadeBy>,
    is_known_again: bool,
}

enum Done {
    Stored(Settled),
    Repeat(Repeat),
}

fn unit(channel: &Channel, case: &Case, outcome: Outcome) -> Commit {
    let state = outcome.state();
    let is_known_again = case.is_known_again && case.replay_of.is_none() && case.keys.control_id.is_some();
    let mut made_by = case.made_by.clone();
    if let Some(ends) = made_by.as_mut().and_then(|made_by| made_by.ends.as_mut()) {
        ends.why = matches!(state, MessageState::Failed | MessageState::Parked)
            .then(|| format!("the message in {} is {}", channel.id, state.as_str()));
    }
    Commit {
        message: NewMessage {
            id: case.id,
            replay_of: case.replay_of,
            channel: channel.id.clone(),
            incoming: case.incoming.clone(),
            keys: case.keys.clone(),
            state,
            failure: outcome.failure,
            candidates: outcome.candidates,
            origin: case.origin.clone(),
        },
        again: case.again,
        applied: outcome.applied,
        deliveries: outcome.deliveries,
        dedup: is_known_again.then_some(channel.dedup),
        made_by,
    }
}

fn failure(step: &str, error: &MapError) -> Failure {
    Failure {
        step: step.into(),
        reason: error.reason,
        place: error.place.clone(),
        why: error.what.clone(),
    }
}

/// The bytes of an incoming message, to be taken again.
pub(super) fn incoming_again(
    body: Bytes,
    content_type: String,
    mut headers: Vec<(String, String)>,
    now: jiff::Timestamp,
) -> Incoming {
    // What the transport said stays: the steps of the channel may ask for it.
    headers.retain(|(name, _)| name != "origin");
    headers.push(("origin".into(), "replay".into()));
    Incoming {
        body,
        content_type,
        headers,
        received_at: now,
        identity: None,
    }
}
