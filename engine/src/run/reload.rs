//! Other channel files, without a stop.

use std::sync::Arc;

use super::host::{Engine, EngineError};
use super::lane::is_same;
use crate::channel::Channel;
use crate::channel::response::with_responses;
use crate::channel::write_door::WRITE_DOOR;
use crate::message::DeliveryState;

/// What a reload did.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Reloaded {
    /// Channels that are another one now.
    pub changed: Vec<String>,
    /// Channels that there were not.
    pub added: Vec<String>,
    /// Channels that there are no more.
    pub removed: Vec<String>,
    /// How many are as they were.
    pub unchanged: usize,
    /// What waits for a destination that there is no more. It goes when the destination is back.
    pub left: Vec<Left>,
}

/// Deliveries that wait for a destination that there is no more.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Left {
    /// The channel.
    pub channel: String,
    /// The destination.
    pub destination: String,
    /// How many.
    pub waiting: u64,
}

impl Engine {
    /// Takes these channels in place of those that run. Where an end can't be opened all stays as it was.
    ///
    /// A source that is said as before goes on, its connections too. A message under way ends by the steps that it
    /// began with. A destination that is said as before keeps its worker; else the next worker begins when the last has
    /// ended, with the first delivery that waits.
    pub async fn reload(&self, channels: Vec<Channel>) -> Result<Reloaded, EngineError> {
        let _one = self.change.lock().await;
        let halts = self.halts();
        let channels = with_responses(channels);
        let channels: Vec<Arc<Channel>> = channels.into_iter().map(Arc::new).collect();
        let mut reloaded = Reloaded::default();
        // What answers go through is a part of the channel that they belong to.
        for channel in channels.iter().filter(|channel| channel.answers_of.is_none()) {
            match self.channel(&channel.id) {
                None => reloaded.added.push(channel.id.clone()),
                // It is in no file: who reloads files is not told of it.
                Some(_) if channel.id == WRITE_DOOR => {}
                Some(before) if is_same(&before, channel) => reloaded.unchanged += 1,
                Some(_) => reloaded.changed.push(channel.id.clone()),
            }
        }
        let is_gone = |id: &String| !channels.iter().any(|channel| channel.id == *id);
        reloaded.removed = self.channel_ids().into_iter().filter(is_gone).collect();
        self.arrange(&channels, &halts).await?;
        reloaded.left = self.left(&channels).await?;
        Ok(reloaded)
    }

    async fn left(&self, channels: &[Arc<Channel>]) -> Result<Vec<Left>, EngineError> {
        let queues = self.store.queues().await?;
        let waits = |state: DeliveryState| !state.is_over();
        let left = queues.into_iter().filter_map(|queue| {
            let there = channels.iter().any(|channel| {
                channel.id == queue.channel
                    && channel.destinations.iter().any(|d| d.name == queue.destination)
            });
            let waiting: u64 = queue
                .counts
                .iter()
                .filter(|(state, _)| waits(*state))
                .map(|(_, count)| count)
                .sum();
            (!there && 0 < waiting).then_some(Left {
                channel: queue.channel,
                destination: queue.destination,
                waiting,
            })
        });
        Ok(left.collect())
    }
}
