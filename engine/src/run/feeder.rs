//! Feeds channels from queues inside Punte: the messages of a delivery and its end are written together, each once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use clinic::exchange::{MapError, Reason};

use super::World;
use super::door::{Door, Handed, Settled};
use super::doors::Doors;
use super::link::HOPS;
use super::numbers::EndNumbers;
use super::worker::{Bell, LOOK, PAGE, STORE_PAUSE, duration_until};
use crate::channel::OnError;
use crate::connector::Stop;
use crate::format::Reads;
use crate::message::{By, DeliveryState, Incoming, Origin};
use crate::split::Part;
use crate::store::{Attempted, Lineage, MadeBy, Store, StoreError, Waiting};

/// What works off one queue that leads to a channel.
pub(super) struct Feeder {
    /// Whose queue it is.
    pub channel: String,
    /// Its name there.
    pub queue: String,
    /// The channel that it feeds.
    pub target: String,
    pub feeds: Feeds,
    pub on_error: OnError,
    pub doors: Arc<Doors>,
    pub store: Arc<dyn Store>,
    pub world: World,
    pub bell: Arc<Bell>,
    pub numbers: Arc<EndNumbers>,
    pub stop: Stop,
}

/// What a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feeds {
    /// Messages of another channel.
    Link,
    /// Wholes of the channel itself, to be taken apart.
    Parts,
    /// Changes of the clinic.
    Events,
}

impl Feeds {
    fn by(self) -> By {
        match self {
            Feeds::Link => By::Link,
            Feeds::Parts => By::Part,
            Feeds::Events => By::Event,
        }
    }
}

/// What became of a delivery.
enum Fed {
    Over,
    /// It goes on later: a person has to act, or it was stopped in the middle.
    Held,
    /// The channel that it leads to does not run.
    NobodyThere,
}

impl Feeder {
    /// Runs until stopped.
    pub async fn run(self) {
        let mut doors = self.doors.watch();
        let mut queue: VecDeque<Waiting> = VecDeque::new();
        let mut done = 0;
        while !self.stop.is_cancelled() {
            if self.bell.starts_anew() {
                queue.clear();
                done = 0;
            }
            if queue.is_empty() {
                // A whole may be large: one at a time.
                let page = if self.feeds == Feeds::Parts { 1 } else { PAGE };
                match self.store.waiting(&self.channel, &self.queue, done, page).await {
                    Ok(waiting) => queue = waiting.into(),
                    Err(error) => {
                        self.store_failed(&error).await;
                        continue;
                    }
                }
            }
            let Some(mut head) = queue.pop_front() else {
                self.wait(LOOK).await;
                continue;
            };
            if let Some(pause) = self.pause_before(&head) {
                self.wait(pause).await;
                // A person may have acted meanwhile.
                queue.clear();
                continue;
            }
            let read = match self.feeds {
                // The channel that it leads to reads as much of it as it needs.
                Feeds::Link => Ok(()),
                Feeds::Parts | Feeds::Events => head.read(self.store.as_ref(), &|_| Reads::Whole).await,
            };
            let fed = match read {
                Ok(()) => self.feed(&head).await,
                Err(error) => Err(error),
            };
            match fed {
                Ok(Fed::Over) => done = head.id,
                Ok(Fed::Held) => queue.clear(),
                Ok(Fed::NobodyThere) => {
                    queue.clear();
                    tokio::select! {
                        _ = doors.changed() => {}
                        () = self.wait(LOOK) => {}
                    }
                }
                Err(error) => {
                    queue.clear();
                    self.store_failed(&error).await;
                }
            }
        }
    }

    /// How long to wait before this delivery is looked at again; none: it is its turn.
    fn pause_before(&self, head: &Waiting) -> Option<Duration> {
        match head.state {
            DeliveryState::Held => Some(LOOK),
            DeliveryState::Retrying | DeliveryState::Unsure => {
                let now = (self.world.now)();
                let due = head.due.filter(|due| now < *due)?;
                Some(duration_until(now, due).min(LOOK))
            }
            DeliveryState::Queued
            | DeliveryState::Sending
            | DeliveryState::Sent
            | DeliveryState::Pending
            | DeliveryState::Dead
            | DeliveryState::Cancelled => None,
        }
    }

    async fn feed(&self, head: &Waiting) -> Result<Fed, StoreError> {
        let Some(door) = self.doors.get(&self.target) else {
            return Ok(Fed::NobodyThere);
        };
        let lineage = self.store.lineage(head.message).await?.unwrap_or_default();
        let mut trace = lineage.trace.clone();
        if self.feeds != Feeds::Parts {
            trace.push(lineage.channel.clone());
        }
        if HOPS <= trace.len() {
            return self.refuse(head, too_far(&trace)).await;
        }
        let pieces = match self.pieces(&door, head, &lineage).await {
            Ok(pieces) => pieces,
            // The store could not be read just now.
            Err(error) if self.feeds == Feeds::Events && error.reason == Reason::Internal => {
                return Err(StoreError::Unavailable(error.what));
            }
            Err(error) => return self.refuse(head, error.to_string()).await,
        };
        // After a crash it goes on where it stopped.
        let made = self.store.made(head.id).await?;
        let of = pieces.len() as u32;
        for (number, incoming) in (1..=of).zip(pieces).skip(made as usize) {
            let handed = Handed {
                incoming,
                origin: Origin {
                    by: self.feeds.by(),
                    message: head.message,
                    delivery: head.id,
                    number,
                    of,
                    trace: trace.clone(),
                },
                made_by: MadeBy {
                    delivery: head.id,
                    number,
                    ends: (number == of).then(|| self.attempted(head, DeliveryState::Sent, "accepted", None)),
                },
                // What two channels lead here, or is sent again on purpose, is no repeat.
                is_known_again: self.feeds == Feeds::Parts && !lineage.is_replay,
                sent: None,
            };
            match door.take(handed).await {
                Settled::Stored { .. } | Settled::Over => {}
                Settled::Not(error) => return Err(error),
            }
            if number < of && self.stop.is_cancelled() {
                // The next start goes on here.
                return Ok(Fed::Held);
            }
        }
        self.numbers.tried("accepted");
        Ok(Fed::Over)
    }

    /// What the target gets of a delivery, in its order.
    async fn pieces(
        &self,
        door: &Door,
        head: &Waiting,
        lineage: &Lineage,
    ) -> Result<Vec<Incoming>, MapError> {
        let now = (self.world.now)();
        match self.feeds {
            Feeds::Link => Ok(vec![Incoming {
                body: head.body.clone(),
                big: head.big,
                content_type: head.content_type.clone(),
                headers: lineage.headers.clone(),
                received_at: now,
                identity: None,
            }]),
            Feeds::Parts => {
                let settings = door.channel.split().cloned().unwrap_or_default();
                let parts = super::parts::aside(&door.formats, &settings, &head.body).await?;
                let piece = |part: Part| {
                    let mut headers = lineage.headers.clone();
                    headers.push(("part".into(), part.place.to_string()));
                    headers.extend(part.name.map(|name| ("part-name".to_owned(), name)));
                    Incoming {
                        body: part.body,
                        big: None,
                        content_type: door.format.content_type().to_owned(),
                        headers,
                        received_at: now,
                        identity: None,
                    }
                };
                Ok(parts.into_iter().map(piece).collect())
            }
            Feeds::Events => super::events::messages(self.store.as_ref(), &head.body, now),
        }
    }

    /// What can't be fed is held or set aside, as the destination says.
    async fn refuse(&self, head: &Waiting, why: String) -> Result<Fed, StoreError> {
        let (channel, destination) = (&self.channel, &self.queue);
        let state = self.on_error.state();
        let fed = match self.on_error {
            OnError::Hold => Fed::Held,
            OnError::Dead => Fed::Over,
        };
        tracing::error!(%channel, %destination, delivery = head.id, why, state = state.as_str(), "A delivery to a channel was refused.");
        self.numbers.tried("refused");
        let attempted = self.attempted(head, state, "refused", Some(why));
        self.store.attempted(attempted).await?;
        Ok(fed)
    }

    fn attempted(
        &self,
        head: &Waiting,
        state: DeliveryState,
        verdict: &'static str,
        why: Option<String>,
    ) -> Attempted {
        Attempted {
            delivery: head.id,
            number: head.attempts + 1,
            at: (self.world.now)(),
            state,
            due: None,
            verdict,
            why,
            reference: None,
            response: None,
        }
    }

    /// Until the bell rings, at most so long.
    async fn wait(&self, pause: Duration) {
        tokio::select! {
            () = self.bell.rung() => {}
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn store_failed(&self, error: &StoreError) {
        tracing::error!(channel = %self.channel, destination = %self.queue, %error, "The queue could not be read or written; it is tried again.");
        tokio::select! { () = tokio::time::sleep(STORE_PAUSE) => {} () = self.stop.cancelled() => {} }
    }
}

fn too_far(trace: &[String]) -> String {
    format!(
        "it has passed {} channels, the most that are allowed, and goes round in a circle: {}. Take one of the links out",
        trace.len(),
        trace.join(" → ")
    )
}
