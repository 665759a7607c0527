//! Servers that keep what they are told: in which version each aggregate was told to them last. What waited in one queue is not written
//! over what another queue, or a later delivery of the same, has told since.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clinic::Kind;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::format::Told;
use crate::message::DeliveryState;
use crate::store::{Store, StoreError};

/// So many aggregates of a server are remembered. Of others it is read from the store.
const REMEMBERED: usize = 100_000;
/// So many versions of an aggregate are looked at for one that was sent.
const VERSIONS: usize = 64;

/// All servers.
#[derive(Default)]
pub(super) struct Servers {
    known: Mutex<Known>,
    freed: Notify,
}

#[derive(Default)]
struct Known {
    /// The queues, by channel and destination, and where they lead.
    queues: BTreeMap<(String, String), String>,
    /// In which version aggregates were told, by server.
    told: HashMap<String, HashMap<Uuid, u64>>,
    /// What is being told just now.
    in_hand: HashSet<(String, Uuid)>,
}

impl Known {
    fn leading_to(&self, server: &str) -> impl Iterator<Item = &(String, String)> {
        self.queues
            .iter()
            .filter(move |(_, to)| *to == server)
            .map(|(queue, _)| queue)
    }
}

/// Aggregates that are being told to a server: nobody else tells it of them meanwhile.
pub(super) struct Telling {
    servers: Arc<Servers>,
    server: String,
    held: Vec<Uuid>,
    told: Vec<Told>,
    /// Those that it was told of in a newer version.
    pub newer: Vec<Uuid>,
}

impl Servers {
    /// A queue leads to this server from now on; none: to none.
    pub fn leads(&self, channel: &str, destination: &str, server: Option<&str>) {
        let queue = (channel.to_owned(), destination.to_owned());
        let mut known = self.lock();
        let before = match server {
            Some(server) => known.queues.insert(queue, server.to_owned()),
            None => known.queues.remove(&queue),
        };
        if before.as_deref() != server {
            server.map(|server| known.told.remove(server));
        }
    }

    /// What a server was told is to be read from the store again: not all of it was remembered.
    pub fn forget(&self, server: &str) {
        self.lock().told.remove(server);
    }

    /// Whether several queues lead to a server.
    pub fn is_shared(&self, server: &str) -> bool {
        self.lock().leading_to(server).nth(1).is_some()
    }

    /// Begins to tell a server of these, once nobody else does.
    pub async fn tell(
        self: &Arc<Self>,
        server: &str,
        told: Vec<Told>,
        store: &dyn Store,
    ) -> Result<Telling, StoreError> {
        let held: Vec<Uuid> = told
            .iter()
            .filter(|told| told.is_ones_own())
            .map(|told| told.id)
            .collect();
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.take_up(server, &held) {
                break;
            }
            freed.await;
        }
        let mut telling = Telling {
            servers: self.clone(),
            server: server.to_owned(),
            held,
            told,
            newer: vec![],
        };
        let queues = self.lock().leading_to(server).cloned().collect();
        for told in telling.told.clone() {
            let known = self
                .lock()
                .told
                .get(server)
                .and_then(|all| all.get(&told.id).copied());
            let version = match known {
                Some(version) => version,
                None => {
                    let version = version_sent(&told, &queues, store).await?;
                    self.remember(server, told.id, version);
                    version
                }
            };
            if told.version < version {
                telling.newer.push(told.id);
            }
        }
        Ok(telling)
    }

    fn take_up(&self, server: &str, ids: &[Uuid]) -> bool {
        let mut known = self.lock();
        let key = |id: &Uuid| (server.to_owned(), *id);
        if ids.iter().any(|id| known.in_hand.contains(&key(id))) {
            return false;
        }
        known.in_hand.extend(ids.iter().map(key));
        true
    }

    fn remember(&self, server: &str, id: Uuid, version: u64) {
        let mut known = self.lock();
        let told = known.told.entry(server.to_owned()).or_default();
        if REMEMBERED <= told.len() {
            told.clear();
        }
        let newest = told.entry(id).or_default();
        *newest = version.max(*newest);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telling {
    /// The server has it, or may have it.
    pub fn is_there(&self) {
        for told in self.told.iter().filter(|told| !self.newer.contains(&told.id)) {
            self.servers.remember(&self.server, told.id, told.version);
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let mut known = self.servers.lock();
        for id in self.held.drain(..) {
            known.in_hand.remove(&(self.server.clone(), id));
        }
        drop(known);
        self.servers.freed.notify_waiters();
    }
}

/// In which version, newer than the one that is told, an aggregate was sent by one of these queues; 0: in none. Read once of each
/// aggregate: after that it is remembered.
async fn version_sent(
    told: &Told,
    queues: &BTreeSet<(String, String)>,
    store: &dyn Store,
) -> Result<u64, StoreError> {
    let Some(kind) = kind_of(told, store)? else {
        return Ok(0);
    };
    let versions = store.history(kind, told.id).await?;
    let newer = versions
        .iter()
        .filter(|record| told.version < record.meta.version);
    let mut newer: Vec<_> = newer
        .map(|record| (record.meta.version, &record.meta.source))
        .collect();
    newer.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    for (version, source) in newer.into_iter().take(VERSIONS) {
        let Some(message) = source.message() else {
            continue;
        };
        let Some(detail) = store.message(message).await? else {
            continue;
        };
        let is_sent = detail.deliveries.iter().any(|delivery| {
            let queue = (detail.row.channel.clone(), delivery.row.destination.clone());
            delivery.row.state == DeliveryState::Sent && queues.contains(&queue)
        });
        if is_sent {
            return Ok(version);
        }
    }
    Ok(0)
}

/// As what an aggregate is kept that stands in a newer version than the one that is told; none: it does not.
fn kind_of(told: &Told, store: &dyn Store) -> Result<Option<Kind>, StoreError> {
    let snapshot = store.snapshot()?;
    for kind in told.kinds {
        let record = snapshot.load(*kind, told.id);
        let record = record.map_err(|error| StoreError::Unavailable(error.0))?;
        if let Some(record) = record {
            return Ok((told.version < record.meta.version).then_some(*kind));
        }
    }
    Ok(None)
}
