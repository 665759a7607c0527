//! From a message that was taken in to its commit: the steps run on a snapshot, and again where something has moved
//! meanwhile; what they ask is asked with no snapshot held.

use std::sync::Arc;

use clinic::apply::Snapshot;
use clinic::exchange::{Judgement, Reason};

use super::asking::{Asking, MOST, Question};
use super::case::{Case, decisions, unit};
use super::course::Beginning;
use super::door::{Door, Settled};
use super::events::{self, Listeners};
use super::ordering;
use super::outcome::Outcome;
use super::pipeline::{Applying, Pipeline};
use super::state::{self, Kept};
use crate::actor::Actor;
use crate::body::digest;
use crate::channel::{Channel, Step};
use crate::format::{Answered, Format};
use crate::message::{Failure, Incoming, MessageState};
use crate::script::CacheWrite;
use crate::store::{Commit, Committed, CounterKey, Repeat, StoreError};
use crate::waits;
/// How often a message is run on a fresh snapshot before the writer runs it itself.
const RERUNS: u32 = 5;
/// How often a message is run again where scripts follow the `apply`, before its sender is told to send it later.
const RERUNS_WITH_SCRIPTS: u32 = 50;

impl Door {
    /// Stores what can't be read, with the reason.
    pub(super) async fn keep(&self, mut case: Case, outcome: Outcome) -> Settled {
        // No dedup: what can't be read has no key to be trusted.
        case.is_known_again = false;
        let ran = Ran::of(&outcome);
        match self.store.commit(self.unit(&case, outcome)).await {
            Ok(Committed::Over) => Settled::Over,
            Ok(
                Committed::Stored { .. }
                | Committed::Repeat(_)
                | Committed::Moved
                | Committed::Conflict { .. },
            ) => {
                self.ring(&ran, &case);
                Settled::Stored {
                    id: case.id,
                    state: ran.state,
                    failure: ran.failure,
                    received_at: case.incoming.received_at,
                    is_repeat: false,
                }
            }
            Err(error) => self.refused(error),
        }
    }

    /// Runs the steps and commits, again where something has moved.
    pub(super) async fn settle(&self, mut case: Case) -> Settled {
        // At most twice: once as new, and once more where it failed before.
        loop {
            match self.commit(case.clone()).await {
                Ok(Done::Stored(settled)) => return settled,
                Ok(Done::Repeat(repeat)) if repeat.state == MessageState::Failed && case.again.is_none() => {
                    case.id = repeat.id;
                    case.again = Some(repeat.seq);
                }
                Ok(Done::Repeat(repeat)) => {
                    self.numbers.repeated();
                    return Settled::Stored {
                        id: repeat.id,
                        state: repeat.state,
                        failure: repeat.failure,
                        received_at: repeat.received_at,
                        is_repeat: true,
                    };
                }
                Err(error) => return self.refused(error),
            }
        }
    }

    pub(super) async fn commit(&self, case: Case) -> Result<Done, StoreError> {
        let (committed, ran) = match self.channel.split().filter(|_| !case.is_part()) {
            Some(settings) => {
                let outcome = self.whole(settings, &case.incoming).await;
                let ran = Ran::of(&outcome);
                (self.store.commit(self.unit(&case, outcome)).await?, ran)
            }
            None => self.run_and_commit(&case).await?,
        };
        self.committed(case, committed, ran).await
    }

    /// Runs the steps until what they have read still is so when it is written.
    async fn run_and_commit(&self, case: &Case) -> Result<(Committed, Ran), StoreError> {
        let _turn_of_course = self.turn_of_course(&case.keys).await;
        let beginning = self.beginning(case).await?;
        let takes_turns = !self.channel.counters.is_empty();
        // No other message waits while this one asks.
        let asked = match takes_turns && self.channel.asks() {
            true => Some(self.ask_ahead(case).await?),
            false => None,
        };
        // Held until the commit is done: no other message takes the same number meanwhile.
        let turn = match takes_turns {
            true => Some(self.state.turn(&self.channel).await),
            false => None,
        };
        let mut pipeline = self.prepare(case, asked.as_deref()).await?;
        let mut runs = 0;
        loop {
            let applying = self.apply(&pipeline)?;
            let outcome = beginning.weigh(self.complete(case, &pipeline, applying).await?);
            let outcome = told(&self.listeners(), &self.channel, case, outcome);
            let outcome = ordered(&self.channel, self.format.as_ref(), case, outcome);
            let ran = Ran::of(&outcome);
            let committed = self.store.commit(self.unit(case, outcome)).await?;
            if !matches!(committed, Committed::Moved) {
                return Ok((committed, ran));
            }
            if turn.is_some() {
                pipeline = self.prepare(case, Some(&pipeline)).await?;
            }
            runs += 1;
            self.numbers.reran();
            if self.channel.has_late_scripts() || self.channel.asks_late() {
                // The writer waits for no script and no answer.
                if RERUNS_WITH_SCRIPTS <= runs {
                    return Ok((committed, ran));
                }
            } else if RERUNS <= runs {
                return self.commit_exclusively(pipeline, case, beginning).await;
            }
        }
    }

    /// The `apply` on a fresh snapshot, which is given back at once.
    fn apply(&self, pipeline: &Pipeline) -> Result<Applying, StoreError> {
        let snapshot = self.store.snapshot()?;
        pipeline
            .apply_on(snapshot.as_ref())
            .map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// Runs a message to its end for the answers to what it asks; nothing else comes of it.
    async fn ask_ahead(&self, case: &Case) -> Result<Arc<Pipeline>, StoreError> {
        let pipeline = self.prepare(case, None).await?;
        if self.channel.asks_late() {
            self.complete(case, &pipeline, self.apply(&pipeline)?).await?;
        }
        Ok(pipeline)
    }

    /// What is told of a commit, and what follows it.
    async fn committed(&self, case: Case, committed: Committed, ran: Ran) -> Result<Done, StoreError> {
        let (id, received_at) = (case.id, case.incoming.received_at);
        match committed {
            Committed::Stored { .. } => {
                self.state.stored(&self.channel, &ran.cached, (self.world.now)());
                self.ring(&ran, &case);
                Ok(Done::Stored(Settled::Stored {
                    id,
                    state: ran.state,
                    failure: ran.failure,
                    received_at,
                    is_repeat: false,
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
                let outcome = Outcome::failed(failure);
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
                            is_repeat: false,
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

    /// Runs the steps before the `apply`, and asks what they ask. Scripts block, so that they have a thread where that harms
    /// nobody; a channel without them pays nothing. `before`: a run of the same message before this one.
    async fn prepare(&self, case: &Case, before: Option<&Pipeline>) -> Result<Arc<Pipeline>, StoreError> {
        let kept = self.kept().await?;
        let (channel, formats, world) = (self.channel.clone(), self.formats.clone(), self.world.clone());
        let actor = self.channel.actor(&case.incoming).map(str::to_owned);
        let mut pipeline = Pipeline::new(channel, formats, world, case.id, case.only.clone())
            .with_decisions(decisions(&case.resolutions))
            .by(actor)
            .answering(case.sent.clone())
            .with_content(self.content(&case.incoming).await?)
            .after(kept, before);
        for _ in 0..MOST {
            pipeline = if self.channel.has_early_scripts() {
                let incoming = case.incoming.clone();
                blocking(move || pipeline.prepared(&incoming)).await?
            } else {
                pipeline.prepared(&case.incoming)
            };
            let Some(question) = pipeline.asks() else {
                return Ok(Arc::new(pipeline));
            };
            let answered = self.ask_out(case, question).await;
            pipeline.answers().keep(question.clone(), answered);
        }
        Err(too_many_questions())
    }

    /// What tells a long message apart from others, where it is decoded.
    async fn content(&self, incoming: &Incoming) -> Result<Option<String>, StoreError> {
        let Some(name) = incoming.big.filter(|_| incoming.is_beginning()) else {
            return Ok(None);
        };
        let decodes = self
            .channel
            .steps
            .iter()
            .any(|step| matches!(step, Step::Decode { .. }));
        let begins = match decodes {
            true => self.format.content_begins(&incoming.body),
            false => None,
        };
        match begins {
            Some(begins) => digest(self.store.vault(), name, begins).await.map(Some),
            None => Ok(None),
        }
    }

    /// What the scripts of the channel find from the messages before.
    async fn kept(&self) -> Result<Kept, StoreError> {
        let counters = &self.channel.counters;
        let mut kept = Kept {
            state: Some(self.state.clone()),
            sides: Some(self.sides.clone()),
            store: Some(self.store.clone()),
            ..Kept::default()
        };
        if !counters.is_empty() {
            let keys: Vec<CounterKey> = counters.iter().map(|c| state::key(&self.channel, c)).collect();
            let given = self.store.counters(&keys).await?;
            let named = counters.iter().zip(given);
            kept.counted = named
                .filter_map(|(c, given)| Some((c.name.clone(), given?)))
                .collect();
        }
        Ok(kept)
    }

    /// Runs the steps after the `apply`, and asks what they ask.
    async fn complete(
        &self,
        case: &Case,
        pipeline: &Arc<Pipeline>,
        applying: Applying,
    ) -> Result<Outcome, StoreError> {
        let run = async |applying| {
            if self.channel.has_late_scripts() {
                let pipeline = pipeline.clone();
                blocking(move || pipeline.complete(applying)).await
            } else {
                Ok(pipeline.complete(applying))
            }
        };
        if self.channel.asks_late() {
            for _ in 0..MOST {
                match run(applying.clone()).await? {
                    Ok(outcome) => return Ok(outcome),
                    Err(question) => {
                        let answered = self.ask_out(case, &question).await;
                        pipeline.answers().keep(question, answered);
                    }
                }
            }
        }
        run(applying).await?.map_err(|_| too_many_questions())
    }

    /// Asks a destination for a message. No snapshot is held meanwhile.
    async fn ask_out(&self, case: &Case, question: &Question) -> Answered {
        let asking = Asking {
            store: self.store.as_ref(),
            world: &self.world,
            askables: &self.askables,
            channel: self.channel.owner(),
            actor: Actor {
                channel: Some(self.channel.id.clone()),
                ..Actor::default()
            },
            purpose: None,
            message: Some(case.id),
            patients: &case.keys.patients,
        };
        match asking.ask(question).await {
            Ok(told) => told.heard.answered,
            Err(error) => Answered::Not(Judgement::Retry {
                why: format!("what it answered could not be recorded: {error}"),
            }),
        }
    }

    /// The writer runs the steps itself, so that nothing can move meanwhile.
    async fn commit_exclusively(
        &self,
        pipeline: Arc<Pipeline>,
        case: &Case,
        beginning: Beginning,
    ) -> Result<(Committed, Ran), StoreError> {
        let seen = Arc::new(std::sync::Mutex::new(Ran::of(&Outcome::default())));
        let shared = seen.clone();
        let (case, channel, listeners) = (case.clone(), self.channel.clone(), self.listeners());
        let format = self.format.clone();
        let work = Box::new(move |snapshot: &dyn Snapshot| {
            let outcome = beginning.weigh(pipeline.finish(snapshot)?);
            let outcome = told(&listeners, &channel, &case, outcome);
            let outcome = ordered(&channel, format.as_ref(), &case, outcome);
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

    pub(super) fn unit(&self, case: &Case, outcome: Outcome) -> Commit {
        unit(&self.channel, case, outcome)
    }

    fn listeners(&self) -> Listeners {
        self.doors
            .upgrade()
            .map_or_else(|| Arc::new([]) as Listeners, |doors| doors.listeners())
    }

    /// Wakes whoever has something to do with what was stored, and counts it.
    fn ring(&self, ran: &Ran, case: &Case) {
        for (queue_of, destination) in &ran.queues {
            if let Some(channel) = queue_of {
                if let Some(doors) = self.doors.upgrade() {
                    doors.ring(channel, destination);
                }
            } else if let Some(bell) = self.bells.get(destination) {
                match case.again {
                    Some(_) => bell.ring_for_an_old_one(),
                    None => bell.ring(),
                }
            }
        }
        self.count(ran.state);
    }

    pub(super) fn refused(&self, error: StoreError) -> Settled {
        tracing::error!(channel = %self.channel.id, %error, "A message could not be stored; its sender was told to send it again.");
        self.numbers.not_stored();
        Settled::Not(error)
    }

    pub(super) fn count(&self, state: MessageState) {
        self.numbers.stored(state);
    }
}

/// What is told of an outcome after its commit; the rest of it has gone to the store.
#[derive(Clone)]
struct Ran {
    state: MessageState,
    failure: Option<Failure>,
    /// Whose workers are to be woken: channel, where it is another one, and name of the queue.
    queues: Vec<(Option<String>, String)>,
    /// What scripts wrote to caches.
    cached: Vec<CacheWrite>,
}

impl Ran {
    fn of(outcome: &Outcome) -> Self {
        Ran {
            state: outcome.state(),
            failure: outcome.failure.clone(),
            queues: outcome
                .deliveries
                .iter()
                .map(|delivery| (delivery.queue_of.clone(), delivery.destination.clone()))
                .collect(),
            cached: outcome.cached.clone(),
        }
    }
}

/// What came of a commit.
pub(super) enum Done {
    Stored(Settled),
    Repeat(Repeat),
}

/// An outcome with what is owed to those who listen to what it writes.
fn told(listeners: &Listeners, channel: &Channel, case: &Case, mut outcome: Outcome) -> Outcome {
    if let Some(applied) = outcome
        .applied
        .as_ref()
        .filter(|applied| !applied.writes.is_empty())
    {
        let trace = case.origin.as_ref().map_or(&[][..], |origin| &origin.trace);
        outcome
            .deliveries
            .extend(events::owed(listeners, applied, &channel.id, trace));
    }
    outcome
}

/// An outcome whose deliveries say with which others they keep their order.
fn ordered(channel: &Channel, format: &dyn Format, case: &Case, mut outcome: Outcome) -> Outcome {
    ordering::by_subject(channel, format, &case.incoming, &mut outcome.deliveries);
    outcome
}

fn too_many_questions() -> StoreError {
    StoreError::Unavailable(format!("the message asks more than {MOST} questions"))
}

/// Work on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    waits::blocking("the work on this message", || Ok(work())).await
}
