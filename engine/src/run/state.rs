//! What the scripts of channels keep from one message for the next while the engine runs: whose turn it is at a counter,
//! and the caches. The numbers themselves are in the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;

use crate::call::FarSides;
use crate::channel::Channel;
use crate::channel::state::{Cache as Declared, Counter, Life};
use crate::script::CacheWrite;
use crate::store::{CounterKey, Store};

/// What an entry of a cache costs beside its letters, in bytes.
const ENTRY: u64 = 64;

/// What scripts have changed of what their channel keeps, by one message. It takes effect with its commit.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    /// The number that each counter gave last.
    pub(super) counted: BTreeMap<String, u64>,
    /// In this order.
    pub(super) cached: Vec<CacheWrite>,
}

impl Pending {
    /// What this message has written to a cache itself. The inner none: it was taken out.
    pub(super) fn cached(&self, cache: &str, key: &str) -> Option<Option<&str>> {
        let mut writes = self.cached.iter().rev();
        let write = writes.find(|write| write.cache == cache && write.key == key)?;
        Some(write.value.as_deref())
    }
}

/// What a channel keeps, as one message finds it.
#[derive(Clone, Default)]
pub(super) struct Kept {
    /// The number that each counter gave last, as it is stored.
    pub(super) counted: BTreeMap<String, u64>,
    /// The caches; none: they are empty, and stay so (`punte try`).
    pub(super) state: Option<Arc<State>>,
    /// Whom its scripts may call; none: nobody (`punte try`).
    pub(super) sides: Option<Arc<FarSides>>,
    /// Who knows the secrets by which people are taken out of messages; none: nobody (`punte try`).
    pub(super) store: Option<Arc<dyn Store>>,
}

impl Kept {
    /// The secret of a project. Where nobody knows it, another one that tells nothing of it.
    pub(super) fn secret(&self, project: &str) -> [u8; 32] {
        match &self.store {
            Some(store) => store.vault().project_secret(project),
            None => {
                let mut trial = [0; 32];
                trial
                    .iter_mut()
                    .zip(project.bytes())
                    .for_each(|(to, byte)| *to = byte);
                trial
            }
        }
    }
}

/// The state of all channels.
#[derive(Default)]
pub(super) struct State {
    turns: Mutex<HashMap<CounterKey, Arc<tokio::sync::Mutex<()>>>>,
    /// By channel and name.
    caches: Mutex<HashMap<(String, String), Cache>>,
}

/// While it is there no other message moves the counters that it is for.
pub(super) struct Turn {
    _guards: Vec<OwnedMutexGuard<()>>,
}

/// The counter in the store.
pub(super) fn key(channel: &Channel, counter: &Counter) -> CounterKey {
    CounterKey {
        channel: (!counter.is_shared).then(|| channel.owner().to_owned()),
        name: counter.name.clone(),
    }
}

impl State {
    /// Waits until no other message is between reading and moving one of the channel's counters: two at once would want
    /// the same number, and one of them would have to run again.
    pub(super) async fn turn(&self, channel: &Channel) -> Turn {
        let mut keys: Vec<CounterKey> = channel.counters.iter().map(|c| key(channel, c)).collect();
        // Always in the same order: nobody waits for somebody who waits for him.
        keys.sort();
        let mut guards = vec![];
        for key in keys {
            let lock = lock(&self.turns).entry(key).or_default().clone();
            guards.push(lock.lock_owned().await);
        }
        Turn { _guards: guards }
    }

    /// What stands in a cache.
    pub(super) fn cached(&self, channel: &Channel, cache: &str, key: &str, now: Timestamp) -> Option<String> {
        let caches = lock(&self.caches);
        let found = caches.get(&(channel.owner().to_owned(), cache.to_owned()))?;
        let is_as_declared = channel.caches.contains(&found.declared);
        is_as_declared.then(|| found.get(key, now)).flatten()
    }

    /// A message of the channel was stored, with what its scripts wrote to caches.
    pub(super) fn stored(&self, channel: &Channel, writes: &[CacheWrite], now: Timestamp) {
        if channel.caches.is_empty() {
            return;
        }
        self.count(channel, writes, now, 1);
    }

    /// An end of the channel that is a script wrote to caches; no message has passed by that.
    pub(super) fn written(&self, channel: &Channel, writes: &[CacheWrite], now: Timestamp) {
        if !writes.is_empty() {
            self.count(channel, writes, now, 0);
        }
    }

    fn count(&self, channel: &Channel, writes: &[CacheWrite], now: Timestamp, messages: u64) {
        let mut caches = lock(&self.caches);
        for declared in &channel.caches {
            let at = (channel.owner().to_owned(), declared.name.clone());
            let cache = caches.entry(at).or_insert_with(|| Cache::new(declared));
            if cache.declared != *declared {
                *cache = Cache::new(declared);
            }
            cache.messages += messages;
            for write in writes.iter().filter(|write| write.cache == declared.name) {
                cache.write(&write.key, write.value.as_deref(), now);
            }
            cache.drop_old(now);
        }
    }

    /// Forgets what belongs to channels that are not there any more.
    pub(super) fn keep_only(&self, channels: &[Arc<Channel>]) {
        let is_there = |id: &str| channels.iter().any(|channel| channel.id == id);
        lock(&self.caches).retain(|(channel, _), _| is_there(channel));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One cache: all its entries live equally long, so that those written first end first.
struct Cache {
    declared: Declared,
    entries: HashMap<String, Entry>,
    /// The keys in the order of writing.
    order: BTreeMap<u64, String>,
    next: u64,
    bytes: u64,
    /// How many messages the channel has taken.
    messages: u64,
}

struct Entry {
    value: String,
    place: u64,
    at: Timestamp,
    message: u64,
}

impl Cache {
    fn new(declared: &Declared) -> Self {
        Cache {
            declared: declared.clone(),
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            bytes: 0,
            messages: 0,
        }
    }

    fn get(&self, key: &str, now: Timestamp) -> Option<String> {
        let entry = self.entries.get(key)?;
        self.lives(entry, now).then(|| entry.value.clone())
    }

    fn lives(&self, entry: &Entry, now: Timestamp) -> bool {
        match self.declared.life {
            Life::Restart => true,
            // A clock that was set back makes nothing live for ever.
            Life::For(life) => now.duration_since(entry.at).unsigned_abs() < life,
            Life::Messages(messages) => self.messages - entry.message < messages,
        }
    }

    fn write(&mut self, key: &str, value: Option<&str>, now: Timestamp) {
        self.remove(key);
        let Some(value) = value else { return };
        let entry = Entry {
            value: value.to_owned(),
            place: self.next,
            at: now,
            message: self.messages,
        };
        self.bytes += cost(key, value);
        self.order.insert(entry.place, key.to_owned());
        self.entries.insert(key.to_owned(), entry);
        self.next += 1;
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.place);
            self.bytes -= cost(key, &entry.value);
        }
    }

    /// Drops what has lived long enough, and the oldest where there is too much.
    fn drop_old(&mut self, now: Timestamp) {
        while let Some((_, key)) = self.order.first_key_value() {
            let lives = self.entries.get(key).is_some_and(|entry| self.lives(entry, now));
            if lives && self.bytes <= self.declared.memory {
                return;
            }
            let key = key.clone();
            self.remove(&key);
        }
    }
}

fn cost(key: &str, value: &str) -> u64 {
    (2 * key.len() + value.len()) as u64 + ENTRY
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::channel::write_door;

    fn channel(life: Life, memory: u64) -> Channel {
        Channel {
            caches: vec![Declared {
                name: "seen".into(),
                life,
                memory,
            }],
            ..write_door::channel()
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn write(key: &str, value: Option<&str>) -> CacheWrite {
        CacheWrite {
            cache: "seen".into(),
            key: key.into(),
            value: value.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_written_lives_as_long_as_is_stated() {
        let (state, channel) = (
            State::default(),
            channel(Life::For(Duration::from_secs(10)), 1 << 20),
        );
        state.stored(&channel, &[write("a", Some("1")), write("b", Some("2"))], at(100));
        state.stored(&channel, &[write("b", None)], at(101));
        assert_eq!(state.cached(&channel, "seen", "a", at(109)).as_deref(), Some("1"));
        assert_eq!(state.cached(&channel, "seen", "b", at(102)), None);
        assert_eq!(state.cached(&channel, "seen", "a", at(110)), None);
        assert_eq!(state.cached(&channel, "other", "a", at(101)), None);
        assert_eq!(
            state.cached(&channel, "seen", "a", at(50)),
            None,
            "a clock set back"
        );
        state.stored(&channel, &[], at(200));
        assert_eq!(
            lock(&state.caches).values().map(|cache| cache.bytes).sum::<u64>(),
            0
        );
    }

    #[test]
    fn a_life_in_messages_counts_those_that_are_stored() {
        let (state, channel) = (State::default(), channel(Life::Messages(2), 1 << 20));
        state.stored(&channel, &[write("a", Some("1"))], at(1));
        state.stored(&channel, &[], at(1));
        assert_eq!(
            state.cached(&channel, "seen", "a", at(9_999)).as_deref(),
            Some("1")
        );
        state.stored(&channel, &[], at(1));
        assert_eq!(state.cached(&channel, "seen", "a", at(1)), None);
    }

    #[test]
    fn a_cache_stays_within_its_memory_and_loses_the_oldest_first() {
        let (state, channel) = (State::default(), channel(Life::Restart, 4 << 10));
        for number in 0..1000 {
            state.stored(
                &channel,
                &[write(&format!("k{number}"), Some(&"x".repeat(100)))],
                at(1),
            );
            let bytes: u64 = lock(&state.caches).values().map(|cache| cache.bytes).sum();
            assert!(bytes <= 4 << 10, "{bytes}");
        }
        assert_eq!(state.cached(&channel, "seen", "k0", at(1)), None);
        assert!(state.cached(&channel, "seen", "k999", at(1)).is_some());
        // Written again it is young.
        state.stored(&channel, &[write("k980", Some("y"))], at(1));
        for number in 0..20 {
            state.stored(
                &channel,
                &[write(&format!("n{number}"), Some(&"x".repeat(60)))],
                at(1),
            );
        }
        assert_eq!(
            state.cached(&channel, "seen", "k980", at(1)).as_deref(),
            Some("y")
        );
        assert_eq!(state.cached(&channel, "seen", "k981", at(1)), None);
    }

    #[test]
    fn another_declaration_is_another_cache() {
        let state = State::default();
        let before = channel(Life::Restart, 4 << 10);
        state.stored(&before, &[write("a", Some("1"))], at(1));
        let after = channel(Life::Messages(5), 4 << 10);
        assert_eq!(state.cached(&after, "seen", "a", at(1)), None);
        state.stored(&after, &[], at(1));
        assert_eq!(state.cached(&after, "seen", "a", at(1)), None);
        state.stored(&after, &[write("a", Some("2"))], at(1));
        state.keep_only(&[]);
        assert_eq!(state.cached(&after, "seen", "a", at(1)), None);
    }
}
