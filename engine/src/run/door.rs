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
use crate::message::{Failure, Incoming, MessageState, NewMessage};
use crate::store::{Commit, Committed, MessageFilter, Repeat, Store, StoreError};

/// How often a message is run on a fresh snapshot before the writer runs it itself.
const RERUNS: u32 = 5;
/// How many messages are looked through for the newest number.
const NEWEST: u32 = 1000;

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
}

#[async_trait]
impl Accept for Door {
    async fn accept(&self, mut incoming: Incoming) -> Acknowledgement {
        // As exact as it is stored, so that the answer to a repeat is that of the first to the letter.
        incoming.received_at = Timestamp::from_microsecond(incoming.received_at.as_microsecond())
            .unwrap_or(incoming.received_at);
        let body = incoming.body.clone();
        let refusal = self.format.inspect(&body).err();
        let settled = match refusal {
            Some(error) => self.keep(incoming, failure("source", &error)).await,
            None => self.settle(incoming, None, None).await,
        };
        self.acknowledge(&body, settled)
    }

    async fn reject(&self, kept: Incoming, why: String) -> Acknowledgement {
        let body = kept.body.clone();
        let failure = Failure {
            step: "source".into(),
            reason: Reason::Sequence,
            place: None,
            why,
        };
        let settled = self.keep(kept, failure).await;
        self.acknowledge(&body, settled)
    }

    async fn newest(&self, beginning: &str) -> Result<Option<String>, ConnectorError> {
        let filter = MessageFilter {
            channel: Some(self.channel.id.clone()),
            limit: NEWEST,
            ..MessageFilter::default()
        };
        let rows = self.store.messages(&filter).await;
        let rows = rows.map_err(|error| ConnectorError::new(error.to_string()))?;
        let mut numbers = rows.into_iter().filter_map(|row| row.control_id);
        Ok(numbers.find(|number| number.starts_with(beginning)))
    }
}

impl Door {
    /// Takes a stored message again, as new: to all destinations or some.
    pub async fn replay(&self, of: Uuid, incoming: Incoming, only: Option<Vec<String>>) -> Settled {
        self.settle(incoming, Some(of), only).await
    }

    /// What the sender is told. The same message is told the same each time: the stamp is that of the first.
    fn acknowledge(&self, body: &[u8], settled: Settled) -> Acknowledgement {
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
            Settled::Not(error) => {
                let error = MapError::new(Reason::Internal, None, format!("{error}. Send it again later."));
                (
                    (self.world.new_id)(),
                    (self.world.now)(),
                    Taken::Unavailable,
                    Some(error),
                )
            }
        };
        let verdict = error.as_ref().map_or(Verdict::Accepted, Verdict::Refused);
        let frames = self.format.replies(body, verdict, &Stamp { now: at, id }).frames;
        Acknowledgement {
            frames,
            outcome,
            note: error.map(|e| e.to_string()),
        }
    }

    /// Stores something that can't be processed, with the reason.
    async fn keep(&self, incoming: Incoming, failure: Failure) -> Settled {
        let id = (self.world.new_id)();
        let received_at = incoming.received_at;
        let outcome = Outcome {
            state: Some(MessageState::Failed),
            failure: Some(failure.clone()),
            ..Outcome::default()
        };
        let keys = self.format.keys(&incoming.body);
        let message = self.message(id, None, incoming, keys, &outcome);
        // No dedup: what can't be read has no key to be trusted.
        let commit = Commit {
            message,
            again: None,
            applied: None,
            deliveries: vec![],
            dedup: None,
        };
        match self.store.commit(commit).await {
            Ok(_) => {
                self.count(MessageState::Failed);
                Settled::Stored {
                    id,
                    state: MessageState::Failed,
                    failure: Some(failure),
                    received_at,
                }
            }
            Err(error) => self.refused(error),
        }
    }

    /// Runs the steps and commits, again where something has moved.
    async fn settle(
        &self,
        incoming: Incoming,
        replay_of: Option<Uuid>,
        only: Option<Vec<String>>,
    ) -> Settled {
        let mut keys = self.format.keys(&incoming.body);
        // The number of the sender counts; what the transport knows it by only where there is none.
        keys.control_id = keys.control_id.or_else(|| incoming.identity.clone());
        let mut id = (self.world.new_id)();
        let mut again = None;
        // At most twice: once as new, and once more where it failed before.
        loop {
            let case = Case {
                id,
                again,
                replay_of,
                incoming: incoming.clone(),
                keys: keys.clone(),
                only: only.clone(),
            };
            match self.commit(case).await {
                Ok(Done::Stored(settled)) => return settled,
                Ok(Done::Repeat(repeat)) if repeat.state == MessageState::Failed && again.is_none() => {
                    id = repeat.id;
                    again = Some(repeat.seq);
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
            case.incoming.body.clone(),
            case.incoming.content_type.clone(),
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

    fn message(
        &self,
        id: Uuid,
        replay_of: Option<Uuid>,
        incoming: Incoming,
        keys: Keys,
        outcome: &Outcome,
    ) -> NewMessage {
        NewMessage {
            id,
            replay_of,
            channel: self.channel.id.clone(),
            incoming,
            keys,
            state: outcome.state(),
            failure: outcome.failure.clone(),
            candidates: outcome.candidates.clone(),
        }
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
}

enum Done {
    Stored(Settled),
    Repeat(Repeat),
}

fn unit(channel: &Channel, case: &Case, outcome: Outcome) -> Commit {
    let state = outcome.state();
    let dedup = (case.replay_of.is_none() && case.keys.control_id.is_some()).then_some(channel.dedup);
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
        },
        again: case.again,
        applied: outcome.applied,
        deliveries: outcome.deliveries,
        dedup,
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
pub(super) fn incoming_again(body: Bytes, content_type: String, now: jiff::Timestamp) -> Incoming {
    Incoming {
        body,
        content_type,
        headers: vec![("origin".into(), "replay".into())],
        received_at: now,
        identity: None,
    }
}
