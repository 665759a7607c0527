//! What a worker shares with those who wake it and wait for it; it stays when a channel is arranged anew.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast};

use super::hands::Hands;
use crate::run::break_offs::BreakOffs;
use crate::run::breaker::Breaker;
use crate::run::tries::Tries;

/// Results that those who wait for them may be behind; whoever is behind more looks into the store.
const TOLD: usize = 256;

/// Wakes the worker of one destination, and those who wait for what it does.
pub(in crate::run) struct Bell {
    pub(super) notify: Notify,
    pub(super) from_the_start: AtomicBool,
    pub(super) settled: broadcast::Sender<i64>,
    /// What was tried, by the workers before as well.
    pub(super) tries: Tries,
    /// Until when the far side has asked to be left alone with a delivery, where that is longer than our own pauses.
    pub(super) asked: Mutex<HashMap<i64, Instant>>,
    /// Whether it takes anything.
    pub(super) breaker: Breaker,
    /// At which deliveries it broke off.
    pub(super) break_offs: BreakOffs,
    /// Who has which delivery in hand just now.
    pub(super) hands: Mutex<Hands>,
}

impl Default for Bell {
    fn default() -> Self {
        Bell {
            notify: Notify::default(),
            from_the_start: AtomicBool::default(),
            settled: broadcast::channel(TOLD).0,
            tries: Tries::default(),
            asked: Mutex::default(),
            breaker: Breaker::default(),
            break_offs: BreakOffs::default(),
            hands: Mutex::default(),
        }
    }
}

impl Bell {
    /// There is something new at the end of the queue.
    pub fn ring(&self) {
        self.notify.notify_one();
    }

    /// There is something new that may stand before what was sent already: a message that failed once and was taken
    /// when it was sent again keeps its place in the order.
    pub fn ring_for_an_old_one(&self) {
        self.from_the_start.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Ends when it has been rung since the last time.
    pub async fn rung(&self) {
        self.notify.notified().await;
    }

    /// True once after [`Bell::ring_for_an_old_one`].
    pub fn starts_anew(&self) -> bool {
        self.from_the_start.swap(false, Ordering::AcqRel)
    }

    /// Ends when that is to be seen to, or when it was rung and what is waited for `is_over`. What came to the end of the
    /// queue ends it not.
    pub async fn rung_for_an_old_one(&self, is_over: impl Fn() -> bool) {
        while !self.from_the_start.load(Ordering::Acquire) {
            self.rung().await;
            if is_over() {
                return;
            }
        }
    }

    /// Since when the destination is left alone, and when the next one is tried; none: it is not.
    pub fn left_alone(&self) -> Option<(Timestamp, Timestamp)> {
        self.breaker.shown()
    }

    /// The far side wants to be left alone with this delivery for so long.
    pub(super) fn is_asked_for(&self, delivery: i64, pause: Duration) {
        let now = Instant::now();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, until| now < *until);
        asked.insert(delivery, now + pause);
    }

    /// Whether it does still.
    pub(super) fn is_asked_to_wait(&self, delivery: i64) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&delivery).is_some_and(|until| Instant::now() < *until)
    }

    /// The deliveries whose results are written down from now on.
    pub fn settled(&self) -> broadcast::Receiver<i64> {
        self.settled.subscribe()
    }
}
