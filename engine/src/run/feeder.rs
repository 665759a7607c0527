//! Feeds channels from queues inside Punte: the messages of a delivery and its end are written together, each once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::World;
use super::door::{Handed, Settled};
use super::doors::Doors;
use super::link::HOPS;
use super::worker::{Bell, LOOK, PAGE, STORE_PAUSE, duration_until};
use crate::channel::OnError;
use crate::connector::Stop;
use crate::message::{By, DeliveryState, Incoming, Origin};
use crate::store::{Attempted, Lineage, MadeBy, Store, StoreError, Waiting};

/// What works off one queue that leads to a channel.
pub(super) struct Feeder {
    /// Whose queue it is.
    pub channel: String,
    /// Its name there.
    pub queue: String,
    /// The channel that it feeds.
    pub target: String,
    pub on_error: OnError,
    pub doors: Arc<Doors>,
    pub store: Arc<dyn Store>,
    pub world: World,
    pub bell: Arc<Bell>,
    pub stop: Stop,
}

/// What became of a delivery.
enum Fed {
    Over,
    /// A person has to act before it goes on.
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
                match self.store.waiting(&self.channel, &self.queue, done, PAGE).await {
                    Ok(waiting) => queue = waiting.into(),
                    Err(error) => {
                        self.store_failed(&error).await;
                        continue;
                    }
                }
            }
            let Some(head) = queue.pop_front() else {
                self.wait(LOOK).await;
                continue;
            };
            if let Some(pause) = self.pause_before(&head) {
                self.wait(pause).await;
                // A person may have acted meanwhile.
                queue.clear();
                continue;
            }
            match self.feed(&head).await {
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
        let Lineage {
            headers, mut trace, ..
        } = lineage;
        trace.push(lineage.channel);
        if HOPS <= trace.len() {
            return self.refuse(head, too_far(&trace)).await;
        }
        let handed = Handed {
            incoming: Incoming {
                body: head.body.clone(),
                content_type: head.content_type.clone(),
                headers,
                identity: None,
                received_at: (self.world.now)(),
            },
            origin: Origin {
                by: By::Link,
                message: head.message,
                delivery: head.id,
                number: 1,
                of: 1,
                trace,
            },
            made_by: MadeBy {
                delivery: head.id,
                number: 1,
                ends: Some(self.attempted(head, DeliveryState::Sent, "accepted", None)),
            },
            is_known_again: false,
        };
        match door.take(handed).await {
            Settled::Stored { .. } | Settled::Over => {
                self.count("accepted");
                Ok(Fed::Over)
            }
            Settled::Not(error) => Err(error),
        }
    }

    /// What can't be fed is held or set aside, as the destination says.
    async fn refuse(&self, head: &Waiting, why: String) -> Result<Fed, StoreError> {
        let (channel, destination) = (&self.channel, &self.queue);
        let (state, fed) = match self.on_error {
            OnError::Hold => (DeliveryState::Held, Fed::Held),
            OnError::Dead => (DeliveryState::Dead, Fed::Over),
        };
        tracing::error!(%channel, %destination, delivery = head.id, why, state = state.as_str(), "A delivery to a channel was refused.");
        self.count("refused");
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

    fn count(&self, verdict: &'static str) {
        metrics::counter!("punte_attempts_total", "channel" => self.channel.clone(), "destination" => self.queue.clone(), "outcome" => verdict)
            .increment(1);
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
