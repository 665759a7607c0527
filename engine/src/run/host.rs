//! The engine as a whole: opens the ends of all channels, runs them, and stops them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use clinic::apply::Snapshot;
use jiff::Timestamp;

use super::World;
use super::asking::{Answers, Askables, Asking, Question, Told};
use super::door::Door;
use super::doors::Doors;
use super::doorway::Life;
use super::halt::known_destination;
use super::lane::Lanes;
use super::numbers::{Numbers, Total};
use super::outcome::Outcome;
use super::pipeline::Pipeline;
use super::servers::Servers;
use super::state::State;
use super::tasks::Tasks;
use super::trace::{Trace, trace_halt};
use super::upkeep;
use crate::actor::Actor;
use crate::channel::ask::is_address;
use crate::channel::{Channel, Keep, no_channel};
use crate::connector::{Asks, ConnectorError, Connectors};
use crate::format::Formats;
use crate::message::Failure;
use crate::store::{Halt, Store, StoreError};

/// What an engine is put together from.
pub struct Parts {
    /// The channels, checked.
    pub channels: Vec<Channel>,
    /// The formats of this program.
    pub formats: Formats,
    /// The connectors of this program.
    pub connectors: Connectors,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time and ids.
    pub world: World,
    /// How long messages are kept whose channel does not say it.
    pub keep: Keep,
}

/// The engine can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An end of a channel can't be opened.
    #[error("{file}: {end}: {error}")]
    Open {
        /// The channel's file.
        file: String,
        /// Which end.
        end: String,
        /// Why.
        error: ConnectorError,
    },
    /// Something that was named is not there.
    #[error("{0}")]
    NotThere(String),
    /// It can't be done as things stand.
    #[error("{0}")]
    NotNow(String),
    /// What was asked is wrong in itself.
    #[error("{0}")]
    Wrong(String),
    /// The store can't do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A channel as it is listed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ChannelRow {
    /// Its name.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// Its connector and, where it listens, its address.
    pub source: String,
    /// `running`, `paused` or `stopped` by a person; `ended` where its source ended by itself.
    pub state: &'static str,
    /// The address that its source listens on.
    pub listens: Option<SocketAddr>,
    /// Its destinations.
    pub destinations: Vec<String>,
    /// How many messages of each state it has.
    pub messages: BTreeMap<String, u64>,
    /// What waits for each destination: state and number.
    pub queues: BTreeMap<String, BTreeMap<String, u64>>,
    /// What of it stands still, by whom, since when and why.
    pub halts: Vec<Halt>,
    /// Which of its destinations are shut just now, so that what is for them waits.
    pub shut: Vec<Shut>,
    /// Which of its destinations take nothing, so that they are left alone for a while.
    pub left_alone: Vec<LeftAlone>,
}

/// A destination whose circuit breaker is open.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LeftAlone {
    /// The destination.
    pub destination: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is asked by the next delivery.
    pub next: Timestamp,
}

/// A destination outside its window.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Shut {
    /// The destination.
    pub destination: String,
    /// When it opens.
    pub until: Option<Timestamp>,
    /// The same in words, by the clock of the channel's zone: `shut until Mon 07:00`.
    pub says: String,
}

/// What of a channel is outside its window. What stands still is left out: it does not wait for that.
fn shut(channel: &Channel, halts: &[Halt], now: Timestamp) -> Vec<Shut> {
    let stands_still = |name: &str| {
        let mut of = halts.iter().map(|halt| halt.destination.as_deref());
        of.any(|halted| halted.is_none_or(|halted| halted == name))
    };
    let running = channel.destinations.iter().filter(|d| !stands_still(&d.name));
    let shut = running.filter_map(|destination| {
        let window = destination.window.as_ref()?;
        Some(Shut {
            destination: destination.name.clone(),
            until: window.shut_until(now),
            says: window.says(now)?,
        })
    });
    shut.collect()
}

/// A running engine.
pub struct Engine {
    pub(super) lives: RwLock<BTreeMap<String, Life>>,
    /// The doors of the channels that take something, for those that lead to them.
    pub(super) doors: Arc<Doors>,
    pub(super) lanes: Lanes,
    /// The destinations that can be asked.
    pub(super) askables: Arc<Askables>,
    /// What servers were told.
    pub(super) servers: Arc<Servers>,
    /// What is counted.
    pub(super) numbers: Arc<Numbers>,
    pub(super) halts: RwLock<Vec<Halt>>,
    /// What scripts keep.
    pub(super) state: Arc<State>,
    /// One change at a time: a reload, a start, a stop.
    pub(super) change: tokio::sync::Mutex<()>,
    pub(super) connectors: Connectors,
    pub(super) store: Arc<dyn Store>,
    pub(super) formats: Formats,
    pub(super) world: World,
    pub(super) tasks: Tasks,
    pub(super) keep: Keep,
    /// Told when there is a new data key.
    pub(super) renewed: Arc<tokio::sync::Notify>,
}

impl Engine {
    /// Opens all ends; runs nothing if one of them can't be opened. What a person stopped stays so.
    pub async fn start(parts: Parts) -> Result<Arc<Engine>, EngineError> {
        let halts = parts.store.halts().await?;
        let engine = Arc::new(Engine {
            lives: RwLock::default(),
            doors: Arc::new(Doors::new()),
            lanes: Lanes::default(),
            askables: Arc::default(),
            servers: Arc::default(),
            numbers: Arc::default(),
            halts: RwLock::new(halts),
            state: Arc::default(),
            change: tokio::sync::Mutex::default(),
            connectors: parts.connectors,
            store: parts.store,
            formats: parts.formats,
            world: parts.world,
            tasks: Tasks::default(),
            keep: parts.keep,
            renewed: Arc::default(),
        });
        engine.reload(parts.channels).await?;
        upkeep::begin(&engine);
        Ok(engine)
    }

    pub(super) fn lives(&self) -> RwLockReadGuard<'_, BTreeMap<String, Life>> {
        self.lives.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lives_to_change(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Life>> {
        self.lives.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn door(&self, id: &str) -> Option<Arc<Door>> {
        self.lives().get(id).map(|life| life.doorway.door())
    }

    /// The store that it works on.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The formats of this program.
    pub fn formats(&self) -> &Formats {
        &self.formats
    }

    /// The channel of that name.
    pub fn channel(&self, id: &str) -> Option<Arc<Channel>> {
        self.door(id).map(|door| door.channel.clone())
    }

    /// The names of all channels, but those that the answers of destinations go through.
    pub fn channel_ids(&self) -> Vec<String> {
        let lives = self.lives();
        let files = lives.values().filter(|life| life.channel().answers_of.is_none());
        files.map(|life| life.channel().id.clone()).collect()
    }

    /// How much has gone through each channel since the program was started.
    pub fn totals(&self) -> Vec<Total> {
        self.numbers.totals()
    }

    /// The address that a channel's source listens on.
    pub fn listens(&self, id: &str) -> Option<SocketAddr> {
        self.lives().get(id)?.source.as_ref()?.address
    }

    /// The channel of that name, or what is said where there is none.
    pub fn known_channel(&self, id: &str) -> Result<Arc<Channel>, EngineError> {
        self.channel(id)
            .ok_or_else(|| EngineError::NotThere(no_channel(id, &self.channel_ids())))
    }

    /// All channels, with what they have done and what waits.
    pub async fn channels(&self) -> Result<Vec<ChannelRow>, EngineError> {
        let counts = self.store.counts().await?;
        let queues = self.store.queues().await?;
        let halts = self.halts.read().unwrap_or_else(PoisonError::into_inner);
        let lives = self.lives();
        let now = (self.world.now)();
        let rows = lives.values().map(|life| {
            let channel = life.channel();
            let messages = counts
                .iter()
                .filter(|(id, _, _)| *id == channel.id)
                .map(|(_, state, count)| (state.as_str().to_owned(), *count))
                .collect();
            let queues = queues
                .iter()
                .filter(|queue| queue.channel == channel.id)
                .map(|queue| {
                    let counts = queue
                        .counts
                        .iter()
                        .map(|(s, n)| (s.as_str().to_owned(), *n))
                        .collect();
                    (queue.destination.clone(), counts)
                })
                .collect();
            let halts: Vec<Halt> = halts
                .iter()
                .filter(|halt| halt.channel == channel.id)
                .cloned()
                .collect();
            let whole = halts.iter().find(|halt| halt.destination.is_none());
            let state = match (whole, &life.source) {
                (Some(halt), _) => halt.word.as_str(),
                (None, Some(source)) if !source.has_ended() => "running",
                (None, Some(_) | None) => "ended",
            };
            ChannelRow {
                id: channel.id.clone(),
                description: channel.description.clone(),
                source: channel.source.connector.clone(),
                state,
                listens: life.source.as_ref().and_then(|source| source.address),
                destinations: channel.destinations.iter().map(|d| d.name.clone()).collect(),
                messages,
                queues,
                shut: shut(&channel, &halts, now),
                left_alone: self.left_alone(&channel),
                halts,
            }
        });
        Ok(rows.collect())
    }

    /// Which destinations of a channel take nothing.
    fn left_alone(&self, channel: &Channel) -> Vec<LeftAlone> {
        let with_breaker = channel.destinations.iter().filter(|d| d.breaker.is_some());
        let bells = self.lanes.bells(&channel.id, with_breaker);
        let mut left_alone: Vec<LeftAlone> = bells
            .into_iter()
            .filter_map(|(destination, bell)| {
                let (since, next) = bell.left_alone()?;
                Some(LeftAlone {
                    destination,
                    since,
                    next,
                })
            })
            .collect();
        left_alone.sort_by(|one, other| one.destination.cmp(&other.destination));
        left_alone
    }

    /// Asks a destination in the name of somebody, and records it. `question.step`: the step for which it is asked, if any.
    pub async fn ask(
        &self,
        channel: &str,
        question: &Question,
        actor: Actor,
        purpose: Option<String>,
    ) -> Result<Told, EngineError> {
        let known = self.known_channel(channel)?;
        known_destination(&known, &question.destination)?;
        let question = &self.can_be_asked(&known, question)?;
        let asking = Asking {
            store: self.store.as_ref(),
            world: &self.world,
            askables: &self.askables,
            channel,
            actor,
            purpose,
            message: None,
            patients: &[],
        };
        Ok(asking.ask(question).await?)
    }

    /// A question as a destination can be asked now.
    fn can_be_asked(&self, channel: &Channel, question: &Question) -> Result<Question, EngineError> {
        let name = &question.destination;
        let end = channel.destinations.iter().find(|known| known.name == *name);
        let connector = end.and_then(|known| self.connectors.get(&known.end.connector));
        let asks = connector.as_ref().and_then(|connector| connector.asks());
        let (Some(end), Some(connector), Some(asks)) = (end, connector, asks) else {
            return Err(EngineError::Wrong(format!(
                "{name:?} is nothing that can be asked"
            )));
        };
        let text = String::from_utf8_lossy(&question.body);
        if question.body.trim_ascii().is_empty() {
            return Err(EngineError::Wrong("there is no question".to_owned()));
        }
        connector
            .check_question(&text)
            .map_err(|what| EngineError::Wrong(format!("the question: {what}")))?;
        let is_message = match asks {
            Asks::Address => false,
            Asks::Message => true,
            Asks::Either => !is_address(&text),
        };
        let format = self.formats.open(&end.end.format, &end.end.format_settings);
        let body = match format.filter(|_| is_message) {
            None => question.body.clone(),
            Some(format) => {
                let body = match question.step.as_str() {
                    "" => format.as_question(&text).into(),
                    // A step has made it.
                    _ => question.body.clone(),
                };
                let inspected = format.inspect(&body);
                inspected.map_err(|error| EngineError::Wrong(format!("the question: {error}")))?;
                body
            }
        };
        if !self.askables.has(&channel.id, name) {
            return Err(EngineError::NotNow(format!(
                "{name:?} of the channel {:?} stands still; start it: punte channels start {}/{name}",
                channel.id, channel.id
            )));
        }
        Ok(Question {
            body,
            ..question.clone()
        })
    }

    /// Stops sources and workers, waits for what is under way, closes the store.
    pub async fn stop(&self) -> Result<(), EngineError> {
        let _one = self.change.lock().await;
        self.tasks.end().await;
        Ok(self.store.close().await?)
    }
}

/// Runs the answer of a destination through the channel that its answers go through ([`crate::channel::Destination`]'s
/// `response`) and shows each step; writes and sends nothing, and asks nobody.
pub fn try_answer(
    response: Arc<Channel>,
    formats: &Formats,
    world: &World,
    sent: Bytes,
    answer: Bytes,
    snapshot: &dyn Snapshot,
) -> Result<(Outcome, Vec<Trace>), StoreError> {
    let inspected = formats
        .open(&response.source.format, &response.source.format_settings)
        .map_or(Ok(()), |format| format.inspect(&answer));
    if let Err(error) = inspected {
        let outcome = Outcome::failed(Failure::of("source", error));
        let said = trace_halt("source", &outcome, &[]);
        return Ok((outcome, vec![said]));
    }
    let id = (world.new_id)();
    let pipeline = Pipeline::new(response, formats.clone(), world.clone(), id, None);
    pipeline
        .answering(Some(sent))
        .show(answer, Arc::new(Answers::none()), snapshot)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}

/// Runs a message through a channel and shows each step; writes and sends nothing, and asks nobody: `answers` has what
/// destinations answer, and is told what would be asked.
pub fn try_message(
    channel: Arc<Channel>,
    formats: &Formats,
    world: &World,
    body: Bytes,
    answers: Arc<Answers>,
    snapshot: &dyn Snapshot,
) -> Result<(Outcome, Vec<Trace>), StoreError> {
    let id = (world.new_id)();
    Pipeline::new(channel, formats.clone(), world.clone(), id, None)
        .show(body, answers, snapshot)
        .map_err(|error| StoreError::Unavailable(error.to_string()))
}
