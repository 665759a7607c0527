//! Channels and destinations that a person stops, pauses and starts again.

use std::sync::{Arc, PoisonError};

use super::host::{Engine, EngineError};
use crate::channel::{Channel, nearest};
use crate::store::Halt;

impl Engine {
    /// What stands still.
    pub fn halts(&self) -> Vec<Halt> {
        self.halts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops or pauses a channel or one destination, until it is started again. A try under way still ends.
    pub async fn halt(&self, halt: Halt) -> Result<(), EngineError> {
        let _one = self.change.lock().await;
        self.known_end(&halt.channel, halt.destination.as_deref())?;
        let mut halts = self.halts();
        let before = take(&mut halts, &halt.channel, halt.destination.as_deref());
        halts.push(halt.clone());
        self.store.halt(&halt).await?;
        if let Err(error) = self.arrange(&self.all_channels(), &halts).await {
            self.note_again(&halt.channel, halt.destination.as_deref(), before)
                .await?;
            return Err(error);
        }
        tracing::info!(channel = %halt.channel, destination = halt.destination, by = %halt.by, "A person has {} it.", halt.word.as_str());
        Ok(())
    }

    /// Starts what was stopped or paused. False: it was running already.
    pub async fn resume(
        &self,
        channel: &str,
        destination: Option<&str>,
        by: &str,
    ) -> Result<bool, EngineError> {
        let _one = self.change.lock().await;
        self.known_end(channel, destination)?;
        let mut halts = self.halts();
        let before = take(&mut halts, channel, destination);
        let whole = halts
            .iter()
            .find(|halt| halt.channel == channel && halt.destination.is_none());
        if let (Some(destination), Some(whole)) = (destination, whole) {
            return Err(EngineError::NotNow(format!(
                "the channel {channel:?} itself is {}, so that nothing goes to {destination:?}. Start the channel: punte channels start {channel}",
                whole.word.as_str()
            )));
        }
        self.store.unhalt(channel, destination).await?;
        // Also where nothing was noted: a source that ended by itself is opened again.
        if let Err(error) = self.arrange(&self.all_channels(), &halts).await {
            self.note_again(channel, destination, before).await?;
            return Err(error);
        }
        tracing::info!(channel, destination, by, "A person has started it.");
        Ok(before.is_some())
    }

    /// Puts a note back as it was.
    async fn note_again(
        &self,
        channel: &str,
        destination: Option<&str>,
        before: Option<Halt>,
    ) -> Result<(), EngineError> {
        match before {
            Some(before) => self.store.halt(&before).await?,
            None => {
                self.store.unhalt(channel, destination).await?;
            }
        }
        Ok(())
    }

    fn all_channels(&self) -> Vec<Arc<Channel>> {
        self.lives().values().map(|life| life.channel()).collect()
    }

    fn known_end(&self, channel: &str, destination: Option<&str>) -> Result<(), EngineError> {
        let channel = self.known_channel(channel)?;
        if let Some(of) = &channel.answers_of {
            return Err(EngineError::Wrong(format!(
                "{:?} takes the answers of {}; stop or pause {:?} itself",
                channel.id, of.destination, of.channel
            )));
        }
        let Some(name) = destination else {
            return Ok(());
        };
        known_destination(&channel, name)
    }
}

/// Whether a channel has this destination, and what is said where it has not.
pub(super) fn known_destination(channel: &Channel, name: &str) -> Result<(), EngineError> {
    let names: Vec<&str> = channel.destinations.iter().map(|d| d.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let id = &channel.id;
    Err(EngineError::NotThere(
        match nearest(name, names.iter().copied()) {
            Some(near) => format!("the channel {id:?} has no destination {name:?}; did you mean {near:?}?"),
            None if names.is_empty() => {
                format!("the channel {id:?} has no destination {name:?}: it has none at all")
            }
            None => format!(
                "the channel {id:?} has no destination {name:?}; it has: {}",
                names.join(", ")
            ),
        },
    ))
}

/// Takes out what is noted of this end.
fn take(halts: &mut Vec<Halt>, channel: &str, destination: Option<&str>) -> Option<Halt> {
    let at = halts
        .iter()
        .position(|halt| halt.channel == channel && halt.destination.as_deref() == destination)?;
    Some(halts.remove(at))
}
