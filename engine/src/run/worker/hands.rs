//! Who has a delivery in hand: the worker that sends it, or a person who decides about it. Never both.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::Bell;

/// The deliveries of one queue that are in somebody's hand.
#[derive(Default)]
pub(super) struct Hands {
    workers: HashSet<i64>,
    persons: HashSet<i64>,
}

/// A delivery in the hand of its worker, from before it is sent until its result is on disk.
pub(super) struct InHand {
    bell: Arc<Bell>,
    delivery: i64,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.bell.hands().workers.remove(&self.delivery);
    }
}

/// A delivery about which a person decides.
pub(in crate::run) struct Claim<'b> {
    bell: &'b Bell,
    delivery: i64,
}

impl Claim<'_> {
    /// Tells those who wait for what becomes of it.
    pub fn is_settled(&self) {
        // Nobody has to be waiting.
        let _ = self.bell.settled.send(self.delivery);
    }
}

impl Drop for Claim<'_> {
    /// The worker looks at its queue from the start before it takes up anything else: what it has read of it is old.
    fn drop(&mut self) {
        let mut hands = self.bell.hands();
        self.bell.from_the_start.store(true, Ordering::Release);
        hands.persons.remove(&self.delivery);
        drop(hands);
        self.bell.ring();
    }
}

impl Bell {
    /// The worker takes a delivery into its hand. None: a person decides about it just now, or the queue is to be read
    /// again first.
    pub(super) fn take_up(self: &Arc<Self>, delivery: i64) -> Option<InHand> {
        let mut hands = self.hands();
        if hands.persons.contains(&delivery) || self.from_the_start.load(Ordering::Acquire) {
            return None;
        }
        hands.workers.insert(delivery);
        Some(InHand {
            bell: self.clone(),
            delivery,
        })
    }

    /// A person takes a delivery into their hand. None: it is being sent, or somebody else decides about it.
    pub(in crate::run) fn claim(&self, delivery: i64) -> Option<Claim<'_>> {
        let mut hands = self.hands();
        if hands.workers.contains(&delivery) || !hands.persons.insert(delivery) {
            return None;
        }
        Some(Claim { bell: self, delivery })
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
