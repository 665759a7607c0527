//! The doors of the channels that run, for those that lead to them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::door::Door;
use super::events::{Listener, Listeners};

/// The doors by the ids of their channels.
pub(super) struct Doors {
    open: RwLock<BTreeMap<String, Arc<Door>>>,
    listeners: RwLock<Listeners>,
    changed: watch::Sender<()>,
}

impl Doors {
    pub fn new() -> Self {
        Doors {
            open: RwLock::new(BTreeMap::new()),
            listeners: RwLock::new(Arc::new([])),
            changed: watch::Sender::new(()),
        }
    }

    /// The door of a channel that runs.
    pub fn get(&self, channel: &str) -> Option<Arc<Door>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(channel).cloned()
    }

    /// All of them, by their ids.
    pub fn all(&self) -> Vec<Arc<Door>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().cloned().collect()
    }

    /// Opens a channel's door, in place of the one that it had. Who waited for it goes on.
    pub fn put(&self, door: Arc<Door>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(door.channel.id.clone(), door);
        let listeners = open
            .values()
            .filter_map(|door| Listener::of(&door.channel))
            .collect();
        *self.listeners.write().unwrap_or_else(PoisonError::into_inner) = listeners;
        drop(open);
        self.changed.send_replace(());
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

    /// Ends with each door that is opened from now on.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
