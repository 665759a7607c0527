//! The doors of the channels that run, for those that lead to them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::door::Door;
use super::events::{Listener, Listeners};
use crate::channel::Channel;

/// The doors by the ids of their channels.
pub(super) struct Doors {
    open: RwLock<BTreeMap<String, Arc<Door>>>,
    listeners: RwLock<Listeners>,
    /// Those among them that answers go through.
    answering: RwLock<Vec<Arc<Door>>>,
    changed: watch::Sender<()>,
}

impl Doors {
    pub fn new() -> Self {
        Doors {
            open: RwLock::new(BTreeMap::new()),
            listeners: RwLock::new(Arc::new([])),
            answering: RwLock::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// The door of a channel that runs.
    pub fn get(&self, channel: &str) -> Option<Arc<Door>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(channel).cloned()
    }

    /// Opens a channel's door, in place of the one that it had. Who waited for it goes on.
    pub fn put(&self, door: Arc<Door>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(door.channel.id.clone(), door);
        self.note_answering(&open);
        drop(open);
        self.changed.send_replace(());
    }

    /// Takes the door of a channel away: nothing comes in by it any more.
    pub fn remove(&self, channel: &str) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.remove(channel);
        self.note_answering(&open);
    }

    fn note_answering(&self, open: &BTreeMap<String, Arc<Door>>) {
        let doors = open.values().filter(|door| door.channel.answers_of.is_some());
        *self.answering.write().unwrap_or_else(PoisonError::into_inner) = doors.cloned().collect();
    }

    /// The doors that answers of destinations go through.
    pub fn answering(&self) -> Vec<Arc<Door>> {
        let answering = self.answering.read().unwrap_or_else(PoisonError::into_inner);
        answering.to_vec()
    }

    /// From now on these channels are told of changes of the clinic, also those that stand still: what they are told
    /// waits for them.
    pub fn listen<'a>(&self, channels: impl Iterator<Item = &'a Arc<Channel>>) {
        let listeners = channels.filter_map(|channel| Listener::of(channel)).collect();
        *self.listeners.write().unwrap_or_else(PoisonError::into_inner) = listeners;
    }

    /// The channels that listen to the clinic.
    pub fn listeners(&self) -> Listeners {
        self.listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Wakes whoever works off the queue of a channel.
    pub fn ring(&self, channel: &str, queue: &str) {
        if let Some(bell) = self.get(channel).as_ref().and_then(|door| door.bells.get(queue)) {
            bell.ring();
        }
    }

    /// The same, for something that may stand before what was sent already.
    pub fn ring_for_an_old_one(&self, channel: &str, queue: &str) {
        if let Some(bell) = self.get(channel).as_ref().and_then(|door| door.bells.get(queue)) {
            bell.ring_for_an_old_one();
        }
    }

    /// Ends with each door that is opened from now on.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
