//! The engine as a whole: opens the ends of all channels, runs them, and stops them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use clinic::apply::Snapshot;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::World;
use super::door::{Door, Settled, incoming_again};
use super::doors::Doors;
use super::events::{CLINIC, EVENTS};
use super::feeder::{Feeder, Feeds};
use super::link::LINK;
use super::pipeline::{Outcome, Pipeline, Trace};
use super::worker::{Bell, Worker};
use crate::channel::{Channel, OnError};
use crate::connector::{ConnectorError, Connectors, Stop, Surroundings};
use crate::format::Formats;
use crate::message::{By, MessageState};
use crate::split::PARTS;
use crate::store::{Store, StoreError};

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
    /// The address that its source listens on.
    pub listens: Option<SocketAddr>,
    /// Its destinations.
    pub destinations: Vec<String>,
    /// How many messages of each state it has.
    pub messages: BTreeMap<String, u64>,
    /// What waits for each destination: state and number.
    pub queues: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A running engine.
pub struct Engine {
    doors: Arc<Doors>,
    listens: BTreeMap<String, Option<SocketAddr>>,
    store: Arc<dyn Store>,
    formats: Formats,
    world: World,
    stop: Stop,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

impl Engine {
    /// Opens all ends; runs nothing if one of them can't be opened.
    pub async fn start(parts: Parts) -> Result<Arc<Engine>, EngineError> {
        let stop = Stop::new();
        let mut tasks = JoinSet::new();
        let doors = Arc::new(Doors::new());
        let mut listens = BTreeMap::new();
        let mut sources = vec![];
        let mut workers = vec![];
        let mut feeders = vec![];
        for channel in parts.channels {
            let channel = Arc::new(channel);
            let surroundings = Surroundings {
                folder: channel.file.parent().map(Into::into).unwrap_or_default(),
            };
            let mut bells = HashMap::new();
            for (idx, settings) in channel.destinations.iter().enumerate() {
                let open_error = |error| EngineError::Open {
                    file: channel.file.display().to_string(),
                    end: format!("destination[{idx}].{}", settings.end.connector),
                    error,
                };
                let bell = Arc::new(Bell::default());
                bells.insert(settings.name.clone(), bell.clone());
                if settings.end.connector == LINK {
                    feeders.push(Feeder {
                        channel: channel.id.clone(),
                        queue: settings.name.clone(),
                        target: settings.end.settings.as_str().unwrap_or_default().to_owned(),
                        feeds: Feeds::Link,
                        on_error: settings.on_error,
                        doors: doors.clone(),
                        store: parts.store.clone(),
                        world: parts.world.clone(),
                        bell,
                        stop: stop.child_token(),
                    });
                    continue;
                }
                let connector = connector(&parts.connectors, &settings.end.connector).map_err(open_error)?;
                let destination = connector
                    .open_destination(&settings.end.settings, &surroundings)
                    .await
                    .map_err(open_error)?;
                let format = parts
                    .formats
                    .get(&settings.end.format)
                    .ok_or_else(|| no_format(&settings.end.format))?;
                workers.push(Worker {
                    channel: channel.clone(),
                    settings: settings.clone(),
                    format,
                    destination,
                    answers: connector.answers(),
                    store: parts.store.clone(),
                    world: parts.world.clone(),
                    bell,
                    stop: stop.child_token(),
                });
            }
            let own = [
                (channel.split().is_some(), PARTS, Feeds::Parts),
                (channel.source.connector == CLINIC, EVENTS, Feeds::Events),
            ];
            for (_, queue, feeds) in own.into_iter().filter(|(is_used, ..)| *is_used) {
                let bell = Arc::new(Bell::default());
                bells.insert(queue.to_owned(), bell.clone());
                feeders.push(Feeder {
                    channel: channel.id.clone(),
                    queue: queue.to_owned(),
                    target: channel.id.clone(),
                    feeds,
                    on_error: OnError::Hold,
                    doors: doors.clone(),
                    store: parts.store.clone(),
                    world: parts.world.clone(),
                    bell,
                    stop: stop.child_token(),
                });
            }
            let open_error = |error| EngineError::Open {
                file: channel.file.display().to_string(),
                end: format!("source.{}", channel.source.connector),
                error,
            };
            let connector = connector(&parts.connectors, &channel.source.connector).map_err(open_error)?;
            let source = connector
                .open_source(&channel.source.settings, &surroundings)
                .await
                .map_err(open_error)?;
            let door = Arc::new(Door {
                format: parts
                    .formats
                    .get(&channel.source.format)
                    .ok_or_else(|| no_format(&channel.source.format))?,
                channel: channel.clone(),
                formats: parts.formats.clone(),
                store: parts.store.clone(),
                world: parts.world.clone(),
                bells,
                doors: Arc::downgrade(&doors),
            });
            listens.insert(channel.id.clone(), source.local_address());
            doors.put(door.clone());
            sources.push((channel, source, door));
        }
        for worker in workers {
            tasks.spawn(worker.run());
        }
        for feeder in feeders {
            tasks.spawn(feeder.run());
        }
        for (channel, source, door) in sources {
            let stop = stop.child_token();
            tasks.spawn(async move {
                tracing::info!(channel = %channel.id, address = ?source.local_address(), "The channel is open.");
                if let Err(error) = source.run(door, stop).await {
                    tracing::error!(channel = %channel.id, %error, "The source ended; nothing more comes in by it.");
                }
            });
        }
        Ok(Arc::new(Engine {
            doors,
            listens,
            store: parts.store,
            formats: parts.formats,
            world: parts.world,
            stop,
            tasks: tokio::sync::Mutex::new(tasks),
        }))
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
        self.doors.get(id).map(|door| door.channel.clone())
    }

    /// The names of all channels.
    pub fn channel_ids(&self) -> Vec<String> {
        self.doors
            .all()
            .iter()
            .map(|door| door.channel.id.clone())
            .collect()
    }

    /// The address that a channel's source listens on.
    pub fn listens(&self, id: &str) -> Option<SocketAddr> {
        self.listens.get(id).copied().flatten()
    }

    /// All channels, with what they have done and what waits.
    pub async fn channels(&self) -> Result<Vec<ChannelRow>, EngineError> {
        let counts = self.store.counts().await?;
        let queues = self.store.queues().await?;
        Ok(self
            .doors
            .all()
            .iter()
            .map(|door| {
                let channel = &door.channel;
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
                ChannelRow {
                    id: channel.id.clone(),
                    description: channel.description.clone(),
                    source: channel.source.connector.clone(),
                    listens: self.listens(&channel.id),
                    destinations: channel.destinations.iter().map(|d| d.name.clone()).collect(),
                    messages,
                    queues,
                }
            })
            .collect())
    }

    /// Takes a stored message again, as new, with a link to its origin. `only`: to these destinations.
    pub async fn replay(
        &self,
        id: Uuid,
        only: Option<Vec<String>>,
    ) -> Result<(Uuid, MessageState), EngineError> {
        let detail = self
            .store
            .message(id)
            .await?
            .ok_or_else(|| EngineError::NotThere(format!("there is no message {id}")))?;
        let door = self.doors.get(&detail.row.channel).ok_or_else(|| {
            EngineError::NotThere(format!(
                "the channel {:?} of message {id} is not running",
                detail.row.channel
            ))
        })?;
        for name in only.iter().flatten() {
            if !door.channel.destinations.iter().any(|d| d.name == *name) {
                return Err(EngineError::NotThere(format!(
                    "the channel {:?} has no destination {name:?}",
                    detail.row.channel
                )));
            }
        }
        let origin = detail.row.origin;
        let is_part = origin.as_ref().is_some_and(|origin| origin.by == By::Part);
        if only.is_some() && door.channel.split().is_some() && !is_part {
            return Err(EngineError::NotThere(format!(
                "message {id} is a whole, whose parts go to the destinations; take it again as it is, or one of its parts"
            )));
        }
        let incoming = incoming_again(detail.body, detail.content_type, (self.world.now)());
        match door.replay(id, origin, incoming, only).await {
            Settled::Stored { id, state, .. } => Ok((id, state)),
            Settled::Not(error) => Err(error.into()),
            Settled::Over => Err(StoreError::Unavailable("the delivery that makes it is over".into()).into()),
        }
    }

    /// Stops sources and workers, waits for what is under way, closes the store.
    pub async fn stop(&self) -> Result<(), EngineError> {
        self.stop.cancel();
        let mut tasks = self.tasks.lock().await;
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "A task of the engine ended by a panic.");
            }
        }
        Ok(self.store.close().await?)
    }
}

/// Runs a message through a channel and shows each step; writes and sends nothing.
pub fn try_message(
    channel: Arc<Channel>,
    formats: &Formats,
    world: &World,
    body: Bytes,
    snapshot: &dyn Snapshot,
) -> Result<(Outcome, Vec<Trace>), StoreError> {
    let (whole, body) = match channel.split() {
        None => (None, body),
        Some(settings) => match super::parts::of(formats, settings, &body) {
            Ok(parts) => {
                let said = Trace {
                    step: "step[0].split".to_owned(),
                    result: format!("{} parts; the first one goes on", parts.len()),
                    shows: None,
                };
                match parts.into_iter().next() {
                    Some(first) => (Some(said), first.body),
                    None => return Ok((Outcome::default(), vec![said])),
                }
            }
            Err(error) => {
                let outcome = Outcome::failed(super::door::failure("step[0].split", &error));
                let said = super::pipeline::trace_halt("step[0].split", &outcome);
                return Ok((outcome, vec![said]));
            }
        },
    };
    let (outcome, traces) = Pipeline::show(
        channel,
        formats.clone(),
        world.clone(),
        (world.new_id)(),
        body,
        snapshot,
    )
    .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok((outcome, whole.into_iter().chain(traces).collect()))
}

fn connector(
    connectors: &Connectors,
    name: &str,
) -> Result<Arc<dyn crate::connector::Connector>, ConnectorError> {
    connectors
        .get(name)
        .ok_or_else(|| ConnectorError::new(format!("there is no connector {name:?} in this program")))
}

fn no_format(name: &str) -> EngineError {
    EngineError::NotThere(format!("there is no format {name:?} in this program"))
}
