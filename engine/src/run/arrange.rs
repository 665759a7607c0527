//! The one place where ends of channels are opened and closed: what is to run is compared with what runs.
//!
//! First everything new is opened; what can't be leaves all as it was. A source whose address another one still has is
//! opened once that one has ended. Then doors are hung, workers handed over, sources begun.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;

use super::asking::Askable;
use super::door::Door;
use super::doorway::{Doorway, Life, Listening};
use super::events::{CLINIC, EVENTS};
use super::feeder::{Feeder, Feeds};
use super::host::{Engine, EngineError};
use super::lane::is_same;
use super::link::LINK;
use super::script_end::ScriptEnd;
use super::worker::Worker;
use crate::call::FarSides;
use crate::channel::{Channel, Destination as Settings, End, OnError};
use crate::connector::{Connector, ConnectorError, Destination, Source, Surroundings};
use crate::format::Format;
use crate::split::PARTS;
use crate::store::{Halt, HaltWord};

/// What was opened and does not run yet. Dropped, it is closed again.
#[derive(Default)]
struct Opened {
    destinations: Vec<(Arc<Channel>, Settings, Wanted, Way)>,
    sources: Vec<(Arc<Channel>, Box<dyn Source>)>,
    /// Those whose address is not free before another source has ended.
    late: Vec<Arc<Channel>>,
    /// Whom the scripts of each channel may call.
    sides: HashMap<String, Arc<FarSides>>,
}

/// What is to be opened of a destination.
#[derive(Clone, Copy)]
struct Wanted {
    /// A worker, for what is to be sent there.
    worker: bool,
    /// That it can be asked.
    askable: bool,
}

/// Where a destination leads.
enum Way {
    /// Out, by a connector.
    Out {
        format: Arc<dyn Format>,
        destination: Arc<dyn Destination>,
        /// Whether the far side says anything.
        answers: bool,
    },
    /// To a channel: another one, or the rest of the same.
    Channel(Feeds),
}

/// What leads from a channel: its destinations, and the queues of its own: parts of a whole, changes of the clinic.
fn lanes_of(channel: &Channel) -> Vec<Settings> {
    let own = [
        (channel.split().is_some(), PARTS),
        (channel.source.connector == CLINIC, EVENTS),
    ];
    let own = own.into_iter().filter(|(is_used, _)| *is_used);
    let own = own.map(|(_, queue)| own_queue(queue, channel));
    channel.destinations.iter().cloned().chain(own).collect()
}

/// A queue of a channel that leads back to itself, as if it were a destination.
fn own_queue(queue: &str, channel: &Channel) -> Settings {
    Settings {
        name: queue.to_owned(),
        only_asked: false,
        commits: false,
        when: None,
        steps: vec![],
        end: End {
            connector: queue.to_owned(),
            settings: channel.id.clone().into(),
            format: channel.source.format.clone(),
            format_settings: channel.source.format_settings.clone(),
            script: None,
        },
        retry: Default::default(),
        on_error: OnError::Hold,
        on_unsure: Default::default(),
        response: None,
        late: Default::default(),
        window: None,
        rate: None,
        order_by: None,
        breaker: None,
    }
}

impl Engine {
    /// Makes it so that these channels run, but for what stands still. The caller has the lock of changes.
    pub(super) async fn arrange(&self, channels: &[Arc<Channel>], halts: &[Halt]) -> Result<(), EngineError> {
        let ending = self.sources_to_end(channels, halts);
        let mut opened = self.open(channels, halts, !ending.is_empty()).await?;
        let ended = self.end_sources(&ending).await;
        for channel in std::mem::take(&mut opened.late) {
            let sides = opened.sides.get(&channel.id).cloned().unwrap_or_default();
            match self.open_source(&channel, &sides).await {
                Ok(source) => opened.sources.push((channel, source)),
                Err(error) => {
                    drop(opened);
                    self.begin_again(ended).await;
                    return Err(error);
                }
            }
        }
        self.commit(channels, halts, opened);
        Ok(())
    }

    /// The channels whose source runs and is not to run, or not like this.
    fn sources_to_end(&self, channels: &[Arc<Channel>], halts: &[Halt]) -> Vec<String> {
        let stays = |life: &Life, listening: &Listening| {
            let channel = life.channel();
            let says_so = |new: &Arc<Channel>| new.id == channel.id && is_same(&new.source, &listening.end);
            channels.iter().any(says_so) && !is_stopped(halts, &channel.id) && !listening.has_ended()
        };
        self.lives()
            .values()
            .filter(|life| life.source.as_ref().is_some_and(|source| !stays(life, source)))
            .map(|life| life.channel().id.clone())
            .collect()
    }

    /// Opens everything that is to run and does not. `may_wait`: a source that can't be opened may be waiting for the
    /// address of one that ends.
    async fn open(
        &self,
        channels: &[Arc<Channel>],
        halts: &[Halt],
        may_wait: bool,
    ) -> Result<Opened, EngineError> {
        let mut opened = Opened::default();
        for channel in channels {
            self.format(&channel.source)?;
            let sides = self.open_sides(channel).await?;
            opened.sides.insert(channel.id.clone(), sides.clone());
            for (idx, settings) in lanes_of(channel).iter().enumerate() {
                let wanted = self.wanted(channel, settings, halts);
                if wanted.worker || wanted.askable {
                    let way = self.open_destination(channel, idx, settings, &sides).await?;
                    let opening = (channel.clone(), settings.clone(), wanted, way);
                    opened.destinations.push(opening);
                }
            }
            if is_stopped(halts, &channel.id) || self.has_source(channel) {
                continue;
            }
            match self.open_source(channel, &sides).await {
                Ok(source) => opened.sources.push((channel.clone(), source)),
                Err(_) if may_wait => opened.late.push(channel.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(opened)
    }

    /// What of a destination is to run and does not. Whoever is asked answers also while its channel pauses.
    fn wanted(&self, channel: &Channel, settings: &Settings, halts: &[Halt]) -> Wanted {
        let (id, name) = (&channel.id, &settings.name);
        let connector = self.connectors.get(&settings.end.connector);
        let can_be_asked = connector.is_some_and(|connector| connector.asks().is_some());
        let worker = !is_halted(halts, id, name) && !self.lanes.runs(id, settings);
        let is_free = can_be_asked && !is_silent(halts, id, name);
        let is_missing = worker || !self.askables.runs(id, settings);
        Wanted {
            worker,
            askable: is_free && is_missing,
        }
    }

    /// Whether the source of a channel runs as the channel says.
    fn has_source(&self, channel: &Channel) -> bool {
        self.lives()
            .get(&channel.id)
            .and_then(|life| life.source.as_ref())
            .is_some_and(|source| is_same(&source.end, &channel.source) && !source.has_ended())
    }

    async fn open_destination(
        &self,
        channel: &Arc<Channel>,
        idx: usize,
        settings: &Settings,
        sides: &Arc<FarSides>,
    ) -> Result<Way, EngineError> {
        match settings.end.connector.as_str() {
            LINK => return Ok(Way::Channel(Feeds::Link)),
            PARTS => return Ok(Way::Channel(Feeds::Parts)),
            EVENTS => return Ok(Way::Channel(Feeds::Events)),
            _ => {}
        }
        let open_error = |error| EngineError::Open {
            file: channel.file.display().to_string(),
            end: format!("destination[{idx}].{}", settings.end.connector),
            error,
        };
        let connector = self.connector(&settings.end.connector).map_err(open_error)?;
        let destination = connector
            .open_destination(
                &settings.end.settings,
                &self.surroundings(channel, &settings.end, sides),
            )
            .await
            .map_err(open_error)?;
        Ok(Way::Out {
            format: self.format(&settings.end)?,
            destination,
            answers: connector.answers(),
        })
    }

    /// Whom the scripts of a channel may call. Secrets are read, nobody is called yet.
    async fn open_sides(&self, channel: &Channel) -> Result<Arc<FarSides>, EngineError> {
        let mut sides = FarSides::new();
        for (name, settings) in &channel.calls {
            let open_error = |error| EngineError::Open {
                file: channel.file.display().to_string(),
                end: format!("http.{name}"),
                error,
            };
            let calls = self
                .connectors
                .calls()
                .ok_or_else(|| open_error(ConnectorError::new("this program calls nobody for scripts")))?;
            let surroundings = Surroundings {
                folder: folder(channel),
                script: None,
            };
            let side = calls.open(settings, &surroundings).await.map_err(open_error)?;
            sides.insert(name.clone(), side);
        }
        Ok(Arc::new(sides))
    }

    fn surroundings(&self, channel: &Arc<Channel>, end: &End, sides: &Arc<FarSides>) -> Surroundings {
        let content_type = self
            .formats
            .get(&end.format)
            .map_or("", |format| format.content_type());
        Surroundings {
            folder: folder(channel),
            script: ScriptEnd::new(channel, end, &self.state, sides, &self.world, content_type),
        }
    }

    async fn open_source(
        &self,
        channel: &Arc<Channel>,
        sides: &Arc<FarSides>,
    ) -> Result<Box<dyn Source>, EngineError> {
        let open_error = |error| EngineError::Open {
            file: channel.file.display().to_string(),
            end: format!("source.{}", channel.source.connector),
            error,
        };
        let connector = self.connector(&channel.source.connector).map_err(open_error)?;
        connector
            .open_source(
                &channel.source.settings,
                &self.surroundings(channel, &channel.source, sides),
            )
            .await
            .map_err(open_error)
    }

    /// Ends the sources of these channels; their addresses are free when this returns.
    async fn end_sources(&self, ids: &[String]) -> Vec<Arc<Channel>> {
        let ending: Vec<(Arc<Channel>, Listening)> = {
            let mut lives = self.lives_to_change();
            let take = |id: &String| {
                let life = lives.get_mut(id)?;
                Some((life.channel(), life.source.take()?))
            };
            ids.iter().filter_map(take).collect()
        };
        let mut ended = vec![];
        join_all(ending.into_iter().map(|(channel, listening)| {
            ended.push(channel);
            listening.end()
        }))
        .await;
        for channel in &ended {
            // What was stored while its source ended, and had nobody left to say so.
            for bell in self.lanes.bells(&channel.id, &lanes_of(channel)).values() {
                bell.ring();
            }
        }
        ended
    }

    /// Lets the sources of these channels begin again as they were: what was to take their place could not be opened.
    async fn begin_again(&self, ended: Vec<Arc<Channel>>) {
        for channel in ended {
            let again = async {
                let sides = self.open_sides(&channel).await?;
                self.open_source(&channel, &sides).await
            };
            match again.await {
                Ok(source) => self.begin_source(&channel, source),
                Err(error) => {
                    tracing::error!(channel = %channel.id, %error, "The source could not be opened again after a change that failed; nothing more comes in by it.");
                }
            }
        }
    }

    /// From here on nothing can fail.
    fn commit(&self, channels: &[Arc<Channel>], halts: &[Halt], opened: Opened) {
        let mut lives = self.lives_to_change();
        let before: Vec<String> = lives.keys().cloned().collect();
        lives.retain(|id, _| channels.iter().any(|channel| channel.id == *id));
        for channel in channels {
            let known = lives.get(&channel.id);
            if known.is_some_and(|life| Arc::ptr_eq(&life.channel(), channel)) {
                continue;
            }
            let Ok(format) = self.format(&channel.source) else {
                continue;
            };
            let door = Arc::new(Door {
                format,
                channel: channel.clone(),
                formats: self.formats.clone(),
                store: self.store.clone(),
                world: self.world.clone(),
                doors: Arc::downgrade(&self.doors),
                state: self.state.clone(),
                sides: opened.sides.get(&channel.id).cloned().unwrap_or_default(),
                askables: self.askables.clone(),
                numbers: self.numbers.channel(&channel.id),
                all_numbers: self.numbers.clone(),
                courses: tokio::sync::Mutex::default(),
                bells: self.lanes.bells(&channel.id, &lanes_of(channel)),
            });
            self.begin_to_take_left(door.clone());
            match known {
                Some(life) => life.doorway.hang(door),
                None => {
                    let doorway = Arc::new(Doorway::new(door));
                    lives.insert(
                        channel.id.clone(),
                        Life {
                            doorway,
                            source: None,
                        },
                    );
                }
            }
        }
        self.doors.listen(channels.iter());
        for (id, life) in lives.iter() {
            if is_stopped(halts, id) {
                self.doors.remove(id);
            } else {
                self.doors.put(life.doorway.door());
            }
        }
        drop(lives);
        self.state.keep_only(channels);
        for id in before {
            if !channels.iter().any(|channel| channel.id == id) {
                self.doors.remove(&id);
            }
            let channel = channels.iter().find(|channel| channel.id == id);
            for name in self.lanes.running(&id) {
                let stays = channel.is_some_and(|c| lanes_of(c).iter().any(|lane| lane.name == name));
                if !stays || is_halted(halts, &id, &name) {
                    self.lanes.end(&id, &name);
                }
            }
        }
        *self.halts.write().unwrap_or_else(PoisonError::into_inner) = halts.to_vec();
        self.askables.retain(|id, name| {
            let channel = channels.iter().find(|channel| channel.id == id);
            let is_there = channel.is_some_and(|c| c.destinations.iter().any(|known| known.name == name));
            is_there && !is_silent(halts, id, name)
        });
        for (channel, settings, wanted, way) in opened.destinations {
            if let (
                true,
                Way::Out {
                    format, destination, ..
                },
            ) = (wanted.askable, &way)
            {
                let (format, destination) = (format.clone(), destination.clone());
                self.askables
                    .put(Askable::new(&channel.id, &settings, format, destination));
            }
            if wanted.worker {
                self.begin_lane(channel, settings, way);
            }
        }
        for (channel, source) in opened.sources {
            self.begin_source(&channel, source);
        }
        if channels.iter().any(|channel| channel.questions) && !self.store.knows_planned() {
            self.begin_to_read_planned();
        }
    }

    /// Takes what was left waiting where the program ended too early.
    fn begin_to_take_left(&self, door: Arc<Door>) {
        self.tasks.spawn(async move {
            if let Err(error) = door.take_left().await {
                tracing::error!(channel = %door.channel.id, %error, "What waits behind a decided message could not be taken; it is still parked. It is tried again at the next start.");
            }
        });
    }

    /// Reads what is planned beside everything else: whoever asks meanwhile waits for that, as if they had begun it.
    fn begin_to_read_planned(&self) {
        let (store, stop) = (self.store.clone(), self.tasks.stop().clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                read = store.read_planned() => if let Err(error) = read {
                    tracing::warn!(%error, "What is planned could not be read ahead; the first question reads it.");
                },
            }
        });
    }

    fn begin_lane(&self, channel: Arc<Channel>, settings: Settings, way: Way) {
        let lane = (channel.id.clone(), settings.clone());
        let response = settings.response.as_ref();
        let response = response.and_then(|channel| self.doors.get(&channel.id));
        match way {
            Way::Out {
                format,
                destination,
                answers,
            } => self.lanes.begin(&lane.0, &lane.1, &self.tasks, |bell, quit| {
                let worker = Worker {
                    numbers: self.numbers.end(&channel.id, &settings.name),
                    response,
                    channel,
                    settings,
                    format,
                    destination,
                    answers,
                    store: self.store.clone(),
                    world: self.world.clone(),
                    askables: self.askables.clone(),
                    servers: self.servers.clone(),
                    bell,
                    stop: self.tasks.stop().clone(),
                    quit,
                };
                worker.run()
            }),
            Way::Channel(feeds) => self.lanes.begin(&lane.0, &lane.1, &self.tasks, |bell, quit| {
                let feeder = Feeder {
                    numbers: self.numbers.end(&channel.id, &settings.name),
                    channel: channel.id.clone(),
                    queue: settings.name,
                    target: settings.end.settings.as_str().unwrap_or_default().to_owned(),
                    feeds,
                    on_error: settings.on_error,
                    doors: self.doors.clone(),
                    store: self.store.clone(),
                    world: self.world.clone(),
                    bell,
                    stop: quit,
                };
                feeder.run()
            }),
        }
    }

    fn begin_source(&self, channel: &Channel, source: Box<dyn Source>) {
        if let Some(life) = self.lives_to_change().get_mut(&channel.id) {
            life.source = Some(Listening::begin(
                channel,
                source,
                life.doorway.clone(),
                &self.tasks,
            ));
        }
    }

    fn connector(&self, name: &str) -> Result<Arc<dyn Connector>, ConnectorError> {
        self.connectors
            .get(name)
            .ok_or_else(|| ConnectorError::new(format!("there is no connector {name:?} in this program")))
    }

    /// The format of an end, to be read as the channel says.
    fn format(&self, end: &End) -> Result<Arc<dyn Format>, EngineError> {
        let name = &end.format;
        self.formats
            .open(name, &end.format_settings)
            .ok_or_else(|| EngineError::NotThere(format!("there is no format {name:?} in this program")))
    }
}

fn folder(channel: &Channel) -> PathBuf {
    channel.file.parent().map(Into::into).unwrap_or_default()
}

/// Whether nothing is to come in by the source of a channel.
fn is_stopped(halts: &[Halt], channel: &str) -> bool {
    halts
        .iter()
        .any(|halt| halt.channel == channel && halt.destination.is_none() && halt.word == HaltWord::Stopped)
}

/// Whether a destination is asked nothing: it stands still itself, or its channel is stopped.
fn is_silent(halts: &[Halt], channel: &str, destination: &str) -> bool {
    is_stopped(halts, channel)
        || halts
            .iter()
            .any(|halt| halt.channel == channel && halt.destination.as_deref() == Some(destination))
}

/// Whether nothing is to go out to a destination: it stands still, or its channel does.
fn is_halted(halts: &[Halt], channel: &str, destination: &str) -> bool {
    halts.iter().any(|halt| {
        halt.channel == channel && halt.destination.as_deref().is_none_or(|name| name == destination)
    })
}
